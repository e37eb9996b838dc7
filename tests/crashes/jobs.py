"""What a process of an office does: queue, order, answer, work; each as an administrator or a clerk would."""

from __future__ import annotations

import contextlib
import datetime
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.crashes.traps import Trap, set_trap
from vnedoc._internal.clock import utc_now
from vnedoc.errors import ConnectorError, NotAllowedError
from vnedoc.exchange.codes import StatusCode
from vnedoc.exchange.connectors.lgsp import LGSPConnector, LGSPOptions
from vnedoc.exchange.connectors.vxp import VXPConnector, VXPOptions
from vnedoc.exchange.judgement import PackageJudgement
from vnedoc.exchange.models import Attachment
from vnedoc.exchange.service import Exchange
from vnedoc.exchange.stores.store import AgencyStore
from vnedoc.exchange.worker import Worker
from vnedoc.testing.packages import make_organization

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vnedoc.exchange.connectors.base import Connector

__all__ = ["CONNECTION", "NEW_FILES", "REASON", "Account", "Job", "judge", "open_exchange", "run_job"]

CONNECTION = "TEST"
REASON = "TEST ban hành nhầm"
NEW_FILES = (Attachment("TEST-moi.pdf", b"%PDF-1.7 TEST moi\n%%EOF\n"),)
# An order that is given again says that it was given: to the clerk that is as good as done.
DONE = {"exchange.recalled-already", "exchange.nothing-to-recall", "exchange.backwards"}


@dataclass(frozen=True)
class Account:
    """An office as a process finds it."""

    code: str
    """Its code; its system is called after it."""
    secret: str
    """The secret of its system."""
    url: str
    """The address of the hub."""
    store_url: str
    """Its database."""
    folder: str
    """Where its packages are, and what it received."""
    ca_file: str
    """One authority. The hub speaks plain HTTP, and reading those of this computer takes longer than all the rest."""
    wire: str = "vxp"
    """How it speaks to the hub: ``vxp`` or ``lgsp``."""

    @property
    def inbox(self) -> Path:
        return Path(self.folder) / "received"


@dataclass(frozen=True)
class Job:
    """What a process does, and where it dies."""

    account: Account
    """For which office."""
    actions: tuple[tuple[str, ...], ...]
    """``queue FILE``, ``recall ID``, ``update ID``, ``reply ID CODE``, ``work``."""
    trap: Trap | None = None
    """Where it dies; ``None`` lets it live."""
    ahead_s: float = 0.0
    """How far its clock is ahead."""
    url: str | None = None
    """Another address of the hub."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Job:
        trap = document["trap"]
        return cls(
            account=Account(**document["account"]),
            actions=tuple(tuple(action) for action in document["actions"]),
            trap=None if trap is None else Trap(**trap),
            ahead_s=document["ahead_s"],
            url=document["url"],
        )


def judge(_package: object) -> PackageJudgement:
    """Accept what can be read; a name of its own, so that a process can die while it judges."""
    return PackageJudgement(accepted=True)


@contextlib.contextmanager
def open_exchange(
    account: Account,
    *,
    clock: Callable[[], datetime.datetime] = utc_now,
    url: str | None = None,
    store: AgencyStore | None = None,
) -> Iterator[tuple[Exchange, AgencyStore]]:
    """Open an office: its store, if it is not open, its connection, its service with a clock of its own."""
    with contextlib.ExitStack() as stack:
        if store is None:
            store = AgencyStore.open(account.store_url, Path(account.folder) / "payloads")
            stack.callback(store.close)
        connector = stack.enter_context(_connector(account, url or account.url))
        yield (
            Exchange(
                connector,
                store,
                organization=make_organization(account.code),
                clock=clock,
            ),
            store,
        )


def _connector(account: Account, url: str) -> Connector:
    system_id, ca_file = f"TEST.{account.code}", Path(account.ca_file)
    if account.wire == "lgsp":
        return LGSPConnector(
            url,
            system_id,
            secret=lambda _: account.secret,
            password=lambda _: account.secret,
            name=CONNECTION,
            options=LGSPOptions(ca_file=ca_file),
        )
    assert account.wire == "vxp"
    return VXPConnector(
        url,
        system_id,
        secret=lambda _: account.secret,
        name=CONNECTION,
        options=VXPOptions(ca_file=ca_file),
    )


def run_job(job: Job) -> list[str]:
    """Do the work; return what people were told of it: the codes of errors that are answers."""
    if job.trap is not None:
        set_trap(job.trap)
    said: list[str] = []
    ahead = datetime.timedelta(seconds=job.ahead_s)
    with open_exchange(job.account, clock=lambda: utc_now() + ahead, url=job.url) as (exchange, _store):
        for name, *arguments in job.actions:
            try:
                _act(exchange, job.account, name, arguments)
            except NotAllowedError as error:
                if error.code not in DONE:
                    raise
                said.append(error.code)
            except ConnectorError as error:
                # It is queued: the clerk sees that, and the worker goes on.
                said.append(error.code)
    return said


def _act(exchange: Exchange, account: Account, name: str, arguments: list[str]) -> None:
    if name == "queue":
        exchange.queue(Path(arguments[0]))
    elif name == "recall":
        exchange.recall(arguments[0], reason=REASON)
    elif name == "update":
        exchange.update(arguments[0], attachments=NEW_FILES, reason=REASON)
    elif name == "reply":
        exchange.reply(arguments[0], StatusCode(arguments[1]))
    else:
        assert name == "work"
        # By the name in this module, so that a trap is met.
        worker = Worker(exchange, folder=account.inbox, open_judge=_opened)
        done = worker.run_once()
        if done.error is not None:
            raise done.error
        for item in done.received:
            if item.error is not None:
                raise item.error


def _opened() -> contextlib.AbstractContextManager[Any]:
    return contextlib.nullcontext(globals()["judge"])


def describe_exit(status: int) -> str:
    """Return how a process ended, in words."""
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return f"exit {os.WEXITSTATUS(status)}"
