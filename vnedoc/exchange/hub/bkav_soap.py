"""The hub's wire of the eDoc platform's SOAP service: requests in, envelopes, reports and faults out.

What the service refuses for a reason of its own is a ``Report`` in an answer of HTTP 200, as the platform has it;
what is no request of the service at all is a ``soap:Fault`` with a code for machines in its detail. The platform's
own programs lose some reports on the way and answer an unknown operation with an empty body; this hub says why.

An operation is told by the first element of the body. A ``SOAPAction`` may be left out; one that names another
operation is refused, because the platform would follow it and not the body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route

from vnedoc._internal.multipart import (
    MultipartError,
    MultipartLimits,
    MultipartReader,
    TooManyPartsError,
    parse_content_type,
)
from vnedoc.exchange._soap import names
from vnedoc.exchange._soap.description import description
from vnedoc.exchange._soap.envelope import (
    EnvelopeError,
    FaultCode,
    SoapFault,
    SoapVersion,
    parse_envelope,
)
from vnedoc.exchange._soap.message import EnvelopeNotFirstError, MessageParts
from vnedoc.exchange._vxp import ErrorCode
from vnedoc.exchange.hub._bkav_soap_calls import Calls
from vnedoc.exchange.hub._bkav_soap_replies import ReportError
from vnedoc.exchange.hub.answering import StrangersBody, StreamedAnswer, drain, guarded
from vnedoc.exchange.hub.refusals import RefusalError
from vnedoc.exchange.hub.visits import current_visit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from starlette.requests import Request

    from vnedoc.exchange._soap.envelope import Envelope
    from vnedoc.exchange._soap.message import ReceivedPart
    from vnedoc.exchange._soap.names import Operation
    from vnedoc.exchange.hub._bkav_soap_replies import Reply
    from vnedoc.exchange.hub.core import Hub

__all__ = ["routes"]

MAX_ENVELOPE_BYTES = 2 * 1024 * 1024
"""The largest envelope; attachments travel beside it."""
_MULTIPART = "multipart/related"
_ENVELOPES = frozenset({"text/xml", "application/soap+xml", "application/xop+xml"})
_REQUESTS = {operation.request: operation for operation in names.OPERATIONS.values()}
_UNDERSTOOD = frozenset(
    {"MessageHeader", "TraceHeaderList", "ErrorList", "Signature", "CheckPermission", "Token"}
)
# What a refusal of the hub is called in reports.
_REPORT_CODES = {
    ErrorCode.UNAUTHENTICATED: names.ReportCode.PERMISSION,
    ErrorCode.UNKNOWN_RECIPIENT: names.ReportCode.RECIPIENT,
    ErrorCode.UNKNOWN_SENDER: names.ReportCode.ORGAN_ID,
    ErrorCode.INVALID_PACKAGE: names.ReportCode.SEND_DOCUMENT,
    ErrorCode.CONFLICT: names.ReportCode.EXIST,
    ErrorCode.UNKNOWN_DOCUMENT: names.ReportCode.NOT_ALLOWED,
    ErrorCode.GONE: names.ReportCode.DOCUMENT_ID,
    ErrorCode.BACKWARDS: names.ReportCode.CONFIRM_RECEIVED,
    ErrorCode.BAD_PARAMETER: names.ReportCode.DOCUMENT_ID,
}
# What a refusal with an HTTP status of its own is called in faults.
_FAULT_CODES = {408: "too-slow", 413: "too-large", 429: "busy", 503: "busy"}


class FaultError(RefusalError):
    """The request is none of the service.

    Args:
        detail_code: What is wrong, for machines.
        message_id: The id of its sentence.
        fault: Whose fault it is.
        version: The version of SOAP to answer in.
        status: The HTTP status; 200 leaves it to the binding of SOAP.
        values: What the sentence names.
    """

    def __init__(
        self,
        detail_code: str,
        message_id: str,
        *,
        fault: FaultCode = FaultCode.CLIENT,
        version: SoapVersion = SoapVersion.V11,
        status: int = 200,
        **values: object,
    ) -> None:
        super().__init__(ErrorCode.INVALID_FILE, message_id, status=status, **values)
        self.detail_code = detail_code
        self.fault = fault
        self.version = version


def routes(hub: Hub) -> list[Route]:
    """Return the routes of the wire."""
    wire = _SoapWire(hub)
    return [
        Route(names.PATH, guarded(wire.answer, refuse=wire.refuse), methods=["POST"]),
        Route(names.PATH, wire.describe, methods=["GET"]),
    ]


class _Start:
    """The envelope of a request, and whether its header lets somebody in.

    Args:
        calls: Know who is let in.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._parsed: Envelope | EnvelopeError | None = None

    def read(self, content: bytes) -> bool:
        """Read the envelope; tell whether its header names an organization and its token."""
        try:
            self._parsed = parse_envelope([content])
        except EnvelopeError as exc:
            self._parsed = exc
            return False
        return self._calls.lets_in(self._parsed)

    def envelope(self) -> Envelope:
        """Return the envelope, once it was read.

        Raises:
            FaultError: It was none.
        """
        assert self._parsed is not None
        if isinstance(self._parsed, EnvelopeError):
            error = self._parsed
            raise FaultError(error.code, "soap.malformed", fault=error.fault, reason=str(error)) from error
        return self._parsed


class _SoapWire:
    """Answers the operations of the service."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._calls = Calls(hub)

    async def describe(self, request: Request) -> Response:
        """Return the description of the service, which names the address that it was asked at."""
        if "wsdl" not in {key.lower() for key in request.query_params}:
            return Response(f"SOAP 1.1, SOAP 1.2: {names.PATH}?wsdl\n", media_type="text/plain")
        address = str(request.url.replace(query="", fragment=""))
        return Response(description(address), media_type="text/xml")

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        media_type, parameters = _content_type(request)
        with self._hub.store.payloads.temporary() as prefix:
            start = _Start(self._calls)
            # Nothing of a stranger fills the disk.
            parts = MessageParts(
                prefix,
                start=parameters.get("start"),
                max_envelope_bytes=MAX_ENVELOPE_BYTES,
                sniff=False,
                admit=start.read,
            )
            limit = self._hub.options.max_package_bytes
            try:
                async with StrangersBody(request, self._hub, limit=limit) as body:
                    if media_type == _MULTIPART:
                        await self._read_parts(body, start, parts, parameters)
                    else:
                        await self._read_envelope(body, start)
                    envelope = start.envelope()
                    operation = _operation(envelope, _action(request, parameters))
                    reply = await self._reply(operation, envelope, parts.parts, prefix)
            finally:
                await run_in_threadpool(parts.discard)
            # What follows the envelope of a stranger was not read.
            await drain(request)
            return await self._response(reply, envelope.version)

    async def _read_parts(
        self, body: StrangersBody, start: _Start, parts: MessageParts, parameters: dict[str, str]
    ) -> None:
        try:
            reader = MultipartReader(parameters.get("boundary", ""), parts, limits=MultipartLimits())
            async for chunk in body.chunks():
                await run_in_threadpool(reader.feed, chunk)
                if parts.is_admitted is False:
                    break
                if parts.is_admitted and body.is_strangers:
                    await self._let_in(body, start)
            else:
                reader.finish()
        except MultipartError as exc:
            raise FaultError(_multipart_code(exc), "soap.malformed", reason=str(exc)) from exc
        if not parts.envelope:
            raise FaultError("bad-multipart", "soap.malformed", reason="no part is the envelope")

    async def _read_envelope(self, body: StrangersBody, start: _Start) -> None:
        content = bytearray()
        async for chunk in body.chunks():
            content += chunk
            if len(content) > MAX_ENVELOPE_BYTES:
                raise FaultError(
                    "too-large", "soap.malformed", reason=f"more than {MAX_ENVELOPE_BYTES} bytes"
                )
        if await run_in_threadpool(start.read, bytes(content)):
            await self._let_in(body, start)

    async def _let_in(self, body: StrangersBody, start: _Start) -> None:
        try:
            await body.let_in()
        except RefusalError as refusal:
            raise self._in_version(refusal, start.envelope().version) from refusal

    async def _reply(
        self, operation: Operation, envelope: Envelope, parts: Sequence[ReceivedPart], prefix: Path
    ) -> Reply:
        try:
            return await run_in_threadpool(self._calls.answer, operation.name, envelope, parts, prefix)
        except ReportError as error:
            language = self._hub.options.language
            rows = [(row.code, row.text(language)) for row in error.rows]
            return self._calls.report(operation, rows)
        except RefusalError as refusal:
            code = _REPORT_CODES.get(refusal.error_code)
            if code is None:
                raise self._in_version(refusal, envelope.version) from refusal
            text = refusal.answer(self._hub.options.language).error_text
            return self._calls.report(operation, [(code.value, text)])

    async def _response(self, reply: Reply, version: SoapVersion) -> Response:
        background = None if reply.after is None else BackgroundTask(run_in_threadpool, reply.after)
        if reply.unpacked_bytes:
            await self._begin_unpacking(reply.unpacked_bytes, version)
            message = await run_in_threadpool(reply.message, version)
        else:
            message = reply.message(version)
        if isinstance(message.content, bytes):
            return Response(message.content, media_type=message.content_type, background=background)
        return StreamedAnswer(
            message.content, media_type=message.content_type, size=message.size, background=background
        )

    async def _begin_unpacking(self, size: int, version: SoapVersion) -> None:
        visit = current_visit()
        if visit is None:
            return
        try:
            await self._hub.begin_unpacking(visit, size)
        except RefusalError as refusal:
            raise self._in_version(refusal, version) from refusal

    def _in_version(self, refusal: RefusalError, version: SoapVersion) -> RefusalError:
        fault = FaultError(
            _FAULT_CODES.get(refusal.status, "internal"),
            refusal.message_id,
            fault=FaultCode.CLIENT if 400 <= refusal.status < 500 else FaultCode.SERVER,
            version=version,
            status=refusal.status,
        )
        fault.values = refusal.values
        fault.retry_after_s = refusal.retry_after_s
        return fault

    def refuse(self, refusal: RefusalError) -> Response:
        """Write a refusal as a fault."""
        text = refusal.answer(self._hub.options.language).error_text
        if isinstance(refusal, FaultError):
            fault, version = SoapFault(refusal.fault, text, refusal.detail_code), refusal.version
        else:
            code = _FAULT_CODES.get(refusal.status, "internal")
            whose = FaultCode.SERVER if refusal.status >= 500 or refusal.status == 408 else FaultCode.CLIENT
            fault, version = SoapFault(whose, text, code), SoapVersion.V11
        status = refusal.status
        if status == 200:
            # SOAP 1.1, 6.2: every fault is a 500. SOAP 1.2 part 2, 7.5.2.2: the caller's is a 400.
            client = version is SoapVersion.V12 and fault.code is FaultCode.CLIENT
            status = 400 if client else 500
        return Response(
            fault.to_envelope(version), status_code=status, media_type=f"{version.media_type}; charset=UTF-8"
        )


def _multipart_code(error: MultipartError) -> str:
    match error:
        case TooManyPartsError():
            return "too-many-parts"
        case EnvelopeNotFirstError():
            return "envelope-not-first"
        case _:
            return "bad-multipart"


def _content_type(request: Request) -> tuple[str, dict[str, str]]:
    value = request.headers.get("Content-Type", "")
    try:
        media_type, parameters = parse_content_type(value)
    except MultipartError as exc:
        raise FaultError("media-type", "soap.malformed", reason=str(exc)) from exc
    kind = parameters.get("type", "text/xml").lower() if media_type == _MULTIPART else media_type
    if kind not in _ENVELOPES:
        raise FaultError("media-type", "soap.media-type", status=415, value=value[:100])
    return media_type, parameters


def _action(request: Request, parameters: dict[str, str]) -> str:
    """Return the ``SOAPAction`` of SOAP 1.1, or the parameter of the content type that took its place in 1.2."""
    value = request.headers.get("SOAPAction") or parameters.get("action") or ""
    # Some clients write the namespace before the name.
    return value.strip().strip("\"'").rpartition("/")[2].removeprefix("urn:")


def _operation(envelope: Envelope, action: str) -> Operation:
    version = envelope.version
    for block in envelope.header:
        must = block.attributes.get(f"{{{version.value}}}mustUnderstand", "").strip()
        known = block.name in _UNDERSTOOD and block.namespace in {names.NAMESPACE, "http://e-doc.vn/xsd", ""}
        if must in {"1", "true"} and not known:
            raise FaultError(
                "not-understood",
                "soap.not-understood",
                fault=FaultCode.MUST_UNDERSTAND,
                version=version,
                name=block.name[:80],
            )
    content = envelope.content
    if content is None:
        # The question whether a token is good stands in the header; its body is empty.
        element = "CheckPermission" if envelope.block("CheckPermission") else ""
    else:
        element = content.name
        if element in _REQUESTS and content.namespace not in {names.NAMESPACE, ""}:
            raise FaultError(
                "namespace",
                "soap.namespace",
                version=version,
                name=element,
                namespace=content.namespace[:200],
            )
    operation = _REQUESTS.get(element)
    if operation is None:
        raise FaultError(
            "unknown-operation",
            "soap.unknown-operation",
            version=version,
            name=(element or action or "-")[:80],
        )
    if action and action != operation.name.value:
        if action not in {name.value for name in names.OPERATIONS}:
            raise FaultError("unknown-operation", "soap.unknown-operation", version=version, name=action[:80])
        raise FaultError(
            "action-mismatch", "soap.action-mismatch", version=version, action=action[:80], element=element
        )
    return operation
