"""A service of the Cloud Signature Consortium (API 1.0.4.0 and 2.0.0.2) that keeps to the letter of its errors.

It checks who signs in, how long a token lives, what its holder gives to authorise, to which hashes the signature
activation data (SAD) is bound, how often and how long it may be used, and how the algorithms are named.
"""

from __future__ import annotations

import base64
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from asn1crypto import algos
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from vnedoc.testing.remote_signing._oauth2 import AuthorizationServer
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

__all__ = ["CSCServiceOptions", "FakeCSCService"]

SAD_LIFETIME_S = 300.0
MAX_WRONG_PINS = 3

_RSA_ENCRYPTION, _RSASSA_PSS, _EC_PUBLIC_KEY = (
    "1.2.840.113549.1.1.1",
    "1.2.840.113549.1.1.10",
    "1.2.840.10045.2.1",
)
_COMBINED = {
    "1.2.840.113549.1.1.11": "2.16.840.1.101.3.4.2.1",
    "1.2.840.113549.1.1.12": "2.16.840.1.101.3.4.2.2",
    "1.2.840.113549.1.1.13": "2.16.840.1.101.3.4.2.3",
    "1.2.840.10045.4.3.2": "2.16.840.1.101.3.4.2.1",
    "1.2.840.10045.4.3.3": "2.16.840.1.101.3.4.2.2",
    "1.2.840.10045.4.3.4": "2.16.840.1.101.3.4.2.3",
}


@dataclass(kw_only=True)
class CSCServiceOptions:
    """How a service is set up."""

    api: Literal["v1", "v2"] = "v1"
    """The version of the API."""
    client: str = "app-TEST"
    """The id of the application, for OAuth2."""
    client_secret: str = "bi-mat-ung-dung-TEST"  # noqa: S105 - of a service that does not exist
    """Its secret."""
    user: str = "vanthu-TEST"
    """The name of the user, for ``auth/login``."""
    password: str = "mat-khau-TEST"  # noqa: S105
    """The user's password."""
    credential_ids: Sequence[str] = ("KHOA-TEST-1",)
    """The credentials; all are the same key."""
    factors: Sequence[Literal["pin", "otp", "sent-otp", "challenge", "app"]] = ()
    """What the holder gives; nothing is the mode ``implicit`` of version 1."""
    pin: str = "246810"
    """The PIN."""
    scal: Literal["1", "2"] = "2"
    """Whether the SAD is bound to the hashes (2) or not (1)."""
    multisign: int = 10
    """How many signatures one authorisation may cover."""
    algorithms: Sequence[str] = (_RSA_ENCRYPTION, "1.2.840.113549.1.1.11")
    """The signature algorithms."""
    key_status: str = "enabled"
    """The status of the key."""
    certificate_status: str = "valid"
    """The status of the certificate."""
    auth_types: Sequence[str] = ("basic", "oauth2client", "oauth2code")
    """The ways to sign in."""
    asynchronous: bool = False
    """Whether signatures can be fetched later (version 2)."""
    mode: str | None = None
    """The way to authorise, if not what the factors make it; ``oauth2code`` asks in the browser."""
    redirect_uris: Sequence[str] = ("http://127.0.0.1/vnedoc",)
    """Where browsers may be sent back to; on loopback to any port."""
    public_client: bool = False
    """Whether the application needs no secret for what a person agreed to."""
    refresh_tokens: bool = True
    """Whether a refresh token is given."""


@dataclass
class _SAD:
    hashes: frozenset[str]
    count: int
    good_until: float
    credential_id: str


@dataclass
class _Authorization:
    """What was asked of the phone."""

    sad: _SAD
    request_id: str = field(default_factory=lambda: secrets.token_hex(8))


class FakeCSCService(FakeService):
    """A service with one key.

    Args:
        identity: The key and its certificate.
        options: How it is set up; may be changed while it runs.
        now: The clock, in seconds.
    """

    def __init__(
        self,
        identity: Identity,
        options: CSCServiceOptions | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(identity, now=now)
        self.options = options or CSCServiceOptions()
        """How it is set up."""
        self.authorizations = 0
        """How often signatures were authorised."""
        self.wrong_pins = 0
        """How often a wrong PIN came; three lock the key."""
        self.offline_codes: list[str] = []
        """One-time codes that the holder's device shows; each is good once."""
        self._sads: dict[str, _SAD] = {}
        self._handles: dict[str, _Authorization] = {}
        self._later: dict[str, list[str]] = {}
        self.oauth2 = AuthorizationServer(self)
        """Its authorization server."""

    @property
    def address(self) -> str:
        """The address of its key, without the way to sign in."""
        return f"csc+{self.base_url}?api={self.options.api}&credential={self.options.credential_ids[0]}"

    def expire_sads(self) -> None:
        """Make every authorisation old."""
        for sad in self._sads.values():
            sad.good_until = self.now()

    def new_code(self) -> str:
        """Return the next code of the holder's device."""
        code = f"{secrets.randbelow(10**6):06d}"
        self.offline_codes.append(code)
        return code

    def visit(self, path: str) -> Answer:
        """Answer GET: the pages of the authorization server."""
        with self._lock:
            self.seen.append(path.partition("?")[0])
            return self.oauth2.visit(path)

    def new_token(self) -> str:
        """Return a new token."""
        return self._new_token()

    def take_back(self, tokens: Sequence[str]) -> None:
        """Make tokens worthless."""
        for token in tokens:
            self._tokens.pop(token, None)

    def issue_sad(self, hashes: frozenset[str], count: int, credential_id: str) -> tuple[str, int]:
        """Return an authorisation that a person gave in the browser, and how many seconds it lives."""
        self.authorizations += 1
        value = secrets.token_urlsafe(24)
        self._sads[value] = _SAD(hashes, count, self.now() + SAD_LIFETIME_S, credential_id)
        return value, int(SAD_LIFETIME_S)

    def _answer(self, path: str, request: Request) -> Answer:
        if path.startswith("/oauth2/"):
            return self.oauth2.call(path, request)
        prefix = f"/csc/{self.options.api}/"
        if not path.startswith(prefix):
            raise RefusedRequest(404, {"error": "not_found"})
        method = path.removeprefix(prefix)
        body = read_object(request, _invalid)
        if method == "info":
            return json_answer(self._info())
        if method == "auth/login":
            return self._login(request)
        handler = self._methods().get(method)
        if handler is None:
            raise RefusedRequest(404, {"error": "not_found"})
        if not self._has_token(request):
            raise RefusedRequest(
                401, {"error": "invalid_token", "error_description": "The access token is not valid"}
            )
        return handler(body)

    def _methods(self) -> dict[str, Callable[[JSONObject], Answer]]:
        methods = {
            "credentials/list": self._list,
            "credentials/info": self._credential_info,
            "credentials/authorize": self._authorize,
            "signatures/signHash": self._sign_hash,
        }
        if self.options.api == "v1":
            return {**methods, "credentials/sendOTP": self._send_code}
        return {
            **methods,
            "credentials/authorizeCheck": self._authorize_check,
            "credentials/getChallenge": self._challenge,
            "signatures/signPolling": self._poll,
        }

    def _info(self) -> JSONObject:
        info: JSONObject = {
            "specs": "1.0.4.0" if self.options.api == "v1" else "2.0.0.2",
            "name": "Dịch vụ ký số TEST",
            "logo": f"{self.base_url}/logo.png",
            "region": "VN",
            "lang": "vi-VN",
            "description": "TEST",
            "authType": list(self.options.auth_types),
            "oauth2": self.base_url,
            "methods": ["auth/login", *self._methods()],
        }
        if self.options.api == "v2":
            info["asynchronousOperationMode"] = self.options.asynchronous
        return info

    def _login(self, request: Request) -> Answer:
        pair = base64.b64encode(f"{self.options.user}:{self.options.password}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {pair}":
            words = "An error occurred during authentication process"
            raise RefusedRequest(400, {"error": "authentication_error", "error_description": words})
        return json_answer({"access_token": self._new_token(), "expires_in": 3600})

    def _list(self, body: JSONObject) -> Answer:
        if not set(body) <= {"userID", "maxResults", "credentialInfo"}:
            raise _invalid("Invalid parameter")
        return json_answer({"credentialIDs": list(self.options.credential_ids)})

    def _credential_info(self, body: JSONObject) -> Answer:
        self._credential_id(body)
        options = self.options
        chain = [self.identity.certificate, *self.identity.chain]
        key = self.identity.certificate.public_key()
        info: JSONObject = {
            "key": {
                "status": options.key_status,
                "algo": list(options.algorithms),
                "len": key.key_size if isinstance(key, rsa.RSAPublicKey) else 256,
            },
            "cert": {
                "status": options.certificate_status,
                "certificates": [
                    base64.b64encode(item.public_bytes(Encoding.DER)).decode() for item in chain
                ],
            },
            "SCAL": options.scal,
            "multisign": options.multisign,
        }
        if options.api == "v1":
            info["authMode"] = options.mode or ("explicit" if options.factors else "implicit")
            if "pin" in options.factors:
                info["PIN"] = {"presence": "true", "format": "N", "label": "PIN"}
            for name, kind in (("otp", "offline"), ("sent-otp", "online")):
                if name in options.factors:
                    info["OTP"] = {"presence": "true", "type": kind, "format": "N", "label": "OTP"}
        else:
            info["auth"] = {
                "mode": options.mode or "explicit",
                "expression": " AND ".join(_names_2(options.factors)),
                "objects": [_object_2(factor) for factor in options.factors],
            }
        return json_answer(info)

    def _send_code(self, body: JSONObject) -> Answer:
        self._credential_id(body)
        self.holder.messages.append(f"{secrets.randbelow(10**6):06d}")
        return json_answer(None, 204)

    def _challenge(self, body: JSONObject) -> Answer:
        self._credential_id(body)
        if body.get("authObjectID") not in {"CAU-HOI", "OTP"}:
            raise _invalid("Invalid parameter authObjectID")
        code = f"{secrets.randbelow(10**6):06d}"
        self.holder.messages.append(code)
        if body["authObjectID"] == "OTP":
            return json_answer(None, 204)
        return json_answer({"challenge": f"Mã {code[::-1]} đọc ngược lại là gì?"})

    def _authorize(self, body: JSONObject) -> Answer:
        options = self.options
        credential_id = self._credential_id(body)
        if options.mode == "oauth2code":
            raise _invalid("Invalid parameter credentialID")
        count = body.get("numSignatures")
        if not isinstance(count, int) or isinstance(count, bool):
            raise _invalid("Missing (or invalid type) integer parameter numSignatures")
        if count < 1:
            raise _invalid("Invalid value for parameter numSignatures")
        if count > options.multisign:
            raise _invalid("Numbers of signatures is too high")
        name = "hash" if options.api == "v1" else "hashes"
        hashes = body.get(name, [])
        if options.scal == "2" and not hashes:
            raise _invalid(f"Missing (or invalid type) array parameter {name}")
        if not isinstance(hashes, list) or any(decode_hash(item) is None for item in hashes):
            raise _invalid("Invalid Base64 hash string parameter")
        if options.api == "v2" and hashes and body.get("hashAlgorithmOID") not in DIGESTS:
            raise _invalid("Invalid parameter hashAlgorithmOID")
        if self.wrong_pins >= MAX_WRONG_PINS:
            raise _invalid("Credential locked")
        self._check_factors(body)
        sad = _SAD(frozenset(hashes), count, self.now() + SAD_LIFETIME_S, credential_id)
        if "app" in options.factors:
            authorization = _Authorization(sad)
            self.holder.ask(authorization.request_id)
            handle = secrets.token_urlsafe(16)
            self._handles[handle] = authorization
            return json_answer({"handle": handle}, 202, headers={"Retry-After": "0"})
        return self._issue(sad)

    def _check_factors(self, body: JSONObject) -> None:
        options = self.options
        if options.api == "v1":
            given: JSONObject = {name: body[name] for name in ("PIN", "OTP") if name in body}
        else:
            data = body.get("authData", [])
            if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
                raise _invalid("Invalid parameter authData")
            given = {str(item.get("id")): item.get("value") for item in data}
        wanted = set(_names_2(options.factors))
        if set(given) != wanted:
            raise _invalid(f"Missing (or invalid type) string parameter {' '.join(sorted(wanted))}")
        if "PIN" in wanted and given["PIN"] != options.pin:
            self.wrong_pins += 1
            raise self._wrong("invalid_pin", "The PIN is invalid")
        for name, codes in (
            ("OTP", self.offline_codes if "otp" in options.factors else self.holder.messages),
            ("CAU-HOI", self.holder.messages),
        ):
            if name in wanted:
                if given[name] not in codes:
                    raise self._wrong("invalid_otp", "The OTP is invalid")
                codes.remove(given[name])

    def _wrong(self, code: str, words: str) -> RefusedRequest:
        if self.options.api == "v2":
            code, words = "invalid_authentication_data", "The authentication data is invalid"
        return RefusedRequest(400, {"error": code, "error_description": words})

    def _authorize_check(self, body: JSONObject) -> Answer:
        handle = str(body.get("handle"))
        authorization = self._handles.get(handle)
        if authorization is None:
            raise _invalid("Invalid parameter handle")
        match self.holder.decided(authorization.request_id):
            case "confirm":
                del self._handles[handle]
                return self._issue(authorization.sad)
            case "decline":
                del self._handles[handle]
                raise RefusedRequest(
                    400, {"error": "access_denied", "error_description": "The user denied the request"}
                )
            case _:
                return json_answer({"handle": handle}, 202)

    def _issue(self, sad: _SAD) -> Answer:
        self.authorizations += 1
        value = secrets.token_urlsafe(24)
        self._sads[value] = sad
        return json_answer({"SAD": value, "expiresIn": int(SAD_LIFETIME_S)})

    def _sign_hash(self, body: JSONObject) -> Answer:
        options = self.options
        credential_id = self._credential_id(body)
        sad = self._sads.get(body["SAD"]) if isinstance(body.get("SAD"), str) else None
        if sad is None or sad.credential_id != credential_id:
            raise _invalid("Invalid parameter SAD")
        if sad.good_until <= self.now():
            raise _invalid("SAD expired")
        name = "hash" if options.api == "v1" else "hashes"
        hashes = body.get(name)
        if not isinstance(hashes, list):
            raise _invalid(f"Missing (or invalid type) array parameter {name}")
        if not hashes:
            raise _invalid("Empty hash array")
        if options.scal == "2" and not set(hashes) <= sad.hashes:
            raise _invalid("Hash is not authorized by the SAD")
        if len(hashes) > sad.count:
            raise _invalid("Numbers of signatures is too high")
        digest_oid, pss = self._algorithm(body)
        algorithm = DIGESTS[digest_oid]
        values = [decode_hash(item, size=algorithm.digest_size) for item in hashes]
        if any(value is None for value in values):
            raise _invalid("Invalid digest value length")
        sad.count -= len(hashes)
        signatures = self._keep_all_but_lost(
            [
                base64.b64encode(sign_digest(self.signing_identity, value, algorithm, pss=pss)).decode()
                for value in values
                if value is not None
            ]
        )
        if options.api == "v2" and body.get("operationMode") == "A":
            if not options.asynchronous:
                raise _invalid("Invalid parameter operationMode")
            request_id = secrets.token_hex(8)
            self.holder.ask(request_id)
            self._later[request_id] = signatures
            return json_answer({"responseID": request_id})
        return json_answer({"signatures": signatures})

    def _algorithm(self, body: JSONObject) -> tuple[str, bool]:
        options = self.options
        sign_algo = body.get("signAlgo")
        if sign_algo not in options.algorithms:
            raise _invalid("Invalid parameter signAlgo")
        hash_name = "hashAlgo" if options.api == "v1" else "hashAlgorithmOID"
        given = body.get(hash_name)
        if sign_algo in _COMBINED:
            return _COMBINED[sign_algo], False
        if given is None:
            raise _invalid(f"Missing (or invalid type) string parameter {hash_name}")
        if given not in DIGESTS:
            raise _invalid(f"Invalid parameter {hash_name}")
        if sign_algo != _RSASSA_PSS:
            return given, False
        if not isinstance(body.get("signAlgoParams"), str):
            raise _invalid("Missing (or invalid type) string parameter signAlgoParams")
        try:
            parameters = algos.RSASSAPSSParams.load(base64.b64decode(body["signAlgoParams"]), strict=True)
            named = (
                parameters["hash_algorithm"]["algorithm"].dotted,
                parameters["mask_gen_algorithm"]["parameters"]["algorithm"].dotted,
                parameters["salt_length"].native,
            )
        except (ValueError, TypeError) as exc:
            raise _invalid("Invalid parameter signAlgoParams") from exc
        if named != (given, given, DIGESTS[given].digest_size):
            raise _invalid("Invalid parameter signAlgoParams")
        return given, True

    def _poll(self, body: JSONObject) -> Answer:
        request_id = body.get("requestID")
        if not isinstance(request_id, str) or request_id not in self._later:
            raise _invalid("Invalid parameter requestID")
        if self.holder.decided(request_id) is None:
            return json_answer({"error": "accepted_request", "error_description": "not yet completed"}, 202)
        return json_answer({"signatures": self._later.pop(request_id)})

    def _credential_id(self, body: JSONObject) -> str:
        credential_id = body.get("credentialID")
        if not isinstance(credential_id, str):
            raise _invalid("Missing (or invalid type) string parameter credentialID")
        if credential_id not in self.options.credential_ids:
            raise _invalid("Invalid parameter credentialID")
        return credential_id


def _names_2(factors: Sequence[str]) -> list[str]:
    names = {"pin": "PIN", "otp": "OTP", "sent-otp": "OTP", "challenge": "CAU-HOI", "app": "DIEN-THOAI"}
    return [names[factor] for factor in factors]


def _object_2(factor: str) -> JSONObject:
    (name,) = _names_2([factor])
    match factor:
        case "pin":
            return {"type": "Password", "id": name, "format": "N", "label": "PIN"}
        case "otp":
            return {"type": "Password", "id": name, "format": "N", "generator": "totp", "label": "OTP"}
        case "sent-otp" | "challenge":
            return {"type": "ChallengeResponse", "id": name, "format": "N", "label": "OTP"}
        case _:
            return {"type": "Push", "id": name, "label": "App"}


def _invalid(words: str) -> RefusedRequest:
    return RefusedRequest(400, {"error": "invalid_request", "error_description": words})
