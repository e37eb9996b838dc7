"""Policies as files: small TOML, unknown keys refused.

A file names the policy, says what it demands, and lists checks; each has an id, a level and, on request, its own
words::

    schema = "vnedoc.policy/1"
    name = "our-office"

    [demands]
    revocation = "require"
    sender_match = "coded"

    [checks.agency-signed]
    level = "fail"
    vi = "Văn bản chưa có chữ ký số của cơ quan."
    en = "The agency has not signed."
"""

from __future__ import annotations

import datetime
import enum
import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from vnedoc._internal import files
from vnedoc.errors import ConfigurationError, InputError
from vnedoc.sign.checks import CHECKS
from vnedoc.sign.models import SignatureLevel
from vnedoc.sign.policy import AcceptedUntil, CheckLevel, Policy, PolicyCheck, RevocationRule
from vnedoc.sign.report import SenderMatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["SCHEMA", "SHIPPED", "load_policy", "parse_policy", "read_policy"]

SCHEMA = "vnedoc.policy/1"
"""The schema that a policy file names."""
SHIPPED = ("vn-issued", "vn-copy", "any", "legacy-g1")
"""The policies that come with vnedoc, as ``shipped:NAME``."""
MAX_POLICY_BYTES = 256 * 1024

_Table = dict[str, object]
_Word = TypeVar("_Word", bound=enum.StrEnum)
_KEY_USAGES = frozenset(
    {
        "digital_signature", "non_repudiation", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign",
    }
)  # fmt: skip
_DIGESTS = frozenset(
    {
        "md2", "md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha512_224", "sha512_256",
        "sha3_224", "sha3_256", "sha3_384", "sha3_512", "shake128", "shake256",
    }
)  # fmt: skip


def load_policy(source: str | Path) -> Policy:
    """Read a policy.

    Args:
        source: The path of a file, or ``shipped:vn-issued``, ``shipped:vn-copy``, ``shipped:any``,
            ``shipped:legacy-g1``.

    Raises:
        ConfigurationError: There is no such policy, or it is not written as policies are.
    """
    return parse_policy(read_policy(source), name=str(source))


def read_policy(source: str | Path) -> bytes:
    """Return the bytes of a policy file, for those who keep it.

    Raises:
        ConfigurationError: There is no such policy.
    """
    if str(source).startswith("shipped:"):
        name = str(source).removeprefix("shipped:")
        if name not in SHIPPED:
            raise ConfigurationError("policy.unknown-shipped", name=name, known=", ".join(SHIPPED))
        return (resources.files(__name__) / f"{name}.toml").read_bytes()
    try:
        return files.read_bytes(Path(source), max_bytes=MAX_POLICY_BYTES)
    except InputError as exc:
        raise ConfigurationError("policy.unreadable", path=source, reason=exc) from exc


def parse_policy(content: bytes, *, name: str) -> Policy:
    """Read a policy from the bytes of its file.

    Raises:
        ConfigurationError: It is not TOML, has a key that nothing knows, or a value that means nothing.
    """
    try:
        table: _Table = tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigurationError("policy.not-toml", path=name, reason=str(exc)) from exc
    return _Reader(name).policy(table)


class _Reader:
    """Reads one file; every complaint names it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def policy(self, table: _Table) -> Policy:
        self._only(table, {"schema", "name", "vi", "en", "demands", "accepted_until", "checks"}, "")
        if table.get("schema") != SCHEMA:
            raise ConfigurationError("policy.bad-schema", path=self._path, schema=SCHEMA)
        for key in ("vi", "en"):
            self._text(table, key, "")
        demands = self._table(table.get("demands", {}), "demands")
        self._only(
            demands,
            {"revocation", "key_usage", "sender_match", "level", "refused_digests", "min_rsa_bits"}
            | {"min_ec_bits", "time_tolerance_s"},
            "demands.",
        )
        fallback = Policy()
        key_usage = self._words(demands, "key_usage", _KEY_USAGES, fallback.key_usage)
        if not key_usage:
            # An empty list would let every certificate sign.
            raise self._bad("demands.key_usage", "[]")
        level = demands.get("level")
        seconds = self._number(demands, "time_tolerance_s", 300, least=0, most=3600)
        return Policy(
            name=self._name(table),
            revocation=self._word(demands, "revocation", RevocationRule, fallback.revocation),
            key_usage=key_usage,
            sender_match=self._match(demands),
            level=None if level is None else self._one(level, SignatureLevel, "demands.level"),
            weak_digests=fallback.weak_digests
            | self._words(demands, "refused_digests", _DIGESTS, frozenset()),
            min_rsa_bits=self._number(demands, "min_rsa_bits", fallback.min_rsa_bits, least=1024, most=16384),
            min_ec_bits=self._number(demands, "min_ec_bits", fallback.min_ec_bits, least=224, most=521),
            time_tolerance=datetime.timedelta(seconds=seconds),
            dated=tuple(self._dated(table.get("accepted_until", []))),
            checks=tuple(self._checks(self._table(table.get("checks", {}), "checks"))),
        )

    def _name(self, table: _Table) -> str:
        name = self._text(table, "name", "")
        if name is None or not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,59}", name):
            raise self._bad("name", name)
        return name

    def _match(self, demands: _Table) -> SenderMatch:
        match = self._word(demands, "sender_match", SenderMatch, SenderMatch.NAMED)
        if match is SenderMatch.NONE:
            # Whoever asks for the sender wants an answer.
            raise self._bad("demands.sender_match", match.value)
        return match

    def _checks(self, table: _Table) -> Iterable[PolicyCheck]:
        for check_id, found in table.items():
            where = f"checks.{check_id}"
            if check_id not in CHECKS:
                raise ConfigurationError(
                    "policy.unknown-check", path=self._path, check=check_id, known=", ".join(CHECKS)
                )
            entry = self._table(found, where)
            self._only(entry, {"level", "vi", "en"}, f"{where}.")
            if "level" not in entry:
                raise ConfigurationError("policy.missing-key", path=self._path, key=f"{where}.level")
            vi, en = (self._text(entry, key, f"{where}.") for key in ("vi", "en"))
            if (vi is None) != (en is None):
                raise ConfigurationError("policy.one-language", path=self._path, key=where)
            yield PolicyCheck(check_id, self._one(entry["level"], CheckLevel, f"{where}.level"), vi, en)

    def _dated(self, entries: object) -> Iterable[AcceptedUntil]:
        if not isinstance(entries, list):
            raise self._bad("accepted_until", entries)
        for found in entries:
            entry = self._table(found, "accepted_until")
            self._only(entry, {"digest", "until", "anchors"}, "accepted_until.")
            digest, until = entry.get("digest"), entry.get("until")
            if digest not in _DIGESTS:
                raise self._bad("accepted_until.digest", digest)
            # A time of day is a date, too, to Python.
            if not isinstance(until, datetime.date) or isinstance(until, datetime.datetime):
                raise self._bad("accepted_until.until", until)
            anchors = entry.get("anchors", [])
            if not isinstance(anchors, list) or not all(
                isinstance(item, str) and re.fullmatch(r"[0-9a-f]{64}", item) for item in anchors
            ):
                raise self._bad("accepted_until.anchors", anchors)
            yield AcceptedUntil(str(digest), until, frozenset(anchors))

    def _table(self, value: object, where: str) -> _Table:
        if not isinstance(value, dict):
            raise self._bad(where, value)
        return value

    def _only(self, table: Mapping[str, object], known: set[str], where: str) -> None:
        for key in table:
            if key not in known:
                raise ConfigurationError("policy.unknown-key", path=self._path, key=f"{where}{key}")

    def _text(self, table: _Table, key: str, where: str) -> str | None:
        value = table.get(key)
        if value is not None and (not isinstance(value, str) or not 0 < len(value) <= 500):
            raise self._bad(f"{where}{key}", value)
        return value

    def _word(self, table: _Table, key: str, words: type[_Word], fallback: _Word) -> _Word:
        return self._one(table[key], words, f"demands.{key}") if key in table else fallback

    def _one(self, value: object, words: type[_Word], where: str) -> _Word:
        if not isinstance(value, str) or value not in list(words):
            raise self._bad(where, value)
        return words(value)

    def _words(
        self, table: _Table, key: str, known: frozenset[str], fallback: frozenset[str]
    ) -> frozenset[str]:
        value = table.get(key)
        if value is None:
            return fallback
        if not isinstance(value, list) or not all(isinstance(item, str) and item in known for item in value):
            raise self._bad(f"demands.{key}", value)
        return frozenset(value)

    def _number(self, table: _Table, key: str, fallback: int, *, least: int, most: int) -> int:
        value = table.get(key, fallback)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self._bad(f"demands.{key}", value)
        return value

    def _bad(self, key: str, value: object) -> ConfigurationError:
        return ConfigurationError("policy.bad-value", path=self._path, key=key, value=str(value)[:100])
