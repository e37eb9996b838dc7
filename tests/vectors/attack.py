"""One attack: what it is, how it is made, what must come of it, and what a second tool says about it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FAILED = "TOTAL-FAILED"
UNSURE = "INDETERMINATE"
PASSED = "TOTAL-PASSED"

USF = "Mladenov, Mainka, Meyer zu Selhausen, Grothe, Schwenk: 1 Trillion Dollar Refund, ACM CCS 2019 (USF)"
ISA = "Mladenov et al.: 1 Trillion Dollar Refund, ACM CCS 2019 (ISA); CVE-2018-18688"
SWA = "Mladenov et al.: 1 Trillion Dollar Refund, ACM CCS 2019 (SWA); CVE-2018-18689"
SHADOW = "Mainka, Mladenov, Rohlmann: Shadow Attacks, NDSS 2021; CVE-2020-9592, CVE-2020-9596"
CERTIFIED = "Rohlmann, Mladenov, Mainka, Schwenk: Breaking the Specification, IEEE S&P 2021"
PARSERS = "Differences between PDF parsers: SafeDocs (2020-2023), PDF Association PDF 101"


@dataclasses.dataclass(frozen=True)
class Attack:
    """An attack, or an honest file to compare with."""

    id: str
    """Its path below ``tests/vectors``."""
    description: str
    source: str
    make: Callable[[], bytes]
    conclusion: str
    errors: tuple[str, ...] = ()
    """Ids of findings that must be among the errors."""
    warnings: tuple[str, ...] = ()
    """Ids of findings that must be among the warnings."""
    importance: str = "high"
    tool: str = "pdftotext"
    """The second tool: ``pdftotext``, ``pdfsig`` or ``qpdf``."""
    shows: tuple[str, ...] = ()
    """What the second tool prints."""
    hides: tuple[str, ...] = ()
    """What it does not print."""
