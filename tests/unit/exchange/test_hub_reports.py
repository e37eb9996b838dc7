"""What the pages of the console ask the database: on SQLite and PostgreSQL."""

import collections
import datetime

import alembic.command
import alembic.config
import pytest
import sqlalchemy as sa

from tests.clocks import NOW, Clock
from tests.hubs import fill, open_store, take
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.hub.tally import Tally
from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores._search import document_key
from vnedoc.exchange.stores.database import _MIGRATIONS
from vnedoc.exchange.stores.hub import HubPackage, HubStore
from vnedoc.exchange.stores.hub_reports import LATE, HubReports, Standing
from vnedoc.exchange.stores.hub_traffic import HubTraffic, MessageFilter, code_level
from vnedoc.exchange.stores.models import HubDeliveryRow, HubMessageRow
from vnedoc.exchange.stores.payloads import StoredPayload

TODAY = datetime.date(2026, 11, 21)
HOUR = datetime.timedelta(hours=1)
LATE_BEFORE = NOW - 24 * HOUR
STATUS = PackageKind.STATUS


@pytest.fixture
def store(filled_hub_store: HubStore) -> HubStore:
    return filled_hub_store


@pytest.fixture
def reports(store: HubStore) -> HubReports:
    return HubReports(store)


def deliver(store: HubStore, number: int, status: str, *recipients: str, at=NOW, text=None) -> list[str]:
    """Take a package over, and set its deliveries to a status; return their ids."""
    message_id = take(store, number, *recipients, at=at)
    with store.database.writing() as session:
        rows = session.scalars(sa.select(HubDeliveryRow).where(HubDeliveryRow.message_id == message_id)).all()
        for row in rows:
            row.status, row.status_text, row.updated_at = status, text, at
        return [row.doc_id for row in sorted(rows, key=lambda row: row.position)]


def test_days_are_those_of_vietnam_and_sums_are_kept_apart(store, reports) -> None:
    # 17:00 in UTC is midnight in Vietnam.
    midnight = datetime.datetime(2026, 11, 20, 17, tzinfo=datetime.UTC)
    deliver(store, 1, "done", "H98", "H98.1", at=midnight - datetime.timedelta(microseconds=1))
    deliver(store, 2, "done", "H98", at=midnight)
    deliver(store, 3, "fail", "H98", "H98.1", at=midnight + HOUR)
    deliver(store, 4, "initial", "H98", at=NOW)
    take(store, 5, "H98", at=NOW, kind=STATUS)

    before, today = reports.days(TODAY - datetime.timedelta(days=1), TODAY)
    assert (before.documents, before.statuses, before.delivered, before.troubled) == (1, 0, 2, 0)
    assert (today.documents, today.statuses, today.delivered, today.troubled) == (3, 1, 1, 2)
    assert [
        day.documents
        for day in reports.days(TODAY + datetime.timedelta(days=1), TODAY + datetime.timedelta(days=3))
    ] == [0] * 3


def test_levels_are_read_from_the_codes_of_senders_and_of_recipients(store, reports) -> None:
    deliver(store, 1, "done", "H98", "H98.1")
    take(store, 2, "H98.1", sender="H99.1")
    deliver(store, 3, "parked", "H98.1")
    assert [(item.level, item.sent, item.delivered) for item in reports.levels(TODAY, TODAY)] == [
        (1, 2, 1),
        (2, 1, 1),
    ]
    assert reports.levels(TODAY + datetime.timedelta(days=1), TODAY + datetime.timedelta(days=1)) == []


CODES = [
    "H99.1",
    "H99.12",
    "H99.A1.2",
    "H99.1.2.3",
    "H99..1",
    "H99.1.",
    "H99.",
    ".H99",
    "H99",
    "h99.1",
    "Z99.1",
    "A00.0",
    "Y99.Z",
    "H9.1",
    "H999.1",
    "H99.1-2",
    "H99.É",
    "H99.1a",
    "000.00.00.H99",
    "001.02.17.H99",
    "000.00.17.H99",
    "000.00.00.H9",
    "2",
    "=2",
    ".",
    "x",
    "H99." + "1" * 26,
    "H99." + "1" * 27,
    "H99." + "1" * 31,
    "H99." + "1" * 32,
    "H99.1 ",
    "H99.1\n",
]


def test_the_database_counts_levels_as_one_by_one(store, reports) -> None:
    """Also for codes that follow no rule, as old ones and those of the other side of a gateway may."""
    for number, code in enumerate(CODES):
        deliver(store, number, "done", "H98")
        with store.database.writing() as session:
            session.execute(
                sa.update(HubMessageRow)
                .where(HubMessageRow.document_id == f"TEST-{number}")
                .values(sender_code=code)
            )
    wanted = collections.Counter(code_level(code) for code in CODES)
    assert {item.level: item.sent for item in reports.levels(TODAY, TODAY) if item.sent} == wanted


def test_what_is_late_is_not_what_only_waits(store, reports) -> None:
    deliver(store, 1, "initial", "H98", at=NOW - 25 * HOUR)
    deliver(store, 2, "processing", "H98", at=NOW - 25 * HOUR)
    deliver(store, 3, "initial", "H98", at=NOW - 23 * HOUR)
    deliver(store, 4, "done", "H98", at=NOW - 99 * HOUR)
    deliver(store, 5, "parked", "H98", "H98.1", at=NOW)
    deliver(store, 6, "expired", "H98", at=NOW)
    found = reports.standing(late_before=LATE_BEFORE)
    assert found == Standing(waiting=3, late=2, troubled={"expired": 1, "fail": 0, "parked": 2})
    assert found.to_do == 5


def test_troubles_come_page_by_page_the_longest_first(store, reports) -> None:
    expected = []
    for number in range(7):
        # Two at the same time: their ids decide.
        at = NOW - (100 - number // 2) * HOUR
        expected += [(at, doc_id) for doc_id in deliver(store, number, "parked", "H98", at=at, text="TEST")]
    deliver(store, 8, "done", "H98", at=NOW - 200 * HOUR)
    late = deliver(store, 9, "initial", "H98.1", at=NOW - 30 * HOUR)
    deliver(store, 10, "initial", "H98.1", at=NOW)

    found, after = [], None
    while True:
        page = reports.troubles(late_before=LATE_BEFORE, after=after, limit=3)
        found += [row.doc_id for row in page.rows]
        assert len(page.rows) <= 3
        if page.after is None:
            break
        after = page.after
    assert found == [doc_id for _, doc_id in sorted(expected)] + late
    (row,) = reports.troubles(late_before=LATE_BEFORE, status=LATE).rows
    assert (row.doc_id, row.status, row.may_retry, row.system_id) == (late[0], "initial", False, "TEST.B")
    parked = reports.troubles(late_before=LATE_BEFORE, status="parked").rows
    assert {(row.status_text, row.recipient_name, row.may_retry) for row in parked} == {
        ("TEST", "UBND TEST 98", True)
    }
    assert len(parked) == 7
    assert reports.troubles(late_before=LATE_BEFORE, status="fail").rows == ()


def test_statuses_about_a_document_are_those_of_its_recipients_to_its_sender(store, reports) -> None:
    def report(number: int, sender: str, to: str, document: str, system: str = "TEST.B") -> str:
        made = HubPackage(
            kind=STATUS,
            identity=f"{number:064}",
            sender_code=sender,
            recipient_codes=(to,),
            document_id=document,
            title="TEST",
            notation="",
        )
        return store.take(
            made, StoredPayload(f"{number:064}", 1), system_id=system, at=NOW + number * HOUR, receipt=str
        )

    take(store, 1, "H98", "H98.1")
    first = report(1, "H98.1", "H99", "TEST-1")
    by_old_code = report(2, "000.00.00.H98", "H99", "TEST-1")
    report(3, "H98", "H99", "TEST-2")
    report(4, "H98", "H99.1", "TEST-1")
    report(5, "H99.1", "H99", "TEST-1", system="TEST.A")
    found = reports.statuses_about(document_id="TEST-1", sender_code="H99", recipient_codes=["H98", "H98.1"])
    assert [item.id for item in found] == [first, by_old_code]
    assert reports.statuses_about(document_id="TEST-1", sender_code="H98", recipient_codes=["H98"]) == []


def test_names_go_by_either_code(reports) -> None:
    names = reports.names(["H99", "000.00.00.H98", "H97", "x" * 1000, "\x00"])
    assert names == {"H99": "UBND TEST", "000.00.00.H98": "UBND TEST 98"}
    assert reports.names([]) == {}


def test_retries_are_found_in_the_audit_log(store, reports) -> None:
    (doc_id,) = deliver(store, 1, "parked", "H98")
    Administration(store, actor="test.operator", clock=lambda: NOW).retry_deliveries([doc_id])
    assert [(item.doc_id, item.at, item.actor) for item in reports.retries([doc_id, "0" * 32])] == [
        (doc_id, NOW, "test.operator")
    ]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("cong van TEST", {1, 2}),
        ("CÔNG VĂN", {1, 2}),
        ("so 1", {1}),
        ("2/TEST", {2}),
        ("test-1", {1}),
        ("1 công", {1}),
        ("%", set()),
        ("quyet dinh", set()),
    ],
)
def test_messages_are_found_without_marks_and_in_any_case(store, text, numbers) -> None:
    take(store, 1, "H98")
    take(store, 2, "H98")
    found = HubTraffic(store).messages(MessageFilter(text=text))
    assert {message.document_id for message in found} == {f"TEST-{number}" for number in numbers}


def test_agencies_are_found_without_marks(store) -> None:
    rows = Administration(store, actor="test").rows
    assert [item.code for item in rows.agencies(text="xa test")] == ["H98.1"]
    assert [item.code for item in rows.agencies(text="SỞ")] == ["H99.1"]
    assert [item.code for item in rows.agencies(text="000.00.00.h98")] == ["H98"]


def test_counts_of_several_processes_are_added_up(store, reports) -> None:
    clock = Clock()
    one, two = (Tally(store.database, clock=clock) for _ in range(2))
    for tally, count in ((one, 3), (two, 2)):
        for _ in range(count):
            tally.refused("hub.wrong-secret")
        tally.seen("TEST.A")
        clock.go_on(hours=1)
    one.refused("hub.too-large")
    one.seen("TEST.GONE")
    # The older sighting comes last and changes nothing.
    two.flush()
    one.flush()
    one.flush()
    assert reports.refusals(TODAY, TODAY) == {"hub.wrong-secret": 5, "hub.too-large": 1}
    assert reports.refusals(TODAY + datetime.timedelta(days=1), TODAY + datetime.timedelta(days=9)) == {}
    assert reports.sightings(["TEST.A", "TEST.B"]) == {"TEST.A": NOW + HOUR}


def test_what_cannot_be_written_is_kept_for_the_next_time(store, reports, monkeypatch) -> None:
    tally = Tally(store.database, clock=Clock())
    tally.refused("hub.wrong-secret")
    with monkeypatch.context() as patch:
        patch.setattr(tally._rows, "add", lambda **_values: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tally.flush()
    tally.refused("hub.wrong-secret")
    tally.flush()
    assert reports.refusals(TODAY, TODAY) == {"hub.wrong-secret": 2}


def test_pages_that_everybody_opens_read_small_indexes_not_whole_tables(store, reports) -> None:
    if not store.database.is_sqlite:
        return  # How PostgreSQL plans depends on how much there is.
    seen: list[tuple[str, object]] = []

    def note(_connection, _cursor, statement, parameters, _context, _many) -> None:
        seen.append((statement, parameters))

    sa.event.listen(store.database.engine, "before_cursor_execute", note)
    reports.standing(late_before=LATE_BEFORE)
    reports.troubles(late_before=LATE_BEFORE)
    reports.days(TODAY, TODAY)
    sa.event.remove(store.database.engine, "before_cursor_execute", note)
    plans = []
    with store.database.engine.connect() as connection:
        for statement, parameters in seen:
            if statement.startswith("SELECT"):
                rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
                plans.append(" | ".join(row[-1] for row in rows))
    assert sum("ix_hub_delivery_open" in plan for plan in plans) == 6, plans
    assert sum("ix_hub_delivery_updated" in plan for plan in plans) == 1, plans
    assert not any("SCAN hub_" in plan for plan in plans), plans


def test_a_status_that_goes_on_is_a_new_day_of_the_delivery(store, reports) -> None:
    (doc_id,) = deliver(store, 1, "initial", "H98", at=NOW - 48 * HOUR)
    assert store.set_status("TEST.B", doc_id, TransportStatus.DONE, at=NOW) is True
    first, _, last = reports.days(TODAY - datetime.timedelta(days=2), TODAY)
    assert (first.documents, first.delivered, last.documents, last.delivered) == (1, 0, 0, 1)


def test_what_an_older_version_kept_can_be_searched_after_the_upgrade(tmp_path) -> None:
    url = f"sqlite:///{tmp_path / 'TEST.sqlite3'}"
    config = alembic.config.Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", str(_MIGRATIONS / "hub"))
    store = open_store(url, tmp_path)
    fill(Administration(store, actor="test.admin", clock=Clock()))
    message_id = take(store, 1, "H98")
    with store.database.engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.downgrade(config, "hub_0005")
        assert "search_text" not in {
            column["name"] for column in sa.inspect(connection).get_columns("hub_messages")
        }
    store.close()

    store = open_store(url, tmp_path)
    assert [item.id for item in HubTraffic(store).messages(MessageFilter(text="cong van"))] == [message_id]
    assert [item.code for item in Administration(store, actor="t").rows.agencies(text="xa test")] == ["H98.1"]
    with store.database.reading() as session:
        assert session.scalar(sa.select(HubMessageRow.document_key)) == document_key("TEST-1")
    store.close()
