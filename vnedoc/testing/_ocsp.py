"""An OCSP responder (RFC 6960, nonces as in RFC 9654): bytes of a request in, bytes of a response out.

It answers for several authorities, each through a delegated responder certificate of that authority. The response is
put together with asn1crypto because the time of production must follow the clock of the test PKI.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from asn1crypto import algos, core, ocsp
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from vnedoc.testing._authority import Authority, Identity, Profile, Revocation, make_key, subject_name

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

__all__ = ["OcspResponder", "Validity", "failure"]

_MAX_NONCE_BYTES = 128


@dataclass(frozen=True)
class Validity:
    """The times that a statement about revocation carries."""

    produced: datetime.datetime
    """When it is signed."""
    this_update: datetime.datetime
    """When what it says was known to be right."""
    next_update: datetime.datetime
    """When newer information will be there."""


class _MalformedError(Exception):
    """The request is not one that can be answered."""


class OcspResponder:
    """Answers for the certificates of some authorities.

    Args:
        authorities: Those it answers for.
    """

    def __init__(self, authorities: Sequence[Authority]) -> None:
        self._authorities = tuple(authorities)
        self._lock = threading.Lock()
        self._delegates: dict[str, Identity] = {}

    def delegate(self, authority: Authority) -> Identity:
        """Return the responder certificate that an authority issued; made when first needed."""
        with self._lock:
            if authority.name not in self._delegates:
                issuer = authority.identity.certificate
                issued_by = authority.identity.common_name.removesuffix(" TEST")
                self._delegates[authority.name] = authority.issue(
                    subject_name(
                        common_name=f"OCSP của {issued_by} TEST", organization="Ban Cơ yếu Chính phủ TEST"
                    ),
                    make_key("rsa-2048"),
                    Profile(
                        not_before=issuer.not_valid_before_utc,
                        not_after=issuer.not_valid_after_utc,
                        key_usage=("digital_signature",),
                        extended_key_usage=(ExtendedKeyUsageOID.OCSP_SIGNING,),
                        ocsp_no_check=True,
                    ),
                )
            return self._delegates[authority.name]

    def answer(self, request: bytes, validity: Validity, *, about_another: bool = False) -> bytes:
        """Answer a request; a wrong one gets a response that says so.

        Args:
            request: The request.
            validity: When the answer was made, and until when it counts.
            about_another: Answer about the next serial number in place of the one that was asked for.
        """
        try:
            certificate_ids, nonce = _read(request)
        except _MalformedError:
            return failure("malformed_request")
        authorities = {self._authority_of(certificate_id) for certificate_id in certificate_ids}
        if len(authorities) != 1:
            # One signature can only speak for one authority.
            return failure("unauthorized")
        (authority,) = authorities
        if authority is None:
            return failure("unauthorized")
        if about_another:
            certificate_ids = [_next_serial(certificate_id) for certificate_id in certificate_ids]
        return self._signed(authority, certificate_ids, nonce, validity, known=not about_another)

    def _authority_of(self, certificate_id: Any) -> Authority | None:  # asn1crypto has no types
        algorithm = certificate_id["hash_algorithm"]["algorithm"].native
        for authority in self._authorities:
            name_hash, key_hash = _issuer_hashes(authority, algorithm)
            if (
                certificate_id["issuer_name_hash"].native == name_hash
                and certificate_id["issuer_key_hash"].native == key_hash
            ):
                return authority
        return None

    def _signed(
        self,
        authority: Authority,
        certificate_ids: Sequence[Any],  # asn1crypto has no types
        nonce: bytes | None,
        validity: Validity,
        *,
        known: bool,
    ) -> bytes:
        delegate = self.delegate(authority)
        certificate = asn1_x509.Certificate.load(
            delegate.certificate.public_bytes(serialization.Encoding.DER)
        )
        content = {
            "responder_id": ocsp.ResponderId(name="by_key", value=certificate.public_key.sha1),
            "produced_at": validity.produced,
            "responses": [
                {
                    "cert_id": certificate_id,
                    "cert_status": _status(
                        authority.status(certificate_id["serial_number"].native, validity.this_update)
                        if known
                        else "good"
                    ),
                    "this_update": validity.this_update,
                    "next_update": validity.next_update,
                }
                for certificate_id in certificate_ids
            ],
        }
        if nonce is not None:
            content["response_extensions"] = [{"extn_id": "nonce", "extn_value": core.OctetString(nonce)}]
        data = ocsp.ResponseData(content)
        basic = ocsp.BasicOCSPResponse(
            {
                "tbs_response_data": data,
                "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": "sha256_rsa"}),
                "signature": delegate.sign(data.dump()),
                "certs": [certificate],
            }
        )
        response = ocsp.OCSPResponse(
            {
                "response_status": "successful",
                "response_bytes": {"response_type": "basic_ocsp_response", "response": basic},
            }
        )
        return bytes(response.dump())


def failure(status: Literal["malformed_request", "internal_error", "try_later", "unauthorized"]) -> bytes:
    """Return an unsigned response that only says why there is no answer (RFC 6960, clause 4.2.1)."""
    return bytes(ocsp.OCSPResponse({"response_status": status}).dump())


def _next_serial(certificate_id: Any) -> Any:  # asn1crypto has no types
    changed = certificate_id.copy()
    changed["serial_number"] = certificate_id["serial_number"].native + 1
    return changed


def _read(request: bytes) -> tuple[list[Any], bytes | None]:
    try:
        body = ocsp.OCSPRequest.load(request, strict=True)["tbs_request"]
        certificate_ids = [entry["req_cert"] for entry in body["request_list"]]
        # asn1crypto parses when it is asked; ask for everything that is used later.
        for certificate_id in certificate_ids:
            _ = certificate_id.native
        nonce = None
        for extension in body["request_extensions"]:
            if extension["extn_id"].native == "nonce":
                nonce = extension["extn_value"].parsed.native
    except (ValueError, TypeError, KeyError) as exc:
        raise _MalformedError from exc
    if not certificate_ids or (nonce is not None and not 1 <= len(nonce) <= _MAX_NONCE_BYTES):
        raise _MalformedError
    return certificate_ids, nonce


_DIGESTS: dict[str, type[hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1,  # RFC 6960 names certificates by it; nothing rests on its strength.
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


def _issuer_hashes(authority: Authority, algorithm: str) -> tuple[bytes, bytes] | tuple[None, None]:
    if algorithm not in _DIGESTS:
        return None, None
    certificate = asn1_x509.Certificate.load(
        authority.identity.certificate.public_bytes(serialization.Encoding.DER)
    )
    # The key is hashed without the tag, length and count of unused bits of its bit string.
    key = bytes(certificate.public_key["public_key"].contents[1:])
    return _digest(algorithm, certificate.subject.dump()), _digest(algorithm, key)


def _digest(algorithm: str, content: bytes) -> bytes:
    digest = hashes.Hash(_DIGESTS[algorithm]())
    digest.update(content)
    return digest.finalize()


def _status(known: Revocation | Literal["good", "unknown"]) -> Any:  # asn1crypto has no types
    if not isinstance(known, Revocation):
        return ocsp.CertStatus(name=known, value=core.Null())
    value: dict[str, object] = {"revocation_time": known.at}
    if known.reason != "unspecified":
        # RFC 5280, clause 5.3.1: the reason is left out instead of saying "unspecified".
        value["revocation_reason"] = known.reason
    return ocsp.CertStatus(name="revoked", value=value)
