"""Messages with filters, one message with all that is known of it, what a person should look at, and trying again."""

from __future__ import annotations

import dataclasses
import datetime
import re
from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse

from vnedoc._internal.clock import as_utc
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.hub.console.door import PREFIX, PageError, safe_next
from vnedoc.exchange.hub.console.site import address
from vnedoc.exchange.stores._days import span
from vnedoc.exchange.stores.hub_administration import RETRYABLE
from vnedoc.exchange.stores.hub_deliveries import HubStatus
from vnedoc.exchange.stores.hub_reports import LATE
from vnedoc.exchange.stores.hub_traffic import MessageFilter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from vnedoc.exchange.hub.console.door import Visit
    from vnedoc.exchange.hub.console.site import Site
    from vnedoc.exchange.stores._hub_agencies import AgencyRecord
    from vnedoc.exchange.stores.hub_traffic import MessageDetail

__all__ = ["STATUSES", "Traffic"]

PAGE = 50
MAX_RECIPIENTS_SHOWN = 500
MAX_HISTORY = 500
RECEIVED = "received"
RETRIED = "retried"
_MOST_CHOICES = 8
STATUSES = tuple(status.value for status in HubStatus)
"""All statuses that a delivery can have."""
_TO_DO = (LATE, *sorted(RETRYABLE))
_ID = re.compile(r"[0-9a-f]{32}")
_FILTERS = ("text", "sender", "recipient", "kind", "status", "first", "last", "system")


@dataclasses.dataclass(frozen=True, slots=True)
class Happened:
    """A line of a message's history."""

    at: datetime.datetime
    """When."""
    kind: str
    """What: ``received``, ``retried``, or a status that was reported."""
    recipient_code: str | None
    """For which recipient; ``None``: for the whole message."""
    who: str | None
    """The system or the person that did it; ``None``: the hub itself."""
    detail: str | None
    """What was said."""


class Traffic:
    """The pages about messages.

    Args:
        site: What pages share.
    """

    def __init__(self, site: Site) -> None:
        self._site = site

    def messages(self, visit: Visit) -> Response:
        """Show messages, the newest first."""
        asked = {name: visit.asked(name) for name in _FILTERS}
        reading = _Reading(self._site, visit)
        wanted = reading.wanted(asked)
        before = _cursor(visit.asked("before"))
        found = [] if wanted is None else self._site.traffic.messages(wanted, before=before, limit=PAGE + 1)
        shown = found[:PAGE]
        last = shown[-1] if len(found) > PAGE else None
        return self._site.page(
            visit,
            "messages.html",
            here="messages",
            asked=asked,
            is_filtered=any(asked.values()),
            problems=reading.problems,
            choices=reading.choices,
            messages=shown,
            names=self._site.reports.names(message.sender_code for message in shown),
            is_first=before is None,
            first_page=address("/messages", **asked),
            next_page=None
            if last is None
            else address("/messages", **asked, before=_cursor_text(last.received_at, last.id)),
            kinds=[kind.value for kind in PackageKind],
            statuses=STATUSES,
        )

    def message(self, visit: Visit) -> Response:
        """Show one message."""
        message_id = visit.request.path_params["message_id"]
        detail = self._site.traffic.message(message_id) if _ID.fullmatch(message_id) else None
        if detail is None:
            raise PageError(404, "console.no-message")
        summary = detail.summary
        codes = [recipient.recipient_code for recipient in detail.recipients]
        about = (
            self._site.reports.statuses_about(
                document_id=summary.document_id, sender_code=summary.sender_code, recipient_codes=codes
            )
            if summary.kind is PackageKind.DOCUMENT
            else []
        )
        return self._site.page(
            visit,
            "message.html",
            here="messages",
            message=summary,
            detail=detail,
            recipients=detail.recipients[:MAX_RECIPIENTS_SHOWN],
            about=about,
            names=self._site.reports.names([summary.sender_code, *(item.sender_code for item in about)]),
            history=self._history(detail)[:MAX_HISTORY],
            retryable=RETRYABLE,
            outcome=_outcome(visit),
            back=f"{PREFIX}/messages/{message_id}",
        )

    def _history(self, detail: MessageDetail) -> list[Happened]:
        """Return what happened to a message, the newest first: what the wires noted, and who tried again."""
        codes = {recipient.doc_id: recipient.recipient_code for recipient in detail.recipients}
        found = [
            Happened(event.at, event.kind, codes.get(event.doc_id or ""), event.system_id, event.detail)
            for event in self._site.deliveries.history(detail.summary.id)
        ]
        if not any(event.kind == RECEIVED for event in found):
            # Packages that an older version took over have no such event.
            summary = detail.summary
            found.append(Happened(summary.received_at, RECEIVED, None, summary.sender_system, None))
        doc_ids = [recipient.doc_id for recipient in detail.recipients[:MAX_RECIPIENTS_SHOWN]]
        found += [
            Happened(item.at, RETRIED, codes[item.doc_id], item.actor, None)
            for item in self._site.reports.retries(doc_ids)
        ]
        # Of what happened at the same time the later note comes first.
        found.reverse()
        return sorted(found, key=lambda item: item.at, reverse=True)

    def to_do(self, visit: Visit) -> Response:
        """Show what a person should look at."""
        status = visit.asked("status")
        if status and status not in _TO_DO:
            raise PageError(404, "console.no-page")
        after = _cursor(visit.asked("after"))
        page = self._site.reports.troubles(
            late_before=self._site.late_before(), status=status or None, after=after, limit=PAGE
        )
        standing = self._site.reports.standing(late_before=self._site.late_before())
        counts = {LATE: standing.late, **standing.troubled}
        return self._site.page(
            visit,
            "to_do.html",
            here="to-do",
            chosen=status,
            tabs=[("", standing.to_do), *((name, counts[name]) for name in _TO_DO)],
            page=page,
            names=self._site.reports.names(row.sender_code for row in page.rows),
            now=self._site.now(),
            late_after=visit.words.lasting(self._site.options.late_after),
            is_first=after is None,
            first_page=address("/to-do", status=status),
            next_page=None
            if page.after is None
            else address("/to-do", status=status, after=_cursor_text(*page.after)),
            outcome=_outcome(visit),
            back=address("/to-do", status=status),
        )

    def retry(self, visit: Visit) -> Response:
        """Let deliveries wait for their recipients again."""
        wanted = [doc_id for doc_id in visit.form.get("doc_id", ()) if _ID.fullmatch(doc_id)]
        back = safe_next(visit.field("back"))
        again = left = 0
        if wanted:
            changes = Administration(self._site.hub.store, actor=visit.who.name, clock=self._site.hub.clock)
            done = changes.retry_deliveries(wanted)
            again, left = len(done.again), len(done.left)
        joint = "&" if "?" in back else "?"
        return RedirectResponse(f"{back}{joint}again={again}&left={left}", status_code=303)


@dataclasses.dataclass(slots=True)
class _Reading:
    """Filters as a person typed them."""

    site: Site
    visit: Visit
    problems: dict[str, str] = dataclasses.field(default_factory=dict)
    choices: dict[str, Sequence[AgencyRecord]] = dataclasses.field(default_factory=dict)

    def wanted(self, asked: dict[str, str]) -> MessageFilter | None:
        """Return the filter; ``None`` if something was not understood: showing all would be a wrong answer."""
        first, last = self._day("first", asked["first"]), self._day("last", asked["last"])
        if first is not None and last is not None and first > last:
            self._problem("last", "console.wrong-span")
        sender = self._agency("sender", asked["sender"], is_sender=True)
        recipient = self._agency("recipient", asked["recipient"], is_sender=False)
        kind = self._one_of("kind", asked["kind"], [kind.value for kind in PackageKind])
        status = self._one_of("status", asked["status"], STATUSES)
        if self.problems:
            return None
        return MessageFilter(
            kind=None if kind is None else PackageKind(kind),
            sender_code=sender,
            recipient_code=recipient,
            system_id=asked["system"] or None,
            status=status,
            since=None if first is None else span(first, first)[0],
            until=None if last is None else span(last, last)[1],
            text=asked["text"] or None,
        )

    def _problem(self, name: str, message_id: str) -> None:
        self.problems[name] = self.visit.words.text(message_id)

    def _day(self, name: str, text: str) -> datetime.date | None:
        try:
            day = datetime.date.fromisoformat(text) if text else None
        except ValueError:
            self._problem(name, "console.wrong-day")
            return None
        # Years that a database or its time zone cannot hold are mistakes.
        if day is not None and not 1900 < day.year < 9000:
            self._problem(name, "console.wrong-day")
            return None
        return day

    def _one_of(self, name: str, text: str, known: Sequence[str]) -> str | None:
        if text and text not in known:
            self._problem(name, "console.wrong-choice")
        return text or None

    def _agency(self, name: str, text: str, *, is_sender: bool) -> str | None:
        if not text:
            return None
        owner = self.site.hub.lookup.owner(text)
        if owner is not None:
            # Senders stand in the packages by the code they used, recipients by the code in force.
            return text if is_sender else owner[0]
        found = self.site.registry.agencies(text=text, limit=_MOST_CHOICES + 1)
        if len(found) == 1:
            return found[0].code
        if not found:
            self._problem(name, "console.no-agency")
        else:
            self._problem(name, "console.many-agencies")
            self.choices[name] = found[:_MOST_CHOICES]
        return None


def _outcome(visit: Visit) -> tuple[int, int] | None:
    again, left = visit.asked("again"), visit.asked("left")
    if not (again.isascii() and again.isdecimal() and left.isascii() and left.isdecimal()):
        return None
    return int(again[:4]), int(left[:4])


def _cursor_text(moment: datetime.datetime, row_id: str) -> str:
    return f"{as_utc(moment):%Y-%m-%dT%H:%M:%S.%f}~{row_id}"


def _cursor(text: str) -> tuple[datetime.datetime, str] | None:
    """Read where a page begins.

    Raises:
        PageError: Somebody wrote it by hand.
    """
    if not text:
        return None
    moment, _, row_id = text.partition("~")
    try:
        parsed = datetime.datetime.strptime(moment, "%Y-%m-%dT%H:%M:%S.%f").replace(tzinfo=datetime.UTC)
    except ValueError as exc:
        raise PageError(400, "console.no-page") from exc
    if not _ID.fullmatch(row_id):
        raise PageError(400, "console.no-page")
    return parsed, row_id
