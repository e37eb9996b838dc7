"""Keys on SIM cards, by a mobile signature service (MSS): ETSI TS 102 204 over SOAP, version 1.1.2 of its schema.

``mss+https://HOST:PORT/PATH?ap=URI&mssp=URI&msisdn=NUMBER&client-cert=FILE&client-key=FILE``. ``MSS_Registration``
gives the signing certificate; ``MSS_Signature``, in synchronous mode, gives a raw RSASSA-PKCS1-v1_5 signature over a
DigestInfo once the holder has entered the PIN on the phone. The application provider is known by its TLS certificate
and its password.

What no document at hand settles is an option: the namespace of the elements around the messages (``wrapper``), the
signature profile, the names of the two ports. A status that reports success differs between services; whatever comes
with it, the signature is checked with the public key.
"""

from __future__ import annotations

import dataclasses
import re
import secrets as random_secrets
from typing import TYPE_CHECKING

from lxml import etree

from vnedoc._internal import clock, http, xml
from vnedoc._internal.der import null, octet_string, oid, sequence
from vnedoc.errors import CredentialError, RefusedError, RemoteError, UsageError
from vnedoc.sign.signers._chains import order_chain
from vnedoc.sign.signers._csc_client import to_base64
from vnedoc.sign.signers._remote import (
    Refusal,
    RemoteSigner,
    Secrets,
    error_for,
    make_remote_client,
)
from vnedoc.sign.signers._remote_address import RemoteAddress, RemoteOptions
from vnedoc.sign.signers._remote_values import (
    DIGEST_OIDS,
    decode_signature,
    parse_certificate,
    parse_retry_after,
)
from vnedoc.sign.signers.base import SecretPrompt
from vnedoc.sign.signers.smartca import check_pkcs1_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import httpx2
    from cryptography import x509

    from vnedoc.errors import VnedocError
    from vnedoc.sign.models import SignatureMechanism
    from vnedoc.sign.signers.base import SecretCallback, Signer

__all__ = ["MSSSigner", "RemoteOptions", "open_mss"]

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
"""The namespace of SOAP 1.1."""
MSS = "http://uri.etsi.org/TS102204/v1.1.2#"
"""The namespace of the messages."""
PKCS1_FORMAT = f"{MSS}PKCS1"
"""The format of the signature that is asked for: the bare value."""
DEFAULT_PROFILE = "http://mobile-id.vn/digitalSignature"
"""The signature profile that public programs name."""
ADDITIONAL_SERVICES = (
    "http://mobile-id.vn/MSSP/v1.0.0#signingCertificate",
    "http://mobile-id.vn/MSSP/v1.0.0#signatureValidation",
)
"""The additional services that public programs ask for."""
DEFAULT_DISPLAY = "Xac nhan ky so van ban"
"""What the phone shows; without diacritics, which not every SIM applet can show."""
MAX_ANSWER_BYTES = 1024 * 1024
GRACE_S = 15.0
"""How much longer than the phone we wait for the service to say that nobody answered."""
_OPTIONS = frozenset(
    {"ap", "mssp", "msisdn", "profile", "display", "wrapper", "signature-port", "registration-port"}
)
_PATTERNS = {
    "wrapper": r"[^\s{}<>\"]+",
    "signature-port": r"[\w.-]+",
    "registration-port": r"[\w.-]+",
}

# ETSI TS 102 204, status codes: 100 REQUEST_OK, 408 REGISTRATION_OK, 500 SIGNATURE, 502 VALID_SIGNATURE. Programs for
# the Vietnamese service take 408 for success of both calls.
_REGISTERED = frozenset({"100", "408"})
_SIGNED = frozenset({"408", "500", "502"})
_ERRORS: dict[str, tuple[type[VnedocError], str]] = {
    "104": (CredentialError, "remote-signing.wrong-secret"),
    "105": (CredentialError, "remote-signing.no-credential"),
    "208": (RemoteError, "remote-signing.not-confirmed"),
    "209": (RemoteError, "remote-signing.unavailable"),
    "401": (RefusedError, "remote-signing.declined"),
    "402": (CredentialError, "remote-signing.locked"),
    "403": (CredentialError, "remote-signing.locked"),
    "404": (CredentialError, "remote-signing.no-credential"),
    "422": (CredentialError, "remote-signing.no-credential"),
    "900": (RemoteError, "remote-signing.unavailable"),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MSSProvider:
    """Who asks, whom, for whose signature."""

    application: str
    """The id of the application provider (``AP_ID``), a URI."""
    service: str
    """The id of the mobile signature service provider (``MSSP_ID``), a URI."""
    msisdn: str
    """The number of the phone, with the country code, digits only."""
    profile: str = DEFAULT_PROFILE
    """The signature profile, a URI."""
    display: str = DEFAULT_DISPLAY
    """What the phone shows."""
    wrapper: str = ""
    """The namespace of the elements around the messages; empty for none."""
    signature_port: str = "MSS_SignaturePort"
    """The last part of the address of ``MSS_Signature``."""
    registration_port: str = "MSS_RegistrationPort"
    """The last part of the address of ``MSS_Registration``."""


class MSSClient:
    """The two calls.

    Args:
        base_url: The address without the names of the ports.
        name: What errors call the service.
        provider: Who asks, whom, for whose signature.
        client: The way there.
        secrets: Asks for the application provider's password.
        options: How long to wait.
    """

    def __init__(
        self,
        base_url: str,
        *,
        name: str,
        provider: MSSProvider,
        client: httpx2.Client,
        secrets: Secrets,
        options: RemoteOptions,
    ) -> None:
        self.name = name
        self.provider = provider
        self._base_url = base_url
        self._client = client
        self._secrets = secrets
        self._options = options

    def certificates(self) -> list[x509.Certificate]:
        """Return the holder's certificate, then what came with it.

        Raises:
            CredentialError: The password is refused, or the phone has no certificate.
            RemoteError: The service did not answer, or not by its protocol.
        """
        body = self._message("MSS_Registration")
        answer = self._call(self.provider.registration_port, body, wait_s=self._options.timeout_s)
        self._expect(answer, _REGISTERED)
        values = [element.text or "" for element in _all(answer, "X509Certificate")]
        if not values:
            raise CredentialError(
                "remote-signing.no-certificate", service=self.name, owner=self.provider.msisdn
            )
        try:
            return [parse_certificate(value) for value in values[:10]]
        except ValueError as exc:
            raise self._bad_answer(str(exc)) from exc

    def sign(self, digest_info: bytes) -> bytes:
        """Return the signature over a DigestInfo, once the holder has confirmed.

        Raises:
            CredentialError: The password is refused, or the card is blocked.
            RefusedError: The holder, or the service, said no.
            RemoteError: The service did not answer, or nobody confirmed in time.
        """
        provider, wait_s = self.provider, self._options.confirmation_timeout_s
        body = self._message("MSS_Signature", {"MessagingMode": "synch", "TimeOut": str(max(1, int(wait_s)))})
        request = body[0][0]
        signed = _child(request, "DataToBeSigned", to_base64(digest_info))
        signed.attrib.update({"MimeType": "application/octet-stream", "Encoding": "base64"})
        shown = _child(request, "DataToBeDisplayed", provider.display)
        shown.attrib.update({"MimeType": "text/plain", "Encoding": "UTF-8"})
        _child(_child(request, "SignatureProfile"), "mssURI", provider.profile)
        services = _child(request, "AdditionalServices")
        for uri in ADDITIONAL_SERVICES:
            _child(_child(_child(services, "Service"), "Description"), "mssURI", uri)
        _child(_child(request, "MSS_Format"), "mssURI", PKCS1_FORMAT)
        answer = self._call(provider.signature_port, body, wait_s=wait_s + GRACE_S)
        self._expect(answer, _SIGNED)
        values = [element.text for element in _all(answer, "Base64Signature")]
        if len(values) != 1:
            raise RemoteError("remote-signing.wrong-count", expected=1, actual=len(values))
        try:
            return decode_signature(values[0])
        except ValueError as exc:
            raise self._bad_answer(str(exc)) from exc

    def close(self) -> None:
        """Close the connection and forget the password."""
        self._secrets.close()
        self._client.close()

    def _message(self, operation: str, attributes: Mapping[str, str] | None = None) -> etree._Element:
        """Return a SOAP body with a request that has its heads."""
        provider = self.provider
        prompt = SecretPrompt(
            "remote-signing.prompt-client-secret", client=provider.application, service=self.name
        )
        password = self._secrets.keep(prompt)
        if not password.isprintable():
            # XML cannot carry control characters; a line end got in by mistake.
            self._secrets.forget()
            raise CredentialError("remote-signing.no-secret", prompt=prompt)
        now = f"{clock.utc_now():%Y-%m-%dT%H:%M:%S.000Z}"
        body = etree.Element(f"{{{SOAP}}}Body")
        wrapper = f"{{{provider.wrapper}}}{operation}" if provider.wrapper else operation
        request = etree.SubElement(
            etree.SubElement(body, wrapper),
            f"{{{MSS}}}{operation}Req",
            {"MajorVersion": "1", "MinorVersion": "1", **(attributes or {})},
            nsmap={"mss": MSS},
        )
        head = _child(request, "AP_Info")
        head.attrib.update(
            {
                "AP_ID": provider.application,
                "AP_PWD": password,
                # An NCName: it begins with a letter.
                "AP_TransID": f"V{random_secrets.token_hex(10)}",
                "Instant": now,
            }
        )
        other = _child(request, "MSSP_Info")
        other.set("Instant", now)
        _child(_child(other, "MSSP_ID"), "URI", provider.service)
        _child(_child(request, "MobileUser"), "MSISDN", provider.msisdn)
        return body

    def _call(self, port: str, body: etree._Element, *, wait_s: float) -> etree._Element:
        envelope = etree.Element(f"{{{SOAP}}}Envelope", nsmap={"soap": SOAP})
        envelope.append(body)
        answer = http.post(
            self._client,
            f"{self._base_url}/{port}",
            etree.tostring(envelope, xml_declaration=True, encoding="UTF-8"),
            headers={"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""'},
            timeout_s=wait_s,
            max_bytes=MAX_ANSWER_BYTES,
        )
        try:
            root = xml.parse_bytes(answer.body)
        except xml.XMLRefusedError as exc:
            if answer.status >= 300:
                refusal = Refusal(self.name, answer.status, str(answer.status), f"HTTP {answer.status}")
                raise error_for(refusal, retry_after_s=parse_retry_after(answer.retry_after)) from exc
            raise self._bad_answer("no XML") from exc
        for fault in _all(root, "Fault"):
            raise self._fault(fault, answer.status)
        if answer.status != 200:
            refusal = Refusal(self.name, answer.status, str(answer.status), f"HTTP {answer.status}")
            raise error_for(refusal, retry_after_s=parse_retry_after(answer.retry_after))
        return root

    def _expect(self, answer: etree._Element, good: frozenset[str]) -> None:
        codes = [element.get("Value", "").strip() for element in _all(answer, "StatusCode")]
        if not codes:
            raise self._bad_answer("no StatusCode")
        if codes[0] not in good:
            words = " ".join(element.text or "" for element in _all(answer, "StatusMessage"))
            raise self._error(codes[0], words)

    def _fault(self, fault: etree._Element, status: int) -> VnedocError:
        # SOAP 1.2 has the code in Subcode/Value as "mss:_401"; in SOAP 1.1 services put it into faultcode or detail.
        texts = [
            element.text or "" for name in ("Value", "faultcode", "detail") for element in _all(fault, name)
        ]
        texts += [element.text or "" for detail in _all(fault, "detail") for element in detail.iter("*")]
        found = next(
            (match[1] for text in texts if (match := re.search(r"(?:^|[:_])(\d{3})$", text.strip()))), None
        )
        words = " ".join(
            element.text or "" for name in ("Text", "faultstring") for element in _all(fault, name)
        )
        if found is None:
            refusal = Refusal(self.name, status, str(status), self._secrets.clean(words) or f"HTTP {status}")
            return RefusedError("remote-signing.refused", **refusal.values())
        return self._error(found, words)

    def _error(self, code: str, words: str) -> VnedocError:
        code = self._secrets.clean(code)
        kind, message = _ERRORS.get(code, (RefusedError, "remote-signing.refused"))
        refusal = Refusal(self.name, 200, code, self._secrets.clean(words) or code)
        if kind is CredentialError:
            self._secrets.forget()
        return kind(message, **refusal.values(), credential=self.provider.msisdn)

    def _bad_answer(self, reason: str) -> RemoteError:
        return RemoteError("remote-signing.bad-answer", service=self.name, reason=reason)


class MSSSigner(RemoteSigner):
    """A key on a SIM card. Each signature is confirmed on the phone by itself.

    Args:
        calls: The way to the service.
        certificates: The signing certificate, then others that came with it.
        mechanism: RSASSA-PKCS1-v1_5 or ``None``; the card knows no other.
    """

    def __init__(
        self,
        calls: MSSClient,
        certificates: Sequence[x509.Certificate],
        *,
        mechanism: SignatureMechanism | None = None,
    ) -> None:
        leaf, *others = certificates
        super().__init__(leaf, order_chain(leaf, others), mechanism=mechanism, service=calls)
        check_pkcs1_sha256(calls.name, self.mechanism, "sha256")
        self._calls = calls

    def _sign_hashes(self, hashes: Sequence[bytes], digest_algorithm: str) -> list[bytes]:
        check_pkcs1_sha256(self._calls.name, self.mechanism, digest_algorithm)
        algorithm = sequence(oid(DIGEST_OIDS[digest_algorithm]), null())
        # RFC 8017, 9.2: DigestInfo ::= SEQUENCE { digestAlgorithm, digest OCTET STRING }
        return [self._calls.sign(sequence(algorithm, octet_string(value))) for value in hashes]


def open_mss(
    uri: str,
    *,
    secret: SecretCallback,
    mechanism: SignatureMechanism | None = None,
    options: RemoteOptions | None = None,
) -> Signer:
    """Open a key on a SIM card.

    Args:
        uri: ``mss+https://HOST:PORT/PATH?ap=URI&mssp=URI&msisdn=NUMBER``; further ``client-cert=FILE``,
            ``client-key=FILE``, ``ca=FILE``, ``profile=URI``, ``display=TEXT``, ``wrapper=NAMESPACE``,
            ``signature-port=NAME``, ``registration-port=NAME``.
        secret: Called with a :class:`~vnedoc.sign.signers.base.SecretPrompt` for the application's password, and for
            the passphrase of the TLS key if it has one.
        mechanism: RSASSA-PKCS1-v1_5 or ``None``; the card knows no other.
        options: How long to wait.

    Raises:
        UsageError: The address is wrong.
        CredentialError: The service does not accept the credentials, or the phone has no certificate.
        RemoteError: The service did not answer, or not by its protocol.
        RefusedError: The service said no.
    """
    address = RemoteAddress.parse("mss", uri, known=_OPTIONS)
    options = address.apply_to(options or RemoteOptions())
    msisdn = address.require("msisdn").removeprefix("+")
    if not (msisdn.isascii() and msisdn.isdigit() and len(msisdn) <= 15):
        raise UsageError("remote-signing.bad-option", name="msisdn", value=msisdn)
    for name, pattern in _PATTERNS.items():
        value = address.get(name)
        if value is not None and not re.fullmatch(pattern, value):
            raise UsageError("remote-signing.bad-option", name=name, value=value)
    provider = MSSProvider(
        application=address.require("ap"),
        service=address.require("mssp"),
        msisdn=msisdn,
        profile=address.get("profile") or DEFAULT_PROFILE,
        display=address.get("display") or DEFAULT_DISPLAY,
        wrapper=address.get("wrapper") or "",
        signature_port=address.get("signature-port") or "MSS_SignaturePort",
        registration_port=address.get("registration-port") or "MSS_RegistrationPort",
    )
    secrets = Secrets(secret)
    calls = MSSClient(
        address.base_url,
        name=address.host,
        provider=provider,
        client=make_remote_client(address, secrets=secrets, options=options),
        secrets=secrets,
        options=options,
    )
    try:
        return MSSSigner(calls, calls.certificates(), mechanism=mechanism)
    except BaseException:
        calls.close()
        raise


def _child(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    element = etree.SubElement(parent, f"{{{MSS}}}{name}")
    element.text = text
    return element


def _all(root: etree._Element, name: str) -> list[etree._Element]:
    """Return the elements of a name, in whatever namespace: services extend the schema in their own."""
    return list(root.iter(f"{{*}}{name}"))
