"""DataFrames: what each call gives, in a batch and over a stream. Expected rows are those of PySpark 4.3."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tidemill.errors import (
    AnalysisException,
    PySparkAssertionError,
    PySparkAttributeError,
    PySparkException,
    PySparkNotImplementedError,
    PySparkTypeError,
    PySparkValueError,
)
from tidemill.sql import DataFrame, Row, SparkSession
from tidemill.sql import functions as F
from tidemill.sql import types as T
from tidemill.testing import MemoryStream, add_together, assertDataFrameEqual, assertSchemaEqual


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    folder = tmp_path_factory.mktemp("warehouse")
    builder = SparkSession.builder.config("spark.sql.session.timeZone", "UTC")
    session = builder.config("spark.sql.warehouse.dir", str(folder)).create()
    yield session
    session.stop()


@pytest.fixture
def df(spark: SparkSession) -> DataFrame:
    rows = [(1, "a", 1.5), (2, "b", None), (2, None, 3.0)]
    return spark.createDataFrame(rows, "id BIGINT, s STRING, d DOUBLE")


def test_what_it_is(df: DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    assert repr(df) == "DataFrame[id: bigint, s: string, d: double]"
    assert df.columns == ["id", "s", "d"]
    assert df.dtypes == [("id", "bigint"), ("s", "string"), ("d", "double")]
    assert df.schema == T.StructType.fromDDL("id BIGINT, s STRING, d DOUBLE")
    assert not df.isStreaming
    df.printSchema()
    assert capsys.readouterr().out.startswith("root\n |-- id: long (nullable = true)\n")
    df.where("id > 1").explain()
    assert "Filter" in capsys.readouterr().out


def test_columns_are_found_by_attribute_and_item(df: DataFrame) -> None:
    assert df.select(df.id, df["s"], df[2]).columns == ["id", "s", "d"]
    assert df[df.id > 1].count() == 2
    assert df[["s", "id"]].columns == ["s", "id"]
    with pytest.raises(
        PySparkAttributeError, match=r"Attribute `slect` is not supported. Did you mean 'select'"
    ):
        df.slect
    with pytest.raises(PySparkNotImplementedError, match="toPandas"):
        df.pandas_api
    with pytest.raises(AnalysisException, match=r"UNRESOLVED_COLUMN.WITH_SUGGESTION"):
        df["nope"]


def test_projections(df: DataFrame) -> None:
    assert df.select("*", (df.id + 1).alias("n")).columns == ["id", "s", "d", "n"]
    assert df.selectExpr("id * 2 AS twice", "s").first() == Row(twice=2, s="a")
    assert df.withColumn("id", df.id * 10).collect()[0] == (10, "a", 1.5)
    assert df.withColumns({"x": df.id, "y": F.lit(1)}).columns == ["id", "s", "d", "x", "y"]
    assert df.withColumnRenamed("s", "t").withColumnRenamed("none", "x").columns == ["id", "t", "d"]
    assert df.toDF("x", "y", "z").columns == ["x", "y", "z"]
    assert df.drop("s", "none").columns == ["id", "d"]
    assert df.drop(df.d).columns == ["id", "s"]
    assert df.to(T.StructType.fromDDL("d STRING, id INT, new DATE")).first() == ("1.5", 1, None)
    assert df.transform(lambda d, n: d.limit(n), 2).count() == 2


def test_rows_are_filtered_sorted_and_cut(df: DataFrame) -> None:
    assert df.filter("d IS NULL").collect() == [(2, "b", None)]
    assert [r.s for r in df.orderBy(F.desc("id"), "s").collect()] == [None, "b", "a"]
    assert [r.s for r in df.orderBy("id", "s", ascending=[False, True]).collect()] == [None, "b", "a"]
    assert [r.s for r in df.sort(F.col("s").desc_nulls_first()).collect()] == [None, "b", "a"]
    assert [r.id for r in df.orderBy(-1).collect()] == [2, 2, 1]
    ordered = df.orderBy("d")
    assert ordered.first() == (2, "b", None)
    assert ordered.offset(1).take(1) == [(1, "a", 1.5)]
    assert ordered.tail(1) == [(2, None, 3.0)]
    assert ordered.head(2) == ordered.limit(2).collect() == list(ordered.limit(2).toLocalIterator())
    assert df.filter("id > 5").head() is None
    assert df.filter("id > 5").isEmpty()


def test_distinct_and_duplicates(df: DataFrame) -> None:
    assert df.union(df).distinct().count() == 3
    assert df.dropDuplicates(["id"]).count() == 2
    with pytest.raises(PySparkTypeError, match="`subset` should be list or tuple, got str"):
        df.dropDuplicates("id")
    with pytest.raises(AnalysisException, match="use dropDuplicates"):
        df.dropDuplicatesWithinWatermark(["id"])


def test_groups(df: DataFrame) -> None:
    assert df.groupBy("id").count().orderBy("id").collect() == [Row(id=1, count=1), Row(id=2, count=2)]
    grouped = df.groupBy("id").agg(F.sum("d").alias("total"), F.count("*")).orderBy("id")
    assert grouped.columns == ["id", "total", "count(1)"]
    assert grouped.collect() == [(1, 1.5, 1), (2, 3.0, 2)]
    assert df.groupBy("id").agg({"d": "max", "*": "count"}).columns == ["id", "max(d)", "count(1)"]
    assert df.groupBy("id").sum().columns == ["id", "sum(d)"]
    assert df.groupBy().max("d").collect() == [(3.0,)]
    assert df.agg(F.min("d")).collect() == [(1.5,)]
    assert df.groupBy(1).count().columns == ["id", "count"]
    assert df.groupBy(df.id % 2).count().columns == ["(id % 2)", "count"]
    with pytest.raises(AnalysisException, match='"s" is not a numeric column'):
        df.groupBy("id").sum("s")
    with pytest.raises(PySparkTypeError, match="all exprs should be Column"):
        df.groupBy("id").agg(1)


def test_cube_rollup_and_pivot(df: DataFrame) -> None:
    assert df.rollup("id").count().orderBy("id").collect() == [(None, 3), (1, 1), (2, 2)]
    assert df.cube("id", "s").count().count() == 9
    pivoted = df.groupBy("id").pivot("s", ["a", "b"]).count().orderBy("id")
    assert pivoted.columns == ["id", "a", "b"]
    assert pivoted.collect() == [(1, 1, None), (2, None, 1)]
    assert df.groupBy("id").pivot("s").sum("d").columns == ["id", "null", "a", "b"]


def test_joins(df: DataFrame, spark: SparkSession) -> None:
    other = spark.createDataFrame([(2, "x"), (3, "y")], "id BIGINT, t STRING")
    assert df.join(other, "id").collect() == [(2, "b", None, "x"), (2, None, 3.0, "x")]
    assert df.join(other, ["id"], "left").count() == 3
    assert df.join(other, df.id == other.id, "full").count() == 4
    assert df.join(other, [df.id == other.id, other.t == "x"]).columns == ["id", "s", "d", "id", "t"]
    assert df.join(other, "id", "left_semi").columns == ["id", "s", "d"]
    assert df.join(other, "id", "left_anti").collect() == [(1, "a", 1.5)]
    assert df.crossJoin(other).count() == 6
    left, right = df.alias("l"), df.alias("r")
    assert left.join(right, F.col("l.id") == F.col("r.id")).select("l.s", "r.d").count() == 5
    with pytest.raises(AnalysisException, match=r"UNSUPPORTED_JOIN_TYPE|[Uu]nsupported join type"):
        df.join(other, "id", "nope")
    with pytest.raises(PySparkTypeError, match="`other` should be DataFrame, got int"):
        df.join(1, "id")


def test_sets_of_rows(spark: SparkSession) -> None:
    a = spark.createDataFrame([(1,), (1,), (1,), (2,), (None,)], "x INT")
    b = spark.createDataFrame([(1,), (3,), (None,), (None,)], "x INT")
    assert a.union(b).count() == 9
    assertDataFrameEqual(a.intersect(b), [(1,), (None,)])
    assertDataFrameEqual(a.subtract(b), [(2,)])
    named = spark.createDataFrame([(5, 6)], "y INT, x INT")
    assert a.unionByName(named, allowMissingColumns=True).columns == ["x", "y"]
    with pytest.raises(AnalysisException, match=r"NUM_COLUMNS_MISMATCH|same number of columns"):
        a.union(named)


def test_missing_values(df: DataFrame) -> None:
    assert df.fillna(0).fillna("?").collect() == [(1, "a", 1.5), (2, "b", 0.0), (2, "?", 3.0)]
    assert df.na.fill({"s": "none"}).collect()[2] == (2, "none", 3.0)
    assert df.dropna().count() == 1
    assert df.dropna(how="all", subset=["s", "d"]).count() == 3
    assert df.dropna(thresh=3).count() == 1
    assert df.replace({"a": "z"}).first() == (1, "z", 1.5)
    assert df.replace([1, 2], [10, 20], subset=["id"]).collect()[1] == (20, "b", None)
    with pytest.raises(PySparkValueError, match="'any', 'all'"):
        df.dropna("some")
    with pytest.raises(PySparkTypeError, match="`value` should be bool, dict, float, int or str, got list"):
        df.fillna([1])


def test_wrong_arguments_are_refused(df: DataFrame) -> None:
    calls: list[tuple[Any, str]] = [
        (lambda: df.select(1.5), "Argument `col` should be Column or str, got float."),
        (lambda: df.filter(1), "Argument `condition` should be Column or str, got int."),
        (lambda: df.withColumn("x", 1), "Argument `col` should be Column, got int."),
        (lambda: df.withColumns(1), "Argument `colsMap` should be dict, got int."),
        (lambda: df.withWatermark(1, "x"), "Argument `eventTime` should be str, got int."),
        (lambda: df.show("x"), "Argument `n` should be int, got str."),
        (lambda: df.show(truncate="x"), "Argument `truncate` should be bool, got str."),
        (lambda: df.drop(1), "Argument `col` should be Column or str, got int."),
        (lambda: df.hint(1), "Argument `name` should be str, got int."),
    ]
    for call, said in calls:
        with pytest.raises(PySparkTypeError) as error:
            call()
        assert said in str(error.value)


def test_arrow_and_pandas(df: DataFrame, spark: SparkSession) -> None:
    pytest.importorskip("pandas")
    assert df.toArrow().to_pylist()[0] == {"id": 1, "s": "a", "d": 1.5}
    frame = df.toPandas()
    assert list(frame.columns) == ["id", "s", "d"]
    assert frame["d"].sum() == 4.5
    at = spark.createDataFrame([(dt.datetime(2024, 1, 1, tzinfo=dt.UTC),)], "t TIMESTAMP")
    spark.conf.set("spark.sql.session.timeZone", "Europe/Paris")
    try:
        assert str(at.toPandas()["t"][0]) == "2024-01-01 01:00:00"
        assert str(at.toArrow().schema.field("t").type) == "timestamp[us, tz=Europe/Paris]"
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")
    assert df.mapInPandas(lambda frames: (f[["id"]] for f in frames), "id BIGINT").count() == 3
    assert df.mapInArrow(lambda batches: (b.select(["s"]) for b in batches), "s STRING").columns == ["s"]
    first = df.groupBy("id").applyInPandas(lambda g: g.head(1), "id BIGINT, s STRING, d DOUBLE")
    assert first.count() == 2
    keyed = df.groupBy("id").applyInPandas(lambda key, g: g.assign(n=key[0]).head(1)[["n"]], "n BIGINT")
    assert sorted(r.n for r in keyed.collect()) == [1, 2]


def test_sampling_is_repeatable_and_splits_lose_nothing(spark: SparkSession) -> None:
    numbers = spark.range(1000)
    parts = numbers.randomSplit([0.7, 0.3], seed=5)
    assert sum(p.count() for p in parts) == 1000
    assert 600 < parts[0].count() < 800


def test_foreach_and_partitions(df: DataFrame) -> None:
    seen: list[Any] = []
    df.foreach(seen.append)
    df.foreachPartition(lambda rows: seen.append(len(list(rows))))
    assert seen == [*df.collect(), 3]


def test_show_prints(df: DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    df.show(1)
    assert capsys.readouterr().out == (
        "+---+---+---+\n| id|  s|  d|\n+---+---+---+\n|  1|  a|1.5|\n+---+---+---+\nonly showing top 1 row\n"
    )


@pytest.mark.parametrize("format", ["parquet", "json", "csv"])
def test_files_come_back(df: DataFrame, spark: SparkSession, tmp_path: Path, format: str) -> None:
    path = str(tmp_path / "out")
    options = {"header": True} if format == "csv" else {}
    df.write.format(format).options(**options).save(path)
    read = spark.read.format(format).options(**options).schema("id BIGINT, s STRING, d DOUBLE")
    assertDataFrameEqual(read.load(path), df)
    with pytest.raises(AnalysisException, match="already exists"):
        df.write.format(format).save(path)
    df.write.mode("append").format(format).options(**options).save(path)
    assert read.load(path).count() == 6
    with pytest.raises(AnalysisException, match="INVALID_SAVE_MODE"):
        df.write.mode("x")


def test_tables(df: DataFrame, spark: SparkSession) -> None:
    df.write.partitionBy("id").saveAsTable("things")
    assert spark.catalog.tableExists("things")
    assert spark.catalog.getTable("things").tableType == "MANAGED"
    assertDataFrameEqual(spark.table("things").select("id", "s", "d"), df)
    spark.sql("INSERT INTO things SELECT s, d, 9 FROM things WHERE id = 1")
    assert spark.table("things").count() == 4
    df.limit(1).write.mode("overwrite").saveAsTable("things")
    assert spark.table("things").count() == 1
    spark.sql("DROP TABLE things")
    assert not spark.catalog.tableExists("things")


def test_sql_and_calls_see_the_same(df: DataFrame, spark: SparkSession) -> None:
    df.createOrReplaceTempView("v")
    text = spark.sql("SELECT id, count(*) AS n FROM v WHERE d IS NOT NULL GROUP BY id")
    assertDataFrameEqual(text, df.where("d IS NOT NULL").groupBy("id").agg(F.count("*").alias("n")))
    assert spark.sql("SELECT :a + 1 AS x", {"a": 1}).collect() == [Row(x=2)]
    assert spark.sql("SELECT ? || ? AS x", ["a'; DROP", "b"]).collect() == [Row(x="a'; DROPb")]
    assert spark.sql("SELECT * FROM {t} WHERE id > {n}", t=df, n=1).count() == 2
    with pytest.raises(AnalysisException, match=r"UNBOUND_SQL_PARAMETER.*did you mean 'name'"):
        spark.sql("SELECT :nam", {"name": 1})
    spark.sql("CREATE OR REPLACE TEMPORARY VIEW w AS SELECT id FROM v")
    assert spark.table("w").count() == 3
    spark.sql("DROP VIEW w")
    with pytest.raises(PySparkException):
        spark.sql("CREATE VIEW w AS SELECT 1")
    with pytest.raises(PySparkException, match="PARSE_SYNTAX_ERROR"):
        spark.sql("SELEC 1")


def test_user_functions(df: DataFrame, spark: SparkSession) -> None:
    @F.udf("bigint")
    def plus(x: int) -> int:
        return x + 1

    assert df.select(plus("id")).collect() == [(2,), (3,), (3,)]
    assert df.select(plus(df.id)).columns == ["plus(id)"]
    spark.udf.register("shout", lambda s: None if s is None else s.upper() + "!")
    df.createOrReplaceTempView("v")
    assert spark.sql("SELECT shout(s) FROM v").collect() == [("A!",), ("B!",), (None,)]
    assert df.selectExpr("shout(s) AS x").first() == Row(x="A!")
    pytest.importorskip("pandas")
    twice = F.pandas_udf(lambda s: s * 2, "double")
    assert df.select(twice("d").alias("x")).collect()[0] == Row(x=3.0)
    with pytest.raises(PySparkNotImplementedError, match="applyInPandas"):
        F.pandas_udf(lambda s: s.sum(), "double", "grouped_agg")


# --- Streams --------------------------------------------------------------------------------------------------------

T0 = dt.datetime(2024, 1, 1)


def test_a_windowed_count_over_a_stream(spark: SparkSession) -> None:
    clicks = MemoryStream(spark, "user STRING, t TIMESTAMP")
    counts = (
        clicks.toDF().withWatermark("t", "10 seconds").groupBy(F.window("t", "10 seconds"), "user").count()
    )
    query = counts.writeStream.format("memory").queryName("counts").outputMode("append").start()
    try:
        clicks.add([("ada", T0), ("ada", T0), ("bob", T0 + dt.timedelta(seconds=3))])
        query.processAllAvailable()
        assert spark.table("counts").collect() == []
        clicks.add([("ada", T0 + dt.timedelta(minutes=1))])
        query.processAllAvailable()
        found = spark.table("counts").select("window.start", "user", "count")
        assertDataFrameEqual(found, [(T0, "ada", 2), (T0, "bob", 1)])
        assert query.lastProgress is not None
        assert query.lastProgress.stateOperators[0].numRowsTotal == 1
    finally:
        query.stop()
    assert not query.isActive


def test_foreach_batch_and_foreach_get_frames_and_rows(spark: SparkSession) -> None:
    numbers = MemoryStream(spark, "a INT")
    batches: list[Any] = []
    rows: list[Any] = []

    def keep(frame: DataFrame, batch: int) -> None:
        batches.append((batch, frame.agg(F.sum("a")).collect(), frame.isStreaming))

    first = numbers.toDF().writeStream.foreachBatch(keep).start()
    second = numbers.toDF().writeStream.foreach(rows.append).start()
    try:
        for values in ([1, 2], [3]):
            numbers.add(values)
            first.processAllAvailable()
            second.processAllAvailable()
    finally:
        first.stop()
        second.stop()
    assert batches == [(0, [(3,)], False), (1, [(3,)], False)]
    assert rows == [Row(a=1), Row(a=2), Row(a=3)]


def test_two_streams_grow_together(spark: SparkSession) -> None:
    left, right = MemoryStream(spark, "k INT, x STRING"), MemoryStream(spark, "k INT, y STRING")
    sizes: list[int] = []
    joined = left.toDF().join(right.toDF(), "k")
    query = joined.writeStream.foreachBatch(lambda frame, batch: sizes.append(frame.count())).start()
    try:
        add_together({left: [(1, "a"), (2, "b")], right: [(1, "c")]})
        query.processAllAvailable()
        right.add([(2, "d")])
        query.processAllAvailable()
    finally:
        query.stop()
    assert sizes == [1, 1]


def test_a_table_takes_a_stream_and_gives_one(spark: SparkSession, tmp_path: Path) -> None:
    numbers = MemoryStream(spark, "a INT")
    numbers.add([1, 2, 3])
    writer = numbers.toDF().writeStream.trigger(availableNow=True).option("checkpointLocation", str(tmp_path))
    assert writer.toTable("numbers").awaitTermination(60)
    assertDataFrameEqual(spark.table("numbers"), [(1,), (2,), (3,)])
    again = spark.readStream.table("numbers")
    assert again.isStreaming
    spark.sql("DROP TABLE numbers")


def test_a_failing_function_fails_the_query_with_its_cause(spark: SparkSession) -> None:
    numbers = MemoryStream(spark, "a INT")

    def fail(frame: DataFrame, batch: int) -> None:
        raise ZeroDivisionError("mine")

    query = numbers.toDF().writeStream.foreachBatch(fail).start()
    numbers.add([1])
    with pytest.raises(PySparkException, match="mine"):
        query.awaitTermination(60)
    assert isinstance(query.exception().cause, ZeroDivisionError)
    spark.streams.resetTerminated()


# --- Comparisons for tests ------------------------------------------------------------------------------------------


def test_comparisons_say_what_differs(df: DataFrame, spark: SparkSession) -> None:
    assertDataFrameEqual(df, df.orderBy(F.desc("s")))
    assertDataFrameEqual(spark.createDataFrame([(1.0,)], "x DOUBLE"), [(1.0 + 1e-9,)])
    with pytest.raises(PySparkAssertionError, match=r"1 of 3 rows differ"):
        assertDataFrameEqual(df, [(1, "a", 1.5), (2, "b", None), (2, None, 4.0)])
    with pytest.raises(PySparkAssertionError, match="rows differ"):
        assertDataFrameEqual(df, df.limit(2))
    with pytest.raises(PySparkAssertionError, match="Schemas do not match"):
        assertSchemaEqual(df.schema, df.select("id").schema)
    assertSchemaEqual(T.StructType.fromDDL("a INT NOT NULL"), T.StructType.fromDDL("a INT"))
    with pytest.raises(PySparkAssertionError):
        assertSchemaEqual(
            T.StructType.fromDDL("a INT NOT NULL"), T.StructType.fromDDL("a INT"), ignoreNullable=False
        )


def test_statistics_and_unpivot(df: DataFrame) -> None:
    described = df.describe()
    assert described.columns == ["summary", "id", "s", "d"]
    assert described.collect()[0] == ("count", "3", "2", "2")
    assert described.collect()[1] == ("mean", "1.6666666666666667", None, "2.25")
    assert df.summary("max").collect() == [("max", "2", "b", "3.0")]
    long = df.unpivot("s", ["id", "d"], "key", "value")
    assert long.columns == ["s", "key", "value"]
    assert long.take(2) == [("a", "id", 1.0), ("a", "d", 1.5)]
    assert df.melt("s", None, "key", "value").count() == 6
    sets = df.groupingSets([["id"], []], "id", "s").count().select("id", "count")
    assertDataFrameEqual(sets, [(1, 1), (2, 2), (None, 3)])
