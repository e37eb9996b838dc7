"""Tokens that several test modules sign with. SoftHSM knows one folder a process: each module has it in turn."""

from __future__ import annotations

import contextlib
import dataclasses
import unicodedata
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.token_faults import TokenFaults, token_faults
from vnedoc.errors import VnedocError
from vnedoc.sign.models import SignatureMechanism
from vnedoc.sign.signers import open_signer
from vnedoc.sign.signers.base import Signer, verify_raw_signature
from vnedoc.sign.signers.pkcs11 import PKCS11Signer
from vnedoc.testing.tokens import Token, TokenEntry, TokenFolder

if TYPE_CHECKING:
    from pathlib import Path

    from vnedoc.testing.pki import Identity, TestPKI

Opener = Callable[..., PKCS11Signer]
PIN = "pin-TEST-7"
LABEL = "Ủy ban tỉnh TEST"
COMPOSED, DECOMPOSED = unicodedata.normalize("NFC", LABEL), unicodedata.normalize("NFD", LABEL)


@dataclasses.dataclass(frozen=True)
class Desk:
    """A folder of tokens by name, and who is on them."""

    folder: TokenFolder
    tokens: dict[str, Token]
    leader: Identity
    other: Identity
    elliptic: Identity

    def __getitem__(self, name: str) -> Token:
        return self.tokens[name]


def is_signed(signer: Signer, value: bytes, content: bytes) -> bool:
    """Tell whether a value is the signature over the content, with SHA-256."""
    return verify_raw_signature(
        signer.certificate, value, content, digest_algorithm="sha256", mechanism=signer.mechanism
    )


def told(error: VnedocError) -> str:
    """Return everything that anybody can see of an error, in both languages; each text is one that fills in."""
    texts = [error.text(language) for language in ("vi", "en")]
    hints = [error.hint(language) or "" for language in ("vi", "en")]
    return " ".join([repr(error), *texts, *hints])


@contextlib.contextmanager
def closing_signers() -> Iterator[Opener]:
    """Give a function that opens signers on tokens; they are closed when the block ends."""
    with contextlib.ExitStack() as stack:

        def open_one(
            uri: str, pin: str | None = PIN, mechanism: SignatureMechanism | None = None
        ) -> PKCS11Signer:
            signer = open_signer(uri, secret=lambda _: pin, mechanism=mechanism)
            assert isinstance(signer, PKCS11Signer)
            return stack.enter_context(signer)

        yield open_one


def make_desk(folder: Path, pki: TestPKI, *, only: frozenset[str] | None = None) -> Desk:
    """Make a token for each way in which tokens differ."""
    elliptic = pki.issue_person(common_name="TRẦN THỊ TEST", organization="TEST", key="ec-p256")
    leader, other = pki.leader, pki.other_agency
    # A second key, so that no key is right only because it is the only one.
    stranger = TokenEntry(
        identity=pki.issue_person(common_name="KHÁC TEST", organization="TEST", key="ec-p256"),
        label="Khác",
        id=b"\x0a",
        with_certificate=False,
        with_public_key=False,
    )
    contents = {
        "rsa": [TokenEntry(identity=leader, label="Chứng thư", with_chain=True)],
        "ec": [TokenEntry(identity=elliptic, label="Chứng thư", with_chain=True)],
        "rsa-by-numbers": [
            TokenEntry(identity=leader, id=b"", key_id=b"\x07", key_label="Khóa"),
            TokenEntry(identity=other, id=b"\x07", key_id=b"", label="Khóa", key_label="TEST"),
        ],
        "ec-by-id": [
            TokenEntry(
                identity=elliptic, label="Chứng thư", key_label="Khóa", id=b"\x05", with_public_key=False
            ),
            stranger,
        ],
        "ec-by-label": [
            TokenEntry(
                identity=elliptic,
                label=DECOMPOSED,
                key_label=COMPOSED,
                id=b"",
                key_id=b"\x05",
                with_public_key=False,
            ),
            stranger,
        ],
        "ec-by-public-key": [
            TokenEntry(identity=elliptic, label="Chứng thư", key_label="Khóa", id=b"\x01", key_id=b"\x02"),
            stranger,
        ],
        "ec-alone": [
            TokenEntry(
                identity=elliptic,
                label="Chứng thư",
                key_label="Khóa",
                id=b"\x01",
                key_id=b"\x02",
                with_public_key=False,
            )
        ],
        "two": [
            TokenEntry(identity=leader, label="Cũ", id=b"\x01"),
            TokenEntry(identity=other, label="Mới", id=b"\x02"),
        ],
        "hidden": [TokenEntry(identity=leader, hidden=True)],
        "pin-each-time": [TokenEntry(identity=leader, pin_each_time=True)],
        "may-not-sign": [TokenEntry(identity=leader, may_sign=False)],
        "no-key": [TokenEntry(identity=leader, with_key=False)],
        "wrong-key": [
            # The certificate is the leader's, the key somebody else's.
            TokenEntry(identity=leader, with_key=False, id=b"\x01", label="TEST"),
            TokenEntry(
                identity=elliptic,
                label="EC",
                id=b"\x09",
                key_id=b"\x01",
                key_label="TEST",
                with_public_key=False,
            ),
        ],
        "no-certificate": [],
        "twin-1": [TokenEntry(identity=leader)],
        "twin-2": [TokenEntry(identity=other)],
    }
    tokens = TokenFolder(folder)
    made = {}
    for name, entries in contents.items():
        if only is None or name in only:
            label = {"twin-1": "TWIN TEST", "twin-2": "TWIN TEST", "rsa": DECOMPOSED}.get(name, name)
            made[name] = tokens.add(label, pin=PIN, entries=entries)
    return Desk(tokens, made, leader, other, elliptic)


@pytest.fixture(scope="module")
def desk(pki: TestPKI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Tokens of a module."""
    made = make_desk(tmp_path_factory.mktemp("tokens"), pki)
    with made.folder.in_this_process():
        yield made


@pytest.fixture
def faults(desk: Desk) -> Iterator[TokenFaults]:
    """What only hardware does, put in at the border of the library."""
    with token_faults(desk.folder.module) as faults:
        yield faults


@pytest.fixture
def opened() -> Iterator[Opener]:
    """A function that opens signers on tokens; they are closed when the test ends."""
    with closing_signers() as opened:
        yield opened
