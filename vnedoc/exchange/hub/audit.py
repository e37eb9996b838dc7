"""The audit log of a hub: who changed what, in a chain that shows when an entry was changed or taken out.

Each entry carries the SHA-256 of the one before it. Whoever may write to the database can rewrite the whole chain, or
cut off its end and set the head back: that shows only against a head that was written down elsewhere. So
``vnedoc hub audit --check`` prints the head, and ``--head`` takes one from an earlier day.

This module decides; :mod:`vnedoc.exchange.stores.hub_audit` reads and writes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

from vnedoc._internal.clock import as_utc
from vnedoc.errors import UsageError

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Mapping

__all__ = [
    "FIRST_HASH",
    "AuditCheck",
    "AuditEntry",
    "AuditHead",
    "By",
    "canonical_detail",
    "check_chain",
    "entry_hash",
]

FIRST_HASH = "0" * 64
"""What the first entry names as the hash before it."""
MAX_PROBLEMS = 1000
"""How many numbers of wrong entries are kept."""


@dataclasses.dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change."""

    number: int
    """Counts from 1, without gaps."""
    at: datetime.datetime
    """When."""
    actor: str
    """Who: the name of an account, ``token:`` and its id, ``system:`` and its id, or ``local:`` and the account of
    the machine."""
    action: str
    """What was done, such as ``system.add``."""
    subject: str
    """To what, such as ``system:H99.SYS``."""
    detail: Mapping[str, Any]  # what JSON can hold
    """What else is to be known; never a secret."""
    previous_hash: str
    """The hash of the entry before it."""
    hash: str
    """SHA-256 over the canonical JSON of everything else, in hexadecimal."""


@dataclasses.dataclass(frozen=True, slots=True)
class By:
    """Who changes something, and when."""

    actor: str
    """As in :attr:`AuditEntry.actor`."""
    at: datetime.datetime
    """When."""


@dataclasses.dataclass(frozen=True, slots=True)
class AuditHead:
    """The end of the audit log; written down elsewhere it proves what was there."""

    number: int
    """How many entries there are."""
    hash: str
    """The hash of the last one."""

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> AuditHead:
        """Read a head as it was printed.

        Raises:
            UsageError: It is none.
        """
        number, _, digest = text.strip().partition(":")
        if not (
            number.isascii() and number.isdecimal() and len(number) < 19 and len(digest) == len(FIRST_HASH)
        ):
            raise UsageError("hub.bad-audit-head", value=text[:100])
        return cls(int(number), digest.lower())


@dataclasses.dataclass(frozen=True, slots=True)
class AuditCheck:
    """What a check of the audit log found."""

    head: AuditHead
    """The end of the log."""
    wrong: tuple[int, ...]
    """Numbers where the chain is broken: an entry changed, missing or put in; at most :data:`MAX_PROBLEMS`."""
    is_cut: bool
    """Whether the log does not end where its head says."""
    holds_known_head: bool
    """Whether the head that was written down is part of the log; true if none was given."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing was found."""
        return not self.wrong and not self.is_cut and self.holds_known_head


def canonical_detail(detail: Mapping[str, object]) -> str:
    """Return the detail of an entry in the one form that is hashed: sorted keys, no spaces, ASCII."""
    return json.dumps(detail, ensure_ascii=True, sort_keys=True, separators=(",", ":"), default=str)


def entry_hash(
    *,
    number: int,
    at: datetime.datetime,
    actor: str,
    action: str,
    subject: str,
    detail: str,
    previous_hash: str,
) -> str:
    """Return the hash of an entry: SHA-256 over the canonical JSON of its other fields.

    Args:
        number: See :class:`AuditEntry`, as the others.
        at: When.
        actor: Who.
        action: What.
        subject: To what.
        detail: The detail as :func:`canonical_detail` wrote it.
        previous_hash: The hash of the entry before it.
    """
    content = {
        "number": number,
        "at": as_utc(at).isoformat(timespec="microseconds"),
        "actor": actor,
        "action": action,
        "subject": subject,
        "detail": detail,
        "previous_hash": previous_hash,
    }
    return hashlib.sha256(canonical_detail(content).encode("ascii")).hexdigest()


def check_chain(
    entries: Iterable[AuditEntry], head: AuditHead, *, known_head: AuditHead | None = None
) -> AuditCheck:
    """Check a whole audit log.

    Args:
        entries: All entries, by their numbers.
        head: Its end, as it is kept apart.
        known_head: An earlier end that was written down elsewhere.
    """
    wrong: list[int] = []
    number, previous = 0, FIRST_HASH
    holds = known_head is None or (known_head.number == 0 and known_head.hash == FIRST_HASH)
    for entry in entries:
        expected = entry_hash(
            number=entry.number,
            at=entry.at,
            actor=entry.actor,
            action=entry.action,
            subject=entry.subject,
            detail=canonical_detail(entry.detail),
            previous_hash=entry.previous_hash,
        )
        fits = entry.number == number + 1 and entry.previous_hash == previous and entry.hash == expected
        if not fits and len(wrong) < MAX_PROBLEMS:
            wrong.append(entry.number)
        if known_head is not None and entry.number == known_head.number:
            holds = entry.hash == known_head.hash
        number, previous = entry.number, entry.hash
    return AuditCheck(head, tuple(wrong), (number, previous) != (head.number, head.hash), holds)
