"""Python values as the expressions that SQL text would hold in their place."""

from __future__ import annotations

import datetime as dt
import decimal
import math
from collections.abc import Iterable
from typing import Any

from sqlglot import exp

from tidemill.errors import PySparkTypeError
from tidemill.kernel.show import java_double
from tidemill.plan.names import NAMED

_INT_LIMIT = 2**31


def call(name: str, arguments: Iterable[exp.Expression]) -> exp.Expression:
    """A function call, the same tree for every function as the SQL parser makes."""
    return exp.Anonymous(this=name, expressions=list(arguments))


def typed(value: exp.Expression, type_name: str) -> exp.Expression:
    """``value`` under a type, as ``1.5D`` and ``DATE '2024-01-01'`` parse."""
    made = exp.Cast(this=value, to=exp.DataType.build(type_name, dialect="spark"))
    made.meta["literal"] = True  # its column is named by the value, not by the cast
    return made


def literal(value: Any) -> exp.Expression:
    """The expression for a Python value, of the type that Spark gives it.

    Lists become ``array(...)``, dicts ``map(...)``; a datetime without a zone is local time, as in PySpark.
    Raises `PySparkTypeError` for a value that has no SQL form.
    """
    if value is None:
        return exp.Null()
    if isinstance(value, bool):
        return exp.Boolean(this=value)
    if isinstance(value, str):
        return exp.Literal.string(value)
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return _double(value)
    if isinstance(value, decimal.Decimal):
        return _decimal(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        digits = bytes(value).hex().upper()
        return _called(exp.HexString(this=digits), f"X'{digits}'")
    if isinstance(value, (dt.datetime, dt.date, dt.timedelta)):
        return _temporal(value)
    return _nested(value)


def _called(e: exp.Expression, name: str) -> exp.Expression:
    """``e`` as a column of this name, where its text would be another."""
    e.meta[NAMED] = name
    return e


def _integer(value: int) -> exp.Expression:
    number = exp.Literal.number(value)
    return number if -_INT_LIMIT <= value < _INT_LIMIT else typed(number, "bigint")


def _double(value: float) -> exp.Expression:
    if math.isfinite(value):
        number = exp.Literal.number(repr(abs(value)))
        made = typed(exp.Neg(this=number) if math.copysign(1, value) < 0 else number, "double")
        return _called(made, java_double(value))
    text = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return typed(exp.Literal.string(text), "double")


def _decimal(value: decimal.Decimal) -> exp.Expression:
    digits = f"{abs(value):f}"
    scale = len(digits.partition(".")[2])
    precision = max(len(digits.replace(".", "").lstrip("0")), scale, 1)
    number: exp.Expression = exp.Literal.number(digits)
    number = exp.Neg(this=number) if value < 0 else number
    return typed(number, f"decimal({precision},{scale})")


def _temporal(value: dt.datetime | dt.date | dt.timedelta) -> exp.Expression:
    if isinstance(value, dt.datetime):
        instant = value.astimezone(dt.UTC).replace(tzinfo=None)
        made = typed(exp.Literal.string(f"{instant.isoformat(sep=' ')}Z"), "timestamp")
        return _called(made, f"TIMESTAMP '{value.astimezone().replace(tzinfo=None).isoformat(sep=' ')}'")
    if isinstance(value, dt.date):
        return typed(exp.Literal.string(value.isoformat()), "date")
    span = exp.IntervalSpan(this=exp.Var(this="DAY"), expression=exp.Var(this="SECOND"))
    clock = _clock(value)
    shown = clock.rstrip("0").rstrip(".") if value.microseconds else clock.partition(".")[0]
    return _called(
        exp.Interval(this=exp.Literal.string(clock), unit=span), f"INTERVAL '{shown}' DAY TO SECOND"
    )


def _clock(value: dt.timedelta) -> str:
    """``1 02:03:04.000005``, with a sign in front where it is negative."""
    sign, size = ("-", -value) if value < dt.timedelta(0) else ("", value)
    minutes, seconds = divmod(size.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{size.days} {hours:02}:{minutes:02}:{seconds:02}.{size.microseconds:06}"


def _nested(value: Any) -> exp.Expression:
    if isinstance(value, (list, tuple)):
        return call("array", map(literal, value))
    if isinstance(value, dict):
        return call("map", (literal(part) for pair in value.items() for part in pair))
    if hasattr(value, "tolist"):  # a numpy scalar or array
        return literal(value.tolist())
    raise PySparkTypeError(
        f"A {type(value).__name__} cannot be a literal: {value!r}; pass a number, text, bytes, time, list or dict",
        "UNSUPPORTED_LITERAL",
    )
