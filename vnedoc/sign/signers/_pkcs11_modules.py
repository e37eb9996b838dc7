"""PKCS#11 modules: where those of the tokens used in Vietnam lie, and loading each once a process.

The specification wants a library that was initialised without locking functions, as python-pkcs11 does it, not to be
entered by two threads at once (PKCS#11 2.40, C_Initialize); so every module has one lock, held around each call.
"""

from __future__ import annotations

import dataclasses
import os
import re
import struct
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from vnedoc.errors import ConfigurationError, CredentialError
from vnedoc.sign.signers._pkcs11_library import cryptoki

if TYPE_CHECKING:
    from pkcs11._pkcs11 import lib as Library  # noqa: N812 - a class with a lower-case name
    from pkcs11.types import Session

__all__ = [
    "PRESETS",
    "Login",
    "Module",
    "ModulePreset",
    "find_module",
    "installed_modules",
    "load_module",
    "module_at",
    "module_by_name",
    "release_module",
]


@dataclasses.dataclass(frozen=True, slots=True)
class ModulePreset:
    """The files under which the module of a kind of token is installed, most likely first."""

    title: str
    """What it is for."""
    linux: tuple[str, ...] = ()
    """File names or paths on Linux."""
    windows: tuple[str, ...] = ()
    """File names or paths on Windows."""
    macos: tuple[str, ...] = ()
    """File names or paths on macOS."""

    def files(self) -> tuple[str, ...]:
        """Return the files for this machine."""
        return {"win32": self.windows, "darwin": self.macos}.get(sys.platform, self.linux)


PRESETS = {
    "bit4id": ModulePreset(
        "Bit4id TokenME (VGCA Token)",
        ("libbit4xpki.so", "/usr/lib/bit4id/libbit4xpki.so"),
        ("bit4xpki.dll",),
        ("/Library/bit4id/pkcs11/libbit4xpki.dylib",),
    ),
    "safenet": ModulePreset(
        "SafeNet eToken",
        ("libeTPkcs11.so", "libeToken.so", "libIDPrimePKCS11.so"),
        ("eTPKCS11.dll",),
        ("libeTPkcs11.dylib",),
    ),
    "feitian": ModulePreset(
        "Feitian ePass2003",
        ("libcastle.so",),
        ("eps2003csp11.dll", "ShuttleCsp11_3003.dll", "ngp11v211.dll"),
        ("libcastle.dylib",),
    ),
    "watchdata": ModulePreset("Watchdata", ("libwdpkcs.so",), ("WDPKCS.dll",)),
    "safesign": ModulePreset("A.E.T. SafeSign", ("libaetpkss.so",), ("aetpkss1.dll",)),
    "gemalto": ModulePreset("Gemalto Classic Client", ("libgclib.so",), ("gclib.dll",)),
    "fpt": ModulePreset("FPT-CA", ("fptca_v4.so",)),
    "viettel": ModulePreset("Viettel-CA", ("viettel-ca_v6.so",)),
    "softhsm": ModulePreset(
        "SoftHSM2",
        ("/usr/lib/softhsm/libsofthsm2.so", "libsofthsm2.so"),
        ("C:/SoftHSM2/lib/softhsm2-x64.dll", "softhsm2-x64.dll"),
        ("/opt/homebrew/lib/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so"),
    ),
}
"""Modules by short name, as ``module-name`` and ``--module`` take it."""


@dataclasses.dataclass(slots=True)
class Login:
    """The user's login to one token; PKCS#11 knows one a process, so signers on the same token share it."""

    session: Session = dataclasses.field(repr=False)
    """The session that logged in and will log out."""
    pin_check: bytes = dataclasses.field(repr=False)
    """A keyed digest of the PIN: the next signer must know it, too."""
    users: int = 1
    """How many signers use it."""
    refused: int = 0
    """How many times another PIN was offered for it."""


@dataclasses.dataclass(slots=True)
class Module:
    """A loaded module."""

    path: Path
    """Its file."""
    library: Library
    """The library."""
    process: int
    """The process that initialised it; a fork must not use it (PKCS#11 2.40, 2.4.1)."""
    lock: threading.RLock = dataclasses.field(default_factory=threading.RLock, repr=False)
    """Held around every call into the library."""
    logins: dict[int, Login] = dataclasses.field(default_factory=dict)
    """The logins by slot."""
    released: bool = False
    """Whether it was released: its handles may by now belong to others."""

    @property
    def usable(self) -> bool:
        """Whether this process may call it."""
        return self.process == os.getpid() and not self.released


_loaded: dict[Path, Module] = {}
_loading = threading.Lock()


def installed_modules() -> dict[str, Path]:
    """Return the modules of :data:`PRESETS` that are on this machine, by short name."""
    found = {name: _first_file(preset.files()) for name, preset in PRESETS.items()}
    return {name: path for name, path in found.items() if path is not None}


def find_module(name_or_path: str) -> Path:
    """Return the file of a module, by name (see :func:`module_by_name`) or by path.

    Raises:
        ConfigurationError: There is no such file, or the software of that token is not installed.
    """
    if any(mark in name_or_path for mark in "/\\."):
        return module_at(name_or_path)
    return module_by_name(name_or_path)


def module_by_name(name: str) -> Path:
    """Return the file of a module.

    Args:
        name: A short name of :data:`PRESETS`, or the name of a module file without ``lib`` and suffix.

    Raises:
        ConfigurationError: It is not on this machine.
    """
    preset = PRESETS.get(name.lower())
    if preset is None:
        # A name is no path: it must not lead out of the folders for libraries.
        plain = re.fullmatch(r"[\w+-][\w.+-]*", name)
        path = _first_file([pattern.format(name) for pattern in _NAME_PATTERNS]) if plain else None
        if path is None:
            raise ConfigurationError("token.module-unknown", name=name, known=", ".join(PRESETS))
        return path
    path = _first_file(preset.files())
    if path is None:
        raise ConfigurationError(
            "token.module-not-installed",
            name=name.lower(),
            title=preset.title,
            files=", ".join(preset.files()) or "-",
        )
    return path


def module_at(path: str) -> Path:
    """Return the path of a module file, made absolute: the loader would look up a bare name elsewhere.

    Raises:
        ConfigurationError: There is no such file.
    """
    absolute = Path(path).absolute()
    if not absolute.is_file():
        raise ConfigurationError("token.module-missing", path=path)
    return absolute


def load_module(path: Path) -> Module:
    """Load a module, or return it if this process has it loaded.

    Raises:
        ConfigurationError: The file is no PKCS#11 module for this machine, or does not start.
    """
    real = path.resolve()
    with _loading:
        module = _loaded.get(real)
        if module is not None and module.process != os.getpid():
            raise CredentialError("token.other-process")
        if module is not None and module.library.initialized:
            return module
        if _is_for_32_bit(real):
            raise ConfigurationError("token.module-32bit", path=path)
        try:
            library = cryptoki.lib(str(real))
        except cryptoki.PKCS11Error as exc:
            reason = str(exc) or type(exc).__name__
            code = "token.module-unusable" if reason.startswith("OS exception") else "token.module-failed"
            raise ConfigurationError(code, path=path, reason=reason) from exc
        module = _loaded[real] = Module(real, library, os.getpid())
        return module


def release_module(path: Path) -> None:
    """End the use of a module; the next :func:`load_module` starts it anew. Signers on it stop working."""
    with _loading:
        module = _loaded.pop(path.resolve(), None)
        if module is not None and module.usable:
            with module.lock:
                module.released = True
                if module.library.initialized:
                    module.library.finalize()


def _search_folders() -> list[Path]:
    if sys.platform == "win32":
        return [Path(os.environ.get("SYSTEMROOT", "C:/Windows")) / "System32"]
    folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib"]
    if sys.platform == "darwin":
        return [Path(folder) for folder in ("/usr/local/lib", "/opt/homebrew/lib", "/Library/Frameworks")]
    machine = f"{os.uname().machine}-linux-gnu"
    folders += [f"/usr/lib/{machine}", f"/usr/lib/{machine}/pkcs11", "/usr/lib64/pkcs11"]
    return [Path(folder) for folder in folders]


def _first_file(names: tuple[str, ...] | list[str]) -> Path | None:
    for name in names:
        # Joining an absolute path gives that path.
        for folder in _search_folders():
            path = folder / name
            if path.is_file():
                return path
    return None


_NAME_PATTERNS = {
    "win32": ("{}.dll",),
    "darwin": ("lib{}.dylib", "{}.dylib", "lib{}.so", "{}.so"),
}.get(sys.platform, ("lib{}.so", "{}.so"))


def _is_for_32_bit(path: Path) -> bool:
    """Tell whether an ELF file is for 32-bit programs while this one is not; some older packages are."""
    try:
        with path.open("rb") as stream:
            head = stream.read(5)
    except OSError:
        return False
    return head == b"\x7fELF\x01" and struct.calcsize("P") == 8
