"""The commands of the exchange and of the hub, as a person runs them."""

import contextlib
import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import tracemalloc

import httpx2
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.offices import DEPARTMENT, PROVINCE
from vnedoc._cli.main import call
from vnedoc.exchange.models import Attachment, Business
from vnedoc.exchange.package import write_package
from vnedoc.exchange.stores.store import AgencyStore
from vnedoc.sign.models import Role
from vnedoc.sign.roles import SigningOptions
from vnedoc.sign.signers.pkcs12 import PKCS12Signer
from vnedoc.sign.signing import sign_pdf
from vnedoc.testing import documents
from vnedoc.testing.packages import make_package


@pytest.fixture
def offices(open_office):
    return [open_office(PROVINCE), open_office(DEPARTMENT)]


@pytest.fixture
def package(tmp_path):
    path = tmp_path / "TEST.edxml"
    make_package(path, sender=PROVINCE, recipients=[DEPARTMENT])
    return path


def test_the_story_from_sending_to_the_last_status(offices, package):
    province, department = offices
    code, out, _err = province.run("send", package)
    assert code == 0
    message_id = out.split()[0]
    assert DEPARTMENT in out
    assert "đã gửi lên trục" in out
    code, out, err = department.receive("--once")
    assert code == 0
    assert "15/UBND-TEST" in err
    path = out.strip()
    assert path.endswith(".edxml")
    received_id = path.rsplit("/", 1)[1].removesuffix(".edxml")
    assert department.run("reply", received_id, "--status", "03")[0] == 0
    assert department.run("reply", received_id[:8], "--status", "06", "--reason", "TEST xong")[0] == 0
    code, out, err = province.receive()
    assert (code, out) == (0, "")
    assert f"{DEPARTMENT} báo 06" in err
    code, out, _err = province.run("status")
    assert code == 0
    assert "đã đến nơi nhận" in out
    assert "done" in out
    assert " 06" in out
    code, out, _err = province.run("status", message_id, "--history")
    assert [word for word in ("01", "03", "06") if f" {word} " in out] == ["01", "03", "06"]
    assert "TEST xong" in out
    assert re.search(r"^    1\. [-0-9]{10} [:0-9]{8}  đã gửi$", out, re.MULTILINE)
    assert all(len(line) <= 80 for line in out.splitlines())


HEADER = f"""
code_number = "16"
code_notation = "UBND-TEST"
document_id = "{PROVINCE},2026/11/21,16/UBND-TEST"
promulgation_date = 2026-11-21
subject = "TEST"
sender = {{organ_id = "{PROVINCE}", organ_name = "TEST"}}
recipients = [{{organ_id = "{DEPARTMENT}", organ_name = "TEST"}}]
"""


def test_documents_are_packed_and_sent_in_one_go(offices, tmp_path):
    province, department = offices
    header, table = tmp_path / "header.toml", tmp_path / "bảng kê.csv"
    header.write_text(HEADER, encoding="utf-8")
    table.write_text("TEST", encoding="utf-8")
    code, out, err = province.run("send", "--header", header, table)
    assert code == 0, err
    assert "16/UBND-TEST" in out
    # As "pack" says it.
    assert err.count("[package.nothing-signed]") == 1
    assert department.receive()[0] == 0
    (folder,) = [path for path in (department.folder / "received").iterdir() if path.is_dir()]
    assert [path.read_text(encoding="utf-8") for path in folder.iterdir()] == ["TEST"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".edxml") == []


def test_a_header_that_is_none_sends_nothing(offices, tmp_path, hub):
    header, table = tmp_path / "header.toml", tmp_path / "table.csv"
    header.write_text("colour = 1", encoding="utf-8")
    table.write_text("TEST", encoding="utf-8")
    assert offices[0].run("send", "--header", header, table)[0] == 4
    assert offices[0].json("status")[1]["sent"] == []


def test_follow_goes_on_until_interrupted(offices, package):
    province, department = offices
    arguments = [
        sys.executable, "-c", "from vnedoc._cli.main import run; run()", "--config", department.settings, "--lang",
        "en", "receive", "-d", department.folder / "received", "--unverified", "--follow", "--interval", "0.2",
    ]  # fmt: skip
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            # Nothing waits yet; what is sent meanwhile is taken in.
            assert province.run("send", package)[0] == 0
            assert process.stdout.readline().strip().endswith(".edxml")
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 0
            words = process.stderr.read()
            assert "At work for: TEST" in words
            assert "Stopping" in words
        finally:
            process.kill()
    assert department.run("receive", "--once", "--follow")[0] == 2


def test_nothing_that_matches_is_not_nothing_at_all(offices, package):
    province, _department = offices
    assert "Chưa có văn bản nào" in province.run("status")[2]
    province.run("send", package)
    assert "khớp" in province.run("status", "--search", "không có ở đâu")[2]
    code, out, _err = province.run("status", "--search", "van ban dien tu")
    assert (code, "15/UBND-TEST" in out) == (0, True)


def test_a_long_reason_is_shown_whole_in_lines_that_fit(offices, package):
    province, department = offices
    province.run("send", package)
    department.receive()
    [received] = department.json("status")[1]["received"]
    reason = "Nơi gửi cần bổ sung phụ lục TEST " * 8
    assert department.run("reply", received["id"], "--status", "02", "--reason", reason)[0] == 0
    _code, out, _err = department.run("status", received["id"], "--history")
    assert all(len(line) <= 80 for line in out.splitlines())
    assert reason.strip() in " ".join(out.split())


def test_an_axis_that_does_not_answer_is_not_asked_for_each_that_was_parked(open_office, dead_url, tmp_path):
    office = open_office(PROVINCE, url=dead_url)
    path = tmp_path / "TEST.edxml"
    for number in range(7):
        make_package(path, sender=PROVINCE, recipients=[DEPARTMENT], number=number + 1)
        assert office.run("send", path)[0] == 6
    with contextlib.closing(
        AgencyStore.open(f"sqlite:///{office.folder}/store.sqlite3", office.folder / "payloads")
    ) as store:
        for message in store.sent():
            store.park(message.id, owner=None, error_code="TEST", at=message.created_at)
    code, out, err = office.run("retry", "--parked")
    assert code == 6
    assert "2 văn bản còn lại chưa được thử" in err
    assert out.count("chờ gửi lại") + out.count("đang chờ") >= 5
    states = [item["consignments"][0]["delivery"] for item in office.json("status")[1]["sent"]]
    assert sorted(states) == ["queued"] * 2 + ["waiting"] * 5


def test_a_message_that_is_parked_says_what_to_do(offices, package):
    province, _department = offices
    [message] = province.json("send", package)[1]["messages"]
    assert message["consignments"][0]["delivery"] == "sent"
    other = package.with_name("other.edxml")
    make_package(other, sender=PROVINCE, recipients=[DEPARTMENT], number=16)
    settings = province.settings.read_text(encoding="utf-8")
    province.settings.write_text(
        settings.replace("timeout_s = 20.0", "max_package_mb = 0.0001"), encoding="utf-8"
    )
    code, _out, err = province.run("send", other)
    assert code != 0
    [parked] = province.json("status", "--state", "parked")[1]["sent"]
    assert f"vnedoc retry {parked['id']}" in err
    province.settings.write_text(settings, encoding="utf-8")
    assert province.run("retry", "--parked")[0] == 0


def test_status_as_json(offices, package):
    province, department = offices
    province.run("send", package)
    department.receive()
    province.receive()
    code, document = province.json("status")
    assert code == 0
    assert document["schema"] == "vnedoc.status/1"
    [message] = document["sent"]
    [consignment] = message["consignments"]
    assert consignment["delivery"] == "delivered"
    assert consignment["transport"] == "done"
    assert consignment["business"] == {"progress": "01", "change": None}
    assert document["received"] == []
    code, document = department.json("status")
    assert document["received"][0]["delivery"] == "accepted"


def test_received_as_json(offices, package):
    province, department = offices
    assert province.json("send", package)[1]["schema"] == "vnedoc.sending/1"
    code, document = department.json("receive", "-d", department.folder / "in", "--unverified")
    assert code == 0
    assert document["schema"] == "vnedoc.reception/1"
    assert document["messages"][0]["message"]["sender_code"] == PROVINCE
    assert department.receive()[0:2] == (0, "")


def test_a_dry_run_sends_nothing(offices, package, hub):
    province, _department = offices
    code, out, _err = province.run("send", "--dry-run", package)
    assert code == 0
    assert DEPARTMENT in out
    assert hub.store.stats().documents == 0
    assert province.json("status")[1]["sent"] == []


def test_a_finished_package_without_a_signature_is_warned_of(offices, tmp_path, pki):
    province, _department = offices
    signer = PKCS12Signer(pki.agency.pkcs12("x"), passphrase="x")
    plain = documents.document_bytes(documents.LETTER)
    signed = sign_pdf(plain, signer=signer, options=SigningOptions(role=Role.INVISIBLE)).content
    path = tmp_path / "nothing.edxml"
    make_package(path, sender=PROVINCE, recipients=[DEPARTMENT], content=plain)
    for arguments in (["--dry-run"], []):
        code, _out, err = province.run("send", *arguments, path)
        assert code == 0
        assert err.count("[package.nothing-signed]") == 1
        assert f"{path}: " in err
    path = tmp_path / "signed.edxml"
    header = make_package(path, sender=PROVINCE, recipients=[DEPARTMENT], content=signed, number=16)
    assert "[package." not in province.run("send", path)[2]
    two = dataclasses.replace(header, code_number="17", document_id=f"{PROVINCE},2026/11/20,17/UBND-TEST")
    write_package(two, [Attachment("a.pdf", signed), Attachment("phu-luc.pdf", plain)], path)
    code, _out, err = province.run("send", path)
    assert code == 0
    assert re.findall(r"\[package\.[a-z-]+\]", err) == ["[package.not-signed]"]
    assert "phu-luc.pdf" in err


def test_what_needs_no_signature_is_not_warned_of(offices, tmp_path):
    province, _department = offices
    header = make_package(tmp_path / "a.edxml", sender=PROVINCE, recipients=[DEPARTMENT])
    # A draft has no number, and a recall has no file.
    draft = dataclasses.replace(header, code_number="", document_id=f"{PROVINCE},2026/11/20,/DRAFT")
    write_package(draft, [Attachment("a.pdf", b"%PDF-1.7\n% TEST\n%%EOF\n")], tmp_path / "draft.edxml")
    recall = dataclasses.replace(
        header, business=Business.recall(header.document_id, reason="TEST"), document_id="TEST-1"
    )
    write_package(recall, [], tmp_path / "recall.edxml")
    for name in ("draft", "recall"):
        code, _out, err = province.run("send", tmp_path / f"{name}.edxml")
        assert (code, err) == (0, ""), name


def test_no_room_to_look_for_signatures_does_not_keep_a_package(offices, package, tmp_path, monkeypatch):
    province, _department = offices
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    code, out, err = province.run("send", package)
    assert code == 0
    assert "đã gửi lên trục" in out
    assert "nowhere" in err


def test_looking_for_signatures_does_not_hold_the_files(offices, tmp_path):
    province, _department = offices
    content, path = tmp_path / "big.pdf", tmp_path / "big.edxml"
    with content.open("wb") as stream:
        stream.write(b"%PDF-1.7\n")
        stream.truncate(48 * 1024 * 1024)
    make_package(path, sender=PROVINCE, recipients=[DEPARTMENT], content=content)
    tracemalloc.start()
    try:
        code, _out, err = province.run("send", "--dry-run", path)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (code, err.count("[package.nothing-signed]")) == (0, 1)
    assert peak < 24 * 1024 * 1024


def test_without_the_axis_the_package_is_kept(open_office, hub, package, dead_url):
    office = open_office(PROVINCE, url=dead_url)
    hub.add_system("TEST.X", DEPARTMENT)
    code, out, err = office.run("send", package)
    assert code == 6
    assert "chờ gửi" in out
    assert "được giữ trong hàng gửi" in err
    assert "Không kết nối được" in err
    # When the axis is there again, the same command finishes what is unfinished.
    office.settings.write_text(office.settings.read_text().replace(dead_url, hub.url))
    code, out, _err = office.run("send", package)
    assert code == 0
    assert "đã gửi lên trục" in out
    assert hub.store.stats().documents == 1


def test_all_files_are_done_and_the_gravest_code_wins(offices, package, tmp_path):
    province, _department = offices
    (tmp_path / "bad.edxml").write_bytes(b"TEST")
    make_package(tmp_path / "refused.edxml", sender=PROVINCE, recipients=["H01"], number=16)
    code, out, err = province.run("send", tmp_path / "bad.edxml", tmp_path / "refused.edxml", package)
    assert code == 4
    assert "bad.edxml: " in err
    assert "H01" in err
    assert "đã gửi lên trục" in out
    assert "trục từ chối" in out
    assert province.run("send", tmp_path / "refused.edxml")[0] == 7


def test_another_package_with_the_same_identifier(offices, package):
    province, _department = offices
    province.run("send", package)
    make_package(package, sender=PROVINCE, recipients=[DEPARTMENT], content=b"%PDF other")
    code, _out, err = province.run("send", package, lang="en")
    assert code == 1
    assert "H99,2026/11/20,15/UBND-TEST" in err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["status", "nothing"], 2),
        (["reply", "nothing", "--status", "03"], 2),
        (["reply", "nothing", "--status", "13"], 2),
        (["reply", "nothing", "--status", "02"], 2),
        (["send"], 2),
        (["send", "missing.edxml"], 4),
        (["send", "--via", "NOTHING", "missing.edxml"], 5),
        (["receive"], 5),
    ],
)
def test_wrong_calls(offices, arguments, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = offices[0].run(*arguments)
    assert code == expected
    assert out == ""
    assert "Traceback" not in err


def test_texts_of_strangers_cannot_steer_a_terminal(offices, package):
    province, department = offices
    province.run("send", package)
    department.receive()
    message_id = department.json("status")[1]["received"][0]["id"]
    department.run("reply", message_id, "--status", "02", "--reason", "TEST \x9b2J\u202e lý do")
    _code, _out, err = province.receive()
    _code, out, _err = province.run("status", "--history")
    assert "lý do" in out
    assert all(line.isprintable() for line in (out + err).splitlines())


def test_a_reply_that_goes_backwards(offices, package):
    province, department = offices
    province.run("send", package)
    department.receive()
    message_id = department.json("status")[1]["received"][0]["id"]
    assert department.run("reply", message_id, "--status", "06")[0] == 0
    assert department.run("reply", message_id, "--status", "03")[0] == 1


@pytest.mark.parametrize(
    ("missing", "expected"),
    [("[store]", 5), ("[agency]", 5), ("secret_env", 5), ('kind = "vxp"', 5)],
)
def test_settings_that_lack_something(offices, package, missing, expected):
    office = offices[0]
    text = office.settings.read_text(encoding="utf-8")
    if missing.startswith("["):
        start = text.index(missing)
        end = text.index("\n[", start + 1)
        text = text[:start] + text[end:]
    else:
        text = "\n".join(
            'kind = "fax"' if line == missing else line
            for line in text.splitlines()
            if not line.startswith("secret_env")
        )
    office.settings.write_text(text, encoding="utf-8")
    code, _out, err = office.run("send", package)
    assert code == expected
    assert err


def test_a_secret_from_a_file(offices, package):
    office = offices[0]
    text = office.settings.read_text(encoding="utf-8").replace(
        'secret_env = "TEST_SECRET_H99"', 'secret_file = "key"'
    )
    office.settings.write_text(text, encoding="utf-8")
    assert office.run("send", package)[0] == 5
    (office.folder / "key").write_text(office.secret + "\n")
    assert office.run("send", package)[0] == 0


@pytest.mark.parametrize(("roles", "code"), [(["leader", "agency"], 0), (["leader"], 1), ([], 1)])
def test_documents_are_verified_with_the_trust_of_the_settings(
    open_office, tmp_path, pki, package, roles, code
):
    content = documents.document_bytes(documents.LETTER)
    for role in roles:
        signer = PKCS12Signer(getattr(pki, role).pkcs12("x"), passphrase="x")
        content = sign_pdf(content, signer=signer, options=SigningOptions(role=Role.INVISIBLE)).content
    make_package(package, sender=PROVINCE, recipients=[DEPARTMENT], content=content)
    certificates = [pki.root.certificate, pki.state_ca.certificate]
    (tmp_path / "trust.pem").write_bytes(b"".join(item.public_bytes(Encoding.PEM) for item in certificates))
    [name] = pki.agency.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    directory = {"schema": "vnedoc.directory/1", "agencies": [{"organ_id": PROVINCE, "name": name.value}]}
    (tmp_path / "directory.json").write_text(json.dumps(directory), encoding="utf-8")
    head = 'trust = ["../trust.pem"]\ndirectory = "../directory.json"\n'
    head += '[verification]\nallowed_hosts = ["127.0.0.1"]\n'
    province = open_office(PROVINCE)
    department = open_office(DEPARTMENT, head=head)
    assert province.run("send", package)[0] == 0
    got, out, err = department.run("receive", "-d", department.folder / "received")
    assert got == code, err
    assert ("/quarantine/" in out) == (code == 1)
    assert ("cách ly" in err) == (code == 1)


# The hub's own commands


@pytest.fixture
def run(capsys, tmp_path):
    def run(*arguments):
        capsys.readouterr()
        code = call(["--lang", "en", "hub", "--data", str(tmp_path / "own"), *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "directory.json"
    agencies = [
        {"organ_id": "H99", "name": "ỦY BAN NHÂN DÂN TỈNH TEST", "old_code": "000.00.00.H99"},
        {"organ_id": "H99.1", "name": "SỞ TEST", "parent": "H99"},
        {"organ_id": "H99.9", "name": "HUYỆN TEST", "valid_to": "2025-06-30"},
    ]
    path.write_text(json.dumps({"schema": "vnedoc.directory/1", "agencies": agencies}), encoding="utf-8")
    return path


def test_a_hub_is_made_filled_and_counted(run, directory, tmp_path):
    assert run("init")[0] == 0
    assert run("init")[0] == 0
    code, secret, err = run("system", "add", "TEST.A", "--name", "Hệ thống TEST")
    assert code == 0
    assert len(secret.strip()) == 72
    assert "once" in err
    code, out, err = run("agency", "import", directory, "--system", "TEST.A")
    assert (code, out) == (0, "")
    assert "2 agencies" in err
    code, out, _err = run("system", "list")
    assert "TEST.A" in out
    assert "Hệ thống TEST" in out
    assert secret.strip() not in out + run("system", "list", "--format", "json")[1]
    counted = json.loads(run("stats", "--format", "json")[1])
    assert (counted["systems"], counted["agencies"], counted["documents"]) == (1, 2, 0)
    assert "agencies" in run("stats")[1]
    assert (tmp_path / "own" / "hub.sqlite3").stat().st_mode & 0o077 == 0


def test_only_some_agencies(run, directory):
    run("init")
    run("system", "add", "TEST.A")
    assert run("agency", "import", directory, "--system", "TEST.A", "--only", "000.00.00.H99")[0] == 0
    assert json.loads(run("stats", "--format", "json")[1])["agencies"] == 1
    assert run("agency", "import", directory, "--system", "TEST.A", "--only", "H99.9")[0] == 5


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["system", "add", "TEST A"], 2),
        (["system", "add", ""], 2),
        (["system", "add", "TEST.A"], 5),
        (["system", "add", "TEST.B", "--secret-env", "TEST_NOT_SET"], 5),
        (["agency", "import", "missing.json", "--system", "TEST.A"], 4),
    ],
)
def test_wrong_calls_of_the_hub(run, arguments, expected):
    run("init")
    run("system", "add", "TEST.A")
    code, out, err = run(*arguments)
    assert (code, out) == (expected, "")
    assert err


def test_an_unknown_system_gets_no_agencies(run, directory):
    run("init")
    assert run("agency", "import", directory, "--system", "TEST.NOBODY")[0] == 5


@pytest.mark.parametrize("arguments", [["stats"], ["serve"], ["system", "list"], ["system", "add", "X"]])
def test_where_there_is_no_hub(run, arguments, tmp_path):
    assert run(*arguments)[0] == 5
    assert not (tmp_path / "own").exists()


def test_a_secret_of_ones_own(run, monkeypatch):
    run("init")
    monkeypatch.delenv("TEST_SECRET", raising=False)
    assert run("system", "add", "TEST.A", "--secret-env", "TEST_SECRET")[0] == 5
    for wrong in ("S" * 64, "S" * 257, "khóa bí mật TEST " * 5, "S" * 65 + "\n"):
        monkeypatch.setenv("TEST_SECRET", wrong)
        code, out, err = run("system", "add", "TEST.A", "--secret-env", "TEST_SECRET")
        assert (code, out) == (2, "")
        assert "65" in err
        assert wrong not in err
    monkeypatch.setenv("TEST_SECRET", "S" * 65)
    assert run("system", "add", "TEST.A", "--secret-env", "TEST_SECRET")[0:2] == (0, "")


def test_without_the_extra_the_hub_says_what_to_install():
    code = (
        "import sys; sys.modules['uvicorn'] = sys.modules['starlette'] = None; "
        "sys.modules['starlette.applications'] = None; "
        "from vnedoc.errors import MissingExtraError\n"
        "try:\n    import vnedoc.exchange.hub.app\n"
        "except MissingExtraError as error:\n    print(error.hint())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'vnedoc[server]'" in done.stdout


def test_importing_the_commands_loads_nothing_heavy():
    code = (
        "import sys, vnedoc._cli.exchange, vnedoc._cli.hub; "
        "print([name for name in ('sqlalchemy', 'alembic', 'starlette', 'uvicorn', 'httpx2', 'lxml', 'pyhanko', "
        "'cryptography') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_serving_and_stopping(tmp_path, run):
    run("init")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from vnedoc._cli.main import run; run()",
            "hub",
            "--data",
            str(tmp_path / "own"),
            "serve",
            "--port",
            str(port),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "VNEDOC_LANG": "en"},
        text=True,
    )
    try:
        for _ in range(2000):
            assert process.poll() is None
            try:
                assert httpx2.get(f"http://127.0.0.1:{port}/health", timeout=5).text == "ok"
            except httpx2.HTTPError:
                threading.Event().wait(0.01)
            else:
                break
    finally:
        process.terminate()
        out, err = process.communicate(timeout=20)
    assert out == ""
    assert f"http://127.0.0.1:{port}" in err
    assert "Traceback" not in err
