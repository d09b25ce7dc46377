"""Literals: numbers, strings, booleans, NULL, binaries and intervals."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from sqlglot import exp

from tidemill.errors import AnalysisException
from tidemill.plan.compiler import Compiler, handles
from tidemill.plan.rendering import let
from tidemill.plan.typed import Typed, duck_type, quote_text
from tidemill.types import (
    BinaryType,
    BooleanType,
    CalendarIntervalType,
    DataType,
    DayTimeIntervalType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    NullType,
    StringType,
    YearMonthIntervalType,
)

MICROS = {
    "MICROSECOND": 1, "MILLISECOND": 1_000, "SECOND": 1_000_000, "MINUTE": 60_000_000, "HOUR": 3_600_000_000,
    "DAY": 86_400_000_000, "WEEK": 604_800_000_000,
}  # fmt: skip
MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}


@dataclass(frozen=True)
class IntervalValue:
    """A literal interval: whole months, whole days and microseconds as they were written."""

    months: int
    days: int
    micros: int

    @property
    def duration(self) -> int:
        """Days and microseconds in microseconds."""
        return self.days * MICROS["DAY"] + self.micros


def number(text: str, negative: bool = False) -> Typed:
    """A number as written: INT, BIGINT, DECIMAL by its digits, or DOUBLE if it has an exponent."""
    sign = "-" if negative else ""
    if re.fullmatch(r"\d+", text):
        value = -int(text) if negative else int(text)
        if -(2**31) <= value < 2**31:
            return Typed(f"CAST({value} AS INTEGER)", IntegerType(), False, value)
        if -(2**63) <= value < 2**63:
            return Typed(f"CAST({value} AS BIGINT)", LongType(), False, value)
        return _decimal(sign + text)
    if re.search(r"[eE]", text):
        if math.isinf(float(text)):
            raise AnalysisException(
                f"the literal {sign}{text} is beyond any double", "INVALID_NUMERIC_LITERAL_RANGE"
            )
        return Typed(f"CAST('{sign}{text}' AS DOUBLE)", DoubleType(), False, float(sign + text))
    return _decimal(sign + text)


def _decimal(text: str) -> Typed:
    from decimal import Decimal

    value = Decimal(text)
    parts = value.as_tuple()
    scale = max(0, -int(parts.exponent))
    digits = len(parts.digits) + max(0, int(parts.exponent))
    kind = DecimalType(max(digits, scale, 1), scale)
    if kind.precision > 38:
        raise AnalysisException(
            f"the literal {text} has more than 38 digits; write it as a double ({text}D) or a string",
            "DECIMAL_PRECISION_EXCEEDS_MAX_PRECISION",
        )
    return Typed(f"CAST('{value:f}' AS {duck_type(kind)})", kind, False, value)


@handles(exp.Literal)
def _literal(compiler: Compiler, node: exp.Literal) -> Typed:
    if node.is_string:
        return Typed(quote_text(node.this), StringType(), False, node.this)
    return number(node.this)


@handles(exp.RawString)
def _raw(compiler: Compiler, node: exp.RawString) -> Typed:
    return Typed(quote_text(node.this), StringType(), False, node.this)


@handles(exp.Null)
def _null(compiler: Compiler, node: exp.Null) -> Typed:
    return Typed("NULL", NullType(), True)


@handles(exp.Boolean)
def _boolean(compiler: Compiler, node: exp.Boolean) -> Typed:
    return Typed("true" if node.this else "false", BooleanType(), False, bool(node.this))


@handles(exp.HexString)
def _hex(compiler: Compiler, node: exp.HexString) -> Typed:
    digits = node.this if len(node.this) % 2 == 0 else "0" + node.this
    return Typed(f"unhex('{digits}')", BinaryType(), False, bytes.fromhex(digits))


# --- intervals ------------------------------------------------------------------------------------------------------


def interval(value: IntervalValue, kind: DataType) -> Typed:
    """A literal interval. A day-time one is held in microseconds alone, so that a day is always 24 hours."""
    if isinstance(kind, YearMonthIntervalType):
        sql = f"to_months({value.months})"
    elif isinstance(kind, DayTimeIntervalType):
        sql = f"to_microseconds({value.duration}::BIGINT)"
    else:
        sql = f"(to_months({value.months}) + to_days({value.days}) + to_microseconds({value.micros}::BIGINT))"
    return Typed(sql, kind, False, value)


def unit_name(text: str) -> str:
    """A unit in its singular: ``days`` is DAY."""
    word = text.strip().upper()
    return word[:-1] if word.endswith("S") else word


@handles(exp.Interval)
def _interval(compiler: Compiler, node: exp.Interval) -> Typed:
    unit = node.args.get("unit")
    if isinstance(unit, exp.IntervalSpan):
        return _spanned(node.this.name, unit_name(unit.this.name), unit_name(unit.expression.name))
    if unit is None:
        return parse_interval(node.this.name)
    name = unit_name(unit.name)
    if isinstance(node.this, exp.Literal):
        return parse_interval(f"{node.this.this} {name}")
    return _computed(compiler.compile(node.this), name)


def _computed(count: Typed, unit: str) -> Typed:
    """``INTERVAL n DAYS`` with an expression for n."""
    if unit in MONTHS:
        return Typed(
            f"to_months(CAST({count.sql} AS INTEGER) * {MONTHS[unit]})",
            YearMonthIntervalType(),
            count.nullable,
        )
    micros = MICROS.get(unit)
    if micros is None:
        raise _unreadable(unit)
    sql = let(count.sql, lambda x: f"to_microseconds(CAST({x} * {micros} AS BIGINT))")
    return Typed(sql, DayTimeIntervalType(), count.nullable)


def _unreadable(text: str) -> AnalysisException:
    return AnalysisException(
        f"{text!r} is no interval; write one like INTERVAL '10' MINUTES or INTERVAL '1 02:03:04' DAY TO SECOND",
        "INVALID_INTERVAL_FORMAT",
    )


_PART = re.compile(r"([+-]?)\s*(\d+)(?:\.(\d{1,9}))?\s+([A-Za-z]+)\s*")


def parse_interval(text: str) -> Typed:
    """``1 day 2 hours``, ``interval 3 months``: an interval by its words."""
    return interval(*interval_parts(text))


def interval_parts(text: str) -> tuple[IntervalValue, DataType]:
    """An interval by its words, and the narrowest type that holds it; `AnalysisException` if it cannot be read."""
    rest = re.sub(r"^\s*interval\s+", "", text.strip(), flags=re.I)
    months = days = micros = 0
    units: set[str] = set()
    while rest:
        found = _PART.match(rest)
        if not found:
            raise _unreadable(text)
        sign = -1 if found.group(1) == "-" else 1
        unit = unit_name(found.group(4))
        count = sign * int(found.group(2))
        if found.group(3) and unit != "SECOND":
            raise _unreadable(text)
        if unit in MONTHS:
            months += count * MONTHS[unit]
        elif unit in ("DAY", "WEEK"):
            days += count * (7 if unit == "WEEK" else 1)
        elif unit in MICROS:
            micros += count * MICROS[unit] + sign * int((found.group(3) or "0").ljust(6, "0")[:6])
        else:
            raise _unreadable(text)
        units.add(unit)
        rest = rest[found.end() :]
    if not units:
        raise _unreadable(text)
    return IntervalValue(months, days, micros), _kind_of(units)


def _kind_of(units: set[str]) -> DataType:
    if units <= MONTHS.keys():
        return YearMonthIntervalType()
    return DayTimeIntervalType() if units <= MICROS.keys() else CalendarIntervalType()


_ORDER = ("DAY", "HOUR", "MINUTE", "SECOND")


def _spanned(text: str, first: str, last: str) -> Typed:
    """``INTERVAL '1 2:03:04' DAY TO SECOND`` and its like."""
    if (first, last) == ("YEAR", "MONTH"):
        found = re.fullmatch(r"\s*([+-]?)(\d+)-(\d+)\s*", text)
        if not found:
            raise _unreadable(text)
        months = (int(found.group(2)) * 12 + int(found.group(3))) * (-1 if found.group(1) == "-" else 1)
        return interval(IntervalValue(months, 0, 0), YearMonthIntervalType())
    if first not in _ORDER or last not in _ORDER:
        raise _unreadable(f"{text} {first} TO {last}")
    names = _ORDER[_ORDER.index(first) : _ORDER.index(last) + 1]
    found = re.fullmatch(r"\s*([+-]?)([\d\s:.]+)", text)
    parts = re.split(r"[\s:]+", found.group(2).strip()) if found else []
    if not found or len(parts) != len(names):
        raise _unreadable(f"{text} {first} TO {last}")
    micros = 0
    for name, part in zip(names, parts, strict=True):
        whole, _, fraction = part.partition(".")
        micros += int(whole) * MICROS[name] + (int(fraction.ljust(6, "0")[:6]) if fraction else 0)
    sign = -1 if found.group(1) == "-" else 1
    return interval(IntervalValue(0, 0, sign * micros), DayTimeIntervalType())
