"""Time is aware, UTC inside, and Vietnam time where people write it."""

import datetime

import pytest

from vnedoc._internal.clock import as_utc, parse_time, utc_now, vietnam
from vnedoc.errors import UsageError

MOMENT = datetime.datetime(2026, 11, 21, 10, 26, 56, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    "value",
    ["2026-11-21T10:26:56Z", "2026-11-21T17:26:56+07:00", "2026-11-21T17:26:56", "2026-11-21 17:26:56"],
)
def test_what_people_write(value: str) -> None:
    assert parse_time(value) == MOMENT


def test_a_day_begins_in_vietnam() -> None:
    assert parse_time("2026-11-21") == datetime.datetime(2026, 11, 20, 17, tzinfo=datetime.UTC)


@pytest.mark.parametrize("value", ["", "yesterday", "21/11/2026"])
def test_what_is_no_time_is_refused(value: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_time(value)
    assert caught.value.code == "usage.not-a-time"


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        as_utc(datetime.datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake under test
    assert caught.value.code == "usage.naive-time"


def test_vietnam_time() -> None:
    assert vietnam(MOMENT).isoformat() == "2026-11-21T17:26:56+07:00"
    assert utc_now().tzinfo is datetime.UTC
