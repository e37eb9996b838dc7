"""``vnedoc hub prune``: remove from a hub what is old and finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vnedoc._cli._formats import format_option
from vnedoc._cli._hub_folder import actor, opened_hub
from vnedoc._cli._pruning import age, age_options, show_prune_report
from vnedoc.errors import ExitCode

if TYPE_CHECKING:
    from vnedoc._cli.main import CLIState

__all__ = ["prune"]


@click.command(short_help="Remove what is old and finished.")
@age_options
@click.option(
    "--search-store",
    is_flag=True,
    help="Also remove packages that no message names: leavings of processes that were killed.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@format_option
@click.pass_obj
def prune(
    state: CLIState,
    *,
    payloads_older_than: str | None,
    metadata_older_than: str | None,
    search_store: bool,
    dry_run: bool,
    form: str,
) -> int:
    """Remove packages, and much later messages, that are old and finished; and packages that were refused.

    Finished is a message that is done, has failed or has expired for every recipient; the age counts from the last
    of these. What was parked waits for a person. Ages that no option says are taken from keep_payloads_days and
    keep_metadata_days of the settings, by which a hub that runs does the same by itself; without any, only packages
    go that were refused a day ago or longer. A hub may run meanwhile.

    --search-store removes whatever else is a day old in the place of the packages. Use it only if nothing but this
    hub is there, and never on a database that was just restored.

    \b
    Exit codes: 0 done · 2 the ages make no sense · 4 the database or the packages cannot be read or written ·
    5 there is no hub · 6 no answer from a server.
    """
    from vnedoc._internal.clock import utc_now
    from vnedoc.exchange.hub.audit import By
    from vnedoc.exchange.hub.configuration import retention_of
    from vnedoc.exchange.stores.hub_retention import HubRetention
    from vnedoc.exchange.stores.pruning import PruneLimits

    limits = retention_of(state.config().hub)
    if payloads_older_than is not None or metadata_older_than is not None:
        limits = PruneLimits(
            payloads_older_than=age(payloads_older_than), metadata_older_than=age(metadata_older_than)
        )
    with opened_hub() as store:
        report = HubRetention(store).prune(
            limits, by=By(actor(), utc_now()), search_store=search_store, dry_run=dry_run
        )
    show_prune_report(state, report, form=form, schema="vnedoc.hub-prune/1", is_trial=dry_run)
    return ExitCode.DONE
