"""A verification report as SARIF 2.1.0 (OASIS Standard, 27 March 2020), for code scanning and build servers.

Each error and warning is a result; its rule is the id of the message. Findings in the baseline are marked as
suppressed, so that they are kept and do not count.
"""

from __future__ import annotations

import hashlib
import json
import re
import string
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from vnedoc import messages
from vnedoc._internal.version import VERSION
from vnedoc.sign.reports.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnedoc.sign.report import FileReport, Finding, VerificationReport

__all__ = ["render_sarif"]

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_Object = dict[str, Any]  # JSON


def render_sarif(
    report: VerificationReport, *, language: messages.Language | str = messages.Language.EN
) -> str:
    """Return a report as SARIF."""
    found = [item for file in report.files for item in _findings(file)]
    rule_ids = list(dict.fromkeys(finding.id for _, _, finding, _ in found))
    run: _Object = {
        "tool": {
            "driver": {
                "name": "vnedoc",
                "version": VERSION,
                "rules": [_rule(rule_id, language) for rule_id in rule_ids],
            }
        },
        "language": "vi-VN" if messages.Language(language) is messages.Language.VI else "en-US",
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": True, "exitCode": int(report.exit_code)}],
        "artifacts": [_artifact(file) for file in report.files],
        "results": [
            _result(file, field, finding, level, rule_ids.index(finding.id), language)
            for file, field, finding, level in found
        ],
    }
    if report.basis is not None:
        run["properties"] = {
            "policy": report.basis.policy,
            "trees": list(report.basis.trees),
            "at": report.basis.at.isoformat(),
        }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, ensure_ascii=False, indent=2) + "\n"


def _findings(file: FileReport) -> Iterator[tuple[FileReport, str, Finding, str]]:
    for finding in file.errors:
        yield file, "", finding, "error"
    for finding in file.warnings:
        yield file, "", finding, "warning"
    for signature in file.signatures:
        for finding in signature.errors:
            yield file, signature.field, finding, "error"
        for finding in signature.warnings:
            yield file, signature.field, finding, "note"


def _rule(rule_id: str, language: messages.Language | str) -> _Object:
    rule: _Object = {"id": rule_id, "name": _name(rule_id)}
    try:
        area, _, name = rule_id.partition(".")
        entry = messages.load_area(area)[name]
        word = messages.Language(language).value
        values = _Placeholders()
        hint = entry.get(f"hint_{word}")
        rule["shortDescription"] = {"text": entry[word].format_map(values)}
        rule["help"] = {
            "text": hint.format_map(values)
            if hint
            else messages.text("report.rule-help", language, id=rule_id)
        }
    except (KeyError, OSError):
        # The words of a policy file stand in the result.
        rule["shortDescription"] = {"text": rule_id}
        rule["help"] = {"text": messages.text("report.rule-help", language, id=rule_id)}
    rule["fullDescription"] = rule["shortDescription"]
    rule["defaultConfiguration"] = {"level": "error"}
    return rule


class _Placeholders(dict[str, str]):
    """Stands for values that are only known in a result."""

    def __missing__(self, key: str) -> str:
        return "…"


def _name(rule_id: str) -> str:
    # SARIF wants a readable name of one word (3.49.7).
    return "".join(string.capwords(part) for part in re.split(r"[.-]", rule_id))


def _artifact(file: FileReport) -> _Object:
    artifact: _Object = {"location": {"uri": _uri(file.path)}}
    if file.sha256 is not None:
        artifact["hashes"] = {"sha-256": file.sha256}
    artifact["properties"] = {"conclusion": file.conclusion.value}
    return artifact


def _result(
    file: FileReport,
    field: str,
    finding: Finding,
    level: str,
    rule_index: int,
    language: messages.Language | str,
) -> _Object:
    text = printable(finding.text(language))
    where: _Object = {
        # A PDF has no lines; code scanning services insist on one.
        "physicalLocation": {"artifactLocation": {"uri": _uri(file.path)}, "region": {"startLine": 1}}
    }
    if field:
        where["logicalLocations"] = [{"name": printable(field), "kind": "member"}]
    result: _Object = {
        "ruleId": finding.id,
        "ruleIndex": rule_index,
        "level": level,
        "message": {"text": f"{printable(field)}: {text}" if field else text},
        "locations": [where],
        "partialFingerprints": {"vnedocFinding/v1": _print(file.path, field, finding.id)},
        "properties": {"conclusion": file.conclusion.value},
    }
    if file.in_baseline and level == "error":
        result["suppressions"] = [
            {"kind": "external", "justification": messages.text("baseline.known", language)}
        ]
    return result


def _print(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _uri(path: str) -> str:
    """Return a path as a relative or file URI (3.4.3); names of files may hold anything."""
    plain = path.replace("\\", "/")
    quoted = quote(plain.encode("utf-8", "surrogateescape"), safe="/")
    return f"file://{quoted}" if plain.startswith("/") else quoted
