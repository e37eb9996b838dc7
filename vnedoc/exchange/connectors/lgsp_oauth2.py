"""A provincial axis behind an API gateway: OAuth2 client credentials (RFC 6749, 4.4) before the calls of the axis.

The form is that of the province of Quảng Nam on WSO2 API Manager: ``/token``, then ``vanbans`` and
``donvilienthongs``. Known from a generated client, which names its operations and their arguments but hides how they
travel: where the secret of the unit (``secretDonVi``) stands is therefore an option. It has no list of what was sent.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from vnedoc._internal.http import MAX_ANSWER_BYTES
from vnedoc.errors import ConfigurationError
from vnedoc.exchange import _vxp
from vnedoc.exchange.connectors._http import (
    JSON_TYPE,
    MAX_DIRECTORY_BYTES,
    HTTPOptions,
    KeptSecret,
    Token,
    TokenConnector,
    file_chunks,
)
from vnedoc.exchange.connectors._json_rows import message_of, not_ended, object_rows, text_of, token_of
from vnedoc.exchange.connectors.base import (
    Fault,
    Objection,
    RemoteAgency,
    RemoteMessage,
    error_for_code,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from vnedoc._internal import http
    from vnedoc.exchange.codes import PackageKind
    from vnedoc.exchange.states import TransportStatus
    from vnedoc.sign.signers.base import SecretCallback

__all__ = ["SECRET_PLACES", "LGSPOAuth2Connector", "LGSPOAuth2Options"]

SECRET_PLACES = ("header", "query")
"""Where the secret of the unit may stand."""
# The rows are those of the national axis, so its code for trouble is read too; codes of the gateway for callers.
_FAULTS = {"15": Fault.OURS, "20": Fault.LATER}
_OBJECTIONS = {"18": Objection.RECIPIENT, "19": Objection.SENDER}
# RFC 6749, 5.2: these come with status 400 as well as 401.
_CLIENT_ERRORS = frozenset({"invalid_client", "unauthorized_client", "invalid_grant"})
_DEFAULT_LIFE_S = 3600.0
# A token that ends while a large package is on its way is refused at the end of it.
_MARGIN_S = 60.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LGSPOAuth2Options(HTTPOptions):
    """How to speak to one gateway."""

    token_path: str = "/token"  # noqa: S105 - a path
    """Path of the token endpoint."""
    api_path: str = "/truclienthong/v1.0.0"
    """Path that the calls of the axis begin with."""
    unit_secret_in: str = "header"  # noqa: S105 - a place
    """Where the secret of the unit stands; one of :data:`SECRET_PLACES`. In a query it shows in logs of servers."""
    unit_secret_name: str = "secretDonVi"  # noqa: S105 - a name
    """The name of the header or of the parameter that holds it."""


class LGSPOAuth2Connector(TokenConnector):
    """A system's way to a provincial axis behind a gateway.

    Args:
        base_url: Address of the gateway.
        consumer_key: The key that the gateway gave to this system.
        secret: Returns the consumer secret.
        unit_secret: Returns the secret of the unit that sends and receives.
        name: What errors and attempts call it.
        options: How to speak to this gateway.
        tls_passphrase: Returns the passphrase of an encrypted client key.

    Raises:
        ConfigurationError: The address, a TLS file or an option cannot be used.
    """

    reports_sent = False
    objections = _OBJECTIONS

    def __init__(
        self,
        base_url: str,
        consumer_key: str,
        *,
        secret: SecretCallback,
        unit_secret: SecretCallback,
        name: str = "lgsp-oauth2",
        options: LGSPOAuth2Options = LGSPOAuth2Options(),
        tls_passphrase: SecretCallback | None = None,
    ) -> None:
        if options.unit_secret_in not in SECRET_PLACES:
            raise ConfigurationError(
                "connector.bad-option", name=name, key="unit_secret_in", reason=", ".join(SECRET_PLACES)
            )
        self._consumer_key = consumer_key
        self._secret = KeptSecret(secret, f"{name}: {consumer_key}", name=name, system_id=consumer_key)
        self._unit_secret = KeptSecret(
            unit_secret, f"{name}: {options.unit_secret_name}", name=name, system_id=consumer_key
        )
        super().__init__(
            base_url,
            secrets=[self._secret, self._unit_secret],
            name=name,
            options=options,
            tls_passphrase=tls_passphrase,
        )
        self._options = options

    def _credentials(self) -> tuple[dict[str, str], bool]:
        token, is_old = self._bearer()
        headers = {"Authorization": f"Bearer {token}"}
        if self._options.unit_secret_in == SECRET_PLACES[0]:
            headers[self._options.unit_secret_name] = self._unit_secret.value()
        return headers, is_old

    def _log_in(self) -> Token:
        # RFC 6749, 2.3.1: a colon in the key would end it.
        pair = f"{quote(self._consumer_key, safe='')}:{quote(self._secret.value(), safe='')}".encode()
        headers = {
            "Authorization": "Basic " + base64.b64encode(pair).decode("ascii"),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        path = self._options.token_path
        with self._open("POST", path, headers, b"grant_type=client_credentials") as answer:
            if answer.media_type != JSON_TYPE:
                self._raise_for_status(answer)
            fields = self._read_json(answer)
            error = text_of(fields, "error") if isinstance(fields, dict) else None
            if error in _CLIENT_ERRORS:
                message = text_of(fields, "error_description") or f"HTTP {answer.status}"
                raise error_for_code(self.name, error or "", message, Fault.OURS)
            self._raise_for_status(answer, code=error)
        token = token_of(fields, "access_token")
        if token is None:
            raise self._bad_answer("access_token")
        life = text_of(fields, "expires_in") or ""
        seconds = float(life) if life.isascii() and life.isdigit() and len(life) < 9 else _DEFAULT_LIFE_S
        return Token(token, time.monotonic() + max(seconds - _MARGIN_S, seconds / 2))

    def _path(self, path: str, **query: str) -> str:
        if self._options.unit_secret_in == SECRET_PLACES[1]:
            query[self._options.unit_secret_name] = self._unit_secret.value()
        return self._options.api_path + path + (f"?{urlencode(query)}" if query else "")

    def _list_received(self, kind: PackageKind) -> list[RemoteMessage]:
        answer = self._call("GET", "/vanbans")
        messages = [
            message_of(row, kind)
            for row in object_rows(answer.data, name=self.name)
            # One list holds both kinds; a row that does not say is a document.
            if (text_of(row, "messageType") or "edoc").lower() == _vxp.MESSAGE_TYPES[kind]
        ]
        return not_ended(messages)

    def _fetch(self, doc_id: str, stream: BinaryIO) -> None:
        self._perform(
            lambda credentials: self._open("GET", self._path(f"/vanbans/{quote(doc_id)}"), credentials),
            lambda answer: self._read_package(answer, stream),
        )

    def _read_package(self, answer: http.StreamedAnswer, stream: BinaryIO) -> None:
        if not 200 <= answer.status < 300:
            self._read_envelope(answer)
        self._raise_refusal(self._unwrap(answer, stream, _vxp.Answer.from_json, text_allowed=True))

    def _acknowledge(self, doc_id: str, status: TransportStatus) -> None:
        self._call("PUT", f"/vanbans/{quote(doc_id)}", status=status.value.upper())

    def _send(self, path: Path, size: int, sender_code: str, kind: PackageKind) -> str:
        # The axis takes the sender from the package.
        del sender_code
        head, tail = json.dumps({"loaiVanBan": _vxp.MESSAGE_TYPES[kind], "file": "|"}).encode().split(b"|")
        length = len(head) + 4 * -(-size // 3) + len(tail)
        headers = {"Content-Type": JSON_TYPE, "Content-Length": str(length)}
        envelope = self._perform(
            lambda credentials: self._open(
                "POST", self._path("/vanbans"), {**credentials, **headers}, _encoded(path, size, head, tail)
            ),
            self._read_envelope,
        )
        return envelope.doc_id or ""

    def _agencies(self) -> list[RemoteAgency]:
        answer = self._perform(
            lambda credentials: self._open("GET", self._path("/donvilienthongs"), credentials),
            lambda answer: self._read_envelope(answer, max_bytes=MAX_DIRECTORY_BYTES),
        )
        rows = object_rows(answer.data, name=self.name)
        codes = {text_of(row, "id"): text_of(row, "code") for row in rows}
        return [
            RemoteAgency(
                code=text_of(row, "code") or "",
                name=text_of(row, "name") or "",
                parent_code=codes.get(text_of(row, "pid")),
                email=text_of(row, "mail"),
            )
            for row in rows
        ]

    def _call(self, method: str, path: str, **query: str) -> _vxp.Answer:
        return self._perform(
            lambda credentials: self._open(method, self._path(path, **query), credentials),
            self._read_envelope,
        )

    def _read_envelope(
        self, answer: http.StreamedAnswer, *, max_bytes: int = MAX_ANSWER_BYTES
    ) -> _vxp.Answer:
        content = answer.read(max_bytes=max_bytes)
        try:
            envelope = _vxp.Answer.from_json(content)
        except (ValueError, RecursionError) as exc:
            # What the gateway says for itself has another shape: the status says all.
            self._raise_for_status(answer)
            raise self._bad_answer(str(exc)) from exc
        self._raise_for_status(answer, code=envelope.error_code, message=envelope.error_text)
        self._raise_refusal(envelope)
        return envelope

    def _raise_refusal(self, envelope: _vxp.Answer) -> None:
        if not envelope.ok:
            fault = _FAULTS.get(envelope.error_code, Fault.NEVER)
            raise error_for_code(self.name, envelope.error_code, envelope.error_text, fault)


def _encoded(path: Path, size: int, head: bytes, tail: bytes) -> Iterator[bytes]:
    yield head
    left = b""
    for chunk in file_chunks(path, size):
        content = left + chunk
        # A multiple of three bytes becomes base64 without padding, so that pieces can be joined.
        usable = len(content) - len(content) % 3
        left = content[usable:]
        yield base64.b64encode(content[:usable])
    yield base64.b64encode(left)
    yield tail
