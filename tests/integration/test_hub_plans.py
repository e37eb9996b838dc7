"""What is asked of a large hub is a walk on an index: the plans of both databases, on fifty thousand rows."""

import datetime

import pytest
import sqlalchemy as sa

from tests.clocks import NOW
from tests.hubs import KEY, fill
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.stores import _hub_lists
from vnedoc.exchange.stores._hub_pruning import old_messages
from vnedoc.exchange.stores.database import Database
from vnedoc.exchange.stores.hub import HubStore
from vnedoc.exchange.stores.hub_traces import HubTraces
from vnedoc.exchange.stores.models import HubDeliveryRow, HubMessageRow
from vnedoc.exchange.stores.payloads import open_payloads

COUNT = 50_000
WAITING_EACH = 500
MINUTE = datetime.timedelta(minutes=1)
DOCUMENT = PackageKind.DOCUMENT


def message(number):
    return {
        "id": f"{number * 7919 % 2**32:032x}",
        "kind": "document" if number % 3 else "status",
        "identity": f"{number:064x}",
        "sender_code": "H99",
        "sender_system": "TEST.A" if number % 10 == 1 else "TEST.B",
        "document_id": f"TEST-{number}",
        "title": "TEST",
        "notation": f"{number}/TEST",
        "payload_sha256": f"{number * 104729 % 2**32:064x}",
        "payload_size": 1000,
        "received_at": NOW + number * MINUTE,
        "receipt": "TEST",
        # Of most the package is gone: the hub keeps them for ninety days, and the rows for years.
        "payload_pruned_at": NOW if number < COUNT * 9 // 10 else None,
    }


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def store(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plans")
    server = request.getfixturevalue("postgresql") if request.param == "postgresql" else None
    url = f"sqlite:///{folder / 'TEST.sqlite3'}" if server is None else server.create_migrated("hub")
    store = HubStore(Database(url, branch="hub"), open_payloads(folder / "payloads"), key=KEY)
    fill(Administration(store, actor="TEST"))
    rows = [message(number) for number in range(COUNT)]
    with store.database.writing() as session:
        session.execute(sa.insert(HubMessageRow), rows)
        session.execute(
            sa.insert(HubDeliveryRow),
            [
                {
                    "doc_id": row["id"],
                    "message_id": row["id"],
                    "position": 0,
                    "recipient_code": "H98",
                    "status": "done" if number % WAITING_EACH else "initial",
                    "updated_at": row["received_at"],
                }
                for number, row in enumerate(rows)
            ],
        )
    with store.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    yield store
    store.close()
    if server is not None:
        server.drop(url)


@pytest.fixture
def plans(store):
    """The plans of all questions that are asked in the block, as text."""
    found = []
    word = "EXPLAIN QUERY PLAN " if store.database.is_sqlite else "EXPLAIN "

    def explain(connection, cursor, statement, parameters, _context, _many):
        if statement.startswith("SELECT"):
            other = connection.connection.cursor()
            other.execute(word + statement, parameters)
            found.append("\n".join(" ".join(map(str, row)) for row in other.fetchall()))
            other.close()

    sa.event.listen(store.database.engine, "before_cursor_execute", explain)
    yield found
    sa.event.remove(store.database.engine, "before_cursor_execute", explain)


def sorts(plan):
    return "TEMP B-TREE" in plan or "Sort" in plan


def walks(plan):
    """Whether no table is read from its beginning to its end."""
    return "Seq Scan" not in plan and not any(
        line.split()[3:4] == ["SCAN"] and "INDEX" not in line for line in plan.splitlines()
    )


def test_what_a_system_sent_is_the_end_of_an_index(store, plans, monkeypatch):
    monkeypatch.setattr(_hub_lists, "MAX_SENT_LISTED", 1200)
    rows = store.sent("TEST.A", DOCUMENT)
    wanted = [number for number in range(COUNT) if number % 10 == 1 and number % 3][::-1][:1200]
    assert [row.notation for row in rows] == [f"{number}/TEST" for number in wanted]
    pages = [plan for plan in plans if "ix_hub_message_sender" in plan]
    assert len(pages) == 3
    assert len(plans) == 6
    for plan in plans:
        assert walks(plan), plan
    for plan in pages:
        assert not sorts(plan), plan


def test_what_waits_is_found_by_an_index_whoever_asks(store, plans):
    kept = [number for number in range(COUNT * 9 // 10, COUNT) if not number % WAITING_EACH and number % 3]
    since = NOW + kept[2] * MINUTE
    days = store.waiting("TEST.B", DOCUMENT, since=since, until=NOW + kept[4] * MINUTE)
    assert [row.received_at for row in days] == [NOW + number * MINUTE for number in kept[2:4]]
    assert len(store.waiting("TEST.B", DOCUMENT)) == len(kept)
    assert len(HubTraces(store).waiting("H98", DOCUMENT)) == len(kept)
    assert len(plans) == 3
    for plan in plans:
        assert "ix_hub_delivery_waiting" in plan or "ix_hub_delivery_open" in plan, plan
        # Of the few agencies there are here, none is far.
        assert walks(plan.replace("Seq Scan on hub_agencies", "")), plan


def test_whatever_was_pruned_is_not_walked_over_again(store, plans):
    with store.database.reading() as session:
        page = old_messages(session, NOW + COUNT * MINUTE, are_kept=True)
        again = old_messages(session, NOW + COUNT * MINUTE, are_kept=True, after=page[-1])
    assert [item.received_at for item in (page[0], again[0])] == [
        NOW + (COUNT * 9 // 10) * MINUTE,
        NOW + (COUNT * 9 // 10 + 200) * MINUTE,
    ]
    assert len(plans) == 2
    for plan in plans:
        assert "ix_hub_message_kept" in plan
        assert walks(plan), plan
        assert not sorts(plan), plan


def test_who_names_a_package_is_found_by_an_index(store, plans):
    query = sa.select(HubMessageRow.id).where(
        HubMessageRow.payload_sha256 == message(COUNT - 1)["payload_sha256"],
        HubMessageRow.payload_pruned_at.is_(None),
    )
    with store.database.reading() as session:
        assert session.scalars(query).all() == [message(COUNT - 1)["id"]]
    assert "ix_hub_message_payload" in plans[0], plans[0]
