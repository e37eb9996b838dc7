"""A hub in a process of its own, and callers that mean it no good.

It answers others meanwhile, its memory is bounded, and its log has no traceback. What concerns one wire, or one
limit, is tested with that.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

from tests.hub_clients import HubClient, Packages, free_port, serving_processes, wait_until_answers
from tests.tls import Authority
from vnedoc._internal.clock import utc_now
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.hub.secret_keys import made_secret
from vnedoc.exchange.stores.hub import HubAgency, HubStore

SENDER, RECIPIENT = ("TEST.A", "H99"), ("TEST.B", "H98")
PATIENCE_S = 30
GROWTH_MIB = 48
SETTINGS = """\
[hub]
max_package_mb = 2
"""
HOST = b"Host: hub\r\n"
POST = b"POST /sendEdoc HTTP/1.1\r\n" + HOST
SOAP = b"POST /eDocService HTTP/1.1\r\n" + HOST
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


class Hub:
    """A running hub, and what its process takes."""

    def __init__(self, folder, process, port, log, known):
        self.folder, self.process, self.port, self.log, self.secrets = folder, process, port, log, known

    def client(self, system_id):
        return HubClient([self.port], system_id, self.secrets[system_id], timeout_s=PATIENCE_S)

    def resident_mib(self):
        found = re.search(
            r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        )
        return int(found[1]) / 1024


@contextlib.contextmanager
def hub_process(folder, *options, settings=SETTINGS):
    folder.mkdir()
    known = {}
    with contextlib.closing(HubStore.open(folder / "hub")) as store:
        for system_id, agency in (SENDER, RECIPIENT):
            known[system_id] = made_secret()
            store.add_system(system_id, name=system_id, secret=known[system_id], at=utc_now())
            store.register_agencies(system_id, [HubAgency(agency, agency)])
    config, log, port = folder / "vnedoc.toml", folder / "hub.log", free_port()
    config.write_text(settings, encoding="utf-8")
    with serving_processes(folder / "hub", "--port", str(port), *options, config=config, log=log) as process:
        yield Hub(folder / "hub", process, port, log, known)
        assert process.poll() is None, "the hub ended"
    lines = log.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if "Traceback" in line or '"level": "error"' in line] == []


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with hub_process(tmp_path_factory.mktemp("hostile") / "one") as hub:
        wait_until_answers(hub.port, hub.process, log=hub.log)
        # What every process needs once is no growth.
        serve_somebody(hub, tmp_path_factory.mktemp("first"), 0)
        yield hub


def serve_somebody(hub, folder, number):
    """Send a package and fetch it, as everybody does."""
    packages = Packages(folder, sender=SENDER[1], recipients=[RECIPIENT[1]])
    with (
        contextlib.closing(hub.client(SENDER[0])) as sender,
        contextlib.closing(hub.client(RECIPIENT[0])) as recipient,
    ):
        assert sender.send(packages.number(number), sender=SENDER[1]).envelope()["status"] == "OK"
        [row] = recipient.listed().envelope()["data"]
        assert recipient.download(row["docId"]).body == packages.number(number)
        assert recipient.done(row["docId"]).envelope()["status"] == "OK"


def answers(port, content, *, hangs_up=True):
    """Send bytes, and nothing after them; return what came back until the end.

    Who does not hang up has asked the hub to.
    """
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(content)
            if hangs_up:
                connection.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                received += piece
        return received


ATTACKS = {
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500 + b"\r\n\r\n",
    "a request line of a megabyte": b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a header of a megabyte": POST + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n",
    "ten thousand headers": POST + b"".join(b"X-%d: 1\r\n" % n for n in range(10_000)) + b"\r\n",
    "a header without an end": POST + b"X: " + b"a" * 200_000,
    "a name with a line end": POST + b"X\r: 1\r\n\r\n",
    "bytes of no text": POST + b"XroadVnpt-systemid: \xff\xfe\x00\r\n\r\n",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n123456",
    "a length and chunks": POST + b"Content-Length: 5\r\n" + CHUNKED + b"0\r\n\r\n",
    "a length below nothing": POST + b"Content-Length: -1\r\n\r\n",
    "a length of a hundred digits": POST + b"Content-Length: " + b"9" * 100 + b"\r\n\r\n",
    "a body shorter than it says": POST + b"Content-Length: 100000\r\n\r\nshort",
    "a body longer than it says": POST + b"Content-Length: 3\r\n\r\n" + b"long" * 1000,
    "chunks that are no numbers": POST + CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n",
    "a chunk that lies about its size": POST + CHUNKED + b"3\r\nabcdef\r\n0\r\n\r\n",
    "a chunk of more than there is": POST + CHUNKED + b"ffffffffffffffff\r\nabc",
    "a chunk with a long extension": POST + CHUNKED + b"3;" + b"x" * 200_000 + b"\r\nabc\r\n0\r\n\r\n",
    "chunks without an end": POST + CHUNKED + b"3\r\nabc\r\n" * 1000,
    "an encoding that nobody knows": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "SOAP in chunks that lie": SOAP + b"Content-Type: text/xml\r\n" + CHUNKED + b"5\r\n<a><b>\r\n0\r\n\r\n",
    "SOAP of a million elements": SOAP
    + b"Content-Type: text/xml\r\nContent-Length: 3000000\r\n\r\n"
    + b"<a>" * 1_000_000,
    "a method that nobody knows": b"BREW /sendEdoc HTTP/1.1\r\n" + HOST + b"\r\n",
    "an upgrade": b"GET /health HTTP/1.1\r\n"
    + HOST
    + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
    "a path out of the folder": b"GET /../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n",
    "a path of strange letters": b"GET /%00%ff%2e%2e/\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_no_request_is_turned_away(hub, attack, tmp_path):
    before = hub.resident_mib()
    for _ in range(3):
        received = answers(hub.port, ATTACKS[attack])
        statuses = {int(word) for word in re.findall(rb"HTTP/1\.1 (\d{3})", received)}
        # An answer that says no, an answer to what nobody asked a package of, or none.
        assert statuses <= {200, 400, 401, 404, 405, 408, 411, 413, 414, 415, 431, 500, 501}, received[:500]
        assert (200 in statuses) <= (attack == "an upgrade"), received[:500]
        assert (500 in statuses) <= attack.startswith("SOAP"), received[:500]
        assert b"Traceback" not in received
    serve_somebody(hub, tmp_path, 1 + list(ATTACKS).index(attack))
    assert hub.resident_mib() - before < GROWTH_MIB


def test_pipelined_requests_are_answered_in_their_order_or_not_at_all(hub):
    one = b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n"
    last = one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    received = answers(hub.port, one * 49 + last, hangs_up=False)
    assert received.count(b"HTTP/1.1 200 OK") == 50
    # A balancer that reads the length sees one request, who reads the chunks sees two: nobody shall (RFC 9112, 6.1).
    smuggled = POST + b"Content-Length: 5\r\n" + CHUNKED + b"0\r\n\r\n" + one
    received = answers(hub.port, smuggled)
    assert received.startswith(b"HTTP/1.1 400")
    assert received.count(b"HTTP/1.1") == 1
    started = time.monotonic()
    flood = answers(hub.port, one * 2_000)
    assert flood.count(b"HTTP/1.1 200 OK") <= 2_000
    assert time.monotonic() - started < PATIENCE_S


def test_others_are_served_while_a_hundred_callers_hold_on(hub, tmp_path):
    before = hub.resident_mib()
    holds = [
        POST + b"XroadVnpt-",
        POST + b"Content-Length: 1000000\r\n\r\nx",
        POST + CHUNKED + b"3\r\nab",
        SOAP + b"Content-Type: multipart/related; boundary=b\r\n" + CHUNKED + b"5\r\n--b\r\n\r\n",
        b"",
    ]
    with contextlib.ExitStack() as stack:
        for number in range(100):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", hub.port), PATIENCE_S))
            with contextlib.suppress(OSError):
                connection.sendall(holds[number % len(holds)])
        started = time.monotonic()
        for number in range(5):
            serve_somebody(hub, tmp_path, 1_000 + number)
        assert time.monotonic() - started < PATIENCE_S
    assert hub.resident_mib() - before < GROWTH_MIB


def test_packages_over_the_limit_at_once_take_no_memory(hub, tmp_path):
    # Each lies in its head: what it says is within the limit, what it sends is not; in chunks nobody says anything.
    before = hub.resident_mib()
    chunk = b"%x\r\n%s\r\n" % (1 << 16, b"x" * (1 << 16))
    attack = SOAP + b"Content-Type: multipart/related; boundary=b\r\n" + CHUNKED + chunk * 256
    threads = [threading.Thread(target=answers, args=(hub.port, attack)) for _ in range(8)]
    for thread in threads:
        thread.start()
    serve_somebody(hub, tmp_path, 2_000)
    for thread in threads:
        thread.join()
    assert hub.resident_mib() - before < GROWTH_MIB


# TLS with client certificates


@pytest.fixture(scope="module")
def authorities(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    return Authority(folder, "ours"), Authority(folder, "others")


@pytest.fixture(scope="module")
def tls_hub(authorities, tmp_path_factory):
    ours, _ = authorities
    certificate, key = ours.issue("server")
    settings = SETTINGS + "client_required = true\nheader_timeout_s = 2.0\n"
    options = ("--tls-cert", str(certificate), "--tls-key", str(key), "--client-ca", str(ours.certificate))
    with hub_process(tmp_path_factory.mktemp("hostile") / "tls", *options, settings=settings) as hub:
        deadline = time.monotonic() + 60
        while True:
            assert hub.process.poll() is None, hub.log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", hub.port), 5):
                break
            time.sleep(0.05)
        yield hub


def asks(hub, authority, client=None):
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if client is not None:
        context.load_cert_chain(*client)
    with (
        socket.create_connection(("127.0.0.1", hub.port), PATIENCE_S) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        return connection.recv(64)


def test_only_who_shows_a_certificate_of_our_authority_comes_in(tls_hub, authorities):
    ours, others = authorities
    assert asks(tls_hub, ours, ours.issue("client")).startswith(b"HTTP/1.1 200")
    for client in (None, others.issue("client"), ours.issue("server")):
        with pytest.raises(OSError, match=r"(?i)alert|reset|closed|eof|pipe"):
            assert not asks(tls_hub, ours, client), "it came in"
            raise ConnectionResetError("closed without a word")


def test_a_certificate_of_another_system_does_not_help(tls_hub, authorities):
    ours, _ = authorities
    with contextlib.closing(HubStore.open(tls_hub.folder)) as store:
        Administration(store, actor="TEST").change_system(SENDER[0], certificates=["ab" * 32])
    certificate, key = ours.issue("client")
    context = ssl.create_default_context(cafile=str(ours.certificate))
    context.load_cert_chain(certificate, key)

    class Client(HubClient):
        def connect(self, port):
            return context.wrap_socket(super().connect(port), server_hostname="127.0.0.1")

    with contextlib.closing(Client([tls_hub.port], SENDER[0], tls_hub.secrets[SENDER[0]])) as client:
        assert client.listed().status == 401
    with contextlib.closing(Client([tls_hub.port], RECIPIENT[0], tls_hub.secrets[RECIPIENT[0]])) as client:
        assert client.listed().status == 200


@pytest.mark.parametrize(
    "opening",
    [b"", b"GET /health HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x40\x00" + b"\x00" * 100, b"\x16\x03\x01\xff\xff"],
    ids=["nothing", "plain HTTP", "half a greeting", "an endless record"],
)
def test_handshakes_that_never_end_keep_nobody_out(tls_hub, authorities, opening):
    ours, _ = authorities
    client = ours.issue("client")
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            connection = stack.enter_context(
                socket.create_connection(("127.0.0.1", tls_hub.port), PATIENCE_S)
            )
            with contextlib.suppress(OSError):
                connection.sendall(opening)
        assert asks(tls_hub, ours, client).startswith(b"HTTP/1.1 200")
