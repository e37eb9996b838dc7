"""An axis of each kind on loopback, with two systems and their connectors: for tests of what stands on them.

::

    with running_axis("lgsp") as axis, axis.open("sender") as connector:
        connector.send(path, sender_code=axis.sender_code, kind=PackageKind.DOCUMENT)

All kinds but ``folder`` are one hub, which speaks every wire: what one kind sends, another one receives.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vnedoc._internal.clock import utc_now
from vnedoc.errors import UsageError
from vnedoc.exchange.connectors.bkav_rest import BkavRESTConnector, BkavRESTOptions
from vnedoc.exchange.connectors.folder import FolderConnector, FolderOptions
from vnedoc.exchange.connectors.lgsp import LGSPConnector, LGSPOptions
from vnedoc.exchange.connectors.lgsp_oauth2 import LGSPOAuth2Connector, LGSPOAuth2Options
from vnedoc.exchange.connectors.vxp import VXPConnector, VXPOptions
from vnedoc.exchange.connectors.xroad import XRoadConnector, XRoadOptions
from vnedoc.exchange.hub.options import PUBLIC_WIRES, HubOptions
from vnedoc.testing.connectors import Axis
from vnedoc.testing.faults import Faults
from vnedoc.testing.hub import running_hub
from vnedoc.testing.xroad import running_security_server

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Iterator

    from vnedoc.exchange.connectors.base import Connector
    from vnedoc.sign.signers.base import SecretCallback
    from vnedoc.testing.connectors import Role
    from vnedoc.testing.hub import RunningHub, ServerTLS

__all__ = ["AXIS_KINDS", "FolderAxis", "HubAxis", "running_axis"]

AXIS_KINDS = ("vxp", "lgsp", "lgsp-oauth2", "bkav-rest", "bkav-soap", "xroad", "folder")
"""The kinds that :func:`running_axis` knows."""
_SOAP_PATH = "/services/EdocService"
_TOKEN_PATHS = {"lgsp": "/v1/auth/login", "lgsp-oauth2": "/token"}
SERVICE = "TEST/GOV/HUB/EXCHANGE/edoc"
_CLIENTS = {"sender": "TEST/GOV/A/DOCS", "recipient": "TEST/GOV/B/DOCS"}
# The colons are how a hub knows an X-Road client.
_SYSTEMS = {role: client.replace("/", ":") for role, client in _CLIENTS.items()}


@contextlib.contextmanager
def running_axis(
    kind: str,
    *,
    tls: ServerTLS | None = None,
    clock: Callable[[], datetime.datetime] = utc_now,
    options: HubOptions | None = None,
) -> Iterator[Axis]:
    """Run an axis on loopback until the block ends.

    Args:
        kind: One of :data:`AXIS_KINDS`.
        tls: How it speaks TLS; ``None``: plain HTTP.
        clock: Tells the hub the time.
        options: How the hub behaves, apart from the wires that it speaks.

    Raises:
        UsageError: There is no such kind.
    """
    if kind not in AXIS_KINDS:
        raise UsageError("connector.unknown-kind", name="TEST", kind=kind, known=", ".join(AXIS_KINDS))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vnedoc-axis-")))
        if kind == "folder":
            yield FolderAxis(folder)
            return
        faults = Faults()
        on_road = kind == "xroad"
        hub = stack.enter_context(
            running_hub(
                folder,
                options=dataclasses.replace(options or HubOptions(), wires=(*PUBLIC_WIRES, "xroad")),
                faults=None if on_road else faults,
                tls=None if on_road else tls,
                clock=clock,
            )
        )
        url = hub.url
        if on_road:
            rights = {SERVICE: set(_CLIENTS.values())}
            url = stack.enter_context(
                running_security_server({SERVICE: hub.url}, rights=rights, faults=faults, tls=tls)
            )
        yield HubAxis(kind, hub, url, faults)


class HubAxis(Axis):
    """A hub, seen through one of its wires.

    Args:
        kind: The wire.
        hub: The hub.
        url: Where the wire answers.
        faults: What stands in front of it.
    """

    def __init__(self, kind: str, hub: RunningHub, url: str, faults: Faults) -> None:
        self.kind = kind
        self.hub = hub
        self.url = url
        self.faults = faults
        self.has_secret = kind != "xroad"
        self.token_path = _TOKEN_PATHS.get(kind)
        self._secrets = {
            "sender": hub.add_system(_SYSTEMS["sender"], self.sender_code),
            "recipient": hub.add_system(_SYSTEMS["recipient"], self.recipient_code, self.other_code),
        }

    def rotate(self, role: Role) -> None:
        """Give a system a new secret."""
        self._secrets[role] = self.hub.change_secret(_SYSTEMS[role])

    def secret(self, role: Role) -> str:
        """Return the present secret of a system."""
        return self._secrets[role]

    def open(
        self,
        role: Role,
        *,
        secret: SecretCallback | None = None,
        **options: Any,  # options of the connector
    ) -> Connector:
        """Open a connector of the axis's kind."""
        return self.open_wire(self.kind, role, secret=secret, **options)

    def open_wire(
        self,
        kind: str,
        role: Role,
        *,
        secret: SecretCallback | None = None,
        **options: Any,  # options of the connector
    ) -> Connector:
        """Open a connector of any wire of the same hub; ``url`` among the options names another address."""
        if secret is None:
            secret = self._asked(role)
        system_id = _SYSTEMS[role]
        url = options.pop("url", self.url)
        if kind == "vxp":
            return VXPConnector(url, system_id, secret=secret, options=VXPOptions(**options))
        if kind == "lgsp":
            return LGSPConnector(
                url, system_id, secret=secret, password=secret, options=LGSPOptions(**options)
            )
        if kind == "lgsp-oauth2":
            return LGSPOAuth2Connector(
                url, system_id, secret=secret, unit_secret=secret, options=LGSPOAuth2Options(**options)
            )
        if kind == "bkav-rest":
            code = self.sender_code if role == "sender" else self.recipient_code
            return BkavRESTConnector(url, code, secret=secret, options=BkavRESTOptions(**options))
        if kind == "bkav-soap":
            # zeep is an extra of its own.
            from vnedoc.exchange.connectors.bkav_soap import BkavSoapConnector, BkavSoapOptions

            code = self.sender_code if role == "sender" else self.recipient_code
            place = url if url.endswith(_SOAP_PATH) else url + _SOAP_PATH
            return BkavSoapConnector(place, code, secret=secret, options=BkavSoapOptions(**options))
        options.setdefault("service", SERVICE)
        return XRoadConnector(url, _CLIENTS[role], options=XRoadOptions(**options))

    def _asked(self, role: Role) -> SecretCallback:
        return lambda _question: self._secrets[role]


class FolderAxis(Axis):
    """Offices that share a folder.

    Args:
        root: The folder.
    """

    kind = "folder"
    has_secret = False
    faults = None

    def __init__(self, root: Path) -> None:
        self.root = root
        for code in (self.sender_code, self.recipient_code, self.other_code):
            with FolderConnector(root, code) as connector:
                connector.agencies()

    def open(
        self,
        role: Role,
        *,
        secret: SecretCallback | None = None,
        **options: Any,  # options of the connector
    ) -> Connector:
        """Open the connector of an office."""
        del secret
        known = {field.name for field in dataclasses.fields(FolderOptions)}
        chosen = {name: value for name, value in options.items() if name in known}
        code = self.sender_code if role == "sender" else self.recipient_code
        return FolderConnector(self.root, code, options=FolderOptions(**chosen))
