"""The type of a JSON text, as Spark infers it."""

from __future__ import annotations

from typing import Any

from tidemill.kernel.functions.jsontexts import MALFORMED, NOTHING, Number, parse
from tidemill.types import (
    ArrayType,
    BooleanType,
    DataType,
    DecimalType,
    DoubleType,
    LongType,
    NullType,
    StringType,
    StructField,
    StructType,
)


def infer(text: str) -> DataType | None:
    """The type of a text's value; None if it is no JSON.

    >>> infer('{"b": [1, 2.5], "a": null}').simpleString()
    'struct<a:string,b:array<double>>'
    """
    value = parse(text)
    return None if value is MALFORMED or value is NOTHING else _settled(_type(value))


def _type(value: Any) -> DataType:
    if value is None:
        return NullType()
    if isinstance(value, bool):
        return BooleanType()
    if isinstance(value, Number):
        return _number(value)
    if isinstance(value, str):
        return StringType()
    if isinstance(value, dict):
        return StructType(StructField(k, _type(v)) for k, v in sorted(value.items()))
    kind: DataType = NullType()
    for part in value:
        kind = merged(kind, _type(part))
    return ArrayType(kind)


def _number(value: Number) -> DataType:
    if not value.is_whole:
        return DoubleType()
    if -(1 << 63) <= int(value) < 1 << 63:
        return LongType()
    digits = len(value.lstrip("-"))
    return DecimalType(digits, 0) if digits <= 38 else DoubleType()


def merged(a: DataType, b: DataType) -> DataType:
    """The type that holds both; strings hold everything."""
    if a == b or isinstance(b, NullType):
        return a
    if isinstance(a, NullType):
        return b
    match a, b:
        case StructType(), StructType():
            names = sorted({*a.names, *b.names})
            return StructType(StructField(n, merged(_of(a, n), _of(b, n))) for n in names)
        case ArrayType(x), ArrayType(y):
            return ArrayType(merged(x, y))
    numbers = (LongType, DoubleType, DecimalType)
    if not isinstance(a, numbers) or not isinstance(b, numbers):
        return StringType()
    if isinstance(a, DoubleType) or isinstance(b, DoubleType):
        return DoubleType()
    return DecimalType(max(_digits(a), _digits(b)), 0)


def _of(kind: StructType, name: str) -> DataType:
    return next((f.dataType for f in kind if f.name == name), NullType())


def _digits(kind: DataType) -> int:
    return kind.precision if isinstance(kind, DecimalType) else 20


def _settled(kind: DataType) -> DataType:
    """What is null everywhere is a string."""
    match kind:
        case NullType():
            return StringType()
        case ArrayType(element):
            return ArrayType(_settled(element))
        case StructType(fields):
            kept = [f for f in fields if f.dataType != StructType()]  # an object without fields says nothing
            return StructType(StructField(f.name, _settled(f.dataType)) for f in kept)
    return kind


__all__ = ["infer", "merged"]
