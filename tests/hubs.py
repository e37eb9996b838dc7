"""A hub's store with TEST systems, agencies and packages in it."""

from __future__ import annotations

import hashlib

from tests.clocks import NOW
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.hub.sealing import HubKey
from vnedoc.exchange.stores.database import Database
from vnedoc.exchange.stores.hub import HubAgency, HubPackage, HubStore
from vnedoc.exchange.stores.hub_audit import HubAudit
from vnedoc.exchange.stores.payloads import FolderPayloads, StoredPayload

KEY = HubKey(bytes(range(32)))


def open_store(url: str, folder, key: HubKey | None = KEY) -> HubStore:
    return HubStore(Database(url, branch="hub"), FolderPayloads(folder / "payloads"), key=key)


def fill(administration: Administration) -> None:
    """Two systems with two agencies each."""
    administration.add_system("TEST.A", name="Hệ thống TEST A")
    administration.add_system("TEST.B")
    administration.register_agencies("TEST.A", [HubAgency("H99", "UBND TEST"), HubAgency("H99.1", "SỞ TEST")])
    administration.register_agencies(
        "TEST.B", [HubAgency("H98", "UBND TEST 98", old_code="000.00.00.H98"), HubAgency("H98.1", "XÃ TEST")]
    )


def package(number: int, *recipients: str, sender: str = "H99", kind: PackageKind = PackageKind.DOCUMENT):
    return HubPackage(
        kind=kind,
        identity=hashlib.sha256(f"{sender}-{number}-{kind}".encode()).hexdigest(),
        sender_code=sender,
        recipient_codes=recipients,
        document_id=f"TEST-{number}",
        title=f"Công văn TEST số {number}",
        notation=f"{number}/TEST",
    )


def take(store: HubStore, number: int, *recipients: str, at=NOW, system="TEST.A", **changes) -> str:
    """Let the hub take a package over; return its id for the sender."""
    payload = StoredPayload(hashlib.sha256(str(number).encode()).hexdigest(), 1000 + number)
    made = package(number, *recipients, **changes)
    return store.take(made, payload, system_id=system, at=at, receipt=str)


def audit_problems(store: HubStore) -> list[str]:
    """Return what is wrong with the chain of the audit log, by the hub's own check, whoever was killed before."""
    check = HubAudit(store.database).check()
    problems = [f"the hub: the audit log is broken at {number}" for number in check.wrong]
    if check.is_cut:
        problems.append(f"the hub: the audit log does not end at {check.head}")
    return problems
