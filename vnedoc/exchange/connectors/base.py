"""What a connector is: the five calls that every axis has, whatever its wire.

A connector moves bytes and statuses; it keeps nothing and decides nothing. Implementers write the methods that
begin with an underscore; users call those without, which check what goes in and translate what comes back:

* the axis cannot be reached, is slow, breaks off or has trouble of its own: :class:`~vnedoc.errors.ConnectorError`,
  worth another try;
* the axis understood and said no: :class:`~vnedoc.errors.RefusedError` with ``remote_code`` and ``remote_message``.

Whether and when to try again is decided in one place, here: :func:`fault_of` sorts every error of a connector into
:class:`Fault`, and :func:`error_for_status` and :func:`error_for_code` make the errors in the first place. What a
refusal objects to, for people who look for the reason, is told by :meth:`Connector.objection_of`.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import enum
import re
from typing import TYPE_CHECKING, ClassVar, Self

from vnedoc._internal import files, http
from vnedoc.errors import ConnectorError, InputError, RefusedError, RemoteError, UsageError, VnedocError
from vnedoc.exchange.states import TransportStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO

    from vnedoc.exchange.codes import PackageKind

__all__ = [
    "DEFAULT_MAX_PACKAGE_BYTES",
    "MAX_RETRY_AFTER_S",
    "Connector",
    "Fault",
    "Objection",
    "RemoteAgency",
    "RemoteMessage",
    "SentReport",
    "error_for_code",
    "error_for_status",
    "fault_of",
    "is_doc_id",
    "is_not_let_in",
]

DEFAULT_MAX_PACKAGE_BYTES = 512 * 1024 * 1024
"""The largest package that is sent or fetched when no other limit is set."""

MAX_RETRY_AFTER_S = 24 * 3600.0
"""No axis keeps a message waiting for longer with ``Retry-After``."""

# Ids of the axis become header values and file names here.
_DOC_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_ORGAN_ID = re.compile(r"[\x21-\x7e]{1,64}")

# "Try again" in words of HTTP, although they are numbers of the 4xx family.
_PASSING_TROUBLE = frozenset({408, 425, 429})
_NOT_LET_IN = frozenset({401, 403, 407})
_MAX_SHOWN_CODE, _MAX_SHOWN_MESSAGE = 64, 1000


class Fault(enum.StrEnum):
    """What an error of a connector means for the message that met it."""

    NEVER = "never"
    """The axis will not take this message, however often it is sent."""
    LATER = "later"
    """Trouble that passes: try again, each time after a longer pause."""
    BUSY = "busy"
    """The axis is there and asks for a pause; ``retry_after_s`` of the error says how long, if the axis did."""
    OURS = "ours"
    """Our settings, secret, clock or disk: a person must act, and the message waits for that."""


class Objection(enum.StrEnum):
    """What an axis that refused a package objects to."""

    SENDER = "sender"
    """The code in ``From``: it is not registered to the system that sends."""
    RECIPIENT = "recipient"
    """A code in ``To``: nobody is registered under it."""
    OTHER = "other"
    """Something else, or the code of the refusal does not tell."""


def fault_of(error: BaseException) -> Fault:
    """Sort an error that a connector raised."""
    if isinstance(error, ConnectorError) and (
        error.code == "connector.busy" or error.retry_after_s is not None
    ):
        return Fault.BUSY
    if isinstance(error, RemoteError):
        return Fault.LATER
    # A wrong secret or clock is no fault of the message.
    if isinstance(error, RefusedError) and not is_not_let_in(error):
        return Fault.NEVER
    return Fault.OURS


def is_not_let_in(error: BaseException) -> bool:
    """Tell whether an axis refused the system itself, not the message: id, secret, token, certificate or clock."""
    return isinstance(error, RefusedError) and error.code == "connector.not-let-in"


def error_for_status(
    name: str, status: int, *, retry_after: str | None = None, code: str | None = None, message: str = ""
) -> VnedocError:
    """Return the error for an HTTP status that is not success.

    Args:
        name: The name of the connection.
        status: The status.
        retry_after: The header ``Retry-After``: seconds, or a date (RFC 9110, 10.2.3).
        code: What the axis calls the error; ``None`` if it does not say.
        message: What the axis says of it.
    """
    pause = http.parse_retry_after(retry_after, limit_s=MAX_RETRY_AFTER_S)
    passing = status in _PASSING_TROUBLE or not 400 <= status < 500
    if status == 429 or (passing and pause is not None):
        return ConnectorError("connector.busy", name=name, status=status, retry_after_s=pause)
    if passing:
        return ConnectorError("connector.trouble", name=name, status=status)
    fault = Fault.OURS if status in _NOT_LET_IN else Fault.NEVER
    return error_for_code(name, code or str(status), message or f"HTTP {status}", fault)


def error_for_code(name: str, code: str, message: str, fault: Fault) -> VnedocError:
    """Return the error for a code of the axis; its text is made safe for terminals and logs.

    Args:
        name: The name of the connection.
        code: What the axis calls the error.
        message: What it says of it.
        fault: What that code means; each connector has a table of the codes it knows.
    """
    values = {
        "name": name,
        "remote_code": _shown(code, _MAX_SHOWN_CODE),
        # Texts go on behind it.
        "remote_message": _shown(message, _MAX_SHOWN_MESSAGE).rstrip(" ."),
    }
    if fault is Fault.NEVER:
        return RefusedError("connector.refused", **values)
    if fault is Fault.OURS:
        return RefusedError("connector.not-let-in", **values)
    if fault is Fault.BUSY:
        return ConnectorError("connector.busy", status=values["remote_code"], retry_after_s=None, **values)
    return ConnectorError("connector.trouble-code", **values)


def _shown(text: str, limit: int) -> str:
    """Return a text of the other side as it may stand on a terminal and in a log."""
    return "".join(char if char.isprintable() else " " for char in text[:limit])


@dataclasses.dataclass(frozen=True, slots=True)
class RemoteMessage:
    """One package that waits on the axis for this system."""

    doc_id: str
    """The id of the axis, one for each recipient."""
    kind: PackageKind
    """What it carries."""
    sender_code: str | None
    """Code of the agency that sent it, as the axis says."""
    recipient_code: str | None
    """Code of the agency that it is for."""
    status: TransportStatus | None
    """Its transport status; ``None`` if the axis uses a word of its own."""
    created_at: str | None
    """When the axis took it, as the axis writes it."""


@dataclasses.dataclass(frozen=True, slots=True)
class SentReport:
    """What the axis knows of one recipient of a package that was sent."""

    sender_doc_id: str
    """The id that sending returned."""
    receiver_doc_id: str | None
    """The id under which the recipient sees it."""
    recipient_code: str
    """Code of the recipient."""
    status: TransportStatus | None
    """Its transport status; ``None`` if the axis uses a word of its own."""


@dataclasses.dataclass(frozen=True, slots=True)
class RemoteAgency:
    """One agency that the axis can deliver to."""

    code: str
    """Its code."""
    name: str
    """Its name."""
    parent_code: str | None = None
    """Code of the agency above it."""
    email: str | None = None
    """Its mail address."""
    old_code: str | None = None
    """Its code by QCVN 102:2016."""


class Connector(abc.ABC):
    """A way to one axis, for one system. Use it as a context manager, or call :meth:`close`.

    Threads may share a connector.

    Args:
        name: What errors and attempts call it.
        max_package_bytes: The largest package that is sent or fetched; known before anything is sent.
    """

    reports_sent: bool = True
    """Whether the wire tells how far the recipients of a sent package are; if not, :meth:`list_sent` is empty, and
    only the statuses that recipients send tell it."""
    acknowledges_failure: bool = True
    """Whether the wire has a word for a package that was fetched and is unusable. If not, acknowledging it as failed
    says that it was received: it would be listed for ever otherwise. The sender learns of it by status 02."""
    tells_recipient: bool = True
    """Whether the list of what waits says for which agency each package is, and from whom."""
    keeps_bytes: bool = True
    """Whether a package arrives byte for byte. If not, what it says and carries arrives, but not its own XML
    signature, and its SHA-256 is another one."""
    objections: ClassVar[Mapping[str, Objection]] = {}
    """The codes of refusals that tell what a package was refused for; each connector has a table of those it knows.
    A code that is not in it tells nothing."""

    def __init__(self, name: str, *, max_package_bytes: int = DEFAULT_MAX_PACKAGE_BYTES) -> None:
        self.name = name
        self.max_package_bytes = max_package_bytes

    def list_received(self, kind: PackageKind) -> list[RemoteMessage]:
        """Return the packages of a kind that wait on the axis for this system.

        Raises:
            ConnectorError: The axis cannot be asked now.
            RefusedError: The axis said no.
        """
        with _as_connector_error():
            return [message for message in self._list_received(kind) if is_doc_id(message.doc_id)]

    def list_sent(self, kind: PackageKind) -> list[SentReport]:
        """Return what the axis knows of packages of a kind that this system sent.

        Raises:
            ConnectorError: The axis cannot be asked now.
            RefusedError: The axis said no.
        """
        if not self.reports_sent:
            return []
        with _as_connector_error():
            return list(self._list_sent(kind))

    def fetch(self, doc_id: str, output: Path) -> None:
        """Write one package to a file, whole or not at all; memory does not grow with its size.

        Raises:
            ConnectorError: The axis cannot be asked now, or its answer broke off.
            RefusedError: The axis said no.
            InputError: The file cannot be written.
        """
        _check_doc_id(doc_id)
        with _as_input_error(output), _as_connector_error(), files.atomic_write(output) as stream:
            self._fetch(doc_id, stream)
            size = stream.tell()
            if size == 0:
                raise ConnectorError("connector.bad-answer", name=self.name, reason="no data")
            if size > self.max_package_bytes:
                raise ConnectorError("remote.answer-too-large", url=doc_id, limit=self.max_package_bytes)

    def acknowledge(self, doc_id: str, status: TransportStatus) -> None:
        """Tell the axis whether a package was taken.

        Args:
            doc_id: The id of the axis.
            status: ``processing``, ``done`` or ``fail``. A wire that has no word for one of them says nothing, or
                says the nearest; see the connector.

        Raises:
            ConnectorError: The axis cannot be told now.
            RefusedError: The axis said no.
        """
        _check_doc_id(doc_id)
        if status is TransportStatus.INITIAL:
            raise UsageError("connector.bad-acknowledgement", status=status.value)
        with _as_connector_error():
            self._acknowledge(doc_id, status)

    def send(self, path: Path, *, sender_code: str, kind: PackageKind) -> str:
        """Send one package and return the id that the axis gave it.

        Args:
            path: The package.
            sender_code: Code of the agency in ``From``.
            kind: What the package carries.

        Raises:
            ConnectorError: The axis did not confirm; whether it has the package is not known.
            RefusedError: The axis said no.
            InputError: The file cannot be read, is empty, or is larger than may be sent.
        """
        if not _ORGAN_ID.fullmatch(sender_code):
            raise UsageError("connector.bad-code", code=sender_code)
        try:
            size = path.stat().st_size
        except OSError as exc:
            raise InputError("file.cannot-read", path=path, reason=exc.strerror) from exc
        # The limit is known before anything is sent: a refused upload of many megabytes helps nobody.
        if size > self.max_package_bytes:
            raise InputError("file.too-large", path=path, limit=self.max_package_bytes)
        if size == 0:
            raise InputError("connector.empty-file", path=path)
        with _as_connector_error():
            doc_id = self._send(path, size, sender_code, kind)
        if not is_doc_id(doc_id):
            raise ConnectorError("connector.bad-answer", name=self.name, reason="DocId")
        return doc_id

    def objection_of(self, error: RefusedError) -> Objection:
        """Tell what the axis objected to when it refused a package that :meth:`send` offered.

        Args:
            error: What :meth:`send` raised.
        """
        code = str(error.values.get("remote_code") or "")
        # What keeps the system itself out has codes of other programs in front of the axis.
        return Objection.OTHER if is_not_let_in(error) else self.objections.get(code, Objection.OTHER)

    def agencies(self) -> list[RemoteAgency]:
        """Return the agencies that the axis can deliver to.

        Raises:
            ConnectorError: The axis cannot be asked now.
            RefusedError: The axis said no.
        """
        with _as_connector_error():
            return list(self._agencies())

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of connections."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abc.abstractmethod
    def _list_received(self, kind: PackageKind) -> Sequence[RemoteMessage]: ...

    def _list_sent(self, kind: PackageKind) -> Sequence[SentReport]:
        """Answer :meth:`list_sent`, if :attr:`reports_sent` says that the wire can."""
        # Nobody asks a wire that does not say so; list_sent answers for it.
        raise NotImplementedError

    @abc.abstractmethod
    def _fetch(self, doc_id: str, stream: BinaryIO) -> None: ...

    @abc.abstractmethod
    def _acknowledge(self, doc_id: str, status: TransportStatus) -> None: ...

    @abc.abstractmethod
    def _send(self, path: Path, size: int, sender_code: str, kind: PackageKind) -> str: ...

    @abc.abstractmethod
    def _agencies(self) -> Sequence[RemoteAgency]: ...


def is_doc_id(value: str) -> bool:
    """Tell whether an id of an axis is one that we can name a file after and send back in a header."""
    return _DOC_ID.fullmatch(value) is not None


def _check_doc_id(doc_id: str) -> None:
    if not is_doc_id(doc_id):
        raise UsageError("connector.bad-doc-id", doc_id=doc_id)


@contextlib.contextmanager
def _as_connector_error() -> Iterator[None]:
    try:
        yield
    except ConnectorError:
        raise
    except RemoteError as exc:
        raise ConnectorError(exc.code, **exc.values) from exc


@contextlib.contextmanager
def _as_input_error(path: Path) -> Iterator[None]:
    """Say that our own disk is full or read-only; what is wrong with the axis has errors of its own."""
    try:
        yield
    except OSError as exc:
        raise InputError("file.cannot-write", path=path, reason=exc.strerror or str(exc)) from exc
