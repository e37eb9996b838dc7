"""What the calls of the administration API share: entity tags, pages, and calls that are made once.

* ``ETag`` is the version of a system or an agency; who changes one says in ``If-Match`` which version was looked at
  (RFC 9110, 13.1.1), or ``*``.
* ``Idempotency-Key`` follows draft-ietf-httpapi-idempotency-key-header-07: the same key and call gives the first
  answer again, with ``Idempotent-Replayed: true``; another call under the same key is 422. A call that comes while
  the first is being made waits for it. Answers are kept for 24 hours, sealed, for the same token only.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import re
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Header, Path, Query
from pydantic import AfterValidator, AwareDatetime
from starlette.responses import JSONResponse

from vnedoc._internal.clock import as_utc
from vnedoc.exchange.hub._admin_models import Problem
from vnedoc.exchange.hub._admin_problems import PROBLEM_TYPE, ProblemError
from vnedoc.exchange.stores.hub_administration import Once

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import BaseModel
    from starlette.requests import Request
    from starlette.responses import Response

    from vnedoc.exchange.hub._admin_gate import Desk
    from vnedoc.exchange.hub.administration import Administration
    from vnedoc.exchange.stores.hub_administration import HubChanges

__all__ = [
    "CodeInPath",
    "IdInPath",
    "IdempotencyKey",
    "IfMatch",
    "KnownCodeInPath",
    "Limit",
    "Moment",
    "create",
    "etag",
    "expected_version",
    "read_cursor",
    "refusals",
    "with_tag",
    "write_cursor",
]

DEFAULT_PAGE = 100
MAX_PAGE = 500
_ETAG = re.compile(r'"([0-9]{1,18})"')
_KEY = re.compile(r"[\x21\x23-\x7e]{1,255}")
_EARLIEST = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
_LATEST = datetime.datetime(2200, 1, 1, tzinfo=datetime.UTC)
_MAX_CURSOR_CHARS = 200

_WORDS = {
    400: "The body is no JSON.",
    401: "The token is missing, wrong, or has ended.",
    403: "The role of the token is too low.",
    404: "There is no such thing.",
    409: "It contradicts what is there.",
    412: "Somebody else has changed it since that version.",
    413: "The body is too large.",
    422: "The request is not what it should be.",
    428: "The request needs `If-Match`.",
    429: "Too many wrong tokens from this address.",
    503: "The database does not answer; try again.",
}


def _in_time(moment: datetime.datetime) -> datetime.datetime:
    if not _EARLIEST <= moment <= _LATEST:
        raise ValueError("not between the years 2000 and 2200")
    return as_utc(moment)


Moment = Annotated[AwareDatetime, AfterValidator(_in_time)]
"""A time with a zone, within two centuries."""
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="How many at most.")]
"""How long a page is."""
IdInPath = Annotated[str, Path(min_length=1, max_length=64)]
"""An id in the path."""
CodeInPath = Annotated[str, Path(min_length=1, max_length=64, description="Code of the agency.")]
"""The code of an agency in the path."""
KnownCodeInPath = Annotated[str, Path(min_length=1, description="Code of the agency.")]
"""The code of an agency that is there; from before there were rules for codes it may be of any length."""
IfMatch = Annotated[
    str | None, Header(max_length=200, description='The `ETag` that was looked at, such as `"3"`, or `*`.')
]
"""Which version a change is for."""
IdempotencyKey = Annotated[
    str | None,
    Header(max_length=257, description="A name for this call, such as a UUID; the same again is made once."),
]
"""What a call is named, so that it is made once."""


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:  # as FastAPI has it
    """Return the description of the refusals that a call knows, beside those that all calls know."""
    return {
        status: {
            "model": Problem,
            "description": _WORDS[status],
            "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({400, 401, 403, 422, 429, 503, *statuses})
    }


def etag(version: int) -> str:
    """Return the entity tag of a version."""
    return f'"{version}"'


def expected_version(if_match: str | None, *, required: bool = True) -> int | None:
    """Return the version that a change is for; ``None`` for any.

    Raises:
        ProblemError: Nothing was said (428), or what was said is no tag of ours (412).
    """
    if if_match is None:
        if required:
            raise ProblemError(428, "hub.needs-if-match")
        return None
    if if_match.strip() == "*":
        return None
    found = _ETAG.fullmatch(if_match.strip())
    if found is None:
        # A weak tag, a list, a tag of something else: none of them is the present version.
        raise ProblemError(412, "hub.other-version")
    return int(found[1])


def create(
    desk: Desk,
    request: Request,
    key: str | None,
    body: BaseModel,
    change: Callable[[Administration, HubChanges], tuple[BaseModel, str | None]],
) -> Response:
    """Make a change that creates something, once if it is named, and answer 201.

    Args:
        desk: Who calls.
        request: The request.
        key: The ``Idempotency-Key``.
        body: What was sent, as it was understood.
        change: Makes the change; returns the answer, and where to find what was made.

    Raises:
        ProblemError: The key is none, or was used for another call.
    """

    def made(bound: Administration, changes: HubChanges) -> dict[str, object]:
        answer, place = change(bound, changes)
        return {"answer": answer.model_dump(mode="json"), "place": place}

    repeated = False
    if key is None:
        kept = desk.administration.together(made)
    else:
        content = f"{request.method} {request.url.path}\n{body.model_dump_json()}"
        once = Once(_plain_key(key), hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest())
        kept, repeated = desk.administration.once(once, made)
    headers = {"Idempotent-Replayed": "true"} if repeated else {}
    if kept["place"] is not None:
        headers["Location"] = f"{request.scope.get('root_path', '')}/v1{kept['place']}"
    return JSONResponse(kept["answer"], status_code=201, headers=headers)


def _plain_key(key: str) -> str:
    # The draft has a quoted string; many clients send it bare.
    plain = key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key
    if not _KEY.fullmatch(plain):
        raise ProblemError(422, "hub.bad-idempotency-key")
    return plain


def write_cursor(moment: datetime.datetime, message_id: str) -> str:
    """Return where a page of messages ended."""
    text = f"{as_utc(moment).isoformat(timespec='microseconds')}|{message_id}"
    return base64.urlsafe_b64encode(text.encode()).decode("ascii")


def read_cursor(cursor: str | None) -> tuple[datetime.datetime, str] | None:
    """Return what :func:`write_cursor` wrote.

    Raises:
        ProblemError: It did not write this.
    """
    if cursor is None:
        return None
    try:
        moment, _, message_id = (
            base64.urlsafe_b64decode(cursor[:_MAX_CURSOR_CHARS]).decode("ascii").partition("|")
        )
        return _in_time(datetime.datetime.fromisoformat(moment)), message_id
    except (binascii.Error, ValueError, TypeError) as exc:
        raise ProblemError(422, "hub.bad-cursor") from exc


def with_tag(
    view: BaseModel, version: int, *, headers: Mapping[str, str] | None = None, status: int = 200
) -> Response:
    """Return an answer with the entity tag of its version."""
    return JSONResponse(
        view.model_dump(mode="json"), status_code=status, headers={"ETag": etag(version), **(headers or {})}
    )
