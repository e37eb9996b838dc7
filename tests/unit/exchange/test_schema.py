"""The shipped JSON Schemas are those of the model, and describe what the code takes and prints."""

import json
from pathlib import Path

import jsonschema
import pytest

import vnedoc.exchange.schema
from tests import edxml
from tests.cli import vnedoc as run
from vnedoc.errors import PackageError
from vnedoc.exchange.header_files import header_from_dict, header_to_dict
from vnedoc.exchange.models import DocumentHeader, StatusHeader
from vnedoc.exchange.package import DIALECTS, write_package
from vnedoc.exchange.schema import NAMES, load_schema, rendered

FOLDER = Path(vnedoc.exchange.schema.__file__).parent
CHECK = jsonschema.Draft202012Validator.FORMAT_CHECKER


def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(load_schema(name), format_checker=CHECK)


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_is_up_to_date(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_text(encoding="utf-8") == rendered(name), (
        "run python -m vnedoc.exchange.schema"
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_is_a_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(load_schema(name))


def test_no_other_schemas() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(NAMES)
    with pytest.raises(ValueError, match="no schema"):
        load_schema("../header")


@pytest.mark.parametrize(
    "header",
    [
        *edxml.documents(),
        edxml.status(),
        edxml.status(status_code="999"),
    ],
)
def test_headers_of_ours_are_valid(header: DocumentHeader | StatusHeader) -> None:
    validator("header").validate(json.loads(json.dumps(header_to_dict(header))))


WRONG = [
    {"code_number": 15},
    {"subject": None},
    {"promulgation_date": "20/11/2026"},
    {"unknown": "x"},
    {"sender": {"organ_id": "H99"}},
    {"recipients": {"organ_id": "H99", "organ_name": "T"}},
    {"recipients": [{"organ_id": "H99", "organ_name": "T", "code": "x"}]},
    {"business": {"kind": "hủy"}},
    {"business": {"kind": -1}},
    {"business": {"replacement_info_list": [{}]}},
    {"other_info": {"priority": True}},
    {"other_info": {"direction": 1}},
    {"to_places": "T"},
    {"trace": [{"timestamp": "hôm qua"}]},
]


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_schema_and_reader_refuse_the_same(change: dict[str, object]) -> None:
    table = {**header_to_dict(edxml.document()), **change}
    if change != {"trace": [{"timestamp": "hôm qua"}]}:  # formats of times are checked by an optional library
        assert not validator("header").is_valid(table)
    if change == {"subject": None}:
        del table["subject"]
    with pytest.raises(PackageError):
        header_from_dict(table)


@pytest.mark.parametrize("dialect", ["vnpt", "net", "bkav"])
def test_what_unpack_prints_is_valid(dialect: str, tmp_path: Path) -> None:
    path = tmp_path / "a.edxml"
    write_package(edxml.full_document(), edxml.attachments(), path, dialect=DIALECTS[dialect])
    outcome = run("unpack", path, "-d", tmp_path / "a", "--format", "json")
    assert outcome.code == 0
    validator("package").validate(outcome.json())
    # Every key is described, so a key that is new here is new in the schema.
    assert set(outcome.json()) == set(load_schema("package")["properties"]) - {"error"}
    shown = load_schema("package")["$defs"]["ReceivedAttachment"]["properties"]
    assert all(set(row) == set(shown) for row in outcome.json()["attachments"])


def test_a_dirty_package_and_a_status_are_valid_json_too(tmp_path: Path) -> None:
    content = edxml.package(edxml.attached("a.pdf", edxml.PDF)).decode()
    dirty = content.replace("<edXML:OrganName>SỞ TEST</edXML:OrganName>", "<edXML:X>T</edXML:X>")
    (tmp_path / "dirty.edxml").write_bytes(b"1212" + dirty.encode())
    write_package(edxml.status(), [], tmp_path / "status.edxml")
    for name in ("dirty", "status"):
        outcome = run("unpack", tmp_path / f"{name}.edxml", "-d", tmp_path / name, "--format", "json")
        assert outcome.code == 0, outcome.err
        validator("package").validate(outcome.json())
    assert run("unpack", tmp_path / "dirty.edxml", "-d", tmp_path / "x", "--format", "json").json()[
        "warnings"
    ]


@pytest.mark.parametrize("content", [b"", b"\n\n<edXML>"], ids=["empty", "cut"])
def test_what_is_refused_is_valid_json_too(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.edxml").write_bytes(content)
    outcome = run("unpack", tmp_path / "bad.edxml", "-d", tmp_path / "x", "--format", "json")
    assert outcome.code == 4
    validator("package").validate(outcome.json())
    assert outcome.json()["error"]["line"] == (3 if content else None)
    broken = {key: value for key, value in outcome.json().items() if key != "error"}
    assert not validator("package").is_valid(broken)
