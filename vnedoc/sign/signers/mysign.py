"""Keys at Viettel MySign (Cloud-CA), whose holder confirms in the app on the phone. The service has two faces.

``mysign+https://remotesigning.viettel.vn?face=vtss&client=ID&user=ID&profile=adss:ras:profile:001&credential=ID``:

- ``vtss`` (the default): its own calls below ``/vtss/service``; signatures are asked for, then fetched;
- ``adss``: the calls of the Cloud Signature Consortium, version 1, below ``/adss/service/ras/csc/v1``.

Both sign SHA-256 hashes by RSASSA-PKCS1-v1_5.
"""

from __future__ import annotations

import dataclasses
import secrets as random_secrets
from typing import TYPE_CHECKING

from vnedoc.errors import CredentialError, RefusedError, RemoteError
from vnedoc.sign.signers._csc_client import APIVersion, CSCClient, to_base64
from vnedoc.sign.signers._csc_credential import CSCCredential
from vnedoc.sign.signers._remote import (
    JSON,
    JSONService,
    Pending,
    RemoteSigner,
    Reply,
    Secrets,
    error_for,
    make_remote_client,
    wait_for_person,
)
from vnedoc.sign.signers._remote_address import RemoteAddress, RemoteOptions
from vnedoc.sign.signers._remote_values import DIGEST_OIDS, decode_signature, text_of
from vnedoc.sign.signers.base import SecretPrompt
from vnedoc.sign.signers.csc import CSCSigner
from vnedoc.sign.signers.smartca import check_pkcs1_sha256

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vnedoc.errors import VnedocError
    from vnedoc.sign.models import SignatureMechanism
    from vnedoc.sign.signers.base import SecretCallback, Signer

__all__ = ["MySignSigner", "RemoteOptions", "open_mysign"]

DEFAULT_PROFILE = "adss:ras:profile:001"
"""The profile that public programs name."""
DOCUMENT_NAME = "vnedoc"
"""What the app shows of a document; letters, digits and hyphens only."""
_OPTIONS = frozenset({"face", "client", "user", "profile", "credential"})
_RSA_ENCRYPTION = "1.2.840.113549.1.1.1"

_SIGNED = "1"
_WAITING = frozenset({"0", "4000", "6000"})
_NOT_CONFIRMED = "4001"
_DECLINED = "4002"
_NO_USER_OR_CLIENT = frozenset({"58007", "58008", "59033", "86024"})
_REVOKED_OR_EXPIRED = "13004"
_INTERNAL = "50000"


class MySignSigner(RemoteSigner):
    """A key at Viettel MySign, by the face ``vtss``.

    Args:
        calls: The way to the service.
        credential: The key.
        mechanism: RSASSA-PKCS1-v1_5 or ``None``; the service knows no other.
    """

    def __init__(
        self, calls: _VTSS, credential: CSCCredential, *, mechanism: SignatureMechanism | None = None
    ) -> None:
        super().__init__(
            credential.certificate,
            credential.chain,
            mechanism=mechanism,
            service=calls.service,
            batch_size=credential.multisign,
        )
        check_pkcs1_sha256(calls.service.name, self.mechanism, "sha256")
        self._calls = calls
        self._credential_id = credential.credential_id

    def _sign_hashes(self, hashes: Sequence[bytes], digest_algorithm: str) -> list[bytes]:
        service = self._calls.service
        check_pkcs1_sha256(service.name, self.mechanism, digest_algorithm)
        reply = self._calls.request(self._credential_id, hashes)
        transaction = reply.text("transactionId")
        if transaction is None:
            raise service.bad_answer("no transactionId")
        return wait_for_person(
            lambda: self._calls.outcome(transaction),
            options=service.options,
            service=service.name,
            first=Pending(reply.retry_after_s),
        )


class _VTSS:
    """The calls below ``/vtss/service``."""

    def __init__(self, service: JSONService, *, client: str, user: str, profile: str) -> None:
        self.service = service
        self._client = client
        self._user = user
        self._profile = profile

    def sign_in(self) -> tuple[str, float]:
        """Return a token."""
        return _sign_in(
            self.service,
            "vtss/service/ras/v1/login",
            client=self._client,
            user=self._user,
            profile=self._profile,
        )

    def credentials(self) -> list[CSCCredential]:
        """Return the keys of the holder."""
        body = {
            **self._head(),
            "profile_id": self._profile,
            "user_id": self._user,
            "certificates": "chain",
            "certInfo": True,
            "authInfo": True,
        }
        reply = self._post("vtss/service/certificates/info", body)
        if not isinstance(reply.data, list):
            raise self.service.bad_answer("no list of certificates")
        try:
            return [_credential(entry) for entry in reply.data]
        except ValueError as exc:
            raise self.service.bad_answer(str(exc)) from exc

    def request(self, credential_id: str, hashes: Sequence[bytes]) -> Reply:
        """Ask for signatures; the holder confirms once for all."""
        body = {
            **self._head(),
            "credentialID": credential_id,
            "numSignatures": len(hashes),
            **_documents(len(hashes)),
            "hash": [to_base64(value) for value in hashes],
            "hashAlgo": DIGEST_OIDS["sha256"],
            "signAlgo": _RSA_ENCRYPTION,
            "async": 1,
        }
        return self._post("vtss/service/signHash", body)

    def outcome(self, transaction: str) -> list[bytes] | Pending:
        """Return the signatures once the holder has confirmed."""
        reply = self._post("vtss/service/requests/status", {"transactionId": transaction})
        # The number of the state is a text at one time and a number at another.
        state = str(reply.members.get("status", ""))
        if state in _WAITING:
            return Pending(reply.retry_after_s)
        if state != _SIGNED:
            raise self._error(dataclasses.replace(reply, data={**reply.members, "code": state}))
        values = reply.members.get("signatures")
        if not isinstance(values, list):
            raise self.service.bad_answer("no signatures")
        try:
            return [decode_signature(value) for value in values]
        except ValueError as exc:
            raise self.service.bad_answer(str(exc)) from exc

    def _head(self) -> JSON:
        return {"client_id": self._client, "client_secret": _client_secret(self.service, self._client)}

    def _post(self, path: str, body: JSON) -> Reply:
        reply = self.service.post(path, body)
        if reply.status != 200:
            raise self._error(reply)
        return reply

    def _error(self, reply: Reply) -> VnedocError:
        return _error(self.service, reply)


def open_mysign(
    uri: str,
    *,
    secret: SecretCallback,
    mechanism: SignatureMechanism | None = None,
    options: RemoteOptions | None = None,
) -> Signer:
    """Open a key at Viettel MySign.

    Args:
        uri: ``mysign+https://HOST?face=vtss|adss&client=ID&user=ID&profile=ID&credential=ID``. Without
            ``credential`` the holder must have exactly one.
        secret: Called with a :class:`~vnedoc.sign.signers.base.SecretPrompt` for the application's secret.
        mechanism: RSASSA-PKCS1-v1_5 or ``None``; the service knows no other.
        options: How long to wait.

    Raises:
        UsageError: The address is wrong.
        CredentialError: The service does not accept the credentials, or has no such key.
        RemoteError: The service did not answer, or not by its protocol.
        RefusedError: The service said no.
    """
    address = RemoteAddress.parse("mysign", uri, known=_OPTIONS)
    options = address.apply_to(options or RemoteOptions())
    face = address.choose("face", ("vtss", "adss"))
    client_id, user = address.require("client"), address.require("user")
    profile = address.get("profile") or DEFAULT_PROFILE
    secrets = Secrets(secret)
    client = make_remote_client(address, secrets=secrets, options=options)
    service = JSONService(
        address.base_url, name=address.host, client=client, secrets=secrets, options=options
    )
    chosen = address.get("credential")
    try:
        if face == "vtss":
            calls = _VTSS(service, client=client_id, user=user, profile=profile)
            service.sign_in = calls.sign_in
            return MySignSigner(calls, _choose(calls, user, chosen), mechanism=mechanism)
        service.sign_in = lambda: _sign_in(
            service, "adss/service/ras/v1/login", client=client_id, user=user, profile=profile
        )
        csc = CSCClient(service, api=APIVersion.V1, prefix="adss/service/ras/csc/v1/", extras=_documents)
        if chosen is None:
            chosen = _only(service, user, csc.list_credentials(user))
        return CSCSigner(csc, csc.credential(chosen), mechanism=mechanism)
    except BaseException:
        service.close()
        raise


def _sign_in(service: JSONService, path: str, *, client: str, user: str, profile: str) -> tuple[str, float]:
    body = {
        "client_id": client,
        "client_secret": _client_secret(service, client),
        "user_id": user,
        "profile_id": profile,
    }
    reply = service.post_plain(path, body)
    if reply.status in {400, 401, 403}:
        service.secrets.forget()
        raise CredentialError("remote-signing.wrong-secret", **service.refusal(reply).values())
    if reply.status != 200:
        raise _error(service, reply)
    return service.token_in(reply)


def _client_secret(service: JSONService, client: str) -> str:
    return service.secrets.keep(
        SecretPrompt("remote-signing.prompt-client-secret", client=client, service=service.name)
    )


def _error(service: JSONService, reply: Reply) -> VnedocError:
    refusal = service.refusal(reply)
    code = text_of(reply.members, "code") or refusal.code
    refusal = dataclasses.replace(refusal, code=service.secrets.clean(code))
    if refusal.code in _NO_USER_OR_CLIENT:
        service.secrets.forget()
        return CredentialError("remote-signing.wrong-secret", **refusal.values())
    if refusal.code == _NOT_CONFIRMED:
        return RemoteError("remote-signing.not-confirmed", **refusal.values())
    if refusal.code == _DECLINED:
        return RefusedError("remote-signing.declined", **refusal.values())
    if refusal.code == _REVOKED_OR_EXPIRED:
        return CredentialError(
            "remote-signing.credential-disabled",
            credential=refusal.code,
            service=service.name,
            status=refusal.message,
        )
    if refusal.code == _INTERNAL:
        return RemoteError("remote-signing.unavailable", **refusal.values())
    if reply.status == 200:
        return RefusedError("remote-signing.refused", **refusal.values())
    return error_for(refusal, retry_after_s=reply.retry_after_s)


def _choose(calls: _VTSS, user: str, chosen: str | None) -> CSCCredential:
    found = {credential.credential_id: credential for credential in calls.credentials()}
    name = calls.service.name
    if chosen is not None and chosen not in found:
        raise CredentialError(
            "remote-signing.no-credential",
            credential=chosen,
            service=name,
            remote_code="certificates/info",
            remote_message=calls.service.secrets.clean(", ".join(found)) or "-",
        )
    credential = found[chosen or _only(calls.service, user, list(found))]
    if credential.trouble is not None:
        raise CredentialError(
            "remote-signing.credential-disabled",
            credential=credential.credential_id,
            service=name,
            status=calls.service.secrets.clean(credential.trouble),
        )
    return credential


def _only(service: JSONService, user: str, ids: Sequence[str]) -> str:
    if not ids:
        raise CredentialError("remote-signing.no-certificate", service=service.name, owner=user)
    if len(ids) > 1:
        known = service.secrets.clean(", ".join(ids))
        raise CredentialError(
            "remote-signing.choose-credential", service=service.name, known=known, name="credential"
        )
    return ids[0]


def _credential(entry: object) -> CSCCredential:
    if not isinstance(entry, dict):
        raise ValueError("a certificate that is no object")  # noqa: TRY004 - what came is wrong
    credential_id = text_of(entry, "credential_id")
    if credential_id is None:
        raise ValueError("no credential_id")
    key = entry.get("key")
    # Not every answer describes the key; the service signs by RSA anyway.
    described = {"key": key if isinstance(key, dict) else {"algo": [_RSA_ENCRYPTION]}}
    return CSCCredential.parse(credential_id, {**entry, **described})


def _documents(count: int) -> JSON:
    # One entry for each hash; names must be base64 of letters, digits and hyphens, below 100 letters.
    name = to_base64(DOCUMENT_NAME.encode("ascii"))
    run = random_secrets.token_hex(8)
    return {
        "documents": [
            {"document_id": f"{run}-{number}", "document_name": name} for number in range(1, count + 1)
        ]
    }
