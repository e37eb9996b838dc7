"""The part of the connectors' contract that is about what goes wrong on the way."""

from __future__ import annotations

import datetime
import email.utils
import os

from vnedoc._internal.clock import utc_now
from vnedoc.errors import ConnectorError, InputError, VnedocError
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.connectors.base import Fault, fault_of
from vnedoc.exchange.states import TransportStatus
from vnedoc.testing._connector_axis import ContractBase, needs, new_folder, raised
from vnedoc.testing.faults import Answered, CutAnswer, CutRequest, Delayed, Flooded, LostAnswer

__all__ = ["TroubleContract"]


class TroubleContract(ContractBase):
    """What a connector makes of a bad day: limits, busy and broken axes, lost answers."""

    def test_the_limit_is_known_before_anything_is_sent(self) -> None:
        """A refused upload of many megabytes helps nobody."""
        with self.axis.open("sender", max_package_bytes=1000) as sender, new_folder() as folder:
            error = raised(lambda: self._send(sender, self._package(folder, content=os.urandom(5000))))
            assert isinstance(error, InputError)
            assert error.code == "file.too-large"
            assert fault_of(error) is Fault.OURS
            assert isinstance(raised(lambda: self._send(sender, folder / "missing")), InputError)
            (folder / "empty").write_bytes(b"")
            assert isinstance(raised(lambda: self._send(sender, folder / "empty")), InputError)

    def test_a_package_over_the_limit_is_not_fetched(self) -> None:
        """And nothing of it stays."""
        with self._sender() as sender, self._recipient() as recipient, new_folder() as folder:
            [message] = self._sent(sender, recipient, self._package(folder, content=os.urandom(300_000)))
            with self.axis.open("recipient", max_package_bytes=50_000) as small:
                error = raised(lambda: small.fetch(message.doc_id, folder / "fetched"))
            assert isinstance(error, ConnectorError)
            assert not (folder / "fetched").exists()

    @needs("faults")
    def test_a_busy_axis_says_when_to_come_again(self) -> None:
        """``Retry-After`` as seconds and as a date; 429 even without it."""
        faults = self._faults()
        soon = email.utils.format_datetime(utc_now() + datetime.timedelta(seconds=90), usegmt=True)
        with self._sender() as sender, new_folder() as folder:
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
                    error = raised(call)
                    assert isinstance(error, ConnectorError)
                    assert fault_of(error) is Fault.BUSY
                    assert error.retry_after_s is not None
                    assert least <= error.retry_after_s <= most
            for headers in ({}, {"Retry-After": "soon"}):
                faults.plan(Answered(429, headers=headers))
                error = raised(sender.agencies)
                assert fault_of(error) is Fault.BUSY
                assert isinstance(error, ConnectorError)
                assert error.retry_after_s is None

    @needs("faults")
    def test_trouble_of_the_axis_passes(self) -> None:
        """Server errors, redirects (never followed) and slow requests are worth another try."""
        faults = self._faults()
        with self._sender() as sender, new_folder() as folder:
            package = self._package(folder)
            sender.agencies()
            for status in (500, 502, 503, 504, 408, 302):
                for call in (sender.agencies, lambda: self._send(sender, package)):
                    faults.plan(Answered(status, b"<html>", "text/html", {"Location": "http://127.0.0.1:1/"}))
                    error = raised(call)
                    assert isinstance(error, ConnectorError)
                    assert fault_of(error) is Fault.LATER
            # The next call is as if nothing had been.
            assert self._send(sender, package)

    @needs("faults")
    def test_garbage_is_no_answer(self) -> None:
        """Whatever comes with a 200, it ends in one of our errors."""
        faults = self._faults()
        with self._sender() as sender, self._recipient() as recipient, new_folder() as folder:
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

    @needs("faults")
    def test_an_answer_without_end_is_cut_off(self) -> None:
        """A list is never 40 megabytes long."""
        faults = self._faults()
        with self._sender() as sender:
            sender.agencies()
            faults.plan(Flooded(40 * 1024 * 1024))
            error = raised(lambda: sender.list_received(PackageKind.DOCUMENT))
        assert error.code == "remote.answer-too-large"
        assert fault_of(error) is Fault.LATER

    @needs("faults")
    def test_a_connection_that_breaks_leaves_nothing(self) -> None:
        """In the middle of a request, and in the middle of an answer."""
        faults = self._faults()
        with self._sender() as sender, self._recipient() as recipient, new_folder() as folder:
            package = self._package(folder, content=os.urandom(200_000))
            [message] = self._sent(sender, recipient, package)
            (folder / "in").mkdir()
            for after in (0, 1, 70_000):
                faults.plan(CutAnswer(after))
                error = raised(lambda: recipient.fetch(message.doc_id, folder / "in" / "x"))
                assert isinstance(error, ConnectorError)
                assert fault_of(error) is Fault.LATER
                assert list((folder / "in").iterdir()) == []
            other = self._package(folder, name="other.edxml", content=os.urandom(200_000))
            before = self._waiting(recipient)
            for after in (0, 70_000):
                faults.plan(CutRequest(after))
                assert fault_of(raised(lambda: self._send(sender, other))) is Fault.LATER
            assert self._waiting(recipient) == before
            assert self._send(sender, other)
            assert len(self._waiting(recipient) - before) == 1

    @needs("faults")
    def test_an_answer_that_is_lost_doubles_nothing(self) -> None:
        """The axis has the package, and we do not know it: sending again gives the receipt."""
        faults = self._faults()
        with self._sender() as sender, self._recipient() as recipient, new_folder() as folder:
            package = self._package(folder)
            before = self._waiting(recipient)
            sender.agencies()
            faults.plan(LostAnswer())
            assert fault_of(raised(lambda: self._send(sender, package))) is Fault.LATER
            [doc_id] = self._waiting(recipient) - before
            assert self._send(sender, package)
            assert self._waiting(recipient) - before == {doc_id}
            faults.plan(LostAnswer())
            assert (
                fault_of(raised(lambda: recipient.acknowledge(doc_id, TransportStatus.DONE))) is Fault.LATER
            )
            recipient.acknowledge(doc_id, TransportStatus.DONE)
            assert doc_id not in self._waiting(recipient)

    @needs("faults")
    def test_an_axis_that_is_slow_is_given_up(self) -> None:
        """In bounded time."""
        faults = self._faults()
        with self.axis.open("sender", timeout_s=0.3) as sender, faults.planned(Delayed(1.0)):
            error = raised(sender.agencies)
        assert error.code == "remote.timeout"
        assert fault_of(error) is Fault.LATER
