"""Rows about networks: answers that are lost, connections that are cut."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.crashes.cutting import PIECE_BYTES, cutting_proxy
from tests.crashes.jobs import judge
from tests.crashes.looking import expect, expect_whole, office_by, receive
from vnedoc.errors import ConnectorError
from vnedoc.exchange import _vxp
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.states import DeliveryState
from vnedoc.testing.faults import LostAnswer

if TYPE_CHECKING:
    from tests.crashes.places import Place

__all__ = ["cut_fetching", "cut_sending", "lost_answers"]

LARGE_BYTES = 1_000_000


def lost_answers(place: Place) -> str:
    """The hub did it, and nobody heard: for every call that changes something."""
    with place.world() as world:
        message = world.a.exchange.queue(world.package())
        place.faults.plan(LostAnswer(), path=_vxp.SEND_PATH)
        with contextlib.suppress(ConnectorError):
            world.a.exchange.deliver(message.id)
        expect(world.a, message.id, DeliveryState.WAITING)
        world.a.exchange.deliver(message.id)
        place.faults.plan(LostAnswer(), path=_vxp.STATUS_PATH)
        [taken] = [item for item in receive(world.b) if item.kind is PackageKind.DOCUMENT]
        assert isinstance(taken.error, ConnectorError)
        world.outlast_leases()
        world.settle()
        expect_whole(world)
        attempts = [item.outcome for item in world.a.store.find(message.id).attempts]
        assert attempts == ["trouble", "sent"]
        return "sent again, recognised; acknowledged again; once"


def cut_sending(place: Place) -> str:
    """The connection breaks after every 64 KB of a package of 1 MB that is sent."""
    with place.world() as world:
        path = world.package(size=LARGE_BYTES * 3 // 4)
        size = path.stat().st_size
        with cutting_proxy(world.hub.url) as proxy, office_by(world.a, proxy.url) as exchange:
            message = exchange.queue(path)
            cuts = range(0, size, PIECE_BYTES)
            for limit in cuts:
                proxy.cut(up=limit)
                with contextlib.suppress(ConnectorError):
                    exchange.deliver(message.id)
                expect(world.a, message.id, DeliveryState.WAITING)
        assert world.hub.store.sent(f"TEST.{world.a.code}", PackageKind.DOCUMENT) == []
        world.a.exchange.deliver(message.id)
        world.outlast_leases()
        world.settle()
        expect_whole(world)
        return f"{len(cuts)} cuts, {len(cuts)} retries; once"


def cut_fetching(place: Place) -> str:
    """The connection breaks after every 64 KB of a package of 1 MB that is fetched."""
    with place.world() as world:
        path = world.package(size=LARGE_BYTES * 3 // 4)
        world.a.exchange.send(path)
        with cutting_proxy(world.hub.url) as proxy, office_by(world.b, proxy.url) as exchange:
            cuts = range(PIECE_BYTES, path.stat().st_size, PIECE_BYTES)
            for limit in cuts:
                proxy.cut(down=limit)
                with contextlib.suppress(ConnectorError):
                    outcomes = exchange.receive(world.b.inbox, verify=judge)
                    assert all(item.error is not None for item in outcomes)
                assert world.b.store.received() == []
                assert world.problems_now() == []
        world.outlast_leases()
        world.settle()
        expect_whole(world)
        return f"{len(cuts)} cuts, nothing half kept; once"
