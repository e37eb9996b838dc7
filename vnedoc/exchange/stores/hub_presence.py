"""Whether there is a hub in a database: a look that makes nothing there."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from vnedoc.errors import ConfigurationError
from vnedoc.exchange.stores.database import Database
from vnedoc.exchange.stores.models import HubSystemRow

__all__ = ["check_hub_is_there"]


def check_hub_is_there(url: str) -> None:
    """Refuse a database that holds no hub: a mistyped address, or an empty database. Nothing is made.

    Args:
        url: A database URL of SQLAlchemy.

    Raises:
        ConfigurationError: There is no hub, or the URL is wrong.
        InputError: The database cannot be read.
        RemoteError: The database server does not answer.
    """
    file = url.partition("?")[0].removeprefix("sqlite:///")
    # SQLite would make the file, and the folders above it.
    if url.startswith("sqlite:///") and not Path(file).is_file():
        raise ConfigurationError("hub.no-database", path=file)
    database = Database(url, branch="hub", migrate=False)
    try:
        with database.single() as connection:
            is_there = sa.inspect(connection).has_table(HubSystemRow.__tablename__)
    finally:
        database.close()
    if not is_there:
        path = file if database.is_sqlite else database.shown_url
        raise ConfigurationError("hub.no-database", path=path)
