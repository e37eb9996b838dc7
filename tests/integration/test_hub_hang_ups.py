"""Callers of a hub that hang up while they fetch: files are closed, and unpacked ones removed, without delay."""

import contextlib
import gc
import os
import socket
import threading
import time

import pytest

from tests.hub_clients import HubClient
from tests.integration.test_hub_bkav_soap import RECIPIENT, SENDER, faulted, parsed
from tests.integration.test_hub_soap_strangers import hub_with
from vnedoc.exchange import _vxp
from vnedoc.exchange._soap import names
from vnedoc.exchange._soap.envelope import SoapVersion, wrapped
from vnedoc.exchange.codes import PackageKind
from vnedoc.testing.packages import make_package

# More than systems keep of an answer that nobody reads.
CONTENT_BYTES = 12_000_000
READERS = 3


@pytest.fixture
def no_collector():
    """No file is closed by chance."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def port_of(axis):
    return int(axis.hub.url.rpartition(":")[2])


@contextlib.contextmanager
def reading(axis, request):
    """Ask, read the beginning of the answer, and no more."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", port_of(axis)))
        connection.sendall(request)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        yield connection


def vxp_request(axis, doc_id, method="GET", path=_vxp.DOWNLOAD_PATH):
    client = HubClient([port_of(axis)], "TEST.B", axis.tokens[RECIPIENT])
    return client.request(method, path, [("docId", doc_id)])


def soap_request(axis, number):
    fields = f"<OrganId>{RECIPIENT}</OrganId><Token>{axis.tokens[RECIPIENT]}</Token><DocumentId>{number}</DocumentId>"
    content = wrapped(SoapVersion.V11, f"<GetDocumentRequest>{fields}</GetDocumentRequest>".encode())
    head = f"POST {names.PATH} HTTP/1.1\r\nHost: TEST\r\nContent-Type: text/xml\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def send(axis, folder):
    """Send a large package; return its id and its number."""
    path = folder / "x.edxml"
    make_package(
        path, sender=SENDER, recipients=[RECIPIENT], content=b"%PDF-1.7\n" + os.urandom(CONTENT_BYTES)
    )
    with axis.vxp("TEST.A", SENDER) as sender:
        sender.send(path, sender_code=SENDER, kind=PackageKind.DOCUMENT)
    [row] = axis.hub.store.waiting("TEST.B", PackageKind.DOCUMENT)
    [number] = axis.pending(RECIPIENT)
    return row.doc_id, number


def unpacked(axis):
    return list((axis.hub.folder / "payloads" / "incoming").iterdir())


@pytest.mark.parametrize(("method", "path"), [("GET", _vxp.DOWNLOAD_PATH), ("POST", _vxp.FETCH_PATH)])
@pytest.mark.usefixtures("no_collector")
def test_a_package_that_nobody_reads_any_more_is_closed(tmp_path, monkeypatch, method, path):
    with hub_with() as axis:
        doc_id, _ = send(axis, tmp_path)
        payloads = axis.hub.store.payloads
        opened, open_one = [], payloads.open

        def noted(sha256):
            opened.append(open_one(sha256))
            return opened[-1]

        monkeypatch.setattr(payloads, "open", noted)
        with contextlib.ExitStack() as stack:
            for _ in range(READERS):
                stack.enter_context(reading(axis, vxp_request(axis, doc_id, method, path)))
            wait_for(lambda: len(opened) == READERS)
            assert not any(stream.closed for stream in opened)
        wait_for(lambda: all(stream.closed for stream in opened))


@pytest.mark.usefixtures("no_collector")
def test_a_package_that_was_unpacked_for_somebody_who_hangs_up_is_removed(tmp_path):
    with hub_with() as axis:
        _, number = send(axis, tmp_path)
        with contextlib.ExitStack() as stack:
            for _ in range(READERS):
                stack.enter_context(reading(axis, soap_request(axis, number)))
            assert len(unpacked(axis)) == READERS
            assert axis.hub.hub.unpacked.uploads == READERS
        wait_for(lambda: unpacked(axis) == [])
        wait_for(lambda: axis.hub.hub.unpacked.uploads == 0)


def test_a_system_has_so_many_packages_unpacked_at_once(tmp_path):
    with hub_with(uploads_per_system=2, upload_wait_s=0.2) as axis:
        doc_id, number = send(axis, tmp_path)
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                stack.enter_context(reading(axis, soap_request(axis, number)))
            refused = axis.ask("GetDocumentRequest", RECIPIENT, DocumentId=number)
            faulted(refused, "busy", status=429)
            assert int(refused.headers["Retry-After"]) >= 1
            assert len(unpacked(axis)) == 2
            # What needs no room on the disk has no such limit, and answers are not uploads.
            for _ in range(3):
                stack.enter_context(reading(axis, vxp_request(axis, doc_id)))
            assert axis.pending(RECIPIENT) == [number]
            assert axis.hub.hub.shares.uploads == 0
        wait_for(lambda: axis.hub.hub.unpacked.uploads == 0)
        answer = axis.ask("GetDocumentRequest", RECIPIENT, DocumentId=number)
        assert answer.status_code == 200
        assert len(answer.content) > CONTENT_BYTES
        assert parsed(axis.ask("ConfirmReceived", RECIPIENT, DocumentId=number)).fault() is None
