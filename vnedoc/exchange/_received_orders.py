"""Read what a package that came in orders about other documents.

Systems name the document that they mean in different places (:attr:`vnedoc.exchange.models.DocumentHeader.targets`).
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from vnedoc.exchange.codes import BusinessKind, ReceiverType, StatusCode
from vnedoc.exchange.models import DocumentHeader
from vnedoc.exchange.states import OrderKind
from vnedoc.exchange.stores.records import NewOrder

if TYPE_CHECKING:
    from vnedoc.exchange._desk import ExchangeOptions
    from vnedoc.exchange.models import StatusHeader

__all__ = ["orders_in"]

_KINDS = {
    int(BusinessKind.RECALL): OrderKind.RECALL,
    int(BusinessKind.UPDATE): OrderKind.UPDATE,
    int(BusinessKind.REPLACE): OrderKind.REPLACE,
}


def orders_in(
    header: DocumentHeader | StatusHeader, *, codes: frozenset[str], options: ExchangeOptions
) -> tuple[NewOrder, ...]:
    """Return the orders of a package, one for each document that it names."""
    if not isinstance(header, DocumentHeader):
        return _take_back(header, options)
    kind = _KINDS.get(header.business.kind)
    if kind is None:
        return ()
    automatic = {
        OrderKind.RECALL: options.apply_recalls,
        OrderKind.UPDATE: options.apply_updates,
        # The new document is there, whatever we say.
        OrderKind.REPLACE: True,
    }[kind]
    return tuple(
        NewOrder(
            kind=kind,
            document_id=document_id,
            document_code=_named(header, document_id)[0],
            reason=header.business.reason,
            automatic=automatic,
            issued_on=_named(header, document_id)[1],
            withdraws=kind is OrderKind.UPDATE and _is_removed(header, codes),
        )
        for document_id in dict.fromkeys(header.targets)
        # A new document cannot take its own place.
        if kind is not OrderKind.REPLACE or document_id != header.document_id
    )


def _take_back(header: StatusHeader, options: ExchangeOptions) -> tuple[NewOrder, ...]:
    about = header.response_for
    if header.status_code != StatusCode.TAKE_BACK or not (about.document_id or about.code):
        return ()
    return (
        NewOrder(
            kind=OrderKind.TAKE_BACK,
            document_id=about.document_id or "",
            document_code=about.code or "",
            reason=header.description,
            automatic=options.apply_take_backs,
            issued_on=_day(about.promulgation_date),
        ),
    )


def _named(header: DocumentHeader, document_id: str) -> tuple[str, datetime.date | None]:
    """Return number and date of a document that a package names, as far as it says them."""
    for item in header.response_for:
        if item.document_id == document_id:
            return item.code or "", _day(item.promulgation_date)
    if header.document_id == document_id:
        return header.code, header.promulgation_date
    return "", None


def _day(text: str | None) -> datetime.date | None:
    try:
        return None if text is None else datetime.date.fromisoformat(text.strip().replace("/", "-"))
    except ValueError:
        return None


def _is_removed(header: DocumentHeader, codes: frozenset[str]) -> bool:
    """Tell whether an update takes the document from us."""
    info = header.business.document_info
    ours = [] if info is None else [item for item in info.receiver_list if item.organ_id in codes]
    return bool(ours) and all(item.receiver_type == ReceiverType.REMOVED for item in ours)
