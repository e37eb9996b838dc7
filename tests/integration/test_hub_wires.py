"""The provincial, OAuth2, Bkav REST and X-Road wires of the hub, called by hand: their rules, quirks and codes."""

import base64
import datetime
import json
import os

import httpx2
import pytest

from tests.clocks import Clock
from vnedoc.exchange.hub.options import PUBLIC_WIRES, HubOptions
from vnedoc.messages import Language
from vnedoc.testing.hub import running_hub
from vnedoc.testing.packages import make_package
from vnedoc.testing.xroad import running_security_server

SENDER, RECIPIENT, OTHER = "H99", "H99.1", "H98"
LIMIT = 200_000
CLIENT_A, CLIENT_B, SERVICE = "T/GOV/A/S", "T/GOV/B/S", "T/GOV/HUB/S/edoc"


class Site:
    """A hub, two systems, and a client."""

    def __init__(self, hub, http, clock):
        self.hub, self.http, self.clock, self.url = hub, http, clock, hub.url
        self.secrets = {
            "T:GOV:A:S": hub.add_system("T:GOV:A:S", SENDER),
            "T:GOV:B:S": hub.add_system("T:GOV:B:S", RECIPIENT, OTHER),
        }

    def call(self, method, path, **options):
        return self.http.request(method, self.url + path, **options)


@pytest.fixture
def site():
    clock = Clock()
    options = HubOptions(max_package_bytes=LIMIT, wires=(*PUBLIC_WIRES, "xroad"), language=Language.EN)
    with running_hub(clock=clock, options=options) as hub, httpx2.Client(timeout=20) as http:
        yield Site(hub, http, clock)


@pytest.fixture
def make(tmp_path):
    def make(**options):
        values = {"sender": SENDER, "recipients": [RECIPIENT], "number": int.from_bytes(os.urandom(5))}
        make_package(tmp_path / "x.edxml", **{**values, **options})
        return (tmp_path / "x.edxml").read_bytes()

    return make


def no_trace(hub):
    return not list((hub.folder / "payloads" / "incoming").iterdir()) and hub.store.stats().documents == 0


# What is no text


@pytest.mark.parametrize("word", ["\ud800", "a\x00b", "sha256:" + "0" * 64])
def test_what_json_can_say_and_no_database_can_hold(site, lgsp, oauth2, word):
    """Half a character and U+0000: wrong like any other word, never trouble of the hub."""
    system, _ = lgsp
    unit, _ = oauth2
    stamp = {"Content-Type": "application/json"}
    claims = base64.urlsafe_b64encode(json.dumps({"sub": word, "aud": "lgsp", "exp": 99999999999}).encode())
    forged = f"e30.{claims.decode().rstrip('=')}.AAAA"
    answers = {
        "user": site.call("POST", "/v1/auth/login", content=json.dumps({"username": word, "password": "x"})),
        "password": site.call(
            "POST", "/v1/auth/login", content=json.dumps({"username": system.system_id, "password": word})
        ),
        "token": system.call(
            "GET", "/v1/getAgenciesList", headers=system.headers(Authorization=f"Bearer {forged}")
        ),
        "status": system.call(
            "POST",
            "/v1/updateStatus",
            headers=system.headers(**stamp),
            content=json.dumps({"docId": word, "status": "done"}),
        ),
        "word": system.call(
            "POST",
            "/v1/updateStatus",
            headers=system.headers(**stamp),
            content=json.dumps({"docId": "x", "status": word}),
        ),
        "package": unit.call(
            "POST", "/vanbans", headers=stamp, content=json.dumps({"loaiVanBan": word, "file": "AAAA"})
        ),
        "parent": unit.call(
            "POST", "/donvilienthongs", headers=stamp, content=json.dumps({"code": "H99.8", "pcode": word})
        ),
        "code": unit.call(
            "POST", "/donvilienthongs", headers=stamp, content=json.dumps({"code": word, "name": word})
        ),
        "document": bkav(
            site,
            "T:GOV:A:S",
            SENDER,
            "POST",
            "/checkExistDocument",
            content=json.dumps({"fromOrgan": SENDER, "toOrgan": word, "docCode": word}).encode(),
        ),
    }
    assert {name for name, answer in answers.items() if answer.status_code >= 500} == set()
    assert [answers[name].status_code for name in ("user", "password", "token")] == [401] * 3
    named = unit.call(
        "POST",
        "/donvilienthongs",
        headers=stamp,
        content=json.dumps({"code": "H99.9", "pcode": "H99", "name": word, "email": word}),
    )
    assert named.status_code < 500
    # The list that has it now can be asked for by every wire.
    for path in ("/v1/getAgenciesList",):
        assert system.call("GET", path).status_code == 200
    assert unit.call("GET", "/donvilienthongs").status_code == 200
    assert bkav(site, "T:GOV:A:S", SENDER, "GET", f"/getOrganizations?organId={SENDER}").status_code == 200


# The provincial form


class LGSP:
    def __init__(self, site, system_id):
        self.site, self.system_id = site, system_id
        self.token = self.login(system_id, site.secrets[system_id]).json()["data"]["token"]

    def login(self, username, password):
        body = {"username": username, "password": password, "applicationCode": "", "otp": None}
        return self.site.call("POST", "/v1/auth/login?allow_anonymous=true", json=body)

    def headers(self, **changes):
        headers = {
            "Authorization": f"Bearer {self.token}",
            "X-SystemId": self.system_id,
            "X-SecretKey": self.site.secrets[self.system_id],
            **changes,
        }
        return {name: value for name, value in headers.items() if value is not None}

    def call(self, method, path, *, headers=None, **options):
        return self.site.call(method, path, headers=self.headers() if headers is None else headers, **options)

    def send(self, content, *, kind="edoc", **options):
        files = {"edocFile": ("x.edxml", content, "application/xml")}
        return self.call("POST", "/v1/sendEdoc", files=files, data={"messageType": kind}, **options)

    def listed(self, first="2026/11/20", last="2026/11/21", kind="edoc"):
        query = f"messageType={kind}&fromDate={first}&toDate={last}"
        return self.call("GET", f"/v1/syncReceivedEdocList?{query}").json()


@pytest.fixture
def lgsp(site):
    return LGSP(site, "T:GOV:A:S"), LGSP(site, "T:GOV:B:S")


def test_lgsp_the_life_of_a_package(lgsp, make):
    sender, recipient = lgsp
    content = make()
    answer = sender.send(content).json()
    assert answer["success"] is True
    assert sender.send(content).json() == answer
    listed = recipient.listed()
    assert listed["count"] == 1
    [row] = listed["data"]
    assert (row["from"], row["to"], row["status"], row["messageType"]) == (
        SENDER,
        RECIPIENT,
        "initial",
        "edoc",
    )
    fetched = recipient.call("GET", f"/v1/getEdoc?docId={row['docId']}").json()
    assert base64.b64decode(fetched["data"]["edxml"]) == content
    assert fetched["data"]["from"] == SENDER
    told = recipient.call("POST", "/v1/updateStatus", json={"docId": row["docId"], "status": "done"})
    assert told.json()["success"] is True
    assert recipient.listed()["data"] == []


def test_lgsp_lists_between_two_dates(lgsp, make):
    sender, recipient = lgsp
    sender.send(make())
    assert recipient.listed("2026/11/21", "2026/11/21")["count"] == 1
    assert recipient.listed("2026/11/22", "2026/11/30")["count"] == 0
    assert recipient.listed("2026/11/01", "2026/11/20")["count"] == 0
    for first in ("", "2026-11-20", "x"):
        assert recipient.listed(first)["data"]["errorCode"] == "21"


def test_lgsp_who_is_not_let_in(site, lgsp):
    sender, recipient = lgsp
    for username, password in (
        ("T:GOV:A:S", "TEST-WRONG"),
        ("NOBODY", "x"),
        ("", ""),
        ("T:GOV:A:S", site.secrets["T:GOV:B:S"]),
    ):
        assert sender.login(username, password).status_code == 401
    path = "/v1/getAgenciesList"
    missing = sender.call("GET", path, headers=sender.headers(Authorization=None))
    assert (missing.status_code, missing.text) == (401, "licenseInfo:invalid")
    for headers in (
        sender.headers(Authorization="Bearer x"),
        sender.headers(Authorization=f"Bearer {recipient.token}"),
        sender.headers(Authorization=f"Bearer {sender.token[:-2]}AA"),
        sender.headers(**{"X-SecretKey": None}),
        sender.headers(**{"X-SecretKey": "TEST-WRONG"}),
        sender.headers(**{"X-SystemId": "T:GOV:B:S"}),
    ):
        refused = sender.call("GET", path, headers=headers)
        assert (refused.status_code, refused.text) == (401, "Unauthorized")
    assert sender.call("GET", path).status_code == 200
    site.clock.now += datetime.timedelta(minutes=31)
    assert sender.call("GET", path).status_code == 401


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_lgsp_tokens_of_our_own_making_are_no_good(lgsp, algorithm):
    sender, _recipient = lgsp

    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = {"sub": sender.system_id, "aud": "lgsp", "exp": 99999999999}
    for signature in ("", "AAAA"):
        token = f"{part({'alg': algorithm})}.{part(claims)}.{signature}"
        headers = sender.headers(Authorization=f"Bearer {token}")
        assert sender.call("GET", "/v1/getAgenciesList", headers=headers).status_code == 401


def test_lgsp_codes_of_refusals(site, lgsp, make):
    sender = lgsp[0]
    content = make()
    sender.send(content)
    conflicting = make(number=15), make(number=15, content=b"%PDF other TEST")
    assert sender.send(conflicting[0]).json()["success"]
    cases = [
        (sender.send(make(sender=OTHER)), "19"),
        (sender.send(make(recipients=["H01"])), "18"),
        (sender.send(b"TEST"), "22"),
        (sender.send(content, kind="status"), "22"),
        (sender.send(content, kind="fax"), "21"),
        (sender.send(conflicting[1]), "21"),
        (sender.call("GET", "/v1/getEdoc?docId=x"), "21"),
        (sender.call("POST", "/v1/updateStatus", json={"docId": "x", "status": "04"}), "21"),
        (sender.call("POST", "/v1/updateStatus", content=b"[" * 60_000), "21"),
        (sender.call("POST", "/v1/updateStatus", content=b"[]"), "21"),
        (sender.call("POST", "/v1/sendEdoc", files={"other": b"x"}), "10"),
        (sender.call("POST", "/v1/sendEdoc", content=b"x"), "10"),
    ]
    # A file in a field of another name, however large: the one that it belongs into is named.
    for size in (1, 10_000):
        wrong = sender.call("POST", "/v1/sendEdoc", files={"file": b"x" * size})
        assert "“edocFile”" in wrong.json()["data"]["errorDesc"]
        cases.append((wrong, "10"))
    for response, code in cases:
        assert response.status_code == 200
        answer = response.json()
        assert answer["success"] is False
        assert answer["data"]["errorCode"] == code, answer
        assert answer["data"]["errorDesc"]
    large = sender.send(make(content=os.urandom(LIMIT)))
    assert (large.status_code, large.json()["data"]["errorCode"]) == (413, "10")
    assert not list((site.hub.folder / "payloads" / "incoming").iterdir())


def test_lgsp_a_body_without_a_length_ends_early(lgsp, make):
    sender, _recipient = lgsp
    response = sender.call("POST", "/v1/sendEdoc", content=iter([b"x"]))
    assert response.status_code == 400
    assert "Unexpected end of Stream" in response.text


BOUNDARY = "TEST"


def part(name, content, *, headers=""):
    disposition = f'Content-Disposition: form-data; name="{name}"'
    return f"--{BOUNDARY}\r\n{disposition}{headers}\r\n\r\n".encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()
FILE = part("edocFile", b"TEST")


FORMS = [
    b"",
    b"TEST" * 1000,
    END,
    FILE,
    FILE[:20],
    FILE + FILE + END,
    part("messageType", b"edoc") + END,
    part("messageType", b"x" * 10_000) + FILE + END,
    b"".join(part(f"p{n}", b"x") for n in range(10_000)) + FILE + END,
    part("edocFile", b"x", headers="\r\nX: " + "y" * 100_000) + END,
    part("edocFile", b"x", headers="".join(f"\r\nX{n}: y" for n in range(1000))) + END,
    b"--TEST\r\n\r\n\r\n" + b"\x00" * 1000,
]


def test_lgsp_forms_that_are_none(site, lgsp):
    sender = lgsp[0]
    for body in FORMS:
        for boundary in (f"; boundary={BOUNDARY}", "", "; boundary=" + "x" * 5000, "; boundary="):
            headers = sender.headers(**{"Content-Type": f"multipart/form-data{boundary}"})
            response = sender.call("POST", "/v1/sendEdoc", headers=headers, content=body)
            assert response.status_code in {200, 413}
            assert response.json()["success"] is False
            assert no_trace(site.hub)


# OAuth2


class OAuth2:
    def __init__(self, site, system_id):
        self.site, self.system_id = site, system_id
        self.token = self.ask(system_id, site.secrets[system_id]).json()["access_token"]

    def ask(self, key, secret, grant="client_credentials"):
        pair = ":".join(part.replace(":", "%3A") for part in (key, secret))
        headers = {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
        return self.site.call("POST", "/token", headers=headers, data={"grant_type": grant})

    def call(self, method, path, *, headers=None, **options):
        sent = {
            "Authorization": f"Bearer {self.token}",
            "secretDonVi": self.site.secrets[self.system_id],
            **(headers or {}),
        }
        return self.site.call(method, "/truclienthong/v1.0.0" + path, headers=sent, **options)

    def send(self, content, kind="edoc"):
        body = {"loaiVanBan": kind, "file": base64.b64encode(content).decode()}
        return self.call("POST", "/vanbans", json=body)


@pytest.fixture
def oauth2(site):
    return OAuth2(site, "T:GOV:A:S"), OAuth2(site, "T:GOV:B:S")


def test_oauth2_the_life_of_a_package(oauth2, make):
    sender, recipient = oauth2
    content = make()
    answer = sender.send(content).json()
    assert (answer["status"], answer["errorCode"]) == ("OK", "0")
    assert answer["docId"]
    [row] = recipient.call("GET", "/vanbans").json()["data"]
    assert (row["from"], row["to"], row["status"], row["messageType"]) == (
        SENDER,
        RECIPIENT,
        "INITIAL",
        "edoc",
    )
    fetched = recipient.call("GET", f"/vanbans/{row['docId']}").json()
    assert base64.b64decode(fetched["data"]) == content
    assert recipient.call("PUT", f"/vanbans/{row['docId']}?status=DONE").json()["status"] == "OK"
    assert recipient.call("GET", "/vanbans").json()["data"] == []
    codes = {row["code"] for row in sender.call("GET", "/donvilienthongs").json()["data"]}
    assert codes == {SENDER, RECIPIENT, OTHER}


def test_oauth2_tokens(site, oauth2):
    sender, recipient = oauth2
    secret = site.secrets["T:GOV:A:S"]
    fine = sender.ask("T:GOV:A:S", secret).json()
    assert (fine["token_type"], fine["expires_in"]) == ("Bearer", 3600)
    for key, wrong in (("T:GOV:A:S", "x"), ("NOBODY", secret), ("", "")):
        refused = sender.ask(key, wrong)
        assert (refused.status_code, refused.json()) == (401, {"error": "invalid_client"})
    assert sender.ask("T:GOV:A:S", secret, grant="password").status_code == 400
    assert site.call("POST", "/token", data={"grant_type": "client_credentials"}).status_code == 401
    missing = sender.call("GET", "/vanbans", headers={"Authorization": ""})
    assert (missing.status_code, missing.json()["fault"]["code"]) == (401, 900902)
    for headers in (
        {"Authorization": f"Bearer {recipient.token}"},
        {"secretDonVi": site.secrets["T:GOV:B:S"]},
        {"secretDonVi": ""},
        {"Authorization": "Bearer x.y.z"},
    ):
        wrong = sender.call("GET", "/vanbans", headers=headers)
        assert (wrong.status_code, wrong.json()["fault"]["code"]) == (401, 900901)
    # A token is good for its own wire only.
    lgsp = LGSP(site, "T:GOV:A:S")
    assert (
        sender.call("GET", "/vanbans", headers={"Authorization": f"Bearer {lgsp.token}"}).status_code == 401
    )
    site.clock.now += datetime.timedelta(minutes=61)
    assert sender.call("GET", "/vanbans").status_code == 401


def test_oauth2_the_secret_of_the_unit_may_stand_in_the_query(site, oauth2):
    sender, _recipient = oauth2
    secret = site.secrets["T:GOV:A:S"]
    assert (
        sender.call("GET", f"/vanbans?secretDonVi={secret}", headers={"secretDonVi": ""}).status_code == 200
    )


def test_oauth2_refusals(site, oauth2, make):
    sender, _recipient = oauth2
    cases = [
        (sender.send(make(sender=OTHER)), "19"),
        (sender.send(make(recipients=["H01"])), "18"),
        (sender.send(b"TEST"), "22"),
        (sender.send(make(), kind="fax"), "26"),
        (sender.call("GET", "/vanbans/x"), "25"),
        (sender.call("PUT", "/vanbans/x?status=04"), "26"),
        (sender.call("PUT", "/vanbans/x?status=DONE"), "25"),
        (sender.call("POST", "/vanbans", json={"loaiVanBan": "edoc"}), "10"),
        (sender.call("POST", "/vanbans", json={"loaiVanBan": "edoc", "file": "*"}), "10"),
        (sender.call("POST", "/vanbans", content=b"<html>"), "10"),
        (sender.call("POST", "/vanbans", content=b"[" * 50_000), "10"),
    ]
    for response, code in cases:
        answer = response.json()
        assert (response.status_code, answer["status"], answer["errorCode"]) == (200, "FAIL", code)
        assert answer["errorDesc"]
    large = sender.send(make(content=os.urandom(LIMIT)))
    assert (large.status_code, large.json()["errorCode"]) == (413, "10")
    assert no_trace(site.hub)


def test_oauth2_agencies_are_registered_below_ones_own(oauth2):
    sender, recipient = oauth2
    body = {"code": "H99.7", "pcode": "H99", "name": "XÃ TEST", "email": "", "mobile": "", "fax": ""}
    assert sender.call("POST", "/donvilienthongs", json=body).json()["status"] == "OK"
    rows = {row["code"]: row for row in sender.call("GET", "/donvilienthongs").json()["data"]}
    assert (rows["H99.7"]["name"], rows["H99.7"]["pid"]) == ("XÃ TEST", "H99")
    for refused in (
        recipient.call("POST", "/donvilienthongs", json=body),
        recipient.call("POST", "/donvilienthongs", json={**body, "code": "H99", "pcode": ""}),
        sender.call("POST", "/donvilienthongs", json={**body, "code": "H01", "pcode": ""}),
        recipient.call("PUT", "/donvilienthongs?agencyCode=H99.7"),
    ):
        assert refused.json()["errorCode"] == "19"
    assert sender.call("POST", "/donvilienthongs", json={**body, "code": ""}).json()["errorCode"] == "26"
    assert sender.call("PUT", "/donvilienthongs?agencyCode=H99.7").json()["status"] == "OK"
    assert "H99.7" not in {row["code"] for row in sender.call("GET", "/donvilienthongs").json()["data"]}


# Bkav


def bkav(site, system_id, organ_id, method, path, *, token=None, **headers):
    sent = {"organid": organ_id, "authorization": token or site.secrets[system_id], **headers}
    content = sent.pop("content", None)
    return site.call(method, "/EdocService" + path, headers=sent, content=content)


def test_bkav_the_life_of_a_package(site, make):
    content = make(recipients=[RECIPIENT, OTHER])
    sent = bkav(site, "T:GOV:A:S", SENDER, "POST", "/sendDocument", type="EDOC", content=content).json()
    assert (sent["status"], sent["code"], sent["errors"]) == ("Success", "0", [])
    assert isinstance(sent["docId"], int)
    for code in (RECIPIENT, OTHER):
        pending = bkav(site, "T:GOV:B:S", code, "GET", "/getPendingDocIds", type="EDOC").json()
        [row] = pending["data"]
        assert row["organId"] == code
        assert 0 <= row["docId"] < 2**63
        place = {"type": "EDOC", "docid": str(row["docId"])}
        # The other agency of the same system has another copy.
        stranger = OTHER if code == RECIPIENT else RECIPIENT
        assert bkav(site, "T:GOV:B:S", stranger, "POST", "/getDocument", **place).json()["status"] == "Fail"
        fetched = bkav(site, "T:GOV:B:S", code, "POST", "/getDocument", **place).json()
        assert base64.b64decode(fetched["data"]) == content
        for _ in range(2):
            told = bkav(site, "T:GOV:B:S", code, "POST", "/confirmReceived", **place).json()
            assert told["status"] == "Success"
        assert bkav(site, "T:GOV:B:S", code, "GET", "/getPendingDocIds", type="EDOC").json()["data"] == []


def test_bkav_refusals(site, make):
    def post(content, kind="EDOC"):
        return bkav(site, "T:GOV:A:S", SENDER, "POST", "/sendDocument", type=kind, content=content)

    assert post(make(number=15)).json()["status"] == "Success"
    cases = [
        (post(make(number=15, content=b"%PDF other TEST")), "ExistDoc"),
        (post(make(sender=OTHER)), "OrganId"),
        (post(make(recipients=["H01"])), "Receiver"),
        (post(b"TEST"), "EdocFile"),
        (post(b"TEST", kind="FAX"), "BadRequest"),
        (bkav(site, "T:GOV:A:S", SENDER, "POST", "/getDocument", type="EDOC", docid="x"), "DocID"),
        (bkav(site, "T:GOV:A:S", SENDER, "POST", "/getDocument", type="EDOC", docid="9" * 19), "DocID"),
        (bkav(site, "T:GOV:A:S", SENDER, "POST", "/confirmReceived", docid="1"), "DocID"),
        (bkav(site, "T:GOV:A:S", SENDER, "GET", "/getPendingDocIds"), "BadRequest"),
    ]
    for response, code in cases:
        answer = response.json()
        assert (response.status_code, answer["status"], answer["code"]) == (200, "Fail", "9999")
        assert [error["code"] for error in answer["errors"]] == [code]


def test_bkav_who_is_not_let_in(site):
    for organ_id, token in (
        (SENDER, "TEST-WRONG"),
        (SENDER, site.secrets["T:GOV:B:S"]),
        ("H01", site.secrets["T:GOV:A:S"]),
        ("", "x"),
    ):
        response = bkav(site, "T:GOV:A:S", organ_id, "GET", "/getPendingDocIds", token=token, type="EDOC")
        assert response.status_code == 401
        assert response.json()["errors"][0]["code"] == "Unauthorized"


def test_bkav_whether_a_document_is_there_is_told_to_its_own(site, make):
    content = make(number=77)
    bkav(site, "T:GOV:A:S", SENDER, "POST", "/sendDocument", type="EDOC", content=content)
    body = json.dumps({"fromOrgan": SENDER, "toOrgan": RECIPIENT, "docCode": "77/UBND-TEST"}).encode()
    answers = [
        bkav(site, system_id, code, "POST", "/checkExistDocument", content=body).json()["isExist"]
        for system_id, code in (("T:GOV:A:S", SENDER), ("T:GOV:B:S", RECIPIENT), ("T:GOV:B:S", OTHER))
    ]
    assert answers == [True, True, False]
    rows = bkav(site, "T:GOV:A:S", SENDER, "GET", f"/getOrganizations?organId={SENDER}").json()[
        "organizations"
    ]
    assert {row["organId"] for row in rows} == {SENDER, RECIPIENT, OTHER}


# X-Road


@pytest.fixture
def road(site):
    rights = {SERVICE: {CLIENT_A, CLIENT_B}}
    services = {SERVICE: site.url, "T/GOV/HUB/S/away": "http://127.0.0.1:9"}
    rights["T/GOV/HUB/S/away"] = {CLIENT_A}
    with running_security_server(services, rights=rights) as url:
        yield url


def on_road(site, url, method, path, *, client=CLIENT_A, service=SERVICE, **options):
    headers = {**({} if client is None else {"X-Road-Client": client}), **options.pop("headers", {})}
    return site.http.request(method, f"{url}/r1/{service}/{path}", headers=headers, **options)


def test_xroad_the_life_of_a_package(site, road, make):
    content = make()
    sent = on_road(
        site,
        road,
        "POST",
        "document/edocs/new",
        files={"file": ("x.edxml", content)},
        headers={"from": SENDER},
    )
    assert sent.status_code == 201
    assert sent.headers["X-Road-Client"] == CLIENT_A
    assert sent.headers["X-Road-Service"] == SERVICE
    assert sent.headers["X-Road-Id"]
    assert "X-Road-Error" not in sent.headers
    [row] = on_road(site, road, "GET", "document/edocs", client=CLIENT_B).json()
    assert (row["from"], row["to"]) == (SENDER, RECIPIENT)
    path = f"document/edocs/{row['docId']}"
    assert on_road(site, road, "GET", path, client=CLIENT_B).content == content
    assert on_road(site, road, "GET", path.replace("edocs", "status"), client=CLIENT_B).status_code == 404
    assert on_road(site, road, "GET", path).status_code == 404
    told = on_road(site, road, "PUT", f"{path}/status", client=CLIENT_B, json={"status": "done"})
    assert told.status_code == 200
    assert (
        on_road(site, road, "PUT", f"{path}/status", client=CLIENT_B, json={"status": "fail"}).status_code
        == 409
    )
    assert on_road(site, road, "PUT", f"{path}/status", client=CLIENT_B, json=[]).status_code == 400
    assert on_road(site, road, "GET", "document/edocs", client=CLIENT_B).json() == []


def test_xroad_refusals_of_the_service_have_no_road_error(site, road, make):
    for content, sender, status in (
        (make(sender=OTHER), OTHER, 422),
        (make(), OTHER, 422),
        (make(recipients=["H01"]), SENDER, 422),
        (b"TEST", SENDER, 422),
        (make(content=os.urandom(LIMIT)), SENDER, 413),
    ):
        response = on_road(
            site, road, "POST", "document/edocs/new", files={"file": content}, headers={"from": sender}
        )
        assert response.status_code == status
        assert "X-Road-Error" not in response.headers
        assert response.json()["message"]


@pytest.mark.parametrize(
    ("options", "error", "status"),
    [
        ({"client": None}, "Client.BadRequest", 400),
        ({"client": "x"}, "Client.BadRequest", 400),
        ({"client": "T/GOV/C/S"}, "Server.ServerProxy.AccessDenied", 500),
        ({"service": "T/GOV/HUB/S/none"}, "Server.ServerProxy.UnknownService", 500),
        ({"service": "T%2FGOV%2FHUB%2FS%2Fedoc"}, "Server.ServerProxy.UnknownService", 500),
        ({"service": "T/GOV/HUB/S/away"}, "Server.ServerProxy.NetworkError", 500),
    ],
)
def test_xroad_errors_of_the_road(site, road, options, error, status):
    response = on_road(site, road, "GET", "agencies", **options)
    assert response.status_code == status
    assert response.headers["X-Road-Error"] == error
    assert response.json()["type"] == error
    assert set(response.json()) == {"type", "message", "detail"}


def test_xroad_a_path_without_the_version(site, road):
    response = site.http.get(f"{road}/r2/{SERVICE}/agencies", headers={"X-Road-Client": CLIENT_A})
    assert response.headers["X-Road-Error"] == "Client.BadRequest"


def test_xroad_a_client_that_the_hub_does_not_know(site):
    response = site.call("GET", "/agencies", headers={"X-Road-Client": "T/GOV/X/S"})
    assert response.status_code == 403
