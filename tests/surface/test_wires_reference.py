"""The page on the wires says what a hub does: its programs run, its examples are answers, nothing is left out."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from starlette.datastructures import Headers
from starlette.routing import Route

from tests.clocks import NOW
from vnedoc.exchange import _vxp
from vnedoc.exchange._vxp import ErrorCode
from vnedoc.exchange.hub import bkav_rest, forms, lgsp, lgsp_oauth2, secret_keys, xroad
from vnedoc.exchange.hub.app import make_wires_app
from vnedoc.exchange.hub.options import PUBLIC_WIRES, HubOptions, Limits
from vnedoc.exchange.hub.registration import MAX_OWN_AGENCIES
from vnedoc.exchange.stores._hub_lists import MAX_SENT_LISTED, MAX_WAITING_LISTED
from vnedoc.exchange.stores.hub import HubAgency
from vnedoc.testing.hub import running_hub
from vnedoc.testing.packages import make_package

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vnedoc.testing.hub import RunningHub

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "wires.md"
TEXT = PAGE.read_text(encoding="utf-8")
OPTIONS = HubOptions(wires=(*PUBLIC_WIRES, "xroad"))
SENDER, RECIPIENT = "TEST.A", "TEST:GOV:B:DOCS"
ON_ROAD = {"X-Road-Client": RECIPIENT.replace(":", "/")}
PROGRAMS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
EXAMPLES = {
    label.split("`")[1] if label.startswith("`") else label: json.loads(content)
    for label, content in re.findall(r"^([^\n]+):\n\n```json\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
}
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| ")
]


def row_of(beginning: str) -> list[str]:
    """Return the one row of a table that begins with these words."""
    [row] = [row for row in ROWS if row[0].startswith(beginning)]
    return row


class Site:
    """A hub with two systems, and a package that one sends to the other."""

    def __init__(self, hub: RunningHub, folder: Path) -> None:
        self.hub = hub
        self.http = httpx2.Client(base_url=hub.url, timeout=60)
        below = HubAgency("H98.1", "SỞ TEST", "H98", "so@test.example", "000.00.01.H98")
        self.secrets = {
            SENDER: hub.add_system(SENDER, "H99"),
            RECIPIENT: hub.add_system(RECIPIENT, "H98", below),
        }
        self.path = folder / "package.edxml"
        make_package(self.path, sender="H99", recipients=["H98"])
        self.package = self.path.read_bytes()

    def vxp(
        self, system_id: str, path: str, *parameters: tuple[str, str], body: bytes = b"", method: str = "POST"
    ) -> httpx2.Response:
        """Call by VXP; the number makes each request another one."""
        moment = _vxp.timestamp(datetime.datetime.now(datetime.UTC))
        signed = [("systemid", system_id), *parameters, ("timestamp", moment), ("nonce", os.urandom(8).hex())]
        headers = _vxp.request_headers([*signed, ("Content-Type", _vxp.OCTET_TYPE)], self.secrets[system_id])
        return self.http.request(method, path, headers=headers, content=body)

    def send(self) -> httpx2.Response:
        digest = _vxp.file_hash(hashlib.sha256(self.package).digest())
        parameters = [("messagetype", "edoc"), ("hash-file", digest), ("from", "H99")]
        return self.vxp(SENDER, "/sendEdoc", *parameters, body=self.package)

    def listed(self) -> str:
        """Return the id under which the recipient sees the package."""
        return str(self.vxp(RECIPIENT, *LIST).json()["data"][0]["docId"])

    def bearer(self, system_id: str) -> dict[str, str]:
        """Log in to the provincial form."""
        secret = self.secrets[system_id]
        login = self.http.post("/v1/auth/login", json={"username": system_id, "password": secret}).json()
        token = login["data"]["token"]
        return {"Authorization": f"Bearer {token}", "X-SystemId": system_id, "X-SecretKey": secret}

    def token(self, system_id: str) -> httpx2.Response:
        """Get a token of the gateway."""
        auth = (urllib.parse.quote(system_id, safe=""), self.secrets[system_id])
        return self.http.post("/token", auth=auth, data={"grant_type": "client_credentials"})

    def gateway(self, system_id: str, method: str, path: str, **what: Any) -> httpx2.Response:
        """Call behind the gateway."""
        headers = {
            "Authorization": "Bearer " + self.token(system_id).json()["access_token"],
            "secretDonVi": self.secrets[system_id],
        }
        return self.http.request(method, f"/truclienthong/v1.0.0/{path}", headers=headers, **what)

    def bkav(self, organ_id: str, method: str, path: str, **what: Any) -> httpx2.Response:
        """Call by Bkav's form."""
        system_id = SENDER if organ_id == "H99" else RECIPIENT
        headers = {"organid": organ_id, "authorization": self.secrets[system_id], "type": "EDOC"}
        headers |= what.pop("headers", {})
        return self.http.request(method, f"/EdocService/{path}", headers=headers, **what)

    def number(self) -> dict[str, str]:
        return {"docid": str(self.bkav("H98", "GET", "getPendingDocIds").json()["data"][0]["docId"])}

    def lgsp_form(self, method: str, path: str, system_id: str = RECIPIENT, **what: Any) -> httpx2.Response:
        """Call by the provincial form."""
        return self.http.request(method, f"/v1/{path}", headers=self.bearer(system_id), **what)


LIST = ("/getReceivedEdocList", ("messagetype", "edoc"))


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


CALLS: dict[str, Callable[[Site], httpx2.Response]] = {
    "sendEdoc": lambda site: site.send(),
    "getReceivedEdocList": lambda site: site.vxp(RECIPIENT, *LIST),
    "getSentEdocList": lambda site: site.vxp(SENDER, "/getSentEdocList", ("messagetype", "edoc")),
    "getEdoc": lambda site: site.vxp(RECIPIENT, "/getEdoc", ("docId", site.listed())),
    "updateStatus": lambda site: site.vxp(
        RECIPIENT, "/updateStatus", ("docid", site.listed()), ("status", "done")
    ),
    "getAgenciesList": lambda site: site.vxp(SENDER, "/getAgenciesList"),
    "getSynchronizeUnit": lambda site: site.vxp(SENDER, "/getSynchronizeUnit"),
    "countReceiveEdoc": lambda site: site.vxp(RECIPIENT, "/countReceiveEdoc"),
    "A refusal, with HTTP 200": lambda site: site.vxp(RECIPIENT, "/getEdoc", ("docId", "x")),
    "auth/login": lambda site: site.http.post(
        "/v1/auth/login", json={"username": SENDER, "password": site.secrets[SENDER]}
    ),
    "v1/sendEdoc": lambda site: site.lgsp_form(
        "POST", "sendEdoc", SENDER, files={"edocFile": site.package}, data={"messageType": "edoc"}
    ),
    "syncReceivedEdocList": lambda site: site.lgsp_form(
        "GET",
        "syncReceivedEdocList",
        params={"messageType": "edoc", "fromDate": "2026/01/01", "toDate": "2999/12/31"},
    ),
    "v1/getEdoc": lambda site: site.lgsp_form("GET", "getEdoc", params={"docId": site.listed()}),
    "v1/updateStatus": lambda site: site.lgsp_form(
        "POST", "updateStatus", json={"docId": site.listed(), "status": "done"}
    ),
    "v1/getAgenciesList": lambda site: site.lgsp_form("GET", "getAgenciesList"),
    "A refusal by this form": lambda site: site.lgsp_form("GET", "getEdoc", params={"docId": "x"}),
    "token": lambda site: site.token(SENDER),
    "POST vanbans": lambda site: site.gateway(
        SENDER, "POST", "vanbans", json={"loaiVanBan": "edoc", "file": b64(site.package)}
    ),
    "GET vanbans": lambda site: site.gateway(RECIPIENT, "GET", "vanbans"),
    "GET vanbans/{doc_id}": lambda site: site.gateway(RECIPIENT, "GET", f"vanbans/{site.listed()}"),
    "PUT vanbans/{doc_id}": lambda site: site.gateway(
        RECIPIENT, "PUT", f"vanbans/{site.listed()}", params={"status": "DONE"}
    ),
    "GET donvilienthongs": lambda site: site.gateway(SENDER, "GET", "donvilienthongs"),
    "A refusal by the service": lambda site: site.gateway(RECIPIENT, "GET", "vanbans/x"),
    "A refusal by the gateway, with HTTP 401": lambda site: site.http.get("/truclienthong/v1.0.0/vanbans"),
    "sendDocument": lambda site: site.bkav("H99", "POST", "sendDocument", content=site.package),
    "getPendingDocIds": lambda site: site.bkav("H98", "GET", "getPendingDocIds"),
    "getDocument": lambda site: site.bkav("H98", "POST", "getDocument", headers=site.number()),
    "confirmReceived": lambda site: site.bkav("H98", "POST", "confirmReceived", headers=site.number()),
    "getOrganizations": lambda site: site.bkav("H98", "GET", "getOrganizations"),
    "checkExistDocument": lambda site: site.bkav(
        "H98",
        "POST",
        "checkExistDocument",
        json={"fromOrgan": "H99", "toOrgan": "H98", "docCode": "15/UBND-TEST"},
    ),
    "A refusal by the platform": lambda site: site.bkav("H98", "POST", "getDocument", headers={"docid": "5"}),
    "edocs/new": lambda site: site.http.post(
        "/document/edocs/new", headers={"X-Road-Client": SENDER}, files={"file": site.package}
    ),
    "GET edocs": lambda site: site.http.get("/document/edocs", headers=ON_ROAD),
    "PUT edocs/{doc_id}/status": lambda site: site.http.put(
        f"/document/edocs/{site.listed()}/status", headers=ON_ROAD, json={"status": "done"}
    ),
    "agencies": lambda site: site.http.get("/agencies", headers=ON_ROAD),
    "A refusal, with the HTTP status of the table above": lambda site: site.http.get(
        "/document/edocs/x", headers=ON_ROAD
    ),
}


@contextlib.contextmanager
def site_of(folder: Path, options: HubOptions = OPTIONS, **more: Any) -> Iterator[Site]:
    with running_hub(options=options, **more) as hub:
        site = Site(hub, folder)
        with site.http:
            yield site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_of(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def lasting_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A hub for calls that leave all as it is."""
    with site_of(tmp_path_factory.mktemp("site")) as running:
        yield running


VARIES = re.compile(r".*(docid|time|token|edxml)", re.IGNORECASE)


def masked(value: Any, key: str = "") -> Any:
    """Return an answer with its kind in place of what differs from one to the next."""
    if isinstance(value, dict):
        return {name: masked(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [masked(item) for item in value]
    if isinstance(value, str) and (VARIES.fullmatch(key) or (key == "data" and value)):
        return (
            re.sub(r"[0-9a-f]", "0", value) if re.fullmatch(r"[0-9a-f]{32}|[-0-9/:T +]*", value) else "text"
        )
    return type(value).__name__ if key == "docId" and isinstance(value, int) else value


def holds(answer: Any, example: Any) -> bool:
    """Tell whether an answer is as the example, which shows one row of each list."""
    if isinstance(example, list):
        return all(any(holds(item, row) for item in answer) for row in example)
    if isinstance(example, dict):
        return (
            isinstance(answer, dict)
            and list(answer) == list(example)
            and all(holds(answer[key], example[key]) for key in example)
        )
    return bool(answer == example) and type(answer) is type(example)


@pytest.mark.parametrize("label", sorted(EXAMPLES))
def test_every_example_is_an_answer_of_a_hub(label: str, request: pytest.FixtureRequest) -> None:
    # What is confirmed is not listed any more.
    confirms = label.startswith("PUT ") or label in {"updateStatus", "v1/updateStatus", "confirmReceived"}
    site: Site = request.getfixturevalue("site" if confirms else "lasting_site")
    # The same package again gets the same answer.
    site.send()
    answer = CALLS[label](site).json()
    assert holds(masked(answer), masked(EXAMPLES[label])), answer


def test_every_call_that_is_made_here_has_an_example() -> None:
    assert set(CALLS) == set(EXAMPLES)
    assert len(EXAMPLES) == TEXT.count("```json")


def test_every_route_is_on_the_page_and_nothing_else() -> None:
    with running_hub(options=OPTIONS) as hub:
        app = make_wires_app(hub.hub, with_health=False)
    served = {
        f"{method} {route.path}"
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert set(re.findall(r"`((?:GET|POST|PUT|DELETE) /[^`]*)`", TEXT)) == served


@pytest.mark.parametrize("code", ErrorCode, ids=str)
def test_every_code_is_on_the_page_with_its_translations(code: ErrorCode) -> None:
    [row] = [row for row in ROWS if len(row) == 5 and row[1].startswith(f"`{code}`")]
    _, _, provincial, bkav, road = row
    if code is ErrorCode.OK:
        assert (provincial, bkav) == ("none", "none")
        return
    assert bkav == f"`{bkav_rest._CODES[code]}`"
    assert road.endswith(f", `{code}`")
    if code is ErrorCode.UNAUTHENTICATED:
        assert (provincial, road[:3]) == ("HTTP 401", "403")
    else:
        known = code if code.value in lgsp._CODES else lgsp._OTHER_CODE
        assert provincial == f"`{known}`"
        own = {ErrorCode.INTERNAL: "500", ErrorCode.BUSY: "429"}
        assert road.startswith(own.get(code, str(xroad._STATUSES.get(code, 400))))


def words_of(answer: httpx2.Response) -> str:
    """Return the code of a refusal, whatever the form."""
    fields = answer.json()
    if "errors" in fields:
        return str(fields["errors"][0]["code"])
    if "success" in fields:
        return str(fields["data"]["errorCode"])
    return str(fields.get("ErrorCode") or fields.get("errorCode") or fields.get("code"))


def check_limit(beginning: str, answers: list[httpx2.Response]) -> None:
    """Compare what VXP, the gateway and the other forms answer, in this order, with a row of the table of limits."""
    _, status, vxp, *others = row_of(beginning)
    assert [answer.status_code for answer in answers] == [int(status)] * 5
    assert [f"`{words_of(answer)}`" for answer in answers] == [vxp, vxp, *others]


@pytest.mark.parametrize(
    ("beginning", "status", "code"),
    [
        ("the package is too slow", 408, ErrorCode.INVALID_FILE),
        ("the package is larger", 413, ErrorCode.INVALID_FILE),
        ("too many requests", 429, ErrorCode.BUSY),
        ("trouble of the hub", 500, ErrorCode.INTERNAL),
        ("no room on the disk", 503, ErrorCode.BUSY),
    ],
)
def test_limits_have_the_codes_of_the_other_table(beginning: str, status: int, code: ErrorCode) -> None:
    # A row of the table of codes begins alike.
    [row] = [row for row in ROWS if row[0].startswith(beginning) and row[1] == str(status)]
    known = code if code.value in lgsp._CODES else lgsp._OTHER_CODE
    assert row[2:] == [f"`{code}`", f"`{known}`", f"`{bkav_rest._CODES[code]}`", f"`{code}`"]


def test_what_is_too_large_is_refused_as_the_page_says(tmp_path: Path) -> None:
    with site_of(tmp_path, dataclasses.replace(OPTIONS, max_package_bytes=100)) as site:
        sending = ("sendEdoc", "POST vanbans", "v1/sendEdoc", "sendDocument", "edocs/new")
        check_limit("the package is larger", [CALLS[name](site) for name in sending])


def test_too_many_requests_are_refused_as_the_page_says(tmp_path: Path) -> None:
    once = Limits(requests_per_s=1e-9, request_burst=3, slow_down_s=0)
    with site_of(tmp_path, dataclasses.replace(OPTIONS, limits=once)) as site:
        bearer, token = site.bearer(RECIPIENT), site.token(RECIPIENT).json()["access_token"]
        assert site.http.get("/agencies", headers=ON_ROAD).status_code == 200
        gateway = {"Authorization": f"Bearer {token}", "secretDonVi": site.secrets[RECIPIENT]}
        answers = [
            site.vxp(RECIPIENT, "/getAgenciesList"),
            site.http.get("/truclienthong/v1.0.0/vanbans", headers=gateway),
            site.http.get("/v1/getAgenciesList", headers=bearer),
            site.bkav("H98", "GET", "getOrganizations"),
            site.http.get("/agencies", headers=ON_ROAD),
        ]
        refused = site.token(RECIPIENT)
    check_limit("too many requests", answers)
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
    assert (refused.status_code, refused.json()) == (429, {"error": "temporarily_unavailable"})


def test_numbers_of_the_page_are_those_of_the_hub() -> None:
    window = HubOptions().clock_window
    numbers = [
        f"{secret_keys.MIN_SECRET_CHARS} to {secret_keys.MAX_SECRET_CHARS} visible ASCII",
        f"of {len(secret_keys.made_secret())} hexadecimal digits",
        f"oldest first, {MAX_WAITING_LISTED:,} at a time",
        f"at most {MAX_SENT_LISTED:,}",
        f"{MAX_OWN_AGENCIES:,} agencies",
        f"{window.seconds // 60} minutes off",
        f"at most {_vxp.MAX_SIGNED_KEYS} keys",
        f"a token lasts {lgsp._TOKEN_LIFE.seconds // 60} minutes",
        f"at most {forms._MAX_PARTS} parts, a field {forms._MAX_FIELD_BYTES:,} bytes",
        f'"expires_in":{lgsp_oauth2._TOKEN_LIFE.seconds}',
    ]
    text = " ".join(TEXT.split())
    assert [number for number in numbers if number not in text] == []


def test_the_request_of_the_page_can_be_made_again_and_gets_in(tmp_path: Path) -> None:
    [request] = re.findall(r"^```http\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    [secret] = re.findall(r"with the secret `(\w+)`", TEXT)
    headers = dict(line.split(": ", 1) for line in request.splitlines()[1:])
    signed = _vxp.read_signed(Headers(headers))
    assert _vxp.sign(headers["XroadVnpt-sign-header"], secret) == headers["XroadVnpt-hash-header"]
    made = _vxp.request_headers(
        [(key, signed[key.lower()]) for key in headers["XroadVnpt-sign-header-key"].split(";")], secret
    )
    assert headers == {"Host": "axis.example", "Content-Length": "0", **made}
    moment = _vxp.parse_timestamp(signed["timestamp"])
    with running_hub(tmp_path, clock=lambda: moment) as hub:
        hub.store.add_system("TEST.A", name="TEST", secret=secret, at=NOW)
        host, port = hub.url.removeprefix("http://").split(":")
        answers = []
        for _ in range(2):
            with socket.create_connection((host, int(port)), 60) as connection:
                head = request.replace("Host:", "Connection: close\nHost:").replace("\n", "\r\n")
                connection.sendall(head.encode() + b"\r\n")
                answers.append(connection.makefile("rb").read())
    assert b" 200 " in answers[0].splitlines()[0]
    assert b" 401 " in answers[1].splitlines()[0], "the same request came twice"


def test_the_hash_of_the_page_is_that_of_its_file() -> None:
    digest = hashlib.sha256(b"edXML TEST\n").digest()
    assert row_of("SHA-256")[1] == f"`{_vxp.file_hash(digest, padded=True)}`"
    assert row_of("as the client writes it")[1] == f"`{_vxp.file_hash(digest)}`"


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_the_programs_of_the_page_run(number: int, site: Site, tmp_path: Path) -> None:
    program = tmp_path / "client.py"
    program.write_text(PROGRAMS[number], encoding="utf-8")
    told = {
        "AXIS_URL": site.hub.url,
        "SENDER_SYSTEM": SENDER,
        "SENDER_SECRET": site.secrets[SENDER],
        "SENDER_CODE": "H99",
        "RECIPIENT_SYSTEM": RECIPIENT,
        "RECIPIENT_SECRET": site.secrets[RECIPIENT],
    }
    outcome = subprocess.run(
        [sys.executable, "-W", "error", program, site.path],
        cwd=tmp_path,
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stderr == ""
    if "sys.argv" not in PROGRAMS[number]:
        return
    assert re.match(r"sent as [0-9a-f]{32}\nreceived from H99\n", outcome.stdout)
    assert (tmp_path / "received-1.edxml").read_bytes() == site.package
    assert site.vxp(RECIPIENT, *LIST).json()["data"] == []
    if "getSentEdocList" in PROGRAMS[number]:
        assert outcome.stdout.endswith(" to H98 is done\n")


def test_the_page_has_a_client_of_two_forms() -> None:
    assert [program.split('"""')[1].split(":")[0] for program in PROGRAMS if "sys.argv" in program] == [
        "Send a package by VXP, and take it in at the other end",
        "Send a package by the provincial form, and take it in",
    ]
