"""The receiver answers 03 (accepted); the sender sees 01 and 03."""

from _desk import open_desk
from _offices import open_offices

from vnedoc.exchange.codes import StatusCode

with open_desk() as desk, open_offices(desk) as (sender, receiver):
    sent = sender.send(desk.packed())
    (received,) = receiver.receive(desk.folder / "inbox")
    receiver.reply(received.message.id, StatusCode.ACCEPTED, reason="Văn thư: đã tiếp nhận")

    sender.receive(desk.folder / "sender-inbox")
    (consignment,) = sender.status(sent.id).consignments
    print("statuses:", ", ".join(event.code for event in consignment.events))
