"""``vnedoc hub serve``: answer requests, with one process or several."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vnedoc._cli._hub_folder import PLACE_KEY, HubPlace, hub_place
from vnedoc.errors import ConfigurationError, ExitCode

if TYPE_CHECKING:
    from vnedoc._cli.main import CLIState
    from vnedoc.exchange.hub.serving import ServeSettings

__all__ = ["serve"]

_file = click.Path(path_type=Path, dir_okay=False)


@click.command(short_help="Answer requests.")
@click.option("--database", metavar="URL", help="As for “vnedoc hub”.")
@click.option("--payloads", metavar="FOLDER|s3://…", help="As for “vnedoc hub”.")
@click.option("--host", help="Address that systems call (default: 127.0.0.1).")
@click.option("--port", type=click.IntRange(1, 65535), help="Its port (default: 8280).")
@click.option("--admin-host", help="Address for administration, health and metrics (default: 127.0.0.1).")
@click.option(
    "--admin-port",
    type=click.IntRange(1, 65535),
    help="Its port; each further process has the next one. Without it there is no administration.",
)
@click.option(
    "--console/--no-console",
    default=None,
    help="Pages for people, under /console: on the port for administration, or on the systems' if there is none.",
)
@click.option("--processes", type=click.IntRange(1, 256), help="How many processes answer (default: 1).")
@click.option(
    "--max-package-mb", type=click.IntRange(1, 4096), help="The largest package, in MiB (default: 512)."
)
@click.option("--tls-cert", "tls_certificate", type=_file, metavar="PEM", help="TLS certificate of the hub.")
@click.option("--tls-key", type=_file, metavar="PEM", help="Its key.")
@click.option("--client-ca", type=_file, metavar="PEM", help="Authorities of client certificates.")
@click.option("--log", type=click.Choice(["json", "text"]), help="Form of the log (default: json).")
@click.pass_context
def serve(
    ctx: click.Context,
    /,
    *,
    database: str | None,
    payloads: str | None,
    **changes: str | int | Path | None,
) -> int:
    """Answer requests until it is stopped; requests that are under way are finished.

    Without --tls-cert the wire is plain HTTP: keep it to the axis's own network, or behind a TLS proxy. All limits
    and everything else stand in the section [hub] of the settings.

    \b
    Exit codes: 0 stopped · 4 a file or the database cannot be read · 5 no hub, wrong settings, a port that is
    taken, or the extra “server” is missing · 6 the database does not answer.
    """
    state: CLIState = ctx.obj
    given: HubPlace = ctx.meta[PLACE_KEY]
    ctx.meta[PLACE_KEY] = dataclasses.replace(
        given, database=database or given.database, payloads=payloads or given.payloads
    )
    config = state.config()
    said = {name: value for name, value in changes.items() if value is not None}
    hub = dataclasses.replace(config.hub, **said)  # type: ignore[arg-type]  # click has checked the kinds
    from vnedoc.exchange.hub.configuration import admin_tls_files, check_hub, tls_files

    options = check_hub(dataclasses.replace(config, hub=hub, language=config.language or state.language))
    from vnedoc.exchange.hub.processes import serve_processes
    from vnedoc.exchange.hub.serving import ServeSettings, listen, serve_sockets
    from vnedoc.exchange.stores.hub import DATABASE_NAME

    place = hub_place()
    folder = (place.folder or Path("hub")).absolute()
    if place.database is None and not (folder / DATABASE_NAME).is_file():
        raise ConfigurationError("hub.no-hub", folder=folder)
    settings: ServeSettings = ServeSettings(
        folder=folder,
        url=place.database,
        payloads=place.payloads,
        key_file=place.key_file,
        options=options,
        tls=tls_files(hub),
        admin_tls=admin_tls_files(hub),
        drain_s=hub.drain_s,
        stop_timeout_s=hub.stop_timeout_s,
        log_format=hub.log,
    )

    def announce() -> None:
        url = _url(hub.host, hub.port, is_tls=settings.tls is not None)
        click.echo(state.text("hub.listening", url=url), err=True)
        if hub.admin_port is not None:
            url = _url(hub.admin_host, hub.admin_port, is_tls=settings.admin_tls is not None)
            click.echo(state.text("hub.listening-admin", url=url), err=True)
        if hub.console:
            click.echo(state.text("hub.listening-console", url=f"{url}/console/"), err=True)

    with contextlib.ExitStack() as stack:
        wires = stack.enter_context(contextlib.closing(listen(hub.host, hub.port)))
        admin = [
            stack.enter_context(contextlib.closing(listen(hub.admin_host, hub.admin_port + number)))
            for number in range(0 if hub.admin_port is None else hub.processes)
            if hub.admin_port is not None
        ]
        if hub.processes == 1:
            serve_sockets(settings, wires=wires, admin=admin[0] if admin else None, announce=announce)
        else:
            serve_processes(settings, wires=wires, admin=admin, processes=hub.processes, announce=announce)
    return ExitCode.DONE


def _url(host: str, port: int, *, is_tls: bool) -> str:
    return f"{'https' if is_tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
