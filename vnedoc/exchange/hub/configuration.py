"""How a hub behaves, from the section ``[hub]`` of the settings."""

from __future__ import annotations

import dataclasses
import datetime
import os
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from vnedoc.errors import ConfigurationError, CredentialError, MissingExtraError, VnedocError
from vnedoc.exchange.hub.console.options import ConsoleOptions
from vnedoc.exchange.hub.options import PUBLIC_WIRES, HubOptions, Limits, Proofs
from vnedoc.exchange.hub.peers import parse_networks
from vnedoc.exchange.stores.pruning import MIN_METADATA_AGE, PruneLimits
from vnedoc.messages import Language

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vnedoc.config import Config, HubConfig
    from vnedoc.exchange.hub.tls import TLSFiles

__all__ = ["admin_tls_files", "check_hub", "hub_faults", "options_from", "retention_of", "tls_files"]

_Values = ParamSpec("_Values")

_MIB = 1024 * 1024
# What must be more than nothing. Everything else that is a number may be 0.
_AT_LEAST_ONE = (
    "processes",
    "port",
    "verify_workers",
    "park_after_fails",
    "max_package_mb",
    "requests_per_s",
    "request_burst",
    "uploads",
    "uploads_per_system",
    "mb_in_flight",
    "mb_in_flight_per_system",
    "upload_timeout_s",
    "header_timeout_s",
    "send_timeout_s",
    "connections",
    "connections_per_address",
)


def options_from(config: Config) -> HubOptions:
    """Return how a hub behaves.

    Args:
        config: All settings: trust and directory are those of the whole installation.

    Raises:
        ConfigurationError: A value makes no sense, or what is asked for needs others that are missing.
    """
    hub = config.hub
    for fault in _value_faults(hub):
        raise fault
    return HubOptions(
        wires=hub.wires,
        max_package_bytes=round(hub.max_package_mb * _MIB),
        upload_timeout_s=hub.upload_timeout_s,
        language=Language(config.language or Language.VI.value),
        strict=hub.strict,
        proofs=_proofs(config) if hub.verify else None,
        limits=_limits(hub),
        proxies=hub.proxies,
        certificate_header=hub.certificate_header,
        expire_after=datetime.timedelta(days=hub.expire_after_days) if hub.expire_after_days else None,
        retention=retention_of(hub),
        park_after_fails=hub.park_after_fails,
        console=_console(config) if hub.console else None,
        watched_certificates=tuple(map(Path, hub.watched_certificates)),
    )


def check_hub(config: Config) -> HubOptions:
    """Return how a hub behaves, after a look at the files that it cannot do without.

    Raises:
        ConfigurationError: Something is wrong or missing.
        CredentialError: The passphrase of a TLS key is missing or wrong.
        InputError: A file cannot be read.
    """
    options = options_from(config)
    for fault in _file_faults(config):
        raise fault
    return options


def hub_faults(config: Config) -> tuple[VnedocError, ...]:
    """Return everything that is wrong with the settings of a hub and the files they name.

    Beside what :func:`check_hub` refuses, these are files that a hub can do without, but not do its work with.
    """
    return (*_value_faults(config.hub), *_file_faults(config), *_watched_faults(config.hub))


def tls_files(hub: HubConfig) -> TLSFiles | None:
    """Return how TLS is spoken with systems; ``None``: it is not.

    Raises:
        CredentialError: The variable with the passphrase is not set.
    """
    if hub.tls_certificate is None or hub.tls_key is None:
        return None
    from vnedoc.exchange.hub.tls import TLSFiles

    return TLSFiles(
        hub.tls_certificate,
        hub.tls_key,
        _passphrase(hub.tls_passphrase_env),
        hub.client_ca,
        hub.client_required,
        hub.client_crls,
    )


def admin_tls_files(hub: HubConfig) -> TLSFiles | None:
    """Return how TLS is spoken with those who run the hub; ``None``: it is not.

    Raises:
        CredentialError: The variable with the passphrase is not set.
    """
    if hub.admin_tls_certificate is None or hub.admin_tls_key is None:
        return None
    from vnedoc.exchange.hub.tls import TLSFiles

    return TLSFiles(hub.admin_tls_certificate, hub.admin_tls_key, _passphrase(hub.admin_tls_passphrase_env))


def retention_of(hub: HubConfig) -> PruneLimits | None:
    """Return how long a hub keeps what is done; ``None``: for ever.

    Raises:
        ConfigurationError: The ages make no sense.
    """
    payloads, metadata = (
        datetime.timedelta(days=days) if days else None
        for days in (hub.keep_payloads_days, hub.keep_metadata_days)
    )
    if payloads is None and metadata is None:
        return None
    if metadata is not None and (metadata < MIN_METADATA_AGE or metadata < (payloads or metadata)):
        raise ConfigurationError("hub.bad-retention", days=MIN_METADATA_AGE.days)
    return PruneLimits(payloads_older_than=payloads, metadata_older_than=metadata)


def _proofs(config: Config) -> Proofs:
    if not config.trust:
        raise ConfigurationError("hub.no-trust")
    if config.directory is None:
        raise ConfigurationError("hub.no-directory")
    return Proofs(
        trust=config.trust,
        directory=config.directory,
        required_match=config.hub.verify_match,
        person_on_main=config.hub.verify_person,
        refuse_other_formats=config.hub.verify_only_pdf,
        online=config.hub.verify_online,
        allowed_hosts=config.verification.allowed_hosts,
        workers=config.hub.verify_workers,
    )


def _console(config: Config) -> ConsoleOptions:
    hub = config.hub
    files = (
        hub.tls_certificate,
        hub.client_ca,
        hub.admin_tls_certificate,
        *map(Path, hub.watched_certificates),
    )
    return ConsoleOptions(
        late_after=datetime.timedelta(hours=hub.late_after_hours),
        warn_before=datetime.timedelta(days=hub.warn_before_days),
        trust=config.trust or ConsoleOptions().trust,
        certificate_files=tuple(path for path in files if path is not None),
        directory=config.directory,
    )


def _limits(hub: HubConfig) -> Limits:
    return Limits(
        requests_per_s=hub.requests_per_s,
        request_burst=hub.request_burst,
        uploads=hub.uploads,
        uploads_per_system=hub.uploads_per_system,
        bytes_in_flight=round(hub.mb_in_flight * _MIB),
        bytes_in_flight_per_system=round(hub.mb_in_flight_per_system * _MIB),
        min_bytes_per_s=max(1.0, hub.min_bytes_per_s),
        header_timeout_s=hub.header_timeout_s,
        send_timeout_s=hub.send_timeout_s,
        connections=hub.connections,
        connections_per_address=hub.connections_per_address,
        min_free_bytes=round(hub.min_free_mb * _MIB),
    )


def _value_faults(hub: HubConfig) -> Iterator[VnedocError]:
    """Return what is wrong with the settings themselves, whatever is in the files they name."""
    yield from _number_faults(hub)
    for network in hub.proxies:
        try:
            parse_networks([network])
        except ValueError:
            yield ConfigurationError("hub.bad-proxy", value=network[:100])
    if hub.log not in {"json", "text"}:
        yield ConfigurationError("hub.unknown-log", value=hub.log)
    yield from _wire_faults(hub)
    yield from _tls_faults(hub)
    yield from _caught(retention_of, hub)


def _file_faults(config: Config) -> Iterator[VnedocError]:
    """Return what is wrong with the files that a hub cannot do without."""
    hub = config.hub
    if hub.verify:
        yield from _caught(_check_proofs, config)
    yield from _caught(_check_tls_files, hub, tls_files, "tls_passphrase_env")
    yield from _caught(_check_tls_files, hub, admin_tls_files, "admin_tls_passphrase_env")


def _watched_faults(hub: HubConfig) -> Iterator[VnedocError]:
    from vnedoc.sign.trust import load_certificates

    for name in hub.watched_certificates:
        yield from _caught(load_certificates, Path(name))


def _caught(
    check: Callable[_Values, object], *values: _Values.args, **named: _Values.kwargs
) -> Iterator[VnedocError]:
    try:
        check(*values, **named)
    except VnedocError as error:
        yield error


def _number_faults(hub: HubConfig) -> Iterator[VnedocError]:
    for field in dataclasses.fields(hub):
        value = getattr(hub, field.name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        minimum = 1 if field.name in _AT_LEAST_ONE else 0
        if not minimum <= value < float("inf"):
            yield ConfigurationError("hub.bad-limit", key=field.name, minimum=minimum)


def _wire_faults(hub: HubConfig) -> Iterator[VnedocError]:
    others = [name for name in hub.wires if name not in PUBLIC_WIRES]
    if not others:
        return
    try:
        # All of them are known only to the parts of the server, which is an extra.
        from vnedoc.exchange.hub.app import WIRES
    except MissingExtraError as error:
        yield error
        return
    for name in others:
        if name not in WIRES:
            yield ConfigurationError("hub.unknown-wire", name=name, known=", ".join(WIRES))


def _tls_faults(hub: HubConfig) -> Iterator[VnedocError]:
    is_halved = (hub.tls_certificate is None) != (hub.tls_key is None)
    is_without = hub.tls_certificate is None and (hub.client_ca is not None or hub.client_required)
    if is_halved or is_without or (hub.admin_tls_certificate is None) != (hub.admin_tls_key is None):
        yield ConfigurationError("hub.tls-incomplete")
    if hub.client_crls is not None and hub.client_ca is None:
        yield ConfigurationError("hub.crls-of-nobody")
    if hub.admin_tls_certificate is not None and hub.admin_port is None:
        yield ConfigurationError("hub.admin-tls-without-port")


def _check_proofs(config: Config) -> None:
    from vnedoc.exchange.hub.judging import check_proofs

    check_proofs(_proofs(config))


def _passphrase(name: str | None) -> str | None:
    if name is None:
        return None
    passphrase = os.environ.get(name)
    if not passphrase:
        raise CredentialError("hub.no-passphrase", name=name)
    return passphrase


def _check_tls_files(hub: HubConfig, files_of: Callable[[HubConfig], TLSFiles | None], name: str) -> None:
    """Refuse files that TLS cannot be spoken with; ``name`` is the setting that leads to the passphrase."""
    files = files_of(hub)
    if files is None:
        return
    from vnedoc.exchange.hub.tls import tls_context

    _check_passphrase(files, name)
    tls_context(files)


def _check_passphrase(files: TLSFiles, name: str) -> None:
    """Refuse an encrypted key that is not opened; OpenSSL would not say that it is about the key."""
    try:
        content = files.key.read_bytes()
    except OSError:
        # What opens the files says so.
        return
    if not _is_encrypted(content):
        return
    if files.passphrase is None:
        raise CredentialError("hub.no-tls-passphrase", path=files.key, key=name)
    try:
        serialization.load_pem_private_key(content, files.passphrase.encode())
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise CredentialError("hub.wrong-tls-passphrase", path=files.key, key=name) from exc


def _is_encrypted(content: bytes) -> bool:
    try:
        serialization.load_pem_private_key(content, None)
    except TypeError:
        # This is how the library asks for a passphrase.
        return True
    except (ValueError, UnsupportedAlgorithm):
        return False
    return False
