"""The catalogue: both languages, the same placeholders, one entry for every id in the code and no other."""

import re
import string
from pathlib import Path

import pytest

import vnedoc
from vnedoc import messages
from vnedoc.errors import InputError

PACKAGE = Path(vnedoc.__file__).parent
IDS = [f"{area}.{name}" for area in messages.areas() for name in messages.load_area(area)]


def _placeholders(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


@pytest.mark.parametrize("message_id", IDS)
def test_message_stands_in_both_languages_with_the_same_values(message_id: str) -> None:
    area, _, name = message_id.partition(".")
    entry = messages.load_area(area)[name]
    assert set(entry) - {"vi", "en", "hint_vi", "hint_en"} == set()
    assert entry["vi"].strip()
    assert entry["en"].strip()
    assert _placeholders(entry["vi"]) == _placeholders(entry["en"])
    assert ("hint_vi" in entry) == ("hint_en" in entry)


def test_every_id_in_the_code_is_in_the_catalogue_and_used() -> None:
    # The package's own map of names to modules looks like ids, but says nothing.
    modules = (path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
    pages = PACKAGE.rglob("templates/*.html")
    source = "\n".join(path.read_text(encoding="utf-8") for path in (*modules, *pages))
    areas = "|".join(re.escape(area) for area in messages.areas())
    named = set(re.findall(rf'"((?:{areas})\.[a-z0-9-]+)"', source))
    file_names = (".css", ".edxml", ".json", ".key", ".pem", ".sqlite3", ".toml")
    named = {name for name in named if not name.endswith(file_names)}
    assert named - set(IDS) == set(), "ids without a message"
    # Ids that are put together at run time name their prefix in the code: f"verify.level-{level}".
    prefixes = tuple(re.findall(rf'f"((?:{areas})\.[a-z0-9-]*)\{{', source))
    unused = {message_id for message_id in set(IDS) - named if not message_id.startswith(prefixes or ("\0",))}
    assert unused == set(), "messages that nothing says"


def test_text_and_hint_fill_in_values() -> None:
    assert messages.text("signer.wrong-passphrase", "en", path="a.p12").endswith("a.p12 is wrong.")
    assert "a.p12" in messages.text("signer.wrong-passphrase", "vi", path="a.p12")
    assert messages.hint("signer.wrong-passphrase", "en") is not None
    assert messages.hint("signer.not-pkcs12", "en") is None


def test_an_unknown_id_or_a_missing_value_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        messages.text("signer.no-such-message")
    with pytest.raises(KeyError):
        messages.text("signer.wrong-passphrase", "en")


def test_only_two_languages() -> None:
    with pytest.raises(ValueError, match="fr"):
        messages.text("signer.wrong-passphrase", "fr", path="a.p12")


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("vi", "Gói tin không đúng định dạng edXML: Không đọc được tệp TEST.pdf: không đủ quyền truy cập."),
        (
            "en",
            "The package is not edXML that can be read: The file TEST.pdf cannot be read: Permission denied.",
        ),
    ],
)
def test_an_error_among_the_values_is_told_in_the_language_of_the_sentence(
    language: str, expected: str
) -> None:
    error = InputError("file.cannot-read", path="TEST.pdf", reason="Permission denied")
    assert messages.text("hub.unreadable-package", language, reason=error) == expected
    sentence = messages.Sentence(error.code, **error.values)
    assert messages.text("hub.unreadable-package", language, reason=sentence) == expected
    # Several stand one behind the other.
    twice = messages.text("hub.unreadable-package", language, reason=(error, error))
    assert twice == f"{expected} {error.text(language)}"
