"""What all tests share: a test PKI that answers on loopback, second tools by name, and no silent skips."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnedoc.testing.pki import TestPKI

pytest_plugins = ["tests.signing_fixtures"]

# Programs that some tests need beside Python, and the Debian package that brings each.
TOOLS = {
    "pdfsig": "poppler-utils",
    "pdftoppm": "poppler-utils",
    "pdftotext": "poppler-utils",
    "pdffonts": "poppler-utils",
    "certutil": "libnss3-tools",
    "qpdf": "qpdf",
    "openssl": "openssl",
    "bash": "bash",
    "chromium": "chromium",
    "soffice": "libreoffice-writer-nogui",
    "xmlsec1": "xmlsec1",
    "xxd": "xxd",
    "softhsm2-util": "softhsm2",
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        tool = mark.args[0]
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool} (Debian package {TOOLS[tool]})")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    # Where every tool could be installed, a skip is a defect, not an excuse.
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if skipped and os.environ.get("VNEDOC_EXPECT_ALL_TOOLS") and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def pki() -> Iterator[TestPKI]:
    """A test PKI whose OCSP, CRL and time-stamp services answer on loopback for the whole session."""
    from vnedoc.testing.pki import running_pki

    with running_pki() as running:
        yield running
