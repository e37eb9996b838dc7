"""Read a ``multipart/form-data`` body (RFC 7578) while it arrives: a file to the disk, a few fields to memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from vnedoc.exchange._vxp import ErrorCode
from vnedoc.exchange.hub import answering
from vnedoc.exchange.hub.refusals import RefusalError

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

    from vnedoc.exchange.hub.core import Hub

__all__ = ["read_form"]

_MAX_PARTS = 16
_MAX_FIELD_BYTES = 4096
_MAX_OVERHEAD_BYTES = 64 * 1024
_MAX_HEADER_BYTES = 4096
_MAX_BOUNDARY = 200


async def read_form(request: Request, hub: Hub, path: Path, *, file_field: str) -> dict[str, str]:
    """Write the file of a form to a path; return the other fields.

    Args:
        request: The request.
        hub: Its options hold the limits.
        path: Where the file goes; it must not be there.
        file_field: The name of the field with the file.

    Raises:
        RefusalError: It is no such form, holds no file, or is too large, too slow or too much divided.
    """
    media_type, parameters = parse_options_header(request.headers.get("content-type", ""))
    boundary = parameters.get(b"boundary", b"")
    if media_type != b"multipart/form-data" or not 0 < len(boundary) <= _MAX_BOUNDARY:
        raise _malformed("multipart/form-data")
    limit = hub.options.max_package_bytes
    with path.open("xb") as stream:
        form = _Form(stream, file_field, hub)
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": form.on_part_begin,
                "on_header_field": form.on_header_field,
                "on_header_value": form.on_header_value,
                "on_header_end": form.on_header_end,
                "on_headers_finished": form.on_headers_finished,
                "on_part_data": form.on_part_data,
                "on_end": form.on_end,
            },
        )
        try:
            async for chunk in answering.body_chunks(request, hub, limit=limit + _MAX_OVERHEAD_BYTES):
                parser.write(chunk)
        except MultipartParseError as exc:
            raise _malformed(str(exc)) from exc
    if not form.is_complete:
        raise _malformed("the body breaks off")
    if not form.has_file:
        raise form.without_file()
    return {name: value.decode("utf-8", "replace") for name, value in form.fields.items()}


class _Form:
    """What the parser calls while it reads."""

    def __init__(self, stream: BinaryIO, file_field: str, hub: Hub) -> None:
        self.fields: dict[str, bytes] = {}
        self.is_complete = False
        self.has_file = False
        self._stream = stream
        self._file_field = file_field
        self._hub = hub
        self._parts = 0
        self._size = 0
        self._name = ""
        self._is_file = False
        self._header = b""
        self._value = b""
        self._disposition = b""

    def on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise _malformed("parts")
        self._disposition = self._header = self._value = b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header + data[start:end])[:_MAX_HEADER_BYTES]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value = (self._value + data[start:end])[:_MAX_HEADER_BYTES]

    def on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def on_headers_finished(self) -> None:
        _kind, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = b"filename" in options
        if self._name == self._file_field:
            if self.has_file:
                # Two files in one form: the second would be lost.
                raise _malformed(self._file_field)
            self.has_file = True
        else:
            self.fields[self._name] = b""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._name == self._file_field:
            self._size += end - start
            if self._size > self._hub.options.max_package_bytes:
                raise answering.too_large(self._hub)
            self._stream.write(data[start:end])
        elif len(self.fields[self._name]) + end - start > _MAX_FIELD_BYTES:
            if self._is_file and not self.has_file:
                # It stands in a field of another name.
                raise self.without_file()
            raise _malformed(self._name)
        else:
            self.fields[self._name] += data[start:end]

    def without_file(self) -> RefusalError:
        """Return the refusal that says where the file should have been."""
        return RefusalError(ErrorCode.INVALID_FILE, "hub.no-file", name=self._file_field)

    def on_end(self) -> None:
        self.is_complete = True


def _malformed(reason: str) -> RefusalError:
    return RefusalError(ErrorCode.INVALID_FILE, "hub.not-a-form", reason=reason[:200])
