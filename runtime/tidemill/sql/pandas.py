"""Rows as pandas DataFrames and back, with the types that PySpark gives them."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.errors import PySparkRuntimeError
from tidemill.sql.values import slices
from tidemill.types import (
    ArrayType,
    DataType,
    MapType,
    StructType,
    TimestampNTZType,
    TimestampType,
    to_arrow,
)


def to_pandas(table: pa.Table, schema: StructType, time_zone: str) -> Any:
    """A pandas DataFrame; instants are wall clock times of ``time_zone``, nested values NumPy arrays and dicts."""
    try:
        import pandas as pd
    except ImportError:
        raise PySparkRuntimeError(
            "toPandas() needs pandas; install it with: pip install 'tidemill[pandas]'",
            "PACKAGE_NOT_INSTALLED",
        ) from None
    columns = [_series(pd, table.column(i), f.dataType, time_zone) for i, f in enumerate(schema.fields)]
    frame = pd.concat(columns, axis=1) if columns else pd.DataFrame(index=range(table.num_rows))
    frame.columns = schema.names
    return frame


def _series(pd: Any, column: pa.ChunkedArray, kind: DataType, time_zone: str) -> Any:
    if isinstance(kind, (StructType, MapType, ArrayType)):
        if has_moments(kind):
            return pd.Series(_objects(_values(column, kind, time_zone)), dtype=object)
        return column.to_pandas(maps_as_pydicts="lossy")
    if isinstance(kind, TimestampType):
        column = _wall_clock(column, time_zone)
    return column.to_pandas()


def series(column: pa.Array, kind: DataType, time_zone: str, unit: str = "ns") -> Any:
    """What a user's function over pandas takes for a column: a Series, of times by the wall clock of ``time_zone``."""
    import pandas as pd

    if isinstance(kind, (TimestampType, TimestampNTZType)):
        made = _wall_clock(column, time_zone) if isinstance(kind, TimestampType) else column
        return made.to_pandas().astype(f"datetime64[{unit}]")
    if has_moments(kind):
        return _series(pd, column, kind, time_zone)
    nested = isinstance(kind, (StructType, MapType, ArrayType))
    return column.to_pandas(maps_as_pydicts="lossy", integer_object_nulls=nested)


def frame(batch: pa.RecordBatch | pa.StructArray, kind: StructType, time_zone: str, unit: str = "ns") -> Any:
    """The same for several columns: a DataFrame."""
    import pandas as pd

    parts = batch.flatten() if isinstance(batch, pa.StructArray) else batch.columns
    made = [series(c, f.dataType, time_zone, unit) for c, f in zip(parts, kind.fields, strict=True)]
    whole = pd.concat(made, axis=1) if made else pd.DataFrame(index=range(len(batch)))
    whole.columns = kind.names
    return whole


def has_moments(kind: DataType) -> bool:
    """Whether there are times in it, which pandas is given as its own."""
    match kind:
        case ArrayType(element):
            return has_moments(element)
        case MapType(key, value):
            return has_moments(key) or has_moments(value)
        case StructType(fields):
            return any(has_moments(f.dataType) for f in fields)
    return isinstance(kind, (TimestampType, TimestampNTZType))


def column_from(made: Any, kind: DataType, time_zone: str) -> pa.Array:
    """A Series that a user's function has given as a column; times without a zone are wall clock times."""
    if isinstance(kind, TimestampType):
        found = pa.Array.from_pandas(made)
        if pa.types.is_timestamp(found.type):
            return as_instants(found.cast(pa.timestamp("us", found.type.tz), safe=False), kind, time_zone)
    if has_moments(kind):
        made = made.map(lambda v: _by_wall_clock(v, ZoneInfo(time_zone)))
    return as_instants(pa.Array.from_pandas(made, type=to_arrow(kind)), kind, time_zone)


def _by_wall_clock(value: Any, zone: ZoneInfo) -> Any:
    """A value without the zones of the times in it, which Arrow would take off without regard to the wall clock."""
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return value.astimezone(zone).replace(tzinfo=None)
    if isinstance(value, dict):
        return {_by_wall_clock(k, zone): _by_wall_clock(v, zone) for k, v in value.items()}
    if type(value).__name__ in ("list", "tuple", "ndarray"):
        return [_by_wall_clock(v, zone) for v in value]
    return value


def struct_from(made: Any, kind: StructType, time_zone: str) -> list[pa.Array]:
    """A DataFrame's columns: by name if it has names, else by position; PySparkRuntimeError if one is not there."""
    if any(isinstance(n, str) for n in made.columns):
        missing = [n for n in kind.names if n not in made.columns]
        if missing:
            raise PySparkRuntimeError(
                f"Column names of the returned data do not match specified schema. Missing: "
                f"{', '.join(missing)}. Unexpected: {', '.join(str(n) for n in made.columns if n not in kind.names)}.",
                "RESULT_COLUMN_NAMES_MISMATCH",
            )
        parts = [made[n] for n in kind.names]
    else:
        parts = [made.iloc[:, i] for i in range(len(kind.fields))]
    return [column_from(p, f.dataType, time_zone) for p, f in zip(parts, kind.fields, strict=True)]


def as_instants(column: Any, kind: DataType, time_zone: str) -> pa.Array:
    """A column whose times without a zone are wall clock times, as the engine holds it."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(kind, TimestampType):
        if column.type.tz is None:
            # Of an hour that the clock repeats the second counts, as in PySpark; one that it skips is an error there.
            column = pc.assume_timezone(column, time_zone, ambiguous="latest", nonexistent="latest")
        return column.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))
    if not has_moments(kind):
        return column
    mask = column.is_null() if column.null_count else None
    match kind:
        case ArrayType(element):
            inner = as_instants(column.values, element, time_zone)
            return pa.ListArray.from_arrays(column.offsets, inner, mask=mask)
        case MapType(key, value):
            keys, items = (
                as_instants(column.keys, key, time_zone),
                as_instants(column.items, value, time_zone),
            )
            return pa.MapArray.from_arrays(column.offsets, keys, items, mask=mask)
        case StructType(fields):
            parts = [as_instants(column.field(i), f.dataType, time_zone) for i, f in enumerate(fields)]
            return pa.StructArray.from_arrays(parts, names=[f.name for f in fields], mask=mask)
    return column


def _wall_clock(column: Any, time_zone: str) -> Any:
    return pc.local_timestamp(column.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us", time_zone)))


def _values(column: Any, kind: DataType, time_zone: str) -> list[Any]:
    """Structs and maps as dicts, arrays as NumPy's, times as pandas' by the wall clock."""
    if isinstance(column, pa.ChunkedArray):
        return [v for chunk in column.chunks for v in _values(chunk, kind, time_zone)]
    match kind:
        case StructType(fields):
            parts = [_values(p, f.dataType, time_zone) for p, f in zip(column.flatten(), fields, strict=True)]
            names = kind.names
            whole = [dict(zip(names, row, strict=True)) for row in zip(*parts, strict=True)] or [{}] * len(
                column
            )
            return [
                v if there else None for v, there in zip(whole, column.is_valid().to_pylist(), strict=True)
            ]
        case MapType(key, value):
            keys, items = _values(column.keys, key, time_zone), _values(column.items, value, time_zone)
            return [
                None if at is None else dict(zip(keys[at], items[at], strict=True)) for at in slices(column)
            ]
        case ArrayType(element):
            flat = _values(column.values, element, time_zone)
            return [None if at is None else _numpy(flat[at]) for at in slices(column)]
        case TimestampType() | TimestampNTZType():
            local = _wall_clock(column, time_zone) if isinstance(kind, TimestampType) else column
            made = local.to_pandas()
            return [None if null else v for v, null in zip(made, made.isna(), strict=True)]
    return list(column.to_pylist())


def _numpy(values: list[Any]) -> Any:
    import numpy as np

    if not values or any(v is None or isinstance(v, (dict, np.ndarray)) for v in values):
        return _objects(values)
    return np.array(values)


def _objects(values: list[Any]) -> Any:
    """An array of just these values, whatever NumPy would see in them."""
    import numpy as np

    made = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        made[i] = value
    return made
