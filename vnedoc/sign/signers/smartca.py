"""Keys at VNPT SmartCA: the service provider's API (``/sca/sp769/v1``), confirmed by the holder on the phone.

``smartca+https://gwsca.vnpt.vn/sca/sp769/v1?sp=ID&user=ID&serial=HEX``. The service is given SHA-256 hashes in
hexadecimal and signs them by RSASSA-PKCS1-v1_5; one confirmation covers all of one request. What its published
examples leave open is an option here: whether the state of a request is asked for by ``tran_code`` or by
``transaction_id`` (``status-by``).
"""

from __future__ import annotations

import dataclasses
import secrets as random_secrets
from typing import TYPE_CHECKING

from vnedoc._internal import clock
from vnedoc.errors import CredentialError, RefusedError, RemoteError
from vnedoc.sign.models import SignatureMechanism
from vnedoc.sign.signers._chains import order_chain
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
from vnedoc.sign.signers._remote_values import decode_signature, parse_certificate, text_of
from vnedoc.sign.signers.base import SecretPrompt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptography import x509

    from vnedoc.errors import VnedocError
    from vnedoc.sign.signers.base import SecretCallback, Signer

__all__ = ["RemoteOptions", "SmartCASigner", "open_smartca"]

MAX_BATCH = 20
"""How many hashes go into one request; the service names no limit."""
MAX_CERTIFICATES = 20
DEFAULT_DESCRIPTION = "Ký số văn bản"
"""What the app shows the holder."""
_OPTIONS = frozenset({"sp", "user", "serial", "description", "status-by"})
_DONE = "SUCCESS"
# Seen in programs that use the service; its documents do not list the states of a request.
_DECLINED = frozenset({"REJECTED", "CANCELLED", "CANCELED"})
_EXPIRED = frozenset({"EXPIRED", "TIMEOUT"})


@dataclasses.dataclass(frozen=True, slots=True)
class _Certificate:
    serial: str
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]


class SmartCAClient:
    """The calls of the API.

    Args:
        service: The service.
        provider: The id of the service provider (``sp_id``).
        user: The id of the holder (``user_id``).
    """

    def __init__(self, service: JSONService, *, provider: str, user: str) -> None:
        self.service = service
        self._provider = provider
        self._user = user

    def certificates(self) -> list[_Certificate]:
        """Return the certificates of the holder."""
        # All of them: the service compares serial numbers to the letter, people do not.
        reply = self._post("credentials/get_certificate", {**self._head(), "serial_number": ""})
        entries = _data(reply).get("user_certificates")
        if not isinstance(entries, list):
            raise self.service.bad_answer("no user_certificates")
        try:
            return [_certificate(entry) for entry in entries[:MAX_CERTIFICATES]]
        except ValueError as exc:
            raise self.service.bad_answer(str(exc)) from exc

    def request(self, hashes: Mapping[str, bytes], *, serial: str, description: str) -> Reply:
        """Ask for signatures over hashes, by the names of their documents."""
        body = {
            **self._head(),
            "transaction_desc": description,
            "serial_number": serial,
            "time_stamp": f"{clock.utc_now():%Y%m%d%H%M%SZ}",
            "sign_files": [
                {
                    "doc_id": name,
                    "file_type": "pdf",
                    "sign_type": "hash",
                    "data_to_be_signed": value.hex(),
                }
                for name, value in hashes.items()
            ],
        }
        return self._post("signatures/sign", body)

    def state(self, request_id: str) -> Reply:
        """Ask what became of a request."""
        return self._post(f"signatures/sign/{request_id}/status", {})

    def _head(self) -> JSON:
        service = self.service
        prompt = SecretPrompt(
            "remote-signing.prompt-client-secret", client=self._provider, service=service.name
        )
        return {
            "sp_id": self._provider,
            "sp_password": service.secrets.keep(prompt),
            "user_id": self._user,
            # The service wants an id that was never used; it also protects from asking twice.
            "transaction_id": f"vnedoc-{random_secrets.token_hex(16)}",
        }

    def _post(self, path: str, body: JSON) -> Reply:
        reply = self.service.post_plain(path, body)
        inner = reply.members.get("status_code")
        if reply.status == 200 and isinstance(inner, int) and inner != 200:
            # Some refusals come with HTTP 200 around them.
            reply = dataclasses.replace(reply, status=inner)
        if reply.status != 200:
            raise self._error(reply)
        return reply

    def _error(self, reply: Reply) -> VnedocError:
        refusal = self.service.refusal(reply)
        # The word is the message; the number before it is the HTTP status again.
        refusal = dataclasses.replace(refusal, code=refusal.message.split(" ")[0])
        if refusal.code == "SP_CREDENTIAL_INVALID" or reply.status == 401:
            self.service.secrets.forget()
            return CredentialError("remote-signing.wrong-secret", **refusal.values())
        if refusal.code == "CREDENTIAL_STATUS_INVALID":
            return CredentialError(
                "remote-signing.credential-disabled",
                credential=self._user,
                service=self.service.name,
                status=refusal.message,
            )
        return error_for(refusal, retry_after_s=reply.retry_after_s)


class SmartCASigner(RemoteSigner):
    """A key at VNPT SmartCA.

    Args:
        calls: The way to the service.
        certificate: The certificate to sign with.
        description: What the app shows the holder.
        by_transaction: Ask for the state by ``transaction_id`` in place of ``tran_code``.
        mechanism: RSASSA-PKCS1-v1_5 or ``None``; the service knows no other.
    """

    def __init__(
        self,
        calls: SmartCAClient,
        certificate: _Certificate,
        *,
        description: str = DEFAULT_DESCRIPTION,
        by_transaction: bool = False,
        mechanism: SignatureMechanism | None = None,
    ) -> None:
        super().__init__(
            certificate.certificate,
            certificate.chain,
            mechanism=mechanism,
            service=calls.service,
            batch_size=MAX_BATCH,
        )
        check_pkcs1_sha256(calls.service.name, self.mechanism, "sha256")
        self._calls = calls
        self._serial = certificate.serial
        self._description = description
        self._id_name = "transaction_id" if by_transaction else "tran_code"

    def _sign_hashes(self, hashes: Sequence[bytes], digest_algorithm: str) -> list[bytes]:
        service = self._calls.service
        check_pkcs1_sha256(service.name, self.mechanism, digest_algorithm)
        prefix = random_secrets.token_hex(4)
        names = {f"{prefix}-{number}": value for number, value in enumerate(hashes, 1)}
        reply = self._calls.request(names, serial=self._serial, description=self._description)
        request_id = text_of(_data(reply), self._id_name)
        # It becomes part of an address.
        if request_id is None or not all(letter.isalnum() or letter in "-_." for letter in request_id):
            raise service.bad_answer(f"no {self._id_name}")
        signatures = wait_for_person(
            lambda: self._outcome(self._calls.state(request_id)),
            options=service.options,
            service=service.name,
            first=Pending(reply.retry_after_s),
        )
        if set(signatures) != set(names):
            raise RemoteError("remote-signing.wrong-count", expected=len(names), actual=len(signatures))
        return [signatures[name] for name in names]

    def _outcome(self, reply: Reply) -> dict[str, bytes] | Pending:
        service = self._calls.service
        word = (reply.text("message") or "").strip().upper()
        values = {"service": service.name, "remote_code": service.secrets.clean(word), "remote_message": ""}
        values["remote_message"] = values["remote_code"]
        if word in _DECLINED:
            raise RefusedError("remote-signing.declined", **values)
        if word in _EXPIRED:
            raise RemoteError("remote-signing.not-confirmed", **values)
        entries = _data(reply).get("signatures")
        if word != _DONE or not isinstance(entries, list):
            # A word that nobody has written down yet: the limit on waiting decides.
            return Pending(reply.retry_after_s)
        try:
            return {
                text_of(entry, "doc_id") or "": decode_signature(entry.get("signature_value"))
                for entry in entries
                if isinstance(entry, dict)
            }
        except ValueError as exc:
            raise service.bad_answer(str(exc)) from exc


def open_smartca(
    uri: str,
    *,
    secret: SecretCallback,
    mechanism: SignatureMechanism | None = None,
    options: RemoteOptions | None = None,
) -> Signer:
    """Open a key at VNPT SmartCA.

    Args:
        uri: ``smartca+https://HOST/PATH?sp=ID&user=ID&serial=HEX``; further ``description=TEXT``,
            ``status-by=tran_code|transaction_id``. ``PATH`` is what comes before ``/credentials`` and
            ``/signatures``. Without ``serial`` the holder must have exactly one certificate.
        secret: Called with a :class:`~vnedoc.sign.signers.base.SecretPrompt` for the provider's password.
        mechanism: RSASSA-PKCS1-v1_5 or ``None``; the service knows no other.
        options: How long to wait.

    Raises:
        UsageError: The address is wrong.
        CredentialError: The service does not accept the credentials, or has no such certificate.
        RemoteError: The service did not answer, or not by its protocol.
        RefusedError: The service said no.
    """
    address = RemoteAddress.parse("smartca", uri, known=_OPTIONS)
    options = address.apply_to(options or RemoteOptions())
    provider, user = address.require("sp"), address.require("user")
    by_transaction = address.choose("status-by", ("tran_code", "transaction_id")) == "transaction_id"
    secrets = Secrets(secret)
    client = make_remote_client(address, secrets=secrets, options=options)
    service = JSONService(
        address.base_url, name=address.host, client=client, secrets=secrets, options=options
    )
    calls = SmartCAClient(service, provider=provider, user=user)
    try:
        return SmartCASigner(
            calls,
            _choose(calls, user, address.get("serial")),
            description=address.get("description") or DEFAULT_DESCRIPTION,
            by_transaction=by_transaction,
            mechanism=mechanism,
        )
    except BaseException:
        service.close()
        raise


def check_pkcs1_sha256(service: str, mechanism: SignatureMechanism, digest_algorithm: str) -> None:
    """Refuse what services that take a bare SHA-256 hash cannot sign.

    Raises:
        CredentialError: Another mechanism or digest algorithm is asked for.
    """
    if mechanism is not SignatureMechanism.RSA_PKCS1_V15 or digest_algorithm != "sha256":
        raise CredentialError(
            "remote-signing.algorithm-not-offered",
            service=service,
            mechanism=mechanism.value,
            digest_algorithm=digest_algorithm,
        )


def _choose(calls: SmartCAClient, user: str, serial: str | None) -> _Certificate:
    found = calls.certificates()
    if serial is not None:
        found = [entry for entry in found if entry.serial.lower() == serial.lower()]
    if not found:
        owner = user if serial is None else f"{user} / {serial}"
        raise CredentialError("remote-signing.no-certificate", service=calls.service.name, owner=owner)
    if len(found) > 1:
        known = ", ".join(entry.serial for entry in found)
        raise CredentialError(
            "remote-signing.choose-credential", service=calls.service.name, known=known, name="serial"
        )
    return found[0]


def _certificate(entry: object) -> _Certificate:
    if not isinstance(entry, dict):
        raise ValueError("a certificate that is no object")  # noqa: TRY004 - what came is wrong
    leaf = parse_certificate(entry.get("cert_data"))
    above = entry.get("chain_data")
    others = [
        parse_certificate(value)
        for name in ("ca_cert", "root_cert")
        if isinstance(above, dict) and (value := above.get(name))
    ]
    serial = text_of(entry, "serial_number") or f"{leaf.serial_number:x}"
    return _Certificate(serial, leaf, tuple(order_chain(leaf, others)))


def _data(reply: Reply) -> JSON:
    data = reply.members.get("data")
    return data if isinstance(data, dict) else {}
