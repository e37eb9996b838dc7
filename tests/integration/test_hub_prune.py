"""What is old and finished goes from a hub, and nothing else does, whatever comes in meanwhile."""

import dataclasses
import datetime
import hashlib
import json
import threading
import time

import pytest
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.cli import vnedoc
from tests.clocks import NOW, Clock
from tests.hubs import KEY, fill, package
from vnedoc.errors import RefusedError, RemoteError, UsageError
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub.accounts import Accounts, Role
from vnedoc.exchange.hub.admin import PATH, admin_routes
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.hub.audit import By
from vnedoc.exchange.hub.chores import PRUNE_EVERY, prune_old
from vnedoc.exchange.hub.core import Hub
from vnedoc.exchange.hub.options import HubOptions
from vnedoc.exchange.hub.refusals import RefusalError
from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores._hub_admission import Admission
from vnedoc.exchange.stores._hub_intake import Arrival, Intake
from vnedoc.exchange.stores._hub_removals import LeftOutError, announce
from vnedoc.exchange.stores.database import Database
from vnedoc.exchange.stores.hub import ConflictError, HubStore, PayloadGoneError, UnknownRecipientsError
from vnedoc.exchange.stores.hub_audit import HubAudit
from vnedoc.exchange.stores.hub_flow_models import HubEventRow, HubPayloadRemovalRow
from vnedoc.exchange.stores.hub_retention import HubRetention
from vnedoc.exchange.stores.models import HubDeliveryRow, HubMessageRow
from vnedoc.exchange.stores.payloads import StoredPayload, open_payloads
from vnedoc.exchange.stores.pruning import PruneLimits, PruneReport
from vnedoc.messages import Language
from vnedoc.testing.axes import AXIS_KINDS, running_axis
from vnedoc.testing.hub import running_hub
from vnedoc.testing.packages import make_package

DAYS = datetime.timedelta(days=1)
INITIAL, PROCESSING, DONE, FAIL = TransportStatus
LIMITS = PruneLimits(payloads_older_than=90 * DAYS, metadata_older_than=400 * DAYS)
AT_ONCE = PruneLimits(payloads_older_than=0 * DAYS)
DOCUMENT = PackageKind.DOCUMENT


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def place(request, tmp_path):
    return request.getfixturevalue("s3_address") if hasattr(request, "param") else tmp_path / "payloads"


@pytest.fixture
def new_store(hub_url, place):
    opened = []

    def new():
        opened.append(HubStore(Database(hub_url, branch="hub"), open_payloads(place), key=KEY))
        return opened[-1]

    yield new
    for store in opened:
        store.close()


@pytest.fixture
def store(new_store, clock):
    store = new_store()
    fill(Administration(store, actor="TEST", clock=clock))
    return store


@pytest.fixture
def prune(store, clock):
    def prune(limits=LIMITS, **options):
        return HubRetention(store, rest=lambda _seconds: True).prune(
            limits, by=By("TEST", clock()), **options
        )

    return prune


def adopt(store, content):
    with store.payloads.temporary() as path:
        path.write_bytes(content)
        return store.payloads.adopt(path)


def bring(store, number, *recipients, at, content=None, payload=None):
    """What the hub does with a package: first into the store, then into the tables."""
    payload = payload or adopt(store, content or b"TEST %d" % number)
    wanted = package(number, *(recipients or ("H98",)))
    return store.take(wanted, payload, system_id="TEST.A", at=at, receipt=lambda made: f"receipt {made}")


def settle(store, status, *, at, recipient="H98"):
    """Let a recipient say the last word about all that waits for it."""
    for row in store.waiting("TEST.B", DOCUMENT):
        if row.recipient_code == recipient:
            store.deliveries.move("TEST.B", row.doc_id, status, at=at)


def kept(store):
    return {item.sha256 for item in store.payloads.listed()}


def digest(content):
    return hashlib.sha256(content).hexdigest()


def rows(store, table):
    with store.database.reading() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(table))


@pytest.mark.parametrize("where", ["folder", "s3"])
def test_first_the_package_goes_and_much_later_the_message(request, where, hub_url, tmp_path, clock):
    address = tmp_path / "payloads" if where == "folder" else request.getfixturevalue("s3_address")
    store = HubStore(Database(hub_url, branch="hub"), open_payloads(address), key=KEY)
    fill(Administration(store, actor="TEST", clock=clock))
    retention = HubRetention(store)
    receipt = bring(store, 1, "H98", "H98.1", at=NOW)
    settle(store, DONE, at=NOW)
    settle(store, DONE, at=NOW + 10 * DAYS, recipient="H98.1")
    report = retention.prune(LIMITS, by=By("TEST", NOW + 100 * DAYS))
    assert report == PruneReport(released=0, payloads=0, payload_bytes=0, messages=0, unfinished=1)
    assert kept(store) == {digest(b"TEST 1")}
    report = retention.prune(LIMITS, by=By("TEST", NOW + 101 * DAYS))
    assert report == PruneReport(released=1, payloads=1, payload_bytes=6, messages=0, unfinished=0)
    assert kept(store) == set()
    assert store.stats().payload_bytes == 0
    assert store.stats().documents == 1
    assert [row.status for row in store.sent("TEST.A", DOCUMENT)] == [DONE, DONE]
    # Sent once more, it gets the same receipt, and is not kept for longer than what was refused.
    assert bring(store, 1, "H98", "H98.1", at=NOW + 102 * DAYS) == receipt
    assert kept(store) == {digest(b"TEST 1")}
    assert retention.prune(LIMITS, by=By("TEST", NOW + 102.9 * DAYS)).payloads == 0
    assert retention.prune(LIMITS, by=By("TEST", NOW + 103 * DAYS)).payloads == 1
    assert kept(store) == set()
    report = retention.prune(LIMITS, by=By("TEST", NOW + 411 * DAYS))
    assert report == PruneReport(released=0, payloads=0, payload_bytes=0, messages=1, unfinished=0)
    assert [rows(store, table) for table in (HubMessageRow, HubDeliveryRow, HubEventRow)] == [0, 0, 0]
    assert rows(store, HubPayloadRemovalRow) == 0
    assert bring(store, 1, "H98", "H98.1", at=NOW + 412 * DAYS) != receipt
    assert kept(store) == {digest(b"TEST 1")}
    store.close()


def test_what_somebody_still_waits_for_stays(store, prune, clock):
    for number in range(5):
        bring(store, number, at=NOW)
    first, second, third, fourth, _fifth = [row.doc_id for row in store.waiting("TEST.B", DOCUMENT)]
    store.deliveries.move("TEST.B", first, PROCESSING, at=NOW)
    store.deliveries.move("TEST.B", second, FAIL, at=NOW)
    store.deliveries.move("TEST.B", third, DONE, at=NOW)
    with store.database.writing() as session:
        # As versions before this one wrote it.
        session.get(HubDeliveryRow, fourth).status = "fail"
    clock.go_on(days=1000)
    found = prune(LIMITS, dry_run=True)
    assert (found.released, found.payloads, found.messages, found.unfinished) == (2, 2, 2, 3)
    assert len(kept(store)) == 5
    assert prune(LIMITS) == found
    assert len(kept(store)) == 3
    # What nobody fetched has expired: its time begins then.
    assert store.deliveries.expire(waiting_since=clock() - 30 * DAYS, at=clock()) == 2
    clock.go_on(days=89)
    assert prune(LIMITS).released == 0
    clock.go_on(days=2)
    assert prune(LIMITS).released == 2
    # Parked for ever, until a person says what is to be done.
    assert store.stats().deliveries["parked"] == 1
    assert len(kept(store)) == 1


def test_a_package_stays_while_any_message_names_it(store, prune, clock):
    bring(store, 1, at=NOW, content=b"the same TEST")
    settle(store, DONE, at=NOW)
    bring(store, 2, at=NOW, content=b"the same TEST")
    clock.go_on(days=91)
    found = prune(LIMITS, dry_run=True)
    assert (found.released, found.payloads) == (1, 0)
    assert prune(LIMITS) == found
    assert len(kept(store)) == 1
    settle(store, DONE, at=clock())
    clock.go_on(days=91)
    found = prune(LIMITS, dry_run=True)
    assert (found.released, found.payloads) == (1, 1)
    assert prune(LIMITS) == found
    assert kept(store) == set()


def test_what_was_refused_is_removed_a_day_later(store, prune, clock):
    with pytest.raises(UnknownRecipientsError):
        bring(store, 1, "H00", at=NOW)
    bring(store, 2, at=NOW)
    with pytest.raises(ConflictError):
        bring(store, 2, at=NOW, content=b"another TEST")
    with pytest.raises(UnknownRecipientsError):
        bring(store, 3, "H00", at=NOW)
    clock.go_on(hours=23)
    assert prune(None).payloads == 0
    # Tried again within the day, now with recipients that are known: it stays.
    bring(store, 3, at=clock())
    clock.go_on(hours=2)
    assert prune(None, dry_run=True).payloads == 2
    assert prune(None).payloads == 2
    assert kept(store) == {digest(b"TEST 2"), digest(b"TEST 3")}
    assert HubAudit(store.database).entries(subject="hub") == []
    assert store.stats().documents == 2


def test_leavings_of_killed_processes_are_searched_for_on_demand(store, prune, clock, place, monkeypatch):
    bring(store, 1, at=NOW)
    adopt(store, b"left TEST")
    monkeypatch.setattr(clock, "now", datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=23))
    assert prune(None, search_store=True).payloads == 0
    clock.go_on(hours=2)
    assert prune(None).payloads == 0
    assert prune(None, search_store=True, dry_run=True).payloads == 1
    assert prune(None, search_store=True).payloads == 1
    assert kept(store) == {digest(b"TEST 1")}


def test_a_package_that_went_between_store_and_tables_must_be_sent_again(store, prune, clock):
    hub = Hub(store, options=HubOptions(language=Language.EN), clock=clock)
    bring(store, 1, at=NOW, content=b"the same TEST")
    settle(store, DONE, at=NOW)
    payload = adopt(store, b"the same TEST")
    clock.go_on(days=1)
    assert prune(AT_ONCE).payloads == 1
    with pytest.raises(PayloadGoneError):
        bring(store, 2, at=clock(), payload=payload)
    assert store.stats().documents == 1
    bring(store, 2, at=clock(), content=b"the same TEST")
    assert kept(store) == {payload.sha256}
    assert hub.delivery("TEST.B", store.waiting("TEST.B", DOCUMENT)[0].doc_id)


def test_the_caller_is_told_to_send_again(store, clock, tmp_path, monkeypatch):
    hub = Hub(store, options=HubOptions(language=Language.EN), clock=clock)
    make_package(tmp_path / "TEST.edxml", sender="H99", recipients=["H98"])
    original = store.payloads.adopt

    def lost(path, **options):
        payload = original(path, **options)
        with store.database.writing() as session:
            session.add(
                HubPayloadRemovalRow(sha256=payload.sha256, size=payload.size, due_at=NOW, removed_at=NOW)
            )
        store.payloads.remove(payload.sha256)
        return payload

    def take():
        with store.payloads.temporary() as path:
            path.write_bytes((tmp_path / "TEST.edxml").read_bytes())
            return hub.take(path, kind=DOCUMENT, sender="H99", system_id="TEST.A", entrance=None)

    monkeypatch.setattr(store.payloads, "adopt", lost)
    with pytest.raises(RefusalError) as caught:
        take()
    assert (caught.value.status, caught.value.retry_after_s) == (503, 1)
    monkeypatch.undo()
    receipt = take()
    assert len(kept(store)) == 1
    assert take() == receipt


def test_a_package_that_is_about_to_go_is_kept_when_it_comes_again(store, prune, clock):
    bring(store, 1, at=NOW, content=b"the same TEST")
    settle(store, DONE, at=NOW)
    clock.go_on(days=1)
    # The run is killed when the message has let go of it.
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patched:
        patched.setattr(store.payloads, "remove", _killed)
        prune(AT_ONCE)
    assert rows(store, HubPayloadRemovalRow) == 1
    bring(store, 2, at=clock(), content=b"the same TEST")
    assert rows(store, HubPayloadRemovalRow) == 0
    assert prune(AT_ONCE).payloads == 0
    assert len(kept(store)) == 1


def _killed(_sha256):
    raise KeyboardInterrupt


@pytest.mark.parametrize("is_removed", [False, True])
def test_a_run_that_was_killed_is_ended_by_the_next(store, prune, clock, is_removed):
    for number in range(3):
        bring(store, number, at=NOW)
    settle(store, DONE, at=NOW)
    clock.go_on(days=1)
    remove = store.payloads.remove

    def killed(sha256):
        if is_removed:
            remove(sha256)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patched:
        patched.setattr(store.payloads, "remove", killed)
        prune(AT_ONCE)
    assert len(kept(store)) == 3 - is_removed
    assert prune(AT_ONCE).payloads == 3
    assert kept(store) == set()


def test_a_process_of_the_version_before_takes_nothing_whose_package_goes(store, prune, clock):
    bring(store, 1, at=NOW, content=b"the same TEST")
    settle(store, DONE, at=NOW)
    clock.go_on(days=1)
    prune(AT_ONCE)

    def as_before(session):
        old = session.scalars(sa.select(HubMessageRow)).one()
        values = {column.name: getattr(old, column.name) for column in HubMessageRow.__table__.columns}
        values |= {"id": "f" * 32, "identity": "f" * 64, "payload_pruned_at": None}
        session.execute(sa.insert(HubMessageRow).values(values))
        session.execute(
            sa.insert(HubEventRow).values(message_id="f" * 32, at=NOW, kind="received", system_id="TEST.A")
        )

    with pytest.raises(sa.exc.IntegrityError):
        store.database.run(as_before)
    assert store.stats().documents == 1


def test_of_those_that_arrive_together_only_the_one_waits_whose_package_goes(store, clock):
    contents = [b"first TEST", b"second TEST", b"third TEST"]
    payloads = [adopt(store, content) for content in contents]
    with store.database.writing() as session:
        announce(session.connection(), [payloads[1]], due_at=NOW)
    arrivals = [
        Arrival(
            package=package(number, "H98"),
            payload=payload,
            system_id="TEST.A",
            at=NOW,
            receipt=str,
        )
        for number, payload in enumerate(payloads)
    ]
    intake = Intake(store.database, Admission(store.database), payload_size=store.payloads.size)
    outcomes = intake._take_all(arrivals)
    assert [isinstance(outcome, str) for outcome in outcomes] == [True, False, True]
    assert isinstance(outcomes[1].error, LeftOutError)
    assert store.stats().documents == 2
    assert intake.take(arrivals[1])
    assert store.stats().documents == 3
    assert HubRetention(store).prune(None, by=By("TEST", NOW + DAYS)).payloads == 0
    assert kept(store) == {digest(content) for content in contents}


def test_who_removes_waits_for_a_message_that_is_about_to_be_committed(postgresql_hub, clock):
    """The trigger has looked before the removal was announced: only the lock is in the way."""
    store = postgresql_hub
    bring(store, 1, at=NOW, content=b"the same TEST")
    settle(store, DONE, at=NOW)
    pruning = threading.Thread(
        target=lambda: HubRetention(store).prune(AT_ONCE, by=By("TEST", NOW + 2 * DAYS))
    )
    with store.database.writing() as session:
        old = session.scalars(sa.select(HubMessageRow)).one()
        values = {column.name: getattr(old, column.name) for column in HubMessageRow.__table__.columns}
        session.execute(sa.insert(HubMessageRow).values({**values, "id": "f" * 32, "identity": "f" * 64}))
        pruning.start()
        waits = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        deadline = time.monotonic() + 20
        while session.scalar(waits) == 0:
            assert time.monotonic() < deadline, "nobody waits"
        assert kept(store) == {old.payload_sha256}
    pruning.join(30)
    assert kept(store) == {digest(b"the same TEST")}
    assert rows(store, HubPayloadRemovalRow) == 0


@pytest.fixture
def postgresql_hub(postgresql, place, clock):
    url = postgresql.create_migrated("hub")
    store = HubStore(Database(url, branch="hub"), open_payloads(place), key=KEY)
    fill(Administration(store, actor="TEST", clock=clock))
    yield store
    store.close()
    postgresql.drop(url)


@pytest.mark.parametrize("place", ["s3"], indirect=True)
def test_many_come_and_go_in_an_object_store(new_store, store):
    come_and_go([store, new_store(), new_store()], turns=8)


def test_many_come_and_go_and_no_message_misses_its_package(new_store, store):
    come_and_go([store, new_store(), new_store()], turns=25)


def come_and_go(stores, *, turns):
    """Packages of few contents come in again and again, are done at once, and are pruned at once, by many."""
    contents = [b"TEST content %d" % number for number in range(3)]
    numbers = iter(range(10_000))
    counted = threading.Lock()
    taken, gone, errors = [], [], []
    ended = threading.Event()
    store = stores[0]

    def guarded(work):
        try:
            work()
        except Exception as error:  # noqa: BLE001 - told to the test
            errors.append(error)

    def come(mine):
        for turn in range(turns):
            with counted:
                number = next(numbers)
            content = contents[(number + turn) % len(contents)]
            try:
                bring(mine, number, "H98" if number % 5 else "H00", at=NOW, content=content)
            except UnknownRecipientsError:
                continue
            except PayloadGoneError:
                gone.append(number)
                continue
            taken.append(number)
            with mine.database.reading() as session:
                assert session.scalar(sa.select(sa.func.count()).select_from(HubMessageRow)) >= 1
            settle(mine, DONE, at=NOW)

    def go(mine):
        retention = HubRetention(mine, rest=lambda _seconds: True)
        moment = NOW + 2 * DAYS
        while not ended.is_set():
            retention.prune(AT_ONCE, by=By("TEST", moment), search_store=False)

    def look(mine):
        while not ended.is_set():
            missing(mine)

    def missing(mine):
        query = sa.select(HubMessageRow.id, HubMessageRow.payload_sha256).where(
            HubMessageRow.payload_pruned_at.is_(None)
        )
        with mine.database.reading() as session:
            named = session.execute(query).all()
        for message_id, sha256 in named:
            if mine.payloads.size(sha256) is None:
                # It may have been let go since it was read.
                with mine.database.reading() as session:
                    row = session.get(HubMessageRow, message_id)
                    assert row.payload_pruned_at is not None, "a message names a package that is not there"

    comers = [threading.Thread(target=guarded, args=(lambda mine=mine: come(mine),)) for mine in stores * 2]
    others = [
        threading.Thread(target=guarded, args=(lambda: go(stores[1]),)),
        threading.Thread(target=guarded, args=(lambda: go(stores[2]),)),
        threading.Thread(target=guarded, args=(lambda: look(stores[0]),)),
    ]
    for thread in (*comers, *others):
        thread.start()
    for thread in comers:
        thread.join(240)
    ended.set()
    for thread in others:
        thread.join(60)
    assert errors == []
    missing(store)
    # Each fifth was for somebody unknown.
    assert len(taken) + len(gone) == 6 * turns - -(-6 * turns // 5)
    assert len(taken) > turns
    HubRetention(store).prune(AT_ONCE, by=By("TEST", NOW + 3 * DAYS))
    settle(store, DONE, at=NOW)
    HubRetention(store).prune(AT_ONCE, by=By("TEST", NOW + 3 * DAYS))
    assert kept(store) == set()


def test_whoever_tries_again_and_whoever_prunes(store, prune, clock):
    bring(store, 1, at=NOW)
    bring(store, 2, at=NOW)
    store.deliveries.expire(waiting_since=NOW + DAYS, at=NOW)
    first, second = [row.doc_id for row in store.sent("TEST.A", DOCUMENT)]
    administration = Administration(store, actor="TEST", clock=clock)
    administration.retry_deliveries([first])
    clock.go_on(days=91)
    assert prune(LIMITS).released == 1
    assert administration.retry_deliveries([second]).left == (second,)
    assert store.delivery("TEST.B", second).payload_pruned_at == clock()
    # Late news is taken, but nothing waits whose package is gone.
    store.deliveries.move("TEST.B", second, FAIL, at=clock(), park_after_fails=3)
    assert store.stats().deliveries["fail"] == 1
    store.deliveries.expire(waiting_since=clock(), at=clock())
    assert [row.doc_id for row in store.waiting("TEST.B", DOCUMENT)] == []


def test_the_audit_log_says_what_was_removed(store, prune, clock):
    bring(store, 1, at=NOW)
    settle(store, DONE, at=NOW)
    assert prune(LIMITS).released == 0
    clock.go_on(days=500)
    report = prune(LIMITS)
    assert (report.released, report.payloads, report.messages) == (1, 1, 1)
    begin, end = HubAudit(store.database).entries(subject="hub")
    assert (begin.action, begin.detail) == (
        "prune.begin",
        {"keep_payloads_days": 90, "keep_metadata_days": 400},
    )
    assert (end.action, end.detail) == ("prune.end", dataclasses.asdict(report))
    assert HubAudit(store.database).check().is_whole


@pytest.mark.parametrize(
    "limits",
    [
        PruneLimits(),
        PruneLimits(metadata_older_than=29 * DAYS),
        PruneLimits(payloads_older_than=-1 * DAYS),
        PruneLimits(payloads_older_than=90 * DAYS, metadata_older_than=60 * DAYS),
    ],
)
def test_ages_that_make_no_sense(store, prune, limits):
    with pytest.raises(UsageError):
        prune(limits)


def test_the_metadata_age_alone_takes_both(store, prune, clock):
    bring(store, 1, at=NOW)
    settle(store, DONE, at=NOW)
    clock.go_on(days=31)
    found = prune(PruneLimits(metadata_older_than=30 * DAYS), dry_run=True)
    assert (found.released, found.payloads, found.messages) == (1, 1, 1)
    assert prune(PruneLimits(metadata_older_than=30 * DAYS)) == found


def test_it_is_broken_off_between_two_transactions(store, clock):
    for number in range(600):
        bring(store, number, at=NOW, payload=StoredPayload(digest(b"%d" % number), 1))
    with store.database.writing() as session:
        session.execute(sa.update(HubDeliveryRow).values(status="done"))
    by = By("TEST", NOW + 100 * DAYS)
    assert HubRetention(store, rest=lambda _seconds: False).prune(LIMITS, by=by).released == 200
    assert HubRetention(store, rest=lambda _seconds: True).prune(LIMITS, by=by).released == 400


def test_one_process_of_many_does_the_chore(new_store, store, clock):
    bring(store, 1, at=NOW)
    settle(store, DONE, at=NOW)
    clock.go_on(days=100)
    hubs = [
        Hub(each, options=HubOptions(retention=LIMITS), clock=clock)
        for each in (store, new_store(), new_store())
    ]
    reports = [prune_old(hub) for hub in hubs]
    assert [report is None for report in reports] == [False, True, True]
    assert reports[0].payloads == 1
    assert HubRetention(store).last().report == reports[0]
    text = hubs[0].metrics.text().decode()
    assert 'vnedoc_hub_pruned_total{what="payload"} 1.0' in text
    assert "vnedoc_hub_pruned_bytes_total 6.0" in text
    clock.now += PRUNE_EVERY
    assert prune_old(hubs[2]).payloads == 0
    assert HubRetention(store).last().at == clock()


def test_by_itself_a_hub_removes_nothing_that_was_taken_over(store, clock):
    bring(store, 1, at=NOW)
    settle(store, DONE, at=NOW)
    clock.go_on(days=10_000)
    assert prune_old(Hub(store, clock=clock)) == PruneReport(0, 0, 0, 0, 0)
    assert len(kept(store)) == 1


def test_a_hub_that_runs_does_the_chore(tmp_path, clock):
    options = HubOptions(retention=LIMITS, language=Language.EN)
    with running_hub(tmp_path / "hub", clock=clock) as hub:
        fill(Administration(hub.store, actor="TEST", clock=clock))
        bring(hub.store, 1, at=NOW - 100 * DAYS)
        settle(hub.store, DONE, at=NOW - 100 * DAYS)
    clock.now += PRUNE_EVERY
    waiting = threading.Event()
    with running_hub(tmp_path / "hub", clock=clock, options=options) as hub:
        for _ in range(600):
            last = HubRetention(hub.store).last()
            if last is not None and last.report.payloads:
                break
            waiting.wait(0.05)
        assert last.report.released == 1
        assert kept(hub.store) == set()


@pytest.mark.parametrize("kind", [kind for kind in AXIS_KINDS if kind != "folder"])
def test_each_wire_says_that_a_package_is_not_kept(kind, tmp_path):
    with running_axis(kind, options=HubOptions(language=Language.EN)) as axis:
        make_package(tmp_path / "TEST.edxml", sender=axis.sender_code, recipients=[axis.recipient_code])
        with axis.open("sender") as sender, axis.open("recipient") as recipient:
            sender.send(tmp_path / "TEST.edxml", sender_code=axis.sender_code, kind=DOCUMENT)
            [waiting] = recipient.list_received(DOCUMENT)
            recipient.fetch(waiting.doc_id, tmp_path / "fetched.edxml")
            recipient.acknowledge(waiting.doc_id, PROCESSING)
            recipient.acknowledge(waiting.doc_id, DONE)
            now = datetime.datetime.now(datetime.UTC) + DAYS
            report = HubRetention(axis.hub.store).prune(AT_ONCE, by=By("TEST", now))
            assert report.payloads == 1
            with pytest.raises((RefusedError, RemoteError)) as caught:
                recipient.fetch(waiting.doc_id, tmp_path / "again.edxml")
            assert not caught.value.retryable
            assert "does not keep it any more" in str(caught.value.values)
            assert recipient.list_received(DOCUMENT) == []


def test_the_administration_shows_what_is_kept_and_what_was_removed(store, clock):
    message_id = bring(store, 1, at=NOW).removeprefix("receipt ")
    settle(store, DONE, at=NOW)
    clock.go_on(days=100)
    hub = Hub(store, options=HubOptions(retention=LIMITS), clock=clock)
    accounts = Accounts(store, clock=clock)
    headers = {"authorization": f"Bearer {accounts.add_token('TEST', Role.VIEWER)[1]}"}
    client = TestClient(Starlette(routes=admin_routes(hub, accounts)), headers=headers)

    def ask(path):
        return client.get(f"{PATH}/v1{path}").json()

    assert ask("/retention") == {"keep_payloads_days": 90.0, "keep_metadata_days": 400.0, "last": None}
    assert ask(f"/messages/{message_id}")["payload_pruned_at"] is None
    prune_old(hub)
    shown = ask("/retention")["last"]
    moment = shown.pop("at")
    assert moment.startswith("2027-03-01T03:00:00")
    assert shown == {"released": 1, "payloads": 1, "payload_bytes": 6, "messages": 0, "unfinished": 0}
    assert ask(f"/messages/{message_id}")["payload_pruned_at"] == moment


def test_the_command(tmp_path, monkeypatch):
    folder = tmp_path / "hub"
    monkeypatch.setenv("VNEDOC_HUB_DATA", str(folder))
    monkeypatch.chdir(tmp_path)
    assert vnedoc("hub", "prune").code == 5
    store = HubStore.open(folder)
    fill(Administration(store, actor="TEST"))
    bring(store, 1, at=NOW - 1000 * DAYS)
    settle(store, DONE, at=NOW - 1000 * DAYS)
    ages = ["--payloads-older-than", "90d", "--metadata-older-than", "1y"]
    assert "nothing was removed" in vnedoc("hub", "prune", *ages, "--dry-run").out
    assert len(kept(store)) == 1
    done = vnedoc("hub", "prune", "--format", "json")
    assert json.loads(done.out)["released"] == 0, "no ages, no settings"
    assert vnedoc("hub", "prune", "--metadata-older-than", "3d").code == 2
    (tmp_path / "vnedoc.toml").write_text("[hub]\nkeep_payloads_days = 90\nkeep_metadata_days = 366\n")
    monkeypatch.setenv("VNEDOC_CONFIG", str(tmp_path / "vnedoc.toml"))
    done = vnedoc("hub", "prune", "--format", "json")
    assert json.loads(done.out) == {
        "schema": "vnedoc.hub-prune/1",
        "released": 1,
        "payloads": 1,
        "payload_bytes": 6,
        "messages": 1,
        "unfinished": 0,
        "dry_run": False,
    }
    assert [entry.actor.partition(":")[0] for entry in HubAudit(store.database).entries(subject="hub")] == [
        "local",
        "local",
    ]
    store.close()
