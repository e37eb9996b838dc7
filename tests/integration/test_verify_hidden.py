"""What shadow documents are prepared with, found while it is still only prepared: warnings, never a failure."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path

import pytest

from tests.vectors import forging, identities, revisions
from tests.vectors.forging import (
    CATALOG,
    CONTENT,
    PAGE,
    appearance,
    objects_of_page,
    signed_once,
    stream,
    text,
)
from vnedoc.errors import DocumentError
from vnedoc.sign._hidden import find_hidden
from vnedoc.sign._pyhanko.changes import RevisionHistory
from vnedoc.sign._pyhanko.reading import FOREIGN_ERRORS, open_reader
from vnedoc.sign.checks import HIDDEN
from vnedoc.sign.policies import load_policy
from vnedoc.sign.policy import CheckLevel, Policy, PolicyCheck, RevocationRule
from vnedoc.sign.report import Conclusion, FileReport
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf

AT = datetime.datetime(2026, 7, 1, tzinfo=datetime.UTC)
VECTORS = Path(__file__).parents[1] / "vectors"
TRUST = TrustStore.from_certificates([identities.ROOT.certificate])


def policy(level: CheckLevel = CheckLevel.INFORM) -> Policy:
    return Policy(
        revocation=RevocationRule.IGNORE, checks=tuple(PolicyCheck(check, level) for check in HIDDEN)
    )


def judged(content: bytes, demands: Policy | None = None) -> FileReport:
    return verify_pdf(content, trust=TRUST, policy=demands or policy(), at=AT).files[0]


def found(report: FileReport) -> set[str]:
    return {finding.id for finding in report.warnings}


def picture(entries: bytes = b"") -> bytes:
    return stream(
        b"\xff\xff\xff",
        b"/Type /XObject /Subtype /Image /Width 1 /Height 1 /BitsPerComponent 8 "
        b"/ColorSpace /DeviceRGB " + entries,
    )


def covered(sheet: bytes, *, more: dict[int, bytes] | None = None, words: bytes | None = None) -> bytes:
    content = (words or text(forging.FALSE_TEXT)) + b" q 400 0 0 100 0 700 cm /Sheet Do Q"
    objects = objects_of_page(content, page=b"/XObject << /Sheet 9 0 R >>")
    return signed_once(objects, extra={9: sheet, **(more or {})})


def layered(settings: bytes) -> bytes:
    objects = objects_of_page()
    objects[CATALOG] = (
        b"<< /Type /Catalog /Pages 2 0 R /AcroForm 6 0 R /OCProperties << /OCGs [9 0 R] /D << %s >> >> >>"
        % settings
    )
    return signed_once(objects, extra={9: b"<< /Type /OCG /Name (TEST) >>"})


def second_set() -> bytes:
    """Two objects of the same number in one revision; the table knows the second only."""
    plain = signed_once()
    start = plain.index(b"%d 0 obj" % CONTENT)
    hidden = b"%d 0 obj\n%s\nendobj\n" % (CONTENT, stream(text(forging.FALSE_TEXT)))
    objects = objects_of_page()
    # A header of other length moves every offset; so the file is written again around the hidden object.
    assert start
    return signed_once(objects, header=forging.HEADER + hidden)


def two_fields() -> bytes:
    return signed_once(
        extra={
            10: revisions._text_field(11),
            11: revisions._look(b"1000"),
            12: revisions._text_field(13).replace(b"(Amount)", b"(Other)"),
            13: revisions._look(b"1000"),
        },
        annots=b"10 0 R 12 0 R ",
        fields=b"10 0 R 12 0 R ",
    )


PREPARED = {
    "a form over text": (
        lambda: signed_once(revisions._covered(), extra={9: revisions._SHEET}),
        "verify.covered-text",
    ),
    "a picture over text": (lambda: covered(picture()), "verify.covered-text"),
    "a layer that is off": (lambda: layered(b"/OFF [9 0 R]"), "verify.hidden-layers"),
    "layers off but for some": (lambda: layered(b"/BaseState /OFF"), "verify.hidden-layers"),
    "a layer for the printer": (
        lambda: layered(b"/AS [<< /Event /Print /Category [/Print] /OCGs [9 0 R] >>]"),
        "verify.hidden-layers",
    ),
    "a page that nothing leads to": (
        lambda: signed_once(
            extra={30: objects_of_page()[PAGE].replace(b"4 0 R", b"31 0 R"), 31: stream(b"")}
        ),
        "verify.spare-objects",
    ),
    "a picture that nothing draws": (lambda: signed_once(extra={30: picture()}), "verify.spare-objects"),
    "a second set of objects": (second_set, "verify.unlisted-objects"),
    "a second set in a stream's place": (lambda: revisions._twice()[0], "verify.unlisted-objects"),
    "a field that shows something else": (
        lambda: revisions._with_field(identities.AGENCY, words=b"AMOUNT 9999"),
        "verify.field-shows-other",
    ),
    "fields one over the other": (two_fields, "verify.fields-overlap"),
}


@pytest.mark.parametrize("name", PREPARED)
def test_what_is_prepared_is_warned_of(name: str) -> None:
    make, finding = PREPARED[name]
    report = judged(make())
    assert finding in found(report)
    assert report.conclusion is Conclusion.TOTAL_PASSED, report.all_errors()
    answers = {check.id: check.holds for check in report.checks}
    assert [check for check, holds in answers.items() if not holds] == [
        check for check, findings in HIDDEN.items() if findings & found(report)
    ]
    for language in ("vi", "en"):
        assert all(finding.text(language) for finding in report.warnings)


HONEST = {
    "plain": signed_once,
    "text over a picture": lambda: signed_once(
        objects_of_page(
            b"q 400 0 0 100 0 700 cm /Sheet Do Q " + text(forging.TRUE_TEXT),
            page=b"/XObject << /Sheet 9 0 R >>",
        ),
        extra={9: picture()},
    ),
    "a picture that shines through": lambda: covered(
        picture(b"/SMask 19 0 R "),
        more={
            19: stream(
                b"\x40",
                b"/Type /XObject /Subtype /Image /Width 1 /Height 1 /BitsPerComponent 8 /ColorSpace /DeviceGray ",
            )
        },
    ),
    "a scan over its recognised text": lambda: covered(
        picture(), words=b"BT 3 Tr /F1 18 Tf 60 740 Td (PAY 1000 VND) Tj ET"
    ),
    "a form of lines over text": lambda: covered(appearance(b"q 1 0 0 RG 3 w 0 0 m 100 100 l S Q", 1, 1)),
    "layers that are on": lambda: layered(b"/ON [9 0 R]"),
    "a field that shows its value": lambda: signed_once(
        extra={10: revisions._text_field(11), 11: revisions._look(b"1000")},
        annots=b"10 0 R ",
        fields=b"10 0 R ",
    ),
    "a PDF inside of a stream": lambda: signed_once(
        extra={
            30: stream(b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n", b"/Type /EmbeddedFile "),
        }
    ),
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_files_are_not_warned_of(name: str) -> None:
    report = judged(HONEST[name]())
    assert report.conclusion is Conclusion.TOTAL_PASSED, report.all_errors()
    assert found(report) & set().union(*HIDDEN.values()) == set()
    assert all(check.holds for check in report.checks)


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*/*/document.pdf")), ids=lambda path: path.parent.name)
def test_looking_ends_on_every_vector(path: Path) -> None:
    content = path.read_bytes()
    assert judged(content).conclusion in Conclusion
    try:
        reader = open_reader(content)
        history = RevisionHistory(reader, content, frozenset())
    except (DocumentError, *FOREIGN_ERRORS):
        history = None
    seen = find_hidden(content, history, HIDDEN, signed_end=len(content))
    assert {finding.id for finding in seen} <= set().union(*HIDDEN.values())


def test_a_huge_picture_is_not_drawn() -> None:
    content = text(forging.FALSE_TEXT) + b" q 90000 0 0 90000 -100 -100 cm /Sheet Do Q"
    objects = objects_of_page(content, page=b"/XObject << /Sheet 9 0 R >>")
    assert "verify.covered-text" in found(judged(signed_once(objects, extra={9: picture()})))


def test_a_policy_may_refuse_what_is_prepared() -> None:
    content = covered(picture())
    strict = judged(content, policy(CheckLevel.FAIL))
    assert strict.conclusion is Conclusion.TOTAL_FAILED
    assert "policy.not-nothing-covered" in {error.id for error in strict.errors}


def test_who_does_not_ask_does_not_pay() -> None:
    content = covered(picture())
    assert (
        judged(content, policy(CheckLevel.IGNORE)).warnings
        == judged(content, Policy(revocation=RevocationRule.IGNORE)).warnings
    )
    assert "verify.covered-text" not in found(judged(content, policy(CheckLevel.IGNORE)))


@pytest.mark.parametrize("name", ["any", "vn-issued", "vn-copy", "legacy-g1"])
def test_the_shipped_policies_ask(name: str) -> None:
    shipped = load_policy(f"shipped:{name}")
    assert set(HIDDEN) <= set(shipped.asked_checks)
    asked = dataclasses.replace(shipped, revocation=RevocationRule.IGNORE)
    assert "verify.covered-text" in found(judged(covered(picture()), asked))
