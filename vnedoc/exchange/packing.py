"""Which files go into a package: in what order, under what names, and whether they may leave the house at all.

Decision 28/2018/QĐ-TTg, article 4: what counts is the signed document; it goes first. Receivers of the field lose
files with long names or letters with diacritics, so names are cleaned and the original stands in the description.
"""

from __future__ import annotations

import pathlib
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from vnedoc.errors import ConfigurationError, ExitCode, IndeterminateError, InputError, VerificationError
from vnedoc.exchange.models import Attachment, PackageFinding

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Sequence

    from vnedoc.exchange.models import DocumentHeader
    from vnedoc.sign.policy import Policy
    from vnedoc.sign.report import FileReport
    from vnedoc.sign.revocation import RevocationSource
    from vnedoc.sign.trust import TrustStore

__all__ = ["MAX_NAME_CHARS", "arrange", "check_issued", "clean_name", "find_unsigned", "is_signed_pdf"]

MAX_NAME_CHARS = 50
"""How long a file name may be in the regulations of provinces that say so."""
_CHUNK_BYTES = 1024 * 1024
_MAX_SUFFIX_CHARS = 10
# The letters that do not come apart into a base letter and a mark.
_LETTERS = str.maketrans({"đ": "d", "Đ": "D", "ø": "o", "Ø": "O", "ß": "ss", "æ": "ae", "Æ": "AE"})
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)", re.IGNORECASE)
# Every signature of a PDF says which bytes it covers, in plain sight (ISO 32000-2, 12.8.1).
_SIGNED = b"/ByteRange"


def clean_name(name: str, *, taken: set[str] | None = None) -> str:
    """Return a file name as receivers need it: ASCII, at most 50 characters, the extension kept.

    Args:
        name: The name of the file.
        taken: Names in use, whatever their letter case; the new one differs from all and is added.
    """
    path = pathlib.PurePosixPath(re.split(r"[/\\]", name)[-1].strip())
    suffix = _plain(path.suffix.removeprefix("."))[:_MAX_SUFFIX_CHARS]
    stem = _plain(path.stem) or "tep"
    suffix = f".{suffix}" if suffix else ""
    if _RESERVED.match(stem + suffix):
        stem = f"tep-{stem}"
    taken = set() if taken is None else taken
    number, tail = 1, ""
    while (
        candidate := stem[: MAX_NAME_CHARS - len(tail + suffix)].rstrip("-_") + tail + suffix
    ).lower() in taken:
        number += 1
        tail = f"-{number}"
    taken.add(candidate.lower())
    return candidate


def is_signed_pdf(path: Path) -> bool:
    """Tell whether a file is a PDF with a signature in it, without judging either.

    Raises:
        InputError: The file cannot be read.
    """
    return _look(path)[1]


def find_unsigned(header: DocumentHeader, paths: Iterable[Path]) -> tuple[PackageFinding, ...]:
    """Find what lacks a signature although the header says that the document was issued.

    A number and a date are given when a document is issued (Decree 30/2020/NĐ-CP, article 15); a draft has no number,
    and nothing is expected of it. Of an issued document the PDF is signed, and so is each appendix in a file of its
    own (annex I, part I).

    Args:
        header: What the package says.
        paths: The files.

    Returns:
        One finding if nothing is signed at all; otherwise one for each unsigned PDF.

    Raises:
        InputError: A file cannot be read.
    """
    if not (header.code_number and header.date_text):
        return ()
    looks = {path: _look(path) for path in paths}
    if not any(is_signed for _, is_signed in looks.values()):
        return (PackageFinding("package.nothing-signed", "AttachmentEncoded"),)
    return tuple(
        PackageFinding("package.not-signed", "AttachmentEncoded", {"name": path.name})
        for path, (is_pdf, is_signed) in looks.items()
        if is_pdf and not is_signed
    )


def _look(path: Path) -> tuple[bool, bool]:
    """Tell whether a file is a PDF, and whether it is signed."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_CHUNK_BYTES)
            if b"%PDF-" not in head[:1024]:
                return False, False
            tail = b""
            while head:
                if _SIGNED in tail + head:
                    return True, True
                tail, head = head[-len(_SIGNED) :], stream.read(_CHUNK_BYTES)
    except OSError as exc:
        raise InputError("file.cannot-read", path=path, reason=exc.strerror) from exc
    return True, False


def arrange(paths: Sequence[Path], *, keep_names: bool = False) -> tuple[Attachment, ...]:
    """Return files as attachments: signed PDFs first, then the others, each group in its order.

    Names are cleaned; where that changed one, the original is the description.

    Args:
        paths: The files.
        keep_names: Leave the names as they are.

    Raises:
        InputError: A file cannot be read.
    """
    taken: set[str] = set()
    found = []
    for path in sorted(paths, key=lambda item: not is_signed_pdf(item)):
        name = path.name if keep_names else clean_name(path.name, taken=taken)
        found.append(Attachment(name, path, None if name == path.name else path.name))
    return tuple(found)


def check_issued(
    paths: Iterable[Path],
    *,
    trust: TrustStore | None,
    policy: Policy | None = None,
    at: datetime.datetime | None = None,
    revocation: RevocationSource | None = None,
) -> tuple[FileReport, ...]:
    """Refuse documents whose signatures do not verify; return the verdicts on the signed ones.

    A PDF without any signature is let through, because drafts and what is for information only travel unsigned;
    :func:`find_unsigned` says where one was to be expected.

    Args:
        paths: The files; only signed PDFs are looked at.
        trust: The trust anchors; needed as soon as one file is signed.
        policy: What is demanded; ``None`` is the strict default.
        at: The time for which the question is asked; ``None`` is now.
        revocation: Where revocation data may be asked for; ``None`` uses what the files bring.

    Raises:
        ConfigurationError: A file is signed and no trust is given.
        VerificationError: A signature is not valid.
        IndeterminateError: It cannot be told whether a signature is valid.
        InputError: A file cannot be read.
    """
    from vnedoc.sign.verification import verify_files

    signed = [path for path in paths if is_signed_pdf(path)]
    if not signed:
        return ()
    if trust is None:
        raise ConfigurationError("package.needs-trust", name=signed[0].name)
    reports = tuple(verify_files(signed, trust=trust, policy=policy, at=at, revocation=revocation))
    for path, report in zip(signed, reports, strict=True):
        _demand(path, report)
    return reports


def _demand(path: Path, report: FileReport) -> None:
    from vnedoc.sign.report import VerificationReport

    code = VerificationReport((report,)).exit_code
    if code is ExitCode.DONE:
        return
    errors = report.all_errors()
    reason = errors[0] if errors else report.conclusion.value
    kind = VerificationError if code is ExitCode.NO else IndeterminateError
    raise kind("package.not-verified", name=path.name, conclusion=report.conclusion.value, reason=reason)


def _plain(text: str) -> str:
    """Keep letters and digits of ASCII; whatever stands between them becomes one hyphen, an underscore stays."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    letters = "".join(char for char in decomposed if not unicodedata.combining(char))
    return re.sub(r"[^A-Za-z0-9_]+", "-", letters).strip("-_")
