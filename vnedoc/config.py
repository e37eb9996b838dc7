"""Settings: ``vnedoc.toml``, then ``VNEDOC_*`` in the environment, into frozen values. Unknown keys are refused.

A secret never stands in the settings; they name the variable or the file that holds it::

    trust = ["shipped:vn-government"]
    trust_folder = "trust"
    directory = "directory.json"

    [agency]
    organ_id = "H99"
    organ_name = "ỦY BAN NHÂN DÂN TỈNH TEST"
    also = ["000.00.00.H99"]

    [exchange]
    apply_recalls = true

    [store]
    url = "sqlite:///vnedoc.sqlite3"
    payload_folder = "payloads"

    [connections.default]
    kind = "vxp"
    url = "http://127.0.0.1:8080"
    system_id = "H99.SYS"
    secret_env = "AXIS_SECRET"

    [signing]
    tsa = ["http://tsa.ca.gov.vn"]

    [verification]
    allowed_hosts = ["ocsp.internal"]

    [hub]
    database = "postgresql://vnedoc_hub@db.internal/vnedoc_hub"
    processes = 4

Paths are relative to the folder of the file.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vnedoc.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AgencyConfig",
    "Config",
    "ConnectionConfig",
    "ExchangeConfig",
    "HubConfig",
    "OptionValue",
    "SigningConfig",
    "StoreConfig",
    "VerificationConfig",
    "load_config",
]

FILE_NAME = "vnedoc.toml"
_PATHS = {
    "trust_folder",
    "directory",
    "calendar",
    "payload_folder",
    "secret_file",
    "password_file",
    "unit_secret_file",
    "tls_passphrase_file",
    "ca_file",
    "client_certificate",
    "client_key",
    "data",
    "key_file",
    "tls_certificate",
    "tls_key",
    "client_ca",
    "client_crls",
    "admin_tls_certificate",
    "admin_tls_key",
}
OptionValue = str | int | float | bool | list[str]
"""What an option of a connector can be in the settings."""


@dataclasses.dataclass(frozen=True, slots=True)
class AgencyConfig:
    """The agency that this installation works for."""

    organ_id: str
    """Its code."""
    organ_name: str
    """Its name."""
    organization_in_charge: str | None = None
    """Name of the body above it."""
    organ_add: str | None = None
    """Its address."""
    email: str | None = None
    """Its official mail address."""
    telephone: str | None = None
    """Its telephone number."""
    also: tuple[str, ...] = ()
    """Its other codes: those it had before a reorganisation, and those it works for."""


@dataclasses.dataclass(frozen=True, slots=True)
class ExchangeConfig:
    """How the exchange behaves."""

    answer_quarantined: bool = False
    """Whether the sender of a package that is kept apart is told so with status 02."""
    apply_recalls: bool = True
    """Whether a recall that comes in is carried out and answered without a person."""
    apply_take_backs: bool = False
    """The same for a status 13, which asks."""
    apply_updates: bool = True
    """The same for an update."""
    expires_after_hours: float = 24.0
    """How long a message is tried before it is given up."""
    urgent_grace_minutes: float = 15.0
    """How long an urgent document may wait before there is a warning."""


@dataclasses.dataclass(frozen=True, slots=True)
class StoreConfig:
    """Where messages are kept."""

    url: str
    """A database URL of SQLAlchemy."""
    payload_folder: Path
    """Folder for the packages; if they are in an object store, for copies of them."""
    payloads: str | None = None
    """Address of an object store for the packages, such as ``s3://BUCKET/PREFIX?endpoint=https://…``."""

    @property
    def place(self) -> Path | str:
        """Where the packages are: the folder, or the address of the object store."""
        if self.payloads is None:
            return self.payload_folder
        if "cache=" in self.payloads:
            return self.payloads
        joint = "&" if "?" in self.payloads else "?"
        return self.payloads + joint + urllib.parse.urlencode({"cache": str(self.payload_folder)})


@dataclasses.dataclass(frozen=True, slots=True)
class ConnectionConfig:
    """A way to an axis."""

    kind: str
    """The connector, such as ``vxp``."""
    url: str
    """Base address of the axis; for the kind ``folder`` the shared folder."""
    system_id: str
    """The id that the axis gave to this system."""
    secret_env: str | None = None
    """Name of the environment variable with the secret."""
    secret_file: Path | None = None
    """File with the secret; read again when the secret does not work any more."""
    password_env: str | None = None
    """Name of the environment variable with the password of an account, where an axis wants one."""
    password_file: Path | None = None
    """File with that password."""
    unit_secret_env: str | None = None
    """Name of the environment variable with the secret of a unit, where an axis wants one."""
    unit_secret_file: Path | None = None
    """File with that secret."""
    timeout_s: float = 60.0
    """Time limit for each step of a call: connecting, one read, one write."""
    max_package_mb: float | None = None
    """The largest package that is sent or fetched, in MiB; ``None``: 512."""
    ca_file: Path | None = None
    """PEM file with the only authorities to accept for the axis; ``None`` accepts those of this computer."""
    client_certificate: Path | None = None
    """PEM file with our TLS certificate for the axis."""
    client_key: Path | None = None
    """PEM file with its key; ``None``: it is in the same file."""
    tls_passphrase_env: str | None = None
    """Name of the environment variable with the passphrase of that key."""
    tls_passphrase_file: Path | None = None
    """File with that passphrase."""
    options: Mapping[str, OptionValue] = dataclasses.field(default_factory=dict)
    """What this kind of connector knows beside; each kind refuses what it does not know."""


@dataclasses.dataclass(frozen=True, slots=True)
class SigningConfig:
    """Defaults for signing."""

    tsa: tuple[str, ...] = ()
    """Time-stamping authorities, in order of preference."""


@dataclasses.dataclass(frozen=True, slots=True)
class VerificationConfig:
    """Defaults for verification."""

    allowed_hosts: tuple[str, ...] = ()
    """Revocation servers that may be asked although they are on a private or loopback address."""


@dataclasses.dataclass(frozen=True, slots=True)
class HubConfig:
    """The hub that is run here. Limits are for one process."""

    data: Path | None = None
    """Where the hub lives: what follows is in it if nothing else is said."""
    database: str | None = None
    """A database URL of SQLAlchemy, such as ``postgresql://vnedoc_hub@db.internal/vnedoc_hub``."""
    payloads: str | None = None
    """A folder for the packages, or ``s3://BUCKET/PREFIX?endpoint=https://…``."""
    key_file: Path | None = None
    """The key that seals the secrets of systems."""
    host: str = "127.0.0.1"
    """The address that systems call."""
    port: int = 8280
    """Its port."""
    admin_host: str = "127.0.0.1"
    """The address that those call who run the hub."""
    admin_port: int | None = None
    """Its port, of the first process; each further one has the next. Without it there is no administration."""
    processes: int = 1
    """How many processes answer."""
    wires: tuple[str, ...] = ("vxp", "lgsp", "lgsp-oauth2", "bkav-rest", "bkav-soap")
    """What it speaks."""
    log: str = "json"
    """``json`` or ``text``."""
    tls_certificate: Path | None = None
    """PEM file with its TLS certificate, and the ones above it."""
    tls_key: Path | None = None
    """PEM file with its key."""
    tls_passphrase_env: str | None = None
    """Name of the environment variable with the passphrase of that key."""
    client_ca: Path | None = None
    """PEM file with the authorities whose client certificates are accepted."""
    client_required: bool = False
    """Whether a client without such a certificate is turned away before it can say anything."""
    client_crls: Path | None = None
    """PEM file with the lists of revoked certificates of those authorities, one of each."""
    admin_tls_certificate: Path | None = None
    """PEM file with the TLS certificate of the port for those who run the hub, and the ones above it."""
    admin_tls_key: Path | None = None
    """PEM file with its key."""
    admin_tls_passphrase_env: str | None = None
    """Name of the environment variable with the passphrase of that key."""
    proxies: tuple[str, ...] = ()
    """Networks of proxies, as CIDR, that are believed when they say who calls."""
    certificate_header: str | None = None
    """The header in which they say which client certificate they checked."""
    strict: bool = False
    """Whether only packages are taken that validate at the level ``strict``."""
    verify: bool = False
    """Whether only packages are taken whose PDFs verify and match the sender, by ``trust`` and ``directory``."""
    verify_match: str = "named"
    """The weakest match of certificate and sender: ``pinned``, ``coded``, ``named`` or ``domain``."""
    verify_person: bool = True
    """Whether the main document needs a person's signature beside the agency's."""
    verify_only_pdf: bool = False
    """Whether attachments that are no PDF are a reason to refuse."""
    verify_online: bool = True
    """Whether revocation is asked for on the network; else only what the files bring counts."""
    verify_workers: int = 2
    """Processes that verify, for each process of the hub."""
    expire_after_days: float = 30.0
    """How long a package waits for its recipient; 0: for ever."""
    keep_payloads_days: float = 0.0
    """How long packages are kept after everything about them was done; 0: for ever."""
    keep_metadata_days: float = 0.0
    """The same of what is known of them, at least 30 days; 0: for ever."""
    park_after_fails: int = 1
    """How often a recipient's system may fail on a package before only an operator can let it try again."""
    max_package_mb: float = 512.0
    """The largest package that is taken, in MiB."""
    requests_per_s: float = 200.0
    """Requests of one system each second, over time."""
    request_burst: int = 400
    """Requests of one system that may come at once."""
    uploads: int = 64
    """Packages that come in at the same time."""
    uploads_per_system: int = 16
    """The same, from one system."""
    mb_in_flight: float = 8192.0
    """MiB of packages that are coming in."""
    mb_in_flight_per_system: float = 2048.0
    """The same, from one system."""
    upload_timeout_s: float = 1800.0
    """How long a package may take to come in."""
    min_bytes_per_s: float = 1024.0
    """How fast it must come."""
    header_timeout_s: float = 15.0
    """How long the head of a request may take."""
    send_timeout_s: float = 60.0
    """How long a caller may take to accept one piece of an answer."""
    connections: int = 1000
    """Connections that are open at the same time."""
    connections_per_address: int = 250
    """The same, from one address."""
    min_free_mb: float = 256.0
    """Room on the disk below which nothing is taken, in MiB."""
    console: bool = False
    """Whether there are pages for people: on the port of the administration, or on the systems' if there is none."""
    late_after_hours: float = 24.0
    """How long a delivery waits before the console calls it late."""
    warn_before_days: float = 60.0
    """How long before its end the console shows a certificate as about to expire."""
    watched_certificates: tuple[str, ...] = ()
    """Files with further certificates whose ends the metrics and the console tell, beside ``trust`` and the TLS
    files."""
    drain_s: float = 3.0
    """How long it goes on after SIGTERM while ``/health/ready`` says no."""
    stop_timeout_s: float = 60.0
    """How long requests that are under way may take then."""


@dataclasses.dataclass(frozen=True, slots=True)
class Config:
    """All settings."""

    path: Path | None = None
    """The file they came from."""
    language: str | None = None
    """``vi`` or ``en``."""
    trust: tuple[str, ...] = ()
    """Default of ``--trust``; the folder below is part of it once there is something in it."""
    trust_folder: Path | None = None
    """Folder of the authorities that ``vnedoc trust add`` and ``remove`` keep."""
    directory: Path | None = None
    """The agency directory."""
    calendar: Path | None = None
    """The agency's working days, where they differ from the public calendar."""
    agency: AgencyConfig | None = None
    """The agency that this installation works for."""
    store: StoreConfig | None = None
    """Where messages are kept."""
    exchange: ExchangeConfig = ExchangeConfig()
    """How the exchange behaves."""
    signing: SigningConfig = SigningConfig()
    """Defaults for signing."""
    verification: VerificationConfig = VerificationConfig()
    """Defaults for verification."""
    hub: HubConfig = HubConfig()
    """The hub that is run here."""
    connections: Mapping[str, ConnectionConfig] = dataclasses.field(default_factory=dict)
    """Ways to an axis, by name; the first is the default."""

    def connection(self, name: str | None = None) -> ConnectionConfig:
        """Return a connection by name, or the first.

        Raises:
            ConfigurationError: There is none, or none of that name.
        """
        if name is None:
            if not self.connections:
                raise ConfigurationError("config.no-connection")
            return next(iter(self.connections.values()))
        if name not in self.connections:
            raise ConfigurationError("config.unknown-connection", name=name)
        return self.connections[name]


def load_config(path: Path | None = None, *, environ: Mapping[str, str] | None = None) -> Config:
    """Read the settings.

    Args:
        path: The file; ``None`` takes ``VNEDOC_CONFIG``, then ``vnedoc.toml`` in the current folder, then none.
        environ: The environment; ``None`` takes that of the process.

    Raises:
        ConfigurationError: The file is missing or unreadable, or has a key that nothing knows.
    """
    environ = os.environ if environ is None else environ
    if path is None and environ.get("VNEDOC_CONFIG"):
        path = Path(environ["VNEDOC_CONFIG"])
    if path is None:
        path = Path(FILE_NAME)
        if not path.is_file():
            return _with_environment(Config(), environ)
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as exc:
        raise ConfigurationError("config.cannot-read", path=path, reason=exc.strerror) from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigurationError("config.not-toml", path=path, reason=str(exc)) from exc
    return _with_environment(_config(settings, path), environ)


def _with_environment(config: Config, environ: Mapping[str, str]) -> Config:
    language = environ.get("VNEDOC_LANG") or config.language
    if language is not None and language not in {"vi", "en"}:
        raise ConfigurationError("config.unknown-language", value=language)
    return dataclasses.replace(config, language=language)


def _config(settings: dict[str, Any], path: Path) -> Config:  # TOML
    sections = {
        "agency": AgencyConfig,
        "exchange": ExchangeConfig,
        "store": StoreConfig,
        "signing": SigningConfig,
        "verification": VerificationConfig,
        "hub": HubConfig,
    }
    folder = path.resolve().parent
    values = _known(settings, Config, path=path, folder=folder, where="")
    values["path"] = path
    for name, kind in sections.items():
        if name in values:
            values[name] = _section(values[name], kind, path=path, folder=folder, where=name)
    if "connections" in values:
        if not isinstance(values["connections"], dict):
            raise ConfigurationError("config.not-a-table", path=path, key="connections")
        values["connections"] = {
            name: _section(table, ConnectionConfig, path=path, folder=folder, where=f"connections.{name}")
            for name, table in values["connections"].items()
        }
    if "trust" in values:
        values["trust"] = tuple(
            source if source.startswith("shipped:") else str(folder / source) for source in values["trust"]
        )
    own = values.get("trust_folder")
    if own is not None and own.is_dir() and any(own.iterdir()):
        values["trust"] = tuple(dict.fromkeys((*values.get("trust", ()), str(own))))
    return Config(**values)


def _section(table: object, kind: type[Any], *, path: Path, folder: Path, where: str) -> Any:  # any section
    if not isinstance(table, dict):
        raise ConfigurationError("config.not-a-table", path=path, key=where)
    values = _known(table, kind, path=path, folder=folder, where=f"{where}.")
    if kind is StoreConfig and str(values.get("url", "")).startswith("sqlite:///"):
        # A relative SQLite file lies beside the settings, wherever the command is run.
        values["url"] = "sqlite:///" + str(folder / values["url"].removeprefix("sqlite:///"))
    if kind is HubConfig and str(values.get("database", "")).startswith("sqlite:///"):
        values["database"] = "sqlite:///" + str(folder / values["database"].removeprefix("sqlite:///"))
    if kind is HubConfig and "payloads" in values and not values["payloads"].startswith("s3:/"):
        values["payloads"] = str(folder / values["payloads"])
    if kind is HubConfig and "watched_certificates" in values:
        values["watched_certificates"] = tuple(str(folder / name) for name in values["watched_certificates"])
    if kind is ConnectionConfig and values.get("kind") == "folder" and "url" in values:
        values["url"] = str(folder / values["url"])
    required = {
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    for name in sorted(required - set(values)):
        raise ConfigurationError("config.missing-key", path=path, key=f"{where}.{name}")
    return kind(**values)


def _are_options(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(item, str | int | float)
        or (isinstance(item, list) and all(isinstance(part, str) for part in item))
        for item in value.values()
    )


def _known(table: dict[str, Any], kind: type[Any], *, path: Path, folder: Path, where: str) -> dict[str, Any]:
    fields = {field.name: str(field.type) for field in dataclasses.fields(kind)}
    fields.pop("path", None)
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in fields:
            raise ConfigurationError("config.unknown-key", path=path, key=f"{where}{name}")
        wanted = fields[name]
        if wanted.startswith("str") and not isinstance(value, str):
            raise ConfigurationError("config.not-a-text", path=path, key=f"{where}{name}")
        if wanted.startswith("tuple"):
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise ConfigurationError("config.not-a-list", path=path, key=f"{where}{name}")
            value = tuple(value)
        if wanted.startswith("float") and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ConfigurationError("config.not-a-number", path=path, key=f"{where}{name}")
        if wanted.startswith("int") and (isinstance(value, bool) or not isinstance(value, int)):
            raise ConfigurationError("config.not-a-number", path=path, key=f"{where}{name}")
        if wanted.startswith("Mapping[str, OptionValue]") and not _are_options(value):
            raise ConfigurationError("config.not-a-table", path=path, key=f"{where}{name}")
        if wanted.startswith("bool") and not isinstance(value, bool):
            raise ConfigurationError("config.not-a-flag", path=path, key=f"{where}{name}")
        if name in _PATHS:
            if not isinstance(value, str):
                raise ConfigurationError("config.not-a-text", path=path, key=f"{where}{name}")
            value = folder / str(value)
        values[name] = value
    return values
