"""``vnedoc directory`` as a clerk and a nightly job use it."""

import json
from pathlib import Path

import pytest

from tests.cli import vnedoc
from tests.full_disks import room_for

ROWS = "organ_id,name,parent,old_code\nH99,TỈNH TEST,,\nH99.15,Ủy ban nhân dân xã TEST,H99,000.00.15.H99\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    source, target = tmp_path / "list.csv", tmp_path / "directory.json"
    source.write_text(ROWS, encoding="utf-8")
    outcome = vnedoc("directory", "import", source, "-o", target)
    assert (outcome.code, outcome.err) == (0, "")
    assert "2 added" in outcome.out
    return target


def test_a_list_becomes_a_directory_that_answers(file: Path) -> None:
    outcome = vnedoc("directory", "resolve", "000.00.15.H99", "--directory", file, "--format", "json")
    assert outcome.code == 0
    document = outcome.json()
    assert document["agency"]["organ_id"] == "H99.15"
    assert [item["organ_id"] for item in document["above"]] == ["H99"]
    text = vnedoc("directory", "resolve", "H99.15", "--directory", file)
    assert "Ủy ban nhân dân xã TEST" in text.out
    assert "^ H99 " in text.out


def test_a_code_that_nobody_has_is_a_no(file: Path) -> None:
    outcome = vnedoc("directory", "resolve", "H00", "--directory", file)
    assert outcome.code == 1
    assert "H00" in outcome.err
    assert outcome.out == ""


def test_a_change_of_name_is_seen_at_each_date(file: Path, tmp_path: Path) -> None:
    source = tmp_path / "new.csv"
    source.write_text(ROWS.replace("TỈNH TEST", "TỈNH TEST MỚI"), encoding="utf-8")
    before = file.read_bytes()
    dry = vnedoc("directory", "import", source, "-o", file, "--on", "2025-07-01", "--dry-run")
    assert dry.code == 0
    assert "would have" in dry.out
    assert file.read_bytes() == before
    outcome = vnedoc("directory", "import", source, "-o", file, "--on", "2025-07-01", "--format", "json")
    assert outcome.json()["changed"] == ["H99"]
    for day, name in (("2025-06-30", "TỈNH TEST"), ("2025-07-01", "TỈNH TEST MỚI")):
        found = vnedoc(
            "directory", "resolve", "H99", "--at", day, "--directory", file, "--format", "json"
        ).json()
        assert found["agency"]["name"] == name


def test_an_empty_list_does_not_end_every_agency(file: Path, tmp_path: Path) -> None:
    source = tmp_path / "empty.json"
    source.write_text('{"data": []}')
    before = file.read_bytes()
    outcome = vnedoc("directory", "import", source, "-o", file, "--close-missing")
    assert outcome.code == 5
    assert "no agency" in outcome.err
    assert file.read_bytes() == before


def test_show_counts_and_lists(file: Path) -> None:
    counts = vnedoc("directory", "show", "--directory", file, "--format", "json").json()
    assert counts["levels"] == {"province": 1, "commune": 1}
    listed = vnedoc("directory", "show", "--directory", file, "--text", "XÃ test")
    assert listed.out.startswith("H99.15 ")
    assert len(listed.out.splitlines()) == 1
    under = vnedoc("directory", "show", "--directory", file, "--under", "H99", "--format", "json").json()
    assert [item["organ_id"] for item in under["agencies"]] == ["H99.15"]
    cut = vnedoc("directory", "show", "--directory", file, "--text", "test", "--limit", "1")
    assert (len(cut.out.splitlines()), cut.err.strip()) == (1, "… 1")


@pytest.mark.parametrize(
    ("language", "counted", "named"),
    [("vi", "Mục trong danh mục", "Mã định danh"), ("en", "Entries", "Code")],
)
def test_people_read_words_in_their_language(file: Path, language: str, counted: str, named: str) -> None:
    shown = vnedoc("--lang", language, "directory", "show", "--directory", file).out
    assert shown.splitlines()[0].split("  ")[0] == counted
    assert len({len(line) for line in shown.splitlines()}) == 1
    found = vnedoc("--lang", language, "directory", "resolve", "H99.15", "--directory", file).out
    assert found.splitlines()[0].split("  ")[0].rstrip() == named
    for text in (shown, found):
        assert "_" not in text
        assert max(len(line) for line in text.splitlines()) <= 80


def test_check_tells_errors_from_warnings(file: Path) -> None:
    assert vnedoc("directory", "check", file).code == 0
    document = json.loads(file.read_text(encoding="utf-8"))
    document["agencies"].append({"organ_id": "H99", "name": "TỈNH KHÁC TEST"})
    file.write_text(json.dumps(document), encoding="utf-8")
    outcome = vnedoc("directory", "check", file, "--format", "json")
    assert outcome.code == 1
    assert outcome.json()["errors"] == 1
    assert outcome.json()["findings"][0]["id"] == "directory.doubled"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["import"], 2),
        (["import", "nothing.csv", "-o", "{tmp}/d.json"], 4),
        (["show"], 5),
        (["show", "--directory", "{tmp}/nothing.json"], 4),
        (["show", "--at", "yesterday", "--directory", "{file}"], 2),
    ],
)
def test_mistakes_have_their_exit_codes(
    arguments: list[str], code: int, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = vnedoc("directory", *(item.format(tmp=tmp_path, file=file) for item in arguments))
    assert outcome.code == code
    assert len(outcome.err.strip()) > 0
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("language", ["vi", "en"])
@pytest.mark.parametrize("content", ["organ_id,name\nH99,TEST\n", "[]", '{"data": []}'])
def test_what_is_no_directory_yet_says_how_to_make_one(tmp_path: Path, content: str, language: str) -> None:
    table = tmp_path / "agencies.csv"
    table.write_text(content, encoding="utf-8")
    outcome = vnedoc("directory", "show", "--directory", table, lang=language)
    assert outcome.code == 5
    assert "vnedoc directory import" in outcome.err
    assert "-o directory.json" in outcome.err


def test_a_directory_that_does_not_fit_on_the_disk(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "own.json"
    with room_for(10):
        outcome = vnedoc("directory", "import", file, "-o", target)
    assert outcome.code == 4
    assert "bug" not in outcome.err
    assert f"{target} cannot be written" in outcome.err
    assert not target.exists()


def test_a_code_that_ended_says_when_and_who_came_after(tmp_path: Path) -> None:
    source, target = tmp_path / "list.csv", tmp_path / "directory.json"
    source.write_text(
        "organ_id,name,level,valid_from,valid_to,successor\n"
        "H99.20,HUYỆN TEST,district,,2025-06-30,H99.15\n"
        "H99.15,XÃ TEST,commune,2025-07-01,,\n",
        encoding="utf-8",
    )
    vnedoc("directory", "import", source, "-o", target)
    ended = vnedoc("directory", "resolve", "H99.20", "--at", "2025-07-01", "--directory", target)
    assert (ended.code, ended.out) == (1, "")
    assert "2025-06-30" in ended.err
    assert "H99.15 (XÃ TEST)" in " ".join(ended.err.split())
    early = vnedoc("directory", "resolve", "H99.15", "--at", "2025-06-30", "--directory", target)
    assert early.code == 1
    assert "2025-07-01" in early.err
    counted = vnedoc("directory", "show", "--directory", target, "--format", "json", "--at", "2025-06-30")
    assert list(counted.json()["levels"]) == ["district"]
