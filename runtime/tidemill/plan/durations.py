"""Interval text as windows, watermarks and session gaps take it: ``'1 hour 30 minutes'``, ``'interval 10 seconds'``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tidemill.errors import AnalysisException, IllegalArgumentException, did_you_mean

SECOND = 1_000_000
"""Microseconds."""
DAY = 86_400 * SECOND
DAYS_PER_MONTH = 31
"""What a watermark's delay counts for a month: never too few days (Spark's CalendarInterval.getDuration)."""

_UNITS = {
    "microsecond": 1, "millisecond": 1_000, "second": SECOND, "minute": 60 * SECOND, "hour": 3_600 * SECOND,
}  # fmt: skip
_DAYS = {"day": 1, "week": 7}
_MONTHS = {"month": 1, "year": 12}
_KNOWN = (*_UNITS, *_DAYS, *_MONTHS)
_PART = re.compile(r"\s*([+-]?)\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]+)\s*", re.I)


@dataclass(frozen=True)
class Duration:
    """Months, days and microseconds, which have no fixed ratio in a calendar."""

    months: int = 0
    days: int = 0
    microseconds: int = 0

    @property
    def delay(self) -> int:
        """Microseconds, as a watermark counts them: months of 31 days, days of 24 hours."""
        return (self.months * DAYS_PER_MONTH + self.days) * DAY + self.microseconds


def parse_duration(text: str) -> Duration:
    """Reads interval text. Raises `AnalysisException` (CANNOT_PARSE_INTERVAL) on anything else.

    >>> parse_duration("1 day 90 seconds")
    Duration(months=0, days=1, microseconds=90000000)
    """
    rest = text.strip()
    if rest[:8].lower() == "interval":
        rest = rest[8:].strip()
    months = days = microseconds = at = 0
    while at < len(rest):
        found = _PART.match(rest, at)
        if not found:
            raise _unreadable(text, f"{rest[at:]!r} is not a number and a unit")
        sign = -1 if found.group(1) == "-" else 1
        unit = _unit(text, found.group(3))
        whole = "." not in found.group(2)
        if not whole and unit != "second":
            raise _unreadable(text, f"only seconds may have a fraction, not {unit}s")
        if unit in _UNITS:
            microseconds += sign * _scaled(found.group(2), _UNITS[unit])
        elif unit in _DAYS:
            days += sign * int(found.group(2)) * _DAYS[unit]
        else:
            months += sign * int(found.group(2)) * _MONTHS[unit]
        at = found.end()
    if not rest:
        raise _unreadable(text, "it is empty")
    return Duration(months, days, microseconds)


def _scaled(number: str, factor: int) -> int:
    whole, _, fraction = number.partition(".")
    return int(whole or 0) * factor + int((fraction + "000000")[:6] if fraction else 0) * factor // SECOND


def _unit(text: str, word: str) -> str:
    unit = word.lower()
    if unit not in _KNOWN:
        unit = unit.removesuffix("s")
    if unit not in _KNOWN:
        raise _unreadable(text, f"{word!r} is no unit of time{did_you_mean(unit, _KNOWN)}")
    return unit


def _unreadable(text: str, why: str) -> AnalysisException:
    return AnalysisException(
        f"Unable to parse {text!r}: {why}; write an interval like '10 seconds' or '1 hour 30 minutes'",
        "CANNOT_PARSE_INTERVAL",
        {"intervalString": f"'{text}'"},
    )


def window_length(text: str) -> int:
    """Microseconds of a window's length or slide, which cannot be a number of months."""
    found = parse_duration(text)
    if found.months:
        raise IllegalArgumentException(
            f"Intervals greater than a month is not supported ({text}): months differ in length; give days",
            "_LEGACY_ERROR_TEMP_3231",
            {"interval": text},
        )
    return found.days * DAY + found.microseconds
