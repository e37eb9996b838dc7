"""Reports for machines and people: the shape that their readers want, and hostile texts kept harmless."""

from __future__ import annotations

import dataclasses
import datetime
import html.parser
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.surface.findings_reference import PATH, updated
from tests.unit.sign.test_report import SIGNATURE, TIME
from vnedoc import messages
from vnedoc._internal.xml import parse_bytes
from vnedoc.sign.checks import CHECKS
from vnedoc.sign.policy import PolicyCheck
from vnedoc.sign.report import (
    Basis,
    CertificateSummary,
    CheckResult,
    Conclusion,
    FileReport,
    Finding,
    SenderMatch,
    SenderReport,
    SignatureReport,
    VerificationReport,
)
from vnedoc.sign.reports.html import render_html
from vnedoc.sign.reports.json import render_json
from vnedoc.sign.reports.junit import render_junit
from vnedoc.sign.reports.pictures import Added, PagePicture
from vnedoc.sign.reports.sarif import render_sarif
from vnedoc.sign.reports.text import render_text

SARIF_SCHEMA = json.loads(
    (Path(__file__).parents[2] / "vectors/sarif/sarif-2.1.0-rtm.5.json").read_text(encoding="utf-8")
)
HOSTILE = "</style><script>alert(1)</script> ]]> \x1b[31m\u202e\ufffe\x00 \"'&lt;<img src=x onerror=y>"
PNG = b"\x89PNG\r\n\x1a\n"
BASIS = Basis(
    at=TIME, policy="vn-issued", trees=("vn-government",), anchors=("ab" * 32,), online=False, version="0"
)


def report_of(*files: FileReport) -> VerificationReport:
    return VerificationReport(files, BASIS)


def passed(path: str = "good.pdf") -> FileReport:
    check = CheckResult("pss-used", "inform", None, Finding("policy.not-pss-used"))
    sender = SenderReport("H99", SenderMatch.NAMED, agency="SỞ TEST", day=datetime.date(2026, 1, 5))
    return FileReport(
        path,
        Conclusion.TOTAL_PASSED,
        True,
        sender,
        (SIGNATURE,),
        warnings=(Finding("verify.unreachable-signature"),),
        sha256="cd" * 32,
        policy="vn-issued",
        checks=(check,),
    )


def failed(path: str = "bad.pdf", *, in_baseline: bool = False) -> FileReport:
    signature = dataclasses.replace(
        SIGNATURE,
        conclusion=Conclusion.TOTAL_FAILED,
        sub_indication="HASH_FAILURE",
        errors=(Finding("verify.hash-failure"),),
        warnings=(Finding("verify.time-only-claimed"),),
    )
    return FileReport(
        path,
        Conclusion.TOTAL_FAILED,
        True,
        None,
        (signature,),
        errors=(Finding("policy.not-person-signed"),),
        sha256="ef" * 32,
        in_baseline=in_baseline,
    )


def plain(conclusion: Conclusion, path: str = "other.pdf") -> FileReport:
    return FileReport(path, conclusion, True, None, (), errors=(Finding("verify.not-a-pdf"),))


def hostile() -> FileReport:
    signer = CertificateSummary(HOSTILE, HOSTILE, (HOSTILE,), HOSTILE, "1f", HOSTILE, HOSTILE, HOSTILE)
    signature = dataclasses.replace(
        SIGNATURE,
        field=HOSTILE,
        signer=signer,
        trust_anchor=HOSTILE,
        subfilter=HOSTILE,
        conclusion=Conclusion.INDETERMINATE,
        errors=(Finding("verify.unsupported-kind", {"kind": HOSTILE}),),
    )
    return FileReport(
        HOSTILE,
        Conclusion.INDETERMINATE,
        False,
        SenderReport(HOSTILE, SenderMatch.NONE, agency=HOSTILE),
        (signature,),
        errors=(Finding("verify.first-reader", {"reason": HOSTILE}),),
        sha256="ab" * 32,
    )


EVERYTHING = report_of(
    passed(),
    failed(),
    failed("known.pdf", in_baseline=True),
    plain(Conclusion.INDETERMINATE),
    plain(Conclusion.NO_SIGNATURE),
    plain(Conclusion.UNREADABLE),
    hostile(),
)
LANGUAGES = pytest.mark.parametrize("language", list(messages.Language))


# What junit-10.xsd of Jenkins' xUnit plugin allows: required attributes, other attributes, children. GitLab reads of
# these: classname, name, time, failure, error, skipped, system-out, system-err.
JUNIT = {
    "testsuites": ("", "name time tests failures errors", "testsuite"),
    "testsuite": (
        "name tests failures errors",
        "group time skipped timestamp hostname id package file log url",
        "testsuite properties testcase system-out system-err",
    ),
    "testcase": ("name", "time classname group", "skipped error failure system-out system-err"),
    "failure": ("", "type message", ""),
    "error": ("", "type message", ""),
    "skipped": ("", "type message", ""),
    "system-out": ("", "", ""),
}
SUREFIRE_TIME = re.compile(r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]*)?")


def check_junit(element) -> None:
    required, optional, children = (set(part.split()) for part in JUNIT[element.tag])
    assert required <= set(element.attrib) <= required | optional, element.tag
    assert SUREFIRE_TIME.fullmatch(element.get("time", "0"))
    for child in element:
        assert child.tag in children, (element.tag, child.tag)
        check_junit(child)


@LANGUAGES
def test_junit_has_one_case_a_file_with_its_outcome(language: str) -> None:
    timed = dataclasses.replace(EVERYTHING.files[0], seconds=1.25)
    text = render_junit(
        dataclasses.replace(EVERYTHING, files=(timed, *EVERYTHING.files[1:])), language=language
    )
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>')
    root = parse_bytes(text.encode())
    assert root.tag == "testsuites"
    (suite,) = root
    # What the readers of GitLab and Jenkins look at.
    assert suite.tag == "testsuite"
    wanted = {"tests": "7", "failures": "4", "errors": "1", "skipped": "1", "name": "vnedoc.verify"}
    assert {key: suite.get(key) for key in wanted} == wanted
    assert suite.get("timestamp") == "2026-01-05T03:04:05"
    outcomes = [next((child.tag for child in case), None) for case in suite]
    assert outcomes == ["system-out", "failure", "skipped", "failure", "failure", "error", "failure"]
    for case in suite:
        assert case.tag == "testcase"
        assert case.get("classname")
        assert case.get("name")
    assert [case.get("time") for case in suite][:2] == ["1.250", "0.000"]
    assert suite.get("time") == root.get("time") == "1.250"
    check_junit(root)
    problem = suite[1][0]
    assert problem.get("type") == "TOTAL-FAILED"
    assert problem.get("message", "").startswith("TOTAL-FAILED: ")
    assert Finding("verify.hash-failure").text(language) in (problem.text or "")


@LANGUAGES
def test_sarif_follows_its_schema(language: str) -> None:
    log = json.loads(render_sarif(EVERYTHING, language=language))
    jsonschema.Draft4Validator(SARIF_SCHEMA).validate(log)
    (run,) = log["runs"]
    assert log["version"] == "2.1.0"
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        rule = rules[result["ruleIndex"]]
        assert rule["id"] == result["ruleId"]
        assert rule["help"]["text"]
        assert "{" not in rule["shortDescription"]["text"]
    assert len({rule["id"] for rule in rules}) == len(rules)


def test_the_schema_test_can_fail() -> None:
    log = json.loads(render_sarif(EVERYTHING))
    log["runs"][0]["results"][0]["message"] = "TEST"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(SARIF_SCHEMA).validate(log)


def test_sarif_says_what_counts_and_where() -> None:
    log = json.loads(
        render_sarif(report_of(passed(), failed("a b/ọ.pdf"), failed("k.pdf", in_baseline=True)))
    )
    (run,) = log["runs"]
    found = [
        (item["ruleId"], item["level"], _uri(item), bool(item.get("suppressions"))) for item in run["results"]
    ]
    assert found == [
        ("verify.unreachable-signature", "warning", "good.pdf", False),
        ("policy.not-person-signed", "error", "a%20b/%E1%BB%8D.pdf", False),
        ("verify.hash-failure", "error", "a%20b/%E1%BB%8D.pdf", False),
        ("verify.time-only-claimed", "note", "a%20b/%E1%BB%8D.pdf", False),
        ("policy.not-person-signed", "error", "k.pdf", True),
        ("verify.hash-failure", "error", "k.pdf", True),
        ("verify.time-only-claimed", "note", "k.pdf", False),
    ]
    prints = [item["partialFingerprints"]["vnedocFinding/v1"] for item in run["results"]]
    assert len(set(prints)) == len(prints)
    assert run["invocations"] == [{"executionSuccessful": True, "exitCode": 1}]
    assert run["artifacts"][0]["hashes"] == {"sha-256": "cd" * 32}


def test_sarif_without_findings() -> None:
    quiet = dataclasses.replace(passed(), warnings=())
    log = json.loads(render_sarif(report_of(quiet)))
    jsonschema.Draft4Validator(SARIF_SCHEMA).validate(log)
    assert log["runs"][0]["results"] == []


def _uri(result: dict[str, Any]) -> str:
    return str(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"])


@LANGUAGES
def test_text_is_the_same_in_few_lines(language: str) -> None:
    text = render_text(EVERYTHING, language=language)
    for word in ("TOTAL-PASSED", "TOTAL-FAILED", "NO-SIGNATURE", "UNREADABLE", "INDETERMINATE"):
        assert word in text
    assert messages.text("baseline.known", language) in text
    assert messages.text("report.todo-no-signature", language) in text
    assert not {"\x1b", "\u202e", "\x00"} & set(text)


def test_json_tells_the_policy_its_checks_and_what_it_rests_on() -> None:
    table = json.loads(render_json(report_of(passed())))
    assert table["basis"] == {
        "at": "2026-01-05T03:04:05+00:00",
        "policy": "vn-issued",
        "trees": ["vn-government"],
        "anchors": ["ab" * 32],
        "online": False,
        "version": "0",
    }
    (file,) = table["files"]
    assert file["policy"] == "vn-issued"
    assert file["in_baseline"] is False
    (check,) = file["checks"]
    assert (check["id"], check["level"], check["holds"]) == ("pss-used", "inform", None)
    assert file["sender"]["day"] == "2026-01-05"
    assert file["sender"]["agency"] == "SỞ TEST"


class Page(html.parser.HTMLParser):
    """What a browser would make of a page: elements, attributes, text."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


@LANGUAGES
def test_html_stands_alone_and_cannot_be_broken_into(language: str) -> None:
    picture = PagePicture(1, 595, 842, PNG, (Added(_box(), is_signed=False),))
    text = render_html(EVERYTHING, language=language, pictures={HOSTILE: (picture,), "good.pdf": (picture,)})
    page = Page(text)
    assert page.open == []
    names = {name for name, _ in page.elements}
    assert not names & {"script", "iframe", "object", "embed", "link", "base", "form", "svg"}
    for name, attributes in page.elements:
        assert not any(key.startswith("on") for key in attributes), name
        assert name != "img" or str(attributes["src"]).startswith("data:image/png;base64,")
        assert name != "a" or str(attributes["href"]).startswith("#file-")
    assert ("meta", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in {
        (name, attributes.get("content")) for name, attributes in page.elements
    }
    shown = "".join(page.words)
    assert "<script>alert(1)</script>" in shown
    assert not {"\x1b", "\u202e", "\x00", "\ufffe"} & set(text)
    assert "://" not in text.replace("http-equiv", "")


@LANGUAGES
def test_html_gives_each_verdict_in_one_line_and_says_what_to_do(language: str) -> None:
    page = Page(render_html(EVERYTHING, language=language))
    verdicts = [
        attributes["data-conclusion"]
        for _, attributes in page.elements
        if attributes.get("class") == "verdict"
    ]
    assert verdicts == [file.conclusion.value for file in EVERYTHING.files]
    shown = " ".join(page.words)
    for conclusion in ("total-passed", "total-failed", "indeterminate", "no-signature", "unreadable"):
        assert messages.text(f"report.todo-{conclusion}", language) in shown
    # That nobody signed validly goes without saying where the signature is broken.
    hint = messages.hint("policy.not-person-signed", language)
    assert hint is not None
    assert hint not in shown
    alone = dataclasses.replace(passed(), errors=(Finding("policy.not-person-signed"),))
    assert hint in " ".join(Page(render_html(report_of(alone), language=language)).words)
    # Who, for whom, issued by whom, when, on what ground.
    for word in ("SỞ TEST", "PHÒNG TEST", "UBND TEST", "CA TEST", "ROOT TEST", "05/01/2026 10:04:05 +07:00"):
        assert word in shown
    assert messages.text("report.match-named", language) in shown


def test_html_marks_signatures_and_what_came_later() -> None:
    picture = PagePicture(1, 600, 800, PNG, (Added(_box(), is_signed=False), Added(_box(), is_signed=True)))
    page = Page(render_html(report_of(passed()), pictures={"good.pdf": (picture,)}))
    marks = {str(a["class"]): a["style"] for _, a in page.elements if str(a.get("class")).startswith("box")}
    assert set(marks) == {"box own ok", "box added", "box covered"}
    # X,Y,W,H = 60,600,120,100 from the lower left corner of a page of 600 x 800.
    assert marks["box added"] == "left:10.00%;top:12.50%;width:20.00%;height:12.50%"


def _box() -> Any:  # a Box; the import is short here
    from vnedoc.sign.models import Box

    return Box(60, 600, 120, 100)


def test_own_words_of_a_policy_reach_every_report() -> None:
    from vnedoc.sign.checks import apply_checks
    from vnedoc.sign.policy import CheckLevel, Policy

    policy = Policy(checks=(PolicyCheck("person-signed", CheckLevel.FAIL, "Lời TEST.", "TEST words."),))
    report = report_of(apply_checks(dataclasses.replace(passed(), checks=()), policy))
    for render in (render_text, render_html, render_junit, render_sarif, render_json):
        assert "TEST words." in render(report, language="en")
        assert "Lời TEST." in render(report, language="vi")


@LANGUAGES
def test_json_follows_its_schema(language: str) -> None:
    text = (resources.files("vnedoc.sign.reports") / "verification.schema.json").read_text(encoding="utf-8")
    schema = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(schema)
    checker = jsonschema.Draft202012Validator(schema)
    table = json.loads(render_json(EVERYTHING, language=language))
    checker.validate(table)
    # Every field of the model is described, and described fields are there.
    described = schema["$defs"]
    assert set(described["file"]["properties"]) == set(table["files"][0])
    assert set(described["signature"]["properties"]) == set(table["files"][0]["signatures"][0])
    assert set(described["sender"]["properties"]) == set(table["files"][0]["sender"])
    assert set(schema["properties"]["basis"]["properties"]) == set(table["basis"])
    table["files"][0]["conclusion"] = "PERHAPS"
    with pytest.raises(jsonschema.ValidationError):
        checker.validate(table)


def test_the_reference_lists_every_finding_and_field() -> None:
    page = PATH.read_text(encoding="utf-8")
    assert page == updated(page), "run `make docs`"
    for kind in (FileReport, SignatureReport, SenderReport, CertificateSummary, Basis):
        for field in dataclasses.fields(kind):
            if field.metadata.get("written", True):
                assert f"`{field.name}`" in page, field.name


@LANGUAGES
def test_every_check_has_a_name_for_people(language: str) -> None:
    for check in CHECKS:
        assert messages.text(f"policy.check-{check}", language)
        assert messages.text(f"policy.not-{check}", language)


def test_files_of_one_name_are_told_apart_by_their_folders() -> None:
    one = EVERYTHING.files[0]
    paths = ("a/2026/quyet-dinh.pdf", "b/2026/quyet-dinh.pdf", "b/to-trinh.pdf", "b\\to-trinh.pdf")
    report = VerificationReport(tuple(dataclasses.replace(one, path=path) for path in paths))
    page = render_html(report)
    assert ">a/2026/quyet-dinh.pdf</a>" in page
    assert ">b/2026/quyet-dinh.pdf</a>" in page
    assert ">b/to-trinh.pdf</a>" in page
