"""What a connector is: the five calls that every axis has, whatever its wire.

A connector moves bytes and statuses; it keeps nothing and decides nothing. Implementers write the methods that
begin with an underscore; users call those without, which check what goes in and translate what comes back:

* the axis cannot be reached, is slow, breaks off or has trouble of its own: :class:`~vnedoc.errors.ConnectorError`,
  worth another try;
* the axis understood and said no: :class:`~vnedoc.errors.RefusedError` with ``remote_code`` and ``remote_message``.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import re
from typing import TYPE_CHECKING, Self

from vnedoc._internal import files
from vnedoc.errors import ConnectorError, InputError, RemoteError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO

    from vnedoc.exchange.codes import PackageKind
    from vnedoc.exchange.states import TransportStatus

__all__ = [
    "DEFAULT_MAX_PACKAGE_BYTES",
    "Connector",
    "RemoteAgency",
    "RemoteMessage",
    "SentReport",
    "is_doc_id",
]

DEFAULT_MAX_PACKAGE_BYTES = 512 * 1024 * 1024
"""The largest package that is sent or fetched when no other limit is set."""

# Ids of the axis become header values and file names here.
_DOC_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_ORGAN_ID = re.compile(r"[\x21-\x7e]{1,64}")


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

    Args:
        name: What errors and attempts call it.
        max_package_bytes: The largest package that is sent or fetched.
    """

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
        with _as_connector_error():
            return list(self._list_sent(kind))

    def fetch(self, doc_id: str, output: Path) -> None:
        """Write one package to a file, whole or not at all.

        Raises:
            ConnectorError: The axis cannot be asked now, or its answer broke off.
            RefusedError: The axis said no.
            InputError: The file cannot be written.
        """
        _check_doc_id(doc_id)
        with _as_connector_error(), files.atomic_write(output) as stream:
            self._fetch(doc_id, stream)

    def acknowledge(self, doc_id: str, status: TransportStatus) -> None:
        """Tell the axis whether a package was taken.

        Raises:
            ConnectorError: The axis cannot be told now.
            RefusedError: The axis said no.
        """
        _check_doc_id(doc_id)
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

    @abc.abstractmethod
    def _list_sent(self, kind: PackageKind) -> Sequence[SentReport]: ...

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
