"""`GroupedData`: groups of rows, waiting for their aggregates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from tidemill.errors import (
    AnalysisException,
    PySparkNotImplementedError,
    PySparkTypeError,
    PySparkValueError,
    did_you_mean,
)
from tidemill.plan import analyze
from tidemill.sql import functions as F
from tidemill.sql.arguments import expect
from tidemill.sql.column import Column, by_name, tree
from tidemill.sql.literals import call
from tidemill.types import NumericType, StructType

if TYPE_CHECKING:
    from tidemill.sql.dataframe import DataFrame


class GroupedData:
    """What ``groupBy``, ``cube`` and ``rollup`` give."""

    def __init__(self, df: DataFrame, keys: list[exp.Expression], kind: Any = None) -> None:
        self._df = df
        self._keys = keys
        self._kind = kind
        self._pivot: tuple[Column, list[Any]] | None = None

    def agg(self, *exprs: Column | dict[str, str]) -> DataFrame:
        """The keys and these aggregates; a dict maps columns to aggregates: ``{"price": "max"}``."""
        if not exprs:
            raise PySparkValueError("agg() needs at least one aggregate.", "CANNOT_BE_EMPTY")
        if len(exprs) == 1 and isinstance(exprs[0], dict):
            items = [call(function, [by_name(column)]) for column, function in exprs[0].items()]
        else:
            for each in exprs:
                if not isinstance(each, Column):
                    raise PySparkTypeError("all exprs should be Column", "NOT_LIST_OF_COLUMN")
            items = [tree(each) for each in exprs]
        return self._aggregated(items)

    def count(self) -> DataFrame:
        """How many rows each group has, as ``count``."""
        return self._aggregated([tree(F.count(F.lit(1)).alias("count"))])

    def sum(self, *cols: str) -> DataFrame:
        """Sums of these columns, or of all numeric ones."""
        return self._each("sum", cols)

    def avg(self, *cols: str) -> DataFrame:
        """Means of these columns, or of all numeric ones."""
        return self._each("avg", cols)

    mean = avg

    def min(self, *cols: str) -> DataFrame:
        """Least values of these columns, or of all numeric ones."""
        return self._each("min", cols)

    def max(self, *cols: str) -> DataFrame:
        """Greatest values of these columns, or of all numeric ones."""
        return self._each("max", cols)

    def pivot(self, pivot_col: str, values: list[Any] | None = None) -> GroupedData:
        """A column for each of ``values`` of ``pivot_col``, or for each that there is."""
        if self._df.isStreaming:
            raise AnalysisException(
                "pivot is not supported on streaming DataFrames/Datasets; aggregate with conditions",
                "_LEGACY_ERROR_TEMP_3063",
            )
        column = Column(by_name(pivot_col)) if isinstance(pivot_col, str) else pivot_col
        if values is None:
            found = self._df.select(column.alias("v")).distinct().orderBy("v").collect()
            values = [row[0] for row in found]
        made = GroupedData(self._df, self._keys, self._kind)
        made._pivot = (column, list(values))
        return made

    def applyInPandas(self, func: Callable[..., Any], schema: StructType | str) -> DataFrame:
        """What ``func`` makes of each group as a pandas DataFrame; it may take the key, a tuple, before it. The groups
        of a stream are those of each batch."""
        import inspect

        names = [f"__key_{i}" for i in range(len(self._keys))]
        keyed = self._df.withColumns({n: Column(k.copy()) for n, k in zip(names, self._keys, strict=True)})
        takes_key = len(inspect.signature(func).parameters) == 2

        def each_group(frames: Iterator[Any]) -> Iterator[Any]:
            import pandas as pd

            whole = pd.concat(list(frames))
            for key, group in whole.groupby(names, dropna=False) if names else [((), whole)]:
                rest = group.drop(columns=names).reset_index(drop=True)
                yield func(key, rest) if takes_key else func(rest)

        return keyed.mapInPandas(each_group, schema)

    def applyInPandasWithState(self, *args: Any, **kwargs: Any) -> DataFrame:
        """Refused."""
        raise PySparkNotImplementedError(
            "applyInPandasWithState does not exist in Tidemill; aggregate, deduplicate or join, or keep state in "
            "foreachBatch",
            "NOT_IMPLEMENTED",
        )

    def __getattr__(self, name: str) -> Any:
        if name in ("apply", "applyInArrow", "cogroup", "transformWithState", "transformWithStateInPandas"):
            raise PySparkNotImplementedError(
                f"GroupedData.{name} does not exist in Tidemill; use agg(), applyInPandas() or foreachBatch",
                "NOT_IMPLEMENTED",
            )
        raise AttributeError(f"GroupedData has no attribute {name!r}{did_you_mean(name, dir(type(self)))}")

    # --- Inside -----------------------------------------------------------------------------------------------------

    def _each(self, function: str, cols: tuple[str, ...]) -> DataFrame:
        known = {f.name.lower(): f for f in self._df.schema.fields}
        for name in cols:
            expect(name, str, "cols", "str")
            found = known.get(name.strip("`").lower())
            if found is not None and not isinstance(found.dataType, NumericType):
                raise AnalysisException(
                    f'"{name}" is not a numeric column. Aggregation function can only be applied on a numeric column.',
                    "_LEGACY_ERROR_TEMP_1323",
                )
        keys = {k.name.lower() for k in self._keys}
        chosen = cols or [
            f.name
            for f in self._df.schema.fields
            if isinstance(f.dataType, NumericType) and f.name.lower() not in keys
        ]
        return self._aggregated([call(function, [by_name(name)]) for name in chosen])

    def _aggregated(self, items: list[exp.Expression]) -> DataFrame:
        bound = [self._df._bound(i) for i in items]
        if self._pivot is not None:
            bound = [made for value in self._pivot[1] for made in self._pivoted(bound, value)]
        keys = [k.copy() for k in self._keys]
        plan = analyze.aggregate(
            self._df._plan, keys, [*(k.copy() for k in self._keys), *bound], self._df._settings, self._kind
        )
        return self._df._with(plan)

    def _pivoted(self, items: list[exp.Expression], value: Any) -> list[exp.Expression]:
        """Each aggregate over the rows of one pivot value; null where there are no such rows, as in Spark."""
        assert self._pivot is not None
        column = self._pivot[0]
        matches = column.eqNullSafe(F.lit(value))
        label = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        made = []
        for item in items:
            name = item.alias if isinstance(item, exp.Alias) else _pivot_name(item)
            inner = item.this if isinstance(item, exp.Alias) else item
            only = exp.Filter(this=inner.copy(), expression=exp.Where(this=tree(matches)))
            there = F.count_if(matches) > 0
            result = F.when(there, Column(only))
            made.append(tree(result.alias(label if len(items) == 1 else f"{label}_{name}")))
        return made


def _pivot_name(item: exp.Expression) -> str:
    from tidemill.plan.names import pretty

    return pretty(item)
