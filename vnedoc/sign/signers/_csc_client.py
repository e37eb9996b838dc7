"""The calls of the Cloud Signature Consortium's API that signing needs, in versions 1.0.4.0 and 2.0.0.2."""

from __future__ import annotations

import base64
import dataclasses
import enum
from typing import TYPE_CHECKING

from vnedoc._internal.der import explicit, integer, null, oid, sequence
from vnedoc.errors import CredentialError, RefusedError, RemoteError
from vnedoc.sign.models import SignatureMechanism
from vnedoc.sign.signers._csc_credential import CSCCredential, CSCFactor, FactorKind
from vnedoc.sign.signers._remote import JSON, JSONService, Pending, Reply, error_for, wait_for_person
from vnedoc.sign.signers._remote_values import DIGEST_OIDS, decode_signature
from vnedoc.sign.signers.base import SecretPrompt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vnedoc.errors import VnedocError
    from vnedoc.sign.signers._oauth2 import AuthorizationCodeFlow

__all__ = ["APIVersion", "CSCClient", "to_base64"]

_RSA_ENCRYPTION = "1.2.840.113549.1.1.1"
_RSASSA_PSS = "1.2.840.113549.1.1.10"
_EC_PUBLIC_KEY = "1.2.840.10045.2.1"
_COMBINED = {
    (SignatureMechanism.RSA_PKCS1_V15, "sha256"): "1.2.840.113549.1.1.11",
    (SignatureMechanism.RSA_PKCS1_V15, "sha384"): "1.2.840.113549.1.1.12",
    (SignatureMechanism.RSA_PKCS1_V15, "sha512"): "1.2.840.113549.1.1.13",
    (SignatureMechanism.ECDSA, "sha256"): "1.2.840.10045.4.3.2",
    (SignatureMechanism.ECDSA, "sha384"): "1.2.840.10045.4.3.3",
    (SignatureMechanism.ECDSA, "sha512"): "1.2.840.10045.4.3.4",
}
_GENERAL = {
    SignatureMechanism.RSA_PKCS1_V15: _RSA_ENCRYPTION,
    SignatureMechanism.RSA_PSS: _RSASSA_PSS,
    SignatureMechanism.ECDSA: _EC_PUBLIC_KEY,
}
_ERRORS: dict[str, tuple[type[VnedocError], str]] = {
    "invalid_otp": (CredentialError, "remote-signing.wrong-otp"),
    "invalid_pin": (CredentialError, "remote-signing.wrong-pin"),
    "invalid_authentication_data": (CredentialError, "remote-signing.wrong-factor"),
    "access_denied": (RefusedError, "remote-signing.declined"),
    "authentication_error": (CredentialError, "remote-signing.wrong-secret"),
    "invalid_client": (CredentialError, "remote-signing.wrong-secret"),
    "invalid_grant": (CredentialError, "remote-signing.wrong-secret"),
    "unauthorized_client": (CredentialError, "remote-signing.wrong-secret"),
    "temporarily_unavailable": (RemoteError, "remote-signing.unavailable"),
    "server_error": (RemoteError, "remote-signing.unavailable"),
}


class APIVersion(enum.StrEnum):
    """A version of the API, as it stands in the paths."""

    V1 = "v1"
    """1.0.4.0 (2019)."""
    V2 = "v2"
    """2.0.0.2 (2023)."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Algorithm:
    oid: str
    hash_oid: str | None
    parameters: bytes | None


class CSCClient:
    """The calls of the API that signing needs.

    Args:
        service: The service.
        api: The version it speaks.
        prefix: What stands before the names of the calls, with a slash at its end.
        extras: Further members that a service wants in calls about a number of hashes.
        asynchronous: Ask for signatures that are ready later, and fetch them (version 2).
    """

    def __init__(
        self,
        service: JSONService,
        *,
        api: APIVersion,
        prefix: str,
        extras: Callable[[int], JSON] = lambda _count: {},
        asynchronous: bool = False,
    ) -> None:
        self.service = service
        self._api = api
        self._prefix = prefix
        self._extras = extras
        self.asynchronous = asynchronous
        self.flow: AuthorizationCodeFlow | None = None
        """How a person is asked in the browser; ``None`` where that cannot be done."""

    def info(self) -> JSON:
        """Return what the service says of itself (clause 11.1)."""
        reply = self.service.post_plain(f"{self._prefix}info", {})
        if reply.status != 200:
            raise self.error(reply)
        return reply.members

    def list_credentials(self, user: str | None) -> list[str]:
        """Return the ids of the credentials (clause 11.3; 11.4 of version 2)."""
        reply = self.call("credentials/list", {} if user is None else {"userID": user})
        ids = reply.members.get("credentialIDs")
        if not isinstance(ids, list) or not all(isinstance(item, str) for item in ids):
            raise self.service.bad_answer("no credentialIDs")
        return ids

    def credential(self, credential_id: str) -> CSCCredential:
        """Return a credential with its certificates.

        Raises:
            CredentialError: There is no such credential, or it cannot sign.
            RemoteError: The service did not answer, or not by its protocol.
        """
        body = {"credentialID": credential_id, "certificates": "chain", "certInfo": True, "authInfo": True}
        reply = self.service.post(f"{self._prefix}credentials/info", body)
        if reply.status in {400, 404}:
            refusal = self.service.refusal(reply)
            raise CredentialError(
                "remote-signing.no-credential", credential=credential_id, **refusal.values()
            )
        if reply.status != 200:
            raise self.error(reply)
        try:
            credential = CSCCredential.parse(credential_id, reply.members)
        except ValueError as exc:
            raise self.service.bad_answer(str(exc)) from exc
        if credential.trouble is not None:
            raise CredentialError(
                "remote-signing.credential-disabled",
                credential=credential_id,
                service=self.service.name,
                status=self.service.secrets.clean(credential.trouble),
            )
        if credential.needs_browser and self.flow is None:
            raise CredentialError(
                "remote-signing.needs-browser", credential=credential_id, service=self.service.name
            )
        return credential

    def authorize(self, credential: CSCCredential, hashes: Sequence[bytes], digest_algorithm: str) -> str:
        """Return the signature activation data (SAD) for some hashes, and for no others.

        Raises:
            CredentialError: A PIN or a code is missing or wrong, or the key is locked.
            RefusedError: The holder of the key, or the service, said no.
            RemoteError: The service did not answer, or nobody confirmed in time.
        """
        if credential.needs_browser:
            return self._authorize_in_browser(credential, hashes, digest_algorithm)
        body: JSON = {
            "credentialID": credential.credential_id,
            "numSignatures": len(hashes),
            **self._hashes(hashes),
            **self._extras(len(hashes)),
        }
        given = self._factors(credential)
        if self._api is APIVersion.V1:
            body |= {name: value for name, value in given.items() if value is not None}
        else:
            body["hashAlgorithmOID"] = DIGEST_OIDS[digest_algorithm]
            body["authData"] = [
                {"id": name} if value is None else {"id": name, "value": value}
                for name, value in given.items()
            ]
        reply = self.call("credentials/authorize", body, accepted=(200, 202), patient=True, once=bool(given))
        if reply.status == 202:
            reply = self._wait_for_authorization(reply)
        sad = reply.text("SAD")
        if sad is None:
            raise self.service.bad_answer("no SAD")
        self.service.secrets.hide(sad)
        return sad

    def _authorize_in_browser(
        self, credential: CSCCredential, hashes: Sequence[bytes], digest_algorithm: str
    ) -> str:
        """Return the token of scope ``credential``, which stands where the SAD does (8.3.2; 8.4.2 of version 2)."""
        assert self.flow is not None
        name = "hash" if self._api is APIVersion.V1 else "hashes"
        wanted = {
            "scope": "credential",
            "credentialID": credential.credential_id,
            "numSignatures": str(len(hashes)),
            name: ",".join(base64.urlsafe_b64encode(value).decode("ascii") for value in hashes),
        }
        if self._api is APIVersion.V2:
            wanted["hashAlgorithmOID"] = DIGEST_OIDS[digest_algorithm]
        token, _ = self.service.token_in(self.flow.authorize(wanted))
        return token

    def sign_hashes(
        self,
        credential: CSCCredential,
        hashes: Sequence[bytes],
        *,
        sad: str,
        mechanism: SignatureMechanism,
        digest_algorithm: str,
    ) -> list[bytes]:
        """Return the signatures over some hashes.

        Raises:
            CredentialError: The key does not sign in this way.
            RefusedError: The service said no.
            RemoteError: The service did not answer, or not by its protocol.
        """
        algorithm = self.algorithm(credential, mechanism, digest_algorithm)
        body: JSON = {
            "credentialID": credential.credential_id,
            "SAD": sad,
            **self._hashes(hashes),
            "signAlgo": algorithm.oid,
            **self._extras(len(hashes)),
        }
        if algorithm.hash_oid is not None:
            body["hashAlgo" if self._api is APIVersion.V1 else "hashAlgorithmOID"] = algorithm.hash_oid
        if algorithm.parameters is not None:
            body["signAlgoParams"] = to_base64(algorithm.parameters)
        if self._api is APIVersion.V2:
            body["operationMode"] = "A" if self.asynchronous else "S"
        reply = self.call("signatures/signHash", body, patient=True)
        waiting = reply.text("responseID")
        if waiting is not None and "signatures" not in reply.members:
            reply = self._wait_for_signatures(waiting, reply)
        values = reply.members.get("signatures")
        if not isinstance(values, list):
            raise self.service.bad_answer("no signatures")
        try:
            return [decode_signature(value) for value in values]
        except ValueError as exc:
            raise self.service.bad_answer(str(exc)) from exc

    def algorithm(
        self, credential: CSCCredential, mechanism: SignatureMechanism, digest_algorithm: str
    ) -> _Algorithm:
        """Return how a way of signing is called at this credential.

        Raises:
            CredentialError: The credential does not offer it.
        """
        combined = _COMBINED.get((mechanism, digest_algorithm))
        general = _GENERAL[mechanism]
        if combined is not None and combined in credential.algorithms:
            return _Algorithm(combined, None, None)
        if general not in credential.algorithms:
            raise CredentialError(
                "remote-signing.algorithm-not-offered",
                service=self.service.name,
                mechanism=mechanism.value,
                digest_algorithm=digest_algorithm,
            )
        parameters = None
        if mechanism is SignatureMechanism.RSA_PSS:
            parameters = _pss_parameters(digest_algorithm)
        return _Algorithm(general, DIGEST_OIDS[digest_algorithm], parameters)

    def call(
        self,
        method: str,
        body: JSON,
        *,
        accepted: Sequence[int] = (200,),
        patient: bool = False,
        once: bool = False,
    ) -> Reply:
        """Call a method and return its answer.

        Raises:
            VnedocError: The service said no; the kind tells why.
        """
        reply = self.service.post(f"{self._prefix}{method}", body, patient=patient, once=once)
        if reply.status not in accepted:
            raise self.error(reply)
        return reply

    def error(self, reply: Reply) -> VnedocError:
        """Return the error for a refusal (clauses 10.2 and 11)."""
        refusal = self.service.refusal(reply)
        kind, code = _ERRORS.get(refusal.code, (None, ""))
        if kind is None and refusal.message.casefold() == "credential locked":
            kind, code = CredentialError, "remote-signing.locked"
        if kind is None:
            return error_for(refusal, retry_after_s=reply.retry_after_s)
        if kind is CredentialError:
            # Next time the person is asked again; what was wrong once is not sent twice.
            self.service.secrets.forget()
        if kind is RemoteError:
            return kind(code, **refusal.values(), retry_after_s=reply.retry_after_s)
        return kind(code, **refusal.values())

    def _hashes(self, hashes: Sequence[bytes]) -> JSON:
        name = "hash" if self._api is APIVersion.V1 else "hashes"
        return {name: [to_base64(value) for value in hashes]}

    def _factors(self, credential: CSCCredential) -> dict[str, str | None]:
        """Return what the holder of the key knows or has; ``None`` for what the phone sees to."""
        given: dict[str, str | None] = {}
        for factor in credential.factors:
            if factor.kind is FactorKind.APP:
                given[factor.name] = None
                continue
            value = self._factor(credential, factor)
            if value is not None:
                given[factor.name] = value
        if credential.alternatives and any(given.values()):
            # The expression offers a choice, and the person made it by giving a secret.
            given = {name: value for name, value in given.items() if value is not None}
        return given

    def _factor(self, credential: CSCCredential, factor: CSCFactor) -> str | None:
        secrets = self.service.secrets
        names = {"credential": credential.credential_id, "service": self.service.name}
        if factor.kind is FactorKind.PIN:
            prompt = SecretPrompt("remote-signing.prompt-pin", **names)
            return secrets.keep(prompt) if factor.required else secrets.ask_optional(prompt)
        prompt = SecretPrompt("remote-signing.prompt-otp", **names)
        if factor.kind is FactorKind.ANSWER:
            body = {"credentialID": credential.credential_id, "authObjectID": factor.name}
            reply = self.call("credentials/getChallenge", body, accepted=(200, 204))
            challenge = reply.text("challenge")
            if challenge is not None:
                prompt = SecretPrompt(
                    "remote-signing.prompt-challenge", challenge=secrets.clean(challenge), **names
                )
        elif factor.kind is FactorKind.SENT_CODE:
            body = {"credentialID": credential.credential_id}
            self.call("credentials/sendOTP", body, accepted=(200, 204))
        return secrets.ask(prompt) if factor.required else secrets.ask_optional(prompt)

    def _wait_for_authorization(self, reply: Reply) -> Reply:
        handle = reply.text("handle")

        def ask() -> Reply | Pending:
            nonlocal handle
            answer = self.call("credentials/authorizeCheck", {"handle": handle}, accepted=(200, 202))
            if answer.status == 202:
                handle = answer.text("handle") or handle
                return Pending(answer.retry_after_s)
            return answer

        if handle is None:
            raise self.service.bad_answer("no handle")
        self.service.secrets.hide(handle)
        return self._wait(ask, reply)

    def _wait_for_signatures(self, request_id: str, reply: Reply) -> Reply:
        def ask() -> Reply | Pending:
            answer = self.call("signatures/signPolling", {"requestID": request_id}, accepted=(200, 202))
            return Pending(answer.retry_after_s) if answer.status == 202 else answer

        return self._wait(ask, reply)

    def _wait(self, ask: Callable[[], Reply | Pending], reply: Reply) -> Reply:
        return wait_for_person(
            ask,
            options=self.service.options,
            service=self.service.name,
            first=Pending(reply.retry_after_s),
        )

    def preferred_mechanism(self, credential: CSCCredential) -> SignatureMechanism | None:
        """Return PSS for a credential that offers nothing else; ``None`` leaves the choice to the signer."""
        pkcs1 = {_RSA_ENCRYPTION, _COMBINED[SignatureMechanism.RSA_PKCS1_V15, "sha256"]}
        only_pss = _RSASSA_PSS in credential.algorithms and not pkcs1 & credential.algorithms
        return SignatureMechanism.RSA_PSS if only_pss else None


def _pss_parameters(digest_algorithm: str) -> bytes:
    """Return RSASSA-PSS-params (RFC 4055, 3.1) as :mod:`vnedoc.sign._cms` writes them into the signature."""
    digest = sequence(oid(DIGEST_OIDS[digest_algorithm]), null())
    size = {"sha256": 32, "sha384": 48, "sha512": 64}[digest_algorithm]
    mask = sequence(oid("1.2.840.113549.1.1.8"), digest)
    return sequence(explicit(0, digest), explicit(1, mask), explicit(2, integer(size)))


def to_base64(value: bytes) -> str:
    """Return base64 as JSON and headers carry it."""
    return base64.b64encode(value).decode("ascii")
