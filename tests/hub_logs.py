"""What a hub in this process writes down, as JSON."""

from __future__ import annotations

import contextlib
import io
import logging
from typing import TYPE_CHECKING

from vnedoc.exchange.hub.logs import JSONFormatter

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def recorded(level: int) -> Iterator[io.StringIO]:
    """Keep the lines of a level and above."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JSONFormatter())
    logger = logging.getLogger("vnedoc")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield stream
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
