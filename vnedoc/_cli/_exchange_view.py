"""How messages are shown: plain values for JSON, lines of at most 80 columns for people."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import unicodedata
from typing import TYPE_CHECKING, Any

import click

from vnedoc._internal.clock import vietnam

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from vnedoc._cli.main import CLIState
    from vnedoc.exchange.models import Package
    from vnedoc.exchange.service import Received
    from vnedoc.exchange.stores.records import ReceivedMessage, SentMessage, StatusEvent

__all__ = [
    "is_quarantined",
    "package_plain",
    "plain",
    "show_received",
    "show_results",
    "show_status",
    "sorted_by_direction",
]

WIDTH = 80


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
        document = {"schema": "vnedoc.sending/1", "messages": list(results)}
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
        return
    for result in results:
        click.echo(_cut(f"{result['id']}  {result['code']}"))
        for consignment in result.get("consignments", ()):
            recipient, delivery = consignment["recipient"]["code"], consignment["delivery"]
            click.echo(_cut(f"  {_padded(recipient, 36)}  {state.text(f'exchange.state-{delivery}')}"))
        for code in result.get("recipients", ()):
            click.echo(_cut(f"  {code}"))


def show_received(outcomes: Sequence[Received], form: str, state: CLIState) -> None:
    """Show what was taken in."""
    if form == "json":
        messages = [
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
        document = {"schema": "vnedoc.reception/1", "messages": messages}
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
        return
    if not outcomes:
        click.echo(state.text("exchange.nothing-received"), err=True)
    for outcome in outcomes:
        _show_outcome(outcome, state)


def _say(text: str) -> None:
    click.echo(_printable(text), err=True)


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
        _say(state.text("exchange.took-in", code=message.code, sender=sender, subject=message.subject))
        for finding in message.reasons:
            _say(f"  {finding.text(state.language)}")
        click.echo(str(outcome.path))


def show_status(
    sent: Sequence[SentMessage], received: Sequence[ReceivedMessage], state: CLIState, *, history: bool
) -> None:
    """Show messages with their three states."""
    if not sent and not received:
        click.echo(state.text("exchange.nothing-kept"), err=True)
    if sent:
        click.echo(state.text("exchange.heading-sent"))
    for message in sent:
        _show_message(message)
        for item in message.consignments:
            states = _states(state, item.delivery.value, item.transport, item.business)
            click.echo(_cut(f"  {_padded(item.recipient.code, 30)}  {states}"))
            if history:
                _show_events(item.events, state)
        if history:
            _show_attempts(message, state)
    if received:
        click.echo(state.text("exchange.heading-received"))
    for incoming in received:
        _show_message(incoming)
        states = _states(state, incoming.delivery.value, incoming.transport, incoming.business)
        click.echo(_cut(f"  {_padded(incoming.sender_code, 30)}  {states}"))
        if history:
            _show_events(incoming.events, state)
            for finding in incoming.reasons:
                click.echo(_printable(f"    {finding.text(state.language)}"))


def _show_message(message: SentMessage | ReceivedMessage) -> None:
    click.echo(_cut(f"{message.id}  {_padded(message.code, 14)}  {message.subject}"))


def _show_attempts(message: SentMessage, state: CLIState) -> None:
    heading = state.text("exchange.heading-attempts")
    click.echo(f"  {heading}:")
    for attempt in message.attempts:
        said = " ".join(filter(None, [attempt.error_code, attempt.remote_code, attempt.remote_message]))
        click.echo(
            _printable(
                f"    {attempt.number}. {_time(attempt.started_at)}  {attempt.outcome}  {said}"
            ).rstrip()
        )


def _show_events(events: Iterable[StatusEvent], state: CLIState) -> None:
    from vnedoc.exchange.codes import status_name

    for event in events:
        moment = event.reported_at or event.recorded_at
        name = status_name(event.code, state.language)
        click.echo(
            _printable(f"    {_time(moment)}  {event.code} {name}  {event.description or ''}").rstrip()
        )


def _states(state: CLIState, delivery: str, transport: object, business: Any) -> str:  # a BusinessState
    reported = "/".join(filter(None, [business.progress, business.change])) or "-"
    words = state.text(f"exchange.state-{delivery}")
    return f"{_padded(words, 18)}  {_padded(str(transport or '-'), 10)}  {reported}"


def _time(moment: datetime.datetime) -> str:
    return f"{vietnam(moment):%Y-%m-%d %H:%M:%S}"


def _columns(text: str) -> int:
    return sum(0 if unicodedata.combining(char) else 1 for char in text)


def _padded(text: str, width: int) -> str:
    return text + " " * max(0, width - _columns(text))


def _printable(text: str) -> str:
    """Return a text that cannot steer a terminal: subjects and reasons come from strangers."""
    return "".join(char if char.isprintable() else " " for char in text)


def _cut(text: str) -> str:
    text = unicodedata.normalize("NFC", _printable(text))
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"
