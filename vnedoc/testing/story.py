"""The story of one decision on one machine: signed, issued, sent, checked, answered; and what is refused.

Everything is real but the authority: the keys and certificates are thrown away, every name carries the word TEST,
and all servers answer on loopback only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import shutil
from typing import TYPE_CHECKING, Protocol

from vnedoc._internal import clock, files
from vnedoc.agencies import load_directory
from vnedoc.errors import InternalError, UsageError
from vnedoc.exchange.codes import StatusCode
from vnedoc.exchange.connectors.vxp import VXPConnector
from vnedoc.exchange.headers import (
    Business,
    DocumentHeader,
    DocumentType,
    Organization,
    SignerInfo,
    build_document_id,
)
from vnedoc.exchange.judgement import judge_package
from vnedoc.exchange.models import Attachment
from vnedoc.exchange.package import write_package
from vnedoc.exchange.service import Exchange
from vnedoc.exchange.states import DeliveryState
from vnedoc.exchange.stores.hub import HubAgency
from vnedoc.exchange.stores.records import ReceivedMessage
from vnedoc.exchange.stores.store import AgencyStore
from vnedoc.sign.appearance import load_picture
from vnedoc.sign.models import Placement, Role, SignatureLevel
from vnedoc.sign.report import Conclusion
from vnedoc.sign.revocation import RevocationSource
from vnedoc.sign.roles import SigningOptions
from vnedoc.sign.senders import ExpectedSender
from vnedoc.sign.signers.pkcs12 import PKCS12Signer
from vnedoc.sign.signing import sign_pdf
from vnedoc.sign.timestamps import TimestampClient
from vnedoc.sign.trust import load_trust
from vnedoc.sign.verification import verify_pdf
from vnedoc.testing import documents, pki
from vnedoc.testing.hub import running_hub

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vnedoc.exchange.judgement import PackageJudgement
    from vnedoc.exchange.models import Package
    from vnedoc.exchange.service import Received
    from vnedoc.exchange.stores.records import SentMessage
    from vnedoc.sign.report import FileReport

__all__ = ["MARKER", "PASSPHRASE", "Say", "tell_story"]

MARKER = "vnedoc-demo.json"
"""A folder with this file was made by the story, and may be made again."""
PASSPHRASE = "vnedoc-TEST"  # noqa: S105 - of throw-away keys; it is printed, so that people can try
PRINTED_YEAR = 2026
NUMBER, NOTATION = "15", "QĐ-UBND"

SENDER = Organization("H99", documents.AGENCY_NAME)
CENTRAL = Organization("G99", "BỘ TEST")
COMMUNE = Organization("H99.15", "ỦY BAN NHÂN DÂN XÃ TEST", organization_in_charge="H99")


class Say(Protocol):
    """How the story is told: a message id and what the message names."""

    def __call__(self, message_id: str, /, **values: object) -> None:
        """Tell one thing."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class _Office:
    """One agency with its own store and its own way to the hub."""

    organization: Organization
    folder: Path
    store: AgencyStore
    exchange: Exchange


def tell_story(folder: Path, *, say: Say) -> None:
    """Tell the story, with real files at every step.

    Args:
        folder: Where the files go. It must not exist, be empty, or be from an earlier telling.
        say: Told what happens.

    Raises:
        UsageError: The folder holds something else.
        InternalError: A step did not end as it must.
    """
    _prepare(folder)
    with contextlib.ExitStack() as stack:
        authority = _make_pki(folder, stack, say)
        _copy_drafts(folder, say)
        _sign_documents(folder, authority, say)
        offices = _open_offices(folder, stack, say)
        sent = _send(folder, offices["sender"], say)
        revocation = stack.enter_context(RevocationSource(allowed_hosts=["127.0.0.1"]))
        for name in ("central", "commune"):
            _receive_and_answer(folder, offices[name], revocation, say)
        _look_at_statuses(offices["sender"], sent, say)
        _refuse_the_others(folder, authority, offices, revocation, say)
        say("demo.7-everything", folder=folder, pdf=folder / "3-signed" / documents.DECISION)
        say("demo.7-passphrase", passphrase=PASSPHRASE)
        say("demo.7-try", folder=folder)


def _prepare(folder: Path) -> None:
    if folder.exists():
        if not folder.is_dir() or (any(folder.iterdir()) and not (folder / MARKER).is_file()):
            raise UsageError("demo.folder-in-use", path=folder)
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    files.write_bytes(folder / MARKER, b'{"schema": "vnedoc.demo/1"}\n')


def _make_pki(folder: Path, stack: contextlib.ExitStack, say: Say) -> pki.TestPKI:
    authority = stack.enter_context(pki.running_pki())
    authority.write(folder / "1-pki", passphrase=PASSPHRASE)
    entry = {
        "organ_id": SENDER.organ_id,
        "name": SENDER.organ_name,
        "level": "province",
        "tax_code": pki.AGENCY_TAX_CODE,
        "budget_code": pki.AGENCY_BUDGET_CODE,
    }
    directory = {"schema": "vnedoc.directory/1", "agencies": [entry]}
    content = json.dumps(directory, ensure_ascii=False, indent=2).encode()
    files.write_bytes(folder / "1-pki" / "directory.json", content)
    say("demo.1-pki", folder=folder / "1-pki")
    for certificate in authority.ca_certificates:
        say("demo.1-authority", subject=certificate.subject.rfc4514_string())
    for identity in (authority.leader, authority.agency, authority.other_agency, authority.tsa):
        say("demo.1-certificate", subject=identity.certificate.subject.rfc4514_string())
    say("demo.1-services", ocsp=authority.ocsp_url, tsa=authority.tsa_url, crl=", ".join(authority.crl_urls))
    return authority


def _copy_drafts(folder: Path, say: Say) -> None:
    drafts = folder / "2-drafts"
    drafts.mkdir()
    for name in (*documents.DOCUMENTS, *documents.PICTURES):
        shutil.copyfile(documents.document_path(name), drafts / name)
    say("demo.2-drafts", folder=drafts, names=", ".join(documents.DOCUMENTS))


def _sign_documents(folder: Path, authority: pki.TestPKI, say: Say) -> None:
    drafts, signed = folder / "2-drafts", folder / "3-signed"
    signed.mkdir()
    leader = PKCS12Signer(authority.leader.pkcs12(PASSPHRASE), passphrase=PASSPHRASE)
    clerk = PKCS12Signer(authority.agency.pkcs12(PASSPHRASE), passphrase=PASSPHRASE)
    with TimestampClient([authority.tsa_url]) as timestamps:
        approve = dataclasses.replace(_approving(drafts, timestamps), reserve_numbering=True)
        issue = dataclasses.replace(_issuing(drafts, timestamps), number=NUMBER, date=_today())
        appendix = SigningOptions(
            role=Role.APPENDIX,
            level=SignatureLevel.B_T,
            timestamps=timestamps,
            number=f"{NUMBER}/{NOTATION}",
        )
        for name in (documents.DECISION, documents.LETTER, documents.ROTATED):
            path = signed / name
            result = sign_pdf(drafts / name, path, signer=leader, options=approve)
            say("demo.3-approved", name=name, page=result.page, level=result.level.value)
            number = NUMBER if name == documents.DECISION else "120"
            options = dataclasses.replace(issue, number=number)
            result = sign_pdf(path, path, signer=clerk, options=options)
            say("demo.3-issued", name=name, number=number, page=result.page, level=result.level.value)
        for name in (documents.APPENDIX, documents.LANDSCAPE):
            result = sign_pdf(drafts / name, signed / name, signer=clerk, options=appendix)
            say("demo.3-appendix", name=name, time=f"{result.signing_time:%d/%m/%Y %H:%M:%S}")


def _approving(drafts: Path, timestamps: TimestampClient) -> SigningOptions:
    """Return how the leader signs."""
    return SigningOptions(
        role=Role.APPROVE,
        level=SignatureLevel.B_T,
        timestamps=timestamps,
        placement=Placement(anchor=documents.LEADER_NAME),
        picture=load_picture(drafts / documents.LEADER_SIGNATURE),
    )


def _issuing(drafts: Path, timestamps: TimestampClient) -> SigningOptions:
    """Return how an agency seals."""
    return SigningOptions(
        role=Role.ISSUE,
        level=SignatureLevel.B_T,
        timestamps=timestamps,
        picture=load_picture(drafts / documents.AGENCY_SEAL),
        seal_diameter_mm=documents.SEAL_DIAMETER_MM,
    )


def _open_offices(folder: Path, stack: contextlib.ExitStack, say: Say) -> dict[str, _Office]:
    hub = stack.enter_context(running_hub(folder / "4-hub"))
    offices = {}
    for name, organization in (("sender", SENDER), ("central", CENTRAL), ("commune", COMMUNE)):
        system = f"SYS.{organization.organ_id}"
        secret = hub.add_system(system, HubAgency(organization.organ_id, organization.organ_name))
        place = folder / f"5-{name}"
        place.mkdir()
        _write_settings(place, organization, hub.url, system, secret)
        store = AgencyStore.open(f"sqlite:///{place / 'vnedoc.sqlite3'}", place / "payloads")
        stack.callback(store.close)
        connector = VXPConnector(hub.url, system, secret=_telling(secret), name="axis")
        stack.callback(connector.close)
        offices[name] = _Office(
            organization, place, store, Exchange(connector, store, organization=organization)
        )
        say("demo.4-office", code=organization.organ_id, name=organization.organ_name, folder=place)
    return offices


def _telling(secret: str) -> Callable[[str], str]:
    return lambda _: secret


def _say_nothing(_: str, /, **__: object) -> None:
    return None


def _write_settings(folder: Path, organization: Organization, url: str, system: str, secret: str) -> None:
    """Write what the same steps need as single commands."""
    settings = f"""\
trust = ["../1-pki/root.pem", "../1-pki/ca-chain.pem"]
directory = "../1-pki/directory.json"

[agency]
organ_id = "{organization.organ_id}"
organ_name = "{organization.organ_name}"

[store]
url = "sqlite:///vnedoc.sqlite3"
payload_folder = "payloads"

[verification]
allowed_hosts = ["127.0.0.1"]

[connections.axis]
kind = "vxp"
url = "{url}"
system_id = "{system}"
secret_file = "axis.secret"
"""
    files.write_bytes(folder / "vnedoc.toml", settings.encode())
    secret_file = folder / "axis.secret"
    secret_file.touch(mode=0o600)
    secret_file.write_text(secret, encoding="ascii")


def _header(number: str, recipients: tuple[Organization, ...]) -> DocumentHeader:
    today = _today()
    return DocumentHeader(
        sender=SENDER,
        recipients=recipients,
        code_number=number,
        code_notation=NOTATION,
        document_id=build_document_id(SENDER.organ_id, today, number, NOTATION),
        promulgation_date=today,
        promulgation_place="Tỉnh TEST",
        document_type=DocumentType(type=2, type_detail=2, type_name="Quyết định"),
        subject="Phê duyệt Kế hoạch trao đổi văn bản điện tử năm 2027 (TEST)",
        signer_info=SignerInfo("TM.", "Chủ tịch", documents.LEADER_NAME),
        business=Business.new(reason="Văn bản điện tử mới"),
    ).with_trace(SENDER.organ_id, at=clock.utc_now())


def _send(folder: Path, office: _Office, say: Say) -> SentMessage:
    signed = folder / "3-signed"
    package = office.folder / f"{NUMBER}-{NOTATION.replace('Đ', 'D')}.edxml"
    names = (documents.DECISION, documents.APPENDIX, documents.LANDSCAPE)
    attachments = [Attachment.from_file(signed / name) for name in names]
    written = write_package(_header(NUMBER, (CENTRAL, COMMUNE)), attachments, package)
    say("demo.4-packed", path=package, size=written.size // 1024, count=len(attachments))
    sent = office.exchange.send(package)
    for consignment in sent.consignments:
        say(
            "demo.4-sent", code=consignment.recipient.code, id=consignment.remote_doc_id or sent.remote_doc_id
        )
    return sent


def _receive_and_answer(folder: Path, office: _Office, revocation: RevocationSource, say: Say) -> None:
    (received,) = _receive(folder, office, revocation, say, expected=1)
    message = received.message
    if message is None or message.delivery is not DeliveryState.ACCEPTED:
        raise InternalError("demo.unexpected", step=5)
    say("demo.5-accepted", name=office.organization.organ_name, path=received.path)
    office.exchange.reply(message.id, StatusCode.ACCEPTED, reason="Văn thư - Văn phòng: đã tiếp nhận, vào sổ")
    say("demo.5-answered", name=office.organization.organ_name, statuses="01, 03")


def _receive(
    folder: Path, office: _Office, revocation: RevocationSource, say: Say, *, expected: int
) -> list[Received]:
    trust = load_trust(str(folder / "1-pki" / "root.pem"), str(folder / "1-pki" / "ca-chain.pem"))
    directory = load_directory(folder / "1-pki" / "directory.json")

    def judge(package: Package) -> PackageJudgement:
        judgement = judge_package(package, trust=trust, directory=directory, revocation=revocation)
        for report in judgement.files:
            _say_verdict(report, say)
        return judgement

    outcomes = office.exchange.receive(office.folder / "inbox", verify=judge)
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
    if len(outcomes) != expected:
        raise InternalError("demo.unexpected", step=5)
    return outcomes


def _say_verdict(report: FileReport, say: Say) -> None:
    name = report.path.replace("\\", "/").rpartition("/")[2]
    for signature in report.signatures:
        say(
            "demo.5-signature",
            name=name,
            signer=signature.signer.common_name if signature.signer else "?",
            role=signature.role.value,
            conclusion=signature.conclusion.value,
            level=signature.level,
        )
    if report.sender is not None:
        say("demo.5-sender", name=name, code=report.sender.organ_id, match=report.sender.match.value)


def _look_at_statuses(office: _Office, sent: SentMessage, say: Say) -> None:
    office.exchange.receive(office.folder / "inbox")
    message = office.exchange.status(sent.id)
    if isinstance(message, ReceivedMessage):
        raise InternalError("demo.unexpected", step=6)
    for consignment in message.consignments:
        codes = [event.code for event in consignment.events]
        if codes != ["01", "03"]:
            raise InternalError("demo.unexpected", step=6)
        say(
            "demo.6-status",
            code=consignment.recipient.code,
            name=consignment.recipient.name,
            statuses=", ".join(codes),
        )


def _refuse_the_others(
    folder: Path,
    authority: pki.TestPKI,
    offices: dict[str, _Office],
    revocation: RevocationSource,
    say: Say,
) -> None:
    place = folder / "6-refused"
    place.mkdir()
    copies = {
        "changed": _with_one_byte_changed((folder / "3-signed" / documents.DECISION).read_bytes()),
        "wrong-agency": _signed_by_another_agency(folder, authority),
        "unsigned": documents.document_bytes(documents.DECISION),
    }
    trust = load_trust(str(folder / "1-pki" / "root.pem"), str(folder / "1-pki" / "ca-chain.pem"))
    sender = ExpectedSender(SENDER.organ_id, load_directory(folder / "1-pki" / "directory.json"))
    sender_office, commune = offices["sender"], offices["commune"]
    for index, (name, content) in enumerate(copies.items(), start=16):
        path = place / f"{name}.pdf"
        files.write_bytes(path, content)
        report = verify_pdf(path, trust=trust, sender=sender, revocation=revocation).files[0]
        if report.conclusion is Conclusion.TOTAL_PASSED:
            raise InternalError("demo.unexpected", step=6)
        say(f"demo.6-{name}", path=path, conclusion=report.conclusion.value)
        for finding in report.all_errors():
            say(finding.id, **finding.values)
        # The hub carries what is well formed; it is the receiver who looks at the signatures.
        package = place / f"{name}.edxml"
        write_package(_header(str(index), (COMMUNE,)), [Attachment.from_file(path)], package)
        sender_office.exchange.send(package)
    for outcome in _receive(folder, commune, revocation, _say_nothing, expected=len(copies)):
        message = outcome.message
        if message is None or message.delivery is not DeliveryState.QUARANTINED:
            raise InternalError("demo.unexpected", step=6)
        say("demo.6-quarantined", name=commune.organization.organ_name, code=message.code, path=outcome.path)


def _with_one_byte_changed(content: bytes) -> bytes:
    place = content.index(b"stream") + 40
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def _signed_by_another_agency(folder: Path, authority: pki.TestPKI) -> bytes:
    """Return the decision with the leader's signature and the seal of an agency that is not the sender."""
    drafts = folder / "2-drafts"
    leader = PKCS12Signer(authority.leader.pkcs12(PASSPHRASE), passphrase=PASSPHRASE)
    other = PKCS12Signer(authority.other_agency.pkcs12(PASSPHRASE), passphrase=PASSPHRASE)
    with TimestampClient([authority.tsa_url]) as timestamps:
        approve, issue = _approving(drafts, timestamps), _issuing(drafts, timestamps)
        approved = sign_pdf(drafts / documents.DECISION, signer=leader, options=approve).content
        assert approved is not None
        issued = sign_pdf(approved, signer=other, options=issue).content
    assert issued is not None
    return issued


def _today() -> datetime.date:
    today = clock.vietnam(clock.utc_now()).date()
    # The sample drafts print the year 2026.
    return today if today.year == PRINTED_YEAR else datetime.date(PRINTED_YEAR, 12, 31)
