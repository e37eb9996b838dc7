"""HTML that cannot be broken into: every text and every attribute is escaped where it is put in."""

from __future__ import annotations

import html

from vnedoc.sign.reports.text import printable

__all__ = ["Markup", "tag"]

_VOID = frozenset({"img", "meta", "br"})


class Markup(str):
    """Text that is HTML already; made by :func:`tag` only."""

    __slots__ = ()


def tag(name: str, /, *children: str | None, **attributes: str | int | None) -> Markup:
    """Return an element; children that are no :class:`Markup` are text.

    Args:
        name: Its name.
        children: What is in it; ``None`` is left out.
        attributes: Its attributes; an underscore at the end is dropped, others become hyphens, ``None`` is left out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    inside = "".join(
        child if isinstance(child, Markup) else _escape(child) for child in children if child is not None
    )
    return Markup(f"<{name}{written}>{inside}</{name}>")


def _escape(text: str) -> str:
    return html.escape(text if isinstance(text, Markup) else printable(text, limit=None))
