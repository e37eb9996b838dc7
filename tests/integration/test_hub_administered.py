"""What is changed at a hub holds on its wires at once: new secrets, disabled systems, closed agencies, retries."""

import datetime
import os

import httpx2
import pytest

from vnedoc._internal.clock import utc_now, vietnam
from vnedoc.errors import RefusedError, VnedocError
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.connectors.vxp import VXPConnector
from vnedoc.exchange.hub.accounts import Accounts, Role
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.hub.options import HubOptions
from vnedoc.exchange.states import TransportStatus
from vnedoc.messages import Language
from vnedoc.testing.hub import running_hub
from vnedoc.testing.packages import make_package

SENDER, RECIPIENT, HEIR = "H99", "H99.1", "H99.2"


@pytest.fixture
def hub():
    with running_hub(options=HubOptions(language=Language.EN, admin=True)) as hub:
        yield hub


@pytest.fixture
def secrets(hub):
    return {"TEST.A": hub.add_system("TEST.A", SENDER), "TEST.B": hub.add_system("TEST.B", RECIPIENT, HEIR)}


@pytest.fixture
def admin(hub, secrets):
    return Administration(hub.store, actor="test.admin")


@pytest.fixture
def send(hub, secrets, tmp_path):
    def send(secret=None, *, recipients=(RECIPIENT,)):
        path = tmp_path / "TEST.edxml"
        make_package(path, sender=SENDER, recipients=recipients, number=int.from_bytes(os.urandom(4)))
        with vxp(hub, "TEST.A", secret or secrets["TEST.A"]) as connector:
            return connector.send(path, sender_code=SENDER, kind=PackageKind.DOCUMENT)

    return send


def vxp(hub, system_id, secret):
    return VXPConnector(hub.url, system_id, secret=lambda _: secret)


def lgsp(hub, system_id, secret):
    """Log in by the provincial form, and list with the token: the status of either that failed, or of the list."""
    body = {"username": system_id, "password": secret}
    with httpx2.Client(base_url=hub.url, timeout=20) as http:
        login = http.post("/v1/auth/login", json=body)
        if login.status_code != 200:
            return login.status_code
        headers = {
            "Authorization": f"Bearer {login.json()['data']['token']}",
            "X-SystemId": system_id,
            "X-SecretKey": secret,
        }
        dates = {"fromDate": "2026-01-01", "toDate": "2026-12-31", "messageType": "edoc"}
        return http.get("/v1/syncReceivedEdocList", params=dates, headers=headers).status_code


def test_both_secrets_open_every_wire_during_a_rotation(hub, secrets, admin, send):
    new = admin.rotate_secret("TEST.A").secret
    for secret in (secrets["TEST.A"], new):
        assert send(secret)
        assert lgsp(hub, "TEST.A", secret) == 200
    admin.rotate_secret("TEST.A", overlap=datetime.timedelta(0))
    for secret in (secrets["TEST.A"], new):
        with pytest.raises(VnedocError):
            send(secret)
        assert lgsp(hub, "TEST.A", secret) == 401


def test_a_disabled_system_gets_in_nowhere_until_it_is_enabled(hub, secrets, admin, send):
    admin.change_system("TEST.A", disabled=True)
    with pytest.raises(VnedocError):
        send()
    assert lgsp(hub, "TEST.A", secrets["TEST.A"]) == 401
    admin.change_system("TEST.A", disabled=False)
    assert send()
    assert lgsp(hub, "TEST.A", secrets["TEST.A"]) == 200


def test_who_sends_to_a_closed_agency_is_told_its_successor(hub, admin, send):
    today = vietnam(utc_now()).date()
    admin.close_agency(RECIPIENT, on=today, successor=HEIR)
    with pytest.raises(RefusedError) as caught:
        send(recipients=[RECIPIENT, HEIR])
    assert f"{RECIPIENT} → {HEIR}" in str(caught.value.values["remote_message"])
    assert hub.store.stats().documents == 0
    admin.close_agency(RECIPIENT, on=today + datetime.timedelta(days=2), successor=HEIR)
    assert send()


def test_a_package_for_a_closed_agency_reaches_its_successor(hub, secrets, admin, send, tmp_path):
    admin.close_agency(RECIPIENT, on=vietnam(utc_now()).date(), successor=HEIR, forwards=True)
    send()
    with vxp(hub, "TEST.B", secrets["TEST.B"]) as connector:
        (waiting,) = connector.list_received(PackageKind.DOCUMENT)
        connector.fetch(waiting.doc_id, tmp_path / "fetched")
    assert b"H99.1" in (tmp_path / "fetched").read_bytes(), "the package itself is as it was sent"


def test_a_failed_delivery_is_retried_over_the_api_and_arrives(hub, secrets, send, tmp_path):
    send()
    token = Accounts(hub.store).add_token("TEST", Role.OPERATOR)[1]
    with vxp(hub, "TEST.B", secrets["TEST.B"]) as connector:
        (waiting,) = connector.list_received(PackageKind.DOCUMENT)
        connector.acknowledge(waiting.doc_id, TransportStatus.FAIL)
        assert connector.list_received(PackageKind.DOCUMENT) == []
        headers = {"Authorization": f"Bearer {token}"}
        with httpx2.Client(base_url=hub.url, headers=headers, timeout=20) as http:
            (found,) = http.get("/admin/api/v1/messages", params={"recipient": RECIPIENT}).json()["items"]
            assert set(found["deliveries"]) & {"fail", "parked"}
            order = {"doc_ids": [waiting.doc_id]}
            assert http.post("/admin/api/v1/deliveries/retry", json=order).json()["again"] == [waiting.doc_id]
            assert http.get("/admin/api/v1/audit").status_code == 403
        (again,) = connector.list_received(PackageKind.DOCUMENT)
        connector.fetch(again.doc_id, tmp_path / "fetched")
        connector.acknowledge(again.doc_id, TransportStatus.DONE)
        assert connector.list_received(PackageKind.DOCUMENT) == []
