"""Policies as files, the checks they ask for, and what was good once."""

from __future__ import annotations

import dataclasses
import datetime
import re
from pathlib import Path

import pytest

from tests.unit.sign.test_report import SIGNATURE
from vnedoc import messages
from vnedoc.errors import ConfigurationError
from vnedoc.sign.checks import CHECKS, apply_checks
from vnedoc.sign.models import SignatureLevel
from vnedoc.sign.policies import SHIPPED, load_policy, parse_policy
from vnedoc.sign.policy import AcceptedUntil, CheckLevel, Policy, PolicyCheck, RevocationRule
from vnedoc.sign.report import (
    Conclusion,
    Coverage,
    FileReport,
    Finding,
    SenderMatch,
    SignatureReport,
    SignerRole,
)

DOCS = Path(__file__).parents[3] / "docs" / "reference" / "policies.md"
UTC = datetime.UTC
PASSED, FAILED, UNSURE = Conclusion.TOTAL_PASSED, Conclusion.TOTAL_FAILED, Conclusion.INDETERMINATE
PERSON = dataclasses.replace(
    SIGNATURE, role=SignerRole.PERSON, signer=dataclasses.replace(SIGNATURE.signer, common_name="NGƯỜI TEST")
)
AGENCY = SIGNATURE
UNKNOWN = dataclasses.replace(SIGNATURE, role=SignerRole.UNKNOWN)


def parse(text: str) -> Policy:
    return parse_policy(f'schema = "vnedoc.policy/1"\nname = "test"\n{text}'.encode(), name="TEST.toml")


def file_of(*signatures: SignatureReport, warnings: tuple[Finding, ...] = ()) -> FileReport:
    gravest = next(
        (kind for kind in (FAILED, UNSURE) if kind in {item.conclusion for item in signatures}), PASSED
    )
    return FileReport("a.pdf", gravest, True, None, signatures, warnings=warnings)


def as_(signature: SignatureReport, conclusion: Conclusion) -> SignatureReport:
    return dataclasses.replace(signature, conclusion=conclusion)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_policies_can_be_read_and_say_what_they_are(name: str) -> None:
    policy = load_policy(f"shipped:{name}")
    assert policy.name == name
    assert policy.revocation is RevocationRule.REQUIRE
    assert policy.key_usage == {"non_repudiation"}
    assert policy.weak_digests >= {"md5", "sha1"}
    assert policy.min_rsa_bits == 2048


def test_an_original_needs_person_and_agency_and_a_copy_only_the_agency() -> None:
    def failing(name: str) -> set[str]:
        return {check.id for check in load_policy(f"shipped:{name}").checks if check.level is CheckLevel.FAIL}

    assert {"person-signed", "agency-signed", "agency-last"} <= failing("vn-issued")
    assert "agency-signed" in failing("vn-copy")
    assert "person-signed" not in failing("vn-copy")
    assert not failing("any")


def test_everything_that_a_policy_can_say(tmp_path: Path) -> None:
    path = tmp_path / "our.toml"
    path.write_text(
        """
schema = "vnedoc.policy/1"
name = "our-office"
vi = "TEST"
en = "TEST"

[demands]
revocation = "when-available"
key_usage = ["digital_signature", "non_repudiation"]
sender_match = "coded"
level = "PAdES-B-LT"
refused_digests = ["sha224"]
min_rsa_bits = 3072
min_ec_bits = 384
time_tolerance_s = 60

[[accepted_until]]
digest = "sha1"
until = 2019-12-31

[checks.agency-signed]
level = "fail"
vi = "Chưa có chữ ký TEST."
en = "No TEST signature."
""",
        encoding="utf-8",
    )
    policy = load_policy(path)
    assert policy.revocation is RevocationRule.WHEN_AVAILABLE
    assert policy.sender_match is SenderMatch.CODED
    assert policy.level is SignatureLevel.B_LT
    assert policy.weak_digests == {"md2", "md5", "sha1", "sha224"}
    assert (policy.min_rsa_bits, policy.min_ec_bits) == (3072, 384)
    assert policy.time_tolerance == datetime.timedelta(minutes=1)
    assert policy.dated == (AcceptedUntil("sha1", datetime.date(2019, 12, 31)),)
    # Its own words under the stable id.
    (error,) = apply_checks(file_of(PERSON), policy).errors
    assert error.id == "policy.not-agency-signed"
    assert (error.text("vi"), error.text("en")) == ("Chưa có chữ ký TEST.", "No TEST signature.")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("colour = 1", "policy.unknown-key"),
        ("[demands]\ncolour = 1", "policy.unknown-key"),
        ("[checks]\nnobody = { level = 'fail' }", "policy.unknown-check"),
        ("[checks]\nagency-signed = { level = 'fail', text = 'x' }", "policy.unknown-key"),
        ("[checks]\nagency-signed = {}", "policy.missing-key"),
        ("[checks]\nagency-signed = 'fail'", "policy.bad-value"),
        ("[checks]\nagency-signed = { level = 'shout' }", "policy.bad-value"),
        ("[checks]\nagency-signed = { level = 'fail', vi = 'x' }", "policy.one-language"),
        ("[checks]\nagency-signed = { level = 'fail', vi = '', en = '' }", "policy.bad-value"),
        ("[demands]\nrevocation = 'never'", "policy.bad-value"),
        ("[demands]\nrevocation = 1", "policy.bad-value"),
        ("[demands]\nsender_match = 'none'", "policy.bad-value"),
        ("[demands]\nkey_usage = []", "policy.bad-value"),
        ("[demands]\nkey_usage = ['anything']", "policy.bad-value"),
        ("[demands]\nlevel = 'PAdES-B-X'", "policy.bad-value"),
        ("[demands]\nmin_rsa_bits = 512", "policy.bad-value"),
        ("[demands]\nmin_rsa_bits = true", "policy.bad-value"),
        ("[demands]\nmin_ec_bits = 100", "policy.bad-value"),
        ("[demands]\nrefused_digests = ['rot13']", "policy.bad-value"),
        ("[demands]\ntime_tolerance_s = -1", "policy.bad-value"),
        ("demands = 1", "policy.bad-value"),
        ("accepted_until = 1", "policy.bad-value"),
        ("[[accepted_until]]\ndigest = 'rot13'\nuntil = 2019-12-31", "policy.bad-value"),
        ("[[accepted_until]]\ndigest = 'sha1'", "policy.bad-value"),
        ("[[accepted_until]]\ndigest = 'sha1'\nuntil = 2019-12-31T00:00:00Z", "policy.bad-value"),
        ("[[accepted_until]]\ndigest = 'sha1'\nuntil = 2019-12-31\nanchors = ['AB']", "policy.bad-value"),
        ("[[accepted_until]]\ndigest = 'sha1'\nuntil = 2019-12-31\nwhy = ''", "policy.unknown-key"),
        ("= 1", "policy.not-toml"),
    ],
)
def test_what_nothing_knows_or_means_nothing_is_refused(text: str, code: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    assert caught.value.code == code
    assert "TEST.toml" in caught.value.text("vi")
    assert "TEST.toml" in caught.value.text("en")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b'name = "test"', "policy.bad-schema"),
        (b'schema = "vnedoc.policy/2"\nname = "test"', "policy.bad-schema"),
        (b'schema = "vnedoc.policy/1"', "policy.bad-value"),
        (b'schema = "vnedoc.policy/1"\nname = "No Name"', "policy.bad-value"),
        (b'schema = "vnedoc.policy/1"\nname = "test"\nvi = 1', "policy.bad-value"),
        (b"\xff\xfe", "policy.not-toml"),
    ],
)
def test_what_is_no_policy_at_all(content: bytes, code: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_policy(content, name="TEST.toml")
    assert caught.value.code == code


def test_a_policy_that_is_not_there(tmp_path: Path) -> None:
    for source, code in (
        ("shipped:none", "policy.unknown-shipped"),
        ("shipped:../any", "policy.unknown-shipped"),
        (tmp_path / "nowhere.toml", "policy.unreadable"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            load_policy(source)
        assert caught.value.code == code
        assert caught.value.text("vi")


@pytest.mark.parametrize(
    ("check", "report", "holds"),
    [
        ("person-signed", file_of(PERSON), True),
        ("person-signed", file_of(AGENCY), False),
        ("person-signed", file_of(as_(PERSON, FAILED)), False),
        ("person-signed", file_of(as_(PERSON, UNSURE), AGENCY), None),
        ("person-signed", file_of(UNKNOWN, AGENCY), None),
        ("agency-signed", file_of(PERSON, AGENCY), True),
        ("agency-signed", file_of(PERSON), False),
        ("agency-signed", file_of(PERSON, as_(AGENCY, UNSURE)), None),
        ("agency-last", file_of(PERSON, AGENCY), True),
        ("agency-last", file_of(AGENCY, PERSON), False),
        ("agency-last", file_of(PERSON, AGENCY, PERSON), False),
        ("agency-last", file_of(AGENCY, PERSON, AGENCY), True),
        ("agency-last", file_of(PERSON, AGENCY, UNKNOWN), None),
        ("agency-last", file_of(PERSON), None),
        ("only-agency", file_of(AGENCY), True),
        ("only-agency", file_of(PERSON, AGENCY), False),
        ("only-agency", file_of(UNKNOWN, AGENCY), None),
        ("all-signatures-listed", file_of(AGENCY), True),
        (
            "all-signatures-listed",
            file_of(AGENCY, warnings=(Finding("verify.signature-not-in-form"),)),
            False,
        ),
        ("covers-whole-file", file_of(AGENCY), True),
        (
            "covers-whole-file",
            file_of(AGENCY, dataclasses.replace(AGENCY, covers=Coverage.REVISION)),
            False,
        ),
        ("government-tree", file_of(AGENCY), None),
        ("government-tree", file_of(dataclasses.replace(AGENCY, trust_tree="vn-government")), True),
        (
            "government-tree",
            file_of(dataclasses.replace(AGENCY, trust_tree="vn-national"), AGENCY),
            False,
        ),
        ("time-proven", file_of(AGENCY), True),
        ("time-proven", file_of(dataclasses.replace(AGENCY, best_signature_time=None)), False),
        ("certificate-named", file_of(AGENCY), True),
        (
            "certificate-named",
            file_of(dataclasses.replace(AGENCY, warnings=(Finding("verify.no-certificate-reference"),))),
            False,
        ),
        ("person-in-agency", file_of(PERSON, AGENCY), True),
        ("person-in-agency", file_of(PERSON), None),
        (
            "person-in-agency",
            file_of(
                dataclasses.replace(
                    PERSON, signer=dataclasses.replace(PERSON.signer, organization="SỞ KHÁC", units=())
                ),
                AGENCY,
            ),
            False,
        ),
        ("shown-on-page", file_of(AGENCY), True),
        ("shown-on-page", file_of(dataclasses.replace(AGENCY, box=None)), False),
        ("pss-used", file_of(AGENCY), True),
        ("pss-used", file_of(dataclasses.replace(AGENCY, signature_algorithm="rsassa_pkcs1v15")), False),
        ("level-reached", file_of(AGENCY), None),
    ],
)
def test_what_each_check_says(check: str, report: FileReport, holds: bool | None) -> None:
    assert CHECKS[check](report, Policy()) is holds


@pytest.mark.parametrize(
    ("level", "there", "holds"),
    [
        (SignatureLevel.B_B, "PAdES-B-B", True),
        (SignatureLevel.B_T, "PAdES-B-B", False),
        (SignatureLevel.B_T, "PAdES-B-T", True),
        (SignatureLevel.B_T, "PAdES-B-LTA", True),
        (SignatureLevel.B_LT, "PKCS7-LT", False),
        (SignatureLevel.B_B, "PKCS7", False),
    ],
)
def test_levels(level: SignatureLevel, there: str, holds: bool) -> None:
    report = file_of(dataclasses.replace(AGENCY, level=there))
    assert CHECKS["level-reached"](report, Policy(level=level)) is holds


@pytest.mark.parametrize(
    ("level", "signatures", "conclusion", "errors", "warnings"),
    [
        ("fail", (PERSON,), FAILED, ["policy.not-agency-signed"], []),
        ("warn", (PERSON,), PASSED, [], ["policy.not-agency-signed"]),
        ("inform", (PERSON,), PASSED, [], []),
        ("fail", (PERSON, AGENCY), PASSED, [], []),
        # Sound, but nobody knows whose: not passed, not failed.
        ("fail", (PERSON, UNKNOWN), UNSURE, ["policy.undecided"], []),
        # What else is wrong says it already.
        ("fail", (PERSON, as_(AGENCY, UNSURE)), UNSURE, [], []),
    ],
)
def test_what_follows_from_a_check(
    level: str,
    signatures: tuple[SignatureReport, ...],
    conclusion: Conclusion,
    errors: list[str],
    warnings: list[str],
) -> None:
    policy = Policy(name="test", checks=(PolicyCheck("agency-signed", CheckLevel(level)),))
    report = apply_checks(file_of(*signatures), policy)
    assert report.conclusion is conclusion
    assert [item.id for item in report.errors] == errors
    assert [item.id for item in report.warnings] == warnings
    assert report.policy == "test"
    assert [result.level for result in report.checks] == [level]
    assert all(item.text(language) for item in report.errors for language in messages.Language)


def test_an_ignored_check_is_not_even_listed() -> None:
    policy = Policy(checks=(PolicyCheck("agency-signed", CheckLevel.IGNORE),))
    assert apply_checks(file_of(PERSON), policy).checks == ()


@pytest.mark.parametrize("conclusion", [Conclusion.NO_SIGNATURE, Conclusion.UNREADABLE])
def test_a_file_without_anything_to_look_at_keeps_its_verdict(conclusion: Conclusion) -> None:
    report = FileReport("a.pdf", conclusion, True, None, ())
    judged = apply_checks(report, load_policy("shipped:vn-issued"))
    assert (judged.conclusion, judged.checks, judged.errors) == (conclusion, (), ())


def test_no_check_makes_a_bad_signature_good() -> None:
    for name in SHIPPED:
        policy = load_policy(f"shipped:{name}")
        for conclusion in (FAILED, UNSURE):
            report = apply_checks(file_of(PERSON, as_(AGENCY, conclusion)), policy)
            assert report.conclusion is not PASSED


def test_what_was_good_once() -> None:
    last_day = datetime.date(2019, 12, 31)
    everywhere = Policy(dated=(AcceptedUntil("sha1", last_day),))
    below = Policy(dated=(AcceptedUntil("sha1", last_day, frozenset({"ab"})),))
    before = datetime.datetime(2019, 12, 31, 23, 59, tzinfo=UTC)
    after = datetime.datetime(2020, 1, 1, 0, 0, tzinfo=UTC)
    assert everywhere.accepts_digest("sha1", before)
    assert not everywhere.accepts_digest("sha1", after)
    assert below.accepts_digest("sha1", before, anchor="ab")
    assert not below.accepts_digest("sha1", after, anchor="ab")
    # Another anchor's chain, or the document itself.
    assert not below.accepts_digest("sha1", before, anchor="cd")
    assert not below.accepts_digest("sha1", before)
    assert not below.accepts_digest("md5", before, anchor="ab")
    assert below.accepts_digest("sha256", after, anchor="ab")
    # The day is one of UTC, whatever zone the time is written in.
    vietnam = datetime.timezone(datetime.timedelta(hours=7))
    assert below.accepts_digest("sha1", datetime.datetime(2020, 1, 1, 6, tzinfo=vietnam), anchor="ab")
    # What is no weak algorithm can be retired the same way.
    retired = Policy(dated=(AcceptedUntil("sha224", datetime.date(2025, 8, 14)),))
    assert retired.accepts_digest("sha224", before)
    assert not retired.accepts_digest("sha224", datetime.datetime(2025, 8, 15, tzinfo=UTC))
    assert below.holds_until("cd") is None
    assert below.holds_until("ab") is not None


def test_the_reference_lists_every_check_and_policy() -> None:
    text = DOCS.read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE)
    assert [name for name in listed if name in CHECKS] == list(CHECKS)
    for name in SHIPPED:
        assert f"`shipped:{name}`" in text
    for check in CHECKS:
        about = messages.text(f"policy.check-{check}", "en")
        assert f"| `{check}` | {about}" in text
        # The table says which policy has the check at which level.
        row = next(line for line in text.splitlines() if line.startswith(f"| `{check}` |"))
        levels = [cell.strip() for cell in row.split("|")[3:7]]
        for name, level in zip(SHIPPED, levels, strict=True):
            found = {item.id: item.level.value for item in load_policy(f"shipped:{name}").checks}
            assert found.get(check, "–") == level, (check, name)
