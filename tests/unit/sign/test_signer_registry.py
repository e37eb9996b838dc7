"""Kinds of keys are found by scheme: ours, and those that packages add by entry points."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from vnedoc.errors import ConfigurationError, UsageError
from vnedoc.sign.signers import _OPENERS, ENTRY_POINT_GROUP, open_signer, signer_schemes

PLUGIN = """
from vnedoc.sign.signers import open_signer as ours

def open_smoke(uri, *, secret, mechanism=None):
    return ("smoke", uri, secret("PIN"), mechanism)

not_callable = 7
"""

POINTS = f"""
[{ENTRY_POINT_GROUP}]
smoke+test = smoke_signals:open_smoke
gone = smoke_signals:no_such_name
missing = no_such_module_of_smoke:open
seven = smoke_signals:not_callable
pkcs12 = smoke_signals:open_smoke
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with a kind of key."""
    (tmp_path / "smoke_signals.py").write_text(PLUGIN)
    described = tmp_path / "smoke_signals-1.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: smoke-signals\nVersion: 1\n")
    (described / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_our_own_kinds_come_first() -> None:
    assert signer_schemes()[:2] == ("pkcs12", "pkcs11")


@pytest.mark.parametrize("scheme", sorted(_OPENERS))
def test_each_kind_of_ours_is_there_and_opens_in_the_same_way(scheme: str) -> None:
    module, _, name = _OPENERS[scheme].partition(":")
    signature = inspect.signature(getattr(importlib.import_module(module), name))
    signature.bind(f"{scheme}:x", secret=lambda _: None, mechanism=None)


@pytest.mark.usefixtures("plugin")
def test_a_package_adds_a_kind() -> None:
    assert "smoke+test" in signer_schemes()
    opened = open_signer("SMOKE+test:hill?fire=1", secret=lambda _: "bí mật TEST")
    assert opened == ("smoke", "SMOKE+test:hill?fire=1", "bí mật TEST", None)


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("scheme", ["gone", "missing", "seven"])
def test_a_package_that_does_not_load(scheme: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_signer(f"{scheme}:x", secret=lambda _: "x")
    assert caught.value.code == "signer.plugin-failed"
    assert scheme in caught.value.text("vi")
    assert scheme in caught.value.text("en")


@pytest.mark.usefixtures("plugin")
def test_a_package_cannot_take_one_of_ours(tmp_path: Path) -> None:
    from vnedoc.errors import InputError

    with pytest.raises(InputError):
        open_signer(f"pkcs12:{tmp_path / 'none.p12'}", secret=lambda _: "x")


@pytest.mark.usefixtures("plugin")
def test_an_unknown_kind_names_the_known_ones_and_repeats_no_secret() -> None:
    with pytest.raises(UsageError) as caught:
        open_signer("smok:user:mật-TEST@hill", secret=lambda _: "x")
    assert caught.value.code == "signer.unknown-scheme"
    assert "smoke+test:" in caught.value.text()
    assert "pkcs11:" in caught.value.text()
    assert "mật-TEST" not in repr(caught.value)


def test_without_the_extra_the_way_to_it_is_said() -> None:
    program = """
import sys
sys.modules["pkcs11"] = None
from vnedoc.errors import ExitCode, MissingExtraError
from vnedoc.sign.signers import open_signer
def by_uri():
    open_signer("pkcs11:token=x", secret=lambda _: "x")
def by_import():
    import vnedoc.testing.tokens
for attempt in (by_uri, by_import):
    try:
        attempt()
    except MissingExtraError as exc:
        assert "pip install 'vnedoc[pkcs11]'" in exc.hint("vi") and "pip install 'vnedoc[pkcs11]'" in exc.hint("en")
        assert exc.exit_code is ExitCode.CONFIGURATION
    else:
        raise AssertionError
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_other_kinds_do_not_load_the_library() -> None:
    program = """
import sys
import vnedoc.sign.signers.pkcs12, vnedoc._cli.signer
from vnedoc.sign.signers import open_signer
try:
    open_signer("pkcs12:none.p12", secret=lambda _: "x")
except Exception:
    pass
assert "pkcs11" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
