"""A person's browser, seen from a program: an address goes there, and the answer comes back on loopback.

RFC 8252, 7.3 and 8.3: the answer is received on 127.0.0.1, on a port of the moment, and on no other interface. Any
page in the browser can call that port; so what does not carry the state of the very request is not taken for its
answer (RFC 6749, 10.12), and the wait goes on.
"""

from __future__ import annotations

import hmac
import html
import queue
import sys
import threading
import time
import urllib.parse
import webbrowser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Self

from vnedoc import messages
from vnedoc.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

__all__ = ["REDIRECT_PATH", "LoopbackReceiver", "open_in_browser", "show_address"]

REDIRECT_PATH = "/vnedoc"
"""The path of the redirect URI; a service that wants it registered is told ``http://127.0.0.1/vnedoc``."""
_HOST = "127.0.0.1"
_CONNECTION_TIMEOUT_S = 10.0
_MAX_FIELDS = 32


def open_in_browser(address: str) -> bool:
    """Open an address in the person's browser; tell whether there is one.

    A browser that runs in the terminal counts as none: it would take the terminal from the program.
    """
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    if type(browser) is webbrowser.GenericBrowser:
        return False
    return bool(browser.open(address))


def show_address(address: str) -> None:
    """Open an address in the browser; without one, write it to the standard error stream."""
    if not open_in_browser(address):
        text = messages.text("remote-signing.open-address", messages.Language.EN, address=address)
        sys.stderr.write(f"{text}\n")


class LoopbackReceiver:
    """Waits on loopback for the answer to an authorization request; use it in a ``with`` block.

    Args:
        state: What the answer must carry.
        port: The port on 127.0.0.1, for a service that wants the whole address registered; 0 takes a free one.

    Raises:
        ConfigurationError: The port is taken.
    """

    def __init__(self, state: str, *, port: int = 0) -> None:
        try:
            self._server = _Server(state, port)
        except (OSError, OverflowError) as exc:
            raise ConfigurationError("remote-signing.port-taken", port=port, reason=str(exc)) from exc
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def redirect_uri(self) -> str:
        """The address that the service sends the browser back to."""
        return f"http://{_HOST}:{self._server.server_address[1]}{REDIRECT_PATH}"

    @property
    def strangers(self) -> int:
        """How many answers came that belong to no request of ours."""
        return self._server.strangers

    def wait(self, timeout_s: float) -> Mapping[str, str] | None:
        """Return the parameters of the answer, or ``None`` if none came in time."""
        deadline = time.monotonic() + timeout_s
        try:
            return self._server.answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return None


class _Server(ThreadingHTTPServer):
    # A browser opens connections that it may never use; each has a thread, none holds up the end.
    daemon_threads = True
    block_on_close = False

    def __init__(self, state: str, port: int) -> None:
        self.state = state
        self.answers: queue.Queue[dict[str, str]] = queue.Queue(maxsize=1)
        self.strangers = 0
        super().__init__((_HOST, port), _Handler)

    def server_bind(self) -> None:
        # HTTPServer would ask the resolver for a name of the host.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = _HOST, int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        # A browser that hung up is no news.
        del request, client_address


class _Handler(BaseHTTPRequestHandler):
    timeout = _CONNECTION_TIMEOUT_S
    server: _Server
    server_version = "vnedoc"
    sys_version = ""

    def do_GET(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        if parts.path != REDIRECT_PATH:
            self._finish(404, "remote-signing.browser-wrong")
            return
        parameters = _parameters(parts.query)
        state = parameters.get("state", "")
        if not hmac.compare_digest(state.encode(), self.server.state.encode()):
            self.server.strangers += 1
            self._finish(400, "remote-signing.browser-wrong")
            return
        try:
            self.server.answers.put_nowait(parameters)
        except queue.Full:
            self._finish(400, "remote-signing.browser-wrong")
            return
        self._finish(
            200, "remote-signing.browser-done" if "code" in parameters else "remote-signing.browser-declined"
        )

    def _finish(self, status: int, message: str) -> None:
        lines = "".join(
            f"<p>{html.escape(messages.text(message, language))}</p>" for language in messages.Language
        )
        body = f'<!doctype html><meta charset="utf-8"><title>vnedoc</title>{lines}'.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        # The code stands in the address of this page: it goes to no other site and into no cache.
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        # The line of a request holds the code.
        del format, args


def _parameters(query: str) -> dict[str, str]:
    """Return the parameters of an answer; none of it if one comes twice (RFC 6749, 3.1)."""
    try:
        pairs = urllib.parse.parse_qsl(query, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError:
        return {}
    parameters = dict(pairs)
    return parameters if len(parameters) == len(pairs) else {}
