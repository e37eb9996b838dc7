"""Make text comparable for a search: people type without diacritics, in any case, with any spaces."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from sqlalchemy import orm

__all__ = ["contains_words", "document_key", "folded"]

MAX_LENGTH = 1000
# Combining diacritical marks; those of Vietnamese are all among them.
_MARKS = re.compile("[\u0300-\u036f]+")
MAX_WORDS = 20
"""How many words of a search count."""


def folded(*parts: str) -> str:
    """Return texts in one line of small letters without marks, so that ``quyet dinh`` finds ``Quyết định``."""
    decomposed = unicodedata.normalize("NFKD", " ".join(parts)[: 4 * MAX_LENGTH].casefold())
    # Đ is a letter of its own, not a D with a mark, for Unicode.
    letters = _MARKS.sub("", decomposed).replace("đ", "d")
    return " ".join(letters.split())[:MAX_LENGTH]


def contains_words(column: orm.InstrumentedAttribute[str], text: str) -> sa.ColumnElement[bool]:
    """Return the condition that a column of folded text holds all words of a search, in any order."""
    return sa.and_(
        sa.true(), *(column.contains(word, autoescape=True) for word in folded(text).split()[:MAX_WORDS])
    )


def document_key(document_id: str) -> str:
    """Return what stands for the identifier of a document in an index."""
    return hashlib.sha256(document_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]
