"""Who calls: by the connection, and by what a proxy says of it, which anybody could say."""

import base64
import hashlib
import urllib.parse

import pytest

from vnedoc.exchange.hub.peers import NOBODY, Peer, caller_of, parse_networks, place_of

PROXIES = parse_networks(["10.0.0.0/8", "fd00::/8"])
DIGEST = hashlib.sha256(b"TEST").hexdigest()
OTHER = hashlib.sha256(b"OTHER").hexdigest()
ENCODED = base64.b64encode(b"TEST").decode()
PEM = f"-----BEGIN CERTIFICATE-----\n{ENCODED}\n-----END CERTIFICATE-----\n"
HEADER = "X-Client-Cert"


def call(host, *forwarded, certificate=None, shown=(), header=HEADER):
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    headers += [(header.lower().encode(), value.encode()) for value in shown]
    return caller_of(host, headers, certificate=certificate, proxies=PROXIES, certificate_header=HEADER)


@pytest.mark.parametrize(
    ("host", "forwarded", "address"),
    [
        ("192.0.2.1", (), "192.0.2.1"),
        # Nobody but a proxy is believed.
        ("192.0.2.1", ("198.51.100.7",), "192.0.2.1"),
        ("10.0.0.1", ("198.51.100.7",), "198.51.100.7"),
        # What the caller wrote itself stands before what the proxy appended.
        ("10.0.0.1", ("203.0.113.9, 198.51.100.7",), "198.51.100.7"),
        ("10.0.0.1", ("203.0.113.9", "198.51.100.7"), "198.51.100.7"),
        # Through two proxies.
        ("10.0.0.1", ("198.51.100.7, 10.0.0.2",), "198.51.100.7"),
        ("10.0.0.1", ("10.9.9.9, 198.51.100.7, 10.0.0.2",), "198.51.100.7"),
        # Somebody within the network of the proxies.
        ("10.0.0.1", ("10.0.0.3",), "10.0.0.3"),
        ("10.0.0.1", (), "10.0.0.1"),
        ("fd00::1", ("2001:db8::5",), "2001:db8::5"),
        ("10.0.0.1", ("[2001:db8::5]:4711",), "2001:db8::5"),
        ("10.0.0.1", ("198.51.100.7:4711",), "198.51.100.7"),
        ("::ffff:10.0.0.1", ("198.51.100.7",), "198.51.100.7"),
        # What cannot be read is nobody, not the proxy.
        ("10.0.0.1", ("203.0.113.9, unknown",), None),
        ("10.0.0.1", ("",), None),
        ("10.0.0.1", (", ".join(["10.0.0.2"] * 40),), None),
        ("10.0.0.1", ("198.51.100.7, ",), None),
        (None, (), None),
        ("somewhere", ("198.51.100.7",), None),
    ],
)
def test_the_address(host, forwarded, address):
    peer = call(host, *forwarded)
    assert (None if peer.address is None else str(peer.address)) == address


@pytest.mark.parametrize(
    "shown",
    [
        DIGEST,
        DIGEST.upper(),
        ":".join(DIGEST[at : at + 2] for at in range(0, 64, 2)),
        urllib.parse.quote(PEM),
        PEM.replace("\n", " "),
    ],
)
def test_the_certificate_that_a_proxy_names(shown):
    assert call("10.0.0.1", "192.0.2.1", shown=[shown]).certificate == DIGEST


@pytest.mark.parametrize(
    "shown",
    [[], [""], ["(null)"], [DIGEST, OTHER], [DIGEST[:-1]], ["x" * 40_000], [PEM.replace("CERT", "X")]],
)
def test_what_names_no_certificate(shown):
    assert call("10.0.0.1", "192.0.2.1", shown=shown).certificate is None


def test_a_certificate_is_believed_of_a_proxy_or_of_this_very_connection():
    assert call("192.0.2.1", shown=[DIGEST]).certificate is None
    assert call("192.0.2.1", certificate=OTHER, shown=[DIGEST]).certificate == OTHER
    # The proxy's own certificate is not the caller's.
    assert call("10.0.0.1", "192.0.2.1", certificate=OTHER).certificate is None


def test_who_is_let_in():
    peer = call("192.0.2.1")
    assert peer.is_within([])
    assert peer.is_within(["198.51.100.0/24", "192.0.2.0/24"])
    assert not peer.is_within(["198.51.100.0/24"])
    assert not peer.is_within(["2001:db8::/32"])
    assert NOBODY.is_within([])
    assert not NOBODY.is_within(["0.0.0.0/0", "::/0"])
    assert peer.shows([])
    assert not peer.shows([DIGEST])
    assert Peer(certificate=DIGEST).shows([OTHER, DIGEST.upper()])
    assert not Peer(certificate=OTHER).shows([DIGEST])


def test_a_place_is_an_address_or_a_network_of_ipv6():
    assert place_of(call("192.0.2.1").address) == "192.0.2.1"
    assert place_of(call("2001:db8::1").address) == place_of(call("2001:db8::ffff").address)
    assert place_of(None) == "?"
