"""A time-stamping authority (RFC 3161): bytes of a request in, bytes of a response out.

The token carries signingCertificateV2 (RFC 5816) and, when the request asks for certificates, the chain without the
root.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import serialization

if TYPE_CHECKING:
    import datetime

    from vnedoc.testing._authority import Identity

__all__ = ["BadTimestampRequestError", "TimestampAuthority", "TimestampMistake"]

TimestampMistake: TypeAlias = Literal["rejected", "wrong-imprint", "wrong-nonce", "broken-signature"]
"""What the authority can be told to do wrong inside a response."""

_IMPRINT_BYTES = {"sha256": 32, "sha384": 48, "sha512": 64}
# Under the arc that RFC 5612 keeps for documentation: no real authority has this policy.
_POLICY = "1.3.6.1.4.1.32473.1.1"
_ACCURACY_S = 1


class BadTimestampRequestError(Exception):
    """The bytes are no timestamp request at all; over HTTP the answer is 400."""


class _RejectedError(Exception):
    """The request is understood and refused.

    Args:
        reason: The name of a bit of PKIFailureInfo.
        words: What a person reads.
    """

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(reason, words)
        self.reason = reason
        self.words = words


class _TokenlessResponse(core.Sequence):  # type: ignore[misc]  # asn1crypto has no types
    # The token is optional (RFC 3161, clause 2.4.2); the class of asn1crypto insists on it.
    _fields: ClassVar = [("status", tsp.PKIStatusInfo)]


class TimestampAuthority:
    """Signs the time.

    Args:
        identity: Its certificate, whose only purpose is time-stamping, and key.
    """

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    def answer(
        self, request: bytes, now: datetime.datetime, *, mistake: TimestampMistake | None = None
    ) -> bytes:
        """Answer a request.

        Args:
            request: A TimeStampReq in DER.
            now: The time to sign.
            mistake: What to do wrong on purpose.

        Raises:
            BadTimestampRequestError: The bytes are no request.
        """
        try:
            asked = tsp.TimeStampReq.load(request, strict=True)
            # asn1crypto parses when it is asked; this asks for everything.
            _ = asked.native
        except (ValueError, TypeError, KeyError) as exc:
            raise BadTimestampRequestError from exc
        try:
            if mistake == "rejected":
                raise _RejectedError("system_failure", "TEST: yêu cầu bị từ chối")
            _check(asked)
        except _RejectedError as refused:
            return _rejection(refused)
        token = self._token(asked, now.replace(microsecond=0), mistake)
        response = tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token})
        return bytes(response.dump())

    def _token(
        self, asked: Any, now: datetime.datetime, mistake: TimestampMistake | None
    ) -> Any:  # asn1crypto has no types
        certificate = _asn1(self.identity.certificate)
        content = self._content(asked, now, certificate, mistake)
        attributes = cms.CMSAttributes(
            [
                {"type": "content_type", "values": ["tst_info"]},
                {"type": "message_digest", "values": [hashlib.sha256(content).digest()]},
                {"type": "signing_certificate_v2", "values": [_signing_certificate(certificate)]},
            ]
        )
        signature = self.identity.sign(attributes.dump())
        if mistake == "broken-signature":
            signature = bytes([signature[0] ^ 1]) + signature[1:]
        sha256 = algos.DigestAlgorithm({"algorithm": "sha256"})
        signed: dict[str, object] = {
            "version": "v3",
            "digest_algorithms": [sha256],
            "encap_content_info": {"content_type": "tst_info", "content": core.ParsableOctetString(content)},
            "signer_infos": [
                {
                    "version": "v1",
                    "sid": cms.SignerIdentifier(
                        name="issuer_and_serial_number",
                        value={
                            "issuer": certificate.issuer,
                            "serial_number": certificate.serial_number,
                        },
                    ),
                    "digest_algorithm": sha256,
                    "signed_attrs": attributes,
                    "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": "sha256_rsa"}),
                    "signature": signature,
                }
            ],
        }
        if asked["cert_req"].native:
            signed["certificates"] = [certificate, *map(_asn1, self.identity.chain[:-1])]
        return cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(signed)})

    def _content(
        self,
        asked: Any,  # asn1crypto has no types
        now: datetime.datetime,
        certificate: Any,
        mistake: TimestampMistake | None,
    ) -> bytes:
        imprint = asked["message_imprint"].copy()
        if mistake == "wrong-imprint":
            imprint["hashed_message"] = bytes(octet ^ 0xFF for octet in imprint["hashed_message"].native)
        info = {
            "version": "v1",
            "policy": _POLICY,
            "message_imprint": imprint,
            "serial_number": x509.random_serial_number(),
            "gen_time": now,
            "accuracy": {"seconds": _ACCURACY_S},
            "tsa": asn1_x509.GeneralName(name="directory_name", value=certificate.subject),
        }
        nonce = asked["nonce"].native
        if nonce is not None:
            info["nonce"] = nonce + 1 if mistake == "wrong-nonce" else nonce
        return bytes(tsp.TSTInfo(info).dump())


def _check(asked: Any) -> None:  # asn1crypto has no types
    if asked["version"].native != "v1":
        raise _RejectedError("bad_request", "Only version 1 is known.")
    algorithm = asked["message_imprint"]["hash_algorithm"]["algorithm"].native
    if algorithm not in _IMPRINT_BYTES:
        raise _RejectedError("bad_alg", "The imprint must be SHA-256, SHA-384 or SHA-512.")
    if len(asked["message_imprint"]["hashed_message"].native) != _IMPRINT_BYTES[algorithm]:
        raise _RejectedError("bad_data_format", "The imprint has a wrong length.")
    if asked["req_policy"].native not in (None, _POLICY):
        raise _RejectedError("unaccepted_policy", "The policy is not offered.")
    if asked["extensions"].native:
        raise _RejectedError("unaccepted_extensions", "No extension is known.")


def _rejection(refused: _RejectedError) -> bytes:
    response = _TokenlessResponse(
        {
            "status": {
                "status": "rejection",
                "status_string": [refused.words],
                "fail_info": tsp.PKIFailureInfo({refused.reason}),
            }
        }
    )
    return bytes(response.dump())


def _signing_certificate(certificate: Any) -> Any:  # asn1crypto has no types
    return tsp.SigningCertificateV2(
        {
            "certs": [
                {
                    "cert_hash": hashlib.sha256(certificate.dump()).digest(),
                    "issuer_serial": {
                        "issuer": [
                            asn1_x509.GeneralName(name="directory_name", value=certificate.issuer),
                        ],
                        "serial_number": certificate.serial_number,
                    },
                }
            ]
        }
    )


def _asn1(certificate: x509.Certificate) -> Any:  # asn1crypto has no types
    return asn1_x509.Certificate.load(certificate.public_bytes(serialization.Encoding.DER))
