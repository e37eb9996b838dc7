"""Bring the certificates that come with a key into order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography import x509

__all__ = ["order_chain"]


def order_chain(leaf: x509.Certificate, others: Iterable[x509.Certificate]) -> list[x509.Certificate]:
    """Return the certificates above one, nearest first.

    Files and services list them in any order, some with the leaf among them, some with others that have nothing to
    do with it.
    """
    pool = [item for item in others if item != leaf]
    chain: list[x509.Certificate] = []
    current = leaf
    while current.subject != current.issuer:
        above = next((item for item in pool if item.subject == current.issuer), None)
        if above is None:
            break
        pool.remove(above)
        chain.append(above)
        current = above
    return chain
