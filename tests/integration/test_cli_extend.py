"""``vnedoc extend`` as a person calls it."""

import io
from pathlib import Path

import pikepdf
import pytest

from tests.cli import Outcome, vnedoc
from tests.levels import verified
from vnedoc.sign.policy import Policy, RevocationRule
from vnedoc.sign.report import Conclusion
from vnedoc.sign.roles import Role, SigningOptions
from vnedoc.sign.signers.pkcs12 import PKCS12Signer
from vnedoc.sign.signing import sign_pdf
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf
from vnedoc.testing import documents
from vnedoc.testing.pki import TestPKI


@pytest.fixture
def roots(pki: TestPKI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the authorities of the test PKI; lists are kept in the test's own folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "trust"
    folder.mkdir()
    for number, certificate in enumerate(pki.ca_certificates):
        from cryptography.hazmat.primitives.serialization import Encoding

        (folder / f"{number}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    return folder


@pytest.fixture
def source(issued: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "quyết định.pdf"
    path.write_bytes(issued)
    return path


def _extend(pki: TestPKI, roots: Path, *arguments: object, lang: str = "en") -> Outcome:
    return vnedoc(
        "extend", *arguments, "--tsa", pki.tsa_url, "--trust", roots, "--allow-host", "127.0.0.1", lang=lang
    )


def test_a_file_is_extended_and_the_trade_off_said(
    pki: TestPKI, roots: Path, source: Path, tmp_path: Path
) -> None:
    before = source.read_bytes()
    target = tmp_path / "archive.pdf"
    outcome = _extend(pki, roots, source, "--level", "b-lta", "-o", target, lang="vi")
    assert outcome.code == 0, outcome.err
    assert "“vnedoc-approve-1” PAdES-B-LTA" in outcome.out
    assert "hãy gửi bản gốc" in outcome.err
    assert source.read_bytes() == before
    assert verified(target.read_bytes(), pki, at=pki.now()).conclusion is Conclusion.TOTAL_PASSED


def test_json_and_a_folder(pki: TestPKI, roots: Path, source: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    outcome = _extend(pki, roots, source, "--level", "b-t", "-d", archive, "--format", "json")
    assert outcome.code == 0, outcome.err
    (file,) = outcome.json()["files"]
    assert outcome.json()["schema"] == "vnedoc.extension/1"
    assert file["output"] == str(archive / source.name)
    assert [signature["level"] for signature in file["signatures"]] == ["PAdES-B-T"] * 2


def test_in_place_and_again(pki: TestPKI, roots: Path, source: Path) -> None:
    assert _extend(pki, roots, source, "--level", "b-lt", "--in-place").code == 0
    once = source.read_bytes()
    outcome = _extend(pki, roots, source, "--level", "b-lt", "--in-place")
    assert outcome.code == 1
    assert "nothing to add" in outcome.err
    assert source.read_bytes() == once
    assert _extend(pki, roots, source, "--level", "b-lta", "--in-place").code == 0
    assert source.read_bytes().startswith(once)


def test_many_files_the_good_ones_are_done_and_the_gravest_is_the_code(
    pki: TestPKI, roots: Path, source: Path, tmp_path: Path
) -> None:
    unsigned, broken = tmp_path / "draft.pdf", tmp_path / "broken.pdf"
    unsigned.write_bytes(documents.document_bytes(documents.DECISION))
    broken.write_bytes(b"TEST")
    archive = tmp_path / "archive"
    archive.mkdir()
    outcome = _extend(
        pki, roots, broken, unsigned, source, "--level", "b-t", "-d", archive, "--format", "json"
    )
    assert outcome.code == 1
    assert [path.name for path in archive.iterdir()] == [source.name]
    assert [file.get("error", {}).get("id") for file in outcome.json()["files"]] == [
        "verify.not-a-pdf", "extension.no-signature", None,
    ]  # fmt: skip
    assert _extend(pki, roots, broken, source, "--level", "b-t", "-d", archive).code == 4


def test_lists_are_kept_between_calls(pki: TestPKI, roots: Path, source: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "vnedoc" / "crl"
    with pki.services.failing(ocsp="http-500"):
        assert _extend(pki, roots, source, "--level", "b-lt", "-o", tmp_path / "a.pdf").code == 0
        assert len(list(cache.iterdir())) == 3
        with pki.services.failing(ocsp="http-500", crl="http-500"):
            outcome = _extend(pki, roots, source, "--level", "b-lt", "-o", tmp_path / "b.pdf")
    assert outcome.code == 0, outcome.err
    with pikepdf.open(io.BytesIO((tmp_path / "b.pdf").read_bytes())) as pdf:
        assert len(pdf.Root.DSS.CRLs) == 3


@pytest.mark.parametrize(
    ("arguments", "faults", "code", "words"),
    [
        (["--level", "b-b"], {}, 2, "b-b"),
        (["--level", "b-lt"], {}, 2, "exactly one place"),
        (["--level", "b-lt", "-o", "out.pdf"], {"tsa": "http-500"}, 6, "HTTP 500"),
        (["--level", "b-lt", "-o", "out.pdf"], {"ocsp": "http-500", "crl": "http-500"}, 6, "NGUYỄN VĂN TEST"),
        (["--level", "b-lt", "-o", "out.pdf", "--offline"], {}, 6, "NGUYỄN VĂN TEST"),
        (["--level", "b-lt", "-o", "out.pdf", "--tsa", "http://a:b@127.0.0.1/"], {}, 2, "127.0.0.1"),
    ],
)
def test_what_goes_wrong_has_its_code(
    pki: TestPKI,
    roots: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    faults: dict[str, str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pki.services.failing(**faults):  # type: ignore[arg-type] # parameters of the test
        outcome = _extend(pki, roots, source, *arguments)
    assert outcome.code == code, outcome.err
    assert words in outcome.err
    assert "a:b@" not in outcome.err
    assert not (tmp_path / "out.pdf").exists()


def test_without_trust_nothing_is_done(pki: TestPKI, source: Path, roots: Path) -> None:
    outcome = vnedoc("extend", source, "--level", "b-t", "--tsa", pki.tsa_url, "--in-place")
    assert outcome.code == 5


def test_inspect_says_why_a_file_is_not_long_term(
    pki: TestPKI, roots: Path, source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "archive.pdf"
    assert _extend(pki, roots, source, "--level", "b-lta", "-o", target).code == 0
    before = vnedoc("inspect", source, "--trust", roots)
    assert "cannot be verified later" in before.out
    assert "“vnedoc-approve-1” has no time-stamp" in before.out
    assert "no revocation data (OCSP or CRL) on the certificate “NGUYỄN VĂN TEST”" in before.out
    after = vnedoc("inspect", target, "--trust", roots)
    assert "carries what is needed" in after.out
    # Without anchors: what shows, in the order of signing.
    plain = vnedoc("inspect", source).out
    assert plain.index("vnedoc-approve-1") < plain.index("vnedoc-issue-1")
    assert plain.count("Signing time (claimed by the signer)") == 2
    assert "“vnedoc-approve-1” has no time-stamp" in plain
    assert "no document security store" in plain
    assert "Long term" not in vnedoc("inspect", target).out


@pytest.fixture
def locked(leader: PKCS12Signer, tmp_path: Path) -> Path:
    """A signed document that opens with the password TEST."""
    stream = io.BytesIO()
    with pikepdf.open(io.BytesIO(documents.document_bytes(documents.DECISION))) as pdf:
        pdf.save(stream, encryption=pikepdf.Encryption(owner="TEST owner", user="TEST"))
    options = SigningOptions(role=Role.INVISIBLE, password=lambda _: "TEST")
    path = tmp_path / "locked.pdf"
    sign_pdf(stream.getvalue(), path, signer=leader, options=options)
    return path


@pytest.mark.parametrize("level", ["b-t", "b-lt", "b-lta"])
def test_an_encrypted_document_with_its_password(
    pki: TestPKI, roots: Path, locked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    monkeypatch.setenv("WORD", "TEST")
    target = tmp_path / "archive.pdf"
    outcome = _extend(pki, roots, locked, "--level", level, "-o", target, "--document-password-env", "WORD")
    assert outcome.code == 0, outcome.err
    assert target.read_bytes().startswith(locked.read_bytes())
    report = verify_pdf(
        target,
        trust=TrustStore.from_certificates(pki.ca_certificates),
        policy=Policy(revocation=RevocationRule.WHEN_AVAILABLE),
        at=pki.now(),
        password=lambda _: "TEST",
    ).files[0]
    assert report.conclusion is Conclusion.TOTAL_PASSED
    assert report.signatures[0].level == ("PAdES-B-T" if level == "b-t" else "PAdES-B-LTA")
    # What was added is encrypted, too: nobody reads it without the password.
    assert vnedoc("verify", target, "--trust", roots, "--offline").code == 4


@pytest.mark.parametrize(
    ("word", "code", "error"),
    [(None, 4, "verify.encrypted"), ("other", 4, "verify.wrong-password"), ("", 5, None)],
)
def test_an_encrypted_document_without_its_password(
    pki: TestPKI,
    roots: Path,
    locked: Path,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    word: str | None,
    code: int,
    error: str | None,
) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    named: tuple[str, ...] = () if word is None else ("--document-password-env", "WORD")
    if word:
        monkeypatch.setenv("WORD", word)
    files = (locked, source)
    outcome = _extend(pki, roots, *files, "--level", "b-t", "-d", archive, "--format", "json", *named)
    assert outcome.code == code, outcome.err
    if error is None:
        # The variable is not there: nothing is begun.
        assert list(archive.iterdir()) == []
        return
    assert [file.get("error", {}).get("id") for file in outcome.json()["files"]] == [error, None]
    assert [path.name for path in archive.iterdir()] == [source.name]


def test_inspect_opens_encrypted_documents(
    pki: TestPKI, roots: Path, locked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORD", "TEST")
    named = ("--document-password-env", "WORD")
    target = tmp_path / "archive.pdf"
    assert _extend(pki, roots, locked, "--level", "b-lta", "-o", target, *named).code == 0
    without = vnedoc("inspect", locked)
    assert (without.code, without.out) == (4, "")
    assert "--document-password-env" in without.err
    before = vnedoc("inspect", locked, *named)
    assert before.code == 0, before.err
    assert "NGUYỄN VĂN TEST" in before.out
    assert "no document security store" in before.out
    assert "no revocation data" in vnedoc("inspect", locked, *named, "--trust", roots).out
    after = vnedoc("inspect", target, *named, "--trust", roots)
    assert (after.code, "carries what is needed" in after.out) == (0, True)
    assert "no document security store" not in vnedoc("inspect", target, *named).out
    monkeypatch.setenv("WORD", "other")
    assert vnedoc("inspect", locked, *named).code == 4
