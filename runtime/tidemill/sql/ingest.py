"""Python rows as Arrow columns of a schema, refusing what does not fit with PySpark's words."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Sequence
from typing import Any, NoReturn

import pyarrow as pa

from tidemill.errors import PySparkTypeError, PySparkValueError
from tidemill.sql.values import instant
from tidemill.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DayTimeIntervalType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    IntegralType,
    LongType,
    MapType,
    NullType,
    ShortType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
    to_arrow,
    to_arrow_schema,
)

_ACCEPTED: dict[type[DataType], tuple[type, ...]] = {
    BooleanType: (bool,), ByteType: (int,), ShortType: (int,), IntegerType: (int,), LongType: (int,),
    FloatType: (float,), DoubleType: (float,), DecimalType: (decimal.Decimal,),
    BinaryType: (bytes, bytearray, memoryview), DateType: (dt.date, dt.datetime), TimestampType: (dt.datetime,),
    TimestampNTZType: (dt.datetime,), DayTimeIntervalType: (dt.timedelta,), ArrayType: (list, tuple, set),
    MapType: (dict,), StructType: (tuple, list, dict),
}  # fmt: skip


def table_of(rows: Sequence[Any], schema: StructType, verify: bool = True) -> pa.Table:
    """The rows as a table of ``schema``: tuples, lists and Rows by position, dicts and objects by name.

    Raises `PySparkTypeError` or `PySparkValueError` naming the field and the value that does not fit.
    """
    columns = _columns(rows, schema, "", verify)
    arrays = [
        _array(values, field, field.name, verify)
        for values, field in zip(columns, schema.fields, strict=True)
    ]
    if not arrays:
        return pa.table({"": pa.nulls(len(rows))}).select([])
    return pa.Table.from_arrays(arrays, schema=to_arrow_schema(schema))


def column_of(made: list[Any], kind: DataType) -> pa.Array:
    """Values of one type as a column; raises what `table_of` raises."""
    return _array(made, StructField("value", kind), "value", True)


def _columns(rows: Sequence[Any], schema: StructType, where: str, verify: bool) -> list[list[Any]]:
    size = len(schema.fields)
    names = schema.names
    out: list[list[Any]] = [[] for _ in names]
    for row in rows:
        for column, value in zip(out, _row_values(row, names, size, where, verify), strict=False):
            column.append(value)
    return out


def _row_values(row: Any, names: list[str], size: int, where: str, verify: bool) -> Sequence[Any]:
    if row is None:
        return (None,) * size
    if isinstance(row, dict):
        return [row.get(n) for n in names]
    if isinstance(row, (tuple, list)):
        own = getattr(row, "__fields__", None)
        if own is not None and list(own) != names and set(own) == set(names):
            return [row[own.index(n)] for n in names]
        if len(row) != size:
            at = f"field {where}: " if where else ""
            raise PySparkValueError(
                f"{at}Length of object ({len(row)}) does not match with length of fields ({size}).",
                "FIELD_STRUCT_LENGTH_MISMATCH",
            )
        return row
    if hasattr(row, "__dict__"):
        return [getattr(row, n, None) for n in names]
    raise PySparkTypeError(
        f"StructType can not accept object {row!r} in type {type(row)}; wrap each value in a tuple.",
        "CANNOT_ACCEPT_OBJECT_IN_TYPE",
    )


def _array(values: list[Any], field: StructField, where: str, verify: bool) -> pa.Array:
    if verify and not field.nullable and any(v is None for v in values):
        raise PySparkValueError(
            f"field {where}: This field is not nullable, but got None.", "FIELD_NOT_NULLABLE_WITH_NAME"
        )
    kind = field.dataType
    values = _plain(values)
    if not isinstance(kind, (StringType, NullType)):
        _check(values, kind, where)
    match kind:
        case StructType():
            return _struct(values, kind, where, verify)
        case ArrayType(element):
            flat = [item for v in values if v is not None for item in v]
            inner = _array(
                flat,
                StructField("element", element, kind.containsNull),
                f"element in array field {where}",
                verify,
            )
            return pa.ListArray.from_arrays(_offsets(values), inner, type=to_arrow(kind))
        case MapType(key, value):
            present = [v for v in values if v is not None]
            keys = _array(
                [k for v in present for k in v],
                StructField("key", key, False),
                f"key of map field {where}",
                verify,
            )
            items = _array(
                [x for v in present for x in v.values()],
                StructField("value", value, kind.valueContainsNull),
                f"value of map field {where}",
                verify,
            )
            return pa.MapArray.from_arrays(_offsets(values), keys, items, type=to_arrow(kind))
    return _leaves(values, kind, where)


def _plain(values: list[Any]) -> list[Any]:
    """numpy's values as Python's."""
    return [v.tolist() if hasattr(v, "dtype") else v for v in values]


def _check(values: list[Any], kind: DataType, where: str) -> None:
    accepted = _ACCEPTED.get(type(kind))
    if accepted is None:
        return
    found = set(map(type, values)) - {type(None), *accepted}
    for wrong in found:
        # Subclasses are welcome, but a bool is no number.
        if not issubclass(wrong, accepted) or (wrong is bool and bool not in accepted):
            value = next(v for v in values if type(v) is wrong)
            if isinstance(kind, StructType) and hasattr(value, "__dict__"):
                continue
            _refuse(where, kind, value)


def _refuse(where: str, kind: DataType, value: Any) -> NoReturn:
    raise PySparkTypeError(
        f"field {where}: {kind!r} can not accept object {value!r} in type {type(value)}.",
        "FIELD_DATA_TYPE_UNACCEPTABLE_WITH_NAME",
    )


def _offsets(values: list[Any]) -> pa.Array:
    """Where each list starts; a null list has a null start, which is how Arrow is told of it."""
    at, starts = 0, []
    for value in values:
        starts.append(None if value is None else at)
        at += 0 if value is None else len(value)
    return pa.array([*starts, at], pa.int32())


def _struct(values: list[Any], kind: StructType, where: str, verify: bool) -> pa.Array:
    present = [v for v in values if v is not None]
    arrays = []
    for column, field in zip(_columns(present, kind, where, verify), kind.fields, strict=True):
        made = _array(column, field, f"{field.name} in {where}", verify)
        arrays.append(made)
    if not arrays:
        return pa.array([None if v is None else {} for v in values], pa.struct([]))
    packed = pa.StructArray.from_arrays(arrays, fields=list(to_arrow(kind)))
    if len(present) == len(values):
        return packed
    positions, at = [], 0
    for value in values:
        positions.append(None if value is None else at)
        at += value is not None
    return packed.take(pa.array(positions, pa.int64()))


def _leaves(values: list[Any], kind: DataType, where: str) -> pa.Array:
    if isinstance(kind, StringType):
        values = [v if v is None or isinstance(v, str) else _text(v) for v in values]
    elif isinstance(kind, TimestampType):
        values = [None if v is None else instant(v) for v in values]
    elif isinstance(kind, TimestampNTZType):
        values = [None if v is None else v.replace(tzinfo=None) for v in values]
    elif isinstance(kind, DateType):
        values = [v.date() if isinstance(v, dt.datetime) else v for v in values]
    elif isinstance(kind, DecimalType):
        values = [None if v is None else _rounded(v, kind) for v in values]
    elif isinstance(kind, BinaryType):
        values = [None if v is None else bytes(v) for v in values]
    try:
        return pa.array(values, to_arrow(kind))
    except (pa.ArrowInvalid, OverflowError) as problem:
        raise _unfit(values, kind, where) from problem


def _unfit(values: list[Any], kind: DataType, where: str) -> PySparkValueError:
    if isinstance(kind, IntegralType):
        least, most = -(2 ** (kind.bits - 1)), 2 ** (kind.bits - 1) - 1
        value = next(v for v in values if v is not None and not least <= v <= most)
        return PySparkValueError(
            f"field {where}: {kind!r} holds {least} to {most}, and {value} is outside.", "VALUE_OUT_OF_BOUNDS"
        )
    return PySparkValueError(f"field {where}: a value does not fit {kind!r}", "VALUE_OUT_OF_BOUNDS")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.decode() if isinstance(value, bytes) else str(value)


def _rounded(value: decimal.Decimal, kind: DecimalType) -> decimal.Decimal | None:
    """The value at the type's scale, half up as Spark rounds; None if it has too many digits, as in Spark."""
    with decimal.localcontext(prec=76):
        fitted = value.quantize(decimal.Decimal(1).scaleb(-kind.scale), decimal.ROUND_HALF_UP)
    return fitted if fitted.adjusted() < kind.precision - kind.scale or not fitted else None
