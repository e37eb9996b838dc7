"""Two offices and a hub against a small model: whatever happens in whatever order, nothing is lost or doubled.

Hypothesis draws what people do, what goes wrong on the way, how time goes by, and when clocks are set, on SQLite and
on PostgreSQL. ``VNEDOC_MACHINE_EXAMPLES`` sets how many stories are told; ``make crash-matrix`` tells more than the
ordinary test run.
"""

import contextlib
import dataclasses
import datetime
import itertools
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from tests.offices import Office
from vnedoc.errors import ConnectorError, NotAllowedError, RefusedError
from vnedoc.exchange import _vxp
from vnedoc.exchange.codes import BusinessKind, PackageKind, StatusCode
from vnedoc.exchange.connectors.vxp import VXPConnector
from vnedoc.exchange.hub.options import HubOptions, Limits
from vnedoc.exchange.models import Attachment
from vnedoc.exchange.service import Exchange, ExchangeOptions
from vnedoc.exchange.states import DeliveryState, TransportStatus
from vnedoc.exchange.stores.checking import check_store
from vnedoc.testing.faults import Answered, CutAnswer, CutRequest, Delayed, LostAnswer
from vnedoc.testing.faults import Faults as HubFaults
from vnedoc.testing.hub import RunningHub, running_hub
from vnedoc.testing.packages import make_organization, make_package

EXAMPLES = int(os.environ.get("VNEDOC_MACHINE_EXAMPLES", "7"))
# A story takes longer there, most of it to make its databases.
FEWER = max(3, EXAMPLES // 3)
STEPS = 25
START = datetime.datetime(2026, 11, 23, 2, 0, tzinfo=datetime.UTC)
REASON = "TEST"
STORIES = itertools.count(1)
NO_LIMITS = Limits(requests_per_s=1e6, request_burst=1_000_000)
# An axis that says no to the package itself: a corrected one may take its place.
NO = Answered(
    200,
    _vxp.Answer(ok=False, error_code=_vxp.ErrorCode.INVALID_PACKAGE.value, error_text="TEST")
    .to_json()
    .encode(),
)
FAULTS = {
    "down": Answered(503),
    "busy": Answered(429, headers={"Retry-After": "30"}),
    "answer lost": LostAnswer(),
    "answer cut": CutAnswer(5),
    "request cut": CutRequest(100),
    "late": Delayed(0.01),
}
CALLS = {
    "send": _vxp.SEND_PATH,
    "list": _vxp.RECEIVED_PATH,
    "fetch": _vxp.FETCH_PATH,
    "acknowledge": _vxp.STATUS_PATH,
    "reports": _vxp.SENT_PATH,
}
# How far a state is; none is ever followed by a lower one. Work in the outbox goes round below 10.
HEIGHT = {
    DeliveryState.SENT: 10,
    DeliveryState.REFUSED: 10,
    DeliveryState.FAILED: 11,
    DeliveryState.DELIVERED: 12,
    DeliveryState.RECALLED: 12,
    DeliveryState.ACCEPTED: 10,
    DeliveryState.CANCELLED: 11,
}
ENDS = {DeliveryState.DELIVERED, DeliveryState.RECALLED, DeliveryState.REFUSED}
STUCK = {DeliveryState.EXPIRED, DeliveryState.PARKED}
PROGRESS = [None, "01", "03", "04", "05", "06", "02"]
TRANSPORT = [
    None,
    TransportStatus.INITIAL,
    TransportStatus.PROCESSING,
    TransportStatus.DONE,
    TransportStatus.FAIL,
]


@dataclasses.dataclass
class Sent:
    """What the model knows of a document."""

    office: int
    """Who sent it."""
    message_id: str
    """Its id in the store of its sender."""
    path: Path
    """The package."""
    number: int
    """Its number."""
    versions: int = 1
    """How many packages carry it."""
    recalled: bool = False
    """Whether somebody took it back."""
    is_crossed: bool = False
    """Whether a reply to it crossed a newer version; a status does not say which of the two it is about."""

    @property
    def code(self):
        """Its number as people write it."""
        return f"{self.number}/UBND-TEST"


@dataclasses.dataclass
class Axis:
    """The hub that all stories share, each with offices of its own; its time never goes back."""

    faults: HubFaults
    """What goes wrong in front of it."""
    now: datetime.datetime = START
    """The time, for everybody."""
    hub: RunningHub | None = None
    """The hub."""
    ticks: Iterator[int] = dataclasses.field(default_factory=itertools.count)
    """How often somebody looked at the clock."""

    def clock(self):
        """Tell the time; it never stands still, so what came first is first in the hub's lists."""
        return self.now + datetime.timedelta(microseconds=next(self.ticks))


AXIS: list[Axis] = []
SERVERS = []


@pytest.fixture(scope="module", autouse=True)
def axis(tmp_path_factory):
    with running_axis(tmp_path_factory.mktemp("hub")):
        yield


@contextlib.contextmanager
def running_axis(folder):
    axis = Axis(HubFaults())
    options = HubOptions(limits=NO_LIMITS)
    with running_hub(folder, options=options, faults=axis.faults, clock=axis.clock) as axis.hub:
        AXIS.append(axis)
        yield
        AXIS.remove(axis)


@pytest.fixture(scope="module")
def server(postgresql):
    SERVERS.append(postgresql)
    yield
    SERVERS.remove(postgresql)


class ExchangeMachine(RuleBasedStateMachine):
    """Two offices, one hub, one process."""

    documents = Bundle("documents")
    offices = st.sampled_from((0, 1))

    def __init__(self):
        super().__init__()
        random.seed(0)
        self.stack = contextlib.ExitStack()
        self.number = 0
        self.sent: list[Sent] = []
        self.replies: dict[str, Sent] = {}
        self.heights: dict[object, tuple[int, ...]] = {}
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="vnedoc-TEST-")))
        self.axis = AXIS[-1]
        self.hub, self.faults = self.axis.hub, self.axis.faults
        story = next(STORIES)
        self.codes = tuple(f"H99.{story}.{part}" for part in (1, 2))
        # How far the clocks of the offices are ahead of the axis's.
        self.off = [datetime.timedelta(), datetime.timedelta()]
        self.all = [
            Office(self.stack, self.hub, code, self.folder, store_url=self.new_store_url())
            for code in self.codes
        ]
        for number, office in enumerate(self.all):
            secret = office.secret
            connector = self.stack.enter_context(
                VXPConnector(
                    self.hub.url,
                    f"TEST.{office.code}",
                    secret=lambda _, secret=secret: secret,
                    name="TEST",
                    clock=self.clock,
                )
            )
            office.connector = connector
            office.exchange = Exchange(
                connector,
                office.store,
                organization=make_organization(office.code),
                options=ExchangeOptions(),
                clock=lambda number=number: self.clock_of(number),
            )

    new_store_url = staticmethod(lambda: None)
    """Makes a database for an office; ``None`` is a file."""

    def teardown(self):
        try:
            self.faults.clear()
            self.clocks_are_set_right()
            self.come_to_rest()
        finally:
            self.stack.close()

    def clock(self):
        return self.axis.clock()

    def clock_of(self, office):
        return self.clock() + self.off[office]

    def wait(self, seconds):
        self.axis.now += datetime.timedelta(seconds=seconds)

    @initialize(target=documents)
    def begin(self):
        return multiple(self.new_document(0), self.new_document(1))

    # What people do

    @rule(target=documents, office=offices)
    def queue(self, office):
        return self.new_document(office)

    @rule(target=documents, office=offices, fault=st.sampled_from(sorted(FAULTS)))
    def send_with_trouble(self, office, fault):
        document = self.new_document(office)
        self.faults.plan(FAULTS[fault], path=_vxp.SEND_PATH)
        self.deliver(document)
        return document

    @rule(target=documents, office=offices)
    def send_and_receive(self, office):
        document = self.new_document(office)
        self.deliver(document)
        self.receive(1 - office)
        self.receive(office)
        return document

    def new_document(self, office):
        self.number += 1
        path = self.folder / f"{self.number}.edxml"
        make_package(path, sender=self.codes[office], recipients=[self.codes[1 - office]], number=self.number)
        message = self.all[office].exchange.queue(path)
        document = Sent(office, message.id, path, self.number)
        self.sent.append(document)
        return document

    @rule(document=documents)
    def send_again(self, document):
        """Sending the same package again is nothing new, unless it was taken back before it left."""
        office = self.all[document.office]
        state = self.state_of(document)
        try:
            message = office.exchange.queue(document.path)
        except NotAllowedError as error:
            # A recall is on its way that would cancel it.
            assert error.code == "exchange.taken-back"
            assert document.recalled
            return
        if state is DeliveryState.REFUSED or (document.recalled and message.id != document.message_id):
            document.message_id = message.id
            document.recalled = False
            self.note_crossing(document)
        assert message.id == document.message_id

    @rule(document=documents)
    def deliver(self, document):
        with contextlib.suppress(ConnectorError, RefusedError):
            self.all[document.office].exchange.deliver(document.message_id)

    @rule(document=documents)
    def the_axis_says_no(self, document):
        """It is refused for good, unless an attempt before this one may have got through."""
        office = self.all[document.office]
        message = office.store.find(document.message_id)
        if message.attempts or self.state_of(document) is not DeliveryState.QUEUED:
            return
        self.faults.clear()
        self.faults.plan(NO, path=_vxp.SEND_PATH)
        with contextlib.suppress(RefusedError):
            office.exchange.deliver(message.id)
            raise AssertionError("a refusal is told")
        assert self.state_of(document) is DeliveryState.REFUSED

    @rule(office=offices)
    def deliver_due(self, office):
        self.all[office].exchange.deliver_due()

    @rule(office=offices)
    def receive(self, office):
        with contextlib.suppress(ConnectorError):
            self.all[office].receive()

    @rule(office=offices)
    def refresh(self, office):
        with contextlib.suppress(ConnectorError):
            self.all[office].exchange.refresh()

    @rule(
        office=offices,
        code=st.sampled_from([StatusCode.ACCEPTED, StatusCode.PROCESSING, StatusCode.COMPLETED]),
    )
    def reply(self, office, code):
        store = self.all[office].store
        for message in store.received()[-1:]:
            before = {item.id for item in store.sent(kind=PackageKind.STATUS)}
            with contextlib.suppress(ConnectorError, NotAllowedError):
                self.all[office].exchange.reply(message.id, code)
            document = next(one for one in self.sent if one.office != office and one.code == message.code)
            came = {item.payload.sha256 for item in store.received()}
            if any(version.payload.sha256 not in came for version in self.versions(document)):
                document.is_crossed = True
            for item in store.sent(kind=PackageKind.STATUS):
                if item.id not in before:
                    self.replies[item.payload.sha256] = document

    @rule(document=documents)
    def recall(self, document):
        try:
            self.all[document.office].exchange.recall(document.message_id, reason=REASON)
        except ConnectorError:
            pass
        except NotAllowedError as error:
            assert error.code in {
                "exchange.recalled-already",
                "exchange.nothing-to-recall",
                "exchange.being-sent",
            }
            return
        document.recalled = True

    @rule(document=documents)
    def update(self, document):
        content = f"%PDF-1.7 TEST {document.number} {document.versions}".encode()
        try:
            self.all[document.office].exchange.update(
                document.message_id, attachments=[Attachment("TEST.pdf", content)], reason=REASON
            )
        except ConnectorError:
            pass
        except NotAllowedError:
            return
        document.versions += 1
        self.note_crossing(document)

    def note_crossing(self, document):
        """A reply that its sender does not have yet may be put to the version that was made meanwhile."""
        store = self.all[document.office].store
        known = {item.payload.sha256 for item in store.received(kind=PackageKind.STATUS)}
        if any(about is document for sha256, about in self.replies.items() if sha256 not in known):
            document.is_crossed = True

    def versions(self, document):
        """Return what was sent under the number of a document, recalls excepted."""
        return [
            item
            for item in self.all[document.office].store.sent()
            if item.code == document.code and item.business_kind != BusinessKind.RECALL
        ]

    @rule(office=offices)
    def retry(self, office):
        store = self.all[office].store
        stuck = [
            item.id
            for kind in PackageKind
            for item in store.sent(kind=kind)
            if item.consignments[0].delivery in STUCK
        ]
        self.all[office].exchange.retry(stuck)

    @rule(office=offices)
    def die_while_sending(self, office):
        """A worker claims what is due and is never heard of again."""
        self.all[office].store.claim_due(
            connection="TEST",
            now=self.clock_of(office),
            lease=datetime.timedelta(seconds=60),
            owner=f"dead-{self.number}",
            limit=1,
        )

    # What happens to them

    @rule(seconds=st.sampled_from([1, 15, 61, 3600, 25 * 3600]))
    def time_goes_by(self, seconds):
        self.wait(seconds)

    @rule(office=offices, seconds=st.sampled_from([-24 * 3600, -600, 600, 24 * 3600]))
    def a_clock_is_set_wrong(self, office, seconds):
        """The axis goes by its own; what an office writes and keeps bears the time of its clock."""
        self.off[office] = datetime.timedelta(seconds=seconds)

    @rule()
    def clocks_are_set_right(self):
        self.off = [datetime.timedelta(), datetime.timedelta()]

    @rule(fault=st.sampled_from(sorted(FAULTS)), call=st.sampled_from(sorted(CALLS)))
    def something_will_go_wrong(self, fault, call):
        self.faults.plan(FAULTS[fault], path=CALLS[call])

    @rule(document=documents)
    def the_disk_forgets(self, document):
        """A payload is gone: the message is put aside, until it is mended and tried again."""
        office = self.all[document.office]
        message = office.store.find(document.message_id)
        if self.state_of(document) is not DeliveryState.QUEUED:
            return
        with office.store.payloads.open(message.payload.sha256) as stream:
            content = stream.read()
        office.store.payloads.remove(message.payload.sha256)
        outcomes = {item.id: error for item, error in office.exchange.deliver_due()}
        with office.store.payloads.temporary() as path:
            path.write_bytes(content)
            office.store.payloads.adopt(path)
        if message.id in outcomes:
            assert self.state_of(document) is DeliveryState.PARKED

    # What is always true

    @invariant()
    def nothing_goes_back(self):
        for key, height in self.observed().items():
            before = self.heights.get(key, ())
            assert all(new >= old for new, old in zip(height, before, strict=False)), (key, before, height)
            self.heights[key] = height

    @invariant()
    def nothing_is_there_twice(self):
        for office in self.all:
            for kind in PackageKind:
                came = [item.payload.sha256 for item in office.store.received(kind=kind)]
                assert len(came) == len(set(came))
                on_hub = [row.sender_doc_id for row in self.hub.store.sent(f"TEST.{office.code}", kind)]
                assert len(on_hub) == len(set(on_hub))

    @invariant()
    def what_was_acknowledged_is_there(self):
        for office, other in zip(self.all, reversed(self.all), strict=True):
            for kind in PackageKind:
                for row in self.hub.store.sent(f"TEST.{other.code}", kind):
                    if row.status is TransportStatus.DONE:
                        assert office.store.find_remote(row.doc_id, connection="TEST") is not None

    # The end

    def come_to_rest(self):
        """Let everything be done that is to be done, and compare with the model."""
        for _ in range(12):
            if self.is_quiet():
                break
            self.wait(61)
            for number, office in enumerate(self.all):
                self.retry(number)
                office.exchange.deliver_due()
                assert [item.error for item in office.receive() if item.error] == []
        for office in self.all:
            assert check_store(office.store, content=True).problems == ()
            for kind in PackageKind:
                for item in office.store.sent(kind=kind):
                    assert item.due_at is None, item
                    assert item.consignments[0].delivery in ENDS, item
        for document in self.sent:
            self.check(document)

    def is_quiet(self):
        """Tell whether nothing is due or put aside, nothing waits on the hub, and every end is known."""
        far = self.clock() + datetime.timedelta(days=30)
        return not any(
            office.store.due(connection="TEST", now=far)
            or office.store.unanswered_orders(connection="TEST")
            or office.store.unnoticed_orders(connection="TEST")
            or any(
                self.hub.store.waiting(f"TEST.{office.code}", kind)
                or office.store.awaits_transport(kind, connection="TEST")
                or any(item.consignments[0].delivery in STUCK for item in office.store.sent(kind=kind))
                for kind in PackageKind
            )
            for office in self.all
        )

    def check(self, document):
        sender, recipient = self.all[document.office], self.all[1 - document.office]
        message = sender.store.find(document.message_id)
        came = [item for item in recipient.store.received() if item.payload.sha256 == message.payload.sha256]
        if self.state_of(document) is DeliveryState.REFUSED:
            assert came == []
            return
        if self.state_of(document) is DeliveryState.RECALLED:
            # Taken back before it left; if an attempt got through all the same, it was cancelled there.
            assert document.recalled
            assert [item.delivery for item in came] in ([], [DeliveryState.CANCELLED])
            return
        [received] = came
        assert received.delivery is (DeliveryState.CANCELLED if document.recalled else DeliveryState.ACCEPTED)
        business = message.consignments[0].business
        if document.is_crossed:
            told = [item.consignments[0].business.progress for item in self.versions(document)]
            done = [
                item.business.progress for item in recipient.store.received() if item.code == message.code
            ]
            assert max(told, key=PROGRESS.index) == max(done, key=PROGRESS.index)
        else:
            assert business.progress == received.business.progress
        assert business.progress is not None
        if document.recalled:
            assert business.change == "15"
        paths = [
            recipient.inbox / f"{received.id}.edxml",
            recipient.inbox / "cancelled" / f"{received.id}.edxml",
        ]
        there = [path for path in paths if path.exists()]
        if not document.recalled:
            assert there == paths[:1]
            assert there[0].read_bytes() == document.path.read_bytes()
        else:
            assert paths[0] not in there

    def state_of(self, document):
        return self.all[document.office].store.find(document.message_id).consignments[0].delivery

    def observed(self):
        """Return how far everything is."""
        found = {}
        for office in self.all:
            for kind in PackageKind:
                for item in office.store.sent(kind=kind):
                    one = item.consignments[0]
                    found[item.id] = (
                        HEIGHT.get(one.delivery, 0),
                        TRANSPORT.index(one.transport),
                        PROGRESS.index(one.business.progress),
                    )
                for item in office.store.received(kind=kind):
                    found[item.id] = (
                        HEIGHT[item.delivery],
                        TRANSPORT.index(item.transport),
                        PROGRESS.index(item.business.progress),
                    )
        return found


class PostgreSQLMachine(ExchangeMachine):
    """The same on PostgreSQL."""

    def new_store_url(self):
        url = SERVERS[-1].create_migrated("agency")
        self.stack.callback(SERVERS[-1].drop, url)
        return url


def told(machine, examples):
    """Return the test case of a machine."""
    case = machine.TestCase
    case.settings = settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize="VNEDOC_MACHINE_EXAMPLES" not in os.environ,
    )
    return case


TestExchangeMachine = told(ExchangeMachine, EXAMPLES)
TestExchangeMachineOnPostgreSQL = pytest.mark.usefixtures("server")(told(PostgreSQLMachine, FEWER))
