"""A mobile signature service (ETSI TS 102 204) that reads requests strictly and signs when the phone says yes."""

from __future__ import annotations

import base64
import http
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asn1crypto import algos
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from vnedoc._internal import xml
from vnedoc.testing._loopback import Answer
from vnedoc.testing.remote_signing._service import DIGESTS, FakeService, sign_digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnedoc.testing._loopback import Request
    from vnedoc.testing.pki import Identity

__all__ = ["FakeMSSService", "MSSServiceOptions"]

_SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_MSS = "http://uri.etsi.org/TS102204/v1.1.2#"
_PATH = "/soap/services/"
_ORDER = (
    "AP_Info",
    "MSSP_Info",
    "MobileUser",
    "DataToBeSigned",
    "DataToBeDisplayed",
    "SignatureProfile",
    "AdditionalServices",
    "MSS_Format",
)


@dataclass(kw_only=True)
class MSSServiceOptions:
    """How a service is set up."""

    application: str = "http://ap.test.example/vnedoc"
    """The id of the application provider."""
    password: str = "mat-khau-ung-dung-TEST"  # noqa: S105 - of a service that does not exist
    """Its password."""
    service: str = "http://mssp.test.example"
    """The id of the service."""
    msisdn: str = "84000000017"
    """The number of the phone."""
    profile: str = "http://mobile-id.vn/digitalSignature"
    """The signature profile."""
    wrapper: str = ""
    """The namespace of the elements around the messages."""
    registered: bool = True
    """Whether the phone has a certificate."""
    pin_blocked: bool = False
    """Whether the PIN of the card is blocked."""
    success: str = "408"
    """The status of success: services differ."""


class _FaultError(Exception):
    def __init__(self, code: str, words: str) -> None:
        super().__init__(code, words)
        self.code = code
        self.words = words


class FakeMSSService(FakeService):
    """A service with one phone.

    Args:
        identity: The key and its certificate.
        options: How it is set up; may be changed while it runs.
        now: The clock, in seconds.
    """

    def __init__(
        self,
        identity: Identity,
        options: MSSServiceOptions | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(identity, now=now)
        self.options = options or MSSServiceOptions()
        """How it is set up."""
        self.shown: list[str] = []
        """What the phone showed."""
        self._used: set[str] = set()

    @property
    def address(self) -> str:
        """The address of its key."""
        options = self.options
        names = f"ap={options.application}&mssp={options.service}&msisdn={options.msisdn}"
        return f"mss+{self.base_url}{_PATH[:-1]}?{names}"

    def _answer(self, path: str, request: Request) -> Answer:
        operation = {
            f"{_PATH}MSS_RegistrationPort": "MSS_Registration",
            f"{_PATH}MSS_SignaturePort": "MSS_Signature",
        }
        name = operation.get(path)
        if name is None:
            return Answer(http.HTTPStatus.NOT_FOUND)
        try:
            message = self._read(request, name)
            answer = self._register() if name == "MSS_Registration" else self._sign(message)
        except _FaultError as fault:
            return _soap(_fault(fault), http.HTTPStatus.INTERNAL_SERVER_ERROR)
        wrapper = etree.Element(self._wrapped(f"{name}Response"))
        wrapper.append(answer)
        return _soap(wrapper, http.HTTPStatus.OK)

    def _wrapped(self, name: str) -> str:
        return f"{{{self.options.wrapper}}}{name}" if self.options.wrapper else name

    def _read(self, request: Request, name: str) -> etree._Element:
        """Check the envelope and the heads, and return the request."""
        options = self.options
        if not request.headers.get("content-type", "").startswith("text/xml"):
            raise _FaultError("101", "WRONG_PARAM: Content-Type")
        try:
            root = xml.parse_bytes(request.body)
        except xml.XMLRefusedError as exc:
            raise _FaultError("101", "WRONG_PARAM: XML") from exc
        message = root.find(f"{{{_SOAP}}}Body/{self._wrapped(name)}/{{{_MSS}}}{name}Req")
        if root.tag != f"{{{_SOAP}}}Envelope" or message is None:
            raise _FaultError("102", f"MISSING_PARAM: {name}Req")
        if (message.get("MajorVersion"), message.get("MinorVersion")) != ("1", "1"):
            raise _FaultError("108", "INCOMPATIBLE_INTERFACE")
        names = [etree.QName(child).localname for child in message]
        if names != [item for item in _ORDER if item in names]:
            raise _FaultError("101", "WRONG_PARAM: order")
        application = _child(message, "AP_Info")
        transaction = application.get("AP_TransID", "")
        if not transaction[:1].isalpha() or transaction in self._used or not application.get("Instant"):
            raise _FaultError("101", "WRONG_PARAM: AP_TransID")
        self._used.add(transaction)
        if (application.get("AP_ID"), application.get("AP_PWD")) != (options.application, options.password):
            # A careless service: it repeats what it was sent.
            raise _FaultError("104", f"UNAUTHORIZED_ACCESS {application.get('AP_PWD')}")
        if _child(message, "MSSP_Info", "MSSP_ID", "URI").text != options.service:
            raise _FaultError("101", "WRONG_PARAM: MSSP_ID")
        if _child(message, "MobileUser", "MSISDN").text != options.msisdn:
            raise _FaultError("105", "UNKNOWN_CLIENT")
        return message

    def _register(self) -> etree._Element:
        if not self.options.registered:
            raise _FaultError("422", "NO_CERT_FOUND")
        answer = _answer("MSS_RegistrationResp", "408", "REGISTRATION_OK")
        for certificate in (self.identity.certificate, *self.identity.chain):
            entry = etree.SubElement(answer, f"{{{_MSS}}}CertificateResponse")
            value = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
            etree.SubElement(entry, f"{{{_MSS}}}X509Certificate").text = value
        return answer

    def _sign(self, message: etree._Element) -> etree._Element:
        options = self.options
        if message.get("MessagingMode") != "synch" or not message.get("TimeOut", "").isdigit():
            raise _FaultError("101", "WRONG_PARAM: MessagingMode")
        if _child(message, "SignatureProfile", "mssURI").text != options.profile:
            raise _FaultError("109", "UNSUPPORTED_PROFILE")
        if _child(message, "MSS_Format", "mssURI").text != f"{_MSS}PKCS1":
            raise _FaultError("101", "WRONG_PARAM: MSS_Format")
        data = _child(message, "DataToBeSigned")
        if (data.get("MimeType"), data.get("Encoding")) != ("application/octet-stream", "base64"):
            raise _FaultError("107", "INAPPROPRIATE_DATA")
        digest, algorithm = _digest_info(data.text or "")
        self.shown.append(_child(message, "DataToBeDisplayed").text or "")
        self.holder.ask(f"request-{len(self.shown)}")
        if options.pin_blocked:
            raise _FaultError("402", "PIN_NR_BLOCKED")
        match self.holder.decision:
            case "decline":
                raise _FaultError("401", "USER_CANCEL")
            case "ignore":
                raise _FaultError("208", "EXPIRED_TRANSACTION")
        value = sign_digest(self.signing_identity, digest, DIGESTS[algorithm])
        answer = _answer("MSS_SignatureResp", options.success, "SIGNATURE")
        if not self.lost_signatures:
            signature = etree.SubElement(answer, f"{{{_MSS}}}MSS_Signature")
            etree.SubElement(signature, f"{{{_MSS}}}Base64Signature").text = base64.b64encode(value).decode()
        return answer


def _digest_info(text: str) -> tuple[bytes, str]:
    """Return the digest and its algorithm's identifier (RFC 8017, 9.2)."""
    try:
        info = algos.DigestInfo.load(base64.b64decode(text, validate=True), strict=True)
        digest, algorithm = info["digest"].native, info["digest_algorithm"]["algorithm"].dotted
    except (ValueError, TypeError) as exc:
        raise _FaultError("101", "WRONG_PARAM: DataToBeSigned") from exc
    if algorithm not in DIGESTS or len(digest) != DIGESTS[algorithm].digest_size:
        raise _FaultError("103", "WRONG_DATA_LENGTH")
    return digest, algorithm


def _child(element: etree._Element, *names: str) -> etree._Element:
    found = element.find("/".join(f"{{{_MSS}}}{name}" for name in names))
    if found is None:
        raise _FaultError("102", f"MISSING_PARAM: {names[-1]}")
    return found


def _answer(name: str, code: str, words: str) -> etree._Element:
    answer = etree.Element(
        f"{{{_MSS}}}{name}", {"MajorVersion": "1", "MinorVersion": "1"}, nsmap={"mss": _MSS}
    )
    status = etree.SubElement(answer, f"{{{_MSS}}}Status")
    etree.SubElement(status, f"{{{_MSS}}}StatusCode", {"Value": code})
    etree.SubElement(status, f"{{{_MSS}}}StatusMessage").text = words
    return answer


def _fault(error: _FaultError) -> etree._Element:
    fault = etree.Element(f"{{{_SOAP}}}Fault", nsmap={"soap": _SOAP, "mss": _MSS})
    etree.SubElement(fault, "faultcode").text = f"mss:_{error.code}"
    etree.SubElement(fault, "faultstring").text = error.words
    return fault


def _soap(content: etree._Element, status: http.HTTPStatus) -> Answer:
    envelope = etree.Element(f"{{{_SOAP}}}Envelope", nsmap={"soap": _SOAP})
    etree.SubElement(envelope, f"{{{_SOAP}}}Body").append(content)
    return Answer(status, "text/xml", etree.tostring(envelope, xml_declaration=True, encoding="UTF-8"))
