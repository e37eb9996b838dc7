"""Rows about clocks that are wrong."""

from __future__ import annotations

import contextlib
import datetime
from typing import TYPE_CHECKING

from tests.crashes.jobs import judge
from tests.crashes.looking import expect, expect_whole, office_by
from vnedoc.errors import ConnectorError, RefusedError
from vnedoc.exchange.states import DeliveryState

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.crashes.places import Place

__all__ = ["clock_off"]

DAY = datetime.timedelta(days=1)


def clock_off(days: int) -> Callable[[Place], str]:
    def row(place: Place) -> str:
        """The clocks of both offices are a day off, then they are set right."""
        off = DAY * days
        with place.world() as world:
            path = world.package()
            with office_by(world.a, world.hub.url, off=off, wrong_axis_clock=True) as exchange:
                # The hub lets nobody in whose clock is off; that is no fault of the message.
                message = exchange.queue(path)
                with contextlib.suppress(ConnectorError, RefusedError):
                    exchange.deliver(message.id)
                expect(world.a, message.id, DeliveryState.WAITING)
            # The clock is right again: nothing was put off or given up by the wrong one.
            for _, error in world.a.exchange.deliver_due():
                assert error is None
            expect(world.a, message.id, DeliveryState.SENT)
            with office_by(world.b, world.hub.url, off=off) as exchange:
                assert [item.error for item in exchange.receive(world.b.inbox, verify=judge)] == [None]
            world.outlast_leases()
            world.settle()
            expect_whole(world)
            return "sent at once when the clock is right again; once"

    return row
