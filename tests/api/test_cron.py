"""Schedules of planned restarts: what is understood, when it comes next, and what is refused."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.api.manifests import changed, complaints
from tidemill.api import Schedule, parse, parse_schedule
from tidemill.api.cron import FIELDS


def coming(schedule: str, now: str, times: int = 1, zone: str = "UTC") -> list[str]:
    """The next moments, in the time of the place."""
    found, at = parse_schedule(schedule, zone), datetime.fromisoformat(now).replace(tzinfo=UTC)
    moments = []
    for _ in range(times):
        at = found.after(at)
        moments.append(at.strftime("%a %Y-%m-%d %H:%M %z"))
    return moments


def test_every_night_in_the_time_of_a_place() -> None:
    assert coming("0 3 * * *", "2013-03-30T12:00", 2, "Europe/Paris") == [
        "Sun 2013-03-31 03:00 +0200",  # the night in which summer time begins
        "Mon 2013-04-01 03:00 +0200",
    ]
    assert coming("0 23 * * *", "2013-07-01T02:59", 1, "America/New_York") == ["Sun 2013-06-30 23:00 -0400"]


def test_a_moment_that_has_come_is_not_the_next() -> None:
    assert coming("0 3 * * *", "2013-07-01T03:00") == ["Tue 2013-07-02 03:00 +0000"]
    assert coming("0 3 * * *", "2013-07-01T02:59:59.9") == ["Mon 2013-07-01 03:00 +0000"]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("30 8-18/4 * * *", ["Mon 08:30", "Mon 12:30", "Mon 16:30", "Tue 08:30"]),
        ("15,45 6 * * *", ["Mon 06:15", "Mon 06:45", "Tue 06:15", "Tue 06:45"]),
        ("*/30 23 * * *", ["Mon 23:00", "Mon 23:30", "Tue 23:00", "Tue 23:30"]),
        ("0 20/2 * * *", ["Mon 20:00", "Mon 22:00", "Tue 20:00", "Tue 22:00"]),
        ("0 3 * * mon-fri", ["Mon 03:00", "Tue 03:00", "Wed 03:00", "Thu 03:00"]),
        ("0 3 * * SAT,sun", ["Sat 03:00", "Sun 03:00", "Sat 03:00", "Sun 03:00"]),
        ("0 3 * * 5-7", ["Fri 03:00", "Sat 03:00", "Sun 03:00", "Fri 03:00"]),
        ("0 3 * * 0", ["Sun 03:00", "Sun 03:00", "Sun 03:00", "Sun 03:00"]),
        ("00 03 * * *", ["Mon 03:00", "Tue 03:00", "Wed 03:00", "Thu 03:00"]),
    ],
)
def test_steps_lists_ranges_and_names(schedule: str, expected: list[str]) -> None:
    """From a Monday's midnight, 1 July 2013."""
    found = coming(schedule, "2013-06-30T23:59", 4)
    assert [f"{moment[:3]} {moment[15:20]}" for moment in found] == expected


def test_days_of_the_month() -> None:
    assert coming("0 3 31 * *", "2013-04-01T00:00", 3) == [
        "Fri 2013-05-31 03:00 +0000",
        "Wed 2013-07-31 03:00 +0000",
        "Sat 2013-08-31 03:00 +0000",
    ]
    assert coming("0 3 29 feb *", "2096-03-01T00:00") == ["Fri 2104-02-29 03:00 +0000"]


def test_a_day_of_the_month_or_a_weekday_is_enough() -> None:
    assert coming("0 3 4 * fri", "2013-06-30T00:00", 3) == [
        "Thu 2013-07-04 03:00 +0000",
        "Fri 2013-07-05 03:00 +0000",
        "Fri 2013-07-12 03:00 +0000",
    ]


def test_a_time_that_summer_time_skips_comes_later_and_one_that_comes_twice_comes_once() -> None:
    assert coming("30 2 * * *", "2013-03-31T00:00", 2, "Europe/Paris") == [
        "Sun 2013-03-31 03:30 +0200",
        "Mon 2013-04-01 02:30 +0200",
    ]
    assert coming("30 2 * * *", "2013-10-26T22:00", 2, "Europe/Paris") == [
        "Sun 2013-10-27 02:30 +0200",
        "Mon 2013-10-28 02:30 +0100",
    ]


# --- Any schedule ---------------------------------------------------------------------------------------------------


def entries(least: int, most: int) -> st.SearchStrategy[str]:
    number = st.integers(least, most)
    ranges = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    steps = st.tuples(ranges | st.just("*"), st.integers(1, 6)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    return st.just("*") | st.lists(number.map(str) | ranges | steps, min_size=1, max_size=2).map(",".join)


# Minutes that are not too close to each other; nearly all of these schedules are taken.
minutes = (
    st.integers(0, 59).map(str)
    | st.integers(5, 59).map("*/{}".format)
    | st.just("5,35")
    | st.just("10-40/15")
)
schedules = st.tuples(minutes, *(entries(field.least, field.most) for field in FIELDS[1:])).map(" ".join)
zones = st.sampled_from(["UTC", "Europe/Paris", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"])


def holds(word: str, value: int, least: int, most: int) -> bool:
    """Whether a field of cron allows a value: the rules once more, one value at a time."""
    for entry in word.split(","):
        body, _, step = entry.partition("/")
        first, _, last = body.partition("-")
        low, high = (least, most) if body == "*" else (int(first), int(last or (most if step else first)))
        if low <= value <= high and (value - low) % int(step or 1) == 0:
            return True
    return False


def comes_at(schedule: str, at: datetime) -> bool:
    minute, hour, day, month, weekday = schedule.split(" ")
    of_month = holds(day, at.day, 1, 31)
    of_week = any(holds(weekday, number, 0, 7) for number in {at.isoweekday(), at.isoweekday() % 7})
    in_day = of_month or of_week if day != "*" and weekday != "*" else of_month and of_week
    return (
        in_day
        and holds(minute, at.minute, 0, 59)
        and holds(hour, at.hour, 0, 23)
        and holds(month, at.month, 1, 12)
    )


@given(schedules, st.datetimes(datetime(2013, 1, 1), datetime(2013, 12, 31)))
def test_the_next_moment_is_the_first_minute_that_fits(schedule: str, start: datetime) -> None:
    """Minute by minute for two days: none before the one that is found fits, and that one does."""
    try:
        parsed = parse_schedule(schedule)
    except ValueError:
        assume(False)
        raise
    now = start.replace(second=0, microsecond=0, tzinfo=UTC)
    found = parsed.after(now)
    assert comes_at(schedule, found)
    minutes = (now + timedelta(minutes=n) for n in range(1, 2 * 24 * 60))
    assert not any(comes_at(schedule, minute) for minute in minutes if minute < found)


@given(schedules, zones, st.datetimes(datetime(2013, 1, 1), datetime(2013, 12, 31)))
def test_moments_go_forward_in_any_zone(schedule: str, zone: str, start: datetime) -> None:
    try:
        parsed: Schedule = parse_schedule(schedule, zone)
    except ValueError:
        assume(False)
        raise
    now = start.replace(tzinfo=UTC)
    for _ in range(3):
        found = parsed.after(now)
        assert found > now
        assert found.tzinfo == ZoneInfo(zone)
        now = found


# --- What is refused ------------------------------------------------------------------------------------------------

SHAPE = "write five fields with one space between them: minute, hour, day of the month, month and weekday, like '0 3 * * *'"


WRONG_SCHEDULES: list[tuple[str, str]] = [
    ("0 25 * * *", "'0 25 * * *': hour (the 2nd field): 25 is not within 0 to 23"),
    ("60 3 * * *", "'60 3 * * *': minute (the 1st field): 60 is not within 0 to 59"),
    ("0 3 0 * *", "'0 3 0 * *': day of the month (the 3rd field): 0 is not within 1 to 31"),
    ("0 3 * * 1-8", "'0 3 * * 1-8': weekday (the 5th field): 8 is not within 0 to 7"),
    (
        "0 3 * janu *",
        (
            "'0 3 * janu *': month (the 4th field): 'janu' is not understood; it takes 1 to 12 or jan to dec, "
            "and * - / , between them; did you mean 'jan'?"
        ),
    ),
    (
        "0 3 L * *",
        (
            "'0 3 L * *': day of the month (the 3rd field): 'L' is not understood; it takes 1 to 31, "
            "and * - / , between them"
        ),
    ),
    (
        "0 3 1, * *",
        (
            "'0 3 1, * *': day of the month (the 3rd field): '' is not understood; it takes 1 to 31, "
            "and * - / , between them"
        ),
    ),
    (
        "0 3 * * fri-mon",
        (
            "'0 3 * * fri-mon': weekday (the 5th field): 'fri-mon' ends before it begins; write two ranges with a "
            "comma between them"
        ),
    ),
    (
        "*/0 3 * * *",
        "'*/0 3 * * *': minute (the 1st field): a step is a number from 1 to 59, not '0'",
    ),
    (
        "*/9999999 3 * * *",
        "'*/9999999 3 * * *': minute (the 1st field): a step is a number from 1 to 59, not '9999999'",
    ),
    ("0 3 * *", f"'0 3 * *' has 4 fields; {SHAPE}"),
    ("0 0 3 * * *", f"'0 0 3 * * *' has 6 fields; {SHAPE}; there are no seconds and no years among them"),
    ("0  3 * * *", f"'0  3 * * *': {SHAPE}"),
    ("0 3 * * *\n", f"'0 3 * * *\\n': {SHAPE}"),
    ("@daily", "'@daily': write it as '0 0 * * *'"),
    ("0 3 30 2 *", "'0 3 30 2 *' never comes: no such month has a day 30"),
    ("0 3 31 apr,jun *", "'0 3 31 apr,jun *' never comes: no such month has a day 31"),
    (
        "* 3 * * *",
        (
            "'* 3 * * *' comes at 03:00 and again at 03:01; the first field is the minute, and restarts are "
            "5 minutes apart or more: '0 3 * * *' comes once a day"
        ),
    ),
    (
        "0,59 3,4 * * *",
        (
            "'0,59 3,4 * * *' comes at 03:59 and again at 04:00; the first field is the minute, and restarts are "
            "5 minutes apart or more: '59 3 * * *' comes once a day"
        ),
    ),
]


@pytest.mark.parametrize(("schedule", "message"), WRONG_SCHEDULES)
def test_a_wrong_schedule_is_refused_with_its_field(schedule: str, message: str) -> None:
    assert complaints(changed("restarts", {"schedule": schedule})) == [f"spec.restarts.schedule: {message}"]


@given(st.text(max_size=20))
def test_any_text_is_a_schedule_or_refused(text: str) -> None:
    """And nothing else is raised."""
    with contextlib.suppress(ValueError):
        assert parse_schedule(text).minutes


def test_a_wrong_zone_is_refused_with_the_nearest() -> None:
    said = {"schedule": "0 3 * * *", "timeZone": "Europe/Pariss"}
    assert complaints(changed("restarts", said)) == [
        "spec.restarts.timeZone: 'Europe/Pariss' is no time zone; did you mean 'Europe/Paris'?"
    ]


def test_a_job_knows_when_it_restarts() -> None:
    job, problems = parse(changed("restarts", {"schedule": "0 3 * * *", "timeZone": "Europe/Paris"}))
    assert problems == []
    assert job is not None and job.restarts is not None
    now = datetime(2013, 7, 1, 12, tzinfo=UTC)
    assert job.restarts.after(now).isoformat() == "2013-07-02T03:00:00+02:00"
    quiet, _ = parse(changed("suspend", False))
    assert quiet is not None and quiet.restarts is None


def test_a_schedule_is_meant_in_utc_by_default() -> None:
    job, _ = parse(changed("restarts", {"schedule": "0 3 * * *"}))
    assert job is not None and job.restarts is not None
    assert job.restarts.zone == ZoneInfo("UTC")
