"""Opening a document for a new revision: strictly, with its password, and without touching what it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from pyhanko.pdf_utils.crypt import AuthStatus, StandardSecurityHandler
from pyhanko.pdf_utils.crypt.permissions import StandardPermissions
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.misc import PdfError, PdfReadError, PdfStrictReadError
from pyhanko.pdf_utils.reader import PdfFileReader

from vnedoc.errors import DocumentError, NotAllowedError
from vnedoc.sign._pyhanko import tables, tokens
from vnedoc.sign._pyhanko.hybrid import find_trouble, is_hybrid
from vnedoc.sign._pyhanko.reading import ORPHANED_GENERATION, has_one_generation_each

if TYPE_CHECKING:
    from vnedoc.sign.signers.base import SecretCallback

__all__ = ["Translated", "open_writer"]

tables.install()
tokens.install()

# What pyHanko raises, besides its own errors, on files that are not what they claim to be.
_BROKEN_FILE = (
    PdfError, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError,
    NotImplementedError,
)  # fmt: skip
# ISO 32000-2, table 22: with the user's password, fields for signatures may be made if bits 4 and 6 are set.
_MAY_ADD_FIELDS = (
    StandardPermissions.ALLOW_MODIFICATION_GENERIC | StandardPermissions.ALLOW_ANNOTS_FORM_FILLING
)


def open_writer(
    stream: BinaryIO, *, name: str, password: SecretCallback | None
) -> tuple[IncrementalPdfFileWriter, str | None]:
    """Open a document for a new revision.

    Args:
        stream: The document; it stays open, and unchanged, until the revision is written.
        name: How errors call it.
        password: Called with the name if it is encrypted.

    Returns:
        The writer, and the password that opened the document, if it needed one.

    Raises:
        DocumentError: It is not a PDF, is broken, or is encrypted and the password is missing or wrong.
        NotAllowedError: The password given does not allow signing.
    """
    try:
        reader = _opened(stream)
        if is_hybrid(reader):
            trouble = find_trouble(reader)
            if trouble is not None:
                # One reader sees another document than the next; nobody could tell what was signed.
                raise DocumentError(f"pdf.hybrid-{trouble.value}", path=name)
        value = _unlock(reader, name, password)
        return _Writer.from_reader(reader), value
    except PdfReadError as exc:
        code = "pdf.not-a-pdf" if not _has_header(stream) else "pdf.broken"
        raise DocumentError(code, path=name, reason=str(exc)) from exc
    except _BROKEN_FILE as exc:
        raise DocumentError("pdf.broken", path=name, reason=str(exc)) from exc


def _opened(stream: BinaryIO) -> PdfFileReader:
    # Strict: what only a lenient reader understands is not fit to be signed.
    try:
        return PdfFileReader(stream, strict=True)
    except PdfStrictReadError as exc:
        if ORPHANED_GENERATION not in str(exc):
            raise
        # Poppler's files, as the verification reads them; see there.
        reader = PdfFileReader(stream, strict=False)
        reader.strict = True
        if not has_one_generation_each(reader):
            raise
        return reader


class _Writer(IncrementalPdfFileWriter):
    """Adds a signature and nothing else: the document keeps its version, its /Info and its XMP metadata.

    A signature does not make another document of it, and PDF/A wants /Info and XMP to agree (ISO 19005-1, 6.7.3).
    """

    def ensure_output_version(self, version: tuple[int, int]) -> None:
        pass

    def _update_meta(self) -> None:
        pass


def _unlock(reader: PdfFileReader, name: str, password: SecretCallback | None) -> str | None:
    if not reader.encrypted:
        return None
    value = password(name) if password is not None else None
    if value is None or not isinstance(reader.security_handler, StandardSecurityHandler):
        raise DocumentError("pdf.encrypted", path=name)
    answer = reader.decrypt(value)
    if answer.status is AuthStatus.FAILED:
        raise DocumentError("pdf.wrong-password", path=name)
    allowed = answer.permission_flags
    if (
        answer.status is AuthStatus.USER
        and isinstance(allowed, StandardPermissions)
        and _MAY_ADD_FIELDS not in allowed
    ):
        raise NotAllowedError("pdf.permissions", path=name)
    return value


def _has_header(stream: BinaryIO) -> bool:
    stream.seek(0)
    return b"%PDF-" in stream.read(1024)


class Translated:
    """Turns what pyHanko raises on a broken file into a DocumentError."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, _BROKEN_FILE):
            raise DocumentError("pdf.broken", path=self._name, reason=str(error)) from error
