"""One new revision of a PDF with one signature in it.

A revision is opened on a document, receives the signature field with its appearance and whatever belongs to the
same act (text fields, filled values), is written with an empty place for the signature, and is completed with
the CMS. Nothing is written before :meth:`Revision.write`; nothing of the document changes but by appending
(ISO 32000-2, 7.5.6 and 12.8).
"""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.form_tools import get_single_field_annot
from pyhanko.pdf_utils.generic import pdf_name
from pyhanko.sign.fields import FieldMDPSpec, SigFieldSpec
from pyhanko.sign.general import SigningError
from pyhanko.sign.signers.cms_embedder import PdfCMSEmbedder, SigIOSetup, SigObjSetup
from pyhanko.sign.signers.pdf_byterange import DocumentTimestamp, PreparedByteRangeDigest

from vnedoc.errors import DocumentError, InternalError, NotAllowedError, UsageError
from vnedoc.sign._pyhanko.appearance import render_nothing
from vnedoc.sign._pyhanko.conformance import pdfa_part
from vnedoc.sign._pyhanko.form_objects import (
    entry,
    identity_of,
    inherited,
    made,
    rectangle_of,
    signing_certificate,
    widget_of,
)
from vnedoc.sign._pyhanko.opening import Translated, open_writer
from vnedoc.sign._pyhanko.signature_dictionary import SignatureSettings, permissions, placeholder
from vnedoc.sign._pyhanko.tagging import tag_field

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

    from vnedoc.sign._pyhanko.appearance import EmbeddedFont
    from vnedoc.sign._pyhanko.validation import Evidence
    from vnedoc.sign.signers.base import SecretCallback

__all__ = [
    "ExistingSignature",
    "PreparedRevision",
    "RenderedAppearance",
    "Revision",
    "TextField",
]

RenderedAppearance: TypeAlias = generic.IndirectObject
"""A form XObject in the writer of a revision."""
CHUNK_BYTES = 1024 * 1024
_NO_CHANGES = 1
MAX_FIELDS = 10_000


@dataclasses.dataclass(frozen=True, slots=True)
class ExistingSignature:
    """A signature that the document already carries."""

    field: str
    """Name of its field."""
    page: int | None
    """Number of the page it is shown on, from 1; ``None`` if it is not shown."""
    rectangle: tuple[float, float, float, float] | None
    """Its place in default user space; ``None`` if it is not shown."""
    certificate: bytes | None
    """The signing certificate in DER; ``None`` if it cannot be read."""


@dataclasses.dataclass(frozen=True, slots=True)
class TextField:
    """A text field that is made, empty, for a later signer to fill."""

    name: str
    """Its name; unique in the document."""
    label: str
    """What readers show for it."""
    page: int
    """Number of the page, from 1."""
    rectangle: tuple[float, float, float, float]
    """Its place in default user space."""
    font_size: float
    """Size of its text, in points."""


class Revision:
    """A new revision of a document, not yet written.

    Args:
        stream: The document; it stays open, and unchanged, until the revision is written.
        name: How errors call it.
        password: Called with the name if it is encrypted.

    Raises:
        DocumentError: It is not a PDF, is broken, or is encrypted and the password is missing or wrong.
        NotAllowedError: The password given does not allow signing.
    """

    def __init__(self, stream: BinaryIO, *, name: str, password: SecretCallback | None = None) -> None:
        self._name = name
        self._writer, self._password = open_writer(stream, name=name, password=password)
        # pyHanko would copy the document in pieces of 4 KiB; a larger buffer than the document is not worth clearing.
        self._writer.IO_CHUNK_SIZE = min(CHUNK_BYTES, stream.seek(0, io.SEEK_END) or 1)
        with self._reading():
            self._root = self._writer.root
            self._first_new = int(self._writer.prev.trailer["/Size"])

    @property
    def password(self) -> str | None:
        """The password that opened the document; ``None`` if it needs none."""
        return self._password

    @property
    def writer(self) -> IncrementalPdfFileWriter:
        """The writer that appearances are rendered into."""
        return self._writer

    def field_names(self) -> set[str]:
        """Return the full names of all form fields."""
        with self._reading():
            return {name for name, _ in self._fields()}

    def signatures(self) -> list[ExistingSignature]:
        """Return the signatures of the document, in the order of its form."""
        with self._reading():
            pages = None
            found = []
            for name, field in self._fields():
                value = entry(field, "/V")
                if inherited(field, "/FT") != "/Sig" or not isinstance(value, generic.DictionaryObject):
                    continue
                annotation = widget_of(field)
                rectangle = rectangle_of(annotation)
                page = None
                if rectangle is not None and annotation is not None:
                    pages = self._pages_of_widgets() if pages is None else pages
                    page = pages.get(identity_of(annotation))
                found.append(
                    ExistingSignature(name, page, rectangle if page else None, signing_certificate(value))
                )
            return found

    def check_locks(self, *, filled: Sequence[str] = ()) -> None:
        """Refuse a document that its earlier signers closed.

        Every signature's DocMDP and FieldMDP count, not only the certifying one (ISO 32000-2, 12.8.2).

        Args:
            filled: Names of the text fields that are about to be filled.

        Raises:
            NotAllowedError: A signature forbids all changes, or locks one of the fields.
        """
        with self._reading():
            for name, field in self._fields():
                value = entry(field, "/V")
                if not isinstance(value, generic.DictionaryObject):
                    continue
                for reference in entry(value, "/Reference", ()):
                    self._check_lock(name, reference.get_object(), filled)

    def _check_lock(self, signature: str, reference: generic.DictionaryObject, filled: Sequence[str]) -> None:
        method = entry(reference, "/TransformMethod")
        parameters = entry(reference, "/TransformParams", {})
        permission = entry(parameters, "/P")
        if method in {"/DocMDP", "/FieldMDP"} and permission == _NO_CHANGES:
            raise NotAllowedError("pdf.certified-no-changes", path=self._name, field=signature)
        if method == "/FieldMDP" and filled:
            lock = FieldMDPSpec.from_pdf_object(parameters)
            for name in filled:
                if lock.is_locked(name):
                    raise NotAllowedError(
                        "pdf.field-locked", path=self._name, field=name, signature=signature
                    )

    def add_text_field(
        self, field: TextField, *, empty_appearance: RenderedAppearance, font: EmbeddedFont
    ) -> None:
        """Make an empty text field.

        Args:
            field: The field.
            empty_appearance: The form XObject shown while it is empty.
            font: What readers write with in it; embedded, as PDF/A wants it (ISO 19005-2, 6.2.11.4).
        """
        form = self._form()
        resources = made(form, "/DR", generic.DictionaryObject())
        fonts = made(resources, "/Font", generic.DictionaryObject())
        self._writer.update_container(fonts)
        if font.name not in fonts:
            fonts[pdf_name(font.name)] = font.font
        self._add_field(
            field.page,
            field.rectangle,
            {
                "/FT": pdf_name("/Tx"),
                "/T": generic.pdf_string(field.name),
                "/TU": generic.pdf_string(field.label),
                "/F": generic.NumberObject(4),  # shown and printed
                "/DA": generic.pdf_string(f"{font.name} {field.font_size:g} Tf 0 g"),
            },
            empty_appearance,
        )

    def _add_field(
        self,
        page: int,
        rectangle: tuple[float, float, float, float],
        entries: dict[str, generic.PdfObject],
        appearance: RenderedAppearance,
    ) -> None:
        page_reference = self._page(page)
        widget = generic.DictionaryObject(
            {
                pdf_name("/Type"): pdf_name("/Annot"),
                pdf_name("/Subtype"): pdf_name("/Widget"),
                **{pdf_name(key): value for key, value in entries.items()},
                pdf_name("/Rect"): generic.ArrayObject(
                    generic.FloatObject(round(value, 3)) for value in rectangle
                ),
                pdf_name("/P"): page_reference,
                pdf_name("/AP"): generic.DictionaryObject({pdf_name("/N"): appearance}),
            }
        )
        reference = self._writer.add_object(widget)
        form = self._form()
        fields = made(form, "/Fields", generic.ArrayObject())
        fields.append(reference)
        self._writer.update_container(fields)
        self._writer.register_annotation(page_reference, reference)
        self._fit_in(page_reference, reference)

    def _is_signed(self) -> bool:
        with self._reading():
            return any(
                inherited(field, "/FT") == "/Sig" and isinstance(entry(field, "/V"), generic.DictionaryObject)
                for _, field in self._fields()
            )

    def _fit_in(self, page: generic.IndirectObject, widget: generic.IndirectObject) -> None:
        """Make of a new field what the document's kind asks for: PDF/A-1, tagged, PDF/UA."""
        with self._reading():
            annotation = widget.get_object()
            is_shown = rectangle_of(annotation) is not None
            if "/AP" not in annotation and pdfa_part(self._writer) == 1:
                # ISO 19005-1, 6.9: every field has an appearance, also one without a place; later parts exempt those.
                nothing = render_nothing(self._writer)
                annotation[pdf_name("/AP")] = generic.DictionaryObject({pdf_name("/N"): nothing})
            tag_field(self._writer, page=page, widget=widget, is_shown=is_shown, is_signed=self._is_signed)

    def fill_text_field(self, name: str, value: str, *, appearance: RenderedAppearance) -> None:
        """Fill a text field that an earlier revision made.

        Raises:
            NotAllowedError: There is no such text field, or it is filled already.
        """
        with self._reading():
            field = next((field for full_name, field in self._fields() if full_name == name), None)
        if field is None or inherited(field, "/FT") != "/Tx":
            raise NotAllowedError("pdf.no-text-field", path=self._name, field=name)
        if entry(field, "/V") not in (None, ""):
            raise NotAllowedError("pdf.field-filled", path=self._name, field=name)
        field[pdf_name("/V")] = generic.pdf_string(value)
        field[pdf_name("/AP")] = generic.DictionaryObject({pdf_name("/N"): appearance})
        self._writer.update_container(field)

    def add_signature_field(
        self,
        name: str,
        *,
        page: int,
        rectangle: tuple[float, float, float, float],
        empty_appearance: RenderedAppearance,
        label: str,
    ) -> None:
        """Make an empty signature field, for a later signer to sign.

        Args:
            name: Its name; unique in the document.
            page: Number of the page, from 1.
            rectangle: Its place in default user space.
            empty_appearance: The form XObject shown until it is signed.
            label: What it is called for those who hear the document.
        """
        self._add_field(
            page,
            rectangle,
            {
                "/FT": pdf_name("/Sig"),
                "/T": generic.pdf_string(name),
                "/TU": generic.pdf_string(label),
                "/F": generic.NumberObject(132),  # shown and printed, its place locked
            },
            empty_appearance,
        )

    def text_fields(self) -> dict[str, tuple[int, tuple[float, float, float, float]]]:
        """Return the empty text fields that are shown: name to page and place."""
        return self._empty_fields("/Tx")

    def signature_fields(self) -> dict[str, tuple[int, tuple[float, float, float, float]]]:
        """Return the empty signature fields that have a place: name to page and place."""
        return self._empty_fields("/Sig")

    def _empty_fields(self, kind: str) -> dict[str, tuple[int, tuple[float, float, float, float]]]:
        with self._reading():
            pages = self._pages_of_widgets()
            found = {}
            for name, field in self._fields():
                rectangle = rectangle_of(field)
                page = pages.get(identity_of(field))
                empty = entry(field, "/V") in (None, "")
                if inherited(field, "/FT") == kind and empty and rectangle is not None and page:
                    found[name] = (page, rectangle)
            return found

    def add_long_term_data(self, evidence: Evidence) -> None:
        """Put certificates and revocation data into the document security store, in this revision.

        Raises:
            DocumentError: The store that is there cannot be read.
        """
        from vnedoc.sign._pyhanko.long_term import add_to_store

        with self._reading():
            add_to_store(self._writer, evidence)

    def write_timestamp(self, *, field: str, digest_algorithm: str, max_token_bytes: int) -> PreparedRevision:
        """Append the revision to the document's own stream, an empty place for a document time-stamp in it.

        The stream must be writable. Nothing is shown (ISO 32000-2, 12.8.5).

        Args:
            field: Name of the field that is made for it.
            digest_algorithm: The digest over the byte range.
            max_token_bytes: How much room the token gets.
        """
        steps: Generator[Any, Any, None] = PdfCMSEmbedder(SigFieldSpec(field)).write_cms(
            field, self._writer
        )  # one generator, many types
        with self._reading():
            field_reference = next(steps)
            self._fit_in(self._page(1), field_reference)
            steps.send(SigObjSetup(sig_placeholder=DocumentTimestamp(bytes_reserved=2 * max_token_bytes)))
            digest, output = steps.send(
                SigIOSetup(md_algorithm=digest_algorithm, in_place=True, chunk_size=CHUNK_BYTES)
            )
        return PreparedRevision(output, digest)

    def write(
        self,
        output: BinaryIO,
        *,
        field: str,
        settings: SignatureSettings,
        page: int = 1,
        rectangle: tuple[float, float, float, float] | None = None,
        appearance: RenderedAppearance | None = None,
        label: str | None = None,
    ) -> PreparedRevision:
        """Write the document with the new revision, an empty place for the signature in it.

        Args:
            output: Where to; readable, writable and seekable.
            field: Name of the signature field; made unless the document has it, empty.
            settings: What is written into the signature dictionary.
            page: The page the field is on, from 1.
            rectangle: Its place in default user space; ``None`` shows nothing.
            appearance: What it shows.
            label: What a field that is made is called for those who hear the document (ISO 14289-1, 7.18.1).

        Raises:
            UsageError: The field exists and is signed already.
        """
        embedder = PdfCMSEmbedder(
            SigFieldSpec(
                field,
                on_page=page - 1,
                box=rectangle,  # type: ignore[arg-type] # floats are fine
                readable_field_name=label,
            )
        )
        steps: Generator[Any, Any, None] = embedder.write_cms(
            field, self._writer
        )  # one generator, many types
        try:
            field_reference = next(steps)
        except SigningError as exc:
            raise UsageError("pdf.field-signed", path=self._name, field=field) from exc
        if appearance is not None:
            annotation = get_single_field_annot(field_reference.get_object())
            annotation[pdf_name("/AP")] = generic.DictionaryObject({pdf_name("/N"): appearance})
            self._writer.update_container(annotation)
        # A field that was made for this signature earlier has its place in the structure since then.
        if field_reference.idnum >= self._first_new:
            self._fit_in(self._page(page), field_reference)
        steps.send(SigObjSetup(sig_placeholder=placeholder(settings), mdp_setup=permissions(settings)))
        digest, _ = steps.send(
            SigIOSetup(md_algorithm=settings.digest_algorithm, output=output, chunk_size=CHUNK_BYTES)
        )
        return PreparedRevision(output, digest)

    def _page(self, number: int) -> generic.IndirectObject:
        reference, _ = self._writer.find_page_for_modification(number - 1)
        return reference  # type: ignore[no-any-return] # typed loosely by pyHanko

    def _form(self) -> generic.DictionaryObject:
        root = self._writer.root
        form = entry(root, "/AcroForm")
        if form is None:
            form = generic.DictionaryObject()
            root[pdf_name("/AcroForm")] = self._writer.add_object(form)
            self._writer.update_root()
        self._writer.update_container(form)
        assert isinstance(form, generic.DictionaryObject)
        return form

    def _fields(self) -> Iterator[tuple[str, generic.DictionaryObject]]:
        """Yield the terminal fields with their full names; a loop or a flood in the tree is cut off."""
        form = entry(self._root, "/AcroForm", {})
        waiting = [("", item) for item in reversed(list(entry(form, "/Fields", ())))]
        seen = 0
        while waiting:
            prefix, item = waiting.pop()
            seen += 1
            if seen > MAX_FIELDS:
                raise DocumentError("pdf.too-many-fields", path=self._name, limit=MAX_FIELDS)
            field = item.get_object()
            partial = entry(field, "/T")
            name = ".".join(part for part in (prefix, None if partial is None else str(partial)) if part)
            kids = [kid for kid in entry(field, "/Kids", ()) if "/T" in kid.get_object()]
            if kids:
                waiting.extend((name, kid) for kid in reversed(kids))
            else:
                yield name, field

    def _pages_of_widgets(self) -> dict[tuple[int, int], int]:
        count = int(self._root["/Pages"]["/Count"])
        pages = {}
        for index in range(count):
            page = self._page(index + 1).get_object()
            for annotation in entry(page, "/Annots", ()):
                reference = getattr(annotation, "reference", None)
                if reference is not None:
                    pages[(reference.idnum, reference.generation)] = index + 1
        return pages

    def _reading(self) -> Translated:
        return Translated(self._name)


class PreparedRevision:
    """A written revision that waits for its signature."""

    def __init__(self, output: BinaryIO, digest: PreparedByteRangeDigest) -> None:
        self._output = output
        self._digest = digest

    @property
    def document_digest(self) -> bytes:
        """The digest over the byte range."""
        return self._digest.document_digest

    @property
    def gap(self) -> tuple[int, int]:
        """Where the signature goes: the offsets of ``<`` and behind ``>``."""
        return self._digest.reserved_region_start, self._digest.reserved_region_end

    def complete(self, content: bytes) -> None:
        """Put the CMS in its place.

        Raises:
            InternalError: It is larger than the place that was reserved.
        """
        try:
            self._digest.fill_with_cms(self._output, content)
        except SigningError as exc:
            raise InternalError("pdf.no-room-for-signature", size=len(content)) from exc
