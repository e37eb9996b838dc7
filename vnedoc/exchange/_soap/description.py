"""The description of the service (WSDL 1.1): as the hub serves it, and as the platform itself would have it."""

from __future__ import annotations

from importlib import resources

from vnedoc.exchange._soap import names
from vnedoc.exchange._soap.envelope import escaped

__all__ = ["description"]

_REQUESTS = f'<xs:schema id="requests" targetNamespace="{names.NAMESPACE}" elementFormDefault="qualified">'


def description(address: str, *, qualified: bool = True) -> bytes:
    """Return the WSDL.

    Args:
        address: Where the service answers.
        qualified: Whether the elements of requests stand in the namespace of the service, which programs that work
            from a description need. The platform reads them only without one.
    """
    text = (resources.files(__package__) / "edoc.wsdl").read_text(encoding="utf-8")
    if not qualified:
        prefix = f"{names.PREFIX}:"
        text = text.replace(_REQUESTS, "<xs:schema>").replace(f'"{prefix}Request', '"Request')
        for operation in names.OPERATIONS.values():
            # The manifest stands in the namespace in requests, too.
            if operation.name is not names.OperationName.SEND_DOCUMENT:
                text = text.replace(
                    f'element="{prefix}{operation.request}"', f'element="{operation.request}"'
                )
    return text.replace("{address}", escaped(address)).encode()
