"""Pages as they were signed against pages as they are: what later fields cover, and what changed beside them."""

from __future__ import annotations

import datetime
import io

import pikepdf
import pytest

from tests.vectors import forging, identities, make_attacks
from vnedoc.sign import _views
from vnedoc.sign._views import compare_views
from vnedoc.sign._widgets import touched_pages, widgets_of
from vnedoc.sign.policy import Policy, RevocationRule
from vnedoc.sign.report import Conclusion, FileReport
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf

POLICY = Policy(revocation=RevocationRule.WHEN_AVAILABLE)
AT = datetime.datetime.fromisoformat(make_attacks.VALIDATION_TIME)
TEXT_BOX = b"[55 725 355 765]"
EMPTY_BOX = b"[55 125 355 165]"
WHITE = b"q 1 1 1 rg 0 0 300 40 re f Q"
BLACK = b"q 0 0 0 rg 0 0 300 40 re f Q"
FRAME = b"q 1 0 0 RG 2 w 2 2 296 36 re S Q"


@pytest.fixture(scope="module")
def trust() -> TrustStore:
    return TrustStore.from_certificates([identities.ROOT.certificate])


def judge(content: bytes, trust: TrustStore) -> FileReport:
    (report,) = verify_pdf(content, trust=trust, policy=POLICY, at=AT).files
    return report


def ids(report: FileReport) -> tuple[set[str], set[str]]:
    warnings = {finding.id for signature in report.signatures for finding in signature.warnings}
    return {finding.id for finding in report.all_errors()}, warnings


def with_field(rect: bytes, look: bytes, *, page: bytes = b"", content: bytes | None = None) -> bytes:
    parts = forging.objects_of_page(content)
    parts[forging.PAGE] = parts[forging.PAGE].replace(b"/MediaBox", page + b" /MediaBox")
    changed = parts[forging.PAGE].replace(b"/Annots [", b"/Annots [7 0 R 20 0 R")
    return forging.signed_again(
        forging.signed_once(parts, identity=identities.LEADER),
        identities.AGENCY,
        rect=rect,
        look=forging.appearance(look, 300, 40),
        objects={forging.PAGE: changed},
    )


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("crop", [b"", b" /CropBox [20 30 390 790]"])
def test_a_covered_text_is_found_however_the_page_is_turned(
    rotation: int, crop: bytes, trust: TrustStore
) -> None:
    page = b"/Rotate %d%s" % (rotation, crop)
    report = judge(with_field(TEXT_BOX, WHITE, page=page), trust)
    assert report.conclusion is Conclusion.INDETERMINATE
    (finding,) = report.all_errors()
    assert finding.id == "verify.covers-content"
    assert finding.values == {"field": "Second", "page": 1, "text": "PAY 1000 VND"}
    assert judge(with_field(EMPTY_BOX, WHITE, page=page), trust).conclusion is Conclusion.TOTAL_PASSED


@pytest.mark.parametrize(
    ("look", "errors", "warnings"),
    [
        (WHITE, {"verify.covers-content"}, set()),
        (BLACK, {"verify.covers-content"}, set()),
        (FRAME, set(), {"verify.field-over-content"}),
    ],
)
def test_what_a_field_does_to_the_text_under_it(
    look: bytes, errors: set[str], warnings: set[str], trust: TrustStore
) -> None:
    found = ids(judge(with_field(TEXT_BOX, look), trust))
    assert found[0] == errors
    assert found[1] >= warnings


def test_a_covered_drawing_is_found_without_any_text(trust: TrustStore) -> None:
    drawing = forging.text(forging.TRUE_TEXT) + b" q 0 0 0 rg 100 130 40 20 re f Q"
    report = judge(with_field(EMPTY_BOX, WHITE, content=drawing), trust)
    assert {error.id for error in report.all_errors()} == {"verify.covers-content"}


def test_dots_may_be_written_on(trust: TrustStore) -> None:
    content = forging.text(forging.TRUE_TEXT) + b" " + forging.text(b"..............", y=140)
    report = judge(with_field(EMPTY_BOX, WHITE, content=content), trust)
    assert report.conclusion is Conclusion.TOTAL_PASSED
    assert "verify.field-over-content" in ids(report)[1]


def two_pictures(*, first: bytes, second: bytes, look: bytes, identity: identities.Identity) -> bytes:
    page = forging.objects_of_page()[forging.PAGE].replace(b"/Annots [", b"/Annots [7 0 R 15 0 R")
    content = forging.signed_again(
        forging.signed_once(identity=identities.LEADER),
        identities.LEADER,
        name=b"Leader",
        number=15,
        rect=first,
        look=forging.appearance(b"q 0 0 1 rg 20 10 260 20 re f Q", 300, 40),
        objects={forging.PAGE: page},
    )
    return forging.signed_again(
        content,
        identity,
        rect=second,
        look=forging.appearance(look, 300, 40),
        annots=b"7 0 R 15 0 R",
        fields=b"7 0 R 15 0 R",
    )


@pytest.mark.parametrize(
    ("second", "look", "identity", "errors"),
    [
        # The seal over a third of the signature, on its left.
        (b"[40 400 140 440]", BLACK, identities.AGENCY, set()),
        # So may a seal, and nobody else.
        (
            b"[40 400 140 440]",
            WHITE,
            identities.INSIDER,
            {"verify.covers-signature"},
        ),
        # Not all of it.
        (b"[40 395 370 445]", WHITE, identities.AGENCY, {"verify.covers-signature"}),
        # Beside it.
        (b"[60 340 360 380]", WHITE, identities.INSIDER, set()),
    ],
)
def test_the_seal_lies_over_a_third_of_the_signature(
    second: bytes, look: bytes, identity: identities.Identity, errors: set[str], trust: TrustStore
) -> None:
    report = judge(
        two_pictures(first=b"[60 400 360 440]", second=second, look=look, identity=identity), trust
    )
    assert ids(report)[0] == errors


def test_a_digit_that_looks_different_is_seen() -> None:
    signed = forging.signed_once()
    changed = forging.updated(signed, {forging.CONTENT: forging.stream(forging.text(b"PAY 1001 VND"))})
    seen = compare_views(signed, changed, frozenset({forging.CONTENT}))
    assert [finding.id for finding in seen.differences] == ["verify.shown-differently"]
    assert not compare_views(signed, signed, frozenset({forging.CONTENT})).differences


def test_a_page_that_is_gone_is_seen() -> None:
    signed = forging.signed_once()
    parts = forging.objects_of_page()
    more = forging.updated(
        signed,
        {
            forging.PAGES: b"<< /Type /Pages /Kids [3 0 R 20 0 R] /Count 2 >>",
            20: parts[forging.PAGE].replace(b"4 0 R", b"21 0 R"),
            21: forging.stream(b""),
        },
    )
    seen = compare_views(signed, more, frozenset({forging.PAGES, 20, 21}))
    assert seen.differences


def test_only_pages_that_were_touched_are_looked_at() -> None:
    pdf = pikepdf.new()
    font = pdf.make_indirect(pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1))
    for number in range(3):
        page = pdf.add_blank_page()
        page.Contents = pdf.make_stream(b" ")
        if number:
            page.Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F1=font))
    assert touched_pages(pdf, frozenset({font.objgen[0]})) == [1, 2]
    assert touched_pages(pdf, frozenset({pdf.pages[0].obj.objgen[0]})) == [0]
    assert touched_pages(pdf, frozenset({pdf.Root.Pages.objgen[0]})) == [0, 1, 2]
    assert touched_pages(pdf, frozenset({pdf.Root.objgen[0]})) == []


def test_widgets_are_named_and_placed() -> None:
    with pikepdf.open(io.BytesIO(with_field(TEXT_BOX, WHITE))) as pdf:
        widgets = {widget.name: widget for widget in widgets_of(pdf, 0).values()}
    assert widgets["Second"].box == (55.0, 725.0, 355.0, 765.0)
    assert widgets["Second"].is_signature
    assert widgets["Seal"].box is None


@pytest.mark.parametrize(
    ("limit", "value", "finding"),
    [
        ("MAX_COMPARED_PAGES", 0, "verify.too-many-changed-pages"),
        ("MAX_SECONDS", -1.0, "verify.not-compared"),
    ],
)
def test_what_cannot_be_compared_cannot_pass(
    limit: str, value: float, finding: str, trust: TrustStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = with_field(EMPTY_BOX, FRAME)
    assert judge(content, trust).conclusion is Conclusion.TOTAL_PASSED
    monkeypatch.setattr(_views, limit, value)
    report = judge(content, trust)
    assert report.conclusion is Conclusion.INDETERMINATE
    assert {error.id for error in report.all_errors()} == {finding}


def test_who_has_no_trusted_key_cannot_make_us_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(_views, "_drawn", lambda *_: drawn.append(1))
    report = judge(with_field(TEXT_BOX, WHITE), TrustStore(()))
    assert report.conclusion is Conclusion.INDETERMINATE
    assert not drawn
