"""``vnedoc store``: what it says, what it ends with, and that it fits a terminal."""

import json
import os
import unicodedata

import pytest
import sqlalchemy as sa

from tests.cli import vnedoc
from tests.stores import LEASE, NOW, queue, receive, send
from vnedoc.exchange.stores.models import EventRow
from vnedoc.exchange.stores.store import AgencyStore


class Place:
    """Settings with a store in it."""

    def __init__(self, folder, url, payloads=None):
        self.folder, self.url = folder, url
        self.settings = folder / "vnedoc.toml"
        lines = [f'[store]\nurl = "{url}"\npayload_folder = "payloads"\n']
        if payloads is not None:
            lines.append(f'payloads = "{payloads}"\n')
        self.settings.write_text("".join(lines), encoding="utf-8")
        self.payloads = payloads or folder / "payloads"

    def open(self):
        return AgencyStore.open(self.url, self.payloads)

    def run(self, *arguments, lang="en"):
        outcome = vnedoc("--config", self.settings, "store", *arguments, lang=lang)
        for line in outcome.out.splitlines() if "json" not in arguments else ():
            # What is there to be copied stays whole, on a line of its own.
            assert len(unicodedata.normalize("NFC", line)) <= 80 or line.startswith("  "), line
        return outcome

    def json(self, *arguments):
        outcome = self.run(*arguments, "--format", "json")
        return outcome.code, json.loads(outcome.out)


@pytest.fixture
def place(tmp_path, store_url):
    made = Place(tmp_path, store_url)
    store = made.open()
    send(store, "1", recipients=2)
    message = queue(store, "2")
    store.begin_attempt(message.id, now=NOW, lease=LEASE, owner="A")
    store.park(message.id, owner="A", error_code="TEST", at=NOW)
    receive(store, "3")
    store.close()
    return made


@pytest.mark.parametrize("lang", ["vi", "en"])
@pytest.mark.parametrize(
    "arguments", [["info"], ["check"], ["prune", "--payloads-older-than", "1d", "--dry-run"]]
)
def test_text_in_both_languages(place, lang, arguments):
    outcome = place.run(*arguments, lang=lang)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.strip()


def test_info(place):
    code, shown = place.json("info")
    assert code == 0
    assert shown["schema"] == "vnedoc.store/1"
    assert (shown["sent"], shown["received"], shown["due"]) == (2, 1, 0)
    assert shown["consignments"] == {"parked": 1, "sent": 2}
    assert shown["inbox"] == {"accepted": 1}
    assert shown["payloads"] == 3
    assert shown["database_bytes"] > 0
    assert shown["head"] in place.run("info").out


def test_a_whole_store(place):
    head = place.json("info")[1]["head"]
    code, shown = place.json("check", "--payloads", "--anchor", head)
    assert (code, shown["whole"], shown["problems"], shown["head"]) == (0, True, [], head)
    assert "whole" in place.run("check").out


def test_a_store_that_is_not_whole(place):
    store = place.open()
    with store.database.engine.begin() as connection:
        connection.execute(sa.update(EventRow).where(EventRow.number == 2).values(kind="TEST"))
    store.close()
    code, shown = place.json("check")
    assert code == 1
    assert shown["problems"][0]["id"] == "store.log-changed"
    assert shown["problems"][0]["values"] == {"number": 2}
    outcome = place.run("check")
    assert outcome.code == 1
    assert "Event 2" in outcome.out


def test_an_anchor_that_is_not_in_the_log(place):
    assert place.run("check", "--anchor", "1:" + "0" * 64).code == 1
    assert place.run("check", "--anchor", "one").code == 2


def test_prune(place):
    assert place.run("prune").code == 2
    assert place.run("prune", "--payloads-older-than", "soon").code == 2
    assert place.run("prune", "--metadata-older-than", "1d").code == 2
    code, shown = place.json("prune", "--payloads-older-than", "0d", "--metadata-older-than", "10y")
    assert code == 0
    assert (shown["released"], shown["messages"], shown["dry_run"]) == (0, 0, False)
    assert shown["unfinished"] == 3


def test_migrate(place, tmp_path, new_store_url):
    target = new_store_url()
    code, shown = place.json("migrate", "--to", target)
    assert code == 0
    assert shown["rows"]["sent_messages"] == 2
    outcome = place.run("info")
    assert outcome.code == 5
    assert "moved" in outcome.err
    moved = Place(tmp_path, target)
    assert moved.json("check", "--anchor", shown["head"])[0] == 0
    assert moved.run("migrate", "--to", new_store_url()).code == 0


@pytest.mark.parametrize("name", ["x" * 90, "kho văn bản đi đến " * 5 + "TEST"], ids=["long", "with blanks"])
def test_an_address_stays_whole(tmp_path, name):
    """It is there to be copied into the settings."""
    folder = tmp_path / name
    folder.mkdir()
    place = Place(tmp_path, f"sqlite:///{folder}/kho.sqlite3")
    place.open().close()
    assert f"  {sa.make_url(place.url).render_as_string()}" in place.run("info").out.splitlines()
    target = f"sqlite:///{folder}/mới.sqlite3"
    shown = place.run("migrate", "--to", target).out.splitlines()[-1].strip()
    assert sa.make_url(shown) == sa.make_url(target)
    # As it is, it opens the new store.
    assert Place(tmp_path, shown).run("check").code == 0


def test_migrate_to_what_is_taken(place, tmp_path, new_store_url):
    target = new_store_url()
    other = AgencyStore.open(target, tmp_path / "other")
    queue(other, "TEST")
    other.close()
    outcome = place.run("migrate", "--to", target)
    assert outcome.code == 1
    assert "other data" in outcome.err
    assert place.run("check").code == 0


def test_migrate_to_what_is_no_database(place):
    assert place.run("migrate", "--to", "nothing").code == 5


def test_a_password_is_never_shown(place):
    outcome = place.run("migrate", "--to", "postgresql://TEST:TEST-PASSWORD@127.0.0.1:9/TEST")
    assert outcome.code == 6
    assert "TEST-PASSWORD" not in outcome.out + outcome.err


def test_packages_move_to_an_object_store(place, s3_address, tmp_path, new_store_url):
    code, shown = place.json("migrate", "--to", new_store_url(), "--payloads-to", s3_address)
    assert (code, shown["payloads"]) == (0, 3)
    moved = Place(tmp_path, shown["to"].replace("***", ""), payloads=s3_address)
    assert moved.json("check", "--payloads")[1]["payloads"] == 3


def test_without_a_store(tmp_path):
    (tmp_path / "vnedoc.toml").write_text("")
    assert vnedoc("--config", tmp_path / "vnedoc.toml", "store", "info").code == 5


def test_a_store_that_cannot_be_read(tmp_path):
    place = Place(tmp_path, f"sqlite:///{tmp_path}/x.sqlite3")
    (tmp_path / "x.sqlite3").write_bytes(os.urandom(4096))
    assert place.run("info").code == 4
