"""What the services have in common: a server on loopback, a clock, tokens, a person with a phone, and mishaps."""

from __future__ import annotations

import abc
import base64
import http
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from vnedoc.testing._loopback import Answer, LoopbackServer, Request, Silence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from vnedoc.testing.pki import Identity

__all__ = [
    "DIGESTS",
    "Decision",
    "FakeService",
    "Holder",
    "JSONObject",
    "RefusedRequest",
    "json_answer",
    "sign_digest",
]

JSONObject: TypeAlias = dict[str, Any]  # what a client sent; each value is checked where it is used

Decision: TypeAlias = Literal["confirm", "decline", "ignore"]
"""What the person with the phone does."""

DIGESTS: Mapping[str, hashes.HashAlgorithm] = {
    "2.16.840.1.101.3.4.2.1": hashes.SHA256(),
    "2.16.840.1.101.3.4.2.2": hashes.SHA384(),
    "2.16.840.1.101.3.4.2.3": hashes.SHA512(),
}
"""The digest algorithms by object identifier."""

TOKEN_LIFETIME_S = 3600.0


class RefusedRequest(Exception):  # noqa: N818 - it is an answer, not a fault of ours
    """That a service says no.

    Args:
        status: The HTTP status.
        body: The JSON that goes with it.
    """

    def __init__(self, status: int, body: JSONObject) -> None:
        super().__init__(status, body)
        self.answer = json_answer(body, status)


@dataclass
class Holder:
    """The person who holds the key, with the phone in hand."""

    decision: Decision = "confirm"
    """What the person does when asked."""
    hesitates: int = 0
    """How often one asks in vain before the person has decided."""
    asked: int = 0
    """How many requests reached the phone."""
    messages: list[str] = field(default_factory=list)
    """One-time codes that were sent to the phone, the last one last."""
    _waiting: dict[str, int] = field(default_factory=dict)

    def ask(self, request_id: str) -> None:
        """Show a request on the phone."""
        self.asked += 1
        self._waiting[request_id] = self.hesitates

    def decided(self, request_id: str) -> Decision | None:
        """Return what the person decided, or ``None`` if that is still to come."""
        if self.decision == "ignore":
            return None
        if self._waiting[request_id] > 0:
            self._waiting[request_id] -= 1
            return None
        return self.decision


class FakeService(abc.ABC):
    """A service on loopback that keeps to its protocol; use it in a ``with`` block.

    Args:
        identity: The key and its certificate.
        now: The clock, in seconds.
    """

    def __init__(self, identity: Identity, *, now: Callable[[], float] = time.monotonic) -> None:
        self.identity = identity
        """Whose certificate is shown."""
        self.signing_identity = identity
        """Whose key signs; another one makes the service a confused one."""
        self.now = now
        """The clock, in seconds; may be replaced."""
        self.holder = Holder()
        """The person with the phone."""
        self.lost_signatures = 0
        """How many signatures are missing in an answer."""
        self.sign_ins = 0
        """How often somebody signed in."""
        self.seen: list[str] = []
        """The paths of all calls, in order."""
        self._tokens: dict[str, float] = {}
        self._mishaps: dict[str, list[Answer | Silence]] = {}
        self._lock = threading.Lock()
        self._server = LoopbackServer()

    def __enter__(self) -> Self:
        self._server.start(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.stop()

    @property
    def host(self) -> str:
        """Where it answers: host and port."""
        return self._server.base_url.partition("//")[2]

    @property
    def base_url(self) -> str:
        """Where it answers, without a slash at the end."""
        return self._server.base_url

    def mishap(self, call: str, *answers: Answer | Silence) -> None:
        """Answer the next calls whose path ends so with something else.

        Args:
            call: The end of a path.
            answers: One for each call, in order.
        """
        self._mishaps.setdefault(call, []).extend(answers)

    def forget_tokens(self) -> None:
        """Make every token that was given worthless."""
        self._tokens.clear()

    def call(self, request: Request) -> Answer | Silence:
        """Answer a call; one at a time."""
        with self._lock:
            path = request.path.partition("?")[0]
            self.seen.append(path)
            for call, answers in self._mishaps.items():
                if path.endswith(call) and answers:
                    return answers.pop(0)
            try:
                return self._answer(path, request)
            except RefusedRequest as refusal:
                return refusal.answer

    @property
    @abc.abstractmethod
    def address(self) -> str:
        """The address of its key."""

    @abc.abstractmethod
    def _answer(self, path: str, request: Request) -> Answer | Silence:
        """Answer a call, or raise :class:`RefusedRequest`."""

    def _new_token(self) -> str:
        self.sign_ins += 1
        token = secrets.token_urlsafe(24)
        self._tokens[token] = self.now() + TOKEN_LIFETIME_S
        return token

    def _has_token(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme == "Bearer" and self._tokens.get(token, float("-inf")) > self.now()

    def _keep_all_but_lost(self, signatures: list[str]) -> list[str]:
        return signatures[: len(signatures) - self.lost_signatures]


def json_answer(body: object, status: int = 200, *, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer in JSON."""
    content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
    return Answer(http.HTTPStatus(status), "application/json", content, headers or {})


def read_object(request: Request, refuse: Callable[[str], RefusedRequest]) -> JSONObject:
    """Return the JSON object in a request, or refuse it."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise refuse("the body must be application/json")
    try:
        body = json.loads(request.body)
    except ValueError as exc:
        raise refuse("the body is not JSON") from exc
    if not isinstance(body, dict):
        raise refuse("the body is not an object")
    return body


def sign_digest(
    identity: Identity, digest: bytes, algorithm: hashes.HashAlgorithm, *, pss: bool = False
) -> bytes:
    """Sign a digest with a key of the test PKI.

    Raises:
        ValueError: The digest is not as long as its algorithm makes it.
    """
    prehashed = Prehashed(algorithm)
    key = identity.private_key
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(digest, ec.ECDSA(prehashed))
    assert isinstance(key, rsa.RSAPrivateKey)
    if pss:
        scheme = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
        return key.sign(digest, scheme, prehashed)
    return key.sign(digest, padding.PKCS1v15(), prehashed)


def decode_hash(value: object, *, size: int | None = None) -> bytes | None:
    """Return a hash that came as base64, or ``None`` if it is none or has another size."""
    if not isinstance(value, str):
        return None
    try:
        content = base64.b64decode(value, validate=True)
    except ValueError:
        return None
    return content if size is None or len(content) == size else None
