"""Every connector keeps the contract that comes with vnedoc, against the real other side."""

import contextlib
import os
from collections.abc import Mapping
from typing import ClassVar

import pytest

from vnedoc._internal import transfers
from vnedoc.errors import RefusedError
from vnedoc.exchange.connectors.folder import FolderConnector
from vnedoc.exchange.package import read_package
from vnedoc.testing.axes import FolderAxis, running_axis
from vnedoc.testing.connectors import ConnectorContract


class _OnAxis(ConnectorContract):
    kind = ""
    options: ClassVar[Mapping[str, object]] = {}

    @pytest.fixture(autouse=True)
    def _axis(self, running):
        self.axis = running

    @pytest.fixture(scope="class")
    @classmethod
    def running(cls):
        with running_axis(cls.kind) as axis:
            plain = axis.open
            axis.open = lambda role, **given: plain(role, **{**cls.options, **given})
            yield axis

    def test_a_transfer_tells_how_far_it_is(self, tmp_path):
        """In bytes of the package, whatever the wire makes of it."""
        sent, fetched = [], []
        with self._sender() as sender, self._recipient() as recipient:
            package = self._package(tmp_path, content=os.urandom(1_500_000))
            before = self._waiting(recipient)
            with transfers.watched(sent.append):
                self._send(sender, package)
            [doc_id] = self._waiting(recipient) - before
            with transfers.watched(fetched.append):
                recipient.fetch(doc_id, tmp_path / "fetched")
        size = package.stat().st_size
        assert 0.99 * size <= sum(sent) <= 1.01 * size
        assert len(sent) > 1
        assert sum(fetched) >= 1_500_000


class TestVXP(_OnAxis):
    kind = "vxp"
    without = frozenset({"token"})


class TestVXPOfOtherClients(_OnAxis):
    """The newer calls for fetching and for agencies, and the file hash of other clients."""

    kind = "vxp"
    without = frozenset({"token"})
    options: ClassVar = {"use_download": True, "padded_file_hash": True, "agency_call": "qd20"}


class TestLGSP(_OnAxis):
    kind = "lgsp"


class TestLGSPOAuth2(_OnAxis):
    kind = "lgsp-oauth2"


class TestLGSPOAuth2WithSecretInQuery(_OnAxis):
    kind = "lgsp-oauth2"
    options: ClassVar = {"unit_secret_in": "query"}


class TestBkavREST(_OnAxis):
    kind = "bkav-rest"
    without = frozenset({"token"})


class TestBkavSOAP(_OnAxis):
    kind = "bkav-soap"
    without = frozenset({"token"})


class TestBkavSOAP12(_OnAxis):
    kind = "bkav-soap"
    without = frozenset({"token"})
    options: ClassVar = {"soap12": True}


class TestXRoad(_OnAxis):
    kind = "xroad"
    without = frozenset({"secret", "token"})


class TestFolder(_OnAxis):
    kind = "folder"
    without = frozenset({"secret", "token", "faults"})


class _Broken(FolderConnector):
    """Doubles what it sends, forgets what was acknowledged, fetches half, and lets anyone send."""

    def _send(self, path, size, _sender_code, kind):
        doc_id = super()._send(path, size, self._code, kind)
        self._sent_before = getattr(self, "_sent_before", 0) + 1
        return f"{doc_id}-{self._sent_before}"

    def _sendable(self, path, sender_code, kind):
        with contextlib.suppress(RefusedError):
            return super()._sendable(path, sender_code, kind)
        return read_package(path, folder=None)

    def _fetch(self, _doc_id, stream):
        stream.write(b"half")

    def _acknowledge(self, _doc_id, _status):
        pass

    def _agencies(self):
        return super()._agencies()[:1]


class _BrokenAxis(FolderAxis):
    def open(self, role, **_options):
        connector = super().open(role)
        return _Broken(connector._root, connector._code)


@pytest.mark.parametrize(
    "broken",
    [
        "test_a_package_arrives_as_it_was_sent",
        "test_sending_again_gives_the_first_receipt",
        "test_what_is_acknowledged_is_not_listed_again",
        "test_statuses_travel_apart_from_documents",
        "test_memory_does_not_grow_with_the_package",
        "test_the_axis_tells_whom_it_delivers_to",
        "test_only_the_recipient_may_fetch_and_acknowledge",
        "test_a_sender_that_is_not_registered_is_refused",
        "test_an_unknown_document_is_refused",
        "test_the_limit_is_known_before_anything_is_sent",
        "test_a_package_over_the_limit_is_not_fetched",
    ],
)
def test_the_contract_finds_a_connector_that_breaks_it(tmp_path, broken):
    contract = ConnectorContract()
    contract.axis = _BrokenAxis(tmp_path)
    with pytest.raises(AssertionError):
        getattr(contract, broken)()


def test_what_an_axis_does_not_have_is_not_tested():
    class Without(ConnectorContract):
        without = frozenset({"token"})

    class Also(Without):
        without = Without.without | {"faults"}

    secret = "test_a_wrong_secret_is_refused_and_never_shown"
    token = "test_an_expired_token_is_renewed_once"
    faults = "test_garbage_is_no_answer"
    assert [getattr(Without, name) is None for name in (secret, token, faults)] == [False, True, False]
    assert [getattr(Also, name) is None for name in (secret, token, faults)] == [False, True, True]
    assert getattr(ConnectorContract, token) is not None


def test_a_class_that_leaves_out_too_much_is_found(tmp_path):
    class TooMuch(ConnectorContract):
        without = frozenset({"secret", "token", "faults"})

    contract = TooMuch()
    contract.axis = FolderAxis(tmp_path)
    contract.test_what_the_axis_does_not_have_is_said()
    contract.axis.has_secret = True
    with pytest.raises(AssertionError):
        contract.test_what_the_axis_does_not_have_is_said()
