"""Everything vnedoc raises.

::

    VnedocError
    ├── UsageError              2  the call itself is wrong: an unknown role, a box outside the page
    ├── InputError              4  what was given cannot be read
    │   ├── DocumentError          a PDF
    │   └── PackageError           an edXML package
    ├── NotAllowedError         1  the document, the law or a rule says no
    ├── VerificationError       1  a signature is not valid, or not from the sender
    ├── IndeterminateError      3  it cannot be told whether a signature is valid
    ├── ConfigurationError      5  settings, trust, directory
    │   ├── CredentialError        a key, its passphrase or its certificate
    │   └── MissingExtraError      an optional part of vnedoc is not installed
    ├── RemoteError             6  a server did not answer, or not sensibly; trying again can help
    │   ├── TimestampError         a time-stamping authority
    │   └── ConnectorError         an exchange axis
    ├── RefusedError            7  the other side understood and said no
    └── InternalError          70  a bug of ours

The numbers are the exit codes of the command line. Every error has a ``code`` that never changes its meaning;
the code is the id of its message, see :mod:`vnedoc.messages`.
"""

from __future__ import annotations

import enum
from typing import ClassVar

from vnedoc import messages

__all__ = [
    "ConfigurationError",
    "ConnectorError",
    "CredentialError",
    "DocumentError",
    "ExitCode",
    "IndeterminateError",
    "InputError",
    "InternalError",
    "MissingExtraError",
    "NotAllowedError",
    "PackageError",
    "RefusedError",
    "RemoteError",
    "TimestampError",
    "UsageError",
    "VerificationError",
    "VnedocError",
]


class ExitCode(enum.IntEnum):
    """How a command ends."""

    DONE = 0
    """Done; every signature TOTAL-PASSED."""
    NO = 1
    """The answer is no: not valid, not from the sender, not allowed."""
    USAGE = 2
    """Wrong usage."""
    CANNOT_TELL = 3
    """INDETERMINATE, or no signature where one is needed."""
    UNREADABLE = 4
    """An input cannot be read."""
    CONFIGURATION = 5
    """Configuration, credential or a missing extra."""
    REMOTE = 6
    """Network or remote trouble; try again."""
    REFUSED = 7
    """The other side refused."""
    BUG = 70
    """A bug of ours."""


class VnedocError(Exception):
    """The base of every error that vnedoc raises on purpose.

    Args:
        code: The id of the message, for example ``"signer.wrong-passphrase"``.
        values: What the message names. Never a secret: values are shown and logged.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.BUG
    """How a command ends that meets this error."""
    retryable: bool = False
    """Whether doing the same again later can succeed."""

    def __init__(self, code: str, /, **values: object) -> None:
        super().__init__(code, values)
        self.code = code
        self.values = values

    def text(self, language: messages.Language | str = messages.Language.EN) -> str:
        """Return one sentence that says what is wrong; an error or a finding among the values is put in it, too."""
        return messages.text(self.code, language, **self.values)

    def hint(self, language: messages.Language | str = messages.Language.EN) -> str | None:
        """Return what a person can do about it, or ``None``."""
        return messages.hint(self.code, language, **self.values)

    def __str__(self) -> str:
        return self.text()

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders; an exception with keyword arguments does not pickle by itself.
        return (_rebuild, (type(self), self.code, self.values))


def _rebuild(kind: type[VnedocError], code: str, values: dict[str, object]) -> VnedocError:
    return kind(code, **values)


class UsageError(VnedocError):
    """The call itself is wrong."""

    exit_code = ExitCode.USAGE


class InputError(VnedocError):
    """What was given cannot be read."""

    exit_code = ExitCode.UNREADABLE


class DocumentError(InputError):
    """A PDF cannot be read or used."""


class PackageError(InputError):
    """An edXML package cannot be read or used."""


class NotAllowedError(VnedocError):
    """The document, the law or a rule does not allow it."""

    exit_code = ExitCode.NO


class VerificationError(VnedocError):
    """A signature is not valid, or not from the sender."""

    exit_code = ExitCode.NO


class IndeterminateError(VnedocError):
    """It cannot be told whether a signature is valid, or there is none where one is needed."""

    exit_code = ExitCode.CANNOT_TELL


class ConfigurationError(VnedocError):
    """Settings, trust or a directory are missing or wrong."""

    exit_code = ExitCode.CONFIGURATION


class CredentialError(ConfigurationError):
    """A key, its passphrase or its certificate cannot be used."""


class MissingExtraError(ConfigurationError):
    """An optional part of vnedoc is not installed."""


class RemoteError(VnedocError):
    """A server did not answer, or not sensibly."""

    exit_code = ExitCode.REMOTE
    retryable = True


class TimestampError(RemoteError):
    """A time-stamping authority did not give a usable token."""


class ConnectorError(RemoteError):
    """An exchange axis did not answer sensibly."""

    @property
    def retry_after_s(self) -> float | None:
        """How long the axis asks to be left alone; ``None`` if it said nothing."""
        value = self.values.get("retry_after_s")
        return float(value) if isinstance(value, int | float) else None


class RefusedError(VnedocError):
    """The other side understood the request and said no.

    The values ``remote_code`` and ``remote_message`` hold what it said.
    """

    exit_code = ExitCode.REFUSED


class InternalError(VnedocError):
    """A bug of ours."""
