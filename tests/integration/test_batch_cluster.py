"""A batch on a cluster of Dask: the same call, with the executor that Dask's client gives."""

import dataclasses
import os
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import pytest

from vnedoc.errors import CredentialError, ExitCode, UsageError
from vnedoc.sign.batch import JobState, SignerAccess, SigningJob, gravest_code, sign_many
from vnedoc.sign.models import Role
from vnedoc.sign.roles import SigningOptions
from vnedoc.sign.signers.base import Signer
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf
from vnedoc.testing import documents
from vnedoc.testing.pki import TestPKI

pytest.importorskip("distributed", reason="needs distributed (extra cluster)")
INVISIBLE = SigningOptions(role=Role.INVISIBLE)
LETTER = documents.document_bytes(documents.LETTER)
PASSPHRASE = "mật khẩu TEST"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Executor]:
    """Two worker processes on loopback, each with two threads."""
    import dask
    from distributed import Client, LocalCluster

    with (
        # A job whose worker dies is not given to the next one: it may have been the key.
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=2,
            host="127.0.0.1",
            dashboard_address=None,
            worker_dashboard_address=None,
            silence_logs=50,
        ) as workers,
        Client(workers) as client,
    ):
        yield client.get_executor()


@pytest.fixture
def jobs(tmp_path: Path) -> list[SigningJob]:
    (tmp_path / "out").mkdir()
    made = []
    for number in range(5):
        source = tmp_path / f"văn bản {number}.pdf"
        source.write_bytes(LETTER)
        made.append(SigningJob(source, tmp_path / "out" / source.name))
    return made


@pytest.fixture
def access(tmp_path: Path, pki: TestPKI) -> SignerAccess:
    path = tmp_path / "leader.p12"
    path.write_bytes(pki.leader.pkcs12(PASSPHRASE))
    return SignerAccess(f"pkcs12:{path}", {str(path): PASSPHRASE})


def test_a_cluster_signs_what_a_process_signs(
    cluster: Executor, access: SignerAccess, jobs: list[SigningJob], pki: TestPKI
) -> None:
    jobs[2].source.write_bytes(b"no PDF")
    trust = TrustStore.from_certificates(pki.ca_certificates)
    options = dataclasses.replace(INVISIBLE, trust=trust)
    outcomes = sign_many(jobs, options=options, signer_factory=access, executor=cluster)
    expected = [JobState.SIGNED, JobState.SIGNED, JobState.FAILED, JobState.SIGNED, JobState.SIGNED]
    assert [outcome.state for outcome in outcomes] == expected
    assert gravest_code(outcomes) is ExitCode.UNREADABLE
    for outcome in outcomes:
        if outcome.result is not None:
            (signature,) = verify_pdf(outcome.job.output, trust=trust).files[0].signatures
            assert signature.integrity
    again = sign_many(jobs, options=options, signer_factory=access, executor=cluster)
    assert [outcome.state for outcome in again].count(JobState.PRESENT) == 4


@dataclasses.dataclass
class _WrongPIN:
    tries: Path

    def __call__(self) -> Signer:
        with self.tries.open("a") as stream:
            stream.write("x")
        raise CredentialError("signer.wrong-passphrase", path="TEST")


def test_a_key_that_does_not_open_is_tried_once(
    cluster: Executor, tmp_path: Path, jobs: list[SigningJob]
) -> None:
    tries = tmp_path / "tries"
    outcomes = sign_many(jobs, options=INVISIBLE, signer_factory=_WrongPIN(tries), executor=cluster)
    assert [outcome.state for outcome in outcomes] == [JobState.FAILED] + [JobState.NOT_TRIED] * 4
    assert tries.read_text() == "x"


@dataclasses.dataclass
class _Dies:
    """A key whose worker is killed the first time it is opened."""

    mark: Path

    def __call__(self) -> Signer:
        self.mark.touch()
        os._exit(9)


def test_a_worker_that_dies_is_reported(cluster: Executor, tmp_path: Path, jobs: list[SigningJob]) -> None:
    mark = tmp_path / "opened"
    (outcome,) = sign_many(jobs[:1], options=INVISIBLE, signer_factory=_Dies(mark), executor=cluster)
    assert mark.exists()
    assert outcome.error is not None
    assert outcome.error.code == "batch.worker-died"
    assert not jobs[0].output.exists()


def test_what_cannot_be_sent_is_said(cluster: Executor, jobs: list[SigningJob]) -> None:
    with pytest.raises(UsageError) as caught:
        sign_many(jobs, options=INVISIBLE, signer_factory=lambda: None, executor=cluster)  # type: ignore[arg-type, return-value] # a mistake
    assert caught.value.code == "batch.cannot-send"
