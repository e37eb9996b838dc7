"""People and programs that run a hub: who gets in, who does not, and what a stolen database is worth."""

import contextlib
import datetime
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.clocks import Clock
from vnedoc.errors import ConfigurationError, UsageError
from vnedoc.exchange.hub import accounts as accounts_module
from vnedoc.exchange.hub.accounts import FREE_FAILURES, Accounts, LockedError, NewSession, Role
from vnedoc.exchange.stores.database import Database
from vnedoc.exchange.stores.hub import HubStore
from vnedoc.exchange.stores.hub_audit import HubAudit
from vnedoc.exchange.stores.hub_models import HubSessionRow
from vnedoc.exchange.stores.payloads import FolderPayloads

PASSWORD = "đúng là mật khẩu TEST"


@pytest.fixture
def database(hub_url: str) -> Iterator[Database]:
    database = Database(hub_url, branch="hub")
    yield database
    database.close()


@pytest.fixture
def accounts(database: Database, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Accounts:
    # Dear on purpose; what is tested here does not depend on how dear.
    monkeypatch.setattr("vnedoc.exchange.hub.accounts._COST", 2)
    accounts = Accounts(HubStore(database, FolderPayloads(tmp_path / "payloads")), clock=clock)
    accounts.add_user("test.operator", PASSWORD, Role.OPERATOR)
    return accounts


@pytest.fixture
def audit(database: Database) -> HubAudit:
    return HubAudit(database)


def _login(accounts: Accounts, password: str = PASSWORD) -> NewSession:
    session = accounts.login("test.operator", password)
    assert session is not None
    return session


def test_the_right_password_gets_in(accounts: Accounts) -> None:
    session = _login(accounts)
    principal = accounts.session(session.token)
    assert principal == session.principal
    assert (principal.name, principal.role) == ("test.operator", Role.OPERATOR)
    assert principal.may(Role.VIEWER)
    assert not principal.may(Role.ADMIN)
    assert len(principal.csrf) >= 32


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("test.operator", PASSWORD + "x"),
        ("test.operator", ""),
        ("test.operator", PASSWORD * 100),
        ("TEST.OPERATOR", PASSWORD),
        ("nobody", PASSWORD),
        ("' OR 1=1 --", PASSWORD),
        ("test.operator", "\ud800"),
    ],
)
def test_anything_else_does_not(accounts: Accounts, name: str, password: str) -> None:
    assert accounts.login(name, password) is None


def test_a_session_ends(accounts: Accounts, clock: Clock) -> None:
    token = _login(accounts).token
    for _ in range(30):
        clock.go_on(minutes=20)
        assert accounts.session(token) is not None, "in use"
    idle = _login(accounts).token
    clock.go_on(minutes=31)
    assert accounts.session(idle) is None
    clock.go_on(minutes=-31)
    assert accounts.session(idle) is None, "what is over does not come back"
    long = _login(accounts).token
    for _ in range(36):
        clock.go_on(minutes=20)
        accounts.session(long)
    clock.go_on(minutes=1)
    assert accounts.session(long) is None, "twelve hours are enough"


def test_logging_out_ends_it_at_once(accounts: Accounts) -> None:
    first, second = _login(accounts).token, _login(accounts).token
    accounts.logout(first)
    assert accounts.session(first) is None
    assert accounts.session(second) is not None
    assert accounts.session("") is None


def test_guessing_locks_the_account_for_longer_and_longer(accounts: Accounts, clock: Clock) -> None:
    for _ in range(FREE_FAILURES):
        assert accounts.login("test.operator", "wrong") is None
    with pytest.raises(LockedError) as caught:
        accounts.login("test.operator", PASSWORD)
    assert caught.value.until == clock.now + datetime.timedelta(seconds=30)
    clock.go_on(minutes=0.5)
    assert accounts.login("test.operator", "wrong") is None
    with pytest.raises(LockedError) as caught:
        accounts.login("test.operator", PASSWORD)
    assert caught.value.until == clock.now + datetime.timedelta(seconds=60)
    clock.go_on(minutes=1)
    _login(accounts)
    for _ in range(FREE_FAILURES - 1):
        assert accounts.login("test.operator", "wrong") is None
    _login(accounts)


def test_a_lock_is_in_the_audit_log_and_not_each_wrong_password(
    accounts: Accounts, audit: HubAudit, clock: Clock
) -> None:
    _login(accounts)
    for _ in range(FREE_FAILURES):
        accounts.login("test.operator", "wrong", address="192.0.2.7")
    for _ in range(20):
        accounts.login("nobody", "wrong", address="192.0.2.7")
        with pytest.raises(LockedError):
            accounts.login("test.operator", "wrong", address="192.0.2.7")
    entries = audit.entries()[1:]
    assert [(entry.actor, entry.action, entry.subject) for entry in entries] == [
        ("test.operator", "user.log-in", "user:test.operator"),
        ("hub", "user.lock", "user:test.operator"),
    ]
    assert entries[1].detail == {
        "address": "192.0.2.7",
        "failures": FREE_FAILURES,
        "until": (clock.now + datetime.timedelta(seconds=30)).isoformat(),
    }
    assert audit.check().is_whole


def test_many_wrong_passwords_at_once_lock_once(accounts: Accounts, audit: HubAudit) -> None:
    begin = threading.Barrier(FREE_FAILURES * 2)

    def guess() -> None:
        begin.wait()
        with contextlib.suppress(LockedError):
            assert accounts.login("test.operator", "wrong") is None

    threads = [threading.Thread(target=guess) for _ in range(FREE_FAILURES * 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.action for entry in audit.entries()[1:]] == ["user.lock"]
    assert accounts.users()[0].failures == FREE_FAILURES


MEANWHILE: dict[str, Callable[[Accounts], object]] = {
    "another password": lambda accounts: accounts.set_password("test.operator", "một mật khẩu khác TEST"),
    "the same password": lambda accounts: accounts.set_password("test.operator", PASSWORD),
    "locked": lambda accounts: [accounts.login("test.operator", "wrong") for _ in range(FREE_FAILURES)],
    "removed": lambda accounts: accounts.remove_user("test.operator"),
}


@pytest.mark.parametrize("change", MEANWHILE)
def test_a_login_that_is_under_way_does_not_outlive_what_it_was_checked_against(
    accounts: Accounts, database: Database, audit: HubAudit, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    check = accounts_module._matches

    def check_and_wait(password: str, hashed: str) -> bool:
        right = check(password, hashed)
        # To check takes a while; this is what happens meanwhile.
        monkeypatch.setattr(accounts_module, "_matches", check)
        MEANWHILE[change](accounts)
        return right

    monkeypatch.setattr(accounts_module, "_matches", check_and_wait)
    assert accounts.login("test.operator", PASSWORD) is None
    with database.reading() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(HubSessionRow)) == 0
    assert "user.log-in" not in {entry.action for entry in audit.entries()}


def test_a_role_that_changes_during_a_login_counts(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = accounts_module._matches

    def check_and_wait(password: str, hashed: str) -> bool:
        accounts.set_role("test.operator", Role.VIEWER)
        return check(password, hashed)

    monkeypatch.setattr(accounts_module, "_matches", check_and_wait)
    session = _login(accounts)
    assert session.principal.role is Role.VIEWER
    assert accounts.session(session.token) == session.principal


def test_who_is_not_let_in_costs_the_same_work(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(FREE_FAILURES):
        accounts.login("test.operator", "wrong")
    accounts.add_user("test.other", PASSWORD, Role.VIEWER)
    work = []
    hashing = accounts_module._scrypt

    def counted(password: str, salt: bytes, cost: int) -> bytes:
        work.append(cost)
        return hashing(password, salt, cost)

    monkeypatch.setattr(accounts_module, "_scrypt", counted)
    costs = []
    for name in ("test.operator", "test.other", "nobody", "' OR 1=1 --"):
        work.clear()
        with contextlib.suppress(LockedError):
            assert accounts.login(name, "wrong") is None
        costs.append(tuple(work))
    assert len(set(costs)) == 1
    assert len(costs[0]) == 1


def test_only_names_that_there_are_get_into_the_log(accounts: Accounts) -> None:
    token_id, token = accounts.add_token("TEST", Role.VIEWER)
    assert accounts.known_name("test.operator") == "test.operator"
    assert accounts.known_token(f"vnedoc_{token_id}_wrong") == f"token:{token_id}"
    for text in (PASSWORD, "nobody", "", token):
        assert accounts.known_name(text) is None
    for text in ("", "vnedoc_", "vnedoc_00000000_wrong", PASSWORD, token_id, token.upper()):
        assert accounts.known_token(text) is None


def test_a_new_password_or_role_logs_out(accounts: Accounts) -> None:
    token = _login(accounts).token
    accounts.set_password("test.operator", "một mật khẩu khác TEST")
    assert accounts.session(token) is None
    assert accounts.login("test.operator", PASSWORD) is None
    token = _login(accounts, "một mật khẩu khác TEST").token
    accounts.set_role("test.operator", Role.VIEWER)
    assert accounts.session(token) is None
    accounts.remove_user("test.operator")
    assert accounts.login("test.operator", "một mật khẩu khác TEST") is None


@pytest.mark.parametrize("password", ["short", "x" * 40, "my test.operator password", "y" * 257])
def test_passwords_that_will_not_do(accounts: Accounts, password: str) -> None:
    with pytest.raises(UsageError):
        accounts.set_password("test.operator", password)
    _login(accounts)


@pytest.mark.parametrize("name", ["", "a", "Tên", "a b", "x" * 65, "test.operator"])
def test_names_that_will_not_do(accounts: Accounts, name: str) -> None:
    with pytest.raises(UsageError):
        accounts.add_user(name, "một mật khẩu tốt", Role.VIEWER)
    assert [user.name for user in accounts.users()] == ["test.operator"]


def test_what_is_not_there_says_so(accounts: Accounts) -> None:
    for call in (
        lambda: accounts.remove_user("nobody"),
        lambda: accounts.set_role("nobody", Role.ADMIN),
        lambda: accounts.set_password("nobody", "một mật khẩu tốt"),
        lambda: accounts.remove_token("00000000"),
    ):
        with pytest.raises(ConfigurationError):
            call()


def test_a_program_gets_in_with_its_token_until_it_ends(accounts: Accounts, clock: Clock) -> None:
    token_id, token = accounts.add_token("backup TEST", Role.VIEWER, lasts=datetime.timedelta(days=1))
    principal = accounts.bearer(token)
    assert principal is not None
    assert (principal.name, principal.role, principal.csrf) == (f"token:{token_id}", Role.VIEWER, "")
    assert accounts.bearer(token[:-1]) is None
    assert accounts.session(token) is None, "a token is no session"
    clock.go_on(minutes=24 * 60)
    assert accounts.bearer(token) is None
    forever_id, forever = accounts.add_token("TEST", Role.ADMIN)
    accounts.remove_token(forever_id)
    assert accounts.bearer(forever) is None


def test_a_hash_is_dear(
    database: Database, tmp_path: Path, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    accounts.set_password("test.operator", PASSWORD)
    (user,) = accounts.users()
    assert user.password.startswith("scrypt$16384$")
    _login(accounts)


def test_a_stolen_database_lets_nobody_in(accounts: Accounts, database: Database) -> None:
    session = _login(accounts)
    _, token = accounts.add_token("TEST", Role.ADMIN)
    kept = []
    with database.engine.connect() as connection:
        for table in ("hub_users", "hub_sessions", "hub_tokens"):
            kept += [
                str(value) for row in connection.execute(sa.text(f"SELECT * FROM {table}")) for value in row
            ]
    text = " ".join(kept)
    for secret in (PASSWORD, session.token, token):
        assert secret not in text
    assert "scrypt$" in text
