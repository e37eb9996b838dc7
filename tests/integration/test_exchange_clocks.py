"""Clocks that are wrong and are set right: orders find their documents, and nothing is given up for it."""

import contextlib
import dataclasses
import datetime

import pytest

from tests.offices import COMMUNE, DEPARTMENT, PROVINCE, Office
from vnedoc.errors import ConnectorError, NotAllowedError
from vnedoc.exchange.codes import PackageKind, StatusCode
from vnedoc.exchange.connectors.base import RemoteMessage
from vnedoc.exchange.models import Attachment, Business, ReplacementInfo
from vnedoc.exchange.orders import recall_header, update_header
from vnedoc.exchange.package import write_package
from vnedoc.exchange.service import RecallForm
from vnedoc.exchange.states import BusinessState, DeliveryState, OrderKind, OrderState
from vnedoc.exchange.stores.checking import check_store
from vnedoc.testing.hub import running_hub
from vnedoc.testing.packages import make_organization, make_package

NOON = datetime.datetime(2026, 11, 20, 5, 0, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
MINUTE = datetime.timedelta(minutes=1)
REASON = "TEST ban hành nhầm"
FILES = [Attachment("a.pdf", b"%PDF-1.7\n% TEST\n%%EOF\n")]


class Clock:
    """A clock that may be wrong: ``off`` says how far it is ahead of the true time, which goes by with each look."""

    def __init__(self):
        self.true = NOON
        self.off = datetime.timedelta()

    def __call__(self):
        self.wait(milliseconds=1)
        return self.true + self.off

    def wait(self, **span):
        self.true += datetime.timedelta(**span)


@pytest.fixture
def hub(tmp_path):
    with running_hub(tmp_path / "hub") as hub:
        yield hub


def opened(stack, hub, code, folder, **options):
    office = Office(stack, hub, code, folder, **options)
    office.clock = Clock()
    office.exchange = office.with_options(clock=office.clock)
    return office


@pytest.fixture
def offices(hub, tmp_path, new_store_url):
    """Three offices, each with a clock of its own; their time is one."""
    with contextlib.ExitStack() as stack:
        found = [
            opened(stack, hub, code, tmp_path, store_url=new_store_url())
            for code in (PROVINCE, DEPARTMENT, COMMUNE)
        ]
        yield found
        for office in found:
            assert check_store(office.store, content=True).problems == ()


def wait(offices, **span):
    for office in offices:
        office.clock.wait(**span)


def one(items):
    [item] = items
    return item


def taken_in(office):
    outcomes = office.receive()
    assert [item.error for item in outcomes if item.error is not None] == []
    return outcomes


def packed(office, path, *, recipients=(DEPARTMENT,), content=b"%PDF-1.7\n% TEST\n%%EOF\n"):
    """A document that bears the time of its sender's clock."""
    header = make_package(path, sender=office.code, recipients=list(recipients))
    header = dataclasses.replace(header, trace=()).with_trace(office.code, at=office.clock())
    write_package(header, [Attachment("a.pdf", content)], path)
    return path


def header_of(folder):
    return make_package(folder / "header.edxml", sender=PROVINCE, recipients=[DEPARTMENT])


def carriers(office):
    """The documents and versions that an office received, not the recalls; in the order in which they came."""
    return [item for item in office.store.received() if item.business_kind != 1]


def deliveries(office):
    return [item.delivery for item in carriers(office)]


# A clock that is set back, and then an order: both sides are ours

SET_BACK = pytest.mark.parametrize(
    ("before", "after"),
    [
        (DAY, datetime.timedelta()),
        (datetime.timedelta(), -DAY),
        (datetime.timedelta(), -10 * MINUTE),
    ],
    ids=["was ahead", "is behind", "a little"],
)


@SET_BACK
def test_a_recall_reaches_its_document(offices, tmp_path, before, after):
    province, department, _commune = offices
    # A status that asks, where the clock was ahead.
    form = RecallForm.REQUEST if before else RecallForm.ORDER
    province.clock.off = before
    sent = province.exchange.send(packed(province, tmp_path / "a.edxml"))
    received = one(taken_in(department)).message
    province.clock.off = after
    wait(offices, minutes=2)
    province.exchange.recall(sent.id, reason=REASON, form=form)
    taken_in(department)
    if form is RecallForm.REQUEST:
        department.exchange.reply(received.id, StatusCode.CHANGE_AGREED)
    assert deliveries(department) == [DeliveryState.CANCELLED]
    taken_in(province)
    assert province.business(sent.id) == {DEPARTMENT: BusinessState("01", "15")}


@SET_BACK
def test_versions_keep_their_order(offices, tmp_path, before, after):
    """Two updates, the clock is set back before each; the last one adds a recipient, who is asked, too."""
    province, department, commune = offices
    province.clock.off = before
    sent = province.exchange.send(packed(province, tmp_path / "a.edxml"))
    taken_in(department)
    wait(offices, minutes=2)
    second = province.exchange.update(
        sent.id, attachments=[Attachment("b.pdf", b"%PDF second")], reason="TEST"
    )
    taken_in(department)
    wait(offices, seconds=30)
    province.clock.off = after
    third = province.exchange.update(
        sent.id,
        attachments=[Attachment("c.pdf", b"%PDF third")],
        added=[make_organization(COMMUNE)],
        reason="TEST",
    )
    assert province.store.versions(sent.id) == [sent.id, second.id, third.id]
    for office in (department, commune):
        taken_in(office)
    first_there, second_there, third_there = (item.id for item in carriers(department))
    for older, newer in ((first_there, second_there), (second_there, third_there)):
        with pytest.raises(NotAllowedError) as caught:
            department.exchange.reply(older, StatusCode.ACCEPTED)
        assert (caught.value.code, caught.value.values["by"]) == ("exchange.superseded", newer)
    wait(offices, minutes=2)
    department.exchange.reply(third_there, StatusCode.PROCESSING)
    taken_in(province)
    assert province.business(third.id)[DEPARTMENT] == BusinessState("05", "15")
    assert province.business(second.id)[DEPARTMENT].progress == "01"
    [recall] = province.exchange.recall(sent.id, reason=REASON)
    assert {item.recipient.code for item in recall.consignments} == {DEPARTMENT, COMMUNE}
    for office in (department, commune):
        taken_in(office)
    assert deliveries(department) == [DeliveryState.CANCELLED] * 3
    assert deliveries(commune) == [DeliveryState.CANCELLED]
    taken_in(province)
    assert province.business(third.id)[DEPARTMENT].change == "15"


@pytest.mark.parametrize(("before", "after"), [(datetime.timedelta(), -DAY)])
def test_a_replacement_finds_what_it_replaces(offices, tmp_path, before, after):
    province, department, _commune = offices
    province.clock.off = before
    sent = province.exchange.send(packed(province, tmp_path / "a.edxml"))
    received = one(taken_in(department)).message
    province.clock.off = after
    header = make_package(tmp_path / "b.edxml", sender=PROVINCE, recipients=[DEPARTMENT], number=16)
    header = dataclasses.replace(header, trace=())
    province.exchange.replace(sent.id, header=header, attachments=FILES, reason=REASON)
    successor = one(taken_in(department)).message
    [order] = department.exchange.orders(received.id)
    assert (order.kind, order.state, order.order_id) == (
        OrderKind.REPLACE,
        OrderState.APPLIED,
        successor.id,
    )


@pytest.mark.parametrize("off", [DAY, -DAY], ids=["ahead", "behind"])
def test_a_document_is_sent_anew_under_its_identifier_by_a_clock_that_is_off(offices, tmp_path, off):
    province, department, _commune = offices
    province.clock.off = off
    sent = province.exchange.send(packed(province, tmp_path / "a.edxml"))
    taken_in(department)
    wait(offices, minutes=2)
    recall = province.exchange.recall(sent.id, reason=REASON)
    taken_in(department)
    assert recall
    wait(offices, minutes=2)
    listed = written(tmp_path / "b.edxml", header_of(tmp_path), at=province.clock(), content=b"%PDF new")
    receive_listed(department, listed)
    assert deliveries(department) == [DeliveryState.CANCELLED, DeliveryState.ACCEPTED]


def test_a_document_is_sent_anew_before_the_time_that_its_recall_bears(offices, tmp_path):
    """The recall bears a time of tomorrow, because its document does; what is let go today is another document."""
    province, department, _commune = offices
    province.clock.off = DAY
    sent = province.exchange.send(packed(province, tmp_path / "a.edxml"))
    taken_in(department)
    province.clock.off = datetime.timedelta()
    province.exchange.recall(sent.id, reason=REASON)
    taken_in(department)
    wait(offices, minutes=2)
    listed = written(tmp_path / "b.edxml", header_of(tmp_path), at=province.clock(), content=b"%PDF new")
    receive_listed(department, listed)
    assert deliveries(department) == [DeliveryState.CANCELLED, DeliveryState.ACCEPTED]


# The same, with packages of other systems, which bear what their clocks said


def written(path, header, *, at, content=FILES[0].content):
    header = dataclasses.replace(header, trace=()).with_trace(header.sender.organ_id, at=at)
    write_package(header, [Attachment("a.pdf", content)], path)
    return path


def receive_listed(office, *paths):
    """Take in packages of the province in this order, as an axis lists them."""
    rows = {
        f"listed-{office.code}-{number}-{path.stem}": path.read_bytes() for number, path in enumerate(paths)
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            office.connector,
            "list_received",
            lambda kind: [
                RemoteMessage(row, kind, PROVINCE, office.code, None, None)
                for row in (rows if kind is PackageKind.DOCUMENT else ())
            ],
        )
        patch.setattr(office.connector, "fetch", lambda doc_id, output: output.write_bytes(rows[doc_id]))
        patch.setattr(office.connector, "acknowledge", lambda *_args: None)
        return taken_in(office)


@pytest.fixture
def department(hub, tmp_path):
    """An office whose axis lists what a test says."""
    with contextlib.ExitStack() as stack:
        hub.add_system("TEST", PROVINCE)
        office = opened(stack, hub, DEPARTMENT, tmp_path)
        yield office
        assert check_store(office.store, content=True).problems == ()


@pytest.fixture
def stories(tmp_path):
    """Write packages of a document, let go at so many minutes after noon by their sender's clock."""
    document = make_package(tmp_path / "header.edxml", sender=PROVINCE, recipients=[DEPARTMENT])

    def write(name, minute, content=FILES[0].content):
        header = {
            "document": lambda: document,
            "update": lambda: update_header(document, changed=document, reason=REASON),
            "recall": lambda: recall_header(document, reason=REASON),
            "replacement": lambda: dataclasses.replace(
                make_package(tmp_path / "n.edxml", sender=PROVINCE, recipients=[DEPARTMENT], number=16),
                business=Business.replace(ReplacementInfo(document.document_id, (DEPARTMENT,))),
            ),
        }[name]()
        return written(tmp_path / f"{name}{minute}.edxml", header, at=NOON + minute * MINUTE, content=content)

    return write


def test_a_recall_reaches_a_document_that_was_let_go_by_a_clock_that_was_ahead(department, stories):
    receive_listed(department, stories("document", 60), stories("update", 70), stories("recall", 5))
    assert deliveries(department) == [DeliveryState.CANCELLED] * 2


@pytest.mark.parametrize("agreed", [True, False])
def test_a_person_decides_on_a_recall_that_claims_to_be_older_than_its_document(department, stories, agreed):
    """By the times alone the document may have been sent anew after a recall that came late."""
    wait([department], hours=2)
    receive_listed(department, stories("document", 60), stories("recall", 5))
    [received] = carriers(department)
    assert received.delivery is DeliveryState.ACCEPTED
    assert received.business.change == "13"
    [order] = department.exchange.orders(received.id)
    assert (order.kind, order.state) == (OrderKind.RECALL, OrderState.ASKED)
    code = StatusCode.CHANGE_AGREED if agreed else StatusCode.CHANGE_REFUSED
    department.exchange.reply(received.id, code, reason="TEST")
    expected = DeliveryState.CANCELLED if agreed else DeliveryState.ACCEPTED
    assert deliveries(department) == [expected]


def test_a_late_recall_of_a_former_document_leaves_the_one_that_was_sent_anew(department, stories):
    wait([department], hours=2)
    former, recall = stories("document", 0), stories("recall", 5)
    receive_listed(department, former, recall)
    wait([department], hours=1)
    anew = stories("document", 170, b"%PDF new")
    receive_listed(department, anew)
    # Another recall of the former one, late.
    receive_listed(department, stories("recall", 6))
    assert deliveries(department) == [DeliveryState.CANCELLED, DeliveryState.ACCEPTED]
    assert carriers(department)[1].business.change is None


@pytest.mark.parametrize("off", [60, 0], ids=["was ahead", "is behind"])
def test_an_update_that_claims_to_be_older_than_its_document_is_the_newest(department, stories, off):
    receive_listed(
        department,
        stories("document", off),
        stories("update", off + 5),
        stories("update", off - 30, b"%PDF third"),
        stories("update", off - 20, b"%PDF fourth"),
    )
    *older, newest = carriers(department)
    for item in older:
        with pytest.raises(NotAllowedError) as caught:
            department.exchange.reply(item.id, StatusCode.ACCEPTED)
        assert caught.value.code == "exchange.superseded"
    # One that was let go between the last two, and overtaken, changes nothing.
    receive_listed(department, stories("update", off - 25, b"%PDF between"))
    *_, between = carriers(department)
    assert department.store.orders_of([between.id])
    with pytest.raises(NotAllowedError) as caught:
        department.exchange.reply(between.id, StatusCode.ACCEPTED)
    assert (caught.value.code, caught.value.values["by"]) == ("exchange.superseded", newest.id)


def test_an_old_update_that_comes_late_is_history(department, stories):
    receive_listed(
        department, stories("document", 0), stories("update", 9), stories("update", 4, b"%PDF late")
    )
    _first, newest, late = carriers(department)
    with pytest.raises(NotAllowedError) as caught:
        department.exchange.reply(late.id, StatusCode.ACCEPTED)
    assert (caught.value.code, caught.value.values["by"]) == ("exchange.superseded", newest.id)


def test_a_replacement_that_claims_to_be_older_than_its_document(department, stories):
    receive_listed(department, stories("document", 60), stories("replacement", 5, b"%PDF new"))
    replaced, successor = carriers(department)
    [order] = department.exchange.orders(replaced.id)
    assert (order.state, order.order_id) == (OrderState.APPLIED, successor.id)


# Nothing is given up only because the clock was set


@contextlib.contextmanager
def axis_down(office):
    def unreachable(*_args, **_kwargs):
        raise ConnectorError("remote.unreachable", url="TEST", reason="TEST")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(office.connector, "send", unreachable)
        yield


def delivery(office, message):
    return one(office.store.find(message.id).consignments).delivery


def work(office, *, minutes):
    """Let a worker look every ten seconds."""
    for _ in range(minutes * 6):
        office.exchange.deliver_due()
        office.clock.wait(seconds=10)


@pytest.mark.parametrize("attempts", [0, 3])
def test_a_clock_that_was_a_day_behind_expires_nothing(offices, tmp_path, attempts):
    province, department, _commune = offices
    province.clock.off = -DAY - MINUTE
    message = province.exchange.queue(packed(province, tmp_path / "a.edxml"))
    with axis_down(province):
        for _ in range(attempts):
            with pytest.raises(ConnectorError):
                province.exchange.deliver(message.id)
        province.clock.off = datetime.timedelta()
        province.exchange.deliver_due()
    assert delivery(province, message) is DeliveryState.WAITING
    wait(offices, minutes=5)
    province.exchange.deliver_due()
    assert delivery(province, message) is DeliveryState.SENT
    assert len(taken_in(department)) == 1


def test_what_is_too_late_is_tried_for_some_minutes_more_and_then_given_up(offices, tmp_path):
    province = offices[0]
    province.clock.off = -2 * DAY
    message = province.exchange.queue(packed(province, tmp_path / "a.edxml"))
    province.clock.off = datetime.timedelta()
    with axis_down(province):
        work(province, minutes=1)
        assert delivery(province, message) is DeliveryState.WAITING
        work(province, minutes=25)
    assert delivery(province, message) is DeliveryState.EXPIRED
    assert len(province.store.find(message.id).attempts) >= 5


def test_a_clock_that_was_a_day_ahead_puts_nothing_off(offices, tmp_path):
    """Its attempts failed; a worker that died held another message; a third was given up."""
    province, department, _commune = offices
    given_up = province.exchange.queue(packed(province, tmp_path / "a.edxml"))
    province.clock.off = DAY + MINUTE
    with axis_down(province):
        work(province, minutes=26)
        assert delivery(province, given_up) is DeliveryState.EXPIRED
        waiting = province.exchange.queue(numbered(province, tmp_path, 16))
        with pytest.raises(ConnectorError):
            province.exchange.deliver(waiting.id)
        held = province.exchange.queue(numbered(province, tmp_path, 17))
        province.store.begin_attempt(
            held.id, now=province.clock(), lease=datetime.timedelta(minutes=1), owner="dead"
        )
    province.clock.off = datetime.timedelta()
    province.exchange.deliver_due()
    assert {delivery(province, item) for item in (given_up, waiting, held)} == {DeliveryState.SENT}
    assert len(taken_in(department)) == 3


def test_what_a_dead_worker_holds_until_tomorrow_can_be_recalled(offices, tmp_path):
    province = offices[0]
    province.clock.off = DAY
    message = province.exchange.queue(packed(province, tmp_path / "a.edxml"))
    province.store.begin_attempt(
        message.id, now=province.clock(), lease=datetime.timedelta(minutes=1), owner="dead"
    )
    province.clock.off = datetime.timedelta()
    assert province.exchange.recall(message.id, reason=REASON)
    assert delivery(province, message) is DeliveryState.RECALLED


def test_answers_of_a_clock_that_was_ahead_leave_at_once(offices, tmp_path):
    province, department, _commune = offices
    sent = province.exchange.send(packed(province, tmp_path / "a.edxml"))
    department.clock.off = DAY
    with axis_down(department):
        taken_in(department)
    department.clock.off = datetime.timedelta()
    department.exchange.deliver_due()
    taken_in(province)
    assert province.business(sent.id) == {DEPARTMENT: BusinessState("01")}


def numbered(office, folder, number):
    path = folder / f"{number}.edxml"
    make_package(path, sender=office.code, recipients=[DEPARTMENT], number=number)
    return path
