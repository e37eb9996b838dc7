"""A verification report as one HTML page for people: self-contained, light and dark, made to be printed, too.

It shows what Circular 15/2025/TT-BKHCN, article 6.4, wants shown: issuing authority, signer, organisation, time,
integrity, validity at signing time and validity period; and first of all the verdict and what to do about it. No
script, nothing loaded from elsewhere, every text from outside escaped.
"""

from __future__ import annotations

import collections
from importlib import resources
from typing import TYPE_CHECKING

from vnedoc import messages
from vnedoc._internal import clock
from vnedoc._internal.version import VERSION
from vnedoc.sign.models import Box
from vnedoc.sign.report import (
    Changes,
    Conclusion,
    Coverage,
    RevocationStatus,
    SignatureKind,
    SignerRole,
    VerificationReport,
)
from vnedoc.sign.reports._markup import Markup, tag
from vnedoc.sign.reports.text import show_time

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from vnedoc.sign.report import CheckResult, FileReport, Finding, SignatureReport
    from vnedoc.sign.reports.pictures import PagePicture

__all__ = ["render_html"]

MAX_NAME_PARTS = 4
_SYMBOLS = {"ok": "✓", "no": "✗", "unknown": "?", "note": "!"}
_STATES = {
    Conclusion.TOTAL_PASSED: "ok",
    Conclusion.TOTAL_FAILED: "no",
    Conclusion.INDETERMINATE: "unknown",
    Conclusion.NO_SIGNATURE: "no",
    Conclusion.UNREADABLE: "no",
}
_HARMLESS = frozenset({Changes.NONE, Changes.LONG_TERM_DATA, Changes.SIGNATURES})
_SENDER_ERRORS = frozenset({"verify.sender-mismatch", "verify.sender-unproven"})
_CONTENT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def render_html(
    report: VerificationReport,
    *,
    language: messages.Language | str = messages.Language.VI,
    pictures: Mapping[str, Sequence[PagePicture]] | None = None,
) -> str:
    """Return a report as one HTML page.

    Args:
        report: The report.
        language: Its language.
        pictures: Pictures of the pages by path, see :func:`vnedoc.sign.reports.pictures.draw_pages`; ``None``: none.
    """
    return _Page(report, messages.Language(language), pictures).render()


class _Page:
    def __init__(
        self,
        report: VerificationReport,
        language: messages.Language,
        pictures: Mapping[str, Sequence[PagePicture]] | None,
    ) -> None:
        self._report = report
        self._language = language
        self._pictures = pictures
        self._names = _short_names([file.path for file in report.files])

    def render(self) -> str:
        style = (resources.files("vnedoc.sign.reports") / "report.css").read_text(encoding="utf-8")
        title = self._say("report.title")
        head = tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", http_equiv="Content-Security-Policy", content=_CONTENT_POLICY),
            tag("meta", name="color-scheme", content="light dark"),
            tag("title", title),
            # The style sheet is ours; a browser would show escaped quotes in it as they are.
            tag("style", Markup(style)),
        )
        files = self._report.files
        body = tag(
            "body",
            tag("header", tag("p", "vnedoc", class_="mark"), tag("h1", title), self._basis(), class_="top"),
            tag(
                "main",
                self._overview() if len(files) > 1 else None,
                *(self._file(number, file) for number, file in enumerate(files, start=1)),
            ),
            tag("footer", tag("p", self._say("report.footer", version=VERSION))),
        )
        return f"<!doctype html>\n{tag('html', head, body, lang=self._language.value)}\n"

    def _say(self, message_id: str, **values: object) -> str:
        return messages.text(message_id, self._language, **values)

    def _word(self, conclusion: Conclusion) -> str:
        return self._say(f"verify.word-{conclusion.value.lower()}")

    def _basis(self) -> Markup | None:
        basis = self._report.basis
        if basis is None:
            return None
        trees = ", ".join(self._tree(tree) for tree in basis.trees)
        return tag(
            "p",
            self._say("report.basis", time=show_time(basis.at), policy=basis.policy, trees=trees or "–"),
            class_="basis",
        )

    def _tree(self, tree: str | None) -> str:
        known = tree if tree in {"vn-government", "vn-national", "custom"} else "none"
        return self._say(f"report.tree-{known}")

    def _overview(self) -> Markup:
        rows = [
            tag(
                "tr",
                tag("td", self._badge(file.conclusion)),
                tag("td", tag("a", self._names[file.path], href=f"#file-{number}", title=file.path)),
                tag("td", self._say("report.count-signatures", count=len(file.signatures)), class_="count"),
            )
            for number, file in enumerate(self._report.files, start=1)
        ]
        return tag(
            "section",
            tag("h2", self._say("report.files", count=len(self._report.files))),
            tag("table", tag("tbody", *rows), class_="files"),
            class_="overview",
        )

    def _badge(self, conclusion: Conclusion) -> Markup:
        state = _STATES[conclusion]
        return tag("span", f"{_SYMBOLS[state]} {self._word(conclusion)}", class_=f"badge {state}")

    def _file(self, number: int, file: FileReport) -> Markup:
        state = _STATES[file.conclusion]
        return tag(
            "article",
            tag("h2", self._names[file.path], class_="name", title=file.path),
            tag(
                "section",
                tag("p", _SYMBOLS[state], class_="symbol", aria_hidden="true"),
                tag(
                    "div",
                    tag(
                        "p",
                        self._verdict(file),
                        class_="verdict",
                        data_conclusion=file.conclusion.value,
                        id=f"verdict-{number}",
                    ),
                    *(tag("p", text, class_="reason") for text in self._reasons(file)),
                ),
                class_=f"banner {state}",
            ),
            self._todo(file),
            self._signatures(file),
            self._sender(file),
            self._checks(file),
            self._notes(file),
            self._pages(file),
            self._identity(file),
            id=f"file-{number}",
        )

    def _verdict(self, file: FileReport) -> str:
        passed = sum(item.conclusion is Conclusion.TOTAL_PASSED for item in file.signatures)
        return self._say(
            f"report.verdict-{file.conclusion.value.lower()}", count=len(file.signatures), passed=passed
        )

    def _reasons(self, file: FileReport) -> list[str]:
        texts = [finding.text(self._language) for finding in _causes(file)]
        if file.in_baseline:
            texts.append(self._say("baseline.known"))
        return list(dict.fromkeys(texts))[:6]

    def _todo(self, file: FileReport) -> Markup:
        found = (*_causes(file), *file.warnings)
        hints = (_hint(finding, self._language) for finding in found)
        steps = [self._say(f"report.todo-{file.conclusion.value.lower()}"), *filter(None, hints)]
        return tag(
            "section",
            tag("h3", self._say("report.todo")),
            tag("ul", *(tag("li", step) for step in dict.fromkeys(steps))),
            class_="todo",
        )

    def _signatures(self, file: FileReport) -> Markup | None:
        if not file.signatures:
            return None
        cards = [self._signature(number, item) for number, item in enumerate(file.signatures, start=1)]
        return tag("section", tag("h3", self._say("report.signatures")), *cards, class_="signatures")

    def _signature(self, number: int, item: SignatureReport) -> Markup:
        signer = item.signer
        kind = (
            "verify.word-document-timestamp"
            if item.kind is SignatureKind.DOCUMENT_TIMESTAMP
            else f"verify.word-{item.role.value}"
        )
        return tag(
            "section",
            tag(
                "div",
                tag("span", str(number), class_="number"),
                tag(
                    "div",
                    tag("p", self._say(kind), class_="kind"),
                    tag("h4", signer.common_name if signer is not None else self._say("report.nobody")),
                    tag("p", _organization(item), class_="organization"),
                ),
                self._badge(item.conclusion),
                class_="head",
            ),
            tag("ul", *self._strip(item), class_="strip"),
            self._findings(item),
            tag("dl", *self._facts(item)),
            class_=f"card {_STATES[item.conclusion]}",
        )

    def _findings(self, item: SignatureReport) -> Markup | None:
        lines = [tag("li", finding.text(self._language), class_="no") for finding in item.errors]
        lines += [tag("li", finding.text(self._language), class_="note") for finding in item.warnings]
        return tag("ul", *lines, class_="findings") if lines else None

    def _strip(self, item: SignatureReport) -> Iterator[Markup]:
        for name, state, detail in self._parts(item):
            text = self._say(f"report.part-{name}")
            yield tag(
                "li",
                tag("b", _SYMBOLS[state], aria_hidden="true"),
                tag("span", text),
                tag("small", detail),
                class_=state,
                title=f"{text}: {self._say(f'report.state-{state}')}",
            )

    def _parts(self, item: SignatureReport) -> Iterator[tuple[str, str, str]]:
        """Name, state and detail of what was checked about one signature."""
        covers = "report.covers-whole" if item.covers is Coverage.WHOLE_FILE else "report.covers-revision"
        if item.covers is Coverage.PART:
            covers = "report.covers-part"
        yield "integrity", "ok" if item.integrity else "no", self._say(covers)
        yield "chain", "ok" if item.trust_anchor else "unknown", self._tree(item.trust_tree)
        yield self._validity(item)
        status = item.revocation.status
        state = {RevocationStatus.GOOD: "ok", RevocationStatus.REVOKED: "no"}.get(status, "unknown")
        source = item.revocation.source
        yield "revocation", state, source.upper() if source != "none" else self._say("report.not-known")
        proven = item.best_signature_time is not None
        yield "time", "ok" if proven else "note", self._say(f"report.time-{item.time_source}")
        later = "ok"
        if item.changes_after not in _HARMLESS:
            # A filled field that a later signature vouches for is no fault, but it is worth a look.
            later = "note" if item.conclusion is Conclusion.TOTAL_PASSED else "no"
        yield "changes", later, self._say(f"verify.changes-{item.changes_after.value}")

    def _validity(self, item: SignatureReport) -> tuple[str, str, str]:
        first, last = item.certificate_not_before, item.certificate_not_after
        if first is None or last is None or item.signing_time is None:
            return "validity", "unknown", self._say("report.not-known")
        inside = first <= item.signing_time <= last
        return "validity", "ok" if inside else "no", f"{_day(first)} – {_day(last)}"

    def _facts(self, item: SignatureReport) -> Iterator[Markup]:
        signer = item.signer
        facts: list[tuple[str, str | None]] = []
        if item.signing_time is not None:
            facts.append((f"time-{item.time_source}", show_time(item.signing_time)))
        if signer is not None:
            facts += [("issuer", signer.issuer), ("email", signer.email), ("tax-code", signer.tax_code)]
            facts += [("budget-code", signer.budget_code), ("serial", signer.serial)]
        facts.append(("anchor", item.trust_anchor))
        if item.certificate_not_before is not None and item.certificate_not_after is not None:
            first, last = show_time(item.certificate_not_before), show_time(item.certificate_not_after)
            facts.append(("period", f"{first} – {last}"))
        algorithms = " / ".join(filter(None, (item.signature_algorithm, item.digest_algorithm)))
        sub = f" / {item.sub_indication}" if item.sub_indication else ""
        facts += [("algorithms", algorithms), ("level", item.level)]
        facts.append(("conclusion", f"{item.conclusion.value}{sub}"))
        facts.append(("field", item.field))
        if item.box is not None:
            facts.append(("place", self._say("report.place", page=item.box[0])))
        for name, value in facts:
            if value:
                yield tag("div", tag("dt", self._say(f"report.fact-{name}")), tag("dd", value))

    def _sender(self, file: FileReport) -> Markup | None:
        sender = file.sender
        if sender is None:
            return None
        matched = sender.match.value
        state = "no" if any(error.id in _SENDER_ERRORS for error in file.errors) else "ok"
        day = f"{sender.day:%d/%m/%Y}" if sender.day is not None else "–"
        lines = [
            tag("p", f"{sender.agency or '–'} ({sender.organ_id})", class_="organization"),
            tag("p", self._say(f"report.match-{matched}")),
            tag("p", self._say("report.directory-day", day=day), class_="quiet"),
        ]
        if sender.successor_of is not None:
            lines.append(tag("p", self._say("report.successor", code=sender.successor_of), class_="quiet"))
        word = self._say(f"report.matched-{matched}")
        badge = tag("span", f"{_SYMBOLS[state]} {word}", class_=f"badge {state}")
        return tag(
            "section", tag("h3", self._say("report.sender"), " ", badge), *lines, class_=f"sender {state}"
        )

    def _checks(self, file: FileReport) -> Markup | None:
        if file.conclusion in {Conclusion.UNREADABLE, Conclusion.NO_SIGNATURE}:
            return None
        readers = ("ok" if file.readers_agree else "unknown", self._say("report.check-readers"), "")
        rows = [self._check_row(*readers)]
        rows += [self._check_row(*self._outcome(check)) for check in file.checks]
        return tag(
            "section",
            tag("h3", self._say("report.checks", policy=file.policy or "–")),
            tag("ul", *rows, class_="checks"),
            class_="policy",
        )

    def _check_row(self, state: str, text: str, level: str) -> Markup:
        return tag(
            "li",
            tag("b", _SYMBOLS[state], aria_label=self._say(f"report.state-{state}")),
            tag("span", text),
            tag("small", level) if level else None,
            class_=state,
        )

    def _outcome(self, check: CheckResult) -> tuple[str, str, str]:
        state = "ok" if check.holds else "unknown"
        if check.holds is False:
            state = "no" if check.level == "fail" else "note"
        about = self._say(f"policy.check-{check.id}")
        return state, about, self._say(f"report.level-{check.level}")

    def _notes(self, file: FileReport) -> Markup | None:
        if not file.warnings:
            return None
        notes = [tag("li", finding.text(self._language), class_="note") for finding in file.warnings]
        return tag("section", tag("h3", self._say("report.notes")), tag("ul", *notes, class_="findings"))

    def _pages(self, file: FileReport) -> Markup | None:
        if self._pictures is None or file.sha256 is None:
            return None
        pictures = self._pictures.get(file.path, ())
        if not pictures:
            return tag("p", self._say("report.no-pictures"), class_="quiet")
        legend = tag(
            "p",
            *(
                # A swatch and its words stay together on a line.
                tag("span", tag("i", class_=f"swatch {kind}"), self._say(words))
                for kind, words in (
                    ("own", "report.legend-signature"),
                    ("covered", "report.legend-covered"),
                    ("added", "report.legend-added"),
                )
            ),
            class_="legend",
        )
        figures = [self._figure(picture, file) for picture in pictures]
        return tag(
            "section",
            tag("h3", self._say("report.pages")),
            legend,
            tag("div", *figures, class_="sheets"),
            class_="pages",
        )

    def _figure(self, picture: PagePicture, file: FileReport) -> Markup:
        marks = [
            _mark(item.box, picture, "covered" if item.is_signed else "added", None) for item in picture.added
        ]
        for number, item in enumerate(file.signatures, start=1):
            if item.box is not None and item.box[0] == picture.number:
                box = Box.parse(item.box[1])
                marks.append(_mark(box, picture, f"own {_STATES[item.conclusion]}", str(number)))
        name = self._say("report.page", number=picture.number)
        image = tag("img", src=picture.as_uri(), alt=name, width=round(picture.width))
        return tag("figure", tag("div", image, *marks, class_="sheet"), tag("figcaption", name))

    def _identity(self, file: FileReport) -> Markup:
        return tag(
            "p",
            tag("span", file.path),
            tag("br"),
            f"SHA-256: {file.sha256}" if file.sha256 else None,
            class_="identity",
        )


def _causes(file: FileReport) -> tuple[Finding, ...]:
    """Return what is wrong; that a policy misses a signature goes without saying where that signature is broken."""
    errors = (*(error for item in file.signatures for error in item.errors), *file.errors)
    return tuple(error for error in errors if not error.id.startswith("policy.")) or errors


def _hint(finding: Finding, language: messages.Language) -> str | None:
    return messages.hint(finding.id, language, **finding.values)


def _organization(item: SignatureReport) -> str:
    signer = item.signer
    if signer is None:
        return ""
    names: Iterable[str | None] = (*signer.units, signer.organization)
    own = signer.common_name if item.role is SignerRole.AGENCY else None
    return "; ".join(name for name in names if name and name != own)


def _day(moment: datetime.datetime) -> str:
    return f"{clock.vietnam(moment):%d/%m/%Y}"


def _short_names(paths: Sequence[str]) -> dict[str, str]:
    """Return the end of each path: its name, and as many folders as it takes to tell it from the others."""
    parts = {path: [part for part in path.replace("\\", "/").split("/") if part] or [path] for path in paths}
    found: dict[str, str] = {}
    for depth in range(1, MAX_NAME_PARTS + 1):
        ends = collections.Counter(tuple(own[-depth:]) for own in parts.values())
        for path, own in parts.items():
            if path not in found and (ends[tuple(own[-depth:])] == 1 or depth == MAX_NAME_PARTS):
                found[path] = "/".join(own[-depth:])
    return found


def _mark(box: Box, picture: PagePicture, kind: str, label: str | None) -> Markup:
    left, top = 100 * box.x / picture.width, 100 * (picture.height - box.top) / picture.height
    width, height = 100 * box.width / picture.width, 100 * box.height / picture.height
    style = f"left:{left:.2f}%;top:{top:.2f}%;width:{width:.2f}%;height:{height:.2f}%"
    return tag("div", tag("span", label) if label else None, class_=f"box {kind}", style=style)
