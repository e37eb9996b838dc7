"""PKCS#11 URIs (RFC 7512): which module, which token, which object; never a PIN.

One attribute is ours: ``x-cert-serial``, the serial number of the certificate in hexadecimal, because that is what
people find on the paper that came with their token. Text is compared in NFC: tokens hold Vietnamese labels composed
or decomposed, as the tool that wrote them happened to.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from typing import Self
from urllib.parse import quote, unquote_to_bytes

from vnedoc.errors import UsageError

__all__ = ["PKCS11URI", "normalize_label"]

MAX_URI_CHARACTERS = 4096
SCHEME = "pkcs11"

# RFC 7512, 2.3 with our x-cert-serial; the value is the name of the field.
_PATH_ATTRIBUTES = {
    "token": "token",
    "manufacturer": "manufacturer",
    "serial": "serial",
    "model": "model",
    "library-manufacturer": "library_manufacturer",
    "library-description": "library_description",
    "library-version": "library_version",
    "slot-id": "slot_id",
    "slot-description": "slot_description",
    "slot-manufacturer": "slot_manufacturer",
    "object": "object",
    "type": "type",
    "id": "id",
    "x-cert-serial": "cert_serial",
}
_QUERY_ATTRIBUTES = {"module-path": "module_path", "module-name": "module_name"}
_PIN_ATTRIBUTES = {"pin-value", "pin-source"}
_TYPES = {"public", "private", "cert"}

_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
# What stays readable; a shell has no use for any of it.
_SAFE_PATH, _SAFE_QUERY = ":,.@+", ":,.@+/\\"


def normalize_label(value: str) -> str:
    """Return a label as it is compared and shown: NFC, without padding and control characters.

    A label comes from a device, and what it could do to a terminal is not wanted.
    """
    composed = unicodedata.normalize("NFC", value)
    return "".join(letter for letter in composed if unicodedata.category(letter) != "Cc").strip(" ")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PKCS11URI:
    """What a ``pkcs11:`` URI names; ``None`` leaves a point open."""

    token: str | None = None
    """Label of the token."""
    manufacturer: str | None = None
    """Manufacturer of the token."""
    serial: str | None = None
    """Serial number of the token."""
    model: str | None = None
    """Model of the token."""
    library_manufacturer: str | None = None
    """Manufacturer of the module."""
    library_description: str | None = None
    """Description of the module."""
    library_version: str | None = None
    """Version of the module, ``major.minor`` or ``major``."""
    slot_id: int | None = None
    """Number of the slot; it may change when the token is plugged in again."""
    slot_description: str | None = None
    """Description of the slot."""
    slot_manufacturer: str | None = None
    """Manufacturer of the slot."""
    object: str | None = None
    """Label of the certificate or of the key."""
    type: str | None = None
    """``cert``, ``private`` or ``public``: what ``object`` and ``id`` are the label and the id of."""
    id: bytes | None = None
    """Id (CKA_ID) of the certificate or of the key."""
    cert_serial: int | None = None
    """Serial number of the certificate."""
    module_path: str | None = None
    """Path of the module."""
    module_name: str | None = None
    """Short name of the module: one of ours, or the name of its file without ``lib`` and suffix."""

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Read a URI.

        Spaces and Vietnamese letters may stand unescaped, as people type them.

        Raises:
            UsageError: It is malformed, repeats or does not know an attribute, or carries a PIN. The message never
                repeats a value.
        """
        scheme, _, rest = uri.partition(":")
        if scheme.lower() != SCHEME or len(uri) > MAX_URI_CHARACTERS:
            raise UsageError("token.uri-malformed")
        path, _, query = rest.partition("?")
        pairs = [*_pairs(path, ";"), *_pairs(query, "&")]
        if any(name.lower() in _PIN_ATTRIBUTES for name, _ in pairs):
            # A PIN in an argument stands in the process list and in the shell's history.
            raise UsageError("token.uri-pin")
        fields: dict[str, object] = {}
        in_path = len(_pairs(path, ";"))
        for position, (name, raw) in enumerate(pairs):
            known = _PATH_ATTRIBUTES if position < in_path else _QUERY_ATTRIBUTES
            field = known.get(name)
            if field is None:
                if position >= in_path and name not in _PATH_ATTRIBUTES:
                    # Query attributes only say how to get there; unknown ones do not change what is meant.
                    continue
                raise UsageError("token.uri-unknown-attribute", name=name, known=", ".join(known))
            if field in fields:
                raise UsageError("token.uri-repeated", name=name)
            fields[field] = _value(name, raw)
        return cls(**fields)  # type: ignore[arg-type] # each value was made for its field just above

    def as_text(self) -> str:
        """Return the URI, escaped so that no shell changes it."""
        parts = {"path": [], "query": []}  # type: dict[str, list[str]]
        for kind, table, safe in (
            ("path", _PATH_ATTRIBUTES, _SAFE_PATH),
            ("query", _QUERY_ATTRIBUTES, _SAFE_QUERY),
        ):
            for name, field in table.items():
                value = getattr(self, field)
                if value is None:
                    continue
                if isinstance(value, bytes):
                    written = "".join(f"%{byte:02X}" for byte in value)
                elif field == "cert_serial":
                    written = f"{value:x}"
                else:
                    written = quote(str(value), safe=safe)
                parts[kind].append(f"{name}={written}")
        query = "&".join(parts["query"])
        return f"{SCHEME}:{';'.join(parts['path'])}" + (f"?{query}" if query else "")


def _pairs(part: str, separator: str) -> list[tuple[str, str]]:
    pairs = []
    for piece in part.split(separator) if part else ():
        name, equals, value = piece.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise UsageError("token.uri-malformed")
        pairs.append((name, value))
    return pairs


def _value(name: str, raw: str) -> object:
    if _BROKEN_ESCAPE.search(raw):
        raise UsageError("token.uri-bad-value", name=name)
    content = unquote_to_bytes(raw)
    if name == "id":
        return content
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise UsageError("token.uri-bad-value", name=name) from exc
    if name == "slot-id":
        if not re.fullmatch(r"[0-9]{1,20}", text):
            raise UsageError("token.uri-bad-value", name=name)
        return int(text)
    if name == "x-cert-serial":
        digits = re.sub(r"[:\s]", "", text)
        # RFC 5280, 4.1.2.2: at most 20 octets.
        if not re.fullmatch(r"(?:0x)?[0-9A-Fa-f]{1,40}", digits):
            raise UsageError("token.uri-bad-value", name=name)
        return int(digits, 16)
    if name == "type" and text not in _TYPES:
        raise UsageError("token.uri-bad-value", name=name)
    # A path is bytes to the file system and stays as it is written.
    return text if name == "module-path" else normalize_label(text)
