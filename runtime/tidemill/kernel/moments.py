"""Dates and times in text: Spark's own forms, and Java's patterns turned into DuckDB's and Python's."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_MOMENT = re.compile(
    r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2})(?:[T ](?:(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d*))?)?)?)?)?)?\s*(.*)"
)
_OFFSET = re.compile(r"(?:UTC|GMT|UT)?([+-])(\d{1,2})(?::?(\d{1,2})(?::?(\d{1,2}))?)?")
_PATTERN = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|\[|\]|.", re.S)

_FORMATS = {
    "yyyy": "%Y", "uuuu": "%Y", "y": "%Y", "u": "%Y", "yy": "%y", "MM": "%m", "M": "%m", "MMM": "%b", "MMMM": "%B",
    "dd": "%d", "d": "%d", "HH": "%H", "H": "%H", "hh": "%I", "h": "%I", "mm": "%M", "m": "%M", "ss": "%S", "s": "%S",
    "S": "%f", "SS": "%f", "SSS": "%f", "SSSSSS": "%f", "a": "%p", "E": "%a", "EEE": "%a", "EEEE": "%A",
    "XXX": "%z", "XX": "%z", "X": "%z", "xxx": "%z", "xx": "%z", "x": "%z", "Z": "%z", "ZZZZZ": "%z", "DDD": "%j",
}  # fmt: skip


def strptime_format(pattern: str) -> str:
    """A Java date pattern as strptime writes it; optional parts (``[.SSS]``) are not supported.

    >>> strptime_format("dd/MM/yyyy'T'HH:mm")
    '%d/%m/%YT%H:%M'
    """
    out = []
    for found in _PATTERN.finditer(pattern):
        text = found.group(0)
        if found.group(1) is not None:
            out.append(found.group(1).replace("''", "'").replace("%", "%%") or "'")
        elif found.group(2):
            if text not in _FORMATS:
                raise ValueError(
                    f"{text!r} in the pattern {pattern!r} is not supported; known are {', '.join(_FORMATS)}"
                )
            out.append(_FORMATS[text])
        elif text in "[]":
            raise ValueError(f"optional parts in brackets are not supported in the pattern {pattern!r}")
        else:
            out.append(text.replace("%", "%%"))
    return "".join(out)


@lru_cache(256)
def zone(name: str) -> tzinfo | None:
    """A zone by its offset or name; None if there is none of that name."""
    if name in ("Z", "UTC", "GMT", "UT"):
        return UTC
    found = _OFFSET.fullmatch(name)
    if found:
        sign, hours, minutes, seconds = found.groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes or 0), seconds=int(seconds or 0))
        return None if offset > timedelta(hours=18) else timezone(-offset if sign == "-" else offset)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def parse_moment(text: str, default: tzinfo | None) -> datetime | None:
    """A timestamp as Spark's cast reads it, as naive UTC; ``default`` None: a naive time that may name no zone.

    >>> parse_moment("2024-01-02T03:04:05+02:00", UTC)
    datetime.datetime(2024, 1, 2, 1, 4, 5)
    """
    found = _MOMENT.fullmatch(text.strip())
    if not found:
        return None
    year, month, day, hour, minute, second, fraction, rest = found.groups()
    where = zone(rest) if rest else default
    if rest and (hour is None or where is None or default is None):
        return None
    try:
        moment = datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0),
            int((fraction or "0").ljust(6, "0")[:6]), tzinfo=where,
        )  # fmt: skip
        return moment if where is None else moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None


def parse_date(text: str) -> date | None:
    """A date as Spark's cast reads it: what follows a ``T`` or blank is left out."""
    found = re.fullmatch(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2})(?:[T ].*)?)?)?", text.strip(), re.S)
    if not found:
        return None
    try:
        return date(int(found.group(1)), int(found.group(2) or 1), int(found.group(3) or 1))
    except ValueError:
        return None


def parse_formatted(text: str, format: str, default: tzinfo | None) -> datetime | None:
    """A time in a strptime format, as naive UTC (or as it stands, if ``default`` is None)."""
    try:
        moment = datetime.strptime(text, format)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=default)
        return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
