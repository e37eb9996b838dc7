"""Signing in two steps: what was prepared is what gets signed, or nothing is written."""

import dataclasses
import datetime
import hashlib
import io
import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pikepdf
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

from vnedoc.errors import (
    CredentialError,
    ExitCode,
    InputError,
    TimestampError,
    UsageError,
    VerificationError,
    VnedocError,
)
from vnedoc.sign.external import (
    PreparedSignature,
    complete_pdf,
    load_prepared,
    prepare_pdf,
    save_prepared,
)
from vnedoc.sign.models import Role, SignatureLevel, SignatureMechanism
from vnedoc.sign.revocation import RevocationSource
from vnedoc.sign.roles import SigningOptions
from vnedoc.sign.timestamps import TimestampClient
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf
from vnedoc.testing import documents
from vnedoc.testing.pki import Identity, TestPKI

INVISIBLE = SigningOptions(role=Role.INVISIBLE)
DECISION = documents.document_bytes(documents.DECISION)
SHA256 = utils.Prehashed(hashes.SHA256())


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    """The sample decision."""
    path = tmp_path / "dự thảo.pdf"
    path.write_bytes(DECISION)
    return path


@pytest.fixture
def prepared(draft: Path, pki: TestPKI, approve_options: SigningOptions) -> PreparedSignature:
    """The sample decision, prepared for the leader, as read from its state file."""
    return _prepare(draft, pki.leader, approve_options)


def _prepare(source: Path, identity: Identity, options: SigningOptions) -> PreparedSignature:
    state = source.with_suffix(".state")
    made = prepare_pdf(source, certificate=identity.certificate, chain=identity.chain[:-1], options=options)
    save_prepared(made, state)
    loaded = load_prepared(state)
    assert dataclasses.replace(loaded, warnings=made.warnings) == made
    return loaded


def _signed(identity: Identity, prepared: PreparedSignature) -> bytes:
    """Sign the digest as something that knows nothing of PDFs does."""
    key = identity.private_key
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(prepared.digest, ec.ECDSA(SHA256))
    return key.sign(prepared.digest, padding.PKCS1v15(), SHA256)  # type: ignore[union-attr] # RSA then


def _trust(pki: TestPKI) -> TrustStore:
    return TrustStore.from_certificates([*pki.leader.chain, *pki.tsa.chain])


def test_the_completed_document_is_as_if_signed_in_one_step(
    pki: TestPKI, prepared: PreparedSignature, draft: Path
) -> None:
    output = draft.with_name("signed.pdf")
    result = complete_pdf(prepared, _signed(pki.leader, prepared), output)
    assert output.read_bytes().startswith(DECISION)
    assert (result.field, result.role, result.page) == ("vnedoc-approve-1", Role.APPROVE, 2)
    assert result.level is SignatureLevel.B_B
    (signature,) = verify_pdf(output, trust=_trust(pki)).files[0].signatures
    assert signature.integrity
    assert signature.signer is not None
    assert signature.signer.common_name == "NGUYỄN VĂN TEST"
    with pikepdf.open(output) as pdf:
        (widget,) = [item for item in pdf.pages[1].Annots if str(item.T) == result.field]
        assert result.box is not None
        assert [float(number) for number in widget.Rect][:2] == pytest.approx(
            [result.box.x, result.box.y], abs=0.01
        )
        assert str(widget.V.M) == f"D:{result.signing_time:%Y%m%d%H%M%S}+07'00'"


def test_the_state_holds_neither_source_nor_secret(prepared: PreparedSignature, draft: Path) -> None:
    state = draft.with_suffix(".state").read_bytes()
    assert json.loads(state)["schema"] == "vnedoc.prepared/1"
    assert len(state) < len(DECISION)
    assert hashlib.sha256(DECISION).hexdigest() == json.loads(state)["source"]["sha256"]
    assert json.loads(state)["digest"] == hashlib.sha256(prepared.attributes).hexdigest()


@pytest.mark.parametrize(
    "encoding", [bytes, lambda raw: raw.hex().encode() + b"\n", lambda raw: b64encode(raw) + b"\n"]
)
def test_a_signature_value_may_come_as_text(
    pki: TestPKI, prepared: PreparedSignature, draft: Path, encoding: Callable[[bytes], bytes]
) -> None:
    value = encoding(_signed(pki.leader, prepared))
    assert complete_pdf(prepared, value, draft.with_name("signed.pdf")).field == "vnedoc-approve-1"


@pytest.mark.parametrize("raw", [False, True])
def test_an_elliptic_curve(pki: TestPKI, draft: Path, raw: bool) -> None:
    identity = pki.issue_person(common_name="LÊ VĂN TEST", organization="TEST", key="ec-p256")
    prepared = _prepare(draft, identity, INVISIBLE)
    value = _signed(identity, prepared)
    if raw:
        value = b"".join(number.to_bytes(32, "big") for number in utils.decode_dss_signature(value))
    output = draft.with_name("signed.pdf")
    complete_pdf(prepared, value, output)
    (signature,) = verify_pdf(output, trust=_trust(pki)).files[0].signatures
    assert signature.integrity


def test_pss_and_the_old_encoding(pki: TestPKI, draft: Path) -> None:
    options = dataclasses.replace(INVISIBLE, legacy=True, digest_algorithm="sha384")
    prepared = prepare_pdf(
        draft, certificate=pki.leader.certificate, options=options, mechanism=SignatureMechanism.RSA_PSS
    )
    digest = hashes.SHA384()
    value = pki.leader.private_key.sign(  # type: ignore[union-attr] # an RSA key
        prepared.digest, padding.PSS(padding.MGF1(digest), 48), utils.Prehashed(digest)
    )
    output = draft.with_name("signed.pdf")
    result = complete_pdf(prepared, value, output)
    assert result.level == "PKCS7"
    (signature,) = verify_pdf(output, trust=_trust(pki)).files[0].signatures
    assert signature.integrity


def test_a_timestamp_is_fetched_when_the_signature_is_there(pki: TestPKI, draft: Path) -> None:
    prepared = _prepare(draft, pki.leader, dataclasses.replace(INVISIBLE, level=SignatureLevel.B_T))
    value, output = _signed(pki.leader, prepared), draft.with_name("signed.pdf")
    with pytest.raises(UsageError) as caught:
        complete_pdf(prepared, value, output)
    assert caught.value.code == "timestamp.no-authority"
    with TimestampClient(["http://127.0.0.1:9/tsa"], pause_s=0) as client, pytest.raises(TimestampError):
        complete_pdf(prepared, value, output, timestamps=client)
    assert not output.exists()
    with TimestampClient([pki.tsa_url]) as client:
        result = complete_pdf(prepared, value, output, timestamps=client)
    assert result.level is SignatureLevel.B_T
    assert result.timestamp_time is not None
    with RevocationSource(allowed_hosts=["127.0.0.1"]) as source:
        report = verify_pdf(output, trust=_trust(pki), revocation=source)
    report.raise_for_status()
    assert report.files[0].signatures[0].level == "PAdES-B-T"


def test_on_another_machine_the_source_is_elsewhere(
    pki: TestPKI, prepared: PreparedSignature, draft: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = draft.rename(elsewhere / "x.pdf")
    value = _signed(pki.leader, prepared)
    with pytest.raises(InputError):
        complete_pdf(prepared, value, elsewhere / "signed.pdf")
    assert complete_pdf(prepared, value, elsewhere / "signed.pdf", source=moved).page == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[:-1],
        lambda content: content + b"\n",
        lambda content: content.replace(b"/Type", b"/Tipe", 1),
    ],
)
def test_another_source_is_refused(
    pki: TestPKI, prepared: PreparedSignature, draft: Path, change: Callable[[bytes], bytes]
) -> None:
    draft.write_bytes(change(DECISION))
    _refused(prepared, _signed(pki.leader, prepared), draft, "external.source-changed")


def test_a_source_that_was_signed_meanwhile_is_refused(
    pki: TestPKI, prepared: PreparedSignature, draft: Path
) -> None:
    complete_pdf(prepared, _signed(pki.leader, prepared), draft)
    _refused(prepared, _signed(pki.leader, prepared), draft, "external.source-changed")


def test_a_signature_of_something_else_is_refused(
    pki: TestPKI, prepared: PreparedSignature, draft: Path
) -> None:
    for value in (
        _signed(pki.agency, prepared),
        _signed(pki.leader, dataclasses.replace(prepared, attributes=b"TEST")),
        pki.leader.private_key.sign(prepared.digest, padding.PKCS1v15(), hashes.SHA256()),  # type: ignore[union-attr] # hashed twice
        b"",
        b"\0" * 256,
        b"x" * 100_000,
    ):
        _refused(prepared, value, draft, "external.wrong-signature")


def _refused(prepared: PreparedSignature, value: bytes, draft: Path, code: str) -> None:
    output = draft.with_name("signed.pdf")
    with pytest.raises(VerificationError) as caught:
        complete_pdf(prepared, value, output)
    assert caught.value.code == code
    assert caught.value.exit_code is ExitCode.NO
    assert not output.exists()


def _set(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda state: state.update(values)


def _increment(change: Callable[[bytes], bytes]) -> Callable[[dict[str, Any]], None]:
    def tamper(state: dict[str, Any]) -> None:
        before = zlib.decompress(b64decode(state["increment"]))
        after = change(before)
        assert after != before
        state["increment"] = b64encode(zlib.compress(after)).decode()

    return tamper


def _replace(old: bytes, new: bytes) -> Callable[[dict[str, Any]], None]:
    return _increment(lambda content: content.replace(old, new, 1))


def _source(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda state: state["source"].update(values)


def _gap(by: int, wider: int = 0) -> Callable[[dict[str, Any]], None]:
    def tamper(state: dict[str, Any]) -> None:
        start, end = state["gap"]
        state["gap"] = [start + by, end + by + wider]

    return tamper


def _in_the_gap(state: dict[str, Any]) -> None:
    start = state["gap"][0] - state["source"]["size"]
    _increment(lambda content: content[: start + 9] + b"41" + content[start + 11 :])(state)


# What an attacker may do to a state while it waits; each must end in a refusal.
TAMPERINGS: dict[str, Callable[[dict[str, Any]], None]] = {
    "the picture's place": _replace(b"/Rect [", b"/Rect [ "),
    "the field's name": _replace(b"approve\\0551)", b"approve\\0552)"),
    "the signature dictionary": _replace(b"/SubFilter", b"/Subfilter"),
    "something appended": _increment(lambda content: content + b"% TEST\n"),
    "something cut off": _increment(lambda content: content[:-1]),
    "something hidden where the signature goes": _in_the_gap,
    "the gap moved": _gap(2),
    "the gap widened": _gap(0, 2),
    "the gap before the increment": _gap(-100_000),
    "a lower level": _set(level="PAdES-B-B"),
    "another role": _set(role="initial"),
    "another signing time": _set(signing_time="2020-01-01T00:00:00+07:00"),
    "the old encoding": _set(legacy=True),
    "another mechanism": _set(mechanism="rsassa_pss"),
    "another digest algorithm": _set(digest_algorithm="sha512"),
    "other attributes": _set(
        attributes=b64encode(b"TEST").decode(), digest=hashlib.sha256(b"TEST").hexdigest()
    ),
    "another digest": _set(digest="00" * 32),
    "no chain": lambda state: state.update(certificate_chain=state["certificate_chain"][:1]),
    "a chain that leads nowhere": lambda state: state["certificate_chain"].reverse(),
    "another source": _source(sha256="00" * 32),
    "another size": _source(size=17),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_a_tampered_state_is_refused(
    pki: TestPKI, draft: Path, approve_options: SigningOptions, tampering: str
) -> None:
    options = dataclasses.replace(approve_options, level=SignatureLevel.B_T)
    prepared = _prepare(draft, pki.leader, options)
    value = _signed(pki.leader, prepared)
    path, output = draft.with_suffix(".state"), draft.with_name("signed.pdf")
    state = json.loads(path.read_bytes())
    TAMPERINGS[tampering](state)
    path.write_text(json.dumps(state))
    with TimestampClient([pki.tsa_url]) as client, pytest.raises(VerificationError) as caught:
        complete_pdf(load_prepared(path), value, output, timestamps=client)
    assert caught.value.code in {"external.tampered", "external.source-changed", "external.wrong-signature"}
    assert not output.exists()


def test_another_certificate_in_the_state_is_refused(
    pki: TestPKI, prepared: PreparedSignature, draft: Path
) -> None:
    renewed = pki.issue_person(common_name="NGUYỄN VĂN TEST", organization="TEST")
    swapped = dataclasses.replace(
        prepared, certificate_chain=(renewed.certificate, *prepared.certificate_chain[1:])
    )
    with pytest.raises(VerificationError):
        complete_pdf(swapped, _signed(pki.leader, prepared), draft.with_name("signed.pdf"))
    assert not draft.with_name("signed.pdf").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'"vnedoc.prepared/1"',
        b"[" * 100_000,
        b'{"schema": "vnedoc.prepared/2"}',
        b'{"schema": "vnedoc.prepared/1"}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_state(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.state"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_prepared(path)
    assert caught.value.code == "external.not-a-state"


BAD_VALUES: list[tuple[str, object]] = [
    ("gap", [1]), ("gap", "ab"), ("gap", [1.5, 2.5]), ("certificate_chain", []), ("certificate_chain", ["AAAA"]),
    ("increment", "AAAA"), ("increment", b64encode(zlib.compress(b"TEST"))[:-8].decode()), ("role", "king"),
    ("level", "PAdES-B-Z"), ("mechanism", "none"), ("digest_algorithm", "md5"), ("digest_algorithm", ["sha256"]),
    ("signing_time", "soon"), ("created", None), ("source", None), ("attributes", 7), ("digest", "xyz"),
    ("legacy", "no"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), BAD_VALUES)
def test_a_state_with_a_value_that_cannot_be(
    prepared: PreparedSignature, draft: Path, key: str, value: object
) -> None:
    path = draft.with_suffix(".state")
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {key: value}))
    with pytest.raises(InputError) as caught:
        load_prepared(path)
    assert caught.value.code == "external.not-a-state"


def test_a_bomb_in_the_state_is_not_unpacked(prepared: PreparedSignature, draft: Path) -> None:
    path = draft.with_suffix(".state")
    bomb = b64encode(zlib.compress(bytes(80 * 1024 * 1024), 9)).decode()
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"increment": bomb}))
    with pytest.raises(InputError):
        load_prepared(path)


def test_a_certificate_that_expired_meanwhile(pki: TestPKI, prepared: PreparedSignature, draft: Path) -> None:
    later = pki.leader.certificate.not_valid_after_utc + datetime.timedelta(days=1)
    with pytest.raises(CredentialError) as caught:
        complete_pdf(prepared, _signed(pki.leader, prepared), draft.with_name("signed.pdf"), at=later)
    assert caught.value.code == "certificate.expired"


def test_what_cannot_be_signed_cannot_be_prepared(pki: TestPKI, tmp_path: Path) -> None:
    path = tmp_path / "x.pdf"
    path.write_bytes(b"no PDF")
    with pytest.raises(VnedocError) as caught:
        prepare_pdf(path, certificate=pki.leader.certificate, options=INVISIBLE)
    assert caught.value.code == "pdf.not-a-pdf"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.pdf"]


def test_an_encrypted_document(pki: TestPKI, tmp_path: Path) -> None:
    path, output = tmp_path / "x.pdf", tmp_path / "signed.pdf"
    with pikepdf.open(io.BytesIO(DECISION)) as pdf:
        pdf.save(path, encryption=pikepdf.Encryption(owner="TEST", user="TEST"))
    prepared = _prepare(path, pki.leader, dataclasses.replace(INVISIBLE, password=lambda _: "TEST"))
    value = _signed(pki.leader, prepared)
    with pytest.raises(InputError) as caught:
        complete_pdf(prepared, value, output)
    assert caught.value.code == "pdf.encrypted"
    complete_pdf(prepared, value, output, password=lambda _: "TEST")
    with pikepdf.open(output, password="TEST") as pdf:
        assert str(pdf.Root.AcroForm.Fields[0].T) == "vnedoc-invisible-1"
