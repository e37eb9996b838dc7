"""Connections of a hub, seen by who writes the bytes: heads have an end, trailers change nothing, nobody lingers."""

import asyncio
import contextlib
import json
import socket
import time

import pytest

from tests.hubs import open_store
from vnedoc.exchange.hub._protocol import MAX_HEAD_BYTES, hub_protocol
from vnedoc.exchange.hub.core import Hub
from vnedoc.exchange.hub.options import HubOptions, Limits
from vnedoc.testing._serving import serving

PATIENCE_S = 20
LONG_BYTES = 8_000_000
POST = b"POST / HTTP/1.1\r\nHost: hub\r\n"


@pytest.fixture
def port(tmp_path):
    """Where an application answers that tells the headers it saw after the body, or before, if it is asked to."""

    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        more = scope["path"] != "/at-once"
        while more:
            more = (await receive()).get("more_body", False)
        body = json.dumps([name.decode() for name, _ in scope["headers"]]).encode()
        if scope["query_string"] == b"long":
            body += b" " * LONG_BYTES
        # Time enough for what comes behind the chunks to arrive.
        await asyncio.sleep(0.05)
        head = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})

    with contextlib.closing(open_store(f"sqlite:///{tmp_path}/hub.sqlite3", tmp_path)) as store:
        hub = Hub(store, options=HubOptions(limits=Limits(header_timeout_s=9)))
        with serving(app, protocol=hub_protocol(hub)) as url:
            yield int(url.rpartition(":")[2])


def answer(port, pieces, *, pause_s=0.0):
    """Send pieces; return what came back until the hub closed, and how long that took."""
    started = time.monotonic()
    received = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        with contextlib.suppress(OSError):
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause_s)
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                received += piece
    return received, time.monotonic() - started


def test_what_comes_behind_the_chunks_is_no_header(port):
    chunks = b"5\r\nTEST!\r\n0\r\nX-Forwarded-For: 203.0.113.1\r\nX-Trailer: TEST\r\n\r\n"
    head = POST + b"X-Real: TEST\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    received, _ = answer(port, [head + chunks])
    names = json.loads(received.partition(b"\r\n\r\n")[2])
    assert names == ["host", "x-real", "connection", "transfer-encoding"]


def test_who_is_answered_before_the_body_was_there_is_not_listened_to_any_more(port):
    request = POST.replace(b"/ ", b"/at-once ") + b"Content-Length: 1000000\r\n\r\nTEST"
    # Who goes on to drip would else go on for ever: the wait for the next request begins anew with every byte.
    received, took_s = answer(port, [request, *[b"TEST"] * 100], pause_s=0.1)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert took_s < 5


def test_an_answer_that_overtakes_a_small_body_arrives_whole_and_the_connection_stays(port):
    head = POST.replace(b"/ ", b"/at-once?long ")
    last = b"GET / HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n"
    # The body of the second one comes together with the head of the third.
    pieces = [head + b"Content-Length: 2\r\n\r\n", b"{}", head + b"Content-Length: 2\r\n\r\n", b"{}" + last]
    received, took_s = answer(port, pieces, pause_s=0.5)
    assert received.count(b"HTTP/1.1 200 ") == 3
    assert len(received) > 2 * LONG_BYTES
    assert took_s < 5


def test_a_large_body_after_the_answer_is_not_read_to_its_end(port):
    request = POST.replace(b"/ ", b"/at-once ") + b"Content-Length: 1000000000\r\n\r\n"
    sent = 0

    def body():
        nonlocal sent
        yield request
        time.sleep(0.5)
        while sent < 1_000_000_000:
            yield bytes(1_000_000)
            sent += 1_000_000

    received, _ = answer(port, body())
    assert received.startswith(b"HTTP/1.1 200 ")
    assert sent < 100_000_000


def test_a_body_that_was_there_leaves_the_connection_open(port):
    one = POST + b"Content-Length: 4\r\n\r\nTEST"
    last = POST + b"Connection: close\r\nContent-Length: 4\r\n\r\nTEST"
    received, _ = answer(port, [one, one, last], pause_s=0.1)
    assert received.count(b"HTTP/1.1 200 ") == 3


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([POST + b"X: " + b"a" * (MAX_HEAD_BYTES + 1) + b"\r\n\r\n"], id="at once"),
        pytest.param([POST, *[b"X: " + b"a" * 4096] * 200], id="one header without an end"),
        pytest.param([POST, *[b"X: " + b"a" * 4096 + b"\r\n"] * 200], id="headers without an end"),
        pytest.param([b"GET /" + b"a" * 4096, *[b"a" * 4096] * 200], id="a path without an end"),
    ],
)
def test_a_head_has_an_end(port, pieces):
    received, took_s = answer(port, pieces, pause_s=0.001)
    assert received.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 ")) or received == b""
    assert took_s < PATIENCE_S / 2


def test_a_large_head_that_is_not_too_large_is_read(port):
    headers = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(60))
    pieces = [POST, headers, b"Connection: close\r\nContent-Length: 0\r\n\r\n"]
    received, _ = answer(port, pieces, pause_s=0.05)
    assert len(json.loads(received.partition(b"\r\n\r\n")[2])) == 63
