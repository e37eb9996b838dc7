"""Killed anywhere, met by any trouble: nothing that was acknowledged is lost, nothing is there twice.

The rows are in :mod:`tests.crashes`; ``make crash-matrix`` prints them as a table.
"""

import dataclasses
import shutil

import pytest

from tests.crashes.hub_rows import HUB_STEPS, run_hub_step
from tests.crashes.places import STORES, running_place
from tests.crashes.rows import run_step
from tests.crashes.steps import MORE_STEPS, OTHER_WIRE_STEPS, STEPS, Story
from tests.crashes.table import BEGIN, END, PAGE, row_names
from tests.crashes.traps import Trap
from tests.crashes.troubles import TROUBLES
from tests.crashes.zygote import running_zygote


@pytest.fixture(scope="module")
def zygote():
    with running_zygote() as zygote:
        yield zygote


@pytest.fixture(scope="module", params=list(STORES))
def place(request, zygote):
    server = request.getfixturevalue("postgresql") if request.param == "postgresql" else None
    with running_place(server, zygote) as place:
        yield place


@pytest.mark.parametrize("step", (*STEPS, *OTHER_WIRE_STEPS), ids=lambda step: step.title)
def test_killed_at(place, step):
    found = run_step(step, place)
    assert found.problems == ()
    assert found.left
    assert found.end


@pytest.mark.parametrize("step", HUB_STEPS, ids=lambda step: step.title)
def test_the_hub_is_killed_at(place, step):
    found = run_hub_step(step, place)
    assert found.problems == ()
    assert found.left
    assert found.end


@pytest.mark.parametrize("name", TROUBLES)
def test_trouble(place, name):
    assert "once" in TROUBLES[name](place)


def test_the_matrix_has_both_sides_and_enough_steps():
    assert len(STEPS) >= 25
    kinds = (STEPS, MORE_STEPS, OTHER_WIRE_STEPS, HUB_STEPS, TROUBLES)
    assert len(set(row_names())) == sum(map(len, kinds))
    assert {step.story for step in STEPS} == set(Story)
    assert {step.story.office for step in STEPS} == {"A", "B"}


def test_the_page_names_every_row():
    text = PAGE.read_text(encoding="utf-8")
    table = text.partition(BEGIN)[2].partition(END)[0]
    shown = [line.split("|")[1].strip() for line in table.strip().splitlines()]
    assert shown[2:] == row_names()
    # A row that failed is never written down.
    assert "**" not in table


# What looks for losses must be able to find them.


def finds(world):
    problems = world.problems()
    assert problems
    return "; ".join(problems)


@pytest.fixture
def done(place):
    with place.world() as world:
        world.a.exchange.send(world.package(size=1000))
        world.settle()
        assert world.problems() == []
        yield world


def test_a_file_cut_short_is_found(done):
    [path] = done.b.inbox.glob("*.edxml")
    path.write_bytes(path.read_bytes()[:-1])
    assert "is not the package" in finds(done)


def test_a_file_that_is_gone_is_found(done):
    [path] = (path for path in done.b.inbox.glob("*") if path.is_dir())
    shutil.rmtree(path)
    assert "is not laid out" in finds(done)


def test_a_payload_that_is_gone_is_found(done):
    [message] = done.a.store.sent()
    done.a.store.payloads.remove(message.payload.sha256)
    assert message.payload.sha256 in finds(done)


def test_a_message_that_is_only_on_one_side_is_found(done):
    done.a.exchange.send(done.package(2, size=1000))
    assert "sent" in finds(done)


def test_something_left_half_written_is_found(done):
    (done.b.inbox / "TEST.edxml").write_bytes(b"half")
    assert "nobody knows TEST.edxml" in finds(done)


def test_a_step_at_which_the_hub_is_not_killed_is_found(place):
    # Nobody takes an agency off the hub here.
    step = dataclasses.replace(HUB_STEPS[-1], trap=Trap("vnedoc.exchange.hub.registration:unregister"))
    assert "the step was not reached" in run_hub_step(step, place).problems


def test_a_changed_log_is_found(done):
    import sqlalchemy as sa

    with done.a.store.database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE consignments SET delivery_state = 'queued'"))
    assert "queued" in finds(done)
