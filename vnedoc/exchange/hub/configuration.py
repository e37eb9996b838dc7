"""How a hub behaves, from the section ``[hub]`` of the settings."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vnedoc.errors import ConfigurationError
from vnedoc.exchange.hub.console.options import ConsoleOptions
from vnedoc.exchange.hub.options import HubOptions, Limits, Proofs
from vnedoc.exchange.hub.peers import parse_networks
from vnedoc.exchange.stores.pruning import MIN_METADATA_AGE, PruneLimits
from vnedoc.messages import Language

if TYPE_CHECKING:
    from vnedoc.config import Config, HubConfig

__all__ = ["check_hub", "options_from", "retention_of"]

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
    _check_numbers(hub)
    try:
        parse_networks(hub.proxies)
    except ValueError as exc:
        raise ConfigurationError("hub.bad-network", value=str(exc)[:100]) from exc
    if hub.log not in {"json", "text"}:
        raise ConfigurationError("hub.unknown-log", value=hub.log)
    _check_tls(hub)
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
    )


def check_hub(config: Config) -> HubOptions:
    """Return how a hub behaves, after a look at what it would need to verify packages.

    Raises:
        ConfigurationError: Something is wrong or missing.
        InputError: A file cannot be read.
    """
    options = options_from(config)
    if options.proofs is not None:
        from vnedoc.exchange.hub.judging import check_proofs

        check_proofs(options.proofs)
    return options


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


def _check_tls(hub: HubConfig) -> None:
    is_halved = (hub.tls_certificate is None) != (hub.tls_key is None)
    is_without = hub.tls_certificate is None and (hub.client_ca is not None or hub.client_required)
    if is_halved or is_without or (hub.admin_tls_certificate is None) != (hub.admin_tls_key is None):
        raise ConfigurationError("hub.tls-incomplete")
    if hub.client_crls is not None and hub.client_ca is None:
        raise ConfigurationError("hub.crls-of-nobody")
    if hub.admin_tls_certificate is not None and hub.admin_port is None:
        raise ConfigurationError("hub.admin-tls-without-port")


def _check_numbers(hub: HubConfig) -> None:
    for field in dataclasses.fields(hub):
        value = getattr(hub, field.name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        minimum = 1 if field.name in _AT_LEAST_ONE else 0
        if not minimum <= value < float("inf"):
            raise ConfigurationError("hub.bad-limit", key=field.name, minimum=minimum)
