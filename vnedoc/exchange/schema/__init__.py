"""JSON Schemas of headers and packages, made from the model; what they describe is what the code reads and writes.

``header.json`` is what ``vnedoc pack --header`` takes (as JSON, or the same in TOML); ``package.json`` is what
``vnedoc unpack --format json`` prints. The files are written by ``python -m vnedoc.exchange.schema``; a test
keeps them up to date.
"""

from __future__ import annotations

import ast
import dataclasses
import datetime
import inspect
import itertools
import json
import re
import types
import typing
from importlib import resources
from pathlib import Path
from typing import Any

from vnedoc.exchange.codes import BusinessKind
from vnedoc.exchange.header_files import MAX_NUMBER, field_names, required_names
from vnedoc.exchange.models import Business, DocumentHeader, PackageFinding, ReceivedAttachment, StatusHeader
from vnedoc.exchange.xmlsig import PackageSignatureReport
from vnedoc.sign.report import Finding

__all__ = ["NAMES", "generate", "load_schema", "rendered"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
NAMES = ("header", "package")
"""The schemas that are shipped."""

_Schema = dict[str, Any]  # JSON
# What programs in Python are given, and JSON is not.
_NOT_SHOWN = frozenset({(PackageSignatureReport, "signed"), (ReceivedAttachment, "unknown")})


def load_schema(name: str) -> _Schema:
    """Return one of the shipped schemas.

    Args:
        name: One of :data:`NAMES`.

    Raises:
        ValueError: There is no such schema.
    """
    if name not in NAMES:
        raise ValueError(f"no schema {name!r}; there are {', '.join(NAMES)}")
    text = (resources.files(__name__) / f"{name}.json").read_text(encoding="utf-8")
    loaded: _Schema = json.loads(text)
    return loaded


def rendered(name: str) -> str:
    """Return one of the schemas, made anew, as it stands in its file."""
    return json.dumps(generate(name), ensure_ascii=False, indent=2) + "\n"


def generate(name: str) -> _Schema:
    """Make one of the schemas from the model.

    Args:
        name: One of :data:`NAMES`.
    """
    maker = _Maker(reading=name == "header")
    return maker.header() if name == "header" else maker.package()


class _Maker:
    """Makes the schemas; what is read must be complete, what is printed may have the gaps of what was received."""

    def __init__(self, *, reading: bool) -> None:
        self._reading = reading
        self._defs: dict[str, _Schema] = {}

    def header(self) -> _Schema:
        """Return the schema of a header file."""
        document, status = self._reference(DocumentHeader), self._reference(StatusHeader)
        return {
            "$schema": DIALECT,
            "$id": "urn:vnedoc:schema:header:1",
            "title": "Header of an edXML package (QCVN 102:2016/BTTTT with SĐ1:2022)",
            "if": {"type": "object", "required": ["status_code"]},
            "then": status,
            "else": document,
            "$defs": self._defs,
        }

    def package(self) -> _Schema:
        """Return the schema of a package that was read."""
        attachment = self._reference(ReceivedAttachment)
        # The command prints what a program needs; where a file was put is its path.
        shown = self._defs["ReceivedAttachment"]
        for hidden in ("file_name", "payload_sha256"):
            del shown["properties"][hidden]
            shown["required"].remove(hidden)
        properties: _Schema = {
            "schema": {"const": "vnedoc.package/1"},
            "path": {"type": "string", "description": "The package."},
            "kind": {"enum": ["document", "status"]},
            "size": {"type": "integer", "minimum": 0, "description": "Its size in bytes."},
            "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "SHA-256 of the file."},
            "header": {},
            "attachments": {"type": "array", "items": attachment},
            "warnings": {"type": "array", "items": self._finding(PackageFinding)},
            "signature": self._reference(PackageSignatureReport),
        }
        document, status = self._reference(DocumentHeader), self._reference(StatusHeader)
        properties["header"] = {"type": "object"}
        required = list(properties)
        properties["error"] = {
            "type": "object",
            "description": "Why it is refused; then nothing but its path is there.",
            "properties": {
                "id": {"type": "string", "description": "Stable; never changes its meaning."},
                "line": {
                    "type": ["integer", "null"],
                    "minimum": 1,
                    "description": "The line of the file, where there is one.",
                },
                "text": {
                    "type": "string",
                    "description": "The sentence, in the language that was asked for.",
                },
            },
            "required": ["id", "line", "text"],
            "additionalProperties": False,
        }
        return {
            "$schema": DIALECT,
            "$id": "urn:vnedoc:schema:package:1",
            "title": "An edXML package that was read (QCVN 102:2016/BTTTT with SĐ1:2022)",
            "type": "object",
            "properties": properties,
            "required": ["schema", "path"],
            # Fields may be added, never renamed.
            "additionalProperties": True,
            "if": {"required": ["error"]},
            "then": {},
            "else": {
                "required": required,
                "if": {"properties": {"kind": {"const": "status"}}},
                "then": {"properties": {"header": status}},
                "else": {"properties": {"header": document}},
            },
            "$defs": self._defs,
        }

    def _reference(self, kind: type[Any]) -> _Schema:  # any dataclass
        if kind.__name__ not in self._defs:
            self._defs[kind.__name__] = {}
            self._defs[kind.__name__] = self._table(kind)
        return {"$ref": f"#/$defs/{kind.__name__}"}

    def _table(self, kind: type[Any]) -> _Schema:  # any dataclass
        hints = typing.get_type_hints(kind, localns={"datetime": datetime}, globalns=_globals(kind))
        words = _descriptions(kind)
        known = field_names(kind)
        properties: _Schema = {}
        for field in dataclasses.fields(kind):
            if known is not None and field.name not in known:
                continue
            if (kind, field.name) in _NOT_SHOWN:
                continue
            made = self._value(hints[field.name], kind, field.name)
            properties[field.name] = (
                {**made, "description": words[field.name]} if field.name in words else made
            )
        in_full = known is None
        required = list(properties) if in_full else list(required_names(kind) if self._reading else ())
        if kind is StatusHeader and self._reading:
            required.append("status_code")
        return {
            "type": "object",
            "description": inspect.cleandoc(kind.__doc__ or "").splitlines()[0],
            "properties": properties,
            "required": required,
            "additionalProperties": in_full,
        }

    def _value(self, hint: Any, owner: type[Any], name: str) -> _Schema:  # a type, as typing has it
        if owner is Business and name == "kind":
            words = [kind.name.lower() for kind in BusinessKind] if self._reading else []
            numbers: _Schema = {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER}
            return {"anyOf": [{"enum": words}, numbers]} if words else numbers
        if owner is StatusHeader and name == "status_code" and self._reading:
            return {"type": ["string", "integer"], "minimum": 0}
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin in {typing.Union, types.UnionType}:
            made = [
                self._value(argument, owner, name) for argument in arguments if argument is not types.NoneType
            ]
            unique = [item for index, item in enumerate(made) if item not in made[:index]]
            nullable = types.NoneType in arguments
            if nullable and (not self._reading or field_names(owner) is None):
                unique.append({"type": "null"})
            return unique[0] if len(unique) == 1 else {"anyOf": unique}
        if origin is tuple:
            return {"type": "array", "items": self._value(arguments[0], owner, name)}
        return self._plain(hint)

    def _plain(self, hint: type[Any]) -> _Schema:  # a class
        if hint is Finding:
            return self._finding(Finding)
        if dataclasses.is_dataclass(hint):
            return self._reference(hint)
        if hint is bool:
            return {"type": "boolean"}
        if hint is int:
            return {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER}
        if hint is datetime.datetime:
            return {"type": "string", "format": "date-time"}
        if hint is datetime.date:
            return {"type": "string", "format": "date"}
        if hint is str or issubclass(hint, Path) or hint.__name__ == "StatusCode":
            return {"type": "string"}
        # What is left are lists of codes.
        return {"enum": [member.value for member in hint]}

    def _finding(self, kind: type[Any]) -> _Schema:  # one of two dataclasses
        properties: _Schema = {
            "id": {"type": "string", "description": "Stable; never changes its meaning."},
            "text": {"type": "string", "description": "The sentence, in the language that was asked for."},
        }
        if kind is PackageFinding:
            properties["element"] = {"type": "string", "description": "Path of the element."}
            properties["line"] = {
                "type": ["integer", "null"],
                "minimum": 1,
                "description": "Its line in the file.",
            }
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }


def _globals(kind: type[Any]) -> dict[str, Any]:  # a module's names
    module = inspect.getmodule(kind)
    names = dict(vars(module)) if module is not None else {}
    # Imported for type checkers only.
    names.setdefault("datetime", datetime)
    names.setdefault("DocumentHeader", DocumentHeader)
    names.setdefault("StatusHeader", StatusHeader)
    return names


def _descriptions(kind: type[Any]) -> dict[str, str]:  # any dataclass
    """Return what stands under each field of a dataclass."""
    tree = ast.parse(inspect.getsource(kind))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for field, note in itertools.pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(note, ast.Expr)
            and isinstance(note.value, ast.Constant)
            and isinstance(note.value.value, str)
        ):
            found[field.target.id] = _unmarked(" ".join(note.value.value.split()))
    return found


def _unmarked(text: str) -> str:
    # The notes are written for the documentation of Python code.
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"\1", text).replace("``", "")
    return text.replace("None", "null")
