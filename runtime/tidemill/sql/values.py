"""Arrow columns as the Python values that PySpark gives: Row for structs, dict for maps, local naive datetimes."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

import pyarrow as pa

from tidemill.sql.row import Row
from tidemill.types import ArrayType, DataType, MapType, StructType, TimestampType


def rows(table: pa.Table, schema: StructType) -> list[Row]:
    """The rows of a table whose columns are ``schema``'s, in order."""
    names = schema.names
    columns = [python_values(table.column(i), f.dataType) for i, f in enumerate(schema.fields)]
    if not columns:
        return [Row.named(names, ()) for _ in range(table.num_rows)]
    return [Row.named(names, values) for values in zip(*columns, strict=True)]


def python_values(column: pa.Array | pa.ChunkedArray, kind: DataType) -> list[Any]:
    """One column's values. A TIMESTAMP is an instant; it comes as local time without a zone, as in PySpark."""
    if isinstance(column, pa.ChunkedArray):
        return [v for chunk in column.chunks for v in python_values(chunk, kind)]
    match kind:
        case StructType():
            return _structs(column, kind)
        case MapType(key, value):
            keys, items = python_values(column.keys, key), python_values(column.items, value)
            return [
                None if at is None else dict(zip(keys[at], items[at], strict=True)) for at in slices(column)
            ]
        case ArrayType(element):
            flat = python_values(column.values, element)
            return [None if at is None else flat[at] for at in slices(column)]
        case TimestampType():
            return _instants(column)
    return list(column.to_pylist())


def _structs(column: pa.StructArray, kind: StructType) -> list[Any]:
    # flatten() and not field(): it applies the offset of a sliced array.
    parts = [python_values(p, f.dataType) for p, f in zip(column.flatten(), kind.fields, strict=True)]
    names = kind.names
    made = (
        [Row.named(names, values) for values in zip(*parts, strict=True)] if parts else [Row()] * len(column)
    )
    if not column.null_count:
        return made
    return [row if there else None for row, there in zip(made, column.is_valid().to_pylist(), strict=True)]


def slices(column: Any) -> list[slice | None]:
    """Where each list of a list or map array lies in its values; None for a null."""
    offsets = column.offsets.to_pylist()
    valid = column.is_valid().to_pylist() if column.null_count else [True] * len(column)
    return [slice(offsets[i], offsets[i + 1]) if there else None for i, there in enumerate(valid)]


def _instants(column: pa.Array) -> list[Any]:
    values = column.cast(pa.timestamp("us")).to_pylist()
    return values if is_utc() else [None if v is None else local(v) for v in values]


def is_utc() -> bool:
    """Whether this process's local time is UTC all year round."""
    return not time.timezone and not time.daylight


def local(instant: dt.datetime) -> dt.datetime:
    """An instant, given as UTC without a zone, as this process's local time without a zone."""
    return instant.replace(tzinfo=dt.UTC).astimezone().replace(tzinfo=None)


def instant(value: dt.datetime) -> dt.datetime:
    """The other way; a datetime with a zone keeps its meaning."""
    if value.tzinfo is None and is_utc():
        return value
    return value.astimezone(dt.UTC).replace(tzinfo=None)
