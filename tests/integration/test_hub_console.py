"""The console of the hub, page by page: who gets in, what is shown, what is refused, and that nothing leaks."""

import dataclasses
import datetime
import html
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.clocks import NOW, Clock
from tests.hubs import take
from vnedoc.agencies import Agency, AgencyDirectory, dump_directory
from vnedoc.agencies.directory import CertificatePin
from vnedoc.errors import RemoteError
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub import accounts as accounts_module
from vnedoc.exchange.hub.accounts import Accounts, Role
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.hub.app import make_app
from vnedoc.exchange.hub.chores import prune_old
from vnedoc.exchange.hub.console import charts
from vnedoc.exchange.hub.console.charts import Bar
from vnedoc.exchange.hub.console.door import safe_next
from vnedoc.exchange.hub.console.options import ConsoleOptions
from vnedoc.exchange.hub.console.routes import console_routes
from vnedoc.exchange.hub.console.words import Words, choose_language
from vnedoc.exchange.hub.core import Hub
from vnedoc.exchange.hub.options import HubOptions
from vnedoc.exchange.hub.tally import Tally
from vnedoc.exchange.stores.hub import HubAgency, HubPackage, HubStore
from vnedoc.exchange.stores.hub_audit import HubAudit
from vnedoc.exchange.stores.hub_reports import HubReports
from vnedoc.exchange.stores.hub_traffic import HubTraffic
from vnedoc.exchange.stores.models import HubDeliveryRow
from vnedoc.exchange.stores.payloads import StoredPayload
from vnedoc.exchange.stores.pruning import PruneLimits
from vnedoc.messages import Language

PASSWORD = "correct horse TEST"
HOST = "http://127.0.0.1"
EVIL = "<script>alert('TEST')</script>\" onmouseover=\"x"
USERS = {"viewer": Role.VIEWER, "operator": Role.OPERATOR, "chief": Role.ADMIN}
PAGES = ["/", "/messages", "/to-do", "/systems", "/agencies", "/certificates", "/audit"]


class Console:
    """A console, and a visitor with a browser that keeps cookies."""

    def __init__(self, store: HubStore, clock: Clock, options: ConsoleOptions) -> None:
        self.store, self.clock = store, clock
        self.accounts = Accounts(store, clock=clock)
        hub = Hub(store, clock=clock)
        self.client = TestClient(
            Starlette(routes=console_routes(hub, self.accounts, options=options)),
            base_url=HOST,
            follow_redirects=False,
        )
        self.client.headers["Origin"] = HOST

    def get(self, path: str, **headers: str):
        return self.client.get(f"/console{path}", headers=headers)

    def post(self, path: str, **fields):
        return self.client.post(f"/console{path}", data=fields)

    def token(self, page: str = "/") -> str:
        """Return the CSRF token that forms of a page carry."""
        return re.search(r'name="csrf" value="([^"]+)"', self.get(page).text)[1]

    def log_in(self, name: str, password: str = PASSWORD, **fields):
        return self.post(
            "/login", **{"name": name, "password": password, "csrf": self.token("/login"), **fields}
        )

    def parked(self, number: int, *recipients: str, at=NOW, status="parked", **changes) -> list[str]:
        """Let the hub take a package over, and park its deliveries."""
        message_id = take(self.store, number, *recipients, at=at, **changes)
        with self.store.database.writing() as session:
            rows = session.scalars(
                sa.select(HubDeliveryRow).where(HubDeliveryRow.message_id == message_id)
            ).all()
            for row in rows:
                row.status, row.updated_at = status, at
            return [row.doc_id for row in sorted(rows, key=lambda row: row.position)]

    def statuses(self) -> dict[str, str]:
        with self.store.database.reading() as session:
            return dict(session.execute(sa.select(HubDeliveryRow.doc_id, HubDeliveryRow.status)).all())


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch) -> None:
    monkeypatch.setattr(accounts_module, "_COST", 2**4)


@pytest.fixture
def store(filled_hub_store: HubStore) -> HubStore:
    return filled_hub_store


@pytest.fixture
def console(store: HubStore, clock: Clock) -> Iterator[Console]:
    console = Console(store, clock, ConsoleOptions(trust=()))
    for name, role in USERS.items():
        console.accounts.add_user(name, PASSWORD, role)
    with console.client:
        yield console


def shown(response) -> str:
    """Return what a page says, without its markup."""
    assert response.status_code == 200, response.text
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.text)))


# Getting in


def test_without_a_login_every_page_leads_to_the_login(console) -> None:
    routes = console_routes(Hub(console.store), console.accounts)
    paths = [
        re.sub(r"\{.*?\}", "x", route.path)
        for route in routes
        if "GET" in route.methods and "static" not in route.path
    ]
    paths = [path for path in paths if path not in {"/console", "/console/login"}]
    assert len(paths) == 11
    for path in paths:
        response = console.client.get(path)
        assert (response.status_code, response.headers["location"].partition("?")[0]) == (
            303,
            "/console/login",
        ), path
        assert response.text == ""
    for path in ("/retry", "/logout"):
        assert console.post(path, doc_id="0" * 32).headers["location"] == "/console/login"


def test_the_right_password_gets_in_and_goes_where_one_wanted_to_go(console) -> None:
    assert console.get("").headers["location"] == "/console/"
    asked = console.get("/messages?status=parked").headers["location"]
    assert asked == "/console/login?next=%2Fconsole%2Fmessages%3Fstatus%3Dparked"
    assert 'name="next" value="/console/messages?status=parked"' in console.client.get(asked).text
    response = console.log_in(" VIEWER ", next="/console/messages?status=parked")
    assert (response.status_code, response.headers["location"]) == (303, "/console/messages?status=parked")
    cookies = response.headers.get_list("set-cookie")
    (cookie,) = [item for item in cookies if item.startswith("vnedoc-console=")]
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert "viewer" in shown(console.get("/"))
    # Who is in need not log in again.
    assert console.get("/login?next=/console/systems").headers["location"] == "/console/systems"


def test_cookies_are_for_tls_only_but_on_ones_own_machine(console) -> None:
    for host, scheme in (("hub.test", "http"), ("127.0.0.1.hub.test", "http"), ("127.0.0.1", "https")):
        response = console.client.get(f"{scheme}://{host}/console/login")
        (cookie,) = response.headers.get_list("set-cookie")
        assert cookie.startswith("__Host-vnedoc-login=")
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=strict"} <= set(cookie.split("; "))
    for host in ("localhost", "[::1]:8280"):
        (cookie,) = console.client.get(f"http://{host}/console/login").headers.get_list("set-cookie")
        assert cookie.startswith("vnedoc-login=")


@pytest.mark.parametrize(
    ("name", "password"),
    [("viewer", "wrong TEST pass"), ("nobody", PASSWORD), ("", ""), ("viewer", ""), ("<b>", "x")],
)
def test_a_wrong_name_and_a_wrong_password_look_the_same(console, name, password) -> None:
    response = console.log_in(name, password)
    assert response.status_code == 403
    assert "Tên đăng nhập hoặc mật khẩu không đúng" in response.text
    assert "vnedoc-console" not in response.headers.get("set-cookie", "")
    assert "<b>" not in re.sub(r'<p class="note.*?</p>', "", response.text)
    assert console.get("/").status_code == 303


def test_a_locked_account_says_what_a_wrong_password_says(console, clock) -> None:
    wrong = [console.log_in("viewer", "wrong TEST pass").text for _ in range(5)]
    locked = console.log_in("viewer")
    assert locked.status_code == 403
    hidden = re.compile(r'(?<=value=")[^"]{43}(?=")')
    assert hidden.sub("", locked.text) == hidden.sub("", wrong[0])
    clock.go_on(minutes=2)
    assert console.log_in("viewer").status_code == 303


def test_one_place_does_not_try_one_name_after_the_other(console) -> None:
    codes = [console.log_in(f"name{number}", "wrong TEST pass").status_code for number in range(21)]
    assert codes == [403] * 20 + [429]
    refused = console.log_in("viewer")
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 61


def test_who_cannot_log_in_for_want_of_tls_is_told_so(console) -> None:
    def told(host: str, **headers: str) -> str:
        # The client of this test sends no cookie that is for TLS only, as browsers do.
        console.client.cookies.clear()
        page = console.client.get(f"{host}/console/login").text
        token = re.search(r'name="csrf" value="([^"]+)"', page)[1]
        response = console.client.post(
            f"{host}/console/login",
            data={"name": "viewer", "password": PASSWORD, "csrf": token},
            headers={"Origin": host, **headers},
        )
        return response.text if response.status_code == 403 else str(response.status_code)

    assert "không phải là https" in told("http://10.0.0.5")
    # Behind a proxy that ends TLS: the browser's own address is https, so it is something else.
    assert "để quá lâu" in told("http://10.0.0.5", **{"Sec-Fetch-Site": "same-origin"})
    assert told("https://10.0.0.5") == told("http://127.0.0.1") == "303"


@pytest.mark.parametrize("token", ["", "x", "é"])
def test_a_login_needs_the_token_of_its_form(console, token) -> None:
    console.get("/login")
    response = console.post("/login", name="viewer", password=PASSWORD, csrf=token)
    assert response.status_code == 403
    assert console.get("/").status_code == 303


def test_a_form_from_elsewhere_is_refused(console) -> None:
    console.log_in("operator")
    (doc_id,) = console.parked(1, "H98")
    fields = {"doc_id": doc_id, "csrf": console.token(), "back": "/console/to-do"}
    for headers in [
        {"Origin": "http://evil.test"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://["},
        {"Origin": "http://127.0.0.1:81"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": None},
    ]:
        console.client.headers.pop("Sec-Fetch-Site", None)
        console.client.headers["Origin"] = HOST
        console.client.headers.update({name: value for name, value in headers.items() if value is not None})
        if headers.get("Origin", HOST) is None:
            del console.client.headers["Origin"]
        response = console.post("/retry", **fields)
        assert response.status_code == 403, headers
        assert console.statuses() == {doc_id: "parked"}, headers
    console.client.headers["Origin"] = HOST
    assert console.post("/retry", **fields).status_code == 303
    assert console.statuses() == {doc_id: "initial"}


def test_a_browser_that_says_it_is_the_same_origin_gets_in_without_an_origin(console) -> None:
    del console.client.headers["Origin"]
    console.client.headers["Sec-Fetch-Site"] = "same-origin"
    assert console.log_in("viewer").status_code == 303


def test_logging_out_ends_the_session_and_needs_the_token(console) -> None:
    console.log_in("viewer")
    assert console.post("/logout", csrf="x").status_code == 403
    assert console.get("/").status_code == 200
    token = console.token()
    kept = dict(console.client.cookies)
    assert console.post("/logout", csrf=token).headers["location"] == "/console/login"
    console.client.cookies.update(kept)
    assert console.get("/").status_code == 303, "the cookie that somebody kept is no good"


def test_a_session_ends_by_itself(console, clock) -> None:
    console.log_in("viewer")
    clock.go_on(minutes=31)
    assert console.get("/").status_code == 303


def test_a_login_replaces_the_session_before_it(console) -> None:
    console.log_in("viewer")
    first = console.client.cookies["vnedoc-console"]
    console.client.cookies.clear()
    # A form that was open in another tab.
    response = console.client.post(
        "/console/login",
        data={"name": "operator", "password": PASSWORD, "csrf": "open"},
        headers={"Cookie": f"vnedoc-console={first}; vnedoc-login=open"},
    )
    assert response.status_code == 303
    assert console.client.cookies["vnedoc-console"] != first
    assert console.accounts.session(first) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/console/messages?text=a%20b&status=done", None),
        ("/console/agencies/000.00.00.H98", None),
        ("/console", None),
        ("//evil.test/console", "/console/"),
        ("/console//evil.test", "/console/"),
        ("https://evil.test/console/", "/console/"),
        ("/console/..%2f..//evil.test", "/console/"),
        ("/\\evil.test", "/console/"),
        ("/console/\\evil", "/console/"),
        ("/console/x\r\nLocation: http://evil.test", "/console/"),
        ("/consoleevil", "/console/"),
        ("/other", "/console/"),
        ("/console/login", "/console/"),
        ("/console/messages?" + "x" * 3000, "/console/"),
        ("", "/console/"),
    ],
)
def test_a_login_leads_nowhere_else(text, expected) -> None:
    assert safe_next(text) == (text if expected is None else expected)


def test_a_form_that_is_none_is_refused(console) -> None:
    for content, kind, status in [
        (b"x" * 70_000, "application/x-www-form-urlencoded", 413),
        (b"\xff\xfe", "application/x-www-form-urlencoded", 400),
        (b"a&&&b", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"doc_id=%d" % n for n in range(600)), "application/x-www-form-urlencoded", 400),
        (b"{}", "application/json", 415),
        (b"--x\r\n", "multipart/form-data; boundary=x", 415),
    ]:
        response = console.client.post("/console/login", content=content, headers={"Content-Type": kind})
        assert response.status_code == status, kind


def test_an_account_that_is_removed_is_out_at_once(console) -> None:
    console.log_in("viewer")
    console.accounts.remove_user("viewer")
    assert console.get("/").status_code == 303


# What every page carries


def test_every_page_is_locked_down_and_has_no_code_in_it(console) -> None:
    take(console.store, 1, "H98")
    console.log_in("chief")
    message_id = re.search(r"/console/messages/([0-9a-f]{32})", console.get("/messages").text)[1]
    pages = [
        *PAGES,
        f"/messages/{message_id}",
        "/systems/TEST.A",
        "/agencies/H98",
        "/none",
        "/static/console.css",
    ]
    for path in pages:
        response = console.get(path)
        assert response.status_code == (404 if path == "/none" else 200), path
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert response.headers["x-frame-options"] == "DENY"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "same-origin"
        if "static" not in path:
            assert response.headers["cache-control"] == "no-store"
            assert not re.search(r"<script|<style|\sstyle=|\son\w+=|https?://", response.text), path


def test_pages_for_administrators_are_for_administrators(console) -> None:
    for name in ("viewer", "operator"):
        console.log_in(name)
        response = console.get("/audit")
        assert response.status_code == 403
        assert "Người quản trị" in response.text
        assert "/console/audit" not in console.get("/").text
        console.post("/logout", csrf=console.token())
    console.log_in("chief")
    page = shown(console.get("/audit"))
    assert "Thêm tài khoản" in page
    assert "system:TEST.A" in page


def test_no_secret_is_ever_shown(console, store) -> None:
    _, made = Administration(store, actor="test").add_system("TEST.C", secret="a-very-secret-TEST-value" * 3)
    console.accounts.add_token("TEST", Role.ADMIN)
    console.log_in("chief")
    session = console.client.cookies["vnedoc-console"]
    kept = {session, made.secret, PASSWORD}
    with store.database.engine.connect() as connection:
        for statement in (
            "SELECT sealed FROM hub_secrets",
            "SELECT password FROM hub_users",
            "SELECT token_sha256 FROM hub_tokens",
            "SELECT token_sha256 FROM hub_sessions",
        ):
            kept |= set(connection.execute(sa.text(statement)).scalars())
    assert len(kept) > 8
    for path in [*PAGES, "/systems/TEST.C", "/systems/TEST.A"]:
        page = console.get(path).text
        assert not [secret for secret in kept if secret in page], path
    assert made.id in console.get("/systems/TEST.C").text


def test_what_comes_from_outside_is_text(console, store, clock) -> None:
    admin = Administration(store, actor=EVIL, clock=clock)
    admin.add_system("TEST.X", name=EVIL)
    admin.register_agencies("TEST.X", [HubAgency("H97", EVIL, email=EVIL), HubAgency("H97.1", EVIL)])
    made = HubPackage(
        kind=PackageKind.DOCUMENT,
        identity="0" * 64,
        sender_code="H97",
        recipient_codes=("H97.1",),
        document_id=EVIL,
        title=EVIL,
        notation=EVIL,
    )
    message_id = store.take(
        made, StoredPayload("0" * 64, 1), system_id="TEST.X", at=NOW, receipt=lambda made: made + EVIL
    )[:32]
    with store.database.writing() as session:
        session.execute(sa.update(HubDeliveryRow).values(status="fail", status_text=EVIL))
    console.log_in("chief")
    pages = [*PAGES, f"/messages/{message_id}", "/systems/TEST.X", "/agencies/H97", "/messages?text=" + EVIL]
    pages += [
        "/messages?sender=" + EVIL,
        "/agencies?text=" + EVIL,
        "/to-do?again=<b>&left=1",
        "/systems/" + EVIL,
    ]
    for path in pages:
        text = console.get(path).text
        assert "<script" not in text, path
        assert '" onmouseover="' not in text, path
    assert "&lt;script&gt;" in console.get(f"/messages/{message_id}").text


# Looking


def test_the_overview_counts_today_and_says_what_to_do(console, store, clock) -> None:
    take(store, 1, "H98", "H98.1")
    take(store, 2, "H98", at=NOW - datetime.timedelta(days=1))
    take(store, 3, "H98", kind=PackageKind.STATUS)
    console.parked(4, "H98")
    console.log_in("operator")
    page = shown(console.get("/"))
    assert "Thứ Bảy, 21/11/2026" in page
    assert "Văn bản trục đã tiếp nhận 2 Hôm qua: 1. Ngoài ra, hôm nay có 1 gói tin trạng thái." in page
    assert "Cần xử lý 1 " in page
    assert "4/TEST" in page
    assert "Tổng 3; nhiều nhất 2 vào ngày 21/11/2026; hôm nay đến lúc này 2." in page
    text = console.get("/").text
    assert text.count('role="img"') == 4
    assert text.count("<table") == 2
    # A second look the day after: what was remembered is not taken for the new day.
    clock.go_on(days=1)
    console.log_in("operator")
    assert "Văn bản trục đã tiếp nhận 0 Hôm qua: 2." in shown(console.get("/"))


def test_all_reasons_for_refusals_are_shown(console, store, clock) -> None:
    tally = Tally(store.database, clock=clock)
    reasons = ["hub.wrong-secret", "hub.too-large", "hub.no-file", "hub.not-a-form", "hub.no-such-path"]
    for number, reason in enumerate(reasons):
        for _ in range(9 - number):
            tally.refused(reason)
    console.log_in("viewer")
    assert "vì lý do khác" not in shown(console.get("/"))
    tally.flush()
    page = shown(console.get("/"))
    assert "Yêu cầu bị trục từ chối 35 " in page
    assert "và 11 lượt vì lý do khác" in page
    table = page.partition("Mọi lý do từ chối hôm nay")[2]
    words = Words(Language.VI)
    assert all(f"{words.reason(reason)} {9 - number} " in table for number, reason in enumerate(reasons))


def test_a_message_is_found_by_its_receipt(console) -> None:
    wanted, _other = (take(console.store, number, "H98") for number in (1, 2))
    console.log_in("viewer")
    assert wanted in shown(console.get(f"/messages/{wanted}"))
    page = shown(console.get(f"/messages?text={wanted}"))
    assert "1/TEST" in page
    assert "2/TEST" not in page


def test_messages_are_filtered(console) -> None:
    take(console.store, 1, "H98")
    take(console.store, 2, "H98", "H98.1")
    console.parked(3, "H98", sender="H99.1")
    take(console.store, 4, "H98.1", at=NOW - datetime.timedelta(hours=12), kind=PackageKind.STATUS)
    console.log_in("viewer")
    for query, expected in [
        ("", {1, 2, 3, 4}),
        ("text=cong+van+TEST", {1, 2, 3, 4}),
        ("text=2/TEST", {2}),
        ("text=test-3", {3}),
        ("sender=H99.1", {3}),
        ("sender=so+test", {3}),
        ("recipient=H98.1", {2, 4}),
        ("recipient=x%C3%A3+test", {2, 4}),
        ("recipient=000.00.00.H98", {1, 2, 3}),
        ("kind=status", {4}),
        ("kind=document&recipient=H98.1", {2}),
        ("status=parked", {3}),
        ("status=done", set()),
        ("first=2026-11-21", {1, 2, 3}),
        ("last=2026-11-20", {4}),
        ("first=2026-11-20&last=2026-11-20", {4}),
        ("first=2026-11-22", set()),
        ("system=TEST.B", {1, 2, 3, 4}),
        ("system=NONE", set()),
    ]:
        page = shown(console.get(f"/messages?{query}"))
        assert {number for number in range(1, 5) if f" {number}/TEST " in page} == expected, query


def test_a_filter_that_is_not_understood_shows_nothing_and_says_why(console) -> None:
    take(console.store, 1, "H98")
    console.log_in("viewer")
    for query, said in [
        ("first=yesterday", "Ngày này không hợp lệ"),
        ("last=0001-01-01", "Ngày này không hợp lệ"),
        ("last=9999-12-31", "Ngày này không hợp lệ"),
        ("first=2026-11-22&last=2026-11-21", "Ngày kết thúc ở trước ngày bắt đầu"),
        ("kind=x", "Không có lựa chọn này"),
        ("status=%00", "Không có lựa chọn này"),
        ("sender=nobody", "Không tìm thấy cơ quan này"),
        ("recipient=ubnd", "Nhiều cơ quan có tên này"),
    ]:
        page = shown(console.get(f"/messages?{query}"))
        assert said in page, query
        assert "1/TEST" not in page, query


def test_of_several_agencies_one_is_chosen_by_a_link(console) -> None:
    take(console.store, 1, "H98")
    console.log_in("viewer")
    text = console.get("/messages?recipient=ubnd&text=test").text
    links = [html.unescape(link) for link in re.findall(r'href="/console(/messages\?[^"]+)"', text)]
    assert "/messages?text=test&recipient=H98" in links
    assert "1/TEST" in shown(console.get("/messages?text=test&recipient=H98"))


def test_pages_of_messages_hold_each_message_once(console) -> None:
    for number in range(120):
        # Many at the same moment: their ids decide.
        take(console.store, number, "H98", at=NOW + datetime.timedelta(seconds=number // 40))
    console.log_in("viewer")
    path, found, pages = "/messages?kind=document", [], 0
    while path is not None:
        text = console.get(path).text
        found += re.findall(r">(\d+/TEST)<", text)
        link = re.search(r'href="/console([^"]+)" rel="next"', text)
        path, pages = html.unescape(link[1]) if link else None, pages + 1
    assert pages == 3
    assert sorted(found) == sorted(f"{number}/TEST" for number in range(120))


def test_what_is_not_there_is_said_not_to_be_there(console) -> None:
    console.log_in("viewer")
    for path in [
        "/messages/" + "0" * 32,
        "/messages/x",
        "/messages/" + "é" * 32,
        "/systems/NONE",
        "/agencies/NONE",
        "/agencies/%00",
        "/to-do?status=done",
        "/none",
    ]:
        assert console.get(path).status_code == 404, path


def test_a_place_in_a_list_that_is_none_is_refused(console) -> None:
    console.log_in("chief")
    for path in [
        "/messages?before=x",
        "/messages?before=2026-01-01T00:00:00.0~x",
        "/to-do?after=~",
        "/audit?before=-1",
        "/audit?before=" + "9" * 30,
    ]:
        assert console.get(path).status_code == 400, path


def test_one_message_shows_everything_but_its_content(console, store, clock) -> None:
    (doc_id, _) = console.parked(1, "H98", "H98.1")
    message_id = HubTraffic(store).messages()[0].id
    console.log_in("operator")
    console.post("/retry", doc_id=doc_id, csrf=console.token(), back=f"/console/messages/{message_id}")
    page = shown(console.get(f"/messages/{message_id}"))
    for words in ("1/TEST", "Công văn TEST số 1", "TEST-1", "UBND TEST 98", "XÃ TEST", "1.001 B"):
        assert words in page, words
    assert "Người vận hành cho giao lại · H98 10:00:00 21/11/2026 · operator" in page
    assert "Trục tiếp nhận gói tin 10:00:00 21/11/2026 · TEST.A" in page
    assert "Chờ bên nhận lấy" in page
    assert "Tạm dừng giao" in page


def test_what_was_removed_is_said_and_cannot_be_tried_again(console, store, clock) -> None:
    console.parked(1, "H98", status="expired")
    (doc_id,) = console.parked(2, "H98", status="expired")
    message_id = next(item.id for item in HubTraffic(store).messages() if item.notation == "2/TEST")
    console.log_in("operator")
    assert "gói tin được lưu không thời hạn" in shown(console.get("/"))
    clock.go_on(days=100)
    hub = Hub(
        store,
        options=HubOptions(retention=PruneLimits(payloads_older_than=datetime.timedelta(days=90))),
        clock=clock,
    )
    prune_old(hub)
    console.log_in("operator")
    assert "Lần dọn gần nhất 10:00:00 01/03/2027: 2 gói tin (2,0 KB), 0 bản ghi." in shown(console.get("/"))
    assert 'name="doc_id"' not in console.get("/to-do").text
    assert "Quá hạn giao" in shown(console.get("/to-do"))
    page = console.get(f"/messages/{message_id}")
    assert "Không còn lưu từ 10:00:00 01/03/2027" in shown(page)
    assert f'value="{doc_id}"' not in page.text
    console.post("/retry", doc_id=doc_id, csrf=console.token(), back="/console/")
    assert set(console.statuses().values()) == {"expired"}
    clock.go_on(days=1)
    console.log_in("chief")
    assert "Dọn xong dữ liệu cũ" in shown(console.get("/audit"))


# Trying again


def test_an_operator_lets_a_delivery_be_tried_again(console, store) -> None:
    doc_id, other = console.parked(1, "H98", "H98.1")
    console.log_in("operator")
    page = console.get("/to-do").text
    assert page.count("Giao lại: ") == 2
    fields = {"doc_id": doc_id, "csrf": console.token(), "back": "/console/to-do?status=parked"}
    response = console.post("/retry", **fields)
    assert response.headers["location"] == "/console/to-do?status=parked&again=1&left=0"
    assert "Đã đưa 1 lượt giao về trạng thái chờ" in shown(console.client.get(response.headers["location"]))
    assert console.statuses() == {doc_id: "initial", other: "parked"}
    (entry,) = [entry for entry in HubAudit(store.database).entries() if entry.action == "delivery.retry"]
    assert (entry.actor, entry.subject, entry.detail["was"]) == ("operator", f"delivery:{doc_id}", "parked")

    again = console.post("/retry", **fields)
    assert again.headers["location"].endswith("&again=0&left=1")
    assert "Không thay đổi 1 lượt giao" in shown(console.client.get(again.headers["location"]))
    both = console.post("/retry", **{**fields, "doc_id": [doc_id, other]})
    assert both.headers["location"].endswith("&again=1&left=1")


def test_a_viewer_cannot_try_again(console, store) -> None:
    (doc_id,) = console.parked(1, "H98")
    console.log_in("viewer")
    page = console.get("/to-do").text
    assert "1/TEST" in page
    assert "/console/retry" not in page
    response = console.post("/retry", doc_id=doc_id, csrf=console.token(), back="/console/to-do")
    assert response.status_code == 403
    assert "Người vận hành" in response.text
    assert console.statuses() == {doc_id: "parked"}
    assert all(entry.action != "delivery.retry" for entry in HubAudit(store.database).entries())


@pytest.mark.parametrize("token", [None, "", "wrong", "of another"])
def test_trying_again_needs_the_token_of_the_session(console, token) -> None:
    (doc_id,) = console.parked(1, "H98")
    other = console.accounts.login("chief", PASSWORD)
    console.log_in("operator")
    fields = {"doc_id": doc_id, "back": "/console/to-do"}
    if token is not None:
        fields["csrf"] = other.principal.csrf if token == "of another" else token
    assert console.post("/retry", **fields).status_code == 403
    assert console.statuses() == {doc_id: "parked"}


def test_trying_again_leads_nowhere_else_and_needs_a_choice(console) -> None:
    (doc_id,) = console.parked(1, "H98")
    console.log_in("operator")
    csrf = console.token()
    for back in ("/to-do", "/to-do?status=parked"):
        for fields in ({}, {"doc_id": "../x"}):
            response = console.post("/retry", csrf=csrf, back=f"/console{back}", **fields)
            assert response.status_code == 303
            page = console.get(response.headers["location"].removeprefix("/console"))
            # The same list, with a word about it.
            assert "Chưa chọn lượt giao nào" in shown(page)
            assert "1/TEST" in shown(page)
    assert console.statuses() == {doc_id: "parked"}
    response = console.post("/retry", csrf=csrf, doc_id=doc_id, back="//evil.test")
    assert response.headers["location"] == "/console/?again=1&left=0"
    assert console.get("/retry").status_code == 404


# Who is there


def test_agencies_are_searched_and_paged(console, store) -> None:
    Administration(store, actor="test").register_agencies(
        "TEST.A", [HubAgency(f"H99.9.{number}", f"Phòng TEST {number}") for number in range(70)]
    )
    console.log_in("viewer")
    text = console.get("/agencies?text=phong").text
    link = html.unescape(re.search(r'href="/console([^"]+)" rel="next"', text)[1])
    second = console.get(link).text
    found = re.findall(r"<code>(H99\.9\.\d+)</code>", text + second)
    assert len(found) == len(set(found)) == 70
    assert 'rel="next"' not in second


def test_an_agency_shows_its_successor_and_what_becomes_of_its_packages(console, store) -> None:
    Administration(store, actor="test").close_agency(
        "H98.1", on=datetime.date(2026, 11, 21), successor="H98", forwards=True
    )
    console.log_in("viewer")
    page = shown(console.get("/agencies/H98.1"))
    for words in (
        "XÃ TEST",
        "Ngừng từ 21/11/2026",
        "UBND TEST 98",
        "gói tin được chuyển đến cơ quan kế thừa",
    ):
        assert words in page
    assert "XÃ TEST" not in shown(console.get("/agencies/000.00.00.H98")).partition("Cơ quan cấp trên")[0]


def test_a_system_shows_its_networks_and_when_it_was_heard_of(console, store, clock) -> None:
    Administration(store, actor="test").change_system("TEST.A", networks=["10.1.0.0/16"], disabled=True)
    hub = Hub(store, clock=clock)
    hub.tally.seen("TEST.A")
    hub.close()
    console.log_in("viewer")
    for path in ("/systems", "/systems/TEST.A"):
        page = shown(console.get(path))
        for words in ("10.1.0.0/16", "10:00 21/11/2026", "Đã khóa"):
            assert words in page, (path, words)
    assert "Chưa ghi nhận" in shown(console.get("/systems/TEST.B"))


def test_certificates_that_end_are_shown_first(store, clock, tmp_path, pki) -> None:
    end = datetime.date(2026, 12, 1)
    agency = Agency(
        "H99", "UBND TEST", pins=(CertificatePin("ab" * 32, None, end), CertificatePin("cd" * 32))
    )
    directory = tmp_path / "directory.json"
    directory.write_bytes(dump_directory(AgencyDirectory([agency])))
    pki.write(tmp_path / "pki", passphrase="x")
    files = sorted((tmp_path / "pki").glob("*.pem"))[:1]
    options = ConsoleOptions(
        trust=("shipped:vn-national", str(tmp_path / "none.pem")),
        certificate_files=tuple(files),
        directory=directory,
    )
    console = Console(store, clock, options)
    console.accounts.add_user("viewer", PASSWORD, Role.VIEWER)
    console.log_in("viewer")
    page = shown(console.get("/certificates"))
    assert "UBND TEST" in page
    assert "Còn 10 ngày" in page
    assert f"Không đọc được nguồn chứng thư số {tmp_path / 'none.pem'}" in page
    everything = shown(console.get("/certificates?show=all"))
    assert "Vietnam National Root CA" in everything
    assert "cdcd" not in everything, "a pin without an end is not about to end"
    clock.go_on(days=11)
    console.log_in("viewer")
    assert "Đã hết hạn" in shown(console.get("/certificates"))


# Trouble, languages, and where it is


def test_trouble_inside_is_not_shown(console, monkeypatch) -> None:
    console.log_in("viewer")
    monkeypatch.setattr(HubReports, "standing", lambda *_a, **_k: 1 / 0)
    response = console.get("/to-do")
    assert response.status_code == 500
    assert "Trang này gặp sự cố" in response.text
    assert "ZeroDivision" not in response.text

    def away(*_arguments, **_values):
        raise RemoteError("exchange.store-away", reason="TEST password=x")

    monkeypatch.setattr(HubReports, "standing", away)
    response = console.get("/to-do")
    assert response.status_code == 503
    assert "password" not in response.text


def test_the_language_is_what_a_visitor_chose_or_what_the_browser_wants(console) -> None:
    assert '<html lang="vi">' in console.get("/login").text
    assert '<html lang="en">' in console.get("/login", **{"Accept-Language": "en-GB,en;q=0.9,vi;q=0.8"}).text
    chosen = console.get("/login?lang=en&next=/console/to-do")
    assert '<html lang="en">' in chosen.text
    assert 'href="/console/login?next=%2Fconsole%2Fto-do&amp;lang=vi"' in chosen.text
    assert "vnedoc-language=en" in chosen.headers["set-cookie"]
    assert '<html lang="en">' in console.get("/login", **{"Accept-Language": "vi"}).text
    assert '<html lang="vi">' in console.get("/login?lang=vi").text


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "vi"),
        ("vi", "vi"),
        ("en", "en"),
        ("fr, en;q=0.5", "en"),
        ("en;q=0.1, vi;q=0.2", "vi"),
        ("vi;q=0.1, en-US", "en"),
        ("en;q=0", "vi"),
        ("en;q=x", "vi"),
        ("*", "vi"),
        ("en," * 100_000, "en"),
    ],
)
def test_the_browser_wants(accepted, language) -> None:
    assert choose_language({}, {}, accepted=accepted, cookie="c") == language


def test_both_languages_have_all_pages(console) -> None:
    console.parked(1, "H98")
    console.log_in("chief")
    for path in PAGES:
        assert console.get(f"{path}?lang=en").status_code == 200
        assert '<html lang="en">' in console.get(path).text
    assert "Needs attention" in console.get("/to-do").text


def test_the_console_is_off_unless_it_is_asked_for(store, clock) -> None:
    def answer(options: HubOptions) -> int:
        with TestClient(make_app(store, options=options, clock=clock), base_url=HOST) as client:
            return client.get("/console/login").status_code

    assert answer(HubOptions()) == 404
    assert answer(HubOptions(console=ConsoleOptions(trust=()))) == 200


def test_numbers_and_times_are_written_as_the_language_writes_them() -> None:
    vi, en = Words(Language.VI), Words(Language.EN)
    assert (vi.number(1234567), en.number(1234567)) == ("1.234.567", "1,234,567")
    assert [vi.size(size) for size in (0, 1023, 1536, 5 * 1024**3)] == ["0 B", "1023 B", "1,5 KB", "5,0 GB"]
    assert (vi.time(NOW), en.time(NOW)) == ("10:00 21/11/2026", "2026-11-21 10:00")
    assert [vi.lasting(datetime.timedelta(minutes=n)) for n in (5, 119, 120, 2880)] == [
        "5 phút",
        "119 phút",
        "2 giờ",
        "2 ngày",
    ]
    assert vi.count(1000, most=1000) == "1.000+"
    assert vi.reason("hub.unknown-recipients") == "Cơ quan nhận chưa được đăng ký trên trục"
    assert vi.reason("elsewhere.none") == "elsewhere.none"
    assert vi.status("<x>") == "<x>"
    assert vi.level(9) == "Cấp 5 trở xuống"


@pytest.mark.parametrize(
    ("largest", "lines"),
    [
        (0, [0, 1]),
        (1, [0, 1]),
        (3, [0, 1, 2, 3]),
        (5, [0, 2, 4, 6]),
        (126, [0, 50, 100, 150]),
        (99_999, [0, 50_000, 100_000]),
    ],
)
def test_lines_of_a_chart_are_round_and_nothing_is_above_them(largest, lines) -> None:
    found = charts.scale(largest)
    assert found[-1] >= largest
    assert len(found) <= 6
    assert list(found) == lines


def test_a_chart_is_text_for_those_who_do_not_see_it() -> None:
    bars = [Bar(3, "3", "<b>", tick="01/11"), Bar(0, "0", "x", is_now=True)]
    texts = {"chart_id": "c", "title": "<i>", "description": "3 & 0"}
    drawn = charts.columns(bars, colour="sent", lines=["0", "1", "2", "3"], **texts) + charts.rows(
        bars, colour="sent", **texts
    )
    assert "<b>" not in drawn
    assert "<i>" not in drawn
    assert drawn.count('<desc id="c-text">3 &amp; 0</desc>') == 2
    assert charts.rows([], colour="sent", **texts).count("<rect") == 0


def test_options_of_the_console_come_from_the_settings(tmp_path) -> None:
    from vnedoc.config import Config, HubConfig
    from vnedoc.exchange.hub.configuration import options_from

    assert options_from(Config()).console is None
    hub = HubConfig(console=True, late_after_hours=2, watched_certificates=("a.pem",), client_ca=None)
    made = options_from(dataclasses.replace(Config(), hub=hub, directory=tmp_path / "d.json")).console
    assert made.late_after == datetime.timedelta(hours=2)
    assert made.certificate_files == (Path("a.pem"),)
    assert made.directory == tmp_path / "d.json"
    assert made.trust == ("shipped:vn-government", "shipped:vn-national")


def test_pages_are_ready_before_the_first_visitor_comes(tmp_path) -> None:
    """Templates are compiled and certificates read as the hub begins."""
    script = """
import sys
from pathlib import Path
from vnedoc.exchange.hub.app import make_app
from vnedoc.exchange.hub.console.options import ConsoleOptions
from vnedoc.exchange.hub.console.site import _templates
from vnedoc.exchange.hub.options import HubOptions
from vnedoc.exchange.stores.hub import HubStore
store = HubStore.open(Path(sys.argv[1]))
make_app(store, options=HubOptions(console=ConsoleOptions()))
environment = _templates()
assert {name for _, name in environment.cache.keys()} == set(environment.list_templates())
store.close()
"""
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
