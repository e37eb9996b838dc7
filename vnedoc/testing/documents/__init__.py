"""Sample documents and pictures for demonstrations and tests.

The documents have the form of Decree 30/2020/NĐ-CP, Annexes I and III, as an office program exports them. Agency,
person and matter are invented; every name carries the word TEST. Sources and builder: ``examples/documents``.
"""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import Final

__all__ = [
    "AGENCY_NAME",
    "AGENCY_SEAL",
    "APPENDIX",
    "CROPPED",
    "DECISION",
    "DOCUMENTS",
    "LANDSCAPE",
    "LEADER_NAME",
    "LEADER_SIGNATURE",
    "LETTER",
    "PICTURES",
    "ROTATED",
    "SEAL_DIAMETER_MM",
    "document_bytes",
    "document_path",
]

DECISION: Final = "quyet-dinh.pdf"
"""A decision of two pages with gaps for number, day and month; the leader signs on page 2."""
LETTER: Final = "cong-van.pdf"
"""An official letter of one page with the same gaps."""
APPENDIX: Final = "phu-luc.pdf"
"""Appendix I of the decision, in its own file; the upper right corner is free."""
LANDSCAPE: Final = "phu-luc-ngang.pdf"
"""Appendix II of the decision, in its own file: A4 landscape without /Rotate."""
ROTATED: Final = "trang-xoay.pdf"
"""The letter on a page that lies on its side; /Rotate 90 shows it upright."""
CROPPED: Final = "trang-cat.pdf"
"""The letter on a larger sheet: no box begins at the origin, and the crop box shows A4."""

LEADER_SIGNATURE: Final = "leader-signature.png"
"""A handwritten signature of nobody: blue, transparent, 300 dpi."""
AGENCY_SEAL: Final = "agency-seal.png"
"""The seal of the invented agency: red, transparent, 36 mm at 600 dpi."""

DOCUMENTS: Final = (DECISION, LETTER, APPENDIX, LANDSCAPE, ROTATED, CROPPED)
"""All documents."""
PICTURES: Final = (LEADER_SIGNATURE, AGENCY_SEAL)
"""All pictures."""

AGENCY_NAME: Final = "ỦY BAN NHÂN DÂN TỈNH TEST"
"""The agency that issues the documents."""
LEADER_NAME: Final = "NGUYỄN VĂN TEST"
"""The person whose name stands under the decision and the letter; a good anchor."""
SEAL_DIAMETER_MM: Final = 36.0
"""True size of the seal."""


def document_path(name: str) -> Path:
    """Return where a sample lies in the installed package.

    Args:
        name: One of :data:`DOCUMENTS` or :data:`PICTURES`.

    Raises:
        ValueError: There is no sample of that name.
    """
    if name not in DOCUMENTS + PICTURES:
        raise ValueError(f"no sample is called {name!r}")
    return Path(str(importlib.resources.files(__name__) / name))


def document_bytes(name: str) -> bytes:
    """Return the bytes of a sample; names and errors as for :func:`document_path`."""
    return document_path(name).read_bytes()
