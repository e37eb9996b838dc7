"""What all tests share: a test PKI that answers on loopback, second tools by name, and no silent skips."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.verapdf import CANNOT_FETCH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnedoc.testing.pki import TestPKI

pytest_plugins = [
    "tests.database_fixtures",
    "tests.exchange_fixtures",
    "tests.signing_fixtures",
    "tests.token_fixtures",
    "tests.verification_fixtures",
]

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
    "chromedriver": "chromium-driver",
    "soffice": "libreoffice-writer-nogui",
    "xmlsec1": "xmlsec1",
    "xxd": "xxd",
    "softhsm2-util": "softhsm2",
    "java": "default-jre-headless",
    "mvn": "maven",
    "git": "git",
    "php": "php-cli, with php-soap",
    "pre-commit": "pre-commit",
    "systemd-analyze": "systemd",
    "haproxy": "haproxy",
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        tool = mark.args[0]
        # Some come with the test's own environment, whose folder need not be on the path.
        if shutil.which(tool) is None and shutil.which(tool, path=str(Path(sys.executable).parent)) is None:
            pytest.skip(f"needs {tool} (Debian package {TOOLS[tool]})")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    # Where every tool could be installed, a skip is a defect, not an excuse.
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    # Only a registry that does not answer is nobody's fault here.
    skipped = [report for report in skipped if CANNOT_FETCH not in str(report.longrepr)]
    if skipped and os.environ.get("VNEDOC_EXPECT_ALL_TOOLS") and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def pki() -> Iterator[TestPKI]:
    """A test PKI whose OCSP, CRL and time-stamp services answer on loopback for the whole session."""
    from vnedoc.testing.pki import running_pki

    with running_pki() as running:
        yield running
