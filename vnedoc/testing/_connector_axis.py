"""The other side of a connector under test, and what the tests of the contract share."""

from __future__ import annotations

import abc
import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from vnedoc.errors import VnedocError
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.package import read_package
from vnedoc.testing.packages import make_package

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vnedoc.exchange.connectors.base import Connector, RemoteMessage
    from vnedoc.sign.signers.base import SecretCallback
    from vnedoc.testing.faults import Faults

__all__ = [
    "Axis",
    "ContractBase",
    "Means",
    "Role",
    "assert_arrived",
    "digest",
    "needs",
    "new_folder",
    "number",
    "raised",
    "raises",
]

Role = Literal["sender", "recipient"]
"""The two systems of an axis under test."""

Means = Literal["secret", "token", "faults"]
"""What not every axis has, and some tests need."""

_Test = TypeVar("_Test")
_NEEDS = "__vnedoc_needs__"


class Axis(abc.ABC):
    """The other side of a connector under test."""

    sender_code: str = "H99"
    """Code of the agency of the system that sends."""
    recipient_code: str = "H99.1"
    """Code of an agency of the system that receives."""
    other_code: str = "H98"
    """Code of a further agency, which is not the sender's."""
    has_secret: bool = True
    """Whether a secret lets a system in."""
    token_path: str | None = None
    """What is in the path of the request for a token; ``None`` if there are no tokens."""
    faults: Faults | None = None
    """What makes the axis misbehave; ``None`` if nothing can."""

    @abc.abstractmethod
    def open(
        self,
        role: Role,
        *,
        secret: SecretCallback | None = None,
        **options: Any,  # options of the connector
    ) -> Connector:
        """Open the connector of a system.

        Args:
            role: The system.
            secret: Returns its secret; ``None``: the right one.
            options: ``timeout_s`` and ``max_package_bytes``, where the connector has them.
        """

    def rotate(self, role: Role) -> None:
        """Give a system a new secret, which :meth:`secret` returns from now on."""
        raise NotImplementedError

    def secret(self, role: Role) -> str:
        """Return the present secret of a system."""
        raise NotImplementedError


class ContractBase:
    """What the tests of the contract stand on."""

    axis: Axis
    """The other side."""
    without: ClassVar[frozenset[Means]] = frozenset()
    """What the axis does not have. A test that needs it is no test of the class: a skip would say that it is still to
    be run. A subclass may add to it."""

    def __init_subclass__(cls, **options: Any) -> None:  # whatever other bases take
        super().__init_subclass__(**options)
        for name in dir(cls):
            if getattr(getattr(cls, name), _NEEDS, frozenset()) & cls.without:
                setattr(cls, name, None)

    def _sender(self) -> Connector:
        return self.axis.open("sender")

    def _recipient(self) -> Connector:
        return self.axis.open("recipient")

    def _faults(self) -> Faults:
        assert self.axis.faults is not None, 'add "faults" to `without`'
        self.axis.faults.clear()
        return self.axis.faults

    def _package(
        self,
        folder: Path,
        *,
        recipients: list[str] | None = None,
        content: bytes | Path | None = None,
        name: str = "package.edxml",
    ) -> Path:
        path = folder / name
        make_package(
            path,
            sender=self.axis.sender_code,
            recipients=recipients or [self.axis.recipient_code],
            number=number(),
            content=os.urandom(2000) if content is None else content,
        )
        return path

    def _send(self, connector: Connector, package: Path) -> str:
        return connector.send(package, sender_code=self.axis.sender_code, kind=PackageKind.DOCUMENT)

    def _waiting(self, connector: Connector, kind: PackageKind = PackageKind.DOCUMENT) -> set[str]:
        return {message.doc_id for message in connector.list_received(kind)}

    def _sent(self, sender: Connector, recipient: Connector, package: Path) -> list[RemoteMessage]:
        """Send a package; return what is new for the recipient."""
        before = self._waiting(recipient)
        self._send(sender, package)
        return [
            message
            for message in recipient.list_received(PackageKind.DOCUMENT)
            if message.doc_id not in before
        ]


def needs(*means: Means) -> Callable[[_Test], _Test]:
    """Mark a test as one for axes that have something."""

    def mark(test: _Test) -> _Test:
        setattr(test, _NEEDS, frozenset(means))
        return test

    return mark


def number() -> int:
    """Return a number of its own for each package: the axis remembers documents."""
    return int.from_bytes(os.urandom(5))


@contextlib.contextmanager
def new_folder() -> Iterator[Path]:
    """Make a folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="vnedoc-contract-") as name:
        yield Path(name)


def raised(call: Callable[[], object]) -> VnedocError:
    """Return the error of ours that a call raises."""
    try:
        call()
    except VnedocError as error:
        return error
    raise AssertionError("nothing went wrong")


@contextlib.contextmanager
def raises(kind: type[VnedocError]) -> Iterator[None]:
    """See to it that the block raises an error of a kind."""
    try:
        yield
    except kind:
        return
    raise AssertionError(f"no {kind.__name__}")


def assert_arrived(connector: Connector, fetched: Path, sent: Path) -> None:
    """See to it that a package arrived: byte for byte, or what it says and carries where the wire takes it apart."""
    if connector.keeps_bytes:
        assert digest(fetched) == digest(sent)
        return
    first, second = (read_package(path, folder=None) for path in (fetched, sent))
    assert first.header == second.header
    assert [(item.name, item.sha256) for item in first.attachments] == [
        (item.name, item.sha256) for item in second.attachments
    ]


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
