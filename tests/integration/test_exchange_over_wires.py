"""A document and its answers over each kind of connector: the service needs no more than what every wire has."""

import pytest

from vnedoc.errors import ConnectorError
from vnedoc.exchange.codes import StatusCode
from vnedoc.exchange.service import Exchange
from vnedoc.exchange.states import DeliveryState
from vnedoc.exchange.stores.store import AgencyStore
from vnedoc.testing.axes import AXIS_KINDS, running_axis
from vnedoc.testing.faults import Answered, LostAnswer
from vnedoc.testing.packages import make_organization, make_package


@pytest.fixture(params=AXIS_KINDS)
def axis(request):
    with running_axis(request.param) as axis:
        yield axis


@pytest.fixture
def offices(axis, tmp_path):
    opened = []
    for role, code in (("sender", axis.sender_code), ("recipient", axis.recipient_code)):
        store = AgencyStore.open(f"sqlite:///{tmp_path / role}.sqlite3", tmp_path / f"{role}-payloads")
        connector = axis.open(role)
        opened.append((store, connector, Exchange(connector, store, organization=make_organization(code))))
    yield [exchange for _store, _connector, exchange in opened]
    for store, connector, _exchange in opened:
        connector.close()
        store.close()


@pytest.fixture
def package(axis, tmp_path):
    make_package(tmp_path / "TEST.edxml", sender=axis.sender_code, recipients=[axis.recipient_code])
    return tmp_path / "TEST.edxml"


def states(exchange, message):
    return {item.delivery for item in exchange.status(message.id).consignments}


def test_a_document_and_its_answers(offices, package, tmp_path):
    sender, recipient = offices
    sent = sender.send(package)
    [received] = recipient.receive(tmp_path / "in")
    assert received.error is None
    assert received.message.delivery is DeliveryState.ACCEPTED
    assert received.message.document_id == sent.document_id
    # Once, however often it is asked.
    assert recipient.receive(tmp_path / "in") == []
    recipient.reply(received.message.id, StatusCode.ACCEPTED)
    outcomes = sender.receive(tmp_path / "out")
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert all(outcome.matched for outcome in outcomes)
    # Where the axis does not tell, the answers of the recipient do.
    assert states(sender, sent) == {DeliveryState.DELIVERED}


@pytest.mark.parametrize("axis", [kind for kind in AXIS_KINDS if kind != "folder"], indirect=True)
def test_a_lost_answer_and_a_busy_axis(axis, offices, package, tmp_path):
    sender, recipient = offices
    sender.refresh()
    with axis.open("sender") as connector:
        connector.agencies()
    message = sender.queue(package)
    before = len(axis.faults.requests)
    axis.faults.plan(Answered(503, headers={"Retry-After": "1"}), times=1)
    with pytest.raises(ConnectorError):
        sender.deliver(message.id)
    assert len(axis.faults.requests) > before
    # The token, where there is one, is fetched by now or not; the package is lost on the way in any case.
    for _ in range(2):
        axis.faults.plan(LostAnswer(), method="POST")
        with pytest.raises(ConnectorError):
            sender.deliver(message.id)
    axis.faults.clear()
    sender.deliver(message.id)
    [received] = recipient.receive(tmp_path / "in")
    assert received.error is None
    assert not received.repeated
