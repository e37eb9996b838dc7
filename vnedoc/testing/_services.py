"""The services of a test PKI by path: OCSP, CRLs, certificates, timestamps; and how each can be made to fail.

The real services these copy answer on ``ocsp.ca.gov.vn``, ``ca.gov.vn`` and ``tsa.ca.gov.vn``.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import datetime
import http
import secrets
import urllib.parse
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar, get_args

from cryptography.hazmat.primitives import serialization

from vnedoc.testing._loopback import Answer, Silence
from vnedoc.testing._ocsp import OcspResponder, Validity, failure
from vnedoc.testing._timestamping import BadTimestampRequestError, TimestampAuthority, TimestampMistake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vnedoc.testing._authority import Authority

__all__ = ["CrlFault", "OcspFault", "Services", "TsaFault"]

_HttpFault: TypeAlias = Literal["silent", "http-500", "garbage"]
TsaFault: TypeAlias = _HttpFault | TimestampMistake
"""How the time-stamping authority can fail."""
OcspFault: TypeAlias = _HttpFault | Literal["try-later", "stale", "other-certificate"]
"""How the OCSP responder can fail; ``stale``: what it says was replaced a month ago; ``other-certificate``: it says
that another certificate than the one it was asked about is good."""
CrlFault: TypeAlias = _HttpFault | Literal["stale"]
"""How the lists of revoked certificates can fail."""

_MISTAKES: tuple[TimestampMistake, ...] = get_args(TimestampMistake)
_HTTP_FAULTS = get_args(_HttpFault)

_OCSP_LIFE = datetime.timedelta(hours=12)
_CRL_LIFE = datetime.timedelta(days=7)
_STALE = datetime.timedelta(days=30)

_T = TypeVar("_T", bound=str)


class _Fault(Generic[_T]):
    """An attribute that takes the name of a fault or ``None``: a misspelt one must not pass for no fault."""

    def __init__(self, *allowed: _T) -> None:
        self._allowed = allowed

    def __set_name__(self, owner: type[object], name: str) -> None:
        self._slot = f"_{name}"

    def __get__(self, instance: object, owner: type[object] | None = None) -> _T | None:
        value: _T | None = getattr(instance, self._slot, None)
        return value

    def __set__(self, instance: object, value: _T | None) -> None:
        if value is not None and value not in self._allowed:
            raise ValueError(f"unknown fault {value!r}; one of {', '.join(self._allowed)}")
        setattr(instance, self._slot, value)


class Services:
    """What answers at the addresses in the certificates.

    Set a fault to make a service misbehave until it is set to ``None`` again, or use :meth:`failing`.

    Args:
        authorities: Whose certificates and lists are published.
        timestamps: The time-stamping authority.
        now: The clock.
    """

    tsa_fault = _Fault[TsaFault](*_HTTP_FAULTS, *_MISTAKES)
    """What ``/tsa`` does wrong."""
    ocsp_fault = _Fault[OcspFault](*_HTTP_FAULTS, "try-later", "stale", "other-certificate")
    """What ``/ocsp`` does wrong."""
    crl_fault = _Fault[CrlFault](*_HTTP_FAULTS, "stale")
    """What ``/crl/`` does wrong."""

    def __init__(
        self,
        authorities: Sequence[Authority],
        *,
        timestamps: TimestampAuthority,
        now: Callable[[], datetime.datetime],
    ) -> None:
        self._authorities = {authority.name: authority for authority in authorities}
        self._timestamps = timestamps
        self._responder = OcspResponder(authorities)
        self._now = now

    @contextlib.contextmanager
    def failing(
        self,
        *,
        tsa: TsaFault | None = None,
        ocsp: OcspFault | None = None,
        crl: CrlFault | None = None,
    ) -> Iterator[None]:
        """Let services misbehave inside a ``with`` block."""
        before = self.tsa_fault, self.ocsp_fault, self.crl_fault
        self.tsa_fault, self.ocsp_fault, self.crl_fault = tsa, ocsp, crl
        try:
            yield
        finally:
            self.tsa_fault, self.ocsp_fault, self.crl_fault = before

    def get(self, path: str) -> Answer | Silence:
        """Answer GET."""
        kind, _, rest = path.removeprefix("/").partition("/")
        if kind == "tsa":
            # As the government's authority answers a plain GET.
            return _refusal(http.HTTPStatus.FORBIDDEN)
        if kind == "ocsp" and rest:
            return self._ocsp_get(rest)
        name, _, ending = rest.rpartition(".")
        authority = self._authorities.get(name)
        if authority is not None and (kind, ending) == ("crl", "crl"):
            return self._crl(authority)
        if authority is not None and (kind, ending) == ("crt", "crt"):
            content = authority.identity.certificate.public_bytes(serialization.Encoding.DER)
            return Answer(http.HTTPStatus.OK, "application/pkix-cert", content)
        return _refusal(http.HTTPStatus.NOT_FOUND)

    def post(self, path: str, media_type: str, body: bytes) -> Answer | Silence:
        """Answer POST."""
        if path in ("/ocsp", "/ocsp/"):
            if media_type != "application/ocsp-request":
                return _refusal(http.HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
            return self._ocsp(body)
        if path in ("/tsa", "/tsa/"):
            if media_type != "application/timestamp-query":
                return _refusal(http.HTTPStatus.BAD_REQUEST)
            return self._tsa(body)
        return _refusal(http.HTTPStatus.NOT_FOUND)

    def _ocsp_get(self, encoded: str) -> Answer | Silence:
        # RFC 6960, appendix A.1: the percent-encoding of the base64 of the request is the last part of the path.
        try:
            request = base64.b64decode(urllib.parse.unquote(encoded), validate=True)
        except (binascii.Error, ValueError):
            return _refusal(http.HTTPStatus.BAD_REQUEST)
        return self._ocsp(request)

    def _ocsp(self, request: bytes) -> Answer | Silence:
        media_type = "application/ocsp-response"
        fault = self.ocsp_fault
        if fault == "silent" or fault == "http-500" or fault == "garbage":
            return _misbehave(fault, media_type)
        if fault == "try-later":
            return Answer(http.HTTPStatus.OK, media_type, failure("try_later"))
        validity = self._validity(_OCSP_LIFE, stale=fault == "stale")
        content = self._responder.answer(request, validity, about_another=fault == "other-certificate")
        return Answer(http.HTTPStatus.OK, media_type, content)

    def _crl(self, authority: Authority) -> Answer | Silence:
        media_type = "application/pkix-crl"
        fault = self.crl_fault
        if fault == "silent" or fault == "http-500" or fault == "garbage":
            return _misbehave(fault, media_type)
        validity = self._validity(_CRL_LIFE, stale=fault == "stale")
        content = authority.crl(validity.this_update, validity.next_update)
        return Answer(http.HTTPStatus.OK, media_type, content)

    def _tsa(self, request: bytes) -> Answer | Silence:
        media_type = "application/timestamp-reply"
        fault = self.tsa_fault
        if fault == "silent" or fault == "http-500" or fault == "garbage":
            return _misbehave(fault, media_type)
        try:
            content = self._timestamps.answer(request, self._now(), mistake=fault)
        except BadTimestampRequestError:
            return _refusal(http.HTTPStatus.BAD_REQUEST)
        return Answer(http.HTTPStatus.OK, media_type, content)

    def _validity(self, life: datetime.timedelta, *, stale: bool) -> Validity:
        now = self._now().replace(microsecond=0)
        start = now - _STALE if stale else now
        return Validity(produced=start, this_update=start, next_update=start + life)


def _misbehave(fault: _HttpFault, media_type: str) -> Answer | Silence:
    if fault == "silent":
        return Silence()
    if fault == "http-500":
        return _refusal(http.HTTPStatus.INTERNAL_SERVER_ERROR)
    return Answer(http.HTTPStatus.OK, media_type, b"garbage" + secrets.token_bytes(64))


def _refusal(status: http.HTTPStatus) -> Answer:
    return Answer(status, body=status.phrase.encode())
