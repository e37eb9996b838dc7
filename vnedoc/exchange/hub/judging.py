"""Whether the PDFs of a package are signed, and by the agency that it says it is from: asked in other processes.

What strangers send is verified where a bug, a loop or a bomb harms nobody else: in a worker with limits on time and
memory. A package that a worker dies of is not taken.
"""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from vnedoc._internal.workers import Crew, Lost
from vnedoc.errors import ConfigurationError
from vnedoc.exchange._vxp import ErrorCode
from vnedoc.exchange.hub.refusals import RefusalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vnedoc import messages
    from vnedoc.exchange.hub.options import Proofs
    from vnedoc.sign.report import Finding

__all__ = ["Jury", "check_proofs"]

MAX_MEMORY_BYTES = 1024 * 1024 * 1024
"""How much address space a worker may use beyond what it starts with."""
_MAX_REASONS = 10
_PRELOADED = ("vnedoc.sign.verification", "vnedoc.sign.senders", "vnedoc.exchange.package")


@dataclasses.dataclass(frozen=True, slots=True)
class _Case:
    path: Path
    limit_s: float


class Jury:
    """Workers that verify packages. Used by many threads.

    Args:
        proofs: What is asked.
        folder: Where packages are taken apart; ``None`` is the system's place for temporary files.
    """

    def __init__(self, proofs: Proofs, *, folder: Path | None = None) -> None:
        self._proofs = proofs
        self._folder = folder
        self._ending = contextlib.ExitStack()
        # A crew serves one thread at a time: one worker each, handed from thread to thread.
        self._idle: queue.SimpleQueue[Crew[tuple[Proofs, Path | None], _Case, tuple[Finding, ...]]] = (
            queue.SimpleQueue()
        )
        for _ in range(proofs.workers):
            crew = self._ending.enter_context(
                Crew(
                    _open,
                    jobs=1,
                    limit_s=lambda case: case.limit_s,
                    max_memory_bytes=MAX_MEMORY_BYTES,
                    preload=_PRELOADED,
                )
            )
            self._idle.put(crew)

    def close(self) -> None:
        """End the workers."""
        self._ending.close()

    def judge(self, path: Path, *, language: messages.Language) -> None:
        """See to it that the PDFs of a package are what is asked.

        Args:
            path: The package.
            language: The language of the reasons.

        Raises:
            RefusalError: They are not, or nobody can tell.
        """
        try:
            crew = self._idle.get(timeout=self._proofs.limit_s)
        except queue.Empty:
            refusal = RefusalError(ErrorCode.BUSY, "hub.busy", status=503)
            raise refusal.again_after(self._proofs.limit_s) from None
        try:
            settings = (self._proofs, self._folder)
            ((_, answer),) = crew.work(settings, [_Case(path, self._proofs.limit_s)])
        finally:
            self._idle.put(crew)
        if isinstance(answer, Lost):
            raise RefusalError(ErrorCode.INVALID_PACKAGE, "hub.cannot-verify")
        if answer:
            texts = [reason.text(language) for reason in answer]
            raise RefusalError(
                ErrorCode.INVALID_PACKAGE, "hub.not-verified", reasons=" ".join(texts[:_MAX_REASONS])
            )


def check_proofs(proofs: Proofs) -> None:
    """See to it that trust anchors and directory can be read, before a hub starts that would refuse everything.

    Raises:
        ConfigurationError: They cannot, or the match is none.
        InputError: They cannot be read.
    """
    from vnedoc.agencies import load_directory
    from vnedoc.sign.report import SenderMatch
    from vnedoc.sign.trust import load_trust

    if not proofs.trust:
        raise ConfigurationError("hub.no-trust")
    if proofs.required_match not in {match.value for match in SenderMatch} - {SenderMatch.NONE.value}:
        raise ConfigurationError("hub.unknown-match", value=proofs.required_match)
    load_trust(*proofs.trust)
    load_directory(proofs.directory)


@contextlib.contextmanager
def _open(settings: tuple[Proofs, Path | None]) -> Iterator[Callable[[_Case], tuple[Finding, ...]]]:
    from vnedoc.agencies import load_directory
    from vnedoc.exchange.judgement import PackagePolicy, judge_package
    from vnedoc.exchange.package import read_package
    from vnedoc.sign.report import SenderMatch
    from vnedoc.sign.revocation import RevocationSource
    from vnedoc.sign.trust import load_trust

    proofs, place = settings
    trust = load_trust(*proofs.trust)
    directory = load_directory(proofs.directory)
    policy = PackagePolicy(
        required_match=SenderMatch(proofs.required_match),
        person_on_main=proofs.person_on_main,
        refuse_other_formats=proofs.refuse_other_formats,
    )

    with contextlib.ExitStack() as stack:
        revocation = None
        if proofs.online:
            revocation = stack.enter_context(RevocationSource(allowed_hosts=proofs.allowed_hosts))

        def judge(case: _Case) -> tuple[Finding, ...]:
            with tempfile.TemporaryDirectory(dir=place) as name:
                with case.path.open("rb") as stream:
                    package = read_package(stream, folder=Path(name))
                return judge_package(
                    package, trust=trust, directory=directory, policy=policy, revocation=revocation
                ).reasons

        yield judge
