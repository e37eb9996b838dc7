"""What each role needs, where it is shown, and which rules of Decree 30/2020/NĐ-CP it must keep.

A role is composed on an opened revision: fields are made or filled and the appearance is rendered into its writer,
but nothing is written yet.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from vnedoc import messages
from vnedoc.errors import NotAllowedError, UsageError
from vnedoc.sign import layout
from vnedoc.sign._fields import free_name, may_be_approval
from vnedoc.sign._pyhanko.appearance import embed_font, render_appearance, render_text_field
from vnedoc.sign._pyhanko.embedding import TextField
from vnedoc.sign.appearance import Appearance, TextBlock, picture_appearance, text_appearance, wrap_text
from vnedoc.sign.fonts import FontStyle
from vnedoc.sign.layout import CopyKind
from vnedoc.sign.models import POINTS_PER_MM, Box, Role, SignatureLevel
from vnedoc.sign.report import Finding

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable

    from vnedoc.sign._pyhanko.embedding import ExistingSignature, RenderedAppearance, Revision
    from vnedoc.sign.appearance import Picture
    from vnedoc.sign.layout import Blank, NumberingBlanks
    from vnedoc.sign.models import Placement
    from vnedoc.sign.pages import Pages
    from vnedoc.sign.revocation import RevocationSource
    from vnedoc.sign.signers.base import SecretCallback, Signer
    from vnedoc.sign.timestamps import TimestampClient
    from vnedoc.sign.trust import TrustStore

__all__ = ["Composition", "CopyKind", "SigningOptions", "compose"]

# Names of the text fields that an approval makes and an issue fills.
NUMBER_FIELD, DAY_FIELD, MONTH_FIELD, YEAR_FIELD = (
    "vnedoc-number",
    "vnedoc-day",
    "vnedoc-month",
    "vnedoc-year",
)


# What another program can type into those fields.
_TYPED_LETTERS = "0123456789-/abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SigningOptions:
    """How a document is signed."""

    role: Role
    """What the signature means."""
    level: SignatureLevel = SignatureLevel.B_B
    """The level to reach; never less is made."""
    timestamps: TimestampClient | None = None
    """The time-stamping authorities; needed above B-B."""
    trust: TrustStore | None = None
    """What the signer's own chain must lead to; needed from B-LT. ``None``: the chain is not checked, and the result
    says so."""
    revocation: RevocationSource | None = None
    """Where it is asked whether the signer's certificate was revoked; needed from B-LT."""
    legacy: bool = False
    """Sign as ``adbe.pkcs7.detached`` (ISO 32000-1, 12.8.3.3) for receivers that know nothing newer; no PAdES."""
    placement: Placement | None = None
    """Where it is shown; the text of appendices and copies, and the seal, find their place themselves."""
    picture: Picture | None = None
    """Picture of the signature (approve, initial) or the seal (issue)."""
    seal_diameter_mm: float | None = None
    """True diameter of the seal; ``None`` takes the picture's resolution, if it can be trusted."""
    number: str | None = None
    """Number of the document (issue, number), or number and code of the main document (appendix)."""
    date: datetime.date | None = None
    """Date of the document (issue, date)."""
    copy_kind: CopyKind | None = None
    """Kind of copy (copy)."""
    agency: str | None = None
    """Name of the agency that copies (copy)."""
    text: str | None = None
    """Text of a comment (comment)."""
    reserve_numbering: bool = False
    """With approve or initial, whichever signs first: make empty fields for number and date, for the issue to fill in
    its own revision."""
    reserve_seal_mm: float | None = None
    """With approve: make the agency's empty signature field, for a seal of this diameter. Every reader then takes the
    issue for form filling, also after a certification."""
    certify: bool = False
    """Certify the document: only form filling and signatures are allowed afterwards (DocMDP, P = 2)."""
    without_person: bool = False
    """With issue: sign for the agency although no person has signed."""
    allow_outside_decree: bool = False
    """With copy: make a sao y or sao lục of a signed document, which Decree 30/2020/NĐ-CP, art. 25, does not know."""
    digest_algorithm: str = "sha256"
    """``sha256``, ``sha384`` or ``sha512``."""
    signing_time: datetime.datetime | None = None
    """The claimed time; ``None`` takes the clock."""
    reason: str | None = None
    """Written into the signature; not shown."""
    location: str | None = None
    """Written into the signature; not shown."""
    password: SecretCallback | None = dataclasses.field(default=None, repr=False)
    """Called with the name of a document that is encrypted; returns its password."""


@dataclasses.dataclass(frozen=True, slots=True)
class Composition:
    """A role laid out on a document."""

    field: str
    """Name of the signature field."""
    page: int | None = None
    """The page it is shown on, from 1; ``None`` if it is not shown."""
    box: Box | None = None
    """Its place as shown."""
    rectangle: tuple[float, float, float, float] | None = None
    """Its place in default user space."""
    appearance: RenderedAppearance | None = None
    """The rendered form XObject."""
    locked_fields: tuple[str, ...] = ()
    """Text fields that the signature locks."""
    warnings: tuple[Finding, ...] = ()
    """What does not meet Annex I although it can be used."""
    label: str | None = None
    """What the field is called for those who hear the document; ``None`` if it is not shown."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Desk:
    """Everything a role works with."""

    revision: Revision
    pages: Pages
    options: SigningOptions
    signer: Signer
    now: datetime.datetime
    name: str
    signatures: list[ExistingSignature]


@dataclasses.dataclass(frozen=True, slots=True)
class _Shown:
    page: int
    box: Box
    appearance: Appearance
    locked_fields: tuple[str, ...] = ()
    field: str | None = None


def compose(
    revision: Revision,
    pages: Pages,
    *,
    options: SigningOptions,
    signer: Signer,
    now: datetime.datetime,
    name: str,
) -> Composition:
    """Lay a role out on a document.

    Args:
        revision: The revision that will carry the signature.
        pages: The same document's pages.
        options: The role, and what it needs.
        signer: Who signs.
        now: The claimed time, as it is shown.
        name: How errors call the document.

    Raises:
        UsageError: The options do not fit the role or the document.
        NotAllowedError: An earlier signature, or the Decree, forbids it.
        DocumentError: The document cannot be read.
    """
    revision.check_locks()
    desk = _Desk(revision, pages, options, signer, now, name, revision.signatures())
    if options.certify and desk.signatures:
        # ISO 32000-2, 12.8.2.2.1: the certification is the first signature of a document, and the only one.
        raise NotAllowedError("signing.certify-first", path=name)
    shown = _ROLES[options.role](desk)
    field = (shown and shown.field) or free_name(options.role, revision.field_names())
    revision.check_locks(filled=[field])
    if shown is None:
        return Composition(field)
    pages.require_inside(shown.page, shown.box)
    geometry = pages.geometry(shown.page)
    return Composition(
        field=field,
        page=shown.page,
        box=shown.box,
        rectangle=geometry.to_pdf(shown.box),
        appearance=render_appearance(revision.writer, shown.appearance, geometry),
        locked_fields=shown.locked_fields,
        warnings=_picture_warnings(options),
        label=_label(options.role),
    )


def _label(role: Role) -> str:
    return messages.text(f"signing.label-{role.value}", "vi")


def _picture_warnings(options: SigningOptions) -> tuple[Finding, ...]:
    if options.picture is None:
        return ()
    return tuple(Finding(message_id) for message_id in options.picture.warnings)


def _approve(desk: _Desk) -> _Shown:
    shown = _person(desk)
    if desk.options.reserve_numbering:
        _reserve_numbering(desk)
    if desk.options.reserve_seal_mm is not None:
        _reserve_seal(desk, shown)
    return shown


def _initial(desk: _Desk) -> _Shown:
    shown = _person(desk)
    if desk.options.reserve_numbering:
        # Reviewers sign before the person with authority: the fields come with whoever signs first.
        _reserve_numbering(desk)
    return shown


def _person(desk: _Desk) -> _Shown:
    picture = _picture(desk)
    page, box = layout.person_box(desk.pages, _placement(desk), picture)
    return _Shown(page, box, picture_appearance(picture, box.width, box.height))


def _issue(desk: _Desk) -> _Shown:
    picture = _picture(desk)
    diameter = layout.seal_diameter_pt(picture, desk.options.seal_diameter_mm)
    persons = [signature for signature in desk.signatures if may_be_approval(signature)]
    if not persons and not desk.options.without_person:
        # Decree 30/2020/NĐ-CP, art. 32.2d: the clerk signs only what already has the person's signature.
        raise NotAllowedError("signing.no-person-signature", path=desk.name)
    reserved = _reserved_seal(desk, diameter)
    page, box, field = reserved or (*_seal_place(desk, persons, diameter), None)
    locked = _number_document(desk)
    return _Shown(page, box, layout.seal_appearance(picture, diameter), locked, field)


def _reserve_seal(desk: _Desk, person: _Shown) -> None:
    """Make the agency's empty signature field where its seal will be, over the signature that is about to be made."""
    if desk.signatures:
        raise NotAllowedError("signing.already-signed", path=desk.name)
    diameter = layout.points_of_seal(desk.options.reserve_seal_mm or 0)
    geometry = desk.pages.geometry(person.page)
    box = layout.seal_box(geometry, person.box, diameter)
    empty = render_appearance(desk.revision.writer, Appearance(diameter, diameter, ()), geometry)
    desk.revision.add_signature_field(
        f"vnedoc-{Role.ISSUE.value}-1",
        page=person.page,
        rectangle=geometry.to_pdf(box),
        empty_appearance=empty,
        label=_label(Role.ISSUE),
    )


def _reserved_seal(desk: _Desk, diameter: float) -> tuple[int, Box, str] | None:
    """Return page, place and name of the field that an approval made for the seal."""
    if desk.options.placement is not None:
        return None
    for name, (page, rectangle) in desk.revision.signature_fields().items():
        if name.startswith(f"vnedoc-{Role.ISSUE.value}-"):
            box = desk.pages.geometry(page).to_shown(rectangle)
            if abs(box.width - diameter) > 0.5 or abs(box.height - diameter) > 0.5:
                raise UsageError(
                    "signing.reserved-seal", path=desk.name, diameter=f"{box.width / POINTS_PER_MM:.1f}"
                )
            return page, box, name
    return None


def _seal_place(desk: _Desk, persons: list[ExistingSignature], diameter: float) -> tuple[int, Box]:
    placement = desk.options.placement
    if placement is not None:
        if placement.box is not None:
            page, around = desk.pages.number(placement.page or 1), placement.box
        else:
            assert placement.anchor is not None
            hit = desk.pages.find_one(placement.anchor, page=placement.page, occurrence=placement.occurrence)
            page, around = hit.page, hit.box
        left, lower = around.x + (around.width - diameter) / 2, around.y + (around.height - diameter) / 2
        return page, Box(left, lower, diameter, diameter)
    for signature in reversed(persons):
        if signature.page is not None and signature.rectangle is not None:
            geometry = desk.pages.geometry(signature.page)
            return signature.page, layout.seal_box(geometry, geometry.to_shown(signature.rectangle), diameter)
    raise UsageError("signing.no-signature-place", path=desk.name)


def _appendix(desk: _Desk) -> _Shown:
    return _corner(desk, layout.appendix_text(_number(desk), desk.now))


def _copy(desk: _Desk) -> _Shown:
    options = desk.options
    if options.copy_kind is None or not (options.agency or "").strip():
        raise UsageError("signing.needs-copy-kind")
    # Article 25 of Decree 30/2020/NĐ-CP leads from electronic to electronic by extract (trích sao) alone.
    electronic = options.copy_kind is not CopyKind.TRICH_SAO and desk.signatures
    if electronic and not options.allow_outside_decree:
        raise NotAllowedError(
            "signing.no-copy-of-electronic", path=desk.name, kind=options.copy_kind.heading.lower()
        )
    return _corner(desk, layout.copy_text(options.copy_kind, options.agency or "", desk.now))


def _corner(desk: _Desk, text: str) -> _Shown:
    if desk.options.placement is not None:
        return _text(desk, text)
    box, appearance = layout.corner_appearance(desk.pages.geometry(1), text)
    return _Shown(1, box, appearance)


def _number_alone(desk: _Desk) -> _Shown:
    return _text(desk, _padded(_number(desk)), font_size=13)


def _date_alone(desk: _Desk) -> _Shown:
    if desk.options.date is None:
        raise UsageError("signing.needs-date", role=desk.options.role.value)
    parts = layout.date_parts(desk.options.date)
    text = f"ngày {parts.day} tháng {parts.month} năm {parts.year}"
    return _text(desk, text, font_size=13, italic=True)


def _comment(desk: _Desk) -> _Shown:
    if not (desk.options.text or "").strip():
        raise UsageError("signing.needs-text", role=desk.options.role.value)
    return _text(desk, desk.options.text or "", font_size=12)


def _text(desk: _Desk, text: str, *, font_size: float = 10, italic: bool = False) -> _Shown:
    placement = _placement(desk)
    if placement.box is not None:
        page, box = desk.pages.number(placement.page or 1), placement.box
    else:
        assert placement.anchor is not None
        hit = desk.pages.find_one(placement.anchor, page=placement.page, occurrence=placement.occurrence)
        page, box = hit.page, hit.box
    style = FontStyle.ITALIC if italic else FontStyle.REGULAR
    block = TextBlock(wrap_text(text, box.width, font_size, style), font_size=font_size, style=style)
    if block.height > box.height or block.width > box.width:
        raise UsageError("appearance.text-too-long", text=text)
    return _Shown(page, box, text_appearance(block, box.width, box.height))


def _incoming(desk: _Desk) -> _Shown:
    options = desk.options
    if options.date is None or not (options.agency or "").strip():
        raise UsageError("signing.needs-incoming")
    appearance = layout.incoming_appearance(options.agency or "", _number(desk), options.date)
    placement = _placement(desk)
    if placement.box is None:
        raise UsageError("signing.needs-box", role=options.role.value)
    # The frame has its size (Annex IV, part V); the box says where its upper left corner is.
    page, at = desk.pages.number(placement.page or 1), placement.box
    return _Shown(
        page, Box(at.x, at.top - appearance.height, appearance.width, appearance.height), appearance
    )


def _invisible(desk: _Desk) -> None:
    del desk


_ROLES: dict[Role, Callable[[_Desk], _Shown | None]] = {
    Role.APPROVE: _approve,
    Role.INITIAL: _initial,
    Role.ISSUE: _issue,
    Role.APPENDIX: _appendix,
    Role.COPY: _copy,
    Role.NUMBER: _number_alone,
    Role.DATE: _date_alone,
    Role.COMMENT: _comment,
    Role.INCOMING: _incoming,
    Role.INVISIBLE: _invisible,
}


def _reserve_numbering(desk: _Desk) -> None:
    """Make the empty fields for number and date, in the revision of the first signature.

    They are made before anybody has signed, so that filling them later is form filling to every reader.
    """
    if desk.signatures:
        raise NotAllowedError("signing.already-signed", path=desk.name)
    font = embed_font(desk.revision.writer, _TYPED_LETTERS)
    for name, label, blank in _blanks(layout.blank_boxes(desk.pages)):
        geometry = desk.pages.geometry(blank.page)
        empty = render_text_field(
            desk.revision.writer, "", width=blank.box.width, height=blank.box.height, geometry=geometry
        )
        field = TextField(
            name=name,
            label=messages.text(f"signing.field-{label}", "vi"),
            page=blank.page,
            rectangle=geometry.to_pdf(blank.box),
            font_size=blank.font_size,
        )
        desk.revision.add_text_field(field, empty_appearance=empty.stream, font=font)


def _number_document(desk: _Desk) -> tuple[str, ...]:
    """Fill number and date into the fields made for them; return the names of those that were filled."""
    options = desk.options
    waiting = set(desk.revision.text_fields()) & {NUMBER_FIELD, DAY_FIELD, MONTH_FIELD, YEAR_FIELD}
    if not waiting:
        if options.number is not None or options.date is not None:
            raise UsageError("signing.no-numbering-fields", path=desk.name)
        return ()
    if options.number is None or options.date is None:
        raise UsageError("signing.numbering-not-filled", path=desk.name)
    blanks = layout.blank_boxes(desk.pages)
    values = _values(blanks, options.number, options.date)
    desk.revision.check_locks(filled=sorted(waiting))
    filled = []
    for name, _, blank in _blanks(blanks):
        if name not in waiting:
            continue
        appearance = render_text_field(
            desk.revision.writer,
            values[name],
            width=blank.box.width,
            height=blank.box.height,
            geometry=desk.pages.geometry(blank.page),
            font_size=layout.blank_font_size(blank, values[name]),
            style=blank.style,
            baseline=blank.baseline,
        )
        desk.revision.fill_text_field(name, values[name], appearance=appearance.stream)
        filled.append(name)
    return tuple(filled)


def _blanks(blanks: NumberingBlanks) -> list[tuple[str, str, Blank]]:
    all_of_them = [
        (NUMBER_FIELD, "number", blanks.number),
        (DAY_FIELD, "day", blanks.day),
        (MONTH_FIELD, "month", blanks.month),
        (YEAR_FIELD, "year", blanks.year),
    ]
    return [(name, label, blank) for name, label, blank in all_of_them if blank is not None]


def _values(blanks: NumberingBlanks, number: str, date: datetime.date) -> dict[str, str]:
    notation = blanks.number.following.split()[0] if blanks.number.following else ""
    plain = number.strip().removesuffix(notation)
    if "/" in plain:
        raise UsageError("signing.number-mismatch", number=number, notation=notation)
    parts = layout.date_parts(date)
    # What the draft prints around the blanks: “tháng … năm 2026”, or “tháng 11 năm 2026”.
    printed = " ".join(
        blank.following for blank in (blanks.day, blanks.month, blanks.year) if blank is not None
    )
    numbers = [word for word in printed.replace(",", " ").split() if word.isdigit()]
    expected = [int(parts.month)] * (blanks.month is None) + [int(parts.year)] * (blanks.year is None)
    if [int(number) for number in numbers] != expected:
        raise UsageError("signing.date-mismatch", date=date.isoformat(), printed=printed)
    return {
        NUMBER_FIELD: _padded(plain),
        DAY_FIELD: parts.day,
        MONTH_FIELD: parts.month,
        YEAR_FIELD: parts.year,
    }


def _padded(number: str) -> str:
    """Put a zero before a number under 10 (Decree 30/2020/NĐ-CP, Annex I, part I, II.3)."""
    digits, rest = number[:1], number[1:]
    return f"0{number}" if digits.isdigit() and not rest[:1].isdigit() and digits != "0" else number


def _number(desk: _Desk) -> str:
    number = (desk.options.number or "").strip()
    if not number:
        raise UsageError("signing.needs-number", role=desk.options.role.value)
    return number


def _picture(desk: _Desk) -> Picture:
    if desk.options.picture is None:
        raise UsageError("signing.needs-picture", role=desk.options.role.value)
    return desk.options.picture


def _placement(desk: _Desk) -> Placement:
    if desk.options.placement is None:
        raise UsageError("signing.needs-placement", role=desk.options.role.value)
    return desk.options.placement
