"""``vnedoc recall``, ``update`` and ``replace``: what is ordered about documents that were sent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vnedoc._cli import _exchange_view as view
from vnedoc._cli import _office as office
from vnedoc.errors import ConfigurationError, ExitCode, UsageError, VnedocError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vnedoc._cli.main import CLIState
    from vnedoc.exchange.headers import DocumentHeader, Organization
    from vnedoc.exchange.models import Attachment
    from vnedoc.exchange.service import Exchange
    from vnedoc.exchange.stores.records import SentMessage

__all__ = ["recall", "replace", "update"]

_path = click.Path(path_type=Path)
_via = click.option("--via", metavar="NAME", help="Connection of the settings (default: the one it went by).")
_dry_run = click.option("--dry-run", is_flag=True, help="Show the documents; queue and send nothing.")
_reason = click.option("--reason", metavar="TEXT", help="Why; the receivers read it.")
_documents = click.option(
    "--document",
    "documents",
    multiple=True,
    type=_path,
    metavar="FILE",
    help="A file of the new version, the main document first; may be repeated.",
)


@click.command(short_help="Take back documents that were sent.")
@click.argument("message_ids", nargs=-1, required=True, metavar="ID…")
@click.option("--reason", required=True, metavar="TEXT", help="Why; the receivers read it.")
@click.option(
    "--form",
    "told",
    type=click.Choice(["order", "request", "both"]),
    default="order",
    show_default=True,
    help="Tell it by a package of recall, by a status 13 that asks, or by both; receivers' systems differ.",
)
@click.option(
    "--from", "recipients", multiple=True, metavar="CODE", help="Only from this recipient; may be repeated."
)
@_via
@office.format_option
@_dry_run
@click.pass_obj
def recall(
    state: CLIState,
    /,
    *,
    message_ids: tuple[str, ...],
    reason: str,
    told: str,
    recipients: tuple[str, ...],
    via: str | None,
    form: str,
    dry_run: bool,
) -> int:
    """Take back documents that were sent (Decision 28/2018/QĐ-TTg, article 8.2).

    What is still in the outbox is taken back here, and nothing leaves. For what has left, its recipients are told:
    they cancel the document and answer with status 15, or refuse with 16.

    \b
    Exit codes: 0 taken back, or the axis has the recall · 1 recalled before, or nothing to recall ·
    2 no such document, or a code that is none of its recipients · 6 kept, not sent yet · 7 the axis refused.
    """
    from vnedoc.exchange.service import RecallForm

    def step(exchange: Exchange, message_id: str) -> list[SentMessage]:
        return exchange.recall(
            message_id, reason=reason, form=RecallForm(told), recipients=recipients or None
        )

    return _each(state, message_ids, step, via=via, form=form, dry_run=dry_run)


@click.command(short_help="Send another version of a document, or change its recipients.")
@click.argument("message_id", metavar="ID")
@click.option(
    "--header", "header_path", type=_path, metavar="FILE", help="Other metadata: a header in TOML or JSON."
)
@_documents
@click.option(
    "--add",
    "added",
    multiple=True,
    metavar="CODE[=NAME]",
    help="A new recipient; its name is looked up in the directory. May be repeated.",
)
@click.option("--remove", "removed", multiple=True, metavar="CODE", help="Take it from this recipient.")
@_reason
@_via
@office.format_option
@_dry_run
@click.pass_obj
def update(
    state: CLIState,
    /,
    *,
    message_id: str,
    header_path: Path | None,
    documents: tuple[Path, ...],
    added: tuple[str, ...],
    removed: tuple[str, ...],
    reason: str | None,
    via: str | None,
    form: str,
    dry_run: bool,
) -> int:
    """Send another version of a document, or change its recipients.

    What names the document stays. Without --document the files of the present version go along again; new signed
    documents are verified with the trust of the settings, and a warning says what is not signed. The package goes to
    everybody who had the document and to everybody who is added; who is removed cancels it.

    \b
    Exit codes: 0 the axis has it · 1 it was recalled or replaced, or has not left yet ·
    2 no such document, or nothing changes · 4 a file cannot be read · 5 settings · 6 kept, not sent yet ·
    7 the axis refused.
    """
    if header_path is None and not (documents or added or removed):
        raise UsageError("exchange.update-of-nothing")
    header = _header(header_path)
    # What names the document stays, so whether it was issued is said by the header that it has.
    present = _present_header(state, message_id) if documents else None
    attachments = _attachments(state, documents, present)
    recipients = [_recipient(state, item) for item in added]

    def step(exchange: Exchange, message_id: str) -> list[SentMessage]:
        message = exchange.update(
            message_id,
            changed=header,
            attachments=attachments,
            added=recipients,
            removed=removed,
            reason=reason,
        )
        return [message]

    return _each(state, (message_id,), step, via=via, form=form, dry_run=dry_run)


@click.command(short_help="Send a document that takes the place of others.")
@click.argument("message_ids", nargs=-1, required=True, metavar="ID…")
@click.option(
    "--header",
    "header_path",
    type=_path,
    required=True,
    metavar="FILE",
    help="The header of the new document in TOML or JSON.",
)
@_documents
@_reason
@_via
@office.format_option
@_dry_run
@click.pass_obj
def replace(
    state: CLIState,
    /,
    *,
    message_ids: tuple[str, ...],
    header_path: Path,
    documents: tuple[Path, ...],
    reason: str | None,
    via: str | None,
    form: str,
    dry_run: bool,
) -> int:
    """Send a document that takes the place of others (Decree 30/2020/NĐ-CP, article 18.3).

    The new document has an identifier of its own. Signed documents are verified with the trust of the settings; a
    warning says what is not signed.

    \b
    Exit codes: 0 the axis has it · 1 one was recalled or replaced before, or has not left yet ·
    2 no such document, or no file · 4 a file cannot be read · 5 settings · 6 kept, not sent yet ·
    7 the axis refused.
    """
    header = _header(header_path)
    attachments = _attachments(state, documents, header)
    if header is None or attachments is None:
        raise UsageError("exchange.replace-needs-document")

    def step(exchange: Exchange, message_id: str) -> list[SentMessage]:
        del message_id
        return [exchange.replace(*message_ids, header=header, attachments=attachments, reason=reason)]

    if dry_run:
        return _each(state, message_ids, step, via=via, form=form, dry_run=True)
    return _each(state, message_ids[:1], step, via=via, form=form, dry_run=False)


def _each(
    state: CLIState,
    message_ids: Sequence[str],
    step: Callable[[Exchange, str], list[SentMessage]],
    *,
    via: str | None,
    form: str,
    dry_run: bool,
) -> int:
    """Do something with each message by the connection that it went by; one that fails does not stop the others."""
    codes = {ExitCode.DONE}
    results: list[object] = []
    with office.open_store(state.config()) as store:
        for message_id in message_ids:
            found = store.find(message_id)
            if dry_run:
                results.append(view.plain(found))
                continue
            with office.open_exchange(state, via or found.connection, store=store) as exchange:
                try:
                    results += [view.plain(message) for message in step(exchange, message_id)]
                except VnedocError as error:
                    if len(message_ids) == 1 and error.code != "exchange.kept":
                        raise
                    codes.add(error.exit_code)
                    office.complain(state, error)
    view.show_results(results, form, state)
    return office.gravest(codes)


def _header(path: Path | None) -> DocumentHeader | None:
    if path is None:
        return None
    from vnedoc.exchange.header_files import load_header
    from vnedoc.exchange.models import StatusHeader

    header = load_header(path)
    if isinstance(header, StatusHeader):
        raise UsageError("package.header-is-status")
    return header


def _present_header(state: CLIState, message_id: str) -> DocumentHeader | None:
    """Return the header of a document that was sent; ``None`` if that is none."""
    from vnedoc.exchange.models import DocumentHeader
    from vnedoc.exchange.package import read_package
    from vnedoc.exchange.stores.records import SentMessage

    with office.open_store(state.config()) as store:
        found = store.find(message_id)
        if not isinstance(found, SentMessage):
            return None
        with store.payloads.local(found.payload.sha256) as path:
            header = read_package(path, folder=None).header
    return header if isinstance(header, DocumentHeader) else None


def _attachments(
    state: CLIState, documents: tuple[Path, ...], header: DocumentHeader | None
) -> Sequence[Attachment] | None:
    if not documents:
        return None
    from vnedoc._cli.package import look_at_files
    from vnedoc.exchange.packing import arrange

    attachments = arrange(documents, keep_names=False)
    if header is not None:
        look_at_files(state, documents[0], header, documents)
    return attachments


def _recipient(state: CLIState, text: str) -> Organization:
    from vnedoc.agencies import load_directory
    from vnedoc.exchange.headers import Organization

    code, _, name = (part.strip() for part in text.partition("="))
    if name:
        return Organization(code, name)
    path = state.config().directory
    if path is None:
        raise ConfigurationError("exchange.no-name", code=code)
    return Organization(code, load_directory(path).resolve(code).name)
