"""Which document answers which: threads across packages, and rings in them.

``ResponseFor`` and ``ReplacementInfo`` name documents that came before. A document that answers itself, or documents
that answer each other in a ring, send whoever follows the thread round for ever.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from vnedoc.exchange.codes import BusinessKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vnedoc.exchange.models import DocumentHeader

__all__ = ["earlier_documents", "find_rings"]

MAX_RINGS = 100
"""How many rings are named; whoever has more has other worries."""


def earlier_documents(header: DocumentHeader) -> tuple[str, ...]:
    """Return the identifiers of the documents that one answers or replaces."""
    answered = [item.document_id for item in header.response_for]
    replaced = [item.document_id for item in header.business.replacement_info_list]
    if header.business.kind in {BusinessKind.RECALL, BusinessKind.UPDATE}:
        # These orders carry the identifier of the very document that they are about.
        answered = [item for item in answered if item != header.document_id]
    return tuple(dict.fromkeys(item for item in (*answered, *replaced) if item))


def find_rings(headers: Iterable[DocumentHeader]) -> tuple[tuple[str, ...], ...]:
    """Return the rings among documents, each as the identifiers on it; a document that answers itself is one.

    The time grows with the number of documents and references, whatever their shape; at most 100 are named.
    """
    links: dict[str, tuple[str, ...]] = {}
    for header in headers:
        if header.document_id:
            links[header.document_id] = (*links.get(header.document_id, ()), *earlier_documents(header))
    done: set[str] = set()
    rings: list[tuple[str, ...]] = []
    for start in links:
        if start not in done:
            rings += itertools.islice(_follow(start, links, done), MAX_RINGS - len(rings))
        if len(rings) >= MAX_RINGS:
            break
    return tuple(rings)


def _follow(start: str, links: Mapping[str, tuple[str, ...]], done: set[str]) -> Iterator[tuple[str, ...]]:
    # Without recursion: a thread may be longer than Python's stack is deep.
    way, place = [start], {start: 0}
    waiting = [iter(links[start])]
    while waiting:
        target = next(waiting[-1], None)
        if target is None:
            waiting.pop()
            left = way.pop()
            del place[left]
            done.add(left)
        elif target in place:
            yield tuple(way[place[target] :])
        elif target in links and target not in done:
            place[target] = len(way)
            way.append(target)
            waiting.append(iter(links[target]))
