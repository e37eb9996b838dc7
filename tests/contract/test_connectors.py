"""What every connector must do, run against the real other side. A new connector joins by an entry in AXES."""

import contextlib
import hashlib
import os
import socket
import threading

import pytest

from vnedoc.errors import ConnectorError, CredentialError, InputError, RefusedError, UsageError
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.connectors import open_connector
from vnedoc.exchange.connectors.vxp import VXPConnector, VXPOptions
from vnedoc.exchange.states import TransportStatus
from vnedoc.testing.hub import running_hub
from vnedoc.testing.packages import make_package

SENDER, RECIPIENT, OTHER = "H99", "H99.1", "H98"


class VXPAxis:
    """The hub's VXP wire."""

    options = VXPOptions()

    @contextlib.contextmanager
    def running(self):
        with running_hub() as hub:
            self.url = hub.url
            self.secrets = {
                "TEST.A": hub.add_system("TEST.A", SENDER),
                "TEST.B": hub.add_system("TEST.B", RECIPIENT, OTHER),
            }
            yield self

    def connector(self, system_id, *, url=None, secret=None, options=None):
        return VXPConnector(
            url or self.url,
            system_id,
            secret=lambda _prompt: self.secrets[system_id] if secret is None else secret,
            options=options or self.options,
        )


class VXPDownloadAxis(VXPAxis):
    """The same with the newer call for fetching, and the file hash of other clients."""

    options = VXPOptions(use_download=True, padded_file_hash=True)


AXES = {"vxp": VXPAxis, "vxp-download": VXPDownloadAxis}


@pytest.fixture(scope="module", params=sorted(AXES))
def axis(request):
    with AXES[request.param]().running() as axis:
        yield axis


@pytest.fixture
def sender(axis):
    with axis.connector("TEST.A") as connector:
        yield connector


@pytest.fixture
def recipient(axis):
    with axis.connector("TEST.B") as connector:
        yield connector


@pytest.fixture
def package(tmp_path):
    # A number of its own for each test: the hub of the module remembers documents.
    path = tmp_path / "TEST.edxml"
    number = int.from_bytes(os.urandom(5))
    make_package(
        path, sender=SENDER, recipients=[RECIPIENT, OTHER], number=number, content=os.urandom(200_000)
    )
    return path


def listed(recipient, sender, doc_id):
    """Return what waits for the recipient of one package that was sent."""
    ids = {
        report.receiver_doc_id
        for report in sender.list_sent(PackageKind.DOCUMENT)
        if report.sender_doc_id == doc_id
    }
    return [message for message in recipient.list_received(PackageKind.DOCUMENT) if message.doc_id in ids]


def test_a_package_arrives_as_it_was_sent(sender, recipient, package, tmp_path):
    doc_id = sender.send(package, sender_code=SENDER, kind=PackageKind.DOCUMENT)
    waiting = listed(recipient, sender, doc_id)
    assert {message.recipient_code for message in waiting} == {RECIPIENT, OTHER}
    assert {message.sender_code for message in waiting} == {SENDER}
    assert {message.status for message in waiting} == {TransportStatus.INITIAL}
    assert len({message.doc_id for message in waiting}) == 2
    for message in waiting:
        output = tmp_path / message.doc_id
        recipient.fetch(message.doc_id, output)
        assert output.read_bytes() == package.read_bytes()


def test_sending_again_gives_the_first_receipt(sender, recipient, package):
    doc_id = sender.send(package, sender_code=SENDER, kind=PackageKind.DOCUMENT)
    assert sender.send(package, sender_code=SENDER, kind=PackageKind.DOCUMENT) == doc_id
    assert len(listed(recipient, sender, doc_id)) == 2


@pytest.mark.parametrize("status", [TransportStatus.DONE, TransportStatus.FAIL])
def test_what_is_acknowledged_is_not_listed_again(sender, recipient, package, status):
    doc_id = sender.send(package, sender_code=SENDER, kind=PackageKind.DOCUMENT)
    first, second = listed(recipient, sender, doc_id)
    recipient.acknowledge(first.doc_id, status)
    assert [message.doc_id for message in listed(recipient, sender, doc_id)] == [second.doc_id]
    told = {report.receiver_doc_id: report.status for report in sender.list_sent(PackageKind.DOCUMENT)}
    assert told[first.doc_id] is status
    assert told[second.doc_id] is TransportStatus.INITIAL


def test_what_is_being_processed_is_listed(sender, recipient, package):
    doc_id = sender.send(package, sender_code=SENDER, kind=PackageKind.DOCUMENT)
    first, _second = listed(recipient, sender, doc_id)
    recipient.acknowledge(first.doc_id, TransportStatus.PROCESSING)
    found = {message.doc_id: message.status for message in listed(recipient, sender, doc_id)}
    assert found[first.doc_id] is TransportStatus.PROCESSING


def test_acknowledging_twice_is_no_error_and_backwards_is_one(sender, recipient, package):
    doc_id = sender.send(package, sender_code=SENDER, kind=PackageKind.DOCUMENT)
    first, _second = listed(recipient, sender, doc_id)
    recipient.acknowledge(first.doc_id, TransportStatus.DONE)
    recipient.acknowledge(first.doc_id, TransportStatus.DONE)
    with pytest.raises(RefusedError):
        recipient.acknowledge(first.doc_id, TransportStatus.PROCESSING)


def test_only_the_recipient_may_fetch_and_acknowledge(sender, recipient, package, tmp_path):
    doc_id = sender.send(package, sender_code=SENDER, kind=PackageKind.DOCUMENT)
    first, _second = listed(recipient, sender, doc_id)
    with pytest.raises(RefusedError):
        sender.fetch(first.doc_id, tmp_path / "x")
    assert not (tmp_path / "x").exists()
    with pytest.raises(RefusedError):
        sender.acknowledge(first.doc_id, TransportStatus.DONE)


def test_a_sender_that_is_not_registered_is_refused(recipient, package):
    with pytest.raises(RefusedError) as caught:
        recipient.send(package, sender_code=SENDER, kind=PackageKind.DOCUMENT)
    assert caught.value.values["remote_code"]
    assert SENDER in str(caught.value.values["remote_message"])
    assert not caught.value.retryable


def test_the_axis_tells_whom_it_delivers_to(sender):
    assert {agency.code for agency in sender.agencies()} == {SENDER, RECIPIENT, OTHER}


def test_an_unknown_document_is_refused(recipient, tmp_path):
    with pytest.raises(RefusedError):
        recipient.fetch("0" * 32, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_secret_is_refused_and_never_shown(axis):
    with axis.connector("TEST.A", secret="TEST-WRONG-SECRET") as connector:
        assert "TEST-WRONG-SECRET" not in repr(connector)
        with pytest.raises(RefusedError) as caught:
            connector.agencies()
    assert caught.value.code == "connector.not-let-in"
    assert "TEST-WRONG-SECRET" not in repr(caught.value) + str(caught.value)


def test_no_secret_is_a_matter_of_credentials(axis):
    with axis.connector("TEST.A", secret="") as connector, pytest.raises(CredentialError):
        connector.agencies()


def test_an_axis_that_is_not_there_is_worth_another_try(axis, package):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with axis.connector("TEST.A", url=f"http://127.0.0.1:{port}") as connector:
        for call in (
            connector.agencies,
            lambda: connector.send(package, sender_code=SENDER, kind=PackageKind.DOCUMENT),
        ):
            with pytest.raises(ConnectorError) as caught:
                call()
            assert caught.value.retryable


def test_an_axis_that_never_answers_is_given_up(axis):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            axis.connector("TEST.A", url=url, options=VXPOptions(timeout_s=0.2)) as connector,
            pytest.raises(ConnectorError) as caught,
        ):
            connector.agencies()
    assert caught.value.code == "remote.timeout"


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n", ConnectorError, "connector.trouble"),
        (b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", ConnectorError, "connector.trouble"),
        (b"HTTP/1.1 429 X\r\nContent-Length: 0\r\n\r\n", ConnectorError, "connector.trouble"),
        (
            b"HTTP/1.1 302 X\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
            ConnectorError,
            "connector.trouble",
        ),
        (b"HTTP/1.1 200 X\r\nContent-Length: 6\r\n\r\n<html>", ConnectorError, "connector.bad-answer"),
        (b"HTTP/1.1 200 X\r\nContent-Length: 999\r\n\r\n{}", ConnectorError, "remote.unreachable"),
        (b"nonsense\r\n\r\n", ConnectorError, "remote.unreachable"),
        (b"HTTP/1.1 404 X\r\nContent-Length: 6\r\n\r\n<html>", RefusedError, "connector.refused"),
        (b"HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n", RefusedError, "connector.not-let-in"),
        (b'HTTP/1.1 200 X\r\nContent-Length: 12\r\n\r\n{"status":"O', ConnectorError, "connector.bad-answer"),
        (
            b'HTTP/1.1 200 X\r\nContent-Length: 52\r\n\r\n{"status":"FAIL","ErrorCode":"7","ErrorDesc":"TEST"}',
            RefusedError,
            "connector.refused",
        ),
    ],
)
def test_strange_answers_end_in_the_right_error(axis, answer, kind, code):
    with (
        answering(answer) as url,
        axis.connector("TEST.A", url=url) as connector,
        pytest.raises(kind) as caught,
    ):
        connector.list_received(PackageKind.DOCUMENT)
    assert caught.value.code == code


def test_what_a_refusal_says_cannot_steer_a_terminal(axis):
    body = b'{"status":"FAIL","ErrorCode":"7\\u001b[2J","ErrorDesc":"TEST\\u001b[31m\\r\\n\\u202e"}'
    answer = b"HTTP/1.1 200 X\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
    with (
        answering(answer) as url,
        axis.connector("TEST.A", url=url) as connector,
        pytest.raises(RefusedError) as caught,
    ):
        connector.agencies()
    assert str(caught.value).isprintable()
    assert "TEST" in str(caught.value)


def test_ids_that_could_not_be_file_names_are_left_out(axis):
    body = (
        b'{"status":"OK","ErrorCode":"0","data":[{"docId":"../../x"},{"docId":"a b"},{"docId":""},{},7,'
        b'{"docId":"good-1","status":"strange"}]}'
    )
    answer = b"HTTP/1.1 200 X\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
    with answering(answer) as url, axis.connector("TEST.A", url=url) as connector:
        messages = connector.list_received(PackageKind.DOCUMENT)
    assert [(message.doc_id, message.status) for message in messages] == [("good-1", None)]


@pytest.mark.parametrize("doc_id", ["", "../x", "a/b", "a b", "é", "a\r\nb", "x" * 129])
def test_ids_of_ours_are_checked_too(recipient, tmp_path, doc_id):
    with pytest.raises(UsageError):
        recipient.fetch(doc_id, tmp_path / "x")
    with pytest.raises(UsageError):
        recipient.acknowledge(doc_id, TransportStatus.DONE)


@pytest.mark.parametrize("code", ["", "H 99", "H99\r\nX: y", "Tỉnh"])
def test_sender_codes_that_break_headers_are_refused(sender, package, code):
    with pytest.raises(UsageError):
        sender.send(package, sender_code=code, kind=PackageKind.DOCUMENT)


def test_files_that_cannot_be_sent(axis, sender, package, tmp_path):
    with pytest.raises(InputError):
        sender.send(tmp_path / "missing", sender_code=SENDER, kind=PackageKind.DOCUMENT)
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(InputError):
        sender.send(tmp_path / "empty", sender_code=SENDER, kind=PackageKind.DOCUMENT)
    with (
        axis.connector("TEST.A", options=VXPOptions(max_package_bytes=1000)) as connector,
        pytest.raises(InputError) as caught,
    ):
        connector.send(package, sender_code=SENDER, kind=PackageKind.DOCUMENT)
    assert caught.value.code == "file.too-large"


def test_a_file_that_shrinks_while_it_is_sent(sender, package, monkeypatch):
    send = sender._send
    monkeypatch.setattr(sender, "_send", lambda path, size, *rest: send(path, size + 1, *rest))
    with pytest.raises(InputError) as caught:
        sender.send(package, sender_code=SENDER, kind=PackageKind.DOCUMENT)
    assert caught.value.code == "connector.file-changed"


def test_a_package_over_the_limit_is_not_fetched(axis, sender, package, tmp_path):
    doc_id = sender.send(package, sender_code=SENDER, kind=PackageKind.DOCUMENT)
    options = VXPOptions(max_package_bytes=50_000, use_download=axis.options.use_download)
    with axis.connector("TEST.B", options=options) as connector:
        first, _second = listed(connector, sender, doc_id)
        with pytest.raises(ConnectorError) as caught:
            connector.fetch(first.doc_id, tmp_path / "x")
    assert caught.value.code == "remote.answer-too-large"
    assert not (tmp_path / "x").exists()


def test_many_threads_share_a_connector(sender, tmp_path):
    # Two requests in one millisecond must not look like a replay.
    failures = []

    def work():
        try:
            for _ in range(10):
                sender.agencies()
        except Exception as error:  # noqa: BLE001 - handed to the test's thread
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_memory_does_not_grow_with_the_package(axis, sender, recipient, tmp_path):
    import tracemalloc

    package = tmp_path / "big.edxml"
    content = tmp_path / "big.pdf"
    with content.open("wb") as stream:
        for _ in range(24):
            stream.write(os.urandom(1024 * 1024))
    make_package(
        package, sender=SENDER, recipients=[RECIPIENT], number=int.from_bytes(os.urandom(5)), content=content
    )
    tracemalloc.start()
    try:
        doc_id = sender.send(package, sender_code=SENDER, kind=PackageKind.DOCUMENT)
        [message] = listed(recipient, sender, doc_id)
        recipient.fetch(message.doc_id, tmp_path / "fetched")
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert digest(tmp_path / "fetched") == digest(package)
    # Client and hub together, in one process; the package is 32 MiB.
    assert peak < 16 * 1024 * 1024


def digest(path):
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def test_open_connector_knows_its_kinds():
    from vnedoc.errors import ConfigurationError

    with open_connector("vxp", "http://127.0.0.1:1", "TEST", secret=lambda _: "x", name="TEST") as connector:
        assert connector.name == "TEST"
    with pytest.raises(ConfigurationError):
        open_connector("fax", "http://127.0.0.1:1", "TEST", secret=lambda _: "x", name="TEST")


@contextlib.contextmanager
def answering(answer):
    """Answer one request with fixed bytes, whatever it was."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def work():
            connection, _address = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(10)
