"""``vnedoc config``: the settings as they are understood, and what is wrong with them."""

import pytest

from tests.cli import vnedoc

SETTINGS = """
language = "en"

[agency]
organ_id = "H99"
organ_name = "TỈNH TEST"

[store]
url = "postgresql://user:TEST-PASSWORD@127.0.0.1/vnedoc"
payload_folder = "payloads"

[connections.axis]
kind = "vxp"
url = "https://axis.test"
system_id = "SYS.TEST"
secret_file = "secret"

[connections.tinh]
kind = "lgsp"
url = "https://tinh.test"
system_id = "H99"
secret_file = "secret"
password_env = "VNEDOC_TEST_PASSWORD"

[connections.tinh.options]
username = "clerk TEST"
api_token = "TEST-TOKEN"
"""


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VNEDOC_TEST_PASSWORD", "TEST-SECRET")
    (tmp_path / "secret").write_text("TEST-SECRET")
    path = tmp_path / "vnedoc.toml"
    path.write_text(SETTINGS.replace('api_token = "TEST-TOKEN"\n', ""))
    return path


@pytest.mark.parametrize("form", ["text", "json"])
def test_show_tells_everything_but_secrets(settings, tmp_path, form):
    settings.write_text(SETTINGS)
    outcome = vnedoc("config", "show", "--format", form)
    assert outcome.code == 0
    for word in (
        "SYS.TEST",
        "clerk TEST",
        str(tmp_path / "secret"),
        "VNEDOC_TEST_PASSWORD",
        "127.0.0.1/vnedoc",
    ):
        assert word in outcome.out
    for word in ("TEST-PASSWORD", "TEST-TOKEN", "TEST-SECRET"):
        assert word not in outcome.out + outcome.err
    if form == "json":
        document = outcome.json()
        assert document["schema"] == "vnedoc.config/1"
        assert document["settings"]["connections"]["axis"]["timeout_s"] == 60.0


def test_show_without_settings_shows_the_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert vnedoc("config", "show").code == 0


def test_check_finds_nothing(settings):
    outcome = vnedoc("config", "check")
    assert (outcome.code, outcome.out.count("\n")) == (0, 1)
    assert "2" in outcome.out


def test_check_names_every_fault_at_once(settings, monkeypatch):
    monkeypatch.delenv("VNEDOC_TEST_PASSWORD")
    settings.write_text(
        'trust = ["none.pem"]\ndirectory = "none.json"\n'
        + SETTINGS.replace("[agency]", "[signing]").replace('organ_id = "H99"\norgan_name = "TỈNH TEST"', "")
    )
    outcome = vnedoc("config", "check", "--format", "json")
    assert outcome.code == 5
    document = outcome.json()
    assert document["schema"] == "vnedoc.config-check/1"
    found = [fault["id"] for fault in document["faults"]]
    assert found[:3] == ["exchange.no-agency", "connector.secret-missing", "connector.not-for-kind"]
    assert len(found) == 5
    assert all(fault["text"] for fault in document["faults"])
    text = vnedoc("config", "check")
    assert text.code == 5
    assert "VNEDOC_TEST_PASSWORD" in text.out


def test_check_says_what_no_settings_can_be_read_from(settings):
    settings.write_text("colour = 1")
    outcome = vnedoc("config", "check")
    assert outcome.code == 5
    assert "colour" in outcome.err
