"""What was used to decide, kept in a folder, and the same decision once more from there, offline.

Circular 15/2025/TT-BKHCN, article 6.2, has the checking software keep the signer's certificate, the revocation data
and the result. A folder holds the trust anchors, the policy, the directory, every OCSP response and revocation list
that was looked at, the signers' certificates, the time, and the report. ``evidence.json`` names each file with its
SHA-256; the documents themselves are not copied.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from vnedoc._internal import clock, files
from vnedoc._internal.version import VERSION
from vnedoc.agencies import parse_directory
from vnedoc.errors import InputError, UsageError
from vnedoc.sign.policies import parse_policy
from vnedoc.sign.report import Conclusion, FileReport, Finding, SenderMatch
from vnedoc.sign.revocation import Attempt, RevocationData, RevocationSource
from vnedoc.sign.senders import ExpectedSender
from vnedoc.sign.trust import TrustAnchor, TrustStore, TrustTree, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from vnedoc.agencies import AgencyDirectory
    from vnedoc.sign.policy import Policy
    from vnedoc.sign.report import VerificationReport
    from vnedoc.sign.signers.base import SecretCallback

__all__ = [
    "Evidence",
    "Inquiries",
    "RecordedSource",
    "RecordingSource",
    "check_folder",
    "compare_with_evidence",
    "load_evidence",
    "merged",
    "signers_of",
    "write_evidence",
]

SCHEMA = "vnedoc.evidence/1"
INDEX = "evidence.json"
MAX_INDEX_BYTES = 64 * 1024 * 1024
MAX_PART_BYTES = 256 * 1024 * 1024
MAX_PARTS = 100_000

Inquiries = dict[tuple[str, str], RevocationData]
"""What was answered: question (``ocsp``, ``crl``, ``issuer``) and fingerprint of the certificate, to the data."""


class RecordingSource(RevocationSource):
    """A source that keeps what another one gave.

    Args:
        inner: The source that is asked; it is closed with this one.
    """

    def __init__(self, inner: RevocationSource) -> None:
        super().__init__(crls=inner.crls, online=False)
        self._inner = inner
        self._inquiries: Inquiries = {}

    def ocsp_for(self, certificate: x509.Certificate, issuer: x509.Certificate) -> RevocationData:
        """Ask for OCSP responses about a certificate."""
        return self._keep("ocsp", certificate, self._inner.ocsp_for(certificate, issuer))

    def crls_for(self, certificate: x509.Certificate) -> RevocationData:
        """Ask for CRLs about a certificate."""
        return self._keep("crl", certificate, self._inner.crls_for(certificate))

    def issuers_of(self, certificate: x509.Certificate) -> RevocationData:
        """Ask for the certificates of a certificate's issuer."""
        data = self._inner.issuers_of(certificate)
        return self._keep("issuer", certificate, data) if data.attempts else data

    def take(self) -> Inquiries:
        """Return what was given since the last time."""
        taken, self._inquiries = self._inquiries, {}
        return taken

    def begin_document(self) -> None:
        """Say that what is asked from now on is about another document."""
        self._inner.begin_document()

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()
        super().close()

    def _keep(self, kind: str, certificate: x509.Certificate, data: RevocationData) -> RevocationData:
        self._inquiries[kind, fingerprint(certificate)] = data
        return data


class RecordedSource(RevocationSource):
    """A source that gives what was kept, and asks nobody.

    Args:
        inquiries: What was kept.
        crls: CRLs, DER, that were at hand.
    """

    def __init__(self, inquiries: Mapping[tuple[str, str], RevocationData], *, crls: Iterable[bytes]) -> None:
        super().__init__(crls=crls, online=False)
        self._inquiries = inquiries

    def ocsp_for(self, certificate: x509.Certificate, issuer: x509.Certificate) -> RevocationData:
        """Return the kept OCSP responses about a certificate."""
        del issuer
        return self._inquiries.get(("ocsp", fingerprint(certificate)), RevocationData())

    def crls_for(self, certificate: x509.Certificate) -> RevocationData:
        """Return the kept CRLs about a certificate."""
        return self._inquiries.get(("crl", fingerprint(certificate)), RevocationData(crls=self.crls))

    def issuers_of(self, certificate: x509.Certificate) -> RevocationData:
        """Return the kept certificates of a certificate's issuer."""
        return self._inquiries.get(("issuer", fingerprint(certificate)), RevocationData())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was used to decide."""

    at: datetime.datetime
    """The time for which the question was asked."""
    trust: TrustStore
    """What was trusted."""
    policy: bytes
    """The policy file."""
    inquiries: Mapping[tuple[str, str], RevocationData] = dataclasses.field(default_factory=dict)
    """What was asked and answered about revocation."""
    crls: tuple[bytes, ...] = ()
    """CRLs that were given."""
    certificates: tuple[x509.Certificate, ...] = ()
    """Certificates that came with the signatures."""
    sender: tuple[str, SenderMatch] | None = None
    """The agency that was said to have sent, and the match that was enough."""
    directory: bytes | None = None
    """The agency directory."""
    conclusions: Mapping[str, tuple[str, tuple[str, ...]]] = dataclasses.field(default_factory=dict)
    """The verdicts: SHA-256 of the file to its conclusion and the ids of its errors. Empty while they are made."""

    def parsed_policy(self) -> Policy:
        """Return the policy.

        Raises:
            ConfigurationError: It is not one.
        """
        return parse_policy(self.policy, name="policy.toml")

    def expected_sender(self) -> ExpectedSender | None:
        """Return the agency that was said to have sent, with the directory.

        Raises:
            ConfigurationError: The directory is not one.
        """
        directory = self.agency_directory()
        if self.sender is None or directory is None:
            return None
        return ExpectedSender(self.sender[0], directory, self.sender[1])

    def agency_directory(self) -> AgencyDirectory | None:
        """Return the agency directory, if one was used.

        Raises:
            ConfigurationError: It is not one.
        """
        return None if self.directory is None else parse_directory(self.directory, name="directory.json")

    def source(self) -> RecordedSource:
        """Return the revocation data as a source that asks nobody."""
        return RecordedSource(self.inquiries, crls=self.crls)


def merged(all_inquiries: Iterable[Inquiries]) -> Inquiries:
    """Return what was asked and answered for several files together."""
    found: Inquiries = {}
    for inquiries in all_inquiries:
        for question, data in inquiries.items():
            before = found.get(question, RevocationData())
            found[question] = RevocationData(
                ocsp=tuple(dict.fromkeys(before.ocsp + data.ocsp)),
                crls=tuple(dict.fromkeys(before.crls + data.crls)),
                attempts=tuple(dict.fromkeys(before.attempts + data.attempts)),
                certificates=tuple(dict.fromkeys(before.certificates + data.certificates)),
            )
    return found


def check_folder(folder: Path) -> None:
    """Check that evidence can go into a folder: best before the work that it is about.

    Raises:
        UsageError: It has something in it.
        InputError: It is no folder.
    """
    try:
        if folder.exists() and any(folder.iterdir()):
            raise UsageError("evidence.not-empty", path=folder)
    except OSError as exc:
        raise InputError("file.cannot-write", path=folder, reason=exc.strerror) from exc


def write_evidence(folder: Path, evidence: Evidence, report: VerificationReport) -> None:
    """Write what was used to decide into a folder, with the report.

    Args:
        folder: A new or empty folder.
        evidence: What was used.
        report: What was decided.

    Raises:
        UsageError: The folder has something in it.
        InputError: It cannot be written to.
    """
    check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writer = _Writer(folder)
        trust: list[dict[str, str | None]] = [
            {"file": writer.certificate("trust", anchor.certificate), "tree": anchor.tree.value}
            for anchor in evidence.trust.anchors
        ]
        trust += [
            {"file": writer.certificate("trust", certificate), "tree": None}
            for certificate in evidence.trust.intermediates
        ]
        index = {
            "schema": SCHEMA,
            "version": VERSION,
            "at": evidence.at.isoformat(),
            "policy": writer.add("policy.toml", evidence.policy),
            "trust": trust,
            "certificates": [writer.certificate("certificates", item) for item in evidence.certificates],
            "crls": [writer.data("crl", item) for item in evidence.crls],
            "revocation": [
                {
                    "kind": kind,
                    "certificate": certificate,
                    "ocsp": [writer.data("ocsp", item) for item in data.ocsp],
                    "crls": [writer.data("crl", item) for item in data.crls],
                    "certificates": [writer.data("issuer", item) for item in data.certificates],
                    "attempts": [dataclasses.asdict(attempt) for attempt in data.attempts],
                }
                for (kind, certificate), data in sorted(evidence.inquiries.items())
            ],
            "sender": None
            if evidence.sender is None
            else {"organ_id": evidence.sender[0], "required": evidence.sender[1].value},
            "directory": None
            if evidence.directory is None
            else writer.add("directory.json", evidence.directory),
            "files": [
                {
                    "path": file.path,
                    "sha256": file.sha256,
                    "conclusion": file.conclusion.value,
                    "errors": [finding.id for finding in file.all_errors()],
                }
                for file in report.files
            ],
            "report": writer.add("report.json", _json(report.to_dict())),
        }
        index["sha256"] = writer.digests
        files.write_bytes(folder / INDEX, _json(index))
    except OSError as exc:
        raise InputError("file.cannot-write", path=folder, reason=exc.strerror) from exc


def load_evidence(folder: Path) -> Evidence:
    """Read an evidence folder and check that nothing in it was changed.

    That shows accidents, not forgers: whoever can write to the folder can write the index, too.

    Raises:
        InputError: It is none, something is missing, or something is not what was written.
    """
    content = files.read_bytes(folder / INDEX, max_bytes=MAX_INDEX_BYTES)
    try:
        index = json.loads(content)
        if index["schema"] != SCHEMA or len(index["sha256"]) > MAX_PARTS:
            raise InputError("evidence.bad-schema", path=folder, schema=SCHEMA)
        return _Reader(folder, index["sha256"]).evidence(index)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise InputError("evidence.malformed", path=folder, reason=f"{type(exc).__name__}: {exc}") from exc


def compare_with_evidence(report: FileReport, evidence: Evidence) -> FileReport:
    """Return the verdict of a second verification, which does not pass unless the first said the same."""
    expected = evidence.conclusions.get(report.sha256 or "")
    if expected is None:
        finding = Finding("evidence.other-file")
    elif expected == (report.conclusion.value, tuple(error.id for error in report.all_errors())):
        return report
    else:
        finding = Finding("evidence.other-verdict", {"before": expected[0], "now": report.conclusion.value})
    conclusion = report.conclusion
    if conclusion is Conclusion.TOTAL_PASSED:
        conclusion = Conclusion.INDETERMINATE
    return dataclasses.replace(report, conclusion=conclusion, errors=(*report.errors, finding))


def signers_of(path: Path, *, password: SecretCallback | None = None) -> tuple[x509.Certificate, ...]:
    """Return the certificates that the signatures of a PDF bring, unchecked; none if it cannot be read."""
    from vnedoc.sign._pyhanko.validation import UnusableCMSError, parse_cms
    from vnedoc.sign._structure import check_field
    from vnedoc.sign.policy import DEFAULT_POLICY
    from vnedoc.sign.verification import read_pdf

    found: dict[str, x509.Certificate] = {}
    with contextlib.suppress(InputError):
        file = files.read_bytes(path, max_bytes=DEFAULT_POLICY.max_bytes)
        readings = read_pdf(file, password=password, name=str(path))
        for field in readings.signatures[: DEFAULT_POLICY.max_signatures]:
            _, encoded, _ = check_field(file, field)
            if encoded is None:
                continue
            with contextlib.suppress(UnusableCMSError):
                cms = parse_cms(encoded)
                for certificate in (cms.certificate, *cms.evidence.certificates):
                    found[fingerprint(certificate)] = certificate
    return tuple(found.values())


class _Writer:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.digests: dict[str, str] = {}

    def add(self, name: str, content: bytes) -> str:
        if name not in self.digests:
            path = self._folder / name
            path.parent.mkdir(exist_ok=True)
            files.write_bytes(path, content)
            self.digests[name] = hashlib.sha256(content).hexdigest()
        return name

    def certificate(self, place: str, certificate: x509.Certificate) -> str:
        return self.add(f"{place}/{fingerprint(certificate)}.pem", certificate.public_bytes(Encoding.PEM))

    def data(self, kind: str, content: bytes) -> str:
        suffix = {"crl": "crl", "ocsp": "ors"}.get(kind, "cer")
        return self.add(f"{kind}/{hashlib.sha256(content).hexdigest()}.{suffix}", content)


class _Reader:
    def __init__(self, folder: Path, digests: Mapping[str, str]) -> None:
        self._folder = folder
        self._digests = digests

    def evidence(self, index: dict[str, Any]) -> Evidence:  # JSON
        anchors: list[TrustAnchor] = []
        intermediates: list[x509.Certificate] = []
        for entry in index["trust"]:
            certificate = self._certificate(entry["file"])
            if entry["tree"] is None:
                intermediates.append(certificate)
            else:
                anchors.append(TrustAnchor(certificate, TrustTree(entry["tree"])))
        sender = index["sender"]
        return Evidence(
            at=clock.as_utc(datetime.datetime.fromisoformat(index["at"])),
            trust=TrustStore(tuple(anchors), tuple(intermediates)),
            policy=self._part(index["policy"]),
            inquiries={
                (entry["kind"], entry["certificate"]): RevocationData(
                    ocsp=self._parts(entry["ocsp"]),
                    crls=self._parts(entry["crls"]),
                    attempts=tuple(Attempt(**attempt) for attempt in entry["attempts"]),
                    # Folders of earlier versions have none.
                    certificates=self._parts(entry.get("certificates", [])),
                )
                for entry in index["revocation"]
            },
            crls=self._parts(index["crls"]),
            certificates=tuple(self._certificate(name) for name in index["certificates"]),
            sender=None if sender is None else (sender["organ_id"], SenderMatch(sender["required"])),
            directory=None if index["directory"] is None else self._part(index["directory"]),
            conclusions={
                entry["sha256"]: (entry["conclusion"], tuple(entry["errors"]))
                for entry in index["files"]
                if entry["sha256"]
            },
        )

    def _parts(self, names: Sequence[str]) -> tuple[bytes, ...]:
        return tuple(self._part(name) for name in names)

    def _certificate(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self._part(name))

    def _part(self, name: str) -> bytes:
        path = self._folder / name
        # The index names files of the folder, never others.
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError("evidence.changed", path=path)
        content = files.read_bytes(path, max_bytes=MAX_PART_BYTES)
        if hashlib.sha256(content).hexdigest() != self._digests[name]:
            raise InputError("evidence.changed", path=path)
        return content


def _json(value: object) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode("utf-8")
