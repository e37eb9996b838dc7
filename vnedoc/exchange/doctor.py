"""Look an installation over for the faults that keep documents from travelling, before they do.

Each check is a function that yields what it found, good or bad, and never raises: one broken part must not hide the
others. Nothing is sent but questions, and one package for nobody where that is asked for.
"""

from __future__ import annotations

import dataclasses
import datetime
import email.utils
import enum
import shutil
import socket
import ssl
import tempfile
import time
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from vnedoc import messages
from vnedoc._internal import files, http
from vnedoc._internal.clock import utc_now, vietnam
from vnedoc.agencies import load_directory
from vnedoc.agencies.checks import Severity, check_directory
from vnedoc.errors import (
    ConfigurationError,
    CredentialError,
    InputError,
    RefusedError,
    RemoteError,
    VnedocError,
)
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.connectors.base import Objection, is_not_let_in
from vnedoc.exchange.states import DeliveryState
from vnedoc.exchange.stores.records import MessageFilter, SentMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from vnedoc.exchange.connectors.base import Connector, RemoteAgency
    from vnedoc.exchange.models import Organization

__all__ = [
    "Health",
    "Symptom",
    "check_agency_directory",
    "check_certificate_file",
    "check_connection",
    "check_disk",
    "check_server",
    "check_store",
    "check_trust_sources",
]

EXPIRES_SOON = datetime.timedelta(days=60)
"""Renewing a certificate of the Government takes weeks; so much earlier it is said."""
OLD_DIRECTORY = datetime.timedelta(days=30)
RECENT = datetime.timedelta(days=7)
OVERDUE = datetime.timedelta(hours=1)
"""A message whose next attempt has been due for so long is tried by nobody: no worker runs."""
SKEW_WARNING = datetime.timedelta(seconds=30)
SKEW_ERROR = datetime.timedelta(minutes=5)
MIB = 1024 * 1024
FREE_WARNING_BYTES = 2048 * MIB
FREE_ERROR_BYTES = 600 * MIB
"""Less than one package of the largest size, and what it unpacks to."""
MAX_CERTIFICATE_BYTES = MIB


class Health(enum.StrEnum):
    """How a part of the installation is."""

    GOOD = "good"
    """As it should be."""
    WARNING = "warning"
    """It works; somebody should see to it."""
    BAD = "bad"
    """Documents do not travel, or cannot be relied on."""


@dataclasses.dataclass(frozen=True, slots=True)
class Symptom:
    """What a check found."""

    id: str
    """What it is; stable."""
    health: Health
    """How bad it is."""
    values: dict[str, str]
    """What the text names."""
    error: VnedocError | None = None
    """The error behind it, if there is one."""

    def text(self, language: str) -> str:
        """Return the sentence in a language."""
        values: dict[str, object] = dict(self.values)
        if "label" in self.values:
            values["label"] = messages.text(f"doctor.place-{self.values['label']}", language)
        if self.error is not None:
            values["reason"] = _reason(self.error, language)
        return messages.text(self.id, language, **values)

    def hint(self, language: str) -> str | None:
        """Return what to do about it, if there is something to say."""
        return messages.hint(self.id, language, **self.values)


def _reason(error: VnedocError, language: str) -> str:
    """Return why a part is not well; what an axis said stands for itself."""
    said, code = (str(error.values.get(key) or "") for key in ("remote_message", "remote_code"))
    if said:
        return said.rstrip(". ") + (f" ({code})" if code else "")
    return error.text(language).rstrip(".")


def check_disk(label: str, folder: Path) -> Iterator[Symptom]:
    """Check that a folder can be written to and that its disk has room for some of the largest packages.

    Args:
        label: What the folder is for: ``payloads`` or ``database``.
        folder: The folder; an ancestor stands for it while it does not exist.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    values = {"label": label, "path": str(folder)}
    try:
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(b"vnedoc")
        free = shutil.disk_usage(folder).free
    except OSError as exc:
        yield Symptom("doctor.cannot-write", Health.BAD, {**values, "reason": exc.strerror or str(exc)})
        return
    health = Health.GOOD
    if free < FREE_WARNING_BYTES:
        health = Health.BAD if free < FREE_ERROR_BYTES else Health.WARNING
    name = "doctor.room" if health is Health.GOOD else "doctor.little-room"
    yield Symptom(name, health, {**values, "free": str(free // MIB)})


def check_store(url: str, payloads: Path | str, *, now: datetime.datetime) -> Iterator[Symptom]:
    """Check that the store can be opened, and whether messages are stuck in it.

    Args:
        url: A database URL of SQLAlchemy.
        payloads: Where the packages are: a folder, or the address of an object store.
        now: The time.
    """
    from vnedoc.exchange.stores.store import AgencyStore

    try:
        store = AgencyStore.open(url, payloads)
    except VnedocError as exc:
        yield Symptom("doctor.store-broken", Health.BAD, {}, exc)
        return
    try:
        # A folder shows itself when it is written to; of an object store this is the first that is heard.
        next(iter(store.payloads.listed()), None)
    except VnedocError as exc:
        yield Symptom("doctor.payloads-broken", Health.BAD, {}, exc)
    try:
        parked, due = store.count_stuck(overdue_since=now - OVERDUE)
        refused = store.page("sent", MessageFilter(state=DeliveryState.REFUSED, since=now - RECENT), limit=1)
    except VnedocError as exc:
        yield Symptom("doctor.store-broken", Health.BAD, {}, exc)
        return
    finally:
        store.close()
    for message in refused.items:
        assert isinstance(message, SentMessage)
        yield from _refusal(message)
    stuck = bool(parked or due)
    yield Symptom(
        "doctor.store-waits" if stuck else "doctor.store",
        Health.WARNING if stuck else Health.GOOD,
        {"parked": str(parked), "due": str(due)},
    )


def _refusal(message: SentMessage) -> Iterator[Symptom]:
    """Say what the axis last refused: mostly a code that is not registered to the system, and so all that follows."""
    for attempt in reversed(message.attempts):
        if attempt.outcome == "refused":
            reason = attempt.remote_message or attempt.remote_code or attempt.error_code or "-"
            day = vietnam(attempt.started_at).date().isoformat()
            values = {
                "name": message.connection,
                "code": message.code,
                "day": day,
                "reason": reason.rstrip(". "),
            }
            yield Symptom("doctor.sender-refused", Health.WARNING, values)
            return


def check_agency_directory(path: Path, *, own_code: str | None, now: datetime.datetime) -> Iterator[Symptom]:
    """Check that the directory can be read, is not old, is sound, and has our own agency today.

    Args:
        path: The directory.
        own_code: Code of our own agency, if it is known.
        now: The time.
    """
    try:
        directory = load_directory(path)
        changed = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
    except VnedocError as exc:
        yield Symptom("doctor.directory-unreadable", Health.BAD, {"path": str(path)}, exc)
        return
    today = vietnam(now).date()
    age = (now - changed).days
    values = {"path": str(path), "count": str(len(directory.agencies)), "days": str(age)}
    old = now - changed > OLD_DIRECTORY
    yield Symptom(
        "doctor.directory-old" if old else "doctor.directory",
        Health.WARNING if old else Health.GOOD,
        values,
    )
    errors = [item for item in check_directory(directory, day=today) if item.severity is Severity.ERROR]
    if errors:
        yield Symptom("doctor.directory-wrong", Health.BAD, {"path": str(path), "count": str(len(errors))})
    if own_code is not None:
        try:
            directory.resolve(own_code, at=today)
        except ConfigurationError as exc:
            yield Symptom("doctor.not-in-directory", Health.BAD, {"code": own_code}, exc)


def check_trust_sources(sources: Sequence[str], *, now: datetime.datetime) -> Iterator[Symptom]:
    """Check that the trust anchors can be read, and which of them end soon."""
    from vnedoc.sign.trust import check_trust, load_trust

    if not sources:
        yield Symptom("doctor.no-trust", Health.WARNING, {})
        return
    try:
        checked = check_trust(load_trust(*sources), at=now)
    except VnedocError as exc:
        yield Symptom("doctor.trust-unreadable", Health.BAD, {}, exc)
        return
    anchors = [item for item in checked if item.is_anchor]
    good = [item for item in anchors if item.state == "good"]
    yield Symptom(
        "doctor.trust",
        Health.GOOD if good else Health.BAD,
        {"count": str(len(anchors)), "good": str(len(good))},
    )
    for item in good:
        yield from _soon(item.name, item.not_after, now)


def check_certificate_file(path: Path, *, now: datetime.datetime) -> Iterator[Symptom]:
    """Check the validity of the certificates of a file (PEM or DER): a signer's, or a client's for TLS."""
    try:
        content = files.read_bytes(path, max_bytes=MAX_CERTIFICATE_BYTES)
        found = (
            x509.load_pem_x509_certificates(content)
            if b"-----BEGIN" in content
            else [x509.load_der_x509_certificate(content)]
        )
    except VnedocError as exc:
        yield Symptom("doctor.certificate-unreadable", Health.BAD, {"path": str(path)}, exc)
        return
    except ValueError:
        error = ConfigurationError("doctor.no-certificate", path=path)
        yield Symptom("doctor.certificate-unreadable", Health.BAD, {"path": str(path)}, error)
        return
    for certificate in found:
        yield from _validity(certificate, now)


def check_server(name: str, url: str, *, tls: ssl.SSLContext | None = None) -> Iterator[Symptom]:
    """Check that the server of a connection answers, that our clocks agree, and how long its certificate lasts.

    Args:
        name: Name of the connection.
        url: Base address of the axis.
        tls: How its server is authenticated; ``None``: by the usual authorities.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        return
    started = time.monotonic()
    try:
        with (
            http.make_client(tls=tls) as client,
            # What the server thinks of this address does not matter: every answer has a date (RFC 9110, 6.6.1).
            http.open_answer(client, "GET", url, headers={}, total_timeout_s=15.0) as answer,
        ):
            said = answer.header("Date")
    except VnedocError as exc:
        found = "doctor.not-trusted" if _is_distrust(exc) else "doctor.unreachable"
        yield Symptom(found, Health.BAD, {"name": name}, exc)
        return
    took = time.monotonic() - started
    yield Symptom("doctor.reachable", Health.GOOD, {"name": name, "ms": f"{took * 1000:.0f}"})
    yield from _clock(name, said, took)
    if parts.scheme == "https":
        yield from _server_certificate(name, parts, tls)


def _is_distrust(error: BaseException) -> bool:
    """Tell whether the server could not show who it is."""
    seen: set[int] = set()
    while id(error) not in seen:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__ or error
    return False


def check_connection(
    connector: Connector, *, own_code: str | None, trial_sender: Organization | None = None
) -> Iterator[Symptom]:
    """Check that the axis lets this system in and knows our agency.

    Args:
        connector: The way to the axis.
        own_code: Code of our own agency.
        trial_sender: Our own agency, if the axis is to be offered a package of it for nobody. The refusal tells
            whether its code is registered to this system; no question does.
    """
    name = connector.name
    try:
        waiting = len(connector.list_received(PackageKind.DOCUMENT))
    except RefusedError as exc:
        found = "doctor.not-let-in" if is_not_let_in(exc) else "doctor.list-refused"
        yield Symptom(found, Health.BAD, {"name": name}, exc)
        return
    except CredentialError as exc:
        yield Symptom("doctor.no-secret", Health.BAD, {"name": name}, exc)
        return
    except VnedocError as exc:
        yield Symptom("doctor.no-answer", Health.BAD, {"name": name}, exc)
        return
    yield Symptom("doctor.let-in", Health.GOOD, {"name": name, "count": str(waiting)})
    if own_code is None:
        return
    agencies: list[RemoteAgency] = []
    try:
        agencies = connector.agencies()
    except VnedocError as exc:
        yield Symptom("doctor.no-agencies", Health.WARNING, {"name": name}, exc)
    else:
        values = {"name": name, "code": own_code}
        if not any(own_code in {agency.code, agency.old_code} for agency in agencies):
            yield Symptom("doctor.not-registered", Health.BAD, values)
        elif trial_sender is None:
            yield Symptom("doctor.registered", Health.GOOD, values)
        else:
            # To whom it is registered is said next.
            yield Symptom("doctor.known", Health.GOOD, values)
    if trial_sender is not None:
        yield _registration(connector, trial_sender, agencies)


def _registration(connector: Connector, sender: Organization, agencies: Iterable[RemoteAgency]) -> Symptom:
    """Offer the axis a package that it cannot deliver, and say what it objects to."""
    from vnedoc.exchange._trial import NOBODY, is_somebody, write_trial

    values = {"name": connector.name, "code": sender.organ_id, "recipient": NOBODY}
    if is_somebody(agencies):
        return Symptom("doctor.trial-not-sent", Health.WARNING, values)
    try:
        with tempfile.TemporaryDirectory(prefix="vnedoc-trial-") as folder:
            path = Path(folder) / "trial.edxml"
            write_trial(path, sender=sender, at=utc_now())
            doc_id = connector.send(path, sender_code=sender.organ_id, kind=PackageKind.DOCUMENT)
    except RefusedError as exc:
        return _objected(connector, exc, values)
    except RemoteError as exc:
        return Symptom("doctor.trial-unanswered", Health.WARNING, values, exc)
    except VnedocError as exc:
        return Symptom("doctor.trial-failed", Health.WARNING, values, exc)
    except OSError as exc:
        # The very search for a folder of temporary files may have failed, so there may be no name of one.
        failed = InputError("file.cannot-write", path=exc.filename or "-", reason=exc.strerror or str(exc))
        return Symptom("doctor.trial-failed", Health.WARNING, values, failed)
    return Symptom("doctor.trial-taken", Health.WARNING, {**values, "doc_id": doc_id})


def _objected(connector: Connector, error: RefusedError, values: dict[str, str]) -> Symptom:
    match connector.objection_of(error):
        case Objection.SENDER:
            return Symptom("doctor.registered-elsewhere", Health.BAD, values, error)
        case Objection.RECIPIENT:
            return Symptom("doctor.accepts-us", Health.GOOD, values, error)
    if is_not_let_in(error):
        # It was let in a moment ago, to ask.
        return Symptom("doctor.may-not-send", Health.BAD, values, error)
    return Symptom("doctor.trial-tells-nothing", Health.WARNING, values, error)


def _clock(
    name: str, said: str | None, took_s: float, now: Callable[[], datetime.datetime] = utc_now
) -> Iterator[Symptom]:
    try:
        theirs = email.utils.parsedate_to_datetime(said or "")
    except ValueError:
        return
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=datetime.UTC)
    # The header has whole seconds, and the answer took its time.
    slack = datetime.timedelta(seconds=1 + took_s)
    ours = now()
    off = max(abs(ours - theirs) - slack, datetime.timedelta())
    health = Health.GOOD
    if off > SKEW_WARNING:
        health = Health.BAD if off > SKEW_ERROR else Health.WARNING
    found = "doctor.clock" if health is Health.GOOD else "doctor.clock-off"
    values = {
        "name": name,
        "seconds": f"{off.total_seconds():.0f}",
        "ours": f"{vietnam(ours):%Y-%m-%d %H:%M:%S}",
        "theirs": f"{vietnam(theirs):%Y-%m-%d %H:%M:%S}",
    }
    yield Symptom(found, health, values)


def _server_certificate(
    name: str, parts: urllib.parse.SplitResult, tls: ssl.SSLContext | None
) -> Iterator[Symptom]:
    context = tls or ssl.create_default_context()
    host = parts.hostname or ""
    try:
        with (
            socket.create_connection((host, parts.port or 443), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            content = secured.getpeercert(binary_form=True)
        assert content is not None
        yield from _validity(x509.load_der_x509_certificate(content), utc_now(), server=name)
    except (OSError, ValueError) as exc:
        # It answered a moment ago; what happened now is worth a word, not a verdict.
        yield Symptom("doctor.no-certificate-seen", Health.WARNING, {"name": name, "reason": str(exc)})


def _validity(
    certificate: x509.Certificate, now: datetime.datetime, *, server: str | None = None
) -> Iterator[Symptom]:
    """Say how long a certificate lasts: one of ours, or that of the server of a connection."""
    from vnedoc.sign.certificates import display_name

    name, last = display_name(certificate.subject), certificate.not_valid_after_utc
    values = {"subject": name, "last": vietnam(last).date().isoformat()}
    if now > last:
        yield Symptom("doctor.expired", Health.BAD, values)
    elif now < certificate.not_valid_before_utc:
        first = vietnam(certificate.not_valid_before_utc).date().isoformat()
        yield Symptom("doctor.not-yet-valid", Health.BAD, {"subject": name, "first": first})
    else:
        yield from _soon(name, last, now, server=server)
        if last - now > EXPIRES_SOON:
            yield Symptom("doctor.certificate", Health.GOOD, values)


def _soon(
    name: str, last: datetime.datetime, now: datetime.datetime, *, server: str | None = None
) -> Iterator[Symptom]:
    if now <= last <= now + EXPIRES_SOON:
        values = {"subject": name, "last": vietnam(last).date().isoformat(), "days": str((last - now).days)}
        if server is None:
            yield Symptom("doctor.expires-soon", Health.WARNING, values)
        else:
            # Nothing that we could ask for ourselves.
            yield Symptom("doctor.server-expires-soon", Health.WARNING, {**values, "name": server})
