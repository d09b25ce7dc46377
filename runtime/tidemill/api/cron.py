"""Schedules as cron writes them: ``0 3 * * mon-fri``, in the time of a place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from tidemill.api.moments import parse_zone
from tidemill.errors import did_you_mean

CLOSEST = timedelta(minutes=5)
"""Restarts that are closer are not meant: ``* 3 * * *`` is sixty of them, from 03:00 to 03:59."""

_LONGEST_WAIT = timedelta(days=8 * 366)
"""No 29 February is further from the one before, not even around the year 2100."""

_DAYS_OF_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True)
class _Field:
    """One of the five; ``number`` is what a value looks like, for the API server."""

    title: str
    position: str
    least: int
    most: int
    number: str
    names: tuple[str, ...] = ()
    """``names[0]`` means ``least``."""

    @property
    def pattern(self) -> str:
        """An entry of the field's list as a regular expression, for the API server."""
        value = "|".join((self.number, *self.names))
        return rf"(?i)^(\*|({value})(-({value}))?)(/[0-9]+)?$"

    @property
    def where(self) -> str:
        return f"{self.title} (the {self.position} field)"

    @property
    def takes(self) -> str:
        """What it may hold, in words."""
        names = f" or {self.names[0]} to {self.names[-1]}" if self.names else ""
        return f"{self.least} to {self.most}{names}, and * - / , between them"


FIELDS = (
    _Field("minute", "1st", 0, 59, "[0-5]?[0-9]"),
    _Field("hour", "2nd", 0, 23, "[01]?[0-9]|2[0-3]"),
    _Field("day of the month", "3rd", 1, 31, "0?[1-9]|[12][0-9]|3[01]"),
    _Field(
        "month",
        "4th",
        1,
        12,
        "0?[1-9]|1[0-2]",
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    ),
    _Field("weekday", "5th", 0, 7, "0?[0-7]", ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
SHAPE = "five fields with one space between them: minute, hour, day of the month, month and weekday, like '0 3 * * *'"
_SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


@dataclass(frozen=True)
class Schedule:
    """Moments that come again and again, in the time of a place.

    A weekday is 0 (Sunday) to 6. A time that summer time skips comes an hour later; of a time that comes twice the
    first one counts.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool
    """As in cron: where days of the month and weekdays are both given (neither is ``*``), one of them is enough."""
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))

    def after(self, now: datetime) -> datetime:
        """The first moment after ``now`` (which has a zone).

        >>> from datetime import timezone
        >>> nightly = parse_schedule("0 3 * * mon-fri", "Europe/Paris")
        >>> nightly.after(datetime(2013, 7, 5, 12, tzinfo=timezone.utc)).isoformat()  # a Friday
        '2013-07-08T03:00:00+02:00'
        """
        # A time that is skipped at midnight may belong to the day before.
        day = now.astimezone(self.zone).date() - timedelta(days=1)
        last = day + _LONGEST_WAIT
        while day <= last:
            if self._has(day):
                to_come = [moment for moment in self._moments(day) if moment > now.timestamp()]
                if to_come:
                    return datetime.fromtimestamp(min(to_come), self.zone)
            day += timedelta(days=1)
        raise AssertionError(f"{self} never comes")

    def _has(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return of_month or of_week if self.either else of_month and of_week

    def _moments(self, day: date) -> Iterator[float]:
        for at in self.times:
            yield datetime.combine(day, at, self.zone).timestamp()

    @property
    def times(self) -> list[time]:
        """The times of a day, in order."""
        return [time(hour, minute) for hour in sorted(self.hours) for minute in sorted(self.minutes)]


def parse_schedule(text: str, zone: str = "UTC") -> Schedule:
    """Five fields of cron and the zone they are meant in.

    ``*``, numbers, ranges (``1-5``), steps (``*/2``, ``8-18/2``; ``8/2`` goes on to the end), lists (``1,15``), names of
    months and weekdays; 7 is Sunday, too. Raises ValueError, naming the field.
    """
    words = text.split(" ")
    if text.lower() in _SHORTHANDS:
        raise ValueError(f"{text!r}: write it as '{_SHORTHANDS[text.lower()]}'")
    if words != text.split():
        raise ValueError(f"{text!r}: write {SHAPE}")
    if len(words) != len(FIELDS):
        seconds = "; there are no seconds and no years among them" if len(words) > len(FIELDS) else ""
        raise ValueError(f"{text!r} has {len(words)} fields; write {SHAPE}{seconds}")
    minutes, hours, days, months, weekdays = (
        _values(word, field, text) for word, field in zip(words, FIELDS, strict=True)
    )
    either = words[2] != "*" != words[4]
    if not either and all(day > _DAYS_OF_MONTHS[month - 1] for day in days for month in months):
        raise ValueError(f"{text!r} never comes: no such month has a day {min(days)}")
    of_week = frozenset(day % 7 for day in weekdays)
    schedule = Schedule(minutes, hours, days, months, of_week, either, parse_zone(zone))
    _check_distance(schedule, text)
    return schedule


def _values(word: str, field: _Field, text: str) -> frozenset[int]:
    return frozenset(value for term in word.split(",") for value in _term(term, field, text))


def _term(term: str, field: _Field, text: str) -> range:
    """``*``, ``a``, ``a-b``, each with or without ``/step``."""
    body, slash, step = term.partition("/")
    first, dash, last = body.partition("-")
    if body == "*":
        start, stop = field.least, min(field.most, 6) if field.title == "weekday" else field.most
    else:
        start = _value(first, field, text)
        stop = _value(last, field, text) if dash else field.most if slash else start
    if stop < start:
        raise ValueError(
            f"{text!r}: {field.where}: {body!r} ends before it begins; write two ranges with a comma between them"
        )
    if not slash:
        return range(start, stop + 1)
    if not re.fullmatch(r"[0-9]+", step) or not 1 <= int(step[:5]) <= field.most:
        raise ValueError(f"{text!r}: {field.where}: a step is a number from 1 to {field.most}, not {step!r}")
    return range(start, stop + 1, int(step))


def _value(word: str, field: _Field, text: str) -> int:
    if word.lower() in field.names:
        return field.least + field.names.index(word.lower())
    if not re.fullmatch(r"[0-9]{1,2}", word):
        hint = did_you_mean(word.lower()[:3], field.names) if field.names else ""
        raise ValueError(f"{text!r}: {field.where}: {word!r} is not understood; it takes {field.takes}{hint}")
    if not field.least <= int(word) <= field.most:
        raise ValueError(f"{text!r}: {field.where}: {word} is not within {field.least} to {field.most}")
    return int(word)


def _check_distance(schedule: Schedule, text: str) -> None:
    """Two moments of one day lie apart."""
    for one, next_one in pairwise(schedule.times):
        minutes = (next_one.hour - one.hour) * 60 + next_one.minute - one.minute
        if timedelta(minutes=minutes) < CLOSEST:
            hour, minute = one.hour, one.minute
            raise ValueError(
                f"{text!r} comes at {one:%H:%M} and again at {next_one:%H:%M}; the first field is the minute, and "
                f"restarts are {CLOSEST.seconds // 60} minutes apart or more: '{minute} {hour} * * *' comes once a day"
            )


def check_schedule(text: str) -> str:
    parse_schedule(text)
    return text
