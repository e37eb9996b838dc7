"""What the shared folder promises beyond the contract: nothing twice, nothing half, whoever is killed when."""

import json
import multiprocessing
import os
import shutil
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from vnedoc.errors import ConnectorError, RefusedError
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.connectors.base import Fault, fault_of
from vnedoc.exchange.connectors.folder import FolderConnector, FolderOptions
from vnedoc.exchange.states import TransportStatus
from vnedoc.testing.packages import make_package

SENDER, RECIPIENT, OTHER = "H99", "H99.1", "H98"
DOCUMENT = PackageKind.DOCUMENT


@pytest.fixture
def root(tmp_path):
    (tmp_path / "share").mkdir()
    for code in (SENDER, RECIPIENT, OTHER):
        office(tmp_path / "share", code).agencies()
    return tmp_path / "share"


@pytest.fixture
def package(tmp_path):
    path = tmp_path / "TEST.edxml"
    make_package(path, sender=SENDER, recipients=[RECIPIENT, OTHER], content=os.urandom(50_000))
    return path


def office(root, code, **options):
    return FolderConnector(root, code, options=FolderOptions(**options))


def send(root, package):
    return office(root, SENDER).send(package, sender_code=SENDER, kind=DOCUMENT)


def files_of(root):
    return {path.relative_to(root) for path in root.rglob("*") if path.is_file()}


def test_every_recipient_gets_a_copy_of_its_own(root, package, tmp_path):
    sender_doc_id = send(root, package)
    for code in (RECIPIENT, OTHER):
        connector = office(root, code)
        [message] = connector.list_received(DOCUMENT)
        assert (message.sender_code, message.recipient_code) == (SENDER, code)
        connector.fetch(message.doc_id, tmp_path / code)
        assert (tmp_path / code).read_bytes() == package.read_bytes()
    office(root, RECIPIENT).acknowledge(
        office(root, RECIPIENT).list_received(DOCUMENT)[0].doc_id, TransportStatus.DONE
    )
    reports = office(root, SENDER).list_sent(DOCUMENT)
    assert {report.sender_doc_id for report in reports} == {sender_doc_id}
    assert {report.recipient_code: report.status for report in reports} == {
        RECIPIENT: TransportStatus.DONE,
        OTHER: TransportStatus.INITIAL,
    }


def test_what_was_taken_leaves_its_receipt_and_nothing_else(root, package):
    send(root, package)
    connector = office(root, RECIPIENT)
    [message] = connector.list_received(DOCUMENT)
    connector.acknowledge(message.doc_id, TransportStatus.PROCESSING)
    connector.acknowledge(message.doc_id, TransportStatus.DONE)
    box = root / "offices" / RECIPIENT
    assert list((box / "packages").iterdir()) == []
    assert (box / "receipts" / f"{message.doc_id}.done").exists()
    # Another machine's second attempt ended late: the copy is there again, and nobody sees it.
    (box / "packages" / f"{message.doc_id}.json").write_text('{"kind":"document"}')
    (box / "packages" / f"{message.doc_id}.edxml").write_bytes(package.read_bytes())
    assert connector.list_received(DOCUMENT) == []
    assert not (box / "packages" / f"{message.doc_id}.edxml").exists()


def test_a_status_never_moves_backwards(root, package):
    send(root, package)
    connector = office(root, RECIPIENT)
    [message] = connector.list_received(DOCUMENT)
    connector.acknowledge(message.doc_id, TransportStatus.DONE)
    for status in (TransportStatus.PROCESSING, TransportStatus.FAIL):
        with pytest.raises(RefusedError):
            connector.acknowledge(message.doc_id, status)


def _send_and_die(root, package, step):
    """Kill this process at the n-th rename or fsync."""
    import vnedoc.exchange.connectors.folder as folder
    from vnedoc._internal import files

    left = step

    def counted(call):
        def counting(*arguments):
            nonlocal left
            left -= 1
            if left < 0:
                os._exit(9)
            return call(*arguments)

        return counting

    files.os.fsync = counted(os.fsync)
    folder._sync = counted(folder._sync)
    send(root, package)
    os._exit(0)


def test_a_sender_that_is_killed_anywhere_finishes_when_it_comes_again(root, package, tmp_path):
    context = multiprocessing.get_context("fork")
    for step in range(100):
        shutil.rmtree(root)
        root.mkdir()
        for code in (SENDER, RECIPIENT, OTHER):
            office(root, code).agencies()
        process = context.Process(target=_send_and_die, args=(root, package, step))
        with warnings.catch_warnings():
            # A fork of a process with threads; this one only writes files and dies.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        process.join(20)
        # Whoever lists now sees a whole package or none.
        for code in (RECIPIENT, OTHER):
            for message in office(root, code).list_received(DOCUMENT):
                office(root, code).fetch(message.doc_id, tmp_path / "early")
                assert (tmp_path / "early").read_bytes() == package.read_bytes()
        send(root, package)
        for code in (RECIPIENT, OTHER):
            assert len(office(root, code).list_received(DOCUMENT)) == 1
        if process.exitcode == 0:
            break
    assert step > 10


def test_many_attempts_at_once_deliver_once(root, package):
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda _: send(root, package), range(16)))
    assert len(ids) == 1
    for code in (RECIPIENT, OTHER):
        assert len(office(root, code).list_received(DOCUMENT)) == 1


def test_sending_while_the_recipient_takes_it_delivers_once(root, package, tmp_path):
    taken = []
    stop = threading.Event()

    def take():
        connector = office(root, RECIPIENT)
        while not stop.is_set():
            for message in connector.list_received(DOCUMENT):
                connector.acknowledge(message.doc_id, TransportStatus.DONE)
                taken.append(message.doc_id)

    thread = threading.Thread(target=take)
    thread.start()
    for _ in range(20):
        send(root, package)
    stop.set()
    thread.join()
    assert len(set(taken)) <= 1
    assert office(root, RECIPIENT).list_received(DOCUMENT) == [] or not taken


def test_another_document_with_the_same_identifier_is_a_conflict(root, package):
    send(root, package)
    make_package(package, sender=SENDER, recipients=[RECIPIENT], content=b"%PDF other TEST")
    with pytest.raises(RefusedError) as caught:
        send(root, package)
    assert caught.value.values["remote_code"] == "24"


def test_old_codes_arrive_too(root, tmp_path):
    other = office(root, OTHER, old_code="000.00.01.H98", organ_name="SỞ TEST")
    other.agencies()
    make_package(tmp_path / "x", sender=SENDER, recipients=["000.00.01.H98"])
    send(root, tmp_path / "x")
    [message] = other.list_received(DOCUMENT)
    assert message.recipient_code == OTHER
    names = {agency.code: (agency.name, agency.old_code) for agency in office(root, SENDER).agencies()}
    assert names[OTHER] == ("SỞ TEST", "000.00.01.H98")


@pytest.mark.parametrize("code", ["../../x", "..", ".hidden", "CS:GOV:A:B", "a/b", "%2e"])
def test_codes_never_leave_the_folder(root, tmp_path, code):
    office(root, code).agencies()
    assert code in {agency.code for agency in office(root, SENDER).agencies()}
    assert {path.name for path in tmp_path.iterdir()} == {"share"}
    assert {path.parent.parent for path in root.rglob("office.json")} == {root / "offices"}


def test_a_share_that_is_not_mounted_is_worth_another_try(tmp_path, package):
    for call in (
        lambda: office(tmp_path / "away", SENDER).agencies(),
        lambda: send(tmp_path / "away", package),
    ):
        with pytest.raises(ConnectorError) as caught:
            call()
        assert caught.value.code == "connector.folder-away"
        assert fault_of(caught.value) is Fault.LATER
    # Nothing was made where the share will be mounted.
    assert not (tmp_path / "away").exists()


def test_a_copy_that_is_damaged_is_not_taken(root, package, tmp_path):
    send(root, package)
    [path] = (root / "offices" / RECIPIENT / "packages").glob("*.edxml")
    path.write_bytes(path.read_bytes()[:-1])
    connector = office(root, RECIPIENT)
    [message] = connector.list_received(DOCUMENT)
    with pytest.raises(ConnectorError):
        connector.fetch(message.doc_id, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_links_and_rubbish_in_a_box_are_no_packages(root, package, tmp_path):
    send(root, package)
    box = root / "offices" / RECIPIENT / "packages"
    [path] = box.glob("*.edxml")
    (tmp_path / "private").write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(tmp_path / "private")
    (box / "x.json").write_text("{}")
    (box / f"{'0' * 32}.json").write_text("[" * 100_000)
    (box / f"{'1' * 32}.json").write_text(json.dumps({"kind": "document"}))
    (box / ".TEST.part").write_bytes(b"x")
    (root / "offices" / "stranger").mkdir()
    (root / "offices" / "file").write_text("x")
    connector = office(root, RECIPIENT)
    for message in connector.list_received(DOCUMENT):
        with pytest.raises((ConnectorError, RefusedError)):
            connector.fetch(message.doc_id, tmp_path / "x")
    assert not (tmp_path / "x").exists()
    assert {agency.code for agency in connector.agencies()} == {SENDER, RECIPIENT, OTHER}
