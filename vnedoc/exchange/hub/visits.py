"""One request on its way through a hub: who sent it, which system that turned out to be, what room it holds.

A visit is found by a context variable, also in the threads that work for a request. So what a wire calls knows who
calls, and no wire has to hand it on.
"""

from __future__ import annotations

import contextlib
import contextvars
import time
from typing import TYPE_CHECKING

from vnedoc.exchange.hub.peers import NOBODY, place_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnedoc.exchange.hub.limits import Share
    from vnedoc.exchange.hub.peers import Peer
    from vnedoc.exchange.hub.refusals import RefusalError

__all__ = ["Visit", "current_visit", "note_account", "note_reason", "visiting"]

_VISIT: contextvars.ContextVar[Visit | None] = contextvars.ContextVar("vnedoc_hub_visit", default=None)


class Visit:
    """One request.

    Args:
        peer: Who sent it.
    """

    def __init__(self, peer: Peer = NOBODY) -> None:
        self.peer = peer
        self.place = place_of(peer.address)
        self.began = time.monotonic()
        self.system_id: str | None = None
        """The system, once it proved to be it."""
        self.is_stranger = False
        """Whether somebody was not let in."""
        self.refusal: RefusalError | None = None
        """Why it was refused."""
        self.account: str | None = None
        """Who wants to run the hub: an account or a token that there is, whether it was let in or not."""
        self.reason: str | None = None
        """Why somebody who wants to run the hub may not: the id of the sentence."""
        self.over_rate: RefusalError | None = None
        """That the system sends too many requests; once said, it is said for the whole request."""
        self.share: Share | None = None
        """The room that its package takes."""
        self.bytes_in = 0
        """How much of its body came."""
        self.ending = contextlib.AsyncExitStack()
        """What is given back when it is over."""

    @property
    def key(self) -> str:
        """Whose room it takes: the system's, or the place's while the system is not known."""
        return f"@{self.place}" if self.system_id is None else self.system_id


def current_visit() -> Visit | None:
    """Return the visit that is going on; ``None`` if nobody came in by the door."""
    return _VISIT.get()


def note_account(name: str | None) -> None:
    """Note for the log who wants to run the hub; ``None``: nobody whom the hub knows."""
    visit = current_visit()
    if visit is not None:
        visit.account = name


def note_reason(message_id: str) -> None:
    """Note for the log why somebody who wants to run the hub may not."""
    visit = current_visit()
    if visit is not None:
        visit.reason = message_id


@contextlib.contextmanager
def visiting(visit: Visit) -> Iterator[None]:
    """Let a visit be the current one."""
    token = _VISIT.set(visit)
    try:
        yield
    finally:
        _VISIT.reset(token)
