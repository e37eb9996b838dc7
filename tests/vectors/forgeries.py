"""Attacks on the signature itself: USF, ISA, SWA, and games with the signature dictionary and its Contents."""

from __future__ import annotations

import re

from tests.vectors import identities
from tests.vectors.attack import FAILED, ISA, SWA, UNSURE, USF, Attack
from tests.vectors.forging import (
    CONTENT,
    FALSE_TEXT,
    FORM,
    PAGE,
    TRUE_TEXT,
    body,
    complete,
    contents_of,
    gap_of,
    last_startxref,
    objects_of_page,
    signature_dictionary,
    signed_once,
    size_of,
    stream,
    table,
    text,
    trailer,
    updated,
    widget,
)

FALSE_CONTENT = {CONTENT: stream(text(FALSE_TEXT))}


def _falsified(content: bytes) -> bytes:
    return content.replace(TRUE_TEXT, FALSE_TEXT)


def _with_value(key: bytes, value: bytes, *, content: bytes | None = None) -> bytes:
    """Replace the value of a key of the last signature dictionary, keeping every offset."""
    content = content or _falsified(signed_once())
    pattern = {b"/Contents": rb"/Contents <[0-9a-f]+>", b"/ByteRange": rb"/ByteRange \[[0-9 ]+\]"}[key]
    match = list(re.finditer(pattern, content))[-1]
    new = (value if value.startswith(b"/") else key + b" " + value) if value else b""
    return content[: match.start()] + new.ljust(len(match[0])) + content[match.end() :]


def _usf(name: str, what: str, key: bytes, value: bytes, error: str) -> Attack:
    return Attack(
        id=f"attacks/usf-{name}",
        description=f"Universal signature forgery: {what}; the page shows another amount.",
        source=USF,
        make=lambda: _with_value(key, value),
        conclusion=FAILED,
        errors=(error,),
        shows=("PAY 9999 VND",),
        hides=("PAY 1000 VND",),
    )


def _isa(
    name: str, what: str, make: object, conclusion: str, errors: tuple[str, ...], **more: object
) -> Attack:
    return Attack(
        id=f"attacks/isa-{name}",
        description=f"Incremental saving: {what}.",
        source=ISA,
        make=make,
        conclusion=conclusion,
        errors=errors,
        **{"shows": ("PAY 9999 VND",), "hides": ("PAY 1000 VND",), **more},
    )


def _isa_body_only() -> bytes:
    content = signed_once()
    return content + body(FALSE_CONTENT, len(content))[0]


def _isa_without_table() -> bytes:
    content = signed_once()
    added, _ = body(FALSE_CONTENT, len(content))
    return content + added + trailer(size_of(content), last_startxref(content), prev=last_startxref(content))


def _isa_without_trailer() -> bytes:
    content = signed_once()
    added, offsets = body(FALSE_CONTENT, len(content))
    start = len(content) + len(added)
    return content + added + table(offsets) + b"startxref\n%d\n%%%%EOF\n" % start


def _isa_without_prev() -> bytes:
    content = signed_once()
    added, offsets = body(FALSE_CONTENT, len(content))
    old = {
        int(number): offset
        for offset, number in ((m.start(), m[1]) for m in re.finditer(rb"(?m)^(\d+) 0 obj", content))
    }
    start = len(content) + len(added)
    return content + added + table(old | offsets) + trailer(9, start)


def _isa_with_copied_signature() -> bytes:
    content = signed_once()
    copy = re.search(rb"8 0 obj\n(.*?)\nendobj", content, re.DOTALL)
    assert copy
    return updated(content, FALSE_CONTENT | {8: copy[1]})


def _isa_old_startxref() -> bytes:
    content = signed_once()
    added, _ = body(FALSE_CONTENT, len(content))
    return content + added + b"startxref\n%d\n%%%%EOF\n" % last_startxref(content)


def _isa_empty_table() -> bytes:
    content = signed_once()
    added, _ = body(FALSE_CONTENT, len(content))
    start = len(content) + len(added)
    return content + added + b"xref\n0 0\n" + trailer(size_of(content), start, prev=last_startxref(content))


def _isa_wrong_startxref() -> bytes:
    content = signed_once()
    added, offsets = body(FALSE_CONTENT, len(content))
    wrong = len(content) + 3
    return content + added + table(offsets) + trailer(size_of(content), wrong, prev=last_startxref(content))


def _injected(
    *, closing: bool = True, ranges: str = "new", hidden: bytes = b"", dictionary: bytes | None = None
) -> bytes:
    """Wrap the signature: the second signed part moves down, other objects come into the gap."""
    content = signed_once(dictionary=dictionary)
    gap = gap_of(content)
    digits = contents_of(content).rstrip(b"\0").hex().encode()
    target = last_startxref(content)
    head = content[: gap.start] + b"<" + digits + b">"
    tail = content[gap.end :]
    width = len(b" /ByteRange [0 0000000000 0000000000 0000000000 0000000000 0000000000]")
    start = len(head) + width + len(b" >>\nendobj\n")
    evil, offsets = body(FALSE_CONTENT, start)
    middle = b" >>\nendobj\n" + evil + hidden
    filler = target - len(head) - width - len(middle)
    assert filler > 0
    known = {int(m[1]): m.start() for m in re.finditer(rb"(?m)^(\d+) 0 obj", content[: gap.start])} | offsets
    listed = b"xref\n0 1\n0000000000 65535 f \n" + table(known).removeprefix(b"xref\n")
    listed += trailer(9, target) + (b"99 0 obj\n<< /Dummy true" if closing else b"")
    second = target + len(listed)
    numbers = {
        "new": b"[0 %010d %010d %010d]" % (len(head) - len(digits) - 2, second, len(tail)),
        "six": b"[0 %010d %010d %010d %010d %010d]"
        % (len(head) - len(digits) - 2, second, 0, second, len(tail)),
        "shifted": b"[5 %010d %010d %010d]" % (len(head) - len(digits) - 7, second, len(tail)),
    }
    chosen = b" /ByteRange " + numbers[ranges] if ranges in numbers else b""
    return head + chosen.ljust(width) + middle + b" " * filler + listed + tail


def _wide_gap() -> bytes:
    """Widen the gap with white space that no hash covers."""
    content = signed_once()
    gap = gap_of(content)
    digits = contents_of(content).rstrip(b"\0").hex().encode()
    room = gap.end - gap.start - len(digits) - 2 - len(b" % hidden from the hash\n")
    return (
        content[: gap.start]
        + b"<"
        + digits
        + b">"
        + b" % hidden from the hash\n"
        + b" " * room
        + content[gap.end :]
    )


def _spoofed_same_object() -> bytes:
    content = signed_once()
    found = re.search(rb"8 0 obj\n(.*?)\nendobj", content, re.DOTALL)
    assert found
    return updated(content, {8: found[1].replace(b"(Approved TEST)", b"(Approved 9999)")})


def _spoofed_new_object() -> bytes:
    content = signed_once()
    found = re.search(rb"8 0 obj\n(.*?)\nendobj", content, re.DOTALL)
    assert found
    return updated(
        content, {21: found[1].replace(b"(Approved TEST)", b"(Approved 9999)"), 7: widget(b"Seal", 21)}
    )


def _spoofed_part() -> bytes:
    content = signed_once(dictionary=signature_dictionary(reason=b"9 0 R"), extra={9: b"(Approved TEST)"})
    return updated(content, {9: b"(Approved 9999)"})


def _padding(tail: bytes, *, digits: bool = False) -> bytes:
    content = signed_once()
    gap = gap_of(content)
    end = gap.end - 1
    if digits:
        # One digit less: the reader adds the last one itself.
        return content[: end - 1] + b" " + content[end:]
    return content[: end - len(tail)] + tail + content[end:]


def _foreign_timestamp() -> bytes:
    token = identities.timestamp_token(b"another signature")

    def make(covered: bytes) -> bytes:
        import hashlib

        return identities.signed_data(identities.AGENCY, hashlib.sha256(covered).digest(), tokens=(token,))

    return signed_once(make=make)


def _document_timestamp(content: bytes, *, dictionary: bytes | None = None) -> bytes:
    base = objects_of_page()
    changed = {
        PAGE: base[PAGE].replace(b"/Annots [", b"/Annots [7 0 R 20 0 R"),
        FORM: base[FORM].replace(b"/Fields [", b"/Fields [7 0 R 20 0 R"),
        20: widget(b"Stamp", 21),
        21: dictionary or signature_dictionary(subfilter=b"/ETSI.RFC3161", kind=b"/DocTimeStamp"),
    }
    return complete(updated(content, changed), make=identities.timestamp_token)


def _usf_timestamp(key: bytes, value: bytes) -> bytes:
    return _with_value(key, value, content=_document_timestamp(signed_once()))


def _stolen_document_timestamp() -> bytes:
    other = _document_timestamp(signed_once(objects_of_page(text(b"ANOTHER FILE"))))
    target = _document_timestamp(signed_once())
    gap = gap_of(target)
    stolen = contents_of(other).hex().encode()
    return target[: gap.start + 1] + stolen + target[gap.end - 1 :]


def _stolen_signature() -> bytes:
    other = signed_once(objects_of_page(text(b"ANOTHER FILE")))
    target = _falsified(signed_once())
    gap = gap_of(target)
    return target[: gap.start + 1] + contents_of(other).hex().encode() + target[gap.end - 1 :]


def _encapsulated(covered: bytes) -> bytes:
    return identities.signed_data(identities.AGENCY, b"", content=covered[:100], encapsulated=True)


def _two_signers(covered: bytes) -> bytes:
    import hashlib

    return identities.signed_data(identities.AGENCY, hashlib.sha256(covered).digest(), signers=2)


def _reused(*, in_form: bool) -> bytes:
    content = signed_once()
    base = objects_of_page()
    changed = {
        PAGE: base[PAGE].replace(b"/Annots [", b"/Annots [7 0 R 20 0 R"),
        20: widget(b"Again", 8, rect=b"[60 600 360 640]"),
    }
    if in_form:
        changed[FORM] = base[FORM].replace(b"/Fields [", b"/Fields [7 0 R 20 0 R")
    return updated(content, changed)


def _dropped_from_form() -> bytes:
    content = signed_once()
    return updated(content, {FORM: objects_of_page()[FORM]} | FALSE_CONTENT)


def _dropped_everywhere() -> bytes:
    content = signed_once()
    return updated(content, {FORM: objects_of_page()[FORM], PAGE: objects_of_page()[PAGE]} | FALSE_CONTENT)


def _orphan() -> bytes:
    parts = objects_of_page(text(FALSE_TEXT))
    parts[8] = signature_dictionary()
    from tests.vectors.forging import build

    return complete(build(parts))


ATTACKS = (
    _usf("contents-missing", "no Contents", b"/Contents", b"/Xontents <00>", "verify.no-contents"),
    _usf("contents-null", "Contents is null", b"/Contents", b"null", "verify.no-contents"),
    _usf("contents-empty", "Contents is empty", b"/Contents", b"<>", "verify.no-contents"),
    _usf("contents-zero", "Contents is one zero byte", b"/Contents", b"<00>", "verify.no-contents"),
    _usf("byterange-missing", "no ByteRange", b"/ByteRange", b"/XyteRange []", "verify.no-byte-range"),
    _usf("byterange-null", "ByteRange is null", b"/ByteRange", b"null", "verify.no-byte-range"),
    _usf(
        "byterange-negative",
        "ByteRange has negative numbers",
        b"/ByteRange",
        b"[0 -1 -1 -1]",
        "verify.bad-byte-range",
    ),
    _usf("byterange-zeros", "ByteRange covers nothing", b"/ByteRange", b"[0 0 0 0]", "verify.bad-byte-range"),
    _usf(
        "byterange-huge",
        "ByteRange lies outside the file (CVE-2026-97892)",
        b"/ByteRange",
        b"[0 10 4294967296 99999999]",
        "verify.bad-byte-range",
    ),
    Attack(
        "attacks/usf-timestamp-contents-missing",
        "Universal forgery on a document time-stamp: no Contents.",
        USF,
        lambda: _usf_timestamp(b"/Contents", b"/Xontents <00>"),
        FAILED,
        ("verify.no-contents",),
        shows=("PAY 1000 VND",),
    ),
    Attack(
        "attacks/usf-timestamp-byterange-null",
        "Universal forgery on a document time-stamp: ByteRange is null.",
        USF,
        lambda: _usf_timestamp(b"/ByteRange", b"null"),
        FAILED,
        ("verify.no-byte-range",),
        shows=("PAY 1000 VND",),
    ),
    Attack(
        "attacks/usf-timestamp-range-of-the-first",
        "Universal forgery on a document time-stamp: it covers only the first page of bytes.",
        USF,
        lambda: _usf_timestamp(b"/ByteRange", b"[0 10 20 30]"),
        FAILED,
        ("verify.gap-not-contents",),
        shows=("PAY 1000 VND",),
    ),
    _isa(
        "complete",
        "a complete revision with another amount",
        lambda: updated(signed_once(), FALSE_CONTENT),
        FAILED,
        ("verify.content-changed",),
    ),
    _isa(
        "body-only",
        "an object without table and trailer",
        _isa_body_only,
        UNSURE,
        ("verify.stray-bytes",),
        shows=(),
        hides=(),
    ),
    _isa("no-table", "an object and a trailer, no table", _isa_without_table, UNSURE, (), shows=(), hides=()),
    _isa("no-trailer", "an object and a table, no trailer", _isa_without_trailer, UNSURE, ()),
    _isa("no-prev", "a table that does not know the one before", _isa_without_prev, FAILED, ()),
    _isa(
        "copied-signature",
        "the signature dictionary is written again in the revision that changes the amount",
        _isa_with_copied_signature,
        FAILED,
        ("verify.value-replaced",),
    ),
    _isa(
        "old-startxref",
        "an object, and again the old startxref",
        _isa_old_startxref,
        UNSURE,
        (),
        shows=(),
        hides=(),
    ),
    _isa("empty-table", "a table without entries", _isa_empty_table, UNSURE, (), shows=(), hides=()),
    _isa("wrong-startxref", "a startxref that points to nothing", _isa_wrong_startxref, UNSURE, ()),
    Attack(
        "attacks/swa-new-byterange",
        "Signature wrapping: the second part moves, another ByteRange comes into the gap.",
        SWA,
        _injected,
        FAILED,
        ("verify.gap-not-contents",),
        shows=("PAY 9999 VND",),
    ),
    Attack(
        "attacks/swa-old-byterange",
        "Signature wrapping: the second part moves, the ByteRange stays.",
        SWA,
        lambda: _injected(ranges="none"),
        FAILED,
        shows=("PAY 9999 VND",),
    ),
    Attack(
        "attacks/swa-six-numbers",
        "Signature wrapping: a ByteRange of three parts.",
        SWA,
        lambda: _injected(ranges="six"),
        FAILED,
        ("verify.bad-byte-range",),
        shows=("PAY 9999 VND",),
    ),
    Attack(
        "attacks/swa-shifted-start",
        "Signature wrapping: a ByteRange that does not start at the start of the file.",
        SWA,
        lambda: _injected(ranges="shifted"),
        FAILED,
        ("verify.bad-byte-range",),
        shows=("PAY 9999 VND",),
    ),
    Attack(
        "attacks/swa-wide-gap",
        "Signature wrapping: white space and a comment inside the gap, behind the Contents.",
        SWA,
        _wide_gap,
        FAILED,
        ("verify.gap-not-contents",),
        shows=("PAY 1000 VND",),
    ),
    Attack(
        "attacks/spoof-same-object",
        "Signature dictionary spoofing: the same object with another reason in a revision of its own.",
        "EU DSS, DSS-2236 and DSS-2251",
        _spoofed_same_object,
        FAILED,
        ("verify.value-replaced",),
        shows=("PAY 1000 VND",),
    ),
    Attack(
        "attacks/spoof-new-object",
        "Signature dictionary spoofing: the field points to a copy with another reason.",
        "EU DSS, DSS-2236 and DSS-2251",
        _spoofed_new_object,
        FAILED,
        ("verify.value-replaced",),
        shows=("PAY 1000 VND",),
    ),
    Attack(
        "attacks/spoof-part",
        "Signature dictionary spoofing: only the reason, an object of its own, is replaced.",
        "EU DSS, DSS-2236 and DSS-2251",
        _spoofed_part,
        FAILED,
        ("verify.value-replaced",),
        shows=("PAY 1000 VND",),
    ),
    Attack(
        "attacks/padding-not-zero",
        "Data hidden behind the CMS object in Contents.",
        SWA,
        lambda: _padding(b"deadbeef"),
        FAILED,
        ("verify.hidden-in-contents",),
        shows=("PAY 1000 VND",),
    ),
    Attack(
        "attacks/padding-odd-digits",
        "An odd number of digits in Contents and a blank behind them.",
        SWA,
        lambda: _padding(b"", digits=True),
        FAILED,
        ("verify.gap-not-contents",),
        shows=("PAY 1000 VND",),
    ),
    Attack(
        "attacks/padding-blanks",
        "Blanks among the digits of Contents.",
        SWA,
        lambda: _padding(b"    "),
        FAILED,
        ("verify.gap-not-contents",),
        shows=("PAY 1000 VND",),
    ),
    Attack(
        "attacks/timestamp-copied",
        "A signature time-stamp of another signature.",
        "EU DSS validation data (duplicated and copied time-stamps)",
        _foreign_timestamp,
        UNSURE,
        ("verify.timestamp-of-other-data",),
        warnings=("verify.timestamp-unusable",),
        shows=("PAY 1000 VND",),
    ),
    Attack(
        "attacks/document-timestamp-copied",
        "The document time-stamp of another file.",
        "EU DSS validation data (duplicated and copied time-stamps)",
        _stolen_document_timestamp,
        FAILED,
        ("verify.timestamp-imprint",),
        shows=("PAY 1000 VND",),
    ),
    Attack(
        "attacks/signature-copied",
        "The signature of another file.",
        USF,
        _stolen_signature,
        FAILED,
        ("verify.hash-failure",),
        tool="pdfsig",
        shows=("Digest Mismatch",),
    ),
    Attack(
        "attacks/content-in-detached",
        "A detached signature that brings a content of its own, which it signs.",
        "CVE-2018-16042 and the like (PKCS#7 with encapsulated content)",
        lambda: signed_once(make=_encapsulated),
        FAILED,
        ("verify.content-in-detached",),
        shows=("PAY 1000 VND",),
    ),
    Attack(
        "attacks/two-signers",
        "A CMS object with two signers.",
        "ETSI EN 319 142-1, 4.3 (one SignerInfo)",
        lambda: signed_once(make=_two_signers),
        FAILED,
        ("verify.signer-count",),
        importance="medium",
        shows=("PAY 1000 VND",),
    ),
    Attack(
        "attacks/unsupported-kind",
        "An encoding that is not supported (adbe.pkcs7.sha1) must not count as good.",
        "CVE-2025-43903 (Poppler before 25.04)",
        lambda: signed_once(dictionary=signature_dictionary(subfilter=b"/adbe.pkcs7.sha1")),
        UNSURE,
        ("verify.unsupported-kind",),
        shows=("PAY 1000 VND",),
    ),
    Attack(
        "attacks/reused-in-form",
        "A new field shows the signature of an old one.",
        "pyHanko before 0.36.2; EU DSS (signature referenced from several fields)",
        lambda: _reused(in_form=True),
        FAILED,
        ("verify.shared-value",),
        shows=("PAY 1000 VND",),
    ),
    Attack(
        "attacks/reused-on-page",
        "A widget that only the page lists shows the signature of an old field.",
        "pyHanko before 0.36.2; EU DSS (signature referenced from several fields)",
        lambda: _reused(in_form=False),
        FAILED,
        ("verify.shared-value",),
        shows=("PAY 1000 VND",),
    ),
    Attack(
        "attacks/dropped-from-form",
        "The form forgets the signed field; only the page still has its widget.",
        "XML::Sig CVE-2025-40934 and the like: what is not found is not checked",
        _dropped_from_form,
        FAILED,
        ("verify.content-changed",),
        shows=("PAY 9999 VND",),
    ),
    Attack(
        "attacks/dropped-everywhere",
        "Form and page forget the signed field; its bytes are still there.",
        "XML::Sig CVE-2025-40934 and the like: what is not found is not checked",
        _dropped_everywhere,
        "NO-SIGNATURE",
        ("verify.no-signature",),
        warnings=("verify.unreachable-signature",),
        shows=("PAY 9999 VND",),
    ),
    Attack(
        "attacks/orphan-signature",
        "A signature over the whole file that no field shows.",
        "XML::Sig CVE-2025-40934 and the like: what is not found is not checked",
        _orphan,
        "NO-SIGNATURE",
        ("verify.no-signature",),
        warnings=("verify.unreachable-signature",),
        importance="medium",
        shows=("PAY 9999 VND",),
    ),
)
