"""What a signed document already held that could be shown, or taken away, later: how a shadow attack begins.

Shadow documents (Mainka et al., NDSS 2021) are prepared before they are signed: a sheet that covers text, a second
set of pages, a field whose picture says something else than its value. Nothing of that is forbidden, and honest files
have some of it, so here are warnings only; a policy asks for them, and says what they weigh. Each look is bounded.
"""

from __future__ import annotations

import io
import re
import time
from typing import TYPE_CHECKING

import pikepdf

from vnedoc.sign._covered import covered_text
from vnedoc.sign._weight import is_too_heavy
from vnedoc.sign._widgets import widgets_of
from vnedoc.sign.checks import HIDDEN
from vnedoc.sign.report import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vnedoc.sign._pyhanko.changes import RevisionHistory

__all__ = ["find_hidden"]

MAX_OBJECTS = 20_000
"""In a file with more objects, unused ones are not looked for."""
MAX_REVISIONS = 5
"""So many revisions before the first signature are looked at for what they used."""
MAX_PAGES = 30
"""So many pages are looked at."""
MAX_SECONDS = 2.0
MAX_NAMED = 5
"""So many places are named; more are counted."""
_OVERLAP = 0.8
_OBJECT = re.compile(rb"(?:^|[\r\n])[ \t]*(\d{1,10})[ \t\r\n]+(\d{1,5})[ \t\r\n]+obj\b")
_PLAIN = re.compile(r"[\x20-\x7e]+")
# What can be shown once something leads to it.
_KINDS = frozenset({"/Catalog", "/Pages", "/Page", "/Font", "/XObject"})
_FOREIGN_ERRORS = (
    pikepdf.PdfError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError,
)  # fmt: skip


def find_hidden(
    file: bytes,
    history: RevisionHistory | None,
    asked: Iterable[str],
    *,
    signed_end: int,
    password: str = "",
) -> tuple[Finding, ...]:
    """Return what the checks that a policy names have to say.

    Args:
        file: The whole file.
        history: Its revisions.
        asked: The ids of checks; others than those of :data:`~vnedoc.sign.checks.HIDDEN` are left alone.
        signed_end: Where the first signed revision ends.
        password: What opens the file, if it is encrypted.
    """
    wanted = HIDDEN.keys() & set(asked)
    if not wanted:
        return ()
    found: list[Finding] = []
    try:
        with pikepdf.open(io.BytesIO(file), password=password, suppress_warnings=True) as pdf:
            if "no-hidden-layers" in wanted:
                found += _layers(pdf)
            if "fields-show-values" in wanted:
                found += _fields(pdf)
            pages = _with_pictures(pdf) if "nothing-covered" in wanted else []
        if "no-spare-objects" in wanted and history is not None:
            found += _spare(file[:signed_end], history, password)
            found += _unlisted(file[:signed_end], history)
        deadline = time.monotonic() + MAX_SECONDS
        for page, words in covered_text(file, pages, deadline=deadline, password=password):
            found.append(Finding("verify.covered-text", {"page": page + 1, "text": words}))
            if len(found) >= 4 * MAX_NAMED:
                break
    except _FOREIGN_ERRORS:
        # Files that are not in order end in other findings.
        return tuple(found)
    return tuple(found)


def _layers(pdf: pikepdf.Pdf) -> Iterator[Finding]:
    """Content that depends on layers which are switched off, or switched by themselves (ISO 32000-2, 8.11.4)."""
    properties = pdf.Root.get("/OCProperties")
    if not isinstance(properties, pikepdf.Dictionary):
        return
    groups = properties.get("/OCGs")
    settings = properties.get("/D")
    if not isinstance(groups, pikepdf.Array) or not isinstance(settings, pikepdf.Dictionary):
        return
    off = settings.get("/OFF")
    hidden = len(off) if isinstance(off, pikepdf.Array) else 0
    if settings.get("/BaseState") == pikepdf.Name.OFF:
        on = settings.get("/ON")
        hidden = len(groups) - (len(on) if isinstance(on, pikepdf.Array) else 0)
    automatic = settings.get("/AS")
    if hidden > 0 or (isinstance(automatic, pikepdf.Array) and len(automatic)):
        yield Finding("verify.hidden-layers", {"count": max(hidden, 0)})


def _fields(pdf: pikepdf.Pdf) -> Iterator[Finding]:
    if "/AcroForm" not in pdf.Root:
        return
    for index in range(min(len(pdf.pages), MAX_PAGES)):
        widgets = [item for item in widgets_of(pdf, index).values() if not item.is_signature and item.box]
        for position, first in enumerate(widgets[:100]):
            for second in widgets[position + 1 : 100]:
                if first.name != second.name and _overlap(first.box, second.box) > _OVERLAP:
                    values: dict[str, object] = {
                        "field": first.name,
                        "other": second.name,
                        "page": index + 1,
                    }
                    yield Finding("verify.fields-overlap", values)
        annotations = pdf.pages[index].obj.get("/Annots")
        for node in list(annotations)[:1000] if isinstance(annotations, pikepdf.Array) else []:
            shown = _shows_other(node)
            if shown is not None:
                yield Finding(
                    "verify.field-shows-other", {"field": shown[0], "page": index + 1, "text": shown[1]}
                )


def _overlap(
    first: tuple[float, float, float, float] | None, second: tuple[float, float, float, float] | None
) -> float:
    """Return which part of the smaller box lies in the other."""
    if first is None or second is None:
        return 0.0
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return max(width, 0.0) * max(height, 0.0) / smaller if smaller > 0 else 0.0


def _shows_other(node: object) -> tuple[str, str] | None:
    """Return the name of a text field, and what its picture says, if that is not its value."""
    if not isinstance(node, pikepdf.Dictionary) or node.get("/FT") != pikepdf.Name.Tx:
        return None
    value, name = node.get("/V"), node.get("/T")
    looks = node.get("/AP")
    look = looks.get("/N") if isinstance(looks, pikepdf.Dictionary) else None
    if not isinstance(value, pikepdf.String) or not isinstance(look, pikepdf.Stream):
        return None
    said = str(value)
    shown = _plain_text(look)
    # Only letters whose encoding leaves no doubt can be compared.
    if not shown or not _PLAIN.fullmatch(said) or not _PLAIN.fullmatch(shown):
        return None
    if _bare(said) == _bare(shown) or _bare(shown) in _bare(said):
        return None
    return (str(name) if isinstance(name, pikepdf.String) else "?"), shown[:60]


def _plain_text(look: pikepdf.Stream) -> str | None:
    parts: list[str] = []
    for instruction in pikepdf.parse_content_stream(look):
        if str(instruction.operator) not in {"Tj", "TJ", "'", '"'}:
            continue
        for operand in instruction.operands:
            items = list(operand) if isinstance(operand, pikepdf.Array) else [operand]
            parts += [bytes(item).decode("latin-1") for item in items if isinstance(item, pikepdf.String)]
    return "".join(parts) if parts else None


def _bare(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def _spare(signed: bytes, history: RevisionHistory, password: str) -> Iterator[Finding]:
    """Pages, pictures and fonts of the signed part that nothing leads to, and nothing ever led to."""
    ends = [history.end_of(revision) for revision in range(history.count)]
    earlier = [end for end in ends if end is not None and end < len(signed)][-MAX_REVISIONS:]
    reached: set[int] = set()
    kept: dict[int, bool] = {}
    for end in (*earlier, len(signed)):
        with pikepdf.open(io.BytesIO(signed[:end]), password=password, suppress_warnings=True) as pdf:
            if len(pdf.objects) > MAX_OBJECTS or not _walk(pdf, reached):
                return
            if end == len(signed):
                kept = {item.objgen[0]: _can_be_shown(item) for item in pdf.objects}
    spare = [number for number, shown in kept.items() if shown and number not in reached]
    if spare:
        listed = ", ".join(map(str, sorted(spare)[:MAX_NAMED]))
        yield Finding("verify.spare-objects", {"count": len(spare), "objects": listed})


def _walk(pdf: pikepdf.Pdf, reached: set[int]) -> bool:
    """Add the numbers of what the trailer leads to; tell whether that came to an end."""
    own: set[int] = set()
    waiting: list[object] = [pdf.trailer]
    for _ in range(20 * MAX_OBJECTS):
        if not waiting:
            reached |= own
            return True
        item = waiting.pop()
        if not isinstance(item, pikepdf.Object):
            continue
        number = item.objgen[0]
        if number in own:
            continue
        if number:
            own.add(number)
        if isinstance(item, pikepdf.Dictionary | pikepdf.Stream):
            waiting += [item.get(key) for key in item.keys()]  # noqa: SIM118 - no mapping
        elif isinstance(item, pikepdf.Array):
            waiting += list(item)
    return False


def _can_be_shown(item: pikepdf.Object) -> bool:
    return isinstance(item, pikepdf.Dictionary | pikepdf.Stream) and (
        str(item.get("/Type", "")) in _KINDS or str(item.get("/Subtype", "")) in {"/Form", "/Image"}
    )


def _unlisted(signed: bytes, history: RevisionHistory) -> Iterator[Finding]:
    """Objects in the signed part that no table lists: a second set that a later table could bring in."""
    places = {match.start(1): int(match[1]) for match in _OBJECT.finditer(signed)}
    numbers = history.unlisted(places)
    if numbers:
        listed = ", ".join(map(str, sorted(numbers)[:MAX_NAMED]))
        yield Finding("verify.unlisted-objects", {"count": len(numbers), "objects": listed})


def _with_pictures(pdf: pikepdf.Pdf) -> list[int]:
    """Return the first pages, from 0, that draw a picture or a form beside their text."""
    found = []
    for index in range(min(len(pdf.pages), MAX_PAGES)):
        resources = pdf.pages[index].obj.get("/Resources")
        drawn = resources.get("/XObject") if isinstance(resources, pikepdf.Dictionary) else None
        fonts = resources.get("/Font") if isinstance(resources, pikepdf.Dictionary) else None
        if not isinstance(drawn, pikepdf.Dictionary) or not len(drawn.keys()) or fonts is None:
            continue
        if not is_too_heavy(pdf.pages[index]):
            found.append(index)
    return found
