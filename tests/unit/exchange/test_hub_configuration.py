"""The section [hub] of the settings: what it becomes, and what is refused."""

import dataclasses
import datetime

import pytest

from tests.tls import PASSPHRASE, Authority
from vnedoc.config import Config, HubConfig, load_config
from vnedoc.errors import ConfigurationError, CredentialError
from vnedoc.exchange.hub.configuration import check_hub, hub_faults, options_from
from vnedoc.exchange.hub.options import HubOptions, Limits
from vnedoc.exchange.stores.pruning import PruneLimits


def loaded(tmp_path, text):
    path = tmp_path / "vnedoc.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, environ={})


def test_without_a_section_a_hub_behaves_as_one_without_settings():
    assert options_from(Config()) == HubOptions()


def test_what_is_said_is_done(tmp_path):
    config = loaded(
        tmp_path,
        """
        trust = ["trust.pem"]
        directory = "directory.json"
        [hub]
        data = "here"
        database = "sqlite:///hub.sqlite3"
        payloads = "packages"
        port = 9000
        wires = ["vxp", "xroad"]
        proxies = ["10.0.0.0/8"]
        strict = true
        verify = true
        verify_match = "coded"
        expire_after_days = 0.5
        park_after_fails = 3
        max_package_mb = 1
        uploads = 7
        requests_per_s = 5
        """,
    )
    assert config.hub.data == tmp_path / "here"
    assert config.hub.database == f"sqlite:///{tmp_path / 'hub.sqlite3'}"
    assert config.hub.payloads == str(tmp_path / "packages")
    options = options_from(config)
    assert options.wires == ("vxp", "xroad")
    assert options.strict
    assert options.expire_after == datetime.timedelta(hours=12)
    assert options.park_after_fails == 3
    assert options.max_package_bytes == 1024 * 1024
    assert (options.limits.uploads, options.limits.requests_per_s) == (7, 5)
    assert options.proofs is not None
    assert options.proofs.required_match == "coded"
    assert options.proofs.directory == tmp_path / "directory.json"


def test_an_address_of_an_object_store_is_no_path(tmp_path):
    config = loaded(tmp_path, '[hub]\npayloads = "s3://bucket/prefix"\n')
    assert config.hub.payloads == "s3://bucket/prefix"


def test_no_expiry_is_said_by_0(tmp_path):
    assert options_from(loaded(tmp_path, "[hub]\nexpire_after_days = 0\n")).expire_after is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("nonsense = 1", "config.unknown-key"),
        ('port = "80"', "config.not-a-number"),
        ("port = 80.5", "config.not-a-number"),
        ("port = true", "config.not-a-number"),
        ("strict = 1", "config.not-a-flag"),
        ('proxies = "10.0.0.0/8"', "config.not-a-list"),
    ],
)
def test_what_the_settings_cannot_hold(tmp_path, text, code):
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, f"[hub]\n{text}\n")
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"proxies": ("10.0.0.0/33",)}, "hub.bad-proxy"),
        ({"wires": ("vxp", "vpx")}, "hub.unknown-wire"),
        ({"uploads": 0}, "hub.bad-limit"),
        ({"requests_per_s": 0.0}, "hub.bad-limit"),
        ({"drain_s": -1.0}, "hub.bad-limit"),
        ({"stop_timeout_s": float("nan")}, "hub.bad-limit"),
        ({"expire_after_days": float("inf")}, "hub.bad-limit"),
        ({"keep_payloads_days": -1.0}, "hub.bad-limit"),
        ({"keep_payloads_days": float("inf")}, "hub.bad-limit"),
        ({"keep_metadata_days": 29.0}, "hub.bad-retention"),
        ({"keep_payloads_days": 90.0, "keep_metadata_days": 60.0}, "hub.bad-retention"),
        ({"log": "xml"}, "hub.unknown-log"),
        ({"verify": True}, "hub.no-trust"),
        ({"client_required": True}, "hub.tls-incomplete"),
    ],
)
def test_what_makes_no_sense(changes, code):
    with pytest.raises(ConfigurationError) as caught:
        check_hub(Config(hub=dataclasses.replace(HubConfig(), **changes)))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("payloads", "metadata", "limits"),
    [
        (0, 0, None),
        (90, 0, PruneLimits(payloads_older_than=datetime.timedelta(days=90))),
        (0, 30, PruneLimits(metadata_older_than=datetime.timedelta(days=30))),
    ],
)
def test_how_long_a_hub_keeps_what_is_done(tmp_path, payloads, metadata, limits):
    config = loaded(tmp_path, f"[hub]\nkeep_payloads_days = {payloads}\nkeep_metadata_days = {metadata}\n")
    assert options_from(config).retention == limits


def test_to_verify_a_hub_needs_a_directory():
    with pytest.raises(ConfigurationError) as caught:
        options_from(Config(trust=("shipped:vn-government",), hub=HubConfig(verify=True)))
    assert caught.value.code == "hub.no-directory"


def test_the_defaults_of_settings_and_options_are_the_same():
    assert options_from(Config()).limits == Limits()


def test_a_proxy_that_is_no_network_is_named_with_its_key():
    with pytest.raises(ConfigurationError) as caught:
        options_from(Config(hub=HubConfig(proxies=("10.0.0.0/8", "nonsense"))))
    for language in ("vi", "en"):
        text = caught.value.text(language)
        assert "proxies" in text
        assert "“nonsense”" in text
        assert "appear" not in text


def test_everything_that_is_wrong_is_found_at_once(tmp_path):
    certificate, key = Authority(tmp_path, "TEST").issue("server")
    config = Config(
        hub=HubConfig(
            port=0,
            proxies=("x", "y"),
            wires=("vxp", "vpx"),
            log="xml",
            tls_certificate=tmp_path / "none.pem",
            tls_key=key,
            admin_port=8290,
            admin_tls_certificate=certificate,
            admin_tls_key=tmp_path / "none.key",
            watched_certificates=(str(tmp_path / "nix.pem"), str(certificate)),
            verify=True,
        )
    )
    faults = hub_faults(config)
    assert [fault.code for fault in faults] == [
        "hub.bad-limit",
        "hub.bad-proxy",
        "hub.bad-proxy",
        "hub.unknown-log",
        "hub.unknown-wire",
        "hub.no-trust",
        "hub.bad-tls",
        "hub.bad-tls",
        "trust.unreadable",
    ]
    for name, fault in zip(("none.pem", "none.key", "nix.pem"), faults[-3:], strict=True):
        assert name in fault.text("en")


def test_a_hub_that_can_be_served_has_no_faults(tmp_path):
    certificate, key = Authority(tmp_path, "TEST").issue("server")
    assert hub_faults(Config()) == ()
    assert hub_faults(Config(hub=HubConfig(tls_certificate=certificate, tls_key=key))) == ()


@pytest.mark.parametrize("prefix", ["", "admin_"])
@pytest.mark.parametrize(
    ("variable", "code"),
    [
        (None, "hub.no-tls-passphrase"),
        ("TEST_WRONG", "hub.wrong-tls-passphrase"),
        ("TEST_NONE", "hub.no-passphrase"),
        ("TEST_RIGHT", None),
    ],
)
def test_an_encrypted_key_that_is_not_opened_is_named(tmp_path, monkeypatch, prefix, variable, code):
    monkeypatch.setenv("TEST_WRONG", "TEST wrong")
    monkeypatch.setenv("TEST_RIGHT", PASSPHRASE)
    certificate, key = Authority(tmp_path, "TEST").issue("server", passphrase=PASSPHRASE)
    hub = HubConfig(
        admin_port=8290,
        **{
            f"{prefix}tls_certificate": certificate,
            f"{prefix}tls_key": key,
            f"{prefix}tls_passphrase_env": variable,
        },
    )
    faults = hub_faults(Config(hub=hub))
    assert [fault.code for fault in faults] == ([] if code is None else [code])
    if code is not None and variable != "TEST_NONE":
        told = faults[0].text("en")
        assert str(key) in told
        assert f"{prefix}tls_passphrase_env" in told
        assert str(certificate) not in told
        with pytest.raises(CredentialError):
            check_hub(Config(hub=hub))


def test_settings_that_an_editor_began_with_a_byte_order_mark_are_read(tmp_path):
    assert loaded(tmp_path, "\ufeff[hub]\nport = 9000\n").hub.port == 9000
