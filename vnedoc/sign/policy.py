"""What a verification demands. The defaults are strict; a weaker demand is always spelled out.

The demands follow ETSI EN 319 102-1, clause 5.1.4, and Circular 15/2025/TT-BKHCN, annexes I and II.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum

__all__ = ["DEFAULT_POLICY", "Policy", "RevocationRule"]


class RevocationRule(enum.StrEnum):
    """What to do about revocation."""

    REQUIRE = "require"
    """Every certificate below the anchor must be shown to be good; unknown is INDETERMINATE (TRY_LATER)."""
    WHEN_AVAILABLE = "when-available"
    """Data that is there decides; unknown is a warning."""
    IGNORE = "ignore"
    """Revocation is not looked at; a warning says so."""


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """What a verification demands and what it may cost."""

    key_usage: frozenset[str] = frozenset({"non_repudiation"})
    """The signing certificate must have at least one of these key usages (names of RFC 5280, 4.2.1.3, in
    snake case). Extended key usage is not looked at: government certificates have none for documents."""
    revocation: RevocationRule = RevocationRule.REQUIRE
    """What to do about revocation."""
    weak_digests: frozenset[str] = frozenset({"md2", "md5", "sha1"})
    """Digest algorithms that are refused everywhere (Circular 15/2025/TT-BKHCN, Annex I)."""
    min_rsa_bits: int = 2048
    """The smallest RSA key that is accepted (Circular 15/2025/TT-BKHCN, Annex I)."""
    time_tolerance: datetime.timedelta = datetime.timedelta(minutes=5)
    """How far clocks may differ."""
    max_bytes: int = 512 * 1024 * 1024
    """The largest file that is read."""
    max_signatures: int = 200
    """The largest number of signatures in a file."""


DEFAULT_POLICY = Policy()
"""What is demanded when nothing else is said."""
