"""Who is not let in to run a hub: what the logs say of it, and what they do not; and where nobody is sent on to."""

import contextlib
import json
import logging
import os
import re
import socket
import time

import httpx2
import pytest

from tests.hub_logs import recorded
from vnedoc.errors import InputError, RemoteError
from vnedoc.exchange.hub import accounts as accounts_module
from vnedoc.exchange.hub.accounts import FREE_FAILURES, Accounts, Role
from vnedoc.exchange.hub.app import make_admin_app, make_app
from vnedoc.exchange.hub.console.options import ConsoleOptions
from vnedoc.exchange.hub.options import HubOptions
from vnedoc.exchange.stores.hub import HubStore
from vnedoc.exchange.stores.hub_audit import HubAudit
from vnedoc.exchange.stores.payloads import open_payloads
from vnedoc.testing._serving import serving
from vnedoc.testing.hub import running_hub

PASSWORD = "correct horse TEST"
TYPED = "typed by mistake TEST"


class Visitor:
    """Somebody with a browser, and a program beside it."""

    def __init__(self, url):
        self._client = httpx2.Client(base_url=url, headers={"Origin": url})

    def close(self):
        self._client.close()

    def log_in(self, name, password):
        page = self._client.get("/console/login").text
        csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
        fields = {"csrf": csrf, "name": name, "password": password}
        return self._client.post("/console/login", data=fields).status_code

    def call(self, token, path="/me"):
        headers = {"Authorization": f"Bearer {token}"}
        return httpx2.get(f"{self._client.base_url}/admin/api/v1{path}", headers=headers).status_code

    def get(self, path):
        return self._client.get(path).status_code


@pytest.fixture
def log():
    with recorded(logging.INFO) as stream:
        yield stream


@pytest.fixture
def hub(hub_url, tmp_path, monkeypatch):
    # Dear on purpose; nothing here depends on how dear.
    monkeypatch.setattr(accounts_module, "_COST", 2**4)
    options = HubOptions(admin=True, console=ConsoleOptions())
    with running_hub(tmp_path / "hub", options=options, database=hub_url) as hub:
        yield hub


@pytest.fixture
def visitor(hub):
    visitor = Visitor(hub.url)
    yield visitor
    visitor.close()


@pytest.fixture
def accounts(hub):
    accounts = Accounts(hub.store)
    accounts.add_user("test.viewer", PASSWORD, Role.VIEWER)
    return accounts


def lines(log, count, *names):
    """Return the lines of a log when there are so many: a request is written down when its answer is on its way."""
    deadline = time.monotonic() + 30
    while len(found := log.getvalue().splitlines()) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    return [tuple(line.get(name) for name in names) for line in map(json.loads, found)]


def test_logins_are_in_the_logs_and_what_was_typed_is_not(hub, visitor, accounts, log):
    known = len(HubAudit(hub.store.database).entries())
    codes = [visitor.log_in("test.viewer", TYPED) for _ in range(FREE_FAILURES)]
    codes += [visitor.log_in("test.viewer", PASSWORD), visitor.log_in(TYPED, PASSWORD)]
    assert codes == [403] * (FREE_FAILURES + 2)
    accounts.set_password("test.viewer", PASSWORD)
    assert visitor.log_in("test.viewer", PASSWORD) == 303
    assert visitor.get("/console/audit") == 403
    away, wrong = "somebody was turned away", "console.wrong-login"
    failed = ("warning", away, "test.viewer", "127.0.0.1", 403, wrong)
    assert lines(log, FREE_FAILURES + 5, "level", "message", "account", "address", "status", "refusal") == [
        *[failed] * (FREE_FAILURES - 1),
        ("warning", "an account is locked", "test.viewer", "127.0.0.1", None, None),
        *[failed] * 2,
        ("warning", away, None, "127.0.0.1", 403, wrong),
        ("info", "somebody logged in", "test.viewer", "127.0.0.1", None, None),
        ("warning", away, "test.viewer", "127.0.0.1", 403, "console.not-allowed"),
    ]
    for secret in (PASSWORD, TYPED, TYPED.lower()):
        assert secret not in log.getvalue()
    audit = HubAudit(hub.store.database).entries()[known:]
    assert [(entry.actor, entry.action, entry.detail.get("address")) for entry in audit] == [
        ("hub", "user.lock", "127.0.0.1"),
        ("local", "user.change", None),
        ("test.viewer", "user.log-in", "127.0.0.1"),
    ]
    counts = hub.hub.metrics.text().decode()
    for outcome, count in {"right": 1, "wrong": FREE_FAILURES + 1, "locked": 1}.items():
        assert f'vnedoc_hub_logins_total{{outcome="{outcome}"}} {count}.0' in counts


def test_wrong_tokens_are_in_the_log_and_what_was_shown_is_not(visitor, accounts, log):
    token_id, token = accounts.add_token("TEST", Role.VIEWER)
    shown = (f"vnedoc_{token_id}_{TYPED}", TYPED, token[:-1])
    assert [visitor.call(text) for text in shown] == [401, 401, 401]
    assert visitor.call(token, "/audit") == 403
    assert [visitor.call(TYPED) for _ in range(8)][-1] == 429
    named = f"token:{token_id}"
    found = lines(log, 12, "level", "account", "status", "refusal")
    assert found[:4] == [
        ("warning", named, 401, "hub.no-access"),
        ("warning", None, 401, "hub.no-access"),
        ("warning", named, 401, "hub.no-access"),
        ("warning", named, 403, "hub.role-too-low"),
    ]
    assert found[-1] == ("warning", None, 429, "hub.too-many-tries")
    for secret in (TYPED, token, token[:-1]):
        assert secret not in log.getvalue()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError("SAID TEST"), 500),
        (RemoteError("exchange.store-away", reason="SAID TEST"), 503),
        (InputError("exchange.store-trouble", reason="SAID TEST"), 500),
    ],
)
def test_of_trouble_the_log_has_kind_and_place_and_neither_path_nor_words(
    hub, visitor, accounts, log, monkeypatch, error, status
):
    _, token = accounts.add_token("TEST", Role.ADMIN)

    def broken(*_arguments, **_options):
        raise error

    monkeypatch.setattr(hub.store.__class__, "stats", broken)
    assert visitor.call(token, "/stats") == status
    [line] = [json.loads(line) for line in log.getvalue().splitlines() if '"level": "error"' in line]
    assert line["message"] == "a call failed"
    assert line["refusal"] == getattr(error, "code", "hub.internal")
    assert type(error).__qualname__ in line["error"]
    assert line["at"][-1].endswith("broken")
    for word in ("SAID", "/admin", "/stats"):
        assert word not in log.getvalue()


@pytest.mark.parametrize("new_hub_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "path", ["/sendEdoc/", "/token/", "/services/EdocService/", "/health/", "/admin/api"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nobody_is_sent_on_to_what_the_host_says(hub, path, method):
    with serving(make_admin_app(hub.hub)) as administration:
        for url in (hub.url, administration):
            answer = ask(url, method, path)
            assert answer.startswith(b"HTTP/1.1 404 ")
            assert b"evil.example" not in answer


def ask(url, method, path):
    host, _, port = url.removeprefix("http://").partition(":")
    head = (f"{method} {path} HTTP/1.1", "Host: evil.example", "Content-Length: 0", "Connection: close")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall("\r\n".join((*head, "", "")).encode())
        with connection.makefile("rb") as stream:
            return stream.read()


@pytest.mark.parametrize("where", ["folder", "s3"])
def test_a_hub_starts_whatever_a_killed_one_left(request, where, tmp_path):
    address = request.getfixturevalue("s3_address") if where == "s3" else tmp_path / "payloads"
    payloads = open_payloads(address)
    with payloads.temporary() as path:
        pass
    left = path.with_suffix(".parts")
    left.mkdir()
    (left / "1").write_text("TEST")
    with contextlib.closing(HubStore.open(tmp_path / "hub", payloads=address)) as store:
        for _ in range(2):
            with serving(make_app(store)) as url:
                assert httpx2.get(f"{url}/health/live").status_code == 200
            assert left.is_dir(), "it may belong to a process that is at work"
        os.utime(left, (0, 0))
        with serving(make_app(store)) as url:
            assert httpx2.get(f"{url}/health/live").status_code == 200
        assert not left.exists()
