"""Durations and times of day as a manifest writes them: ``10 seconds``, ``03:00 Europe/Paris``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

from tidemill.errors import did_you_mean

MONTH_DAYS = 31
"""A month in a duration counts 31 days, as in Spark: long enough for any month."""

_MICROSECONDS = {
    "microsecond": 1,
    "millisecond": 1_000,
    "second": 1_000_000,
    "minute": 60_000_000,
    "hour": 3_600_000_000,
    "day": 86_400_000_000,
    "week": 7 * 86_400_000_000,
    "month": MONTH_DAYS * 86_400_000_000,
    "year": 12 * MONTH_DAYS * 86_400_000_000,
}
DURATION_PATTERN = (
    r"(?i)^\s*(interval\s)?(\s*[-+]?[0-9]+(\.[0-9]+)?\s*"
    r"(microsecond|millisecond|second|minute|hour|day|week|month|year)s?)+\s*$"
)
"""Spark's interval text. Both Python and the API server (Go) read this expression alike."""

NEGATIVE_PATTERN = r"(?i)^\s*(interval\s)?\s*-[0-9.]*[1-9][0-9.]*\s*[a-z]+\s*$"
"""A duration of one term, less than zero: as much as an expression can tell of its sign."""

_TERM = re.compile(r"([-+]?[0-9]+(?:\.[0-9]+)?)\s*([a-z]+)", re.I)
_WORD = re.compile(r"[a-z]+", re.I)

STOP_AT_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9] [A-Za-z][A-Za-z0-9_+/-]*$"
ZONE_PATTERN = r"^[A-Za-z][A-Za-z0-9_+/-]*$"


def parse_duration(text: str) -> timedelta:
    """The length of ``text``; months count 31 days, years twelve of them. May be negative. ValueError.

    >>> parse_duration("1 minute 30 seconds")
    datetime.timedelta(seconds=90)
    """
    if not re.match(DURATION_PATTERN, text):
        words = [w.lower() for w in _WORD.findall(text) if w.lower() not in ("interval", "and")]
        strange = next((w for w in words if w.removesuffix("s") not in _MICROSECONDS), None)
        units = [*_MICROSECONDS, *(f"{unit}s" for unit in _MICROSECONDS)]
        hint = did_you_mean(strange, units) if strange else ""
        raise ValueError(
            f"{text!r} is no duration; write a number and a unit, like '60 seconds' or '1 hour'{hint}"
        )
    return timedelta(
        microseconds=sum(
            float(number) * _MICROSECONDS[unit.lower().removesuffix("s")]
            for number, unit in _TERM.findall(text)
        )
    )


def _has_months(text: str) -> bool:
    return bool(re.search(r"month|year", text, re.I))


def check_delay(text: str) -> str:
    """A watermark's delay: zero or more."""
    if parse_duration(text) < timedelta(0):
        raise ValueError(f"{text!r} is negative; a watermark can wait '0 seconds' or longer")
    return text


def check_interval(text: str) -> str:
    """A trigger's interval: zero or more, of a fixed length."""
    if _has_months(text):
        raise ValueError(f"{text!r}: a month has no fixed length; write it in days or hours")
    if parse_duration(text) < timedelta(0):
        raise ValueError(f"{text!r} is negative; write '0 seconds' for as soon as possible")
    return text


def check_period(text: str) -> str:
    """A refresh period: more than zero, of a fixed length."""
    if check_interval(text) and parse_duration(text) == timedelta(0):
        raise ValueError(f"{text!r}: a refresh period must be longer than nothing; leave it out to read once")
    return text


@dataclass(frozen=True)
class StopAt:
    """An hour of each day, in the time of a place."""

    at: time
    zone: ZoneInfo

    def after(self, now: datetime) -> datetime:
        """The first such moment after ``now`` (which has a zone). An hour that summer time skips comes an hour later.

        >>> from datetime import timezone
        >>> parse_stop_at("03:00 Europe/Paris").after(
        ...     datetime(2013, 7, 1, 12, tzinfo=timezone.utc)
        ... ).isoformat()
        '2013-07-02T03:00:00+02:00'
        """
        here = now.astimezone(self.zone)
        for days in (0, 1):
            day = here.date() + timedelta(days=days)
            moment = datetime.combine(day, self.at, self.zone)
            if moment.timestamp() > now.timestamp():
                return moment
        return datetime.combine(here.date() + timedelta(days=2), self.at, self.zone)


def parse_stop_at(text: str) -> StopAt:
    """``HH:MM Zone/Name``. ValueError, with the nearest zone that exists."""
    found = re.match(r"^(\S+)(?:\s+(.*\S))?\s*$", text)
    clock, zone = (found[1], found[2]) if found else ("", None)
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", clock):
        raise ValueError(
            f"{text!r} has no time of day; write HH:MM and a time zone, like '03:00 Europe/Paris'"
        )
    if zone is None:
        raise ValueError(f"{text!r} has no time zone; write one after the time, like '{clock} Europe/Paris'")
    place = parse_zone(zone)
    if not re.match(STOP_AT_PATTERN, text):
        raise ValueError(f"{text!r}: write one space between the time and the zone, as in '{clock} {zone}'")
    return StopAt(time.fromisoformat(clock), place)


def parse_zone(name: str) -> ZoneInfo:
    """A time zone by its name, like ``Europe/Paris``. ValueError, with the nearest one that exists."""
    if name not in (zones := available_timezones()):
        raise ValueError(f"{name!r} is no time zone{_nearest_zone(name, zones)}")
    return ZoneInfo(name)


def _nearest_zone(zone: str, zones: set[str]) -> str:
    """People know the city and forget the continent."""
    cities = {name.rpartition("/")[2].lower(): name for name in sorted(zones, reverse=True)}
    city = cities.get(zone.rpartition("/")[2].lower().replace(" ", "_"))
    if city:
        return f"; did you mean {city!r}?"
    # Short names such as EST are kept for old programs only, and CEST is not meant by them.
    near = did_you_mean(zone, [name for name in zones if "/" in name])
    return near or "; write one like 'Europe/Paris' or 'UTC'"


def check_stop_at(text: str) -> str:
    parse_stop_at(text)
    return text


def check_zone(name: str) -> str:
    parse_zone(name)
    return name
