"""The one place where XML is parsed.

Whatever comes from outside is parsed without DTDs, entities, external references or network access, and within
lxml's own limits on depth and text length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lxml import etree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "DoctypeRefusedError",
    "StreamTarget",
    "XMLRefusedError",
    "parse_bytes",
    "parse_into",
    "parse_whole_into",
    "parser",
]


class XMLRefusedError(ValueError):
    """The XML is not well formed, or asks for what is never given (a DTD, an entity).

    Args:
        reason: Why, as the parser says.
        line: The line on which it stands, counted from what the parser was given first.
    """

    def __init__(self, reason: str, *, line: int | None = None) -> None:
        super().__init__(reason)
        self.line = line


class DoctypeRefusedError(XMLRefusedError):
    """The XML has a document type declaration."""


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
    return _without_doctype(root)


def _without_doctype(root: etree._Element) -> etree._Element:
    if root.getroottree().docinfo.doctype:  # type: ignore[attr-defined] # the stubs lack it
        raise XMLRefusedError("a document type declaration is not accepted")
    return root


class StreamTarget:
    """What :func:`parse_into` calls while it reads; it keeps nothing by itself and refuses DTDs.

    lxml expands the internal entities of a DTD for such targets whatever the parser was told, so the declaration
    itself ends the reading.
    """

    def doctype(self, name: str, *_identifiers: str | None) -> None:
        """Refuse the declaration.

        Raises:
            DoctypeRefusedError: Always.
        """
        raise DoctypeRefusedError(f"a document type declaration ({name}) is not accepted")

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """An element begins; names are in Clark notation."""

    def end(self, tag: str) -> None:
        """An element ends."""

    def data(self, text: str) -> None:
        """A piece of text."""

    def close(self) -> None:
        """The document ended."""


def parse_into(target: StreamTarget, chunks: Iterable[bytes]) -> None:
    """Parse a document of any length piece by piece into a target.

    Text reaches the target in the pieces in which it was read, so that no text is too long; how deep and how wide a
    document may be is for the target to decide. Errors that the target raises come out as they are.

    Raises:
        XMLRefusedError: See the class.
    """
    feeder = parser(target)
    try:
        for chunk in chunks:
            feeder.feed(chunk)
        feeder.close()
    except etree.XMLSyntaxError as exc:
        raise XMLRefusedError(str(exc), line=exc.lineno) from exc
    except etree.LxmlError as exc:
        raise XMLRefusedError(str(exc)) from exc


def parse_whole_into(target: StreamTarget, content: bytes) -> None:
    """Tell a target of a small document that is already in memory what :func:`parse_into` would tell it.

    Where many threads read, this is several times quicker: :func:`parse_into` lets go of the interpreter and takes it
    again for each thing that it tells, and each time another thread gets in between.

    Raises:
        XMLRefusedError: See the class. The target was told nothing; errors that it raises come out as they are.
    """
    # The same parser as there: that of fromstring lets a "]]>" in a text pass now and then.
    feeder = parser()
    try:
        feeder.feed(content)
        root = feeder.close()
    except etree.LxmlError as exc:
        raise XMLRefusedError(str(exc)) from exc
    _tell(target, _without_doctype(root))
    target.close()


def _tell(target: StreamTarget, element: etree._Element) -> None:
    # Depth is limited by the parser.
    tag, attributes = str(element.tag), element.items()
    # As a target has it: there the parser leaves this one reference.
    target.start(tag, {str(name): str(value).replace("&", "&#38;") for name, value in attributes})
    if element.text:
        target.data(element.text)
    for child in element:
        # Comments and processing instructions have no name, and targets hear nothing of them.
        if isinstance(child.tag, str):
            _tell(target, child)
        if child.tail:
            target.data(child.tail)
    target.end(tag)
