"""A service that answers as Viettel MySign does, by its own calls (``vtss``) and by those of the CSC (``adss``)."""

from __future__ import annotations

import base64
import re
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
    decode_hash,
    json_answer,
    read_object,
    sign_digest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vnedoc.testing._loopback import Answer, Request
    from vnedoc.testing.pki import Identity

__all__ = ["FakeMySignService", "MySignServiceOptions"]

_SHA256, _RSA_ENCRYPTION = "2.16.840.1.101.3.4.2.1", "1.2.840.113549.1.1.1"
_LOGIN = {"/vtss/service/ras/v1/login", "/adss/service/ras/v1/login"}
_CSC = "/adss/service/ras/csc/v1/"
MAX_NAME_LETTERS = 100


@dataclass(kw_only=True)
class MySignServiceOptions:
    """How a service is set up."""

    client: str = "ung-dung-TEST"
    """The id of the application."""
    client_secret: str = "bi-mat-ung-dung-TEST"  # noqa: S105 - of a service that does not exist
    """Its secret."""
    user: str = "CMT_000000000017"
    """The id of the holder."""
    profile: str = "adss:ras:profile:001"
    """The profile."""
    credential_ids: Sequence[str] = ("KHOA-TEST-1",)
    """The holder's keys; all are the same."""
    certificate_status: str = "valid"
    """The status of the certificate."""
    revoked: bool = False
    """Whether the certificate was revoked since it was last asked for."""


@dataclass
class _Transaction:
    signatures: list[str]


@dataclass
class _SAD:
    hashes: frozenset[str]
    used: bool = False


class FakeMySignService(FakeService):
    """A service with one holder.

    Args:
        identity: The key and its certificate.
        options: How it is set up; may be changed while it runs.
        now: The clock, in seconds.
    """

    def __init__(
        self,
        identity: Identity,
        options: MySignServiceOptions | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(identity, now=now)
        self.options = options or MySignServiceOptions()
        """How it is set up."""
        self._transactions: dict[str, _Transaction] = {}
        self._sads: dict[str, _SAD] = {}

    @property
    def address(self) -> str:
        """The address of its key, without the face."""
        return f"mysign+{self.base_url}?client={self.options.client}&user={self.options.user}"

    def _answer(self, path: str, request: Request) -> Answer:
        body = read_object(request, lambda words: _refuse(400, "57001", words))
        if path in _LOGIN:
            return self._login(body)
        if not self._has_token(request):
            raise _refuse(401, "59028", "Access token is invalid or expired")
        handlers = {
            "/vtss/service/certificates/info": self._certificates,
            "/vtss/service/signHash": self._sign_later,
            "/vtss/service/requests/status": self._state,
            f"{_CSC}credentials/list": self._list,
            f"{_CSC}credentials/info": self._credential_info,
            f"{_CSC}credentials/authorize": self._authorize,
            f"{_CSC}signatures/signHash": self._sign,
        }
        handler = handlers.get(path)
        if handler is None:
            raise _refuse(404, "404", "Not found")
        return handler(body)

    def _login(self, body: JSONObject) -> Answer:
        options = self.options
        if body.get("client_id") != options.client:
            raise _refuse(400, "58007", "Client ID does not exist")
        if body.get("client_secret") != options.client_secret:
            raise _refuse(400, "86024", "Client secret is invalid")
        if body.get("user_id") != options.user or body.get("profile_id") != options.profile:
            raise _refuse(400, "58008", "User ID does not exist")
        # As the service does it: the lifetime is a text.
        return json_answer(
            {
                "access_token": self._new_token(),
                "refresh_token": "",
                "token_type": "Bearer",
                "expires_in": "3600",
            }
        )

    def _check_client(self, body: JSONObject) -> None:
        if (body.get("client_id"), body.get("client_secret")) != (
            self.options.client,
            self.options.client_secret,
        ):
            raise _refuse(400, "86024", "Client secret is invalid")

    def _certificates(self, body: JSONObject) -> Answer:
        self._check_client(body)
        if body.get("user_id") != self.options.user or body.get("certificates") != "chain":
            raise _refuse(400, "58008", "User ID does not exist")
        return json_answer(
            [{**self._describe(), "credential_id": name} for name in self.options.credential_ids]
        )

    def _describe(self) -> JSONObject:
        chain = [self.identity.certificate, *self.identity.chain]
        return {
            "description": "TEST",
            "key": {"status": "enabled", "algo": [_RSA_ENCRYPTION], "len": "2048", "curve": None},
            "cert": {
                "status": self.options.certificate_status,
                "certificates": [_base64(item.public_bytes(Encoding.DER)) for item in chain],
            },
            "authMode": "implicit",
            "multisign": "2147483647",
            "scal": "2",
        }

    def _sign_later(self, body: JSONObject) -> Answer:
        self._check_client(body)
        if body.get("async") != 1:
            raise _refuse(400, "57001", "async")
        signatures = self._signatures(body)
        transaction = secrets.token_hex(16)
        self._transactions[transaction] = _Transaction(signatures)
        self.holder.ask(transaction)
        return json_answer({"transactionId": transaction})

    def _signatures(self, body: JSONObject) -> list[str]:
        if body.get("credentialID") not in self.options.credential_ids:
            raise _refuse(400, "57002", "Credential ID does not exist")
        if (body.get("hashAlgo"), body.get("signAlgo")) != (_SHA256, _RSA_ENCRYPTION):
            raise _refuse(400, "57003", "Algorithm is not supported")
        hashes = body.get("hash")
        if not isinstance(hashes, list) or not hashes:
            raise _refuse(400, "57004", "hash")
        if "numSignatures" in body and body["numSignatures"] != len(hashes):
            raise _refuse(400, "57005", "numSignatures")
        _check_documents(body.get("documents"), len(hashes))
        digests = [digest for item in hashes if (digest := decode_hash(item, size=32)) is not None]
        if len(digests) != len(hashes):
            raise _refuse(400, "57004", "hash")
        # The service breaks its base64 into lines.
        return [
            base64.encodebytes(sign_digest(self.signing_identity, digest, DIGESTS[_SHA256])).decode("ascii")
            for digest in digests
        ]

    def _state(self, body: JSONObject) -> Answer:
        transaction = self._transactions.get(str(body.get("transactionId")))
        if transaction is None:
            raise _refuse(400, "57006", "Transaction does not exist")
        if self.options.revoked:
            return json_answer({"status": "13004", "message": "Certificate is revoked or expired"})
        match self.holder.decided(str(body["transactionId"])):
            case "confirm":
                signatures = self._keep_all_but_lost(transaction.signatures)
                return json_answer({"status": "1", "signatures": signatures})
            case "decline":
                return json_answer({"status": "4002", "message": "User rejected the request"})
            case _:
                return json_answer({"status": "4000", "message": "Waiting for user confirmation"})

    def _list(self, body: JSONObject) -> Answer:
        if body.get("userID") != self.options.user:
            raise _refuse(400, "58008", "User ID does not exist")
        return json_answer({"credentialIDs": list(self.options.credential_ids)})

    def _credential_info(self, body: JSONObject) -> Answer:
        if body.get("credentialID") not in self.options.credential_ids:
            raise _refuse(400, "57002", "Credential ID does not exist")
        return json_answer(self._describe())

    def _authorize(self, body: JSONObject) -> Answer:
        hashes = body.get("hash")
        if not isinstance(hashes, list) or body.get("numSignatures") != len(hashes):
            raise _refuse(400, "57005", "numSignatures")
        _check_documents(body.get("documents"), len(hashes))
        # The call itself waits for the holder.
        request_id = secrets.token_hex(8)
        self.holder.ask(request_id)
        if self.holder.decision == "decline":
            raise RefusedRequest(
                403, {"error": "access_denied", "error_description": "User rejected the request"}
            )
        value = secrets.token_urlsafe(16)
        self._sads[value] = _SAD(frozenset(hashes))
        return json_answer({"SAD": value, "expiresIn": 300})

    def _sign(self, body: JSONObject) -> Answer:
        sad = self._sads.get(str(body.get("SAD")))
        if sad is None or sad.used:
            raise _refuse(400, "57007", "SAD is invalid")
        if not set(body.get("hash") or ()) <= sad.hashes:
            raise _refuse(400, "57008", "Hash is not authorized by the SAD")
        signatures = self._keep_all_but_lost(self._signatures(body))
        sad.used = True
        return json_answer({"signatures": signatures})


def _check_documents(documents: object, count: int) -> None:
    if not isinstance(documents, list) or len(documents) != count:
        raise _refuse(400, "57009", "documents")
    for item in documents:
        name = item.get("document_name") if isinstance(item, dict) else None
        if not isinstance(name, str) or len(name) >= MAX_NAME_LETTERS or not item.get("document_id"):
            raise _refuse(400, "57009", "documents")
        try:
            plain = base64.b64decode(name, validate=True).decode("ascii")
        except ValueError as exc:
            raise _refuse(400, "57010", "document_name") from exc
        if not re.fullmatch(r"[\w -]+", plain):
            raise _refuse(400, "57010", "document_name")


def _refuse(status: int, code: str, words: str) -> RefusedRequest:
    return RefusedRequest(status, {"error": code, "error_description": words})


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
