"""Steps of many threads in common transactions: each is done or has its own error, and "done" is on the disk."""

import threading

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

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
