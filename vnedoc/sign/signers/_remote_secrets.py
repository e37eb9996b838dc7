"""The secrets of a signer behind a service; nothing that a service repeats of them gets into an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnedoc.errors import CredentialError

if TYPE_CHECKING:
    from vnedoc.sign.signers.base import SecretCallback, SecretPrompt

__all__ = ["Secrets"]

MAX_REMOTE_TEXT = 200
"""How much of a server's words gets into an error."""


class Secrets:
    """The secrets of one signer: asked for when first needed, kept while it is open, shown to nobody."""

    def __init__(self, ask: SecretCallback) -> None:
        self._ask = ask
        self._kept: dict[str, str] = {}
        self._seen: set[str] = set()

    def __repr__(self) -> str:
        return "Secrets(…)"

    def keep(self, prompt: SecretPrompt) -> str:
        """Return a secret that is asked for once.

        Raises:
            CredentialError: There is none.
        """
        if prompt not in self._kept:
            self._kept[prompt] = self.ask(prompt)
        return self._kept[prompt]

    def ask(self, prompt: SecretPrompt) -> str:
        """Return a secret that is good for one use.

        Raises:
            CredentialError: There is none.
        """
        value = self.ask_optional(prompt)
        if value is None:
            raise CredentialError("remote-signing.no-secret", prompt=prompt)
        return value

    def ask_optional(self, prompt: SecretPrompt) -> str | None:
        """Return a secret that the service can do without, or ``None``."""
        value = self._ask(prompt)
        if not value:
            return None
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            # Bytes that are no text, for example from an environment variable.
            raise CredentialError("remote-signing.no-secret", prompt=prompt) from exc
        self.hide(value)
        return value

    def hide(self, value: str) -> None:
        """Keep a value that came from the service, such as a token, out of errors."""
        if value:
            self._seen.add(value)

    def forget(self) -> None:
        """Ask for everything again when it is next needed."""
        self._kept.clear()

    def close(self) -> None:
        """Let go of everything."""
        self._kept.clear()
        self._seen.clear()

    def clean(self, text: object) -> str:
        """Return what a server said, fit for an error: one short line without secrets."""
        line = str(text)
        # The longest first: one secret may be part of another.
        for value in sorted(self._seen, key=len, reverse=True):
            line = line.replace(value, "***")
        line = " ".join(line.split())
        return "".join(letter for letter in line if letter.isprintable())[:MAX_REMOTE_TEXT]
