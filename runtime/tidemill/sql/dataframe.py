"""`DataFrame`: rows that are described, and computed when an action or a streaming query asks for them."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlglot import exp

from tidemill.errors import (
    AnalysisException,
    IllegalArgumentException,
    PySparkAttributeError,
    PySparkNotImplementedError,
    PySparkTypeError,
    PySparkValueError,
    nearest,
)
from tidemill.kernel.show import show
from tidemill.plan import analyze
from tidemill.plan.check import UNSUPPORTED
from tidemill.plan.nodes import LocalData, Node
from tidemill.sql import functions as F
from tidemill.sql.arguments import expect, wrong_type
from tidemill.sql.column import Column, ColumnOrName, named_tree, tree
from tidemill.sql.data import parse_schema
from tidemill.sql.explain import explain
from tidemill.sql.functions import adapters
from tidemill.sql.missing import DataFrameNaFunctions
from tidemill.sql.observation import Observation
from tidemill.sql.row import Row
from tidemill.sql.statistics import DESCRIBED, SUMMARISED, summarised, unpivot
from tidemill.sql.treestring import tree_string
from tidemill.sql.values import rows
from tidemill.types import StructType, TimestampType

if TYPE_CHECKING:
    from tidemill.sql.group import GroupedData
    from tidemill.sql.readwriter import DataFrameWriter
    from tidemill.sql.session import SparkSession
    from tidemill.sql.streaming.readwriter import DataStreamWriter

_ABSENT = {
    "rdd": "use collect(), toLocalIterator() or mapInArrow()",
    "colRegex": "use select([c for c in df.columns if ...])",
    "stat": "use agg() with corr, covar_samp or approx_percentile",
    "approxQuantile": "use agg(percentile_approx(...))",
    "crosstab": "use groupBy().pivot()",
    "writeTo": "use write.saveAsTable()",
    "mergeInto": "read, join and overwrite the table",
    "pandas_api": "use toPandas()",
    "toJSON": "use select(to_json(struct('*')))",
    "checkpoint": "write the rows and read them back",
    "localCheckpoint": "write the rows and read them back",
    "lateralJoin": "use explode() or a join",
    "transpose": "use toPandas().T",
    "sampleBy": "use sample() on each part",
}
"""What PySpark's DataFrame has and ours has not, with what does the same."""


class DataFrame:
    """Rows of named columns, of a batch or of a stream.

    Every method but the actions (collect, show, count, ...) gives a new DataFrame and computes nothing.

    >>> from tidemill.sql import SparkSession
    >>> spark = SparkSession.builder.getOrCreate()
    >>> df = spark.createDataFrame([(1, "a"), (2, "b")], ["id", "name"])
    >>> df.where(df.id > 1).select("name").collect()
    [Row(name='b')]
    """

    def __init__(self, plan: Node, session: SparkSession) -> None:
        self._plan = plan
        self._session = session

    # --- What it is -------------------------------------------------------------------------------------------------

    @property
    def sparkSession(self) -> SparkSession:
        return self._session

    @property
    def schema(self) -> StructType:
        return self._plan.schema

    @property
    def columns(self) -> list[str]:
        return [a.name for a in self._plan.output]

    @property
    def dtypes(self) -> list[tuple[str, str]]:
        """Names and types: ``[('id', 'bigint'), ...]``."""
        return [(a.name, a.type.simpleString()) for a in self._plan.output]

    @property
    def isStreaming(self) -> bool:
        """Whether it must be run with ``writeStream.start()``."""
        return self._plan.streaming

    def isLocal(self) -> bool:
        return not self.isStreaming

    def printSchema(self, level: int | None = None) -> None:
        """Print the schema as a tree, down to ``level``."""
        print(tree_string(self.schema, level))

    def explain(self, extended: bool | str | None = None, mode: str | None = None) -> None:
        """Print the plan."""
        print(explain(self._plan))

    def __repr__(self) -> str:
        return f"DataFrame[{', '.join(f'{n}: {t}' for n, t in self.dtypes)}]"

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(c for c in self.columns if c.isidentifier())})

    # --- Columns ----------------------------------------------------------------------------------------------------

    def __getitem__(self, item: Any) -> Any:
        """``df["a"]`` is a column, ``df[["a", "b"]]`` a selection, ``df[condition]`` a filter."""
        if isinstance(item, str):
            return Column(analyze.column(self._plan, item, self._settings))
        if isinstance(item, Column):
            return self.filter(item)
        if isinstance(item, (list, tuple)):
            return self.select(*item)
        if not isinstance(item, int) or isinstance(item, bool):
            wrong_type("item", "Column, float, integer, list or string", item)
        return Column(self._plan.output[item].ref())

    def __getattr__(self, name: str) -> Column:
        if name.startswith("__") or name in ("_plan", "_session"):
            raise AttributeError(name)
        if name in self.columns:
            return Column(analyze.column(self._plan, name, self._settings))
        if name in _ABSENT:
            raise PySparkNotImplementedError(
                f"DataFrame.{name} does not exist in Tidemill; {_ABSENT[name]}", "NOT_IMPLEMENTED"
            )
        near = nearest(name, [*self.columns, *(m for m in dir(type(self)) if m[0] != "_")])
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise PySparkAttributeError(f"Attribute `{name}` is not supported.{hint}", "ATTRIBUTE_NOT_SUPPORTED")

    def select(self, *cols: Any) -> DataFrame:
        """These columns, given by name or as expressions; ``*`` is all of them."""
        for col in cols[0] if len(cols) == 1 and isinstance(cols[0], (list, tuple)) else cols:
            expect(col, (Column, str), "col", "Column or str")
        return self._with(analyze.project(self._plan, self._trees(cols), self._settings))

    def selectExpr(self, *expr: Any) -> DataFrame:
        """These columns, given as SQL text."""
        texts = expr[0] if len(expr) == 1 and isinstance(expr[0], list) else expr
        return self.select(*(F.expr(t) for t in texts))

    def withColumn(self, colName: str, col: Column) -> DataFrame:
        """One column added, or replaced if it is there."""
        expect(colName, str, "colName", "str")
        expect(col, Column, "col", "Column")
        return self.withColumns({colName: col})

    def withColumns(self, *colsMap: dict[str, Column]) -> DataFrame:
        """Several columns added or replaced; all of them see the columns as they were."""
        if len(colsMap) != 1 or not isinstance(colsMap[0], dict):
            wrong_type("colsMap", "dict", colsMap[0] if colsMap else None)
        for col in colsMap[0].values():
            expect(col, Column, "col", "Column")
        made = {name: self._bound(tree(col)) for name, col in colsMap[0].items()}
        return self._with(analyze.with_columns(self._plan, made, self._settings))

    def withColumnRenamed(self, existing: str, new: str) -> DataFrame:
        """One column under another name; nothing happens if it is not there."""
        expect(existing, str, "existing", "str")
        expect(new, str, "new", "str")
        return self.withColumnsRenamed({existing: new})

    def withColumnsRenamed(self, colsMap: dict[str, str]) -> DataFrame:
        """Several columns under other names."""
        expect(colsMap, dict, "colsMap", "dict")
        return self._with(analyze.rename(self._plan, colsMap, self._settings))

    def toDF(self, *cols: str) -> DataFrame:
        """All columns under new names, by position."""
        for name in cols:
            expect(name, str, "cols", "str")
        return self._with(analyze.rename_all(self._plan, cols))

    def to(self, schema: StructType) -> DataFrame:
        """The columns of ``schema`` by name, cast to its types; those not there are null."""
        expect(schema, StructType, "schema", "StructType")
        known = {c.lower() for c in self.columns}
        return self.select(
            *(
                (self[_quoted(f.name)] if f.name.lower() in known else F.lit(None))
                .cast(f.dataType)
                .alias(f.name)
                for f in schema.fields
            )
        )

    def drop(self, *cols: ColumnOrName) -> DataFrame:
        """Without these columns; those that are not there are no mistake."""
        given: list[str | exp.Expression] = []
        for col in cols:
            expect(col, (Column, str), "col", "Column or str")
            given.append(tree(col) if isinstance(col, Column) else col)
        return self._with(analyze.drop(self._plan, given, self._settings))

    def alias(self, alias: str) -> DataFrame:
        """The same rows under a name, so that ``col("alias.column")`` finds them."""
        expect(alias, str, "alias", "str")
        return self._with(analyze.alias(self._plan, alias))

    def transform(self, func: Callable[..., DataFrame], *args: Any, **kwargs: Any) -> DataFrame:
        """``func(self, ...)``, to chain functions from left to right."""
        result = func(self, *args, **kwargs)
        expect(result, DataFrame, "func", "a function that returns a DataFrame")
        return result

    # --- Rows -------------------------------------------------------------------------------------------------------

    def filter(self, condition: ColumnOrName) -> DataFrame:
        """Rows for which the condition, a column or SQL text, is true."""
        expect(condition, (Column, str), "condition", "Column or str")
        given = F.expr(condition) if isinstance(condition, str) else condition
        return self._with(analyze.filter_rows(self._plan, self._bound(tree(given)), self._settings))

    where = filter

    def distinct(self) -> DataFrame:
        """Each row once."""
        return self._with(analyze.deduplicate(self._plan, None, self._settings))

    def dropDuplicates(self, subset: Sequence[str] | None = None) -> DataFrame:
        """One row for each distinct value of the columns in ``subset``, or of all columns.

        A stream keeps what it has seen: for ever, or until the watermark has passed it if the event time is in
        ``subset``.
        """
        return self._with(analyze.deduplicate(self._plan, _subset(subset), self._settings))

    drop_duplicates = dropDuplicates

    def dropDuplicatesWithinWatermark(self, subset: Sequence[str] | None = None) -> DataFrame:
        """One row for each distinct value, forgotten once the watermark is past the first row's time and the delay."""
        if not self.isStreaming:
            raise AnalysisException(
                "dropDuplicatesWithinWatermark is not supported with batch DataFrames; use dropDuplicates"
            )
        return self._with(
            analyze.deduplicate(self._plan, _subset(subset), self._settings, within_watermark=True)
        )

    def withWatermark(self, eventTime: str, delayThreshold: str) -> DataFrame:
        """The column is event time, and rows come late by ``delayThreshold`` (``'10 minutes'``) at most."""
        expect(eventTime, str, "eventTime", "str")
        expect(delayThreshold, str, "delayThreshold", "str")
        return self._with(analyze.with_watermark(self._plan, eventTime, delayThreshold, self._settings))

    def orderBy(self, *cols: Any, **kwargs: Any) -> DataFrame:
        """The rows in order; ``ascending`` is a flag or one for each column. A stream needs complete mode."""
        orders = self._orders(cols, kwargs.pop("ascending", True))
        if kwargs:
            raise PySparkTypeError(f"orderBy() takes `ascending` by name, not {', '.join(kwargs)}")
        return self._with(analyze.sort(self._plan, orders, self._settings))

    sort = orderBy
    sortWithinPartitions = orderBy

    def limit(self, num: int) -> DataFrame:
        """At most ``num`` rows."""
        expect(num, int, "num", "int")
        return self._with(analyze.limit(self._plan, num))

    def offset(self, num: int) -> DataFrame:
        """All but the first ``num`` rows."""
        expect(num, int, "num", "int")
        return self._with(analyze.limit(self._plan, -1, num))

    def sample(
        self,
        withReplacement: float | bool | None = None,
        fraction: int | float | None = None,
        seed: int | None = None,
    ) -> DataFrame:
        """About a fraction of the rows, each by chance."""
        if isinstance(withReplacement, float) or (fraction is None and withReplacement is not None):
            withReplacement, fraction, seed = (
                None,
                withReplacement,
                seed if fraction is None else int(fraction),
            )
        if not isinstance(fraction, (int, float)) or isinstance(fraction, bool):
            wrong_type(
                "withReplacement (optional), fraction (required) and seed (optional)",
                "bool, float or int",
                fraction,
            )
        if withReplacement:
            raise PySparkNotImplementedError(
                "sample(withReplacement=True) does not exist; sample without it", "NOT_IMPLEMENTED"
            )
        self._refuse_stream(
            "Sampling is not supported on streaming DataFrames/Datasets; filter by a hash of a key"
        )
        return self.filter(F.rand(seed) < float(fraction))

    def randomSplit(self, weights: list[float], seed: int | None = None) -> list[DataFrame]:
        """The rows dealt out by chance in these proportions."""
        table = self._table()
        dice = random.Random(seed)
        draws = dice.choices(range(len(weights)), weights, k=table.num_rows)
        parts: list[list[int]] = [[] for _ in weights]
        for row, part in enumerate(draws):
            parts[part].append(row)
        return [self._session._local(table.take(part), self.schema) for part in parts]

    @property
    def na(self) -> DataFrameNaFunctions:
        """Ways to deal with nulls."""
        return DataFrameNaFunctions(self)

    def fillna(self, value: Any, subset: Any = None) -> DataFrame:
        """``na.fill``."""
        return self.na.fill(value, subset)

    def dropna(self, how: str = "any", thresh: int | None = None, subset: Any = None) -> DataFrame:
        """``na.drop``."""
        return self.na.drop(how, thresh, subset)

    def replace(self, to_replace: Any, *value: Any, subset: list[str] | None = None) -> DataFrame:
        """``na.replace``."""
        return self.na.replace(to_replace, *value, subset=subset)

    # --- Groups -----------------------------------------------------------------------------------------------------

    def groupBy(self, *cols: Any) -> GroupedData:
        """Groups of rows that are equal in these columns, to be aggregated."""
        return self._grouped(cols, None)

    groupby = groupBy

    def cube(self, *cols: Any) -> GroupedData:
        """Groups for every combination of the columns."""
        return self._grouped(cols, "cube")

    def rollup(self, *cols: Any) -> GroupedData:
        """Groups for all columns, all but the last, and so on to none."""
        return self._grouped(cols, "rollup")

    def agg(self, *exprs: Column | dict[str, str]) -> DataFrame:
        """Aggregates of all rows."""
        return self.groupBy().agg(*exprs)

    def _grouped(self, cols: tuple[Any, ...], kind: Any) -> GroupedData:
        from tidemill.sql.group import GroupedData

        return GroupedData(self, self._trees(cols), kind)

    def groupingSets(self, groupingSets: Sequence[Sequence[Any]], *cols: Any) -> GroupedData:
        """Groups for each of several sets of the columns ``cols``."""
        keys = self._trees(cols)
        sets = [tuple(keys.index(k) for k in self._trees((list(each),))) for each in groupingSets]
        return self._grouped(cols, sets)

    def describe(self, *cols: Any) -> DataFrame:
        """Count, mean, standard deviation, least and greatest of the numeric and text columns, as text."""
        return summarised(self, _names(cols), DESCRIBED)

    def summary(self, *statistics: str) -> DataFrame:
        """As `describe`, with quartiles; or the statistics that are named (``count``, ``mean``, ``10%``, ...)."""
        return summarised(self, (), statistics or SUMMARISED)

    def corr(self, col1: str, col2: str, method: str | None = None) -> float:
        """The Pearson correlation of two columns."""
        if method not in (None, "pearson"):
            raise PySparkNotImplementedError(
                f"corr() knows 'pearson' only, not {method!r}", "NOT_IMPLEMENTED"
            )
        return float(self.agg(F.corr(col1, col2)).collect()[0][0])

    def cov(self, col1: str, col2: str) -> float:
        """The covariance of two columns, as a sample."""
        return float(self.agg(F.covar_samp(col1, col2)).collect()[0][0])

    def unpivot(self, ids: Any, values: Any, variableColumnName: str, valueColumnName: str) -> DataFrame:
        """A row for each of the columns ``values`` (None: all but ``ids``), with its name and its value."""
        return unpivot(self, ids, values, variableColumnName, valueColumnName)

    melt = unpivot

    # --- Several DataFrames -----------------------------------------------------------------------------------------

    def join(self, other: DataFrame, on: Any = None, how: str | None = None) -> DataFrame:
        """Pairs of rows that ``on`` matches: a column name, several, or conditions.

        ``how``: inner (default), left, right, full, left_semi, left_anti, cross.
        """
        expect(other, DataFrame, "other", "DataFrame")
        given: list[Any] | None = (
            [on] if isinstance(on, (str, Column)) else list(on) if on is not None else None
        )
        how = "inner" if how is None else how
        expect(how, str, "how", "str")
        key: exp.Expression | list[str] | None = None
        if given and all(isinstance(k, str) for k in given):
            key = list(given)
        elif given:
            for each in given:
                expect(each, Column, "on", "Column or list of Column")
            key = self._bound(tree(functools.reduce(lambda a, b: a & b, given)))
        return self._with(analyze.join(self._plan, other._plan, key, how, self._settings))

    def crossJoin(self, other: DataFrame) -> DataFrame:
        """All pairs of rows."""
        expect(other, DataFrame, "other", "DataFrame")
        return self._with(analyze.join(self._plan, other._plan, None, "cross", self._settings))

    def union(self, other: DataFrame) -> DataFrame:
        """The rows of both, columns by position."""
        expect(other, DataFrame, "other", "DataFrame")
        return self._with(analyze.union([self._plan, other._plan], self._settings))

    unionAll = union

    def unionByName(self, other: DataFrame, allowMissingColumns: bool = False) -> DataFrame:
        """The rows of both, columns by name; with ``allowMissingColumns``, null where one has them not."""
        expect(other, DataFrame, "other", "DataFrame")
        plans = [self._plan, other._plan]
        return self._with(
            analyze.union(plans, self._settings, by_name=True, allow_missing=allowMissingColumns)
        )

    def intersect(self, other: DataFrame) -> DataFrame:
        """The distinct rows that are in both."""
        return self._with(analyze.set_operation(self._plan, other._plan, "intersect", self._settings))

    def subtract(self, other: DataFrame) -> DataFrame:
        """The distinct rows that are not in ``other``."""
        return self._with(analyze.set_operation(self._plan, other._plan, "except", self._settings))

    def exceptAll(self, other: DataFrame) -> DataFrame:
        """The rows that are not in ``other``, as often as they are more often here."""
        for frame in (self, other):
            frame._refuse_stream(
                "Except All of streaming DataFrames/Datasets is not supported; use a left anti join"
            )
        return self._all_of(other, keep="> 0")

    def intersectAll(self, other: DataFrame) -> DataFrame:
        """The rows that are in both, as often as they are in the rarer."""
        for frame in (self, other):
            frame._refuse_stream(
                "Intersect of streaming DataFrames/Datasets is not supported; use a left semi join"
            )
        return self._all_of(other, keep="<= 0")

    def _all_of(self, other: DataFrame, keep: str) -> DataFrame:
        """Number equal rows on both sides: the n-th of one has a partner if there is an n-th on the other."""
        how = "left_anti" if keep == "> 0" else "left_semi"
        names = [f"c{i}" for i in range(len(self.columns))]
        numbered = []
        for frame in (self, other):
            window = F.row_number().over(_partition(names))
            numbered.append(frame.toDF(*names).withColumn("n", window))
        left, right = numbered
        condition = [left[n].eqNullSafe(right[n]) for n in (*names, "n")]
        return left.join(right, condition, how).drop("n").toDF(*self.columns)

    # --- Hints that change nothing here -----------------------------------------------------------------------------

    def hint(self, name: str, *parameters: Any) -> DataFrame:
        """Accepted; the engine needs no hints."""
        expect(name, str, "name", "str")
        return self

    def repartition(self, numPartitions: int | ColumnOrName, *cols: ColumnOrName) -> DataFrame:
        """Accepted; the engine divides the work itself."""
        return self

    repartitionByRange = repartition

    def coalesce(self, numPartitions: int) -> DataFrame:
        """Accepted; the engine divides the work itself."""
        expect(numPartitions, int, "numPartitions", "int")
        return self

    def cache(self) -> DataFrame:
        """Accepted; the rows are computed when they are asked for."""
        return self.persist()

    def persist(self, storageLevel: Any = None) -> DataFrame:
        """Accepted; the rows are computed when they are asked for."""
        self._refuse_stream(
            "Queries with streaming sources must be executed with writeStream.start(); persist the rows of a batch, in "
            "foreachBatch"
        )
        return self

    def unpersist(self, blocking: bool = False) -> DataFrame:
        """Accepted."""
        return self

    # --- Python over batches ----------------------------------------------------------------------------------------

    def mapInPandas(
        self, func: Callable[..., Any], schema: StructType | str, barrier: bool = False, profile: Any = None
    ) -> DataFrame:
        """``func`` of an iterator of pandas DataFrames; it gives an iterator of pandas DataFrames of ``schema``."""
        return self._mapped(func, "pandas", schema)

    def mapInArrow(
        self, func: Callable[..., Any], schema: StructType | str, barrier: bool = False, profile: Any = None
    ) -> DataFrame:
        """``func`` of an iterator of Arrow record batches; it gives an iterator of record batches of ``schema``."""
        return self._mapped(func, "arrow", schema)

    def _mapped(self, func: Callable[..., Any], kind: Any, schema: StructType | str) -> DataFrame:
        found = parse_schema(schema)
        if not isinstance(found, StructType):
            wrong_type("schema", "StructType or str", schema)
        taken, zone = self.schema, _ZoneOf(self._session)
        if kind == "pandas":
            adapted = adapters.batches_by_pandas(func, taken, found, zone)
        else:
            adapted = adapters.batches_by_arrow(func, taken, zone)
        return self._with(analyze.map_batches(self._plan, adapted, kind, found))

    # --- Actions ----------------------------------------------------------------------------------------------------

    def collect(self) -> list[Row]:
        """All rows."""
        return rows(self._table(), self.schema)

    def toLocalIterator(self, prefetchPartitions: bool = False) -> Iterator[Row]:
        """All rows, one after the other."""
        return iter(self.collect())

    def count(self) -> int:
        """How many rows there are."""
        counted = analyze.aggregate(self._plan, [], [tree(F.count("*").alias("count"))], self._settings)
        return int(self._with(counted)._table().column(0)[0].as_py())

    def isEmpty(self) -> bool:
        return self.limit(1)._table().num_rows == 0

    def take(self, num: int) -> list[Row]:
        """The first ``num`` rows."""
        return self.limit(num).collect()

    def head(self, n: int | None = None) -> Any:
        """The first row or None, or with ``n`` a list of rows."""
        if n is not None:
            return self.take(n)
        found = self.take(1)
        return found[0] if found else None

    def first(self) -> Row | None:
        """The first row, or None."""
        return self.head()

    def tail(self, num: int) -> list[Row]:
        """The last ``num`` rows."""
        expect(num, int, "num", "int")
        found = self.collect()
        return found[max(len(found) - num, 0) :]

    def show(self, n: int = 20, truncate: bool | int = True, vertical: bool = False) -> None:
        """Print the first ``n`` rows, as Spark does."""
        print(self._show_string(n, truncate, vertical))

    def _show_string(self, n: int = 20, truncate: bool | int = True, vertical: bool = False) -> str:
        expect(n, int, "n", "int")
        expect(vertical, bool, "vertical", "bool")
        if not isinstance(truncate, (bool, int)):
            wrong_type("truncate", "bool", truncate)
        width = (20 if truncate else 0) if isinstance(truncate, bool) else int(truncate)
        table = self.limit(n + 1)._table()
        return show(table, self.schema, n, width, vertical, self._session._zone)

    def toArrow(self) -> pa.Table:
        """All rows as an Arrow table; a TIMESTAMP is in the session's time zone."""
        table = self._table()
        zone = self._session._zone
        for i, field in enumerate(self.schema.fields):
            if isinstance(field.dataType, TimestampType):
                column = table.column(i).cast(pa.timestamp("us", zone))
                table = table.set_column(i, pa.field(field.name, column.type), column)
        return table

    def toPandas(self) -> Any:
        """All rows as a pandas DataFrame; a TIMESTAMP is the session's wall clock time without a zone."""
        from tidemill.sql.pandas import to_pandas

        return to_pandas(self._table(), self.schema, self._session._zone)

    def foreach(self, f: Callable[[Row], None]) -> None:
        """Call ``f`` for each row."""
        for row in self.collect():
            f(row)

    def foreachPartition(self, f: Callable[[Iterator[Row]], None]) -> None:
        """Call ``f`` with all rows; there is one partition."""
        f(iter(self.collect()))

    # --- Output -----------------------------------------------------------------------------------------------------

    @property
    def write(self) -> DataFrameWriter:
        """Write the rows somewhere."""
        from tidemill.sql.readwriter import DataFrameWriter

        if self.isStreaming:
            raise AnalysisException(
                "`write` can not be called on streaming Dataset/DataFrame; use `writeStream`.",
                "CALL_ON_STREAMING_DATASET_UNSUPPORTED",
            )
        return DataFrameWriter(self)

    @property
    def writeStream(self) -> DataStreamWriter:
        """Write the rows as they come."""
        from tidemill.sql.streaming.readwriter import DataStreamWriter

        if not self.isStreaming:
            raise AnalysisException(
                "`writeStream` can be called only on streaming Dataset/DataFrame; use `write`.",
                "WRITE_STREAM_NOT_ALLOWED",
            )
        return DataStreamWriter(self)

    def createOrReplaceTempView(self, name: str) -> None:
        """Let SQL of this session call these rows ``name``."""
        self._name(name, replace=True)

    def createTempView(self, name: str) -> None:
        """Let SQL of this session call these rows ``name``, which must be free."""
        self._name(name, replace=False)

    registerTempTable = createOrReplaceTempView

    def createOrReplaceGlobalTempView(self, name: str) -> None:
        """Let SQL of all sessions in this process call these rows ``global_temp.name``."""
        expect(name, str, "name", "str")
        self._session.catalog._shared.put(name, self._plan, replace=True)

    def createGlobalTempView(self, name: str) -> None:
        """As `createOrReplaceGlobalTempView`, but the name must be free."""
        expect(name, str, "name", "str")
        self._session.catalog._shared.put(name, self._plan, replace=False)

    def _name(self, name: str, replace: bool) -> None:
        expect(name, str, "name", "str")
        self._session.catalog._views.put(name, self._plan, replace)

    # --- Inside -----------------------------------------------------------------------------------------------------

    @property
    def _settings(self) -> Any:
        return self._session._settings()

    def _with(self, plan: Node) -> DataFrame:
        return DataFrame(plan, self._session)

    def _table(self) -> pa.Table:
        # Rows that are at hand already, as those of a foreachBatch, need no engine.
        return self._plan.rows if isinstance(self._plan, LocalData) else self._session._collect(self._plan)

    def _materialised(self) -> DataFrame:
        """The same rows, computed now."""
        return self._session._local(self._table(), self.schema)

    def _bound(self, e: exp.Expression) -> exp.Expression:
        return self._session.udf.bound(e)

    def observe(self, observation: Observation | str, *exprs: Column) -> DataFrame:
        """The same rows; the aggregates ``exprs`` of each batch come in its progress report, under ``observation``.
        Of rows that do not stream, an `Observation` tells."""
        expect(observation, (Observation, str), "observation", "Observation or str")
        if not exprs:
            raise PySparkValueError("At least one exprs must be specified.", "CANNOT_BE_EMPTY")
        for e in exprs:
            expect(e, Column, "exprs", "list[Column]")
        if isinstance(observation, str):
            made = analyze.observe(self._plan, observation, self._trees(exprs), self._settings)
            return self._with(made) if self.isStreaming else self
        if self.isStreaming:
            raise IllegalArgumentException(
                "Observation does not support streaming Datasets: each batch has figures of its own. Give observe() a "
                "name, and read query.lastProgress.observedMetrics or register a StreamingQueryListener"
            )
        observation._of(self.agg(*exprs))
        return self

    def _refuse_stream(self, why: str) -> None:
        if self.isStreaming:
            raise AnalysisException(why, UNSUPPORTED)

    def _trees(self, cols: tuple[Any, ...]) -> list[exp.Expression]:
        """The expressions of columns given one by one or as one list, registered functions bound."""
        flat = cols[0] if len(cols) == 1 and isinstance(cols[0], (list, tuple)) else cols
        return [self._bound(self._ordinal(c) if _is_ordinal(c) else named_tree(c)) for c in flat]

    def _ordinal(self, position: int) -> exp.Expression:
        if not 1 <= position <= len(self._plan.output):
            raise PySparkValueError(
                f"column {position} does not exist; positions count from 1 to {len(self._plan.output)}",
                "INDEX_OUT_OF_RANGE",
            )
        return self._plan.output[position - 1].ref()

    def _orders(self, cols: tuple[Any, ...], ascending: Any) -> list[exp.Expression]:
        flat = list(cols[0]) if len(cols) == 1 and isinstance(cols[0], (list, tuple)) else list(cols)
        if not flat:
            raise PySparkValueError("At least one cols must be specified.", "CANNOT_BE_EMPTY")
        if not isinstance(ascending, (bool, int, list, tuple)):
            wrong_type("ascending", "Column, int or str", ascending)
        signs = [
            (a if _is_ordinal(c) is False or c > 0 else not a)
            for c, a in zip(flat, _flags(ascending, len(flat)), strict=True)
        ]
        trees = self._trees(([abs(c) if _is_ordinal(c) else c for c in flat],))
        made: list[exp.Expression] = []
        for order, up in zip(trees, signs, strict=True):
            if isinstance(order, exp.Ordered):
                made.append(order)
            else:
                made.append(exp.Ordered(this=order, desc=not up, nulls_first=bool(up)))
        return made


class _ZoneOf:
    """A session's time zone when it is asked for; on its way to an executor, what it is then."""

    def __init__(self, session: SparkSession) -> None:
        self._session = session

    def __call__(self) -> str:
        return self._session._zone

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial, (str, self())


def _flags(ascending: Any, count: int) -> list[bool]:
    return [bool(a) for a in ascending] if isinstance(ascending, (list, tuple)) else [bool(ascending)] * count


def _is_ordinal(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _names(cols: tuple[Any, ...]) -> list[str]:
    return list(cols[0]) if len(cols) == 1 and isinstance(cols[0], (list, tuple)) else list(cols)


def _subset(subset: Any) -> list[str] | None:
    if subset is None:
        return None
    if not isinstance(subset, (list, tuple)):
        wrong_type("subset", "list or tuple", subset)
    return list(subset)


def _partition(names: list[str]) -> Any:
    from tidemill.sql.window import Window

    return Window.partitionBy(*names).orderBy(F.lit(1))


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"
