"""Parsed JSON as values of Spark's types, with word of what does not fit."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from tidemill.kernel.functions import patterns, times
from tidemill.kernel.functions.jsontexts import Number, plain
from tidemill.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegralType,
    MapType,
    NullType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)


class State(str):
    """How a value was taken: whole, with parts lost, or not at all."""

    __slots__ = ()


FINE, PARTIAL, FAILED = State("fine"), State("partial"), State("failed")

_EXACT = Context(prec=90)
_NAMED = {
    "NaN": "nan",
    "Infinity": "inf",
    "+Infinity": "inf",
    "INF": "inf",
    "+INF": "inf",
    "-Infinity": "-inf",
    "-INF": "-inf",
}
_LATEST = 1 << 63


@dataclass(frozen=True)
class Rules:
    """How text becomes a time; a format is Java's pattern, None Spark's own forms."""

    zone: str = "UTC"
    date_format: str | None = None
    timestamp_format: str | None = None
    ntz_format: str | None = None


def convert(value: Any, kind: DataType, rules: Rules) -> tuple[Any, State]:
    """One JSON value as ``kind``. A struct keeps the fields that fit; an array or map with a part that does not is lost."""
    if value is None:
        return None, FINE
    match kind:
        case StructType():
            return _struct(value, kind, rules) if isinstance(value, dict) else (None, FAILED)
        case ArrayType(element):
            return _array(value, element, rules) if isinstance(value, list) else (None, FAILED)
        case MapType(_, inner):
            return _map(value, inner, rules) if isinstance(value, dict) else (None, FAILED)
    found = _atom(value, kind, rules)
    return found, FAILED if found is None and not isinstance(kind, NullType) else FINE


def _struct(value: dict[str, Any], kind: StructType, rules: Rules) -> tuple[Any, State]:
    row: dict[str, Any] = {}
    state = FINE
    for f in kind.fields:
        row[f.name], found = convert(value.get(f.name), f.dataType, rules)
        if found is not FINE:
            state = PARTIAL
    return row, state


def _array(value: list[Any], element: DataType, rules: Rules) -> tuple[Any, State]:
    parts = [convert(v, element, rules) for v in value]
    return _together([v for v, _ in parts], [s for _, s in parts])


def _map(value: dict[str, Any], inner: DataType, rules: Rules) -> tuple[Any, State]:
    parts = {plain(k): convert(v, inner, rules) for k, v in value.items()}
    return _together([(k, v) for k, (v, _) in parts.items()], [s for _, s in parts.values()])


def _together(value: list[Any], states: list[State]) -> tuple[Any, State]:
    if FAILED in states:
        return None, FAILED
    return value, PARTIAL if PARTIAL in states else FINE


def _atom(value: Any, kind: DataType, rules: Rules) -> Any:
    """None where it does not fit."""
    if isinstance(kind, StringType):
        return plain(value)
    if isinstance(kind, BooleanType):
        return value if isinstance(value, bool) else None
    if isinstance(value, Number):
        return _from_number(value, kind)
    return _from_string(value, kind, rules) if isinstance(value, str) else None


def _from_number(value: Number, kind: DataType) -> Any:
    match kind:
        case IntegralType():
            return _whole(int(value), kind.bits) if value.is_whole and len(value) < 25 else None
        case DoubleType() | FloatType():
            return float(int(value)) if value.is_whole and len(value) < 300 else float(value)
        case DecimalType():
            return fitted(value, kind)
        case TimestampType():
            micros = int(value) * 1_000_000 if value.is_whole and len(value) < 25 else _LATEST
            return micros if -_LATEST < micros < _LATEST else None
    return None


def _whole(value: int, bits: int) -> int | None:
    half = 1 << (bits - 1)
    if bits == 8 and half <= value < 2 * half:
        return value - 2 * half  # Jackson reads bytes with or without a sign
    return value if -half <= value < half else None


def fitted(text: str, kind: DecimalType) -> Decimal | None:
    """A decimal of a type's digits, rounded half up; None if it has too many before the point."""
    try:
        value = _EXACT.create_decimal(text)
        if not value.is_finite():
            return None
        value = value.quantize(Decimal(1).scaleb(-kind.scale), ROUND_HALF_UP, _EXACT)
    except (ArithmeticError, ValueError):
        return None
    return value if not value or value.adjusted() < kind.precision - kind.scale else None


def _from_string(value: str, kind: DataType, rules: Rules) -> Any:
    match kind:
        case DoubleType() | FloatType():
            return float(_NAMED[value]) if value in _NAMED else None
        case DecimalType():
            return fitted(value.replace(",", ""), kind) if "_" not in value else None
        case BinaryType():
            return _bytes(value)
        case DateType():
            return _date(value, rules)
        case TimestampType():
            if rules.timestamp_format is not None:
                return patterns.read(value, rules.timestamp_format, rules.zone)
            return times.read_timestamp(value, rules.zone)
        case TimestampNTZType():
            return _local(value, rules)
    return None


def _bytes(value: str) -> bytes | None:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None


def _date(value: str, rules: Rules) -> int | None:
    """Days since 1970: by the format, or as a date, or, as Spark once wrote them, as their number."""
    if rules.date_format is not None:
        micros = patterns.read(value, rules.date_format, "UTC")
        return None if micros is None else micros // times.MICROS_PER_DAY
    found = times.read_date(value)
    if found is None and re.fullmatch(r"[+-]?\d{1,7}", value):
        return int(value)
    return found


def _local(value: str, rules: Rules) -> int | None:
    if rules.ntz_format is not None:
        return patterns.read(value, rules.ntz_format, "UTC")
    found = times.read_local(value)
    return None if found is None or found[1] else found[0]
