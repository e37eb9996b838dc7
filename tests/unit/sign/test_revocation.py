from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from vnedoc.errors import InputError
from vnedoc.sign.revocation import (
    RevocationSource,
    _place,
    _RefusedAddressError,
    crl_addresses,
    load_crl,
    ocsp_addresses,
)

if TYPE_CHECKING:
    from pathlib import Path

    from vnedoc.testing.pki import TestPKI


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "http://localhost:8080/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://10.1.2.3/",
        "http://192.168.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "http://[fe80::1]/",
        "http://100.64.0.1/",
        "http://2130706433/",
        "http://user@198.51.100.1/",
        "http:///nothing",
        "http://198.51.100.1:99999/",
        "http://[bad/",
    ],
)
def test_addresses_that_are_not_asked(url: str) -> None:
    with pytest.raises(_RefusedAddressError):
        _place(url, frozenset())


def test_a_named_host_may_be_private() -> None:
    place = _place("http://LOCALHOST:8080/a?b=c", frozenset({"localhost"}))
    # What is connected to is the address that was checked; the server still learns the name.
    assert place.url in {"http://127.0.0.1:8080/a?b=c", "http://[::1]:8080/a?b=c"}
    assert place.host_header == "localhost:8080"


def test_a_public_address_is_asked() -> None:
    assert _place("http://8.8.8.8/crl", frozenset()).url == "http://8.8.8.8:80/crl"
    assert _place("https://8.8.8.8/crl", frozenset()).url == "https://8.8.8.8/crl"


def test_addresses_of_a_certificate(pki: TestPKI) -> None:
    assert ocsp_addresses(pki.agency.certificate) == (pki.ocsp_url,)
    assert crl_addresses(pki.agency.certificate) == (pki.crl_urls[1],)
    assert ocsp_addresses(pki.root.certificate) == ()


def test_an_answer_is_asked_for_once(pki: TestPKI) -> None:
    with RevocationSource(allowed_hosts=["127.0.0.1"]) as source:
        first = source.ocsp_for(pki.agency.certificate, pki.state_ca.certificate)
        assert len(first.ocsp) == 1
        with pki.services.failing(ocsp="http-500", crl="http-500"):
            assert source.ocsp_for(pki.agency.certificate, pki.state_ca.certificate) == first
            assert source.crls_for(pki.agency.certificate).attempts[0].problem == "HTTP 500"


def test_too_large_a_list_is_refused(pki: TestPKI) -> None:
    with RevocationSource(allowed_hosts=["127.0.0.1"], max_crl_bytes=10) as source:
        found = source.crls_for(pki.agency.certificate)
    assert found.crls == ()
    assert found.attempts[0].problem is not None


def test_offline_nothing_is_tried(pki: TestPKI) -> None:
    with RevocationSource(online=False, crls=[b"x"]) as source:
        assert source.crls_for(pki.agency.certificate).crls == (b"x",)
        assert source.ocsp_for(pki.agency.certificate, pki.state_ca.certificate).attempts == ()


def test_a_list_from_a_file(pki: TestPKI, tmp_path: Path) -> None:
    with RevocationSource(allowed_hosts=["127.0.0.1"]) as source:
        (encoded,) = source.crls_for(pki.agency.certificate).crls
    der, pem, other = tmp_path / "a.crl", tmp_path / "b.crl", tmp_path / "c.crl"
    der.write_bytes(encoded)
    pem.write_bytes(x509.load_der_x509_crl(encoded).public_bytes(Encoding.PEM))
    other.write_bytes(b"no list")
    assert load_crl(der) == load_crl(pem) == encoded
    with pytest.raises(InputError):
        load_crl(other)


def test_servers_are_waited_for_only_so_long_in_all(pki: TestPKI) -> None:
    with RevocationSource(allowed_hosts=["127.0.0.1"], max_wait_s=0.0) as source:
        found = source.ocsp_for(pki.agency.certificate, pki.state_ca.certificate)
        assert [attempt.problem for attempt in found.attempts] == ["no time left for servers"]
    with RevocationSource(allowed_hosts=["127.0.0.1"], max_wait_s=20.0) as source:
        source.ocsp_for(pki.agency.certificate, pki.state_ca.certificate)
        assert 0 < source._left_s < 20.0
        source.begin_document()
        assert source._left_s == 20.0


def test_only_the_hosts_that_are_named_are_asked(pki: TestPKI, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []
    real = socket.getaddrinfo

    def look_up(host: str, *arguments: object, **options: object) -> object:
        looked_up.append(host)
        return real(host, *arguments, **options)  # type: ignore[arg-type, call-overload] # handed on as they are

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with RevocationSource(only_hosts=["ocsp.test.example"]) as source:
        found = source.ocsp_for(pki.agency.certificate, pki.state_ca.certificate)
    assert found.ocsp == ()
    assert [attempt.problem for attempt in found.attempts] == ["a server that is not among those to be asked"]
    assert looked_up == []
    # To be named is not to be allowed on a private address; to be allowed there is to be named.
    with RevocationSource(only_hosts=["127.0.0.1"]) as source:
        (attempt,) = source.ocsp_for(pki.agency.certificate, pki.state_ca.certificate).attempts
    assert attempt.problem == "a private address that was not allowed"
    with RevocationSource(only_hosts=["ocsp.test.example"], allowed_hosts=["127.0.0.1"]) as source:
        assert len(source.ocsp_for(pki.agency.certificate, pki.state_ca.certificate).ocsp) == 1
