"""``vnedoc doctor --probe``: a code of another system is found over every wire, and nothing is left."""

from __future__ import annotations

import datetime
import textwrap
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from tests.cli import vnedoc
from vnedoc._internal.clock import utc_now
from vnedoc.errors import RefusedError
from vnedoc.exchange import doctor
from vnedoc.exchange._trial import NOBODY, write_trial
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.connectors.base import Objection
from vnedoc.exchange.connectors.folder import FolderConnector
from vnedoc.exchange.hub.audit import By
from vnedoc.exchange.hub.options import HubOptions
from vnedoc.exchange.models import Organization
from vnedoc.exchange.package import read_package
from vnedoc.exchange.stores.hub import HubAgency
from vnedoc.exchange.stores.hub_retention import HubRetention
from vnedoc.exchange.stores.models import HubDeliveryRow, HubMessageRow
from vnedoc.exchange.validation import Level, validate_package
from vnedoc.testing.axes import AXIS_KINDS, FolderAxis, HubAxis, running_axis
from vnedoc.testing.faults import Answered, LostAnswer
from vnedoc.testing.hub import running_hub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vnedoc.testing.connectors import Axis
    from vnedoc.testing.faults import Fault
    from vnedoc.testing.hub import RunningHub

CODE = "H99"
OWN = Organization(CODE, "TỈNH TEST")
HUB_KINDS = tuple(kind for kind in AXIS_KINDS if kind != "folder")


@pytest.fixture(params=AXIS_KINDS)
def axis(request: pytest.FixtureRequest) -> Iterator[Axis]:
    """An axis of each kind, on which our agency is of the system that sends."""
    with running_axis(request.param) as axis:
        yield axis


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which temporary files are made from now on."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def _look(axis: Axis, role, *, own: Organization = OWN) -> dict[str, doctor.Symptom]:
    with axis.open(role) as connector:
        found = doctor.check_connection(connector, own_code=own.organ_id, trial_sender=own)
        return {item.id: item for item in found}


def _assert_nothing_is_kept(axis: Axis) -> None:
    for role in ("sender", "recipient"):
        with axis.open(role) as connector:
            assert connector.list_received(PackageKind.DOCUMENT) == []
    if isinstance(axis, FolderAxis):
        assert [path for part in ("packages", "sent") for path in axis.root.glob(f"offices/*/{part}/*")] == []
        return
    assert isinstance(axis, HubAxis)
    _assert_hub_is_empty(axis.hub)


def _assert_hub_is_empty(hub: RunningHub) -> None:
    with hub.store.database.reading() as session:
        for rows in (HubMessageRow, HubDeliveryRow):
            assert session.scalar(sa.select(sa.func.count()).select_from(rows)) == 0
    # A hub lets go of what it refused a day later, without being asked to search for it.
    tomorrow = By("TEST", utc_now() + datetime.timedelta(days=1, minutes=1))
    HubRetention(hub.store).prune(None, by=tomorrow)
    assert list(hub.store.payloads.listed()) == []


def test_a_code_of_another_system_is_found_over_every_wire(axis: Axis, scratch: Path) -> None:
    found = _look(axis, "recipient")
    assert found["doctor.known"].health == "good", "the axis knows the code, and no question tells more"
    symptom = found["doctor.registered-elsewhere"]
    assert symptom.health == "bad"
    assert isinstance(symptom.error, RefusedError)
    said = str(symptom.error.values["remote_message"])
    assert CODE in said
    for language in ("vi", "en"):
        assert said in symptom.text(language)
        assert symptom.hint(language)
    assert list(scratch.iterdir()) == []
    _assert_nothing_is_kept(axis)


def test_a_code_of_this_system_is_called_good_over_every_wire(axis: Axis, scratch: Path) -> None:
    found = _look(axis, "sender")
    symptom = found["doctor.accepts-us"]
    assert symptom.health == "good"
    assert NOBODY in symptom.text("vi")
    assert {item.health for item in found.values()} == {"good"}
    assert list(scratch.iterdir()) == []
    _assert_nothing_is_kept(axis)


@pytest.mark.parametrize("kind", HUB_KINDS)
def test_a_strict_hub_takes_the_trial_for_a_package(kind: str) -> None:
    with running_axis(kind, options=HubOptions(strict=True)) as axis:
        assert "doctor.accepts-us" in _look(axis, "sender")


def test_a_code_that_nobody_has_is_refused_too() -> None:
    with running_axis("vxp") as axis:
        found = _look(axis, "sender", own=Organization("H11", "TỈNH TEST"))
    assert [item.id for item in found.values() if item.health == "bad"] == [
        "doctor.not-registered",
        "doctor.registered-elsewhere",
    ]


def test_a_refusal_for_another_reason_tells_nothing() -> None:
    with running_axis("vxp", options=HubOptions(max_package_bytes=100)) as axis:
        symptom = _look(axis, "sender")["doctor.trial-tells-nothing"]
        _assert_nothing_is_kept(axis)
    assert symptom.health == "warning"
    assert isinstance(symptom.error, RefusedError)
    assert symptom.error.values["remote_message"] in symptom.text("vi")


@pytest.mark.parametrize(
    ("fault", "finding", "health"),
    [
        (Answered(403), "doctor.may-not-send", "bad"),
        (Answered(503), "doctor.trial-unanswered", "warning"),
        (LostAnswer(), "doctor.trial-unanswered", "warning"),
        (Answered(404), "doctor.trial-tells-nothing", "warning"),
        # A code of a table, but from a server in front of the axis that lets nobody in.
        (Answered(401, b'{"status":"FAIL","ErrorCode":"19"}'), "doctor.may-not-send", "bad"),
    ],
)
def test_trouble_on_the_way_is_no_verdict(fault: Fault, finding: str, health: str) -> None:
    with running_axis("vxp") as axis:
        assert axis.faults is not None
        axis.faults.plan(fault, path="/sendEdoc", times=10)
        found = _look(axis, "recipient")
    assert found[finding].health == health
    assert "doctor.registered-elsewhere" not in found
    assert all(item.text(language) for item in found.values() for language in ("vi", "en"))


def test_an_axis_that_takes_what_it_cannot_deliver_is_told_of() -> None:
    with running_axis("vxp") as axis:
        assert isinstance(axis, HubAxis)
        # It judges nothing: the code is somebody's after all, and it keeps its list to itself.
        axis.hub.add_system("TEST.LATER", NOBODY)
        axis.faults.plan(Answered(500), path="/getAgenciesList", times=10)
        found = _look(axis, "sender")
        with axis.open("sender") as connector:
            [sent] = connector.list_sent(PackageKind.DOCUMENT)
    symptom = found["doctor.trial-taken"]
    assert (symptom.health, symptom.values["doc_id"]) == ("warning", sent.sender_doc_id)
    assert sent.sender_doc_id in symptom.text("vi")
    assert NOBODY in symptom.text("vi")
    assert "doctor.no-agencies" in found


@pytest.mark.parametrize(
    "agency", [HubAgency(NOBODY, "TEST"), HubAgency("H12", "TEST", old_code=NOBODY.lower())]
)
def test_nothing_is_sent_to_a_code_that_somebody_has(agency: HubAgency) -> None:
    with running_axis("vxp") as axis:
        assert isinstance(axis, HubAxis)
        axis.hub.add_system("TEST.ODD", agency)
        found = _look(axis, "sender")
        assert found["doctor.trial-not-sent"].health == "warning"
        assert not any("/sendEdoc" in request for request in axis.faults.requests)


def test_nothing_is_sent_where_it_was_not_asked_for(axis: Axis) -> None:
    with axis.open("recipient") as connector:
        found = {item.id for item in doctor.check_connection(connector, own_code=CODE)}
    assert found == {"doctor.let-in", "doctor.registered"}
    assert not [request for request in getattr(axis.faults, "requests", []) if "send" in request.lower()]


@pytest.mark.parametrize("own", [Organization("H 99", "TEST"), Organization(CODE, "TEST \x00")])
def test_an_agency_that_no_package_can_name(own: Organization) -> None:
    with running_axis("vxp") as axis:
        symptom = _look(axis, "sender", own=own)["doctor.trial-failed"]
    assert symptom.health == "warning"


def test_a_full_temporary_folder_hides_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_axis("folder") as axis:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nothing"))
        found = _look(axis, "sender")
    assert list(found) == ["doctor.let-in", "doctor.known", "doctor.trial-failed"]


def test_an_office_of_a_shared_folder_under_another_code(tmp_path: Path) -> None:
    for code in (CODE, "H98"):
        with FolderConnector(tmp_path, code) as connector:
            connector.agencies()
    with FolderConnector(tmp_path, "H98") as connector:
        found = {item.id for item in doctor.check_connection(connector, own_code=CODE, trial_sender=OWN)}
    assert "doctor.registered-elsewhere" in found


def test_the_trial_says_what_it_is(tmp_path: Path) -> None:
    path, moment = tmp_path / "trial.edxml", datetime.datetime(2026, 12, 31, 18, 0, 1, tzinfo=datetime.UTC)
    write_trial(path, sender=OWN, at=moment)
    package = read_package(path, folder=tmp_path / "files")
    assert validate_package(package, level=Level.STRICT).is_valid
    header = package.header
    assert "thử" in header.subject
    assert "không có văn bản" in header.subject
    assert [item.organ_id for item in header.recipients] == [NOBODY]
    assert header.sender.organ_id == CODE
    # The day is Vietnam's.
    assert header.document_id == "H99,2027/01/01,010001/KIEMTRA-DANGKY"
    [attachment] = package.attachments
    assert attachment.path.read_text(encoding="utf-8") == f"{header.subject}.\n"
    assert path.stat().st_size < 8192


def test_codes_that_are_not_in_the_table_tell_nothing(tmp_path: Path) -> None:
    with FolderConnector(tmp_path, CODE) as connector:
        for code in ("", "22", "19 ", None):
            error = RefusedError("connector.refused", name="TEST", remote_code=code, remote_message="TEST")
            assert connector.objection_of(error) is Objection.OTHER
        assert connector.objection_of(RefusedError("connector.refused", name="TEST")) is Objection.OTHER


# By the command line


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Return settings of an office without a store."""
    path = tmp_path / "vnedoc.toml"
    path.write_text(f'[agency]\norgan_id = "{CODE}"\norgan_name = "TỈNH TEST"\n', encoding="utf-8")
    return path


def _connect(
    settings: Path, hub: RunningHub, monkeypatch: pytest.MonkeyPatch, name: str, *codes: str
) -> None:
    system_id = f"TEST.{name.upper()}"
    monkeypatch.setenv(f"{name.upper()}_SECRET", hub.add_system(system_id, *codes))
    with settings.open("a", encoding="utf-8") as stream:
        stream.write(
            textwrap.dedent(
                f"""
                [connections.{name}]
                kind = "vxp"
                url = "{hub.url}"
                system_id = "{system_id}"
                secret_env = "{name.upper()}_SECRET"
                """
            )
        )


def test_the_command_looks_at_each_connection(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_hub() as hub:
        _connect(settings, hub, monkeypatch, "wrong", "H98")
        _connect(settings, hub, monkeypatch, "right", CODE)
        outcome = vnedoc("--config", settings, "doctor", "--probe", "--format", "json")
        document = outcome.json()
        by_id = {item["id"]: item for item in document["symptoms"]}
        assert outcome.code == 1
        assert document["counts"]["bad"] == 1
        wrong = by_id["doctor.registered-elsewhere"]
        assert wrong["health"] == "bad"
        assert wrong["values"] == {"name": "wrong", "code": CODE, "recipient": NOBODY}
        assert wrong["hint"]
        assert by_id["doctor.accepts-us"]["values"]["name"] == "right"
        assert by_id["doctor.accepts-us"]["hint"] is None

        text = vnedoc("--config", settings, "doctor", "--probe", lang="vi")
        flat = " ".join(text.out.split())
        assert f"x wrong: trục không nhận văn bản của cơ quan {CODE} từ hệ thống này" in flat
        assert f"+ right: trục nhận cơ quan {CODE} từ hệ thống này" in flat
        assert "đề nghị đơn vị vận hành trục đăng ký mã" in flat
        text = vnedoc("--config", settings, "doctor", "--probe", "--via", "right")
        flat = " ".join(text.out.split())
        assert text.code == 0
        assert f"+ right: the axis takes agency {CODE} from this system" in flat
        assert "wrong" not in flat
        assert all(len(line) <= 80 for line in text.out.splitlines() if " " in line.strip())
        _assert_hub_is_empty(hub)


def test_without_the_option_the_command_says_how_to_find_out(
    settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_hub() as hub:
        _connect(settings, hub, monkeypatch, "wrong", "H98")
        hub.add_system("TEST.OTHER", CODE)
        for language in ("vi", "en"):
            outcome = vnedoc("--config", settings, "doctor", lang=language)
            assert outcome.code == 0
            assert "`vnedoc doctor --probe`" in " ".join(outcome.out.split())
        assert list(hub.store.payloads.listed()) == []


def test_what_the_other_checks_found_is_said_once(
    settings: Path, dead_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_hub() as hub:
        _connect(settings, hub, monkeypatch, "axis", CODE)
        monkeypatch.setenv("AXIS_SECRET", "TEST-WRONG")
        outcome = vnedoc("--config", settings, "doctor", "--probe", "--format", "json")
        bad = [item["id"] for item in outcome.json()["symptoms"] if item["health"] == "bad"]
        assert bad == ["doctor.not-let-in"]
        text = settings.read_text(encoding="utf-8")
        settings.write_text(text.replace(hub.url, dead_url), encoding="utf-8")
    outcome = vnedoc("--config", settings, "doctor", "--probe", "--format", "json")
    bad = [item["id"] for item in outcome.json()["symptoms"] if item["health"] == "bad"]
    assert bad == ["doctor.unreachable"]


def test_probe_and_offline_exclude_each_other(settings: Path) -> None:
    for language in ("vi", "en"):
        outcome = vnedoc("--config", settings, "doctor", "--probe", "--offline", lang=language)
        assert (outcome.code, outcome.out) == (2, "")
        assert "--probe" in outcome.err
        assert "--offline" in outcome.err


def test_probe_needs_an_agency(settings: Path) -> None:
    settings.write_text('language = "vi"\n', encoding="utf-8")
    outcome = vnedoc("--config", settings, "doctor", "--probe")
    assert outcome.code == 5
    assert "[agency]" in outcome.err
