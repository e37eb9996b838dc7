"""What vnedoc says to people, in Vietnamese and English, by message id.

One catalogue serves errors, reports and the command line. An id is ``area.name``; the area is the name of a
TOML file in ``catalogue/`` that holds both languages side by side::

    [wrong-passphrase]
    vi = "Mật khẩu của tệp khóa {path} không đúng."
    en = "The passphrase of the key file {path} is wrong."
    hint_vi = "…"            # optional: what to do about it
    hint_en = "…"

An area is read when the first of its messages is needed. Values are told in the language of the sentence, too: errors
and findings are, wherever they stand, and a value named ``reason`` may be what the operating system or a parser said,
see :mod:`vnedoc.messages.reasons`.
"""

from __future__ import annotations

import enum
import functools
import tomllib
from importlib import resources
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Language", "Sentence", "areas", "hint", "load_area", "text"]


class Language(enum.StrEnum):
    """A language that vnedoc speaks."""

    VI = "vi"
    """Vietnamese."""
    EN = "en"
    """English."""


def areas() -> list[str]:
    """Return the names of all areas of the catalogue."""
    folder = resources.files(__name__) / "catalogue"
    return sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")
    )


@functools.cache
def load_area(area: str) -> Mapping[str, Mapping[str, str]]:
    """Return the messages of one area: name to language to text."""
    raw = (resources.files(__name__) / "catalogue" / f"{area}.toml").read_text(encoding="utf-8")
    return tomllib.loads(raw)


def text(message_id: str, language: Language | str = Language.EN, /, **values: object) -> str:
    """Return the text of a message in a language, with its values filled in.

    Raises:
        KeyError: There is no such message, or a value is missing (a mistake in vnedoc).
    """
    return _entry(message_id)[Language(language).value].format_map(_told(values, language))


def hint(message_id: str, language: Language | str = Language.EN, /, **values: object) -> str | None:
    """Return what a person can do about a message, or ``None`` if the message says it already."""
    template = _entry(message_id).get(f"hint_{Language(language).value}")
    return None if template is None else template.format_map(_told(values, language))


@runtime_checkable
class _Speaker(Protocol):
    """What says itself in a language: an error, a finding, a sentence."""

    def text(self, language: Language | str, /) -> str: ...


def _told(values: Mapping[str, object], language: Language | str) -> Mapping[str, object]:
    """Put into a language what among values can be: errors and findings, and the reason as far as it is known."""
    told = {name: _spoken(value, language) for name, value in values.items()}
    reason = values.get("reason")
    # What said itself is told already.
    if isinstance(reason, str | Exception) and not isinstance(reason, _Speaker):
        told["reason"] = _reason(str(reason), language)
    return told


def _spoken(value: object, language: Language | str) -> object:
    if isinstance(value, str | int | float) and not isinstance(value, Sentence):
        return value
    if isinstance(value, _Speaker):
        return value.text(language)
    if isinstance(value, tuple) and all(isinstance(item, _Speaker) for item in value):
        return " ".join(item.text(language) for item in value)
    return value


def _reason(words: str, language: Language | str) -> str:
    # Most programs never meet one.
    from vnedoc.messages import reasons

    found = reasons.recognized(words)
    if found is None:
        return words
    message_id, inner = found
    if "words" in inner:
        inner["words"] = _reason(str(inner["words"]), language)
    return text(message_id, language, **inner)


def _entry(message_id: str) -> Mapping[str, str]:
    area, _, name = message_id.partition(".")
    return load_area(area)[name]


class Sentence(str):
    """A message as an English text that knows which one it is: it is told in any language, and stored as plain text.

    Args:
        code: The id of the message.
        values: What the message names; a sentence among them is put in the same language.
    """

    __slots__ = ("code", "values")

    code: str
    """The id of the message."""
    values: dict[str, object]
    """What the message names."""

    def __new__(cls, code: str, /, **values: object) -> Self:
        """Write the sentence."""
        sentence = super().__new__(cls, text(code, Language.EN, **values))
        sentence.code = code
        sentence.values = values
        return sentence

    def __reduce__(self) -> tuple[object, ...]:
        return _written, (type(self), self.code, self.values)

    def text(self, language: Language | str = Language.EN) -> str:
        """Return the sentence in a language."""
        return text(self.code, language, **self.values)


def _written(kind: type[Sentence], code: str, values: dict[str, object]) -> Sentence:
    return kind(code, **values)
