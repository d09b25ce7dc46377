"""Dates, times and durations."""

from __future__ import annotations

from tidemill.errors import PySparkNotImplementedError
from tidemill.sql.column import Column, ColumnOrName
from tidemill.sql.functions.building import call, lit, optional, value


def add_months(start: ColumnOrName, months: ColumnOrName | int) -> Column:
    """The date some months later, or earlier if negative."""
    return call("add_months", start, value(months))


def convert_timezone(sourceTz: Column | None, targetTz: Column, sourceTs: ColumnOrName) -> Column:
    """A wall clock time in one zone (the session's, if None) as that of another."""
    return call("convert_timezone", sourceTz, targetTz, sourceTs)


def curdate() -> Column:
    """The date of the batch."""
    return call("curdate")


def current_date() -> Column:
    """The date of the batch."""
    return call("current_date")


def current_timestamp() -> Column:
    """The time of the batch: one value for all its rows."""
    return call("current_timestamp")


def current_timezone() -> Column:
    """The name of the session's time zone."""
    return call("current_timezone")


def date_add(start: ColumnOrName, days: ColumnOrName | int) -> Column:
    """The date some days later."""
    return call("date_add", start, value(days))


def date_diff(end: ColumnOrName, start: ColumnOrName) -> Column:
    """Days from ``start`` to ``end``."""
    return call("date_diff", end, start)


def date_format(date: ColumnOrName, format: str) -> Column:
    """A date or time as text in a pattern such as ``yyyy-MM-dd``."""
    return call("date_format", date, lit(format))


def date_from_unix_date(days: ColumnOrName) -> Column:
    """The date some days after 1970-01-01."""
    return call("date_from_unix_date", days)


def date_part(field: Column, source: ColumnOrName) -> Column:
    """A part of a date, time or duration, such as ``lit('year')``."""
    return call("date_part", lit(field), source)


def date_sub(start: ColumnOrName, days: ColumnOrName | int) -> Column:
    """The date some days earlier."""
    return call("date_sub", start, value(days))


def date_trunc(format: str, timestamp: ColumnOrName) -> Column:
    """The time cut down to a unit such as ``'hour'``."""
    return call("date_trunc", lit(format), timestamp)


def dateadd(start: ColumnOrName, days: ColumnOrName | int) -> Column:
    """The date some days later."""
    return call("dateadd", start, value(days))


def datediff(end: ColumnOrName, start: ColumnOrName) -> Column:
    """Days from ``start`` to ``end``."""
    return call("datediff", end, start)


def datepart(field: Column, source: ColumnOrName) -> Column:
    """A part of a date, time or duration, such as ``lit('year')``."""
    return call("datepart", lit(field), source)


def day(col: ColumnOrName) -> Column:
    """The day of the month."""
    return call("day", col)


def dayname(col: ColumnOrName) -> Column:
    """The day of the week as three letters."""
    return call("dayname", col)


def dayofmonth(col: ColumnOrName) -> Column:
    """The day of the month."""
    return call("dayofmonth", col)


def dayofweek(col: ColumnOrName) -> Column:
    """The day of the week, from 1 for Sunday to 7 for Saturday."""
    return call("dayofweek", col)


def dayofyear(col: ColumnOrName) -> Column:
    """The day of the year, from 1."""
    return call("dayofyear", col)


def extract(field: Column, source: ColumnOrName) -> Column:
    """A part of a date, time or duration, such as ``lit('year')``."""
    return call("extract", field, source)


def from_unixtime(timestamp: ColumnOrName, format: str = "yyyy-MM-dd HH:mm:ss") -> Column:
    """Seconds since 1970 as text in a pattern, in the session's time zone."""
    return call("from_unixtime", timestamp, lit(format))


def from_utc_timestamp(timestamp: ColumnOrName, tz: Column | str) -> Column:
    """The wall clock time in zone ``tz`` at a time in UTC."""
    return call("from_utc_timestamp", timestamp, lit(tz))


def hour(col: ColumnOrName) -> Column:
    """The hour, 0 to 23, in the session's time zone."""
    return call("hour", col)


def last_day(date: ColumnOrName) -> Column:
    """The last day of the month."""
    return call("last_day", date)


def localtimestamp() -> Column:
    """The batch's wall clock time, without a zone."""
    return call("localtimestamp")


def make_date(year: ColumnOrName, month: ColumnOrName, day: ColumnOrName) -> Column:
    """A date from year, month and day."""
    return call("make_date", year, month, day)


def make_dt_interval(
    days: ColumnOrName | None = None,
    hours: ColumnOrName | None = None,
    mins: ColumnOrName | None = None,
    secs: ColumnOrName | None = None,
) -> Column:
    """A duration from days, hours, minutes and seconds."""
    return call("make_dt_interval", days, hours, mins, secs)


def make_timestamp(
    years: ColumnOrName | None = None,
    months: ColumnOrName | None = None,
    days: ColumnOrName | None = None,
    hours: ColumnOrName | None = None,
    mins: ColumnOrName | None = None,
    secs: ColumnOrName | None = None,
    timezone: ColumnOrName | None = None,
    date: ColumnOrName | None = None,
    time: ColumnOrName | None = None,
) -> Column:
    """An instant from its parts, in ``timezone`` or the session's."""
    _no_time_of_day("make_timestamp", date, time)
    return call("make_timestamp", years, months, days, hours, mins, secs, timezone)


def make_timestamp_ltz(
    years: ColumnOrName,
    months: ColumnOrName,
    days: ColumnOrName,
    hours: ColumnOrName,
    mins: ColumnOrName,
    secs: ColumnOrName,
    timezone: ColumnOrName | None = None,
) -> Column:
    """An instant from its parts, in ``timezone`` or the session's."""
    return call("make_timestamp_ltz", years, months, days, hours, mins, secs, timezone)


def make_timestamp_ntz(
    years: ColumnOrName | None = None,
    months: ColumnOrName | None = None,
    days: ColumnOrName | None = None,
    hours: ColumnOrName | None = None,
    mins: ColumnOrName | None = None,
    secs: ColumnOrName | None = None,
    date: ColumnOrName | None = None,
    time: ColumnOrName | None = None,
) -> Column:
    """A time without a zone from its parts."""
    _no_time_of_day("make_timestamp_ntz", date, time)
    return call("make_timestamp_ntz", years, months, days, hours, mins, secs)


def make_ym_interval(years: ColumnOrName | None = None, months: ColumnOrName | None = None) -> Column:
    """An interval of years and months."""
    return call("make_ym_interval", years, months)


def minute(col: ColumnOrName) -> Column:
    """The minute, 0 to 59."""
    return call("minute", col)


def month(col: ColumnOrName) -> Column:
    """The month, 1 to 12."""
    return call("month", col)


def monthname(col: ColumnOrName) -> Column:
    """The month as three letters."""
    return call("monthname", col)


def months_between(date1: ColumnOrName, date2: ColumnOrName, roundOff: bool = True) -> Column:
    """Months from ``date2`` to ``date1``, as a fraction; rounded to 8 digits unless ``roundOff`` is false."""
    return call("months_between", date1, date2, lit(roundOff))


def next_day(date: ColumnOrName, dayOfWeek: str) -> Column:
    """The first date later than ``date`` that is a ``dayOfWeek`` such as ``'Mon'``."""
    return call("next_day", date, lit(dayOfWeek))


def now() -> Column:
    """The time of the batch."""
    return call("now")


def quarter(col: ColumnOrName) -> Column:
    """The quarter, 1 to 4."""
    return call("quarter", col)


def second(col: ColumnOrName) -> Column:
    """The second, 0 to 59."""
    return call("second", col)


def timestamp_add(unit: str, quantity: ColumnOrName, ts: ColumnOrName) -> Column:
    """The time some units later; ``unit`` is YEAR, MONTH, DAY, HOUR, ..."""
    return call("timestampadd", lit(unit), quantity, ts)


def timestamp_diff(unit: str, start: ColumnOrName, end: ColumnOrName) -> Column:
    """Whole units from ``start`` to ``end``; ``unit`` is YEAR, MONTH, DAY, HOUR, ..."""
    return call("timestampdiff", lit(unit), start, end)


def timestamp_micros(col: ColumnOrName) -> Column:
    """The instant some microseconds after 1970."""
    return call("timestamp_micros", col)


def timestamp_millis(col: ColumnOrName) -> Column:
    """The instant some milliseconds after 1970."""
    return call("timestamp_millis", col)


def timestamp_seconds(col: ColumnOrName) -> Column:
    """The instant some seconds after 1970."""
    return call("timestamp_seconds", col)


def to_date(col: ColumnOrName, format: str | None = None) -> Column:
    """A date from text, in ``format`` or as casting reads it."""
    return call("to_date", col, optional(format))


def to_timestamp(col: ColumnOrName, format: str | None = None) -> Column:
    """A time from text, in ``format`` or as casting reads it."""
    return call("to_timestamp", col, optional(format))


def to_timestamp_ltz(timestamp: ColumnOrName, format: ColumnOrName | None = None) -> Column:
    """An instant from text."""
    return call("to_timestamp_ltz", timestamp, format)


def to_timestamp_ntz(timestamp: ColumnOrName, format: ColumnOrName | None = None) -> Column:
    """A time without a zone from text."""
    return call("to_timestamp_ntz", timestamp, format)


def to_unix_timestamp(timestamp: ColumnOrName, format: ColumnOrName | None = None) -> Column:
    """Seconds since 1970."""
    return call("to_unix_timestamp", timestamp, format)


def to_utc_timestamp(timestamp: ColumnOrName, tz: Column | str) -> Column:
    """The time in UTC at a wall clock time in zone ``tz``."""
    return call("to_utc_timestamp", timestamp, lit(tz))


def trunc(date: ColumnOrName, format: str) -> Column:
    """The date cut down to a unit such as ``'month'``."""
    return call("trunc", date, lit(format))


def try_make_timestamp(
    years: ColumnOrName | None = None,
    months: ColumnOrName | None = None,
    days: ColumnOrName | None = None,
    hours: ColumnOrName | None = None,
    mins: ColumnOrName | None = None,
    secs: ColumnOrName | None = None,
    timezone: ColumnOrName | None = None,
    date: ColumnOrName | None = None,
    time: ColumnOrName | None = None,
) -> Column:
    """An instant from its parts, or null where they are no time."""
    _no_time_of_day("try_make_timestamp", date, time)
    return call("try_make_timestamp", years, months, days, hours, mins, secs, timezone)


def try_make_timestamp_ltz(
    years: ColumnOrName,
    months: ColumnOrName,
    days: ColumnOrName,
    hours: ColumnOrName,
    mins: ColumnOrName,
    secs: ColumnOrName,
    timezone: ColumnOrName | None = None,
) -> Column:
    """An instant from its parts, or null where they are no time."""
    return call("try_make_timestamp_ltz", years, months, days, hours, mins, secs, timezone)


def try_make_timestamp_ntz(
    years: ColumnOrName | None = None,
    months: ColumnOrName | None = None,
    days: ColumnOrName | None = None,
    hours: ColumnOrName | None = None,
    mins: ColumnOrName | None = None,
    secs: ColumnOrName | None = None,
    date: ColumnOrName | None = None,
    time: ColumnOrName | None = None,
) -> Column:
    """A time without a zone from its parts, or null where they are no time."""
    _no_time_of_day("try_make_timestamp_ntz", date, time)
    return call("try_make_timestamp_ntz", years, months, days, hours, mins, secs)


def _no_time_of_day(name: str, date: ColumnOrName | None, time: ColumnOrName | None) -> None:
    if date is not None or time is not None:
        raise PySparkNotImplementedError(
            f"{name}(date=, time=) needs the TIME type, which Tidemill does not have; give years to secs",
            "NOT_IMPLEMENTED",
        )


def try_to_date(col: ColumnOrName, format: str | None = None) -> Column:
    """A date from text, or null where it is none."""
    return call("try_to_date", col, optional(format))


def try_to_timestamp(col: ColumnOrName, format: ColumnOrName | None = None) -> Column:
    """A time from text, or null where it is none."""
    return call("try_to_timestamp", col, format)


def unix_date(col: ColumnOrName) -> Column:
    """Days since 1970-01-01."""
    return call("unix_date", col)


def unix_micros(col: ColumnOrName) -> Column:
    """Microseconds since 1970."""
    return call("unix_micros", col)


def unix_millis(col: ColumnOrName) -> Column:
    """Milliseconds since 1970."""
    return call("unix_millis", col)


def unix_seconds(col: ColumnOrName) -> Column:
    """Seconds since 1970."""
    return call("unix_seconds", col)


def unix_timestamp(timestamp: ColumnOrName | None = None, format: str = "yyyy-MM-dd HH:mm:ss") -> Column:
    """Seconds since 1970 of a time, or of text in a pattern; of the batch's time without an argument."""
    return call("unix_timestamp") if timestamp is None else call("unix_timestamp", timestamp, lit(format))


def weekday(col: ColumnOrName) -> Column:
    """The day of the week, from 0 for Monday to 6 for Sunday."""
    return call("weekday", col)


def weekofyear(col: ColumnOrName) -> Column:
    """The ISO week of the year."""
    return call("weekofyear", col)


def year(col: ColumnOrName) -> Column:
    """The year."""
    return call("year", col)


__all__ = [
    "add_months",
    "convert_timezone",
    "curdate",
    "current_date",
    "current_timestamp",
    "current_timezone",
    "date_add",
    "date_diff",
    "date_format",
    "date_from_unix_date",
    "date_part",
    "date_sub",
    "date_trunc",
    "dateadd",
    "datediff",
    "datepart",
    "day",
    "dayname",
    "dayofmonth",
    "dayofweek",
    "dayofyear",
    "extract",
    "from_unixtime",
    "from_utc_timestamp",
    "hour",
    "last_day",
    "localtimestamp",
    "make_date",
    "make_dt_interval",
    "make_timestamp",
    "make_timestamp_ltz",
    "make_timestamp_ntz",
    "make_ym_interval",
    "minute",
    "month",
    "monthname",
    "months_between",
    "next_day",
    "now",
    "quarter",
    "second",
    "timestamp_add",
    "timestamp_diff",
    "timestamp_micros",
    "timestamp_millis",
    "timestamp_seconds",
    "to_date",
    "to_timestamp",
    "to_timestamp_ltz",
    "to_timestamp_ntz",
    "to_unix_timestamp",
    "to_utc_timestamp",
    "trunc",
    "try_make_timestamp",
    "try_make_timestamp_ltz",
    "try_make_timestamp_ntz",
    "try_to_date",
    "try_to_timestamp",
    "unix_date",
    "unix_micros",
    "unix_millis",
    "unix_seconds",
    "unix_timestamp",
    "weekday",
    "weekofyear",
    "year",
]
