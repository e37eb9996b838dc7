"""What connectors read in the JSON of axes: rows, texts, statuses, tokens. What cannot be used there is left out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from vnedoc.errors import ConnectorError
from vnedoc.exchange.connectors.base import RemoteMessage
from vnedoc.exchange.states import TransportStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vnedoc.exchange.codes import PackageKind

__all__ = ["message_of", "not_ended", "object_rows", "status_of", "text_of", "token_of"]


def object_rows(rows: object, *, name: str) -> list[dict[str, Any]]:  # JSON
    """Return the objects of a JSON list; an absent list is an empty one.

    Raises:
        ConnectorError: It is no list.
    """
    if isinstance(rows, str):
        # Some adapters put the list as JSON text into the envelope.
        try:
            rows = json.loads(rows) if rows.strip() else None
        except (ValueError, RecursionError) as exc:
            raise ConnectorError("connector.bad-answer", name=name, reason=str(exc)[:200]) from exc
    if rows is None:
        return []
    if not isinstance(rows, list):
        raise ConnectorError("connector.bad-answer", name=name, reason="data")
    return [row for row in rows if isinstance(row, dict)]


def text_of(row: Mapping[str, Any], key: str) -> str | None:  # JSON
    """Return a value of a JSON object as text; ``None`` if it is absent, empty or no simple value."""
    value = row.get(key)
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value) or None
    return None


def status_of(value: str | None) -> TransportStatus | None:
    """Return a transport status by its word, in any case of letters; ``None`` for a word of the axis's own."""
    try:
        return TransportStatus((value or "").lower())
    except ValueError:
        return None


def message_of(
    row: Mapping[str, Any], kind: PackageKind, *, created_key: str = "createdTime"
) -> RemoteMessage:  # JSON
    """Return a row of a list of what waits, as the national axis and those made after it have it.

    Args:
        row: The row.
        kind: What the package carries.
        created_key: The key of the time at which the axis took it.
    """
    return RemoteMessage(
        doc_id=text_of(row, "docId") or "",
        kind=kind,
        sender_code=text_of(row, "from"),
        recipient_code=text_of(row, "to"),
        status=status_of(text_of(row, "status")),
        created_at=text_of(row, created_key),
    )


def not_ended(messages: Iterable[RemoteMessage]) -> list[RemoteMessage]:
    """Return those messages of a list of days that still wait: what was acknowledged stays in such a list."""
    return [message for message in messages if message.status is None or not message.status.has_ended]


def token_of(fields: object, key: str) -> str | None:
    """Return a token of a JSON object; ``None`` if there is none that can stand in a header."""
    token = text_of(fields, key) if isinstance(fields, dict) else None
    return token if token is not None and token.isascii() and token.isprintable() else None
