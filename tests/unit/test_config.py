"""Settings: read into frozen values, unknown keys refused, paths beside the file."""

from pathlib import Path

import pytest

from vnedoc.config import Config, load_config
from vnedoc.errors import ConfigurationError

FULL = """
language = "en"
trust = ["root.pem", "shipped:vn-government"]
directory = "directory.json"

[agency]
organ_id = "H99"
organ_name = "TỈNH TEST"

[store]
url = "sqlite:///vnedoc.sqlite3"
payload_folder = "payloads"

[signing]
tsa = ["http://tsa.test"]

[verification]
allowed_hosts = ["127.0.0.1"]

[connections.axis]
kind = "vxp"
url = "http://127.0.0.1:1"
system_id = "SYS"
secret_env = "SECRET"
timeout_s = 5

[connections.other]
kind = "vxp"
url = "http://127.0.0.1:2"
system_id = "SYS2"
secret_file = "secret"
"""


def _write(folder: Path, content: str) -> Path:
    path = folder / "vnedoc.toml"
    path.write_text(content, encoding="utf-8")
    return path


def test_everything_is_read(tmp_path: Path) -> None:
    config = load_config(_write(tmp_path, FULL), environ={})
    assert config.language == "en"
    assert config.trust == (str(tmp_path / "root.pem"), "shipped:vn-government")
    assert config.directory == tmp_path / "directory.json"
    assert config.agency is not None
    assert config.agency.organ_id == "H99"
    assert config.store is not None
    assert config.store.url == f"sqlite:///{tmp_path / 'vnedoc.sqlite3'}"
    assert config.store.payload_folder == tmp_path / "payloads"
    assert config.signing.tsa == ("http://tsa.test",)
    assert config.verification.allowed_hosts == ("127.0.0.1",)
    assert config.connection().system_id == "SYS"
    assert config.connection().timeout_s == 5
    assert config.connection("other").secret_file == tmp_path / "secret"


def test_without_a_file_there_are_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(environ={}) == Config()


def test_the_environment_names_the_file_and_wins(tmp_path: Path) -> None:
    path = _write(tmp_path, FULL)
    config = load_config(environ={"VNEDOC_CONFIG": str(path), "VNEDOC_LANG": "vi"})
    assert config.path == path
    assert config.language == "vi"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("colour = 1", "config.unknown-key"),
        ("path = 'x'", "config.unknown-key"),
        ("[agency]\norgan_id = 'H1'", "config.missing-key"),
        ("[agency]\norgan_id = 'H1'\norgan_name = 3", "config.not-a-text"),
        ("[agency]\norgan_id = 'H1'\norgan_name = 'x'\nrank = 1", "config.unknown-key"),
        ("agency = 'H1'", "config.not-a-table"),
        ("trust = 'root.pem'", "config.not-a-list"),
        ("trust = [1]", "config.not-a-list"),
        ("connections = 1", "config.not-a-table"),
        ("[connections]\naxis = 1", "config.not-a-table"),
        (
            "[connections.a]\nkind = 'vxp'\nurl = 'u'\nsystem_id = 's'\ntimeout_s = true",
            "config.not-a-number",
        ),
        ("= 1", "config.not-toml"),
        ("language = 'fr'", "config.unknown-language"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, content: str, code: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_config(_write(tmp_path, content), environ={})
    assert caught.value.code == code


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_config(tmp_path / "none.toml", environ={})
    assert caught.value.code == "config.cannot-read"


def test_connections_are_found_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Config().connection()
    assert caught.value.code == "config.no-connection"
    with pytest.raises(ConfigurationError) as caught:
        load_config(_write(tmp_path, FULL), environ={}).connection("none")
    assert caught.value.code == "config.unknown-connection"


def test_how_the_exchange_behaves(tmp_path):
    path = tmp_path / "vnedoc.toml"
    path.write_text(
        'calendar = "calendar.toml"\n'
        '[agency]\norgan_id = "H99"\norgan_name = "TEST"\nalso = ["000.00.00.H99"]\n'
        "[exchange]\napply_recalls = false\nexpires_after_hours = 48\n",
        encoding="utf-8",
    )
    config = load_config(path, environ={})
    assert config.agency.also == ("000.00.00.H99",)
    assert (config.exchange.apply_recalls, config.exchange.apply_updates) == (False, True)
    assert config.exchange.expires_after_hours == 48
    assert config.calendar == tmp_path / "calendar.toml"


@pytest.mark.parametrize("line", ['apply_recalls = "no"', "apply_recalls = 1", "colour = true"])
def test_wrong_settings_of_the_exchange(tmp_path, line):
    path = tmp_path / "vnedoc.toml"
    path.write_text(f"[exchange]\n{line}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError):
        load_config(path, environ={})
