"""Any file ends in a verdict, in bounded time and memory; in a process of its own even where a library does not."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import pytest

from tests import hostile_pdfs
from tests.vectors import forging, identities, make_attacks
from vnedoc.errors import UsageError
from vnedoc.sign import isolation
from vnedoc.sign.isolation import time_limit, verify_in_process
from vnedoc.sign.policy import Policy, RevocationRule
from vnedoc.sign.report import Conclusion
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf

if TYPE_CHECKING:
    from pathlib import Path

    from vnedoc.sign.report import FileReport

POLICY = Policy(revocation=RevocationRule.WHEN_AVAILABLE)
AT = datetime.datetime.fromisoformat(make_attacks.VALIDATION_TIME)
GIVEN_UP = {"verify.worker-slow", "verify.worker-memory", "verify.worker-died", "verify.worker-bug"}


@pytest.fixture(scope="module")
def trust() -> TrustStore:
    return TrustStore.from_certificates([identities.ROOT.certificate])


def isolated(path: Path, trust: TrustStore, **options: float | int) -> FileReport:
    (report,) = verify_in_process(path, trust=trust, policy=POLICY, at=AT, **options).files
    return report


@pytest.mark.parametrize("name", hostile_pdfs.HOSTILE)
def test_a_verdict_within_ten_seconds_a_megabyte_and_512_mib(
    name: str, trust: TrustStore, tmp_path: Path
) -> None:
    path = tmp_path / "hostile.pdf"
    path.write_bytes(hostile_pdfs.HOSTILE[name]())
    report = isolated(path, trust)
    # The limits are those of the process; a verdict of its own shows that they were not reached.
    assert not {error.id for error in report.errors} & GIVEN_UP
    if report.conclusion is not Conclusion.TOTAL_PASSED:
        assert report.all_errors()


@pytest.mark.parametrize(
    ("name", "finding"),
    [
        ("content-bomb", "verify.not-compared"),
        ("forms-that-multiply", "verify.not-compared"),
        ("huge-picture", "verify.not-compared"),
        ("object-stream-bomb", "verify.too-costly"),
        ("many-revisions", "verify.changes-unknown"),
        ("many-signatures", "verify.too-many-signatures"),
        ("deep-page-tree", "verify.second-reader"),
        ("startxref-loop", "verify.first-reader"),
        ("metadata-bomb", "verify.content-changed"),
    ],
)
def test_the_caller_s_own_process_is_bounded_too(name: str, finding: str, trust: TrustStore) -> None:
    (report,) = verify_pdf(hostile_pdfs.HOSTILE[name](), trust=trust, policy=POLICY, at=AT).files
    assert finding in {error.id for error in report.all_errors()}
    assert report.conclusion is not Conclusion.TOTAL_PASSED


def test_a_good_file_passes_in_a_process_of_its_own(trust: TrustStore, tmp_path: Path) -> None:
    path = tmp_path / "good.pdf"
    path.write_bytes(forging.signed_once())
    report = isolated(path, trust)
    assert report.conclusion is Conclusion.TOTAL_PASSED
    (same,) = verify_pdf(path, trust=trust, policy=POLICY, at=AT).files
    assert report == same


@pytest.mark.parametrize(
    ("options", "finding"),
    [
        ({"time_limit_s": 0.05}, "verify.worker-slow"),
        ({"memory_limit_bytes": 1024 * 1024}, "verify.worker-memory"),
    ],
)
def test_what_reaches_a_limit_gets_a_verdict(
    options: dict[str, float],
    finding: str,
    trust: TrustStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from vnedoc._internal import workers

    # The time that Python takes to start does not count; here nothing else is left.
    monkeypatch.setattr(workers, "START_LIMIT_S", 0.05)
    path = tmp_path / "large.pdf"
    path.write_bytes(hostile_pdfs.many_objects(20_000))
    if "memory_limit_bytes" in options:
        monkeypatch.setattr(workers, "START_LIMIT_S", 120.0)
    report = isolated(path, trust, **options)
    assert report.conclusion is Conclusion.INDETERMINATE
    assert {error.id for error in report.errors} == {finding}


@pytest.mark.parametrize("options", [{"time_limit_s": 0}, {"memory_limit_bytes": 0}, {"time_limit_s": -1.0}])
def test_a_limit_must_be_a_limit(options: dict[str, float], trust: TrustStore, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        isolated(tmp_path / "any.pdf", trust, **options)


def test_a_file_that_is_not_there(trust: TrustStore, tmp_path: Path) -> None:
    report = isolated(tmp_path / "gone.pdf", trust)
    assert report.conclusion is Conclusion.UNREADABLE


@pytest.mark.parametrize(("size", "seconds"), [(0, 10.0), (1, 10.0), (1_000_000, 10.0), (1_000_001, 20.0)])
def test_the_time_limit(size: int, seconds: float, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\0" * size)
    assert time_limit(path) == seconds == isolation.SECONDS_PER_MB * max(-(-size // 1_000_000), 1)
