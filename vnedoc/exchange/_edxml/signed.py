"""Finds out what a signature over a package covers, checks its cryptography, and gives back only what was covered.

Everything is found by its absolute place, never by searching: signature wrapping lives from readers that look for an
id, or for the first element of a name. The references must cover exactly the parts that a package of its kind has.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import datetime
import enum
import hashlib
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from vnedoc._internal.xml import XMLRefusedError, parse_bytes, parser
from vnedoc.errors import PackageError
from vnedoc.exchange._edxml import names
from vnedoc.exchange._edxml.signing import EXCLUSIVE_C14N, XADES, canonical, elements_by_id
from vnedoc.exchange._edxml.tree import Node, Warnings
from vnedoc.exchange._edxml.understanding import Reference, understand

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vnedoc.exchange.models import DocumentHeader, StatusHeader

__all__ = ["Broken", "Covered", "Shape", "SignatureForm", "check", "examine"]

MAX_CERTIFICATES = 20
_DS = f"{{{names.XMLDSIG}}}"
_XADES = f"{{{XADES}}}"
_EDXML = f"{{{names.NAMESPACE}}}"
_DIGESTS = {
    "http://www.w3.org/2001/04/xmlenc#sha256": "sha256",
    "http://www.w3.org/2001/04/xmldsig-more#sha384": "sha384",
    "http://www.w3.org/2001/04/xmlenc#sha512": "sha512",
}
_MORE = "http://www.w3.org/2001/04/xmldsig-more#"
_PSS = "http://www.w3.org/2007/05/xmldsig-more#"
_METHODS = frozenset(
    uri
    for bits in (256, 384, 512)
    for uri in (f"{_MORE}rsa-sha{bits}", f"{_MORE}ecdsa-sha{bits}", f"{_PSS}sha{bits}-rsa-MGF1")
)


class SignatureForm(enum.StrEnum):
    """What stands where a signature would stand."""

    NONE = "none"
    """Nothing, or an empty element as some kits write it."""
    DECORATIVE = "decorative"
    """Something that only looks like a signature: outside of XMLDSig's namespace, or with dummy values."""
    FOREIGN = "foreign"
    """An XMLDSig signature over something else than the parts of a package."""
    PACKAGE = "package"
    """A signature over the header and the digests of the attachments."""


class Broken(Exception):  # noqa: N818 - carries a finding to the next module and goes no further
    """The signature is not what it would have to be.

    Args:
        message_id: The id of the message that says why.
        sub_indication: The sub-indication of EN 319 102-1.
        values: What the message names.
    """

    def __init__(self, message_id: str, sub_indication: str = "FORMAT_FAILURE", **values: object) -> None:
        super().__init__(message_id)
        self.message_id = message_id
        self.sub_indication = sub_indication
        self.values = values


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """What was found, before anything is verified."""

    form: SignatureForm
    """What it is."""
    root: etree._Element
    """The package without the content of its attachments."""
    signature: etree._Element | None = None
    """The only signature."""
    certificates: tuple[x509.Certificate, ...] = ()
    """The certificates that came along, that of the signer first."""
    reason: str = ""
    """For a decoration: the id of the message that says what is wrong with it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Covered:
    """What a signature covers, taken from the bytes that were digested."""

    header: DocumentHeader | StatusHeader
    """The header, without the stations on its way."""
    references: tuple[Reference, ...]
    """The list of attachments."""
    digests: dict[str, tuple[str, str]]
    """URI of each attachment to the name of a digest algorithm and the digest in hexadecimal."""
    signing_time: datetime.datetime | None
    """The time that the signer claims."""
    signature_algorithm: str
    """The URI of the algorithm."""


def examine(skeleton: bytes) -> Shape:
    """Tell what kind of signature a package has.

    Raises:
        Broken: The package is ambiguous.
    """
    try:
        root = parse_bytes(skeleton)
    except XMLRefusedError as exc:
        raise Broken("xmlsig.unreadable", "GENERIC") from exc
    named = [
        element
        for element in root.iter(etree.Element)
        if _local(element) in {"signature", "digitalsignature"}
    ]
    real = [element for element in named if element.tag == f"{_DS}Signature"]
    if len(real) > 1:
        raise Broken("xmlsig.two-signatures", count=len(real))
    if not real:
        filled = any(len(element) or (element.text or "").strip() for element in named)
        form = SignatureForm.DECORATIVE if filled else SignatureForm.NONE
        return Shape(form, root, reason="xmlsig.wrong-namespace" if filled else "xmlsig.none")
    signature = real[0]
    value = signature.findtext(f"{_DS}SignatureValue")
    certificates = _certificates(signature)
    if not certificates or not _decoded(value):
        return Shape(SignatureForm.DECORATIVE, root, signature, reason="xmlsig.dummy-values")
    uris = [reference.get("URI") or "" for reference in signature.iterfind(f"{_DS}SignedInfo/{_DS}Reference")]
    ids = {element.get("Id") for element in root.iter(f"{_EDXML}MessageHeader", f"{_EDXML}Status")} - {None}
    form = SignatureForm.PACKAGE if any(uri[1:] in ids for uri in uris) else SignatureForm.FOREIGN
    return Shape(form, root, signature, certificates)


def check(shape: Shape) -> Covered:
    """Check places, references and cryptography; return what was covered.

    Raises:
        Broken: Something does not hold.
    """
    root, signature = shape.root, shape.signature
    assert signature is not None
    parts = _parts(root, signature)
    ids = elements_by_id(root, twice=lambda name: Broken("xmlsig.duplicate-id", name=name))
    _check_references(signature, parts, ids)
    properties = parts["properties"]
    _check_certificate(properties, shape.certificates[0])
    covered = _verified(root, signature, shape.certificates[0], parts)
    header, references = _understood(covered)
    return Covered(
        header=header,
        references=references,
        digests=_manifest(parse_bytes(covered["attachments"])) if "attachments" in covered else {},
        signing_time=_signing_time(parse_bytes(covered["properties"])),
        signature_algorithm=_method(signature),
    )


def _parts(root: etree._Element, signature: etree._Element) -> dict[str, etree._Element]:
    """Return the elements that must be covered, each found by its absolute place."""
    if root.tag != f"{_EDXML}{names.ROOT}":
        raise Broken("xmlsig.wrong-place", element=names.ROOT)
    envelope = _sole(root, names.ENVELOPE)
    header = _sole(envelope, names.HEADER)
    if signature.getparent() is not header:
        raise Broken("xmlsig.wrong-place", element="Signature")
    holders = [
        child for child in header.iterchildren(etree.Element) if _local(child) in {"messageheader", "status"}
    ]
    if len(holders) != 1:
        raise Broken("xmlsig.wrong-place", element="MessageHeader")
    holder = _sole(header, "Status" if _local(holders[0]) == "status" else "MessageHeader")
    parts = {"header": holder}
    is_status = _local(holder) == "status" or any(
        _local(child) == "statuscode" for child in holder.iterchildren(etree.Element)
    )
    if not is_status:
        parts["business"] = _sole(_sole(header, "TraceHeaderList"), "Bussiness")
        parts["manifest"] = _sole(_sole(envelope, names.BODY), names.MANIFEST)
    for content in signature.iterchildren(f"{_DS}Object"):
        children = list(content.iterchildren(etree.Element))
        if len(children) != 1:
            raise Broken("xmlsig.unexpected-object")
        if children[0].tag == f"{_DS}Manifest" and "attachments" not in parts:
            parts["attachments"] = children[0]
        elif children[0].tag == f"{_XADES}QualifyingProperties" and "properties" not in parts:
            if children[0].get("Target") != f"#{signature.get('Id')}":
                raise Broken("xmlsig.unexpected-object")
            parts["properties"] = _only(children[0], f"{_XADES}SignedProperties")
        else:
            raise Broken("xmlsig.unexpected-object")
    if "properties" not in parts:
        raise Broken("xmlsig.no-properties")
    return parts


def _sole(parent: etree._Element, name: str) -> etree._Element:
    """Return the only child of a name; another one in any spelling, or in another namespace, is one too many."""
    wanted = _spelling(name.lower())
    same = [child for child in parent.iterchildren(etree.Element) if _spelling(_local(child)) == wanted]
    if len(same) != 1 or same[0].tag != f"{_EDXML}{name}":
        raise Broken("xmlsig.wrong-place", element=name)
    return same[0]


def _only(parent: etree._Element, tag: str) -> etree._Element:
    found = parent.findall(tag)
    if len(found) != 1:
        raise Broken("xmlsig.unexpected-object")
    return found[0]


def _check_references(
    signature: etree._Element, parts: dict[str, etree._Element], ids: dict[str, etree._Element]
) -> None:
    info = _only(signature, f"{_DS}SignedInfo")
    method = _only(info, f"{_DS}CanonicalizationMethod")
    if method.get("Algorithm") != EXCLUSIVE_C14N or len(method):
        raise Broken("xmlsig.unexpected-transform")
    if _method(signature) not in _METHODS:
        raise Broken(
            "xmlsig.weak-algorithm", "CRYPTO_CONSTRAINTS_FAILURE", algorithm=_method(signature)[-80:]
        )
    covered: list[etree._Element] = []
    references = info.findall(f"{_DS}Reference")
    if len(references) != len(parts):
        raise Broken("xmlsig.other-references", expected=len(parts), found=len(references))
    for reference in references:
        transforms = _only(reference, f"{_DS}Transforms")
        if [(child.tag, child.get("Algorithm"), len(child)) for child in transforms] != [
            (f"{_DS}Transform", EXCLUSIVE_C14N, 0)
        ]:
            raise Broken("xmlsig.unexpected-transform")
        _digest_of(reference)
        uri = reference.get("URI") or ""
        target = ids.get(uri[1:]) if uri.startswith("#") else None
        # The reference must hit the element by the one attribute that every verifier calls an id.
        if target is None or target.get("Id") != uri[1:]:
            raise Broken("xmlsig.other-references", expected=len(parts), found=len(covered))
        covered.append(target)
    if {id(target) for target in covered} != {id(part) for part in parts.values()}:
        raise Broken("xmlsig.other-references", expected=len(parts), found=len(covered))


def _check_certificate(properties: etree._Element, certificate: x509.Certificate) -> None:
    """The signer must have said which certificate is meant (EN 319 132-1, 5.2.2)."""
    digest = properties.find(
        f"{_XADES}SignedSignatureProperties/{_XADES}SigningCertificateV2/{_XADES}Cert/{_XADES}CertDigest"
    )
    if digest is None:
        raise Broken("xmlsig.no-certificate-reference")
    algorithm, value = _digest_of(digest)
    if hashlib.new(algorithm, certificate.public_bytes(Encoding.DER)).digest() != value:
        raise Broken("xmlsig.other-certificate")


def _verified(
    root: etree._Element,
    signature: etree._Element,
    certificate: x509.Certificate,
    parts: dict[str, etree._Element],
) -> dict[str, bytes]:
    """Verify digests and signature value; return the bytes that were digested, part by part."""
    from cryptography.exceptions import InvalidSignature
    from signxml.algorithms import DigestAlgorithm, SignatureMethod
    from signxml.exceptions import InvalidDigest, SignXMLException
    from signxml.verifier import SignatureConfiguration, XMLVerifier

    if signature.find(f"{_DS}KeyInfo/{_DS}KeyValue") is not None:
        raise Broken("xmlsig.ambiguous-key")
    demands = SignatureConfiguration(
        location=f"./{_EDXML}{names.ENVELOPE}/{_EDXML}{names.HEADER}/",
        expect_references=True,
        signature_methods=frozenset(SignatureMethod(uri) for uri in _METHODS),
        digest_algorithms=frozenset(DigestAlgorithm(uri) for uri in _DIGESTS),
        # Whether the certificate was in its validity is judged with its chain.
        verification_time=certificate.not_valid_before_utc,
    )
    try:
        results = XMLVerifier().verify(
            root, x509_cert=certificate, id_attribute="Id", expect_config=demands, parser=parser()
        )
    except InvalidDigest as exc:
        raise Broken("xmlsig.hash-failure", "HASH_FAILURE") from exc
    except InvalidSignature as exc:
        raise Broken("xmlsig.signature-failure", "SIG_CRYPTO_FAILURE") from exc
    except (SignXMLException, UnsupportedAlgorithm, etree.LxmlError, ValueError, KeyError, TypeError) as exc:
        raise Broken("xmlsig.malformed", reason=type(exc).__name__) from exc
    digested = {result.signed_data for result in (results if isinstance(results, list) else [results])}
    covered = {name: canonical(element) for name, element in parts.items()}
    if digested != set(covered.values()):
        # Another reader resolves a reference differently: then nobody knows what was signed.
        raise Broken("xmlsig.other-references", expected=len(covered), found=len(digested))
    return covered


def _understood(covered: dict[str, bytes]) -> tuple[DocumentHeader | StatusHeader, tuple[Reference, ...]]:
    """Read header and list of attachments again, from nothing but what was covered."""
    header = Node(names.HEADER, names.NAMESPACE, {})
    header.pieces.append(_node(parse_bytes(covered["header"])))
    envelope = Node(names.ENVELOPE, names.NAMESPACE, {}, pieces=[header])
    if "business" in covered:
        stations = Node("TraceHeaderList", names.NAMESPACE, {})
        stations.pieces.append(_node(parse_bytes(covered["business"])))
        header.pieces.append(stations)
        body = Node(names.BODY, names.NAMESPACE, {})
        body.pieces.append(_node(parse_bytes(covered["manifest"])))
        envelope.pieces.append(body)
    root = Node(names.ROOT, names.NAMESPACE, {}, pieces=[envelope])
    try:
        understood = understand(root, Warnings())
    except PackageError as exc:
        raise Broken("xmlsig.malformed", reason=exc.code) from exc
    return understood.header, understood.references


def _node(element: etree._Element) -> Node:
    name = etree.QName(element)
    node = Node(
        name.localname, name.namespace or "", {str(key): str(value) for key, value in element.attrib.items()}
    )
    if element.text:
        node.pieces.append(element.text)
    for child in element:
        if isinstance(child.tag, str):
            node.pieces.append(_node(child))
        if child.tail:
            node.pieces.append(child.tail)
    return node


def _manifest(manifest: etree._Element) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for reference in manifest.iterchildren(etree.Element):
        uri = reference.get("URI") or ""
        # A transform would change what is compared with the digest.
        if (
            reference.tag != f"{_DS}Reference"
            or uri in found
            or reference.find(f"{_DS}Transforms") is not None
        ):
            raise Broken("xmlsig.bad-manifest")
        algorithm, value = _digest_of(reference)
        found[uri] = (algorithm, value.hex())
    return found


def _digest_of(holder: etree._Element) -> tuple[str, bytes]:
    method, value = _only(holder, f"{_DS}DigestMethod"), _only(holder, f"{_DS}DigestValue")
    algorithm = method.get("Algorithm") or ""
    if algorithm not in _DIGESTS:
        raise Broken("xmlsig.weak-algorithm", "CRYPTO_CONSTRAINTS_FAILURE", algorithm=algorithm[-80:])
    return _DIGESTS[algorithm], _decoded(value.text) or b""


def _signing_time(properties: etree._Element) -> datetime.datetime | None:
    text = properties.findtext(f"{_XADES}SignedSignatureProperties/{_XADES}SigningTime") or ""
    try:
        moment = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    # Without a zone it cannot be said which moment is meant.
    return None if moment.tzinfo is None else moment.astimezone(datetime.UTC)


def _method(signature: etree._Element) -> str:
    method = signature.find(f"{_DS}SignedInfo/{_DS}SignatureMethod")
    return "" if method is None else method.get("Algorithm") or ""


def _certificates(signature: etree._Element) -> tuple[x509.Certificate, ...]:
    found: list[x509.Certificate] = []
    texts: Iterable[str | None] = (
        element.text for element in signature.iterfind(f"{_DS}KeyInfo/{_DS}X509Data/{_DS}X509Certificate")
    )
    for text in texts:
        if len(found) >= MAX_CERTIFICATES:
            raise Broken("xmlsig.too-many-certificates", limit=MAX_CERTIFICATES)
        certificate = _certificate(_decoded(text) or b"")
        if certificate is None:
            return ()
        found.append(certificate)
    return tuple(found)


def _certificate(encoded: bytes) -> x509.Certificate | None:
    """Return a certificate all of whose parts can be read; ``None`` for anything else."""
    try:
        certificate = x509.load_der_x509_certificate(encoded)
        # These are parsed when they are first asked for, which would be too late.
        certificate.public_key()
        _ = (certificate.subject, certificate.issuer, certificate.extensions, certificate.not_valid_after_utc)
    except (
        *(ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion),
        *(x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
    ):
        return None
    return certificate


def _decoded(text: str | None) -> bytes | None:
    try:
        return base64.b64decode("".join((text or "").split()), validate=True)
    except (binascii.Error, ValueError):
        return None


def _local(element: etree._Element) -> str:
    return etree.QName(element).localname.lower()


def _spelling(name: str) -> str:
    return name.replace("bussiness", "business")
