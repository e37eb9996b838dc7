"""Which agencies a system may register by itself: whoever has a code gets the packages for it."""

import base64
import contextlib
import datetime
import functools
import json
import threading
import urllib.parse

import httpx2
import pytest

from tests.hub_clients import HubClient
from vnedoc.exchange import _vxp
from vnedoc.exchange.hub import registration
from vnedoc.exchange.hub.accounts import Accounts, Role
from vnedoc.exchange.hub.administration import Administration
from vnedoc.exchange.hub.limits import Rates
from vnedoc.exchange.hub.options import HubOptions
from vnedoc.exchange.hub.refusals import RefusalError
from vnedoc.exchange.stores.hub import HubAgency
from vnedoc.exchange.stores.hub_audit import HubAudit
from vnedoc.messages import Language
from vnedoc.testing.hub import running_hub

# What does not depend on the database is tested on one.
on_sqlite = pytest.mark.parametrize("new_hub_url", ["sqlite"], indirect=True)
NOT_YOURS, BAD = "19", "26"
GONE = datetime.date(2026, 1, 1)
OAUTH2_UNITS = "/truclienthong/v1.0.0/donvilienthongs"


class Office:
    """A system that speaks two wires."""

    def __init__(self, hub, system_id, secret):
        self.system_id, self.secret, self.url = system_id, secret, hub.url
        self.vxp = HubClient([urllib.parse.urlsplit(hub.url).port], system_id, secret)

    def call(self, path, code, body=b"{}"):
        return self.vxp.call("POST", path, [("agencycode", code)], body).envelope()

    def register(self, code, parent="", name="TEST", **fields):
        """Register by VXP; return the ``ErrorCode``."""
        body = {"code": code, "pcode": parent, "name": name, **fields}
        return self.call(_vxp.REGISTER_PATH, code, json.dumps(body).encode())["ErrorCode"]

    def unregister(self, code):
        return self.call(_vxp.UNREGISTER_PATH, code)["ErrorCode"]

    @functools.cached_property
    def token(self):
        basic = base64.b64encode(f"{self.system_id}:{self.secret}".encode()).decode()
        answer = httpx2.post(
            self.url + "/token",
            headers={"Authorization": f"Basic {basic}"},
            data={"grant_type": "client_credentials"},
        )
        return answer.json()["access_token"]

    def register_by_oauth2(self, code, parent="", name="TEST", **fields):
        """Register by the OAuth2 wire; return the ``errorCode``."""
        answer = httpx2.post(
            self.url + OAUTH2_UNITS,
            headers={"Authorization": f"Bearer {self.token}", "secretDonVi": self.secret},
            # As JSON has it: half a character is a text, too.
            content=json.dumps({"code": code, "pcode": parent, "name": name, **fields}),
        )
        return answer.json()["errorCode"]


class House:
    """A hub, its administration, and two systems: TEST.A with H99, TEST.B with H98 and a unit of H99."""

    def __init__(self, hub, stack):
        self.hub, self.stack = hub, stack
        self.admin = Administration(hub.store, actor="test.admin")
        self.a = self.add("TEST.A", HubAgency("H99", "TỈNH TEST", None, None, "000.00.00.H99"))
        self.b = self.add("TEST.B", "H98", HubAgency("H99.2", "SỞ TEST", "H99", None, "000.00.02.H99"))

    def add(self, system_id, *agencies):
        office = Office(self.hub, system_id, self.hub.add_system(system_id, *agencies))
        self.stack.callback(office.vxp.close)
        return office

    def agency(self, code):
        return self.admin.agency(code)

    def codes(self, system_id):
        return {item.code for item in self.admin.rows.agencies(system_id=system_id)}

    def entries(self):
        return HubAudit(self.hub.store.database).entries()


@pytest.fixture
def house(tmp_path, hub_url):
    with contextlib.ExitStack() as stack:
        options = HubOptions(language=Language.EN, admin=True)
        yield House(stack.enter_context(running_hub(tmp_path, options=options, database=hub_url)), stack)


# Whose code it is, is read from the code


@pytest.mark.parametrize("code", ["H99.1", "H99.1.5", "H99.DN.001", "000.00.01.H99", "001.00.01.H99"])
def test_a_code_below_ones_own_is_registered(house, code):
    assert house.a.register(code, "H99") == "0"
    assert (house.agency(code).system_id, house.agency(code).parent_code) == ("TEST.A", "H99")


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("G01", id="level 1"),
        pytest.param("G01.5", id="below nobody here"),
        pytest.param("H98.1", id="below another system's agency"),
        pytest.param("H99.2.1", id="another system has a nearer one"),
        pytest.param("H99.2", id="another system has it"),
        pytest.param("000.00.02.H99", id="another system had it once"),
        pytest.param("000.01.02.H99", id="another system has a nearer one, by its old code"),
        pytest.param("000.00.00.H98", id="level 1 in the old form"),
        pytest.param("000.00.01.H98", id="below nobody here in the old form"),
        pytest.param("H991", id="only looks like it"),
        pytest.param("H99-1", id="not by levels"),
        pytest.param("H99.x", id="of neither form"),
        pytest.param("01.H99", id="in the form of 2012"),
    ],
)
@pytest.mark.parametrize("parent", ["H99", ""])
def test_no_other_code_is_registered_whatever_parent_is_claimed(house, code, parent):
    before = (house.admin.rows.agencies(), house.entries())
    assert house.a.register(code, parent) == house.a.register_by_oauth2(code, parent) == NOT_YOURS
    assert (house.admin.rows.agencies(), house.entries()) == before


def test_a_claimed_parent_is_an_open_agency_of_the_caller(house):
    for parent in ("H98", "H99.2", "H97", "H99.1"):
        assert house.a.register("H99.1", parent) == NOT_YOURS, parent
    assert house.a.register("H99.1", "000.00.00.H99") == "0", "by its old code"
    assert house.a.register("H99.1", "H98") == NOT_YOURS
    assert house.a.register("H99.1", "H99.1") == NOT_YOURS
    assert house.b.register("H99.2", "H99", "TÊN MỚI TEST") == "0", "it stood there before"


def test_nothing_grows_below_a_closed_agency(house):
    house.admin.register_agencies("TEST.B", [HubAgency("H98.1", "SỞ TEST", "H98")])
    house.admin.close_agency("H98.1", on=GONE)
    assert house.b.register("H98.1.1", "H98.1") == NOT_YOURS
    assert house.b.register("H98.1.1", "H98") == "0", "what is above is there"
    house.admin.close_agency("H98", on=GONE)
    assert house.b.register("H98.2") == NOT_YOURS
    assert house.b.register("H98.1", "", "TÊN MỚI TEST") == "0"
    assert house.agency("H98.1").closed_on == GONE, "a new name opens nothing"


def test_an_old_code_is_bound_by_the_same_rule(house):
    def claim(old_code, code="H99.1"):
        agency = HubAgency(code, "TEST", "H99", None, old_code)
        registration.register(house.hub.hub, "TEST.A", agency)
        return house.agency(code).old_code

    for old_code in ("000.00.00.G22", "000.00.02.H99", "000.00.00.H98", "H98", "H99.2.1"):
        with pytest.raises(RefusalError) as refused:
            claim(old_code)
        assert refused.value.message_id == "hub.not-yours", old_code
    assert "H99.1" not in house.codes("TEST.A")
    assert claim("000.00.01.H99") == "000.00.01.H99"
    assert claim(None) == "000.00.01.H99", "what is not named stays"


# What was directed somewhere stays so


@pytest.mark.parametrize("wire", ["register", "register_by_oauth2"])
def test_a_new_name_keeps_the_old_code(house, wire):
    house.admin.close_agency("H99.2", on=GONE)
    assert getattr(house.b, wire)("H99.2", "H99", "TÊN MỚI TEST") == "0"
    assert (house.agency("H99.2").name, house.agency("H99.2").old_code) == ("TÊN MỚI TEST", "000.00.02.H99")
    assert house.a.register("000.00.02.H99", "H99") == NOT_YOURS


def test_a_successor_is_not_removed(house):
    house.admin.register_agencies("TEST.B", [HubAgency("H98.1", "SỞ TEST"), HubAgency("H98.2", "SỞ TEST")])
    house.admin.close_agency("H98.1", on=GONE, successor="H98.2", forwards=True)
    assert house.b.unregister("H98.2") == BAD
    token = Accounts(house.hub.store).add_token("TEST", Role.ADMIN)[1]
    headers = {"Authorization": f"Bearer {token}", "If-Match": "*"}
    answer = httpx2.delete(house.hub.url + "/admin/api/v1/agencies/H98.2", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "hub.agency-succeeds")
    house.admin.reopen_agency("H98.1")
    assert house.b.unregister("H98.2") == "0"
    assert house.b.unregister("H98.2") == NOT_YOURS
    assert house.b.unregister("H99") == NOT_YOURS


# At the same moment


@pytest.mark.parametrize("given", ["H98.1.1", "H98.1"])
def test_what_is_given_to_another_at_that_moment_is_waited_for(house, given):
    """Whether the code itself goes to another system, or an agency above it: the check sees it."""
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(house.b.register("H98.1.1", "H98")))

    def give(bound, _changes):
        bound.register_agencies("TEST.A", [HubAgency(given, "TEST")])
        thread.start()
        # Until this transaction ends, there is no answer.
        thread.join(1)
        assert outcomes == []

    house.admin.together(give)
    thread.join()
    assert outcomes == [NOT_YOURS]
    assert house.agency(given).system_id == "TEST.A"
    assert house.codes("TEST.B") == {"H98", "H99.2"}


def test_of_two_calls_for_one_code_the_second_changes_nothing(house):
    barrier = threading.Barrier(2)
    outcomes = []

    def run(register, code):
        barrier.wait()
        outcomes.append(register(code, "H99", "TEST"))

    for number in range(10):
        # Two connections of one system, as from two of its processes.
        calls = [house.a.register, house.a.register_by_oauth2]
        threads = [threading.Thread(target=run, args=(call, f"H99.1{number}")) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert house.agency(f"H99.1{number}").version == 1
    assert outcomes == ["0"] * 20
    assert [entry.detail["added"] for entry in house.entries()[-10:]] == [1] * 10


# Bounds


@on_sqlite
@pytest.mark.parametrize(
    "code",
    [
        "..",
        ".H99",
        "H99.",
        "H99..1",
        "H99/closing",
        "H99.1 ",
        "H99.1\n",
        "H99.\u202e1",
        "\uff28\uff19\uff19.1",
        "H99.<b>",
        "-H99",
        "H99." + "1" * 61,
        "H99." + "1" * 5000,
    ],
)
def test_what_is_no_code(house, code):
    assert house.a.register_by_oauth2(code, "H99") == BAD
    assert house.a.register_by_oauth2("H99.1", code) == BAD
    assert house.codes("TEST.A") == {"H99"}


@on_sqlite
def test_names_and_addresses_have_an_end(house):
    for fields in ({"name": "N" * 501}, {"name": "  "}, {"email": "e" * 321}):
        assert house.a.register_by_oauth2("H99.1", "H99", **fields) == BAD
    for fields in ({"name": "N" * 60_000}, {"mail": "e" * 321}):
        assert house.a.register("H99.1", "H99", **fields) == BAD
    assert house.codes("TEST.A") == {"H99"}
    assert house.a.register("H99.1", "H99", "N" * 500) == "0"


def test_the_number_of_agencies_has_an_end(house):
    most = registration.MAX_OWN_AGENCIES
    many = [HubAgency(f"H99.1.{number}", "TEST") for number in range(most - 2)]
    house.admin.register_agencies("TEST.A", many)
    assert house.a.register("H99.1", "H99") == "0"
    assert house.a.register("H99.3", "H99") == BAD
    assert house.a.register("H99.1", "H99", "TÊN MỚI TEST") == "0"
    assert house.a.unregister("H99.1.0") == "0"
    assert house.a.register("H99.3", "H99") == "0"


@pytest.mark.parametrize("name", ["XÃ TEST", "a\x00b\ud800", " XÃ "])
def test_the_same_again_changes_nothing(house, name):
    assert house.a.register_by_oauth2("H99.1", "H99", name, email="\ud800") == "0"
    before = (house.agency("H99.1"), len(house.entries()))
    assert house.a.register_by_oauth2("H99.1", "H99", name, email="\ud800") == "0"
    assert (house.agency("H99.1"), len(house.entries())) == before


@on_sqlite
def test_registrations_have_a_rate_of_their_own(house):
    moment = [0.0]
    house.hub.hub.registrations = Rates(per_s=1.0, burst=3, clock=lambda: moment[0])
    assert [house.a.register("H99.1", "H99", f"TEST {number}") for number in range(3)] == ["0"] * 3
    before = len(house.entries())
    assert house.a.register("H99.1", "H99", "TEST 3") == house.a.unregister("H99.1") == "28"
    assert len(house.entries()) == before
    assert house.b.register("H98.1", "H98") == "0", "each system has its own"
    moment[0] += 1
    assert house.a.unregister("H99.1") == "0"


# Codes from before there were rules for them


@on_sqlite
def test_a_code_with_a_slash_is_no_other_route(house):
    long = "A" * 3000
    house.hub.store.register_agencies("TEST.A", [HubAgency("H99/closing", "TEST"), HubAgency(long, "TEST")])
    house.admin.close_agency("H99", on=GONE)
    token = Accounts(house.hub.store).add_token("TEST", Role.ADMIN)[1]
    headers = {"Authorization": f"Bearer {token}"}
    with httpx2.Client(base_url=house.hub.url + "/admin/api/v1", headers=headers) as http:
        answer = http.delete("/agencies/H99%2Fclosing", headers={"If-Match": "*"})
        assert (answer.status_code, answer.json()["code"]) == (404, "hub.no-such-path")
        assert house.agency("H99").closed_on == GONE
        page = http.get("/agencies", params={"limit": 1}).json()
        assert http.get("/agencies", params={"after": page["next"]}).status_code == 200
        assert http.delete(f"/agencies/{long}", headers={"If-Match": "*"}).status_code == 204
        refused = http.put("/agencies/H99%20", json={"system_id": "TEST.A", "name": "TEST"})
        assert (refused.status_code, refused.json()["code"]) == (422, "hub.bad-agency-code")
    assert house.codes("TEST.A") == {"H99", "H99/closing"}
