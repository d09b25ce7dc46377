"""``describe``, ``summary`` and ``unpivot``: DataFrames whose rows are made of another one's columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tidemill.errors import AnalysisException, IllegalArgumentException, PySparkValueError
from tidemill.plan import coercion
from tidemill.sql import functions as F
from tidemill.sql.column import Column, named_tree
from tidemill.types import NumericType, StringType, StructField, StructType

if TYPE_CHECKING:
    from tidemill.sql.dataframe import DataFrame

DESCRIBED = ("count", "mean", "stddev", "min", "max")
SUMMARISED = ("count", "mean", "stddev", "min", "25%", "50%", "75%", "max")


def summarised(df: DataFrame, names: Sequence[str], wanted: Sequence[str]) -> DataFrame:
    """One row for each statistic, as text, of the numeric and text columns among ``names`` (all, if it is empty)."""
    fields = [
        f
        for f in df.schema.fields
        if isinstance(f.dataType, (NumericType, StringType)) and (not names or f.name in names)
    ]
    for name in names:
        df[name]  # refuses one that is not there, with the nearest
    items = [
        _statistic(w, df[f"`{f.name}`"], f).cast("string").alias(f"{n}_{i}")
        for n, w in enumerate(wanted)
        for i, f in enumerate(fields)
    ]
    row: Any = df.agg(*items).first() if items else ()
    rows = [(w, *row[n * len(fields) : (n + 1) * len(fields)]) for n, w in enumerate(wanted)]
    schema = StructType(
        [StructField("summary", StringType()), *(StructField(f.name, StringType()) for f in fields)]
    )
    return df.sparkSession.createDataFrame(rows, schema)


def _statistic(name: str, column: Column, field: StructField) -> Column:
    number = column if isinstance(field.dataType, NumericType) else column.try_cast("double")
    if name in ("min", "max", "count", "count_distinct", "approx_count_distinct"):
        return getattr(F, name)(column)
    if name in ("mean", "stddev"):
        return getattr(F, name)(number)
    share = re.fullmatch(r"(\d+(?:\.\d+)?)%", name)
    if share is None:
        raise IllegalArgumentException(
            f"{name} is not a recognised statistic; they are {', '.join(SUMMARISED)}, count_distinct, "
            "approx_count_distinct and any percentage"
        )
    return F.percentile_approx(number, float(share[1]) / 100)


def unpivot(df: DataFrame, ids: Any, values: Any, variable: str, value: str) -> DataFrame:
    """The ``ids`` of each row with the name and value of one of ``values`` after the other; None: all other columns."""
    kept = [Column(named_tree(c)) for c in _listed(ids)]
    names = {c._expression.name for c in kept}
    spread = [df[f"`{c}`"] for c in df.columns if c not in names] if values is None else _listed(values)
    columns = [Column(named_tree(c)) for c in spread]
    if not columns:
        raise PySparkValueError(
            "At least one value column needs to be specified for UNPIVOT.", "UNPIVOT_REQUIRES_VALUE_COLUMNS"
        )
    types = [f.dataType for f in df.select(*columns).schema.fields]
    common = coercion.common_of(types, df._settings.ansi)
    if common is None:
        shown = ", ".join(t.simpleString() for t in types)
        raise AnalysisException(
            f"Unpivot value columns must share a least common type, some types do not: {shown}; cast them first",
            "UNPIVOT_VALUE_DATA_TYPE_MISMATCH",
        )
    pairs = [part for c in columns for part in (F.lit(c._expression.alias_or_name), c.cast(common))]
    return df.select(*kept, F.stack(F.lit(len(columns)), *pairs).alias(variable, value))


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, (list, tuple)) else [given]
