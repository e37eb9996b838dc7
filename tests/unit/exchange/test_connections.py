"""Connections of the settings: kinds, options, secrets by reference, and what `config check` says of them."""

import dataclasses
from importlib import metadata

import pytest

from vnedoc.config import ConnectionConfig, load_config
from vnedoc.errors import ConfigurationError, CredentialError
from vnedoc.exchange import connectors
from vnedoc.exchange.connectors import (
    SECRET_NAMES,
    Secrets,
    check_connection,
    connector_kinds,
    open_connection,
)
from vnedoc.exchange.connectors.folder import FolderConnector
from vnedoc.exchange.connectors.lgsp import LGSPConnector
from vnedoc.exchange.connectors.vxp import VXPConnector

URL = "https://axis.test"
COMPLETE = {
    "vxp": {"secret_env": "SECRET"},
    "lgsp": {"secret_env": "SECRET", "password_env": "PASSWORD"},
    "lgsp-oauth2": {"secret_env": "SECRET", "unit_secret_env": "UNIT"},
    "bkav-rest": {"secret_env": "SECRET"},
    "bkav-soap": {"secret_env": "SECRET"},
    "xroad": {"options": {"service": "T/GOV/C/D/E"}, "system_id": "T/GOV/A/B"},
    "folder": {},
}
ENVIRON = {"SECRET": "TEST-1", "PASSWORD": "TEST-2", "UNIT": "TEST-3"}


def connection(kind, **values):
    return ConnectionConfig(**{"kind": kind, "url": URL, "system_id": "H99", **values})


@pytest.mark.parametrize("kind", sorted(COMPLETE))
def test_every_kind_opens_from_settings_and_asks_nobody(kind):
    settings = connection(kind, **COMPLETE[kind])
    with open_connection(settings, name="axis", environ={}) as connector:
        assert connector.name == "axis"
        assert connector.max_package_bytes == 512 * 1024 * 1024
    assert check_connection(settings, name="axis", environ=ENVIRON) == []


def test_the_list_of_kinds_is_complete():
    assert set(connector_kinds()) == set(COMPLETE)


@pytest.mark.parametrize("kind", sorted(COMPLETE))
def test_limits_reach_every_kind(kind):
    settings = connection(kind, **COMPLETE[kind], max_package_mb=1.5)
    with open_connection(settings, name="axis") as connector:
        assert connector.max_package_bytes == 1024 * 1024 * 3 // 2
    with pytest.raises(ConfigurationError):
        open_connection(dataclasses.replace(settings, max_package_mb=0), name="axis")


@pytest.mark.parametrize(
    ("kind", "values", "code"),
    [
        ("fax", {}, "connector.unknown-kind"),
        ("vxp", {"options": {"colour": "red"}}, "connector.not-for-kind"),
        ("vxp", {"options": {"timeout_s": 5}}, "connector.not-for-kind"),
        ("vxp", {"options": {"use_download": "yes"}}, "connector.bad-option"),
        ("vxp", {"options": {"use_download": 1}}, "connector.bad-option"),
        ("vxp", {"options": {"agency_call": "all"}}, "connector.bad-option"),
        ("vxp", {"password_env": "X"}, "connector.not-for-kind"),
        ("lgsp", {"options": {"lookback_days": 0}}, "connector.bad-option"),
        ("lgsp", {"options": {"lookback_days": True}}, "connector.bad-option"),
        ("lgsp-oauth2", {"options": {"unit_secret_in": "body"}}, "connector.bad-option"),
        ("xroad", {"system_id": "T/GOV/A/B"}, "connector.missing-option"),
        ("xroad", {"options": {"service": "x"}, "system_id": "T/GOV/A/B"}, "connector.bad-option"),
        ("xroad", {"secret_env": "X", "options": {"service": "T/GOV/C/D/E"}}, "connector.not-for-kind"),
        ("folder", {"ca_file": "x"}, "connector.not-for-kind"),
        ("folder", {"secret_env": "X"}, "connector.not-for-kind"),
        ("vxp", {"url": "axis.test"}, "connector.bad-url"),
    ],
)
def test_mistakes_are_named(kind, values, code):
    settings = connection(kind, **values)
    with pytest.raises(ConfigurationError) as caught:
        open_connection(settings, name="axis")
    assert caught.value.code == code
    assert code in {error.code for error in check_connection(settings, name="axis", environ={})}
    assert caught.value.text("vi")
    assert caught.value.text("en")


def test_secrets_come_from_where_the_settings_say_each_time_anew(tmp_path):
    (tmp_path / "secret").write_text("TEST-OLD\n")
    secrets = Secrets(connection("vxp", secret_file=tmp_path / "secret"))
    assert secrets.read("secret") == "TEST-OLD"
    (tmp_path / "secret").write_text("TEST-NEW\n")
    assert secrets.callback("secret")("whatever") == "TEST-NEW"
    assert secrets.read("password") is None
    assert "TEST-NEW" not in repr(secrets)


def test_a_secret_file_that_cannot_be_read_does_not_show_what_is_in_it(tmp_path):
    (tmp_path / "secret").write_bytes(b"TEST\xffSECRET")
    for path in (tmp_path / "secret", tmp_path / "none", tmp_path):
        with pytest.raises(CredentialError) as caught:
            Secrets(connection("vxp", secret_file=path)).read("secret")
        assert "SECRET" not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize(
    ("kind", "missing"), [("vxp", 1), ("lgsp", 2), ("lgsp-oauth2", 2), ("bkav-rest", 1), ("folder", 0)]
)
def test_a_check_names_every_secret_that_is_missing(kind, missing):
    values = COMPLETE[kind]
    for settings in (connection(kind), connection(kind, **values)):
        found = check_connection(settings, name="axis", environ={})
        assert [error.code for error in found] == ["connector.secret-missing"] * missing


def test_a_check_opens_the_tls_files(tmp_path):
    settings = connection("vxp", secret_env="SECRET", ca_file=tmp_path / "none.pem")
    [error] = check_connection(settings, name="axis", environ=ENVIRON)
    assert error.code == "connector.bad-tls"


def test_all_references_are_keys_of_a_connection():
    fields = {field.name for field in dataclasses.fields(ConnectionConfig)}
    assert {f"{name}_{place}" for name in SECRET_NAMES for place in ("env", "file")} <= fields


# Kinds that packages add


@pytest.fixture
def added(monkeypatch):
    def add(**points):
        found = [
            metadata.EntryPoint(name, value, connectors.ENTRY_POINT_GROUP) for name, value in points.items()
        ]
        monkeypatch.setattr(
            metadata, "entry_points", lambda *, group: found if group == connectors.ENTRY_POINT_GROUP else []
        )

    return add


def open_test_kind(settings, *, name, secrets):
    return VXPConnector(settings.url, settings.options["who"], secret=secrets.callback("secret"), name=name)


def test_a_package_adds_a_kind(added, monkeypatch):
    import sys
    import types

    module = types.ModuleType("test_added_connector")
    module.open = open_test_kind
    module.broken = 7
    monkeypatch.setitem(sys.modules, "test_added_connector", module)
    added(
        fax="test_added_connector:open", vxp="test_added_connector:broken", bad="test_added_connector:broken"
    )
    assert connector_kinds()[-2:] == ("bad", "fax")
    with open_connection(connection("fax", options={"who": "TEST.X"}), name="axis") as connector:
        assert "TEST.X" in repr(connector)
    # A kind of our own cannot be replaced.
    with open_connection(connection("vxp"), name="axis") as connector:
        assert isinstance(connector, VXPConnector)
    for point in ("test_added_connector:broken", "test_added_connector:none", "no_such_module_test:x"):
        added(bad=point)
        with pytest.raises(ConfigurationError) as caught:
            open_connection(connection("bad"), name="axis")
        assert caught.value.code == "connector.plugin-failed"


# From the file

FILE = """
[connections.tinh]
kind = "lgsp"
url = "https://axis.test"
system_id = "H99"
secret_file = "keys/secret"
password_env = "PASSWORD"
ca_file = "ca.pem"
client_certificate = "client.pem"
client_key = "client-key.pem"
tls_passphrase_env = "TLS"
max_package_mb = 20
timeout_s = 30

[connections.tinh.options]
username = "TEST"
lookback_days = 7

[connections.xa]
kind = "folder"
url = "share"
system_id = "H99.1"
"""


def test_a_file_with_everything(tmp_path):
    (tmp_path / "vnedoc.toml").write_text(FILE)
    config = load_config(tmp_path / "vnedoc.toml", environ={})
    tinh = config.connection("tinh")
    assert tinh.ca_file == tmp_path / "ca.pem"
    assert tinh.client_key == tmp_path / "client-key.pem"
    assert tinh.secret_file == tmp_path / "keys" / "secret"
    assert tinh.options == {"username": "TEST", "lookback_days": 7}
    with open_connection(config.connection("xa"), name="xa") as connector:
        assert isinstance(connector, FolderConnector)
        assert str(tmp_path / "share") in repr(connector)
    without_tls = dataclasses.replace(tinh, ca_file=None, client_certificate=None, client_key=None)
    with open_connection(without_tls, name="tinh") as connector:
        assert isinstance(connector, LGSPConnector)
        assert connector.max_package_bytes == 20 * 1024 * 1024


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("options = 7", "config.not-a-table"),
        ("options = { a = { b = 1 } }", "config.not-a-table"),
        ("options = { a = [1] }", "config.not-a-table"),
        ("ca_file = 7", "config.not-a-text"),
        ('verify = "no"', "config.unknown-key"),
        ('secret = "TEST"', "config.unknown-key"),
        ('max_package_mb = "20"', "config.not-a-number"),
    ],
)
def test_what_a_connection_cannot_hold(tmp_path, line, code):
    path = tmp_path / "vnedoc.toml"
    path.write_text(f'[connections.a]\nkind = "vxp"\nurl = "{URL}"\nsystem_id = "x"\n{line}\n')
    with pytest.raises(ConfigurationError) as caught:
        load_config(path, environ={})
    assert caught.value.code == code
