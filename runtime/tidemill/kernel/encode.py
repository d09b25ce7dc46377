"""Rows as text: Spark's JSON and CSV forms, made by DuckDB a column at a time.

The SQL here works on Arrow columns as they stand at a sink: timestamps are instants in UTC without a zone.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.kernel.show import cell
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
    ignore_null_fields: bool = True
    """JSON: leave out the fields of an object that are null, as Spark does by default."""
    timestamp_format: str | None = None
    """A DuckDB strftime pattern; None: Spark's default, ISO with milliseconds and the zone's offset."""
    date_format: str | None = None


def json_lines(rows: pa.Table, schema: StructType, form: TextForm, end: str = "") -> pa.ChunkedArray:
    """One JSON object for each row, each followed by ``end``; a string column without nulls."""
    rows, kinds = _with_number_texts(rows, [f.dataType for f in schema.fields])
    text = _object(
        [(f.name, f"c{i}", kind) for i, (f, kind) in enumerate(zip(schema.fields, kinds, strict=True))],
        form,
        0,
    )
    return _run(rows, f"{text} || {literal(end)}" if end else text)


def texts(rows: pa.Table, sql: str) -> pa.ChunkedArray:
    """A string for each row, by an expression over the columns ``c0``, ``c1``, ..."""
    return _run(rows, sql)


def _run(rows: pa.Table, sql: str) -> pa.ChunkedArray:
    if rows.num_rows == 0:
        return pa.chunked_array([], pa.string())
    cursor = _connection()
    cursor.register("encoded", rows.rename_columns([f"c{i}" for i in range(rows.num_columns)]))
    try:
        return cursor.sql(f"SELECT {sql} AS text FROM encoded").to_arrow_table().column(0)
    finally:
        cursor.unregister("encoded")


def _connection() -> duckdb.DuckDBPyConnection:
    # One small instance for each thread: registered tables belong to a connection, and the order of rows has to stay.
    found: duckdb.DuckDBPyConnection | None = getattr(_threads, "connection", None)
    if found is None:
        found = _threads.connection = duckdb.connect(":memory:", config={"threads": 1})
    return found


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
            return f"('[' || array_to_string(list_transform({x}, lambda {v}: {item}), ',') || ']')"
        case MapType(key, value):
            return _map(x, key, value, form, depth)
        case BooleanType():
            return f"({x})::VARCHAR"
        case _NumberText():
            return f"CASE WHEN contains({x}, 'N') OR contains({x}, 'I') THEN '\"' || {x} || '\"' ELSE {x} END"
        case DoubleType() | FloatType():
            text = double_text(x)
            return f"CASE WHEN isfinite({x}) THEN {text} ELSE '\"' || {text} || '\"' END"
        case StringType():
            return f"to_json({x})::VARCHAR"
        case BinaryType():
            return f"('\"' || base64({x}) || '\"')"
        case TimestampType() | TimestampNTZType() | DateType() if not _has_format(kind, form):
            return f"('\"' || {moment_text(x, kind, form)} || '\"')"
        case TimestampType() | TimestampNTZType() | DateType():
            return f"to_json({moment_text(x, kind, form)})::VARCHAR"
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
    return f"('{{' || array_to_string(list_transform(map_entries({x}), lambda {e}: {item}), ',') || '}}')"


def _json_string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


# --- Values ---------------------------------------------------------------------------------------------------------


def plain_text(x: str, kind: DataType, form: TextForm) -> str:
    """SQL for an atomic value's text as Spark's CSV writer gives it; NULL for a null."""
    match kind:
        case StringType() | _NumberText():
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
        return f"strftime({x}, {literal(form.date_format or '%Y-%m-%d')})"
    pattern = literal(form.timestamp_format or "%Y-%m-%dT%H:%M:%S.%g")
    if isinstance(kind, TimestampNTZType):
        return f"strftime({x}, {pattern})"
    if form.time_zone.upper() in ("UTC", "Z", "ETC/UTC", "GMT"):
        return f"strftime({x}, {pattern})" + ("" if form.timestamp_format else " || 'Z'")
    local = f"timezone({literal(form.time_zone)}, timezone('UTC', {x}))"
    return f"strftime({local}, {pattern})" + ("" if form.timestamp_format else f" || {_offset(local, x)}")


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


def _has_format(kind: DataType, form: TextForm) -> bool:
    return bool(form.date_format if isinstance(kind, DateType) else form.timestamp_format)


class _NumberText(DataType):
    """A column of doubles or floats that is their text already."""


def _with_number_texts(rows: pa.Table, kinds: list[DataType]) -> tuple[pa.Table, list[DataType]]:
    """Doubles and floats as text. Planning `double_text` costs DuckDB milliseconds; here the usual sizes go as columns,
    and only the others one by one."""
    kinds = list(kinds)
    for i, kind in enumerate(kinds):
        if isinstance(kind, DoubleType | FloatType):
            rows = rows.set_column(i, rows.field(i).name, number_texts(rows.column(i), kind))
            kinds[i] = _NumberText()
    return rows, kinds


def number_texts(numbers: pa.ChunkedArray, kind: DataType) -> pa.Array:
    """Doubles or floats as Java prints them."""
    column = numbers.combine_chunks()
    size = pc.abs(column)
    usual = pc.or_(pc.and_(pc.greater_equal(size, 0.001), pc.less(size, 1e7)), pc.equal(size, 0))
    texts = pc.cast(column, pa.string())
    texts = pc.if_else(pc.match_substring(texts, "."), texts, pc.binary_join_element_wise(texts, ".0", ""))
    odd = pc.fill_null(pc.invert(usual), False)
    if pc.any(odd).as_py():
        write = cell(kind)
        found = pa.array([write(v) for v in column.filter(odd).to_pylist()], pa.string())
        texts = pc.replace_with_mask(texts, odd, found)
    return texts


# --- CSV ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CsvForm:
    """Spark's options of the CSV writer, with its defaults."""

    sep: str = ","
    quote: str = '"'
    escape: str = "\\"
    escape_escape: str | None = None
    """``charToEscapeQuoteEscaping``; None: the escape itself, where it is not the quote."""
    null_value: str = ""
    empty_value: str = '""'
    quote_all: bool = False
    escape_quotes: bool = True
    """Quote a value that holds a quote."""
    trim_left: bool = True
    trim_right: bool = True
    line_end: str = "\n"


def csv_lines(rows: pa.Table, schema: StructType, csv: CsvForm, form: TextForm) -> pa.ChunkedArray:
    """One line of CSV for each row, with its end."""
    rows, kinds = _with_number_texts(rows, [f.dataType for f in schema.fields])
    cells = [_cell(plain_text(f"c{i}", kind, form), kind, csv) for i, kind in enumerate(kinds)]
    return _run(rows, f" || {literal(csv.sep)} || ".join(cells) + f" || {literal(csv.line_end)}")


def csv_header(schema: StructType, csv: CsvForm) -> str:
    """The line of names."""
    names = pa.table({f"c{i}": [name] for i, name in enumerate(schema.names)})
    kinds = StructType.fromDDL(", ".join(f"c{i} STRING" for i in range(len(schema))))
    return str(csv_lines(names, kinds, csv, TextForm())[0])


def _cell(text: str, kind: DataType, csv: CsvForm) -> str:
    if not isinstance(kind, StringType):
        value = _quoted(text, csv) if csv.quote_all else text
        return f"coalesce({value}, {_null(csv)})"
    trimmed = text
    if csv.trim_left:
        trimmed = f"ltrim({trimmed}, {_BLANKS})"
    if csv.trim_right:
        trimmed = f"rtrim({trimmed}, {_BLANKS})"
    value = _quoted(trimmed, csv) if csv.quote_all else _quoted_where_needed(trimmed, csv)
    # An empty value is written as it is told, without quotes of our own.
    empty = literal(csv.quote * 2 if csv.quote_all and csv.empty_value == '""' else csv.empty_value)
    return f"CASE WHEN {text} IS NULL THEN {_null(csv)} WHEN {text} = '' THEN {empty} ELSE {value} END"


_BLANKS = "' ' || chr(9) || chr(10) || chr(13)"


def _null(csv: CsvForm) -> str:
    return literal(f"{csv.quote}{csv.null_value}{csv.quote}" if csv.quote_all else csv.null_value)


def _quoted_where_needed(x: str, csv: CsvForm) -> str:
    special = [csv.sep, "\n", "\r", *([csv.quote] if csv.escape_quotes else [])]
    needs = " OR ".join(f"contains({x}, {literal(s)})" for s in special)
    return f"CASE WHEN {needs} THEN {_quoted(x, csv)} ELSE {x} END"


def _quoted(x: str, csv: CsvForm) -> str:
    return f"({literal(csv.quote)} || {_escaped(x, csv)} || {literal(csv.quote)})"


def _escaped(x: str, csv: CsvForm) -> str:
    quote, escape = csv.quote, csv.escape
    if escape != quote:
        twice = (csv.escape_escape if csv.escape_escape is not None else escape) + escape
        x = f"replace({x}, {literal(escape)}, {literal(twice)})"
    return f"replace({x}, {literal(quote)}, {literal(escape + quote)})"


def literal(text: str) -> str:
    """A string as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def data_of(texts: pa.ChunkedArray) -> list[Any]:
    """The characters of all strings, one after the other, as buffers that can be written without a copy."""
    found = []
    for chunk in texts.chunks:
        if len(chunk) == 0:
            continue
        width = 8 if pa.types.is_large_string(chunk.type) else 4
        ends = memoryview(chunk.buffers()[1]).cast("q" if width == 8 else "i")
        found.append(memoryview(chunk.buffers()[2])[ends[chunk.offset] : ends[chunk.offset + len(chunk)]])
    return found
