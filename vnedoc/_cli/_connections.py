"""Open the way to an axis that the settings describe."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vnedoc._cli.main import CLIState
    from vnedoc.exchange.connectors.base import Connector

__all__ = ["open_connection"]


def open_connection(state: CLIState, via: str | None) -> Connector:
    """Return the connector of a connection, or of the first one; nothing is sent before it is used.

    Raises:
        ConfigurationError: There is no such connection, or no connector of its kind.
    """
    from vnedoc.exchange import connectors

    config = state.config()
    connection = config.connection(via)
    return connectors.open_connection(
        connection, name=via if via is not None else next(iter(config.connections))
    )
