"""The commands about documents that were sent, and what is late and how many there are, as a person runs them."""

import dataclasses
import datetime
import json

import pytest

from tests.offices import COMMUNE, DEPARTMENT, PROVINCE
from vnedoc.exchange.models import Attachment, OtherInfo
from vnedoc.exchange.package import write_package
from vnedoc.testing.packages import make_package

REASON = "TEST ban hành nhầm"


@pytest.fixture
def offices(open_office, hub):
    hub.add_system("TEST.X", COMMUNE)
    return [open_office(PROVINCE), open_office(DEPARTMENT)]


@pytest.fixture
def package(tmp_path):
    path = tmp_path / "TEST.edxml"
    make_package(path, sender=PROVINCE, recipients=[DEPARTMENT])
    return path


def sent(office, package):
    code, document = office.json("send", package)
    assert code == 0
    return document["messages"][0]["id"]


def fits(out):
    assert all(len(line) <= 80 for line in out.splitlines()), out
    return out


def header(tmp_path, number):
    path = tmp_path / f"{number}.toml"
    path.write_text(
        f"""
code_number = "{number}"
code_notation = "UBND-TEST"
document_id = "{PROVINCE},2026/11/23,{number}/UBND-TEST"
promulgation_date = 2026-11-23
subject = "TEST văn bản {number}"
sender = {{organ_id = "{PROVINCE}", organ_name = "TEST"}}
recipients = [{{organ_id = "{DEPARTMENT}", organ_name = "TEST"}}]
""",
        encoding="utf-8",
    )
    return path


def test_a_recall_from_order_to_answer(offices, package):
    province, department = offices
    message_id = sent(province, package)
    department.receive()
    code, out, _err = province.run("recall", message_id[:8], "--reason", REASON)
    assert code == 0
    assert DEPARTMENT in out
    assert "Bị thu hồi bởi" in fits(province.run("status", message_id)[1])
    code, _out, err = department.receive()
    assert code == 0
    assert "Traceback" not in err
    [received] = [
        item for item in department.json("status")[1]["received"] if item["delivery"] == "cancelled"
    ]
    out = fits(department.run("status", received["id"])[1])
    assert "đã bị thu hồi" in out
    assert "01/15" in out
    assert department.run("reply", received["id"], "--status", "06")[0] == 1
    province.receive()
    document = province.json("status", message_id)[1]
    assert document["sent"][0]["consignments"][0]["business"] == {"progress": "01", "change": "15"}
    assert [(item["kind"], item["state"]) for item in document["orders"]] == [("recall", "applied")]
    # Once is enough.
    assert province.run("recall", message_id, "--reason", REASON)[0] == 1


def test_what_is_in_the_outbox_is_taken_back_here(open_office, hub, package, dead_url):
    office = open_office(PROVINCE, url=dead_url)
    hub.add_system("TEST.X", DEPARTMENT)
    assert office.run("send", package)[0] == 6
    message_id = office.json("status")[1]["sent"][0]["id"]
    code, out, _err = office.run("recall", message_id, "--reason", REASON)
    assert code == 0
    assert "đã thu hồi" in out
    assert hub.store.stats().documents == 0
    assert office.json("status")[1]["sent"][0]["overall"] == "recalled"


def test_a_dry_run_orders_nothing(offices, package):
    province, _department = offices
    message_id = sent(province, package)
    assert province.run("recall", "--dry-run", message_id, "--reason", REASON)[0] == 0
    assert province.run("update", "--dry-run", message_id, "--remove", DEPARTMENT)[0] == 0
    assert province.json("status", message_id)[1]["orders"] == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["recall", "nothing", "--reason", "TEST"], 2),
        (["recall", "ID"], 2),
        (["recall", "ID", "--reason", " "], 2),
        (["recall", "ID", "--reason", "TEST", "--from", "H01"], 2),
        (["update", "ID"], 2),
        (["update", "ID", "--add", "H99.2"], 5),
        (["update", "ID", "--document", "missing.pdf"], 4),
        (["replace", "ID", "--header", "missing.toml"], 4),
        (["retry"], 2),
        (["retry", "ID", "--parked"], 2),
        (["retry", "ID"], 1),
        (["status", "--late", "--summary"], 2),
    ],
)
def test_wrong_calls(offices, package, arguments, expected):
    province, _department = offices
    message_id = sent(province, package)
    code, _out, err = province.run(*[message_id if item == "ID" else item for item in arguments])
    assert code == expected, err
    assert err
    assert "Traceback" not in err


def test_a_replacement_needs_a_file(offices, package, tmp_path):
    province, _department = offices
    assert province.run("replace", sent(province, package), "--header", header(tmp_path, 16))[0] == 2


@pytest.mark.parametrize("arguments", [[], ["--reason", "TEST"], ["--dry-run"]])
def test_an_update_of_nothing_is_told_what_can_be_changed(offices, package, arguments):
    province, _department = offices
    message_id = sent(province, package)
    code, _out, err = province.run("update", message_id, *arguments)
    assert code == 2
    assert all(option in err for option in ("--header", "--document", "--add", "--remove"))
    assert "Bussiness" not in err


def test_an_update_and_a_replacement(offices, package, tmp_path):
    province, department = offices
    message_id = sent(province, package)
    department.receive()
    new = tmp_path / "bản mới.pdf"
    new.write_bytes(b"%PDF-1.7\n% TEST new\n%%EOF\n")
    arguments = ["--document", new, "--add", "H99.2=XÃ TEST", "--reason", "TEST sửa"]
    code, out, err = province.run("update", message_id, *arguments)
    assert code == 0, err
    assert "H99.2" in out
    assert err.count("[package.nothing-signed]") == 1
    department.receive()
    versions = department.json("status")[1]
    assert [item["kind"] for item in versions["orders"]] == ["update"]
    out = fits(department.run("status")[1])
    assert "Đã có bản cập nhật" in out
    assert "Cập nhật cho văn bản" in out
    update_id = province.json("status")[1]["sent"][0]["id"]
    code, out, err = province.run(
        "replace", update_id, "--header", header(tmp_path, 17), "--document", new, "--reason", "TEST"
    )
    assert code == 0, err
    assert err.count("[package.nothing-signed]") == 1
    department.receive()
    assert "Được thay thế bởi" in fits(department.run("status")[1])


def test_a_document_goes_to_a_new_recipient_by_its_name_in_the_directory(offices, package, tmp_path):
    province, _department = offices
    directory = {"schema": "vnedoc.directory/1", "agencies": [{"organ_id": "H99.2", "name": "XÃ TEST"}]}
    (province.folder / "directory.json").write_text(json.dumps(directory), encoding="utf-8")
    settings = province.settings.read_text(encoding="utf-8")
    province.settings.write_text('directory = "directory.json"\n' + settings, encoding="utf-8")
    message_id = sent(province, package)
    code, document = province.json("update", message_id, "--add", "H99.2")
    assert code == 0
    assert document["messages"][0]["consignments"][1]["recipient"] == {"code": "H99.2", "name": "XÃ TEST"}


def test_a_recall_that_is_left_to_a_person(offices, package):
    province, department = offices
    text = department.settings.read_text(encoding="utf-8")
    department.settings.write_text(text + "\n[exchange]\napply_recalls = false\n", encoding="utf-8")
    message_id = sent(province, package)
    department.receive()
    province.run("recall", message_id, "--reason", REASON)
    department.receive()
    [received] = [
        item for item in department.json("status")[1]["received"] if item["business"]["change"] == "13"
    ]
    assert department.run("reply", received["id"], "--status", "15")[0] == 0
    assert department.json("status", received["id"])[1]["received"][0]["delivery"] == "cancelled"
    assert (department.folder / "received" / f"{received['id']}.DA-THU-HOI.txt").exists()


# Trying again


def test_what_is_parked_is_tried_again(offices, package):
    province, _department = offices
    text = province.settings.read_text(encoding="utf-8")
    province.settings.write_text(
        text.replace('secret_env = "TEST_SECRET_H99"', 'secret_file = "key"'), encoding="utf-8"
    )
    assert province.run("send", package)[0] == 5
    assert "tạm dừng" in province.run("status")[1]
    assert province.run("status", "--state", "parked")[1]
    assert province.run("retry", "--parked", "--dry-run")[0] == 0
    assert province.run("retry", "--parked")[0] == 5
    (province.folder / "key").write_text(province.secret)
    code, document = province.json("retry", "--parked")
    assert code == 0
    assert document["messages"][0]["consignments"][0]["delivery"] == "sent"
    code, document = province.json("retry", "--parked")
    assert (code, document["messages"]) == (0, [])


def test_what_waits_is_tried_at_once(open_office, hub, package, dead_url):
    office = open_office(PROVINCE, url=dead_url)
    hub.add_system("TEST.X", DEPARTMENT)
    assert office.run("send", package)[0] == 6
    message_id = office.json("status")[1]["sent"][0]["id"]
    assert office.run("retry", message_id)[0] == 6
    office.settings.write_text(office.settings.read_text().replace(dead_url, hub.url))
    assert office.run("retry", message_id)[0] == 0


# Lists and counters


def test_what_was_sent_late(offices, tmp_path):
    province, _department = offices
    path = tmp_path / "a.edxml"
    document = make_package(path, sender=PROVINCE, recipients=[DEPARTMENT])
    old = dataclasses.replace(document, promulgation_date=datetime.date(2020, 1, 2))
    write_package(old, [Attachment("a.pdf", b"%PDF TEST")], path)
    sent(province, path)
    code, out, _err = province.run("status", "--late")
    # It was late, but there is nothing to be done about it.
    assert code == 0
    assert "thực hiện muộn lúc" in fits(out)
    document = province.json("status", "--late")[1]
    assert document["schema"] == "vnedoc.late/1"
    assert [item["kind"] for item in document["deadlines"]] == ["sending"]
    assert document["deadlines"][0]["due_at"] == "2020-01-03T04:30:00+00:00"


def test_an_urgent_document_that_waits_is_late(open_office, hub, tmp_path, dead_url):
    office = open_office(PROVINCE, url=dead_url)
    text = office.settings.read_text(encoding="utf-8")
    office.settings.write_text(text + "\n[exchange]\nurgent_grace_minutes = 0.0\n", encoding="utf-8")
    path = tmp_path / "a.edxml"
    document = make_package(path, sender=PROVINCE, recipients=[DEPARTMENT])
    urgent = dataclasses.replace(document, other_info=OtherInfo(priority=3))
    write_package(urgent, [Attachment("a.pdf", b"%PDF TEST")], path)
    assert office.run("send", path)[0] == 6
    code, out, _err = office.run("status", "--late")
    assert code == 1
    assert "chưa gửi đúng hạn" in fits(out)
    assert "hỏa tốc" in out
    summary = office.json("status", "--summary")[1]
    assert (summary["sent"]["late"], summary["sent"]["waiting"], summary["sent"]["documents"]) == (1, 1, 0)


def test_counters_are_two_and_never_one(offices, package):
    province, department = offices
    sent(province, package)
    department.receive()
    province.receive()
    code, document = province.json("status", "--summary")
    assert code == 0
    assert document["schema"] == "vnedoc.summary/1"
    assert set(document) == {"schema", "since", "until", "sent", "received"}
    assert document["sent"]["documents"] == document["sent"]["deliveries"] == 1
    assert document["sent"]["paper_unknown"] == 1
    assert document["received"]["documents"] == 0
    assert document["sent"]["by_level"] == {"unknown": 1}
    assert list(document["sent"]["by_day"].values()) == [1]
    received = department.json("status", "--summary")[1]
    assert received["received"]["by_level"] == {"province": 1}
    out = fits(department.run("status", "--summary")[1])
    assert "Văn bản đã nhận" in out
    assert "Văn bản đã gửi lên trục" in out
    long_ago = province.json("status", "--summary", "--until", "2020-01-01")[1]
    assert long_ago["sent"]["documents"] == 0
    assert long_ago["until"] == "2020-01-01T17:00:00+00:00"


def test_long_lists_are_cut_and_say_so(offices, tmp_path):
    province, _department = offices
    for number in (1, 2, 3):
        make_package(tmp_path / f"{number}.edxml", sender=PROVINCE, recipients=[DEPARTMENT], number=number)
        sent(province, tmp_path / f"{number}.edxml")
    code, out, err = province.run("status", "--limit", "2")
    assert code == 0
    assert "3/UBND-TEST" in out
    assert "1/UBND-TEST" not in out
    assert "--limit" in err
    assert province.json("status", "--limit", "2")[1]["more"] is True
    assert len(province.json("status", "--search", "2/UBND-TEST")[1]["sent"]) == 1


def test_an_agency_with_an_old_code_takes_in_what_is_addressed_to_it(offices, tmp_path, hub):
    province, department = offices
    from vnedoc.exchange.stores.hub import HubAgency

    hub.store.register_agencies(f"TEST.{DEPARTMENT}", [HubAgency("000.00.01.H99", "TEST")])
    path = tmp_path / "old.edxml"
    make_package(path, sender=PROVINCE, recipients=["000.00.01.H99"])
    message_id = sent(province, path)
    assert department.receive()[1] == ""
    text = department.settings.read_text(encoding="utf-8")
    department.settings.write_text(
        text.replace("[store]", 'also = ["000.00.01.H99"]\n\n[store]', 1), encoding="utf-8"
    )
    assert department.receive()[1].strip().endswith(".edxml")
    # It answers under the code that it was addressed by: only that one is known to the sender.
    province.receive()
    [consignment] = province.json("status", message_id)[1]["sent"][0]["consignments"]
    assert consignment["recipient"]["code"] == "000.00.01.H99"
    assert consignment["business"]["progress"] == "01"
