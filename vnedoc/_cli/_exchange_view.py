"""How messages are shown: plain values for JSON, lines of at most 80 columns for people."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import textwrap
import unicodedata
from typing import TYPE_CHECKING, Any

import click

from vnedoc._cli._formats import echo_document
from vnedoc._internal.clock import vietnam

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from vnedoc._cli.main import CLIState
    from vnedoc.exchange.models import Package
    from vnedoc.exchange.service import Received
    from vnedoc.exchange.stores.records import (
        DocumentOrder,
        Page,
        ReceivedMessage,
        SentMessage,
        StatusEvent,
    )

__all__ = [
    "cut",
    "is_quarantined",
    "package_plain",
    "padded",
    "plain",
    "printable",
    "received_plain",
    "say_wrapped",
    "sent_plain",
    "show_received",
    "show_results",
    "show_status",
    "shown_time",
    "sorted_by_direction",
    "split",
]

WIDTH = 80
# Four blanks, a time, two blanks.
_AFTER_TIME = 25


def is_quarantined(message: ReceivedMessage) -> bool:
    """Tell whether a message is kept apart."""
    from vnedoc.exchange.states import DeliveryState

    return message.delivery is DeliveryState.QUARANTINED


def sorted_by_direction(
    message: SentMessage | ReceivedMessage,
) -> tuple[list[SentMessage], list[ReceivedMessage]]:
    """Return a message as the one of two lists that it belongs to."""
    from vnedoc.exchange.stores.records import SentMessage

    return ([message], []) if isinstance(message, SentMessage) else ([], [message])


def split(first: Page, second: Page) -> tuple[list[SentMessage], list[ReceivedMessage]]:
    """Return the messages of a page of what was sent and of one of what was received."""
    from vnedoc.exchange.stores.records import ReceivedMessage, SentMessage

    return (
        [item for item in first.items if isinstance(item, SentMessage)],
        [item for item in second.items if isinstance(item, ReceivedMessage)],
    )


def sent_plain(message: SentMessage) -> dict[str, Any]:  # JSON
    """Return a sent message as plain values, with the state of it over all recipients."""
    from vnedoc.exchange.states import OverallState

    values: dict[str, Any] = plain(message)  # JSON
    return {**values, "overall": OverallState.of(item.delivery for item in message.consignments).value}


def plain(value: object) -> Any:  # JSON
    """Return a record as plain values."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    return str(value)


def package_plain(path: Path, package: Package) -> dict[str, Any]:  # JSON
    """Return what would be sent of a package."""
    header = package.header
    recipients = [recipient.organ_id for recipient in getattr(header, "recipients", ())]
    return {"path": str(path), "id": "-", "code": getattr(header, "code", ""), "recipients": recipients}


def show_results(results: Sequence[Any], form: str, state: CLIState) -> None:  # what plain() returned
    """Show messages that were sent, or would be."""
    if form == "json":
        echo_document("vnedoc.sending/1", messages=list(results))
        return
    for result in results:
        click.echo(cut(f"{result['id']}  {result['code']}"))
        for consignment in result.get("consignments", ()):
            recipient, delivery = consignment["recipient"]["code"], consignment["delivery"]
            click.echo(cut(f"  {padded(recipient, 36)}  {state.text(f'exchange.state-{delivery}')}"))
        for code in result.get("recipients", ()):
            click.echo(cut(f"  {code}"))


def received_plain(outcomes: Sequence[Received], state: CLIState) -> list[dict[str, Any]]:  # JSON
    """Return what was taken in as plain values."""
    return [
        {
            "doc_id": outcome.remote_doc_id,
            "kind": outcome.kind.value,
            "path": None if outcome.path is None else str(outcome.path),
            "repeated": outcome.repeated,
            "matched": outcome.matched,
            "error": None
            if outcome.error is None
            else {"id": outcome.error.code, "text": outcome.error.text(state.language)},
            "message": plain(outcome.message),
        }
        for outcome in outcomes
    ]


def show_received(outcomes: Sequence[Received], form: str, state: CLIState) -> None:
    """Show what was taken in."""
    if form == "json":
        echo_document("vnedoc.reception/1", messages=received_plain(outcomes, state))
        return
    if not outcomes:
        click.echo(state.text("exchange.nothing-received"), err=True)
    for outcome in outcomes:
        _show_outcome(outcome, state)
    # What helps one helps all that have the same trouble.
    hints = [None if item.error is None else item.error.hint(state.language) for item in outcomes]
    for hint in dict.fromkeys(filter(None, hints)):
        _say(f"  {hint}")


def _say(text: str) -> None:
    click.echo(printable(text), err=True)


def _show_outcome(outcome: Received, state: CLIState) -> None:
    from vnedoc.exchange.codes import PackageKind, status_name

    message = outcome.message
    if message is None:
        reason = "" if outcome.error is None else outcome.error.text(state.language)
        _say(state.text("exchange.not-taken-in", doc_id=outcome.remote_doc_id, reason=reason))
        return
    sender = message.sender_code
    if is_quarantined(message):
        reason = "; ".join(finding.text(state.language) for finding in message.reasons)
        _say(state.text("exchange.quarantined", doc_id=outcome.remote_doc_id, sender=sender, reason=reason))
        click.echo(str(outcome.path))
    elif message.kind is PackageKind.STATUS:
        message_id = "exchange.took-in-status" if outcome.matched else "exchange.unmatched"
        _say(
            state.text(
                message_id,
                sender=sender,
                status=message.subject,
                name=status_name(message.subject, state.language),
                code=message.code,
            )
        )
    else:
        _say(state.text(_taken_in_words(message), code=message.code, sender=sender, subject=message.subject))
        for finding in message.reasons:
            _say(f"  {finding.text(state.language)}")
        click.echo(str(outcome.path))


def _taken_in_words(message: ReceivedMessage) -> str:
    from vnedoc.exchange.codes import BusinessKind
    from vnedoc.exchange.states import DeliveryState

    if message.business_kind == BusinessKind.RECALL:
        return "exchange.took-in-recall"
    if message.delivery is DeliveryState.CANCELLED:
        return "exchange.took-in-recalled"
    if message.business_kind == BusinessKind.UPDATE:
        return "exchange.took-in-update"
    return "exchange.took-in"


def show_status(
    sent: Sequence[SentMessage],
    received: Sequence[ReceivedMessage],
    orders: Sequence[DocumentOrder],
    state: CLIState,
    *,
    history: bool,
    chosen: bool = False,
) -> None:
    """Show messages with their three states, and the orders about them.

    Args:
        sent: What was sent.
        received: What was received.
        orders: The orders.
        state: The global options.
        history: Whether attempts and every status are shown.
        chosen: Whether these are all that matched, and not all that there are.
    """
    if not sent and not received:
        click.echo(state.text("exchange.none-match" if chosen else "exchange.nothing-kept"), err=True)
    if sent:
        click.echo(state.text("exchange.heading-sent"))
    for message in sent:
        _show_message(message)
        for item in message.consignments:
            states = _states(state, item.delivery.value, item.transport, item.business)
            click.echo(cut(f"  {padded(item.recipient.code, 30)}  {states}"))
            if history:
                _show_events(item.events, state)
        _show_orders(message.id, orders, state)
        if history:
            _show_attempts(message, state)
    if received:
        click.echo(state.text("exchange.heading-received"))
    for incoming in received:
        _show_message(incoming)
        states = _states(state, incoming.delivery.value, incoming.transport, incoming.business)
        click.echo(cut(f"  {padded(incoming.sender_code, 30)}  {states}"))
        _show_orders(incoming.id, orders, state)
        if history:
            _show_events(incoming.events, state)
            for finding in incoming.reasons:
                say_wrapped(f"    {finding.text(state.language)}", indent=6)


def _show_message(message: SentMessage | ReceivedMessage) -> None:
    click.echo(cut(f"{message.id}  {padded(message.code, 14)}  {message.subject}"))


def _show_orders(message_id: str, orders: Iterable[DocumentOrder], state: CLIState) -> None:
    for order in orders:
        if message_id not in {order.order_id, order.target_id}:
            continue
        carries = order.order_id == message_id
        other = order.target_id if carries else order.order_id
        word = order.kind.value if carries else f"{order.kind.value}-of-this"
        words = state.text(f"exchange.order-{word}")
        outcome = "" if _needs_no_answer(order) else state.text(f"exchange.order-state-{order.state.value}")
        named = (other or "-")[:8] if other is not None else order.document_id
        click.echo(cut("  ".join(filter(None, [f"    {words}: {named}", outcome, order.reason]))))


def _needs_no_answer(order: DocumentOrder) -> bool:
    """Tell whether nobody answers an order: a new document takes the place of another, whatever receivers say."""
    from vnedoc.exchange.states import OrderKind, OrderState

    return order.is_ours and order.kind is OrderKind.REPLACE and order.state is OrderState.ASKED


def _show_attempts(message: SentMessage, state: CLIState) -> None:
    heading = state.text("exchange.heading-attempts")
    click.echo(f"  {heading}:")
    for attempt in message.attempts:
        said = " ".join(filter(None, [attempt.error_code, attempt.remote_code, attempt.remote_message]))
        outcome = state.text(f"exchange.attempt-{attempt.outcome}")
        say_wrapped(f"    {attempt.number}. {shown_time(attempt.started_at)}  {outcome}  {said}", indent=7)


def _show_events(events: Iterable[StatusEvent], state: CLIState) -> None:
    from vnedoc.exchange.codes import status_name

    for event in events:
        moment = event.reported_at or event.recorded_at
        name = status_name(event.code, state.language)
        say_wrapped(
            f"    {shown_time(moment)}  {event.code} {name}  {event.description or ''}", indent=_AFTER_TIME
        )


def _states(state: CLIState, delivery: str, transport: object, business: Any) -> str:  # a BusinessState
    reported = "/".join(filter(None, [business.progress, business.change])) or "-"
    words = state.text(f"exchange.state-{delivery}")
    return f"{padded(words, 18)}  {padded(str(transport or '-'), 10)}  {reported}"


def shown_time(moment: datetime.datetime) -> str:
    """Return a time as it is read in Vietnam."""
    return f"{vietnam(moment):%Y-%m-%d %H:%M:%S}"


def _columns(text: str) -> int:
    return sum(0 if unicodedata.combining(char) else 1 for char in text)


def padded(text: str, width: int) -> str:
    """Return a text filled up to some columns."""
    return text + " " * max(0, width - _columns(text))


def printable(text: str) -> str:
    """Return a text that cannot steer a terminal: subjects and reasons come from strangers."""
    return "".join(char if char.isprintable() else " " for char in text)


def say_wrapped(text: str, *, indent: int, err: bool = False) -> None:
    """Show a text that must not lose anything, in lines of at most 80 columns.

    Args:
        text: The text; blanks at its beginning stay.
        indent: Where further lines begin.
        err: Whether these are words, and not a result.
    """
    text = unicodedata.normalize("NFC", printable(text)).rstrip()
    first = text[: len(text) - len(text.lstrip())]
    lines = textwrap.wrap(
        text.lstrip(),
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
        # A path or an address stays whole: it is there to be copied.
        break_long_words=False,
    )
    for line in lines:
        click.echo(line, err=err)


def cut(text: str) -> str:
    """Return a text that fits a line and cannot steer a terminal."""
    text = unicodedata.normalize("NFC", printable(text))
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"
