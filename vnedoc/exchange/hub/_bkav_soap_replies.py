"""Answers of the eDoc SOAP service before anybody knows in which version of SOAP they go out."""

from __future__ import annotations

import dataclasses
import shutil
import weakref
from typing import TYPE_CHECKING

from vnedoc import messages
from vnedoc.exchange._soap import names
from vnedoc.exchange._soap.envelope import escaped, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from pathlib import Path

    from vnedoc.exchange._soap.envelope import SoapVersion
    from vnedoc.exchange._soap.names import OperationName
    from vnedoc.exchange.hub.answering import Pieces

__all__ = [
    "PREFIX",
    "Message",
    "Reply",
    "ReportError",
    "ReportRow",
    "Unpacked",
    "done",
    "inside",
    "report",
    "small",
]

PREFIX = f"{names.PREFIX}:"


@dataclasses.dataclass(frozen=True, slots=True)
class ReportRow:
    """One error of a report."""

    code: str
    """Its code."""
    message_id: str
    """The id of its sentence."""
    values: dict[str, object]
    """What the sentence names."""

    def text(self, language: messages.Language) -> str:
        """Return the sentence."""
        return messages.text(self.message_id, language, **self.values)


class ReportError(Exception):
    """The service understood and says no.

    Args:
        rows: Why.
    """

    def __init__(self, *rows: ReportRow) -> None:
        super().__init__(", ".join(row.code for row in rows))
        self.rows = rows


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """An answer as it is written."""

    content: bytes | Pieces
    """Its body."""
    content_type: str
    """Its content type."""
    size: int | None = None
    """Its size, where it is known and the body is not bytes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """An answer, for either version of SOAP."""

    message: Callable[[SoapVersion], Message]
    """Writes it."""
    after: Callable[[], None] | None = None
    """What is done after it was sent whole."""
    unpacked_bytes: int = 0
    """How large the package is that is unpacked when it is written; 0 if there is none."""


class Unpacked:
    """A body whose parts lie in a folder of their own; the folder goes when the body is closed or let go."""

    def __init__(self, body: Iterable[bytes], folder: Path) -> None:
        self._pieces = _generated(body)
        # Where nobody came to close it: the server is stopped by force between making and sending an answer.
        self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        """Close the file that is being read, and remove the folder."""
        try:
            self._pieces.close()
        finally:
            self._remove()


def _generated(body: Iterable[bytes]) -> Generator[bytes, None, None]:
    yield from body


def done(operation: OperationName) -> Reply:
    """Return the answer that something was done."""
    return small(inside(names.OPERATIONS[operation].response, report(())))


def small(content: bytes) -> Reply:
    """Return an answer with a body that is at hand."""
    return Reply(lambda version: Message(wrapped(version, content), f"{version.media_type}; charset=UTF-8"))


def inside(name: str, content: bytes) -> bytes:
    """Return XML inside an element of the service."""
    return f"<{PREFIX}{name}>".encode() + content + f"</{PREFIX}{name}>".encode()


def report(rows: Iterable[tuple[str, str]]) -> bytes:
    """Return a report that says no for reasons given by code and sentence; without any it says yes."""
    errors = "".join(
        f"<{PREFIX}Error><{PREFIX}Code>{escaped(code)}</{PREFIX}Code>"
        f"<{PREFIX}Description>{escaped(text)}</{PREFIX}Description></{PREFIX}Error>"
        for code, text in rows
    )
    success = "false" if errors else "true"
    return (
        f"<{PREFIX}Report><{PREFIX}IsSuccess>{success}</{PREFIX}IsSuccess>"
        f"<{PREFIX}ErrorList>{errors}</{PREFIX}ErrorList></{PREFIX}Report>"
    ).encode()
