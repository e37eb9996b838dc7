"""A verification report as text for people, with what Circular 15/2025/TT-BKHCN, article 6.4, wants shown.

That is: issuing authority, signer, organisation, signing time or time-stamp, integrity, validity at signing time and
validity period of the certificate.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from vnedoc import messages
from vnedoc._internal import clock
from vnedoc.sign.report import Conclusion, Coverage, RevocationStatus, SignatureKind

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator

    from vnedoc.sign.report import FileReport, Finding, SignatureReport, VerificationReport

__all__ = ["render_text", "show_time"]

MAX_VALUE = 300
# Control and format characters, surrogates, and what no Unicode version has assigned: XML refuses some of these.
_STEERING = frozenset({"Cc", "Cf", "Cs", "Cn"})


def render_text(
    report: VerificationReport, *, language: messages.Language | str = messages.Language.VI
) -> str:
    """Return a report as lines of text."""
    return "".join(f"{line}\n" for file in report.files for line in _file(file, language))


def show_time(moment: datetime.datetime) -> str:
    """Return a time as it is written in Vietnam."""
    return clock.vietnam(moment).strftime("%d/%m/%Y %H:%M:%S +07:00")


def printable(value: str, *, keep: str = "", limit: int | None = MAX_VALUE) -> str:
    """Return a text from outside without control characters: names in certificates must not steer a terminal.

    Args:
        value: The text.
        keep: Control characters that may stay.
        limit: How long it may be; ``None``: any length.
    """
    shown = "".join(
        "�" if letter not in keep and unicodedata.category(letter) in _STEERING else letter
        for letter in value
    )
    return shown[:limit]


def _file(report: FileReport, language: messages.Language | str) -> Iterator[str]:
    def say(message_id: str, **values: object) -> str:
        shown = {key: printable(str(value)) for key, value in values.items()}
        return messages.text(f"verify.{message_id}", language, **shown)

    yield f"{printable(report.path)}: {say(_word(report.conclusion))} ({report.conclusion.value})"
    if report.sender is not None:
        yield "  " + say("line-sender", organ_id=report.sender.organ_id, match=report.sender.match.value)
    if report.in_baseline:
        yield "  " + messages.text("baseline.known", language)
    for finding in report.errors:
        yield "  " + say("line-error", text=_text(finding, language))
    for finding in report.warnings:
        yield "  " + say("line-warning", text=_text(finding, language))
    for number, signature in enumerate(report.signatures, start=1):
        yield from _signature(number, signature, language, say)
    if report.conclusion is not Conclusion.TOTAL_PASSED:
        yield "  " + messages.text(f"report.todo-{report.conclusion.value.lower()}", language)


def _signature(
    number: int, signature: SignatureReport, language: messages.Language | str, say: _Say
) -> Iterator[str]:
    kind = (
        "word-document-timestamp"
        if signature.kind is SignatureKind.DOCUMENT_TIMESTAMP
        else f"word-{signature.role.value}"
    )
    sub = f", {signature.sub_indication}" if signature.sub_indication else ""
    yield (
        f"  [{number}] {say(kind)} “{printable(signature.field)}”: {say(_word(signature.conclusion))} "
        f"({signature.conclusion.value}{sub}), {signature.level}"
    )
    for line in (*_facts(signature, say), *_findings(signature, language, say)):
        yield f"      {line}"


def _facts(signature: SignatureReport, say: _Say) -> Iterator[str]:
    signer = signature.signer
    if signer is not None:
        yield say("line-signer", name=signer.common_name)
        yield say("line-organization", name="; ".join(filter(None, (*signer.units, signer.organization))))
        yield say("line-issuer", name=signer.issuer)
    if signature.trust_anchor is not None:
        yield say("line-anchor", name=signature.trust_anchor, tree=signature.trust_tree)
    if signature.signing_time is not None:
        yield say(f"line-time-{signature.time_source}", time=show_time(signature.signing_time))
    else:
        yield say("line-time-none")
    if not signature.integrity:
        yield say("line-integrity-broken")
    elif signature.covers is Coverage.WHOLE_FILE:
        yield say("line-integrity-whole")
    else:
        yield say("line-integrity-revision", changes=say(f"changes-{signature.changes_after.value}"))
    if signature.certificate_not_before is not None and signature.certificate_not_after is not None:
        yield _validity(signature, say)
        yield say(
            "line-period",
            first=show_time(signature.certificate_not_before),
            last=show_time(signature.certificate_not_after),
        )
    if signature.box is not None:
        yield say("line-place", page=signature.box[0], box=signature.box[1])


def _validity(signature: SignatureReport, say: _Say) -> str:
    moment = signature.signing_time
    first, last = signature.certificate_not_before, signature.certificate_not_after
    assert first is not None
    assert last is not None
    source = signature.revocation.source.upper()
    if moment is None:
        return say("line-validity-no-time")
    if not first <= moment <= last:
        return say("line-validity-outside")
    match signature.revocation.status:
        case RevocationStatus.GOOD:
            return say("line-validity-good", source=source)
        case RevocationStatus.REVOKED:
            return say("line-validity-revoked", source=source)
        case _:
            return say("line-validity-unknown")


def _findings(signature: SignatureReport, language: messages.Language | str, say: _Say) -> Iterator[str]:
    for finding in signature.errors:
        yield say("line-error", text=_text(finding, language))
    for finding in signature.warnings:
        yield say("line-warning", text=_text(finding, language))


def _text(finding: Finding, language: messages.Language | str) -> str:
    return finding.text(language)


def _word(conclusion: object) -> str:
    return f"word-{str(conclusion).lower()}"


if TYPE_CHECKING:
    from typing import Protocol

    class _Say(Protocol):
        def __call__(self, message_id: str, **values: object) -> str: ...
