"""What a certificate says of its holder, and whether it may sign now.

Government certificates have no flag that tells a person from an agency; :func:`guess_role` weighs what they carry
(``UID=MST:…``, ``UID=CCCD:…``, institution words). Names are compared by attribute, in NFC, case folded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtensionOID, NameOID

from vnedoc._internal import clock
from vnedoc.agencies import normalize_name
from vnedoc.errors import CredentialError
from vnedoc.sign.report import CertificateSummary, SignerRole

if TYPE_CHECKING:
    import datetime

    from vnedoc.agencies import AgencyDirectory

__all__ = [
    "MALFORMED_CERTIFICATE_ERRORS",
    "check_can_sign",
    "display_name",
    "fingerprint",
    "guess_role",
    "key_usages",
    "mail_addresses",
    "subject_codes",
    "summarize",
]

MALFORMED_CERTIFICATE_ERRORS: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.UnsupportedGeneralNameType,
)
"""What looking at a certificate from outside can raise: its parts are only read when they are asked for."""

# Agencies are asked for their tax code (MST) and budget-relations code (MNS) by form 02 of Decree 68/2024/NĐ-CP;
# public authorities write the papers of persons in the same attribute.
_CODE = re.compile(r"\s*([A-ZĐ]{2,6})\s*:\s*(\S.*?)\s*", re.DOTALL)
_AGENCY_CODES = {"MST", "MNS"}
_PERSON_CODES = {"CCCD", "CMND", "HC", "CMT"}

# Words that start or mark the name of an institution; compared without case, after NFC.
_INSTITUTIONS = tuple(
    normalize_name(word)
    for word in (
        "UỶ BAN", "ỦY BAN", "UBND", "HỘI ĐỒNG", "HĐND", "BỘ", "SỞ", "CỤC", "TỔNG CỤC", "CHI CỤC", "VỤ",
        "BAN", "PHÒNG", "VĂN PHÒNG", "TRUNG TÂM", "TRƯỜNG", "HỌC VIỆN", "VIỆN", "BỆNH VIỆN", "CHÍNH PHỦ",
        "QUỐC HỘI", "TÒA ÁN", "TOÀ ÁN", "VIỆN KIỂM SÁT", "THANH TRA", "KHO BẠC", "BẢO HIỂM XÃ HỘI",
        "CÔNG AN", "TỈNH ỦY", "HUYỆN ỦY", "ĐẢNG ỦY", "THÀNH ỦY", "KIỂM TOÁN", "NGÂN HÀNG", "CÔNG TY",
        "TẬP ĐOÀN", "HẢI QUAN", "THUẾ", "ỦY BAN NHÂN DÂN",
    )
)  # fmt: skip

# The surnames of almost everybody; a name that starts with none of them stays unknown.
_SURNAMES = frozenset(
    normalize_name(word)
    for word in (
        "NGUYỄN", "TRẦN", "LÊ", "PHẠM", "HOÀNG", "HUỲNH", "PHAN", "VŨ", "VÕ", "ĐẶNG", "BÙI", "ĐỖ", "HỒ",
        "NGÔ", "DƯƠNG", "LÝ", "ĐÀO", "ĐOÀN", "VƯƠNG", "TRỊNH", "TRƯƠNG", "ĐINH", "LÂM", "PHÙNG", "MAI",
        "TÔ", "HÀ", "TẠ", "CAO", "THÁI", "CHU", "CHÂU", "QUÁCH", "LƯƠNG", "LƯU", "TĂNG", "TÔN", "NÔNG",
        "HỨA", "KIỀU", "LẠI", "LỤC", "LA", "VI", "MẠC", "QUAN", "ÔNG", "GIANG", "KHỔNG", "NHỮ", "NINH",
        "THẠCH", "TIÊU", "TRIỆU", "ĐÀM", "ĐỒNG", "ĐẬU", "BẾ", "CÙ", "NGHIÊM",
    )
)  # fmt: skip


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of a DER certificate in lower-case hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def summarize(certificate: x509.Certificate) -> CertificateSummary:
    """Return what a report shows of a certificate."""
    subject = certificate.subject
    codes = subject_codes(certificate)
    mails = mail_addresses(certificate)
    return CertificateSummary(
        common_name=display_name(subject),
        organization=_first(subject, NameOID.ORGANIZATION_NAME),
        units=tuple(_texts(subject, NameOID.ORGANIZATIONAL_UNIT_NAME)),
        email=mails[0] if mails else None,
        serial=f"{certificate.serial_number:x}",
        issuer=display_name(certificate.issuer),
        tax_code=codes.get("MST"),
        budget_code=codes.get("MNS"),
    )


def display_name(name: x509.Name) -> str:
    """Return the common name, or the whole name where there is none."""
    return _first(name, NameOID.COMMON_NAME) or name.rfc4514_string()


def subject_codes(certificate: x509.Certificate) -> dict[str, str]:
    """Return the codes in the subject's UID attributes, such as ``{"MST": "0100100100"}``."""
    codes: dict[str, str] = {}
    for value in _texts(certificate.subject, NameOID.USER_ID):
        # One attribute may hold several, as in "MST:…-CMND:…".
        for part in re.split(r"-(?=[A-ZĐ]{2,6}:)", value):
            match = _CODE.fullmatch(part)
            if match:
                codes.setdefault(match[1], match[2])
    return codes


def mail_addresses(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the mail addresses of a certificate: subject alternative names, then the subject."""
    found: list[str] = []
    try:
        extension = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
        assert isinstance(extension.value, x509.SubjectAlternativeName)
        found += extension.value.get_values_for_type(x509.RFC822Name)
    except MALFORMED_CERTIFICATE_ERRORS:
        pass
    found += _texts(certificate.subject, NameOID.EMAIL_ADDRESS)
    return tuple(dict.fromkeys(found))


def guess_role(certificate: x509.Certificate, directory: AgencyDirectory | None = None) -> SignerRole:
    """Tell whether a certificate seems to belong to a person or to an agency.

    Order: the caller's directory (pinned certificates, then names); codes in the subject; institution words in the
    common name; a usual surname. A guess, not a proof: :mod:`vnedoc.sign.senders` decides who sent.
    """
    name = normalize_name(_first(certificate.subject, NameOID.COMMON_NAME) or "")
    if directory is not None and _known_to(directory, certificate, name):
        return SignerRole.AGENCY
    codes = subject_codes(certificate)
    # Papers of a person come first: a firm's director may carry the firm's tax code beside them.
    if _PERSON_CODES & codes.keys():
        return SignerRole.PERSON
    if _AGENCY_CODES & codes.keys():
        return SignerRole.AGENCY
    if any(name == word or name.startswith(f"{word} ") for word in _INSTITUTIONS):
        return SignerRole.AGENCY
    words = name.split()
    if 2 <= len(words) <= 7 and words[0] in _SURNAMES:
        return SignerRole.PERSON
    return SignerRole.UNKNOWN


def key_usages(certificate: x509.Certificate) -> frozenset[str] | None:
    """Return the key usages in the words of RFC 5280 (snake case), or ``None`` if the certificate has none."""
    try:
        extension = certificate.extensions.get_extension_for_oid(ExtensionOID.KEY_USAGE)
    except MALFORMED_CERTIFICATE_ERRORS:
        return None
    usage = extension.value
    assert isinstance(usage, x509.KeyUsage)
    names = {
        "digital_signature": usage.digital_signature,
        "non_repudiation": usage.content_commitment,
        "key_encipherment": usage.key_encipherment,
        "data_encipherment": usage.data_encipherment,
        "key_agreement": usage.key_agreement,
        "key_cert_sign": usage.key_cert_sign,
        "crl_sign": usage.crl_sign,
    }
    return frozenset(name for name, present in names.items() if present)


def check_can_sign(certificate: x509.Certificate, at: datetime.datetime) -> None:
    """Check that a certificate may sign a document at a time (Circular 15/2025/TT-BKHCN, article 5.1a, annex II).

    Extended key usage is not looked at: government certificates have none for documents.

    Raises:
        CredentialError: ``certificate.expired``, ``certificate.not-yet-valid`` or ``certificate.may-not-sign``.
    """
    moment = clock.as_utc(at)
    if moment > certificate.not_valid_after_utc:
        raise CredentialError(
            "certificate.expired",
            subject=display_name(certificate.subject),
            time=clock.vietnam(certificate.not_valid_after_utc).isoformat(),
        )
    if moment < certificate.not_valid_before_utc:
        raise CredentialError(
            "certificate.not-yet-valid",
            subject=display_name(certificate.subject),
            time=clock.vietnam(certificate.not_valid_before_utc).isoformat(),
        )
    # What the verification demands by default; every government certificate has it.
    if "non_repudiation" not in (key_usages(certificate) or ()):
        raise CredentialError("certificate.may-not-sign", subject=display_name(certificate.subject))


def _known_to(directory: AgencyDirectory, certificate: x509.Certificate, name: str) -> bool:

    own = fingerprint(certificate)
    return any(
        any(pin.sha256 == own for pin in agency.pins)
        or name in {normalize_name(known) for known in (agency.name, *agency.names)}
        for agency in directory.agencies
    )


def _texts(name: x509.Name, oid: x509.ObjectIdentifier) -> list[str]:
    return [
        attribute.value for attribute in name.get_attributes_for_oid(oid) if isinstance(attribute.value, str)
    ]


def _first(name: x509.Name, oid: x509.ObjectIdentifier) -> str | None:
    texts = _texts(name, oid)
    return texts[0] if texts else None
