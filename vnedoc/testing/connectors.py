"""What every connector must keep to, as tests: run them against your own.

::

    class TestMyConnector(ConnectorContract):
        @pytest.fixture(autouse=True)
        def _axis(self):
            with my_axis() as self.axis:
                yield

An :class:`Axis` is the other side, really running, with two systems: one that sends and one that receives. pytest
collects the methods; there is nothing else to install. What a wire has no word for is said by the connector
(:attr:`~vnedoc.exchange.connectors.base.Connector.reports_sent` and the like), and what an axis does not have by the
class: ``without = frozenset({"token"})``. Tests that need it are then not collected at all.
"""

from __future__ import annotations

import concurrent.futures
import os
import tracemalloc

from vnedoc._internal.clock import utc_now
from vnedoc.errors import CredentialError, RefusedError, UsageError
from vnedoc.exchange.codes import PackageKind, StatusCode
from vnedoc.exchange.connectors.base import Fault, Objection, fault_of, is_not_let_in
from vnedoc.exchange.package import reply_header, write_package
from vnedoc.exchange.states import TransportStatus
from vnedoc.testing._connector_axis import (
    Axis,
    Means,
    Role,
    assert_arrived,
    needs,
    new_folder,
    number,
    raised,
    raises,
)
from vnedoc.testing._connector_troubles import TroubleContract
from vnedoc.testing.faults import Answered
from vnedoc.testing.packages import make_organization, make_package

__all__ = ["Axis", "ConnectorContract", "Means", "Role"]

WRONG_SECRET = "TEST-WRONG-SECRET"  # noqa: S105 - wrong on purpose
BIG_BYTES = 24 * 1024 * 1024
MAX_MEMORY_BYTES = 20 * 1024 * 1024
_THREADS = 4


class ConnectorContract(TroubleContract):
    """The contract of :class:`~vnedoc.exchange.connectors.base.Connector`.

    Subclass it under a name that starts with Test, and set :attr:`axis` before each test.
    """

    def test_what_the_axis_does_not_have_is_said(self) -> None:
        """Neither more, or a test would not run that could, nor less."""
        lacking: set[Means] = set()
        if not self.axis.has_secret:
            lacking.add("secret")
        if self.axis.token_path is None:
            lacking.add("token")
        if self.axis.faults is None:
            lacking.add("faults")
        assert self.without == lacking

    # What arrives

    def test_a_package_arrives_as_it_was_sent(self) -> None:
        """Byte for byte where the wire can, once, with what the axis tells of it."""
        with self._sender() as sender, self._recipient() as recipient, new_folder() as folder:
            package = self._package(folder)
            [message] = self._sent(sender, recipient, package)
            assert message.kind is PackageKind.DOCUMENT
            assert message.status in {TransportStatus.INITIAL, None}
            if recipient.tells_recipient:
                assert message.recipient_code == self.axis.recipient_code
                assert message.sender_code == self.axis.sender_code
            recipient.fetch(message.doc_id, folder / "fetched")
            assert_arrived(recipient, folder / "fetched", package)

    def test_sending_again_gives_the_first_receipt(self) -> None:
        """Nobody knows whether an answer was lost: the same package again must not arrive twice."""
        with self._sender() as sender, self._recipient() as recipient, new_folder() as folder:
            package = self._package(folder)
            before = self._waiting(recipient)
            first, second = self._send(sender, package), self._send(sender, package)
            assert first == second
            assert len(self._waiting(recipient) - before) == 1

    def test_what_was_taken_is_not_delivered_again_when_it_is_sent_again(self) -> None:
        """Not even after it was acknowledged."""
        with self._sender() as sender, self._recipient() as recipient, new_folder() as folder:
            package = self._package(folder)
            [message] = self._sent(sender, recipient, package)
            recipient.acknowledge(message.doc_id, TransportStatus.DONE)
            before = self._waiting(recipient)
            self._send(sender, package)
            assert self._waiting(recipient) == before

    def test_what_is_acknowledged_is_not_listed_again(self) -> None:
        """Whether it was taken or not, and telling it twice is no error."""
        with self._sender() as sender, self._recipient() as recipient, new_folder() as folder:
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
        with self._sender() as sender, self._recipient() as recipient, new_folder() as folder:
            [message] = self._sent(sender, recipient, self._package(folder))
            recipient.acknowledge(message.doc_id, TransportStatus.PROCESSING)
            assert message.doc_id in self._waiting(recipient)

    def test_statuses_travel_apart_from_documents(self) -> None:
        """Each is listed under its kind, and fetched by its id alone."""
        with self._sender() as sender, self._recipient() as recipient, new_folder() as folder:
            package = folder / "document.edxml"
            header = make_package(
                package,
                sender=self.axis.sender_code,
                recipients=[self.axis.recipient_code],
                number=number(),
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
            assert_arrived(sender, folder / "fetched", folder / "status.edxml")
            sender.acknowledge(doc_id, TransportStatus.DONE)
            assert doc_id not in self._waiting(sender, PackageKind.STATUS)

    def test_memory_does_not_grow_with_the_package(self) -> None:
        """Neither sending nor fetching holds it; the axis of the tests counts too, it is in the same process."""
        with self._sender() as sender, self._recipient() as recipient, new_folder() as folder:
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
            assert_arrived(recipient, folder / "fetched", package)
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
        with self._sender() as sender, self._recipient() as recipient, new_folder() as folder:
            [message] = self._sent(sender, recipient, self._package(folder))
            with raises(RefusedError):
                sender.fetch(message.doc_id, folder / "fetched")
            assert not (folder / "fetched").exists()
            with raises(RefusedError):
                sender.acknowledge(message.doc_id, TransportStatus.DONE)
            assert message.doc_id in self._waiting(recipient)

    def test_a_sender_that_is_not_registered_is_refused(self) -> None:
        """For good, with the words of the axis."""
        with self._recipient() as recipient, new_folder() as folder:
            error = raised(lambda: self._send(recipient, self._package(folder)))
            assert isinstance(error, RefusedError)
            # A table may lack the code of an axis; what is in it must be right.
            assert recipient.objection_of(error) is not Objection.RECIPIENT
        assert error.values["remote_code"]
        assert fault_of(error) is Fault.NEVER

    def test_an_unknown_recipient_is_refused(self) -> None:
        """As a whole: nobody gets a part of it."""
        with self._sender() as sender, self._recipient() as recipient, new_folder() as folder:
            package = self._package(folder, recipients=[self.axis.recipient_code, "H01.99"])
            before = self._waiting(recipient)
            error = raised(lambda: self._send(sender, package))
            assert isinstance(error, RefusedError)
            assert sender.objection_of(error) is not Objection.SENDER
            assert fault_of(error) is Fault.NEVER
            assert self._waiting(recipient) == before

    def test_what_is_no_package_is_refused(self) -> None:
        """The axis reads before it takes."""
        with self._sender() as sender, new_folder() as folder:
            (folder / "x.edxml").write_bytes(b"TEST")
            error = raised(lambda: self._send(sender, folder / "x.edxml"))
        assert fault_of(error) is Fault.NEVER

    def test_an_unknown_document_is_refused(self) -> None:
        """And nothing is left of the file."""
        with self._sender() as sender, self._recipient() as recipient, new_folder() as folder:
            [message] = self._sent(sender, recipient, self._package(folder))
            # An id of the right make, one digit further.
            unknown = message.doc_id[:-1] + ("0" if message.doc_id[-1] != "0" else "1")
            (folder / "in").mkdir()
            error = raised(lambda: recipient.fetch(unknown, folder / "in" / "x"))
            assert isinstance(error, RefusedError)
            assert list((folder / "in").iterdir()) == []

    @needs("secret")
    def test_a_wrong_secret_is_refused_and_never_shown(self) -> None:
        """It is our fault, not the message's."""
        with self.axis.open("sender", secret=lambda _: WRONG_SECRET) as sender:
            shown = repr(sender)
            error = raised(sender.agencies)
        assert is_not_let_in(error)
        assert fault_of(error) is Fault.OURS
        assert WRONG_SECRET not in f"{shown} {error!r} {error} {error.hint()}"

    @needs("secret")
    def test_no_secret_is_a_matter_of_credentials(self) -> None:
        """Nothing is sent without one."""
        with self.axis.open("sender", secret=lambda _: None) as sender:
            assert isinstance(raised(sender.agencies), CredentialError)
        with self.axis.open("sender", secret=lambda _: "") as sender:
            assert isinstance(raised(sender.agencies), CredentialError)

    @needs("secret")
    def test_a_rotated_secret_is_taken_up_without_a_restart(self) -> None:
        """Both for small calls and for a package on its way."""
        with self._sender() as sender, new_folder() as folder:
            package = self._package(folder)
            before = sender.agencies()
            self.axis.rotate("sender")
            assert sender.agencies() == before
            self.axis.rotate("sender")
            assert self._send(sender, package)

    @needs("secret", "faults")
    def test_a_secret_that_is_wrong_for_good_is_not_tried_for_ever(self) -> None:
        """Accounts get locked by that."""
        faults = self._faults()
        with self.axis.open("sender", secret=lambda _: WRONG_SECRET) as sender:
            faults.clear()
            raised(sender.agencies)
        assert len(faults.requests) <= 2

    @needs("token", "faults")
    def test_an_expired_token_is_renewed_once(self) -> None:
        """Without the caller noticing; and if the new one is no good either, that is the end."""
        path = self.axis.token_path
        assert path is not None
        faults = self._faults()
        with self._sender() as sender:
            before = sender.agencies()
            faults.clear()
            faults.plan(Answered(401))
            assert sender.agencies() == before
            assert len([request for request in faults.requests if path in request]) == 1
            faults.clear()
            faults.plan(Answered(401), method="GET", times=1000)
            assert is_not_let_in(raised(sender.agencies))
            assert len(faults.requests) <= 6
            faults.clear()

    # What goes in is checked

    def test_ids_that_could_climb_are_refused(self) -> None:
        """Ids become paths and headers."""
        with self._recipient() as recipient, new_folder() as folder:
            for doc_id in ("", "../x", "a/b", "a b", "é", "a\r\nb", "x" * 129):
                with raises(UsageError):
                    recipient.fetch(doc_id, folder / "x")
                with raises(UsageError):
                    recipient.acknowledge(doc_id, TransportStatus.DONE)

    def test_codes_that_break_headers_are_refused(self) -> None:
        """Whatever the header says on the other side."""
        with self._sender() as sender, new_folder() as folder:
            package = self._package(folder)
            for code in ("", "H 99", "H99\r\nX: y", "Tỉnh"):
                with raises(UsageError):
                    sender.send(package, sender_code=code, kind=PackageKind.DOCUMENT)
