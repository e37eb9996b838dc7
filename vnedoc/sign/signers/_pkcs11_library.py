"""The one place that imports python-pkcs11, so that its absence is said in one way."""

from __future__ import annotations

from vnedoc.errors import MissingExtraError

try:
    import pkcs11 as cryptoki
    from pkcs11.attributes import AttributeMapper
except ModuleNotFoundError as exc:
    raise MissingExtraError("token.missing-extra") from exc

__all__ = ["AttributeMapper", "cryptoki"]
