"""A user's own folder of trusted authorities, by the library and by the commands."""

from __future__ import annotations

import datetime
import io
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.cli import Outcome, run, vnedoc
from vnedoc.config import load_config
from vnedoc.errors import ConfigurationError, InputError, NotAllowedError, UsageError
from vnedoc.sign.trust import SHIPPED, fingerprint, load_trust
from vnedoc.sign.trust_folder import TrustFolder, check_authority, find_shipped

UTC = datetime.UTC
KEY = ec.derive_private_key(7, ec.SECP256R1())
OTHER = ec.derive_private_key(8, ec.SECP256R1())


def authority(
    name: str = "CA TEST",
    *,
    issuer: str | None = None,
    ca: bool | None = True,
    cert_sign: bool | None = True,
    key: ec.EllipticCurvePrivateKey = KEY,
    signed_with: ec.EllipticCurvePrivateKey = KEY,
    until: int = 2040,
) -> x509.Certificate:
    """Make the certificate of an authority, or of what only claims to be one."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer or name)]))
        .public_key(key.public_key())
        .serial_number(sum(name.encode()))
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime.datetime(until, 1, 1, tzinfo=UTC))
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    if cert_sign is not None:
        usage = dict.fromkeys(
            [
                "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
                "key_agreement", "crl_sign", "encipher_only", "decipher_only",
            ],
            False,
        )  # fmt: skip
        builder = builder.add_extension(x509.KeyUsage(key_cert_sign=cert_sign, **usage), critical=True)
    return builder.sign(signed_with, hashes.SHA256())


ROOT = authority()
SUB = authority("CA CON TEST", issuer="CA TEST", key=OTHER)


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


@pytest.fixture
def folder(tmp_path: Path) -> TrustFolder:
    return TrustFolder(tmp_path / "anchors")


def test_what_is_added_is_trusted_and_what_is_removed_is_not(folder: TrustFolder) -> None:
    file = folder.add(ROOT)
    assert file is not None
    assert file.read_bytes() == pem(ROOT)
    assert [fingerprint(anchor.certificate) for anchor in load_trust(str(folder.path)).anchors] == [
        fingerprint(ROOT)
    ]
    assert folder.add(ROOT) is None
    assert folder.remove(folder.choose(fingerprint(ROOT)[:8])) == (file,)
    with pytest.raises(ConfigurationError):
        load_trust(str(folder.path))
    assert list(folder.path.iterdir()) == []


def test_an_authority_below_a_root_is_added_as_one(folder: TrustFolder) -> None:
    folder.add(ROOT)
    folder.add(SUB)
    store = load_trust(str(folder.path))
    assert (len(store.anchors), len(store.intermediates)) == (1, 1)


@pytest.mark.parametrize(
    "certificate",
    [
        authority(ca=None),
        authority(ca=False),
        authority(cert_sign=False),
        authority(signed_with=OTHER),
    ],
    ids=["no-constraints", "no-authority", "no-certificate-signing", "signed-by-another"],
)
def test_who_is_no_authority_is_refused(folder: TrustFolder, certificate: x509.Certificate) -> None:
    with pytest.raises(NotAllowedError):
        folder.add(certificate)
    assert not folder.path.exists()


def test_a_signer_is_no_authority(folder: TrustFolder) -> None:
    check_authority(authority(cert_sign=None))
    with pytest.raises(NotAllowedError) as caught:
        check_authority(authority("NGUYỄN VĂN TEST", issuer="CA TEST", ca=False, cert_sign=None))
    assert caught.value.values["name"] == "NGUYỄN VĂN TEST"


@pytest.mark.parametrize("held_as", ["bundle.pem", "root.crt"])
def test_what_was_put_there_by_hand_counts(folder: TrustFolder, held_as: str) -> None:
    folder.path.mkdir()
    (folder.path / held_as).write_bytes(pem(ROOT, SUB))
    assert folder.add(ROOT) is None
    assert folder.remove(ROOT) == (folder.path / held_as,)
    # The other one in the file stays.
    assert [fingerprint(found) for found, _ in folder.find()] == [fingerprint(SUB)]


def test_a_file_with_a_key_is_not_touched(folder: TrustFolder) -> None:
    folder.path.mkdir()
    key = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    mixed = folder.path / "mixed.pem"
    mixed.write_bytes(pem(ROOT) + key)
    plain = folder.path / "plain.pem"
    plain.write_bytes(pem(ROOT))
    with pytest.raises(NotAllowedError) as caught:
        folder.remove(ROOT)
    assert caught.value.code == "trust.mixed-file"
    assert mixed.read_bytes() == pem(ROOT) + key
    assert plain.exists()


@pytest.mark.parametrize("prefix", ["", "1234567", "xyzxyzxy", "ab" * 33])
def test_a_beginning_that_names_nothing(folder: TrustFolder, prefix: str) -> None:
    with pytest.raises(UsageError) as caught:
        folder.choose(prefix)
    assert caught.value.code == "trust.bad-prefix"


def test_a_beginning_that_is_not_there(folder: TrustFolder) -> None:
    folder.add(ROOT)
    with pytest.raises(ConfigurationError) as caught:
        folder.choose("00000000")
    assert caught.value.code == "trust.not-found"


def test_a_beginning_that_two_have(folder: TrustFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    import vnedoc.sign.trust_folder as module

    folder.add(ROOT)
    folder.add(SUB)
    real = fingerprint
    monkeypatch.setattr(module, "fingerprint", lambda certificate: "0" * 8 + real(certificate)[8:])
    with pytest.raises(UsageError) as caught:
        folder.choose("00000000")
    assert caught.value.code == "trust.several"


def test_a_prefix_may_have_colons(folder: TrustFolder) -> None:
    folder.add(ROOT)
    plain = fingerprint(ROOT)
    assert folder.choose(":".join(plain[i : i + 2] for i in range(0, 12, 2)).upper()) == ROOT


def test_shipped_ones_stay(folder: TrustFolder) -> None:
    shipped = load_trust("shipped:vn-government").anchors[0].certificate
    assert find_shipped(fingerprint(shipped)) == "shipped:vn-government"
    with pytest.raises(NotAllowedError) as caught:
        folder.choose(fingerprint(shipped)[:16])
    assert caught.value.code == "trust.shipped-stays"


@pytest.mark.parametrize("source", SHIPPED)
def test_a_shipped_source_is_no_folder(source: str) -> None:
    with pytest.raises(UsageError):
        TrustFolder(Path(source))


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_bytes(pem(ROOT))
    with pytest.raises(UsageError):
        TrustFolder(tmp_path / "root.pem")


def test_a_folder_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError):
        TrustFolder(tmp_path / "file" / "anchors").add(ROOT)


# The commands.


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def] # a function that takes a word
    def say(word: str) -> None:
        monkeypatch.setattr(sys, "stdin", _Terminal(f"{word}\n"))

    return say


@pytest.fixture
def root_file(tmp_path: Path) -> Path:
    path = tmp_path / "root.pem"
    path.write_bytes(pem(ROOT))
    return path


def _add(file: Path, folder: Path, *more: str) -> Outcome:
    return vnedoc("trust", "add", file, "--trust", folder, *more)


def test_a_script_adds_by_fingerprint_and_removes(root_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "anchors"
    outcome = _add(root_file, folder, "--yes", "--sha256", fingerprint(ROOT).upper())
    assert outcome.code == 0, outcome.err
    assert "CA TEST (anchor, custom)" in outcome.out
    assert fingerprint(ROOT) in outcome.out
    assert "2020" in outcome.out
    assert "2040" in outcome.out
    assert vnedoc("trust", "show", folder).code == 0
    again = _add(root_file, folder, "--yes", "--sha256", fingerprint(ROOT))
    assert (again.code, again.out.split(":")[0]) == (0, "There already")
    removed = vnedoc("trust", "remove", fingerprint(ROOT)[:12], "--trust", folder, "--yes")
    assert removed.code == 0
    assert removed.out.endswith(f"Removed: CA TEST ({folder / (fingerprint(ROOT) + '.pem')})\n")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--yes"], 2),
        (["--yes", "--sha256", "0" * 64], 1),
        (["--yes", "--sha256", fingerprint(ROOT), "--sha256", "0" * 64], 1),
        (["--yes", "--sha256", fingerprint(ROOT)[:16]], 2),
        (["--sha256", "0" * 64], 1),
        ([], 2),
    ],
)
def test_without_the_right_fingerprint_nothing_is_added(
    root_file: Path, tmp_path: Path, options: list[str], code: int
) -> None:
    outcome = _add(root_file, tmp_path / "anchors", *options)
    assert outcome.code == code
    assert not (tmp_path / "anchors").exists()


def test_every_certificate_of_a_file_must_be_compared(tmp_path: Path) -> None:
    file, folder = tmp_path / "bundle.pem", tmp_path / "anchors"
    file.write_bytes(pem(ROOT, SUB))
    assert _add(file, folder, "--yes", "--sha256", fingerprint(ROOT)).code == 1
    assert not folder.exists()
    both = ["--sha256", fingerprint(ROOT), "--sha256", fingerprint(SUB)]
    assert _add(file, folder, "--yes", *both).code == 0
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(("word", "code"), [("y", 0), ("n", 1), ("", 1)])
def test_a_person_is_asked(root_file: Path, tmp_path: Path, answer, word: str, code: int) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "anchors"
    answer(word)
    assert _add(root_file, folder).code == code
    assert folder.exists() == (code == 0)
    TrustFolder(folder).add(ROOT)
    answer(word)
    assert vnedoc("trust", "remove", fingerprint(ROOT), "--trust", folder).code == code
    assert (list(folder.iterdir()) == []) == (code == 0)


def test_who_is_no_authority_is_refused_by_the_command(tmp_path: Path) -> None:
    file = tmp_path / "leaf.pem"
    leaf = authority("NGUYỄN VĂN TEST", issuer="CA TEST", ca=False, cert_sign=None)
    file.write_bytes(pem(ROOT, leaf))
    hashes_given = ["--sha256", fingerprint(ROOT), "--sha256", fingerprint(leaf)]
    outcome = _add(file, tmp_path / "anchors", "--yes", *hashes_given)
    assert (outcome.code, "NGUYỄN VĂN TEST" in outcome.err) == (1, True)
    assert not (tmp_path / "anchors").exists()


def test_that_one_comes_with_vnedoc_is_said(tmp_path: Path) -> None:
    shipped = load_trust("shipped:vn-government").anchors[0].certificate
    file = tmp_path / "root.pem"
    file.write_bytes(pem(shipped))
    outcome = _add(file, tmp_path / "anchors", "--yes", "--sha256", fingerprint(shipped))
    assert outcome.code == 0
    assert "shipped:vn-government" in outcome.err


def test_the_settings_name_the_folder(root_file: Path, tmp_path: Path) -> None:
    settings = tmp_path / "vnedoc.toml"
    settings.write_text('trust = ["shipped:vn-national"]\ntrust_folder = "own"\n', encoding="utf-8")
    base = ["--config", str(settings), "--lang", "en", "trust"]
    # A folder that is not there yet, or is empty, takes nothing away from the rest.
    assert load_config(settings).trust == ("shipped:vn-national",)
    assert run([*base, "add", str(root_file), "--yes", "--sha256", fingerprint(ROOT)]).code == 0
    assert load_config(settings).trust == ("shipped:vn-national", str(tmp_path / "own"))
    assert f"{tmp_path / 'own'}: 1 anchor" in run([*base, "list"]).out
    assert run([*base, "remove", fingerprint(ROOT)[:8], "--yes"]).code == 0
    assert load_config(settings).trust == ("shipped:vn-national",)


def test_without_a_folder_there_is_nothing_to_add_to(
    root_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VNEDOC_CONFIG", raising=False)
    outcome = vnedoc("trust", "add", root_file, "--yes", "--sha256", fingerprint(ROOT), lang="vi")
    assert outcome.code == 5
    assert "trust_folder" in outcome.err


def test_a_file_that_is_no_certificate(tmp_path: Path) -> None:
    file = tmp_path / "x.pem"
    file.write_bytes(b"x")
    assert _add(file, tmp_path / "anchors", "--yes", "--sha256", "0" * 64).code == 5
    assert _add(tmp_path / "none.pem", tmp_path / "anchors", "--yes", "--sha256", "0" * 64).code == 5
