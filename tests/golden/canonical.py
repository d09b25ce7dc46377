"""Arrow values as JSON that says exactly what they are; the same on Spark's side and on ours."""

from __future__ import annotations

import datetime as dt
import decimal
import math
import struct
from typing import Any

import numpy as np
import pyarrow as pa


def number(value: float, width: int) -> Any:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if width == 32:
        value = struct.unpack("f", struct.pack("f", value))[0]
    return {"f": repr(value)}


def canonical(value: Any, kind: pa.DataType) -> Any:
    """One Python value of an Arrow type."""
    if value is None:
        return None
    if pa.types.is_floating(kind):
        return number(value, kind.bit_width)
    if pa.types.is_decimal(kind):
        return f"{value:f}"
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if pa.types.is_timestamp(kind):
        if value.tzinfo is not None:
            value = value.astimezone(dt.UTC).replace(tzinfo=None)
        return value.isoformat(sep=" ")
    if isinstance(value, (dt.date, decimal.Decimal)):
        return str(value)
    if pa.types.is_duration(kind):
        return {"us": round(value / dt.timedelta(microseconds=1))}
    if pa.types.is_interval(kind):
        return {"months": value.months, "us": value.days * 86_400_000_000 + value.nanoseconds // 1000}
    if pa.types.is_map(kind):
        return [[canonical(k, kind.key_type), canonical(v, kind.item_type)] for k, v in value]
    if pa.types.is_struct(kind):
        return [canonical(value[f.name], f.type) for f in kind]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [canonical(v, kind.value_type) for v in value]
    return value


def column(values: pa.ChunkedArray) -> list[Any]:
    """A whole column."""
    if pa.types.is_date(values.type) or pa.types.is_timestamp(values.type):
        return _moments(values)
    if pa.types.is_string(values.type):  # Spark's strings may hold bytes that are no UTF-8
        return [
            None if v is None else v.decode("utf-8", "replace") for v in values.cast(pa.binary()).to_pylist()
        ]
    return [canonical(v, values.type) for v in values.to_pylist()]


def _moments(values: pa.ChunkedArray) -> list[Any]:
    """Dates and timestamps of any year, also those that Python has not."""
    days = pa.types.is_date(values.type)
    units = values.cast(pa.int32() if days else pa.int64()).to_pylist()
    texts = [None if u is None else str(np.datetime64(u, "D" if days else "us")) for u in units]
    return [t if t is None else t.replace("T", " ").removesuffix(".000000") for t in texts]
