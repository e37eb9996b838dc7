"""Ids of a hub as the whole numbers that clients of Bkav eDoc know documents by, over REST and SOAP alike.

Those clients read ids as signed integers of 64 bits. Sixty bits of an id of ours, fifteen hexadecimal digits, are a
positive number in every language.
"""

from __future__ import annotations

__all__ = ["digits_of", "number_of"]

_DIGITS = 15


def number_of(doc_id: str) -> int:
    """Return the number that an id of the hub is shown as."""
    return int(doc_id[:_DIGITS], 16)


def digits_of(number: int) -> str | None:
    """Return the hexadecimal digits that an id shown as this number begins with; ``None``: no id is shown as it."""
    return f"{number:0{_DIGITS}x}" if 0 <= number < 16**_DIGITS else None
