"""Logging in to a token, once, and never with the same wrong PIN twice.

PKCS#11 knows one login a token and process (2.40, 5.4): all sessions see it, and a second C_Login is refused. Signers
on the same token therefore share the login; each must still present the right PIN.
"""

from __future__ import annotations

import contextlib
import hmac
import secrets
from typing import TYPE_CHECKING

from vnedoc.errors import CredentialError
from vnedoc.sign.signers._pkcs11_errors import pin_state, token_errors, token_name
from vnedoc.sign.signers._pkcs11_library import cryptoki
from vnedoc.sign.signers._pkcs11_modules import Login
from vnedoc.sign.signers.base import SecretPrompt

if TYPE_CHECKING:
    from pkcs11.types import Token

    from vnedoc.sign.signers._pkcs11_modules import Module
    from vnedoc.sign.signers.base import SecretCallback

__all__ = ["LoginTicket", "ask_pin", "log_in"]

# Compared with, never stored; a guess in memory is not counted by the token, so it is counted here.
_KEY = secrets.token_bytes(32)
_MAX_OTHER_PINS = 3


class LoginTicket:
    """A signer's share in the login to a token."""

    def __init__(self, module: Module, slot_id: int, login: Login) -> None:
        self._module, self._slot_id, self._login = module, slot_id, login
        self._released = False

    def release(self) -> None:
        """Give the share back; the last one logs out."""
        with self._module.lock:
            if self._released:
                return
            self._released = True
            self._login.users -= 1
            if self._login.users == 0:
                self.forget()
                with contextlib.suppress(cryptoki.PKCS11Error):
                    # A token that is gone has logged out by itself.
                    self._login.session.close()

    def forget(self) -> None:
        """Let no further signer share this login: it is lost."""
        with self._module.lock:
            if self._module.logins.get(self._slot_id) is self._login:
                del self._module.logins[self._slot_id]


def log_in(module: Module, token: Token, *, secret: SecretCallback) -> LoginTicket | None:
    """Log in to a token.

    Returns:
        The share in the login; ``None`` if the token wants none.

    Raises:
        CredentialError: No PIN, a wrong one, or one that the token does not take any more. It was sent once at most.
    """
    name = token_name(token)
    with module.lock, token_errors(token):
        flags = token.slot.get_token().flags
    if not flags & cryptoki.TokenFlag.LOGIN_REQUIRED:
        return None
    for flag, code in (
        (cryptoki.TokenFlag.USER_PIN_LOCKED, "token.pin-locked"),
        (cryptoki.TokenFlag.USER_PIN_TO_BE_CHANGED, "token.pin-must-change"),
    ):
        if flags & flag:
            raise CredentialError(code, token=name)
    if not flags & cryptoki.TokenFlag.USER_PIN_INITIALIZED:
        raise CredentialError("token.pin-not-set", token=name)
    on_device = bool(flags & cryptoki.TokenFlag.PROTECTED_AUTHENTICATION_PATH)
    pin = None if on_device else ask_pin(token, secret=secret)
    check = hmac.digest(_KEY, b"" if pin is None else pin.encode("utf-8"), "sha256")
    slot_id = token.slot.slot_id
    with module.lock:
        login = module.logins.get(slot_id)
        if login is None:
            with token_errors(token):
                session = token.open(user_pin=cryptoki.types.PROTECTED_AUTH if pin is None else pin)
            login = module.logins[slot_id] = Login(session, check)
            return LoginTicket(module, slot_id, login)
        if login.refused >= _MAX_OTHER_PINS or not hmac.compare_digest(login.pin_check, check):
            login.refused += 1
            raise CredentialError("token.other-pin", token=name)
        login.users += 1
        return LoginTicket(module, slot_id, login)


def ask_pin(token: Token, *, secret: SecretCallback, signing: bool = False) -> str:
    """Ask for the PIN, or for the PIN of each signature.

    Raises:
        CredentialError: None was given.
    """
    name = token_name(token)
    if signing:
        prompt = SecretPrompt("token.prompt-signing-pin", token=name)
    elif pin_state(token) == "final-try":
        # The prompt is the last chance to say so.
        prompt = SecretPrompt("token.prompt-pin-final-try", token=name)
    else:
        prompt = SecretPrompt("token.prompt-pin", token=name)
    pin = secret(prompt)
    if not pin:
        # An empty PIN would be counted as a wrong one.
        raise CredentialError("token.no-pin", token=name)
    return pin
