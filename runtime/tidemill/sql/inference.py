"""The schema of Python rows, by PySpark's rules: integers are BIGINT, dicts maps, tuples structs."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Iterable, Sequence
from typing import Any

from tidemill.errors import PySparkTypeError, PySparkValueError
from tidemill.types import (
    ArrayType,
    AtomicType,
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    DayTimeIntervalType,
    DecimalType,
    DoubleType,
    LongType,
    MapType,
    NullType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
)

_KINDS: dict[type, DataType] = {
    type(None): NullType(), bool: BooleanType(), int: LongType(), float: DoubleType(), str: StringType(),
    bytes: BinaryType(), bytearray: BinaryType(), memoryview: BinaryType(), decimal.Decimal: DecimalType(38, 18),
    dt.date: DateType(), dt.datetime: TimestampType(), dt.timedelta: DayTimeIntervalType(),
}  # fmt: skip


def infer_schema(rows: Sequence[Any], names: Sequence[str] | None = None) -> StructType:
    """The schema that holds every row; ``names`` are the columns' names, where rows have none of their own.

    Raises `PySparkValueError` for no rows at all and for columns that are null throughout.
    """
    if not rows:
        raise PySparkValueError("Can not infer schema from an empty dataset.", "CANNOT_INFER_EMPTY_SCHEMA")
    merged: DataType = _row_type(rows[0], names)
    for row in rows[1:]:
        merged = merge(merged, _row_type(row, names))
    if _has_null(merged):
        raise PySparkValueError(
            "Some of types cannot be determined after inferring; give a schema.", "CANNOT_DETERMINE_TYPE"
        )
    assert isinstance(merged, StructType)
    return merged


def _row_type(row: Any, names: Sequence[str] | None) -> StructType:
    pairs: Iterable[tuple[str, Any]]
    if isinstance(row, dict):
        pairs = sorted(row.items())
    elif isinstance(row, (tuple, list)):
        own = getattr(row, "__fields__", None) or getattr(row, "_fields", None)
        given = list(own or names or ())
        given += [f"_{i}" for i in range(len(given) + 1, len(row) + 1)]
        pairs = zip(given, row, strict=False)
    elif hasattr(row, "__dict__") and not isinstance(row, type):
        pairs = sorted(vars(row).items())
    else:
        raise PySparkTypeError(
            f"Can not infer schema for type: `{type(row).__name__}`; wrap each value in a tuple or give a type.",
            "CANNOT_INFER_SCHEMA_FOR_TYPE",
        )
    return StructType(StructField(name, infer_type(value, name)) for name, value in pairs)


def infer_type(value: Any, name: str = "") -> DataType:
    """The type of one value."""
    if hasattr(value, "dtype"):
        value = value.tolist()
    known = _KINDS.get(type(value))
    if known is not None:
        return known
    if isinstance(value, dict):
        for key, item in value.items():
            if key is not None and item is not None:
                return MapType(infer_type(key), infer_type(item))
        return MapType(NullType(), NullType())
    if isinstance(value, (list, set)):
        return _array_type(value)
    if isinstance(value, tuple) or hasattr(value, "__dict__"):
        return _row_type(value, None)
    for kind, found in _KINDS.items():
        if isinstance(value, kind):
            return found
    raise PySparkTypeError(
        f"Unable to infer the type of the field `{name}`: {value!r} is a {type(value).__name__}.",
        "CANNOT_INFER_TYPE_FOR_FIELD",
    )


def _array_type(values: Iterable[Any]) -> ArrayType:
    merged: DataType = NullType()
    for value in values:
        merged = merge(merged, infer_type(value))
    return ArrayType(merged)


def merge(a: DataType, b: DataType) -> DataType:
    """The type that holds values of both. Raises `PySparkTypeError` if there is none."""
    if a == b or isinstance(b, NullType):
        return a
    if isinstance(a, NullType):
        return b
    if isinstance(a, StructType) and isinstance(b, StructType):
        return _merge_structs(a, b)
    if isinstance(a, ArrayType) and isinstance(b, ArrayType):
        return ArrayType(merge(a.elementType, b.elementType))
    if isinstance(a, MapType) and isinstance(b, MapType):
        return MapType(merge(a.keyType, b.keyType), merge(a.valueType, b.valueType))
    if isinstance(a, AtomicType) and isinstance(b, AtomicType):
        if isinstance(a, StringType) or isinstance(b, StringType):
            return StringType()
        if {type(a), type(b)} == {TimestampType, TimestampNTZType}:
            return TimestampType()
    raise PySparkTypeError(
        f"Can not merge type `{type(a).__name__}` and `{type(b).__name__}`.", "CANNOT_MERGE_TYPE"
    )


def _merge_structs(a: StructType, b: StructType) -> StructType:
    others = {f.name: f.dataType for f in b.fields}
    fields = [StructField(f.name, merge(f.dataType, others.get(f.name, NullType()))) for f in a.fields]
    known = set(a.names)
    return StructType([*fields, *(f for f in b.fields if f.name not in known)])


def _has_null(kind: DataType) -> bool:
    match kind:
        case StructType(fields):
            return any(_has_null(f.dataType) for f in fields)
        case ArrayType(element):
            return _has_null(element)
        case MapType(key, value):
            return _has_null(key) or _has_null(value)
    return isinstance(kind, NullType)
