"""The console of a hub with 200,000 messages and 125,000 agencies: how long its pages take.

The application is asked as a browser asks it, by somebody who is logged in; each page first in a process that has
just begun, and then again.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import json
import random
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from starlette.testclient import TestClient

from tests.benchmarks.harness import print_table
from tests.database_fixtures import PostgreSQL
from vnedoc._internal.clock import utc_now, vietnam
from vnedoc.exchange.hub.accounts import Accounts, Role
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.hub.app import make_app
from vnedoc.exchange.hub.console.options import ConsoleOptions
from vnedoc.exchange.hub.options import HubOptions
from vnedoc.exchange.stores._search import document_key, folded
from vnedoc.exchange.stores.hub import HubAgency, HubStore
from vnedoc.exchange.stores.hub_flow_models import HubEventRow
from vnedoc.exchange.stores.models import HubDeliveryRow, HubMessageRow

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGES = 200_000
PROVINCES = 25
DEPARTMENTS = 5_000
DAYS = 180
ROUNDS = 7
_ROWS = 2_000
_PASSWORD = "correct horse TEST"
_TOPICS = (
    "Công văn TEST về việc triển khai nhiệm vụ năm 2027",
    "Quyết định TEST ban hành Quy chế làm việc",
    "Báo cáo TEST tình hình thực hiện kế hoạch quý IV",
    "Giấy mời họp TEST giao ban công tác chuyển đổi số",
    "Thông báo TEST kết luận cuộc họp về việc sắp xếp tổ chức bộ máy",
)


def run(folder: Path) -> None:
    """Measure on SQLite and on PostgreSQL, and print the table."""
    with closing(HubStore.open(folder / "hub")) as store:
        _show("SQLite", measure(store, fill(store)))
    with tempfile.TemporaryDirectory(prefix="vnedoc-pg-") as place:
        data = Path(place) / "data"
        data.mkdir(mode=0o700)
        server = PostgreSQL(data)
        try:
            with closing(HubStore.open(folder / "hub-postgresql", url=server.create())) as store:
                _show("PostgreSQL", measure(store, fill(store)))
        finally:
            server.stop()


def _show(name: str, taken: dict[str, tuple[float, float]]) -> None:
    rows = [
        (page, f"{later * 1000:.0f} ms", f"first {first * 1000:.0f} ms", "", "")
        for page, (first, later) in taken.items()
    ]
    print_table(f"pages of the console, {MESSAGES:,} messages, {name}", rows)


def measure(store: HubStore, message_id: str) -> dict[str, tuple[float, float]]:
    """Return how long each page took: the first time, and the median of further ones, in seconds."""
    Accounts(store).add_user("chief", _PASSWORD, Role.ADMIN)
    today = vietnam(utc_now()).date()
    week, early = (
        f"first={today - datetime.timedelta(days=ago)}&last={today - datetime.timedelta(days=ago - 7)}"
        for ago in (7, 170)
    )
    pages = {
        "overview, with traffic today": "/",
        "messages": "/messages",
        "messages, searched by a number": "/messages?text=199998/",
        "messages, words that many have": "/messages?text=cong+van",
        "messages, words that none has": "/messages?text=khong+co+trong+do",
        "messages from an agency": "/messages?sender=H01.33",
        "messages to an agency": "/messages?recipient=H02.44",
        "messages to an agency with none": "/messages?recipient=H25.4999",
        "messages of a week and a kind": f"/messages?kind=status&{week}",
        "messages of an early week": f"/messages?{early}",
        "messages that are parked": "/messages?status=parked",
        "messages that are done": "/messages?status=done",
        "messages of a system": "/messages?system=TEST.H03",
        "messages of a quiet system": "/messages?system=TEST.QUIET",
        "messages: agency, status and words": "/messages?recipient=H02.44&status=done&text=bao+cao",
        "one message": f"/messages/{message_id}",
        "what is late": "/to-do?status=late",
        "all there is to do": "/to-do",
        "systems": "/systems",
        "agencies searched by a name": "/agencies?text=xa+test+4321",
        "agencies searched in vain": "/agencies?text=khong+co",
        "one agency": "/agencies/H02.44",
    }
    taken: dict[str, list[float]] = {page: [] for page in pages}
    options = HubOptions(console=ConsoleOptions())
    with TestClient(make_app(store, options=options), base_url="https://hub.test.invalid") as client:
        client.headers["Sec-Fetch-Site"] = "same-origin"
        token = client.get("/console/login").text.partition('name="csrf" value="')[2].partition('"')[0]
        form = {"name": "chief", "password": _PASSWORD, "csrf": token}
        assert client.post("/console/login", data=form, follow_redirects=False).status_code == 303
        for _ in range(1 + ROUNDS):
            for page, path in pages.items():
                began = time.perf_counter()
                answer = client.get("/console" + path, follow_redirects=False)
                taken[page].append(time.perf_counter() - began)
                assert answer.status_code == 200, (page, answer.status_code)
    return {page: (seconds[0], statistics.median(seconds[1:])) for page, seconds in taken.items()}


def fill(store: HubStore) -> str:
    """Fill a hub as half a year does, by the rows; return the id of a message."""
    administration = Administration(store, actor="TEST")
    systems = []
    for number in range(1, PROVINCES + 1):
        systems.append(f"TEST.H{number:02}")
        administration.add_system(systems[-1], name=f"Hệ thống TEST {number}")
        agencies = [HubAgency(f"H{number:02}", f"Ủy ban nhân dân tỉnh TEST {number}")]
        agencies += [
            HubAgency(
                f"H{number:02}.{step}", f"Ủy ban nhân dân xã TEST {step} tỉnh {number}", f"H{number:02}"
            )
            for step in range(1, DEPARTMENTS)
        ]
        administration.register_agencies(systems[-1], agencies)
    administration.add_system("TEST.QUIET", name="Hệ thống TEST yên lặng")
    rows = messages(random.Random(7), utc_now())
    while part := list(itertools.islice(rows, _ROWS)):
        with store.database.writing() as session:
            for model, place in ((HubMessageRow, 0), (HubDeliveryRow, 1), (HubEventRow, 2)):
                session.execute(sa.insert(model), [row for item in part for row in item[place]])
            last = part[-1][0][0]["id"]
    if not store.database.is_sqlite:
        with store.database.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM ANALYZE")
    return str(last)


def messages(
    luck: random.Random, now: datetime.datetime
) -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]]:
    """Return rows of messages, their deliveries and their events; agencies of few numbers have most of them."""
    for number in range(MESSAGES):
        at = now - datetime.timedelta(days=DAYS) * (1 - number / MESSAGES)
        province = luck.randint(1, PROVINCES)
        sender = f"H{province:02}.{min(DEPARTMENTS - 2, int(luck.expovariate(1 / 60)) + 1)}"
        kind = "document" if number % 5 < 3 else "status"
        title = luck.choice(_TOPICS) if kind == "document" else "Phản hồi trạng thái xử lý văn bản TEST"
        notation, document_id = f"{number}/UBND-TEST", f"{sender},2026/{number}"
        message_id = f"{number:08x}{luck.getrandbits(96):024x}"
        message = {
            "id": message_id,
            "kind": kind,
            "identity": hashlib.sha256(str(number).encode()).hexdigest(),
            "sender_code": sender,
            "sender_system": f"TEST.H{province:02}",
            "document_id": document_id,
            "title": title,
            "notation": notation,
            "payload_sha256": hashlib.sha256(f"p{number}".encode()).hexdigest(),
            "payload_size": luck.randint(20_000, 4_000_000),
            "received_at": at,
            "receipt": json.dumps({"ErrorCode": "0", "DocId": message_id}),
            "document_key": document_key(document_id),
            "search_text": folded(notation, document_id, title),
        }
        events = [{"message_id": message_id, "doc_id": None, "at": at, "kind": "received", "system_id": None}]
        deliveries = []
        many = 1 if kind == "status" else luck.randint(1, 3)
        for position, place in enumerate(luck.sample(range(1, 400), many)):
            moved, status, chance = (
                at + datetime.timedelta(minutes=luck.randint(1, 300)),
                "done",
                luck.random(),
            )
            if moved > now or chance < 0.002:
                moved, status = at, "initial"
            elif chance < 0.006:
                status = "parked"
            elif chance < 0.007:
                status = "expired"
            deliveries.append(
                {
                    "doc_id": f"{number:08x}{position:02x}{luck.getrandbits(88):022x}",
                    "message_id": message_id,
                    "position": position,
                    "recipient_code": f"H{luck.randint(1, PROVINCES):02}.{place}",
                    "status": status,
                    "updated_at": moved,
                }
            )
            if status != "initial":
                events.append(
                    {
                        "message_id": message_id,
                        "doc_id": deliveries[-1]["doc_id"],
                        "at": moved,
                        "kind": status,
                        "system_id": None,
                    }
                )
        yield [message], deliveries, events
