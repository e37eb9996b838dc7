"""Evidence folders: what was kept comes back, and nothing else does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.sign.test_report import TIME
from vnedoc.errors import InputError, UsageError
from vnedoc.sign.evidence import (
    Evidence,
    RecordedSource,
    RecordingSource,
    compare_with_evidence,
    load_evidence,
    merged,
    write_evidence,
)
from vnedoc.sign.policies import read_policy
from vnedoc.sign.report import Conclusion, FileReport, Finding, SenderMatch, VerificationReport
from vnedoc.sign.revocation import Attempt, RevocationData, RevocationSource
from vnedoc.sign.trust import TrustAnchor, TrustStore, TrustTree, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vnedoc.testing.pki import TestPKI

DIRECTORY = json.dumps(
    {"schema": "vnedoc.directory/1", "agencies": [{"organ_id": "H99", "name": "TEST"}]}
).encode()
REPORT = FileReport(
    "a.pdf",
    Conclusion.INDETERMINATE,
    True,
    None,
    (),
    errors=(Finding("verify.no-chain"),),
    sha256="ab" * 32,
)


@pytest.fixture
def evidence(pki: TestPKI) -> Evidence:
    leaf = fingerprint(pki.agency.certificate)
    return Evidence(
        at=TIME,
        trust=TrustStore(
            (TrustAnchor(pki.root.certificate, TrustTree.VN_GOVERNMENT),), (pki.state_ca.certificate,)
        ),
        policy=read_policy("shipped:vn-issued"),
        inquiries={
            ("ocsp", leaf): RevocationData(ocsp=(b"ocsp",), attempts=(Attempt("http://a.test/"),)),
            ("crl", leaf): RevocationData(
                crls=(b"given", b"fetched"), attempts=(Attempt("http://b.test/", "no"),)
            ),
        },
        crls=(b"given",),
        certificates=(pki.agency.certificate,),
        sender=("H99", SenderMatch.CODED),
        directory=DIRECTORY,
    )


@pytest.fixture
def kept(evidence: Evidence, tmp_path: Path) -> Path:
    folder = tmp_path / "deep" / "evidence"
    write_evidence(folder, evidence, VerificationReport((REPORT,)))
    return folder


def test_what_was_kept_comes_back(pki: TestPKI, evidence: Evidence, kept: Path) -> None:
    again = load_evidence(kept)
    assert again.at == TIME
    assert [(item.certificate, item.tree) for item in again.trust.anchors] == [
        (pki.root.certificate, TrustTree.VN_GOVERNMENT)
    ]
    assert again.trust.intermediates == (pki.state_ca.certificate,)
    assert again.parsed_policy().name == "vn-issued"
    assert again.inquiries == evidence.inquiries
    assert again.crls == (b"given",)
    assert again.certificates == (pki.agency.certificate,)
    sender = again.expected_sender()
    assert sender is not None
    assert (sender.organ_id, sender.required, sender.agency().name) == ("H99", SenderMatch.CODED, "TEST")
    assert again.conclusions == {"ab" * 32: ("INDETERMINATE", ("verify.no-chain",))}


def test_the_source_gives_what_was_kept_and_asks_nobody(pki: TestPKI, kept: Path) -> None:
    source = load_evidence(kept).source()
    issuer = pki.state_ca.certificate
    assert source.crls == (b"given",)
    assert source.ocsp_for(pki.agency.certificate, issuer).ocsp == (b"ocsp",)
    assert source.crls_for(pki.agency.certificate).crls == (b"given", b"fetched")
    with pki.services.failing(ocsp="http-500", crl="http-500"):
        assert source.ocsp_for(pki.leader.certificate, issuer) == RevocationData()
        assert source.crls_for(pki.leader.certificate) == RevocationData(crls=(b"given",))


def test_a_recording_source_keeps_what_it_gave(pki: TestPKI) -> None:
    with RecordingSource(RevocationSource(allowed_hosts=["127.0.0.1"])) as source:
        assert source.take() == {}
        data = source.ocsp_for(pki.agency.certificate, pki.state_ca.certificate)
        assert data.ocsp
        assert source.take() == {("ocsp", fingerprint(pki.agency.certificate)): data}
        assert source.take() == {}
        # The second time the answer comes from memory, and is kept all the same.
        source.ocsp_for(pki.agency.certificate, pki.state_ca.certificate)
        lists = source.crls_for(pki.agency.certificate)
        taken = source.take()
        assert set(taken) == {(kind, fingerprint(pki.agency.certificate)) for kind in ("ocsp", "crl")}
    replayed = RecordedSource(taken, crls=())
    assert replayed.crls_for(pki.agency.certificate) == lists


def test_answers_of_several_files_are_put_together() -> None:
    one = {("ocsp", "a"): RevocationData(ocsp=(b"1",)), ("crl", "a"): RevocationData(crls=(b"2",))}
    other = {("ocsp", "a"): RevocationData(ocsp=(b"3", b"1")), ("ocsp", "b"): RevocationData()}
    assert merged([one, other]) == {
        ("ocsp", "a"): RevocationData(ocsp=(b"1", b"3")),
        ("crl", "a"): RevocationData(crls=(b"2",)),
        ("ocsp", "b"): RevocationData(),
    }


def test_the_second_verdict_must_be_the_first(kept: Path) -> None:
    evidence = load_evidence(kept)
    assert compare_with_evidence(REPORT, evidence) is REPORT
    passed = FileReport("a.pdf", Conclusion.TOTAL_PASSED, True, None, (), sha256="ab" * 32)
    other = compare_with_evidence(passed, evidence)
    assert other.conclusion is Conclusion.INDETERMINATE
    assert [error.id for error in other.errors] == ["evidence.other-verdict"]
    stranger = FileReport("b.pdf", Conclusion.TOTAL_PASSED, True, None, (), sha256="cd" * 32)
    other = compare_with_evidence(stranger, evidence)
    assert other.conclusion is Conclusion.INDETERMINATE
    assert [error.id for error in other.errors] == ["evidence.other-file"]


def test_a_used_folder_is_not_written_to(evidence: Evidence, kept: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_evidence(kept, evidence, VerificationReport((REPORT,)))
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    with pytest.raises(InputError):
        write_evidence(blocked / "evidence", evidence, VerificationReport((REPORT,)))


def _set(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(index: dict[str, Any]) -> None:
        index[key] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("schema", "vnedoc.evidence/9"),
        _set("at", "yesterday"),
        _set("policy", "../../../../etc/passwd"),
        _set("policy", "/etc/passwd"),
        _set("policy", 5),
        _set("trust", [{"file": "nowhere.pem", "tree": None}]),
        _set("trust", [{"file": "policy.toml", "tree": "custom"}]),
        _set("trust", None),
        _set("revocation", [{}]),
        _set("sha256", {}),
        _set("sha256", None),
        lambda index: index.pop("crls"),
    ],
)
def test_what_is_no_evidence(kept: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = kept / "evidence.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    change(index)
    path.write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_evidence(kept)
    assert caught.value.text("vi")


@pytest.mark.parametrize("place", ["policy.toml", "directory.json", "trust", "crl", "ocsp"])
def test_a_file_that_was_changed_or_is_gone(kept: Path, place: str) -> None:
    path = kept / place
    if path.is_dir():
        path = next(path.iterdir())
    content = path.read_bytes()
    path.write_bytes(content + b" ")
    with pytest.raises(InputError) as caught:
        load_evidence(kept)
    assert caught.value.code == "evidence.changed"
    path.unlink()
    with pytest.raises(InputError):
        load_evidence(kept)


def test_no_folder_and_no_json(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        load_evidence(tmp_path)
    for content in ("", "[]", "{}", "null"):
        (tmp_path / "evidence.json").write_text(content, encoding="utf-8")
        with pytest.raises(InputError):
            load_evidence(tmp_path)
