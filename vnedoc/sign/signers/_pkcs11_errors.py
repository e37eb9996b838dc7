"""What a PKCS#11 library answers, in words: the table from its return codes to our messages."""

from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING

from vnedoc.errors import CredentialError
from vnedoc.sign.signers._pkcs11_library import cryptoki
from vnedoc.sign.signers._pkcs11_uri import normalize_label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pkcs11.types import Token

__all__ = ["PIN_CODES", "is_gone", "pin_state", "token_error", "token_errors", "token_name"]

_CODES: dict[type[Exception], str] = {
    cryptoki.PinIncorrect: "token.wrong-pin",
    cryptoki.PinInvalid: "token.pin-length",
    cryptoki.PinLenRange: "token.pin-length",
    cryptoki.PinLocked: "token.pin-locked",
    cryptoki.PinExpired: "token.pin-must-change",
    cryptoki.PinTooWeak: "token.pin-must-change",
    cryptoki.UserPinNotInitialized: "token.pin-not-set",
    cryptoki.UserAlreadyLoggedIn: "token.logged-in-elsewhere",
    cryptoki.AnotherUserAlreadyLoggedIn: "token.logged-in-elsewhere",
    cryptoki.UserTooManyTypes: "token.logged-in-elsewhere",
    cryptoki.UserNotLoggedIn: "token.logged-out",
    cryptoki.DeviceRemoved: "token.removed",
    cryptoki.TokenNotPresent: "token.removed",
    cryptoki.TokenNotRecognised: "token.not-recognised",
    cryptoki.SlotIDInvalid: "token.removed",
    cryptoki.SessionHandleInvalid: "token.session-lost",
    cryptoki.SessionClosed: "token.session-lost",
    cryptoki.ObjectHandleInvalid: "token.session-lost",
    cryptoki.KeyHandleInvalid: "token.session-lost",
    cryptoki.SessionCount: "token.busy",
    cryptoki.FunctionCancelled: "token.declined",
    cryptoki.FunctionRejected: "token.declined",
    cryptoki.MechanismInvalid: "token.no-mechanism",
    cryptoki.MechanismParamInvalid: "token.no-mechanism",
    cryptoki.KeyTypeInconsistent: "token.no-mechanism",
    cryptoki.KeySizeRange: "token.no-mechanism",
}

PIN_CODES = frozenset(
    {
        "token.wrong-pin",
        "token.wrong-pin-count-low",
        "token.wrong-pin-final-try",
        "token.pin-length",
        "token.pin-locked",
        "token.pin-must-change",
        "token.pin-not-set",
    }
)
"""Errors after which a PIN must not be sent again."""


def token_name(token: Token) -> str:
    """Return how messages call a token: its label and its serial number."""
    label = normalize_label(token.label) or normalize_label(token.model) or "PKCS#11"
    serial = normalize_label(token.serial.decode("utf-8", "replace"))
    return f"{label} ({serial})" if serial else label


def pin_state(token: Token) -> str:
    """Return what the token says of its PIN now, as the end of a message id: ``ok``, ``count-low``, ….

    The flags CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY and CKF_USER_PIN_LOCKED (PKCS#11 2.40, 3.2).
    """
    try:
        flags = token.slot.get_token().flags
    except cryptoki.PKCS11Error:
        return "ok"
    for flag, state in (
        (cryptoki.TokenFlag.USER_PIN_LOCKED, "locked"),
        (cryptoki.TokenFlag.USER_PIN_FINAL_TRY, "final-try"),
        (cryptoki.TokenFlag.USER_PIN_COUNT_LOW, "count-low"),
    ):
        if flags & flag:
            return state
    return "ok"


def is_gone(token: Token) -> bool:
    """Tell whether a token is no longer in its slot, or another one is."""
    try:
        return token.slot.get_token().serial != token.serial
    except cryptoki.PKCS11Error:
        return True


def token_error(error: Exception, token: Token) -> CredentialError:
    """Return our error for what a library answered."""
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), "token.failed")
    if code == "token.wrong-pin":
        state = pin_state(token)
        if state == "locked":
            code = "token.pin-locked"
        elif state != "ok":
            code = f"token.wrong-pin-{state}"
    elif code not in PIN_CODES and is_gone(token):
        # A token that was pulled out shows itself in many ways: device error, general error, invalid handles.
        code = "token.removed"
    reason = type(error).__name__ if not str(error) else f"{type(error).__name__}: {error}"
    return CredentialError(code, token=token_name(token), reason=reason)


@contextlib.contextmanager
def token_errors(token: Token) -> Iterator[None]:
    """Translate what the library answers inside a ``with`` block."""
    try:
        yield
    except (cryptoki.PKCS11Error, ValueError, struct.error) as exc:
        # The latter two: values that are not what their attribute should hold.
        raise token_error(exc, token) from exc
