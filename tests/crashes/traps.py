"""Kill this process at one step: the n-th call of a method, perhaps only while another one is at work.

A step is named by what it calls (``module:Class.method``). The inner names are those of the system and the
database driver (``os.replace``, ``socket.send``, a commit), so that they stay what they are when the product changes;
the outer ones are the few methods that the steps are made of. A name that is gone fails loudly.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import threading
from dataclasses import dataclass
from typing import Any

__all__ = ["COMMIT", "CONNECT", "DATABASE_COMMIT", "FSYNC", "RECEIVE", "RENAME", "SEND", "Trap", "set_trap"]

COMMIT = "sqlalchemy.orm:Session.commit"
DATABASE_COMMIT = "sqlalchemy.engine.default:DefaultDialect.do_commit"
"""Of whatever has a transaction: a session or a plain connection."""
FSYNC = "os:fsync"
RENAME = "os:replace"
CONNECT = "socket:socket.connect"
SEND = "socket:socket.send"
RECEIVE = "socket:socket.recv"
PIECE_BYTES = 64 * 1024
"""How much one ``send`` takes at most, so that the parts of a body can be counted."""


@dataclass(frozen=True)
class Trap:
    """Where a process dies."""

    point: str
    """The call, as ``module:name`` or ``module:Class.method``."""
    when: str = "before"
    """``before`` the call, or ``after`` it."""
    call: int = 1
    """Which call."""
    within: str | None = None
    """Only calls that this method makes, in the same thread."""


def set_trap(trap: Trap) -> None:
    """Let this process die there."""
    inside = threading.local()
    if trap.within is not None:
        owner, name, method = _find(trap.within)

        @functools.wraps(method)
        def counted_in(*args: Any, **kwargs: Any) -> Any:
            inside.depth = getattr(inside, "depth", 0) + 1
            try:
                return method(*args, **kwargs)
            finally:
                inside.depth -= 1

        setattr(owner, name, counted_in)
    owner, name, original = _find(trap.point)
    calls = 0

    @functools.wraps(original)
    def trapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        if trap.point == SEND:
            args = (args[0], memoryview(args[1])[:PIECE_BYTES], *args[2:])
        if trap.within is not None and not getattr(inside, "depth", 0):
            return original(*args, **kwargs)
        calls += 1
        if calls != trap.call:
            return original(*args, **kwargs)
        if trap.when == "after":
            original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("nobody survives SIGKILL")

    setattr(owner, name, trapped)


def _find(point: str) -> tuple[Any, str, Any]:
    module, _, path = point.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    return owner, name, getattr(owner, name)
