"""Recalls, updates and replacements over a real hub: carried out at the receiver, and known at the sender."""

import dataclasses
import datetime

import pytest

from tests.offices import COMMUNE, DEPARTMENT, PROVINCE
from vnedoc._internal.clock import utc_now
from vnedoc.errors import ConnectorError, NotAllowedError, RefusedError, UsageError
from vnedoc.exchange import _vxp
from vnedoc.exchange.codes import PackageKind, StatusCode
from vnedoc.exchange.connectors.base import RemoteMessage
from vnedoc.exchange.models import Attachment, Business, ReplacementInfo, ResponseFor
from vnedoc.exchange.orders import recall_header, update_header
from vnedoc.exchange.package import reply_header, write_package
from vnedoc.exchange.service import ExchangeOptions, RecallForm
from vnedoc.exchange.states import BusinessState, DeliveryState, OrderKind, OrderState
from vnedoc.testing.faults import Answered, CutAnswer, LostAnswer
from vnedoc.testing.packages import make_organization, make_package

REASON = "TEST ban hành nhầm"


def taken_in(office, **options):
    outcomes = office.receive(**options)
    assert [item.error for item in outcomes if item.error is not None] == []
    return outcomes


def one(items):
    [item] = items
    return item


def document_of(office):
    """The document that an office received, not the orders about it."""
    return one(item for item in office.store.received() if item.business_kind in {0, 3})


def order_about(office, message_id, *, kind):
    orders = office.exchange.orders(message_id)
    return one(item for item in orders if item.target_id == message_id and item.kind is kind)


def files_of(office):
    return sorted(
        path.relative_to(office.inbox).as_posix() for path in office.inbox.rglob("*") if path.is_file()
    )


# What has not left


def test_what_is_in_the_outbox_is_taken_back_and_nothing_leaves(hub, offices, package):
    province, department, _commune = offices
    message = province.exchange.queue(package)
    [recalled] = province.exchange.recall(message.id, reason=REASON)
    assert recalled.id == message.id
    assert {item.delivery for item in recalled.consignments} == {DeliveryState.RECALLED}
    assert recalled.due_at is None
    order = order_about(province, message.id, kind=OrderKind.RECALL)
    assert (order.state, order.reason, order.order_id) == (OrderState.APPLIED, REASON, None)
    assert province.exchange.deliver_due() == []
    assert province.exchange.deliver(message.id).remote_doc_id is None
    assert hub.store.stats().documents == 0
    assert taken_in(department) == []
    with pytest.raises(NotAllowedError) as caught:
        province.exchange.recall(message.id, reason=REASON)
    assert caught.value.code == "exchange.nothing-to-recall"
    # A corrected document with the same identifier may take its place.
    make_package(package, sender=PROVINCE, recipients=[DEPARTMENT], content=b"%PDF corrected")
    assert province.exchange.send(package).id != message.id


def test_what_may_have_left_is_taken_back_here_and_there(offices, package):
    province, department, _commune = offices
    with province.cut_off(answers_only=True), pytest.raises(ConnectorError):
        province.exchange.send(package)
    [message] = province.store.sent()
    [order] = province.exchange.recall(message.id, reason=REASON)
    assert order.id != message.id
    assert {item.delivery for item in province.exchange.status(message.id).consignments} == {
        DeliveryState.RECALLED
    }
    taken_in(department)
    assert document_of(department).delivery is DeliveryState.CANCELLED


@pytest.mark.parametrize("fault", [LostAnswer(), CutAnswer(5), CutAnswer(0)], ids=repr)
def test_what_the_axis_has_although_its_answer_was_lost_is_taken_back_there(
    offices, package, axis_faults, fault
):
    province, department, _commune = offices
    axis_faults.plan(fault, path=_vxp.SEND_PATH)
    with pytest.raises(ConnectorError):
        province.exchange.send(package)
    [message] = province.store.sent()
    [order] = province.exchange.recall(message.id, reason=REASON)
    assert order.id != message.id
    taken_in(department)
    assert document_of(department).delivery is DeliveryState.CANCELLED
    # Sent again, the very same package would be cancelled by the recall; nothing tells the two apart.
    with pytest.raises(NotAllowedError) as caught:
        province.exchange.send(package)
    assert caught.value.code == "exchange.taken-back"


def test_what_may_have_left_is_taken_back_and_sent_corrected(offices, package, axis_faults):
    province, department, _commune = offices
    axis_faults.plan(Answered(503), path=_vxp.SEND_PATH)
    with pytest.raises(ConnectorError):
        province.exchange.send(package)
    [message] = province.store.sent()
    province.exchange.recall(message.id, reason=REASON)
    later = utc_now() + datetime.timedelta(minutes=2)
    header = make_package(package, sender=PROVINCE, recipients=[DEPARTMENT])
    anew = dataclasses.replace(header, trace=()).with_trace(PROVINCE, at=later)
    write_package(anew, [Attachment("TEST.pdf", b"%PDF corrected")], package)
    corrected = province.exchange.send(package)
    assert corrected.id != message.id
    taken_in(department)
    came = {item.payload.sha256: item for item in department.store.received(kind=PackageKind.DOCUMENT)}
    assert came[corrected.payload.sha256].delivery is DeliveryState.ACCEPTED


def test_a_recall_that_broke_off_after_the_document_was_taken_back_here_is_given_again(
    offices, package, axis_faults
):
    province, department, _commune = offices
    axis_faults.plan(LostAnswer(), path=_vxp.SEND_PATH)
    with pytest.raises(ConnectorError):
        province.exchange.send(package)
    [message] = province.store.sent()
    # As a process leaves it that dies before it has queued the recall.
    province.store.recall_unsent(message.id, reason=REASON, at=utc_now())
    [order] = province.exchange.recall(message.id, reason=REASON)
    assert order.id != message.id
    taken_in(department)
    assert document_of(department).delivery is DeliveryState.CANCELLED
    with pytest.raises(NotAllowedError) as caught:
        province.exchange.recall(message.id, reason=REASON)
    assert caught.value.code == "exchange.nothing-to-recall"


def test_what_never_reached_the_axis_is_taken_back_without_a_word(offices, package):
    province = offices[0]
    with province.cut_off(), pytest.raises(ConnectorError):
        province.exchange.send(package)
    [message] = province.store.sent()
    [recalled] = province.exchange.recall(message.id, reason=REASON)
    assert recalled.id == message.id


def test_what_is_being_sent_cannot_be_taken_back_at_this_moment(offices, package):
    province = offices[0]
    message = province.exchange.queue(package)
    lease = datetime.timedelta(minutes=1)
    province.store.begin_attempt(message.id, now=utc_now(), lease=lease, owner="TEST")
    with pytest.raises(NotAllowedError) as caught:
        province.exchange.recall(message.id, reason=REASON)
    assert caught.value.code == "exchange.being-sent"
    later = province.with_options(clock=lambda: utc_now() + datetime.timedelta(minutes=2))
    assert later.recall(message.id, reason=REASON)


# What has left


@pytest.mark.parametrize("form", list(RecallForm))
def test_a_recall_cancels_the_document_and_is_answered(offices, package, form):
    province, department, commune = offices
    for office in (department, commune):
        office.exchange = office.with_options(ExchangeOptions(apply_take_backs=True))
    sent = province.exchange.send(package)
    received = one(taken_in(department)).message
    province.exchange.recall(sent.id, reason=REASON, form=form)
    assert set(province.business(sent.id).values()) == {
        BusinessState(None, "13"),
    }
    taken_in(department)
    message = department.exchange.status(received.id)
    assert message.delivery is DeliveryState.CANCELLED
    assert message.business == BusinessState("01", "15")
    # Who recalls by a package and by a request is told twice that it is done.
    asked = 2 if form is RecallForm.BOTH else 1
    assert [event.code for event in message.events] == ["01", *["13", "15"] * asked]
    assert message.events[1].description == REASON
    # The metadata is kept; the files are moved, and a notice says why.
    assert (message.code, message.subject) == (received.code, received.subject)
    assert {name for name in files_of(department) if received.id in name} == {
        f"{received.id}.DA-THU-HOI.txt",
        f"cancelled/{received.id}.edxml",
        f"cancelled/{received.id}/van-ban-TEST.pdf",
    }
    notice = (department.inbox / f"{received.id}.DA-THU-HOI.txt").read_text(encoding="utf-8")
    assert "VĂN BẢN ĐÃ BỊ THU HỒI" in notice
    assert REASON in notice
    # The other recipient never saw the document before its recall.
    taken_in(commune)
    assert document_of(commune).delivery is DeliveryState.CANCELLED
    taken_in(province)
    assert province.business(sent.id) == {
        DEPARTMENT: BusinessState("01", "15"),
        COMMUNE: BusinessState("01", "15"),
    }
    assert {order.state for order in province.exchange.orders(sent.id)} == {OrderState.APPLIED}


def test_a_cancelled_document_is_frozen(offices, package):
    province, department, _commune = offices
    sent = province.exchange.send(package)
    received = one(taken_in(department)).message
    province.exchange.recall(sent.id, reason=REASON)
    taken_in(department)
    for code in (StatusCode.ACCEPTED, StatusCode.COMPLETED, StatusCode.REFUSED):
        with pytest.raises(NotAllowedError) as caught:
            department.exchange.reply(received.id, code, reason="TEST")
        assert caught.value.code == "exchange.cancelled"
    with pytest.raises(NotAllowedError) as caught:
        department.exchange.reply(received.id, StatusCode.CHANGE_REFUSED, reason="TEST")
    assert caught.value.code == "exchange.nothing-asked"
    # Nothing happens twice.
    before = files_of(department)
    assert taken_in(department) == []
    assert files_of(department) == before
    assert len(department.exchange.status(received.id).events) == 3


def test_a_recall_that_is_left_to_a_person(offices, package):
    province, department, _commune = offices
    department.exchange = department.with_options(ExchangeOptions(apply_recalls=False))
    sent = province.exchange.send(package)
    received = one(taken_in(department)).message
    [recall] = province.exchange.recall(sent.id, reason=REASON)
    taken_in(department)
    message = department.exchange.status(received.id)
    assert message.delivery is DeliveryState.ACCEPTED
    assert message.business == BusinessState("01", "13")
    assert order_about(department, received.id, kind=OrderKind.RECALL).state is OrderState.ASKED
    # Not agreed: the document goes on, and its sender may ask again.
    department.exchange.reply(received.id, StatusCode.CHANGE_REFUSED, reason="TEST đã thực hiện")
    department.exchange.reply(received.id, StatusCode.PROCESSING)
    taken_in(province)
    assert province.business(sent.id)[DEPARTMENT] == BusinessState("05", "16")
    again = province.exchange.recall(sent.id, reason="TEST lần hai", recipients=[DEPARTMENT])
    assert one(again).id != recall.id
    taken_in(department)
    # The message that carries the order may be named, too.
    order = [item for item in department.store.received() if item.business_kind == 1][-1]
    department.exchange.reply(order.id, StatusCode.CHANGE_AGREED)
    assert department.exchange.status(received.id).delivery is DeliveryState.CANCELLED
    assert (department.inbox / f"{received.id}.DA-THU-HOI.txt").exists()
    taken_in(province)
    assert province.business(sent.id)[DEPARTMENT] == BusinessState("05", "15")


def test_a_request_is_left_to_a_person_unless_the_settings_say_otherwise(offices, package):
    province, department, _commune = offices
    sent = province.exchange.send(package)
    received = one(taken_in(department)).message
    province.exchange.recall(sent.id, reason=REASON, form=RecallForm.REQUEST, recipients=[DEPARTMENT])
    taken_in(department)
    assert department.exchange.status(received.id).delivery is DeliveryState.ACCEPTED
    department.exchange.reply(received.id, StatusCode.CHANGE_AGREED)
    assert department.exchange.status(received.id).delivery is DeliveryState.CANCELLED


def test_only_the_sender_itself_can_recall(offices, package, tmp_path):
    province, department, commune = offices
    province.exchange.send(package)
    received = one(taken_in(department)).message
    # The commune pretends that the document is its own.
    document = make_package(tmp_path / "x.edxml", sender=COMMUNE, recipients=[DEPARTMENT])
    forged = tmp_path / "forged.edxml"
    target = Business.recall(received.document_id, reason="TEST giả mạo")
    write_package(recall_header_of(document, target), [], forged)
    commune.exchange.send(forged)
    outcome = one(taken_in(department))
    assert outcome.message.delivery is DeliveryState.QUARANTINED
    assert outcome.message.reasons[0].id == "exchange.order-of-stranger"
    request = reply_header(
        document,
        sender=make_organization(COMMUNE),
        status_code=StatusCode.TAKE_BACK,
        at=utc_now(),
        description="TEST",
        receiver=DEPARTMENT,
    )
    named = ResponseFor(DEPARTMENT, received.code, received.document_id, "2026/11/20")
    write_package(dataclasses_replace(request, response_for=named), [], forged)
    commune.exchange.send(forged)
    assert not one(taken_in(department)).matched
    assert department.exchange.status(received.id).delivery is DeliveryState.ACCEPTED
    assert department.exchange.status(received.id).business == BusinessState("01")


def dataclasses_replace(value, **changes):
    import dataclasses

    return dataclasses.replace(value, **changes)


def recall_header_of(document, business):
    return dataclasses_replace(document, business=business)


def listing(office, monkeypatch, *packages):
    """Let the axis list packages in this order; the hub would have kept theirs."""
    rows = [
        RemoteMessage(f"listed-{number}", kind, PROVINCE, office.code, None, None)
        for number, (kind, _) in enumerate(packages)
    ]
    contents = {row.doc_id: path.read_bytes() for row, (_, path) in zip(rows, packages, strict=True)}
    monkeypatch.setattr(
        office.connector, "list_received", lambda kind: [row for row in rows if row.kind is kind]
    )
    monkeypatch.setattr(
        office.connector, "fetch", lambda doc_id, output: output.write_bytes(contents[doc_id])
    )
    monkeypatch.setattr(office.connector, "acknowledge", lambda *_args: None)


def written(path, header, attachments=(), *, minute):
    at = datetime.datetime(2026, 11, 20, 3, minute, tzinfo=datetime.UTC)
    write_package(dataclasses_replace(header, trace=()).with_trace(PROVINCE, at=at), attachments, path)
    return PackageKind.DOCUMENT, path


def test_a_recall_that_overtakes_its_document_waits_for_it(offices, tmp_path, monkeypatch):
    department = offices[1]
    document = make_package(tmp_path / "a.edxml", sender=PROVINCE, recipients=[DEPARTMENT])
    files = [Attachment("a.pdf", b"%PDF-1.7\n% TEST\n%%EOF\n")]
    original = written(tmp_path / "a.edxml", document, files, minute=0)
    recall = written(tmp_path / "r.edxml", recall_header(document, reason=REASON), minute=5)
    listing(department, monkeypatch, recall, original)
    first, second = taken_in(department)
    assert not first.matched
    assert second.message.delivery is DeliveryState.CANCELLED
    # Nothing was laid out of it but the notice.
    assert second.path.name == f"{second.message.id}.DA-THU-HOI.txt"
    assert [name for name in files_of(department) if second.message.id in name] == [second.path.name]
    assert [event.code for event in second.message.events if event.taken] == ["13", "01", "15"]
    [answers] = [
        [item.subject for item in department.store.sent(kind=PackageKind.STATUS)],
    ]
    assert sorted(answers) == ["01", "01", "15"]


def test_a_request_that_overtakes_its_document_waits_for_it(offices, tmp_path, monkeypatch):
    department = offices[1]
    document = make_package(tmp_path / "a.edxml", sender=PROVINCE, recipients=[DEPARTMENT])
    request = reply_header(
        document,
        sender=make_organization(PROVINCE),
        status_code=StatusCode.TAKE_BACK,
        at=utc_now(),
        description=REASON,
        receiver=DEPARTMENT,
    )
    write_package(request, [], tmp_path / "13.edxml")
    listing(department, monkeypatch, (PackageKind.STATUS, tmp_path / "13.edxml"))
    taken_in(department)
    listing(department, monkeypatch, (PackageKind.DOCUMENT, tmp_path / "a.edxml"))
    # Under another id of the axis than the request.
    monkeypatch.setattr(
        department.connector,
        "list_received",
        lambda kind: (
            [RemoteMessage("later", PackageKind.DOCUMENT, PROVINCE, DEPARTMENT, None, None)]
            if kind is PackageKind.DOCUMENT
            else []
        ),
    )
    monkeypatch.setattr(
        department.connector,
        "fetch",
        lambda _doc_id, output: output.write_bytes((tmp_path / "a.edxml").read_bytes()),
    )
    message = one(taken_in(department)).message
    assert message.delivery is DeliveryState.ACCEPTED
    assert message.business == BusinessState("01", "13")


def test_a_version_that_comes_after_its_recall_is_cancelled_and_one_sent_anew_is_not(
    offices, tmp_path, monkeypatch
):
    department = offices[1]
    document = make_package(tmp_path / "a.edxml", sender=PROVINCE, recipients=[DEPARTMENT])
    files = [Attachment("a.pdf", b"%PDF-1.7\n% TEST\n%%EOF\n")]
    original = written(tmp_path / "a.edxml", document, files, minute=0)
    update = written(
        tmp_path / "u.edxml", update_header(document, changed=document, reason="TEST"), files, minute=3
    )
    recall = written(tmp_path / "r.edxml", recall_header(document, reason=REASON), minute=5)
    listing(department, monkeypatch, original, recall)
    taken_in(department)
    listing(department, monkeypatch, original, recall, update)
    late = taken_in(department)[-1].message
    assert late.delivery is DeliveryState.CANCELLED
    assert late.business.change == "15"
    # Long after the recall the corrected document comes under the same identifier.
    now = utc_now() + datetime.timedelta(minutes=1)
    anew = tmp_path / "b.edxml"
    corrected = [Attachment("a.pdf", b"%PDF-1.7\n% corrected\n%%EOF\n")]
    write_package(dataclasses_replace(document, trace=()).with_trace(PROVINCE, at=now), corrected, anew)
    listing(department, monkeypatch, original, recall, update, (PackageKind.DOCUMENT, anew))
    message = taken_in(department)[-1].message
    assert message.delivery is DeliveryState.ACCEPTED
    # The recalled one, listed once more under another id, stays what it is.
    states = {item.payload.sha256: item.delivery for item in department.store.received()}
    assert (
        list(states.values()).count(DeliveryState.ACCEPTED) == 2
    )  # the recall itself, and the corrected one


def test_a_recall_that_names_the_document_by_number_and_date(offices, tmp_path, monkeypatch):
    department = offices[1]
    document = make_package(tmp_path / "a.edxml", sender=PROVINCE, recipients=[DEPARTMENT])
    # An order by another document, in the way of systems that rewrite identifiers.
    order = dataclasses_replace(
        document,
        code_number="16",
        document_id="TEST-16",
        response_for=(ResponseFor(PROVINCE, document.code, "rewritten", "2026/11/20"),),
        business=Business(1, REASON),
    )
    files = [Attachment("a.pdf", b"%PDF-1.7\n% TEST\n%%EOF\n")]
    listing(
        department,
        monkeypatch,
        written(tmp_path / "a.edxml", document, files, minute=0),
        written(tmp_path / "r.edxml", order, files, minute=5),
    )
    taken_in(department)
    cancelled = [item for item in department.store.received() if item.delivery is DeliveryState.CANCELLED]
    assert [item.document_id for item in cancelled] == [document.document_id]


def test_a_recall_from_some_recipients_only(offices, package):
    province, department, commune = offices
    sent = province.exchange.send(package)
    for office in (department, commune):
        taken_in(office)
    [order] = province.exchange.recall(sent.id, reason=REASON, recipients=[COMMUNE])
    assert [item.recipient.code for item in order.consignments] == [COMMUNE]
    assert taken_in(department) == []
    taken_in(commune)
    taken_in(province)
    assert province.business(sent.id) == {
        DEPARTMENT: BusinessState("01"),
        COMMUNE: BusinessState("01", "15"),
    }
    with pytest.raises(NotAllowedError) as caught:
        province.exchange.recall(sent.id, reason=REASON, recipients=[COMMUNE])
    assert caught.value.code == "exchange.recalled-already"
    # From everybody means from those who still have it.
    [rest] = province.exchange.recall(sent.id, reason=REASON)
    assert [item.recipient.code for item in rest.consignments] == [DEPARTMENT]


def test_a_recall_is_no_document_to_be_recalled(offices, package):
    """Its recipients would be told to take back the document once more."""
    province, department, _commune = offices
    sent = province.exchange.send(package)
    [order] = province.exchange.recall(sent.id, reason=REASON)
    taken_in(department)
    before = len(province.store.page("sent").items)
    with pytest.raises(NotAllowedError) as caught:
        province.exchange.recall(order.id, reason=REASON)
    assert caught.value.code == "exchange.not-a-document"
    with pytest.raises(NotAllowedError):
        province.exchange.update(order.id, reason=REASON, removed=[DEPARTMENT])
    assert len(province.store.page("sent").items) == before


@pytest.mark.parametrize("code", [StatusCode.REFUSED, StatusCode.ACCEPTED, StatusCode.COMPLETED])
def test_a_recall_is_not_worked_on(offices, package, code):
    """It shares the identifier of its document, which would be told to be entered in the register."""
    province, department, _commune = offices
    sent = province.exchange.send(package)
    taken_in(department)
    province.exchange.recall(sent.id, reason=REASON)
    order = one(taken_in(department)).message
    with pytest.raises(NotAllowedError) as caught:
        department.exchange.reply(order.id, code, reason=REASON)
    assert caught.value.code == "exchange.recall-is-decided"
    taken_in(province)
    assert province.business(sent.id)[DEPARTMENT] == BusinessState("01", "15")


def test_a_recall_that_is_kept_is_finished_by_the_same_command(offices, package):
    province, department, _commune = offices
    sent = province.exchange.send(package)
    with province.cut_off(), pytest.raises(ConnectorError):
        province.exchange.recall(sent.id, reason=REASON)
    [order] = province.exchange.recall(sent.id, reason=REASON)
    assert order.remote_doc_id is not None
    assert len([item for item in province.store.sent() if item.business_kind == 1]) == 1
    taken_in(department)
    assert document_of(department).delivery is DeliveryState.CANCELLED


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"reason": " "}, "exchange.recall-needs-reason"),
        ({"reason": REASON, "recipients": ["H01"]}, "package.no-receiver"),
    ],
)
def test_recalls_that_are_wrong(offices, package, arguments, code):
    province, department, _commune = offices
    sent = province.exchange.send(package)
    with pytest.raises(UsageError) as caught:
        province.exchange.recall(sent.id, **arguments)
    assert caught.value.code == code
    received = one(taken_in(department)).message
    with pytest.raises(UsageError) as caught:
        department.exchange.recall(received.id, reason=REASON)
    assert caught.value.code == "exchange.not-sent"


def test_a_recall_that_the_axis_refuses_was_never_asked(offices, package, monkeypatch):
    province = offices[0]
    sent = province.exchange.send(package)

    def refuse(*_args, **_kwargs):
        raise RefusedError("connector.refused", name="TEST", remote_code="18", remote_message="TEST")

    monkeypatch.setattr(province.connector, "send", refuse)
    with pytest.raises(RefusedError):
        province.exchange.recall(sent.id, reason=REASON)
    monkeypatch.undo()
    assert order_about(province, sent.id, kind=OrderKind.RECALL).state is OrderState.REFUSED
    assert province.exchange.recall(sent.id, reason=REASON)


def test_an_answer_that_was_not_queued_is_made_up_for(offices, package, monkeypatch):
    from vnedoc.exchange import _replies

    province, department, _commune = offices
    sent = province.exchange.send(package)
    received = one(taken_in(department)).message
    province.exchange.recall(sent.id, reason=REASON)

    def died(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(_replies, "_answer", died)
    with pytest.raises(KeyboardInterrupt):
        department.receive()
    monkeypatch.undo()
    # The document is cancelled already; the answer and the notice follow.
    assert department.exchange.status(received.id).delivery is DeliveryState.CANCELLED
    taken_in(department)
    taken_in(department)
    assert (department.inbox / f"{received.id}.DA-THU-HOI.txt").exists()
    taken_in(province)
    assert province.business(sent.id)[DEPARTMENT] == BusinessState("01", "15")
    answers = [item.subject for item in department.store.sent(kind=PackageKind.STATUS)]
    assert answers.count("15") == 1


# Update


def test_an_update_takes_the_place_of_its_document(offices, package):
    province, department, _commune = offices
    sent = province.exchange.send(package)
    received = one(taken_in(department)).message
    new = province.exchange.update(
        sent.id, attachments=[Attachment("ban-moi.pdf", b"%PDF-1.7\n% new\n%%EOF\n")], reason="TEST sửa lỗi"
    )
    version = one(taken_in(department)).message
    assert version.delivery is DeliveryState.ACCEPTED
    order = order_about(department, received.id, kind=OrderKind.UPDATE)
    assert (order.state, order.order_id) == (OrderState.APPLIED, version.id)
    assert f"{received.id}.DA-CAP-NHAT.txt" in files_of(department)
    assert version.id in (department.inbox / f"{received.id}.DA-CAP-NHAT.txt").read_text(encoding="utf-8")
    assert f"{version.id}/ban-moi.pdf" in files_of(department)
    # What is reported from now on is about the new version.
    with pytest.raises(NotAllowedError) as caught:
        department.exchange.reply(received.id, StatusCode.ACCEPTED)
    assert (caught.value.code, caught.value.values["by"]) == ("exchange.superseded", version.id)
    department.exchange.confirm(version.id)
    taken_in(province)
    assert province.business(sent.id)[DEPARTMENT] == BusinessState("01")
    assert province.business(new.id)[DEPARTMENT] == BusinessState("03", "15")


def test_an_update_that_is_left_to_a_person(offices, package):
    province, department, _commune = offices
    department.exchange = department.with_options(ExchangeOptions(apply_updates=False))
    sent = province.exchange.send(package)
    received = one(taken_in(department)).message
    new = province.exchange.update(sent.id, attachments=[Attachment("b.pdf", b"%PDF new")], reason="TEST")
    version = one(taken_in(department)).message
    department.exchange.reply(received.id, StatusCode.ACCEPTED)
    department.exchange.reply(version.id, StatusCode.CHANGE_REFUSED, reason="TEST đã xử lý")
    department.exchange.reply(received.id, StatusCode.COMPLETED)
    taken_in(province)
    assert province.business(new.id)[DEPARTMENT].change == "16"
    assert order_about(department, received.id, kind=OrderKind.UPDATE).state is OrderState.REFUSED


def test_receivers_are_added_and_removed(offices, tmp_path):
    province, department, commune = offices
    path = tmp_path / "a.edxml"
    make_package(path, sender=PROVINCE, recipients=[DEPARTMENT])
    sent = province.exchange.send(path)
    received = one(taken_in(department)).message
    new = province.exchange.update(
        sent.id, added=[make_organization(COMMUNE)], removed=[DEPARTMENT], reason="TEST gửi nhầm nơi"
    )
    came = one(taken_in(commune)).message
    assert came.delivery is DeliveryState.ACCEPTED
    assert (commune.inbox / came.id / "van-ban-TEST.pdf").is_file()
    # Who is removed has the document no more.
    taken_in(department)
    assert {item.delivery for item in department.store.received()} == {DeliveryState.CANCELLED}
    assert f"{received.id}.DA-THU-HOI.txt" in files_of(department)
    taken_in(province)
    assert province.business(new.id)[DEPARTMENT].change == "15"
    assert province.business(new.id)[COMMUNE] == BusinessState("01")


def test_versions_that_come_in_the_wrong_order(offices, tmp_path, monkeypatch):
    department = offices[1]
    document = make_package(tmp_path / "a.edxml", sender=PROVINCE, recipients=[DEPARTMENT])
    files = [Attachment("a.pdf", b"%PDF-1.7\n% TEST\n%%EOF\n")]
    first = written(tmp_path / "1.edxml", document, files, minute=0)
    second = written(tmp_path / "2.edxml", update_header(document, changed=document), files, minute=1)
    third = written(
        tmp_path / "3.edxml", update_header(document, changed=document, reason="TEST"), files, minute=2
    )
    listing(department, monkeypatch, third, second, first)
    newest, middle, oldest = (item.message for item in taken_in(department))
    assert {item.delivery for item in (newest, middle, oldest)} == {DeliveryState.ACCEPTED}
    department.store.orders_of([newest.id])
    for older in (middle, oldest):
        with pytest.raises(NotAllowedError) as caught:
            department.exchange.reply(older.id, StatusCode.ACCEPTED)
        assert caught.value.code == "exchange.superseded"
    monkeypatch.setattr(department.connector, "send", lambda *_args, **_kwargs: "TEST-1")
    assert department.exchange.confirm(newest.id)


def test_a_recall_takes_all_versions_back(offices, package):
    province, department, _commune = offices
    sent = province.exchange.send(package)
    taken_in(department)
    province.exchange.update(sent.id, attachments=[Attachment("b.pdf", b"%PDF new")], reason="TEST")
    taken_in(department)
    province.exchange.recall(sent.id, reason=REASON)
    taken_in(department)
    carried = [item for item in department.store.received() if item.business_kind != 1]
    assert [item.delivery for item in carried] == [DeliveryState.CANCELLED] * 2
    assert {item.business.change for item in carried} == {"15"}
    answers = [item.subject for item in department.store.sent(kind=PackageKind.STATUS)]
    assert answers.count("15") == 2  # one for the update, one for the recall


def test_what_cannot_be_updated(offices, package):
    province = offices[0]
    queued = province.exchange.queue(package)
    with pytest.raises(NotAllowedError) as caught:
        province.exchange.update(queued.id, added=[make_organization("H99.3")])
    assert caught.value.code == "exchange.not-sent-yet"
    sent = province.exchange.deliver(queued.id)
    with pytest.raises(UsageError):
        province.exchange.update(sent.id)
    with pytest.raises(UsageError):
        province.exchange.update(sent.id, removed=["H01"])
    province.exchange.recall(sent.id, reason=REASON)
    with pytest.raises(NotAllowedError) as caught:
        province.exchange.update(sent.id, removed=[COMMUNE])
    assert caught.value.code == "exchange.recalled-already"


# Replace


def test_a_replacement_takes_the_place_of_a_document(offices, package, tmp_path):
    province, department, _commune = offices
    sent = province.exchange.send(package)
    received = one(taken_in(department)).message
    header = make_package(tmp_path / "b.edxml", sender=PROVINCE, recipients=[DEPARTMENT, COMMUNE], number=16)
    new = province.exchange.replace(
        sent.id, header=header, attachments=[Attachment("b.pdf", b"%PDF new")], reason="TEST"
    )
    assert new.document_id != sent.document_id
    successor = one(taken_in(department)).message
    order = order_about(department, received.id, kind=OrderKind.REPLACE)
    assert (order.state, order.order_id, order.answer) == (OrderState.APPLIED, successor.id, None)
    assert f"{received.id}.DA-THAY-THE.txt" in files_of(department)
    department.exchange.confirm(successor.id)
    with pytest.raises(NotAllowedError):
        department.exchange.confirm(received.id)
    taken_in(province)
    assert province.business(new.id)[DEPARTMENT] == BusinessState("03")
    with pytest.raises(NotAllowedError) as caught:
        province.exchange.replace(sent.id, header=header, attachments=[Attachment("b.pdf", b"%PDF x")])
    assert caught.value.code == "exchange.superseded"


def test_a_replacement_that_overtakes_what_it_replaces(offices, tmp_path, monkeypatch):
    department = offices[1]
    old = make_package(tmp_path / "a.edxml", sender=PROVINCE, recipients=[DEPARTMENT])
    new = make_package(tmp_path / "b.edxml", sender=PROVINCE, recipients=[DEPARTMENT], number=16)
    new = dataclasses_replace(
        new, business=Business.replace(ReplacementInfo(old.document_id, (DEPARTMENT,)), reason="TEST")
    )
    files = [Attachment("a.pdf", b"%PDF-1.7\n% TEST\n%%EOF\n")]
    listing(
        department,
        monkeypatch,
        written(tmp_path / "b.edxml", new, files, minute=9),
        written(tmp_path / "a.edxml", old, files, minute=0),
    )
    successor, replaced = (item.message for item in taken_in(department))
    order = order_about(department, replaced.id, kind=OrderKind.REPLACE)
    assert (order.state, order.order_id) == (OrderState.APPLIED, successor.id)


def test_a_successor_may_send_a_document_that_replaces_another_agencys(offices, package, tmp_path):
    # After a merger: it is a document all the same, but it does not cancel anything by itself.
    province, department, commune = offices
    province.exchange.send(package)
    received = one(taken_in(department)).message
    path = tmp_path / "b.edxml"
    target = Business.replace(ReplacementInfo(received.document_id, (DEPARTMENT,)))
    make_package(path, sender=COMMUNE, recipients=[DEPARTMENT], number=99, business=target)
    commune.exchange.send(path)
    assert one(taken_in(department)).message.delivery is DeliveryState.ACCEPTED
    assert department.exchange.orders(received.id) == []
    department.exchange.confirm(received.id)


# Packages of orders that were made by hand


def test_an_order_made_by_hand_is_tied_to_its_document(offices, package, tmp_path):
    province, department, _commune = offices
    document = make_package(package, sender=PROVINCE, recipients=[DEPARTMENT, COMMUNE])
    sent = province.exchange.send(package)
    by_hand = tmp_path / "recall.edxml"
    write_package(recall_header(document, reason=REASON), [], by_hand)
    order = province.exchange.send(by_hand)
    assert order_about(province, sent.id, kind=OrderKind.RECALL).order_id == order.id
    assert province.exchange.send(by_hand).id == order.id
    taken_in(department)
    taken_in(province)
    assert province.business(sent.id)[DEPARTMENT] == BusinessState("01", "15")
