"""The processes that verify, made without loading what they load themselves: they start first, all else follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnedoc._internal.workers import Crew

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import TypeAlias

    from vnedoc.sign.bulk_verification import Asked, Judged, Task

    VerificationCrew: TypeAlias = Crew[tuple[Task, bool], Asked, Judged]

__all__ = ["MAX_MEMORY_BYTES", "verification_crew"]

MAX_MEMORY_BYTES = 512 * 1024 * 1024
"""How much address space a process may use beyond what it starts with."""
_PRELOADED = ("vnedoc.sign.verification", "vnedoc.sign._views", "vnedoc.sign.bulk_verification")


def verification_crew(*, jobs: int = 1) -> VerificationCrew:
    """Return processes that verify files, for as many calls of ``verify_many`` as there are.

    Use it as a context manager. ``warm_up`` lets the first one get ready while something else is done.

    Args:
        jobs: How many processes.
    """
    return Crew(
        _open,
        jobs=jobs,
        limit_s=lambda asked: asked.limit_s,
        max_memory_bytes=MAX_MEMORY_BYTES,
        preload=_PRELOADED,
    )


def _open(settings: tuple[Task, bool]) -> AbstractContextManager[Callable[[Asked], Judged]]:
    from vnedoc.sign.bulk_verification import open_work

    return open_work(settings)
