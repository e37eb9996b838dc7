from __future__ import annotations

import hashlib
import re
from importlib import resources
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from vnedoc.errors import ConfigurationError, UsageError
from vnedoc.sign.trust import (
    SHIPPED,
    TrustStore,
    TrustTree,
    check_trust,
    fingerprint,
    load_trust,
    parse_fingerprint,
)

if TYPE_CHECKING:
    from pathlib import Path

    from vnedoc.testing.pki import TestPKI


def test_there_is_no_default() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_trust()
    assert caught.value.code == "trust.none-given"


@pytest.mark.parametrize(
    ("source", "anchors", "intermediates", "tree"),
    [
        ("shipped:vn-government", 2, 7, TrustTree.VN_GOVERNMENT),
        ("shipped:vn-national", 2, 0, TrustTree.VN_NATIONAL),
    ],
)
def test_shipped_sources(source: str, anchors: int, intermediates: int, tree: TrustTree) -> None:
    store = load_trust(source)
    assert (len(store.anchors), len(store.intermediates)) == (anchors, intermediates)
    assert {anchor.tree for anchor in store.anchors} == {tree}


def test_every_shipped_certificate_leads_to_a_shipped_anchor() -> None:
    checked = check_trust(load_trust(*SHIPPED))
    assert all(certificate.anchor is not None for certificate in checked)


def test_the_list_of_origins_names_every_file_with_its_fingerprint() -> None:
    folder = resources.files("vnedoc.sign") / "trust_anchors"
    text = (folder / "ORIGIN.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"\| `(vn-[a-z]+/[a-z0-9-]+\.pem)` \|[^|]+\| `([0-9a-f]{64})` \|", text))
    found = {}
    for tree in ("vn-government", "vn-national"):
        for entry in (folder / tree).iterdir():
            from cryptography import x509

            certificate = x509.load_pem_x509_certificate(entry.read_bytes())
            digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()
            found[f"{tree}/{entry.name}"] = digest
    assert listed == found


def test_a_folder_and_a_file_are_custom(pki: TestPKI, tmp_path: Path) -> None:
    pki.write(tmp_path, passphrase="x")
    (tmp_path / "notes.txt").write_text("not a certificate")
    store = load_trust(str(tmp_path))
    assert [fingerprint(anchor.certificate) for anchor in store.anchors] == [
        fingerprint(pki.root.certificate)
    ]
    assert store.anchors[0].tree is TrustTree.CUSTOM
    assert pki.state_ca.certificate in store.intermediates
    der = tmp_path / "root.der"
    der.write_bytes(pki.root.certificate.public_bytes(Encoding.DER))
    assert len(load_trust(str(der)).anchors) == 1


def test_an_intermediate_alone_is_no_anchor(pki: TestPKI, tmp_path: Path) -> None:
    path = tmp_path / "sub.pem"
    path.write_bytes(pki.state_ca.certificate.public_bytes(Encoding.PEM))
    with pytest.raises(ConfigurationError) as caught:
        load_trust(str(path))
    assert caught.value.code == "trust.no-anchor"
    (checked,) = check_trust(TrustStore.from_certificates([pki.state_ca.certificate]))
    assert checked.anchor is None
    assert not checked.is_sound


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "trust.unreadable"), (b"", "trust.no-certificate"), (b"-----BEGIN X", "trust.no-certificate")],
)
def test_a_source_that_holds_nothing(tmp_path: Path, content: bytes | None, code: str) -> None:
    path = tmp_path / "source.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load_trust(str(path))
    assert caught.value.code == code


def test_an_empty_folder_and_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_trust(str(tmp_path))
    assert caught.value.code == "trust.no-certificate"
    with pytest.raises(ConfigurationError) as caught:
        load_trust("shipped:windows")
    assert caught.value.code == "trust.unknown-shipped"


def test_fingerprints_are_read_as_people_write_them() -> None:
    assert parse_fingerprint("AB:" * 31 + "AB") == "ab" * 32
    with pytest.raises(UsageError):
        parse_fingerprint("ab")
