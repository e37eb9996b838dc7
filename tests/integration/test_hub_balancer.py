"""A hub of two processes behind a real HAProxy, by the example: restarted and killed while systems send."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.hub_clients import HubClient, Packages, free_port
from tests.hubs import audit_problems
from tests.integration.test_hub_vxp import Client
from tests.tls import Authority
from vnedoc._internal.clock import utc_now
from vnedoc.config import load_config
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.stores.hub import HubAgency, HubStore
from vnedoc.testing.hub_processes import hub_service

pytestmark = pytest.mark.needs("haproxy")

EXAMPLES = Path(__file__).parents[2] / "examples" / "hub"
SECRET = "S" * 72
PATIENCE_S = 60
SETTINGS = """\
[hub]
proxies = ["127.0.0.1"]
certificate_header = "{header}"
drain_s = {drain_s}
"""


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        threading.Event().wait(0.05)


class Balancer:
    """A running HAProxy."""

    def __init__(self, folder, services, *, server, clients, crls=None):
        self.port = free_port()
        self.control = folder / "control"
        text = (EXAMPLES / "haproxy.cfg").read_text(encoding="utf-8")
        pem = folder / "axis.pem"
        pem.write_bytes(server[0].read_bytes() + server[1].read_bytes())
        text = text.replace(":443 ", f"127.0.0.1:{self.port} ").replace("/etc/haproxy/axis.pem", str(pem))
        revoked = "" if crls is None else f" crl-file {crls}"
        text = text.replace("/etc/haproxy/systems-ca.pem", f"{clients}{revoked}")
        lines = [
            f"    server p{number} 127.0.0.1:{wires} check port {admin}"
            for number, (wires, admin) in enumerate(services)
        ]
        text, count = re.subn(r"^ +server .*\n", "", text, flags=re.MULTILINE)
        assert count == 4
        text = text.replace("global\n", f"global\n    stats socket {self.control}\n")
        self.config = folder / "haproxy.cfg"
        self.config.write_text(text + "\n".join(lines) + "\n", encoding="utf-8")

    @contextlib.contextmanager
    def running(self):
        checked = subprocess.run(
            ["haproxy", "-c", "-f", self.config], capture_output=True, text=True, timeout=60
        )
        assert (checked.returncode, "WARNING" in checked.stderr + checked.stdout) == (0, False), (
            checked.stderr
        )
        with subprocess.Popen(
            ["haproxy", "-db", "-f", self.config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                yield self
            finally:
                process.send_signal(signal.SIGKILL)

    def sends_to(self, number):
        """Tell whether it sends requests to a process."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as control:
            control.settimeout(PATIENCE_S)
            control.connect(str(self.control))
            control.sendall(b"show stat\n")
            said = b""
            while piece := control.recv(65536):
                said += piece
            return re.search(rf"^hub,p{number},.*,UP,", said.decode(), re.MULTILINE) is not None
        return False


class Caller(HubClient):
    """A system that calls by the balancer, with further headers of its own making."""

    def __init__(self, port, authority, *, system_id="TEST.A", pair=None):
        super().__init__([port], system_id, SECRET, timeout_s=PATIENCE_S)
        self.context = ssl.create_default_context(cafile=os.fspath(authority.certificate))
        self.session = None
        if pair is not None:
            self.context.load_cert_chain(*pair)

    def connect(self, port):
        connection = self.context.wrap_socket(
            super().connect(port), server_hostname="127.0.0.1", session=self.session
        )
        self.last = connection
        return connection


@pytest.fixture
def place(tmp_path, postgresql_url):
    """The folder of a hub with two systems, of which one must show a certificate; and who issues certificates."""
    ours, systems = Authority(tmp_path, "ours"), Authority(tmp_path, "systems")
    pair = systems.issue("client")
    fingerprint = x509.load_pem_x509_certificate(pair[0].read_bytes()).fingerprint(hashes.SHA256()).hex()
    folder = tmp_path / "hub"
    with contextlib.closing(HubStore.open(folder, url=postgresql_url)) as store:
        for system_id, code in (("TEST.A", "H99"), ("TEST.B", "H98")):
            store.add_system(system_id, name="TEST", secret=SECRET, at=utc_now())
            store.register_agencies(system_id, [HubAgency(code, "TEST")])
        Administration(store, actor="TEST").change_system("TEST.A", certificates=[fingerprint])
        yield tmp_path, store, ours, systems, pair


def started(stack, folder, url, *, ports=None):
    """Start a process; where one was before, on its ports."""
    header = load_config(EXAMPLES / "vnedoc.toml", environ={}).hub.certificate_header
    settings = SETTINGS.format(header=header, drain_s=4)
    return stack.enter_context(hub_service(folder, database=url, settings=settings, ports=ports))


def ports_of(service):
    return tuple(int(url.rpartition(":")[2]) for url in (service.url, service.admin_urls[0]))


def test_processes_are_restarted_and_killed_behind_a_balancer_and_nobody_notices(place, postgresql_url):
    tmp_path, store, ours, systems, pair = place
    packages = Packages(tmp_path, sender="H99", recipients=["H98"])
    statuses, sent, enough = [], [], threading.Event()
    may_break = threading.Event()

    with contextlib.ExitStack() as stack:
        services = [started(stack, tmp_path / "hub", postgresql_url) for _ in range(2)]
        ports = [ports_of(service) for service in services]
        balancer = stack.enter_context(
            Balancer(tmp_path, ports, server=ours.issue("server"), clients=systems.certificate).running()
        )
        for number in range(2):
            wait_for(lambda number=number: balancer.sends_to(number))

        def send(first):
            client = Caller(balancer.port, ours, pair=pair)
            for number in range(first, 1_000_000, 2):
                while True:
                    try:
                        status = client.send(packages.number(number), sender="H99").status
                    except OSError as error:
                        status = repr(error)
                    statuses.append((may_break.is_set(), status))
                    if status == 200:
                        break
                    assert may_break.is_set(), status
                sent.append(number)
                if number % 8 < 2:
                    # Somebody else's system keeps no connection.
                    client.close()
                if enough.is_set():
                    client.close()
                    return

        threads = [threading.Thread(target=send, args=(first,)) for first in range(2)]
        for thread in threads:
            thread.start()
        try:
            # One is restarted while the other works, and then the other way round, without a farewell.
            before = len(sent)
            services[0].process.send_signal(signal.SIGTERM)
            wait_for(lambda: not balancer.sends_to(0))
            assert services[0].process.wait(PATIENCE_S) == 0
            assert len(sent) > before
            started(stack, tmp_path / "hub", postgresql_url, ports=ports[0])
            wait_for(lambda: balancer.sends_to(0))
            may_break.set()
            services[1].process.kill()
            wait_for(lambda: not balancer.sends_to(1))
            before = len(sent)
            wait_for(lambda: len(sent) > before + 4)
        finally:
            enough.set()
            for thread in threads:
                thread.join(PATIENCE_S)
        # While a process was restarted, everybody got a good answer to everything at once.
        assert {status for broken, status in statuses if not broken} == {200}
        assert len(sent) == len(set(sent)) == store.stats().documents
        assert store.stats().deliveries["initial"] == len(sent)
        assert audit_problems(store) == []


def test_what_a_caller_says_of_itself_does_not_pass_the_balancer(place, postgresql_url):
    tmp_path, store, ours, systems, pair = place
    header = load_config(EXAMPLES / "vnedoc.toml", environ={}).hub.certificate_header
    with contextlib.ExitStack() as stack:
        service = started(stack, tmp_path / "hub", postgresql_url)
        crls = tmp_path / "crls.pem"
        crls.write_bytes(systems.crl(systems.issue("client", name="revoked")[0]))
        balancer = stack.enter_context(
            Balancer(
                tmp_path,
                [ports_of(service)],
                server=ours.issue("server"),
                clients=systems.certificate,
                crls=crls,
            ).running()
        )
        wait_for(lambda: balancer.sends_to(0))
        good = Caller(balancer.port, ours, pair=pair)
        assert good.listed().status == 200
        # Who comes again with a session shows no certificate a second time, and is known all the same.
        good.session = good.last.session
        good.close()
        assert good.listed().status == 200
        assert good.last.session_reused
        good.close()

        # Nobody becomes somebody else by a header, and no certificate is taken that was revoked.
        fingerprint = x509.load_pem_x509_certificate(pair[0].read_bytes()).fingerprint(hashes.SHA256()).hex()
        context = ssl.create_default_context(cafile=os.fspath(ours.certificate))
        url = f"https://127.0.0.1:{balancer.port}"

        def status(system_id="TEST.A", **headers):
            client = Client(url, system_id, SECRET, utc_now)
            client.http.close()
            with httpx2.Client(verify=context, timeout=PATIENCE_S) as client.http:
                return client.post("/getAgenciesList", headers={**client.headers([]), **headers}).status_code

        assert status() == 401
        assert status(**{header: fingerprint}) == 401
        assert status("TEST.B") == 200
        administration = Administration(store, actor="TEST")
        administration.change_system("TEST.B", networks=["192.0.2.0/24"])
        assert status("TEST.B") == 401
        assert status("TEST.B", **{"X-Forwarded-For": "192.0.2.7"}) == 401
        administration.change_system("TEST.B", networks=["127.0.0.0/8"])
        assert status("TEST.B") == 200
        revoked = Caller(
            balancer.port, ours, pair=(tmp_path / "systems-revoked.pem", tmp_path / "systems-revoked-key.pem")
        )
        with pytest.raises(OSError, match=r"(?i)alert|reset|closed|eof|pipe"):
            revoked.listed()
