"""How answers of the eDoc SOAP service are read, and what its reports and faults mean for a message.

The service answers with an envelope alone or, even where nothing is attached, with a message of several parts. A
refusal of its own is a report in an answer of HTTP 200; trouble is a fault, or an exception that it reports in words.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from vnedoc._internal.http import parse_retry_after
from vnedoc._internal.multipart import MultipartError, MultipartLimits, MultipartReader, parse_content_type
from vnedoc.errors import ConnectorError
from vnedoc.exchange._soap import names
from vnedoc.exchange._soap.envelope import (
    DEFAULT_LIMITS,
    EnvelopeError,
    EnvelopeLimits,
    FaultCode,
    SoapFault,
    parse_envelope,
)
from vnedoc.exchange._soap.message import MessageParts
from vnedoc.exchange._soap.report import NOT_LET_IN, is_own_trouble, read_report
from vnedoc.exchange.connectors.base import MAX_RETRY_AFTER_S, Fault, error_for_code, error_for_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnedoc._internal.http import StreamedAnswer
    from vnedoc.errors import VnedocError
    from vnedoc.exchange._edxml.tree import Node
    from vnedoc.exchange._soap.envelope import Envelope
    from vnedoc.exchange._soap.report import Report

__all__ = ["MAX_ENVELOPE_BYTES", "AnswerReader", "fault_error", "report_error"]

MAX_ENVELOPE_BYTES = 4 * 1024 * 1024
"""The largest envelope that is read whole."""
_SHOWN_ERRORS = 5
# Answers that say nothing but whether it was done.
_REPORTS = frozenset(
    names.OPERATIONS[name].response
    for name in (
        *(names.OperationName.SEND_DOCUMENT, names.OperationName.UPDATE_TRACES),
        *(names.OperationName.CONFIRM_RECEIVED, names.OperationName.CHECK_PERMISSION),
    )
)
_XML = frozenset({"text/xml", "application/soap+xml", "application/xml"})


class AnswerReader:
    """Reads the answers of one connection.

    Args:
        name: The name of the connection.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def bad(self, reason: str) -> ConnectorError:
        """Return the error for an answer that cannot be used."""
        return ConnectorError("connector.bad-answer", name=self._name, reason=reason[:200])

    def parts(
        self, answer: StreamedAnswer, prefix: Path, *, max_bytes: int, max_envelope_bytes: int
    ) -> MessageParts:
        """Take an answer apart; attachments are written to files.

        Args:
            answer: The answer.
            prefix: Where files are made: a path to which a dot and a number are added.
            max_bytes: The largest answer.
            max_envelope_bytes: The largest envelope in it.

        Raises:
            ConnectorError: Trouble, or no answer of the service.
            RefusedError: The service said no.
        """
        media_type, parameters = self._content_type(answer)
        parts = MessageParts(
            prefix, start=parameters.get("start"), max_envelope_bytes=max_envelope_bytes, sniff=True
        )
        is_ok = 200 <= answer.status < 300
        try:
            if media_type == "multipart/related":
                self._read_parts(answer, parts, parameters.get("boundary", ""), max_bytes=max_bytes)
            elif is_ok or media_type in _XML:
                parts.envelope = answer.read(max_bytes=min(max_bytes, max_envelope_bytes))
            if not is_ok:
                self._raise_for_page(parts.envelope, answer)
            if not parts.envelope:
                raise self.bad("no envelope")
        except BaseException:
            # An answer that breaks off leaves a file open.
            parts.discard()
            raise
        return parts

    def _content_type(self, answer: StreamedAnswer) -> tuple[str, dict[str, str]]:
        try:
            return parse_content_type(answer.header("Content-Type") or "")
        except MultipartError as exc:
            self._raise_for_status(answer)
            raise self.bad(str(exc)) from exc

    def _read_parts(
        self, answer: StreamedAnswer, parts: MessageParts, boundary: str, *, max_bytes: int
    ) -> None:
        try:
            reader = MultipartReader(boundary, parts, limits=MultipartLimits())
            for chunk in answer.chunks(max_bytes=max_bytes):
                reader.feed(chunk)
            reader.finish()
        except MultipartError as exc:
            self._raise_for_status(answer)
            raise self.bad(str(exc)) from exc

    def envelope_bytes(self, answer: StreamedAnswer, *, max_bytes: int = MAX_ENVELOPE_BYTES) -> bytes:
        """Return the envelope of an answer without attachments.

        Raises:
            ConnectorError: See :meth:`parts`.
            RefusedError: See :meth:`parts`.
        """
        with tempfile.TemporaryDirectory(prefix="vnedoc-soap-") as folder:
            prefix = Path(folder) / "message"
            return self.parts(answer, prefix, max_bytes=max_bytes, max_envelope_bytes=max_bytes).envelope

    def checked(self, content: bytes, *, element: str) -> Envelope:
        """Return an envelope that says yes, in the element that was to be expected.

        Args:
            content: The envelope.
            element: The first element of its body, where it does not say no.

        Raises:
            ConnectorError: It is none, or speaks of trouble.
            RefusedError: It says no.
        """
        try:
            envelope = parse_envelope([content])
        except EnvelopeError as exc:
            raise self.bad(str(exc)) from exc
        self._check(envelope, element)
        return envelope

    def rows(
        self,
        answer: StreamedAnswer,
        *,
        element: str,
        row: str,
        take: Callable[[Node], None],
        max_bytes: int,
        max_rows: int,
    ) -> None:
        """Read a list row by row while it arrives.

        Args:
            answer: The answer.
            element: The first element of its body, where it does not say no.
            row: The name of a row's element.
            take: What takes the rows.
            max_bytes: The largest answer.
            max_rows: How many rows there may be.

        Raises:
            ConnectorError: Trouble, or no answer of the service.
            RefusedError: The service said no.
        """
        alone = answer.media_type in _XML and 200 <= answer.status < 300
        chunks = (
            answer.chunks(max_bytes=max_bytes)
            if alone
            else [self.envelope_bytes(answer, max_bytes=max_bytes)]
        )
        try:
            limits = EnvelopeLimits(max_rows=max_rows, max_row_chars=DEFAULT_LIMITS.max_text_chars)
            envelope = parse_envelope(chunks, limits=limits, row=row, on_row=take)
        except EnvelopeError as exc:
            raise self.bad(str(exc)) from exc
        self._check(envelope, element)

    def _check(self, envelope: Envelope, element: str) -> None:
        fault = envelope.fault()
        if fault is not None:
            raise fault_error(self._name, fault)
        content = envelope.content
        if content is None:
            # So the platform answers when it drops a report on the way.
            raise self.bad("an empty body")
        report = read_report(content)
        error = None if report is None else report_error(self._name, report)
        if error is not None:
            raise error
        # What does not say no has not said yes yet: a page of another program would look like success.
        if content.name != element or (report is None and element in _REPORTS):
            raise self.bad(f"{content.name[:80]}, not {element}")

    def _raise_for_page(self, content: bytes, answer: StreamedAnswer) -> None:
        """Sort a status that is not success: a fault says more than the status does."""
        try:
            fault = parse_envelope([content]).fault() if content else None
        except EnvelopeError:
            # A page of some server in between.
            fault = None
        if fault is not None:
            raise fault_error(self._name, fault, status=answer.status, retry_after=answer.retry_after)
        self._raise_for_status(answer)
        raise self.bad(f"HTTP {answer.status}")

    def _raise_for_status(self, answer: StreamedAnswer) -> None:
        if not 200 <= answer.status < 300:
            raise error_for_status(self._name, answer.status, retry_after=answer.retry_after)


def report_error(name: str, report: Report) -> VnedocError | None:
    """Return the error for a report, or ``None`` if it says yes.

    Args:
        name: The name of the connection.
        report: The report.
    """
    if report.is_success:
        return None
    if not report.errors:
        # All that the platform says where organization and token do not go together.
        return error_for_code(name, "Permission", "IsSuccess = false", Fault.OURS)
    code = report.errors[0][0]
    text = "; ".join(
        f"{row_code}: {row_text}" if row_code != code else row_text
        for row_code, row_text in report.errors[:_SHOWN_ERRORS]
    )
    if code in NOT_LET_IN:
        return error_for_code(name, code, text, Fault.OURS)
    return error_for_code(name, code, text, Fault.LATER if is_own_trouble(text) else Fault.NEVER)


def fault_error(
    name: str, fault: SoapFault, *, status: int = 200, retry_after: str | None = None
) -> VnedocError:
    """Return the error for a fault.

    Args:
        name: The name of the connection.
        fault: The fault.
        status: The HTTP status it came with.
        retry_after: The header ``Retry-After``.
    """
    if status in {401, 403, 429} or parse_retry_after(retry_after, limit_s=MAX_RETRY_AFTER_S) is not None:
        return error_for_status(
            name, status, retry_after=retry_after, code=fault.detail_code, message=fault.reason
        )
    code = fault.detail_code or str(fault.code) or "Fault"
    # Whose fault it is is all that SOAP says; a word that is none of its own says nothing, so it may pass.
    kind = FaultCode(fault.code) if fault.code in set(FaultCode) else FaultCode.SERVER
    return error_for_code(
        name, code, fault.reason or code, Fault.LATER if kind is FaultCode.SERVER else Fault.NEVER
    )
