"""Rows about many at once: workers on one store, a poison message among good ones."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any

from tests.crashes.jobs import Job, judge
from tests.crashes.looking import expect, expect_whole
from tests.crashes.traps import RECEIVE, Trap
from vnedoc.exchange.states import DeliveryState

if TYPE_CHECKING:
    from tests.crashes.places import Place

__all__ = ["poison", "two_workers"]


def two_workers(place: Place) -> str:
    """Two workers on one store; one is killed in the middle, then two more finish."""
    with place.world() as world:
        messages = [world.a.exchange.queue(world.package(number, size=1000)).id for number in range(1, 13)]
        account = world.a.account
        dies = Trap(RECEIVE, "before", 3, "vnedoc.exchange.connectors.base:Connector.send")
        killed, other = place.zygote.run(Job(account, (("work",),), dies), Job(account, (("work",),)))
        assert other.how == "exit 0", other.said
        assert killed.was_killed or killed.how == "exit 0", killed.said
        assert world.problems_now() == []
        ended = place.zygote.run(
            Job(account, (("work",),), ahead_s=61), Job(account, (("work",),), ahead_s=61)
        )
        assert [item.how for item in ended] == ["exit 0", "exit 0"], ended
        world.outlast_leases()
        world.settle()
        expect_whole(world)
        attempts = collections.Counter(len(world.a.store.find(item).attempts) for item in messages)
        assert set(attempts) <= {1, 2}
        assert attempts[2] <= 1
        return f"{len(messages)} messages, each once"


def poison(place: Place) -> str:
    """One package that breaks whoever looks at it, among good ones; on both sides."""
    with place.world() as world:
        numbers = range(1, 6)
        messages = [world.a.exchange.queue(world.package(number, size=1000)) for number in numbers]
        poison = messages[2]
        # The sender: its payload is gone.
        payloads = world.a.store.payloads
        with payloads.open(poison.payload.sha256) as stream:
            content = stream.read()
        payloads.remove(poison.payload.sha256)
        outcomes = world.a.exchange.deliver_due()
        assert [error is None for _, error in outcomes].count(False) == 1
        expect(world.a, poison.id, DeliveryState.PARKED)
        for good in messages:
            if good is not poison:
                expect(world.a, good.id, DeliveryState.SENT)
        with payloads.temporary() as path:
            path.write_bytes(content)
            payloads.adopt(path)
        world.a.exchange.retry()
        assert [error for _, error in world.a.exchange.deliver_due()] == [None]

        # The receiver: the judge meets what nobody thought of.
        def breaks(package: Any) -> Any:
            if package.header.document_id == poison.document_id:
                raise ZeroDivisionError("TEST")
            return judge(package)

        taken = world.b.exchange.receive(world.b.inbox, verify=breaks)
        assert [item.error is None for item in taken].count(False) == 1
        assert len(world.b.store.received()) == len(messages) - 1
        assert world.problems_now() == []
        world.outlast_leases()
        world.settle()
        expect_whole(world)
        return "parked, and left on the hub; the others go through; then once"
