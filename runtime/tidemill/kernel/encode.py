"""Rows as text: Spark's JSON and CSV forms, made by Arrow a column at a time.

Columns are as they stand at a sink: timestamps are instants in UTC without a zone. Arrow's functions need no plan, so
that a thousand rows take tenths of a millisecond; nested values go through DuckDB (`tidemill.kernel.encode_sql`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.kernel.encode_sql import TextForm, evaluate, interval_text, json_text, moment_text
from tidemill.kernel.show import cell
from tidemill.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    ByteType,
    CalendarIntervalType,
    DataType,
    DayTimeIntervalType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    MapType,
    ShortType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
    YearMonthIntervalType,
)

_UNQUOTED = (BooleanType, ByteType, ShortType, IntegerType, LongType, DecimalType)

# --- JSON -----------------------------------------------------------------------------------------------------------


def json_lines(rows: pa.Table, schema: StructType, form: TextForm, end: str = "") -> pa.Array:
    """One JSON object for each row, each followed by ``end``; a string column without nulls."""
    if rows.num_rows == 0 or not len(schema):
        return pa.array(["{}" + end] * rows.num_rows, pa.string())
    fields = [
        _member(f.name, _whole(c), f.dataType, form) for f, c in zip(schema.fields, rows.columns, strict=True)
    ]
    # Each member begins with a comma; the brace takes the first one's place. (Arrow could leave nulls out by itself,
    # but its `null_handling="skip"` loses the rows that hold nothing else, as of 26.)
    joined = pc.binary_join_element_wise(*fields, "")
    return _join("", pc.binary_replace_slice(joined, 0, 1, "{"), "}" + end)


def _member(name: str, column: pa.Array, kind: DataType, form: TextForm) -> pa.Array:
    """``,"name":value`` for each row; empty where it is to be left out."""
    before = f",{json.dumps(name, ensure_ascii=False)}:"
    texts, quoted = _json_texts(column, kind, form)
    found = _join(before + '"', texts, '"') if quoted else _join(before, texts, "")
    return pc.fill_null(found, "" if form.ignore_null_fields else before + "null")


def _json_texts(column: pa.Array, kind: DataType, form: TextForm) -> tuple[pa.Array, bool]:
    """Each value's JSON text, and whether quotes belong around it."""
    match kind:
        case StringType():
            return _escaped(column), True
        case StructType() | ArrayType() | MapType():
            return evaluate(column, json_text("x", kind, form)), False
        case DoubleType() | FloatType():
            texts = number_texts(column, kind)
            odd = pc.match_substring_regex(texts, "[NI]")
            return (pc.if_else(odd, _join('"', texts, '"'), texts) if pc.any(odd).as_py() else texts), False
        case BinaryType():
            return evaluate(column, "base64(x)"), True
    return plain_texts(column, kind, form), not isinstance(kind, _UNQUOTED)


_SPECIAL = re.compile(r'["\\\x00-\x1f]')


def _escaped(column: pa.Array) -> pa.Array:
    """Strings with what JSON cannot hold escaped; few have any of it."""
    mask = pc.match_substring_regex(column, r'["\\\x00-\x1f]')
    if not pc.any(mask).as_py():
        return column
    mask = pc.fill_null(mask, False)
    found = [_SPECIAL.sub(_escape, text) for text in column.filter(mask).to_pylist()]
    return pc.replace_with_mask(column, mask, pa.array(found, column.type))


_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}


def _escape(found: re.Match[str]) -> str:
    return _SHORT.get(found[0]) or f"\\u{ord(found[0]):04X}"


# --- Values ---------------------------------------------------------------------------------------------------------


def plain_texts(column: pa.Array | pa.ChunkedArray, kind: DataType, form: TextForm) -> pa.Array:
    """The text of atomic values as Spark's CSV writer gives it; null for a null."""
    column = _whole(column)
    match kind:
        case StringType():
            return column
        case DoubleType() | FloatType():
            return number_texts(column, kind)
        case TimestampType():
            return _instants(column, form)
        case TimestampNTZType():
            return _moments(column)
        case DayTimeIntervalType() | YearMonthIntervalType() | CalendarIntervalType():
            return evaluate(column, interval_text("x", kind))
        case BinaryType():
            write = cell(kind)
            return pa.array([None if v is None else write(v) for v in column.to_pylist()], pa.string())
    return pc.cast(column, pa.string())


def _moments(column: pa.Array) -> pa.Array:
    """Timestamps as ISO text with milliseconds: Spark's default, which drops the rest."""
    millis = pc.cast(pc.floor_temporal(column, unit="millisecond"), pa.timestamp("ms"))
    return pc.binary_replace_slice(pc.cast(millis, pa.string()), 10, 11, "T")


_SAFE_YEARS = (1970, 2037)
"""Where Arrow's tables of time zones are right: later ones stay without summer time (seen with Arrow 26)."""


def _instants(column: pa.Array, form: TextForm) -> pa.Array:
    if form.is_utc:
        return _join("", _moments(column), "Z")
    seen = pc.min_max(column)
    if (
        seen["min"].is_valid
        and not _SAFE_YEARS[0] <= seen["min"].as_py().year <= seen["max"].as_py().year < _SAFE_YEARS[1]
    ):
        return evaluate(column, moment_text("x", TimestampType(), form))
    local = pc.local_timestamp(pc.cast(pc.assume_timezone(column, "UTC"), pa.timestamp("us", form.time_zone)))
    offsets = pc.cast(pc.subtract(local, column), pa.int64()).dictionary_encode()
    texts = pa.array(
        [None if us is None else _offset(us) for us in offsets.dictionary.to_pylist()], pa.string()
    )
    return pc.binary_join_element_wise(_moments(local), texts.take(offsets.indices), "")


def _offset(us: int) -> str:
    minutes = us // 60_000_000
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}" if minutes else "Z"


def number_texts(column: pa.Array, kind: DataType) -> pa.Array:
    """Doubles or floats as Java prints them; only the unusual sizes go one by one."""
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


def csv_lines(rows: pa.Table, schema: StructType, csv: CsvForm, form: TextForm) -> pa.Array:
    """One line of CSV for each row, with its end."""
    if rows.num_rows == 0:
        return pa.array([], pa.string())
    cells = [
        _cells(plain_texts(column, f.dataType, form), isinstance(f.dataType, StringType), csv)
        for f, column in zip(schema.fields, rows.columns, strict=True)
    ]
    return _join("", pc.binary_join_element_wise(*cells, csv.sep), csv.line_end)


def csv_header(schema: StructType, csv: CsvForm) -> str:
    """The line of names."""
    cells = [_cells(pa.array([name]), True, csv)[0].as_py() for name in schema.names]
    return csv.sep.join(cells) + csv.line_end


def _cells(texts: pa.Array, is_string: bool, csv: CsvForm) -> pa.Array:
    null = f"{csv.quote}{csv.null_value}{csv.quote}" if csv.quote_all else csv.null_value
    found = _trimmed(texts, csv) if is_string else texts
    if csv.quote_all:
        found = _quoted(found, csv)
    elif is_string:
        found = _quoted_where_needed(found, csv)
    if is_string:
        # An empty value is written as it is told, without quotes of our own.
        empty = csv.quote * 2 if csv.quote_all and csv.empty_value == '""' else csv.empty_value
        found = pc.if_else(pc.equal(texts, ""), empty, found)
    return pc.fill_null(found, null)


def _trimmed(texts: pa.Array, csv: CsvForm) -> pa.Array:
    blanks = " \t\n\r"
    if csv.trim_left:
        texts = pc.utf8_ltrim(texts, characters=blanks)
    return pc.utf8_rtrim(texts, characters=blanks) if csv.trim_right else texts


def _quoted_where_needed(texts: pa.Array, csv: CsvForm) -> pa.Array:
    special = [csv.sep, "\n", "\r", *([csv.quote] if csv.escape_quotes else [])]
    needs = pc.match_substring_regex(texts, "|".join(map(re.escape, special)))
    return pc.if_else(needs, _quoted(texts, csv), texts) if pc.any(needs).as_py() else texts


def _quoted(texts: pa.Array, csv: CsvForm) -> pa.Array:
    if csv.escape != csv.quote:
        twice = (csv.escape_escape if csv.escape_escape is not None else csv.escape) + csv.escape
        texts = pc.replace_substring(texts, csv.escape, twice)
    return _join(csv.quote, pc.replace_substring(texts, csv.quote, csv.escape + csv.quote), csv.quote)


# --- What they share ------------------------------------------------------------------------------------------------


def _join(before: str, texts: pa.Array, after: str) -> pa.Array:
    return pc.binary_join_element_wise(before, texts, after, "") if before or after else texts


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def data_of(texts: pa.Array) -> list[Any]:
    """The characters of all strings, one after the other, as buffers that can be written without a copy."""
    if len(texts) == 0:
        return []
    width = 8 if pa.types.is_large_string(texts.type) else 4
    ends = memoryview(texts.buffers()[1]).cast("q" if width == 8 else "i")
    return [memoryview(texts.buffers()[2])[ends[texts.offset] : ends[texts.offset + len(texts)]]]


__all__ = [
    "CsvForm",
    "TextForm",
    "csv_header",
    "csv_lines",
    "data_of",
    "json_lines",
    "number_texts",
    "plain_texts",
]
