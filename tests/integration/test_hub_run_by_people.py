"""What those who run a hub meet: a database that is away, Ctrl+C twice, pages without TLS, certificates that end."""

import http.client
import json
import re
import signal
import tempfile
import time
import urllib.parse
from pathlib import Path

import httpx2
import pytest

from tests.database_fixtures import PostgreSQL
from tests.integration.test_hub_service import made, wait_for
from tests.tls import Authority
from vnedoc.exchange.hub.accounts import Accounts, Role
from vnedoc.exchange.hub.admin import PATH
from vnedoc.exchange.hub.options import HubOptions
from vnedoc.messages import Language
from vnedoc.testing.hub import running_hub
from vnedoc.testing.hub_processes import HubService, hub_service


@pytest.fixture
def folder(tmp_path) -> Path:
    """The folder of a hub that was made."""
    made(tmp_path / "hub").close()
    return tmp_path / "hub"


def logged(service: HubService) -> str:
    return service.log.read_text(encoding="utf-8")


def said(service: HubService, pattern: str) -> str:
    """Return what a hub says at its beginning; it answers before it has said everything."""
    deadline = time.monotonic() + 30
    while not (found := re.search(pattern, logged(service))):
        assert time.monotonic() < deadline, logged(service)
        time.sleep(0.05)
    return found[0]


# The database


@pytest.fixture
def own_server():
    """A PostgreSQL server that this test may stop."""
    # Its socket's path is short, as everywhere.
    with tempfile.TemporaryDirectory(prefix="vnedoc-pg-") as name:
        data = Path(name) / "data"
        data.mkdir(mode=0o700)
        yield PostgreSQL(data)


def test_the_api_says_that_the_database_is_away(own_server, caplog) -> None:
    options = HubOptions(admin=True, language=Language.EN)
    with running_hub(options=options, database=own_server.create()) as hub:
        token = Accounts(hub.store).add_token("TEST", Role.VIEWER)[1]
        place = urllib.parse.urlsplit(hub.url)
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)

        def ask(path: str):
            connection.request("GET", f"{PATH}/v1{path}", headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            return answer.status, answer.headers, json.loads(answer.read())

        assert ask("/me")[0] == 200
        kept = connection.sock
        own_server.stop()
        for path in ("/me", "/stats", "/systems"):
            status, headers, document = ask(path)
            assert status == 503
            assert headers["content-type"] == "application/problem+json"
            assert headers["cache-control"] == "no-store"
            assert int(headers["retry-after"]) > 0
            assert document["code"] == "hub.internal"
            # The connection goes on.
            assert connection.sock is kept
        connection.close()
    assert "Exception in ASGI application" not in caplog.text


# Stopping


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_told_twice_ends_without_a_traceback(folder, processes, number) -> None:
    # So long that nothing but the second signal ends it.
    settings = "[hub]\ndrain_s = 600\nstop_timeout_s = 600\n"
    with hub_service(folder, processes=processes, settings=settings) as service:
        service.process.send_signal(number)
        if number is signal.SIGTERM:
            wait_for(lambda: not service.is_ready(processes - 1))
        service.process.send_signal(number)
        assert service.process.wait(60) == 0
    assert "Traceback" not in logged(service)
    assert '"level": "error"' not in logged(service)


@pytest.mark.parametrize("processes", [1, 2])
def test_ctrl_c_tells_no_balancer_first(folder, processes) -> None:
    with hub_service(folder, processes=processes, settings="[hub]\ndrain_s = 600\n") as service:
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(60) == 0


# Pages


def test_pages_without_tls_are_warned_of_once(folder) -> None:
    arguments = ["--console", "--admin-host", "0.0.0.0"]
    with hub_service(folder, processes=2, arguments=arguments) as service:
        warnings = [line for line in logged(service).splitlines() if "plain HTTP" in line]
        assert [json.loads(line)["level"] for line in warnings] == ["warning"]


@pytest.mark.parametrize(
    ("host", "settings"),
    [("127.0.0.1", ""), ("0.0.0.0", '[hub]\nproxies = ["10.20.0.0/28"]\n')],
)
def test_pages_that_can_be_opened_are_not_warned_of(folder, host, settings) -> None:
    arguments = ["--console", "--admin-host", host]
    with hub_service(folder, arguments=arguments, settings=settings) as service:
        assert "plain HTTP" not in logged(service)


def test_the_root_of_the_port_for_administration_leads_to_the_pages(folder) -> None:
    with hub_service(folder, arguments=["--console"]) as service:
        url = said(service, r"http://\S+/console/(?=\s)")
        assert url == f"{service.admin_urls[0]}/console/"
        with httpx2.Client(follow_redirects=True) as browser:
            assert str(browser.get(service.admin_urls[0]).url) == f"{url}login"
            # Systems are not told that there are any.
            assert browser.get(service.url).status_code == 404


# Certificates


def test_the_end_of_a_watched_certificate_is_in_the_metrics(folder, tmp_path) -> None:
    path = Authority(tmp_path, "balancer").certificate
    with hub_service(folder, settings=f'[hub]\nwatched_certificates = ["{path}"]\n') as service:
        metrics = httpx2.get(f"{service.admin_urls[0]}/metrics").text
        [left] = re.findall(r"^vnedoc_hub_watched_cert_expiry_seconds (\S+)$", metrics, re.MULTILINE)
        assert float(left) > 0
        # The hub itself speaks no TLS.
        assert "vnedoc_hub_cert_expiry_seconds" not in metrics
