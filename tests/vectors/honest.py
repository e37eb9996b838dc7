"""Honest files that must pass, made in the same way: the corpus proves nothing if everything is refused."""

from __future__ import annotations

from tests.vectors import identities
from tests.vectors.attack import PASSED, Attack
from tests.vectors.forgeries import _document_timestamp
from tests.vectors.forging import (
    CATALOG,
    PAGE,
    TRUE_TEXT,
    appearance,
    objects_of_page,
    signed_again,
    signed_once,
    stamped,
    stream,
    text,
    updated,
)
from tests.vectors.revisions import _look, _text_field, _with_field
from tests.vectors.structures import _with_object_stream

_OWN = "made for comparison"
_SEAL = b"q 1 0 0 RG 3 w 5 5 30 30 re S Q"


def _signed_and_sealed() -> bytes:
    """The usual way: the leader signs visibly, the seal lies over a third of it."""
    page = objects_of_page()[PAGE]
    first = signed_again(
        signed_once(identity=identities.LEADER, level=2),
        identities.LEADER,
        name=b"Leader",
        number=15,
        rect=b"[150 400 300 450]",
        look=appearance(text(b"Nguyen", x=60, y=20), 150, 50),
        objects={PAGE: page.replace(b"/Annots [", b"/Annots [7 0 R 15 0 R")},
    )
    return signed_again(
        first,
        identities.AGENCY,
        rect=b"[130 400 200 450]",
        look=appearance(_SEAL, 70, 50),
        annots=b"7 0 R 15 0 R",
        fields=b"7 0 R 15 0 R",
    )


def _filled() -> bytes:
    return signed_again(
        _with_field(identities.LEADER, words=b"", value=b"()"),
        identities.AGENCY,
        objects={10: _text_field(23, b"(1000)"), 23: _look(b"1000")},
        annots=b"7 0 R 10 0 R",
        fields=b"7 0 R 10 0 R",
    )


def _filled_over_dots() -> bytes:
    """The number is put over a dotted line, as the tools of today do it with a picture."""
    objects = objects_of_page(text(TRUE_TEXT) + b" " + text(b"No: .........../QD", y=600))
    signed = signed_once(objects, identity=identities.LEADER)
    return signed_again(
        signed,
        identities.AGENCY,
        rect=b"[92 590 150 618]",
        look=appearance(b"q 1 1 1 rg 0 0 58 28 re f Q " + text(b"17", x=4, y=10), 58, 28),
    )


def _long_term() -> bytes:
    content = signed_once(make=lambda covered: stamped(identities.AGENCY, covered))
    catalog = b"<< /Type /Catalog /Pages 2 0 R /AcroForm 6 0 R /DSS 15 0 R >>"
    store = updated(
        content,
        {
            CATALOG: catalog,
            15: b"<< /Type /DSS /Certs [16 0 R] >>",
            16: stream(identities.ROOT.encoded),
        },
    )
    return _document_timestamp(store)


def _xref_stream() -> bytes:
    return signed_again(_with_object_stream(signed_once(), {34: b"(TEST)"}, hybrid=False), number=40)


HONEST = (
    Attack("honest/once", "One signature.", _OWN, signed_once, PASSED, shows=("PAY 1000 VND",)),
    Attack(
        "honest/twice",
        "Two signatures that show nothing.",
        _OWN,
        lambda: signed_again(signed_once(identity=identities.LEADER), identities.AGENCY),
        PASSED,
        tool="pdfsig",
        shows=("Signature #2", "Signature is Valid"),
    ),
    Attack(
        "honest/signed-and-sealed",
        "Certified with P=2, then a visible signature and a seal over a third of it.",
        "Decree 30/2020/NĐ-CP, Annex I",
        _signed_and_sealed,
        PASSED,
        shows=("PAY 1000 VND", "Nguyen"),
    ),
    Attack(
        "honest/filled",
        "An empty field is filled in the revision of the seal.",
        "ISO 32000-2, 12.8.2.2",
        _filled,
        PASSED,
        shows=("PAY 1000 VND", "1000"),
    ),
    Attack(
        "honest/number-over-dots",
        "The number as a picture over a dotted line.",
        "the way of the government's tools",
        _filled_over_dots,
        PASSED,
        warnings=("verify.field-over-content",),
        shows=("PAY 1000 VND", "17"),
    ),
    Attack(
        "honest/timestamps-and-store",
        "A signature time-stamp, a document security store and a document time-stamp.",
        "ETSI EN 319 142-1, 5.4",
        _long_term,
        PASSED,
        shows=("PAY 1000 VND",),
    ),
    Attack(
        "honest/cross-reference-stream",
        "A revision with an object stream between two signatures, changing nothing.",
        "ISO 32000-2, 7.5.8",
        _xref_stream,
        PASSED,
        importance="medium",
        shows=("PAY 1000 VND",),
    ),
)
