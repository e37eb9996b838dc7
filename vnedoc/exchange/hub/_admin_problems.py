"""Refusals of the administration API as problem details (RFC 9457), in Vietnamese or English."""

from __future__ import annotations

import http
import logging
from typing import TYPE_CHECKING

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from vnedoc import messages
from vnedoc.errors import InputError, RemoteError, UsageError, VnedocError
from vnedoc.exchange.hub.visits import note_reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI
    from starlette.responses import Response

__all__ = ["PROBLEM_TYPE", "ProblemError", "add_handlers", "check_query", "language_of", "problem"]

logger = logging.getLogger("vnedoc.hub")

PROBLEM_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
MAX_ERRORS = 20
"""How many wrong fields one answer names."""
# What is named in the path is not there; the same said of something in the body is a wrong value.
_MISSING = {
    "hub.unknown-system": ("system_id", "system_id"),
    "hub.no-agency": ("code", "code"),
    "hub.no-secret-id": ("secret_id", "id"),
    "hub.no-service-token": ("token_id", "id"),
}
_STATUS = {
    "hub.system-exists": 409,
    "hub.last-secret": 409,
    "hub.agency-in-use": 409,
    "hub.agency-succeeds": 409,
    "hub.outdated": 412,
}


class ProblemError(Exception):
    """A call is refused.

    Args:
        status: The HTTP status.
        code: The id of the sentence.
        headers: Further headers of the answer.
        values: What the sentence names.
    """

    def __init__(
        self, status: int, code: str, *, headers: Mapping[str, str] | None = None, **values: object
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.headers = headers
        self.values = values


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **members: object,
) -> Response:
    """Return a refusal.

    Args:
        status: The HTTP status.
        code: A word for programs that never changes its meaning.
        detail: One sentence for people.
        headers: Further headers.
        members: Further members of the document.
    """
    note_reason(code)
    content = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        **members,
    }
    return JSONResponse(content, status_code=status, headers=dict(headers or {}), media_type=PROBLEM_TYPE)


def language_of(accepted: str, default: messages.Language) -> messages.Language:
    """Return the language of an ``Accept-Language``: the first of ours that it names."""
    for part in accepted.lower().split(","):
        for language in messages.Language:
            if part.strip().startswith(language.value):
                return language
    return default


async def check_query(request: Request) -> None:
    """Refuse a query that names what a call does not know, or one thing twice: a mistyped filter filters nothing.

    Raises:
        RequestValidationError: It does.
    """
    known = {field.alias for field in request.scope["route"].dependant.query_params}
    names = [name for name, _ in request.query_params.multi_items()]
    wrong = [name for name in dict.fromkeys(names) if name not in known or names.count(name) > 1]
    if wrong:
        raise RequestValidationError(
            [
                {"loc": ("query", name), "msg": "unknown, or given more than once"}
                for name in wrong[:MAX_ERRORS]
            ]
        )


async def check_path(request: Request) -> None:
    """Refuse a path with a slash that is no border: ``/agencies/H99%2Fclosing`` names no closing of H99.

    Raises:
        ProblemError: It has one.
    """
    if b"%2f" in request.scope.get("raw_path", b"").lower():
        raise ProblemError(404, "hub.no-such-path")


def add_handlers(app: FastAPI) -> None:
    """Let all errors of an application end as problem details."""
    app.add_exception_handler(ProblemError, _refuse)
    app.add_exception_handler(VnedocError, _translate)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _plain)
    app.add_exception_handler(Exception, _internal)


def _language(request: Request) -> messages.Language:
    default: messages.Language = request.app.state.office.hub.options.language
    return language_of(request.headers.get("accept-language", ""), default)


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    text = messages.text(error.code, _language(request), **error.values)
    return problem(error.status, error.code, text, headers=error.headers)


async def _translate(request: Request, error: Exception) -> Response:
    assert isinstance(error, VnedocError)
    status, headers = _status(error, request.path_params), {}
    language = _language(request)
    if status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        # Neither a caller nor the log is told what a database says: it may repeat what it was asked to keep.
        logger.error("a call failed", exc_info=error, extra={"refusal": error.code})
        return problem(status, "hub.internal", messages.text("hub.internal", language), headers=headers)
    hint = error.hint(language)
    members = {} if hint is None else {"hint": hint}
    return problem(status, error.code, error.text(language), headers=headers, **members)


def _status(error: VnedocError, path: Mapping[str, object]) -> int:
    if error.code in _MISSING:
        parameter, value = _MISSING[error.code]
        return 404 if parameter in path and path[parameter] == error.values[value] else 422
    if error.code in _STATUS:
        return _STATUS[error.code]
    if isinstance(error, RemoteError):
        return 503
    if isinstance(error, UsageError) or error.code.startswith("directory."):
        return 422
    return 500 if isinstance(error, InputError) or error.code.startswith("exchange.") else 409


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # Never what was given: it may be a secret.
    errors = [
        {"pointer": "/" + "/".join(str(step)[:100] for step in item["loc"]), "detail": str(item["msg"])[:300]}
        for item in error.errors()[:MAX_ERRORS]
    ]
    text = messages.text("hub.bad-request", _language(request))
    # What is no JSON at all says nothing that could be right or wrong.
    is_json = all(item["type"] != "json_invalid" for item in error.errors() if "type" in item)
    return problem(422 if is_json else 400, "hub.bad-request", text, errors=errors)


async def _plain(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "hub.no-such-path", 405: "hub.no-such-method"}.get(error.status_code, "hub.bad-request")
    text = messages.text(code, _language(request))
    return problem(error.status_code, code, text, headers=error.headers)


async def _internal(request: Request, error: Exception) -> Response:
    logger.error("a call failed", exc_info=error, extra={"refusal": "hub.internal"})
    return problem(500, "hub.internal", messages.text("hub.internal", _language(request)))
