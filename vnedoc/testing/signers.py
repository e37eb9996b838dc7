"""What every signer must keep to, as tests: run them against your own.

::

    class TestMySigner(SignerContract):
        secret = "the right PIN"
        wrong_secret = "a wrong one"

        def open(self, secret):
            return MySigner(address, secret=secret)

pytest collects the methods; there is nothing else to install. A signer that asks for no secret sets ``secret`` to
``None``. Where a wrong secret costs something that does not come back, leave ``wrong_secret`` at ``None``: the tests
that need it are then skipped by name.
"""

from __future__ import annotations

import abc
import concurrent.futures
import itertools
import unittest
from typing import TYPE_CHECKING

from vnedoc.errors import CredentialError, RefusedError, VnedocError
from vnedoc.sign.signers.base import DIGESTS, verify_raw_signature

if TYPE_CHECKING:
    from collections.abc import Collection

    from vnedoc.sign.signers.base import SecretCallback, Signer

__all__ = ["SignerContract"]

_MANY = 50
_THREADS = 4


class SignerContract(abc.ABC):
    """The contract of :class:`~vnedoc.sign.signers.base.Signer`. Subclass it under a name that starts with Test."""

    secret: str | None = None
    """The right secret; ``None`` if the signer asks for none."""
    wrong_secret: str | None = None
    """A wrong secret; ``None`` if it must not be tried."""
    digest_algorithms: Collection[str] = tuple(DIGESTS)
    """What the key can sign with; a service may know SHA-256 alone. Anything else must be refused."""
    max_questions: int = 1
    """How many secrets the signer may ask for, opening included, however much is signed."""

    @abc.abstractmethod
    def open(self, secret: SecretCallback) -> Signer:
        """Open the signer anew."""

    def test_a_signature_verifies_for_each_digest(self) -> None:
        """Each digest gives a value that fits its bytes and no others; what the key cannot do is refused."""
        with self._opened() as signer:
            for digest_algorithm in DIGESTS:
                if digest_algorithm not in self.digest_algorithms:
                    assert self._refuses(signer, digest_algorithm)
                    continue
                value = signer.sign(b"TEST", digest_algorithm=digest_algorithm)
                assert self._verifies(signer, value, b"TEST", digest_algorithm)
                assert not self._verifies(signer, value, b"TEST.", digest_algorithm)

    def test_content_of_any_size_is_signed(self) -> None:
        """Nothing, one byte, and more than a token takes at a time."""
        with self._opened() as signer:
            for content in (b"", b"\0", b"TEST" * 100_000):
                assert self._verifies(signer, signer.sign(content), content, "sha256")

    def test_a_value_fits_into_what_was_reserved(self) -> None:
        """A CMS reserves :attr:`max_signature_bytes` before it is signed."""
        with self._opened() as signer:
            assert all(0 < len(signer.sign(bytes([n]))) <= signer.max_signature_bytes for n in range(8))

    def test_the_chain_begins_with_the_certificate_and_is_in_order(self) -> None:
        """Each certificate is issued by the next."""
        with self._opened() as signer:
            chain = signer.certificate_chain
            assert chain[0] == signer.certificate
            for below, above in itertools.pairwise(chain):
                below.verify_directly_issued_by(above)

    def test_many_signatures_need_one_secret(self) -> None:
        """A batch asks its user once."""
        questions: list[str] = []
        with self.open(self._answering(self.secret, questions)) as signer:
            values = [signer.sign(bytes([n])) for n in range(_MANY)]
            assert all(self._verifies(signer, value, bytes([n]), "sha256") for n, value in enumerate(values))
        assert len(questions) <= self.max_questions

    def test_threads_may_share_a_signer(self) -> None:
        """Values do not get mixed up."""
        contents = [f"TEST {n}".encode() for n in range(4 * _THREADS)]
        with self._opened() as signer, concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
            for content, value in zip(contents, pool.map(signer.sign, contents), strict=True):
                assert self._verifies(signer, value, content, "sha256")

    def test_a_signer_can_be_opened_again(self) -> None:
        """Closing lets go of everything, and doing it twice does no harm."""
        for _ in range(2):
            signer = self.open(self._answering(self.secret))
            signer.sign(b"TEST")
            signer.close()
            signer.close()

    def test_two_signers_do_not_disturb_each_other(self) -> None:
        """Closing one leaves the other working."""
        with self._opened() as first:
            with self._opened() as second:
                assert self._verifies(second, second.sign(b"2"), b"2", "sha256")
            assert self._verifies(first, first.sign(b"1"), b"1", "sha256")

    def test_a_secret_is_never_shown(self) -> None:
        """Neither the text of the signer nor its questions hold it."""
        if self.secret is None:
            raise unittest.SkipTest("this signer asks for no secret")
        questions: list[str] = []
        with self.open(self._answering(self.secret, questions)) as signer:
            assert self.secret not in repr(signer) + str(signer) + "".join(questions)

    def test_a_wrong_secret_is_tried_once(self) -> None:
        """It ends in one of our errors, which does not repeat it."""
        if self.wrong_secret is None:
            raise unittest.SkipTest("a wrong secret must not be tried on this signer")
        questions: list[str] = []
        error = self._failing(self._answering(self.wrong_secret, questions))
        assert isinstance(error, CredentialError | RefusedError)
        assert not error.retryable
        assert len(questions) == 1
        assert self.wrong_secret not in f"{error!r} {error} {error.hint()}"

    def test_no_secret_is_an_error(self) -> None:
        """``None`` means that there is none to be had."""
        if self.secret is None:
            raise unittest.SkipTest("this signer asks for no secret")
        assert isinstance(self._failing(self._answering(None)), CredentialError | RefusedError)

    def _opened(self) -> Signer:
        return self.open(self._answering(self.secret))

    def _failing(self, secret: SecretCallback) -> VnedocError:
        """Open and sign; return the error that came of it."""
        try:
            with self.open(secret) as signer:
                signer.sign(b"TEST")
        except VnedocError as exc:
            return exc
        raise AssertionError("the signer signed")

    @staticmethod
    def _refuses(signer: Signer, digest_algorithm: str) -> bool:
        try:
            signer.sign(b"TEST", digest_algorithm=digest_algorithm)
        except VnedocError:
            return True
        return False

    @staticmethod
    def _answering(answer: str | None, questions: list[str] | None = None) -> SecretCallback:
        def answers(question: str) -> str | None:
            if questions is not None:
                questions.append(question)
            return answer

        return answers

    @staticmethod
    def _verifies(signer: Signer, value: bytes, content: bytes, digest_algorithm: str) -> bool:
        return verify_raw_signature(
            signer.certificate,
            value,
            content,
            digest_algorithm=digest_algorithm,
            mechanism=signer.mechanism,
        )
