"""The header of a package while it is read: a small tree, its limits, and a view that leaves nothing unseen."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

from vnedoc._internal.xml import StreamTarget
from vnedoc.errors import PackageError
from vnedoc.exchange._edxml import names
from vnedoc.exchange.models import PackageFinding, UnknownElement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from vnedoc.exchange.models import Limits

__all__ = ["Node", "TreeTarget", "View", "Warnings", "serialized"]

MAX_WARNINGS = 200
_ATTACHMENT = "attachment"
_CONTENTS = frozenset({"contenttransferencoded", "content"})
# How many names are remembered, and how long they may be: those of the standard, not those that somebody makes up.
_MAX_NAMES = 512
_MAX_SHORT_CHARS = 64


@dataclasses.dataclass(slots=True)
class Node:
    """One element."""

    name: str
    """Its local name."""
    namespace: str
    """Its namespace; may be empty."""
    attributes: dict[str, str]
    """Its attributes, names in Clark notation."""
    line: int | None = None
    """The line of the file on which it begins, if that is known."""
    pieces: list[str | Node] = dataclasses.field(default_factory=list)
    """Its text and children in their order."""
    was_read: bool = False
    """Whether it is an attachment whose content was read: wherever it stands, it is not unknown."""

    @property
    def key(self) -> str:
        """What its name is found by, however it is spelled."""
        return _key(self.name)

    @property
    def children(self) -> list[Node]:
        """Its child elements."""
        return [piece for piece in self.pieces if not isinstance(piece, str)]

    @property
    def text(self) -> str:
        """Its text without the white space around it."""
        return "".join([piece for piece in self.pieces if isinstance(piece, str)]).strip()


class Warnings:
    """What was odd so far; more than a screen of it helps nobody."""

    def __init__(self) -> None:
        self._found: list[PackageFinding] = []
        self.lines: dict[str, int] = {}

    def place(self, path: str, line: int | None) -> None:
        """Note on which line an element begins."""
        if line is not None:
            self.lines.setdefault(path, line)

    def add(self, warning_id: str, element: str, /, *, line: int | None = None, **values: object) -> None:
        """Note one thing; the line is that of the element, or of the nearest one around it."""
        finding = PackageFinding(warning_id, element, values, line or names.line_of(element, self.lines))
        if len(self._found) < MAX_WARNINGS and finding not in self._found:
            self._found.append(finding)

    def __iter__(self) -> Iterator[PackageFinding]:
        return iter(self._found)


class TreeTarget(StreamTarget):
    """Builds the tree of everything but the attachments' content, within limits.

    Args:
        limits: How much there may be.
        line_of: Gives the line of the next element, by its name.
        on_content: Called when the content of an attachment begins; returns what takes its text.
        on_content_end: Called when it ended.
        on_attachment_end: Called when the attachment ended.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        line_of: Callable[[str], int | None],
        on_content: Callable[[Node], Callable[[str], None]],
        on_content_end: Callable[[Node], None],
        on_attachment_end: Callable[[Node], None],
    ) -> None:
        self.root: Node | None = None
        self.ended = False
        self.line: int | None = None
        """The line of the element that was begun, or finished, last."""
        self._limits = limits
        self._line_of = line_of
        self._on_content = on_content
        self._on_content_end = on_content_end
        self._on_attachment_end = on_attachment_end
        self._open: list[Node] = []
        self._names: dict[str, tuple[str, str]] = {}
        self._elements = 0
        self._chars = 0
        self._feed: Callable[[str], None] | None = None

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""
        self._elements += 1
        namespace, name = self._names.get(tag) or self._learn(tag)
        line = self._line_of(name)
        self.line = line or self.line
        if self._feed is not None:
            raise PackageError("edxml.element-in-content", element=tag[:80])
        if len(self._open) >= self._limits.max_depth:
            raise PackageError("edxml.too-deep", limit=self._limits.max_depth)
        if self._elements > self._limits.max_elements:
            raise PackageError("edxml.too-many-elements", limit=self._limits.max_elements)
        if len(attributes) > self._limits.max_attributes:
            raise PackageError("edxml.too-many-attributes", limit=self._limits.max_attributes)
        self._count(len(tag))
        values = {}
        # To ask an empty mapping for its items costs more than all the rest of this.
        for key, value in attributes.items() if attributes else ():
            self._count(len(key) + len(value))
            # libxml2 leaves this one reference in attributes to whoever builds a tree.
            values[key] = value.replace("&#38;", "&")
        node = Node(name, namespace, values, line)
        parent = self._open[-1] if self._open else None
        if parent is None:
            self.root = node
        else:
            parent.pieces.append(node)
        self._open.append(node)
        if parent is not None and parent.key == _ATTACHMENT and node.key in _CONTENTS:
            self._feed = self._on_content(parent)

    def end(self, tag: str) -> None:  # noqa: ARG002 - the parser has matched the names
        """An element ends."""
        node = self._open.pop()
        if self._feed is not None:
            self._feed = None
            self._open[-1].was_read = True
            self._on_content_end(self._open[-1])
        elif node.key == _ATTACHMENT and self._open:
            self.line = node.line or self.line
            self._on_attachment_end(node)
        if not self._open:
            self.ended = True

    def data(self, text: str) -> None:
        """A piece of text."""
        if self._feed is not None:
            self._feed(text)
        elif self._open:
            self._count(len(text))
            self._open[-1].pieces.append(text)

    def _count(self, chars: int) -> None:
        self._chars += chars
        if self._chars > self._limits.max_text_chars:
            raise PackageError("edxml.too-much-text", limit=self._limits.max_text_chars)

    def _learn(self, tag: str) -> tuple[str, str]:
        """Take a tag apart; a package has few different ones."""
        found = _split(tag)
        if len(self._names) < _MAX_NAMES:
            self._names[tag] = found
        return found


class View:
    """An element while it is understood: what nobody took from it is unknown, and is kept.

    Args:
        node: The element.
        path: Its path.
        warnings: Where odd things are noted.
        unknown: Where unknown elements are kept.
    """

    def __init__(self, node: Node, path: str, warnings: Warnings, unknown: list[UnknownElement]) -> None:
        self.node = node
        self.path = path
        self.warnings = warnings
        self.unknown = unknown
        self._left: dict[str, list[Node]] = {}
        warnings.place(path, node.line)
        for child in node.children:
            if not child.was_read:
                self._left.setdefault(child.key, []).append(child)

    def has(self, name: str) -> bool:
        """Tell whether there is such an element that nobody took yet."""
        return bool(self._left.get(_key(name)))

    def all(self, name: str) -> list[View]:
        """Take all elements of a name."""
        found = self._left.pop(_key(name), None)
        if found is None:
            return []
        for child in found:
            if child.name != name and child.name.lower() != name.lower():
                self.warnings.add(
                    "edxml.spelling", names.path_of(self.path, name, 1), found=child.name, expected=name
                )
        return [
            View(child, names.path_of(self.path, name, index), self.warnings, self.unknown)
            for index, child in enumerate(found, start=1)
        ]

    def one(self, name: str) -> View | None:
        """Take the element of a name; where there are several, the first with something in it."""
        found = self.all(name)
        if len(found) > 1:
            self.warnings.add("edxml.duplicate-element", found[0].path, count=len(found))
            found.sort(key=lambda view: not (view.node.text or any(view.node.children)))
        return found[0] if found else None

    def text(self, name: str) -> str | None:
        """Take the text of an element; ``None`` if there is none or it is empty."""
        nodes = self._left.get(_key(name))
        if nodes is None:
            return None
        node = nodes[0]
        if len(nodes) == 1 and node.name == name and not node.children:
            # Most are like this.
            del self._left[_key(name)]
            if node.line is not None:
                self.warnings.place(names.path_of(self.path, name, 1), node.line)
            return node.text or None
        view = self.one(name)
        return view.own_text() if view is not None else None

    def own_text(self) -> str | None:
        """Return the text of this element; elements in it are unknown."""
        self.close()
        return self.node.text or None

    def keep(self, name: str) -> None:
        """Keep elements of a name that the field knows and nobody needs."""
        for node in self._left.pop(_key(name), []):
            self.unknown.append(UnknownElement(self.path, serialized(node)))

    def close(self) -> None:
        """Keep what nobody took."""
        for nodes in self._left.values():
            for node in nodes:
                self.warnings.add("edxml.unknown-element", self.path, name=node.name)
                self.unknown.append(UnknownElement(self.path, serialized(node)))
        self._left.clear()


def serialized(node: Node) -> bytes:
    """Return an element as XML that stands on its own."""
    return _serialized(node, None).encode()


def _serialized(node: Node, outer: str | None) -> str:
    # One prefix for the namespace of the standard, the default one for all others: the same element always gives
    # the same bytes, whatever prefixes its sender used.
    standard = node.namespace == names.NAMESPACE
    tag = f"{names.PREFIX}:{node.name}" if standard else node.name
    declarations = []
    if standard and outer != "standard":
        declarations.append(f'xmlns:{names.PREFIX}="{names.NAMESPACE}"')
    if not standard:
        declarations.append(f'xmlns="{_escaped(node.namespace)}"')
    for number, (name, value) in enumerate(sorted(node.attributes.items())):
        namespace, local = _split(name)
        if namespace == "http://www.w3.org/XML/1998/namespace":
            local = f"xml:{local}"
        elif namespace:
            declarations.append(f'xmlns:n{number}="{_escaped(namespace)}"')
            local = f"n{number}:{local}"
        declarations.append(f'{local}="{_escaped(value)}"')
    opening = " ".join([tag, *declarations])
    inner = "".join(
        _escaped(piece) if isinstance(piece, str) else _serialized(piece, "standard" if standard else None)
        for piece in node.pieces
        if isinstance(piece, str) or not piece.was_read
    )
    return f"<{opening}>{inner}</{tag}>" if inner else f"<{opening} />"


def _escaped(text: str) -> str:
    for char, escape in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("\r", "&#xD;")):
        text = text.replace(char, escape)
    return text.replace("\n", "&#xA;").replace("\t", "&#x9;")


def _split(tag: str) -> tuple[str, str]:
    namespace, _, name = tag[1:].rpartition("}") if tag.startswith("{") else ("", "", tag)
    # A prefix that was never declared stays part of the name; it says nothing.
    return namespace, name.rpartition(":")[2]


def _key(name: str) -> str:
    return _short_key(name) if len(name) <= _MAX_SHORT_CHARS else _long_key(name)


def _long_key(name: str) -> str:
    # The comments of the standard spell "Business", real packages "Bussiness".
    return name.lower().replace("bussiness", "business")


_short_key = functools.lru_cache(_MAX_NAMES)(_long_key)
