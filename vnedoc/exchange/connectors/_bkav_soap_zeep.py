"""The small calls of the eDoc SOAP service, written and read by zeep from the description of the service.

zeep makes envelopes from our WSDL and reads answers by it; it never touches the network, and gets only XML that our
own parser took apart. What it cannot do - attachments - and what it would hold in memory - long lists - is done by
the connector itself.
"""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING, Any

from vnedoc._internal.xml import parse_bytes
from vnedoc.errors import MissingExtraError
from vnedoc.exchange._soap.description import description
from vnedoc.exchange._soap.envelope import SoapVersion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vnedoc.exchange._soap.names import OperationName

__all__ = ["AnswerError", "SmallCalls"]


class AnswerError(ValueError):
    """The answer is not what the description says."""


class SmallCalls:
    """Writes requests and reads answers of operations without attachments.

    Args:
        version: The version of SOAP.

    Raises:
        MissingExtraError: zeep is not installed.
    """

    def __init__(self, version: SoapVersion) -> None:
        self._client = _client()
        port = "EdocSoap11Port" if version is SoapVersion.V11 else "EdocSoap12Port"
        self._service = self._client.bind("EdocService", port)

    def request(
        self,
        operation: OperationName,
        values: Mapping[str, object],
        *,
        header: Mapping[str, object] | None = None,
    ) -> bytes:
        """Return an envelope.

        Args:
            operation: The operation.
            values: What its request says, by element.
            header: Header blocks, by element.
        """
        from lxml import etree

        options = {} if header is None else {"_soapheaders": dict(header)}
        envelope = self._client.create_message(self._service, operation.value, **values, **options)
        written: bytes = etree.tostring(envelope, xml_declaration=True, encoding="UTF-8")
        return written

    def ids(self, operation: OperationName, envelope: bytes) -> list[str]:
        """Return the ids of documents in an answer; none if it holds none.

        Raises:
            AnswerError: It is not what the description says.
        """
        from lxml import etree
        from zeep.exceptions import Error

        try:
            # zeep would make the call itself; reading an answer apart from that has no public name.
            described = self._service._binding.get(operation.value)  # noqa: SLF001
            result = described.process_reply(parse_bytes(envelope))
            found = getattr(getattr(result, "DocumentIds", None), "DocumentId", None) or []
            return [str(item or "").strip() for item in found]
        except (Error, etree.LxmlError, ValueError, LookupError, TypeError, AttributeError) as exc:
            # zeep lets through what its own reading stumbles over.
            raise AnswerError(str(exc)[:200] or type(exc).__name__) from exc


class _NoTransport:
    """What zeep is given in place of the network."""

    def load(self, url: str) -> bytes:
        """Refuse to load anything: the description has all types inside."""
        raise AnswerError(f"the description asks for {url[:80]}")


@functools.lru_cache(maxsize=1)
def _client() -> Any:  # zeep ships no types
    try:
        import zeep
    except ImportError as exc:
        raise MissingExtraError("soap.missing-client") from exc
    return zeep.Client(
        io.BytesIO(description("http://127.0.0.1/", qualified=False)),
        transport=_NoTransport(),
        settings=zeep.Settings(forbid_dtd=True, forbid_entities=True, forbid_external=True),
    )
