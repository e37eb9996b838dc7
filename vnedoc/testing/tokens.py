"""Throw-away PKCS#11 tokens in a folder, made by SoftHSM2: for our tests and for yours.

::

    folder = TokenFolder(tmp_path)
    token = folder.add("Token TEST", entries=[TokenEntry(identity=pki.agency)])
    with folder.in_this_process():
        signer = open_signer(token.uri, secret=lambda _: token.pin)

SoftHSM reads where its tokens are once, when it is initialised, and that holds for the whole process. So a process
works with one folder at a time; :meth:`TokenFolder.in_this_process` starts the library anew for its folder and ends
that use when the block ends. Close all signers before. Nothing else in the process may use SoftHSM meanwhile.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization

from vnedoc.errors import ConfigurationError
from vnedoc.sign.signers.pkcs11 import PKCS11URI, find_module, release_module

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from cryptography import x509

    from vnedoc.testing.pki import Identity

__all__ = ["SOFTHSM_TOOL", "Token", "TokenEntry", "TokenFolder"]

SOFTHSM_TOOL = "softhsm2-util"
"""The program that makes tokens (Debian package softhsm2)."""
_SO_PIN = "so-pin-TEST"
_TIMEOUT_S = 60


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TokenEntry:
    """A certificate with its key, and how they are written to the token."""

    identity: Identity
    """The certificate with its key and its chain."""
    label: str = "TEST"
    """Label of the certificate."""
    id: bytes = b"\x01"
    """Id of the certificate; may be empty."""
    key_label: str | None = None
    """Label of the key; ``None`` means that of the certificate."""
    key_id: bytes | None = None
    """Id of the key; ``None`` means that of the certificate."""
    with_chain: bool = False
    """Whether the certificates of the authorities are written, too."""
    with_certificate: bool = True
    """Whether the certificate is written."""
    with_key: bool = True
    """Whether the key is written."""
    with_public_key: bool = True
    """Whether the public key is written as an object of its own."""
    hidden: bool = False
    """Whether the certificate is shown only after a login."""
    pin_each_time: bool = False
    """Whether the key wants the PIN for each signature (CKA_ALWAYS_AUTHENTICATE)."""
    may_sign: bool = True
    """Whether the key may sign (CKA_SIGN)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
    """A token that was made."""

    label: str
    """Label, as it was given."""
    serial: str
    """Serial number."""
    pin: str = dataclasses.field(repr=False)
    """PIN of the user."""
    module: Path
    """The module to reach it by."""

    @property
    def uri(self) -> str:
        """The URI of the token; it names no object."""
        return self.uri_with()

    def uri_with(self, **attributes: object) -> str:
        """Return a URI of the token with further attributes, such as ``object="Khóa"``."""
        named = PKCS11URI(serial=self.serial, module_path=str(self.module))
        return dataclasses.replace(named, **attributes).as_text()  # type: ignore[arg-type] # any field of the URI


class TokenFolder:
    """A folder with tokens of SoftHSM2.

    Args:
        folder: Is made if it is missing.
        hidden_mechanisms: Mechanisms that the tokens do not offer, such as ``CKM_SHA256_RSA_PKCS``.

    Raises:
        ConfigurationError: SoftHSM2 is not installed.
    """

    def __init__(self, folder: Path, *, hidden_mechanisms: Sequence[str] = ()) -> None:
        self.module = find_module("softhsm")
        """The module."""
        tool = shutil.which(SOFTHSM_TOOL)
        if tool is None:
            raise ConfigurationError("token.no-softhsm", tool=SOFTHSM_TOOL)
        self._tool = tool
        self.folder = folder
        """Where the tokens are."""
        (folder / "tokens").mkdir(parents=True, exist_ok=True)
        self.configuration = folder / "softhsm2.conf"
        """The configuration that SOFTHSM2_CONF names."""
        # The first name of a list that begins with a minus is not read by SoftHSM 2.6.1.
        hidden = ",".join(("-NONE", *hidden_mechanisms)) if hidden_mechanisms else "ALL"
        self.configuration.write_text(
            f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\n"
            f"log.level = ERROR\nslots.mechanisms = {hidden}\n",
            encoding="utf-8",
        )

    @property
    def environment(self) -> Mapping[str, str]:
        """What another process needs in its environment to see the tokens."""
        return {"SOFTHSM2_CONF": str(self.configuration)}

    def add(self, label: str, *, pin: str = "pin-TEST", entries: Sequence[TokenEntry] = ()) -> Token:
        """Make a token and write identities to it. This process need not see the folder for that.

        Args:
            label: Label of the token; at most 32 bytes in UTF-8.
            pin: PIN of the user, 4 to 255 bytes.
            entries: What is written.

        Raises:
            ConfigurationError: SoftHSM's tool failed.
        """
        before = self._serials()
        self._run([self._tool, "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", _SO_PIN])
        (serial,) = self._serials() - before
        token = Token(label, serial, pin, self.module)
        objects = [written for entry in entries for written in _objects(entry)]
        if objects:
            task = {"serial": serial, "pin": pin, "objects": objects}
            self._run(
                [sys.executable, "-m", "vnedoc.testing._token_writer", str(self.module)],
                standard_input=json.dumps(task),
            )
        return token

    @contextlib.contextmanager
    def in_this_process(self) -> Iterator[TokenFolder]:
        """Let this process see the tokens of this folder inside a ``with`` block."""
        before = os.environ.get("SOFTHSM2_CONF")
        release_module(self.module)
        os.environ.update(self.environment)
        try:
            yield self
        finally:
            release_module(self.module)
            if before is None:
                del os.environ["SOFTHSM2_CONF"]
            else:
                os.environ["SOFTHSM2_CONF"] = before

    def _serials(self) -> set[str]:
        shown = self._run([self._tool, "--show-slots"])
        return {serial for serial in re.findall(r"Serial number:[ \t]*(\S*)", shown) if serial}

    def _run(self, command: list[str], *, standard_input: str = "") -> str:
        done = subprocess.run(  # noqa: S603 - the program was found by its name, nothing goes through a shell
            command,
            input=standard_input,
            env=os.environ | dict(self.environment),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            words = (done.stderr or done.stdout).strip().splitlines()
            raise ConfigurationError("token.not-made", tool=command[0], reason=words[-1] if words else "-")
        return done.stdout


def _objects(entry: TokenEntry) -> list[dict[str, object]]:
    identity = entry.identity
    written = []
    if entry.with_certificate:
        written.append(
            _certificate(identity.certificate, label=entry.label, identifier=entry.id, hidden=entry.hidden)
        )
    if entry.with_chain:
        written += [
            _certificate(above, label=f"{entry.label} CA {level}", identifier=b"", hidden=False)
            for level, above in enumerate(identity.chain, 1)
        ]
    if entry.with_key:
        content = identity.private_key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        written.append(
            {
                "kind": "key",
                "label": entry.label if entry.key_label is None else entry.key_label,
                "id": (entry.id if entry.key_id is None else entry.key_id).hex(),
                "content": base64.b64encode(content).decode("ascii"),
                "with_public_key": entry.with_public_key,
                "pin_each_time": entry.pin_each_time,
                "may_sign": entry.may_sign,
            }
        )
    return written


def _certificate(
    certificate: x509.Certificate, *, label: str, identifier: bytes, hidden: bool
) -> dict[str, object]:
    content = certificate.public_bytes(serialization.Encoding.DER)
    return {
        "kind": "certificate",
        "label": label,
        "id": identifier.hex(),
        "content": base64.b64encode(content).decode("ascii"),
        "hidden": hidden,
    }
