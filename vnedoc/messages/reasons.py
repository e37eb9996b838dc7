"""Recognize the words in which the operating system, TLS and parsers say why something failed.

They say it in English, whatever the language of the sentence around it. What is recognized is a message of the area
``reason``; what is not stays as it is, because its own words are better than none.
"""

from __future__ import annotations

import errno
import functools
import os
import re

__all__ = ["recognized"]

# What is longer is no reason but a document.
_MAX_CHARS = 500

_ERRORS = {
    errno.ENOENT: "reason.no-such-file",
    errno.EACCES: "reason.no-access",
    errno.EPERM: "reason.not-permitted",
    errno.ENOSPC: "reason.disk-full",
    errno.EDQUOT: "reason.over-quota",
    errno.EFBIG: "reason.file-too-large",
    errno.EISDIR: "reason.is-a-folder",
    errno.ENOTDIR: "reason.not-a-folder",
    errno.EROFS: "reason.read-only",
    errno.EEXIST: "reason.exists",
    errno.ENOTEMPTY: "reason.not-empty",
    errno.ENAMETOOLONG: "reason.name-too-long",
    errno.ELOOP: "reason.too-many-links",
    errno.EMFILE: "reason.too-many-files",
    errno.ENFILE: "reason.too-many-files-all",
    errno.EBUSY: "reason.busy",
    errno.EIO: "reason.device-error",
    errno.ENXIO: "reason.no-such-device",
    errno.ENOMEM: "reason.no-memory",
    errno.EXDEV: "reason.other-disk",
    errno.ESTALE: "reason.stale",
    errno.EPIPE: "reason.broken-pipe",
    errno.ECONNREFUSED: "reason.connection-refused",
    errno.ECONNRESET: "reason.connection-reset",
    errno.ECONNABORTED: "reason.connection-aborted",
    errno.ETIMEDOUT: "reason.timed-out",
    errno.EHOSTUNREACH: "reason.no-route",
    errno.ENETUNREACH: "reason.no-network",
    errno.EADDRINUSE: "reason.address-in-use",
    errno.EADDRNOTAVAIL: "reason.address-not-here",
}

# Words that are always the same; compared without regard to capitals.
_WORDS = {
    "Name or service not known": "reason.no-such-host",
    "No address associated with hostname": "reason.no-such-host",
    "nodename nor servname provided, or not known": "reason.no-such-host",
    "Temporary failure in name resolution": "reason.names-not-resolved",
    "All connection attempts failed": "reason.not-connected",
    "timed out": "reason.timed-out",
    "Server disconnected without sending a response.": "reason.no-answer",
    "Expecting value": "reason.json-value",
    "Extra data": "reason.json-extra",
    "Expecting property name enclosed in double quotes": "reason.json-name",
    "Expecting ',' delimiter": "reason.json-comma",
    "Expecting ':' delimiter": "reason.json-colon",
    "Unterminated string starting at": "reason.open-string",
    "Invalid control character at": "reason.json-control",
    "Expected '=' after a key in a key/value pair": "reason.toml-equals",
    "Invalid value": "reason.toml-value",
    "Invalid statement": "reason.toml-statement",
    "Expected newline or end of document after a statement": "reason.toml-newline",
    "Expected ']' at the end of a table declaration": "reason.toml-table",
    "Unclosed array": "reason.toml-array",
    "Unclosed inline table": "reason.toml-inline-table",
    "Unterminated string": "reason.open-string",
    "Cannot overwrite a value": "reason.toml-twice",
    "Unescaped '\\' in a string": "reason.toml-backslash",
    "Document is empty": "reason.xml-empty",
    "Start tag expected, '<' not found": "reason.xml-not",
    "Extra content at the end of the document": "reason.xml-extra",
    "Invalid bytes in character encoding": "reason.xml-encoding",
    "Input is not proper UTF-8, indicate encoding !": "reason.xml-encoding",
    "AttValue: \" or ' expected": "reason.xml-quotes",
    "xmlParseEntityRef: no name": "reason.xml-ampersand",
    "Comment not terminated": "reason.xml-comment",
    "XML declaration allowed only at the start of the document": "reason.xml-declaration",
    # SQLite
    "file is not a database": "reason.db-not",
    "file is encrypted or is not a database": "reason.db-not-or-encrypted",
    "database disk image is malformed": "reason.db-damaged",
    "database is locked": "reason.db-locked",
    "unable to open database file": "reason.db-not-opened",
    "attempt to write a readonly database": "reason.db-read-only",
    "disk I/O error": "reason.db-disk",
    "database or disk is full": "reason.db-full",
    # What our own parsers of SOAP, multipart and JSON say, and others of ours.
    "no element": "reason.xml-no-element",
    "not mounted": "reason.not-mounted",
    "not callable": "reason.not-callable",
    "no data": "reason.no-data",
    "the boundary is not one of RFC 2046": "reason.multipart-boundary",
    "the body breaks off before its last boundary": "reason.multipart-cut",
    "the body has no part": "reason.multipart-empty",
    "the preamble is too long": "reason.multipart-preamble",
    "the body does not begin with its boundary": "reason.multipart-start",
    "base64 goes on after its end": "reason.base64-after-end",
    "a part is not base64": "reason.base64-part",
    "not base64": "reason.base64-not",
    "base64 ends in the middle of a group": "reason.base64-cut",
    "the content type is too long": "reason.media-type-too-long",
    "the content type cannot be read": "reason.media-type",
    "two parts have the same Content-ID": "reason.content-id-twice",
    "an attachment has no Content-ID": "reason.content-id-none",
    "an attachment stands before the envelope": "reason.envelope-not-first",
    "the envelope is encoded": "reason.envelope-encoded",
    "the envelope is too large": "reason.envelope-too-large",
    "no part is the envelope": "reason.envelope-none",
    "the root element is not a SOAP envelope": "reason.envelope-root",
    "the envelope is neither of SOAP 1.1 nor of SOAP 1.2": "reason.envelope-version",
    "the envelope has not one Body and at most one Header": "reason.envelope-parts",
    "a row of the answer is too large": "reason.row-too-large",
    "the message carries a status, not a document": "reason.message-of-status",
    "the text is not Unicode": "reason.json-unicode",
    "not UTF-8": "reason.json-utf-8",
    "more than may be taken": "reason.json-too-much",
    "the object is too large": "reason.json-too-large",
    "the object breaks off": "reason.json-cut",
    "too deep": "reason.json-too-deep",
    "not an object": "reason.json-no-object",
    "a broken escape": "reason.json-broken-escape",
    "the body breaks off": "reason.body-cut",
    "no list of agencies in it": "reason.no-agencies",
    "no Organization in it": "reason.no-organization",
    "the columns organ_id and name are needed": "reason.columns-missing",
    # csv
    "unexpected end of data": "reason.table-open-quote",
}

# Parts of words; what varies has a name. The first that fits is taken.
_PATTERNS = tuple(
    (re.compile(pattern), message_id)
    for pattern, message_id in (
        (r"unknown column “(?P<name>.{0,100})”; known are (?P<known>.+)", "reason.unknown-column"),
        (r"row (?P<number>\d+) has no code or no name", "reason.row-without-code"),
        (r"line (?P<number>\d+): no code or no name", "reason.line-without-code"),
        (r"line (?P<number>\d+): not as many values as columns", "reason.line-of-other-length"),
        (r"line (?P<number>\d+): (?P<words>.+)", "reason.at-line"),
        (r"“(?P<name>.{0,100})” is no day", "reason.no-day"),
        (r"“(?P<name>.{0,100})” is no level of government", "reason.no-level"),
        # csv
        (r"(?P<delimiter>'.+') expected after (?P<quote>'.+')", "reason.table-after-quote"),
        (r"field larger than field limit \((?P<count>\d+)\)", "reason.table-value-too-long"),
        (
            r"\[SSL: CERTIFICATE_VERIFY_FAILED\].*: self[- ]signed certificate(?: \(_ssl.*)?",
            "reason.tls-self-signed",
        ),
        (
            (
                r"\[SSL: CERTIFICATE_VERIFY_FAILED\].*: (?:unable to get (?:local )?issuer certificate"
                r"|self[- ]signed certificate in certificate chain|unable to verify the first certificate).*"
            ),
            "reason.tls-not-trusted",
        ),
        (r"\[SSL: CERTIFICATE_VERIFY_FAILED\].*: certificate has expired.*", "reason.tls-expired"),
        (r"\[SSL: CERTIFICATE_VERIFY_FAILED\].*: certificate is not yet valid.*", "reason.tls-not-yet"),
        (r"\[SSL: CERTIFICATE_VERIFY_FAILED\].*: certificate revoked.*", "reason.tls-revoked"),
        (
            (
                r"\[SSL: CERTIFICATE_VERIFY_FAILED\].*(?:Hostname|IP address) mismatch, "
                r"certificate is not valid for '(?P<host>[^']+)'.*"
            ),
            "reason.tls-other-name",
        ),
        (r"\[SSL: CERTIFICATE_VERIFY_FAILED\] (?P<words>.+)", "reason.tls-not-verified"),
        (r"\[SSL: \w*CERTIFICATE_REQUIRED\].*", "reason.tls-wants-certificate"),
        (r"\[SSL: (?:WRONG_VERSION_NUMBER|HTTP_REQUEST|RECORD_LAYER_FAILURE)\].*", "reason.tls-none"),
        (r"\[(?:SSL|X509): KEY_VALUES_MISMATCH\].*", "reason.tls-other-key"),
        (
            r"(?:\[SSL: UNEXPECTED_EOF_WHILE_READING\].*|EOF occurred in violation of protocol.*)",
            "reason.tls-cut",
        ),
        (r"\[SSL\] PEM lib.*", "reason.tls-no-pem"),
        (r"\[X509: NO_CERTIFICATE_OR_CRL_FOUND\].*", "reason.tls-no-certificate"),
        (r"\[SSL(?:: \w+)?\] (?P<words>.+)", "reason.tls-failed"),
        (r"peer closed connection without sending complete message body.*", "reason.answer-cut"),
        (
            (
                r"error while attempting to bind on address \('(?P<host>[^']+)', (?P<port>\d+)[^)]*\): "
                r"(?:\[Errno \d+\] )?address already in use"
            ),
            "reason.port-in-use",
        ),
        (
            r"'(?P<encoding>[\w-]+)' codec can't decode bytes? .+ in position (?P<at>\d+)(?:-\d+)?: .+",
            "reason.encoding",
        ),
        (r"Invalid \\\w* ?escape(?: at)?", "reason.json-escape"),
        (r"Cannot declare \((?P<name>.+?),?\) twice", "reason.toml-table-twice"),
        (r"(?:Found invalid|Illegal) character (?P<character>'.{1,8}')", "reason.toml-character"),
        (
            r"Opening and ending tag mismatch: (?P<name>\S+)(?: line \d+)? and (?P<other>\S+)",
            "reason.xml-tags",
        ),
        (r"Premature end of data in tag (?P<name>\S+)(?: line \d+)?", "reason.xml-open"),
        (r"Couldn't find end of Start Tag (?P<name>\S+)(?: line \d+)?", "reason.xml-open-tag"),
        (r"Entity '(?P<name>[^']+)' not defined", "reason.xml-entity"),
        (r"Attribute (?P<name>\S+) redefined", "reason.xml-attribute-twice"),
        (r"Namespace prefix (?P<name>\S+)(?: for \S+)? on \S+ is not defined", "reason.xml-prefix"),
        (
            r"(?:PCDATA|CData|Char) ?\S* ?invalid (?:xml )?Char value (?P<character>\w+)",
            "reason.xml-character",
        ),
        (r"a document type declaration(?: \(.{1,300}\))? is not accepted", "reason.xml-doctype"),
        (r"Unsupported encoding:? (?P<encoding>\S+)", "reason.xml-unknown-encoding"),
        # Without a key in the environment, the S3 client asks the machine for its role at this address.
        (r"Generic S3 error: .{0,40} http://169\.254\.169\.254/.*", "reason.s3-no-keys"),
        # PostgreSQL
        (
            (
                r"(?:connection failed: )?connection to server at \"(?P<host>[^\"]+)\"(?: \(.{1,60}\))?, "
                r"port (?P<port>\d+) failed: (?P<words>.+)"
            ),
            "reason.db-no-connection",
        ),
        (r"FATAL:  (?P<words>.+)", "reason.db-fatal"),
        (r"password authentication failed for user \"(?P<name>[^\"]+)\"", "reason.db-password"),
        (r"database \"(?P<name>[^\"]+)\" does not exist", "reason.db-none"),
        # Our own parsers again.
        (r"more than (?P<count>\d+) parts", "reason.many-parts"),
        (r"more than (?P<count>\d+) bytes", "reason.many-bytes"),
        (r"more than (?P<count>\d+) attributes", "reason.many-attributes"),
        (r"more than (?P<count>\d+) rows", "reason.many-rows"),
        (r"more than (?P<count>\d+) elements", "reason.many-elements"),
        (r"more than (?P<count>\d+) characters of text", "reason.many-characters"),
        (r"elements nest deeper than (?P<count>\d+)", "reason.nesting"),
        (r"a part has the encoding (?P<name>.+)", "reason.part-encoding"),
        (r"(?P<name>[\w-]+) stands twice in a part", "reason.header-twice"),
        (r"there is no part for the reference (?P<name>.+)", "reason.no-part"),
        (r"(?P<count>\d+) parts stand in no reference", "reason.parts-unnamed"),
        (r"not well-formed XML: (?P<words>.+)", "reason.not-well-formed"),
    )
)

_NUMBERED = re.compile(r"\[Errno -?\d+\] (?P<words>[^:]+?)(?:: (?P<name>(?:b?'|\").+))?")
_PLACES = (
    # json
    re.compile(r"(?P<words>.+): line (?P<line>\d+) column (?P<column>\d+) \(char \d+\)"),
    # tomllib
    re.compile(r"(?P<words>.+) \(at line (?P<line>\d+), column (?P<column>\d+)\)"),
    # libxml2
    re.compile(r"(?P<words>.+), line (?P<line>\d+), column (?P<column>\d+)(?: \(.{1,200}, line \d+\))?"),
)
_AT_END = re.compile(r"(?P<words>.+) \(at end of document\)")


def recognized(words: str) -> tuple[str, dict[str, object]] | None:
    """Return the id and the values of the message that says the same; ``None`` if the words are not known.

    The values ``words`` are to be recognized in turn.
    """
    if len(words) > _MAX_CHARS or "\n" in words:
        return None
    known = _exact().get(words.strip().lower())
    if known is not None:
        return known, {}
    numbered = _NUMBERED.fullmatch(words)
    if numbered is not None:
        return _around("reason.of-file" if numbered["name"] else None, numbered)
    for place in _PLACES:
        found = place.fullmatch(words)
        if found is not None:
            return _around("reason.at", found)
    at_end = _AT_END.fullmatch(words)
    if at_end is not None:
        return _around("reason.at-end", at_end)
    return _fitting(words)


def _around(message_id: str | None, found: re.Match[str]) -> tuple[str, dict[str, object]] | None:
    """Return the message that puts a place to words, if the words are known; without an id, that of the words."""
    inner = recognized(found["words"])
    if inner is None or message_id is None:
        return inner
    return message_id, dict(found.groupdict())


def _fitting(words: str) -> tuple[str, dict[str, object]] | None:
    for pattern, message_id in _PATTERNS:
        found = pattern.fullmatch(words)
        if found is not None:
            return message_id, dict(found.groupdict())
    return None


@functools.cache
def _exact() -> dict[str, str]:
    # The system's own words, also where its language is not English.
    own = {os.strerror(number).lower(): message_id for number, message_id in _ERRORS.items()}
    return {text.lower(): message_id for text, message_id in _WORDS.items()} | own
