"""``vnedoc doctor`` finds what is wrong, each fault by its own name, and says nothing bad of what is well."""

from __future__ import annotations

import datetime
import errno
import os
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization

from tests import stores
from tests.cli import vnedoc
from tests.tls import PASSPHRASE, Authority
from vnedoc._internal.clock import utc_now
from vnedoc.agencies import Agency, AgencyDirectory, dump_directory
from vnedoc.exchange import doctor
from vnedoc.exchange.doctor import Health
from vnedoc.exchange.stores.store import AgencyStore
from vnedoc.testing.hub import running_hub

if TYPE_CHECKING:
    from pathlib import Path

    from vnedoc.testing.pki import TestPKI

DAY = datetime.timedelta(days=1)
CODE = "H99"


@pytest.fixture
def settings(tmp_path: Path, pki: TestPKI, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return settings of an office in which everything but the axis is in order."""
    (tmp_path / "root.pem").write_bytes(pki.root.certificate.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "directory.json").write_bytes(dump_directory(AgencyDirectory([Agency(CODE, "TỈNH TEST")])))
    path = tmp_path / "vnedoc.toml"
    path.write_text(
        'trust = ["root.pem"]\ndirectory = "directory.json"\n'
        f'[agency]\norgan_id = "{CODE}"\norgan_name = "TỈNH TEST"\n'
        '[store]\nurl = "sqlite:///store.sqlite3"\npayload_folder = "payloads"\n',
        encoding="utf-8",
    )
    monkeypatch.setenv("AXIS_SECRET", "TEST-SECRET")
    return path


def _connect(settings: Path, url: str, *, system_id: str = "H99.SYS") -> None:
    with settings.open("a", encoding="utf-8") as stream:
        stream.write(f'[connections.axis]\nkind = "vxp"\nurl = "{url}"\nsystem_id = "{system_id}"\n')
        stream.write('secret_env = "AXIS_SECRET"\n')


def _look(settings: Path, *arguments: object) -> tuple[int, dict[str, str]]:
    outcome = vnedoc("--config", settings, "doctor", "--format", "json", *arguments)
    return outcome.code, {item["id"]: item["health"] for item in outcome.json()["symptoms"]}


def test_a_sound_office_is_called_sound(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_hub() as hub:
        monkeypatch.setenv("AXIS_SECRET", hub.add_system("H99.SYS", CODE))
        _connect(settings, hub.url)
        code, found = _look(settings)
        text = vnedoc("--config", settings, "doctor")
    assert set(found.values()) == {"good"}, found
    assert code == 0
    assert {"doctor.let-in", "doctor.registered", "doctor.clock", "doctor.store", "doctor.trust"} <= set(
        found
    )
    lines = text.out.splitlines()
    assert {line[:2] for line in lines} <= {"+ ", "  "}  # what is too long goes on below
    assert sum(line.startswith("+ ") for line in lines) == len(found)
    assert all(len(line) <= 80 or " " not in line.strip() for line in lines)
    assert "0 bad" in text.err


def test_faults_of_a_connection_are_told_apart(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_hub() as hub:
        monkeypatch.setenv("AXIS_SECRET", hub.add_system("H99.SYS", "H98"))
        _connect(settings, hub.url)
        code, found = _look(settings)
        assert (code, found["doctor.not-registered"]) == (1, "bad")
        settings.write_text(
            settings.read_text(encoding="utf-8").replace("H99.SYS", "H97.SYS"), encoding="utf-8"
        )
        code, found = _look(settings)
        assert (code, found["doctor.not-let-in"]) == (1, "bad")
        assert found["doctor.reachable"] == "good"
    code, found = _look(settings)
    assert (code, found["doctor.unreachable"]) == (1, "bad")
    code, found = _look(settings, "--offline")
    assert code == 0
    assert "doctor.unreachable" not in found


def test_an_axis_behind_tls_with_client_certificates(
    settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, stranger = Authority(tmp_path, "ca"), Authority(tmp_path, "stranger").certificate
    server, client = authority.issue("server"), authority.issue("client", passphrase=PASSPHRASE)
    monkeypatch.setenv("TLS_PASSPHRASE", PASSPHRASE)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.certificate)
    context.load_cert_chain(*server)
    context.verify_mode = ssl.CERT_REQUIRED
    with _Answering(0, tls=context) as url:
        with settings.open("a", encoding="utf-8") as stream:
            stream.write(
                f'[connections.axis]\nkind = "vxp"\nurl = "{url}"\nsystem_id = "H99.SYS"\n'
                f'secret_env = "AXIS_SECRET"\nca_file = "{authority.certificate}"\n'
                f'client_certificate = "{client[0]}"\nclient_key = "{client[1]}"\n'
                'tls_passphrase_env = "TLS_PASSPHRASE"\n'
            )
        outcome = vnedoc("--config", settings, "doctor", "--format", "json")
        symptoms = [(item["id"], item["values"].get("subject")) for item in outcome.json()["symptoms"]]
        # Issued for a short time: both are seen to end, and whose each is.
        assert {("doctor.expires-soon", "client TEST"), ("doctor.server-expires-soon", "server TEST")} <= set(
            symptoms
        )
        assert ("doctor.reachable", None) in symptoms
        monkeypatch.setenv("TLS_PASSPHRASE", "wrong")
        code, found = _look(settings)
        assert (code, found["doctor.bad-connection"]) == (1, "bad")
        # A server that no authority of ours vouches for is no trouble of the line.
        text = settings.read_text(encoding="utf-8").replace(str(authority.certificate), str(stranger))
        settings.write_text(text.replace("client_", "# client_"), encoding="utf-8")
        code, found = _look(settings)
        assert (code, found["doctor.not-trusted"]) == (1, "bad")
        assert "doctor.unreachable" not in found


def test_what_is_stuck_or_was_refused_is_told(settings: Path, tmp_path: Path) -> None:
    store = AgencyStore.open(f"sqlite:///{tmp_path / 'store.sqlite3'}", tmp_path / "payloads")
    long_ago = utc_now() - 3 * DAY
    first, second, _ = (stores.queue(store, name, at=long_ago).id for name in ("1", "2", "3"))
    assert store.begin_attempt(first, now=utc_now(), lease=DAY, owner="TEST") is not None
    store.end_attempt_refused(
        first, owner="TEST", error_code="remote.refused", remote=("19", "sender not registered"), at=utc_now()
    )
    store.park(second, owner=None, error_code="file.cannot-read", at=utc_now())
    store.close()
    outcome = vnedoc("--config", settings, "doctor", "--offline", "--format", "json")
    symptoms = {item["id"]: item for item in outcome.json()["symptoms"]}
    assert symptoms["doctor.store-waits"]["values"] == {"parked": "1", "due": "1"}
    assert "sender not registered" in symptoms["doctor.sender-refused"]["text"]
    assert outcome.code == 0, "a person must see to it, but nothing is broken"


def test_a_missing_secret_is_no_bug(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AXIS_SECRET")
    with running_hub() as hub:
        _connect(settings, hub.url)
        code, found = _look(settings)
    assert code == 1
    assert found["doctor.no-secret"] == "bad"


@pytest.mark.parametrize(
    ("off_s", "finding", "health"),
    [
        (0, "doctor.clock", "good"),
        (120, "doctor.clock-off", "warning"),
        (-7 * 3600, "doctor.clock-off", "bad"),
    ],
)
def test_a_clock_that_is_off(off_s: int, finding: str, health: str) -> None:
    with _Answering(off_s) as url:
        found = {item.id: item.health.value for item in doctor.check_server("axis", url)}
    assert found == {"doctor.reachable": "good", finding: health}


class _Answering:
    """A server on loopback whose clock is off."""

    def __init__(self, off_s: int, *, tls: ssl.SSLContext | None = None) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response_only(404)
                moment = utc_now() + datetime.timedelta(seconds=off_s)
                self.send_header("Date", moment.strftime("%a, %d %b %Y %H:%M:%S GMT"))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._scheme = "http" if tls is None else "https"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> str:
        self._thread.start()
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_trouble: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.mark.parametrize(
    ("days", "finding", "health"),
    [
        (400, "doctor.certificate", Health.GOOD),
        (30, "doctor.expires-soon", Health.WARNING),
        (-1, "doctor.expired", Health.BAD),
    ],
)
def test_a_certificate_about_to_end(
    days: int, finding: str, health: Health, pki: TestPKI, tmp_path: Path
) -> None:
    identity = pki.issue_agency(
        common_name="TỈNH TEST",
        organization="TEST",
        not_before=utc_now() - 2 * DAY,
        not_after=utc_now() + days * DAY,
    )
    path = tmp_path / "agency.pem"
    path.write_bytes(identity.certificate.public_bytes(serialization.Encoding.PEM))
    (found,) = doctor.check_certificate_file(path, now=utc_now())
    assert (found.id, found.health) == (finding, health)
    assert "TỈNH TEST" in found.text("vi")
    path.write_bytes(identity.certificate.public_bytes(serialization.Encoding.DER))
    assert [item.id for item in doctor.check_certificate_file(path, now=utc_now())] == [finding]


def test_what_is_no_certificate(tmp_path: Path) -> None:
    path = tmp_path / "agency.pem"
    for content in (b"", b"-----BEGIN CERTIFICATE-----\nTEST\n-----END CERTIFICATE-----\n"):
        path.write_bytes(content)
        (found,) = doctor.check_certificate_file(path, now=utc_now())
        assert (found.id, found.health) == ("doctor.certificate-unreadable", Health.BAD)
    (found,) = doctor.check_certificate_file(tmp_path / "nothing.pem", now=utc_now())
    assert found.health is Health.BAD


def test_an_old_directory_and_one_without_us(settings: Path, tmp_path: Path) -> None:
    file = tmp_path / "directory.json"
    long_ago = (utc_now() - 40 * DAY).timestamp()
    os.utime(file, (long_ago, long_ago))
    code, found = _look(settings, "--offline")
    assert (code, found["doctor.directory-old"]) == (0, "warning")
    twice = [Agency("H98", "TỈNH TEST"), Agency("H98", "TỈNH KHÁC TEST")]
    file.write_bytes(dump_directory(AgencyDirectory(twice)))
    code, found = _look(settings, "--offline")
    assert code == 1
    assert (found["doctor.not-in-directory"], found["doctor.directory-wrong"]) == ("bad", "bad")
    file.write_text("{")
    assert _look(settings, "--offline")[1]["doctor.directory-unreadable"] == "bad"


@pytest.mark.parametrize(
    ("free", "finding", "health"),
    [
        (doctor.FREE_WARNING_BYTES, "doctor.room", Health.GOOD),
        (doctor.FREE_WARNING_BYTES - 1, "doctor.little-room", Health.WARNING),
        (doctor.FREE_ERROR_BYTES - 1, "doctor.little-room", Health.BAD),
    ],
)
def test_a_full_disk(
    free: int, finding: str, health: Health, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": free}))
    (found,) = doctor.check_disk("payloads", tmp_path / "not" / "yet" / "there")
    assert (found.id, found.health) == (finding, health)


def test_a_disk_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    (found,) = doctor.check_disk("payloads", tmp_path)
    assert (found.id, found.health) == ("doctor.cannot-write", Health.BAD)
    assert os.strerror(errno.ENOSPC) in found.text("en")


def test_a_store_that_cannot_be_opened(settings: Path, tmp_path: Path) -> None:
    (tmp_path / "store.sqlite3").write_bytes(b"TEST" * 1024)
    code, found = _look(settings, "--offline")
    assert (code, found["doctor.store-broken"]) == (1, "bad")


def test_without_settings_only_what_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = vnedoc("doctor")
    assert outcome.code == 0
    assert [line[0] for line in outcome.out.splitlines() if not line.startswith(" ")] == ["!", "!"]
    assert vnedoc("doctor", "--via", "nowhere").code == 5


def test_an_object_store_without_its_bucket_is_told(
    settings: Path, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "TEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "TEST")
    text = settings.read_text(encoding="utf-8")
    place = f"s3://missing-bucket/vnedoc?endpoint={s3_endpoint}"
    settings.write_text(f'{text}payloads = "{place}"\n', encoding="utf-8")
    code, found = _look(settings, "--offline")
    assert (code, found["doctor.payloads-broken"]) == (1, "bad")
    assert found["doctor.store"] == "good"


def test_a_database_on_another_disk_is_looked_at_too(
    settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vnedoc._cli import doctor as command

    assert {item["values"].get("label") for item in _symptoms(settings)} == {None, "payloads"}
    monkeypatch.setattr(command, "_is_same_disk", lambda *_folders: False)
    labels = {item["values"]["label"]: item for item in _symptoms(settings) if "label" in item["values"]}
    assert labels["database"]["values"]["path"] == str(tmp_path)
    assert "database" in labels["database"]["text"]


def _symptoms(settings: Path) -> list[dict[str, dict[str, str]]]:
    found: list[dict[str, dict[str, str]]] = vnedoc(
        "--config", settings, "--lang", "en", "doctor", "--offline", "--format", "json"
    ).json()["symptoms"]
    return found
