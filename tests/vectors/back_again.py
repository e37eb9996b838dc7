"""Attacks in which a revision after the signature changes something, and the next one puts it back.

What the file shows in the end is what was signed; whoever got it in between saw something else, under a signature.
"""

from __future__ import annotations

from tests.vectors import identities
from tests.vectors.attack import FAILED, PARSERS, SHADOW, Attack
from tests.vectors.forging import (
    CATALOG,
    CONTENT,
    FALSE_TEXT,
    FORM,
    PAGE,
    objects_of_page,
    signed_again,
    signed_once,
    stream,
    text,
    updated,
)
from tests.vectors.revisions import _look, _text_field, _with_field

_TRUE = objects_of_page()


def _content() -> bytes:
    changed = updated(signed_once(), {CONTENT: stream(text(FALSE_TEXT))})
    return updated(changed, {CONTENT: _TRUE[CONTENT]})


def _content_signed_in_between() -> bytes:
    changed = signed_again(
        signed_once(identity=identities.LEADER), objects={CONTENT: stream(text(FALSE_TEXT))}
    )
    return updated(changed, {CONTENT: _TRUE[CONTENT]})


def _page_tree() -> bytes:
    other = {30: _TRUE[PAGE].replace(b"4 0 R", b"31 0 R"), 31: stream(text(FALSE_TEXT))}
    changed = updated(signed_once(), {2: b"<< /Type /Pages /Kids [30 0 R] /Count 1 >>", **other})
    return updated(changed, {2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"})


def _value() -> bytes:
    signed = _with_field(identities.AGENCY)
    changed = updated(signed, {10: _text_field(12, b"(9999)")})
    return updated(changed, {10: _text_field(11)})


def _look_only() -> bytes:
    signed = _with_field(identities.AGENCY)
    changed = updated(signed, {11: _look(b"AMOUNT 9999")})
    return updated(changed, {11: _look(b"AMOUNT 1000")})


def _signature_gone() -> bytes:
    signed = signed_again(signed_once(identity=identities.LEADER), identities.AGENCY)
    gone = _TRUE[FORM].replace(b"/Fields []", b"/Fields [20 0 R]")
    page = _TRUE[PAGE].replace(b"/Annots []", b"/Annots [20 0 R]")
    there = _TRUE[FORM].replace(b"/Fields []", b"/Fields [7 0 R 20 0 R]")
    back = _TRUE[PAGE].replace(b"/Annots []", b"/Annots [7 0 R 20 0 R]")
    return updated(updated(signed, {FORM: gone, PAGE: page}), {FORM: there, PAGE: back})


def _script() -> bytes:
    catalog = b"<< /Type /Catalog /Pages 2 0 R /AcroForm 6 0 R /OpenAction << /S /JavaScript /JS (1) >> >>"
    return updated(updated(signed_once(), {CATALOG: catalog}), {CATALOG: _TRUE[CATALOG]})


def _back(name: str, what: str, make: object, errors: tuple[str, ...], source: str = SHADOW) -> Attack:
    return Attack(
        id=f"attacks/back-{name}",
        description=what,
        source=source,
        make=make,  # type: ignore[arg-type] # any of the makers
        conclusion=FAILED,
        errors=errors,
        shows=("PAY 1000 VND",),
        hides=("PAY 9999 VND",),
    )


ATTACKS: tuple[Attack, ...] = (
    _back("content", "The page says something else in one revision, and the truth again in the next.", _content,
          ("verify.content-changed",)),
    _back("content-signed", "The same, and the revision in between is signed by somebody else.",
          _content_signed_in_between, ("verify.content-changed",)),
    _back("page-tree", "Another page is shown in one revision.", _page_tree, ("verify.content-changed",)),
    _back("value", "A filled field holds another amount in one revision.", _value, ("verify.filled-again",)),
    _back("look", "A filled field shows another amount in one revision.", _look_only, ("verify.form-changed",)),
    _back("signature", "A signature is taken out of the form in one revision.", _signature_gone,
          ("verify.signature-removed",), PARSERS),
    _back("script", "A script runs at opening in one revision.", _script, ("verify.content-changed",)),
)  # fmt: skip
