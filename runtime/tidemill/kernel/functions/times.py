"""Dates and timestamps from text, as Spark's casts read them."""

from __future__ import annotations

import datetime as dt
import re
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pyarrow as pa

from tidemill.kernel.functions.rows import by_row
from tidemill.kernel.macros import KernelFunction, kernel

MICROS_PER_DAY = 86_400_000_000
_EPOCH = dt.datetime(1970, 1, 1)

_DATE = re.compile(r"([+-]?)(\d{4,7})(?:-(\d{1,2})(?:-(\d{1,2})(?:[ T].*)?)?)?", re.S)
_TIMESTAMP = re.compile(
    r"([+-]?)(\d{4,6})(?:-(\d{1,2})(?:-(\d{1,2})(?:[ T](\d{1,2})"
    r"(?::(\d{1,2})(?::(\d{1,2})(?:\.(\d*))?)?)?\s*([A-Za-z+-].*)?)?)?)?",
    re.S,
)
_SHORT_ZONES = {
    "ACT": "Australia/Darwin", "AET": "Australia/Sydney", "AGT": "America/Argentina/Buenos_Aires", "ART": "Africa/Cairo",
    "AST": "America/Anchorage", "BET": "America/Sao_Paulo", "BST": "Asia/Dhaka", "CAT": "Africa/Harare",
    "CNT": "America/St_Johns", "CST": "America/Chicago", "CTT": "Asia/Shanghai", "EAT": "Africa/Addis_Ababa",
    "ECT": "Europe/Paris", "IET": "America/Indiana/Indianapolis", "IST": "Asia/Kolkata", "JST": "Asia/Tokyo",
    "MIT": "Pacific/Apia", "NET": "Asia/Yerevan", "NST": "Pacific/Auckland", "PLT": "Asia/Karachi", "PNT": "America/Phoenix",
    "PRT": "America/Puerto_Rico", "PST": "America/Los_Angeles", "SST": "Pacific/Guadalcanal", "VST": "Asia/Ho_Chi_Minh",
    "EST": "-05:00", "MST": "-07:00", "HST": "-10:00",
}  # fmt: skip
"""java.time.ZoneId.SHORT_IDS."""
_BLANKS = "".join(chr(c) for c in range(33)) + "\x7f"


def days_of(year: int, month: int, day: int) -> int | None:
    """Days since 1970-01-01 in the proleptic Gregorian calendar, for any year; None if there is no such date."""
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    cycles, within = divmod(year, 400)
    try:
        # The calendar repeats every 400 years of 146,097 days; datetime starts at year 1.
        ordinal = dt.date(within + 400, month, day).toordinal()
    except ValueError:
        return None
    return ordinal - dt.date(400, 1, 1).toordinal() + cycles * 146_097 - 719_528


def read_date(text: str) -> int | None:
    """Days since 1970-01-01, or None."""
    found = _DATE.fullmatch(text.strip(_BLANKS))
    if not found:
        return None
    sign, year, month, day = found.groups()
    return days_of(int(sign + year), int(month or 1), int(day or 1))


@lru_cache(maxsize=1024)
def zone_of(text: str) -> dt.tzinfo | None:
    """A zone by region or offset (``+01:00``, ``UTC``, ``GMT+1``, ``Europe/Paris``), or None."""
    name = _SHORT_ZONES.get(text.strip(), text.strip())
    if name in ("Z", "UTC", "GMT", "UT"):
        return dt.UTC
    found = re.fullmatch(r"(?:UTC|GMT|UT)?([+-])(\d{1,2})(?::?(\d{1,2}))?(?::?(\d{2}))?", name)
    if found:
        sign, hours, minutes, seconds = found.groups()
        offset = int(hours) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
        if int(hours) > 18 or int(minutes or 0) > 59 or offset > 18 * 3600:
            return None
        return dt.timezone(dt.timedelta(seconds=-offset if sign == "-" else offset))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def instant_of(local: int, zone: dt.tzinfo) -> int:
    """Microseconds since 1970 UTC at which a clock in ``zone`` shows ``local`` (microseconds, read as if UTC).

    Where the clock shows it twice the first time counts; where it skips it, the clock goes on by the gap's length, as in
    Java.
    """
    if zone is dt.UTC:
        return local
    try:
        wall = _EPOCH + dt.timedelta(microseconds=local)
    except OverflowError:
        return local
    offset = wall.replace(tzinfo=zone, fold=0).utcoffset()
    assert offset is not None
    return local - round(offset.total_seconds() * 1_000_000)


def local_of(instant: int, zone: dt.tzinfo) -> int:
    """What a clock in ``zone`` shows at an instant, both in microseconds."""
    if zone is dt.UTC:
        return instant
    try:
        moment = (_EPOCH + dt.timedelta(microseconds=instant)).replace(tzinfo=dt.UTC).astimezone(zone)
    except OverflowError:
        return instant
    offset = moment.utcoffset()
    assert offset is not None
    return instant + round(offset.total_seconds() * 1_000_000)


def read_local(text: str) -> tuple[int, str | None] | None:
    """The clock's reading in microseconds and the zone as written; None if it is no timestamp."""
    stripped = text.strip(_BLANKS)
    found = _TIMESTAMP.fullmatch(stripped)
    if not found or not stripped:
        return None
    sign, year, month, day, hour, minute, second, fraction, zone = found.groups()
    if zone and second is None:
        return None
    days = days_of(int((sign or "") + year), int(month or 1), int(day or 1))
    h, m, s = int(hour or 0), int(minute or 0), int(second or 0)
    if days is None or h > 23 or m > 59 or s > 59:
        return None
    micros = int((fraction or "").ljust(6, "0")[:6])
    return days * MICROS_PER_DAY + ((h * 60 + m) * 60 + s) * 1_000_000 + micros, zone


def read_timestamp(text: str, zone: str) -> int | None:
    """Microseconds since 1970 UTC; without a zone in the text it is a reading in ``zone``."""
    found = read_local(text)
    if found is None:
        return None
    local, written = found
    where = zone_of(written if written else zone)
    return None if where is None else instant_of(local, where)


def read_timestamp_ntz(text: str) -> int | None:
    """The clock's reading in microseconds; a zone in the text is read and forgotten."""
    found = read_local(text)
    if found is None or (found[1] and zone_of(found[1]) is None):
        return None
    return found[0]


@kernel("to_date")
def _to_date() -> KernelFunction:
    return by_row(read_date, "DATE", pa.date32())


@kernel("to_timestamp")
def _to_timestamp() -> KernelFunction:
    return by_row(read_timestamp, "TIMESTAMP", pa.timestamp("us"))


@kernel("to_timestamp_ntz")
def _to_timestamp_ntz() -> KernelFunction:
    return by_row(read_timestamp_ntz, "TIMESTAMP", pa.timestamp("us"))
