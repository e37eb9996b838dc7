"""The log of a hub: one line for each event, as JSON or as text, without documents, names and secrets.

Of an exception only its kind and the places in the programs are written: its words may repeat what a caller sent. So
may those of a library. It is heard only when it reports an error, and then without its words.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import sys
import traceback
from typing import TextIO

__all__ = ["JSONFormatter", "TextFormatter", "log_to"]

# Everybody else is a library: what it says reaches the root, and would be a line without a form if nobody took it.
_ROOT = ""
_LOGGERS = {"vnedoc": logging.INFO, "uvicorn.error": logging.ERROR, _ROOT: logging.ERROR}
# What a record has beside what was given as extra.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
_MAX_TEXT = 1000
_KNOWN = ("vnedoc", "uvicorn.error")


class JSONFormatter(logging.Formatter):
    """Writes a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return json.dumps(_fields(record), ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """Writes a record as words."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = _fields(record)
        head = " ".join(str(fields.pop(name)) for name in ("time", "level", "logger", "message"))
        return " ".join([head, *(f"{name}={value}" for name, value in fields.items() if value is not None)])


def log_to(stream: TextIO | None = None, *, form: str = "json", level: int | None = None) -> None:
    """Let a hub write its log.

    Args:
        stream: Where to; ``None`` is the standard error output.
        form: ``json`` or ``text``.
        level: From which level on; ``None`` is the usual one.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JSONFormatter() if form == "json" else TextFormatter())
    for name, usual in _LOGGERS.items():
        logger = logging.getLogger(name or None)
        logger.handlers = [handler]
        logger.setLevel(usual if level is None else max(usual, level))
        logger.propagate = False


def _fields(record: logging.LogRecord) -> dict[str, object]:
    moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
    fields: dict[str, object] = {
        "time": moment.isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": record.getMessage()[:_MAX_TEXT],
        "process": os.getpid(),
    }
    if not record.name.startswith(_KNOWN):
        fields["message"] = "a library reports an error"
        fields["line"] = f"{record.module}:{record.lineno}"
    fields.update({name: value for name, value in vars(record).items() if name not in _USUAL})
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        fields["error"] = _kinds(error)
        fields["at"] = [
            f"{frame.filename.rpartition('site-packages/')[2]}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(error.__traceback__)[-12:]
        ]
    return fields


def _kinds(error: BaseException) -> str:
    kinds = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        kinds.append(f"{type(current).__module__}.{type(current).__qualname__}")
        current = current.__cause__ or current.__context__
    return " < ".join(kinds)
