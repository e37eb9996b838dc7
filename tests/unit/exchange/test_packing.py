"""Files on their way into a package: order, names, and documents that must not leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import edxml
from vnedoc.errors import ConfigurationError, IndeterminateError, InputError, VerificationError
from vnedoc.exchange.packing import arrange, check_issued, clean_name, find_unsigned, is_signed_pdf
from vnedoc.sign.policy import Policy, RevocationRule
from vnedoc.sign.report import Conclusion
from vnedoc.sign.trust import TrustStore

if TYPE_CHECKING:
    from pathlib import Path

    from vnedoc.testing.pki import TestPKI

SOUND = Policy(revocation=RevocationRule.WHEN_AVAILABLE)


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("van-ban.pdf", "van-ban.pdf"),
        ("Quyết định số 15.pdf", "Quyet-dinh-so-15.pdf"),
        ("Đề nghị (bản sửa) đợt 2.DOCX", "De-nghi-ban-sua-dot-2.DOCX"),
        ("Thông báo GĐKHĐ(02.06.2020_15h46p34)_signed.pdf", "Thong-bao-GDKHD-02-06-2020_15h46p34-_signed.pdf"),
        ("a" * 80 + ".xlsx", "a" * 45 + ".xlsx"),
        ("ghi chú", "ghi-chu"),
        (".pdf", "pdf"),
        ("日本.pdf", "tep.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\TEST\\a b.pdf", "a-b.pdf"),
        ("CON.pdf", "tep-CON.pdf"),
        ("a.tar.gz", "a-tar.gz"),
        ("a.pdf\n", "a.pdf"),
        ("…", "tep"),
        ("a." + "x" * 40, "a." + "x" * 10),
    ],
)  # fmt: skip
def test_names_as_receivers_need_them(name: str, clean: str) -> None:
    assert clean_name(name) == clean
    assert len(clean) <= 50
    assert clean.isascii()


def test_names_differ_whatever_their_letter_case() -> None:
    taken: set[str] = set()
    names = ["Phụ lục.pdf", "phu luc.PDF", "PHỤ LỤC.pdf", "x" * 60 + ".pdf", "x" * 70 + ".pdf"]
    cleaned = [clean_name(name, taken=taken) for name in names]
    assert cleaned[:3] == ["Phu-luc.pdf", "phu-luc-2.PDF", "PHU-LUC-3.pdf"]
    assert len({name.lower() for name in cleaned}) == len(names)
    assert all(len(name) <= 50 for name in cleaned)


def test_a_cleaned_name_stays_as_it_is() -> None:
    for name in ("Quyết định số 15.pdf", "CON.pdf", "x" * 60 + ".pdf", "…"):
        assert clean_name(clean_name(name)) == clean_name(name)


def test_signed_pdfs_come_first_and_names_stand_in_the_description(tmp_path: Path, issued: bytes) -> None:
    contents = {
        "a.xlsx": edxml.many_entries(),
        "nháp.pdf": edxml.PDF,
        "Quyết định.pdf": issued,
        "b.txt": b"/ByteRange",
        "phu-luc.pdf": issued,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    found = arrange([tmp_path / name for name in contents])
    assert [(item.name, item.description) for item in found] == [
        ("Quyet-dinh.pdf", "Quyết định.pdf"),
        ("phu-luc.pdf", None),
        ("a.xlsx", None),
        ("nhap.pdf", "nháp.pdf"),
        ("b.txt", None),
    ]
    kept = arrange([tmp_path / name for name in contents], keep_names=True)
    assert [item.name for item in kept] == ["Quyết định.pdf", "phu-luc.pdf", "a.xlsx", "nháp.pdf", "b.txt"]


def test_a_signature_on_the_edge_of_a_piece_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    for offset in range(1, 11):
        path.write_bytes(b"%PDF-1.7\n".ljust(1024 * 1024 - offset, b" ") + b"/ByteRange [0 1 2 3]")
        assert is_signed_pdf(path)
    path.write_bytes(b"%PDF-1.7\n".ljust(3 * 1024 * 1024, b" "))
    assert not is_signed_pdf(path)
    with pytest.raises(InputError):
        is_signed_pdf(tmp_path / "none.pdf")


def test_documents_that_verify_may_leave(tmp_path: Path, pki: TestPKI, issued: bytes) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(issued)
    trust = TrustStore.from_certificates(pki.ca_certificates)
    (report,) = check_issued([path], trust=trust, policy=SOUND)
    assert report.conclusion is Conclusion.TOTAL_PASSED


def test_documents_that_do_not_verify_must_not(tmp_path: Path, pki: TestPKI, issued: bytes) -> None:
    trust = TrustStore.from_certificates(pki.ca_certificates)
    good, bad = tmp_path / "a.pdf", tmp_path / "b.pdf"
    good.write_bytes(issued)
    bad.write_bytes(issued.replace(b"%PDF-1.", b"%PDF-2.", 1))
    with pytest.raises(ConfigurationError) as caught:
        check_issued([good], trust=None)
    assert caught.value.code == "package.needs-trust"
    assert "--accept-unverified" in (caught.value.hint() or "")
    with pytest.raises(IndeterminateError):
        check_issued([good], trust=TrustStore(()), policy=SOUND)
    with pytest.raises((VerificationError, IndeterminateError)) as refused:
        check_issued([good, bad], trust=trust, policy=SOUND)
    assert refused.value.values["name"] == "b.pdf"
    bad.write_bytes(issued[:-200])
    with pytest.raises((VerificationError, IndeterminateError)):
        check_issued([bad], trust=trust, policy=SOUND)


def test_what_is_not_signed_is_let_through(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(edxml.PDF)
    assert check_issued([path], trust=None) == ()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["signed.pdf"], []),
        (["signed.pdf", "a.xlsx"], []),
        (["plain.pdf"], [("package.nothing-signed", None)]),
        (["a.xlsx", "plain.pdf"], [("package.nothing-signed", None)]),
        (["a.xlsx"], [("package.nothing-signed", None)]),
        (["plain.pdf", "signed.pdf", "a.xlsx"], [("package.not-signed", "plain.pdf")]),
    ],
)
def test_what_lacks_a_signature_is_found(
    names: list[str], expected: list[tuple[str, str | None]], tmp_path: Path, issued: bytes
) -> None:
    contents = {"signed.pdf": issued, "plain.pdf": edxml.PDF, "a.xlsx": edxml.many_entries()}
    for name in names:
        (tmp_path / name).write_bytes(contents[name])
    paths = [tmp_path / name for name in names]
    found = find_unsigned(edxml.document(), paths)
    assert [(finding.id, finding.values.get("name")) for finding in found] == expected
    assert all(finding.text("vi") != finding.text("en") for finding in found)
    # What has no number yet, or no date, was not issued.
    assert find_unsigned(edxml.document(code_number=""), paths) == ()
    assert find_unsigned(edxml.document(promulgation_date=None), paths) == ()


def test_what_cannot_be_read_is_not_called_unsigned(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        find_unsigned(edxml.document(), [tmp_path / "none.pdf"])
