"""A provincial axis by its own REST API: a login gives a JWT, and every call carries the system's id and secret too.

The form is that of the province of Lạng Sơn (integration guide, version 2.2): ``/v1/auth/login``, ``sendEdoc``,
``syncReceivedEdocList``, ``getEdoc``, ``updateStatus``, ``getAgenciesList``. It has no list of what was sent.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from vnedoc._internal import http
from vnedoc._internal.clock import utc_now, vietnam
from vnedoc.errors import ConfigurationError
from vnedoc.exchange._vxp import MESSAGE_TYPES
from vnedoc.exchange.connectors._http import (
    JSON_TYPE,
    MAX_DIRECTORY_BYTES,
    Form,
    HTTPOptions,
    KeptSecret,
    Token,
    TokenConnector,
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
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO

    from vnedoc.exchange.codes import PackageKind
    from vnedoc.exchange.states import TransportStatus
    from vnedoc.sign.signers.base import SecretCallback

__all__ = ["LGSPConnector", "LGSPOptions"]

# The guide's table: 10 invalid file, 15 wrong id or secret, 18 unknown receiver, 19 sender not registered, 20 trouble
# of the axis, 21 file cannot be processed, 22 not edXML, 23 the receiver is locked. Those not named here say no.
_FAULTS = {"15": Fault.OURS, "20": Fault.LATER, "23": Fault.LATER}
_OBJECTIONS = {"18": Objection.RECIPIENT, "19": Objection.SENDER}
# A token is good for about half an hour; the axis does not say for how long.
_TOKEN_LIFE_S = 25 * 60.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LGSPOptions(HTTPOptions):
    """How to speak to one provincial axis."""

    username: str = ""
    """The account that logs in; empty: it is the system id."""
    application_code: str = ""
    """``applicationCode`` of the login."""
    lookback_days: int = 30
    """How far back the list of what waits is asked for, in days."""


class LGSPConnector(TokenConnector):
    """A system's way to a provincial axis.

    Args:
        base_url: Address of the axis, without ``/v1``.
        system_id: ``X-SystemId``: the code that the axis knows this system by.
        secret: Returns ``X-SecretKey``.
        password: Returns the password of the account.
        name: What errors and attempts call it.
        options: How to speak to this axis.
        tls_passphrase: Returns the passphrase of an encrypted client key.
        clock: Tells the time.

    Raises:
        ConfigurationError: The address, a TLS file or an option cannot be used.
    """

    reports_sent = False
    objections = _OBJECTIONS

    def __init__(
        self,
        base_url: str,
        system_id: str,
        *,
        secret: SecretCallback,
        password: SecretCallback,
        name: str = "lgsp",
        options: LGSPOptions = LGSPOptions(),
        tls_passphrase: SecretCallback | None = None,
        clock: Callable[[], datetime.datetime] = utc_now,
    ) -> None:
        if not 0 < options.lookback_days < 10_000:
            raise ConfigurationError(
                "connector.bad-option", name=name, key="lookback_days", reason=options.lookback_days
            )
        self._secret = KeptSecret(secret, f"{name}: {system_id}", name=name, system_id=system_id)
        self._username = options.username or system_id
        self._password = KeptSecret(
            password, f"{name}: {self._username}", name=name, system_id=self._username
        )
        super().__init__(
            base_url,
            secrets=[self._secret, self._password],
            name=name,
            options=options,
            tls_passphrase=tls_passphrase,
        )
        self._system_id = system_id
        self._options = options
        self._clock = clock

    def _credentials(self) -> tuple[dict[str, str], bool]:
        token, is_old = self._bearer()
        headers = {
            "Authorization": f"Bearer {token}",
            "X-SystemId": self._system_id,
            "X-SecretKey": self._secret.value(),
        }
        return headers, is_old

    def _log_in(self) -> Token:
        body = {
            "username": self._username,
            "password": self._password.value(),
            "applicationCode": self._options.application_code,
            "otp": None,
            "twoFactorProvider": None,
            "typeObjs": [0, 1],
        }
        headers = {"Content-Type": JSON_TYPE}
        path = "/v1/auth/login?allow_anonymous=true"
        with self._open("POST", path, headers, json.dumps(body).encode()) as answer:
            self._raise_for_status(answer)
            fields = self._read_json(answer)
        described = fields if isinstance(fields, dict) else {}
        token = token_of(described.get("data"), "token")
        if token is None:
            code = text_of(described, "code")
            if code is not None and code != "200":
                raise error_for_code(self.name, code, text_of(described, "message") or "", Fault.OURS)
            raise self._bad_answer("token")
        return Token(token, time.monotonic() + _TOKEN_LIFE_S)

    def _list_received(self, kind: PackageKind) -> list[RemoteMessage]:
        today = vietnam(self._clock()).date()
        query = urlencode(
            {
                "messageType": MESSAGE_TYPES[kind],
                "fromDate": f"{today - datetime.timedelta(days=self._options.lookback_days):%Y/%m/%d}",
                # The clock of the axis may be past midnight already.
                "toDate": f"{today + datetime.timedelta(days=1):%Y/%m/%d}",
            }
        )
        answer = self._call("GET", f"/v1/syncReceivedEdocList?{query}")
        messages = [
            message_of(row, kind)
            for row in object_rows(answer.get("data"), name=self.name)
            if text_of(row, "messageType") in {None, MESSAGE_TYPES[kind]}
        ]
        return not_ended(messages)

    def _fetch(self, doc_id: str, stream: BinaryIO) -> None:
        path = "/v1/getEdoc?" + urlencode({"docId": doc_id})
        self._perform(
            lambda credentials: self._open("GET", path, credentials),
            lambda answer: self._read_package(answer, stream),
        )

    def _read_package(self, answer: http.StreamedAnswer, stream: BinaryIO) -> None:
        if not 200 <= answer.status < 300:
            self._read_object(answer)
        fields = self._unwrap(
            answer,
            stream,
            json.loads,
            path=("data", "edxml"),
            text_allowed=True,
            # The attachments may come a second time beside the package, as base64 too.
            max_bytes=self.max_package_bytes * 4 + 65536,
        )
        self._raise_refusal(self._object(fields), answer)

    def _acknowledge(self, doc_id: str, status: TransportStatus) -> None:
        body = json.dumps({"docId": doc_id, "status": status.value}).encode()
        self._call("POST", "/v1/updateStatus", body)

    def _send(self, path: Path, size: int, sender_code: str, kind: PackageKind) -> str:
        # The axis takes the sender from the package.
        del sender_code
        form = Form({"messageType": MESSAGE_TYPES[kind]}, "edocFile", path, size)
        fields = self._perform(
            lambda credentials: self._open(
                "POST", "/v1/sendEdoc", {**credentials, **form.headers()}, form.chunks()
            ),
            self._read_object,
        )
        data = fields.get("data")
        return text_of(fields, "docId") or (text_of(data, "docId") if isinstance(data, dict) else None) or ""

    def _agencies(self) -> list[RemoteAgency]:
        answer = self._perform(
            lambda credentials: self._open("GET", "/v1/getAgenciesList", credentials),
            lambda answer: self._read_any(answer, max_bytes=MAX_DIRECTORY_BYTES),
        )
        rows = answer if isinstance(answer, list) else self._object(answer).get("data")
        return [
            RemoteAgency(
                code=text_of(row, "orgCode") or "",
                name=text_of(row, "orgName") or "",
                parent_code=text_of(row, "parentCode"),
                email=text_of(row, "email"),
            )
            for row in object_rows(rows, name=self.name)
        ]

    def _call(self, method: str, path: str, content: bytes | None = None) -> dict[str, Any]:  # JSON
        headers = {} if content is None else {"Content-Type": JSON_TYPE}
        return self._perform(
            lambda credentials: self._open(method, path, {**credentials, **headers}, content),
            self._read_object,
        )

    def _read_object(self, answer: http.StreamedAnswer) -> dict[str, Any]:  # JSON
        return self._object(self._read_any(answer))

    def _read_any(
        self, answer: http.StreamedAnswer, *, max_bytes: int = http.MAX_ANSWER_BYTES
    ) -> Any:  # JSON
        # A refused token or secret is answered in plain text; the status says all.
        if not 200 <= answer.status < 300 and answer.media_type != JSON_TYPE:
            self._raise_for_status(answer)
        fields = self._read_json(answer, max_bytes=max_bytes)
        if isinstance(fields, dict):
            self._raise_refusal(fields, answer)
        self._raise_for_status(answer)
        return fields

    def _raise_refusal(self, fields: dict[str, Any], answer: http.StreamedAnswer) -> None:  # JSON
        data = fields.get("data")
        details = data if isinstance(data, dict) else fields
        code = text_of(details, "errorCode")
        message = text_of(details, "errorDesc") or text_of(fields, "message") or ""
        if not 200 <= answer.status < 300 and code not in _FAULTS:
            self._raise_for_status(answer, code=code, message=message)
        if fields.get("success") is False or code not in {None, "0"}:
            raise error_for_code(self.name, code or "-", message, _FAULTS.get(code or "", Fault.NEVER))

    def _object(self, fields: object) -> dict[str, Any]:  # JSON
        if not isinstance(fields, dict):
            raise self._bad_answer("not an object")
        return fields
