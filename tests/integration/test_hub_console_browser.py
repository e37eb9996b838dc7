"""The console in a real Chromium: a person logs in, finds a message and lets a parked delivery be tried again.

On a laptop and on a narrow screen, light and dark, in both languages; without scripts; by keyboard alone.
"""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from selenium.webdriver.common.keys import Keys

from tests.browser import LAPTOP, NARROW, Browser, running_browser
from tests.hubs import fill, take
from vnedoc._internal.clock import utc_now
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub.accounts import Accounts, Role
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.hub.console.options import ConsoleOptions
from vnedoc.exchange.hub.options import HubOptions
from vnedoc.exchange.stores.hub_audit import HubAudit
from vnedoc.exchange.stores.models import HubDeliveryRow
from vnedoc.testing.hub import running_hub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vnedoc.exchange.stores.hub import HubStore

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.needs("chromedriver")]

PASSWORD = "correct horse TEST"
LONG = "Công văn TEST về việc " + "tiếp tục thực hiện nhiệm vụ " * 12
PAGES = (
    *("/", "/messages", "/messages?recipient=ubnd", "/messages?first=2026-02-02&last=2026-02-01", "/to-do"),
    *(
        "/systems",
        "/systems/TEST.A",
        "/agencies",
        "/agencies/H98",
        "/certificates?show=all",
        "/audit",
        "/none",
    ),
)


@dataclasses.dataclass
class Site:
    """A hub with a console, and somebody in front of it."""

    store: HubStore
    browser: Browser
    message_id: str

    def statuses(self) -> list[str]:
        with self.store.database.reading() as session:
            return sorted(session.scalars(sa.select(HubDeliveryRow.status)))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    options = HubOptions(console=ConsoleOptions())
    with running_hub(tmp_path_factory.mktemp("hub"), options=options) as hub:
        fill(Administration(hub.store, actor="test.admin"))
        now = utc_now()
        for number in range(60):
            kind = PackageKind.STATUS if number % 3 == 0 else PackageKind.DOCUMENT
            take(
                hub.store,
                number,
                "H98",
                "H98.1",
                at=now - datetime.timedelta(hours=7 * number + 1),
                kind=kind,
            )
        message_id = take(hub.store, 100, "H98", "H98.1", at=now)
        with hub.store.database.writing() as session:
            session.execute(sa.update(HubDeliveryRow).values(status="done"))
        accounts = Accounts(hub.store)
        for name, role in (("viewer", Role.VIEWER), ("operator", Role.OPERATOR), ("chief", Role.ADMIN)):
            accounts.add_user(name, PASSWORD, role)
        with running_browser(tmp_path_factory.mktemp("profile"), hub.url) as browser:
            yield Site(hub.store, browser, message_id)


@pytest.fixture(autouse=True)
def parked(site: Site) -> None:
    site.browser.driver.delete_all_cookies()
    site.browser.complaints()
    with site.store.database.writing() as session:
        of_message = sa.update(HubDeliveryRow).where(HubDeliveryRow.message_id == site.message_id)
        session.execute(of_message.values(status="parked", status_text=LONG, updated_at=utc_now()))


@pytest.mark.parametrize("size", [LAPTOP, NARROW], ids=["laptop", "narrow"])
def test_somebody_logs_in_finds_a_message_and_lets_it_be_tried_again(
    site: Site, size: tuple[int, int]
) -> None:
    browser = site.browser
    browser.show_as(size)
    browser.go("/console/")
    assert browser.path == "/console/login"
    browser.log_in("operator", "not the password")
    assert "không đúng" in browser.find("[role=alert]").text
    browser.log_in("operator", PASSWORD)
    assert browser.path == "/console/"
    assert "Hôm nay" in browser.find("h1").text

    browser.click('header nav a[href="/console/messages"]')
    browser.type("#text", "cong van so 100")
    browser.click(".filters button")
    (found,) = browser.all("tbody tr")
    assert "100/TEST" in found.text
    browser.click("tbody .main-cell a")
    assert "100/TEST" in browser.find("h1").text
    assert browser.text.count("Tạm dừng giao") == 2

    browser.click("tbody tr:first-child .retry button")
    assert "Đã đưa 1 lượt giao về trạng thái chờ" in browser.find("[role=status]").text
    assert site.statuses().count("initial") == 1
    browser.click('header nav a[href="/console/to-do"]')
    browser.find("tbody tr:first-child input[type=checkbox]").click()
    browser.click('button[form="several"]')
    assert "Đã đưa 1 lượt giao về trạng thái chờ" in browser.find("[role=status]").text
    assert "Không có lượt giao nào cần xử lý" in browser.text
    assert site.statuses().count("parked") == 0
    assert HubAudit(site.store.database).latest(limit=1)[0].actor == "operator"

    browser.click("form[action='/console/logout'] button")
    browser.go("/console/to-do")
    assert browser.path.startswith("/console/login")
    # The wrong password was answered with 403.
    assert [entry for entry in browser.complaints() if "403" not in entry] == []


@pytest.mark.parametrize("language", ["vi", "en"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [LAPTOP, NARROW], ids=["laptop", "narrow"])
def test_every_page_fits_can_be_read_and_names_its_fields(
    site: Site, size: tuple[int, int], dark: bool, language: str, tmp_path: Path
) -> None:
    browser = site.browser
    browser.show_as(size, dark=dark, languages=language)
    browser.go("/console/login")
    troubles = [browser.too_pale(), browser.too_wide(), browser.unnamed_fields()]
    browser.log_in("chief", PASSWORD)
    for page in (*PAGES, f"/messages/{site.message_id}"):
        browser.go("/console" + page)
        assert browser.find("html").get_attribute("lang") == language
        assert len(browser.all("h1")) == 1
        browser.driver.execute_script("document.querySelectorAll('details').forEach(one => one.open = true)")
        troubles += [browser.too_pale(), browser.too_wide(), browser.unnamed_fields()]
    assert [trouble for trouble in troubles if trouble] == []
    # A page that breaks its own content policy says so here.
    assert [entry for entry in browser.complaints() if "404" not in entry] == []
    browser.go("/console/")
    browser.picture(tmp_path / "overview.png")
    assert (tmp_path / "overview.png").read_bytes().startswith(b"\x89PNG")


def test_the_check_of_contrast_sees_what_is_too_pale(site: Site) -> None:
    browser = site.browser
    browser.show_as(LAPTOP)
    browser.go("/console/login")
    assert browser.too_pale() == []
    browser.driver.execute_script("document.querySelector('h1').style.color = '#aaaaaa'")
    assert [trouble[0] for trouble in browser.too_pale()] == ["H1"]
    browser.driver.execute_script("document.querySelector('h1').style.width = '3000px'")
    assert browser.too_wide() != []
    browser.driver.execute_script("document.querySelector('label').remove()")
    assert len(browser.unnamed_fields()) == 1


def test_the_keyboard_alone_gets_in_and_everywhere(site: Site) -> None:
    browser = site.browser
    browser.show_as(LAPTOP)
    browser.go("/console/login")
    before = browser.find("html")
    # The first field has the focus already.
    for text in ("operator", Keys.TAB, PASSWORD, Keys.ENTER):
        browser.driver.switch_to.active_element.send_keys(text)
    browser.wait_for_page_after(before)
    assert browser.path == "/console/"

    browser.go("/console/to-do")
    wanted = set(browser.driver.execute_script(
        "return [...document.querySelectorAll('a, button, input:not([type=hidden]), select, summary')]"
        ".map((one, number) => one.id = one.id || 'e' + number)"
    ))  # fmt: skip
    reached = set()
    for _ in range(len(wanted) + 2):
        browser.driver.switch_to.active_element.send_keys(Keys.TAB)
        active = browser.driver.switch_to.active_element
        reached.add(active.get_attribute("id"))
        if active.get_attribute("id") in wanted:
            # What has the focus is seen to have it.
            assert active.value_of_css_property("outline-style") == "solid"
            assert active.rect["y"] >= 0
    assert wanted - reached == set()

    browser.go("/console/to-do")
    browser.driver.switch_to.active_element.send_keys(Keys.TAB)
    before = browser.driver.switch_to.active_element
    assert before.text == "Đến phần nội dung"
    before.send_keys(Keys.ENTER)
    assert browser.driver.switch_to.active_element.get_attribute("id") == "main"
    page = browser.find("html")
    retry = browser.all(".retry button")[0]
    browser.driver.execute_script("arguments[0].focus()", retry)
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    browser.wait_for_page_after(page)
    assert site.statuses().count("initial") == 1


def test_a_viewer_sees_no_button_to_try_again(site: Site) -> None:
    browser = site.browser
    browser.show_as(LAPTOP)
    browser.go("/console/login")
    browser.log_in("viewer", PASSWORD)
    browser.go("/console/to-do")
    assert "100/TEST" in browser.text
    assert browser.all(".retry, [type=checkbox]") == []
    assert "Chỉ người vận hành" in browser.text


def test_it_works_without_scripts(site: Site) -> None:
    browser = site.browser
    browser.show_as(LAPTOP)
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.go("/console/login")
        browser.log_in("operator", PASSWORD)
        assert browser.path == "/console/"
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_charts_are_drawn_with_their_colours(site: Site) -> None:
    browser = site.browser
    browser.show_as(LAPTOP)
    browser.go("/console/login")
    browser.log_in("viewer", PASSWORD)
    first, second, *_ = browser.all("svg.chart")
    for chart, kind in ((first, "sent"), (second, "delivered")):
        bars = [bar for bar in chart.find_elements("css selector", f"rect.{kind}") if bar.rect["height"] > 1]
        assert bars
        assert bars[0].value_of_css_property("fill") != "rgb(0, 0, 0)"
        assert chart.accessible_name
    colours = {
        chart.find_element("css selector", "rect:not(.hit)").value_of_css_property("fill")
        for chart in (first, second)
    }
    assert len(colours) == 2
