"""TLS of a hub: files that are renewed while it runs, and certificates of clients that were revoked.

The other end of every handshake is OpenSSL.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import threading
import time
import urllib.request

import pytest
from cryptography import x509

from tests.cli import vnedoc
from tests.hub_clients import serving_processes
from tests.tls import PASSPHRASE, Authority
from vnedoc.exchange.hub.tls import RenewedTLS, TLSFiles
from vnedoc.exchange.stores.hub import HubStore
from vnedoc.testing.hub_processes import free_ports

PATIENCE_S = 30
REQUEST = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n"
REFUSED = r"(?i)alert|reset|closed|eof|pipe"
NEWEST = ssl.TLSVersion.TLSv1_3


def put(path, content):
    """Put a file in the place of another, in one step."""
    beside = path.with_name("beside")
    beside.write_bytes(content)
    beside.replace(path)


def serial(path):
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        threading.Event().wait(0.05)


class Caller:
    """A client with a certificate, or none."""

    def __init__(self, port, authority, pair=None, version=NEWEST):
        self.port = port
        self.context = ssl.create_default_context(cafile=os.fspath(authority.certificate))
        self.context.maximum_version = version
        if pair is not None:
            self.context.load_cert_chain(*pair)

    @contextlib.contextmanager
    def connected(self, session=None):
        with (
            socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as plain,
            self.context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as connection,
        ):
            yield connection

    def serial(self):
        with self.connected() as connection:
            return x509.load_der_x509_certificate(connection.getpeercert(binary_form=True)).serial_number

    def is_let_in(self, session=None):
        try:
            with self.connected(session) as connection:
                return answers(connection)
        except OSError:
            return False


def answers(connection):
    """Ask once more on a connection; a client of TLS 1.3 learns only by it that it was refused."""
    received = b""
    try:
        connection.sendall(REQUEST)
        while not received.endswith(b"\r\n\r\nok"):
            piece = connection.recv(1000)
            if not piece:
                return False
            received += piece
    except OSError:
        return False
    return received.startswith(b"HTTP/1.1 200")


class Service:
    """A running hub with TLS on both ports."""

    def __init__(self, process, port, admin_ports, log, authority):
        self.process, self.port, self.admin_ports, self.log = process, port, admin_ports, log
        self.authority = authority

    def tell(self):
        self.process.send_signal(signal.SIGHUP)

    def lines(self, message):
        return [
            json.loads(line)
            for line in self.log.read_text(encoding="utf-8").splitlines()
            if line.startswith("{") and message in line
        ]

    def asked(self, path, number=0):
        context = ssl.create_default_context(cafile=os.fspath(self.authority.certificate))
        url = f"https://127.0.0.1:{self.admin_ports[number]}{path}"
        with urllib.request.urlopen(url, timeout=PATIENCE_S, context=context) as answer:
            return answer.read().decode()

    def gauge(self, name):
        [line] = [
            line for line in self.asked("/metrics").splitlines() if line.startswith(f"vnedoc_hub_{name} ")
        ]
        return float(line.split()[1])


@contextlib.contextmanager
def serving(folder, authority, *, processes=1, settings=""):
    certificate, key = authority.issue("server", passphrase=PASSPHRASE)
    admin_certificate, admin_key = authority.issue("server", name="admin")
    HubStore.open(folder / "hub").close()
    port, *admin_ports = free_ports(1 + processes)
    config, log = folder / "vnedoc.toml", folder / "hub.log"
    config.write_text(
        f"""\
[hub]
tls_certificate = "{certificate}"
tls_key = "{key}"
tls_passphrase_env = "TEST_TLS"
admin_tls_certificate = "{admin_certificate}"
admin_tls_key = "{admin_key}"
drain_s = 0
{settings}
""",
        encoding="utf-8",
    )
    arguments = ["--port", port, "--admin-port", admin_ports[0], "--processes", processes]
    with serving_processes(folder / "hub", *map(str, arguments), config=config, log=log) as process:
        service = Service(process, port, admin_ports, log, authority)
        for number in range(processes):
            deadline = time.monotonic() + PATIENCE_S
            while True:
                with contextlib.suppress(OSError):
                    service.asked("/health/ready", number)
                    break
                assert process.poll() is None, log.read_text(encoding="utf-8")
                assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
                time.sleep(0.05)
        yield service, certificate, key
        assert process.poll() is None, "the hub ended"
    assert "Traceback" not in log.read_text(encoding="utf-8")


@pytest.fixture
def authority(tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_TLS", PASSPHRASE)
    return Authority(tmp_path, "ours")


def test_a_renewed_certificate_is_shown_without_a_restart(authority, tmp_path):
    with serving(tmp_path, authority, processes=2) as (service, certificate, key):
        caller = Caller(service.port, authority)
        before = serial(certificate)

        def mine(line):
            return line["certificate"] == str(certificate)

        assert caller.serial() == before
        with caller.connected() as kept:
            assert answers(kept)
            # The certificate first: without its key it is of no use, and the old one stays.
            new, new_key = authority.issue("server", passphrase=PASSPHRASE, name="new")
            put(certificate, new.read_bytes())
            service.tell()
            wait_for(lambda: len({line["process"] for line in service.lines("cannot be used")}) == 2)
            assert {caller.serial() for _ in range(8)} == {before}
            put(key, new_key.read_bytes())
            # Nobody tells them this time.
            wait_for(
                lambda: len({line["process"] for line in service.lines("read again") if mine(line)}) == 2
            )
            assert {caller.serial() for _ in range(8)} == {serial(new)}
            # Who is connected stays so: a certificate that is about to end is no reason to hang up.
            assert answers(kept)
        assert PASSPHRASE not in service.log.read_text(encoding="utf-8")
        assert 23 * 3600 < service.gauge("cert_expiry_seconds") <= 24 * 3600
        # The port for those who run the hub speaks TLS, and nothing else.
        with pytest.raises(OSError, match=REFUSED):
            urllib.request.urlopen(f"http://127.0.0.1:{service.admin_ports[0]}/health/ready", timeout=10)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, NEWEST], ids=["TLS 1.2", "TLS 1.3"])
def test_who_is_revoked_is_out_at_once(authority, tmp_path, version):
    good, bad = (authority.issue("client", name=name) for name in ("good", "bad"))
    crls = tmp_path / "crls.pem"
    put(crls, authority.crl())
    settings = f'client_ca = "{authority.certificate}"\nclient_crls = "{crls}"\nclient_required = true'
    with serving(tmp_path, authority, settings=settings) as (service, _, _):
        friend = Caller(service.port, authority, good, version)
        other = Caller(service.port, authority, bad, version)
        assert friend.is_let_in()
        assert not Caller(service.port, authority, None, version).is_let_in()
        with other.connected() as kept:
            assert answers(kept)
            session = kept.session
            with other.connected(session) as again:
                assert answers(again)
                assert again.session_reused
            put(crls, authority.crl(bad[0]))
            service.tell()
            wait_for(lambda: service.lines("read again"))
            # Neither on the connection it had, nor with its session, nor anew.
            assert not answers(kept)
        assert not other.is_let_in(session)
        assert not other.is_let_in()
        assert friend.is_let_in()
        # An empty file, as of a fetch that failed, changes nothing.
        put(crls, b"")
        service.tell()
        wait_for(lambda: service.lines("cannot be used"))
        assert (friend.is_let_in(), other.is_let_in()) == (True, False)
        assert 23 * 3600 < service.gauge("client_crl_expiry_seconds") <= 24 * 3600


def shaken(server, client):
    """Let both ends shake hands in memory, and return what the server says of the client's certificate."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = server.wrap_bio(to_server, to_client, server_side=True)
    two = client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    for _ in range(4):
        for end in (two, one):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return one.getpeercert(binary_form=True)


def test_a_list_that_says_nothing_lets_nobody_in(tmp_path):
    ours, others = Authority(tmp_path, "ours"), Authority(tmp_path, "others")
    certificate, key = ours.issue("server")
    pair = ours.issue("client")
    crls = tmp_path / "crls.pem"
    client = ssl.create_default_context(cafile=os.fspath(ours.certificate))
    client.load_cert_chain(*pair)
    stranger = ssl.create_default_context(cafile=os.fspath(ours.certificate))
    files = TLSFiles(certificate, key, None, ours.certificate, client_crls=crls)

    crls.write_bytes(others.crl() + ours.crl())
    tls = RenewedTLS(files)
    assert shaken(tls, client) is not None
    # No certificate is none that was revoked.
    assert shaken(tls, stranger) is None
    assert tls.crls_end_at is not None
    for content, words in (
        (ours.crl(days=-1.0), "expired"),
        (others.crl(), "unable to get certificate CRL"),
        (ours.crl(pair[0]), "revoked"),
    ):
        put(crls, content)
        assert tls.look()
        with pytest.raises(ssl.SSLError, match=words):
            shaken(tls, client)
    put(crls, ours.crl())
    assert tls.look()
    assert not tls.look()
    assert shaken(tls, client) is not None


def test_files_that_do_not_fit_are_said_at_the_start(authority, tmp_path):
    folder = tmp_path / "hub"
    assert vnedoc("hub", "--data", str(folder), "init").code == 0
    certificate, key = authority.issue("server")
    port, admin_port = free_ports(2)
    config = tmp_path / "vnedoc.toml"

    def outcome(**settings):
        lines = [f"{name} = {json.dumps(str(value))}" for name, value in settings.items()]
        config.write_text("\n".join(["[hub]", *lines]), encoding="utf-8")
        return vnedoc("--config", str(config), "hub", "--data", str(folder), "serve", "--port", str(port))

    tls = {"tls_certificate": certificate, "tls_key": key}
    empty = tmp_path / "empty.pem"
    empty.touch()
    for settings, words in (
        ({**tls, "client_crls": empty}, "client_ca"),
        ({**tls, "client_ca": authority.certificate, "client_crls": empty}, "empty.pem"),
        ({**tls, "client_ca": authority.certificate, "client_crls": authority.certificate}, "ours-ca.pem"),
        ({**tls, "client_ca": authority.certificate, "client_crls": tmp_path / "none"}, "none"),
        ({"admin_tls_certificate": certificate}, "TLS"),
        ({"admin_tls_certificate": certificate, "admin_tls_key": key}, "admin_port"),
        (
            {
                **tls,
                "admin_tls_certificate": certificate,
                "admin_tls_key": key,
                "admin_tls_passphrase_env": "NO",
            },
            "admin_port",
        ),
    ):
        said = outcome(**settings)
        assert (said.code, words in said.err) == (5, True), said.err
    assert admin_port
