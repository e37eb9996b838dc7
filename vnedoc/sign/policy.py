"""What a verification demands. The defaults are strict; a weaker demand is always spelled out.

The demands follow ETSI EN 319 102-1, clause 5.1.4, and Circular 15/2025/TT-BKHCN, annexes I and II. Policies are
written as files; :mod:`vnedoc.sign.policies` reads them.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
from typing import TYPE_CHECKING

from vnedoc.sign.report import SenderMatch

if TYPE_CHECKING:
    from vnedoc.sign.models import SignatureLevel

__all__ = ["DEFAULT_POLICY", "AcceptedUntil", "CheckLevel", "Policy", "PolicyCheck", "RevocationRule"]


class RevocationRule(enum.StrEnum):
    """What to do about revocation."""

    REQUIRE = "require"
    """Every certificate below the anchor must be shown to be good; unknown is INDETERMINATE (TRY_LATER)."""
    WHEN_AVAILABLE = "when-available"
    """Data that is there decides; unknown is a warning."""
    IGNORE = "ignore"
    """Revocation is not looked at; a warning says so."""


class CheckLevel(enum.StrEnum):
    """What follows when a check does not hold."""

    FAIL = "fail"
    """The file does not pass."""
    WARN = "warn"
    """A note in the report; the file passes."""
    INFORM = "inform"
    """Listed among the checks, nowhere else."""
    IGNORE = "ignore"
    """Not looked at."""


@dataclasses.dataclass(frozen=True, slots=True)
class PolicyCheck:
    """One check that a policy names, and how much it matters there."""

    id: str
    """Which check; see :data:`vnedoc.sign.checks.CHECKS`."""
    level: CheckLevel
    """What follows when it does not hold."""
    vi: str | None = None
    """What is then said in Vietnamese; ``None`` says what the catalogue says."""
    en: str | None = None
    """What is then said in English."""


@dataclasses.dataclass(frozen=True, slots=True)
class AcceptedUntil:
    """A digest algorithm that was good once."""

    digest: str
    """Its name, such as ``sha1``."""
    until: datetime.date
    """The last day, in UTC, for which it is accepted; the day that counts is the one the signature is proven for."""
    anchors: frozenset[str] = frozenset()
    """SHA-256 fingerprints of the anchors below which this holds, for certificates and revocation data only. Empty:
    it holds everywhere, also for the documents themselves."""


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """What a verification demands and what it may cost."""

    key_usage: frozenset[str] = frozenset({"non_repudiation"})
    """The signing certificate must have at least one of these key usages (names of RFC 5280, 4.2.1.3, in
    snake case). Extended key usage is not looked at: government certificates have none for documents."""
    revocation: RevocationRule = RevocationRule.REQUIRE
    """What to do about revocation."""
    weak_digests: frozenset[str] = frozenset({"md2", "md5", "sha1"})
    """Digest algorithms that are refused (Circular 15/2025/TT-BKHCN, Annex I), unless :attr:`dated` has them."""
    min_rsa_bits: int = 2048
    """The smallest RSA key that is accepted (Circular 15/2025/TT-BKHCN, Annex I)."""
    time_tolerance: datetime.timedelta = datetime.timedelta(minutes=5)
    """How far clocks may differ."""
    max_bytes: int = 512 * 1024 * 1024
    """The largest file that is read."""
    max_signatures: int = 200
    """The largest number of signatures in a file."""
    name: str = "default"
    """What the policy is called; reports name it."""
    checks: tuple[PolicyCheck, ...] = ()
    """What is asked beyond sound signatures."""
    sender_match: SenderMatch = SenderMatch.NAMED
    """The weakest match of certificate and sender that is enough."""
    level: SignatureLevel | None = None
    """The lowest level that the check ``level-reached`` is content with."""
    dated: tuple[AcceptedUntil, ...] = ()
    """Digest algorithms that are accepted up to a date and refused later."""
    min_ec_bits: int = 256
    """The smallest key on an elliptic curve (Circular 15/2025/TT-BKHCN, Annex I)."""

    @property
    def asked_checks(self) -> tuple[str, ...]:
        """The ids of the checks that are not ignored."""
        return tuple(check.id for check in self.checks if check.level is not CheckLevel.IGNORE)

    def accepts_digest(self, digest: str, moment: datetime.datetime, *, anchor: str | None = None) -> bool:
        """Tell whether a digest algorithm is accepted at a time.

        Args:
            digest: Its name.
            moment: The time.
            anchor: Fingerprint of the anchor above; ``None`` where the question is about a document.
        """
        rules = [
            rule
            for rule in self.dated
            if rule.digest == digest and (not rule.anchors or (anchor is not None and anchor in rule.anchors))
        ]
        if rules:
            return any(moment.astimezone(datetime.UTC).date() <= rule.until for rule in rules)
        return digest not in self.weak_digests

    def holds_until(self, anchor: str) -> datetime.datetime | None:
        """Return when something that is accepted below an anchor ends to be; ``None``: nothing does."""
        ends = [rule.until for rule in self.dated if not rule.anchors or anchor in rule.anchors]
        if not ends:
            return None
        return datetime.datetime.combine(min(ends), datetime.time.max, tzinfo=datetime.UTC)


DEFAULT_POLICY = Policy()
"""What is demanded when nothing else is said."""
