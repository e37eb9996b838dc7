"""The page on connecting to an axis can be done as it is written, and its table has the answers that come."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli import Outcome, vnedoc
from vnedoc.exchange.hub.app import make_admin_app
from vnedoc.testing._serving import serving
from vnedoc.testing.faults import Answered, Faults
from vnedoc.testing.hub import running_hub

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnedoc.testing.hub import RunningHub

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "connect-to-an-axis.md"
TEXT = PAGE.read_text(encoding="utf-8")


def block(beginning: str) -> str:
    """Return the indented block of the page that begins with these words."""
    [found] = re.findall(rf"^    {re.escape(beginning)}.*\n(?:    .*\n|\n(?=    ))*", TEXT, re.MULTILINE)[:1]
    return re.sub(r"^    ", "", found, flags=re.MULTILINE)


class Office:
    """An office that does what the page says, against a hub of its own."""

    def __init__(self, folder: Path, hub: RunningHub) -> None:
        self.settings = folder / "vnedoc.toml"
        self._url = "https://axis.example"
        self.write(block("[agency]"))
        (folder / "keys").mkdir()
        (folder / "keys" / "axis").write_text(hub.add_system("H99.SYS", "H99") + "\n", encoding="ascii")
        (folder / "keys" / "axis").chmod(0o600)
        self.call(hub.url)

    def write(self, text: str) -> None:
        self.settings.write_text(text, encoding="utf-8")

    def text(self) -> str:
        return self.settings.read_text(encoding="utf-8")

    def call(self, url: str) -> None:
        """Put another address into the settings."""
        assert self._url in self.text()
        self.write(self.text().replace(self._url, url))
        self._url = url

    def trust(self) -> None:
        """Name trust anchors and a directory at the top, as the page says."""
        self.write(block("trust = ") + "\n" + self.text())

    def run(self, line: str) -> Outcome:
        """Run a command of the page."""
        program, *words = line.split()
        assert program == "vnedoc"
        # An office is one folder; what is laid out goes beside the settings.
        folder = ["-d", self.settings.parent / "received"] if words[0] == "receive" else []
        return vnedoc("--config", self.settings, *words, *folder)


@pytest.fixture
def hub() -> Iterator[RunningHub]:
    with running_hub() as running:
        yield running


@pytest.fixture
def office(tmp_path: Path, hub: RunningHub) -> Office:
    return Office(tmp_path, hub)


CONFIG_CHECK = block("vnedoc config").strip()
DOCTOR = block("vnedoc doctor").strip()
IMPORT, RECEIVE = block("vnedoc directory import").splitlines()


def test_the_page_can_be_done_as_it_is_written(office: Office) -> None:
    for line in (CONFIG_CHECK, DOCTOR):
        outcome = office.run(line)
        assert outcome.code == 0, outcome
    assert "! The settings name no trust anchors" in outcome.out
    office.trust()
    for line in (IMPORT, CONFIG_CHECK, DOCTOR, RECEIVE):
        outcome = office.run(line)
        assert outcome.code == 0, outcome
    assert outcome.err.startswith("There is nothing new")


def test_a_trial_needs_neither_trust_nor_directory(office: Office) -> None:
    assert office.run(f"{RECEIVE} --unverified").code == 0


def expect(outcome: Outcome, row: str) -> None:
    """Look up what was said in the table of the page: its words, and its exit code."""
    words, code = re.findall(rf"^\| ({re.escape(row)}[^|]*) \| (\d) \|", TEXT, re.MULTILINE)[0]
    said = re.sub(r" \(.*", "", words).lower()
    assert said in " ".join(outcome.err.split()).lower(), outcome
    assert outcome.code == int(code), outcome


def test_what_is_missing_is_said_as_the_page_says(office: Office) -> None:
    expect(office.run(RECEIVE), "there are no trust anchors and no agency directory")
    office.trust()
    outcome = office.run(RECEIVE)
    assert "directory.json cannot be read" in outcome.err
    assert f"| the file of the directory cannot be read | {outcome.code} |" in TEXT


def test_a_stranger_is_told_what_the_page_says(office: Office) -> None:
    office.write(office.text().replace("H99.SYS", "H98.SYS"))
    outcome = office.run(f"{RECEIVE} --unverified")
    expect(outcome, "does not let this system in (code 15")
    assert "code 15" in outcome.err


@contextlib.contextmanager
def elsewhere(hub: RunningHub, answer: Answered | None) -> Iterator[str]:
    """Run what is no axis: another server that answers all alike, or the hub's port for administration."""
    faults = Faults()
    if answer is not None:
        faults.plan(answer, times=1_000)
    with serving(faults.around(make_admin_app(hub.hub))) as url:
        yield url


@pytest.mark.parametrize(
    ("answer", "row"),
    [
        pytest.param(None, "refused: HTTP 404", id="the hub's port for administration"),
        pytest.param(Answered(404, b"<html>", "text/html"), "refused: HTTP 404", id="a web server"),
        pytest.param(Answered(405), "refused: HTTP", id="a web server that takes no POST"),
        pytest.param(Answered(501), "is in trouble", id="a server of files"),
        pytest.param(Answered(200, b"<html>", "text/html"), "gave an answer", id="a page for people"),
    ],
)
def test_what_is_no_axis_is_told_as_the_page_says(
    office: Office, hub: RunningHub, answer: Answered | None, row: str
) -> None:
    with elsewhere(hub, answer) as url:
        office.call(url)
        outcome = office.run(f"{RECEIVE} --unverified")
        if answer is not None and answer.status == 405:
            assert "refused: HTTP 405" in outcome.err
            assert outcome.code == 7
        else:
            expect(outcome, row)
        examined = office.run(f"{DOCTOR} --format json")
    [bad] = [item["id"] for item in examined.json()["symptoms"] if item["health"] == "bad"]
    # Nobody is sent to look for a wrong secret.
    assert bad == ("doctor.list-refused" if "refused" in row else "doctor.no-answer")


def test_a_busy_axis_and_a_dead_one_are_told_as_the_page_says(
    office: Office, hub: RunningHub, dead_url: str
) -> None:
    with elsewhere(hub, Answered(429, headers={"Retry-After": "7"})) as url:
        office.call(url)
        expect(office.run(f"{RECEIVE} --unverified"), "is busy and asks to wait")
    office.call(dead_url)
    expect(office.run(f"{RECEIVE} --unverified"), "cannot be reached")
