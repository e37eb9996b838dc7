"""Steps of many threads in common transactions: each is done or has its own error, and "done" is on the disk."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from vnedoc.exchange.stores._together import Together
from vnedoc.exchange.stores.database import Database

COUNT = 40


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/x.sqlite3", branch="hub")
    with database.writing() as session:
        session.execute(sa.text("CREATE TABLE test_rows (id INTEGER PRIMARY KEY)"))
    yield database
    database.close()


@pytest.fixture
def commits(database):
    """How often something was committed."""
    seen = []
    sa.event.listen(database.engine, "commit", seen.append)
    return seen


def insert(number):
    return lambda session: session.execute(sa.text(f"INSERT INTO test_rows VALUES ({number})")).rowcount


def rows(database):
    with database.reading() as session:
        return set(session.scalars(sa.text("SELECT id FROM test_rows")))


def at_once(database, steps):
    """Run steps in threads that all come while somebody else writes; return results and errors."""
    outcome = [None] * len(steps)

    def run(place):
        try:
            outcome[place] = database.run_together(steps[place])
        except Exception as error:  # noqa: BLE001 - what comes is looked at
            outcome[place] = error

    with database.writing():
        threads = [threading.Thread(target=run, args=(place,)) for place in range(len(steps))]
        for thread in threads:
            thread.start()
        waiting = database._together._waiting
        while len(waiting) + 1 < len(steps) and any(thread.is_alive() for thread in threads):
            waiting = database._together._waiting
    for thread in threads:
        thread.join()
    return outcome


def test_all_are_there_after_few_commits(database, commits):
    assert at_once(database, [insert(number) for number in range(COUNT)]) == [1] * COUNT
    assert rows(database) == set(range(COUNT))
    # The one who wrote meanwhile, who came first, and all the others.
    assert len(commits) <= 4


def test_what_fails_takes_nothing_with_it(database):
    def fail(session):
        insert(1000)(session)
        raise LookupError("TEST")

    steps = [fail if number % 4 == 3 else insert(number) for number in range(COUNT)]
    outcome = at_once(database, steps)
    assert [isinstance(item, LookupError) for item in outcome] == [number % 4 == 3 for number in range(COUNT)]
    assert rows(database) == {number for number in range(COUNT) if number % 4 != 3}


def test_of_two_that_insert_the_same_one_hears_of_it(database):
    outcome = at_once(database, [insert(7) for _ in range(10)] + [insert(8)])
    assert outcome[10] == 1
    assert sum(item == 1 for item in outcome[:10]) == 1
    assert sum(isinstance(item, exc.IntegrityError) for item in outcome) == 9
    assert rows(database) == {7, 8}


def test_a_commit_that_fails_takes_only_the_guilty_with_it(database):
    with database.writing() as session:
        session.execute(
            sa.text(
                "CREATE TABLE test_children (id INTEGER REFERENCES test_rows (id) DEFERRABLE INITIALLY DEFERRED)"
            )
        )

    def orphan(session):
        # Found out by the commit only.
        session.execute(sa.text("INSERT INTO test_children VALUES (1000)"))

    outcome = at_once(database, [*(insert(number) for number in range(5)), orphan])
    assert outcome[:5] == [1] * 5
    assert isinstance(outcome[5], exc.IntegrityError)
    assert rows(database) == set(range(5))
    with database.reading() as session:
        assert session.scalar(sa.text("SELECT count(*) FROM test_children")) == 0


# Those who are about to come


def batches(patience_s):
    """Return work in common that notes who was worked for together."""
    seen = []

    def do(items):
        seen.append(sorted(items))
        return [item * 10 for item in items]

    return Together(do, patience_s=patience_s), seen


def run_all(*calls):
    """Run calls in threads, and return what they return."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(timeout=30) for future in [pool.submit(call) for call in calls]]


def test_who_said_that_he_comes_is_waited_for():
    together, seen = batches(patience_s=20)
    announced = threading.Event()

    def slow():
        with together.coming():
            announced.set()
            # The other one is there and at work for all before this one comes.
            while not together._turn.locked():
                pass
            return together.run(2)

    def quick():
        announced.wait(20)
        return together.run(1)

    assert run_all(slow, quick) == [20, 10]
    assert seen == [[1, 2]]


def test_who_found_that_he_has_nothing_is_not_waited_for_any_longer():
    together, seen = batches(patience_s=20)
    announced = threading.Event()

    def refused():
        with pytest.raises(ValueError, match="TEST"), together.coming():
            announced.set()
            while not together._turn.locked():
                pass
            raise ValueError("TEST")

    def quick():
        announced.wait(20)
        started = time.monotonic()
        return together.run(1), time.monotonic() - started

    _, (result, took_s) = run_all(refused, quick)
    assert result == 10
    assert took_s < 10
    assert seen == [[1]]


def test_patience_has_an_end():
    together, seen = batches(patience_s=0.01)
    with together.coming():
        assert run_all(lambda: together.run(1)) == [10]
        assert together.run(2) == 20
    assert seen == [[1], [2]]


def test_who_is_alone_does_not_wait_for_himself():
    together, seen = batches(patience_s=20)
    started = time.monotonic()
    with together.coming():
        assert together.run(1) == 10
    assert together.run(2) == 20
    assert time.monotonic() - started < 10
    assert seen == [[1], [2]]
