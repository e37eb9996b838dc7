"""Ways to the exchange axes, one module a kind, found by its name in the settings.

Packages add kinds with an entry point in the group ``vnedoc.connectors``: its name is the kind, its value a function
that is called like :func:`open_connection` with the settings, and with ``secrets``. A kind of our own cannot be
replaced.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vnedoc.config import ConnectionConfig
from vnedoc.errors import ConfigurationError, CredentialError, VnedocError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from vnedoc.exchange.connectors.base import Connector
    from vnedoc.sign.signers.base import SecretCallback

__all__ = [
    "ENTRY_POINT_GROUP",
    "SECRET_NAMES",
    "Secrets",
    "check_connection",
    "connector_kinds",
    "open_connection",
    "open_connector",
    "tls_context",
]

ENTRY_POINT_GROUP = "vnedoc.connectors"
"""The group of entry points by which packages add kinds of connectors."""
SECRET_NAMES = ("secret", "password", "unit_secret", "tls_passphrase")
"""The secrets that settings can refer to: ``<name>_env`` or ``<name>_file``."""
MAX_SECRET_BYTES = 4096
_MIB = 1024 * 1024


class Secrets:
    """Reads secrets from where the settings say they are, each time anew.

    Args:
        connection: The settings.
        environ: The environment; ``None`` takes that of the process.
    """

    def __init__(self, connection: ConnectionConfig, *, environ: Mapping[str, str] | None = None) -> None:
        self._connection = connection
        self._environ = os.environ if environ is None else environ

    def __repr__(self) -> str:
        return "Secrets()"

    def are_given(self, name: str) -> bool:
        """Tell whether the settings say where a secret is."""
        return any(getattr(self._connection, f"{name}_{place}") is not None for place in ("env", "file"))

    def read(self, name: str) -> str | None:
        """Return a secret; ``None`` if the settings do not say where it is, or the variable is not set.

        Raises:
            CredentialError: Its file cannot be read.
        """
        variable: str | None = getattr(self._connection, f"{name}_env")
        path: Path | None = getattr(self._connection, f"{name}_file")
        if variable is not None:
            return self._environ.get(variable)
        if path is None:
            return None
        try:
            with path.open("rb") as stream:
                return stream.read(MAX_SECRET_BYTES).decode("utf-8").strip()
        except OSError as exc:
            raise CredentialError("exchange.no-secret-file", path=path, reason=exc.strerror) from exc
        except UnicodeDecodeError as exc:
            # The text of this error would repeat the bytes of the secret.
            raise CredentialError("exchange.no-secret-file", path=path, reason="UTF-8") from exc

    def callback(self, name: str) -> SecretCallback:
        """Return a function that reads one secret, whatever it is asked."""
        return lambda _question: self.read(name)


@dataclasses.dataclass(frozen=True, slots=True)
class _Kind:
    """Where a connector of ours is, and which secrets it needs."""

    module: str
    connector: str
    options: str
    secrets: tuple[str, ...] = ("secret",)
    is_folder: bool = False


_KINDS = {
    "vxp": _Kind("vxp", "VXPConnector", "VXPOptions"),
    "lgsp": _Kind("lgsp", "LGSPConnector", "LGSPOptions", ("secret", "password")),
    "lgsp-oauth2": _Kind(
        "lgsp_oauth2", "LGSPOAuth2Connector", "LGSPOAuth2Options", ("secret", "unit_secret")
    ),
    "bkav-rest": _Kind("bkav_rest", "BkavRESTConnector", "BkavRESTOptions"),
    "bkav-soap": _Kind("bkav_soap", "BkavSoapConnector", "BkavSoapOptions"),
    "xroad": _Kind("xroad", "XRoadConnector", "XRoadOptions", ()),
    "folder": _Kind("folder", "FolderConnector", "FolderOptions", (), is_folder=True),
}
# Options that are keys of the connection itself.
_COMMON = ("timeout_s", "ca_file", "client_certificate", "client_key")


def connector_kinds() -> tuple[str, ...]:
    """Return the kinds that :func:`open_connection` knows, our own first."""
    return tuple(dict.fromkeys([*_KINDS, *sorted(_added())]))


def open_connection(
    connection: ConnectionConfig, *, name: str, environ: Mapping[str, str] | None = None
) -> Connector:
    """Return the connector that settings describe; nothing is sent before it is used.

    Secrets are read when they are first needed, and again when the axis does not accept them any more: a new secret
    in the file is taken up without a restart.

    Args:
        connection: The settings.
        name: The name of the connection.
        environ: The environment; ``None`` takes that of the process.

    Raises:
        ConfigurationError: There is no connector of this kind, or it does not know one of its options.
        MissingExtraError: An optional part of vnedoc is not installed.
    """
    secrets = Secrets(connection, environ=environ)
    kind = _KINDS.get(connection.kind)
    if kind is None:
        return _open_added(connection, name=name, secrets=secrets)
    callbacks = {secret: secrets.callback(secret) for secret in kind.secrets}
    return _open(kind, connection, name=name, secrets=secrets, callbacks=callbacks)


def tls_context(
    connection: ConnectionConfig, *, name: str, environ: Mapping[str, str] | None = None
) -> ssl.SSLContext | None:
    """Return the TLS context of a connection; ``None``: the usual authorities, no client certificate.

    Args:
        connection: The settings.
        name: The name of the connection.
        environ: The environment; ``None`` takes that of the process.

    Raises:
        ConfigurationError: A file cannot be read, or does not hold what it should.
    """
    from vnedoc.exchange.connectors import _http

    secrets = Secrets(connection, environ=environ)
    options = _http.HTTPOptions(
        ca_file=connection.ca_file,
        client_certificate=connection.client_certificate,
        client_key=connection.client_key,
    )
    given = secrets.are_given("tls_passphrase")
    return _http.tls_context(options, name, secrets.callback("tls_passphrase") if given else None)


def open_connector(
    kind: str,
    url: str,
    system_id: str,
    *,
    secret: SecretCallback,
    name: str,
    timeout_s: float = 60.0,
) -> Connector:
    """Return the connector of a kind that needs one secret; nothing is sent before it is used.

    Args:
        kind: One of :func:`connector_kinds`.
        url: Base address of the axis.
        system_id: The id that the axis gave to this system.
        secret: Returns the secret of the system.
        name: The name of the connection.
        timeout_s: Time limit for each step of a call.

    Raises:
        ConfigurationError: There is no connector of this kind, or it needs more than that.
    """
    connection = ConnectionConfig(kind, url, system_id, timeout_s=timeout_s)
    known = _KINDS.get(kind)
    if known is None or known.secrets != ("secret",):
        raise _unknown_kind(kind, name)
    return _open(
        known, connection, name=name, secrets=Secrets(connection, environ={}), callbacks={"secret": secret}
    )


def check_connection(
    connection: ConnectionConfig, *, name: str, environ: Mapping[str, str] | None = None
) -> list[VnedocError]:
    """Return what is wrong with the settings of a connection, without going to the network.

    Args:
        connection: The settings.
        name: The name of the connection.
        environ: The environment; ``None`` takes that of the process.
    """
    found: list[VnedocError] = []
    secrets = Secrets(connection, environ=environ)
    kind = _KINDS.get(connection.kind)
    needed = () if kind is None else kind.secrets
    for secret in SECRET_NAMES:
        try:
            if (secret in needed or secrets.are_given(secret)) and not secrets.read(secret):
                found.append(
                    CredentialError("connector.secret-missing", name=name, key=_reference(connection, secret))
                )
        except VnedocError as error:
            found.append(error)
    try:
        open_connection(connection, name=name, environ=environ).close()
    except VnedocError as error:
        found.append(error)
    return found


def _reference(connection: ConnectionConfig, secret: str) -> str:
    variable: str | None = getattr(connection, f"{secret}_env")
    return f"{secret}_env, {secret}_file" if variable is None else f"{secret}_env = {variable}"


def _open(
    kind: _Kind,
    connection: ConnectionConfig,
    *,
    name: str,
    secrets: Secrets,
    callbacks: Mapping[str, SecretCallback],
) -> Connector:
    module = importlib.import_module(f"vnedoc.exchange.connectors.{kind.module}")
    connector_class = getattr(module, kind.connector)
    options = _options(getattr(module, kind.options), kind, connection, name)
    allowed = {*kind.secrets, *(() if kind.is_folder else ("tls_passphrase",))}
    for secret in SECRET_NAMES:
        if secret not in allowed and secrets.are_given(secret):
            # A secret that nobody asks for is a mistake in the kind, or in the name of the key.
            raise _not_for_kind(connection, name, secret)
    values: dict[str, Any] = {"name": name, "options": options, **callbacks}
    if secrets.are_given("tls_passphrase"):
        values["tls_passphrase"] = secrets.callback("tls_passphrase")
    place = Path(connection.url) if kind.is_folder else connection.url
    connector: Connector = connector_class(place, connection.system_id, **values)
    return connector


def _options(kind: type[Any], known: _Kind, connection: ConnectionConfig, name: str) -> Any:  # any dataclass
    fields = {field.name: field for field in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    for key in _COMMON:
        value = getattr(connection, key)
        if key in fields:
            values[key] = value
        elif value is not None and not (known.is_folder and key == "timeout_s"):
            raise _not_for_kind(connection, name, key)
    if connection.max_package_mb is not None:
        if connection.max_package_mb <= 0:
            raise _bad_option(name, "max_package_mb", "> 0")
        values["max_package_bytes"] = int(connection.max_package_mb * _MIB)
    for key, value in connection.options.items():
        days = key.removesuffix("_days")
        if key in fields and key not in {*_COMMON, "max_package_bytes"}:
            values[key] = _converted(value, str(fields[key].type), f"options.{key}", name)
        elif days in fields and "timedelta" in str(fields[days].type):
            values[days] = _days(value, f"options.{key}", name)
        else:
            raise _not_for_kind(connection, name, f"options.{key}")
    for field in fields.values():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in values:
            raise ConfigurationError("connector.missing-option", name=name, key=f"options.{field.name}")
    return kind(**values)


def _converted(value: object, wanted: str, key: str, name: str) -> object:
    is_flag = isinstance(value, bool)
    if wanted.startswith("bool") and is_flag:
        return value
    if wanted.startswith("int") and isinstance(value, int) and not is_flag:
        return value
    if wanted.startswith("float") and isinstance(value, int | float) and not is_flag:
        return float(value)
    if wanted.startswith("str") and isinstance(value, str):
        return value
    if wanted.startswith("tuple") and isinstance(value, list):
        return tuple(value)
    raise _bad_option(name, key, wanted.partition(" ")[0].partition("[")[0])


def _days(value: object, key: str, name: str) -> object:
    import datetime

    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 100_000:
        raise _bad_option(name, key, "> 0")
    return datetime.timedelta(days=value)


def _added() -> dict[str, metadata.EntryPoint]:
    return {point.name.lower(): point for point in metadata.entry_points(group=ENTRY_POINT_GROUP)}


def _open_added(connection: ConnectionConfig, *, name: str, secrets: Secrets) -> Connector:
    point = _added().get(connection.kind)
    if point is None:
        raise _unknown_kind(connection.kind, name)
    try:
        opener: Callable[..., Connector] = point.load()
    except Exception as exc:
        raise ConfigurationError(
            "connector.plugin-failed", kind=connection.kind, place=point.value, reason=type(exc).__name__
        ) from exc
    if not callable(opener):
        raise ConfigurationError(
            "connector.plugin-failed", kind=connection.kind, place=point.value, reason="not callable"
        )
    return opener(connection, name=name, secrets=secrets)


def _unknown_kind(kind: str, name: str) -> ConfigurationError:
    return ConfigurationError(
        "connector.unknown-kind", name=name, kind=kind, known=", ".join(connector_kinds())
    )


def _not_for_kind(connection: ConnectionConfig, name: str, key: str) -> ConfigurationError:
    return ConfigurationError("connector.not-for-kind", name=name, kind=connection.kind, key=key)


def _bad_option(name: str, key: str, reason: str) -> ConfigurationError:
    return ConfigurationError("connector.bad-option", name=name, key=key, reason=reason)
