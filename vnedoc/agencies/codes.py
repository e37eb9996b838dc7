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
_OLD = re.compile(r"\d{3}\.\d{2}\.\d{2}\.[A-Z]\d{2}")
# Level 1 first, letters A to Y, then groups of the owner's choice (Decision 20/2020/QĐ-TTg, art. 4).
_NEW = re.compile(r"[A-Y]\d{2}(\.[0-9A-Z]+)*")
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

    def __str__(self) -> str:
        return self.value
