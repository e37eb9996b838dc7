"""``vnedoc doctor``: look the installation over before documents get stuck."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vnedoc._cli import _exchange_view as view
from vnedoc._cli import _office as office
from vnedoc.errors import ConfigurationError, ExitCode, UsageError, VnedocError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnedoc._cli.main import CLIState
    from vnedoc.config import AgencyConfig, Config, ConnectionConfig, StoreConfig
    from vnedoc.exchange.doctor import Symptom

__all__ = ["doctor"]

MARKS = {"good": "+", "warning": "!", "bad": "x"}


@click.command(short_help="Find what would keep documents from travelling.")
@click.option("--via", "names", metavar="NAME", multiple=True, help="Only these connections (default: all).")
@click.option(
    "--certificate",
    "certificates",
    type=click.Path(path_type=Path),
    metavar="FILE",
    multiple=True,
    help="A certificate to watch (PEM or DER), such as that of the agency's seal.",
)
@click.option("--offline", is_flag=True, help="Do not ask any axis.")
@click.option(
    "--probe",
    is_flag=True,
    help="Offer each axis one trial package for nobody, to learn whether our code is registered to this system.",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def doctor(
    state: CLIState,
    *,
    names: tuple[str, ...],
    certificates: tuple[Path, ...],
    offline: bool,
    probe: bool,
    form: str,
) -> int:
    """Look over settings, disk, store, directory, trust anchors, certificates, clock and every connection.

    Without --probe nothing is sent but questions. Each line begins with + (good), ! (see to it) or x (bad).

    No question tells to which system an agency is registered. --probe finds it out: it offers each axis a real
    package of our agency for a code that no agency can have, and reads why it is refused. What an axis that vnedoc
    does not know does with such a package nobody can say, so ask its operator first.

    \b
    Exit codes: 0 nothing is bad · 1 something is · 2 --probe and --offline ·
    5 the settings cannot be read, have no such connection, or, with --probe, no agency.
    """
    if probe and offline:
        raise UsageError("doctor.probe-or-offline")
    config = state.config()
    if probe and config.agency is None:
        raise ConfigurationError("exchange.no-agency")
    found = list(_look_over(config, state, names, certificates, offline=offline, probe=probe))
    counts = {health: sum(item.health == health for item in found) for health in MARKS}
    if form == "json":
        document = {
            "schema": "vnedoc.doctor/1",
            "counts": counts,
            "symptoms": [_plain(item, state) for item in found],
        }
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        for item in found:
            view.say_wrapped(f"{MARKS[item.health]} {item.text(state.language)}", indent=2)
            hint = None if item.health == "good" else item.hint(state.language)
            if hint:
                view.say_wrapped(f"    {hint}", indent=4)
        click.echo(
            state.text("doctor.summary", good=counts["good"], warnings=counts["warning"], bad=counts["bad"]),
            err=True,
        )
    return ExitCode.NO if counts["bad"] else ExitCode.DONE


def _look_over(
    config: Config,
    state: CLIState,
    names: tuple[str, ...],
    certificates: tuple[Path, ...],
    *,
    offline: bool,
    probe: bool,
) -> Iterator[Symptom]:
    from vnedoc._internal.clock import utc_now
    from vnedoc.exchange import doctor as checks

    now = utc_now()
    own_code = config.agency.organ_id if config.agency else None
    if config.path is not None:
        yield checks.Symptom("doctor.settings", checks.Health.GOOD, {"path": str(config.path)})
        if own_code is None:
            yield checks.Symptom("doctor.no-agency", checks.Health.WARNING, {})
    else:
        yield checks.Symptom("doctor.no-settings", checks.Health.WARNING, {})
    if config.store is not None:
        yield from checks.check_disk("payloads", config.store.payload_folder)
        database = _database_folder(config.store)
        if database is not None and not _is_same_disk(database, config.store.payload_folder):
            yield from checks.check_disk("database", database)
        yield from checks.check_store(config.store.url, config.store.place, now=now)
    if config.directory is not None:
        yield from checks.check_agency_directory(config.directory, own_code=own_code, now=now)
    yield from checks.check_trust_sources(config.trust, now=now)
    for path in certificates:
        yield from checks.check_certificate_file(path, now=now)
    for name in names or config.connections:
        connection = config.connection(name)
        if connection.client_certificate is not None:
            yield from checks.check_certificate_file(connection.client_certificate, now=now)
        if not offline:
            yield from _connection(state, name, connection, config.agency, probe=probe)


def _connection(
    state: CLIState, name: str, connection: ConnectionConfig, agency: AgencyConfig | None, *, probe: bool
) -> Iterator[Symptom]:
    from vnedoc._cli._connections import open_connection
    from vnedoc.exchange import doctor as checks
    from vnedoc.exchange.connectors import tls_context

    try:
        tls = tls_context(connection, name=name)
    except VnedocError as exc:
        yield checks.Symptom("doctor.bad-connection", checks.Health.BAD, {"name": name}, exc)
        return
    found = list(checks.check_server(name, connection.url, tls=tls))
    yield from found
    if any(item.id in {"doctor.unreachable", "doctor.not-trusted"} for item in found):
        return
    try:
        connector = open_connection(state, name)
    except VnedocError as exc:
        yield checks.Symptom("doctor.bad-connection", checks.Health.BAD, {"name": name}, exc)
        return
    own_code = None if agency is None else agency.organ_id
    sender = office.organization_of(agency) if probe and agency is not None else None
    with connector:
        yield from checks.check_connection(connector, own_code=own_code, trial_sender=sender)


def _database_folder(store: StoreConfig) -> Path | None:
    """Return where the file of an SQLite database is; ``None``: the database is a server's."""
    kind, _, path = store.url.partition(":///")
    return Path(path).parent if kind.partition("+")[0] == "sqlite" and path else None


def _is_same_disk(first: Path, second: Path) -> bool:
    """Tell whether two folders, or what is there of them, are on one file system."""
    devices = []
    for folder in (first, second):
        present = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        devices.append(present.stat().st_dev)
    return devices[0] == devices[1]


def _plain(item: Symptom, state: CLIState) -> dict[str, Any]:  # JSON
    return {
        "id": item.id,
        "health": item.health.value,
        "text": item.text(state.language),
        "hint": None if item.health == "good" else item.hint(state.language),
        "values": item.values,
    }
