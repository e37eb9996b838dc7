"""Open the way to an axis that the settings describe."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vnedoc.errors import CredentialError

if TYPE_CHECKING:
    from vnedoc._cli.main import CLIState
    from vnedoc.config import ConnectionConfig
    from vnedoc.exchange.connectors.base import Connector
    from vnedoc.sign.signers.base import SecretCallback

__all__ = ["open_connection"]

MAX_SECRET_BYTES = 4096


def open_connection(state: CLIState, via: str | None) -> Connector:
    """Return the connector of a connection, or of the first one; nothing is sent before it is used.

    Raises:
        ConfigurationError: There is no such connection, or no connector of its kind.
    """
    from vnedoc.exchange.connectors import open_connector

    config = state.config()
    connection = config.connection(via)
    return open_connector(
        connection.kind,
        connection.url,
        connection.system_id,
        secret=_secret(connection),
        name=via if via is not None else next(iter(config.connections)),
        timeout_s=connection.timeout_s,
    )


def _secret(connection: ConnectionConfig) -> SecretCallback:
    """Return what reads the secret from where the settings say, when it is needed."""

    def read(_prompt: str) -> str | None:
        if connection.secret_env is not None:
            return os.environ.get(connection.secret_env)
        if connection.secret_file is None:
            return None
        try:
            with connection.secret_file.open("rb") as stream:
                return stream.read(MAX_SECRET_BYTES).decode("utf-8").strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise CredentialError(
                "exchange.no-secret-file", path=connection.secret_file, reason=str(exc)
            ) from exc

    return read
