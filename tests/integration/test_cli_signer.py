"""``vnedoc signer``: what a clerk sees of tokens and keys, and the exit codes."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli import vnedoc
from tests.token_fixtures import COMPOSED, PIN, Desk, make_desk
from vnedoc._internal.clock import utc_now
from vnedoc.testing.pki import TestPKI
from vnedoc.testing.tokens import TokenEntry, TokenFolder

ON_TOKENS = frozenset({"rsa", "two", "no-key", "pin-each-time"})
PASSPHRASE = "mật khẩu TEST"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_PIN", PIN)
    monkeypatch.setenv("WRONG_PIN", "sai-pin-TEST")
    monkeypatch.setenv("KEY_PASSPHRASE", PASSPHRASE)


@pytest.fixture(scope="module")
def desk(pki: TestPKI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = make_desk(tmp_path_factory.mktemp("tokens"), pki, only=ON_TOKENS)
    with made.folder.in_this_process():
        yield made


@pytest.mark.needs("softhsm2-util")
@pytest.mark.parametrize("module", [None, "softhsm", "path"])
def test_list_shows_tokens_certificates_and_their_uris(desk: Desk, module: str | None) -> None:
    chosen = {None: (), "softhsm": ("--module", "softhsm"), "path": ("--module", desk.folder.module)}[module]
    text = vnedoc("signer", "list", *chosen, lang="vi")
    assert text.code == 0, text.err
    assert f"“{COMPOSED}”" in text.out
    assert "NGUYỄN VĂN TEST" in text.out
    listed = vnedoc("signer", "list", *chosen, "--format", "json").json()
    assert listed["schema"] == "vnedoc.signers/1"
    (token,) = (token for token in listed["tokens"] if token["serial"] == desk["rsa"].serial)
    (entry,) = token["certificates"]
    assert (token["pin"], entry["serial"]) == ("ok", f"{desk.leader.certificate.serial_number:x}")
    assert f'"{entry["uri"]}"' in text.out
    # What is printed can be used as it stands.
    tested = vnedoc("signer", "test", entry["uri"], "--passphrase-env", "TOKEN_PIN")
    assert tested.code == 0, tested.err


@pytest.mark.needs("softhsm2-util")
def test_show_needs_no_pin_and_shows_the_chain(desk: Desk) -> None:
    shown = vnedoc("signer", "show", desk["rsa"].uri, "--format", "json")
    assert shown.code == 0, shown.err
    (token,) = shown.json()["tokens"]
    assert "SHA256_RSA_PKCS" in token["mechanisms"]
    assert [entry["authority"] for entry in token["certificates"]].count(True) == len(desk.leader.chain)
    text = vnedoc("signer", "show", desk["rsa"].uri)
    assert "SHA256_RSA_PKCS" in text.out
    assert "CA phục vụ các cơ quan Nhà nước G2 TEST" in text.out


@pytest.mark.needs("softhsm2-util")
@pytest.mark.parametrize("lang", ["vi", "en"])
def test_a_good_key_passes(desk: Desk, lang: str) -> None:
    tested = vnedoc("signer", "test", desk["rsa"].uri, "--passphrase-env", "TOKEN_PIN", lang=lang)
    assert tested.code == 0, tested.err
    assert {"vi": "dùng được để ký văn bản", "en": "can sign documents"}[lang] in tested.out


@pytest.mark.needs("softhsm2-util")
@pytest.mark.parametrize(
    ("name", "pin", "words"),
    [
        ("rsa", "WRONG_PIN", "wrong"),
        ("no-key", "TOKEN_PIN", "private key"),
        ("two", "TOKEN_PIN", "x-cert-serial="),
        ("rsa", None, "no terminal"),
    ],
)
def test_what_is_wrong_is_one_sentence(desk: Desk, name: str, pin: str | None, words: str) -> None:
    arguments = () if pin is None else ("--passphrase-env", pin)
    tested = vnedoc("signer", "test", desk[name].uri, *arguments)
    assert tested.code == 5
    assert words in tested.err
    assert "Traceback" not in tested.err
    assert "pin-TEST" not in tested.err
    assert tested.out == ""


@pytest.mark.needs("softhsm2-util")
def test_a_token_that_is_not_there(desk: Desk) -> None:
    for command in ("show", "test"):
        told = vnedoc(
            "signer", command, "pkcs11:serial=0?module-name=softhsm", "--passphrase-env", "TOKEN_PIN"
        )
        assert told.code == 5
        assert told.err.strip()


@pytest.mark.needs("softhsm2-util")
def test_no_token_is_plugged_in(tmp_path: Path, desk: Desk) -> None:
    with TokenFolder(tmp_path).in_this_process():
        listed = vnedoc("signer", "list", "--module", "softhsm", lang="vi")
    assert listed.code == 5
    assert "Không thấy USB token nào" in listed.err
    # The folder of this module is seen again.
    assert vnedoc("signer", "list", "--module", "softhsm").code == 0


@pytest.mark.parametrize("module", ["nosuch", "/nowhere/lib.so", __file__])
def test_a_module_that_is_none(module: str) -> None:
    listed = vnedoc("signer", "list", "--module", module)
    assert listed.code == 5
    assert module in listed.err


@pytest.mark.parametrize("command", ["show", "test"])
def test_a_pin_in_the_uri_is_refused(command: str) -> None:
    told = vnedoc("signer", command, "pkcs11:token=x?pin-value=pin-TEST-99")
    assert told.code == 2
    assert "pin-TEST-99" not in told.err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, None),
        ({"not_after": utc_now() - datetime.timedelta(days=1)}, "certificate.expired"),
        ({"not_before": utc_now() + datetime.timedelta(days=1)}, "certificate.not-yet-valid"),
        ({"key_usage": ("key_encipherment",)}, "certificate.may-not-sign"),
        (
            {"key_usage": ("key_encipherment",), "not_after": utc_now() - datetime.timedelta(days=1)},
            "certificate.may-not-sign",
        ),
    ],
)
def test_the_certificate_is_looked_at(
    tmp_path: Path, pki: TestPKI, options: dict[str, object], problem: str | None
) -> None:
    identity = pki.issue_person(common_name="LÊ VĂN TEST", organization="TEST", **options)
    path = tmp_path / "key.p12"
    path.write_bytes(identity.pkcs12(PASSPHRASE))
    arguments = ("signer", "test", f"pkcs12:{path}", "--passphrase-env", "KEY_PASSPHRASE")
    tested = vnedoc(*arguments, "--format", "json")
    assert tested.code == (0 if problem is None else 5)
    found = tested.json()
    assert found["usable"] is (problem is None)
    assert (problem in {item["id"] for item in found["problems"]}) is (problem is not None)
    if options.keys() == {"key_usage", "not_after"}:
        assert {item["id"] for item in found["problems"]} == {"certificate.expired", problem}
    text = vnedoc(*arguments, lang="vi")
    assert ("KHÔNG nên dùng" in text.out) is (problem is not None)


def test_notes_on_the_certificate(tmp_path: Path, pki: TestPKI) -> None:
    identity = pki.issue_person(
        common_name="LÊ VĂN TEST", organization="TEST", not_after=utc_now() + datetime.timedelta(days=7)
    )
    path = tmp_path / "key.p12"
    path.write_bytes(identity.pkcs12(PASSPHRASE))
    shown = vnedoc(
        "signer", "show", f"pkcs12:{path}", "--passphrase-env", "KEY_PASSPHRASE", "--format", "json"
    )
    first, *above = shown.json()["certificates"]
    assert [item["id"] for item in first["notes"]] == ["token.expires-soon"]
    assert above and not any(entry["notes"] for entry in above)
    text = vnedoc("signer", "show", f"pkcs12:{path}", "--passphrase-env", "KEY_PASSPHRASE")
    assert "will expire" in text.out


@pytest.mark.needs("softhsm2-util")
def test_a_token_without_the_certificates_above(tmp_path: Path, pki: TestPKI, desk: Desk) -> None:
    folder = TokenFolder(tmp_path)
    token = folder.add("CHAIN TEST", pin=PIN, entries=[TokenEntry(identity=pki.leader)])
    with folder.in_this_process():
        tested = vnedoc("signer", "test", token.uri, "--passphrase-env", "TOKEN_PIN", "--format", "json")
    assert tested.code == 0
    assert [item["id"] for item in tested.json()["notes"]] == ["token.chain-incomplete"]


PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "sign-with-a-token.md"


def test_the_page_about_tokens_says_what_is_so() -> None:
    from vnedoc.sign.signers.pkcs11 import PKCS11URI, PRESETS

    text = PAGE.read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in PRESETS)
    uris = re.findall(r'"(pkcs11:[^"]*)"', text)
    assert uris
    for uri in uris:
        assert PKCS11URI.parse(uri).module_name in PRESETS
    assert set(re.findall(r"vnedoc signer (\w+)", text)) == {"list", "test"}


@pytest.mark.needs("softhsm2-util")
def test_the_sample_on_the_page_about_tokens_runs(tmp_path: Path) -> None:
    from vnedoc.sign.signers import open_signer
    from vnedoc.sign.signers.base import Signer

    *_, sample = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names = {"tmp_path": tmp_path, "open_signer": open_signer}
    exec(sample, names)
    assert isinstance(names["signer"], Signer)
