"""What a hub's store promises when many work with it at once, on SQLite and on PostgreSQL."""

import collections
import datetime
import threading

import pytest
import sqlalchemy as sa

from tests.hubs import KEY, NOW, open_store, package
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores import _hub_admission
from vnedoc.exchange.stores.hub import ConflictError, HubAgency, Request
from vnedoc.exchange.stores.models import SeenRequestRow
from vnedoc.exchange.stores.payloads import StoredPayload

LATER = NOW + datetime.timedelta(minutes=15)


@pytest.fixture
def stores(hub_url, tmp_path):
    """The same hub in two processes, as far as the database can tell."""
    opened = [open_store(hub_url, tmp_path, KEY) for _ in range(2)]
    for system, code in (("TEST.A", "H99"), ("TEST.B", "H98")):
        opened[0].add_system(system, name=system, secret="TEST-SECRET-OF-A-SYSTEM" * 3, at=NOW)
        agencies = [HubAgency(code, "UBND TEST"), HubAgency(f"{code}.1", "SỞ TEST")]
        opened[0].register_agencies(system, agencies)
    yield opened
    for store in opened:
        store.close()


def together(works):
    barrier = threading.Barrier(len(works))
    outcomes = []

    def run(work):
        barrier.wait()
        try:
            outcomes.append(work())
        except Exception as error:  # noqa: BLE001 - told to the test
            outcomes.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


def take(store, number, *, content="0"):
    return store.take(
        package(number, "H98", "H98.1"),
        StoredPayload(content * 64, 10),
        system_id="TEST.A",
        at=NOW,
        receipt=lambda message_id: f"receipt {message_id}",
    )


def test_one_package_from_many_at_once_is_taken_once_with_one_receipt(stores):
    outcomes = together([lambda store=store: take(store, 1) for store in stores * 4])
    assert len(set(outcomes)) == 1
    assert len(stores[0].waiting("TEST.B", PackageKind.DOCUMENT)) == 2


def test_two_packages_of_one_identity_at_once(stores):
    outcomes = together(
        [
            lambda store=store, mark=mark: take(store, 1, content=mark)
            for store, mark in zip(stores, "ab", strict=True)
        ]
    )
    kinds = collections.Counter(type(outcome) for outcome in outcomes)
    assert kinds == {str: 1, ConflictError: 1}


def test_many_packages_at_once(stores):
    outcomes = together(
        [lambda store=store, number=number: take(store, number) for number, store in enumerate(stores * 8)]
    )
    assert len(set(outcomes)) == 16
    assert len(stores[0].waiting("TEST.B", PackageKind.DOCUMENT)) == 32


def test_a_status_moves_forward_whoever_comes_first(stores):
    take(stores[0], 1)
    delivery = stores[0].waiting("TEST.B", PackageKind.DOCUMENT)[0]
    together(
        [
            lambda store=store, status=status: store.set_status("TEST.B", delivery.doc_id, status, at=NOW)
            for store in stores
            for status in (TransportStatus.PROCESSING, TransportStatus.DONE)
        ]
    )
    assert stores[0].delivery("TEST.B", delivery.doc_id).status is TransportStatus.DONE


def test_a_request_is_let_in_once(stores):
    outcomes = together(
        [lambda store=store: store.admit(Request("TEST", LATER), now=NOW) for store in stores * 4]
    )
    assert sorted(outcomes) == [False] * 7 + [True]
    assert stores[0].admit(Request("OTHER", LATER), now=NOW)


def test_a_request_is_forgotten_after_its_time(stores):
    assert stores[0].admit(Request("TEST", LATER), now=NOW)
    after = LATER + datetime.timedelta(seconds=1)
    assert not stores[1].admit(Request("TEST", LATER), now=LATER)
    assert stores[1].admit(Request("TEST", after + datetime.timedelta(minutes=1)), now=after)
    assert not stores[0].admit(Request("TEST", after), now=after)


def test_what_is_forgotten_is_removed_now_and_then(stores, monkeypatch):
    monkeypatch.setattr(_hub_admission, "_EVERY", 3)
    for number in range(4):
        stores[0].admit(Request(f"old-{number}", NOW), now=NOW)
    after = LATER + datetime.timedelta(hours=1)
    for number in range(3):
        stores[0].admit(Request(f"new-{number}", after), now=LATER)
    with stores[0].database.reading() as session:
        kept = set(session.scalars(sa.select(SeenRequestRow.hash_header)))
    assert kept <= {"new-0", "new-1", "new-2"}


@pytest.mark.parametrize("strange", ["\x00", "\ud800", "x" * 5000, ""])
def test_what_strangers_ask_for_is_not_there(stores, strange):
    assert stores[0].delivery("TEST.B", strange) is None
    assert not stores[0].is_registered("TEST.A", strange)
    assert stores[0].admit(Request(strange[:64], LATER), now=NOW)
