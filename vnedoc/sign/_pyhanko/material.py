"""A trust store in the validator's own types, made once; and the paths in it that were found sound before."""

from __future__ import annotations

import dataclasses
import weakref
from typing import TYPE_CHECKING

from pyhanko_certvalidator.authority import (
    CertTrustAnchor,
    TrustQualifiers,
    derive_quals_from_cert,
)
from pyhanko_certvalidator.policy_decl import PKIXValidationParams

from vnedoc.sign._pyhanko.cms_objects import to_asn1
from vnedoc.sign.trust import fingerprint

if TYPE_CHECKING:
    import datetime

    from asn1crypto import x509 as asn1_x509
    from cryptography import x509
    from pyhanko_certvalidator.path import ValidationPath

    from vnedoc.sign.policy import Policy
    from vnedoc.sign.trust import TrustStore

__all__ = ["Material", "material_of", "trust_anchor"]

MAX_REMEMBERED = 1000


def trust_anchor(certificate: asn1_x509.Certificate) -> CertTrustAnchor:
    """Return an anchor that keeps to what its certificate says of path length and names (RFC 5937, 3.2).

    Its policies and its end are not looked at: a root that is trusted by name stays trusted until it is taken out.
    """
    said = derive_quals_from_cert(certificate)
    names = said.standard_parameters
    limits = TrustQualifiers(
        standard_parameters=None
        if names is None
        else PKIXValidationParams(
            initial_permitted_subtrees=names.initial_permitted_subtrees,
            initial_excluded_subtrees=names.initial_excluded_subtrees,
        ),
        # Where only the first is set, the validator takes the second for "none" and fails.
        max_path_length=said.max_path_length,
        max_aa_path_length=said.max_path_length,
    )
    return CertTrustAnchor(certificate, limits)


@dataclasses.dataclass(frozen=True, slots=True)
class _SoundPath:
    path: ValidationPath
    first: datetime.datetime
    last: datetime.datetime


class Material:
    """A trust store in the validator's own types, made once."""

    def __init__(self, trust: TrustStore) -> None:
        self._known = {
            certificate: to_asn1(certificate)
            for certificate in (*(anchor.certificate for anchor in trust.anchors), *trust.intermediates)
        }
        self.intermediates = tuple(self._known[certificate] for certificate in trust.intermediates)
        self.anchors = {self._known[anchor.certificate].dump(): anchor for anchor in trust.anchors}
        self._sound: dict[tuple[x509.Certificate, Policy, str], _SoundPath] = {}

    def recall(
        self, certificate: x509.Certificate, policy: Policy, usage: str, at: datetime.datetime
    ) -> ValidationPath | None:
        """Return a path that was found sound before and is so at this time, too."""
        known = self._sound.get((certificate, policy, usage))
        return known.path if known is not None and known.first <= at <= known.last else None

    def remember(
        self,
        chain: tuple[x509.Certificate, ...],
        policy: Policy,
        usage: str,
        path: ValidationPath,
    ) -> None:
        """Keep a sound path: apart from revocation, only the validity periods of its certificates end it."""
        if len(self._sound) >= MAX_REMEMBERED:
            self._sound.clear()
        below = chain[:-1] or chain
        last = min(link.not_valid_after_utc for link in below)
        # An algorithm that is accepted up to a date must not be carried over it.
        end = policy.holds_until(fingerprint(chain[-1]))
        self._sound[chain[0], policy, usage] = _SoundPath(
            path,
            max(link.not_valid_before_utc for link in below),
            last if end is None else min(last, end),
        )

    def converted(self, certificate: x509.Certificate) -> asn1_x509.Certificate:
        """Return a certificate in the validator's type."""
        known = self._known.get(certificate)
        return known if known is not None else to_asn1(certificate)


_MATERIAL: weakref.WeakKeyDictionary[TrustStore, Material] = weakref.WeakKeyDictionary()


def material_of(trust: TrustStore) -> Material:
    """Return the material of a trust store; the same for the same store."""
    material = _MATERIAL.get(trust)
    if material is None:
        material = _MATERIAL[trust] = Material(trust)
    return material
