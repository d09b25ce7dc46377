"""Java's date and time patterns: read into tokens, then carried out by DuckDB where it has the same, else here."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa

from tidemill.errors import AnalysisException
from tidemill.kernel.functions.rows import Refused, by_row
from tidemill.kernel.functions.times import days_of, instant_of, local_of, zone_of
from tidemill.kernel.macros import KernelFunction, kernel

_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
           "December")  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_EPOCH = dt.datetime(1970, 1, 1)


@dataclass(frozen=True)
class Token:
    """A run of one pattern letter, or literal text where ``letter`` is empty; '[' and ']' are letters of their own."""

    letter: str
    count: int
    text: str = ""


_LONGEST = {"y": 6, "M": 4, "L": 4, "d": 2, "D": 3, "E": 4, "H": 2, "h": 2, "K": 2, "k": 2, "m": 2, "s": 2, "S": 9, "a": 1,
            "Q": 4, "q": 4, "G": 4, "z": 4, "Z": 5, "X": 5, "x": 5, "V": 2, "O": 4, "F": 1}  # fmt: skip
_WEEK_BASED = "YWwuec"
_ONLY_WRITTEN = "FqQ"


@lru_cache(maxsize=512)
def tokens(pattern: str, writing: bool) -> tuple[Token, ...]:
    """The pattern's tokens; `AnalysisException` with Spark's condition for what it cannot hold."""
    found: list[Token] = []
    at = 0
    while at < len(pattern):
        sign = pattern[at]
        if sign == "'":
            text, at = _quoted(pattern, at)
            found.append(Token("", 0, text))
        elif sign.isalpha() and sign.isascii():
            count = len(pattern[at:]) - len(pattern[at:].lstrip(sign))
            found.append(_letter(pattern, sign, count, writing))
            at += count
        else:
            found.append(Token(sign, 1) if sign in "[]" else Token("", 0, sign))
            at += 1
    return tuple(found)


def _quoted(pattern: str, at: int) -> tuple[str, int]:
    if pattern[at + 1 : at + 2] == "'":
        return "'", at + 2
    text = ""
    at += 1
    while at < len(pattern):
        if pattern[at] == "'":
            if pattern[at + 1 : at + 2] != "'":
                return text, at + 1
            at += 1
        text += pattern[at]
        at += 1
    raise _refused(pattern, "it has a quote that is not closed", "INVALID_DATETIME_PATTERN.SECONDS_FRACTION")


def _letter(pattern: str, sign: str, count: int, writing: bool) -> Token:
    if sign in _WEEK_BASED:
        raise _refused(
            pattern,
            f"{sign!r} is week-based; use extract() for weeks",
            "INCONSISTENT_BEHAVIOR_CROSS_VERSION.DATETIME_WEEK_BASED_PATTERN",
        )
    if sign not in _LONGEST:
        raise _refused(
            pattern, f"{sign!r} is no pattern letter", "INVALID_DATETIME_PATTERN.ILLEGAL_CHARACTER"
        )
    if (sign == "V" and count != 2) or (sign == "O" and count not in (1, 4)):
        raise _refused(
            pattern, f"it has {count} letters {sign!r}", "INVALID_DATETIME_PATTERN.WITH_SUGGESTION"
        )
    if sign == "z" and count == 4:
        raise _refused(
            pattern, "'zzzz' needs Java's names of zones; use 'z', 'VV' or 'XXX'", "UNSUPPORTED_FEATURE"
        )
    if count > _LONGEST[sign]:
        raise _refused(
            pattern,
            f"it has too many letters {sign!r}",
            "INCONSISTENT_BEHAVIOR_CROSS_VERSION.DATETIME_PATTERN_RECOGNITION",
        )
    if not writing and sign in _ONLY_WRITTEN:
        raise _refused(
            pattern,
            f"{sign!r} can be written but not read",
            "INCONSISTENT_BEHAVIOR_CROSS_VERSION.PARSE_DATETIME_BY_NEW_PARSER",
        )
    return Token(sign, count)


def _refused(pattern: str, what: str, condition: str) -> AnalysisException:
    return AnalysisException(f"the pattern {pattern!r} cannot be used: {what}", condition)


# --- by DuckDB ------------------------------------------------------------------------------------------------------

_STRFTIME = {("y", 4): "%Y", ("y", 2): "%y", ("M", 2): "%m", ("M", 1): "%-m", ("d", 2): "%d", ("d", 1): "%-d", ("H", 2): "%H",
             ("H", 1): "%-H", ("m", 2): "%M", ("m", 1): "%-M", ("s", 2): "%S", ("s", 1): "%-S", ("S", 3): "%g", ("S", 6): "%f",
             ("a", 1): "%p", ("h", 2): "%I", ("h", 1): "%-I", ("E", 1): "%a", ("E", 2): "%a", ("E", 3): "%a", ("E", 4): "%A",
             ("M", 3): "%b", ("M", 4): "%B", ("D", 3): "%j"}  # fmt: skip


def strftime(items: Sequence[Token]) -> str | None:
    """The same pattern for DuckDB, or None."""
    if not items:
        return None
    found = ""
    for token in items:
        if token.letter:
            part = _STRFTIME.get((token.letter, token.count))
            if part is None:
                return None
            found += part
        else:
            found += token.text.replace("%", "%%")
    return found


_STRPTIME = {("y", 4): (r"[0-9]{4}", "%Y"), ("M", 2): (r"[0-9]{2}", "%m"), ("d", 2): (r"[0-9]{2}", "%d"),
             ("H", 2): (r"[0-9]{2}", "%H"), ("m", 2): (r"[0-9]{2}", "%M"), ("s", 2): (r"[0-9]{2}", "%S")}  # fmt: skip


def strptime(items: Sequence[Token]) -> tuple[str, str] | None:
    """A regular expression for the exact form and the same pattern for DuckDB, or None: numbers of fixed width only."""
    expression = form = ""
    letters = {t.letter for t in items}
    if not {"y", "M", "d"} <= letters:
        return None
    for token in items:
        if token.letter:
            part = _STRPTIME.get((token.letter, token.count))
            if part is None:
                return None
            expression, form = expression + part[0], form + part[1]
        else:
            expression += re.escape(token.text)
            form += token.text.replace("%", "%%")
    return expression, form


# --- writing --------------------------------------------------------------------------------------------------------


def write(instant: dt.datetime, pattern: str, zone: str) -> str:
    """An instant (naive UTC) as the pattern shows it in a zone."""
    where = zone_of(zone)
    assert where is not None
    micros = round((instant - _EPOCH) / dt.timedelta(microseconds=1))
    moment = _EPOCH + dt.timedelta(microseconds=local_of(micros, where))
    offset = local_of(micros, where) - micros
    return "".join(
        _shown(t, moment, offset // 1_000_000, instant, where, zone) for t in tokens(pattern, True)
    )


def _shown(
    token: Token, m: dt.datetime, offset: int, instant: dt.datetime, where: dt.tzinfo, zone: str
) -> str:
    n = token.count
    match token.letter:
        case "":
            return token.text
        case "[" | "]":
            return ""
        case "y":
            return f"{m.year % 100:02d}" if n == 2 else str(m.year).rjust(n, "0")
        case "M" | "L":
            return str(m.month).rjust(n, "0") if n < 3 else _MONTHS[m.month - 1][: 3 if n == 3 else None]
        case "E":
            return _DAYS[m.weekday()][: 3 if n < 4 else None]
        case "S":
            return f"{m.microsecond:06d}000"[:n]
        case "a":
            return "AM" if m.hour < 12 else "PM"
        case "Q" | "q":
            quarter = (m.month + 2) // 3
            return (
                str(quarter).rjust(n, "0") if n < 3 else f"Q{quarter}" if n == 3 else _QUARTERS[quarter - 1]
            )
        case "G":
            return "AD" if n < 4 else "Anno Domini"
        case "X" | "x" | "Z" | "O":
            return _offset_text(token, offset)
        case "z":
            return _zone_name(n, instant, where, zone)
        case "V":
            return zone
    return str(_number(token.letter, m)).rjust(n, "0")


_QUARTERS = ("1st quarter", "2nd quarter", "3rd quarter", "4th quarter")


def _number(letter: str, m: dt.datetime) -> int:
    return {
        "d": m.day, "D": m.timetuple().tm_yday, "H": m.hour, "h": (m.hour + 11) % 12 + 1, "K": m.hour % 12,
        "k": m.hour or 24, "m": m.minute, "s": m.second, "F": (m.day - 1) % 7 + 1,
    }[letter]  # fmt: skip


def _offset_text(token: Token, seconds: int) -> str:
    n, letter = token.count, token.letter
    sign, rest = ("-" if seconds < 0 else "+"), abs(seconds)
    hours, minutes = rest // 3600, rest % 3600 // 60
    if letter == "X" and seconds == 0:
        return "Z"
    if letter == "O" or (letter == "Z" and n == 4):
        if seconds == 0:
            return "GMT"
        long = n == 4
        tail = f":{minutes:02d}" if minutes or long else ""
        return f"GMT{sign}{hours:02d}{tail}" if long else f"GMT{sign}{hours}{tail}"
    if letter == "Z":
        return (
            f"{sign}{hours:02d}{minutes:02d}"
            if n < 4
            else ("Z" if seconds == 0 else f"{sign}{hours:02d}:{minutes:02d}")
        )
    if n == 1:
        return f"{sign}{hours:02d}" + (f"{minutes:02d}" if minutes else "")
    return f"{sign}{hours:02d}{minutes:02d}" if n in (2, 4) else f"{sign}{hours:02d}:{minutes:02d}"


def _zone_name(count: int, instant: dt.datetime, where: dt.tzinfo, zone: str) -> str:
    name = instant.replace(tzinfo=dt.UTC).astimezone(where).tzname()
    if count == 4 or not name or not name.isalpha():
        raise Refused(
            "UNSUPPORTED_FEATURE",
            f"the pattern letter 'z' is not supported for zone {zone!r}; use 'VV' or 'XXX'",
        )
    return name


# --- reading --------------------------------------------------------------------------------------------------------

_READ = {"M": r"(\d{1,2})", "d": r"(\d{1,2})", "D": r"(\d{1,3})", "H": r"(\d{1,2})", "h": r"(\d{1,2})", "K": r"(\d{1,2})",
         "k": r"(\d{1,2})", "m": r"(\d{1,2})", "s": r"(\d{1,2})"}  # fmt: skip
_OFFSETS = {("X", 1): r"(Z|[+-]\d{2}(?:\d{2})?)", ("X", 2): r"(Z|[+-]\d{4})", ("X", 3): r"(Z|[+-]\d{2}:\d{2})",
            ("x", 1): r"([+-]\d{2}(?:\d{2})?)", ("x", 2): r"([+-]\d{4})", ("x", 3): r"([+-]\d{2}:\d{2})",
            ("Z", 1): r"([+-]\d{4})", ("Z", 2): r"([+-]\d{4})", ("Z", 3): r"([+-]\d{4})",
            ("Z", 5): r"(Z|[+-]\d{2}:\d{2})"}  # fmt: skip


@lru_cache(maxsize=512)
def reader(pattern: str) -> tuple[re.Pattern[str], tuple[Token, ...]]:
    """A regular expression, and the token behind each of its groups."""
    expression, groups = "", []
    for token in tokens(pattern, False):
        if token.letter == "":
            expression += re.escape(token.text)
        elif token.letter == "[":
            expression += "(?:"
        elif token.letter == "]":
            expression += ")?"
        else:
            expression += _group(token, pattern)
            groups.append(token)
    return re.compile(expression, re.ASCII), tuple(groups)


def _group(token: Token, pattern: str) -> str:
    letter, n = token.letter, token.count
    if letter == "y":
        return r"([+-]?\d{4,6})" if n == 1 else rf"(\d{{{n}}})"
    if letter in "ML" and n >= 3:
        return f"({'|'.join(m[: 3 if n == 3 else None] for m in _MONTHS)})"
    if letter in _READ or letter == "L":
        return rf"(\d{{{n}}})" if n >= 2 else _READ["M" if letter == "L" else letter]
    if letter == "E":
        return f"({'|'.join(d[: 3 if n < 4 else None] for d in _DAYS)})"
    if letter == "S":
        return rf"(\d{{1,{n}}})"
    if letter == "a":
        return "(AM|PM)"
    if letter in "VzO":
        return r"([A-Za-z][\w/+:-]*|[+-]\d{2}:\d{2}|Z)"
    if (letter, n) in _OFFSETS:
        return _OFFSETS[(letter, n)]
    raise _refused(pattern, f"{letter * n!r} cannot be read", "INVALID_DATETIME_PATTERN.ILLEGAL_CHARACTER")


def read(text: str, pattern: str, zone: str) -> int | None:
    """Microseconds since 1970 UTC, or None."""
    expression, groups = reader(pattern)
    found = expression.fullmatch(text)
    if not found:
        return None
    values = {t.letter: (t, v) for t, v in zip(groups, found.groups(), strict=True) if v is not None}
    local = _local(values)
    if local is None:
        return None
    written = next((values[k][1] for k in "XxZVzO" if k in values), None)
    where = zone_of(written or zone)
    return None if where is None else instant_of(local, where)


def _local(values: dict[str, tuple[Token, str]]) -> int | None:
    def number(letter: str, default: int) -> int:
        return int(values[letter][1]) if letter in values else default

    year = number("y", 1970)
    if "y" in values and values["y"][0].count == 2:
        year += 2000
    month = _month(values)
    days = days_of(year, month, number("d", 1)) if "D" not in values else _day_of_year(year, number("D", 1))
    hour = number("H", 0)
    if "h" in values or "K" in values:
        hour = (number("h", 0) % 12 if "h" in values else number("K", 0)) + (
            12 if values.get("a", (None, ""))[1] == "PM" else 0
        )
        if not 0 <= number("h", 1) <= 12:
            return None
    if "k" in values:
        hour = number("k", 24) % 24
    minute, second = number("m", 0), number("s", 0)
    if hour == 24 and minute == second == 0 and days is not None:
        days, hour = days + 1, 0  # the end of a day is the beginning of the next
    if "E" in values and days is not None and not _DAYS[(days + 3) % 7].startswith(values["E"][1]):
        return None
    if days is None or hour > 23 or minute > 59 or second > 59:
        return None
    micros = int(values["S"][1].ljust(6, "0")[:6]) if "S" in values else 0
    return days * 86_400_000_000 + ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros


def _month(values: dict[str, tuple[Token, str]]) -> int:
    token, text = values.get("M") or values.get("L") or (Token("M", 1), "1")
    if token.count < 3:
        return int(text)
    return next(n for n, name in enumerate(_MONTHS, 1) if name.startswith(text))


def _day_of_year(year: int, day: int) -> int | None:
    first = days_of(year, 1, 1)
    return None if first is None or not 1 <= day <= 366 else first + day - 1


@kernel("date_format")
def _date_format() -> KernelFunction:
    return by_row(write, "VARCHAR", pa.string())


@kernel("parse_timestamp")
def _parse_timestamp() -> KernelFunction:
    return by_row(read, "TIMESTAMP", pa.timestamp("us"))
