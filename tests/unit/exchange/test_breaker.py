import datetime

import pytest

from vnedoc.exchange._breaker import BreakerState, CircuitBreaker

NOW = datetime.datetime(2026, 11, 20, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)


@pytest.fixture
def open_breaker():
    breaker = CircuitBreaker()
    for _ in range(5):
        assert breaker.try_enter(NOW)
        breaker.note_failure(NOW)
    return breaker


def test_five_failures_in_a_row_open_it_for_a_minute(open_breaker):
    assert open_breaker.state(NOW) is BreakerState.OPEN
    assert not open_breaker.try_enter(NOW + datetime.timedelta(seconds=59))
    assert open_breaker.closes_at() == NOW + MINUTE


def test_a_success_between_failures_keeps_it_closed():
    breaker = CircuitBreaker()
    for _ in range(20):
        for _ in range(4):
            breaker.note_failure(NOW)
        breaker.note_success()
    assert breaker.state(NOW) is BreakerState.CLOSED


def test_after_a_minute_one_call_may_find_out(open_breaker):
    later = NOW + MINUTE
    assert open_breaker.state(later) is BreakerState.HALF_OPEN
    assert [open_breaker.try_enter(later) for _ in range(3)] == [True, False, False]


def test_a_probe_that_succeeds_closes_it(open_breaker):
    assert open_breaker.try_enter(NOW + MINUTE)
    open_breaker.note_success()
    assert open_breaker.state(NOW + MINUTE) is BreakerState.CLOSED
    assert open_breaker.closes_at() is None


def test_a_probe_that_fails_opens_it_for_another_minute(open_breaker):
    assert open_breaker.try_enter(NOW + MINUTE)
    open_breaker.note_failure(NOW + MINUTE)
    assert not open_breaker.try_enter(NOW + MINUTE * 1.5)
    assert open_breaker.try_enter(NOW + MINUTE * 2)


def test_a_probe_that_said_nothing_lets_the_next_one_in(open_breaker):
    assert open_breaker.try_enter(NOW + MINUTE)
    open_breaker.note_nothing()
    assert open_breaker.try_enter(NOW + MINUTE)


def test_a_probe_whose_thread_died_does_not_block_for_ever(open_breaker):
    assert open_breaker.try_enter(NOW + MINUTE)
    assert not open_breaker.try_enter(NOW + MINUTE * 1.9)
    assert open_breaker.try_enter(NOW + MINUTE * 2)


def test_a_clock_that_was_set_back_does_not_keep_it_open(open_breaker):
    assert open_breaker.try_enter(NOW - datetime.timedelta(days=1))
