"""What a node of a PDF hangs on: the line of its parents, as qpdf reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pikepdf

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["lineage"]

_MAX_LINE = 64


def lineage(node: pikepdf.Object | None) -> Iterator[pikepdf.Object]:
    """Yield a node of a form (ISO 32000-2, 12.7.4.2) or of the page tree (7.7.3.4), then its parents upwards.

    Some entries are inherited along this line. One that is longer than any real one is a loop, and ends.
    """
    for _ in range(_MAX_LINE):
        if not isinstance(node, pikepdf.Dictionary):
            return
        yield node
        node = node.get("/Parent")
