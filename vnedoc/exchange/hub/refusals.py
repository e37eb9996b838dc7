"""How the hub says no: a code of the wire, a sentence from the catalogue, an HTTP status. Nothing else leaks out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from vnedoc import messages
from vnedoc.exchange._vxp import Answer, ErrorCode

if TYPE_CHECKING:
    from vnedoc.errors import PackageError

__all__ = ["RefusalError", "unreadable_package"]


class RefusalError(Exception):
    """The hub does not do what was asked.

    Args:
        error_code: The ``ErrorCode`` of the answer.
        message_id: The id of its sentence.
        status: The HTTP status. 200 for what the axis refuses for a reason of its own: clients of the national axis
            read the envelope of a 200 and of nothing else.
        values: What the sentence names; an error of ours among them is told in the language of the sentence.
    """

    def __init__(
        self, error_code: ErrorCode, message_id: str, *, status: int = 200, **values: object
    ) -> None:
        super().__init__(message_id)
        self.error_code = error_code
        self.message_id = message_id
        self.status = status
        self.retry_after_s: float | None = None
        """When it is worth another try (``Retry-After``); ``None`` where time changes nothing."""
        self.values = values

    def again_after(self, seconds: float | None) -> Self:
        """Say when it is worth another try."""
        self.retry_after_s = seconds
        return self

    def answer(self, language: messages.Language) -> Answer:
        """Return the envelope that says no."""
        text = messages.text(self.message_id, language, **self.values)
        return Answer(ok=False, error_code=self.error_code.value, error_text=text)


def unreadable_package(error: PackageError) -> RefusalError:
    """Return the refusal of a package that cannot be read, with what is wrong with it and without our path of it."""
    error.values.pop("path", None)
    return RefusalError(ErrorCode.INVALID_PACKAGE, "hub.unreadable-package", reason=error)
