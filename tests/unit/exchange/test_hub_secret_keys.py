"""What is kept of a secret checks what the secret signs, and is not the secret."""

import hashlib
import hmac

import pytest

from vnedoc.errors import UsageError
from vnedoc.exchange import _vxp
from vnedoc.exchange.hub.secret_keys import checked_secret, kept_key, key_of, made_secret, to_keep

TEXT = '{"XroadVnpt-systemid":"TEST"}'


@pytest.mark.parametrize("secret", ["x" * 16, "x" * 64, "x" * 65, "x" * 200, "ố" * 21, "ố" * 22, "ab" * 36])
def test_it_makes_the_same_signature(secret):
    expected = hmac.new(secret.encode(), TEXT.encode(), hashlib.sha256).hexdigest()
    assert _vxp.sign(TEXT, kept_key(to_keep(secret))) == _vxp.sign(TEXT, key_of(secret)) == expected


def test_of_a_secret_that_a_hub_makes_only_the_hash_is_kept():
    secret = made_secret()
    assert len(secret) == 72
    assert made_secret() != secret
    assert to_keep(secret) == f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}"


@pytest.mark.parametrize("secret", ["x" * 65, "x" * 256, "!~ " * 25])
def test_of_every_secret_that_is_taken_only_the_hash_is_kept(secret):
    assert to_keep(checked_secret(secret)) == f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}"


@pytest.mark.parametrize("secret", ["", "x" * 64, "x" * 257, "x" * 65 + "\n", "x" * 65 + "ố", "ố" * 65])
def test_one_that_is_too_short_for_that_is_refused(secret):
    with pytest.raises(UsageError) as caught:
        checked_secret(secret)
    assert caught.value.code == "hub.bad-secret"
    assert "x" * 64 not in caught.value.text("en")


def test_a_short_one_of_a_version_before_stays_good():
    assert to_keep("x" * 64) == "x" * 64
    assert kept_key("x" * 64) == key_of("x" * 64)


def test_what_is_kept_opens_nothing_when_it_is_shown():
    kept = to_keep(made_secret())
    assert key_of(kept) != kept_key(kept)
    # Not even where somebody chose such a text for a secret.
    assert kept_key(to_keep(kept)) == key_of(kept)


def test_a_long_one_that_was_kept_as_it_is_stays_good():
    secret = "x" * 80
    assert kept_key(secret) == key_of(secret)
