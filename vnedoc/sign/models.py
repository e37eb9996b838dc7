"""The words of signing: roles, levels, places on a page.

Roles and how they are shown follow Decree 30/2020/NĐ-CP, Annex I; levels follow ETSI EN 319 142-1.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Self

from vnedoc.errors import UsageError

__all__ = ["Box", "Occurrence", "Placement", "Role", "SignatureLevel", "SignatureMechanism"]

POINTS_PER_MM = 72 / 25.4


class Role(enum.StrEnum):
    """What a signature means on an administrative document."""

    INITIAL = "initial"
    """Ký nháy: a reviewer's initials; practice, not law."""
    APPROVE = "approve"
    """The person with authority: blue picture of the handwritten signature (Annex I, part I, II.7)."""
    NUMBER = "number"
    """The number of the document, as text."""
    DATE = "date"
    """The date of the document, as text."""
    ISSUE = "issue"
    """The agency: red seal at true size over a third of the person's signature (Annex I, part I, II.8a)."""
    APPENDIX = "appendix"
    """The agency on an appendix in its own file: text only, top right of page 1 (Annex I, part I, II.8b)."""
    COPY = "copy"
    """The agency on an electronic copy: text only, top right of page 1 (Annex I, part II, I.3)."""
    INCOMING = "incoming"
    """The receiving clerk's stamp."""
    COMMENT = "comment"
    """A leader's comment, as text."""
    INVISIBLE = "invisible"
    """Nothing is shown."""


class SignatureLevel(enum.StrEnum):
    """A level of ETSI EN 319 142-1, in the standard's own words."""

    B_B = "PAdES-B-B"
    """Signature with the signing certificate; the time is claimed."""
    B_T = "PAdES-B-T"
    """B-B with a time-stamp token on the signature."""
    B_LT = "PAdES-B-LT"
    """B-T with what is needed to verify it later."""
    B_LTA = "PAdES-B-LTA"
    """B-LT with a document time-stamp over it."""

    @classmethod
    def from_option(cls, value: str) -> SignatureLevel:
        """Return the level for a command-line value such as ``b-t``."""
        return cls(f"PAdES-{value.upper()}")


class SignatureMechanism(enum.StrEnum):
    """How the bytes are signed."""

    RSA_PKCS1_V15 = "rsassa_pkcs1v15"
    """RSASSA-PKCS1-v1_5 (RFC 8017, 8.2): what government tokens and tools use today."""
    RSA_PSS = "rsassa_pss"
    """RSASSA-PSS (RFC 8017, 8.1): what Circular 15/2025/TT-BKHCN, Annex I, names."""
    ECDSA = "ecdsa"
    """ECDSA on a NIST curve."""


@dataclasses.dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on a page *as it is shown*: after /Rotate, within the crop box.

    The origin is the lower left corner of what a reader sees. All values are in points (1/72 inch).
    """

    x: float
    """Left edge."""
    y: float
    """Lower edge."""
    width: float
    """Width; positive."""
    height: float
    """Height; positive."""

    def __post_init__(self) -> None:
        if not (self.width > 0 and self.height > 0):
            raise UsageError("usage.empty-box", box=self.as_text())

    @classmethod
    def parse(cls, value: str) -> Self:
        """Read ``X,Y,W,H`` in points.

        Raises:
            UsageError: The value is not four finite numbers.
        """
        try:
            x, y, width, height = (float(part) for part in value.split(","))
        except ValueError as exc:
            raise UsageError("usage.bad-box", value=value) from exc
        # "nan" and "inf" are floats to Python, never a place on a page.
        if not all(abs(number) < 1e6 for number in (x, y, width, height)):
            raise UsageError("usage.bad-box", value=value)
        return cls(x, y, width, height)

    @property
    def right(self) -> float:
        """Right edge."""
        return self.x + self.width

    @property
    def top(self) -> float:
        """Upper edge."""
        return self.y + self.height

    def as_text(self) -> str:
        """Return ``X,Y,W,H`` as :meth:`parse` reads it."""
        return ",".join(f"{number:g}" for number in (self.x, self.y, self.width, self.height))


class Occurrence(enum.StrEnum):
    """Which place is meant when a text stands at several."""

    ONLY = "only"
    """There must be just one."""
    FIRST = "first"
    """The first in reading order."""
    LAST = "last"
    """The last in reading order: the name of the signer stands at the end."""


@dataclasses.dataclass(frozen=True, slots=True)
class Placement:
    """Where on the document something is shown: a page with a box, or a text to find.

    Exactly one of ``box`` and ``anchor`` is given.
    """

    page: int | None = None
    """Number of the page, from 1; negative counts from the end. ``None`` with an anchor: search all pages."""
    box: Box | None = None
    """The place on that page."""
    anchor: str | None = None
    """A text on the page that marks the place, such as the name of the signer."""
    occurrence: Occurrence = Occurrence.ONLY
    """Which place is meant when the anchor stands at several; without a choice that is an error."""

    def __post_init__(self) -> None:
        if (self.box is None) == (self.anchor is None):
            raise UsageError("usage.box-or-anchor")
        if self.page == 0:
            raise UsageError("usage.page-zero")
        if self.anchor is not None and not self.anchor.strip():
            raise UsageError("usage.empty-anchor")
