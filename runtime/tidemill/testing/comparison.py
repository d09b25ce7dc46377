"""Comparisons of DataFrames and schemas, with PySpark's names and arguments."""

from __future__ import annotations

import decimal
import math
from collections.abc import Sequence
from typing import Any

from tidemill.errors import PySparkAssertionError, PySparkTypeError
from tidemill.sql.dataframe import DataFrame
from tidemill.types import ArrayType, DataType, MapType, StructType

_SHOWN = 20
"""Differing rows that a message lists."""


def assertDataFrameEqual(
    actual: Any,
    expected: Any,
    checkRowOrder: bool = False,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    ignoreNullable: bool = True,
    ignoreColumnOrder: bool = False,
    ignoreColumnName: bool = False,
) -> None:
    """Raise `PySparkAssertionError` unless the rows are equal; numbers may differ by ``atol + rtol * |expected|``.

    ``actual`` and ``expected`` are DataFrames or lists of Rows or tuples. Schemas are compared where both have one.
    """
    if isinstance(actual, DataFrame) and isinstance(expected, DataFrame):
        if ignoreColumnOrder:
            actual, expected = (d.select(*sorted(d.columns)) for d in (actual, expected))
        if ignoreColumnName:
            expected = expected.toDF(*actual.columns)
        assertSchemaEqual(actual.schema, expected.schema, ignoreNullable)
    left, right = _rows(actual, "actual"), _rows(expected, "expected")
    if not checkRowOrder:
        left, right = sorted(left, key=_order), sorted(right, key=_order)
    wrong = [
        (a, e)
        for a, e in zip(_filled(left, len(right)), _filled(right, len(left)), strict=True)
        if not _equal(a, e, rtol, atol)
    ]
    if wrong:
        total = max(len(left), len(right))
        lines = [f"  actual   {a!r}\n  expected {e!r}" for a, e in wrong[:_SHOWN]]
        raise PySparkAssertionError(
            f"Results do not match: {len(wrong)} of {total} rows differ ({len(left)} actual, {len(right)} expected)\n"
            + "\n".join(lines),
            "DIFFERENT_ROWS",
        )


def assertSchemaEqual(actual: StructType, expected: StructType, ignoreNullable: bool = True) -> None:
    """Raise `PySparkAssertionError` unless the schemas are equal, nullability aside unless asked for."""
    for name, given in (("actual", actual), ("expected", expected)):
        if not isinstance(given, StructType):
            raise PySparkTypeError(
                f"`{name}` should be StructType, got {type(given).__name__}.", "UNSUPPORTED_DATA_TYPE"
            )
    a, e = (_bare(s) if ignoreNullable else s for s in (actual, expected))
    if a != e:
        raise PySparkAssertionError(
            f"Schemas do not match.\n  actual   {actual.simpleString()}\n  expected {expected.simpleString()}",
            "DIFFERENT_SCHEMA",
        )


def _bare(kind: DataType) -> Any:
    """The type without its nullability."""
    match kind:
        case StructType(fields):
            return tuple((f.name, _bare(f.dataType)) for f in fields)
        case ArrayType(element):
            return ("array", _bare(element))
        case MapType(key, value):
            return ("map", _bare(key), _bare(value))
    return kind


def _rows(given: Any, name: str) -> list[Any]:
    if isinstance(given, DataFrame):
        return list(given.collect())
    if isinstance(given, Sequence) and not isinstance(given, (str, bytes)):
        return list(given)
    raise PySparkTypeError(
        f"`{name}` should be a DataFrame or a list of rows, got {type(given).__name__}.",
        "INVALID_TYPE_DF_EQUALITY_ARG",
    )


def _filled(rows: list[Any], size: int) -> list[Any]:
    return rows + [None] * max(0, size - len(rows))


def _order(row: Any) -> str:
    return repr(
        [f"{v:.6g}" if isinstance(v, float) else v for v in row] if isinstance(row, (tuple, list)) else row
    )


def _equal(a: Any, e: Any, rtol: float, atol: float) -> bool:
    if isinstance(a, bool) or isinstance(e, bool) or a is None or e is None:
        return a is e or (a == e and type(a) is type(e))
    if isinstance(a, (int, float, decimal.Decimal)) and isinstance(e, (int, float, decimal.Decimal)):
        x, y = float(a), float(e)
        return (math.isnan(x) and math.isnan(y)) or x == y or abs(x - y) <= atol + rtol * abs(y)
    if isinstance(a, dict) and isinstance(e, dict):
        return a.keys() == e.keys() and all(_equal(a[k], e[k], rtol, atol) for k in a)
    if isinstance(a, (tuple, list)) and isinstance(e, (tuple, list)):
        return len(a) == len(e) and all(_equal(x, y, rtol, atol) for x, y in zip(a, e, strict=True))
    return bool(a == e)
