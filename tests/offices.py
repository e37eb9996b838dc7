"""Agencies for tests of the exchange: each with its store, its connection to a hub, and its folder."""

import contextlib
import functools
import shutil
import tempfile
from pathlib import Path

import pytest

from vnedoc._internal.clock import utc_now
from vnedoc.errors import ConnectorError
from vnedoc.exchange.connectors.vxp import VXPConnector
from vnedoc.exchange.service import Exchange, ExchangeOptions
from vnedoc.exchange.stores.database import Database
from vnedoc.exchange.stores.store import AgencyStore
from vnedoc.testing.packages import make_organization

PROVINCE, DEPARTMENT, COMMUNE = "H99", "H99.1", "H99.2"


class Office:
    """An agency with its store, its connection and its folder."""

    def __init__(self, stack, hub, code, folder, *, secret=None, url=None, store_url=None):
        self.code, self.folder = code, folder / code
        self.inbox = self.folder / "received"
        self.folder.mkdir()
        if store_url is None:
            store_url = f"sqlite:///{self.folder}/store.sqlite3"
            (self.folder / "store.sqlite3").write_bytes(_empty_store())
        secret = secret or hub.add_system(f"TEST.{code}", code)
        self.store_url = store_url
        self.store = AgencyStore.open(store_url, self.folder / "payloads")
        stack.callback(self.store.close)
        self.connector = stack.enter_context(
            VXPConnector(url or hub.url, f"TEST.{code}", secret=lambda _: secret, name="TEST")
        )
        self.secret = secret
        self.exchange = self.with_options(ExchangeOptions())

    def with_options(self, options=None, **more):
        return Exchange(
            self.connector,
            self.store,
            organization=make_organization(self.code),
            options=options or ExchangeOptions(),
            **{"clock": utc_now, **more},
        )

    def receive(self, **options):
        return self.exchange.receive(self.inbox, **options)

    @contextlib.contextmanager
    def cut_off(self, *, answers_only=False):
        """Keep what is sent from the axis for a while; or only its answers from us: then it has what was sent."""
        send = self.connector.send

        def fail(*args, **options):
            if answers_only:
                send(*args, **options)
                raise ConnectorError("remote.timeout", url="TEST")
            raise ConnectorError("remote.unreachable", url="TEST", reason="TEST")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.connector, "send", fail)
            yield

    def states(self, message_id):
        return {
            item.recipient.code: (item.delivery, item.transport, item.business)
            for item in self.exchange.status(message_id).consignments
        }

    def business(self, message_id):
        return {code: state[2] for code, state in self.states(message_id).items()}


@functools.cache
def _empty_store():
    """The bytes of a store without messages; copying them is quicker than making the tables each time."""
    folder = Path(tempfile.mkdtemp(prefix="vnedoc-TEST-"))
    try:
        database = Database(f"sqlite:///{folder}/store.sqlite3", branch="agency")
        database.close()
        return (folder / "store.sqlite3").read_bytes()
    finally:
        shutil.rmtree(folder)
