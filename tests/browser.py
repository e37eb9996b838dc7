"""A real Chromium without a window, driven by the WebDriver of Debian's package; nothing else is fetched."""

from __future__ import annotations

import base64
import contextlib
import shutil
from typing import TYPE_CHECKING, Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LAPTOP, NARROW = (1366, 768), (390, 844)
TIMEOUT_S = 20
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
# Text whose contrast with what is behind it is too low, as a browser drew it (WCAG 2.1, 1.4.3). What lies behind is
# the nearest background that is not transparent; there are no pictures behind text here.
_CONTRAST = """
const luminance = c => c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
const numbers = text => text.match(/[\\d.]+/g).map(Number);
const parse = text => [numbers(text).slice(0, 3), numbers(text)[3] ?? 1];
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  if (!walker.currentNode.data.trim()) continue;
  const element = walker.currentNode.parentElement, style = getComputedStyle(element);
  if (!element.checkVisibility() || ['TITLE', 'title', 'desc', 'STYLE'].includes(element.tagName)) continue;
  if (element.closest('.unseen, .skip')) continue;
  let behind = element, colour = [[255, 255, 255], 1];
  for (; behind; behind = behind.parentElement) {
    colour = parse(getComputedStyle(behind).backgroundColor);
    if (colour[1] === 1) break;
  }
  const ink = parse(element.namespaceURI.endsWith('svg') ? style.fill : style.color)[0];
  const [light, dark] = [luminance(ink), luminance(colour[0])].sort((a, b) => b - a);
  const ratio = (light + .05) / (dark + .05);
  if (ratio < arguments[0]) found.push([element.tagName, element.textContent.slice(0, 40), ratio]);
}
return found;
"""
_UNNAMED = """
return [...document.querySelectorAll('input:not([type=hidden]), select, textarea')]
  .filter(field => ![...field.labels].some(label => label.textContent.trim()) && !field.ariaLabel)
  .map(field => field.outerHTML);
"""
_WIDE = """
const room = document.documentElement.clientWidth;
return document.documentElement.scrollWidth <= room ? [] :
  [...document.querySelectorAll('body *')]
    .filter(e => e.getBoundingClientRect().right > room + 1 && !e.closest('.unseen, .skip'))
    .map(e => e.tagName + '.' + e.className + ': ' + e.textContent.trim().slice(0, 40));
"""


class Browser:
    """One window.

    Args:
        driver: What drives it.
        url: Where addresses without a host lead to.
    """

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self._url = url

    def show_as(self, size: tuple[int, int], *, dark: bool = False, languages: str = "vi") -> None:
        """Be a screen of a size, light or dark, of somebody who reads a language."""
        width, height = size
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]},
        )
        self.driver.execute_cdp_cmd("Network.enable", {})
        self.driver.execute_cdp_cmd(
            "Network.setExtraHTTPHeaders", {"headers": {"Accept-Language": languages}}
        )

    def go(self, path: str) -> None:
        """Open an address."""
        self.driver.get(self._url + path)

    @property
    def path(self) -> str:
        """The path and query of what is open."""
        return self.driver.current_url.removeprefix(self._url)

    @property
    def text(self) -> str:
        """What can be read on the page."""
        return self.driver.find_element(By.TAG_NAME, "body").text

    def find(self, selector: str) -> Any:
        """Return the one element that a selector names."""
        (found,) = self.driver.find_elements(By.CSS_SELECTOR, selector)
        return found

    def all(self, selector: str) -> list[Any]:
        """Return all elements that a selector names."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def type(self, selector: str, text: str) -> None:
        """Type into a field."""
        field = self.find(selector)
        field.clear()
        field.send_keys(text)

    def click(self, selector: str) -> None:
        """Click, and wait for the page that comes of it."""
        before = self.driver.find_element(By.TAG_NAME, "html")
        self.find(selector).click()
        self.wait_for_page_after(before)

    def wait_for_page_after(self, before: Any) -> None:
        """Wait until another page than the one of an element is there."""
        waiting = WebDriverWait(self.driver, TIMEOUT_S)
        waiting.until(lambda driver: driver.find_element(By.TAG_NAME, "html") != before)
        waiting.until(lambda driver: driver.execute_script("return document.readyState") == "complete")

    def log_in(self, name: str, password: str) -> None:
        """Log in at the form that is open."""
        self.type("#name", name)
        self.type("#password", password)
        self.click("form.login button")

    def too_pale(self, least: float = 4.5) -> list[Any]:
        """Return texts whose contrast with what is behind them is below a ratio."""
        return self.driver.execute_script(_CONTRAST, least)

    def unnamed_fields(self) -> list[str]:
        """Return fields that nothing names."""
        return self.driver.execute_script(_UNNAMED)

    def too_wide(self) -> list[str]:
        """Return what makes the page wider than the window."""
        return self.driver.execute_script(_WIDE)

    def complaints(self) -> list[str]:
        """Return what the browser complained about since the last time, such as breaches of the content policy."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def picture(self, path: Path) -> None:
        """Take a picture of the whole page."""
        size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        data = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
        )["data"]
        path.write_bytes(base64.b64decode(data))


@contextlib.contextmanager
def running_browser(profile: Path, url: str) -> Iterator[Browser]:
    """Run a browser until the block ends."""
    options = Options()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # With the path named, selenium looks for no driver on the network.
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        driver.set_page_load_timeout(TIMEOUT_S)
        yield Browser(driver, url)
    finally:
        driver.quit()
