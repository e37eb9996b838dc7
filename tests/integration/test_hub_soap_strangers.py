"""The hub by its SOAP wire, before it knows who calls: strangers stand in the way of strangers only."""

import contextlib
import os
import socket
import threading
import time

import httpx2
import pytest

from tests.integration.test_hub_bkav_soap import RECIPIENT, RELATED, SENDER, Axis, codes, faulted, parsed
from vnedoc.errors import VnedocError
from vnedoc.exchange._soap import names
from vnedoc.exchange._soap.blocks import key_block
from vnedoc.exchange._soap.envelope import SoapVersion, parse_envelope, wrapped
from vnedoc.exchange._soap.message import document_message
from vnedoc.exchange._soap.report import read_report
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub.options import HubOptions, Limits
from vnedoc.exchange.package import read_package
from vnedoc.messages import Language
from vnedoc.testing.hub import running_hub
from vnedoc.testing.packages import make_package

ELSEWHERE = "127.0.0.2"
MIB = 1024 * 1024


@contextlib.contextmanager
def hub_with(**limits):
    options = HubOptions(wires=("vxp", "bkav-soap"), language=Language.EN, limits=Limits(**limits))
    with running_hub(options=options) as hub, httpx2.Client(timeout=60) as client:
        yield Axis(hub, client)


@pytest.fixture
def make(tmp_path):
    def make(number=1, **options):
        path = tmp_path / f"{number}.edxml"
        make_package(path, sender=SENDER, recipients=[RECIPIENT], number=number, **options)
        return read_package(path, folder=tmp_path / path.stem)

    return make


@contextlib.contextmanager
def knocking(axis, content=b"<", *, size=100_000, kind="text/xml", source=ELSEWHERE):
    """Announce a body, and send the beginning of it."""
    host, port = axis.hub.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60, source_address=(source, 0)) as connection:
        head = f"POST {names.PATH} HTTP/1.1\r\nHost: TEST\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n"
        connection.sendall(head.encode() + content)
        yield connection


def answered(connection):
    """Read the answer to a request; the connection need not be closed behind it."""
    answer = b""
    while b"Envelope>" not in answer.partition(b"\r\n\r\n")[2].rpartition(b"</")[2]:
        answer += (piece := connection.recv(65536))
        assert piece, answer
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), parse_envelope([body])


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def incoming(axis):
    return list((axis.hub.folder / "payloads" / "incoming").iterdir())


def succeeds(answer):
    return read_report(parsed(answer).content).is_success


@pytest.mark.parametrize("size", [100_000, 500 * MIB], ids=["few bytes", "many bytes"])
def test_strangers_take_no_room_of_systems(make, tmp_path, size):
    # Room for what two of them announce, and for two of them.
    limits = {"uploads": 2, "bytes_in_flight": 600 * MIB, "upload_wait_s": 1.0, "strangers": 20}
    with hub_with(**limits) as axis, contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(knocking(axis, size=size))
        wait_for(lambda: axis.hub.hub.strangers.uploads == 4)
        assert (axis.hub.hub.shares.uploads, axis.hub.hub.shares.bytes) == (0, 0)
        assert axis.hub.hub.strangers.bytes == 0
        assert succeeds(axis.send(make()))
        make_package(tmp_path / "x.edxml", sender=SENDER, recipients=[RECIPIENT], number=2)
        with axis.vxp("TEST.A", SENDER) as sender:
            sender.send(tmp_path / "x.edxml", sender_code=SENDER, kind=PackageKind.DOCUMENT)


def test_strangers_of_one_address_leave_room_for_another(make):
    limits = {"strangers": 4, "strangers_per_address": 2, "envelope_timeout_s": 60}
    with hub_with(**limits) as axis, contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(knocking(axis))
        wait_for(lambda: axis.hub.hub.strangers.waiting == 2)
        assert succeeds(axis.send(make()))
        # Further ones of the full address are told to come later at once.
        with knocking(axis) as connection:
            status, envelope = answered(connection)
        assert (status, envelope.fault().detail_code) == (429, "busy")


def test_a_stranger_has_a_short_time_however_it_drips_and_then_it_is_the_turn_of_others(make):
    # Dripping like this, a package may take half an hour.
    limits = {"strangers": 1, "envelope_timeout_s": 1.5, "upload_wait_s": 60.0, "min_bytes_per_s": 1.0}
    with hub_with(**limits) as axis, knocking(axis) as connection:
        wait_for(lambda: axis.hub.hub.strangers.uploads == 1)
        connection.settimeout(0.05)
        answers = []
        package = make()
        waiting = threading.Thread(target=lambda: answers.append(axis.send(package)))
        waiting.start()
        answer = b""
        began = time.monotonic()
        while not answer:
            assert time.monotonic() - began < 60
            connection.sendall(b" ")
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(100)
        assert answer.startswith(b"HTTP/1.1 408 ")
        waiting.join(60)
        assert [succeeds(answer) for answer in answers] == [True]


def test_a_system_has_as_long_for_its_attachments_as_by_any_wire(make):
    with hub_with(envelope_timeout_s=0.5, strangers=1) as axis:
        message = document_message(make(), version=SoapVersion.V11, key=key_block(SENDER, axis.token))
        body = b"".join(message.body)
        with knocking(axis, body[:-20], size=len(body), kind=message.content_type) as connection:
            wait_for(lambda: axis.hub.hub.shares.uploads == 1)
            # What it announced, and the room of strangers is free again.
            assert (axis.hub.hub.shares.bytes, axis.hub.hub.strangers.uploads) == (len(body), 0)
            threading.Event().wait(0.8)
            assert succeeds(axis.send(make(2)))
            connection.sendall(body[-20:])
            status, envelope = answered(connection)
        assert status == 200
        assert read_report(envelope.content).is_success
        wait_for(lambda: axis.hub.hub.shares.uploads == 0)


def test_a_system_over_its_uploads_is_told_so_and_its_questions_are_answered(make):
    limits = {"uploads_per_system": 1, "upload_wait_s": 0.2}
    with hub_with(**limits) as axis:
        first, second = make(), make(2)
        message = document_message(first, version=SoapVersion.V11, key=key_block(SENDER, axis.token))
        body = b"".join(message.body)
        with knocking(axis, body[:-20], size=len(body), kind=message.content_type) as connection:
            wait_for(lambda: axis.hub.hub.shares.uploads == 1)
            answer = axis.send(second)
            faulted(answer, "busy", status=429)
            assert int(answer.headers["Retry-After"]) >= 1
            assert axis.pending(SENDER) == []
            connection.sendall(body[-20:])
            assert answered(connection)[0] == 200
        wait_for(lambda: axis.hub.hub.shares.uploads == 0)
        assert succeeds(axis.send(second))


def test_attachments_before_the_envelope_are_refused_before_anything_is_kept():
    with hub_with() as axis:
        part = b"--b\r\nContent-ID: <a>\r\nContent-Type: application/pdf\r\n\r\n" + b"x" * MIB
        with knocking(axis, part, size=100 * MIB, kind=f'{RELATED}; start="<root>"') as connection:
            status, envelope = answered(connection)
            assert (status, envelope.fault().detail_code) == (500, "envelope-not-first")
            assert incoming(axis) == []


def test_a_wrong_token_is_told_without_waiting_for_the_attachments():
    with hub_with(envelope_timeout_s=600, min_rate_grace_s=600, upload_wait_s=600) as axis:
        envelope = wrapped(SoapVersion.V11, b"<Status/>", header=key_block(SENDER, "TEST-WRONG"))
        content = b"--b\r\n\r\n" + envelope + b"\r\n--b\r\nContent-ID: <a>\r\n\r\n" + b"x" * 2 * MIB
        with knocking(axis, content, size=100 * MIB, kind=RELATED) as connection:
            status, told = answered(connection)
            assert (status, read_report(told.content).errors[0][0]) == (200, "Permission")
            assert incoming(axis) == []
            assert (axis.hub.hub.strangers.uploads, axis.hub.hub.shares.uploads) == (0, 0)


def test_a_wrong_token_is_a_wrong_token_to_a_connector_with_a_large_package(make, tmp_path):
    with hub_with() as axis:
        make(content=os.urandom(12 * MIB))
        axis.tokens[SENDER] = "x" * 72
        with axis.soap(SENDER) as sender, pytest.raises(VnedocError) as caught:
            sender.send(tmp_path / "1.edxml", sender_code=SENDER, kind=PackageKind.DOCUMENT)
        assert caught.value.code == "connector.not-let-in", caught.value


def test_a_question_may_come_as_the_only_part_of_a_message():
    # Programs with MTOM switched on write all of their requests like this.
    with hub_with() as axis:
        fields = f"<OrganId>{SENDER}</OrganId><Token>{{}}</Token>"
        for token, told in ((axis.token, None), ("TEST-WRONG", ["Permission"])):
            question = f"<GetPendingDocumentIdsRequest>{fields.format(token)}</GetPendingDocumentIdsRequest>"
            root = b"Content-ID: <root>\r\nContent-Type: application/xop+xml\r\n\r\n"
            body = b"--b\r\n" + root + wrapped(SoapVersion.V11, question.encode()) + b"\r\n--b--\r\n"
            kind = 'multipart/related; type="application/xop+xml"; boundary=b; start="<root>"'
            answer = axis.post(body, content_type=kind)
            if told is None:
                assert parsed(answer).content.name == "GetPendingDocumentIdsResponse"
            else:
                assert codes(answer) == told
