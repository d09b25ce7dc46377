"""Intervals from text and to it, as Spark's casts have them."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa

from tidemill.kernel.functions.rows import by_row
from tidemill.kernel.macros import KernelFunction, kernel

_DAY_TIME = re.compile(
    r"(?:INTERVAL\s+)?'?([+-]?)(\d+) (\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d{1,9}))?'?(?:\s+DAY TO SECOND)?",
    re.I,
)
_YEAR_MONTH = re.compile(r"(?:INTERVAL\s+)?'?([+-]?)(\d+)-(\d{1,2})'?(?:\s+YEAR TO MONTH)?", re.I)
_MICROS_PER_SECOND = 1_000_000


def day_time_text(micros: int) -> str:
    """``INTERVAL '1 02:03:04' DAY TO SECOND``."""
    sign, rest = ("-" if micros < 0 else ""), abs(micros)
    seconds, fraction = divmod(rest, _MICROS_PER_SECOND)
    minutes, s = divmod(seconds, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    tail = f".{fraction:06d}".rstrip("0") if fraction else ""
    return f"INTERVAL '{sign}{days} {h:02d}:{m:02d}:{s:02d}{tail}' DAY TO SECOND"


def year_month_text(months: int) -> str:
    """``INTERVAL '1-2' YEAR TO MONTH``."""
    years, rest = divmod(abs(months), 12)
    return f"INTERVAL '{'-' if months < 0 else ''}{years}-{rest}' YEAR TO MONTH"


def calendar_text(months: int, days: int, micros: int) -> str:
    """``1 years 2 months 3 days 4 hours``."""
    parts = []
    for value, unit in ((_cut(months, 12), "years"), (_rest(months, 12), "months"), (days, "days")):
        if value:
            parts.append(f"{value} {unit}")
    hour = 3_600 * _MICROS_PER_SECOND
    hours, left = _cut(micros, hour), _rest(micros, hour)
    minutes, left = _cut(left, 60 * _MICROS_PER_SECOND), _rest(left, 60 * _MICROS_PER_SECOND)
    for value, unit in ((hours, "hours"), (minutes, "minutes")):
        if value:
            parts.append(f"{value} {unit}")
    if left:
        whole, fraction = divmod(abs(left), _MICROS_PER_SECOND)
        tail = f".{fraction:06d}".rstrip("0") if fraction else ""
        parts.append(f"{'-' if left < 0 else ''}{whole}{tail} seconds")
    return " ".join(parts) or "0 seconds"


def _cut(value: int, unit: int) -> int:
    return abs(value) // unit * (1 if value >= 0 else -1)


def _rest(value: int, unit: int) -> int:
    return value - _cut(value, unit) * unit


@kernel("interval_text")
def _interval_text() -> KernelFunction:
    def write(value: Any, kind: str) -> str:
        micros = value.nanoseconds // 1000
        if kind == "dt":
            return day_time_text(value.days * 86_400 * _MICROS_PER_SECOND + micros)
        return (
            year_month_text(value.months) if kind == "ym" else calendar_text(value.months, value.days, micros)
        )

    return by_row(write, "VARCHAR", pa.string())


@kernel("to_interval")
def _to_interval() -> KernelFunction:
    return by_row(read_interval, "INTERVAL", pa.month_day_nano_interval())


def read_interval(text: str, kind: str) -> tuple[int, int, int] | None:
    """Months, days and nanoseconds; None if the text is no such interval."""
    stripped = text.strip()
    if kind == "dt" and (found := _DAY_TIME.fullmatch(stripped)):
        sign, days, h, m, s, fraction = found.groups()
        micros = ((int(days) * 24 + int(h)) * 60 + int(m)) * 60 + int(s)
        total = micros * _MICROS_PER_SECOND + int((fraction or "").ljust(6, "0")[:6])
        return 0, 0, (-total if sign == "-" else total) * 1000
    if kind == "ym" and (found := _YEAR_MONTH.fullmatch(stripped)):
        sign, years, months = found.groups()
        total = int(years) * 12 + int(months)
        return (-total if sign == "-" else total), 0, 0
    return _by_words(stripped, kind)


_PART = re.compile(r"([+-]?)\s*(\d+)(?:\.(\d{1,9}))?\s+([A-Za-z]+)\s*")
_UNITS = {"year": (12, 0, 0), "month": (1, 0, 0), "week": (0, 7, 0), "day": (0, 1, 0), "hour": (0, 0, 3_600_000_000),
          "minute": (0, 0, 60_000_000), "second": (0, 0, 1_000_000), "millisecond": (0, 0, 1_000), "microsecond": (0, 0, 1)}  # fmt: skip


def _by_words(text: str, kind: str) -> tuple[int, int, int] | None:
    rest = re.sub(r"^interval\s+", "", text, flags=re.I)
    months = days = micros = 0
    while rest:
        found = _PART.match(rest)
        unit = _UNITS.get(found.group(4).lower().removesuffix("s")) if found else None
        if not found or unit is None or (found.group(3) and not found.group(4).lower().startswith("second")):
            return None
        count = int(found.group(2)) * (-1 if found.group(1) == "-" else 1)
        fraction = int((found.group(3) or "").ljust(6, "0")[:6]) * (-1 if found.group(1) == "-" else 1)
        months, days, micros = (
            months + count * unit[0],
            days + count * unit[1],
            micros + count * unit[2] + fraction,
        )
        rest = rest[found.end() :]
    if not text or (kind == "dt" and months) or (kind == "ym" and (days or micros)):
        return None
    return (0, 0, (days * 86_400_000_000 + micros) * 1000) if kind == "dt" else (months, days, micros * 1000)
