"""What an attacker does to a signed package: never valid, and never a word that was not signed.

The wrapping attacks are those of Somorovsky et al., "On Breaking SAML: Be Whoever You Want to Be" (2012), XSW 1 to 8,
for each signed part of a package.
"""

from __future__ import annotations

import base64
import copy
import random
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from tests import edxml
from tests.signed_packages import DS, E, Tree, changed, signed
from vnedoc.errors import InputError
from vnedoc.exchange.models import Attachment
from vnedoc.exchange.package import NET, read_package
from vnedoc.exchange.xmlsig import verify_package_signature
from vnedoc.sign.policy import Policy, RevocationRule
from vnedoc.sign.report import Conclusion
from vnedoc.sign.trust import TrustStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnedoc.exchange.xmlsig import PackageSignatureReport, SignedContent
    from vnedoc.sign.signers.base import Signer
    from vnedoc.testing.pki import TestPKI

SOUND = Policy(revocation=RevocationRule.IGNORE)
PARTS = ("MessageHeader", "Bussiness", "edXMLManifest")


@pytest.fixture(scope="module")
def honest(clerk: Signer) -> bytes:
    return signed(clerk)


@pytest.fixture(scope="module")
def truth(honest: bytes, trust: TrustStore) -> SignedContent:
    report = judged(honest, trust)
    assert report is not None
    return report.raise_for_status()


def judged(content: bytes, trust: TrustStore) -> PackageSignatureReport | None:
    """Return the verdict; nothing if the package was refused as a whole."""
    try:
        package = read_package(content, folder=None)
    except InputError:
        return None
    return verify_package_signature(package, trust=trust, policy=SOUND)


def refused(content: bytes, trust: TrustStore) -> str:
    """Check that a package is refused or its signature not valid; return why."""
    report = judged(content, trust)
    if report is None:
        return "refused"
    assert report.conclusion is not Conclusion.TOTAL_PASSED
    assert report.signed is None
    assert not report.integrity
    return report.errors[0].id


# --- Wrapping --------------------------------------------------------------------------------------


def _swap(tree: Tree, name: str) -> tuple[etree._Element, etree._Element]:
    """Put the evil twin in place of a part; return both."""
    part, evil = tree.part(name), tree.evil(name)
    part.getparent().replace(part, evil)
    return part, evil


def xsw1(tree: Tree, name: str) -> None:
    """The evil twin has a new id; the true part moves into the signature."""
    part, evil = _swap(tree, name)
    evil.set("Id", "evil")
    tree.signature.append(part)


def xsw2(tree: Tree, name: str) -> None:
    """The evil twin has a new id; the true part stands before the signature."""
    part, evil = _swap(tree, name)
    evil.set("Id", "evil")
    tree.signature.addprevious(part)


def xsw3(tree: Tree, name: str) -> None:
    """The evil twin stands before the true part."""
    evil = tree.evil(name)
    evil.set("Id", "evil")
    tree.part(name).addprevious(evil)


def xsw4(tree: Tree, name: str) -> None:
    """The true part is a child of the evil twin."""
    part, evil = _swap(tree, name)
    evil.set("Id", "evil")
    evil.append(part)


def xsw5(tree: Tree, name: str) -> None:
    """The evil twin keeps the id; the true part, without its signature, stands at the end of the file."""
    part, _ = _swap(tree, name)
    tree.root.append(part)


def xsw6(tree: Tree, name: str) -> None:
    """The evil twin keeps the id; the true part moves into the signature."""
    part, _ = _swap(tree, name)
    tree.signature.append(part)


def xsw7(tree: Tree, name: str) -> None:
    """The true part hides in an element that nobody knows, before the evil twin."""
    part, evil = _swap(tree, name)
    hiding = etree.Element(f"{E}Extensions")
    evil.addprevious(hiding)
    hiding.append(part)


def xsw8(tree: Tree, name: str) -> None:
    """The true part is an object of the signature, under an id of its own."""
    part, evil = _swap(tree, name)
    evil.set("Id", "evil")
    etree.SubElement(tree.signature, f"{DS}Object").append(part)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("attack", [xsw1, xsw2, xsw3, xsw4, xsw5, xsw6, xsw7, xsw8], ids=lambda f: f.__name__)
def test_wrapping(honest: bytes, trust: TrustStore, attack: Callable[[Tree, str], object], part: str) -> None:
    content = changed(honest, lambda tree: attack(tree, part))
    assert b"EVIL TEST" in content or part == "Bussiness"
    assert refused(content, trust) in {
        "refused",
        "xmlsig.wrong-place",
        "xmlsig.duplicate-id",
        "xmlsig.other-references",
        "xmlsig.unexpected-object",
        "xmlsig.hash-failure",
    }


def _evil_before(tree: Tree, spelling: str, namespace: str) -> None:
    evil = tree.evil("MessageHeader")
    del evil.attrib["Id"]
    evil.tag = f"{{{namespace}}}{spelling}" if namespace else spelling
    tree.part("MessageHeader").addprevious(evil)


def _second_envelope(tree: Tree) -> None:
    evil = copy.deepcopy(tree.envelope)
    evil.find(f"{E}edXMLHeader").remove(evil.find(f".//{DS}Signature"))
    for element in evil.iter():
        element.attrib.pop("Id", None)
    tree.envelope.addprevious(evil)


def _wrapped_root(tree: Tree) -> None:
    """Everything moves one level down, into an envelope of the same name."""
    outer = etree.Element(f"{E}edXMLEnvelope")
    tree.root.replace(tree.envelope, outer)
    outer.append(tree.envelope)


def _status_beside(tree: Tree) -> None:
    status = etree.Element(f"{E}Status")
    etree.SubElement(status, f"{E}StatusCode").text = "06"
    tree.part("MessageHeader").addprevious(status)


def _business_spelt_right(tree: Tree) -> None:
    """A second reason under the other spelling that readers know."""
    evil = tree.evil("Bussiness")
    del evil.attrib["Id"]
    evil.tag = f"{E}Business"
    tree.part("Bussiness").addprevious(evil)


def _second_list(tree: Tree) -> None:
    evil = copy.deepcopy(tree.part("TraceHeaderList"))
    evil.find(f"{E}Bussiness").find(f"{E}BussinessDocType").text = "1"
    for element in evil.iter():
        element.attrib.pop("Id", None)
        element.attrib.pop("id", None)
    tree.part("TraceHeaderList").addprevious(evil)


@pytest.mark.parametrize(
    "attack",
    [
        lambda tree: _evil_before(tree, "messageheader", edxml.NAMESPACE),
        lambda tree: _evil_before(tree, "MESSAGEHEADER", "urn:test"),
        lambda tree: _evil_before(tree, "MessageHeader", ""),
        _second_envelope,
        _wrapped_root,
        _status_beside,
        _business_spelt_right,
        _second_list,
        lambda tree: tree.envelope.append(tree.signature),
        lambda tree: tree.root.append(tree.signature),
        lambda tree: tree.part("MessageHeader").append(tree.signature),
        lambda tree: tree.header.append(copy.deepcopy(tree.signature)),
        lambda tree: tree.header.remove(tree.part("TraceHeaderList")),
    ],
)
def test_parts_that_are_there_twice_or_elsewhere(
    honest: bytes, trust: TrustStore, attack: Callable[[Tree], object]
) -> None:
    refused(changed(honest, attack), trust)


@pytest.mark.parametrize(
    "name", ["Id", "ID", "id", "{http://www.w3.org/XML/1998/namespace}id", "{urn:test}Id"]
)
@pytest.mark.parametrize("target", ["vnedoc-header", "vnedoc-attachments", "vnedoc-properties"])
def test_an_id_that_is_there_twice(honest: bytes, trust: TrustStore, name: str, target: str) -> None:
    def attack(tree: Tree) -> None:
        etree.SubElement(tree.part("TraceHeaderList"), f"{E}TraceHeader").set(name, target)

    assert refused(changed(honest, attack), trust) == "xmlsig.duplicate-id"


# --- The signature itself --------------------------------------------------------------------------


def _in_signature(path: str, **attributes: str) -> Callable[[Tree], object]:
    def attack(tree: Tree) -> None:
        found = tree.signature.find("/".join(f"{DS}{step}" for step in path.split("/")))
        found.attrib.update(attributes)

    return attack


def _text(path: str, change: Callable[[str], str]) -> Callable[[Tree], object]:
    def attack(tree: Tree) -> None:
        found = tree.signature.find("/".join(f"{DS}{step}" for step in path.split("/")))
        found.text = change(found.text)

    return attack


def _other_byte(text: str) -> str:
    raw = bytearray(base64.b64decode(text))
    raw[len(raw) // 2] ^= 1
    return base64.b64encode(raw).decode()


def _with_version(text: str, version: int) -> str:
    """Return a certificate of a version that does not exist."""
    return base64.b64encode(
        base64.b64decode(text).replace(b"\xa0\x03\x02\x01\x02", bytes([160, 3, 2, 1, version]), 1)
    ).decode()


def _drop_reference(number: int) -> Callable[[Tree], object]:
    def attack(tree: Tree) -> None:
        info = tree.signature.find(f"{DS}SignedInfo")
        info.remove(info.findall(f"{DS}Reference")[number])

    return attack


def _twice(tree: Tree) -> None:
    info = tree.signature.find(f"{DS}SignedInfo")
    again = copy.deepcopy(info.find(f"{DS}Reference"))
    del again.attrib["Id"]
    info.append(again)


def _many(tree: Tree) -> None:
    info = tree.signature.find(f"{DS}SignedInfo")
    first = copy.deepcopy(info.find(f"{DS}Reference"))
    del first.attrib["Id"]
    for _ in range(2000):
        info.append(copy.deepcopy(first))


def _transform(algorithm: str) -> Callable[[Tree], object]:
    def attack(tree: Tree) -> None:
        transforms = tree.signature.find(f"{DS}SignedInfo/{DS}Reference/{DS}Transforms")
        transform = etree.SubElement(transforms, f"{DS}Transform", Algorithm=algorithm)
        etree.SubElement(transform, f"{DS}XPath").text = "self::nothing"

    return attack


def _key_value(tree: Tree) -> None:
    value = etree.SubElement(tree.signature.find(f"{DS}KeyInfo"), f"{DS}KeyValue")
    key = etree.SubElement(value, f"{DS}RSAKeyValue")
    etree.SubElement(key, f"{DS}Modulus").text = "AQAB"
    etree.SubElement(key, f"{DS}Exponent").text = "AQAB"


def _object(tree: Tree) -> None:
    etree.SubElement(etree.SubElement(tree.signature, f"{DS}Object"), f"{E}MessageHeader")


XMLENC = "http://www.w3.org/2001/04/xmlenc#"
XMLDSIG = "http://www.w3.org/2000/09/xmldsig#"


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        (_text("SignatureValue", _other_byte), "xmlsig.signature-failure"),
        (_text("SignatureValue", lambda _: ""), "xmlsig.dummy-values"),
        (_text("SignatureValue", lambda _: "AAAA"), "xmlsig.signature-failure"),
        (_text("SignatureValue", lambda _: "không phải"), "xmlsig.dummy-values"),
        (_text("SignedInfo/Reference/DigestValue", _other_byte), "xmlsig.signature-failure"),
        (_text("KeyInfo/X509Data/X509Certificate", lambda _: "AAAA"), "xmlsig.dummy-values"),
        (
            _text("KeyInfo/X509Data/X509Certificate", lambda text: _with_version(text, 34)),
            "xmlsig.dummy-values",
        ),
        (_text("Object/Manifest/Reference/DigestValue", _other_byte), "xmlsig.hash-failure"),
        (
            _in_signature("SignedInfo/SignatureMethod", Algorithm=f"{XMLDSIG}hmac-sha1"),
            "xmlsig.weak-algorithm",
        ),
        (
            _in_signature("SignedInfo/SignatureMethod", Algorithm=f"{XMLDSIG}rsa-sha1"),
            "xmlsig.weak-algorithm",
        ),
        (_in_signature("SignedInfo/SignatureMethod", Algorithm="TEST"), "xmlsig.weak-algorithm"),
        (
            _in_signature("SignedInfo/Reference/DigestMethod", Algorithm=f"{XMLDSIG}sha1"),
            "xmlsig.weak-algorithm",
        ),
        (
            _in_signature("SignedInfo/Reference/DigestMethod", Algorithm=f"{XMLENC}sha512"),
            "xmlsig.signature-failure",
        ),
        (
            _in_signature(
                "SignedInfo/CanonicalizationMethod", Algorithm="http://www.w3.org/2006/12/xml-c14n11"
            ),
            "xmlsig.unexpected-transform",
        ),
        (_in_signature("SignedInfo/Reference", URI=""), "xmlsig.other-references"),
        (_in_signature("SignedInfo/Reference", URI="#vnedoc-business"), "xmlsig.foreign"),
        (_in_signature("SignedInfo/Reference", URI="http://127.0.0.1:9/TEST"), "xmlsig.foreign"),
        (_in_signature("SignedInfo/Reference", URI="#xpointer(id('vnedoc-header'))"), "xmlsig.foreign"),
        (_drop_reference(0), "xmlsig.foreign"),
        (_drop_reference(1), "xmlsig.other-references"),
        (_drop_reference(3), "xmlsig.other-references"),
        (_drop_reference(4), "xmlsig.other-references"),
        (_twice, "xmlsig.other-references"),
        (_many, "xmlsig.other-references"),
        (_transform("http://www.w3.org/TR/1999/REC-xpath-19991116"), "xmlsig.unexpected-transform"),
        (_transform("http://www.w3.org/TR/1999/REC-xslt-19991116"), "xmlsig.unexpected-transform"),
        (_transform(f"{XMLDSIG}enveloped-signature"), "xmlsig.unexpected-transform"),
        (_transform(f"{XMLDSIG}base64"), "xmlsig.unexpected-transform"),
        (_key_value, "xmlsig.ambiguous-key"),
        (_object, "xmlsig.unexpected-object"),
        (lambda tree: tree.signature.remove(tree.signature.find(f"{DS}KeyInfo")), "xmlsig.dummy-values"),
        (
            lambda tree: tree.signature.remove(tree.signature.findall(f"{DS}Object")[1]),
            "xmlsig.no-properties",
        ),
        (
            lambda tree: tree.signature.remove(tree.signature.findall(f"{DS}Object")[0]),
            "xmlsig.other-references",
        ),
        (lambda tree: tree.signature.set("Id", "other"), "xmlsig.unexpected-object"),
    ],
)
def test_the_signature_is_tampered_with(
    honest: bytes, trust: TrustStore, attack: Callable[[Tree], object], reason: str
) -> None:
    content = changed(honest, attack)
    found = refused(content, trust)
    if reason == "xmlsig.foreign":
        # Without its reference to the header it is no signature over a package any more, whatever it is.
        reason = "xmlsig.other-references"
    if reason == "xmlsig.other-references":
        assert found in {"xmlsig.foreign", "xmlsig.other-references"}
    else:
        assert found == reason


def test_another_certificate_with_the_signature(
    pki: TestPKI, honest: bytes, trust: TrustStore, leader: Signer
) -> None:
    other = base64.b64encode(leader.certificate.public_bytes(Encoding.DER)).decode()
    attack = _text("KeyInfo/X509Data/X509Certificate", lambda _: other)
    assert refused(changed(honest, attack), trust) == "xmlsig.other-certificate"


def test_the_signature_of_another_package(clerk: Signer, honest: bytes, trust: TrustStore) -> None:
    other = Tree(signed(clerk, edxml.document(subject="Việc khác TEST")))

    def attack(tree: Tree) -> None:
        tree.header.replace(tree.signature, other.signature)

    assert refused(changed(honest, attack), trust) == "xmlsig.hash-failure"


# --- The attachments -------------------------------------------------------------------------------


def _attachment(tree: Tree, number: int) -> etree._Element:
    return tree.root.findall(f"{E}AttachmentEncoded/{E}Attachment")[number]


def _content(tree: Tree, number: int) -> etree._Element:
    return _attachment(tree, number).find(f"{E}ContentTransferEncoded")


def _swap_contents(tree: Tree) -> None:
    first, second = _content(tree, 0), _content(tree, 1)
    first.text, second.text = second.text, first.text


def _swap_ids(tree: Tree) -> None:
    first, second = (_attachment(tree, number).find(f"{E}ContentId") for number in (0, 1))
    first.text, second.text = second.text, first.text


def _one_more(tree: Tree) -> None:
    extra = copy.deepcopy(_attachment(tree, 0))
    extra.find(f"{E}ContentId").text = "cid:extra"
    _attachment(tree, 0).addprevious(extra)


def _one_more_elsewhere(tree: Tree) -> None:
    extra = copy.deepcopy(_attachment(tree, 0))
    extra.find(f"{E}ContentId").text = "cid:extra"
    tree.envelope.append(extra)


def _set(number: int, name: str, text: str) -> Callable[[Tree], object]:
    def attack(tree: Tree) -> None:
        _attachment(tree, number).find(f"{E}{name}").text = text

    return attack


def _evil_content(tree: Tree) -> None:
    _content(tree, 0).text = base64.b64encode(b"%PDF-1.7 EVIL TEST").decode()


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        (_evil_content, "xmlsig.attachment-changed"),
        (_swap_contents, "xmlsig.attachment-changed"),
        (_swap_ids, "xmlsig.attachment-changed"),
        (_one_more, "xmlsig.attachment-unsigned"),
        (_one_more_elsewhere, "xmlsig.attachment-unsigned"),
        (
            lambda tree: _attachment(tree, 0).addnext(copy.deepcopy(_attachment(tree, 0))),
            "xmlsig.attachment-unsigned",
        ),
        (
            lambda tree: _attachment(tree, 0).getparent().remove(_attachment(tree, 1)),
            "xmlsig.attachment-missing",
        ),
        (lambda tree: tree.root.remove(tree.root.find(f"{E}AttachmentEncoded")), "xmlsig.attachment-missing"),
        (_set(0, "AttachmentName", "van-ban.exe"), "xmlsig.attachment-renamed"),
        (_set(0, "Description", "Văn bản khác TEST"), "xmlsig.attachment-renamed"),
        (_set(0, "ContentId", "cid:other"), "xmlsig.attachment-unsigned"),
        (_set(0, "ContentId", ""), "xmlsig.attachment-unsigned"),
    ],
)
def test_attachments_are_tampered_with(
    honest: bytes, trust: TrustStore, attack: Callable[[Tree], object], reason: str
) -> None:
    assert refused(changed(honest, attack), trust) == reason


def test_the_order_and_the_form_of_attachments_do_not_matter(honest: bytes, trust: TrustStore) -> None:
    def travel(tree: Tree) -> None:
        encoded = tree.root.find(f"{E}AttachmentEncoded")
        encoded.append(_attachment(tree, 0))
        content = _content(tree, 1)
        content.text = "\n".join(
            content.text[start : start + 76] for start in range(0, len(content.text), 76)
        )

    report = judged(changed(honest, travel), trust)
    assert report is not None
    assert report.conclusion is Conclusion.TOTAL_PASSED


def test_an_archive_of_ones_own_keeps_its_signature(clerk: Signer, trust: TrustStore) -> None:
    # The reader takes it for a wrapper; what was signed is what travelled.
    files = [Attachment("so-lieu.bin", edxml.zipped("a.txt", b"TEST"))]
    report = judged(signed(clerk, edxml.document(), files, dialect=NET), trust)
    assert report is not None
    assert report.conclusion is Conclusion.TOTAL_PASSED


# --- Blindly ---------------------------------------------------------------------------------------


def test_comments_do_not_change_what_is_read(honest: bytes, trust: TrustStore, truth: SignedContent) -> None:
    content = honest.replace(b"STEST-VP<", b"STEST<!-- TEST -->-VP<", 1)
    report = judged(content, trust)
    assert report is not None
    assert report.raise_for_status().header == truth.header


def test_an_instruction_inside_is_a_change(honest: bytes, trust: TrustStore) -> None:
    assert refused(honest.replace(b"STEST-VP<", b"STEST<?x y?>-VP<", 1), trust) == "xmlsig.hash-failure"


def test_any_byte(honest: bytes, trust: TrustStore, truth: SignedContent) -> None:
    """Change one byte after the other at random: what passes still says what was signed."""
    generator = random.Random(5)
    end = honest.index(b"<AttachmentEncoded>")
    passed = 0
    for _ in range(400):
        content = bytearray(honest)
        content[generator.randrange(end)] = generator.choice(b"<>&\"'/ =aZ09#\x00\xff\n")
        report = judged(bytes(content), trust)
        if report is not None and report.conclusion is Conclusion.TOTAL_PASSED:
            passed += 1
            assert report.raise_for_status().header == truth.header
    # White space outside of what is signed, and the stations, may well change.
    assert passed < 100


@pytest.mark.parametrize("count", [100, 20_000])
def test_many_prefixes_cost_nothing(honest: bytes, trust: TrustStore, count: int) -> None:
    # Canonical form takes the square of them.
    prefixes = " ".join(f'xmlns:a{number}="urn:{number}"' for number in range(count))
    content = honest.replace(b"<edXML xmlns", f"<edXML {prefixes} xmlns".encode(), 1)
    assert refused(content, trust) == "xmlsig.unreadable"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_another_encoding_is_the_same_package(
    honest: bytes, trust: TrustStore, truth: SignedContent, encoding: str
) -> None:
    # What is digested is UTF-8 whatever the file is (Canonical XML 1.0, 1.1).
    text = honest.decode().replace('encoding="UTF-8"', f'encoding="{encoding}"', 1)
    report = judged(text.encode(encoding), trust)
    assert report is not None
    assert report.raise_for_status().header == truth.header
    changed = text.replace("STEST-VP<", "STEST-UB<", 1)
    assert changed != text
    assert refused(changed.encode(encoding), trust) == "xmlsig.hash-failure"


def test_an_encoding_that_reads_differently_is_a_change(honest: bytes, trust: TrustStore) -> None:
    content = honest.replace(b'encoding="UTF-8"', b'encoding="iso-8859-1"', 1)
    assert refused(content, trust) == "xmlsig.hash-failure"


def test_what_stands_beside_a_content_is_not_signed(
    honest: bytes, trust: TrustStore, truth: SignedContent
) -> None:
    content = honest.replace(b"<AttachmentName>", b"<Mark>TEST</Mark><AttachmentName>")
    package = read_package(content, folder=None)
    assert all(item.unknown for item in package.attachments)
    report = judged(content, trust)
    assert report is not None
    signed = report.raise_for_status()
    assert signed == truth
    assert not any(item.unknown for item in signed.attachments)
