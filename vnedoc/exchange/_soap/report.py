"""Reports of the eDoc service, and what a report or a fault means for the message that met it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from vnedoc.exchange._soap.envelope import child, child_text
from vnedoc.exchange._soap.names import ReportCode

if TYPE_CHECKING:
    from vnedoc.exchange._edxml.tree import Node

__all__ = ["NOT_LET_IN", "Report", "is_own_trouble", "read_report"]

NOT_LET_IN = frozenset(
    {ReportCode.PERMISSION.value, ReportCode.CHECK_PERMISSION.value, ReportCode.CHECK_SIGNATURE.value}
)
"""Codes that refuse the caller, not what it brings."""
_MAX_ERRORS = 50


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What the service says of a request."""

    is_success: bool
    """Whether it did what was asked."""
    errors: tuple[tuple[str, str], ...]
    """Why not: codes and sentences."""


def read_report(content: Node) -> Report | None:
    """Return the report in the answer to an operation, around which there may be an element, or ``None``."""
    node = content if content.name == "Report" else child(content, "Report")
    if node is None:
        return None
    rows = child(node, "ErrorList")
    found = [
        (child_text(row, "Code") or "", child_text(row, "Description") or "")
        for row in (rows.children if rows is not None else ())
    ]
    success = (child_text(node, "IsSuccess") or "").lower() in {"true", "1"}
    return Report(success, tuple(found[:_MAX_ERRORS]))


def is_own_trouble(text: str) -> bool:
    """Tell whether a sentence of the platform reports an exception inside it.

    The code is then that of the operation, as for refusals; the sentence begins in one way for all of them.
    """
    return text.startswith("Error ")
