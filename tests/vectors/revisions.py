"""Attacks by what is added after a signature: shadow documents, annotations and fields on certified documents."""

from __future__ import annotations

from tests.vectors import identities
from tests.vectors.attack import CERTIFIED, FAILED, SHADOW, UNSURE, Attack
from tests.vectors.forging import (
    CATALOG,
    CONTENT,
    FALSE_TEXT,
    FONT,
    FORM,
    OPAQUE,
    PAGE,
    PAGES,
    TRUE_TEXT,
    Objects,
    appearance,
    body,
    last_startxref,
    objects_of_page,
    signed_again,
    signed_once,
    size_of,
    stream,
    table,
    text,
    trailer,
    updated,
    widget,
)

COVER = b"q 1 1 1 rg 40 700 320 80 re f Q "
BOX = b"[55 725 355 765]"
"""Where the amount stands."""


def _covered() -> Objects:
    """Return a page on which a sheet with the true words lies over the false ones."""
    objects = objects_of_page(text(FALSE_TEXT), page=b"/XObject << /Sheet 9 0 R >>")
    objects[CONTENT] = stream(text(FALSE_TEXT) + b" /Sheet Do")
    return objects


_SHEET = appearance(COVER + text(TRUE_TEXT), 400, 800)
_NO_SHEET = appearance(b"", 400, 800)


def _hide_object() -> bytes:
    return updated(signed_once(_covered(), extra={9: _SHEET}), {9: _NO_SHEET})


def _hide_contents() -> bytes:
    signed = signed_once(_covered(), extra={9: _SHEET})
    return updated(signed, {CONTENT: stream(text(FALSE_TEXT))})


def _hide_freed() -> bytes:
    return updated(signed_once(_covered(), extra={9: _SHEET}), {}, free=(9,))


def _hide_with_signature() -> bytes:
    page = _covered()[PAGE].replace(b"/Annots [", b"/Annots [7 0 R 20 0 R")
    signed = signed_once(_covered(), extra={9: _SHEET}, identity=identities.LEADER)
    return signed_again(signed, objects={9: _NO_SHEET, PAGE: page})


def _text_field(look: int, value: bytes = b"(1000)") -> bytes:
    return (
        b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (Amount) /F 4 /P 3 0 R /Rect [60 640 360 680] /V %s"
        b" /DA (/F1 18 Tf 0 g) /AP << /N %d 0 R >> >>" % (value, look)
    )


def _look(words: bytes) -> bytes:
    return appearance(b"/Tx BMC " + text(words, x=5, y=10) + b" EMC", 300, 40)


def _with_field(
    identity: identities.Identity, *, words: bytes = b"AMOUNT 1000", value: bytes = b"(1000)"
) -> bytes:
    return signed_once(
        extra={10: _text_field(11, value), 11: _look(words), 12: _look(b"AMOUNT 9999")},
        annots=b"10 0 R ",
        fields=b"10 0 R ",
        identity=identity,
    )


def _replace_look() -> bytes:
    return updated(_with_field(identities.AGENCY), {10: _text_field(12)})


def _replace_look_with_signature() -> bytes:
    return signed_again(
        _with_field(identities.LEADER),
        objects={10: _text_field(12)},
        annots=b"7 0 R 10 0 R",
        fields=b"7 0 R 10 0 R",
    )


def _replace_value_with_signature() -> bytes:
    return signed_again(
        _with_field(identities.LEADER),
        objects={10: _text_field(12, b"(9999)")},
        annots=b"7 0 R 10 0 R",
        fields=b"7 0 R 10 0 R",
    )


def _replace_stream_with_signature() -> bytes:
    return signed_again(
        _with_field(identities.LEADER),
        objects={11: _look(b"AMOUNT 9999")},
        annots=b"7 0 R 10 0 R",
        fields=b"7 0 R 10 0 R",
    )


def _replace_font() -> bytes:
    swapped = objects_of_page()[FONT].replace(
        b"/Encoding /WinAnsiEncoding",
        b"/Encoding << /Type /Encoding /BaseEncoding /WinAnsiEncoding /Differences [48 /nine /nine] >>",
    )
    return updated(signed_once(), {FONT: swapped})


def _twice() -> tuple[bytes, dict[int, int]]:
    """Return a signed file that holds a second set of objects no table knows, and where they are."""
    hidden = {
        CATALOG: b"<< /Type /Catalog /Pages 2 0 R /AcroForm 6 0 R >>",
        PAGES: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        CONTENT: stream(text(FALSE_TEXT)),
        30: b"<< /Type /Catalog /Pages 31 0 R /AcroForm 6 0 R >>",
        31: b"<< /Type /Pages /Kids [32 0 R] /Count 1 >>",
        32: objects_of_page()[PAGE].replace(b"4 0 R", b"33 0 R").replace(b"2 0 R", b"31 0 R"),
        33: stream(text(FALSE_TEXT)),
    }
    from tests.vectors.forging import HEADER

    written, offsets = body(hidden, len(HEADER))
    return signed_once(header=HEADER + written), offsets


def _swap_table() -> bytes:
    content, offsets = _twice()
    start = len(content)
    return (
        content
        + table({CONTENT: offsets[CONTENT]})
        + trailer(size_of(content), start, prev=last_startxref(content))
    )


def _swap_root() -> bytes:
    content, offsets = _twice()
    start = len(content)
    listed = {number: offsets[number] for number in (30, 31, 32, 33)}
    return content + table(listed) + trailer(34, start, prev=last_startxref(content), root=30)


def _swap_root_only() -> bytes:
    """The hidden objects are in the signed table; only the trailer's /Root changes."""
    extra = {
        30: b"<< /Type /Catalog /Pages 31 0 R /AcroForm 6 0 R >>",
        31: b"<< /Type /Pages /Kids [32 0 R] /Count 1 >>",
        32: objects_of_page()[PAGE].replace(b"4 0 R", b"33 0 R").replace(b"2 0 R", b"31 0 R"),
        33: stream(text(FALSE_TEXT)),
    }
    content = signed_once(extra=extra)
    start = len(content)
    return content + b"xref\n0 0\n" + trailer(size_of(content), start, prev=last_startxref(content), root=30)


def _annotated(annotation: bytes, *, level: int | None = 3, look: bytes | None = None) -> bytes:
    signed = signed_once(level=level)
    page = objects_of_page()[PAGE].replace(b"/Annots [", b"/Annots [7 0 R 20 0 R")
    changed = {PAGE: page, 20: annotation}
    if look is not None:
        changed[22] = look
    return updated(signed, changed)


_FREE_TEXT = (
    b"<< /Type /Annot /Subtype /FreeText /F 4 /P 3 0 R /Rect %s /Contents (PAY 9999 VND)"
    b" /DA (/F1 18 Tf 0 g) /AP << /N 22 0 R >> >>" % BOX
)
_STAMP = b"<< /Type /Annot /Subtype /Stamp /F 4 /P 3 0 R /Rect %s /AP << /N 22 0 R >> >>" % BOX
_HIGHLIGHT = (
    b"<< /Type /Annot /Subtype /Highlight /F 4 /P 3 0 R /Rect %s /C [1 1 1] /QuadPoints"
    b" [55 765 355 765 55 725 355 725] /AP << /N 22 0 R >> >>" % BOX
)


def _sneaky(
    level: int | None,
    *,
    identity: identities.Identity = identities.LEADER,
    rect: bytes = BOX,
    look: bytes = OPAQUE,
    more: Objects | None = None,
) -> bytes:
    return signed_again(
        signed_once(level=level, identity=identity),
        rect=rect,
        look=appearance(look, 300, 40),
        objects=more,
    )


def _sneaky_empty_field() -> bytes:
    signed = signed_once(level=2)
    base = objects_of_page()
    return updated(
        signed,
        {
            PAGE: base[PAGE].replace(b"/Annots [", b"/Annots [7 0 R 20 0 R"),
            FORM: base[FORM].replace(b"/Fields [", b"/Fields [7 0 R 20 0 R"),
            20: widget(b"Second", 0, rect=BOX, look=22),
            22: appearance(OPAQUE, 300, 40),
        },
    )


def _over_signature() -> bytes:
    """A later signature lies over the whole picture of an earlier one."""
    extra = {13: appearance(text(b"NGUYEN VAN TEST", x=5, y=10), 300, 40)}
    parts = objects_of_page()
    signed = signed_once(parts, identity=identities.LEADER, extra={})
    page = parts[PAGE].replace(b"/Annots [", b"/Annots [7 0 R 15 0 R")
    first = signed_again(
        signed,
        identities.LEADER,
        name=b"Leader",
        number=15,
        rect=b"[60 400 360 440]",
        look=extra[13],
        objects={PAGE: page},
    )
    return signed_again(
        first,
        rect=b"[60 400 360 440]",
        look=appearance(b"q 1 1 1 rg 0 0 300 40 re f Q", 300, 40),
        annots=b"7 0 R 15 0 R",
        fields=b"7 0 R 15 0 R",
    )


def _changed_own_look() -> bytes:
    """The picture of a signature is replaced after signing."""
    parts = objects_of_page()
    parts[PAGE] = parts[PAGE].replace(b"/Annots [", b"/Annots [7 0 R")
    signed = signed_again(
        signed_once(identity=identities.LEADER),
        identities.LEADER,
        name=b"Leader",
        rect=b"[60 400 360 440]",
        look=appearance(text(b"NGUYEN VAN TEST", x=5, y=10), 300, 40),
    )
    return updated(signed, {22: appearance(text(b"SOMEBODY ELSE", x=5, y=10), 300, 40)})


def _locked() -> bytes:
    """P=1 and a further signature."""
    return signed_again(signed_once(level=1, identity=identities.LEADER))


def _page_added() -> bytes:
    signed = signed_once()
    return updated(
        signed,
        {
            PAGES: b"<< /Type /Pages /Kids [3 0 R 20 0 R] /Count 2 >>",
            20: objects_of_page()[PAGE].replace(b"4 0 R", b"21 0 R"),
            21: stream(text(FALSE_TEXT)),
        },
    )


def _shadow(name: str, what: str, make: object, errors: tuple[str, ...] = (), **more: object) -> Attack:
    return Attack(
        id=f"attacks/shadow-{name}",
        description=f"Shadow attack: {what}.",
        source=SHADOW,
        make=make,
        **{"conclusion": FAILED, "errors": errors, "shows": ("PAY 9999 VND",), **more},
    )


def _certified(name: str, what: str, make: object, errors: tuple[str, ...] = (), **more: object) -> Attack:
    return Attack(
        id=f"attacks/{name}",
        description=f"{what}.",
        source=CERTIFIED,
        make=make,
        **{"conclusion": FAILED, "errors": errors, "shows": ("PAY 1000 VND",), **more},
    )


ATTACKS = (
    _shadow(
        "hide-object",
        "a sheet that covered the false amount becomes empty",
        _hide_object,
        ("verify.content-changed",),
        hides=("PAY 1000 VND",),
    ),
    _shadow(
        "hide-contents", "the page no longer draws the sheet", _hide_contents, ("verify.content-changed",)
    ),
    _shadow(
        "hide-freed", "the sheet is freed in the cross-reference table", _hide_freed, shows=("9999 VND",)
    ),
    _shadow(
        "hide-with-signature",
        "the sheet becomes empty in the revision of a later, good signature",
        _hide_with_signature,
        ("verify.content-changed",),
    ),
    _shadow(
        "replace-look",
        "a form field shows another amount, its value stays",
        _replace_look,
        shows=("AMOUNT 9999",),
        tool="pdftotext",
    ),
    _shadow(
        "replace-look-with-signature",
        "a form field shows another amount, vouched for by a later, good signature",
        _replace_look_with_signature,
        ("verify.shown-differently",),
        shows=("AMOUNT 9999",),
    ),
    _shadow(
        "replace-value-with-signature",
        "a filled field gets another value, vouched for by a later, good signature",
        _replace_value_with_signature,
        ("verify.filled-again",),
        shows=("AMOUNT 9999",),
    ),
    _shadow(
        "replace-stream-with-signature",
        "the picture of a filled field is written anew, the field itself stays",
        _replace_stream_with_signature,
        ("verify.shown-differently",),
        shows=("AMOUNT 9999",),
    ),
    _shadow(
        "replace-font",
        "the font is defined anew, so that the digits 0 and 1 look like 9",
        _replace_font,
        ("verify.content-changed",),
        shows=("PAY 9999 VND",),
    ),
    _shadow(
        "swap-by-table",
        "hide and replace: a second set of objects is in the signed part, a table brings it to light",
        _swap_table,
        ("verify.content-changed",),
    ),
    _shadow("swap-by-root", "hide and replace: a table and another root", _swap_root),
    _shadow("swap-by-root-only", "hide and replace: only the trailer names another root", _swap_root_only),
    _shadow("page-added", "a page is added", _page_added, ("verify.content-changed",)),
    _certified(
        "eaa-free-text",
        "Evil annotation: a text over the amount of a document certified with P=3",
        lambda: _annotated(_FREE_TEXT, look=appearance(OPAQUE, 300, 40)),
        ("verify.annotation-added",),
        shows=("PAY 9999 VND",),
    ),
    _certified(
        "eaa-stamp",
        "Evil annotation: a stamp over the amount of a document certified with P=3",
        lambda: _annotated(_STAMP, look=appearance(OPAQUE, 300, 40)),
        ("verify.annotation-added",),
        shows=("PAY 9999 VND",),
    ),
    _certified(
        "eaa-highlight",
        "Evil annotation: a white highlight over the amount of a document certified with P=3",
        lambda: _annotated(_HIGHLIGHT, look=appearance(b"q 1 1 1 rg 0 0 300 40 re f Q", 300, 40)),
        ("verify.annotation-added",),
    ),
    _certified(
        "eaa-signed-plain",
        "Evil annotation: a text over the amount of a document signed without certification",
        lambda: _annotated(_FREE_TEXT, level=None, look=appearance(OPAQUE, 300, 40)),
        ("verify.annotation-added",),
        shows=("PAY 9999 VND",),
    ),
    _certified(
        "ssa-covering",
        "Sneaky signature: a good signature whose picture covers the amount of a document certified with P=2",
        lambda: _sneaky(2),
        ("verify.covers-content",),
        conclusion=UNSURE,
        shows=("PAY 9999 VND",),
    ),
    _certified(
        "ssa-covering-p3",
        "Sneaky signature on a document certified with P=3",
        lambda: _sneaky(3),
        ("verify.covers-content",),
        conclusion=UNSURE,
        shows=("PAY 9999 VND",),
    ),
    _certified(
        "ssa-covering-plain",
        "Sneaky signature on a document that was signed without certification",
        lambda: _sneaky(None),
        ("verify.covers-content",),
        conclusion=UNSURE,
        shows=("PAY 9999 VND",),
    ),
    _certified(
        "ssa-empty-field",
        "Sneaky signature: an unsigned signature field whose picture covers the amount",
        _sneaky_empty_field,
        ("verify.unsigned-field",),
        shows=("PAY 9999 VND",),
    ),
    _certified(
        "ssa-over-signature",
        "Sneaky signature: a later signature covers the picture of an earlier one",
        _over_signature,
        ("verify.covers-signature",),
        conclusion=UNSURE,
    ),
    _certified(
        "ssa-other-look",
        "The picture of a signature is replaced after signing",
        _changed_own_look,
        shows=("SOMEBODY ELSE",),
    ),
    _certified(
        "docmdp-p1-signed-again",
        "A further signature although the certification allows nothing (P=1)",
        _locked,
        ("verify.not-permitted",),
        tool="pdfsig",
        shows=("Signature #2",),
    ),
)

__all__ = ["ATTACKS"]
