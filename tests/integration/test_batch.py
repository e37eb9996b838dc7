"""Many documents with one key: a result for each, no document signed twice, no key tried again after it failed."""

import concurrent.futures
import dataclasses
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pikepdf
import pytest

from tests.token_fixtures import PIN, make_desk
from vnedoc.errors import CredentialError, ExitCode, RefusedError, UsageError, VnedocError
from vnedoc.sign.appearance import Picture
from vnedoc.sign.batch import (
    JobOutcome,
    JobState,
    SignerAccess,
    SigningJob,
    gravest_code,
    process_pool,
    sign_many,
)
from vnedoc.sign.models import Role, SignatureLevel
from vnedoc.sign.revocation import RevocationSource
from vnedoc.sign.roles import SigningOptions
from vnedoc.sign.signers import open_signer
from vnedoc.sign.signers.base import Signer
from vnedoc.sign.signers.pkcs12 import PKCS12Signer
from vnedoc.sign.timestamps import TimestampClient
from vnedoc.sign.trust import TrustStore
from vnedoc.sign.verification import verify_pdf
from vnedoc.testing import documents
from vnedoc.testing.pki import TestPKI

ROOT = Path(__file__).parents[2]
INVISIBLE = SigningOptions(role=Role.INVISIBLE)
LETTER = documents.document_bytes(documents.LETTER)
PASSPHRASE = "mật khẩu TEST"


@pytest.fixture
def jobs(tmp_path: Path) -> list[SigningJob]:
    """Four copies of the letter, and where their signed forms go."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    made = []
    for number in range(4):
        source = tmp_path / "in" / f"văn bản {number}.pdf"
        source.write_bytes(LETTER)
        made.append(SigningJob(source, tmp_path / "out" / source.name))
    return made


@pytest.fixture
def access(tmp_path: Path, pki: TestPKI) -> SignerAccess:
    """The leader's key for other processes."""
    path = tmp_path / "leader.p12"
    path.write_bytes(pki.leader.pkcs12(PASSPHRASE))
    return SignerAccess(f"pkcs12:{path}", {str(path): PASSPHRASE})


def _states(outcomes: list[JobOutcome]) -> list[JobState]:
    return [outcome.state for outcome in outcomes]


class _Counting(Signer):
    """A key that counts how often it was asked, and can fail at one of the times."""

    def __init__(self, signer: Signer, *, fails_at: int = 0, error: VnedocError | None = None) -> None:
        super().__init__(signer.certificate, signer.certificate_chain[1:], mechanism=signer.mechanism)
        self._inner = signer
        self._fails_at = fails_at
        self._error = error
        self.asked = 0

    def _sign(self, content: bytes, digest_algorithm: str) -> bytes:
        self.asked += 1
        if self._error is not None and self.asked >= self._fails_at:
            raise self._error
        return self._inner.sign(content, digest_algorithm=digest_algorithm)


class _Remote(_Counting):
    """A key that signs three at a time."""

    groups: tuple[int, ...] = ()

    @property
    def batch_size(self) -> int:
        return 3

    def _sign_many(self, contents: object, digest_algorithm: str) -> list[bytes]:
        assert isinstance(contents, list)
        self.groups += (len(contents),)
        return super()._sign_many(contents, digest_algorithm)


def test_every_document_is_signed_and_told_of(leader: PKCS12Signer, jobs: list[SigningJob]) -> None:
    told: list[JobOutcome] = []
    outcomes = sign_many(jobs, signer=leader, options=INVISIBLE, on_outcome=told.append)
    assert told == outcomes
    assert [outcome.job for outcome in outcomes] == jobs
    assert _states(outcomes) == [JobState.SIGNED] * 4
    assert gravest_code(outcomes) is ExitCode.DONE
    for outcome in outcomes:
        assert outcome.result is not None
        assert outcome.job.output.read_bytes().startswith(LETTER)


def test_what_fails_does_not_stop_the_rest(leader: PKCS12Signer, jobs: list[SigningJob]) -> None:
    jobs[1].source.write_bytes(b"no PDF")
    outcomes = sign_many(jobs, signer=leader, options=INVISIBLE)
    assert _states(outcomes) == [JobState.SIGNED, JobState.FAILED, JobState.SIGNED, JobState.SIGNED]
    assert outcomes[1].error is not None
    assert outcomes[1].error.code == "pdf.not-a-pdf"
    assert not jobs[1].output.exists()
    assert gravest_code(outcomes) is ExitCode.UNREADABLE


def test_a_key_that_fails_is_not_tried_again(leader: PKCS12Signer, jobs: list[SigningJob]) -> None:
    locked = CredentialError("signer.no-key", path="TEST")
    signer = _Counting(leader, fails_at=2, error=locked)
    outcomes = sign_many(jobs, signer=signer, options=INVISIBLE)
    assert _states(outcomes) == [JobState.SIGNED, JobState.FAILED, JobState.NOT_TRIED, JobState.NOT_TRIED]
    assert signer.asked == 2
    assert [outcome.error for outcome in outcomes[1:]] == [locked] * 3
    assert gravest_code(outcomes) is ExitCode.CONFIGURATION
    assert [job.output.exists() for job in jobs] == [True, False, False, False]


def test_a_key_that_does_not_match_its_certificate_stops_the_batch(
    leader: PKCS12Signer, clerk: PKCS12Signer, jobs: list[SigningJob]
) -> None:
    class Stranger(_Counting):
        def _sign(self, content: bytes, digest_algorithm: str) -> bytes:
            self.asked += 1
            return clerk.sign(content, digest_algorithm=digest_algorithm)

    signer = Stranger(leader)
    outcomes = sign_many(jobs, signer=signer, options=INVISIBLE)
    assert outcomes[0].error is not None
    assert outcomes[0].error.code == "signer.key-mismatch"
    assert signer.asked == 1
    assert not any(job.output.exists() for job in jobs)


def test_a_person_who_declines_one_document_is_asked_for_the_others(
    leader: PKCS12Signer, jobs: list[SigningJob]
) -> None:
    signer = _Counting(leader, fails_at=1, error=RefusedError("signer.no-key", path="TEST"))
    outcomes = sign_many(jobs, signer=signer, options=INVISIBLE)
    assert _states(outcomes) == [JobState.FAILED] * 4
    assert signer.asked == 4
    assert gravest_code(outcomes) is ExitCode.REFUSED


def test_a_batch_can_be_started_again(leader: PKCS12Signer, jobs: list[SigningJob]) -> None:
    assert _states(sign_many(jobs[:2], signer=leader, options=INVISIBLE)) == [JobState.SIGNED] * 2
    before = [job.output.read_bytes() for job in jobs[:2]]
    signer = _Counting(leader)
    outcomes = sign_many(jobs, signer=signer, options=INVISIBLE)
    assert _states(outcomes) == [JobState.PRESENT] * 2 + [JobState.SIGNED] * 2
    assert signer.asked == 2
    assert outcomes[0].field == "vnedoc-invisible-1"
    assert [job.output.read_bytes() for job in jobs[:2]] == before
    assert _states(sign_many(jobs, signer=leader, options=INVISIBLE, again=True)) == [JobState.SIGNED] * 4


def test_a_batch_in_place_can_be_started_again(leader: PKCS12Signer, jobs: list[SigningJob]) -> None:
    places = [SigningJob(job.source, job.source) for job in jobs]
    sign_many(places[:2], signer=leader, options=INVISIBLE)
    outcomes = sign_many(places, signer=leader, options=INVISIBLE)
    assert _states(outcomes) == [JobState.PRESENT] * 2 + [JobState.SIGNED] * 2
    assert all(job.source.read_bytes().count(b"/ByteRange") == 1 for job in jobs)


def _flipped_in_the_middle(content: bytes) -> bytes:
    middle = len(LETTER) + (len(content) - len(LETTER)) // 2
    digit = content[middle : middle + 1]
    return content[:middle] + (b"1" if digit != b"1" else b"2") + content[middle + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut short": lambda content: content[:-100],
    "something behind it": lambda content: content + b"\n% TEST\n",
    "one byte of the source": lambda content: content.replace(b"%PDF-1", b"%PDF-2", 1),
    "one byte of the signature dictionary": lambda content: content.replace(
        b"/Adobe.PPKLite", b"/Adobe.PPKLitf", 1
    ),
    "one byte of the signature": _flipped_in_the_middle,
    "the source itself": lambda _: LETTER,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_of_the_right_name_is_no_signature(
    leader: PKCS12Signer, jobs: list[SigningJob], damage: str
) -> None:
    (job, *_) = jobs
    sign_many([job], signer=leader, options=INVISIBLE)
    damaged = DAMAGES[damage](job.output.read_bytes())
    assert damaged != job.output.read_bytes()
    job.output.write_bytes(damaged)
    (outcome,) = sign_many([job], signer=leader, options=INVISIBLE)
    assert outcome.state is JobState.SIGNED
    assert job.output.read_bytes() != damaged


ENCRYPTIONS = {
    "RC4": pikepdf.Encryption(owner="TEST-owner", user="TEST-user", R=3, aes=False, metadata=False),
    "AES-256": pikepdf.Encryption(owner="chủ TEST", user="dùng TEST", R=6),
    "no password to read": pikepdf.Encryption(owner="TEST-owner", user="", R=6),
}
PASSWORDS = {"RC4": "TEST-owner", "AES-256": "chủ TEST", "no password to read": ""}


def _encrypted(name: str, **saving: object) -> bytes:
    target = io.BytesIO()
    with pikepdf.open(io.BytesIO(LETTER)) as pdf:
        pdf.save(target, encryption=ENCRYPTIONS[name], **saving)  # type: ignore[arg-type] # its options
    return target.getvalue()


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("name", ENCRYPTIONS)
def test_encrypted_documents_are_skipped_when_they_are_finished(
    leader: PKCS12Signer, jobs: list[SigningJob], name: str, streams: bool
) -> None:
    mode = pikepdf.ObjectStreamMode.generate if streams else pikepdf.ObjectStreamMode.disable
    for job in jobs:
        job.source.write_bytes(_encrypted(name, object_stream_mode=mode))
    options = dataclasses.replace(INVISIBLE, password=lambda _: PASSWORDS[name])
    assert _states(sign_many(jobs[:2], signer=leader, options=options)) == [JobState.SIGNED] * 2
    before = [job.output.read_bytes() for job in jobs[:2]]
    signer = _Counting(leader)
    outcomes = sign_many(jobs, signer=signer, options=options)
    assert _states(outcomes) == [JobState.PRESENT] * 2 + [JobState.SIGNED] * 2
    assert signer.asked == 2
    assert [job.output.read_bytes() for job in jobs[:2]] == before
    # In its place, too.
    inside = [SigningJob(job.output, job.output) for job in jobs]
    assert _states(sign_many(inside, signer=signer, options=options)) == [JobState.PRESENT] * 4


@pytest.mark.parametrize("level", [SignatureLevel.B_LT, SignatureLevel.B_LTA])
def test_encrypted_documents_of_long_term_levels_are_skipped(
    leader: PKCS12Signer, jobs: list[SigningJob], pki: TestPKI, level: SignatureLevel
) -> None:
    (job, *_) = jobs
    job.source.write_bytes(_encrypted("AES-256"))
    with TimestampClient([pki.tsa_url]) as client, RevocationSource(allowed_hosts=["127.0.0.1"]) as source:
        options = dataclasses.replace(
            INVISIBLE,
            level=level,
            timestamps=client,
            trust=TrustStore.from_certificates(pki.ca_certificates),
            revocation=source,
            password=lambda _: PASSWORDS["AES-256"],
        )
        assert _states(sign_many([job], signer=leader, options=options)) == [JobState.SIGNED]
        assert _states(sign_many([job], signer=leader, options=options)) == [JobState.PRESENT]
        lower = dataclasses.replace(options, level=SignatureLevel.B_B)
        expected = JobState.PRESENT if level is SignatureLevel.B_LT else JobState.SIGNED
        assert _states(sign_many([job], signer=leader, options=lower)) == [expected]


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_encrypted_file_of_the_right_name_is_no_signature(
    leader: PKCS12Signer, jobs: list[SigningJob], damage: str
) -> None:
    (job, *_) = jobs
    content = _encrypted("AES-256")
    job.source.write_bytes(content)
    options = dataclasses.replace(INVISIBLE, password=lambda _: PASSWORDS["AES-256"])
    sign_many([job], signer=leader, options=options)
    damaged = content if damage == "the source itself" else DAMAGES[damage](job.output.read_bytes())
    assert damaged != job.output.read_bytes()
    job.output.write_bytes(damaged)
    assert _states(sign_many([job], signer=leader, options=options)) == [JobState.SIGNED]
    assert job.output.read_bytes() != damaged


@pytest.mark.parametrize("password", [None, lambda _: None, lambda _: "wrong"])
def test_an_encrypted_file_that_cannot_be_opened_is_no_signature(
    leader: PKCS12Signer, jobs: list[SigningJob], password: Callable[[str], str | None] | None
) -> None:
    (job, *_) = jobs
    job.source.write_bytes(_encrypted("AES-256"))
    good = dataclasses.replace(INVISIBLE, password=lambda _: PASSWORDS["AES-256"])
    sign_many([job], signer=leader, options=good)
    signed = job.output.read_bytes()
    bad = dataclasses.replace(INVISIBLE, password=password)
    assert _states(sign_many([job], signer=leader, options=bad)) == [JobState.FAILED]
    assert job.output.read_bytes() == signed


def test_a_large_finished_file_is_not_loaded(
    leader: PKCS12Signer, jobs: list[SigningJob], access: SignerAccess
) -> None:
    (job, *_) = jobs
    with pikepdf.open(io.BytesIO(LETTER)) as pdf:
        pdf.Root.TestData = pdf.make_stream(bytes(100 * 1024 * 1024))
        pdf.save(job.source, compress_streams=False)
    assert _states(sign_many([job], signer=leader, options=INVISIBLE)) == [JobState.SIGNED]
    program = f"""
import pickle
from pathlib import Path
from vnedoc.sign.batch import SigningJob, sign_many
from vnedoc.sign.models import Role
from vnedoc.sign.roles import SigningOptions
from tests.benchmarks.harness import peak_mib
signer = pickle.loads({pickle.dumps(access)!r})()
job = SigningJob(Path({str(job.source)!r}), Path({str(job.output)!r}))
(outcome,) = sign_many([job], signer=signer, options=SigningOptions(role=Role.INVISIBLE))
print(outcome.state.value, peak_mib())
"""
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout.split()
    assert said[0] == "already-signed"
    assert float(said[1]) <= 100


def test_only_the_same_signature_counts_as_done(
    leader: PKCS12Signer, clerk: PKCS12Signer, pki: TestPKI, jobs: list[SigningJob]
) -> None:
    (job, other, *_) = jobs
    sign_many([job], signer=leader, options=INVISIBLE)
    # Another person.
    assert _states(sign_many([job], signer=clerk, options=INVISIBLE)) == [JobState.SIGNED]
    # A signature that the source had before.
    again = SigningJob(job.output, other.output)
    assert _states(sign_many([again], signer=clerk, options=INVISIBLE)) == [JobState.SIGNED]
    assert _states(sign_many([again], signer=clerk, options=INVISIBLE)) == [JobState.PRESENT]
    # Another encoding.
    old = dataclasses.replace(INVISIBLE, legacy=True)
    assert _states(sign_many([again], signer=clerk, options=old)) == [JobState.SIGNED]
    assert _states(sign_many([again], signer=clerk, options=old)) == [JobState.PRESENT]
    # A level that it does not have, and then has.
    trust = TrustStore.from_certificates(pki.ca_certificates)
    with TimestampClient([pki.tsa_url]) as client, RevocationSource(allowed_hosts=["127.0.0.1"]) as source:
        for level in (SignatureLevel.B_T, SignatureLevel.B_LT, SignatureLevel.B_LTA):
            raised = dataclasses.replace(
                INVISIBLE, level=level, timestamps=client, trust=trust, revocation=source
            )
            assert _states(sign_many([again], signer=clerk, options=raised)) == [JobState.SIGNED]
            assert _states(sign_many([again], signer=clerk, options=raised)) == [JobState.PRESENT]


def test_another_role_is_another_signature(
    leader: PKCS12Signer, approve_options: SigningOptions, jobs: list[SigningJob]
) -> None:
    (job, *_) = jobs
    sign_many([job], signer=leader, options=INVISIBLE)
    approve = dataclasses.replace(approve_options, reserve_numbering=False)
    (outcome,) = sign_many([job], signer=leader, options=approve)
    assert outcome.state is JobState.SIGNED
    assert outcome.field == "vnedoc-approve-1"


@pytest.fixture(params=["processes", "threads"])
def executor(request: pytest.FixtureRequest) -> Iterator[concurrent.futures.Executor]:
    """Executors of different kinds."""
    if request.param == "threads":
        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            yield threads
    else:
        with process_pool(2) as processes:
            yield processes


def test_other_processes_sign_the_same(
    executor: concurrent.futures.Executor,
    access: SignerAccess,
    pki: TestPKI,
    jobs: list[SigningJob],
    approve_options: SigningOptions,
) -> None:
    jobs[2].source.write_bytes(b"no PDF")
    trust = TrustStore.from_certificates([pki.root.certificate, pki.state_ca.certificate])
    with TimestampClient([pki.tsa_url]) as client:
        client.token(bytes(32))  # A connection is open, and does not travel.
        options = dataclasses.replace(
            approve_options,
            reserve_numbering=False,
            level=SignatureLevel.B_T,
            timestamps=client,
            trust=trust,
        )
        outcomes = sign_many(jobs, options=options, signer_factory=access, executor=executor)
        assert _states(outcomes) == [JobState.SIGNED, JobState.SIGNED, JobState.FAILED, JobState.SIGNED]
        again = sign_many(jobs, options=options, signer_factory=access, executor=executor)
    assert _states(again) == [JobState.PRESENT, JobState.PRESENT, JobState.FAILED, JobState.PRESENT]
    for outcome in outcomes:
        if outcome.result is not None:
            assert outcome.result.timestamp_time is not None
            (signature,) = verify_pdf(outcome.job.output, trust=trust).files[0].signatures
            assert signature.integrity


def test_a_key_that_does_not_open_is_tried_once(
    tmp_path: Path, access: SignerAccess, jobs: list[SigningJob]
) -> None:
    tries = tmp_path / "tries"
    factory = _WrongPIN(tries)
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        outcomes = sign_many(jobs, options=INVISIBLE, signer_factory=factory, executor=threads)
    assert _states(outcomes) == [JobState.FAILED] + [JobState.NOT_TRIED] * 3
    assert tries.read_text() == "x"
    assert gravest_code(outcomes) is ExitCode.CONFIGURATION


@dataclasses.dataclass
class _WrongPIN:
    tries: Path

    def __call__(self) -> Signer:
        with self.tries.open("a") as stream:
            stream.write("x")
        raise CredentialError("signer.wrong-passphrase", path="TEST")


@dataclasses.dataclass
class _Dies:
    """A key whose process is killed, as the system does when memory runs out."""

    def __call__(self) -> Signer:
        os._exit(9)


def test_a_process_that_dies_is_reported(jobs: list[SigningJob]) -> None:
    with process_pool(1) as pool:
        outcomes = sign_many(jobs, options=INVISIBLE, signer_factory=_Dies(), executor=pool)
    assert {outcome.error.code for outcome in outcomes if outcome.error} == {"batch.worker-died"}
    assert not any(job.output.exists() for job in jobs)


@dataclasses.dataclass
class _Buggy:
    """A key whose program has a bug."""

    access: SignerAccess

    def __call__(self) -> Signer:
        signer = _Counting(self.access())
        vars(signer)["_sign"] = lambda *_: {}["TEST"]  # type: ignore[index] # the bug
        return signer


def test_a_bug_in_a_worker_is_a_result(
    access: SignerAccess, jobs: list[SigningJob], caplog: pytest.LogCaptureFixture
) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        outcomes = sign_many(jobs, options=INVISIBLE, signer_factory=_Buggy(access), executor=threads)
    assert [outcome.error.code for outcome in outcomes if outcome.error] == ["batch.bug"] * 4
    assert gravest_code(outcomes) is ExitCode.BUG
    assert "KeyError" in caplog.text
    assert "Traceback" not in caplog.text
    assert not any(job.output.exists() for job in jobs)


def test_what_goes_to_a_worker_shows_no_secret(access: SignerAccess, jobs: list[SigningJob]) -> None:
    class Shown(concurrent.futures.ThreadPoolExecutor):
        given = ""

        def submit(self, call, /, *arguments, **named):  # type: ignore[no-untyped-def] # as the base class
            self.given += repr((arguments, named))
            return super().submit(call, *arguments, **named)

    with Shown(1) as threads:
        sign_many(jobs[:1], options=INVISIBLE, signer_factory=access, executor=threads)
    assert "văn bản 0.pdf" in threads.given
    assert not any(word in threads.given for word in (PASSPHRASE, "TEST'", "leader.p12"))


def test_a_secret_is_not_shown(access: SignerAccess) -> None:
    assert PASSPHRASE not in repr(access)
    assert PASSPHRASE not in str(access)


@pytest.mark.parametrize("group", [1, 2, 3, 4])
def test_documents_of_one_authorisation_are_signed_together(
    leader: PKCS12Signer,
    signature_picture: Picture,
    approve_options: SigningOptions,
    jobs: list[SigningJob],
    group: int,
) -> None:
    signer = _Remote(leader)
    options = dataclasses.replace(approve_options, reserve_numbering=False)
    outcomes = sign_many(jobs[:group], signer=signer, options=options)
    assert _states(outcomes) == [JobState.SIGNED] * group
    assert signer.groups == {1: (1,), 2: (2,), 3: (3,), 4: (3, 1)}[group]
    for job in jobs[:group]:
        assert job.output.read_bytes().startswith(LETTER)


def test_a_bad_document_does_not_hold_up_its_group(leader: PKCS12Signer, jobs: list[SigningJob]) -> None:
    jobs[0].source.write_bytes(b"no PDF")
    signer = _Remote(leader)
    outcomes = sign_many(jobs, signer=signer, options=INVISIBLE)
    assert _states(outcomes) == [JobState.FAILED] + [JobState.SIGNED] * 3
    assert signer.groups == (2, 1)


@pytest.mark.parametrize(
    ("error", "states"),
    [
        (RefusedError("signer.no-key", path="TEST"), [JobState.FAILED] * 4),
        (CredentialError("signer.no-key", path="TEST"), [JobState.FAILED] * 3 + [JobState.NOT_TRIED]),
    ],
)
def test_what_was_refused_was_refused_for_the_group(
    leader: PKCS12Signer, jobs: list[SigningJob], error: VnedocError, states: list[JobState]
) -> None:
    signer = _Remote(leader, fails_at=1, error=error)
    assert _states(sign_many(jobs, signer=signer, options=INVISIBLE)) == states
    assert not any(job.output.exists() for job in jobs)


def test_a_bug_in_a_group_wakes_everybody(leader: PKCS12Signer, jobs: list[SigningJob]) -> None:
    class Broken(_Remote):
        def _sign_many(self, contents: object, digest_algorithm: str) -> list[bytes]:
            del contents, digest_algorithm
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        sign_many(jobs, signer=Broken(leader), options=INVISIBLE)


def test_calls_that_make_no_sense(leader: PKCS12Signer, access: SignerAccess, jobs: list[SigningJob]) -> None:
    with pytest.raises(UsageError) as caught:
        sign_many(jobs, options=INVISIBLE)
    assert caught.value.code == "batch.signer-or-executor"
    twice = [jobs[0], dataclasses.replace(jobs[1], output=jobs[0].output)]
    with pytest.raises(UsageError) as caught:
        sign_many(twice, options=INVISIBLE, signer=leader)
    assert caught.value.code == "signing.same-output"
    unsendable = dataclasses.replace(INVISIBLE, password=lambda name: name)
    with concurrent.futures.ThreadPoolExecutor(1) as threads, pytest.raises(UsageError) as caught:
        sign_many(jobs, options=unsendable, signer_factory=access, executor=threads)
    assert caught.value.code == "batch.cannot-send"
    with pytest.raises(UsageError) as caught, process_pool(0):
        pass
    assert caught.value.code == "batch.no-workers"


@pytest.mark.needs("softhsm2-util")
@pytest.mark.parametrize("processes", [1, 2])
def test_a_token_serves_a_batch(
    pki: TestPKI, tmp_path_factory: pytest.TempPathFactory, jobs: list[SigningJob], processes: int
) -> None:
    desk = make_desk(tmp_path_factory.mktemp("tokens"), pki, only=frozenset({"rsa"}))
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return PIN

    with desk.folder.in_this_process():
        with open_signer(desk["rsa"].uri, secret=ask) as signer:
            outcomes = sign_many(jobs, signer=signer, options=INVISIBLE)
        assert len(asked) == 1
        if processes > 1:
            access = SignerAccess(desk["rsa"].uri, {asked[0]: PIN})
            with process_pool(processes) as pool:
                outcomes = sign_many(
                    jobs, options=INVISIBLE, signer_factory=access, executor=pool, again=True
                )
    assert _states(outcomes) == [JobState.SIGNED] * 4
    for job in jobs:
        (signature,) = (
            verify_pdf(job.output, trust=TrustStore.from_certificates(pki.leader.chain)).files[0].signatures
        )
        assert signature.integrity
