"""SQL for the text of values that Arrow's own functions cannot write: nested ones and intervals."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from tidemill.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    CalendarIntervalType,
    DataType,
    DateType,
    DayTimeIntervalType,
    DoubleType,
    FloatType,
    MapType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
    YearMonthIntervalType,
)

_threads = threading.local()


@dataclass(frozen=True)
class TextForm:
    """How values become text."""

    time_zone: str = "UTC"
    """Instants are written in it, with its offset."""
    ignore_null_fields: bool = True
    """JSON: leave out the fields of an object that are null, as Spark does by default."""

    @property
    def is_utc(self) -> bool:
        return self.time_zone.upper() in ("UTC", "Z", "ETC/UTC", "GMT")


def evaluate(column: pa.Array, sql: str) -> pa.Array:
    """The strings that an expression over ``x`` makes of a column's values."""
    cursor = _connection()
    cursor.register("encoded", pa.table({"x": column}))
    try:
        found = cursor.sql(f"SELECT {sql} AS text FROM encoded").to_arrow_table().column(0)
    finally:
        cursor.unregister("encoded")
    return found.cast(pa.string()).combine_chunks()


def _connection() -> duckdb.DuckDBPyConnection:
    # One small instance for each thread: registered tables belong to a connection, and the order of rows has to stay.
    found: duckdb.DuckDBPyConnection | None = getattr(_threads, "connection", None)
    if found is None:
        found = _threads.connection = duckdb.connect(":memory:", config={"threads": 1})
    return found


def literal(text: str) -> str:
    """A string as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def _json_string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


# --- JSON -----------------------------------------------------------------------------------------------------------


def json_text(x: str, kind: DataType, form: TextForm, depth: int = 0) -> str:
    """SQL for a value's JSON text; NULL for a null."""
    match kind:
        case StructType(fields):
            parts = [(f.name, f"struct_extract_at({x}, {i + 1})", f.dataType) for i, f in enumerate(fields)]
            return f"CASE WHEN {x} IS NOT NULL THEN {_object(parts, form, depth)} END"
        case ArrayType(element):
            v = f"v{depth}"
            item = f"coalesce({json_text(v, element, form, depth + 1)}, 'null')"
            return f"CASE WHEN {x} IS NOT NULL THEN '[' || {_joined(x, v, item)} || ']' END"
        case MapType(key, value):
            return _map(x, key, value, form, depth)
        case BooleanType():
            return f"({x})::VARCHAR"
        case DoubleType() | FloatType():
            text = double_text(x)
            return f"CASE WHEN isfinite({x}) THEN {text} ELSE '\"' || {text} || '\"' END"
        case StringType():
            return f"to_json({x})::VARCHAR"
        case BinaryType():
            return f"('\"' || base64({x}) || '\"')"
        case TimestampType() | TimestampNTZType() | DateType():
            return f"('\"' || {moment_text(x, kind, form)} || '\"')"
        case DayTimeIntervalType() | YearMonthIntervalType() | CalendarIntervalType():
            return f"('\"' || {interval_text(x, kind)} || '\"')"
    return f"({x})::VARCHAR"


def _object(fields: list[tuple[str, str, DataType]], form: TextForm, depth: int) -> str:
    parts = []
    for name, x, kind in fields:
        value = json_text(x, kind, form, depth)
        if not form.ignore_null_fields:
            value = f"coalesce({value}, 'null')"
        parts.append(f"{literal(_json_string(name) + ':')} || {value}")
    # concat_ws leaves nulls out, and a name before a null is null.
    return f"('{{' || concat_ws(',', {', '.join(parts)}) || '}}')" if parts else "'{}'"


def _map(x: str, key: DataType, value: DataType, form: TextForm, depth: int) -> str:
    e = f"v{depth}"
    name = f"{e}.key" if isinstance(key, StringType) else plain_text(f"{e}.key", key, form)
    item = f"to_json({name})::VARCHAR || ':' || coalesce({json_text(f'{e}.value', value, form, depth + 1)}, 'null')"
    return f"CASE WHEN {x} IS NOT NULL THEN '{{' || {_joined(f'map_entries({x})', e, item)} || '}}' END"


def _joined(items: str, name: str, text: str) -> str:
    # An empty list has no text of its own, which would make the whole value null.
    return f"coalesce(array_to_string(list_transform({items}, lambda {name}: {text}), ','), '')"


# --- Values ---------------------------------------------------------------------------------------------------------


def plain_text(x: str, kind: DataType, form: TextForm) -> str:
    """SQL for an atomic value's text as Spark's CSV writer gives it; NULL for a null."""
    match kind:
        case StringType():
            return x
        case DoubleType() | FloatType():
            return double_text(x)
        case TimestampType() | TimestampNTZType() | DateType():
            return moment_text(x, kind, form)
        case DayTimeIntervalType() | YearMonthIntervalType() | CalendarIntervalType():
            return interval_text(x, kind)
        case BinaryType():
            return f"('[' || trim(upper(regexp_replace(hex({x}), '(..)', '\\1 ', 'g'))) || ']')"
    return f"({x})::VARCHAR"


def double_text(x: str) -> str:
    """SQL for a double's or float's text as Java prints it: plain from 0.001 to 10,000,000, else like 1.5E-7.

    DuckDB prints the same shortest digits, but changes to exponents at other sizes.
    """
    t = f"({x})::VARCHAR"
    whole, part = f"split_part(ltrim({t}, '-'), '.', 1)", f"split_part({t}, '.', 2)"
    sign = f"CASE WHEN {x} < 0 THEN '-' ELSE '' END"
    large = f"rtrim({whole} || {part}, '0')"
    small = f"ltrim({part}, '0')"
    return f"""CASE
        WHEN isnan({x}) THEN 'NaN'
        WHEN isinf({x}) THEN CASE WHEN {x} > 0 THEN 'Infinity' ELSE '-Infinity' END
        WHEN {x} = 0 OR abs({x}) >= 0.001 AND abs({x}) < 10000000 THEN {t}
        WHEN contains({t}, 'e') THEN split_part({t}, 'e', 1)
            || CASE WHEN contains({t}, '.') THEN '' ELSE '.0' END || 'E' || split_part({t}, 'e', 2)::INT
        WHEN abs({x}) >= 1 THEN {sign} || {large}[1] || '.'
            || CASE WHEN length({large}) > 1 THEN {large}[2:] ELSE '0' END || 'E' || (length({whole}) - 1)
        WHEN {x} IS NOT NULL THEN {sign} || {small}[1] || '.'
            || CASE WHEN length({small}) > 1 THEN {small}[2:] ELSE '0' END
            || 'E-' || (length({part}) - length({small}) + 1)
        END"""


def moment_text(x: str, kind: DataType, form: TextForm) -> str:
    """SQL for the text of a date or timestamp."""
    if isinstance(kind, DateType):
        return f"strftime({x}, '%Y-%m-%d')"
    pattern = "'%Y-%m-%dT%H:%M:%S.%g'"
    if isinstance(kind, TimestampNTZType):
        return f"strftime({x}, {pattern})"
    if form.is_utc:
        return f"strftime({x}, {pattern}) || 'Z'"
    local = f"timezone({literal(form.time_zone)}, timezone('UTC', {x}))"
    return f"strftime({local}, {pattern}) || {_offset(local, x)}"


def _offset(local: str, utc: str) -> str:
    minutes = f"datediff('minute', {utc}, {local})"
    sign = f"CASE WHEN {minutes} < 0 THEN '-' ELSE '+' END"
    return (
        f"CASE WHEN {minutes} = 0 THEN 'Z' ELSE {sign} || lpad((abs({minutes}) // 60)::VARCHAR, 2, '0') || ':' || "
        f"lpad((abs({minutes}) % 60)::VARCHAR, 2, '0') END"
    )


def interval_text(x: str, kind: DataType) -> str:
    """SQL for the text of an interval: ``INTERVAL '1 02:03:04.5' DAY TO SECOND``."""
    if isinstance(kind, DayTimeIntervalType):
        us = f"epoch_us({x})"
        clock = f"format('{{:d}} {{:02d}}:{{:02d}}:{{:02d}}', {', '.join(_clock(us))})"
        fraction = f"rtrim('.' || lpad((abs({us}) % 1000000)::VARCHAR, 6, '0'), '0')"
        sign = f"CASE WHEN {us} < 0 THEN '-' ELSE '' END"
        return f"('INTERVAL ''' || {sign} || {clock} || rtrim({fraction}, '.') || ''' DAY TO SECOND')"
    if isinstance(kind, YearMonthIntervalType):
        months = f"(datepart('year', {x}) * 12 + datepart('month', {x}))"
        sign = f"CASE WHEN {months} < 0 THEN '-' ELSE '' END"
        parts = f"(abs({months}) // 12) || '-' || (abs({months}) % 12)"
        return f"('INTERVAL ''' || {sign} || {parts} || ''' YEAR TO MONTH')"
    return f"({x})::VARCHAR"


def _clock(us: str) -> list[str]:
    seconds = f"(abs({us}) // 1000000)"
    return [f"{seconds} // 86400", f"{seconds} // 3600 % 24", f"{seconds} // 60 % 60", f"{seconds} % 60"]
