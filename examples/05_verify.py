"""Verify every signature against the trust that is given, and ask whether the signer is the sender."""

from _desk import open_desk

import vnedoc
from vnedoc.sign.revocation import RevocationSource

with open_desk() as desk:
    path = desk.issued()
    sender = vnedoc.ExpectedSender("H99", desk.directory())
    # The test PKI answers on loopback, which is only asked when it is named.
    with RevocationSource(allowed_hosts=["127.0.0.1"]) as revocation:
        report = vnedoc.verify_pdf(path, trust=desk.trust(), sender=sender, revocation=revocation)
    report.raise_for_status()
    for signature in report.files[0].signatures:
        print(f"{signature.signer.common_name} ({signature.role.value}): {signature.conclusion.value}")
    print("sender:", report.files[0].sender.match.value)

    path.write_bytes(path.read_bytes().replace(b"/Count 2", b"/Count 3", 1))
    report = vnedoc.verify_pdf(path, trust=desk.trust())
    print("one byte changed:", report.files[0].conclusion.value)
