"""``df.na``: nulls (and NaN, which Spark counts with them here) filled, dropped or replaced."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tidemill.errors import PySparkTypeError, PySparkValueError
from tidemill.sql import functions as F
from tidemill.sql.arguments import expect, wrong_type
from tidemill.sql.column import Column
from tidemill.types import BooleanType, DataType, DoubleType, FloatType, NumericType, StringType, StructField

if TYPE_CHECKING:
    from tidemill.sql.dataframe import DataFrame


class DataFrameNaFunctions:
    """Each gives a new DataFrame with the same columns."""

    def __init__(self, df: DataFrame) -> None:
        self._df = df

    def fill(self, value: Any, subset: Any = None) -> DataFrame:
        """``value`` in place of nulls, in columns of its kind; a dict has one value per column."""
        expect(value, (bool, int, float, str, dict), "value", "bool, dict, float, int or str")
        if isinstance(value, dict):
            made = {name: _filled(self._column(name), self._field(name), v) for name, v in value.items()}
        else:
            made = {
                f.name: _filled(self._column(f.name), f, value)
                for f in self._fields(subset)
                if _suits(value, f.dataType)
            }
        return self._df.withColumns(made) if made else self._df

    def drop(self, how: str = "any", thresh: int | None = None, subset: Any = None) -> DataFrame:
        """Without rows in which any or all of the columns are null, or fewer than ``thresh`` are not."""
        if how not in ("any", "all"):
            raise PySparkValueError(
                "Value for `how` has to be amongst the following values: ['any', 'all'].", "VALUE_NOT_ALLOWED"
            )
        fields = self._fields(subset)
        if not fields:
            return self._df
        there = [_present(self._column(f.name), f.dataType) for f in fields]
        if thresh is not None:
            expect(thresh, int, "thresh", "int")
            counts = [F.when(t, 1).otherwise(0) for t in there]
            return self._df.filter(functools.reduce(lambda a, b: a + b, counts) >= thresh)
        return self._df.filter(functools.reduce(lambda a, b: a & b if how == "any" else a | b, there))

    def replace(self, to_replace: Any, *value: Any, subset: Sequence[str] | str | None = None) -> DataFrame:
        """Values in place of others: one by one, several by one, or as pairs of two lists or a dict."""
        if len(value) > 1:
            subset, value = value[1], value[:1]
        pairs = _pairs(to_replace, value)
        made = {}
        for field in self._fields(subset):
            column = self._column(field.name)
            suiting = [(old, new) for old, new in pairs if _suits(old, field.dataType)]
            cases: Column | None = None
            for old, new in suiting:
                result = F.lit(new).cast(field.dataType)
                matches = column == F.lit(old)
                cases = F.when(matches, result) if cases is None else cases.when(matches, result)
            if cases is not None:
                made[field.name] = cases.otherwise(column)
        return self._df.withColumns(made) if made else self._df

    def _fields(self, subset: Any) -> list[StructField]:
        if subset is None:
            return list(self._df.schema.fields)
        if not isinstance(subset, (str, list, tuple)):
            wrong_type("subset", "list, str or tuple", subset)
        return [self._field(name) for name in ([subset] if isinstance(subset, str) else subset)]

    def _field(self, name: str) -> StructField:
        self._column(name)  # refuses a name that is not there, with the nearest
        return next(f for f in self._df.schema.fields if f.name.lower() == name.strip("`").lower())

    def _column(self, name: str) -> Column:
        known = name in self._df.columns and not name.startswith("`")
        column: Column = self._df[f"`{name.replace('`', '``')}`" if known else name]
        return column


def _suits(value: Any, kind: DataType) -> bool:
    if isinstance(value, bool):
        return isinstance(kind, BooleanType)
    if isinstance(value, (int, float)):
        return isinstance(kind, NumericType)
    return isinstance(kind, StringType)


def _filled(column: Column, field: StructField, value: Any) -> Column:
    fraction = isinstance(field.dataType, (DoubleType, FloatType))
    known = F.nanvl(column, F.lit(None).cast(field.dataType)) if fraction else column
    return F.coalesce(known, F.lit(value).cast(field.dataType))


def _present(column: Column, kind: DataType) -> Column:
    there = column.isNotNull()
    return there & ~column.isNaN() if isinstance(kind, (DoubleType, FloatType)) else there


def _pairs(to_replace: Any, value: tuple[Any, ...]) -> list[tuple[Any, Any]]:
    if isinstance(to_replace, dict):
        return list(to_replace.items())
    if not value:
        raise PySparkTypeError(
            "Argument `value` is required when `to_replace` is not a dict.", "ARGUMENT_REQUIRED"
        )
    new = value[0]
    olds = list(to_replace) if isinstance(to_replace, (list, tuple)) else [to_replace]
    news = list(new) if isinstance(new, (list, tuple)) else [new] * len(olds)
    if len(olds) != len(news):
        raise PySparkValueError(
            f"Arguments `to_replace` and `value` should be of the same length, got {len(olds)} and {len(news)}.",
            "LENGTH_SHOULD_BE_THE_SAME",
        )
    return list(zip(olds, news, strict=True))
