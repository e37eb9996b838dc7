"""What the rows about troubles share: an office by another way, and what must be found."""

from __future__ import annotations

import contextlib
import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.crashes.jobs import CONNECTION, judge
from vnedoc._internal.clock import utc_now
from vnedoc.errors import VnedocError
from vnedoc.exchange.connectors.vxp import VXPConnector, VXPOptions
from vnedoc.exchange.service import Exchange
from vnedoc.testing.packages import make_organization

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.crashes.world import Office, World
    from vnedoc.exchange.states import DeliveryState

__all__ = ["error_of", "expect", "expect_whole", "office_by", "receive"]


def receive(office: Office) -> list[Any]:
    return office.exchange.receive(office.inbox, verify=judge)


def expect(office: Office, message_id: str, state: DeliveryState) -> None:
    found = {item.delivery for item in office.store.find(message_id).consignments}
    assert found == {state}, found


def expect_whole(world: World) -> None:
    problems = world.problems()
    assert problems == [], problems


def error_of(call: Callable[[], object]) -> VnedocError:
    try:
        call()
    except VnedocError as error:
        return error
    raise AssertionError("it went well")


@contextlib.contextmanager
def office_by(
    office: Office,
    url: str,
    *,
    off: datetime.timedelta = datetime.timedelta(),
    wrong_axis_clock: bool = False,
) -> Iterator[Exchange]:
    """Open an office by another way, with another clock."""

    def clock() -> datetime.datetime:
        return utc_now() + off

    with VXPConnector(
        url,
        f"TEST.{office.code}",
        secret=lambda _: office.account.secret,
        name=CONNECTION,
        options=VXPOptions(ca_file=Path(office.account.ca_file)),
        clock=clock if wrong_axis_clock else utc_now,
    ) as connector:
        yield Exchange(connector, office.store, organization=make_organization(office.code), clock=clock)
