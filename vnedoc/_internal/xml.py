"""The one place where XML is parsed.

Whatever comes from outside is parsed without DTDs, entities, external references or network access, and within
lxml's own limits on depth and text length.
"""

from __future__ import annotations

from typing import Any

from lxml import etree

__all__ = ["XMLRefusedError", "parse_bytes", "parser"]


class XMLRefusedError(ValueError):
    """The XML is not well formed, or asks for what is never given (a DTD, an entity)."""


def parser(target: Any = None) -> etree.XMLParser:
    """Return a hardened parser, fresh for one document.

    Args:
        target: A parser target with ``start``, ``end``, ``data`` and ``close``; ``None`` builds a tree.
    """
    return etree.XMLParser(
        target=target,
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        dtd_validation=False,
        huge_tree=False,
        recover=False,
        remove_comments=False,
        remove_pis=False,
    )


def parse_bytes(content: bytes) -> etree._Element:
    """Parse a small XML document that is already in memory.

    Raises:
        XMLRefusedError: See the class.
    """
    try:
        root = etree.fromstring(content, parser())
    except (etree.XMLSyntaxError, ValueError) as exc:
        raise XMLRefusedError(str(exc)) from exc
    if root.getroottree().docinfo.doctype:  # type: ignore[union-attr] # the stubs are too wide
        raise XMLRefusedError("a document type declaration is not accepted")
    return root
