"""A PKCS#11 library whose answers can be counted and changed: its own function list is patched where it lies.

SoftHSM is asked for real; what a hardware token would say beyond that (locked, last try, pulled out) is put in at the
border between the library and python-pkcs11.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_ULONG, _POINTER = ctypes.c_ulong, ctypes.c_void_p
# Position in CK_FUNCTION_LIST (PKCS#11 2.40, pkcs11f.h) and arguments.
_FUNCTIONS = {
    "C_GetTokenInfo": (6, (_ULONG, _POINTER)),
    "C_OpenSession": (12, (_ULONG, _ULONG, _POINTER, _POINTER, _POINTER)),
    "C_CloseSession": (13, (_ULONG,)),
    "C_Login": (18, (_ULONG, _ULONG, _POINTER, _ULONG)),
    "C_Logout": (19, (_ULONG,)),
    "C_SignInit": (42, (_ULONG, _POINTER, _ULONG)),
    "C_Sign": (43, (_ULONG, _POINTER, _ULONG, _POINTER, _POINTER)),
}
_FLAGS_OFFSET = 32 + 32 + 16 + 16  # label, manufacturerID, model, serialNumber of CK_TOKEN_INFO
USER, CONTEXT_SPECIFIC = 1, 2


class TokenFaults:
    """What was called, and what is answered instead of the truth."""

    def __init__(self) -> None:
        self.logins: list[tuple[int, bytes]] = []
        """The kind of user and the PIN of each C_Login that reached the library."""
        self.mechanisms: list[int] = []
        """The mechanism of each C_SignInit."""
        self.calls: list[str] = []
        """The functions that were called."""
        self.answers: dict[str, int] = {}
        """Return codes that are given without asking the library."""
        self.broken_slots: set[int] = set()
        """Slots in which no session can be opened."""
        self.token_flags = 0
        """Flags that every token has besides its own."""
        self.taken_flags = 0
        """Flags that no token has."""

    def _answer(self, name: str, real: Callable[..., int], arguments: tuple[int, ...]) -> int:
        self.calls.append(name)
        if name == "C_Login":
            pin = ctypes.string_at(arguments[2], arguments[3]) if arguments[2] else b""
            self.logins.append((arguments[1], pin))
        if name == "C_SignInit":
            self.mechanisms.append(ctypes.c_ulong.from_address(arguments[1]).value)
        if name in self.answers:
            return self.answers[name]
        if name == "C_OpenSession" and arguments[0] in self.broken_slots:
            return 0x30  # CKR_DEVICE_ERROR
        code = real(*arguments)
        if name == "C_GetTokenInfo" and not code:
            flags = ctypes.c_ulong.from_address(arguments[1] + _FLAGS_OFFSET)
            flags.value = (flags.value | self.token_flags) & ~self.taken_flags
        return code

    def count(self, name: str) -> int:
        return self.calls.count(name)


@contextmanager
def token_faults(module: Path) -> Iterator[TokenFaults]:
    """Stand between python-pkcs11 and a module that is loaded or will be."""
    faults = TokenFaults()
    library = ctypes.CDLL(str(module.resolve()))
    address = ctypes.c_void_p()
    assert library.C_GetFunctionList(ctypes.byref(address)) == 0
    assert address.value is not None
    # CK_VERSION comes first, padded to the size of a pointer.
    table = (ctypes.c_void_p * 68).from_address(address.value + ctypes.sizeof(ctypes.c_void_p))
    before, kept = {}, []
    for name, (position, arguments) in _FUNCTIONS.items():
        kind = ctypes.CFUNCTYPE(_ULONG, *arguments)
        before[position] = table[position]
        real = kind(table[position])
        patched = kind(lambda *given, name=name, real=real: faults._answer(name, real, given))
        kept.append(patched)
        table[position] = ctypes.cast(patched, ctypes.c_void_p).value
    try:
        yield faults
    finally:
        for position, original in before.items():
            table[position] = original
        kept.clear()
