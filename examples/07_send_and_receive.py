"""Send a package through a hub to another agency, which verifies every document and the sender before it accepts."""

from _desk import open_desk
from _offices import open_offices

from vnedoc.exchange.judgement import judge_package
from vnedoc.sign.revocation import RevocationSource

with open_desk() as desk, open_offices(desk) as (sender, receiver):
    sent = sender.send(desk.packed())
    for consignment in sent.consignments:
        print(f"sent to {consignment.recipient.code}: {consignment.delivery.value}")

    with RevocationSource(allowed_hosts=["127.0.0.1"]) as revocation:

        def judge(package):
            """Say whether the package may be accepted."""
            return judge_package(
                package, trust=desk.trust(), directory=desk.directory(), revocation=revocation
            )

        (received,) = receiver.receive(desk.folder / "inbox", verify=judge)
    print(f"received {received.message.code}: {received.message.delivery.value}, in {received.path.name}")
