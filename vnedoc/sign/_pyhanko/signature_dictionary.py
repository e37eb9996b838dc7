"""What is written into a signature dictionary (ISO 32000-2, 12.8.1 and 12.8.2)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pyhanko.sign.fields import FieldMDPAction, FieldMDPSpec, MDPPerm, SigSeedSubFilter
from pyhanko.sign.signers.cms_embedder import SigMDPSetup
from pyhanko.sign.signers.pdf_byterange import BuildProps, SignatureObject

from vnedoc._internal.version import VERSION

if TYPE_CHECKING:
    import datetime

__all__ = ["SignatureSettings", "permissions", "placeholder"]


@dataclasses.dataclass(frozen=True, slots=True)
class SignatureSettings:
    """What is written into the signature dictionary."""

    signing_time: datetime.datetime
    """The claimed time, ``/M``."""
    digest_algorithm: str
    """The digest over the byte range."""
    max_cms_bytes: int
    """How much room the CMS gets."""
    pades: bool = True
    """``ETSI.CAdES.detached``; otherwise ``adbe.pkcs7.detached``."""
    certify: bool = False
    """Certify: only form filling and further signatures are allowed afterwards (DocMDP, P = 2)."""
    locked_fields: tuple[str, ...] = ()
    """Text fields that must not change after this signature (FieldMDP)."""
    reason: str | None = None
    """``/Reason``."""
    location: str | None = None
    """``/Location``."""


def placeholder(settings: SignatureSettings) -> SignatureObject:
    """Return the dictionary with room for the signature in it."""
    return SignatureObject(
        timestamp=settings.signing_time,
        subfilter=SigSeedSubFilter.PADES if settings.pades else SigSeedSubFilter.ADOBE_PKCS7_DETACHED,
        reason=settings.reason,
        location=settings.location,
        app_build_props=BuildProps(name="vnedoc", revision=VERSION),
        bytes_reserved=2 * settings.max_cms_bytes,
    )


def permissions(settings: SignatureSettings) -> SigMDPSetup:
    """Return what the signature allows to be changed after it."""
    lock = (
        FieldMDPSpec(FieldMDPAction.INCLUDE, list(settings.locked_fields)) if settings.locked_fields else None
    )
    return SigMDPSetup(
        md_algorithm=settings.digest_algorithm,
        certify=settings.certify,
        docmdp_perms=MDPPerm.FILL_FORMS if settings.certify else None,
        field_lock=lock,
    )
