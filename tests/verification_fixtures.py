"""What several test modules verify with; fixtures are made known by ``tests/conftest.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vnedoc.sign.revocation import RevocationSource
from vnedoc.sign.trust import TrustStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vnedoc.testing.pki import TestPKI


@pytest.fixture(scope="module")
def trust(pki: TestPKI) -> TrustStore:
    """The authorities of the test PKI, also of one that a module has for itself."""
    return TrustStore.from_certificates(pki.ca_certificates)


@pytest.fixture
def online() -> Iterator[RevocationSource]:
    """Revocation data from the servers of the test PKI."""
    with RevocationSource(allowed_hosts=["127.0.0.1"]) as source:
        yield source


@pytest.fixture
def roots(pki: TestPKI, tmp_path: Path) -> Path:
    """A folder with the certificates of the test PKI, for ``--trust``."""
    folder = tmp_path / "pki"
    pki.write(folder, passphrase="x")
    return folder
