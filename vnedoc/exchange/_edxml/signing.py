"""Builds the signature over a package: XMLDSig with the properties of XAdES-B-B (ETSI EN 319 132-1).

Covered are the header (``MessageHeader`` or ``Status``), why the document is sent (``Bussiness``), the list of
attachments (``edXMLManifest``), and a manifest with the SHA-256 of every attachment as it travels. Not covered is
what an axis must be able to change: the stations of ``TraceHeaderList``, ``ErrorList``, and how the attachments are
encoded. The signature is written in the form of the file around it, so that an axis that indents the file anew by
the same two spaces leaves it whole.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import html
from typing import TYPE_CHECKING
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from vnedoc._internal.xml import parse_bytes
from vnedoc.errors import PackageError
from vnedoc.exchange._edxml import names
from vnedoc.sign.certificates import check_can_sign
from vnedoc.sign.models import SignatureMechanism
from vnedoc.sign.trust import is_self_signed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    from vnedoc.sign.signers.base import Signer

    Child: TypeAlias = "tuple[str, Mapping[str, str], str | Sequence[Child]]"

__all__ = [
    "BUSINESS_ID",
    "EXCLUSIVE_C14N",
    "HEADER_ID",
    "MANIFEST_ID",
    "MANIFEST_TYPE",
    "PROPERTIES_TYPE",
    "SHA256",
    "XADES",
    "Payload",
    "SigningKey",
    "build_signature",
    "canonical",
    "cid_uri",
    "elements_by_id",
]

HEADER_ID = "vnedoc-header"
BUSINESS_ID = "vnedoc-business"
MANIFEST_ID = "vnedoc-manifest"
ATTACHMENTS_ID = "vnedoc-attachments"
PROPERTIES_ID = "vnedoc-properties"
SIGNATURE_ID = "vnedoc-signature"

XADES = "http://uri.etsi.org/01903/v1.3.2#"
EXCLUSIVE_C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
MANIFEST_TYPE = "http://www.w3.org/2000/09/xmldsig#Manifest"
PROPERTIES_TYPE = "http://uri.etsi.org/01903#SignedProperties"
_METHODS = {
    SignatureMechanism.RSA_PKCS1_V15: "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
    SignatureMechanism.RSA_PSS: "http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1",
    SignatureMechanism.ECDSA: "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
}
# How deep the signature stands in the file.
_DEPTH = 3


@dataclasses.dataclass(frozen=True, slots=True)
class SigningKey:
    """What a package is signed with."""

    signer: Signer
    """The key and its certificate."""
    signing_time: datetime.datetime
    """The time that the signature claims; aware."""


@dataclasses.dataclass(frozen=True, slots=True)
class Payload:
    """One attachment as it travels."""

    content_id: str
    """Its id, without ``cid:``."""
    sha256: str
    """SHA-256 of what travels, in hexadecimal."""


def build_signature(render: Callable[[str], bytes], payloads: Sequence[Payload], key: SigningKey) -> str:
    """Return the signature over a package as a piece of the file.

    Args:
        render: Returns the package without attachments, with a signature at its place.
        payloads: The attachments.
        key: What it is signed with.

    Raises:
        PackageError: An id that the signature needs is used in the package already.
        CredentialError: The certificate may not sign, or the key cannot.
    """
    check_can_sign(key.signer.certificate, key.signing_time)
    ids = _ids(parse_bytes(render("")))
    targets = [name for name in (HEADER_ID, BUSINESS_ID, MANIFEST_ID) if name in ids]
    targets += [ATTACHMENTS_ID, PROPERTIES_ID] if payloads else [PROPERTIES_ID]
    empty = dict.fromkeys(targets, b"")
    ids = _ids(parse_bytes(render(_signature(empty, "", payloads, key, targets=targets))))
    digests = {name: hashlib.sha256(canonical(ids[name])).digest() for name in targets}
    signed = parse_bytes(render(_signature(digests, "", payloads, key, targets=targets)))
    info = signed.find(f".//{{{names.XMLDSIG}}}SignedInfo")
    assert info is not None
    value = key.signer.sign(canonical(info), digest_algorithm="sha256")
    if key.signer.mechanism is SignatureMechanism.ECDSA:
        value = _plain_ecdsa(value, key.signer)
    return _signature(digests, _base64(value), payloads, key, targets=targets)


def canonical(element: etree._Element) -> bytes:
    """Return an element in exclusive canonical form (https://www.w3.org/TR/xml-exc-c14n/)."""
    return etree.tostring(element, method="c14n", exclusive=True, with_comments=False)


def cid_uri(content_id: str) -> str:
    """Return the URI of an attachment (RFC 2392)."""
    return "cid:" + quote(content_id, safe="-._~@!$'()*+,;=:")


def elements_by_id(root: etree._Element, *, twice: Callable[[str], Exception]) -> dict[str, etree._Element]:
    """Return the elements that have an id, by it.

    Args:
        root: The element that all of them are in.
        twice: Makes the error for an id that two elements have: a signature over it could mean either.
    """
    found: dict[str, etree._Element] = {}
    for element in root.iter(etree.Element):
        for name, value in element.attrib.items():
            if etree.QName(name).localname.lower() != "id":
                continue
            if str(value) in found:
                raise twice(str(value)[:80])
            found[str(value)] = element
    return found


def _ids(root: etree._Element) -> dict[str, etree._Element]:
    return elements_by_id(root, twice=lambda name: PackageError("xmlsig.id-taken", name=name))


def _plain_ecdsa(value: bytes, signer: Signer) -> bytes:
    # XMLDSig wants the two numbers side by side, not as ASN.1 (RFC 4050; XML Signature 1.1, 6.4.3).
    key = signer.certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    width = (key.key_size + 7) // 8
    first, second = utils.decode_dss_signature(value)
    return first.to_bytes(width, "big") + second.to_bytes(width, "big")


def _signature(
    digests: Mapping[str, bytes],
    value: str,
    payloads: Sequence[Payload],
    key: SigningKey,
    *,
    targets: Sequence[str],
) -> str:
    references: list[Child] = [_reference(name, digests[name]) for name in targets]
    info: list[Child] = [
        ("CanonicalizationMethod", {"Algorithm": EXCLUSIVE_C14N}, ""),
        ("SignatureMethod", {"Algorithm": _METHODS[key.signer.mechanism]}, ""),
        *references,
    ]
    certificates: list[Child] = [
        ("X509Certificate", {}, _base64(certificate.public_bytes(Encoding.DER)))
        for certificate in key.signer.certificate_chain
        if certificate == key.signer.certificate or not is_self_signed(certificate)
    ]
    parts: list[Child] = [
        ("SignedInfo", {}, info),
        ("SignatureValue", {}, value),
        ("KeyInfo", {}, [("X509Data", {}, certificates)]),
    ]
    if payloads:
        listed: list[Child] = [
            ("Reference", {"URI": cid_uri(item.content_id)}, _digest(bytes.fromhex(item.sha256)))
            for item in payloads
        ]
        parts.append(("Object", {}, [("Manifest", {"Id": ATTACHMENTS_ID}, listed)]))
    parts.append(("Object", {}, [_properties(key, targets)]))
    return _rendered(("Signature", {"xmlns": names.XMLDSIG, "Id": SIGNATURE_ID}, parts), _DEPTH)


def _reference(target: str, digest: bytes) -> Child:
    attributes = {"Id": _reference_id(target)}
    if target in {ATTACHMENTS_ID, PROPERTIES_ID}:
        attributes["Type"] = MANIFEST_TYPE if target == ATTACHMENTS_ID else PROPERTIES_TYPE
    attributes["URI"] = f"#{target}"
    transform: Child = ("Transforms", {}, [("Transform", {"Algorithm": EXCLUSIVE_C14N}, "")])
    return ("Reference", attributes, [transform, *_digest(digest)])


def _reference_id(target: str) -> str:
    return f"{target}-reference"


def _digest(digest: bytes) -> list[Child]:
    return [("DigestMethod", {"Algorithm": SHA256}, ""), ("DigestValue", {}, _base64(digest))]


def _properties(key: SigningKey, targets: Sequence[str]) -> Child:
    moment = key.signing_time.astimezone(datetime.UTC)
    digest = hashlib.sha256(key.signer.certificate.public_bytes(Encoding.DER)).digest()
    certificate: Child = ("xades:Cert", {}, [("xades:CertDigest", {}, _digest(digest))])
    about: list[Child] = [
        ("xades:SigningTime", {}, f"{moment:%Y-%m-%dT%H:%M:%SZ}"),
        ("xades:SigningCertificateV2", {}, [certificate]),
    ]
    # EN 319 132-1, 6.3: the media type of everything that is signed, the properties themselves apart.
    formats: list[Child] = [
        (
            "xades:DataObjectFormat",
            {"ObjectReference": f"#{_reference_id(name)}"},
            [("xades:MimeType", {}, "text/xml")],
        )
        for name in targets
        if name != PROPERTIES_ID
    ]
    signed: list[Child] = [("xades:SignedSignatureProperties", {}, about)]
    if formats:
        signed.append(("xades:SignedDataObjectProperties", {}, formats))
    properties: Child = ("xades:SignedProperties", {"Id": PROPERTIES_ID}, signed)
    return ("xades:QualifyingProperties", {"xmlns:xades": XADES, "Target": f"#{SIGNATURE_ID}"}, [properties])


def _rendered(node: Child, depth: int) -> str:
    name, attributes, content = node
    space = "  " * depth
    written = "".join(f' {key}="{html.escape(value)}"' for key, value in attributes.items())
    if isinstance(content, str):
        text = html.escape(content)
        return f"{space}<{name}{written}>{text}</{name}>\r\n" if text else f"{space}<{name}{written} />\r\n"
    inner = "".join(_rendered(child, depth + 1) for child in content)
    return f"{space}<{name}{written}>\r\n{inner}{space}</{name}>\r\n"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
