"""What an agency's exchange works with: its connection, its store, its codes, its options."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import enum
import secrets
from typing import TYPE_CHECKING, Protocol

from vnedoc.errors import UsageError
from vnedoc.exchange._breaker import CircuitBreaker
from vnedoc.exchange.codes import Priority
from vnedoc.exchange.package import VNPT, Dialect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vnedoc.exchange.connectors.base import Connector
    from vnedoc.exchange.models import Organization
    from vnedoc.exchange.stores.records import ReceivedMessage, SentMessage
    from vnedoc.exchange.stores.store import AgencyStore

__all__ = ["ClockWatch", "Desk", "ExchangeOptions", "NoProgress", "Progress", "RecallForm"]


class RecallForm(enum.StrEnum):
    """How a recall is told; systems of receivers differ in what they understand."""

    ORDER = "order"
    """A package of the business kind 1 to all recipients."""
    REQUEST = "request"
    """A status 13 to each recipient, which asks."""
    BOTH = "both"
    """First the package, then the statuses."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeOptions:
    """How an exchange behaves."""

    dialect: Dialect = VNPT
    """How status packages and orders are written."""
    answer_quarantined: bool = False
    """Whether the sender of a package that is kept apart is told so with status 02."""
    apply_recalls: bool = True
    """Whether a recall that comes in cancels its document at once, and is answered with 15; if not, a person answers
    15 or 16. The law leaves no choice (Decision 28/2018/QĐ-TTg, article 9.2), only who does it."""
    apply_take_backs: bool = False
    """The same for a status 13, which only asks."""
    apply_updates: bool = True
    """Whether an update that comes in takes the place of its document at once, and is answered with 15."""
    first_retry: datetime.timedelta = datetime.timedelta(seconds=10)
    """The longest wait before the second attempt; it is three times longer before each further one. Urgent documents
    wait a half (khẩn), a quarter (thượng khẩn) or a tenth (hỏa tốc) of it."""
    longest_retry: datetime.timedelta = datetime.timedelta(hours=1)
    """The longest wait between two attempts."""
    expires_after: datetime.timedelta = datetime.timedelta(hours=24)
    """How long a message is tried; then, and after five tries, a person must decide."""
    lease: datetime.timedelta = datetime.timedelta(seconds=60)
    """How long a message stays with a worker that gives no sign of life."""

    def first_wait(self, priority: int) -> datetime.timedelta:
        """Return the longest wait before the second attempt for a document of some urgency."""
        parts = {
            Priority.URGENT: 2,
            Priority.VERY_URGENT: 4,
            Priority.EXPRESS: 10,
            Priority.EXPRESS_TIMED: 10,
        }
        return self.first_retry / next((part for rank, part in parts.items() if rank == priority), 1)


class Progress(Protocol):
    """Shows how far a transfer is."""

    def transfer(
        self, label: str, size: int | None
    ) -> contextlib.AbstractContextManager[Callable[[int], object]]:
        """Open the display of one transfer; what it gives is called with each number of bytes that was moved.

        Args:
            label: What is moved.
            size: How many bytes in all; ``None`` if that is not known.
        """
        ...


class NoProgress:
    """Shows nothing."""

    @contextlib.contextmanager
    def transfer(self, label: str, size: int | None) -> Iterator[Callable[[int], object]]:  # noqa: ARG002 - the protocol
        """Show nothing of a transfer."""
        yield lambda _: None


class ClockWatch:
    """Tells when to look whether the clock was set back: at first, when it is seen to be, and now and then.

    Another process may have worked by the clock as it was.

    Args:
        every: How often it is looked at without a reason.
    """

    def __init__(self, every: datetime.timedelta = datetime.timedelta(minutes=1)) -> None:
        self._every = every
        self._seen: datetime.datetime | None = None

    def is_due(self, now: datetime.datetime) -> bool:
        """Tell whether to look now; the caller does."""
        if self._seen is not None and self._seen <= now < self._seen + self._every:
            return False
        self._seen = now
        return True


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Everything that the steps of an exchange need; the steps are functions over it."""

    connector: Connector
    """The way to the axis."""
    store: AgencyStore
    """The memory."""
    organization: Organization
    """The agency, under its present code."""
    codes: frozenset[str]
    """All of its codes."""
    options: ExchangeOptions
    """How it behaves."""
    clock: Callable[[], datetime.datetime]
    """Tells the time."""
    progress: Progress
    """Shows transfers."""
    breaker: CircuitBreaker = dataclasses.field(default_factory=CircuitBreaker)
    """Leaves an axis alone that does not answer."""
    clock_watch: ClockWatch = dataclasses.field(default_factory=ClockWatch)
    """Tells when to look whether the clock was set back."""
    owner: str = dataclasses.field(default_factory=lambda: secrets.token_hex(16))
    """In whose name messages are claimed."""

    @property
    def name(self) -> str:
        """The name of the connection."""
        return self.connector.name

    def under(self, code: str | None) -> Organization:
        """Return the agency under one of its codes: it answers under the code that it was addressed by."""
        if code is None or code not in self.codes:
            return self.organization
        return dataclasses.replace(self.organization, organ_id=code)

    def check_connection(self, message: SentMessage | ReceivedMessage) -> None:
        """Make sure that a message goes or came by this connection.

        Raises:
            UsageError: It does not.
        """
        if message.connection != self.name:
            raise UsageError(
                "exchange.other-connection", id=message.id, came=message.connection, name=self.name
            )
