"""What several test modules sign with; fixtures are made known by ``tests/conftest.py``."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import pytest

from vnedoc.sign.appearance import Picture, load_picture
from vnedoc.sign.models import Placement, Role
from vnedoc.sign.roles import SigningOptions
from vnedoc.sign.signers.pkcs12 import PKCS12Signer
from vnedoc.sign.signing import sign_pdf
from vnedoc.testing import documents

if TYPE_CHECKING:
    from vnedoc.testing.pki import TestPKI

ISSUE_DATE = datetime.date(2026, 1, 5)


@pytest.fixture(scope="session")
def leader(pki: TestPKI) -> PKCS12Signer:
    """The person with authority."""
    return PKCS12Signer(pki.leader.pkcs12("x"), passphrase="x")


@pytest.fixture(scope="session")
def clerk(pki: TestPKI) -> PKCS12Signer:
    """The clerk, with the agency's key."""
    return PKCS12Signer(pki.agency.pkcs12("x"), passphrase="x")


@pytest.fixture(scope="session")
def signature_picture() -> Picture:
    """The leader's signature, blue."""
    return load_picture(documents.document_path(documents.LEADER_SIGNATURE))


@pytest.fixture(scope="session")
def seal_picture() -> Picture:
    """The agency's seal, red."""
    return load_picture(documents.document_path(documents.AGENCY_SEAL))


@pytest.fixture(scope="session")
def approve_options(signature_picture: Picture) -> SigningOptions:
    """How the leader signs the sample decision."""
    return SigningOptions(
        role=Role.APPROVE,
        placement=Placement(anchor=documents.LEADER_NAME),
        picture=signature_picture,
        reserve_numbering=True,
    )


@pytest.fixture(scope="session")
def issue_options(seal_picture: Picture) -> SigningOptions:
    """How the clerk issues the sample decision."""
    return SigningOptions(
        role=Role.ISSUE,
        picture=seal_picture,
        seal_diameter_mm=documents.SEAL_DIAMETER_MM,
        number="7/QĐ-UBND",
        date=ISSUE_DATE,
    )


@pytest.fixture(scope="session")
def approved(leader: PKCS12Signer, approve_options: SigningOptions) -> bytes:
    """The sample decision, signed by the leader, with fields for number and date."""
    source = documents.document_bytes(documents.DECISION)
    content = sign_pdf(source, signer=leader, options=approve_options).content
    assert content is not None
    return content


@pytest.fixture(scope="session")
def issued(clerk: PKCS12Signer, approved: bytes, issue_options: SigningOptions) -> bytes:
    """The sample decision, issued."""
    content = sign_pdf(approved, signer=clerk, options=issue_options).content
    assert content is not None
    return content
