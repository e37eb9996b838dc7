"""Signed packages, and what may be done to them on the way: the material of the signature tests."""

from __future__ import annotations

import copy
import io
from typing import TYPE_CHECKING

from lxml import etree

from tests import edxml
from vnedoc.exchange.package import VNPT, write_package

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vnedoc.exchange.models import Attachment, DocumentHeader, StatusHeader
    from vnedoc.exchange.package import Dialect
    from vnedoc.sign.signers.base import Signer

E = f"{{{edxml.NAMESPACE}}}"
DS = "{http://www.w3.org/2000/09/xmldsig#}"


def signed(
    signer: Signer,
    header: DocumentHeader | StatusHeader | None = None,
    attachments: Sequence[Attachment] | None = None,
    *,
    dialect: Dialect = VNPT,
) -> bytes:
    """Return a signed package."""
    stream = io.BytesIO()
    files = edxml.attachments() if attachments is None else attachments
    write_package(
        edxml.full_document() if header is None else header, files, stream, dialect=dialect, signer=signer
    )
    return stream.getvalue()


def changed(content: bytes, change: Callable[[Tree], object]) -> bytes:
    """Return a package after a change to its tree; everything else is written again as it was."""
    tree = Tree(content)
    change(tree)
    return etree.tostring(tree.root, xml_declaration=True, encoding="utf-8")


class Tree:
    """The tree of a signed package."""

    def __init__(self, content: bytes) -> None:
        self.root = etree.fromstring(content)
        self.envelope = self.root.find(f"{E}edXMLEnvelope")
        self.header = self.envelope.find(f"{E}edXMLHeader")
        self.signature = self.header.find(f"{DS}Signature")

    def part(self, name: str) -> etree._Element:
        """Return one of the signed parts."""
        return next(element for element in self.root.iter(f"{E}{name}"))

    def evil(self, name: str) -> etree._Element:
        """Return a copy of a signed part that says something else."""
        twin = copy.deepcopy(self.part(name))
        twin.tail = None
        for leaf in twin.iter():
            if len(leaf) == 0 and leaf.text and leaf.text.strip():
                leaf.text = "9" if leaf.text.isdigit() else "EVIL TEST"
                break
        else:
            raise AssertionError(name)
        return twin
