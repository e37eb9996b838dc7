"""Reports made of anything: every form of a report can be written, read again and counted."""

from __future__ import annotations

import datetime
import json
import random

from vnedoc import messages
from vnedoc._internal.xml import parse_bytes
from vnedoc.errors import ExitCode
from vnedoc.sign.report import (
    CertificateSummary,
    Changes,
    Conclusion,
    Coverage,
    FileReport,
    Finding,
    Revocation,
    RevocationStatus,
    SenderMatch,
    SenderReport,
    SignatureKind,
    SignatureReport,
    SignerRole,
    VerificationReport,
)
from vnedoc.sign.reports.html import render_html
from vnedoc.sign.reports.json import render_json
from vnedoc.sign.reports.junit import render_junit
from vnedoc.sign.reports.sarif import render_sarif
from vnedoc.sign.reports.text import render_text

__all__ = ["one", "seeds"]

_IDS = ("verify.hash-failure", "verify.no-signature", "verify.stray-bytes", "verify.unknown-to-the-catalogue")


class _Source:
    """Turns bytes into values; what comes out depends on nothing else."""

    def __init__(self, content: bytes) -> None:
        self._left = content
        self._random = random.Random(content)

    def words(self) -> str:
        length = self._random.choice((0, 1, 7, 40, 400))
        part, self._left = self._left[:length], self._left[length:]
        # Whatever a PDF holds may end in a name: control characters, half a surrogate pair, markup.
        return part.decode("utf-8", errors=self._random.choice(("replace", "surrogateescape")))

    def one_of(self, values: object) -> object:
        return self._random.choice(list(values))

    def maybe(self, value: object) -> object:
        return self._random.choice((None, value))

    def moment(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self._random.randrange(1, 4_000_000_000), tz=datetime.UTC)

    def findings(self) -> tuple[Finding, ...]:
        return tuple(
            Finding(str(self.one_of(_IDS[:3])), {"reason": self.words(), "field": self.words()})
            for _ in range(self._random.randrange(3))
        )


def _signature(source: _Source) -> SignatureReport:
    summary = CertificateSummary(
        source.words(), source.words(), (source.words(),), source.words(), "00ff", source.words(), None, None
    )
    return SignatureReport(
        field=source.words(),
        kind=source.one_of(SignatureKind),
        role=source.one_of(SignerRole),
        conclusion=source.one_of(
            (Conclusion.TOTAL_PASSED, Conclusion.TOTAL_FAILED, Conclusion.INDETERMINATE)
        ),
        sub_indication=source.maybe("HASH_FAILURE"),
        level="PAdES-B-B",
        subfilter=source.words(),
        digest_algorithm="sha256",
        signature_algorithm=source.words(),
        signer=source.maybe(summary),
        trust_anchor=source.words(),
        trust_tree="custom",
        signing_time=source.maybe(source.moment()),
        time_source="claimed",
        best_signature_time=source.maybe(source.moment()),
        certificate_not_before=source.maybe(source.moment()),
        certificate_not_after=source.maybe(source.moment()),
        integrity=True,
        covers=source.one_of(Coverage),
        changes_after=source.one_of(Changes),
        revocation=Revocation(source.one_of(RevocationStatus), "crl"),
        box=source.maybe((1, "1,2,3,4")),
        warnings=source.findings(),
        errors=source.findings(),
    )


def seeds() -> list[bytes]:
    """Return some beginnings."""
    return [b"", "Quyết định số 17/QĐ-UBND".encode() * 9, bytes(range(256)) * 4, b"<script>&\x00]]>" * 60]


def one(content: bytes) -> None:
    """Make one report of the input and write it in every form."""
    source = _Source(content)
    files = tuple(
        FileReport(
            path=source.words(),
            conclusion=source.one_of(Conclusion),
            readers_agree=True,
            sender=source.maybe(SenderReport(source.words(), source.one_of(SenderMatch))),
            signatures=tuple(_signature(source) for _ in range(len(content) % 3)),
            warnings=source.findings(),
            errors=source.findings(),
        )
        for _ in range(len(content) % 4)
    )
    report = VerificationReport(files)
    assert report.exit_code in ExitCode
    passed = bool(files) and all(file.conclusion is Conclusion.TOTAL_PASSED for file in files)
    assert (report.exit_code is ExitCode.DONE) == passed
    for language in messages.Language:
        written = json.dumps(report.to_dict(language))
        assert len(json.loads(written)["files"]) == len(files)
        _write_all(report, language)


def _write_all(report: VerificationReport, language: messages.Language) -> None:
    """Write a report in every form, and read again what has a grammar."""
    assert isinstance(render_text(report, language=language), str)
    assert json.loads(render_json(report, language=language))
    assert json.loads(render_sarif(report, language=language))["version"] == "2.1.0"
    parse_bytes(render_junit(report, language=language).encode())
    page = render_html(report, language=language)
    page.encode("utf-8")
    assert "<script" not in page.lower()


if __name__ == "__main__":
    import sys

    from tests.fuzz.__main__ import main

    main(["report", *sys.argv[1:]])
