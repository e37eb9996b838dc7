"""What every connector must keep to, as tests: run them against your own.

::

    class TestMyConnector(ConnectorContract):
        @pytest.fixture(autouse=True)
        def _axis(self):
            with my_axis() as self.axis:
                yield

An :class:`Axis` is the other side, really running, with two systems: one that sends and one that receives. pytest
collects the methods; there is nothing else to install. What a wire has no word for is said by the connector
(:attr:`~vnedoc.exchange.connectors.base.Connector.reports_sent` and the like), and what an axis cannot do for the
tests by the axis; tests that need it are then skipped by name.
"""

from __future__ import annotations

import abc
import concurrent.futures
import contextlib
import datetime
import email.utils
import hashlib
import os
import tempfile
import tracemalloc
import unittest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vnedoc._internal.clock import utc_now
from vnedoc.errors import (
    ConnectorError,
    CredentialError,
    InputError,
    RefusedError,
    UsageError,
    VnedocError,
)
from vnedoc.exchange.codes import PackageKind, StatusCode
from vnedoc.exchange.connectors.base import Fault, fault_of, is_not_let_in
from vnedoc.exchange.package import read_package, reply_header, write_package
from vnedoc.exchange.states import TransportStatus
from vnedoc.testing.faults import Answered, CutAnswer, CutRequest, Delayed, Flooded, LostAnswer
from vnedoc.testing.packages import make_organization, make_package

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vnedoc.exchange.connectors.base import Connector, RemoteMessage
    from vnedoc.sign.signers.base import SecretCallback
    from vnedoc.testing.faults import Faults

__all__ = ["Axis", "ConnectorContract", "Role"]

Role = Literal["sender", "recipient"]
"""The two systems of an axis under test."""

WRONG_SECRET = "TEST-WRONG-SECRET"  # noqa: S105 - wrong on purpose
BIG_BYTES = 24 * 1024 * 1024
MAX_MEMORY_BYTES = 20 * 1024 * 1024
_THREADS = 4


class Axis(abc.ABC):
    """The other side of a connector under test."""

    sender_code: str = "H99"
    """Code of the agency of the system that sends."""
    recipient_code: str = "H99.1"
    """Code of an agency of the system that receives."""
    other_code: str = "H98"
    """Code of a further agency, which is not the sender's."""
    has_secret: bool = True
    """Whether a secret lets a system in."""
    token_path: str | None = None
    """What is in the path of the request for a token; ``None`` if there are no tokens."""
    faults: Faults | None = None
    """What makes the axis misbehave; ``None`` if nothing can."""

    @abc.abstractmethod
    def open(
        self,
        role: Role,
        *,
        secret: SecretCallback | None = None,
        **options: Any,  # options of the connector
    ) -> Connector:
        """Open the connector of a system.

        Args:
            role: The system.
            secret: Returns its secret; ``None``: the right one.
            options: ``timeout_s`` and ``max_package_bytes``, where the connector has them.
        """

    def rotate(self, role: Role) -> None:
        """Give a system a new secret, which :meth:`secret` returns from now on."""
        raise NotImplementedError

    def secret(self, role: Role) -> str:
        """Return the present secret of a system."""
        raise NotImplementedError


class ConnectorContract:
    """The contract of :class:`~vnedoc.exchange.connectors.base.Connector`.

    Subclass it under a name that starts with Test, and set :attr:`axis` before each test.
    """

    axis: Axis
    """The other side."""

    # What arrives

    def test_a_package_arrives_as_it_was_sent(self) -> None:
        """Byte for byte where the wire can, once, with what the axis tells of it."""
        with self._sender() as sender, self._recipient() as recipient, _folder() as folder:
            package = self._package(folder)
            [message] = self._sent(sender, recipient, package)
            assert message.kind is PackageKind.DOCUMENT
            assert message.status in {TransportStatus.INITIAL, None}
            if recipient.tells_recipient:
                assert message.recipient_code == self.axis.recipient_code
                assert message.sender_code == self.axis.sender_code
            recipient.fetch(message.doc_id, folder / "fetched")
            _assert_arrived(recipient, folder / "fetched", package)

    def test_sending_again_gives_the_first_receipt(self) -> None:
        """Nobody knows whether an answer was lost: the same package again must not arrive twice."""
        with self._sender() as sender, self._recipient() as recipient, _folder() as folder:
            package = self._package(folder)
            before = self._waiting(recipient)
            first, second = self._send(sender, package), self._send(sender, package)
            assert first == second
            assert len(self._waiting(recipient) - before) == 1

    def test_what_was_taken_is_not_delivered_again_when_it_is_sent_again(self) -> None:
        """Not even after it was acknowledged."""
        with self._sender() as sender, self._recipient() as recipient, _folder() as folder:
            package = self._package(folder)
            [message] = self._sent(sender, recipient, package)
            recipient.acknowledge(message.doc_id, TransportStatus.DONE)
            before = self._waiting(recipient)
            self._send(sender, package)
            assert self._waiting(recipient) == before

    def test_what_is_acknowledged_is_not_listed_again(self) -> None:
        """Whether it was taken or not, and telling it twice is no error."""
        with self._sender() as sender, self._recipient() as recipient, _folder() as folder:
            for number, status in enumerate((TransportStatus.DONE, TransportStatus.FAIL)):
                [message] = self._sent(sender, recipient, self._package(folder, name=f"{number}.edxml"))
                recipient.acknowledge(message.doc_id, status)
                recipient.acknowledge(message.doc_id, status)
                assert message.doc_id not in self._waiting(recipient)
                if sender.reports_sent and recipient.acknowledges_failure:
                    told = {
                        report.receiver_doc_id: report.status
                        for report in sender.list_sent(PackageKind.DOCUMENT)
                    }
                    assert told[message.doc_id] is status

    def test_what_is_being_processed_is_listed(self) -> None:
        """A recipient that dies between the two finds it again."""
        with self._sender() as sender, self._recipient() as recipient, _folder() as folder:
            [message] = self._sent(sender, recipient, self._package(folder))
            recipient.acknowledge(message.doc_id, TransportStatus.PROCESSING)
            assert message.doc_id in self._waiting(recipient)

    def test_statuses_travel_apart_from_documents(self) -> None:
        """Each is listed under its kind, and fetched by its id alone."""
        with self._sender() as sender, self._recipient() as recipient, _folder() as folder:
            package = folder / "document.edxml"
            header = make_package(
                package,
                sender=self.axis.sender_code,
                recipients=[self.axis.recipient_code],
                number=_number(),
            )
            self._send(sender, package)
            documents = self._waiting(sender)
            before = self._waiting(sender, PackageKind.STATUS)
            status = reply_header(
                header,
                sender=make_organization(self.axis.recipient_code),
                status_code=StatusCode.ACCEPTED,
                at=utc_now(),
            )
            write_package(status, [], folder / "status.edxml")
            recipient.send(
                folder / "status.edxml", sender_code=self.axis.recipient_code, kind=PackageKind.STATUS
            )
            [doc_id] = self._waiting(sender, PackageKind.STATUS) - before
            assert self._waiting(sender) == documents
            sender.fetch(doc_id, folder / "fetched")
            _assert_arrived(sender, folder / "fetched", folder / "status.edxml")
            sender.acknowledge(doc_id, TransportStatus.DONE)
            assert doc_id not in self._waiting(sender, PackageKind.STATUS)

    def test_memory_does_not_grow_with_the_package(self) -> None:
        """Neither sending nor fetching holds it; the axis of the tests counts too, it is in the same process."""
        with self._sender() as sender, self._recipient() as recipient, _folder() as folder:
            content = folder / "big.pdf"
            with content.open("wb") as stream:
                for _ in range(BIG_BYTES // (1024 * 1024)):
                    stream.write(os.urandom(1024 * 1024))
            package = self._package(folder, content=content)
            before = self._waiting(recipient)
            tracemalloc.start()
            try:
                self._send(sender, package)
                [doc_id] = self._waiting(recipient) - before
                recipient.fetch(doc_id, folder / "fetched")
                _now, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            _assert_arrived(recipient, folder / "fetched", package)
            assert peak < MAX_MEMORY_BYTES

    def test_threads_may_share_a_connector(self) -> None:
        """Calls do not get mixed up, and do not look like a replay."""
        with self._sender() as sender, concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
            counts = list(pool.map(lambda _: len(sender.agencies()), range(5 * _THREADS)))
        assert len(set(counts)) == 1

    def test_the_axis_tells_whom_it_delivers_to(self) -> None:
        """Both agencies of the contract are there."""
        with self._sender() as sender:
            codes = {agency.code for agency in sender.agencies()}
        assert {self.axis.sender_code, self.axis.recipient_code} <= codes

    # Who may do what

    def test_only_the_recipient_may_fetch_and_acknowledge(self) -> None:
        """The sender's system is a stranger to the recipient's mail."""
        with self._sender() as sender, self._recipient() as recipient, _folder() as folder:
            [message] = self._sent(sender, recipient, self._package(folder))
            with _raises(RefusedError):
                sender.fetch(message.doc_id, folder / "fetched")
            assert not (folder / "fetched").exists()
            with _raises(RefusedError):
                sender.acknowledge(message.doc_id, TransportStatus.DONE)
            assert message.doc_id in self._waiting(recipient)

    def test_a_sender_that_is_not_registered_is_refused(self) -> None:
        """For good, with the words of the axis."""
        with self._recipient() as recipient, _folder() as folder:
            error = _raised(lambda: self._send(recipient, self._package(folder)))
        assert isinstance(error, RefusedError)
        assert error.values["remote_code"]
        assert fault_of(error) is Fault.NEVER

    def test_an_unknown_recipient_is_refused(self) -> None:
        """As a whole: nobody gets a part of it."""
        with self._sender() as sender, self._recipient() as recipient, _folder() as folder:
            package = self._package(folder, recipients=[self.axis.recipient_code, "H01.99"])
            before = self._waiting(recipient)
            error = _raised(lambda: self._send(sender, package))
            assert isinstance(error, RefusedError)
            assert fault_of(error) is Fault.NEVER
            assert self._waiting(recipient) == before

    def test_what_is_no_package_is_refused(self) -> None:
        """The axis reads before it takes."""
        with self._sender() as sender, _folder() as folder:
            (folder / "x.edxml").write_bytes(b"TEST")
            error = _raised(lambda: self._send(sender, folder / "x.edxml"))
        assert fault_of(error) is Fault.NEVER

    def test_an_unknown_document_is_refused(self) -> None:
        """And nothing is left of the file."""
        with self._sender() as sender, self._recipient() as recipient, _folder() as folder:
            [message] = self._sent(sender, recipient, self._package(folder))
            # An id of the right make, one digit further.
            unknown = message.doc_id[:-1] + ("0" if message.doc_id[-1] != "0" else "1")
            (folder / "in").mkdir()
            error = _raised(lambda: recipient.fetch(unknown, folder / "in" / "x"))
            assert isinstance(error, RefusedError)
            assert list((folder / "in").iterdir()) == []

    def test_a_wrong_secret_is_refused_and_never_shown(self) -> None:
        """It is our fault, not the message's."""
        self._needs_secret()
        with self.axis.open("sender", secret=lambda _: WRONG_SECRET) as sender:
            shown = repr(sender)
            error = _raised(sender.agencies)
        assert is_not_let_in(error)
        assert fault_of(error) is Fault.OURS
        assert WRONG_SECRET not in f"{shown} {error!r} {error} {error.hint()}"

    def test_no_secret_is_a_matter_of_credentials(self) -> None:
        """Nothing is sent without one."""
        self._needs_secret()
        with self.axis.open("sender", secret=lambda _: None) as sender:
            assert isinstance(_raised(sender.agencies), CredentialError)
        with self.axis.open("sender", secret=lambda _: "") as sender:
            assert isinstance(_raised(sender.agencies), CredentialError)

    def test_a_rotated_secret_is_taken_up_without_a_restart(self) -> None:
        """Both for small calls and for a package on its way."""
        self._needs_secret()
        with self._sender() as sender, _folder() as folder:
            package = self._package(folder)
            before = sender.agencies()
            self.axis.rotate("sender")
            assert sender.agencies() == before
            self.axis.rotate("sender")
            assert self._send(sender, package)

    def test_a_secret_that_is_wrong_for_good_is_not_tried_for_ever(self) -> None:
        """Accounts get locked by that."""
        self._needs_secret()
        faults = self._faults()
        with self.axis.open("sender", secret=lambda _: WRONG_SECRET) as sender:
            faults.clear()
            _raised(sender.agencies)
        assert len(faults.requests) <= 2

    def test_an_expired_token_is_renewed_once(self) -> None:
        """Without the caller noticing; and if the new one is no good either, that is the end."""
        path = self.axis.token_path
        if path is None:
            raise unittest.SkipTest("this axis has no tokens")
        faults = self._faults()
        with self._sender() as sender:
            before = sender.agencies()
            faults.clear()
            faults.plan(Answered(401))
            assert sender.agencies() == before
            assert len([request for request in faults.requests if path in request]) == 1
            faults.clear()
            faults.plan(Answered(401), method="GET", times=1000)
            assert is_not_let_in(_raised(sender.agencies))
            assert len(faults.requests) <= 6
            faults.clear()

    # What goes wrong on the way

    def test_the_limit_is_known_before_anything_is_sent(self) -> None:
        """A refused upload of many megabytes helps nobody."""
        with self.axis.open("sender", max_package_bytes=1000) as sender, _folder() as folder:
            error = _raised(lambda: self._send(sender, self._package(folder, content=os.urandom(5000))))
            assert isinstance(error, InputError)
            assert error.code == "file.too-large"
            assert fault_of(error) is Fault.OURS
            assert isinstance(_raised(lambda: self._send(sender, folder / "missing")), InputError)
            (folder / "empty").write_bytes(b"")
            assert isinstance(_raised(lambda: self._send(sender, folder / "empty")), InputError)

    def test_a_package_over_the_limit_is_not_fetched(self) -> None:
        """And nothing of it stays."""
        with self._sender() as sender, self._recipient() as recipient, _folder() as folder:
            [message] = self._sent(sender, recipient, self._package(folder, content=os.urandom(300_000)))
            with self.axis.open("recipient", max_package_bytes=50_000) as small:
                error = _raised(lambda: small.fetch(message.doc_id, folder / "fetched"))
            assert isinstance(error, ConnectorError)
            assert not (folder / "fetched").exists()

    def test_a_busy_axis_says_when_to_come_again(self) -> None:
        """``Retry-After`` as seconds and as a date; 429 even without it."""
        faults = self._faults()
        soon = email.utils.format_datetime(utc_now() + datetime.timedelta(seconds=90), usegmt=True)
        with self._sender() as sender, _folder() as folder:
            package = self._package(folder)
            sender.agencies()
            for status, header, least, most in (
                (429, "30", 30.0, 30.0),
                (503, "7", 7.0, 7.0),
                (503, soon, 60.0, 90.0),
                (429, "99999999999", 3600.0, 24 * 3600.0),
            ):
                for call in (sender.agencies, lambda: self._send(sender, package)):
                    faults.plan(Answered(status, headers={"Retry-After": header}))
                    error = _raised(call)
                    assert isinstance(error, ConnectorError)
                    assert fault_of(error) is Fault.BUSY
                    assert error.retry_after_s is not None
                    assert least <= error.retry_after_s <= most
            for headers in ({}, {"Retry-After": "soon"}):
                faults.plan(Answered(429, headers=headers))
                error = _raised(sender.agencies)
                assert fault_of(error) is Fault.BUSY
                assert isinstance(error, ConnectorError)
                assert error.retry_after_s is None

    def test_trouble_of_the_axis_passes(self) -> None:
        """Server errors, redirects (never followed) and slow requests are worth another try."""
        faults = self._faults()
        with self._sender() as sender, _folder() as folder:
            package = self._package(folder)
            sender.agencies()
            for status in (500, 502, 503, 504, 408, 302):
                for call in (sender.agencies, lambda: self._send(sender, package)):
                    faults.plan(Answered(status, b"<html>", "text/html", {"Location": "http://127.0.0.1:1/"}))
                    error = _raised(call)
                    assert isinstance(error, ConnectorError)
                    assert fault_of(error) is Fault.LATER
            # The next call is as if nothing had been.
            assert self._send(sender, package)

    def test_garbage_is_no_answer(self) -> None:
        """Whatever comes with a 200, it ends in one of our errors."""
        faults = self._faults()
        with self._sender() as sender, self._recipient() as recipient, _folder() as folder:
            package = self._package(folder)
            [message] = self._sent(sender, recipient, self._package(folder, name="other.edxml"))
            sender.agencies()
            (folder / "in").mkdir()
            for body in (
                b"",
                b"<html>",
                b"\xff\xfe",
                b"[" * 100_000,
                b"7",
                b'"x"',
                b"[7]",
                b"{}",
                b'{"data":7}',
            ):
                for call in (
                    lambda: sender.list_received(PackageKind.DOCUMENT),
                    lambda: self._send(sender, package),
                    lambda: recipient.fetch(message.doc_id, folder / "in" / "x"),
                ):
                    faults.plan(Answered(200, body, "application/json"))
                    try:
                        call()
                    except VnedocError as error:
                        assert fault_of(error) in {Fault.LATER, Fault.NEVER}
                    faults.clear()
                    # A wire that carries packages as they are cannot know; who reads the package will.
                    for left in (folder / "in").iterdir():
                        assert left.read_bytes() == body
                        left.unlink()

    def test_an_answer_without_end_is_cut_off(self) -> None:
        """A list is never 40 megabytes long."""
        faults = self._faults()
        with self._sender() as sender:
            sender.agencies()
            faults.plan(Flooded(40 * 1024 * 1024))
            error = _raised(lambda: sender.list_received(PackageKind.DOCUMENT))
        assert error.code == "remote.answer-too-large"
        assert fault_of(error) is Fault.LATER

    def test_a_connection_that_breaks_leaves_nothing(self) -> None:
        """In the middle of a request, and in the middle of an answer."""
        faults = self._faults()
        with self._sender() as sender, self._recipient() as recipient, _folder() as folder:
            package = self._package(folder, content=os.urandom(200_000))
            [message] = self._sent(sender, recipient, package)
            (folder / "in").mkdir()
            for after in (0, 1, 70_000):
                faults.plan(CutAnswer(after))
                error = _raised(lambda: recipient.fetch(message.doc_id, folder / "in" / "x"))
                assert isinstance(error, ConnectorError)
                assert fault_of(error) is Fault.LATER
                assert list((folder / "in").iterdir()) == []
            other = self._package(folder, name="other.edxml", content=os.urandom(200_000))
            before = self._waiting(recipient)
            for after in (0, 70_000):
                faults.plan(CutRequest(after))
                assert fault_of(_raised(lambda: self._send(sender, other))) is Fault.LATER
            assert self._waiting(recipient) == before
            assert self._send(sender, other)
            assert len(self._waiting(recipient) - before) == 1

    def test_an_answer_that_is_lost_doubles_nothing(self) -> None:
        """The axis has the package, and we do not know it: sending again gives the receipt."""
        faults = self._faults()
        with self._sender() as sender, self._recipient() as recipient, _folder() as folder:
            package = self._package(folder)
            before = self._waiting(recipient)
            sender.agencies()
            faults.plan(LostAnswer())
            assert fault_of(_raised(lambda: self._send(sender, package))) is Fault.LATER
            [doc_id] = self._waiting(recipient) - before
            assert self._send(sender, package)
            assert self._waiting(recipient) - before == {doc_id}
            faults.plan(LostAnswer())
            assert (
                fault_of(_raised(lambda: recipient.acknowledge(doc_id, TransportStatus.DONE))) is Fault.LATER
            )
            recipient.acknowledge(doc_id, TransportStatus.DONE)
            assert doc_id not in self._waiting(recipient)

    def test_an_axis_that_is_slow_is_given_up(self) -> None:
        """In bounded time."""
        faults = self._faults()
        with self.axis.open("sender", timeout_s=0.3) as sender, faults.planned(Delayed(1.0)):
            error = _raised(sender.agencies)
        assert error.code == "remote.timeout"
        assert fault_of(error) is Fault.LATER

    # What goes in is checked

    def test_ids_that_could_climb_are_refused(self) -> None:
        """Ids become paths and headers."""
        with self._recipient() as recipient, _folder() as folder:
            for doc_id in ("", "../x", "a/b", "a b", "é", "a\r\nb", "x" * 129):
                with _raises(UsageError):
                    recipient.fetch(doc_id, folder / "x")
                with _raises(UsageError):
                    recipient.acknowledge(doc_id, TransportStatus.DONE)

    def test_codes_that_break_headers_are_refused(self) -> None:
        """Whatever the header says on the other side."""
        with self._sender() as sender, _folder() as folder:
            package = self._package(folder)
            for code in ("", "H 99", "H99\r\nX: y", "Tỉnh"):
                with _raises(UsageError):
                    sender.send(package, sender_code=code, kind=PackageKind.DOCUMENT)

    # Helpers

    def _sender(self) -> Connector:
        return self.axis.open("sender")

    def _recipient(self) -> Connector:
        return self.axis.open("recipient")

    def _faults(self) -> Faults:
        if self.axis.faults is None:
            raise unittest.SkipTest("this axis cannot be made to misbehave")
        self.axis.faults.clear()
        return self.axis.faults

    def _needs_secret(self) -> None:
        if not self.axis.has_secret:
            raise unittest.SkipTest("no secret lets a system in to this axis")

    def _package(
        self,
        folder: Path,
        *,
        recipients: list[str] | None = None,
        content: bytes | Path | None = None,
        name: str = "package.edxml",
    ) -> Path:
        path = folder / name
        make_package(
            path,
            sender=self.axis.sender_code,
            recipients=recipients or [self.axis.recipient_code],
            number=_number(),
            content=os.urandom(2000) if content is None else content,
        )
        return path

    def _send(self, connector: Connector, package: Path) -> str:
        return connector.send(package, sender_code=self.axis.sender_code, kind=PackageKind.DOCUMENT)

    def _waiting(self, connector: Connector, kind: PackageKind = PackageKind.DOCUMENT) -> set[str]:
        return {message.doc_id for message in connector.list_received(kind)}

    def _sent(self, sender: Connector, recipient: Connector, package: Path) -> list[RemoteMessage]:
        """Send a package; return what is new for the recipient."""
        before = self._waiting(recipient)
        self._send(sender, package)
        return [
            message
            for message in recipient.list_received(PackageKind.DOCUMENT)
            if message.doc_id not in before
        ]


def _number() -> int:
    # A number of its own for each package: the axis remembers documents.
    return int.from_bytes(os.urandom(5))


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="vnedoc-contract-") as name:
        yield Path(name)


def _raised(call: Callable[[], object]) -> VnedocError:
    """Return the error of ours that a call raises."""
    try:
        call()
    except VnedocError as error:
        return error
    raise AssertionError("nothing went wrong")


@contextlib.contextmanager
def _raises(kind: type[VnedocError]) -> Iterator[None]:
    try:
        yield
    except kind:
        return
    raise AssertionError(f"no {kind.__name__}")


def _assert_arrived(connector: Connector, fetched: Path, sent: Path) -> None:
    """See to it that a package arrived: byte for byte, or what it says and carries where the wire takes it apart."""
    if connector.keeps_bytes:
        assert _digest(fetched) == _digest(sent)
        return
    first, second = (read_package(path, folder=None) for path in (fetched, sent))
    assert first.header == second.header
    assert [(item.name, item.sha256) for item in first.attachments] == [
        (item.name, item.sha256) for item in second.attachments
    ]


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
