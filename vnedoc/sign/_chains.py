"""Which certificates could lead from a signer to an anchor; whether they may is decided elsewhere.

A file can bring certificates that sign one another in every direction; looking for a way through them takes for ever.
So only certificates that hang below an anchor by a checked signature are ever walked through.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from cryptography import x509

from vnedoc.sign.certificates import MALFORMED_CERTIFICATE_ERRORS
from vnedoc.sign.trust import is_issued_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vnedoc.sign.revocation import RevocationSource
    from vnedoc.sign.trust import TrustStore

__all__ = ["fetch_chains", "find_chains"]

MAX_CHAINS = 8
"""How many chains are tried for one certificate."""
MAX_LENGTH = 8
"""How long a chain may be, anchor included."""
MAX_FETCHED = 4
"""How many certificates between a signer and an anchor are fetched."""
MAX_EMBEDDED = 100
"""How many certificates of the file are looked at."""

_BELOW_ANCHORS: weakref.WeakKeyDictionary[TrustStore, tuple[x509.Certificate, ...]] = (
    weakref.WeakKeyDictionary()
)


def find_chains(
    certificate: x509.Certificate, trust: TrustStore, embedded: Sequence[x509.Certificate] = ()
) -> tuple[tuple[x509.Certificate, ...], ...]:
    """Return chains from a certificate to an anchor, both included; the shortest first.

    Args:
        certificate: The certificate that signed.
        trust: The trust anchors and intermediate certificates.
        embedded: Further certificates, from the file.
    """
    anchors = tuple(anchor.certificate for anchor in trust.anchors)
    if certificate in anchors:
        return ((certificate,),)
    below = _BELOW_ANCHORS.get(trust)
    if below is None:
        below = _BELOW_ANCHORS[trust] = _leading_to(anchors, trust.intermediates)
    if embedded:
        below = (*below, *_leading_to((*anchors, *below), embedded[:MAX_EMBEDDED]))
    found: list[tuple[x509.Certificate, ...]] = []
    waiting: list[tuple[x509.Certificate, ...]] = [(certificate,)]
    while waiting and len(found) < MAX_CHAINS:
        chain = waiting.pop(0)
        for issuer in (*anchors, *below):
            if issuer in chain or not is_issued_by(chain[-1], issuer):
                continue
            if issuer in anchors:
                found.append((*chain, issuer))
            elif len(chain) < MAX_LENGTH - 1 and len(waiting) < MAX_CHAINS:
                waiting.append((*chain, issuer))
    return tuple(found[:MAX_CHAINS])


def fetch_chains(
    certificate: x509.Certificate,
    trust: TrustStore,
    embedded: Sequence[x509.Certificate],
    *,
    source: RevocationSource,
) -> tuple[tuple[x509.Certificate, ...], ...]:
    """Return chains over certificates that are fetched from where the others say that they are.

    Args:
        certificate: The certificate that signed.
        trust: The trust anchors and intermediate certificates.
        embedded: Further certificates, from the file.
        source: Fetches them, if it was told to.
    """
    known = list(embedded[:MAX_EMBEDDED])
    current = certificate
    for _ in range(MAX_FETCHED):
        encoded = source.issuers_of(current).certificates
        fetched = [x509.load_der_x509_certificate(item) for item in encoded]
        issuer = next((item for item in fetched if is_issued_by(current, item)), None)
        if issuer is None:
            return ()
        # Whatever else came with it was not asked for.
        known.insert(0, issuer)
        chains = find_chains(certificate, trust, known)
        if chains:
            return chains
        current = issuer
    return ()


def _leading_to(
    known: Iterable[x509.Certificate], candidates: Iterable[x509.Certificate]
) -> tuple[x509.Certificate, ...]:
    """Return the candidates that hang below known certificates, over other candidates, too."""
    above = list(known)
    left = [candidate for candidate in candidates if candidate not in above and _is_authority(candidate)]
    found: list[x509.Certificate] = []
    grown = True
    while grown:
        grown = False
        for candidate in list(left):
            if any(is_issued_by(candidate, issuer) for issuer in above):
                left.remove(candidate)
                above.append(candidate)
                found.append(candidate)
                grown = True
    return tuple(found)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except MALFORMED_CERTIFICATE_ERRORS:
        return False
