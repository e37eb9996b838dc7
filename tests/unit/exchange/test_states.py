import itertools

import pytest

from vnedoc.exchange.states import (
    CHANGE_CODES,
    PROGRESS_CODES,
    BusinessState,
    DeliveryState,
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
