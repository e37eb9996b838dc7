"""TLS of the connectors over HTTP: own authorities, client certificates, and no way around verification."""

import dataclasses
import types

import pytest

from tests.tls import PASSPHRASE, Authority
from vnedoc.errors import ConfigurationError, ConnectorError
from vnedoc.exchange.connectors.vxp import VXPConnector, VXPOptions
from vnedoc.testing.axes import AXIS_KINDS, running_axis
from vnedoc.testing.hub import ServerTLS

KINDS = [kind for kind in AXIS_KINDS if kind != "folder"]


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    ours, theirs = Authority(folder, "ours"), Authority(folder, "theirs")
    server = ours.issue("server")
    client, stranger = ours.issue("client"), theirs.issue("client")
    return types.SimpleNamespace(
        tls=ServerTLS(*server, client_authorities=ours.certificate),
        authority=ours.certificate,
        other_authority=theirs.certificate,
        client=client,
        encrypted=ours.issue("client", passphrase=PASSPHRASE),
        stranger=stranger,
    )


@pytest.fixture(scope="module", params=KINDS)
def axis(request, papers):
    with running_axis(request.param, tls=papers.tls) as axis:
        assert axis.url.startswith("https://")
        yield axis


def test_own_authority_and_client_certificate_let_us_in(axis, papers):
    certificate, key = papers.client
    options = {"ca_file": papers.authority, "client_certificate": certificate, "client_key": key}
    with axis.open("sender", **options) as sender:
        assert axis.sender_code in {agency.code for agency in sender.agencies()}


def test_certificate_and_key_in_one_file(axis, papers, tmp_path):
    together = tmp_path / "both.pem"
    together.write_bytes(papers.client[0].read_bytes() + papers.client[1].read_bytes())
    with axis.open("sender", ca_file=papers.authority, client_certificate=together) as sender:
        assert sender.agencies()


@pytest.mark.parametrize("case", ["usual-authorities", "other-authority", "other-name", "none", "stranger"])
def test_everything_else_is_refused(axis, papers, case):
    certificate, key = papers.stranger if case == "stranger" else papers.client
    options = {"ca_file": papers.authority, "client_certificate": certificate, "client_key": key}
    if case == "usual-authorities":
        options["ca_file"] = None
    elif case == "other-authority":
        options["ca_file"] = papers.other_authority
    elif case == "other-name":
        # The certificate is for 127.0.0.1.
        options["url"] = axis.url.replace("127.0.0.1", "localhost")
    elif case == "none":
        del options["client_certificate"], options["client_key"]
    before = len(axis.faults.requests)
    with axis.open("sender", **options) as sender, pytest.raises(ConnectorError) as caught:
        sender.agencies()
    # What a server of TLS 1.3 thinks of the client's certificate is heard when the client has written already.
    code = "remote.broken-off" if case in {"none", "stranger"} else "remote.unreachable"
    assert caught.value.code == code
    assert len(axis.faults.requests) == before


def test_no_option_switches_verification_off():
    names = {field.name for field in dataclasses.fields(VXPOptions)}
    assert not {name for name in names if "verify" in name or "insecure" in name}


def test_the_key_may_be_encrypted(papers):
    certificate, key = papers.encrypted
    options = VXPOptions(ca_file=papers.authority, client_certificate=certificate, client_key=key)
    asked = []

    def passphrase(question):
        asked.append(question)
        return PASSPHRASE

    with running_axis("vxp", tls=papers.tls) as axis:
        connector = VXPConnector(
            axis.url,
            "TEST:GOV:A:DOCS",
            secret=lambda _: axis.secret("sender"),
            options=options,
            tls_passphrase=passphrase,
        )
        with connector:
            assert connector.agencies()
    assert asked == ["vxp: TLS"]
    for wrong in (None, lambda _: None, lambda _: "TEST-WRONG-SECRET"):
        with pytest.raises(ConfigurationError) as caught:
            VXPConnector(
                "https://127.0.0.1:1", "X", secret=lambda _: "x", options=options, tls_passphrase=wrong
            )
        assert caught.value.code == "connector.bad-tls"
        assert "TEST-WRONG-SECRET" not in str(caught.value)


@pytest.mark.parametrize("key", ["ca_file", "client_certificate"])
def test_files_that_are_not_there_or_are_something_else(papers, tmp_path, key):
    (tmp_path / "x.pem").write_text("TEST")
    for path in (tmp_path / "none.pem", tmp_path / "x.pem"):
        with pytest.raises(ConfigurationError) as caught:
            VXPConnector("https://127.0.0.1:1", "X", secret=lambda _: "x", options=VXPOptions(**{key: path}))
        assert caught.value.code == "connector.bad-tls"
