"""Signature fields by their names: which are free, and in which role one was signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509

from vnedoc.sign.certificates import guess_role
from vnedoc.sign.models import Role
from vnedoc.sign.report import SignerRole

if TYPE_CHECKING:
    from vnedoc.sign._pyhanko.embedding import ExistingSignature

__all__ = ["free_name", "may_be_approval"]

_OTHER_ROLES = tuple(f"vnedoc-{role.value}-" for role in Role if role not in {Role.APPROVE, Role.INVISIBLE})


def may_be_approval(signature: ExistingSignature) -> bool:
    """Tell whether a signature may be the one of the person with authority.

    What was signed here in another role is not: the seal belongs to the signature that approves (Decree
    30/2020/NĐ-CP, art. 33.1b), not to the initials or the comment beside it.
    """
    return not _is_agency(signature) and not signature.field.startswith(_OTHER_ROLES)


def _is_agency(signature: ExistingSignature) -> bool:
    if signature.certificate is None:
        return False
    try:
        certificate = x509.load_der_x509_certificate(signature.certificate)
    except ValueError:
        return False
    return guess_role(certificate) is SignerRole.AGENCY


def free_name(role: Role, taken: set[str]) -> str:
    """Return a field name that the document does not have; two fields of one name break the second signature."""
    number = 1
    while f"vnedoc-{role.value}-{number}" in taken:
        number += 1
    return f"vnedoc-{role.value}-{number}"
