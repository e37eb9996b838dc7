"""The section [hub] of the settings: what it becomes, and what is refused."""

import dataclasses
import datetime

import pytest

from vnedoc.config import Config, HubConfig, load_config
from vnedoc.errors import ConfigurationError
from vnedoc.exchange.hub.configuration import check_hub, options_from
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
        ({"proxies": ("10.0.0.0/33",)}, "hub.bad-network"),
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
