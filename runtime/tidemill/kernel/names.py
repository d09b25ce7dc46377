"""DuckDB's names of types, and names and texts as its SQL writes them."""

from __future__ import annotations

from tidemill.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    ByteType,
    CalendarIntervalType,
    DataType,
    DateType,
    DayTimeIntervalType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    MapType,
    NullType,
    ShortType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
    YearMonthIntervalType,
)

_DUCK: dict[type[DataType], str] = {
    NullType: '"NULL"', BooleanType: "BOOLEAN", StringType: "VARCHAR", BinaryType: "BLOB", ByteType: "TINYINT",
    ShortType: "SMALLINT", IntegerType: "INTEGER", LongType: "BIGINT", FloatType: "FLOAT", DoubleType: "DOUBLE",
    DateType: "DATE", TimestampNTZType: "TIMESTAMP", DayTimeIntervalType: "INTERVAL",
    YearMonthIntervalType: "INTERVAL", CalendarIntervalType: "INTERVAL",
}  # fmt: skip


def duck_type(kind: DataType, instant: str = "TIMESTAMP") -> str:
    """DuckDB's name of the type that holds ``kind``, with ``instant`` for TIMESTAMP.

    >>> duck_type(ArrayType(DecimalType(10, 2)))
    'DECIMAL(10,2)[]'
    """
    match kind:
        case DecimalType(precision, scale):
            return f"DECIMAL({precision},{scale})"
        case ArrayType(element):
            return f"{duck_type(element, instant)}[]"
        case MapType(key, value):
            return f"MAP({duck_type(key, instant)}, {duck_type(value, instant)})"
        case StructType(fields):
            inner = (f"{quote_name(f.name)} {duck_type(f.dataType, instant)}" for f in fields)
            return f"STRUCT({', '.join(inner)})"
        case TimestampType():
            return instant
    return _DUCK[type(kind)]


def quote_name(name: str) -> str:
    """A DuckDB identifier."""
    return '"' + name.replace('"', '""') + '"'
