"""The administration API: each call, each role's refusals, and what two administrators do to each other."""

import asyncio
import concurrent.futures
import dataclasses
import datetime
import json
import urllib.parse

import pytest
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.clocks import NOW, Clock
from tests.hubs import fill, package, take
from vnedoc.exchange.hub import _admin_gate
from vnedoc.exchange.hub._admin_gate import FailureLimit
from vnedoc.exchange.hub.accounts import Accounts, Role
from vnedoc.exchange.hub.admin import PATH, admin_routes, describe
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.hub.app import make_app
from vnedoc.exchange.hub.core import Hub
from vnedoc.exchange.hub.options import HubOptions
from vnedoc.exchange.hub.secret_keys import key_of
from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores.hub import HubStore
from vnedoc.exchange.stores.hub_audit import HubAudit
from vnedoc.exchange.stores.hub_deliveries import HubDeliveries, HubStatus
from vnedoc.exchange.stores.hub_traffic import HubTraffic
from vnedoc.exchange.stores.payloads import StoredPayload

PASSWORD_LIKE = "một-khóa-bí-mật-TEST"
# What does not depend on the database is tested on one.
on_sqlite = pytest.mark.parametrize("new_hub_url", ["sqlite"], indirect=True)


@pytest.fixture
def store(hub_store: HubStore) -> HubStore:
    return hub_store


@pytest.fixture
def accounts(store: HubStore, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Accounts:
    # Dear on purpose; nothing here depends on how dear.
    monkeypatch.setattr("vnedoc.exchange.hub.accounts._COST", 2)
    return Accounts(store, clock=clock)


@pytest.fixture
def app(store: HubStore, accounts: Accounts, clock: Clock) -> Starlette:
    return Starlette(routes=admin_routes(Hub(store, clock=clock), accounts))


class API:
    """A client with a token."""

    def __init__(self, app: Starlette, token: str | None) -> None:
        self._headers = {"accept-language": "en"}
        if token is not None:
            self._headers["authorization"] = f"Bearer {token}"
        self._client = TestClient(app, raise_server_exceptions=False)

    def __call__(self, method: str, path: str, body: object = None, **headers: str):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._client.request(method, f"{PATH}/v1{path}", json=body, headers=self._headers | named)


@pytest.fixture
def clients(app: Starlette, accounts: Accounts) -> dict[str, API]:
    made = {role.value: API(app, accounts.add_token(f"TEST {role.value}", role)[1]) for role in Role}
    return {**made, "nobody": API(app, None)}


@pytest.fixture
def api(clients: dict[str, API]) -> API:
    return clients["admin"]


@pytest.fixture
def filled(store: HubStore, clock: Clock) -> Administration:
    administration = Administration(store, actor="test", clock=clock)
    fill(administration)
    return administration


def refused(response, status: int, code: str) -> dict:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    document = response.json()
    assert (document["status"], document["code"], document["type"]) == (status, code, "about:blank")
    assert document["detail"]
    assert document["title"]
    return document


# Who may what

CALLS = [
    ("GET", "/me", None, Role.VIEWER),
    ("GET", "/systems", None, Role.VIEWER),
    ("GET", "/systems/TEST.A", None, Role.VIEWER),
    ("POST", "/systems", {"id": "TEST.C"}, Role.ADMIN),
    ("PATCH", "/systems/TEST.A", {"name": "TEST"}, Role.ADMIN),
    ("POST", "/systems/TEST.A/secrets", {}, Role.ADMIN),
    ("DELETE", "/systems/TEST.A/secrets/00000000", None, Role.ADMIN),
    ("GET", "/agencies", None, Role.VIEWER),
    ("GET", "/agencies/H99", None, Role.VIEWER),
    ("POST", "/agencies/import", {"system_id": "TEST.A", "directory": {}}, Role.ADMIN),
    ("PUT", "/agencies/H97", {"system_id": "TEST.A", "name": "TEST"}, Role.ADMIN),
    ("DELETE", "/agencies/H98", None, Role.ADMIN),
    ("PUT", "/agencies/H99/closing", {"on": "2026-12-01"}, Role.ADMIN),
    ("DELETE", "/agencies/H99/closing", None, Role.ADMIN),
    ("GET", "/messages", None, Role.VIEWER),
    ("GET", "/messages/unknown", None, Role.VIEWER),
    ("POST", "/deliveries/retry", {"doc_ids": ["unknown"]}, Role.OPERATOR),
    ("GET", "/stats", None, Role.VIEWER),
    ("GET", "/retention", None, Role.VIEWER),
    ("GET", "/summary", None, Role.VIEWER),
    ("GET", "/audit", None, Role.ADMIN),
    ("GET", "/audit/check", None, Role.ADMIN),
    ("GET", "/tokens", None, Role.ADMIN),
    ("POST", "/tokens", {"label": "TEST", "role": "viewer"}, Role.ADMIN),
    ("DELETE", "/tokens/00000000", None, Role.ADMIN),
]


def test_the_table_above_names_every_call() -> None:
    described = {
        (method.upper(), path.removeprefix("/v1"))
        for path, methods in describe()["paths"].items()
        for method in methods
    }
    fixed = {(method, path) for method, path, _, _ in CALLS}
    assert len(described) == len(fixed) == len(CALLS)


@on_sqlite
@pytest.mark.parametrize(("method", "path", "body", "needed"), CALLS)
def test_each_role_may_what_it_may(filled, store, clients, method, path, body, needed) -> None:
    before = HubAudit(store.database).check().head
    for name, client in clients.items():
        if name == "nobody" or not Role(name).includes(needed):
            response = client(method, path, body)
            if name == "nobody":
                refused(response, 401, "hub.no-access")
            else:
                assert needed.value in refused(response, 403, "hub.role-too-low")["detail"]
    assert HubAudit(store.database).check().head == before, "nothing was changed"
    response = clients[needed.value](method, path, body)
    assert response.status_code not in {401, 403, 405, 500}, response.text


@on_sqlite
@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic dGVzdDp0ZXN0",
        "bearer vnedoc_00000000_x",
        "Bearer " + "x" * 9000,
    ],
)
def test_what_lets_nobody_in(app, authorization) -> None:
    client = TestClient(app)
    response = client.get(f"{PATH}/v1/me", headers={"Authorization": authorization} if authorization else {})
    refused(response, 401, "hub.no-access")
    assert response.headers["www-authenticate"].startswith('Bearer realm="vnedoc hub"')


def test_a_session_of_a_browser_lets_nobody_in(app, accounts) -> None:
    accounts.add_user("test.admin", "một mật khẩu TEST", Role.ADMIN)
    session = accounts.login("test.admin", "một mật khẩu TEST")
    client = TestClient(app, cookies={"session": session.token})
    assert client.get(f"{PATH}/v1/me").status_code == 401
    bearer = {"Authorization": f"Bearer {session.token}"}
    assert client.get(f"{PATH}/v1/me", headers=bearer).status_code == 401


def test_a_token_that_ended_lets_nobody_in(app, accounts, clock) -> None:
    token_id, token = accounts.add_token("TEST", Role.VIEWER, lasts=datetime.timedelta(hours=1))
    client = API(app, token)
    assert client("GET", "/me").json() == {"name": f"token:{token_id}", "role": "viewer"}
    clock.go_on(hours=1)
    refused(client("GET", "/me"), 401, "hub.no-access")


def test_guessing_is_slowed_down_but_nobody_is_locked_out(app, clients) -> None:
    stranger = API(app, "wrong")
    for _ in range(_admin_gate.MAX_FAILURES):
        refused(stranger("GET", "/me"), 401, "hub.no-access")
    response = stranger("GET", "/me")
    refused(response, 429, "hub.too-many-tries")
    assert 1 <= int(response.headers["retry-after"]) <= 61
    refused(clients["nobody"]("GET", "/me"), 429, "hub.too-many-tries")
    assert clients["viewer"]("GET", "/me").status_code == 200, "from the same address"


def test_failures_are_counted_by_address_and_forgotten(monkeypatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(_admin_gate.time, "monotonic", lambda: now[0])
    limit = FailureLimit(most=2, window_s=60)
    assert [limit.note("192.0.2.1") for _ in range(3)] == [None, None, 60.0]
    assert limit.note("192.0.2.2") is None
    now[0] += 59
    assert limit.note("192.0.2.1") == 1.0
    now[0] += 2
    assert limit.note("192.0.2.1") is None
    # One caller has all addresses of a network.
    assert [limit.note(f"2001:db8::{number}") for number in range(3)] == [None, None, 60.0]
    assert limit.note("2001:db8:0:1::1") is None
    assert limit.note("no address") is None
    for number in range(_admin_gate.MAX_ADDRESSES + 10):
        limit.note(f"x{number}")
    assert len(limit._seen) == _admin_gate.MAX_ADDRESSES


async def _call(app: Starlette, path: str, receive, headers: dict[str, str]) -> int:
    started: list[int] = []

    async def send(message) -> None:
        if message["type"] == "http.response.start":
            started.append(message["status"])

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("192.0.2.1", 1),
        "app": app,
    }
    await app(scope, receive, send)
    return started[0]


def test_a_strangers_body_is_not_read(app) -> None:
    async def receive():
        raise AssertionError("read")

    assert asyncio.run(_call(app, f"{PATH}/v1/systems", receive, {})) == 401


def test_a_body_without_a_length_ends_at_the_limit(app, accounts) -> None:
    token = accounts.add_token("TEST", Role.ADMIN)[1]
    count = 0

    async def receive():
        nonlocal count
        count += 1
        return {"type": "http.request", "body": b" " * 65_536, "more_body": True}

    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    assert asyncio.run(_call(app, f"{PATH}/v1/systems", receive, headers)) == 413
    assert count == 5


def test_a_body_that_is_too_large(clients) -> None:
    api = clients["admin"]
    refused(api("POST", "/systems", {"id": "TEST.C", "name": "x" * 300_000}), 413, "hub.large-body")
    refused(api("POST", "/agencies/import", {"system_id": "x" * 300_000}), 422, "hub.bad-request")


# Systems


def test_a_system_from_beginning_to_end(api, store, clock) -> None:
    made = api("POST", "/systems", {"id": "TEST.C", "networks": ["10.0.0.0/8"]})
    assert made.status_code == 201
    assert made.headers["location"] == f"{PATH}/v1/systems/TEST.C"
    secret = made.json()["secret"]
    shown = api("GET", "/systems/TEST.C")
    assert shown.headers["etag"] == '"1"'
    assert shown.json() == made.json()["system"]

    changed = api("PATCH", "/systems/TEST.C", {"disabled": True, "networks": []}, if_match='"1"')
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    assert changed.json()["disabled_at"] == NOW.isoformat().replace("+00:00", "Z")
    assert (changed.json()["networks"], changed.json()["name"]) == ([], "TEST.C")
    refused(api("PATCH", "/systems/TEST.C", {"name": "x"}, if_match='"1"'), 412, "hub.outdated")
    refused(api("PATCH", "/systems/TEST.C", {"name": "x"}), 428, "hub.needs-if-match")
    refused(api("PATCH", "/systems/TEST.C", {"name": "x"}, if_match='W/"2"'), 412, "hub.other-version")
    assert api("PATCH", "/systems/TEST.C", {"disabled": False}, if_match="*").status_code == 200

    rotated = api("POST", "/systems/TEST.C/secrets", {"overlap_hours": 1}).json()
    keys = store.system_secrets.access("TEST.C", at=clock()).keys
    assert keys == (key_of(rotated["secret"]), key_of(secret))
    ids = [item["id"] for item in api("GET", "/systems/TEST.C").json()["secrets"]]
    assert ids[0] == rotated["secret_id"]
    refused(api("DELETE", f"/systems/TEST.C/secrets/{ids[0]}"), 409, "hub.last-secret")
    gone = api("DELETE", f"/systems/TEST.C/secrets/{ids[1]}")
    assert (gone.status_code, gone.content) == (204, b"")
    refused(api("DELETE", f"/systems/TEST.C/secrets/{ids[1]}"), 404, "hub.no-secret-id")
    refused(api("POST", "/systems/TEST.C/secrets", {}, if_match='"1"'), 412, "hub.outdated")

    for path in ("/systems", "/systems/TEST.C", "/audit"):
        text = api("GET", path).text
        assert secret not in text
        assert rotated["secret"] not in text


@on_sqlite
@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/systems", {"id": "TEST.A"}, 409, "hub.system-exists"),
        ("POST", "/systems", {"id": "TEST A"}, 422, "hub.bad-request"),
        ("POST", "/systems", {"id": "TEST.C", "networks": ["10.0.0.1/8"]}, 422, "hub.network-host-bits"),
        ("POST", "/systems", {"id": "TEST.C", "certificates": ["00"]}, 422, "hub.bad-fingerprint"),
        ("POST", "/systems", {"id": "TEST.C", "name": " "}, 422, "hub.bad-name"),
        ("POST", "/systems", {"id": "TEST.C", "unknown": 1}, 422, "hub.bad-request"),
        ("POST", "/systems", [], 422, "hub.bad-request"),
        ("GET", "/systems/TEST.X", None, 404, "hub.unknown-system"),
        ("GET", "/systems?limit=0", None, 422, "hub.bad-request"),
        ("GET", "/systems?limit=501", None, 422, "hub.bad-request"),
        ("POST", "/systems/TEST.X/secrets", {}, 404, "hub.unknown-system"),
        ("POST", "/systems/TEST.A/secrets", {"overlap_hours": -1}, 422, "hub.bad-request"),
        ("GET", "/agencies/H00", None, 404, "hub.no-agency"),
        ("PUT", "/agencies/H97", {"system_id": "TEST.X", "name": "TEST"}, 422, "hub.unknown-system"),
        ("PUT", "/agencies/H99", {"system_id": "TEST.A", "name": "TEST"}, 428, "hub.needs-if-match"),
        ("PUT", f"/agencies/{'x' * 65}", {"system_id": "TEST.A", "name": "TEST"}, 422, "hub.bad-request"),
        ("POST", "/agencies/import", {"system_id": "TEST.A", "directory": {}}, 422, "directory.bad-schema"),
        ("GET", "/messages/unknown", None, 404, "hub.no-message"),
        ("GET", "/messages?recipent=H98", None, 422, "hub.bad-request"),
        ("GET", "/messages?sender=H98&sender=H99", None, 422, "hub.bad-request"),
        ("GET", "/messages/a%0Ab", None, 404, "hub.no-message"),
        ("GET", "/%0A", None, 404, "hub.no-such-path"),
        ("GET", "/messages?after=x", None, 422, "hub.bad-cursor"),
        ("GET", "/messages?since=2026-11-21T00:00:00", None, 422, "hub.bad-request"),
        ("GET", "/messages?since=0001-01-01T00:00:00%2B14:00", None, 422, "hub.bad-request"),
        ("GET", "/messages?kind=x", None, 422, "hub.bad-request"),
        ("GET", "/summary?first=2026-01-01&last=2025-01-01", None, 422, "hub.bad-days"),
        ("GET", "/summary?first=2020-01-01&last=2025-01-01", None, 422, "hub.bad-days"),
        ("GET", "/summary?last=0001-01-01", None, 422, "hub.bad-days"),
        ("POST", "/deliveries/retry", {"doc_ids": []}, 422, "hub.bad-request"),
        ("POST", "/deliveries/retry", {"doc_ids": ["x"] * 1001}, 422, "hub.bad-request"),
        ("POST", "/tokens", {"label": "TEST", "role": "king"}, 422, "hub.bad-request"),
        ("DELETE", "/tokens/00000000", None, 404, "hub.no-service-token"),
        ("GET", "/audit/check?head=x", None, 422, "hub.bad-audit-head"),
        ("GET", "/audit?after=-1", None, 422, "hub.bad-request"),
        ("GET", "/nothing", None, 404, "hub.no-such-path"),
        ("DELETE", "/stats", None, 405, "hub.no-such-method"),
    ],
)
def test_what_is_refused(filled, api, method, path, body, status, code) -> None:
    refused(api(method, path, body), status, code)


def test_a_refusal_names_the_field_but_not_what_was_in_it(api) -> None:
    document = refused(
        api("POST", "/systems", {"id": "TEST.C", "secret": PASSWORD_LIKE, "networks": 5}),
        422,
        "hub.bad-request",
    )
    assert {item["pointer"] for item in document["errors"]} == {"/body/secret", "/body/networks"}
    assert PASSWORD_LIKE not in json.dumps(document, ensure_ascii=False)


def test_a_body_that_is_no_json(app, accounts) -> None:
    token = accounts.add_token("TEST", Role.ADMIN)[1]
    client = TestClient(app)
    for content, status in (
        (b"", 422),
        (b"{", 400),
        (b"\xff", 400),
        (b"[" * 100_000, 400),
        (b'{"id": NaN}', 422),
    ):
        response = client.post(
            f"{PATH}/v1/systems",
            content=content,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        assert response.status_code == status, content[:9]
        assert response.headers["content-type"] == "application/problem+json"


def test_refusals_speak_vietnamese_and_english(app, clients) -> None:
    viewer = clients["viewer"]
    assert viewer("GET", "/systems/X", accept_language="en-GB,vi").json()["detail"].startswith("There is no")
    assert viewer("GET", "/systems/X", accept_language="vi-VN").json()["detail"].startswith("Không có")
    assert viewer("GET", "/systems/X", accept_language="fr").json()["detail"].startswith("Không có")
    assert viewer("GET", "/systems/X").json()["hint"]


def test_trouble_inside_is_not_told(api, monkeypatch) -> None:
    def fail(*_args, **_kwargs):
        raise RuntimeError(PASSWORD_LIKE)

    monkeypatch.setattr(HubStore, "stats", fail)
    document = refused(api("GET", "/stats"), 500, "hub.internal")
    assert PASSWORD_LIKE not in str(document)


# Once


def test_the_same_key_gives_the_same_answer(api, store) -> None:
    first = api("POST", "/systems", {"id": "TEST.C"}, idempotency_key="8e03978e-40d5-43dd-bc93-6894a57f9324")
    again = api(
        "POST", "/systems", {"id": "TEST.C"}, idempotency_key='"8e03978e-40d5-43dd-bc93-6894a57f9324"'
    )
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    other = api("POST", "/systems", {"id": "TEST.D"}, idempotency_key="8e03978e-40d5-43dd-bc93-6894a57f9324")
    refused(other, 422, "hub.other-request")
    elsewhere = api(
        "POST", "/systems/TEST.C/secrets", {}, idempotency_key="8e03978e-40d5-43dd-bc93-6894a57f9324"
    )
    refused(elsewhere, 422, "hub.other-request")
    refused(api("POST", "/systems", {"id": "TEST.C"}), 409, "hub.system-exists")
    with store.database.engine.connect() as connection:
        kept = str(connection.execute(sa.text("SELECT * FROM hub_answers")).all())
    assert first.json()["secret"] not in kept


@on_sqlite
@pytest.mark.parametrize("key", ["", " ", '""', "a b", "x" * 256, "\x7f"])
def test_what_is_no_key(api, key) -> None:
    assert api("POST", "/systems", {"id": "TEST.C"}, idempotency_key=key).status_code == 422
    assert api("GET", "/systems/TEST.C").status_code == 404


def test_of_many_at_once_one_is_made(api) -> None:
    def rotate(_number: int):
        return api("POST", "/tokens", {"label": "TEST", "role": "viewer"}, idempotency_key="same")

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(rotate, range(6)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["secret"] for answer in answers}) == 1
    assert len(api("GET", "/tokens").json()["items"]) == 4


# Agencies


def test_an_agency_from_beginning_to_end(filled, api, store) -> None:
    body = {"system_id": "TEST.A", "name": "XÃ TEST", "parent_code": "H99", "old_code": "000.00.01.H99"}
    made = api("PUT", "/agencies/H99.7", body)
    assert (made.status_code, made.headers["etag"]) == (201, '"1"')
    changed = api("PUT", "/agencies/H99.7", {**body, "system_id": "TEST.B"}, if_match='"1"')
    assert (changed.status_code, changed.json()["system_id"], changed.json()["version"]) == (200, "TEST.B", 2)
    refused(api("PUT", "/agencies/H99.7", body, if_match='"1"'), 412, "hub.other-version")
    refused(api("PUT", "/agencies/H99.8", body, if_match="*"), 412, "hub.other-version")

    closing = {"on": "2026-11-01", "successor_code": "H99", "forwards": True}
    closed = api("PUT", "/agencies/H99.7/closing", closing, if_match='"2"')
    assert (closed.status_code, closed.json()["closed_on"], closed.json()["forwards"]) == (
        200,
        "2026-11-01",
        True,
    )
    missing = api(
        "PUT", "/agencies/H99.7/closing", {"on": "2026-11-01", "successor_code": "H00"}, if_match="*"
    )
    refused(missing, 422, "hub.no-agency")
    refused(api("PUT", "/agencies/H00/closing", {"on": "2026-11-01"}, if_match="*"), 404, "hub.no-agency")
    circle = api(
        "PUT", "/agencies/H99/closing", {"on": "2026-11-01", "successor_code": "H99.7"}, if_match="*"
    )
    refused(circle, 422, "hub.succession-circle")
    opened = api("DELETE", "/agencies/H99.7/closing", if_match='"3"')
    assert (opened.json()["closed_on"], opened.json()["successor_code"]) == (None, None)
    refused(api("DELETE", "/agencies/H99.7"), 428, "hub.needs-if-match")
    take(store, 1, "H99.7")
    refused(api("DELETE", "/agencies/H99.7", if_match="*"), 409, "hub.agency-in-use")
    assert api("DELETE", "/agencies/H98.1", if_match="*").status_code == 204


def test_agencies_by_page_system_and_text(filled, api) -> None:
    codes: list[str] = []
    after = ""
    while after is not None:
        page = api("GET", f"/agencies?limit=3&after={after}").json()
        codes += [item["code"] for item in page["items"]]
        after = page["next"]
    assert codes == ["H98", "H98.1", "H99", "H99.1"]
    assert [item["code"] for item in api("GET", "/agencies?system=TEST.A").json()["items"]] == [
        "H99",
        "H99.1",
    ]
    assert [item["code"] for item in api("GET", "/agencies?text=SỞ").json()["items"]] == ["H99.1"]
    assert api("GET", "/agencies?text=%00").json()["items"] == []


def test_a_directory_file(filled, api) -> None:
    directory = {
        "schema": "vnedoc.directory/1",
        "agencies": [
            {"organ_id": "H99", "name": "UBND TEST MỚI"},
            {"organ_id": "H99.1", "name": "SỞ TEST", "valid_to": "2026-06-30", "successor": "H99.2"},
            {"organ_id": "H99.2", "name": "SỞ TEST HAI"},
            {"organ_id": "H98.1", "name": "XÃ TEST"},
        ],
    }
    done = api("POST", "/agencies/import", {"system_id": "TEST.A", "directory": directory})
    assert (done.status_code, done.json()) == (
        201,
        {"count": 3, "added": 1, "changed": 2, "moved": 1, "closed": ["H99.1"]},
    )
    assert api("GET", "/agencies/H99.1").json()["successor_code"] == "H99.2"
    body = {"system_id": "TEST.X", "directory": directory}
    refused(api("POST", "/agencies/import", body), 422, "hub.unknown-system")


# Traffic


def test_messages_by_page_and_filter(filled, api, store) -> None:
    ids = [take(store, number, "H98", at=NOW + datetime.timedelta(seconds=number)) for number in range(5)]
    seen: list[str] = []
    after = ""
    while after is not None:
        page = api("GET", f"/messages?limit=2{after and '&after='}{after}").json()
        seen += [item["id"] for item in page["items"]]
        after = page["next"]
    assert seen == ids[::-1]
    found = api("GET", "/messages?recipient=H98&status=initial&text=số 3&system=TEST.B&kind=document").json()
    assert [item["id"] for item in found["items"]] == [ids[3]]
    assert found["items"][0]["deliveries"] == {"initial": 1}
    moment = (NOW + datetime.timedelta(seconds=2)).isoformat().replace("+", "%2B")
    assert len(api("GET", f"/messages?since={moment}").json()["items"]) == 3
    assert len(api("GET", f"/messages?until={moment}").json()["items"]) == 2
    assert api("GET", "/messages?text=%00&sender=%00&recipient=%00").json()["items"] == []


def test_a_message_is_found_by_the_ids_that_the_hub_gave(filled, api, store) -> None:
    wanted = take(store, 1, "H98", "H99.1")
    take(store, 2, "H98")
    # A document may be called by what could be an id.
    named = dataclasses.replace(package(3, "H98"), title=f"TEST {wanted[:8]}")
    other = store.take(named, StoredPayload("0" * 64, 1), system_id="TEST.A", at=NOW, receipt=str)
    doc_ids = [item["doc_id"] for item in api("GET", f"/messages/{wanted}").json()["deliveries"]]

    def found(text: str) -> list[str]:
        query = urllib.parse.urlencode({"text": text})
        return [item["id"] for item in api("GET", f"/messages?{query}").json()["items"]]

    for text in (wanted, wanted.upper(), f" {wanted} ", wanted[:12], *doc_ids, doc_ids[0][:8]):
        assert found(text) == [wanted], text
    assert sorted(found(wanted[:8])) == sorted([wanted, other])
    for text in (wanted[1:], wanted[:31] + "g", "f" * 33, "%", f"{wanted}%"):
        assert found(text) == [], text


def test_a_status_that_there_is_not_is_refused(filled, api, store) -> None:
    take(store, 1, "H98")
    for status in HubStatus:
        items = api("GET", f"/messages?status={status}").json()["items"]
        assert len(items) == (status is HubStatus.INITIAL)
    document = refused(api("GET", "/messages?status=parkd"), 422, "hub.bad-request")
    assert document["errors"][0]["pointer"] == "/query/status"


def test_a_secret_is_rotated_without_a_body(filled, api) -> None:
    made = api("POST", "/systems/TEST.A/secrets")
    assert made.status_code == 201
    older_until = datetime.datetime.fromisoformat(made.json()["older_until"])
    assert older_until == NOW + datetime.timedelta(hours=24)


def test_one_message_is_retried_by_an_operator(filled, clients, store, clock) -> None:
    message = take(store, 1, "H98", "H99.1")
    states = {item.recipient_code: item.doc_id for item in HubTraffic(store).message(message).recipients}
    clock.go_on(minutes=1)
    deliveries = HubDeliveries(store.database)
    moved = deliveries.move("TEST.B", states["H98"], TransportStatus.FAIL, text="đầy đĩa TEST", at=clock())
    assert moved is not None
    clock.go_on(minutes=1)
    operator = clients["operator"]
    shown = operator("GET", f"/messages/{message}").json()
    assert (shown["receipt"], len(shown["sha256"])) == (message, 64)
    before = [(item["kind"], item["doc_id"], item["by"]) for item in shown["history"]]
    assert before[:2] == [("received", None, "system:TEST.A"), ("fail", states["H98"], "system:TEST.B")]
    assert shown["history"][1]["detail"] == "đầy đĩa TEST"
    done = operator("POST", "/deliveries/retry", {"doc_ids": list(states.values())}).json()
    assert done == {"again": [states["H98"]], "left": [states["H99.1"]]}
    shown = operator("GET", f"/messages/{message}").json()
    assert {item["status"] for item in shown["deliveries"]} == {"initial"}
    history = [(item["kind"], item["doc_id"], item["by"]) for item in shown["history"]]
    me = operator("GET", "/me").json()["name"]
    assert history == [*before, ("delivery.retry", states["H98"], me)]


def test_sums(filled, api, store) -> None:
    take(store, 1, "H98", "H98.1")
    summary = api("GET", "/summary").json()
    assert (summary["first"], summary["last"]) == ("2026-10-23", "2026-11-21")
    assert summary["days"] == [
        {
            "day": "2026-11-21",
            "level": 1,
            "kind": "document",
            "messages": 1,
            "deliveries": 2,
            "payload_bytes": 1001,
        }
    ]
    stats = api("GET", "/stats").json()
    assert (stats["systems"], stats["agencies"], stats["documents"]) == (2, 4, 1)
    assert stats["deliveries"]["initial"] == 2


# Tokens and the audit log


def test_a_token_is_shown_once_and_removed(api, app) -> None:
    made = api("POST", "/tokens", {"label": "sao lưu TEST", "role": "viewer", "days": 2}).json()
    other = API(app, made["secret"])
    assert other("GET", "/me").json()["role"] == "viewer"
    listed = api("GET", "/tokens")
    assert made["secret"] not in listed.text
    assert made["token"] in listed.json()["items"]
    assert api("DELETE", f"/tokens/{made['token']['id']}").status_code == 204
    refused(other("GET", "/me"), 401, "hub.no-access")


def test_every_change_is_in_the_log_with_its_actor(filled, api) -> None:
    me = api("GET", "/me").json()["name"]
    start = api("GET", "/audit").json()["items"][-1]["number"]
    api("POST", "/systems", {"id": "TEST.C"})
    api("PATCH", "/systems/TEST.C", {"disabled": True}, if_match="*")
    api("POST", "/systems/TEST.C/secrets", {})
    api("PUT", "/agencies/H97", {"system_id": "TEST.C", "name": "TEST"})
    api("PUT", "/agencies/H97/closing", {"on": "2027-01-01"}, if_match="*")
    api("DELETE", "/agencies/H97/closing", if_match="*")
    api("DELETE", "/agencies/H97", if_match="*")
    api("POST", "/tokens", {"label": "TEST", "role": "viewer"})
    entries = api("GET", f"/audit?after={start}").json()["items"]
    assert {entry["actor"] for entry in entries} == {me}
    assert [entry["action"] for entry in entries] == [
        "system.add",
        "system.change",
        "secret.rotate",
        "agency.register",
        "agency.close",
        "agency.reopen",
        "agency.remove",
        "access-token.add",
    ]
    assert [entry["number"] for entry in api("GET", f"/audit?after={start}&limit=2").json()["items"]] == [
        start + 1,
        start + 2,
    ]
    assert len(api("GET", "/audit?subject=system:TEST.C").json()["items"]) == 4
    check = api("GET", "/audit/check").json()
    assert check["is_whole"]
    assert api("GET", f"/audit/check?head={check['head']}").json()["holds_known_head"]
    assert not api("GET", f"/audit/check?head=1:{'f' * 64}").json()["is_whole"]


# The application


def test_the_description_is_open_to_everybody_and_says_3_1(app) -> None:
    response = TestClient(app).get(f"{PATH}/openapi.json")
    assert response.status_code == 200
    assert response.json() == json.loads(json.dumps(describe()))
    assert response.json()["openapi"].startswith("3.1")
    assert TestClient(app).get(f"{PATH}/docs").status_code == 401


def test_the_hub_has_the_api_only_if_it_is_told_to(store, accounts, clock) -> None:
    token = accounts.add_token("TEST", Role.VIEWER)[1]
    headers = {"Authorization": f"Bearer {token}"}
    for admin in (False, True):
        client = TestClient(make_app(store, options=HubOptions(admin=admin), clock=clock))
        assert client.get("/health").text == "ok"
        expected = 200 if admin else 404
        assert client.get(f"{PATH}/v1/me", headers=headers).status_code == expected
