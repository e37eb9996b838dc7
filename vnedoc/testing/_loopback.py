"""An HTTP server on loopback for test services: it binds first, answers later, and always stops at once."""

from __future__ import annotations

import http
import logging
import socket
import socketserver
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from vnedoc.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Answer", "LoopbackServer", "PageService", "Request", "Service", "Silence", "Site"]

_LOG = logging.getLogger(__name__)
_HOST = "127.0.0.1"
_MAX_BODY_BYTES = 64 * 1024
_IDLE_S = 60.0


@dataclass(frozen=True)
class Answer:
    """What goes back over HTTP."""

    status: http.HTTPStatus
    """The status code."""
    media_type: str = "text/plain"
    """The media type of the body."""
    body: bytes = b""
    """The body."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further headers."""


@dataclass(frozen=True)
class Request:
    """A POST as it came."""

    path: str
    """The path, still percent-encoded."""
    headers: Mapping[str, str]
    """The headers, by lower-case name."""
    body: bytes = field(repr=False)
    """The body."""


@dataclass(frozen=True)
class Silence:
    """That nothing goes back: the connection stays open and says nothing."""


class Site(Protocol):
    """What a server serves."""

    def get(self, path: str) -> Answer | Silence:
        """Answer GET; the path is as it was sent, still percent-encoded."""
        ...

    def post(self, path: str, media_type: str, body: bytes) -> Answer | Silence:
        """Answer POST."""
        ...


@runtime_checkable
class Service(Protocol):
    """What a server serves that looks at the headers of its callers; it knows POST only."""

    def call(self, request: Request) -> Answer | Silence:
        """Answer POST."""
        ...


@runtime_checkable
class PageService(Service, Protocol):
    """A service that has pages for people, too."""

    def visit(self, path: str) -> Answer | Silence:
        """Answer GET; the path is as it was sent, still percent-encoded."""
        ...


class LoopbackServer:
    """A server that holds its port from the start and answers once it is told what.

    Args:
        port: The port on 127.0.0.1; 0 takes a free one.

    Raises:
        ConfigurationError: The port is taken.
    """

    def __init__(self, port: int = 0) -> None:
        try:
            self._server = _Server((_HOST, port), _Handler)
        except (OSError, OverflowError) as exc:
            raise ConfigurationError("pki.port-taken", port=port, reason=str(exc)) from exc
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """Where the server answers, without a slash at the end."""
        return f"http://{_HOST}:{self._server.server_address[1]}"

    def start(self, site: Site | Service) -> None:
        """Begin to answer, in a thread of its own."""
        self._server.site = site
        # The short interval is how long stopping may take, not a delay of answers.
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.02},
            name="test-services",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop at once: silent and idle connections are cut."""
        self._server.stopping.set()
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.cut_connections()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.site: Site | Service | None = None
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # HTTPServer asks the resolver for a name of the host here, which can take seconds without a network.
        socketserver.TCPServer.server_bind(self)
        self.server_name = _HOST
        self.server_port = int(self.server_address[1])

    def process_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        if isinstance(request, socket.socket):
            with self._lock:
                self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        if isinstance(request, socket.socket):
            with self._lock:
                self._connections.discard(request)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        with self._lock:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    _LOG.debug("a connection was closed already")

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - the base class calls it
        error = sys.exception()
        if isinstance(error, ConnectionError | TimeoutError):
            _LOG.debug("a client left: %s", error)
        else:
            _LOG.error("a test service failed for %s", client_address, exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "vnedoc-test-services"
    sys_version = ""
    timeout = _IDLE_S
    # Head and body leave in one packet; otherwise Nagle's algorithm holds the body back for 40 ms.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        site = self._site()
        if isinstance(site, PageService):
            self._finish(site.visit(self.path))
        elif isinstance(site, Service):
            self._finish(Answer(http.HTTPStatus.METHOD_NOT_ALLOWED))
        else:
            self._finish(site.get(self.path))

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            self._refuse(http.HTTPStatus.LENGTH_REQUIRED)
        elif int(length) > _MAX_BODY_BYTES:
            self._refuse(http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            body = self.rfile.read(int(length))
            site = self._site()
            if isinstance(site, Service):
                headers = {name.lower(): value for name, value in self.headers.items()}
                self._finish(site.call(Request(self.path, headers, body)))
                return
            media_type = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            self._finish(site.post(self.path, media_type, body))

    def _site(self) -> Site | Service:
        assert self.server.site is not None
        return self.server.site

    def _refuse(self, status: http.HTTPStatus) -> None:
        # The body was not read, so the connection cannot carry another request.
        self.close_connection = True
        self._finish(Answer(status, body=status.phrase.encode()))

    def _finish(self, answer: Answer | Silence) -> None:
        if isinstance(answer, Silence):
            self.server.stopping.wait()
            self.close_connection = True
            return
        headers: Mapping[str, str] = {
            "Content-Type": answer.media_type,
            "Content-Length": str(len(answer.body)),
            **answer.headers,
        }
        self.send_response(answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        _LOG.debug(format, *args)
