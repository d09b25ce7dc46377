"""Columns of text into typed columns, all values at once.

Arrow's own casts are strict and fast; where one refuses, the values that it may not have vouched for are set to null
and marked, for a second look at their records (`tidemill.kernel.records`). A mark on a good value costs time only; a
bad value without a mark would be silent, so that every rule here errs on the side of the mark.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.kernel.records import TextRules
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
    to_arrow,
)

EXACT_DIGITS = 15
"""Decimals of more digits do not survive DuckDB's JSON text, which passes numbers through a double."""

CHUNK = 122_880
"""Rows that one DuckDB thread takes at a time; more chunks than threads keep all of them busy."""

_lock = threading.Lock()
_root: duckdb.DuckDBPyConnection | None = None
_threads = threading.local()


def cursor() -> duckdb.DuckDBPyConnection:
    """This thread's cursor on the one DuckDB instance that decodes; results keep the order of their input."""
    global _root
    found: duckdb.DuckDBPyConnection | None = getattr(_threads, "cursor", None)
    if found is None:
        with _lock:
            if _root is None:
                _root = duckdb.connect(":memory:", config={"python_enable_replacements": "false"})
                _root.execute("SET GLOBAL TimeZone = 'UTC'; SET GLOBAL preserve_insertion_order = true")
            found = _threads.cursor = _root.cursor()
    return found


def over(column: pa.Array, sql: str) -> pa.Array:
    """An SQL expression over one column, named ``t``."""
    run = cursor()
    run.register("tokens", pa.table({"t": column}))
    try:
        result = run.sql(f"SELECT {sql} AS r FROM tokens").to_arrow_table().column(0)
    finally:
        run.unregister("tokens")
    return result.combine_chunks() if isinstance(result, pa.ChunkedArray) else result


@dataclass(frozen=True)
class Typed:
    """Values, and a mark for each that has to be looked at again (None: no marks)."""

    values: pa.Array
    marks: np.ndarray | None = None


Converter = Callable[[pa.Array], Typed]


def token_type(kind: DataType) -> str:
    """The DuckDB type as which a JSON value is taken over: text for strings and times, else the JSON token itself,
    so that the number 12 and the text "12" stay apart."""
    texts = StringType | DateType | TimestampType | TimestampNTZType | BinaryType
    return "VARCHAR" if isinstance(kind, texts) else "JSON"


def is_exact(kind: DataType) -> bool:
    """Whether JSON tokens of DuckDB hold the value as it was written."""
    match kind:
        case DecimalType(precision, _):
            return precision <= EXACT_DIGITS
        case ArrayType(element):
            return is_exact(element)
        case MapType(_, value):
            return is_exact(value)
        case StructType(fields):
            return all(is_exact(f.dataType) for f in fields)
    return True


def typed(tokens: pa.Array, kind: DataType, rules: TextRules, json: bool) -> Typed:
    """One column of tokens as ``kind``; ``json``: they come from JSON, not from fields of plain text."""
    match kind:
        case StringType():
            return Typed(tokens)
        case NullType():
            return Typed(pa.nulls(len(tokens)))
        case ArrayType() | MapType() | StructType():
            return _nested(tokens, kind, rules)
        case BinaryType():
            return _binary(tokens) if json else Typed(tokens.cast(pa.binary()))
        case BooleanType():
            return _boolean(tokens, json)
        case IntegralType():
            return _whole(tokens, kind, json)
        case DoubleType() | FloatType():
            return _cast(tokens, to_arrow(kind), r"^-?[0-9]{1,300}(\.[0-9]+)?$")
        case DecimalType(precision, scale):
            whole = precision - scale
            digits = rf"^-?[0-9]{{1,{whole}}}(\.[0-9]{{1,{scale}}})?$" if whole and scale else r"^0$"
            return _cast(tokens, to_arrow(kind), digits)
    return _moment(tokens, kind, rules)


def _cast(tokens: pa.Array, to: pa.DataType, certain: str) -> Typed:
    """Cast at once; if that fails, only what matches ``certain``; and if that fails, nothing."""
    try:
        return Typed(tokens.cast(to))
    except pa.ArrowInvalid:
        sure = pc.fill_null(pc.match_substring_regex(tokens, certain), False)
        return _only(tokens, sure, lambda kept: kept.cast(to), to)


def _only(
    tokens: pa.Array, sure: pa.Array, convert: Callable[[pa.Array], pa.Array], to: pa.DataType
) -> Typed:
    try:
        values = convert(pc.if_else(sure, tokens, pa.scalar(None, tokens.type)))
    except pa.ArrowInvalid:
        values = pa.nulls(len(tokens), to)
    lost = pc.and_(pc.is_valid(tokens), pc.is_null(values))
    return Typed(values, lost.to_numpy(zero_copy_only=False))


def _whole(tokens: pa.Array, kind: IntegralType, json: bool) -> Typed:
    # Nine digits of 32 bits, eighteen of 64: what surely fits. Arrow would read 0x1F, which JSON cannot hold.
    sure = rf"^-?[0-9]{{1,{ {8: 2, 16: 4, 32: 9, 64: 18}[kind.bits] }}}$"
    if json or not pc.any(pc.match_substring(tokens, "x", ignore_case=True)).as_py():
        return _cast(tokens, to_arrow(kind), sure)
    matches = pc.fill_null(pc.match_substring_regex(tokens, sure), False)
    return _only(tokens, matches, lambda kept: kept.cast(to_arrow(kind)), to_arrow(kind))


def _boolean(tokens: pa.Array, json: bool) -> Typed:
    words = tokens if json else pc.utf8_lower(tokens)
    truths = pc.equal(words, "true")
    strange = pc.fill_null(pc.invert(pc.or_(truths, pc.equal(words, "false"))), False)
    if not pc.any(strange).as_py():
        return Typed(truths)
    return Typed(
        pc.if_else(strange, pa.scalar(None, pa.bool_()), truths), strange.to_numpy(zero_copy_only=False)
    )


def _binary(tokens: pa.Array) -> Typed:
    values = over(tokens, "TRY(from_base64(t))").cast(pa.binary())
    lost = pc.and_(pc.is_valid(tokens), pc.is_null(values))
    return Typed(values, lost.to_numpy(zero_copy_only=False) if pc.any(lost).as_py() else None)


# --- dates and times


def _moment(tokens: pa.Array, kind: DataType, rules: TextRules) -> Typed:
    if isinstance(kind, DateType):
        if rules.date_format is not None:
            return _formatted(tokens, rules.date_format, pa.date32(), None)
        return _cast(tokens, pa.date32(), r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$")
    if isinstance(kind, TimestampNTZType):
        if rules.ntz_format is not None:
            return _formatted(tokens, rules.ntz_format, pa.timestamp("us"), None)
        return _cast(tokens, pa.timestamp("us"), "^$")
    if isinstance(kind, TimestampType):
        if rules.timestamp_format is not None:
            return _formatted(tokens, rules.timestamp_format, pa.timestamp("us"), rules.time_zone)
        return _instants(tokens, rules.time_zone)
    raise TypeError(f"text does not hold values of type {kind.simpleString()}")


_DAY = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
_TIME = r"[T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
_NAIVE = rf"^{_DAY}({_TIME})?$"
_ZONED = rf"^{_DAY}{_TIME}(Z|[+-](0[0-9]|1[0-7]):?[0-5][0-9])$"


def _instants(tokens: pa.Array, time_zone: str) -> Typed:
    """Most columns hold one form only: try each, and sort the values by their form when neither fits."""
    # A cast that fails has read the whole column first, so the likelier one comes first.
    likely = pc.any(pc.match_substring_regex(tokens.slice(0, 1), "(Z|[+-][0-9]{2}:?[0-9]{2})$")).as_py()
    for attempt in (_zoned, _naive) if likely else (_naive, _zoned):
        try:
            return Typed(attempt(tokens, time_zone))
        except pa.ArrowInvalid:
            continue
    naive = pc.fill_null(pc.match_substring_regex(tokens, _NAIVE), False)
    plain = _only(tokens, naive, lambda kept: _naive(kept, time_zone), pa.timestamp("us"))
    zoned = pc.fill_null(pc.match_substring_regex(tokens, _ZONED), False)
    offset = _only(tokens, zoned, lambda kept: _zoned(kept, time_zone), pa.timestamp("us"))
    values = pc.coalesce(plain.values, offset.values)
    return Typed(values, plain.marks & offset.marks)  # type: ignore[operator]


def _naive(tokens: pa.Array, time_zone: str) -> pa.Array:
    return _to_utc(tokens.cast(pa.timestamp("us")), time_zone)


def _to_utc(local: pa.Array, time_zone: str) -> pa.Array:
    if time_zone == "UTC":
        return local
    there = pc.assume_timezone(local, time_zone, ambiguous="earliest", nonexistent="latest")
    return there.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))


def _zoned(tokens: pa.Array, time_zone: str) -> pa.Array:
    return tokens.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))


def _formatted(tokens: pa.Array, format: str, to: pa.DataType, time_zone: str | None) -> Typed:
    quoted = format.replace("'", "''")
    kept = "TIMESTAMP" if "%z" not in format else "TIMESTAMPTZ"
    values = over(tokens, f"try_strptime(t, '{quoted}')::{kept}")
    if kept == "TIMESTAMPTZ":
        values = values.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))
    elif time_zone is not None:
        values = _to_utc(values.cast(pa.timestamp("us")), time_zone)
    values = values.cast(to, safe=False)
    lost = pc.and_(pc.is_valid(tokens), pc.is_null(values))
    return Typed(values, lost.to_numpy(zero_copy_only=False) if pc.any(lost).as_py() else None)


# --- parts inside parts (JSON only)


def _nested(tokens: pa.Array, kind: DataType, rules: TextRules) -> Typed:
    """One level is opened at a time, so that a value of the wrong shape is seen and not silently null."""
    opened = over(tokens, f"json_transform(t, '{shape(kind)}')")
    lost = pc.and_(pc.is_valid(tokens), pc.is_null(opened)).to_numpy(zero_copy_only=False)
    if isinstance(kind, StructType):
        return _struct(opened, kind, rules, lost)
    if isinstance(kind, MapType):
        pairs = opened.cast(pa.map_(pa.string(), pa.string()))
        inner = typed(pairs.items, kind.valueType, rules, json=True)
        keys = pairs.keys.cast(to_arrow(kind.keyType))
        values = pa.MapArray.from_arrays(_offsets(pairs), keys, inner.values, mask=pc.is_null(pairs))
        return Typed(values, _lifted(inner.marks, pairs, lost))
    assert isinstance(kind, ArrayType)
    opened = opened.cast(pa.list_(pa.string()))
    inner = typed(opened.values, kind.elementType, rules, json=True)
    values = pa.ListArray.from_arrays(_offsets(opened), inner.values, mask=pc.is_null(opened)).cast(
        to_arrow(kind)
    )
    return Typed(values, _lifted(inner.marks, opened, lost))


def _struct(opened: pa.Array, kind: StructType, rules: TextRules, lost: np.ndarray) -> Typed:
    columns = []
    children = opened.flatten()
    # An array or a number opened as an object has no fields; nor has an object of others, which is looked at in vain.
    hollow = functools.reduce(pc.and_, [pc.is_null(c) for c in children], pc.is_valid(opened))
    lost = lost | np.asarray(hollow)
    for child, f in zip(children, kind.fields, strict=True):
        inner = typed(child.cast(pa.string()), f.dataType, rules, json=True)
        columns.append(inner.values)
        if inner.marks is not None:
            lost = lost | inner.marks
    fields = list(to_arrow(kind))
    return Typed(pa.StructArray.from_arrays(columns, fields=fields, mask=pc.is_null(opened)), lost)


def shape(kind: DataType, instead: Mapping[str, str] | None = None) -> str:
    """One level of a type as ``json_transform`` takes it; ``instead`` gives other types to some fields."""
    if isinstance(kind, StructType):
        others = instead or {}
        parts = [f'"{_quoted(f.name)}":"{others.get(f.name) or token_type(f.dataType)}"' for f in kind.fields]
        return "{" + ",".join(parts) + "}"
    if isinstance(kind, MapType):
        return f'"MAP(VARCHAR, {token_type(kind.valueType)})"'
    assert isinstance(kind, ArrayType)
    return f'["{token_type(kind.elementType)}"]'


def _quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"').replace("'", "''")


def _offsets(parts: Any) -> pa.Array:
    return parts.offsets


def _lifted(marks: np.ndarray | None, parts: Any, lost: np.ndarray) -> np.ndarray:
    """Marks of elements as marks of the rows that hold them."""
    if marks is None or not marks.any():
        return lost
    offsets = np.asarray(parts.offsets)
    before = np.concatenate([[0], np.cumsum(marks)])
    return lost | (before[offsets[1:]] > before[offsets[:-1]])
