"""Ways to the exchange axes, one module a kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnedoc.errors import ConfigurationError

if TYPE_CHECKING:
    from vnedoc.exchange.connectors.base import Connector
    from vnedoc.sign.signers.base import SecretCallback

__all__ = ["open_connector"]


def open_connector(
    kind: str,
    url: str,
    system_id: str,
    *,
    secret: SecretCallback,
    name: str,
    timeout_s: float = 60.0,
) -> Connector:
    """Return the connector of a kind; nothing is sent before it is used.

    Args:
        kind: ``vxp``.
        url: Base address of the axis.
        system_id: The id that the axis gave to this system.
        secret: Returns the secret of the system.
        name: The name of the connection.
        timeout_s: Time limit for each step of a call.

    Raises:
        ConfigurationError: There is no connector of this kind.
    """
    if kind == "vxp":
        from vnedoc.exchange.connectors.vxp import VXPConnector, VXPOptions

        return VXPConnector(url, system_id, secret=secret, name=name, options=VXPOptions(timeout_s=timeout_s))
    raise ConfigurationError("connector.unknown-kind", name=name, kind=kind)
