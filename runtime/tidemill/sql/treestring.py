"""Schemas as ``printSchema()`` prints them."""

from __future__ import annotations

from collections.abc import Iterator

from tidemill.types import ArrayType, DataType, IntegralType, MapType, StructType


def tree_string(schema: StructType, level: int | None = None) -> str:
    """The tree of a schema, down to ``level`` if it is given.

    >>> print(tree_string(StructType.fromDDL("a INT, b ARRAY<STRING> NOT NULL")))
    root
     |-- a: integer (nullable = true)
     |-- b: array (nullable = false)
     |    |-- element: string (containsNull = true)
    <BLANKLINE>
    """
    deepest = level if level is not None and level > 0 else None
    lines = (text for depth, text in _struct(schema, " |", 1) if deepest is None or depth <= deepest)
    return "\n".join(["root", *lines, ""])


def _struct(kind: StructType, prefix: str, depth: int) -> Iterator[tuple[int, str]]:
    for field in kind.fields:
        yield depth, f"{prefix}-- {field.name}: {_name(field.dataType)} (nullable = {_word(field.nullable)})"
        yield from _inside(field.dataType, f"{prefix}    |", depth + 1)


def _inside(kind: DataType, prefix: str, depth: int) -> Iterator[tuple[int, str]]:
    match kind:
        case StructType():
            yield from _struct(kind, prefix, depth)
        case ArrayType(element):
            yield depth, f"{prefix}-- element: {_name(element)} (containsNull = {_word(kind.containsNull)})"
            yield from _inside(element, f"{prefix}    |", depth + 1)
        case MapType(key, value):
            yield depth, f"{prefix}-- key: {_name(key)}"
            yield from _inside(key, f"{prefix}    |", depth + 1)
            contains = _word(kind.valueContainsNull)
            yield depth, f"{prefix}-- value: {_name(value)} (valueContainsNull = {contains})"
            yield from _inside(value, f"{prefix}    |", depth + 1)


def _name(kind: DataType) -> str:
    if isinstance(kind, (ArrayType, MapType, StructType, IntegralType)):
        return kind.typeName()
    return kind.simpleString()


def _word(flag: bool) -> str:
    return "true" if flag else "false"
