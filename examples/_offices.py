"""Two agencies with their stores, and a hub between them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from vnedoc.exchange.connectors.vxp import VXPConnector
from vnedoc.exchange.headers import Organization
from vnedoc.exchange.service import Exchange
from vnedoc.exchange.stores.store import AgencyStore
from vnedoc.testing.hub import running_hub

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _desk import Desk

SENDER = Organization("H99", "ỦY BAN NHÂN DÂN TỈNH TEST")
RECEIVER = Organization("H99.15", "ỦY BAN NHÂN DÂN XÃ TEST")


@contextlib.contextmanager
def open_offices(desk: Desk) -> Iterator[tuple[Exchange, Exchange]]:
    """Open the sender's and the receiver's exchange."""
    with contextlib.ExitStack() as stack:
        hub = stack.enter_context(running_hub())
        offices = []
        for organization in (SENDER, RECEIVER):
            secret = hub.add_system(f"SYS.{organization.organ_id}", organization.organ_id)
            folder = desk.folder / organization.organ_id
            folder.mkdir()
            store = AgencyStore.open(f"sqlite:///{folder / 'vnedoc.sqlite3'}", folder / "payloads")
            stack.callback(store.close)
            connector = VXPConnector(
                hub.url, f"SYS.{organization.organ_id}", secret=lambda _, value=secret: value
            )
            stack.callback(connector.close)
            offices.append(Exchange(connector, store, organization=organization))
        yield offices[0], offices[1]
