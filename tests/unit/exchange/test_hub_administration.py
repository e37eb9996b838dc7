"""What people change at a hub, and that nothing changes without an entry in the audit log."""

import concurrent.futures
import datetime

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from tests.clocks import NOW, Clock
from tests.hubs import fill, take
from vnedoc.agencies import Agency, AgencyDirectory
from vnedoc.errors import ConfigurationError, UsageError, VnedocError
from vnedoc.exchange.codes import PackageKind
from vnedoc.exchange.hub.accounts import Accounts, Role
from vnedoc.exchange.hub.administration import Administration, checked_certificates, checked_networks
from vnedoc.exchange.hub.audit import FIRST_HASH, AuditHead
from vnedoc.exchange.hub.secret_keys import key_of
from vnedoc.exchange.states import TransportStatus
from vnedoc.exchange.stores.hub import (
    ClosedRecipientsError,
    HubAgency,
    HubStore,
    UnknownRecipientsError,
    UnknownSenderError,
)
from vnedoc.exchange.stores.hub_administration import Once
from vnedoc.exchange.stores.hub_audit import HubAudit
from vnedoc.exchange.stores.hub_deliveries import HubDeliveries
from vnedoc.exchange.stores.hub_traffic import HubTraffic, MessageFilter, code_level

FINGERPRINT = "AB:" * 31 + "AB"


@pytest.fixture
def store(hub_store: HubStore) -> HubStore:
    return hub_store


@pytest.fixture
def admin(store: HubStore, clock: Clock) -> Administration:
    return Administration(store, actor="test.admin", clock=clock)


@pytest.fixture
def audit(store: HubStore) -> HubAudit:
    return HubAudit(store.database)


def _keys(store: HubStore, clock: Clock, system_id: str = "TEST.A") -> tuple[bytes, ...]:
    access = store.system_secrets.access(system_id, at=clock())
    assert access is not None
    return access.keys


def keys(*secrets: str) -> tuple[bytes, ...]:
    return tuple(map(key_of, secrets))


def _code(call) -> str:
    with pytest.raises(VnedocError) as caught:
        call()
    return caught.value.code


# Systems


def test_a_system_is_added_changed_and_disabled(store, admin, audit, clock) -> None:
    record, made = admin.add_system(
        "TEST.A", name="Hệ thống TEST", networks=["10.1.0.0/16", "10.1.0.0/16", "fd00::/8"]
    )
    assert len(made.secret) == 72
    assert made.secret not in repr(made)
    assert (record.networks, record.version, record.agency_count) == (("10.1.0.0/16", "fd00::/8"), 1, 0)
    assert [item.id for item in record.secrets] == [made.id]
    assert _keys(store, clock) == keys(made.secret)

    record = admin.change_system("TEST.A", certificates=[FINGERPRINT], networks=[], version=1)
    assert (record.networks, record.certificates, record.version) == ((), ("ab" * 32,), 2)
    assert admin.change_system("TEST.A", networks=[]).version == 2, "nothing changed"
    access = store.system_secrets.access("TEST.A", at=clock())
    assert (access.networks, access.certificates, access.is_disabled) == ((), ("ab" * 32,), False)

    assert admin.change_system("TEST.A", disabled=True).disabled_at == NOW
    assert _keys(store, clock) == ()
    assert admin.change_system("TEST.A", disabled=False).disabled_at is None
    assert _keys(store, clock) == keys(made.secret)
    assert [(entry.actor, entry.action, entry.subject) for entry in audit.entries()] == [
        ("test.admin", "system.add", "system:TEST.A"),
        *[("test.admin", "system.change", "system:TEST.A")] * 3,
    ]
    assert made.secret not in str(audit.entries())


def test_two_administrators_do_not_overwrite_each_other(admin, audit) -> None:
    admin.add_system("TEST.A")
    admin.change_system("TEST.A", name="one", version=1)
    assert _code(lambda: admin.change_system("TEST.A", name="two", version=1)) == "hub.outdated"
    assert _code(lambda: admin.rotate_secret("TEST.A", version=1)) == "hub.outdated"
    assert admin.system("TEST.A").name == "one"
    assert len(audit.entries()) == 2, "what was refused is not in the log"


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda admin: admin.add_system("TEST.A"), "hub.system-exists"),
        (lambda admin: admin.add_system("TEST A"), "hub.bad-system-id"),
        (lambda admin: admin.add_system("x" * 65), "hub.bad-system-id"),
        (lambda admin: admin.add_system("TEST.C", secret="S" * 64), "hub.bad-secret"),
        (lambda admin: admin.add_system("TEST.C", secret="khóa bí mật TEST " * 5), "hub.bad-secret"),
        (lambda admin: admin.rotate_secret("TEST.A", secret="S" * 64), "hub.bad-secret"),
        (lambda admin: admin.add_system("TEST.C", networks=["10.1.0.1/16"]), "hub.network-host-bits"),
        (lambda admin: admin.add_system("TEST.C", networks=["2001:db8::1/32"]), "hub.network-host-bits"),
        (lambda admin: admin.add_system("TEST.C", networks=["0/0/0"]), "hub.bad-network"),
        (lambda admin: admin.add_system("TEST.C", certificates=["ab" * 20]), "hub.bad-fingerprint"),
        (lambda admin: admin.add_system("TEST.C", name="x" * 501), "hub.bad-name"),
        (lambda admin: admin.change_system("TEST.C", name="x"), "hub.unknown-system"),
        (lambda admin: admin.change_system("TEST.A", name="  "), "hub.bad-name"),
        (lambda admin: admin.rotate_secret("TEST.C"), "hub.unknown-system"),
        (lambda admin: admin.rotate_secret("TEST.A", overlap=datetime.timedelta(days=91)), "hub.bad-overlap"),
        (lambda admin: admin.rotate_secret("TEST.A", overlap=datetime.timedelta(-1)), "hub.bad-overlap"),
        (lambda admin: admin.remove_secret("TEST.A", "00000000"), "hub.no-secret-id"),
        (lambda admin: admin.system("TEST.C"), "hub.unknown-system"),
        (lambda admin: admin.agency("H00"), "hub.no-agency"),
        (lambda admin: admin.register_agencies("TEST.C", [HubAgency("H97", "TEST")]), "hub.unknown-system"),
        (
            lambda admin: admin.register_agencies("TEST.A", [HubAgency("H" * 65, "TEST")]),
            "hub.bad-agency-code",
        ),
        (lambda admin: admin.register_agencies("TEST.A", [HubAgency("", "TEST")]), "hub.bad-agency-code"),
        (lambda admin: admin.remove_agency("H00"), "hub.no-agency"),
        (lambda admin: admin.close_agency("H00", on=NOW.date()), "hub.no-agency"),
        (lambda admin: admin.close_agency("H99", on=NOW.date(), successor="H00"), "hub.no-agency"),
        (lambda admin: admin.close_agency("H99", on=NOW.date(), forwards=True), "hub.forwards-to-nobody"),
        (lambda admin: admin.close_agency("H99", on=NOW.date(), successor="H99"), "hub.succession-circle"),
        (lambda admin: admin.close_agency("H99", on=NOW.date(), version=9), "hub.outdated"),
        (lambda admin: admin.reopen_agency("H99", version=9), "hub.outdated"),
        (lambda admin: admin.retry_deliveries(["x"] * 1001), "hub.too-many-deliveries"),
    ],
)
def test_what_is_wrong_changes_nothing(admin, audit, call, code) -> None:
    fill(admin)
    before = (admin.systems(), admin.rows.agencies(), audit.entries())
    assert _code(lambda: call(admin)) == code
    assert (admin.systems(), admin.rows.agencies(), audit.entries()) == before


def test_lists_have_limits() -> None:
    networks = [f"10.0.{number}.0/24" for number in range(101)]
    assert len(checked_networks(networks[:100])) == 100
    with pytest.raises(UsageError):
        checked_networks(networks)
    with pytest.raises(UsageError):
        checked_certificates([f"{number:064x}" for number in range(101)])


# Secrets


def test_two_secrets_are_good_during_a_rotation(store, admin, clock) -> None:
    _, first = admin.add_system("TEST.A")
    clock.go_on(hours=1)
    second = admin.rotate_secret("TEST.A", overlap=datetime.timedelta(hours=2))
    assert second.older_until == clock() + datetime.timedelta(hours=2)
    assert _keys(store, clock) == keys(second.secret, first.secret)
    assert [item.id for item in admin.system("TEST.A").secrets] == [second.id, first.id]
    clock.go_on(hours=1)
    third = admin.rotate_secret("TEST.A", overlap=datetime.timedelta(hours=5))
    assert _keys(store, clock) == keys(third.secret, second.secret), "two, not three"
    clock.go_on(hours=5)
    assert _keys(store, clock) == keys(third.secret)
    assert [item.id for item in admin.system("TEST.A").secrets] == [third.id]
    fourth = admin.rotate_secret("TEST.A", overlap=datetime.timedelta(0))
    assert _keys(store, clock) == keys(fourth.secret)
    assert fourth.older_until is None


def test_a_rotation_never_prolongs_an_older_end(store, admin, clock) -> None:
    _, first = admin.add_system("TEST.A")
    admin.rotate_secret("TEST.A", overlap=datetime.timedelta(hours=1))
    new = admin.rotate_secret("TEST.A", overlap=datetime.timedelta(days=1))
    assert key_of(first.secret) not in _keys(store, clock)
    assert new.older_until == NOW + datetime.timedelta(days=1)


def test_a_leaked_secret_ends_at_once_but_not_the_last(store, admin, clock) -> None:
    _, first = admin.add_system("TEST.A")
    assert _code(lambda: admin.remove_secret("TEST.A", first.id)) == "hub.last-secret"
    second = admin.rotate_secret("TEST.A")
    assert _code(lambda: admin.remove_secret("TEST.A", second.id)) == "hub.last-secret"
    admin.remove_secret("TEST.A", first.id)
    assert _keys(store, clock) == keys(second.secret)


# Agencies


def test_agencies_are_registered_moved_and_removed(store, admin, audit) -> None:
    fill(admin)
    renamed = HubAgency("H98", "TÊN MỚI TEST", old_code="000.00.00.H98")
    done = admin.register_agencies("TEST.B", [HubAgency("H99.1", "SỞ TEST"), renamed])
    assert (done.count, done.added, set(done.changed)) == (2, (), {"H99.1", "H98"})
    assert done.moved == {"H99.1": "TEST.A"}
    assert admin.agency("H99.1").system_id == "TEST.B"
    assert (admin.agency("H98").name, admin.agency("H98").version) == ("TÊN MỚI TEST", 2)
    entry = audit.entries()[-1]
    assert (entry.action, entry.detail["moved"]) == ("agency.register", {"H99.1": "TEST.A"})
    before = len(audit.entries())
    assert admin.register_agencies("TEST.B", [HubAgency("H99.1", "SỞ TEST")]).touched == ()
    assert len(audit.entries()) == before

    assert [item.code for item in admin.rows.agencies(system_id="TEST.B")] == ["H98", "H98.1", "H99.1"]
    assert [item.code for item in admin.rows.agencies(text="000.00")] == ["H98"]
    assert [item.code for item in admin.rows.agencies(text="%")] == []
    assert [item.code for item in admin.rows.agencies(after="H98.1", limit=1)] == ["H99"]

    take(store, 1, "H98.1")
    assert _code(lambda: admin.remove_agency("H98.1")) == "hub.agency-in-use"
    admin.remove_agency("H99.1")
    assert _code(lambda: admin.agency("H99.1")) == "hub.no-agency"


def test_many_agencies_in_one_transaction(admin, audit) -> None:
    admin.add_system("TEST.A")
    many = [HubAgency(f"H99.{number}", f"CƠ QUAN TEST {number}") for number in range(1, 1802)]
    assert len(admin.register_agencies("TEST.A", many).added) == 1801
    entry = audit.entries()[-1]
    assert (entry.detail["added"], len(entry.detail["codes"])) == (1801, 100)
    assert admin.system("TEST.A").agency_count == 1801


def test_a_closed_agency_is_answered_for_with_its_successor(store, admin) -> None:
    fill(admin)
    day = datetime.date(2026, 12, 1)
    record = admin.close_agency("H98", on=day, successor="H98.1")
    assert (record.closed_on, record.successor_code, record.forwards, record.version) == (
        day,
        "H98.1",
        False,
        2,
    )
    # Until the evening before in Vietnam, which is still the day before in UTC.
    last = datetime.datetime(2026, 11, 30, 16, 59, tzinfo=datetime.UTC)
    take(store, 1, "H98", at=last)
    with pytest.raises(ClosedRecipientsError) as caught:
        take(store, 2, "H98", "H98.1", at=last + datetime.timedelta(minutes=1))
    assert caught.value.agencies == (("H98", "H98.1"),)
    with pytest.raises(ClosedRecipientsError) as caught:
        take(store, 2, "000.00.00.H98", at=last + datetime.timedelta(minutes=1))
    assert caught.value.agencies == (("000.00.00.H98", "H98.1"),)
    assert store.stats().documents == 1, "nothing of it was taken"
    assert [agency.code for agency in store.agencies(on=day)] == ["H98.1", "H99", "H99.1"]
    assert len(store.agencies()) == 4

    admin.reopen_agency("H98")
    take(store, 3, "H98", at=last + datetime.timedelta(minutes=1))


def test_packages_go_on_to_the_successor_if_it_is_said_so(store, admin) -> None:
    fill(admin)
    day = datetime.date(2026, 11, 1)
    admin.close_agency("H98", on=day, successor="H98.1", forwards=True)
    admin.close_agency("H98.1", on=day, successor="H99.1", forwards=True)
    message = take(store, 1, "000.00.00.H98", "H98.1", "H99.1")
    detail = HubTraffic(store).message(message)
    assert [item.recipient_code for item in detail.recipients] == ["H99.1"]
    assert [item.sender_code for item in store.waiting("TEST.A", PackageKind.DOCUMENT)] == ["H99"]
    assert [agency.code for agency in store.agencies(on=day)] == ["H98", "H98.1", "H99", "H99.1"]
    # One who is gone for good ends the chain.
    admin.close_agency("H98.1", on=day, successor="H99.1")
    with pytest.raises(ClosedRecipientsError):
        take(store, 2, "H98")


def test_nobody_succeeds_themselves_by_others(admin) -> None:
    fill(admin)
    day = datetime.date(2026, 11, 1)
    admin.close_agency("H98", on=day, successor="H98.1", forwards=True)
    admin.close_agency("H98.1", on=day, successor="H99", forwards=True)
    with pytest.raises(UsageError) as caught:
        admin.close_agency("H99", on=day, successor="H98", forwards=True)
    assert caught.value.values["chain"] == "H99 → H98 → H98.1 → H99"


def test_unknown_agencies_and_strange_senders_are_what_they_were(store, admin) -> None:
    fill(admin)
    with pytest.raises(UnknownRecipientsError):
        take(store, 1, "H98", "H00")
    with pytest.raises(UnknownSenderError):
        take(store, 1, "H98", sender="H98.1")


def test_a_directory_registers_who_is_there_and_closes_who_ends(admin, audit) -> None:
    fill(admin)
    directory = AgencyDirectory(
        [
            Agency("H99", "UBND TEST MỚI"),
            Agency("H99.1", "SỞ TEST", valid_to=datetime.date(2026, 6, 30), successor="H99.2"),
            Agency("H99.2", "SỞ TEST HAI", valid_from=datetime.date(2026, 7, 1)),
            Agency("H99.3", "SỞ TEST BA", valid_to=datetime.date(2026, 12, 31), successor="H00"),
            Agency("H99.4", "SỞ TEST BỐN", valid_to=datetime.date(2020, 12, 31)),
            Agency("H98", "UBND TEST 98", valid_to=datetime.date(2020, 12, 31)),
        ]
    )
    done, closed = admin.import_directory("TEST.A", directory)
    assert set(done.added) == {"H99.2", "H99.3"}
    assert set(done.changed) == {"H99"}
    assert set(closed) == {"H99.1", "H99.3"}
    gone = admin.agency("H99.1")
    assert (gone.closed_on, gone.successor_code, gone.forwards) == (datetime.date(2026, 7, 1), "H99.2", False)
    assert (admin.agency("H99.3").closed_on, admin.agency("H99.3").successor_code) == (
        datetime.date(2027, 1, 1),
        None,
    )
    assert admin.agency("H98").closed_on is None, "another system's"
    assert _code(lambda: admin.agency("H99.4")) == "hub.no-agency"
    before = audit.entries()
    assert admin.import_directory("TEST.A", directory)[1] == ()
    assert audit.entries() == before, "the same again changes nothing"
    with pytest.raises(ConfigurationError):
        admin.import_directory("TEST.A", directory, only=["H99.4"])


# Deliveries


def test_what_failed_is_tried_again(store, admin, audit, clock) -> None:
    fill(admin)
    message = take(store, 1, "H98", "H98.1", "H99.1")
    ids = {item.recipient_code: item.doc_id for item in HubTraffic(store).message(message).recipients}
    with store.database.writing() as session:
        statement = sa.text(
            "UPDATE hub_deliveries SET status = :status, status_text = 'TEST' WHERE doc_id = :id"
        )
        session.execute(statement, {"status": "fail", "id": ids["H98"]})
        session.execute(statement, {"status": "done", "id": ids["H98.1"]})
        session.execute(statement, {"status": "parked", "id": ids["H99.1"]})
    clock.go_on(minutes=5)
    done = admin.retry_deliveries([ids["H98"], ids["H98.1"], "unknown", ids["H99.1"], ids["H98"]])
    assert done.again == (ids["H98"], ids["H99.1"])
    assert done.left == (ids["H98.1"], "unknown")
    states = {item.recipient_code: item for item in HubTraffic(store).message(message).recipients}
    assert (states["H98"].status, states["H98"].status_text, states["H98"].updated_at) == (
        "initial",
        None,
        clock(),
    )
    assert (states["H98.1"].status, states["H98.1"].status_text) == ("done", "TEST")
    assert [(entry.subject, entry.detail) for entry in audit.entries()[-2:]] == [
        (f"delivery:{ids['H98']}", {"was": "fail"}),
        (f"delivery:{ids['H99.1']}", {"was": "parked"}),
    ]
    assert admin.retry_deliveries([ids["H98"]]).again == ()


def test_what_is_tried_again_may_fail_as_often_as_before(store, admin, clock) -> None:
    fill(admin)
    message = take(store, 1, "H98")
    (delivery,) = HubTraffic(store).message(message).recipients
    deliveries = HubDeliveries(store.database)

    def fail() -> str:
        moved = deliveries.move(
            "TEST.B", delivery.doc_id, TransportStatus.FAIL, at=clock(), park_after_fails=2
        )
        return moved.status

    assert [fail(), fail()] == ["initial", "parked"]
    assert admin.retry_deliveries([delivery.doc_id]).again == (delivery.doc_id,)
    assert [fail(), fail()] == ["initial", "parked"]


# Once


def _once(key: str, content: str = "x") -> Once:
    return Once(key, f"{content:0>64}")


def test_the_same_call_is_made_once(store, admin, clock) -> None:
    def add(bound, _changes):
        return {"secret": bound.add_system("TEST.A")[1].secret}

    first, repeated = admin.once(_once("key-1"), add)
    assert not repeated
    assert admin.once(_once("key-1"), add) == (first, True)
    assert _code(lambda: admin.once(_once("key-1", "y"), add)) == "hub.other-request"
    assert _code(lambda: admin.once(_once("key-2"), add)) == "hub.system-exists"
    other = Administration(store, actor="test.other", clock=clock)
    assert _code(lambda: other.once(_once("key-1"), add)) == "hub.system-exists", "the answer is not theirs"
    with store.database.engine.connect() as connection:
        assert first["secret"] not in str(connection.execute(sa.text("SELECT * FROM hub_answers")).all())
    clock.go_on(hours=25)
    assert _code(lambda: admin.once(_once("key-1"), add)) == "hub.system-exists", "answers are forgotten"


def test_what_failed_is_not_remembered(admin) -> None:
    def fail(_bound, _changes):
        raise ConfigurationError("hub.no-key")

    assert _code(lambda: admin.once(_once("key-1"), fail)) == "hub.no-key"
    assert admin.once(_once("key-1"), lambda *_: {"ok": True}) == ({"ok": True}, False)


def test_the_same_call_at_the_same_time_is_made_once(store, admin) -> None:
    def add(bound, _changes):
        return {"secret": bound.add_system("TEST.A")[1].secret}

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: admin.once(_once("key-1"), add), range(6)))
    assert len({answer["secret"] for answer, _ in answers}) == 1
    assert sum(not repeated for _, repeated in answers) == 1


# The audit log


def test_accounts_and_tokens_are_in_the_log(store, audit, clock) -> None:
    accounts = Accounts(store, clock=clock).acting("test.admin")
    password = "một mật khẩu TEST"
    accounts.add_user("test.viewer", password, Role.VIEWER)
    accounts.set_role("test.viewer", Role.OPERATOR)
    accounts.set_password("test.viewer", password + "2")
    accounts.remove_user("test.viewer")
    token_id, token = accounts.add_token("sao lưu TEST", Role.VIEWER, lasts=datetime.timedelta(days=1))
    accounts.remove_token(token_id)
    entries = audit.entries()
    assert [(entry.actor, entry.action) for entry in entries] == [
        ("test.admin", action)
        for action in (
            "user.add",
            "user.change",
            "user.change",
            "user.remove",
            "access-token.add",
            "access-token.remove",
        )
    ]
    assert entries[1].detail == {"role": "operator", "password_changed": False}
    assert entries[2].detail == {"password_changed": True}
    text = str(entries)
    assert password not in text
    assert token not in text


def test_the_chain_holds_and_a_written_down_head_is_found(admin, audit) -> None:
    empty = audit.check()
    assert (empty.is_whole, empty.head) == (True, AuditHead(0, FIRST_HASH))
    fill(admin)
    check = audit.check(known_head=empty.head)
    assert check.is_whole
    assert check.head.number == 4
    admin.add_system("TEST.C")
    assert audit.check(known_head=AuditHead.parse(str(check.head))).is_whole
    assert not audit.check(known_head=AuditHead(4, "f" * 64)).is_whole
    assert not audit.check(known_head=AuditHead(99, "f" * 64)).is_whole
    for text in ("", "x", "4", "4:abc", "-1:" + "0" * 64, "9" * 30 + ":" + "0" * 64):
        with pytest.raises(UsageError):
            AuditHead.parse(text)


def test_many_processes_append_to_one_chain(store, audit, clock) -> None:
    def add(number: int) -> None:
        Administration(store, actor=f"test.{number}", clock=clock).add_system(f"TEST.{number}")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(24)))
    check = audit.check()
    assert check.is_whole
    assert check.head.number == 24


def _without_triggers(store: HubStore, *statements: str) -> None:
    """Do what somebody does who owns the database."""
    with store.database.engine.begin() as connection:
        if store.database.is_sqlite:
            connection.execute(sa.text("DROP TRIGGER IF EXISTS hub_audit_no_UPDATE"))
            connection.execute(sa.text("DROP TRIGGER IF EXISTS hub_audit_no_DELETE"))
        else:
            connection.execute(sa.text("DROP TRIGGER IF EXISTS hub_audit_no_change ON hub_audit"))
        for statement in statements:
            connection.execute(sa.text(statement))


@pytest.mark.parametrize("statement", ["UPDATE hub_audit SET actor = 'nobody'", "DELETE FROM hub_audit"])
def test_the_database_refuses_to_change_the_log(store, admin, audit, statement) -> None:
    fill(admin)
    with pytest.raises(exc.DBAPIError, match="append-only"), store.database.engine.begin() as connection:
        connection.execute(sa.text(statement))
    assert audit.check().is_whole


@pytest.mark.parametrize(
    ("statement", "wrong", "is_cut"),
    [
        ("UPDATE hub_audit SET actor = 'nobody' WHERE number = 2", (2,), False),
        ("UPDATE hub_audit SET detail = '{}' WHERE number = 3", (3,), False),
        ("UPDATE hub_audit SET detail = 'no json' WHERE number = 3", (3,), False),
        ("UPDATE hub_audit SET at = '2020-01-01 00:00:00+00:00' WHERE number = 1", (1,), False),
        ("UPDATE hub_audit SET hash = '" + "0" * 64 + "' WHERE number = 2", (2, 3), False),
        ("DELETE FROM hub_audit WHERE number = 2", (3,), False),
        ("DELETE FROM hub_audit WHERE number = 1", (2,), False),
        ("DELETE FROM hub_audit WHERE number = 4", (), True),
        ("UPDATE hub_audit_head SET number = 3", (), True),
        ("DELETE FROM hub_audit", (), True),
    ],
)
def test_whoever_changes_the_log_is_found_out(store, admin, audit, statement, wrong, is_cut) -> None:
    fill(admin)
    assert audit.check().is_whole
    _without_triggers(store, statement)
    check = audit.check()
    assert (check.wrong, check.is_cut, check.is_whole) == (wrong, is_cut, False)
    audit.entries()


def test_a_log_that_was_cut_and_set_back_shows_against_a_written_down_head(store, admin, audit) -> None:
    fill(admin)
    known, before = audit.check().head, audit.entries()[1].hash
    _without_triggers(
        store,
        "DELETE FROM hub_audit WHERE number > 2",
        f"UPDATE hub_audit_head SET number = 2, hash = '{before}'",
    )
    assert audit.check().is_whole, "the chain alone does not tell"
    assert not audit.check(known_head=known).is_whole


def test_entries_since_and_about(admin, audit, clock) -> None:
    fill(admin)
    clock.go_on(hours=1)
    admin.rotate_secret("TEST.B")
    assert [entry.action for entry in audit.entries(since=clock())] == ["secret.rotate"]
    assert [entry.number for entry in audit.entries(after=1, limit=2)] == [2, 3]
    assert {entry.subject for entry in audit.entries(subject="system:TEST.A")} == {"system:TEST.A"}


# Traffic


def test_messages_by_filter_and_page(store, admin, monkeypatch) -> None:
    fill(admin)
    times = [NOW + datetime.timedelta(minutes=number // 2) for number in range(6)]
    ids = [take(store, number, "H98", at=time) for number, time in enumerate(times)]
    other = take(
        store,
        7,
        "H99.1",
        sender="H98",
        system="TEST.B",
        kind=PackageKind.STATUS,
        at=NOW - datetime.timedelta(days=1),
    )
    traffic = HubTraffic(store)
    seen: list[str] = []
    before = None
    while page := traffic.messages(before=before, limit=2):
        seen += [item.id for item in page]
        before = (page[-1].received_at, page[-1].id)
    assert seen == [*sorted(ids, key=lambda item: (times[ids.index(item)], item), reverse=True), other]

    def found(**wanted) -> set[str]:
        return {item.id for item in traffic.messages(MessageFilter(**wanted))}

    assert found(kind=PackageKind.STATUS) == {other}
    assert found(sender_code="H98") == {other}
    assert found(recipient_code="H98") == set(ids)
    assert found(recipient_code="H98", status="done") == set()
    assert found(status="initial") == {*ids, other}
    assert found(system_id="TEST.A") == {*ids, other}, "as sender, and as recipient"
    assert found(system_id="TEST.C") == set()
    # Systems with many deliveries are asked about in another way, with the same outcome.
    monkeypatch.setattr("vnedoc.exchange.stores.hub_traffic._FEW", 1)
    assert found(system_id="TEST.A") == {*ids, other}
    assert found(system_id="TEST.B") == {*ids, other}
    assert found(system_id="TEST.C") == set()
    assert found(since=NOW) == set(ids)
    assert found(until=NOW) == {other}
    assert found(text="số 3") == {ids[3]}
    assert found(text="3/test") == {ids[3]}
    assert found(text="%") == set()
    assert traffic.messages()[0].deliveries == {"initial": 1}


def test_one_message_with_all_of_it(store, admin) -> None:
    fill(admin)
    message = take(store, 1, "000.00.00.H98", "H99.1")
    detail = HubTraffic(store).message(message)
    assert (detail.summary.id, detail.receipt, len(detail.sha256)) == (message, message, 64)
    assert [(item.recipient_code, item.system_id, item.status) for item in detail.recipients] == [
        ("H98", "TEST.B", "initial"),
        ("H99.1", "TEST.A", "initial"),
    ]
    assert HubTraffic(store).message("unknown") is None


def test_sums_by_day_and_level(store, admin) -> None:
    fill(admin)
    midnight = datetime.datetime(2026, 11, 20, 17, tzinfo=datetime.UTC)
    take(store, 1, "H98", at=midnight - datetime.timedelta(seconds=1))
    take(store, 2, "H98", "H98.1", at=midnight)
    take(store, 3, "H98", at=midnight, sender="H99.1")
    take(store, 4, "H98", at=midnight, kind=PackageKind.STATUS)
    sums = HubTraffic(store).days(first=datetime.date(2026, 11, 20), last=datetime.date(2026, 11, 21))
    assert [(item.day.day, item.level, item.kind.value, item.messages, item.deliveries) for item in sums] == [
        (20, 1, "document", 1, 1),
        (21, 1, "document", 1, 2),
        (21, 1, "status", 1, 1),
        (21, 2, "document", 1, 1),
    ]
    assert [item.payload_bytes for item in sums] == [1001, 1002, 1004, 1003]
    assert HubTraffic(store).days(first=datetime.date(2026, 11, 22), last=datetime.date(2026, 11, 22)) == []


@pytest.mark.parametrize(
    ("code", "level"),
    [
        ("H99", 1),
        ("H99.1", 2),
        ("H99.1.2", 3),
        ("000.00.00.H99", 1),
        ("000.00.17.H99", 2),
        ("001.02.17.H99", 4),
        ("x", None),
    ],
)
def test_levels_of_codes(code, level) -> None:
    assert code_level(code) == level
