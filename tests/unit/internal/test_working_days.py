import datetime

import pytest

from vnedoc._internal.working_days import WorkingCalendar, load_calendar
from vnedoc.errors import ConfigurationError

day = datetime.date.fromisoformat


@pytest.mark.parametrize(
    ("date", "worked"),
    [
        ("2026-11-20", True),  # a Friday
        ("2026-11-21", False),  # a Saturday
        ("2026-11-22", False),
        ("2025-05-02", False),  # moved to 26 April
        ("2025-04-26", True),  # a Saturday that was worked for it
        ("2026-09-02", False),  # National Day
        ("2026-02-17", False),  # Tết
    ],
)
def test_holidays_and_days_worked_in_exchange(date, worked):
    assert WorkingCalendar().is_working_day(day(date)) is worked


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("2025-04-25", "2025-04-26"),
        ("2025-04-29", "2025-05-05"),
        ("2026-02-13", "2026-02-23"),
        ("2026-08-21", "2026-08-22"),
        ("2019-10-30", "2019-10-31"),
    ],
)
def test_the_next_working_day(after, expected):
    assert WorkingCalendar().next_working_day(day(after)) == day(expected)


def test_the_calendar_of_an_agency_wins(tmp_path):
    path = tmp_path / "calendar.toml"
    path.write_text("closed = [2026-11-23]\nworked = [2026-11-22]\nmorning_ends = 12:00:00\n")
    calendar = load_calendar(path)
    assert calendar.next_working_day(day("2026-11-20")) == day("2026-11-22")
    assert calendar.next_working_day(day("2026-11-22")) == day(
        "2026-11-25"
    )  # the 24th is a holiday from 2026
    assert calendar.end_of_morning(day("2026-11-22")) == datetime.datetime(
        2026, 11, 22, 5, tzinfo=datetime.UTC
    )


def test_days_are_those_of_vietnam():
    calendar = WorkingCalendar()
    late = datetime.datetime(2026, 11, 20, 17, 30, tzinfo=datetime.UTC)
    assert calendar.day_of(late) == day("2026-11-21")
    assert calendar.end_of_day(day("2026-11-20")) == datetime.datetime(2026, 11, 20, 17, tzinfo=datetime.UTC)


def test_a_calendar_without_working_days_does_not_hang():
    everything = frozenset(day("2026-01-01") + datetime.timedelta(days=number) for number in range(800))
    with pytest.raises(ConfigurationError):
        WorkingCalendar(closed=everything).next_working_day(day("2026-01-01"))


@pytest.mark.parametrize(
    "text",
    [
        "closed = 1",
        "closed = ['2026-01-01']",
        "closed = [2026-01-01T00:00:00]",
        "colour = 1",
        "morning_ends = 11",
        "[",
    ],
)
def test_files_that_are_no_calendar(tmp_path, text):
    path = tmp_path / "calendar.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError):
        load_calendar(path)
    with pytest.raises(ConfigurationError):
        load_calendar(tmp_path / "missing.toml")
