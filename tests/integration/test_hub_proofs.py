"""A hub that verifies what it takes: strict packages, PDFs that are signed, and by the agency that sends."""

import dataclasses
import json
import time

import pytest

from tests.integration.test_hub_vxp import Client
from tests.integration.test_judgement import documents_agency_name
from vnedoc._internal.clock import utc_now
from vnedoc.errors import ConfigurationError, RefusedError
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub.judging import check_proofs
from vnedoc.exchange.hub.options import HubOptions, Proofs
from vnedoc.messages import Language
from vnedoc.sign.models import Role
from vnedoc.sign.roles import SigningOptions
from vnedoc.sign.signers.pkcs12 import PKCS12Signer
from vnedoc.sign.signing import sign_pdf
from vnedoc.testing import documents
from vnedoc.testing.axes import running_axis
from vnedoc.testing.hub import running_hub
from vnedoc.testing.packages import make_package

SENDER, RECIPIENT = "H99", "H99.1"


@pytest.fixture(scope="module")
def proofs(pki, tmp_path_factory):
    folder = tmp_path_factory.mktemp("proofs")
    trust = folder / "trust.pem"
    trust.write_bytes(pki.root.certificate_pem() + pki.state_ca.certificate_pem())
    directory = folder / "directory.json"
    agencies = [{"organ_id": SENDER, "name": documents_agency_name(pki)}]
    directory.write_text(json.dumps({"schema": "vnedoc.directory/1", "agencies": agencies}), encoding="utf-8")
    return Proofs(
        trust=(str(trust),),
        directory=directory,
        allowed_hosts=("127.0.0.1",),
        workers=1,
        limit_s=120,
        person_on_main=False,
    )


@pytest.fixture(scope="module")
def signed(pki):
    content = documents.document_bytes(documents.LETTER)

    def by(identity):
        signer = PKCS12Signer(identity.pkcs12("x"), passphrase="x")
        return sign_pdf(content, signer=signer, options=SigningOptions(role=Role.INVISIBLE)).content

    return {"agency": by(pki.agency), "stranger": by(pki.other_agency), "nobody": content}


@pytest.fixture(scope="module")
def hub(proofs, tmp_path_factory):
    options = HubOptions(proofs=proofs, language=Language.EN)
    with running_hub(tmp_path_factory.mktemp("hub"), options=options) as hub:
        secret = hub.add_system("TEST.A", SENDER)
        hub.add_system("TEST.B", RECIPIENT)
        client = Client(hub.url, "TEST.A", secret, utc_now)
        with client.http:
            yield hub, client


def sent(client, tmp_path, content, number):
    path = tmp_path / "x.edxml"
    make_package(path, sender=SENDER, recipients=[RECIPIENT], number=number, content=content)
    return client.send(path.read_bytes()).json()


def test_what_the_agency_signed_is_taken(hub, tmp_path, signed):
    hub, client = hub
    assert sent(client, tmp_path, signed["agency"], 1)["status"] == "OK"
    assert len(hub.store.waiting("TEST.B", PackageKind.DOCUMENT)) == 1


@pytest.mark.parametrize(
    ("who", "word"),
    [("nobody", "NO-SIGNATURE"), ("stranger", "did not pass"), ("damaged", "did not pass")],
)
def test_what_is_not_signed_by_the_agency_is_refused_with_the_reason(hub, tmp_path, signed, who, word):
    hub, client = hub
    before = hub.store.stats().documents
    if who == "damaged":
        content = signed["agency"].replace(b"/Type /Page", b"/Type /Pagf", 1)
        assert content != signed["agency"]
    else:
        content = signed[who]
    answer = sent(client, tmp_path, content, 2)
    assert (answer["status"], answer["ErrorCode"]) == ("FAIL", "22")
    assert word in answer["ErrorDesc"]
    assert hub.store.stats().documents == before
    assert not list((hub.folder / "payloads" / "incoming").iterdir())


def test_a_package_that_takes_too_long_is_refused(proofs, tmp_path, signed):
    options = HubOptions(proofs=dataclasses.replace(proofs, limit_s=0.001), language=Language.EN)
    with running_hub(tmp_path / "hub", options=options) as hub:
        client = Client(hub.url, "TEST.A", hub.add_system("TEST.A", SENDER, RECIPIENT), utc_now)
        with client.http:
            began = time.monotonic()
            answer = sent(client, tmp_path, signed["agency"], 3)
            assert "could not be verified" in answer["ErrorDesc"]
            # Starting a worker takes its time; verifying does not count.
            assert time.monotonic() - began < 100


@pytest.mark.parametrize("kind", ["vxp", "lgsp", "lgsp-oauth2", "bkav-rest", "bkav-soap"])
def test_each_wire_says_so_in_its_own_words(proofs, tmp_path, kind):
    # A PDF that carries nothing: no worker needs long to tell.
    with running_axis(kind, options=HubOptions(proofs=proofs)) as axis:
        path = tmp_path / "x.edxml"
        make_package(path, sender=axis.sender_code, recipients=[axis.recipient_code])
        with axis.open("sender") as connector, pytest.raises(RefusedError) as caught:
            connector.send(path, sender_code=axis.sender_code, kind=PackageKind.DOCUMENT)
        assert caught.value.code == "connector.refused"
        assert "chữ ký số" in caught.value.values["remote_message"]


def test_proofs_that_would_refuse_everything_do_not_start(proofs, tmp_path):
    check_proofs(proofs)
    for wrong in (
        {"trust": ()},
        {"required_match": "none"},
        {"required_match": "TEST"},
    ):
        with pytest.raises(ConfigurationError):
            check_proofs(dataclasses.replace(proofs, **wrong))


def test_strict_is_an_option(tmp_path):
    refused = {}
    for strict in (False, True):
        with running_hub(tmp_path / str(strict), options=HubOptions(strict=strict)) as hub:
            client = Client(hub.url, "TEST.A", hub.add_system("TEST.A", SENDER, RECIPIENT), utc_now)
            with client.http:
                path = tmp_path / "x.edxml"
                make_package(path, sender=SENDER, recipients=[RECIPIENT])
                # The axis does not care what kind of document it is; the standard knows two.
                content = path.read_bytes()
                assert b"<edXML:Type>2</edXML:Type>" in content
                content = content.replace(b"<edXML:Type>2</edXML:Type>", b"<edXML:Type>7</edXML:Type>")
                refused[strict] = client.send(content).json()["ErrorCode"]
    assert refused == {False: "0", True: "22"}
