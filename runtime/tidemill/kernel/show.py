"""Rows as text, cell for cell as Spark's ``show()`` and the console sink print them."""

from __future__ import annotations

import datetime as dt
import decimal
import re
from collections.abc import Callable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from tidemill.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    CalendarIntervalType,
    DataType,
    DayTimeIntervalType,
    DoubleType,
    FloatType,
    MapType,
    StructType,
    TimestampNTZType,
    TimestampType,
    YearMonthIntervalType,
)

Cell = Callable[[Any], str]

_WIDE = re.compile(
    "[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]"
)
"""Characters that take two columns on a terminal."""
_LEAST_WIDTH = 3
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f", "\b": "\\b", "\x0b": "\\v", "\x07": "\\a"}
_ESCAPED = re.compile("[" + "".join(_ESCAPES) + "]")


def java_double(value: float, digits: str | None = None) -> str:
    """A double as Java and so Spark write it: ``1.0E-5``, ``1.0E7``, ``100.0``.

    ``digits`` are the shortest digits in any notation, where they are not those of a double.

    >>> java_double(1e20), java_double(0.001), java_double(100)
    ('1.0E20', '0.001', '100.0')
    """
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    sign, figures, exponent = decimal.Decimal(digits or repr(float(value))).normalize().as_tuple()
    text = "".join(map(str, figures))
    point = len(text) + int(exponent)
    minus = "-" if sign else ""
    if text == "0":
        return f"{minus}0.0"
    if -2 <= point <= 7:
        whole = text[: max(point, 0)].ljust(max(point, 0), "0") or "0"
        fraction = ("0" * -min(point, 0) + text[max(point, 0) :]) or "0"
        return f"{minus}{whole}.{fraction}"
    return f"{minus}{text[0]}.{text[1:] or '0'}E{point - 1}"


def _float(value: float) -> str:
    narrow = np.float32(value)
    return java_double(value, str(narrow) if np.isfinite(narrow) else None)


def _timestamp(value: dt.datetime) -> str:
    text = value.replace(tzinfo=None).isoformat(sep=" ")
    return text.rstrip("0") if value.microsecond else text


def _duration(value: dt.timedelta) -> str:
    sign, size = ("-", -value) if value < dt.timedelta(0) else ("", value)
    minutes, seconds = divmod(size.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{size.microseconds:06}".rstrip("0") if size.microseconds else ""
    return f"INTERVAL '{sign}{size.days} {hours:02}:{minutes:02}:{seconds:02}{fraction}' DAY TO SECOND"


def _months(value: Any) -> str:
    years, months = divmod(abs(value[0]), 12)
    return f"INTERVAL '{'-' if value[0] < 0 else ''}{years}-{months}' YEAR TO MONTH"


def _calendar(value: Any) -> str:
    months, days, nanos = value
    sign, micros = (-1 if nanos < 0 else 1), abs(nanos) // 1000
    minutes, rest = divmod(micros, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    years, months = (
        divmod(abs(months), 12)[0] * (1 if months >= 0 else -1),
        abs(months) % 12 * (1 if months >= 0 else -1),
    )
    seconds = f"{rest // 1_000_000}.{rest % 1_000_000:06}".rstrip("0").rstrip(".") if rest else "0"
    parts = [
        (years, "years"),
        (months, "months"),
        (days, "days"),
        (sign * hours, "hours"),
        (sign * minutes, "minutes"),
    ]
    texts = [f"{n} {unit}" for n, unit in parts if n]
    texts += [f"{'-' if sign < 0 else ''}{seconds} seconds"] if rest else []
    return " ".join(texts) or "0 seconds"


def cell(kind: DataType, time_zone: str = "UTC") -> Cell:
    """The function that writes values of ``kind``, as `pa.Array.to_pylist` gives them, for ``show()``."""
    match kind:
        case ArrayType(element):
            inner = cell(element, time_zone)
            return lambda v: "NULL" if v is None else f"[{', '.join(map(inner, v))}]"
        case MapType(key, value):
            left, right = cell(key, time_zone), cell(value, time_zone)
            return lambda v: (
                "NULL" if v is None else f"{{{', '.join(f'{left(k)} -> {right(x)}' for k, x in v)}}}"
            )
        case StructType(fields):
            cells = [cell(f.dataType, time_zone) for f in fields]
            return lambda v: (
                "NULL"
                if v is None
                else f"{{{', '.join(c(x) for c, x in zip(cells, v.values(), strict=False))}}}"
            )
    write = _writer(kind, time_zone)
    return lambda v: "NULL" if v is None else write(v)


def _writer(kind: DataType, time_zone: str) -> Cell:
    if isinstance(kind, TimestampType):
        if time_zone == "UTC":
            return _timestamp
        zone = ZoneInfo(time_zone)
        return lambda v: _timestamp(v.replace(tzinfo=dt.UTC).astimezone(zone))
    simple: dict[type[DataType], Cell] = {
        BooleanType: lambda v: "true" if v else "false", BinaryType: lambda v: f"[{v.hex(' ').upper()}]",
        DoubleType: java_double, FloatType: _float, TimestampNTZType: _timestamp, DayTimeIntervalType: _duration,
        YearMonthIntervalType: _months, CalendarIntervalType: _calendar,
    }  # fmt: skip
    return simple.get(type(kind), lambda v: f"{v:f}" if isinstance(v, decimal.Decimal) else str(v))


def width(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return len(text) + len(_WIDE.findall(text))


def _escaped(text: str) -> str:
    return _ESCAPED.sub(lambda m: _ESCAPES[m[0]], text)


def _cut(text: str, truncate: int) -> str:
    if truncate <= 0 or len(text) <= truncate:
        return text
    return text[:truncate] if truncate < 4 else text[: truncate - 3] + "..."


def _cells(table: pa.Table, schema: StructType, truncate: int, time_zone: str, count: int) -> list[list[str]]:
    columns = []
    for number, field in enumerate(schema.fields):
        write = cell(field.dataType, time_zone)
        columns.append([_cut(_escaped(write(v)), truncate) for v in table.column(number).to_pylist()])
    return [list(row) for row in zip(*columns, strict=True)] if columns else [[] for _ in range(count)]


def show(
    table: pa.Table,
    schema: StructType,
    n: int = 20,
    truncate: int = 20,
    vertical: bool = False,
    time_zone: str = "UTC",
) -> str:
    """What Spark prints for the first ``n`` rows: give at most ``n + 1``, so that it can say whether there are more.

    Cells longer than ``truncate`` characters are cut, unless it is 0; ``vertical`` prints a line for each cell.
    """
    # A table without columns cannot be sliced.
    rows = _cells(table.slice(0, n), schema, truncate, time_zone, min(n, table.num_rows))
    names = [_cut(_escaped(name), truncate) for name in schema.names]
    more = table.num_rows > n
    text = _vertical(names, rows) if vertical else _table(names, rows, right=truncate > 0)
    if vertical and not rows and not more:
        return "(0 rows)"
    return f"{text}only showing top {n} row{'' if n == 1 else 's'}" if more else text


def _pad(text: str, size: int, right: bool) -> str:
    fill = " " * (size - width(text))
    return fill + text if right else text + fill


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], right: bool) -> str:
    sizes = [max(_LEAST_WIDTH, *(width(r[i]) for r in (names, *rows))) for i in range(len(names))]
    rule = f"+{'+'.join('-' * s for s in sizes)}+\n"
    lines = [
        f"|{'|'.join(_pad(c, s, right) for c, s in zip(r, sizes, strict=True))}|\n" for r in (names, *rows)
    ]
    return f"{rule}{lines[0]}{rule}{''.join(lines[1:])}{rule}"


def _vertical(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    left = max([_LEAST_WIDTH, *map(width, names)])
    right = max([_LEAST_WIDTH, *(width(c) for r in rows for c in r)])
    lines = []
    for number, row in enumerate(rows):
        lines.append(f"-RECORD {number}".ljust(left + right + 5, "-"))
        lines += [
            f" {_pad(n, left, False)} | {_pad(c, right, False)} " for n, c in zip(names, row, strict=True)
        ]
    return "".join(f"{line}\n" for line in lines)
