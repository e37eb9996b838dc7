"""Workers on a store: what fails waits, parks or is refused; nothing is sent twice; a stop is clean."""

import contextlib
import datetime
import http.server
import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from tests.clocks import Clock
from tests.offices import COMMUNE, DEPARTMENT, PROVINCE, Office
from vnedoc._internal.clock import utc_now
from vnedoc.errors import ConnectorError, CredentialError, InternalError, RefusedError
from vnedoc.exchange.judgement import PackageJudgement
from vnedoc.exchange.models import Attachment, Business, OtherInfo
from vnedoc.exchange.service import Exchange, ExchangeOptions
from vnedoc.exchange.states import DeliveryState, OverallState
from vnedoc.exchange.stores.store import AgencyStore
from vnedoc.exchange.worker import Worker, WorkerOptions
from vnedoc.testing.hub import running_hub
from vnedoc.testing.packages import make_organization, make_package

NOW = datetime.datetime(2026, 11, 20, 3, tzinfo=datetime.UTC)


@pytest.fixture
def hub(tmp_path):
    with running_hub(tmp_path / "hub") as hub:
        hub.add_system(f"TEST.{DEPARTMENT}", DEPARTMENT)
        hub.add_system(f"TEST.{COMMUNE}", COMMUNE)
        yield hub


@pytest.fixture
def office(hub, tmp_path):
    with contextlib.ExitStack() as stack:
        yield Office(stack, hub, PROVINCE, tmp_path)


def queue(office, tmp_path, number, exchange=None, **changes):
    path = tmp_path / f"{number}.edxml"
    make_package(path, sender=PROVINCE, recipients=[DEPARTMENT], number=number, **changes)
    return (exchange or office.exchange).queue(path)


def failing(office, monkeypatch, *errors):
    """Let the axis fail so often, then work; return the codes of the packages it was given."""
    send, left, given = office.connector.send, list(errors), []

    def faulty(path, **options):
        given.append(path)
        if left:
            raise left.pop(0)
        return send(path, **options)

    monkeypatch.setattr(office.connector, "send", faulty)
    return given


def delivery(office, message):
    return {item.delivery for item in office.store.find(message.id).consignments}


TROUBLE = ConnectorError("remote.timeout", url="TEST")
BUSY = ConnectorError("connector.busy", name="TEST", status=503, retry_after_s=600.0)
NO = RefusedError("connector.refused", name="TEST", remote_code="18", remote_message="TEST")
LOCKED_OUT = RefusedError("connector.not-let-in", name="TEST", remote_code="15", remote_message="TEST")
NO_SECRET = CredentialError("connector.no-secret", name="TEST", system_id="TEST")


@pytest.mark.parametrize(
    ("error", "state", "least_s", "most_s"),
    [
        (TROUBLE, DeliveryState.WAITING, 0, 10),
        (BUSY, DeliveryState.WAITING, 600, 610),
        (NO, DeliveryState.REFUSED, None, None),
        (LOCKED_OUT, DeliveryState.WAITING, 0, 10),
        (NO_SECRET, DeliveryState.PARKED, None, None),
        (ZeroDivisionError("TEST"), DeliveryState.PARKED, None, None),
    ],
)
def test_errors_are_sorted(office, tmp_path, monkeypatch, error, state, least_s, most_s):
    clock = Clock(NOW)
    exchange = office.with_options(clock=clock)
    message = queue(office, tmp_path, 1, exchange)
    failing(office, monkeypatch, error)
    [(tried, raised)] = exchange.deliver_due()
    assert raised is not None
    assert isinstance(raised, InternalError) == isinstance(error, ZeroDivisionError)
    assert {item.delivery for item in tried.consignments} == {state}
    assert tried.attempts[0].error_code in {getattr(error, "code", None), type(error).__name__}
    if least_s is None:
        assert tried.due_at is None
    else:
        wait = (tried.due_at - clock.now).total_seconds()
        assert least_s <= wait <= most_s
    assert message.id == tried.id


def test_poison_does_not_stop_the_others(office, tmp_path, monkeypatch):
    bad = queue(office, tmp_path, 1)
    good = [queue(office, tmp_path, number) for number in (2, 3)]
    failing(office, monkeypatch, ZeroDivisionError("TEST"))
    done = Worker(office.exchange).run_once()
    assert [error is None for _, error in done.delivered] == [False, True, True]
    assert delivery(office, bad) == {DeliveryState.PARKED}
    assert all(delivery(office, message) == {DeliveryState.SENT} for message in good)
    # Parked is for a person: it is not tried by itself, and it is when asked.
    assert office.with_options(clock=lambda: utc_now() + datetime.timedelta(days=2)).deliver_due() == []
    assert office.exchange.retry() == [bad.id]
    [(sent, error)] = office.exchange.deliver_due()
    assert (sent.id, error) == (bad.id, None)
    assert OverallState.of(item.delivery for item in sent.consignments) is OverallState.SENT
    assert office.exchange.retry([bad.id]) == []


def test_a_payload_that_is_lost_parks_its_message_only(office, tmp_path):
    lost, good = queue(office, tmp_path, 1), queue(office, tmp_path, 2)
    with office.store.payloads.local(lost.payload.sha256) as path:
        path.unlink()
    office.exchange.deliver_due()
    assert delivery(office, lost) == {DeliveryState.PARKED}
    assert delivery(office, good) == {DeliveryState.SENT}


def test_waits_grow_until_the_time_is_over(office, tmp_path, monkeypatch):
    clock = Clock(NOW)
    exchange = office.with_options(clock=clock)
    message = queue(office, tmp_path, 1, exchange)
    failing(office, monkeypatch, *[TROUBLE] * 1000)
    longest = 10.0
    for _ in range(1000):
        found = office.store.find(message.id)
        if found.due_at is None:
            break
        clock.now = max(clock.now, found.due_at)
        outcomes = exchange.deliver_due()
        found = office.store.find(message.id)
        if outcomes and found.due_at is not None:
            assert (found.due_at - clock.now).total_seconds() <= longest
            longest = min(longest * 3, 3600.0)
        # An axis that does not answer is left alone for a minute; the message stays due meanwhile.
        if not outcomes:
            clock.go_on(seconds=60)
    assert delivery(office, message) == {DeliveryState.EXPIRED}
    assert clock.now - NOW >= datetime.timedelta(hours=24)
    assert clock.now - NOW < datetime.timedelta(hours=25)
    # A person lets it be tried for another day.
    monkeypatch.undo()
    assert exchange.retry([message.id]) == [message.id]
    clock.go_on(minutes=2)
    [(sent, _)] = exchange.deliver_due()
    assert sent.expires_at - clock.now > datetime.timedelta(hours=23)
    assert delivery(office, message) == {DeliveryState.SENT}


@pytest.mark.parametrize(("priority", "most_s"), [(0, 10), (1, 5), (2, 2.5), (3, 1), (4, 1)])
def test_urgent_documents_are_tried_again_sooner(priority, most_s):
    assert ExchangeOptions().first_wait(priority).total_seconds() == most_s


def test_urgent_documents_go_first(office, tmp_path, monkeypatch):
    import dataclasses

    from vnedoc.exchange.package import write_package

    queue(office, tmp_path, 1)
    header = make_package(tmp_path / "2.edxml", sender=PROVINCE, recipients=[DEPARTMENT], number=2)
    urgent = dataclasses.replace(header, other_info=OtherInfo(priority=3), business=Business.new())
    write_package(urgent, [Attachment("TEST.pdf", b"%PDF TEST")], tmp_path / "2.edxml")
    message = office.exchange.queue(tmp_path / "2.edxml")
    assert message.priority == 3
    assert [sent.code for sent, _ in office.exchange.deliver_due()] == ["2/UBND-TEST", "1/UBND-TEST"]


def test_an_axis_that_does_not_answer_is_left_alone(office, tmp_path, monkeypatch):
    clock = Clock(NOW)
    exchange = office.with_options(clock=clock)
    messages = [queue(office, tmp_path, number, exchange) for number in range(1, 9)]
    given = failing(office, monkeypatch, *[TROUBLE] * 6)
    assert len(exchange.deliver_due()) == 5
    assert len(given) == 5
    assert exchange.deliver_due() == []
    # After a minute one message finds out; it fails, and there is another minute of peace.
    clock.go_on(seconds=61)
    assert len(exchange.deliver_due()) == 1
    assert len(given) == 6
    assert exchange.deliver_due() == []
    clock.go_on(seconds=61)
    exchange.deliver_due()
    clock.go_on(hours=1)
    exchange.deliver_due()
    assert {state for message in messages for state in delivery(office, message)} == {DeliveryState.SENT}


def test_refusals_do_not_make_an_axis_look_dead(office, tmp_path, monkeypatch):
    for number in range(1, 9):
        queue(office, tmp_path, number)
    failing(office, monkeypatch, *[NO] * 7)
    assert [error is None for _, error in office.exchange.deliver_due()] == [False] * 7 + [True]


def test_a_lease_is_renewed_while_a_transfer_takes_long(office, tmp_path, monkeypatch):
    options = ExchangeOptions(lease=datetime.timedelta(seconds=0.6))
    slow, other = office.with_options(options), office.with_options(options)
    message = queue(office, tmp_path, 1, slow)
    under_way, finish = threading.Event(), threading.Event()
    send = office.connector.send

    def sending(path, **more):
        under_way.set()
        assert finish.wait(30)
        return send(path, **more)

    monkeypatch.setattr(office.connector, "send", sending)
    thread = threading.Thread(target=slow.deliver_due)
    thread.start()
    assert under_way.wait(30)
    leases = set()
    deadline = utc_now() + datetime.timedelta(seconds=20)
    # Three leases later it is still with the one who sends it.
    while len(leases) < 4 and utc_now() < deadline:
        leases.add(office.store.find(message.id).due_at)
        assert other.deliver_due() == []
    finish.set()
    thread.join(30)
    found = office.store.find(message.id)
    assert len(leases) == 4
    assert [attempt.outcome for attempt in found.attempts] == ["sent"]


def test_workers_on_one_store_send_each_message_once(hub, office, tmp_path):
    messages = [queue(office, tmp_path, number) for number in range(1, 13)]
    with contextlib.ExitStack() as stack:
        exchanges = []
        for _ in range(3):
            # Each with connections of its own to the database, as processes have.
            store = AgencyStore.open(office.store_url, office.folder / "payloads")
            stack.callback(store.close)
            exchanges.append(Exchange(office.connector, store, organization=make_organization(PROVINCE)))
        threads = [threading.Thread(target=exchange.deliver_due) for exchange in exchanges]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    for message in messages:
        assert [attempt.outcome for attempt in office.store.find(message.id).attempts] == ["sent"]
    assert hub.store.stats().documents == len(messages)


def test_a_worker_stops_after_the_message_that_is_under_way(office, tmp_path, monkeypatch):
    for number in (1, 2, 3):
        queue(office, tmp_path, number)
    stop = threading.Event()
    send = office.connector.send

    def sending(path, **more):
        stop.set()
        return send(path, **more)

    monkeypatch.setattr(office.connector, "send", sending)
    rounds = []
    Worker(office.exchange, options=WorkerOptions(poll_s=0.01), stop=stop).run(rounds.append)
    [done] = rounds
    assert [error for _, error in done.delivered] == [None]
    states = sorted(item.consignments[0].delivery for item in office.store.sent())
    assert states == ["queued", "queued", "sent"]


def test_a_worker_that_receives(office, tmp_path):
    path = tmp_path / "1.edxml"
    make_package(path, sender=PROVINCE, recipients=[PROVINCE], number=1)
    office.exchange.queue(path)
    opened = []

    @contextlib.contextmanager
    def open_judge():
        opened.append(1)
        yield lambda _package: PackageJudgement(accepted=True)

    done = Worker(office.exchange, folder=office.inbox, open_judge=open_judge).run_once()
    assert [error for _, error in done.delivered] == [None]
    assert [item.message.code for item in done.received if item.message.kind == "document"] == ["1/UBND-TEST"]
    assert opened == [1]


def test_trouble_of_a_round_is_told_and_the_next_round_tries_again(office, tmp_path, monkeypatch):
    queue(office, tmp_path, 1)
    stop = threading.Event()
    rounds = []

    def tell(done):
        rounds.append(done)
        monkeypatch.undo()
        if done.error is None:
            stop.set()

    def broken(*_args, **_kwargs):
        raise ZeroDivisionError("TEST")

    monkeypatch.setattr(office.store, "expire", broken)
    options = WorkerOptions(poll_s=0.01, pause_after_trouble_s=0.01)
    Worker(office.exchange, options=options, stop=stop).run(tell)
    assert isinstance(rounds[0].error, InternalError)
    assert rounds[-1].delivered[0][1] is None


def test_receiving_stops_between_two_packages(hub, office, tmp_path):
    with contextlib.ExitStack() as stack:
        secret = hub.add_system("TEST.H99.7", "H99.7")
        other = Office(stack, hub, "H99.7", tmp_path, secret=secret)
        for number in (1, 2, 3):
            path = tmp_path / f"{number}.edxml"
            make_package(path, sender=PROVINCE, recipients=["H99.7"], number=number)
            office.exchange.send(path)
        taken = other.receive(stop=lambda: len(other.store.received()) >= 1)
        assert len(taken) == 1
        assert len(other.receive()) == 2


# The command, as an administrator runs it

SETTINGS = """
[agency]
organ_id = "{code}"
organ_name = "CƠ QUAN TEST {code}"

[store]
url = "{store_url}"
payload_folder = "payloads"

[connections.TEST]
kind = "vxp"
url = "{url}"
system_id = "TEST.{code}"
secret_env = "TEST_SECRET"
"""


class SlowAxis:
    """Takes requests, says that one has come, and passes it on to the hub only when it is told to."""

    def __init__(self, url):
        self.came, self.go = threading.Event(), threading.Event()
        axis = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                import httpx2

                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                axis.came.set()
                assert axis.go.wait(60)
                headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
                answer = httpx2.post(url + self.path, content=body, headers=headers, timeout=30)
                self.send_response(answer.status_code)
                self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.go.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def start(office, monkeypatch):
    """Start the command; it is killed if it does not end by itself."""
    monkeypatch.setenv("TEST_SECRET", office.secret)
    with contextlib.ExitStack() as stack:

        def start(url, *arguments):
            settings = office.folder / "vnedoc.toml"
            text = SETTINGS.format(code=PROVINCE, url=url, store_url=office.store_url)
            settings.write_text(text, encoding="utf-8")
            command = [sys.executable, "-c", "from vnedoc._cli.main import run; run()", "--config", settings]
            process = stack.enter_context(
                subprocess.Popen(
                    [*command, "--lang", "en", "worker", "--format", "json", *arguments],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env={**os.environ},
                )
            )
            stack.callback(process.kill)
            return process

        yield start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_attempt_that_is_under_way_finish(hub, office, tmp_path, start, number):
    first, second = queue(office, tmp_path, 1), queue(office, tmp_path, 2)
    with SlowAxis(hub.url) as axis:
        process = start(axis.url, "--poll", "0.1")
        assert axis.came.wait(60)
        process.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        axis.go.set()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert delivery(office, first) == {DeliveryState.SENT}
    assert delivery(office, second) == {DeliveryState.QUEUED}
    document = json.loads(out.splitlines()[0])
    assert document["schema"] == "vnedoc.round/1"
    assert [item["message"]["id"] for item in document["delivered"]] == [first.id]
    assert hub.store.stats().documents == 1


def test_a_worker_that_is_killed_loses_nothing(hub, office, tmp_path, start):
    message = queue(office, tmp_path, 1)
    with SlowAxis(hub.url) as axis:
        process = start(axis.url)
        assert axis.came.wait(60)
        process.kill()
        process.wait(60)
        assert delivery(office, message) == {DeliveryState.SENDING}
        # Nobody else has it before the lease is over.
        assert office.exchange.deliver_due() == []
        later = office.with_options(clock=lambda: utc_now() + datetime.timedelta(seconds=61))
        axis.go.set()
        [(sent, error)] = later.deliver_due()
    assert error is None
    assert [attempt.outcome for attempt in sent.attempts] == ["started", "sent"]
    assert hub.store.stats().documents == 1


def test_once(hub, office, tmp_path, start):
    message = queue(office, tmp_path, 1)
    process = start(hub.url, "--once")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["delivered"][0]["message"]["overall"] == "sent"
    assert delivery(office, message) == {DeliveryState.SENT}


def test_once_without_the_axis(office, tmp_path, start):
    message = queue(office, tmp_path, 1)
    process = start("http://127.0.0.1:9", "--once")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 6, err
    assert json.loads(out)["delivered"][0]["error"]["id"] == "exchange.kept"
    assert delivery(office, message) == {DeliveryState.WAITING}
