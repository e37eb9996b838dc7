"""Rows about packages that overtake others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.crashes.jobs import REASON, Job
from tests.crashes.looking import expect, expect_whole, receive
from tests.crashes.traps import Trap
from vnedoc.exchange.codes import PackageKind, StatusCode
from vnedoc.exchange.service import RecallForm
from vnedoc.exchange.states import BusinessState, DeliveryState

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.crashes.places import Place
    from tests.crashes.world import World

__all__ = ["recall_first", "status_first", "take_back_first"]


def status_first(place: Place) -> str:
    """The answer of B comes before A knows that the hub has its document."""
    with place.world() as world:
        path = world.package()
        died = Trap("vnedoc.exchange.connectors.base:Connector.send", "after")
        [killed] = place.zygote.run(Job(world.a.account, (("queue", str(path)), ("work",)), died))
        assert killed.was_killed, killed.said
        world.b.work()
        # A receives, and its own attempt is still open: nobody took it up yet.
        receive(world.a)
        message = world.sent_by_a()
        assert message.consignments[0].business == BusinessState("01")
        expect(world.a, message.id, DeliveryState.DELIVERED)
        world.outlast_leases()
        world.settle()
        expect_whole(world)
        return "delivered 01 while it was being sent; never back; once"


def recall_first(place: Place) -> str:
    """A recall reaches B before its document."""
    return _overtaken(place, lambda world, message: world.a.exchange.recall(message, reason=REASON))


def take_back_first(place: Place) -> str:
    """A request to give back (13) reaches B before its document."""
    return _overtaken(
        place,
        lambda world, message: world.a.exchange.recall(message, reason=REASON, form=RecallForm.REQUEST),
        cancels=False,
    )


def _overtaken(place: Place, order: Callable[[World, str], Any], *, cancels: bool = True) -> str:
    with place.world() as world:
        world.overtaken = True
        message = world.a.exchange.send(world.package())
        order(world, message.id)
        connector = world.b.exchange._desk.connector
        listed = connector.list_received
        first = next(row.doc_id for row in listed(PackageKind.DOCUMENT))
        # The hub lists the document later.
        connector.list_received = lambda kind: [row for row in listed(kind) if row.doc_id != first]
        [taken] = [item for item in receive(world.b) if not item.matched]
        assert taken.error is None
        assert world.problems_now() == []
        connector.list_received = listed
        world.b.work()
        document = next(item for item in world.b.store.received() if item.document_id and item.code)
        assert world.problems_now() == []
        if not cancels:
            # Only asked: a person decides, and says no.
            assert document.delivery is DeliveryState.ACCEPTED
            world.b.exchange.reply(document.id, StatusCode.CHANGE_REFUSED, reason="TEST")
        world.outlast_leases()
        world.settle()
        expect_whole(world)
        found = [item for item in world.b.store.received() if item.business_kind != 1]
        assert [item.delivery for item in found] == [
            DeliveryState.CANCELLED if cancels else DeliveryState.ACCEPTED
        ]
        sent = world.a.store.find(message.id)
        assert sent.consignments[0].business == BusinessState("01", "15" if cancels else "16")
        return "waits for its document, then " + ("cancels it; once" if cancels else "asks; once")
