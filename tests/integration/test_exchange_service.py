"""An agency's exchange over a real hub: nothing lost, nothing doubled, the three states apart."""

import contextlib
import datetime
import json
import socket

import pytest

from tests.offices import COMMUNE, DEPARTMENT, PROVINCE, Office
from vnedoc._internal.clock import utc_now
from vnedoc.errors import (
    ConnectorError,
    NotAllowedError,
    PackageError,
    RefusedError,
    UsageError,
)
from vnedoc.exchange.codes import PackageKind, StatusCode
from vnedoc.exchange.connectors.vxp import VXPConnector
from vnedoc.exchange.judgement import PackageJudgement
from vnedoc.exchange.models import Business
from vnedoc.exchange.package import reply_header, write_package
from vnedoc.exchange.service import Exchange, ExchangeOptions
from vnedoc.exchange.states import BusinessState, DeliveryState, TransportStatus
from vnedoc.sign.report import Finding
from vnedoc.testing.packages import make_organization, make_package


def test_the_whole_way_of_a_document(offices, package):
    province, department, commune = offices
    sent = province.exchange.send(package)
    assert sent.due_at is None
    assert province.states(sent.id) == {
        DEPARTMENT: (DeliveryState.SENT, TransportStatus.INITIAL, BusinessState()),
        COMMUNE: (DeliveryState.SENT, TransportStatus.INITIAL, BusinessState()),
    }
    [received] = department.receive()
    assert received.error is None
    assert received.path.read_bytes() == package.read_bytes()
    assert [path.name for path in (department.inbox / received.message.id).iterdir()] == ["van-ban-TEST.pdf"]
    assert received.message.delivery is DeliveryState.ACCEPTED
    assert received.message.transport is TransportStatus.DONE
    assert received.message.business == BusinessState("01")
    department.exchange.reply(received.message.id, StatusCode.ACCEPTED)
    department.exchange.reply(received.message.id, StatusCode.PROCESSING, reason="TEST đang xử lý")
    department.exchange.reply(received.message.id, StatusCode.COMPLETED)
    statuses = province.receive()
    assert [item.message.subject for item in statuses] == ["01", "03", "05", "06"]
    assert all(item.matched and item.error is None for item in statuses)
    # One recipient is done; what the other does is its own.
    assert province.states(sent.id) == {
        DEPARTMENT: (DeliveryState.DELIVERED, TransportStatus.DONE, BusinessState("06")),
        COMMUNE: (DeliveryState.SENT, TransportStatus.INITIAL, BusinessState()),
    }
    [done, _waiting] = province.exchange.status(sent.id).consignments
    assert [event.code for event in done.events] == ["01", "03", "05", "06"]
    assert done.events[2].description == "TEST đang xử lý"
    assert commune.receive()[0].message.delivery is DeliveryState.ACCEPTED


def test_receiving_again_finds_nothing_and_doubles_nothing(offices, package):
    province, department, _commune = offices
    province.exchange.send(package)
    assert len(department.receive()) == 1
    assert department.receive() == []
    assert len(department.store.received()) == 1
    assert len(province.receive()) == 1
    assert province.receive() == []


def test_only_packages_for_this_agency_are_taken_in(hub, tmp_path):
    # Two agencies behind one system: each takes what is its own.
    with contextlib.ExitStack() as stack:
        province = Office(stack, hub, PROVINCE, tmp_path)
        department = Office(stack, hub, DEPARTMENT, tmp_path)
        hub.store.register_agencies(f"TEST.{DEPARTMENT}", [])
        from vnedoc.exchange.stores.hub import HubAgency

        hub.store.register_agencies(f"TEST.{DEPARTMENT}", [HubAgency(COMMUNE, COMMUNE)])
        make_package(tmp_path / "a.edxml", sender=PROVINCE, recipients=[COMMUNE])
        province.exchange.send(tmp_path / "a.edxml")
        assert department.receive() == []


# Sending


def test_sending_again_does_nothing(hub, offices, package):
    province = offices[0]
    first = province.exchange.send(package)
    assert province.exchange.send(package) == first
    assert hub.store.stats().documents == 1


def test_without_the_axis_a_package_is_kept_and_goes_later(hub, tmp_path, package):
    with contextlib.ExitStack() as stack:
        with socket.create_server(("127.0.0.1", 0)) as free:
            dead = f"http://127.0.0.1:{free.getsockname()[1]}"
        secret = hub.add_system(f"TEST.{PROVINCE}", PROVINCE)
        hub.add_system("TEST.X", DEPARTMENT, COMMUNE)
        office = Office(stack, hub, PROVINCE, tmp_path, secret=secret, url=dead)
        with pytest.raises(ConnectorError) as caught:
            office.exchange.send(package)
        assert caught.value.code == "exchange.kept"
        assert caught.value.retryable
        [kept] = office.store.sent()
        assert kept.due_at is not None
        assert {item.delivery for item in kept.consignments} == {DeliveryState.WAITING}
        assert [(attempt.outcome, attempt.error_code) for attempt in kept.attempts] == [
            ("trouble", "remote.unreachable")
        ]
        # The file is not needed any more; another process with the same store delivers it.
        package.unlink()
        later = utc_now() + datetime.timedelta(hours=2)
        with VXPConnector(hub.url, f"TEST.{PROVINCE}", secret=lambda _: secret, name="TEST") as connector:
            exchange = Exchange(
                connector, office.store, organization=make_organization(PROVINCE), clock=lambda: later
            )
            [(sent, error)] = exchange.deliver_due()
            assert error is None
            assert sent.id == kept.id
            assert [attempt.outcome for attempt in sent.attempts] == ["trouble", "sent"]
            assert exchange.deliver_due() == []
        assert hub.store.stats().documents == 1


def test_attempts_come_ever_later(hub, tmp_path, package):
    with contextlib.ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as free:
        office = Office(stack, hub, PROVINCE, tmp_path)
        dead = VXPConnector(
            f"http://127.0.0.1:{free.getsockname()[1] + 0}", "TEST", secret=lambda _: "x", name="TEST"
        )
        free.close()
        stack.enter_context(dead)
        moment = utc_now()
        exchange = Exchange(
            dead, office.store, organization=make_organization(PROVINCE), clock=lambda: moment
        )
        message = exchange.queue(package)
        limits = [10, 30, 90, 270, 810, 2430, 3600, 3600]
        for limit in limits:
            with pytest.raises(ConnectorError):
                exchange.deliver(message.id)
            message = exchange.status(message.id)
            assert moment <= message.due_at <= moment + datetime.timedelta(seconds=limit)
        assert len(message.attempts) == len(limits)


def test_a_refusal_is_recorded_and_a_corrected_package_takes_its_place(hub, offices, tmp_path):
    province = offices[0]
    path = tmp_path / "a.edxml"
    make_package(path, sender=PROVINCE, recipients=[DEPARTMENT, "H01"])
    with pytest.raises(RefusedError) as caught:
        province.exchange.send(path)
    assert caught.value.values["remote_code"] == "18"
    [refused] = province.store.sent()
    assert refused.due_at is None
    assert {item.delivery for item in refused.consignments} == {DeliveryState.REFUSED}
    assert "H01" in refused.attempts[0].remote_message
    assert province.exchange.deliver_due() == []
    make_package(path, sender=PROVINCE, recipients=[DEPARTMENT])
    sent = province.exchange.send(path)
    assert sent.id != refused.id
    assert {item.delivery for item in sent.consignments} == {DeliveryState.SENT}


def test_a_wrong_secret_does_not_spoil_the_message(hub, tmp_path, package):
    with contextlib.ExitStack() as stack:
        hub.add_system(f"TEST.{PROVINCE}", PROVINCE)
        office = Office(stack, hub, PROVINCE, tmp_path, secret="TEST-WRONG")
        with pytest.raises(RefusedError):
            office.exchange.send(package)
        [kept] = office.store.sent()
        assert kept.due_at is not None
        assert {item.delivery for item in kept.consignments} == {DeliveryState.WAITING}


def test_the_same_identifier_with_other_content_is_not_queued(offices, package, tmp_path):
    province = offices[0]
    province.exchange.send(package)
    make_package(tmp_path / "b.edxml", sender=PROVINCE, recipients=[DEPARTMENT], content=b"%PDF other")
    with pytest.raises(NotAllowedError) as caught:
        province.exchange.send(tmp_path / "b.edxml")
    assert caught.value.code == "exchange.sent-conflict"
    assert len(province.store.sent()) == 1


def test_packages_that_cannot_be_sent(offices, tmp_path):
    province = offices[0]
    path = tmp_path / "a.edxml"
    make_package(path, sender=DEPARTMENT, recipients=[PROVINCE])
    with pytest.raises(UsageError) as caught:
        province.exchange.send(path)
    assert caught.value.code == "exchange.not-ours"
    path.write_bytes(b"TEST")
    with pytest.raises(PackageError):
        province.exchange.send(path)
    assert province.store.sent() == []


def test_a_killed_attempt_becomes_due_again(offices, package):
    province = offices[0]
    message = province.exchange.queue(package)
    now = utc_now()
    # A process claims the message and is never seen again.
    province.store.begin_attempt(message.id, now=now, lease=datetime.timedelta(minutes=1), owner="TEST")
    assert province.exchange.deliver_due() == []
    assert province.exchange.deliver(message.id).remote_doc_id is None
    later = province.with_options(ExchangeOptions(), clock=lambda: now + datetime.timedelta(minutes=2))
    [(sent, error)] = later.deliver_due()
    assert error is None
    assert [attempt.outcome for attempt in sent.attempts] == ["started", "sent"]


def test_an_answer_that_was_lost_is_asked_for_again(hub, offices, package):
    province = offices[0]
    with province.cut_off(answers_only=True), pytest.raises(ConnectorError):
        province.exchange.send(package)
    sent = province.exchange.send(package)
    assert {item.delivery for item in sent.consignments} == {DeliveryState.SENT}
    assert hub.store.stats().documents == 1


def test_an_interrupt_leaves_the_message_in_the_outbox(offices, package, monkeypatch):
    province = offices[0]

    def interrupted(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(province.connector, "send", interrupted)
    with pytest.raises(KeyboardInterrupt):
        province.exchange.send(package)
    monkeypatch.undo()
    assert province.exchange.send(package).remote_doc_id is not None


# Receiving


def accept(_package):
    return PackageJudgement(accepted=True, warnings=(Finding("exchange.no-pdf"),))


def reject(_package):
    return PackageJudgement(
        accepted=False, reasons=(Finding("exchange.no-agency-signature", {"name": "TEST"}),)
    )


def test_the_judge_sees_the_attachments_on_the_disk(offices, package):
    province, department, _commune = offices
    province.exchange.send(package)
    seen = []

    def judge(package):
        seen.append([attachment.path.read_bytes()[:5] for attachment in package.attachments])
        return accept(package)

    [received] = department.receive(verify=judge)
    assert seen == [[b"%PDF-"]]
    assert [finding.id for finding in received.message.reasons] == ["exchange.no-pdf"]
    assert received.message.delivery is DeliveryState.ACCEPTED


def test_what_is_not_accepted_is_kept_apart(offices, package):
    province, department, _commune = offices
    sent = province.exchange.send(package)
    [received] = department.receive(verify=reject)
    message = received.message
    assert message.delivery is DeliveryState.QUARANTINED
    assert message.transport is TransportStatus.FAIL
    assert message.business == BusinessState()
    assert received.path == department.inbox / "quarantine" / f"{message.id}.edxml"
    assert received.path.read_bytes() == package.read_bytes()
    reasons = json.loads(received.path.with_suffix(".json").read_bytes())
    assert [reason["id"] for reason in reasons["reasons"]] == ["exchange.no-agency-signature"]
    assert sorted(path.name for path in department.inbox.iterdir()) == ["quarantine"]
    # Nobody was answered, and the axis knows that it failed.
    assert province.receive() == []
    assert province.states(sent.id)[DEPARTMENT] == (
        DeliveryState.FAILED,
        TransportStatus.FAIL,
        BusinessState(),
    )
    assert department.receive() == []


def test_a_quarantined_document_can_only_be_refused(offices, package):
    province, department, _commune = offices
    sent = province.exchange.send(package)
    [received] = department.receive(verify=reject)
    with pytest.raises(NotAllowedError):
        department.exchange.reply(received.message.id, StatusCode.ACCEPTED)
    department.exchange.reply(received.message.id, StatusCode.REFUSED, reason="TEST chữ ký sai")
    province.receive()
    assert province.states(sent.id)[DEPARTMENT][2] == BusinessState("02")


def test_the_policy_may_answer_what_is_kept_apart(offices, package):
    province, department, _commune = offices
    sent = province.exchange.send(package)
    department.exchange = department.with_options(ExchangeOptions(answer_quarantined=True))
    department.receive(verify=reject)
    [status] = province.receive()
    assert status.message.subject == "02"
    [consignment, _other] = province.exchange.status(sent.id).consignments
    assert "không có chữ ký hợp lệ" in consignment.events[0].description


def test_a_judge_that_fails_stops_nothing_and_is_asked_again(offices, package, tmp_path):
    province, department, _commune = offices
    province.exchange.send(package)
    make_package(tmp_path / "b.edxml", sender=PROVINCE, recipients=[DEPARTMENT], number=16)
    province.exchange.send(tmp_path / "b.edxml")

    def judge(package):
        if package.header.code_number == "15":
            raise ConnectorError("remote.timeout", url="TEST")
        return accept(package)

    outcomes = {item.message and item.message.code: item for item in department.receive(verify=judge)}
    assert outcomes["16/UBND-TEST"].error is None
    assert outcomes[None].error.code == "remote.timeout"
    [again] = department.receive(verify=accept)
    assert again.message.code == "15/UBND-TEST"


def test_a_lost_acknowledgement_is_made_up_for(offices, package, monkeypatch):
    province, department, _commune = offices
    sent = province.exchange.send(package)

    def lost(*_args):
        raise ConnectorError("remote.timeout", url="TEST")

    monkeypatch.setattr(department.connector, "acknowledge", lost)
    [failed] = department.receive()
    assert failed.error.code == "remote.timeout"
    monkeypatch.undo()
    [again] = department.receive()
    assert again.repeated
    assert again.error is None
    assert department.receive() == []
    assert len(department.store.received()) == 1
    assert len(list(department.inbox.glob("*.edxml"))) == 1
    province.receive()
    [consignment, _other] = province.exchange.status(sent.id).consignments
    assert [event.code for event in consignment.events] == ["01"]


def test_a_process_that_died_before_laying_out_is_made_up_for(offices, package, monkeypatch):
    from vnedoc.exchange import _layout

    province, department, _commune = offices
    province.exchange.send(package)

    def died(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(_layout, "publish", died)
    with pytest.raises(KeyboardInterrupt):
        department.receive()
    monkeypatch.undo()
    [again] = department.receive()
    assert again.path.read_bytes() == package.read_bytes()
    assert (department.inbox / again.message.id / "van-ban-TEST.pdf").is_file()
    assert not list(department.inbox.glob(".*"))


def test_the_same_package_under_another_id_is_the_same_message(hub, offices, package, monkeypatch):
    province, department, _commune = offices
    province.exchange.send(package)
    [first] = department.receive()
    listing = department.connector.list_received
    listed = hub.store.sent(f"TEST.{PROVINCE}", PackageKind.DOCUMENT)[1]
    twin = hub.store.delivery(f"TEST.{listed.recipient_code}", listed.doc_id)

    def relisted(kind):
        from vnedoc.exchange.connectors.base import RemoteMessage

        twins = [RemoteMessage("twin-1", PackageKind.DOCUMENT, PROVINCE, DEPARTMENT, None, None)]
        return twins if kind is PackageKind.DOCUMENT else listing(kind)

    def fetch(_doc_id, output):
        output.write_bytes(hub.store.payloads.path(twin.payload.sha256).read_bytes())

    acknowledged = []
    monkeypatch.setattr(department.connector, "list_received", relisted)
    monkeypatch.setattr(department.connector, "fetch", fetch)
    monkeypatch.setattr(department.connector, "acknowledge", lambda *args: acknowledged.append(args))
    [again] = department.receive()
    assert again.repeated
    assert again.message.id == first.message.id
    assert acknowledged == [("twin-1", TransportStatus.DONE)]
    assert len(department.store.received()) == 1
    monkeypatch.undo()
    assert [item.message.subject for item in province.receive()] == ["01"]


def test_other_content_under_the_same_identifier_is_a_conflict(offices, package, tmp_path, monkeypatch):
    province, department, _commune = offices
    province.exchange.send(package)
    [first] = department.receive()
    forged = tmp_path / "forged.edxml"
    make_package(forged, sender=PROVINCE, recipients=[DEPARTMENT], content=b"%PDF forged")
    incoming(department, monkeypatch, forged.read_bytes())
    [conflict] = department.receive(verify=accept)
    assert conflict.message.id != first.message.id
    assert conflict.message.delivery is DeliveryState.QUARANTINED
    assert conflict.message.reasons[0].id == "exchange.received-conflict"


def test_what_was_kept_apart_does_not_take_the_place_of_the_real_one(offices, package, monkeypatch, tmp_path):
    province, department, _commune = offices
    forged = tmp_path / "forged.edxml"
    make_package(forged, sender=PROVINCE, recipients=[DEPARTMENT], content=b"%PDF forged")
    incoming(department, monkeypatch, forged.read_bytes())
    department.receive(verify=reject)
    monkeypatch.undo()
    province.exchange.send(package)
    [real] = department.receive(verify=accept)
    assert real.message.delivery is DeliveryState.ACCEPTED


@pytest.mark.parametrize(
    ("content", "sender", "reason"),
    [
        (b"TEST", PROVINCE, None),
        (b"<edXML>" * 5000, PROVINCE, None),
        (None, COMMUNE, "exchange.other-sender"),
    ],
)
def test_what_cannot_be_read_or_is_not_from_whom_the_axis_says(
    offices, package, monkeypatch, content, sender, reason
):
    department = offices[1]
    incoming(department, monkeypatch, content or package.read_bytes(), sender=sender)
    [received] = department.receive(verify=accept)
    message = received.message
    assert message.delivery is DeliveryState.QUARANTINED
    assert reason in {None, message.reasons[0].id}
    # Every reason can be told in both languages.
    stored = department.exchange.status(message.id)
    assert all(finding.text("vi") and finding.text("en") for finding in stored.reasons)


def incoming(office, monkeypatch, content, *, sender=PROVINCE):
    """Let the axis list one package that the hub would never have taken."""
    from vnedoc.exchange.connectors.base import RemoteMessage

    row = RemoteMessage("forged-1", PackageKind.DOCUMENT, sender, office.code, None, None)
    monkeypatch.setattr(
        office.connector, "list_received", lambda kind: [row] if kind is PackageKind.DOCUMENT else []
    )
    monkeypatch.setattr(office.connector, "fetch", lambda _doc_id, output: output.write_bytes(content))
    monkeypatch.setattr(office.connector, "acknowledge", lambda *_args: None)


# Answering


def test_a_reply_never_goes_backwards(offices, package):
    province, department, _commune = offices
    province.exchange.send(package)
    [received] = department.receive()
    department.exchange.reply(received.message.id, StatusCode.COMPLETED)
    with pytest.raises(NotAllowedError) as caught:
        department.exchange.reply(received.message.id, StatusCode.ACCEPTED)
    assert caught.value.code == "exchange.backwards"


@pytest.mark.parametrize("code", [StatusCode.REFUSED, StatusCode.CHANGE_REFUSED])
@pytest.mark.parametrize("reason", [None, "", "  "])
def test_a_refusal_needs_a_reason(offices, package, code, reason):
    province, department, _commune = offices
    province.exchange.send(package)
    [received] = department.receive()
    with pytest.raises(UsageError) as caught:
        department.exchange.reply(received.message.id, code, reason=reason)
    assert caught.value.code == "exchange.reason-required"


def test_only_received_documents_can_be_answered(offices, package):
    province, department, _commune = offices
    sent = province.exchange.send(package)
    [received] = department.receive()
    for message_id, code, error in (
        (sent.id, StatusCode.ACCEPTED, "exchange.not-received"),
        ("nothing", StatusCode.ACCEPTED, "exchange.unknown-message"),
    ):
        with pytest.raises(UsageError) as caught:
            province.exchange.reply(message_id, code)
        assert caught.value.code == error
    with pytest.raises(UsageError) as caught:
        department.exchange.reply(received.message.id, StatusCode.TAKE_BACK, reason="TEST")
    assert caught.value.code == "exchange.not-a-reply"


def test_a_document_is_answered_the_way_it_came(hub, offices, package):
    province, department, _commune = offices
    province.exchange.send(package)
    [received] = department.receive()
    with VXPConnector(hub.url, "TEST.X", secret=lambda _: "x", name="OTHER") as connector:
        other = Exchange(connector, department.store, organization=make_organization(DEPARTMENT))
        with pytest.raises(UsageError) as caught:
            other.reply(received.message.id, StatusCode.ACCEPTED)
    assert caught.value.code == "exchange.other-connection"


def test_leftovers_of_a_killed_process_are_swept(offices):
    import os

    department = offices[1]
    old, young = department.inbox / ".a.00.part", department.inbox / ".b.00.part"
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / "TEST.pdf").write_bytes(b"TEST")
    os.utime(old, (1, 1))
    department.receive()
    assert not old.exists()
    assert young.exists()


def test_a_message_is_found_by_its_ids(offices, package):
    province, department, _commune = offices
    sent = province.exchange.send(package)
    [received] = department.receive()
    assert province.exchange.status(sent.id[:8]) == province.exchange.status(sent.id)
    assert province.exchange.status(sent.remote_doc_id).id == sent.id
    assert department.exchange.status(received.remote_doc_id).id == received.message.id
    for wrong in (sent.id[:7], "%", "_" * 8, ""):
        with pytest.raises(UsageError):
            province.exchange.status(wrong)


# Statuses that come in


def send_status(office, tmp_path, document, code, *, receiver=None):
    header = reply_header(
        document,
        sender=make_organization(office.code),
        status_code=code,
        at=utc_now(),
        description="TEST",
        receiver=receiver,
    )
    path = tmp_path / f"{office.code}-{code}.edxml"
    write_package(header, [], path)
    return office.exchange.send(path)


def test_nobody_reports_for_another(offices, tmp_path):
    province, department, commune = offices
    path = tmp_path / "a.edxml"
    document = make_package(path, sender=PROVINCE, recipients=[DEPARTMENT])
    sent = province.exchange.send(path)
    # The commune never got the document, and says that it is done.
    send_status(commune, tmp_path, document, StatusCode.COMPLETED)
    [status] = province.receive()
    assert not status.matched
    assert province.states(sent.id)[DEPARTMENT][2] == BusinessState()
    assert department.receive()[0].message.delivery is DeliveryState.ACCEPTED


def test_a_request_to_give_back_is_noted_at_the_receiver(offices, tmp_path):
    province, department, commune = offices
    path = tmp_path / "a.edxml"
    document = make_package(path, sender=PROVINCE, recipients=[DEPARTMENT])
    sent = province.exchange.send(path)
    [received] = department.receive()
    # Only the sender may ask.
    send_status(commune, tmp_path, document, StatusCode.TAKE_BACK, receiver=DEPARTMENT)
    [stranger] = department.receive()
    assert not stranger.matched
    send_status(province, tmp_path, document, StatusCode.TAKE_BACK, receiver=DEPARTMENT)
    [asked] = department.receive()
    assert asked.matched
    assert department.exchange.status(received.message.id).business == BusinessState("01", "13")
    department.exchange.reply(received.message.id, StatusCode.CHANGE_AGREED)
    province.receive()
    assert province.states(sent.id)[DEPARTMENT][2] == BusinessState("01", "15")


def test_an_order_is_a_message_of_its_own(offices, tmp_path):
    province, department, _commune = offices
    path = tmp_path / "a.edxml"
    document = make_package(path, sender=PROVINCE, recipients=[DEPARTMENT])
    sent = province.exchange.send(path)
    make_package(
        path,
        sender=PROVINCE,
        recipients=[DEPARTMENT],
        business=Business.recall(document.document_id, reason="TEST thu hồi"),
    )
    recall = province.exchange.send(path)
    assert recall.id != sent.id
    assert len(department.receive()) == 2
    province.receive()
    assert province.states(sent.id)[DEPARTMENT][2] == BusinessState("01", "15")
