"""A service that answers as VNPT SmartCA does: provider's id and password in every call, states asked for by code."""

from __future__ import annotations

import base64
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from vnedoc.testing.remote_signing._service import (
    DIGESTS,
    FakeService,
    JSONObject,
    RefusedRequest,
    json_answer,
    read_object,
    sign_digest,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnedoc.testing._loopback import Answer, Request
    from vnedoc.testing.pki import Identity

__all__ = ["FakeSmartCAService", "SmartCAServiceOptions"]

PREFIX = "/sca/sp769/v1/"
REQUEST_LIFETIME_S = 300.0


@dataclass(kw_only=True)
class SmartCAServiceOptions:
    """How a service is set up."""

    provider: str = "don-vi-TEST"
    """The id of the service provider."""
    password: str = "mat-khau-don-vi-TEST"  # noqa: S105 - of a service that does not exist
    """Its password."""
    user: str = "000000000017"
    """The id of the holder."""
    certificates: int = 1
    """How many certificates the holder has; all of the same key."""
    certificate_valid: bool = True
    """Whether the certificate may still be used."""
    by_transaction: bool = False
    """Whether states are asked for by ``transaction_id``."""


@dataclass
class _SigningRequest:
    signatures: list[JSONObject]
    expires: float


class FakeSmartCAService(FakeService):
    """A service with one holder.

    Args:
        identity: The key and its certificate.
        options: How it is set up; may be changed while it runs.
        now: The clock, in seconds.
    """

    def __init__(
        self,
        identity: Identity,
        options: SmartCAServiceOptions | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(identity, now=now)
        self.options = options or SmartCAServiceOptions()
        """How it is set up."""
        self._used: set[str] = set()
        self._requests: dict[str, _SigningRequest] = {}

    @property
    def address(self) -> str:
        """The address of its key."""
        return f"smartca+{self.base_url}{PREFIX[:-1]}?sp={self.options.provider}&user={self.options.user}"

    @property
    def serials(self) -> list[str]:
        """The serial numbers of the holder's certificates, as the service writes them."""
        return [
            f"54010101{self.identity.certificate.serial_number:x}{number or ''}"
            for number in range(self.options.certificates)
        ]

    def _answer(self, path: str, request: Request) -> Answer:
        body = read_object(request, lambda words: _refuse(400, "BAD_REQUEST", words))
        if path == f"{PREFIX}credentials/get_certificate":
            return self._certificates(body)
        if path == f"{PREFIX}signatures/sign":
            return self._sign(body)
        if path.startswith(f"{PREFIX}signatures/sign/") and path.endswith("/status"):
            return self._state(path.removesuffix("/status").rpartition("/")[2])
        raise _refuse(404, "NOT_FOUND")

    def _check_head(self, body: JSONObject) -> str:
        options = self.options
        if (body.get("sp_id"), body.get("sp_password")) != (options.provider, options.password) or body.get(
            "user_id"
        ) != options.user:
            raise _refuse(401, "SP_CREDENTIAL_INVALID")
        transaction = body.get("transaction_id")
        if not isinstance(transaction, str) or not transaction or transaction in self._used:
            raise _refuse(400, "BAD_REQUEST", "transaction_id")
        self._used.add(transaction)
        return transaction

    def _certificates(self, body: JSONObject) -> Answer:
        self._check_head(body)
        identity = self.identity
        ca, *roots = identity.chain
        entries = [
            {
                "service_type": "SMARTCA",
                "cert_id": f"chung-thu-TEST-{number}",
                "cert_status": "đang hoạt động",
                "serial_number": serial,
                "cert_subject": identity.certificate.subject.rfc4514_string(),
                "cert_data": _base64(identity.certificate.public_bytes(Encoding.DER)),
                "chain_data": {
                    "ca_cert": _base64(ca.public_bytes(Encoding.DER)),
                    "root_cert": _base64(roots[-1].public_bytes(Encoding.DER)) if roots else None,
                },
            }
            for number, serial in enumerate(self.serials)
            if body.get("serial_number") in {"", None, serial}
        ]
        return _answer("Success", {"user_certificates": entries})

    def _sign(self, body: JSONObject) -> Answer:
        transaction = self._check_head(body)
        if body.get("serial_number") not in self.serials:
            raise _refuse(400, "BAD_REQUEST", "serial_number")
        if not self.options.certificate_valid:
            raise _refuse(403, "CREDENTIAL_STATUS_INVALID")
        time_stamp = body.get("time_stamp", "")
        if not isinstance(time_stamp, str) or len(time_stamp) != 15 or not time_stamp.endswith("Z"):
            raise _refuse(400, "BAD_REQUEST", "time_stamp")
        files = body.get("sign_files")
        if not isinstance(files, list) or not files:
            raise _refuse(400, "BAD_REQUEST", "sign_files")
        request = _SigningRequest([self._sign_file(item) for item in files], self.now() + REQUEST_LIFETIME_S)
        code = secrets.token_hex(16)
        self._requests[transaction if self.options.by_transaction else code] = request
        self.holder.ask(transaction if self.options.by_transaction else code)
        return _answer("sig_wait_for_user_confirm", {"transaction_id": transaction, "tran_code": code})

    def _sign_file(self, item: object) -> JSONObject:
        if (
            not isinstance(item, dict)
            or item.get("sign_type") != "hash"
            or not item.get("doc_id")
            or not item.get("file_type")
        ):
            raise _refuse(400, "BAD_REQUEST", "sign_files")
        try:
            digest = bytes.fromhex(item.get("data_to_be_signed", ""))
            value = sign_digest(self.signing_identity, digest, DIGESTS["2.16.840.1.101.3.4.2.1"])
        except ValueError as exc:
            raise _refuse(400, "BAD_REQUEST", "data_to_be_signed") from exc
        return {"doc_id": item["doc_id"], "signature_value": _base64(value), "timestamp_signature": None}

    def _state(self, request_id: str) -> Answer:
        request = self._requests.get(request_id)
        if request is None:
            raise _refuse(404, "NOT_FOUND")
        if request.expires <= self.now():
            return _answer("EXPIRED", {"transaction_id": request_id})
        match self.holder.decided(request_id):
            case "confirm":
                # In any order: clients go by doc_id.
                kept = request.signatures[::-1]
                kept = kept[: len(kept) - self.lost_signatures]
                return _answer("SUCCESS", {"transaction_id": request_id, "signatures": kept})
            case "decline":
                return _answer("REJECTED", {"transaction_id": request_id})
            case _:
                return _answer("sig_wait_for_user_confirm", {"transaction_id": request_id})


def _answer(message: str, data: JSONObject) -> Answer:
    return json_answer({"status_code": 200, "message": message, "data": data})


def _refuse(status: int, code: str, words: str = "") -> RefusedRequest:
    return RefusedRequest(status, {"status_code": status, "message": f"{code} {words}".strip(), "data": None})


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
