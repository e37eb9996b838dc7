"""``vnedoc hub serve`` as it is run: TLS with client certificates, a stop that finishes what it began, processes."""

import json
import os
import signal
import ssl
import threading
import time
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.cli import vnedoc
from tests.hubs import audit_problems
from tests.integration.test_hub_vxp import Client
from tests.tls import PASSPHRASE, Authority
from vnedoc._internal.clock import utc_now
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.hub.tls import TLSFiles, tls_context
from vnedoc.exchange.stores.hub import HubAgency, HubStore
from vnedoc.testing.hub_processes import free_ports, hub_service
from vnedoc.testing.packages import make_package

SENDER, RECIPIENT = "H99", "H99.1"
SECRET = "S" * 72


def made(folder, url=None):
    store = HubStore.open(folder, url=url)
    for system_id, code in (("TEST.A", SENDER), ("TEST.B", RECIPIENT)):
        store.add_system(system_id, name="TEST", secret=SECRET, at=utc_now())
        store.register_agencies(system_id, [HubAgency(code, "TEST")])
    return store


def package(tmp_path, number=1):
    path = tmp_path / f"{number}.edxml"
    make_package(path, sender=SENDER, recipients=[RECIPIENT], number=number)
    return path.read_bytes()


def wait_for(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        threading.Event().wait(0.02)


def children(pid):
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def is_running(pid):
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_tls_with_client_certificates(tmp_path):
    ours, others = Authority(tmp_path, "ours"), Authority(tmp_path, "others")
    certificate, key = ours.issue("server", passphrase=PASSPHRASE)
    client = ours.issue("client")
    stranger = others.issue("client")
    digest = x509.load_pem_x509_certificate(client[0].read_bytes()).fingerprint(hashes.SHA256()).hex()
    folder = tmp_path / "hub"
    store = made(folder)
    Administration(store, actor="TEST").change_system("TEST.A", certificates=[digest])

    assert tls_context(TLSFiles(certificate, key, PASSPHRASE)).minimum_version is ssl.TLSVersion.TLSv1_2

    def status(pair, system_id="TEST.A"):
        context = ssl.create_default_context(cafile=os.fspath(ours.certificate))
        if pair is not None:
            context.load_cert_chain(*pair)
        caller = Client(service.url, system_id, SECRET, utc_now)
        caller.http.close()
        with httpx2.Client(timeout=20, verify=context) as caller.http:
            return caller.post("/getAgenciesList").status_code

    arguments = ["--tls-cert", str(certificate), "--tls-key", str(key), "--client-ca", str(ours.certificate)]
    with hub_service(
        folder,
        arguments=arguments,
        is_tls=True,
        settings='[hub]\ndrain_s = 0\ntls_passphrase_env = "TEST_TLS"\n',
        environment={"TEST_TLS": PASSPHRASE},
    ) as service:
        assert status(client) == 200
        assert status(None) == 401
        # Who needs no certificate is let in without one.
        assert status(None, "TEST.B") == 200
        with pytest.raises(httpx2.TransportError):
            status(stranger)
        # Another of our own certificates is not the one that was agreed upon.
        again = Path(tmp_path / "again")
        again.mkdir()
        store_client = Authority(again, "else").issue("client")
        with pytest.raises(httpx2.TransportError):
            status(store_client)
        Administration(store, actor="TEST").change_system("TEST.A", certificates=["ab" * 32])
        assert status(client) == 401
        metrics = httpx2.get(service.admin_urls[0] + "/metrics").text
        assert "vnedoc_hub_cert_expiry_seconds" in metrics
        # The port of the wires shows nothing but that it is there.
        plain = ssl.create_default_context(cafile=os.fspath(ours.certificate))
        with httpx2.Client(verify=plain) as http:
            assert http.get(service.url + "/health").status_code == 200
            for path in ("/metrics", "/health/ready", "/admin/api/openapi.json"):
                assert http.get(service.url + path).status_code == 404, path
        assert PASSPHRASE not in service.log.read_text(encoding="utf-8")
    store.close()


class SlowUpload(threading.Thread):
    """A package of which the end comes when it is told."""

    def __init__(self, url, content):
        super().__init__(daemon=True)
        self.client = Client(url, "TEST.A", SECRET, utc_now)
        self.content = content
        self.began, self.go_on = threading.Event(), threading.Event()
        self.outcome = None
        self.start()

    def run(self):
        def body():
            yield self.content[:200]
            self.began.set()
            self.go_on.wait(60)
            yield self.content[200:]

        with self.client.http:
            try:
                answer = self.client.send(self.content, body=body())
                self.outcome = answer.json()["status"] if answer.status_code == 200 else "cut"
            except httpx2.TransportError:
                self.outcome = "cut"


def test_a_stop_finishes_what_it_began_and_says_so_first(tmp_path):
    store = made(tmp_path / "hub")
    with hub_service(tmp_path / "hub", settings="[hub]\ndrain_s = 2\nstop_timeout_s = 30\n") as service:
        upload = SlowUpload(service.url, package(tmp_path))
        assert upload.began.wait(20)
        service.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not service.is_ready())
        # Requests are answered until balancers have noticed.
        assert httpx2.get(service.url + "/health").status_code == 200
        assert httpx2.get(service.admin_urls[0] + "/health/live").status_code == 200

        def is_closed():
            try:
                httpx2.get(service.url + "/health", timeout=5)
            except httpx2.TransportError:
                return True
            return False

        wait_for(is_closed)
        assert service.process.poll() is None
        upload.go_on.set()
        assert service.process.wait(30) == 0
        upload.join(20)
        assert upload.outcome == "OK"
        assert store.stats().documents == 1
    store.close()


@pytest.mark.parametrize("asked", [1, 2])
def test_a_stop_does_not_wait_for_ever(tmp_path, asked):
    store = made(tmp_path / "hub")
    timeout_s = 1 if asked == 1 else 100
    settings = f"[hub]\ndrain_s = 0\nstop_timeout_s = {timeout_s}\n"
    with hub_service(tmp_path / "hub", settings=settings) as service:
        upload = SlowUpload(service.url, package(tmp_path))
        assert upload.began.wait(20)
        for _ in range(asked):
            service.process.send_signal(signal.SIGTERM)
            threading.Event().wait(0.5)
        assert service.process.wait(20) == 0
        upload.go_on.set()
        upload.join(20)
        assert upload.outcome == "cut"
        assert store.stats().documents == 0
        assert "Traceback" not in service.log.read_text(encoding="utf-8")
    store.close()


def test_processes_share_the_work_and_are_replaced(tmp_path, postgresql_url):
    folder = tmp_path / "hub"
    store = made(folder, postgresql_url)
    settings = "[hub]\ndrain_s = 0\n"
    with hub_service(folder, database=postgresql_url, processes=2, settings=settings) as service:
        parent = service.process.pid
        first = children(parent)
        assert len(first) == 2
        with Client(service.url, "TEST.A", SECRET, utc_now).http as http:
            caller = Client(service.url, "TEST.A", SECRET, utc_now)
            caller.http.close()
            caller.http = http
            assert caller.send(package(tmp_path, 1)).json()["status"] == "OK"
        os.kill(first[0], signal.SIGKILL)
        wait_for(lambda: len(children(parent)) == 2 and first[0] not in children(parent))
        service.wait_until_ready()
        for number in range(2, 6):
            # A connection of its own each: whichever process takes it.
            caller = Client(service.url, "TEST.A", SECRET, utc_now)
            with caller.http:
                assert caller.send(package(tmp_path, number)).json()["status"] == "OK"
        assert len(store.waiting("TEST.B", PackageKind.DOCUMENT)) == 5
        assert audit_problems(store) == []
        lines = [
            json.loads(line) for line in service.log.read_text("utf-8").splitlines() if line.startswith("{")
        ]
        assert any(line["message"] == "a process ended" for line in lines)
        now = children(parent)
        # No password and no URL of the database on any command line.
        for pid in now:
            assert b"postgres" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        service.process.kill()
        service.process.wait(10)
        # Whose parent is gone, stops.
        wait_for(lambda: not any(is_running(pid) for pid in now))
    store.close()


def test_what_is_wrong_is_said_at_once(tmp_path):
    folder = tmp_path / "hub"
    [port] = free_ports(1)
    serve = ["hub", "--data", str(folder), "serve", "--port", str(port)]
    assert vnedoc(*serve).code == 5
    assert vnedoc("hub", "--data", str(folder), "init").code == 0
    authority = Authority(tmp_path, "ours")
    certificate, key = authority.issue("server")
    _, other_key = authority.issue("client")
    assert vnedoc(*serve, "--tls-cert", str(certificate)).code == 5
    assert vnedoc(*serve, "--client-ca", str(authority.certificate)).code == 5
    wrong = vnedoc(*serve, "--tls-cert", str(certificate), "--tls-key", str(other_key))
    assert wrong.code == 5
    assert "TLS" in wrong.err
    assert vnedoc(*serve, "--tls-cert", str(tmp_path / "none"), "--tls-key", str(key)).code == 5
    assert vnedoc(*serve, "--database", "nonsense").code == 5
    gone = vnedoc(*serve, "--database", "postgresql://TEST@127.0.0.1:1/test?connect_timeout=2")
    assert gone.code == 6
