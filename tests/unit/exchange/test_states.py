import functools
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vnedoc.exchange.states import (
    CHANGE_CODES,
    IN_OUTBOX,
    PROGRESS_CODES,
    BusinessState,
    DeliveryState,
    OverallState,
    TransportStatus,
)


def test_transport_moves_forward():
    assert TransportStatus.INITIAL.may_become(TransportStatus.PROCESSING)
    assert TransportStatus.INITIAL.may_become(TransportStatus.DONE)
    assert TransportStatus.PROCESSING.may_become(TransportStatus.FAIL)
    assert TransportStatus.DONE.may_become(TransportStatus.DONE)


@pytest.mark.parametrize(
    ("current", "new"),
    [
        (TransportStatus.PROCESSING, TransportStatus.INITIAL),
        (TransportStatus.DONE, TransportStatus.PROCESSING),
        (TransportStatus.DONE, TransportStatus.FAIL),
        (TransportStatus.FAIL, TransportStatus.DONE),
    ],
)
def test_transport_never_moves_backwards(current, new):
    assert not current.may_become(new)
    assert current.joined(new) is current


@pytest.mark.parametrize(
    ("current", "new"),
    [
        (DeliveryState.DELIVERED, DeliveryState.SENT),
        (DeliveryState.SENT, DeliveryState.QUEUED),
        (DeliveryState.REFUSED, DeliveryState.SENT),
        (DeliveryState.DELIVERED, DeliveryState.FAILED),
        (DeliveryState.QUARANTINED, DeliveryState.ACCEPTED),
    ],
)
def test_delivery_never_moves_backwards(current, new):
    assert not current.may_become(new)
    assert current.joined(new) is current


def test_a_report_of_the_recipient_overtakes_the_receipt_of_the_axis():
    assert DeliveryState.QUEUED.joined(DeliveryState.DELIVERED) is DeliveryState.DELIVERED
    assert DeliveryState.FAILED.joined(DeliveryState.DELIVERED) is DeliveryState.DELIVERED


def test_no_cycle_in_any_state():
    for kind in (DeliveryState, TransportStatus):
        for one, other in itertools.permutations(kind, 2):
            assert not (one.may_become(other) and other.may_become(one)), (one, other)


@pytest.mark.parametrize("codes", list(itertools.permutations(["01", "03", "05", "06"])))
def test_progress_is_the_same_in_any_order(codes):
    state = BusinessState()
    for code in codes:
        state = state.joined(code)
    assert state == BusinessState("06")


@pytest.mark.parametrize("codes", list(itertools.permutations(["01", "02", "03"])))
def test_a_refusal_is_never_hidden(codes):
    state = BusinessState()
    for code in codes:
        state = state.joined(code)
    assert state.progress == "02"


def test_processing_may_be_repeated_and_others_not():
    assert BusinessState("05").may_take("05")
    assert not BusinessState("03").may_take("03")
    assert not BusinessState("06").may_take("05")


def test_taking_back_is_a_lane_of_its_own():
    state = BusinessState("03").joined("13")
    assert state == BusinessState("03", "13")
    assert state.joined("16") == BusinessState("03", "16")
    assert state.joined("16").joined("13").joined("15") == BusinessState("03", "15")
    assert state.joined("15").joined("16") == BusinessState("03", "15")
    assert state.joined("06") == BusinessState("06", "13")


@pytest.mark.parametrize("code", ["", "00", "07", "14", "103", "999", "1", "done"])
def test_unknown_codes_change_nothing(code):
    assert not BusinessState().may_take(code)
    assert BusinessState("03").joined(code) == BusinessState("03")


def test_every_status_code_of_the_standard_has_a_lane():
    from vnedoc.exchange.codes import StatusCode

    assert {str(code) for code in StatusCode} == PROGRESS_CODES | CHANGE_CODES
    assert not PROGRESS_CODES & CHANGE_CODES


# The outbox and several recipients


def test_work_in_the_outbox_goes_round_and_news_does_not():
    assert DeliveryState.QUEUED.may_step(DeliveryState.SENDING)
    assert DeliveryState.SENDING.may_step(DeliveryState.WAITING)
    assert DeliveryState.WAITING.may_step(DeliveryState.SENDING)
    assert DeliveryState.PARKED.may_step(DeliveryState.QUEUED)
    assert DeliveryState.EXPIRED.may_step(DeliveryState.QUEUED)
    assert not DeliveryState.WAITING.may_become(DeliveryState.QUEUED)
    assert not DeliveryState.PARKED.may_step(DeliveryState.SENDING)


@pytest.mark.parametrize("state", sorted(IN_OUTBOX))
def test_what_is_in_the_outbox_may_be_confirmed_refused_or_taken_back(state):
    for new in (DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.REFUSED, DeliveryState.RECALLED):
        assert state.joined(new) is new


@pytest.mark.parametrize("state", sorted(set(DeliveryState) - IN_OUTBOX))
def test_what_left_the_outbox_never_comes_back(state):
    for new in IN_OUTBOX:
        assert not state.may_step(new)


def test_only_what_came_in_can_be_cancelled():
    able = {state for state in DeliveryState if state.may_become(DeliveryState.CANCELLED)}
    assert able == {DeliveryState.ACCEPTED, DeliveryState.QUARANTINED, DeliveryState.CANCELLED}


def test_what_is_in_quarantine_is_never_let_in_by_news():
    able = {state for state in DeliveryState if DeliveryState.QUARANTINED.may_become(state)}
    assert able == {DeliveryState.QUARANTINED, DeliveryState.CANCELLED}


@given(st.lists(st.sampled_from(sorted(DeliveryState)), max_size=12), st.sampled_from(sorted(DeliveryState)))
def test_delivery_never_visits_a_state_twice(news, state):
    visited = [state]
    for new in news:
        state = state.joined(new)
        if state is not visited[-1]:
            visited.append(state)
    assert len(set(visited)) == len(visited)


@given(st.lists(st.sampled_from(sorted(TransportStatus)), min_size=1, max_size=12))
def test_transport_never_moves_backwards_whatever_comes(news):
    rank = {"initial": 0, "processing": 1, "done": 2, "fail": 2}
    status, seen = news[0], [news[0]]
    for new in news[1:]:
        status = status.joined(new)
        seen.append(status)
    assert [rank[item] for item in seen] == sorted(rank[item] for item in seen)
    ends = {item for item in seen if rank[item] == 2}
    assert len(ends) <= 1, "an end is final"


@given(st.data())
def test_progress_is_the_same_in_any_order_and_with_any_repetition(data):
    codes = data.draw(st.lists(st.sampled_from(["01", "02", "03", "04", "05", "06"]), min_size=1, max_size=8))
    late = data.draw(st.permutations(codes + codes[:3]))
    first = functools.reduce(BusinessState.joined, codes, BusinessState())
    second = functools.reduce(BusinessState.joined, late, BusinessState())
    assert first == second
    order = ["01", "03", "04", "05", "06", "02"]
    assert first.progress == max(codes, key=order.index)


@given(st.lists(st.sampled_from(["01", "03", "06", "13", "15", "16", "07", "999"]), max_size=12))
def test_an_agreement_is_final_and_the_lanes_do_not_disturb_each_other(codes):
    state = BusinessState()
    agreed = False
    for code in codes:
        before, state = state, state.joined(code)
        assert code in CHANGE_CODES or before.change == state.change
        assert code in PROGRESS_CODES or before.progress == state.progress
        agreed = agreed or code == "15"
        assert not agreed or state.change == "15"


@pytest.mark.parametrize(
    ("states", "overall"),
    [
        (["queued", "delivered"], OverallState.PENDING),
        (["sending", "refused"], OverallState.PENDING),
        (["waiting", "failed"], OverallState.PENDING),
        (["failed", "delivered"], OverallState.FAILED),
        (["parked"], OverallState.FAILED),
        (["expired", "sent"], OverallState.FAILED),
        (["sent", "delivered"], OverallState.SENT),
        (["delivered", "delivered"], OverallState.DELIVERED),
        (["recalled", "recalled"], OverallState.RECALLED),
        (["recalled", "delivered"], OverallState.DELIVERED),
    ],
)
def test_the_overall_state_of_several_recipients(states, overall):
    for order in itertools.permutations(states):
        assert OverallState.of(DeliveryState(state) for state in order) is overall


def test_transport_has_ended_where_no_other_status_may_follow():
    for status in TransportStatus:
        assert status.has_ended == (
            not any(status.may_become(other) for other in set(TransportStatus) - {status})
        )
