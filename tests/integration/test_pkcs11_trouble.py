"""Keys on tokens when something is wrong: PINs, tokens pulled out, modules, processes. A PIN is never sent twice."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.token_faults import CONTEXT_SPECIFIC, USER, TokenFaults
from tests.token_fixtures import PIN, Desk, Opener, told
from vnedoc.errors import ConfigurationError, CredentialError, ExitCode, UsageError
from vnedoc.sign.models import SignatureMechanism
from vnedoc.sign.signers import open_signer
from vnedoc.sign.signers._pkcs11_errors import _CODES, token_error
from vnedoc.sign.signers._pkcs11_library import cryptoki
from vnedoc.sign.signers._pkcs11_modules import PRESETS, find_module
from vnedoc.sign.signers.pkcs11 import describe_tokens
from vnedoc.testing.pki import TestPKI
from vnedoc.testing.tokens import Token, TokenEntry, TokenFolder

pytestmark = pytest.mark.needs("softhsm2-util")

WRONG_PIN = "sai-pin-TEST"


# PINs


def test_a_wrong_pin_reaches_the_token_once(desk: Desk, faults: TokenFaults, opened: Opener) -> None:
    with pytest.raises(CredentialError) as caught:
        opened(desk["twin-2"].uri, WRONG_PIN)
    assert faults.logins == [(USER, WRONG_PIN.encode())]
    # SoftHSM raises the flag CKF_USER_PIN_COUNT_LOW after the first one.
    assert caught.value.code == "token.wrong-pin-count-low"
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    assert not caught.value.retryable
    assert WRONG_PIN not in told(caught.value)
    assert describe_tokens(desk["twin-2"].uri)[0].pin == "count-low"
    opened(desk["twin-2"].uri).close()
    assert describe_tokens(desk["twin-2"].uri)[0].pin == "ok"


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (0, "token.wrong-pin"),
        (cryptoki.TokenFlag.USER_PIN_COUNT_LOW, "token.wrong-pin-count-low"),
        (cryptoki.TokenFlag.USER_PIN_FINAL_TRY, "token.wrong-pin-final-try"),
    ],
)
def test_a_wrong_pin_says_what_the_token_says(
    desk: Desk, faults: TokenFaults, opened: Opener, flags: int, code: str
) -> None:
    faults.taken_flags = int(cryptoki.TokenFlag.USER_PIN_COUNT_LOW) & ~int(flags)
    faults.token_flags = int(flags)
    with pytest.raises(CredentialError) as caught:
        opened(desk["rsa"].uri, WRONG_PIN)
    assert caught.value.code == code
    assert len(faults.logins) == 1
    assert told(caught.value)


def test_a_pin_that_locks_the_token(desk: Desk, faults: TokenFaults) -> None:
    def last_wrong_one(_: str) -> str:
        faults.token_flags = int(cryptoki.TokenFlag.USER_PIN_LOCKED)
        return WRONG_PIN

    with pytest.raises(CredentialError) as caught:
        open_signer(desk["rsa"].uri, secret=last_wrong_one)
    assert caught.value.code == "token.pin-locked"
    assert len(faults.logins) == 1


def test_the_last_try_is_announced_before_it_is_used(desk: Desk, faults: TokenFaults) -> None:
    faults.token_flags = int(cryptoki.TokenFlag.USER_PIN_FINAL_TRY)
    asked: list[str] = []

    def nothing(question: str) -> None:
        asked.append(question)

    with pytest.raises(CredentialError) as caught:
        open_signer(desk["rsa"].uri, secret=nothing)
    assert caught.value.code == "token.no-pin"
    assert [getattr(question, "code", None) for question in asked] == ["token.prompt-pin-final-try"]


@pytest.mark.parametrize(
    ("flag", "code"),
    [
        (cryptoki.TokenFlag.USER_PIN_LOCKED, "token.pin-locked"),
        (cryptoki.TokenFlag.USER_PIN_TO_BE_CHANGED, "token.pin-must-change"),
    ],
)
def test_a_token_that_takes_no_pin_gets_none(
    desk: Desk, faults: TokenFaults, opened: Opener, flag: int, code: str
) -> None:
    faults.token_flags = int(flag)
    with pytest.raises(CredentialError) as caught:
        opened(desk["rsa"].uri)
    assert caught.value.code == code
    assert faults.logins == []


def test_a_token_without_a_pin(desk: Desk, faults: TokenFaults, opened: Opener) -> None:
    faults.taken_flags = int(cryptoki.TokenFlag.USER_PIN_INITIALIZED)
    with pytest.raises(CredentialError) as caught:
        opened(desk["rsa"].uri)
    assert caught.value.code == "token.pin-not-set"


@pytest.mark.parametrize("pin", [None, ""])
def test_no_pin_is_not_sent(desk: Desk, faults: TokenFaults, opened: Opener, pin: str | None) -> None:
    with pytest.raises(CredentialError) as caught:
        opened(desk["rsa"].uri, pin)
    assert caught.value.code == "token.no-pin"
    assert faults.logins == []


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (0xA2, "token.pin-length"),  # CKR_PIN_LEN_RANGE
        (0xA1, "token.pin-length"),  # CKR_PIN_INVALID
        (0xA3, "token.pin-must-change"),  # CKR_PIN_EXPIRED
        (0xA4, "token.pin-locked"),  # CKR_PIN_LOCKED
        (0x102, "token.pin-not-set"),  # CKR_USER_PIN_NOT_INITIALIZED
        (0x100, "token.logged-in-elsewhere"),  # CKR_USER_ALREADY_LOGGED_IN
        (0x50, "token.declined"),  # CKR_FUNCTION_CANCELED
        (0x05, "token.failed"),  # CKR_GENERAL_ERROR
        (0x80000001, "token.failed"),  # vendor defined
    ],
)
def test_answers_to_a_login(desk: Desk, faults: TokenFaults, opened: Opener, answer: int, code: str) -> None:
    faults.answers["C_Login"] = answer
    with pytest.raises(CredentialError) as caught:
        opened(desk["rsa"].uri)
    assert caught.value.code == code
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    assert len(faults.logins) == 1
    assert PIN not in told(caught.value)


def test_a_wrong_signing_pin_is_not_sent_for_the_next_file(desk: Desk, faults: TokenFaults) -> None:
    answers = iter([PIN, WRONG_PIN])
    with open_signer(desk["pin-each-time"].uri, secret=lambda _: next(answers)) as signer:
        for _ in range(3):
            with pytest.raises(CredentialError) as caught:
                signer.sign(b"TEST")
            assert caught.value.code.startswith("token.wrong-pin")
            assert WRONG_PIN not in told(caught.value)
    assert faults.logins == [(USER, PIN.encode()), (CONTEXT_SPECIFIC, WRONG_PIN.encode())]


def test_a_signing_pin_is_asked_for_once_and_sent_each_time(desk: Desk, faults: TokenFaults) -> None:
    answers = iter([PIN, PIN])
    with open_signer(desk["pin-each-time"].uri, secret=lambda _: next(answers)) as signer:
        for content in (b"1", b"2", b"3"):
            signer.sign(content)
    assert [kind for kind, _ in faults.logins] == [USER, *[CONTEXT_SPECIFIC] * 3]


def test_signers_on_one_token_share_its_login(desk: Desk, faults: TokenFaults, opened: Opener) -> None:
    first, second = opened(desk["rsa"].uri), opened(desk["rsa"].uri)
    assert len(faults.logins) == 1
    first.close()
    assert faults.count("C_Logout") == 0
    assert second.sign(b"TEST")
    second.close()
    assert faults.count("C_Logout") == 1
    opened(desk["rsa"].uri)
    assert len(faults.logins) == 2


def test_a_shared_login_still_wants_the_right_pin(desk: Desk, faults: TokenFaults, opened: Opener) -> None:
    first = opened(desk["rsa"].uri)
    for _ in range(3):
        with pytest.raises(CredentialError) as caught:
            opened(desk["rsa"].uri, WRONG_PIN)
        assert caught.value.code == "token.other-pin"
    # Guessing in memory is not counted by the token, so it ends here.
    with pytest.raises(CredentialError):
        opened(desk["rsa"].uri)
    assert len(faults.logins) == 1
    assert first.sign(b"TEST")


def test_a_pin_is_nowhere_to_be_seen(desk: Desk, opened: Opener) -> None:
    signer = opened(desk["pin-each-time"].uri)
    signer.sign(b"TEST")
    assert PIN not in repr(signer) + repr(signer._module) + repr(desk["rsa"])
    with pytest.raises(UsageError) as caught:
        opened(f"{desk['rsa'].uri}&pin-value={PIN}")
    assert caught.value.code == "token.uri-pin"
    assert PIN not in told(caught.value)


# Trouble on the way


@pytest.mark.parametrize(
    "answer",
    [0x32, 0xE0, 0x30, 0x05, 0x06, 0xB3, 0x101, 0x82],
    ids=["removed", "not-present", "device", "general", "failed", "session", "logged-out", "object"],
)
def test_a_token_that_is_pulled_out_mid_way(
    desk: Desk, faults: TokenFaults, opened: Opener, answer: int
) -> None:
    signer = opened(desk["rsa"].uri)
    signer.sign(b"1")
    faults.answers |= {"C_Sign": answer, "C_GetTokenInfo": 0xE0}
    with pytest.raises(CredentialError) as caught:
        signer.sign(b"2")
    assert caught.value.code == "token.removed"
    faults.answers.clear()
    with pytest.raises(CredentialError) as caught:
        signer.sign(b"3")
    assert caught.value.code == "token.removed"
    signer.close()
    # Plugged in again, the key opens anew.
    faults.logins.clear()
    opened(desk["rsa"].uri).sign(b"4")


def test_a_token_that_was_plugged_in_again_wants_its_pin_again(
    desk: Desk, faults: TokenFaults, opened: Opener
) -> None:
    stale = opened(desk["rsa"].uri)
    assert stale._ticket is not None
    faults.answers["C_Sign"] = 0x32  # CKR_DEVICE_REMOVED
    with pytest.raises(CredentialError):
        stale.sign(b"1")
    faults.answers.clear()
    # Pulling a token out ends its sessions and its login.
    stale._ticket._login.session.close()
    assert opened(desk["rsa"].uri).sign(b"2")
    assert len(faults.logins) == 2


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (0xB3, "token.session-lost"),  # CKR_SESSION_HANDLE_INVALID
        (0x101, "token.logged-out"),  # CKR_USER_NOT_LOGGED_IN
        (0x51, "token.failed"),  # CKR_FUNCTION_NOT_PARALLEL, which nobody expects here
        (0x30, "token.failed"),  # CKR_DEVICE_ERROR
        (0x50, "token.declined"),  # CKR_FUNCTION_CANCELED
    ],
)
def test_answers_to_a_signature(
    desk: Desk, faults: TokenFaults, opened: Opener, answer: int, code: str
) -> None:
    signer = opened(desk["rsa"].uri)
    faults.answers["C_Sign"] = answer
    with pytest.raises(CredentialError) as caught:
        signer.sign(b"TEST")
    assert caught.value.code == code
    assert caught.value.exit_code is ExitCode.CONFIGURATION


def test_every_answer_of_the_library_has_a_sentence(desk: Desk, opened: Opener) -> None:
    token = opened(desk["rsa"].uri)._token
    kinds = [
        kind
        for kind in vars(cryptoki.exceptions).values()
        if isinstance(kind, type) and issubclass(kind, cryptoki.PKCS11Error)
    ]
    assert set(_CODES) < set(kinds)
    for kind in kinds:
        error = token_error(kind(), token)
        assert desk["rsa"].serial in told(error)
        assert error.exit_code is ExitCode.CONFIGURATION


def test_a_broken_token_does_not_hide_the_others(desk: Desk, faults: TokenFaults, opened: Opener) -> None:
    broken = describe_tokens(desk["rsa"].uri)[0].slot_id
    faults.broken_slots.add(broken)
    everything = f"pkcs11:?module-path={desk.folder.module}"
    assert len(describe_tokens(everything)) == len(desk.tokens) - 1
    with pytest.raises(CredentialError):
        describe_tokens(desk["rsa"].uri)
    with pytest.raises(CredentialError):
        opened(desk["rsa"].uri)
    twins = f"x-cert-serial={desk.other.certificate.serial_number:x};token=TWIN TEST"
    faults.broken_slots = {describe_tokens(desk["twin-1"].uri)[0].slot_id}
    signer = opened(f"pkcs11:{twins}?module-path={desk.folder.module}")
    assert signer.certificate == desk.other.certificate


def test_no_token_at_all(desk: Desk, faults: TokenFaults, opened: Opener) -> None:
    faults.answers["C_GetTokenInfo"] = 0xE0
    with pytest.raises(CredentialError) as caught:
        opened(desk["rsa"].uri)
    assert caught.value.code == "token.none-present"
    assert told(caught.value)


def test_a_closed_signer_does_not_sign(desk: Desk, opened: Opener) -> None:
    signer = opened(desk["rsa"].uri)
    signer.close()
    with pytest.raises(CredentialError) as caught:
        signer.sign(b"TEST")
    assert caught.value.code == "token.closed"


def test_an_unfit_mechanism_leaves_nothing_open(desk: Desk, faults: TokenFaults, opened: Opener) -> None:
    with pytest.raises(CredentialError) as caught:
        opened(desk["rsa"].uri, mechanism=SignatureMechanism.ECDSA)
    assert caught.value.code == "signer.unfit-mechanism"
    assert faults.count("C_OpenSession") == faults.count("C_CloseSession")
    assert faults.count("C_Logout") == 1


# Modules


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "token.module-missing"),
        (b"", "token.module-unusable"),
        (b"MZ not a library", "token.module-unusable"),
        (b"\x7fELF\x01\x01\x01" + bytes(45), "token.module-32bit"),
    ],
)
def test_a_file_that_is_no_module(
    desk: Desk, opened: Opener, tmp_path: Path, content: bytes | None, code: str
) -> None:
    path = tmp_path / "thư viện.so"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        opened(f"pkcs11:?module-path={path}")
    assert caught.value.code == code
    assert str(path) in told(caught.value)
    assert caught.value.exit_code is ExitCode.CONFIGURATION


def test_a_library_that_is_no_module(opened: Opener) -> None:
    with pytest.raises(ConfigurationError) as caught:
        opened(f"pkcs11:?module-path={cryptoki.lib.__globals__['__file__']}")
    assert caught.value.code == "token.module-unusable"


@pytest.mark.parametrize("name", ["../../etc/passwd", "nosuch", "a/b", ".."])
def test_a_name_that_no_module_has(opened: Opener, name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        opened(f"pkcs11:?module-name={name}")
    assert caught.value.code == "token.module-unknown"
    assert "softhsm" in told(caught.value)


def test_a_module_that_is_not_installed(
    opened: Opener, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("vnedoc.sign.signers._pkcs11_modules._search_folders", lambda: [tmp_path])
    for name, preset in PRESETS.items():
        if name == "softhsm":
            continue
        with pytest.raises(ConfigurationError) as caught:
            opened(f"pkcs11:?module-name={name}")
        assert caught.value.code == "token.module-not-installed"
        assert preset.title in told(caught.value)
    (tmp_path / "libbit4xpki.so").touch()
    assert find_module("Bit4ID") == tmp_path / "libbit4xpki.so"
    assert find_module("bit4xpki") == tmp_path / "libbit4xpki.so"


# Other processes


RAW = """
    import sys
    from tests.token_faults import token_faults
    from vnedoc.sign.models import SignatureMechanism
    from vnedoc.sign.signers import open_signer
    from vnedoc.sign.signers.pkcs11 import find_module
    with token_faults(find_module("softhsm")) as faults:
        for mechanism in (SignatureMechanism.RSA_PKCS1_V15, SignatureMechanism.RSA_PSS):
            with open_signer(sys.argv[1], secret=lambda _: sys.argv[2], mechanism=mechanism) as signer:
                for digest in ("sha256", "sha384", "sha512"):
                    signer.sign(b"TEST" * 10_000, digest_algorithm=digest)
        print(*map(hex, faults.mechanisms))
"""

FORK = """
    import os, sys
    from vnedoc.errors import CredentialError
    from vnedoc.sign.signers import open_signer
    signer = open_signer(sys.argv[1], secret=lambda _: sys.argv[2])
    child = os.fork()
    if not child:
        codes = []
        for attempt in (lambda: signer.sign(b"TEST"), lambda: open_signer(sys.argv[1], secret=lambda _: sys.argv[2])):
            try:
                attempt()
            except CredentialError as exc:
                codes.append(exc.code)
        signer.close()
        os._exit(0 if codes == ["token.other-process"] * 2 else 1)
    assert os.waitpid(child, 0)[1] == 0
    signer.sign(b"TEST")
    print("signed")
"""


def _elsewhere(program: str, folder: TokenFolder, token: Token) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), token.uri, token.pin],
        env=os.environ | dict(folder.environment),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_token_that_cannot_hash(pki: TestPKI, tmp_path: Path) -> None:
    hidden = [f"CKM_SHA{bits}_RSA_PKCS{kind}" for bits in (256, 384, 512) for kind in ("", "_PSS")]
    folder = TokenFolder(tmp_path, hidden_mechanisms=hidden)
    token = folder.add("RAW TEST", entries=[TokenEntry(identity=pki.leader)])
    # The base class has verified every one of them; CKM_RSA_PKCS is 1, CKM_RSA_PKCS_PSS 13.
    assert _elsewhere(RAW, folder, token) == "0x1 0x1 0x1 0xd 0xd 0xd"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked on this system")
def test_a_forked_process_does_not_use_the_session(pki: TestPKI, tmp_path: Path) -> None:
    folder = TokenFolder(tmp_path)
    token = folder.add("FORK TEST", entries=[TokenEntry(identity=pki.leader)])
    assert _elsewhere(FORK, folder, token) == "signed"
