"""A real hub on loopback for tests and demonstrations: uvicorn in a thread, stopped at the end."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from vnedoc._internal.clock import utc_now
from vnedoc.errors import MissingExtraError
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.hub.secret_keys import made_secret
from vnedoc.exchange.stores.hub import HubAgency, HubStore
from vnedoc.testing._serving import ServerTLS, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vnedoc.exchange.hub.core import Hub
    from vnedoc.exchange.hub.options import HubOptions
    from vnedoc.testing.faults import Faults

__all__ = ["RunningHub", "ServerTLS", "running_hub"]


@dataclasses.dataclass(frozen=True, slots=True)
class RunningHub:
    """A hub that answers."""

    url: str
    """Its address, such as ``http://127.0.0.1:34567``."""
    folder: Path
    """Where its database and its packages are."""
    store: HubStore
    """Its memory."""
    hub: Hub
    """What answers."""

    def add_system(self, system_id: str, *agencies: HubAgency | str) -> str:
        """Let a system call the hub for agencies, and return its secret.

        Args:
            system_id: The id of the system.
            agencies: The agencies it sends and receives for; a code alone is an agency whose name is its code.
        """
        secret = made_secret()
        self.store.add_system(system_id, name=system_id, secret=secret, at=utc_now())
        self.store.register_agencies(
            system_id,
            [HubAgency(agency, agency) if isinstance(agency, str) else agency for agency in agencies],
        )
        return secret

    def change_secret(self, system_id: str) -> str:
        """Give a system a new secret and return it; the old one, and its tokens, are no good any more."""
        made = Administration(self.store, actor="local").rotate_secret(
            system_id, overlap=datetime.timedelta(0)
        )
        return made.secret


@contextlib.contextmanager
def running_hub(
    folder: Path | None = None,
    *,
    options: HubOptions | None = None,
    clock: Callable[[], datetime.datetime] = utc_now,
    port: int = 0,
    faults: Faults | None = None,
    tls: ServerTLS | None = None,
    database: str | None = None,
) -> Iterator[RunningHub]:
    """Run a hub on loopback until the block ends.

    Args:
        folder: Where it lives; ``None`` makes a folder that is removed at the end.
        options: How it behaves.
        clock: Tells the hub the time.
        port: The port; 0 takes a free one.
        faults: What goes wrong in front of it.
        tls: How it speaks TLS; ``None``: plain HTTP.
        database: A database URL; ``None``: a SQLite file in the folder.

    Raises:
        MissingExtraError: The extra ``server`` is not installed.
    """
    try:
        from vnedoc.exchange.hub._protocol import hub_protocol
        from vnedoc.exchange.hub.app import make_app
        from vnedoc.exchange.hub.options import HubOptions
    except ImportError as exc:
        raise MissingExtraError("hub.missing-server") from exc

    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vnedoc-hub-")))
        store = HubStore.open(folder, url=database)
        stack.callback(store.close)
        app = make_app(store, options=options or HubOptions(), clock=clock)
        url = stack.enter_context(
            serving(
                app if faults is None else faults.around(app),
                port=port,
                tls=tls,
                protocol=hub_protocol(app.state.hub),
            )
        )
        yield RunningHub(url, folder, store, app.state.hub)
