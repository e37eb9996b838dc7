"""Agency codes in both schemes, and the levels of government.

Codes follow Decision 20/2020/QĐ-TTg (amended by Decision 09/2025/QĐ-TTg) and, for older documents, QCVN
102:2016/BTTTT. A code is opaque where it is only carried along; :class:`OrganId` shows what can be read from it.
"""

from __future__ import annotations

import dataclasses
import enum
import re

__all__ = ["CodeScheme", "Level", "OrganId"]

# Four groups, the most specific first: 000.21.31.H53 (QCVN 102:2016; Decision 28/2018/QĐ-TTg, art. 10.2a).
_OLD = re.compile(r"[0-9]{3}\.[0-9]{2}\.[0-9]{2}\.[A-Z][0-9]{2}")
# Level 1 first, letters A to Y, then groups of the owner's choice (Decision 20/2020/QĐ-TTg, art. 4).
_NEW = re.compile(r"[A-Y][0-9]{2}(\.[0-9A-Z]+)*")
_MAX_NEW = 35


class CodeScheme(enum.StrEnum):
    """Which rule a code follows."""

    QD20 = "qd20"
    """Decision 20/2020/QĐ-TTg: ``H41.17``."""
    QCVN102 = "qcvn102"
    """QCVN 102:2016/BTTTT: ``000.00.17.H41``."""
    OTHER = "other"
    """Neither: a test code, a virtual system, a business registration number."""


class Level(enum.StrEnum):
    """A level of government."""

    CENTRAL = "central"
    PROVINCE = "province"
    DISTRICT = "district"
    """Abolished on 1 July 2025; old documents still name districts."""
    COMMUNE = "commune"


@dataclasses.dataclass(frozen=True, slots=True)
class OrganId:
    """An agency code, kept as it was received, with what can be read from it."""

    value: str
    """The code."""

    @property
    def scheme(self) -> CodeScheme:
        """Which rule the code follows."""
        if _OLD.fullmatch(self.value):
            return CodeScheme.QCVN102
        if len(self.value) <= _MAX_NEW and _NEW.fullmatch(self.value):
            return CodeScheme.QD20
        return CodeScheme.OTHER

    @property
    def level_one(self) -> str | None:
        """The code of the level-1 agency it belongs to, such as ``H41``; ``None`` if it cannot be read."""
        groups = self.value.split(".")
        match self.scheme:
            case CodeScheme.QCVN102:
                return groups[-1]
            case CodeScheme.QD20:
                return groups[0]
            case _:
                return None

    @property
    def ancestors(self) -> tuple[str, ...]:
        """The codes above it by its own form, the nearest first; none for level 1, and where none can be read.

        Decision 20/2020/QĐ-TTg goes from the left to the right: above ``H41.17.02`` are ``H41.17`` and ``H41``. QCVN
        102 goes from the right to the left, and a group of zeros is a level that there is not: above
        ``000.21.31.H53`` are ``000.00.31.H53`` and ``000.00.00.H53``.
        """
        groups = self.value.split(".")
        match self.scheme:
            case CodeScheme.QD20:
                return tuple(".".join(groups[:count]) for count in range(len(groups) - 1, 0, -1))
            case CodeScheme.QCVN102:
                zeros = ["0" * len(group) for group in groups]
                above = (".".join(zeros[:count] + groups[count:]) for count in range(1, len(groups)))
                return tuple(code for code in dict.fromkeys(above) if code != self.value)
            case _:
                return ()

    def __str__(self) -> str:
        return self.value
