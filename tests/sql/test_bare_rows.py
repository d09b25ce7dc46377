"""Rows without columns, as `select()` and `drop()` of all columns make them: PySpark counts them, and so do we."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tidemill.errors import AnalysisException
from tidemill.sql import DataFrame, Row, SparkSession
from tidemill.sql import functions as F


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    made = SparkSession.builder.create()
    yield made
    made.stop()


@pytest.fixture
def bare(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([("a",), ("b",), ("c",)], "value STRING").select()


ANSWERS: dict[str, tuple[Callable[[DataFrame], Any], Any]] = {
    "count": (lambda df: df.count(), 3),
    "collect": (lambda df: df.collect(), [Row(), Row(), Row()]),
    "union": (lambda df: df.union(df).count(), 6),
    "limit": (lambda df: df.limit(2).collect(), [Row(), Row()]),
    "distinct": (lambda df: df.distinct().count(), 1),
    "dropDuplicates": (lambda df: df.dropDuplicates().count(), 1),
    "crossJoin": (lambda df: df.crossJoin(df).count(), 9),
    "filter": (lambda df: df.filter("1 = 1").count(), 3),
    "withColumn": (lambda df: df.withColumn("x", F.lit(2)).collect(), [Row(x=2)] * 3),
    "aggregates": (lambda df: tuple(df.agg(F.count("*"), F.sum(F.lit(2))).collect()[0]), (3, 6)),
    "first": (lambda df: df.first(), Row()),
    "tail": (lambda df: df.tail(1), [Row()]),
    "isEmpty": (lambda df: df.isEmpty(), False),
    "shape": (lambda df: df.toPandas().shape, (3, 0)),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_bare_rows_are_rows(bare: DataFrame, name: str) -> None:
    if name == "shape":
        pytest.importorskip("pandas")
    ask, answer = ANSWERS[name]
    assert ask(bare) == answer


def test_bare_rows_of_a_program_are_rows(spark: SparkSession, bare: DataFrame) -> None:
    assert spark.createDataFrame([(), ()], bare.schema).count() == 2


def test_bare_rows_are_shown(bare: DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    bare.show()
    assert capsys.readouterr().out == "++\n||\n++\n||\n||\n||\n++\n\n"


def test_files_hold_no_bare_rows(bare: DataFrame, tmp_path: Path) -> None:
    with pytest.raises(AnalysisException, match="empty") as error:
        bare.write.parquet(str(tmp_path / "out"))
    assert error.value.getCondition() == "EMPTY_SCHEMA_NOT_SUPPORTED_FOR_DATASOURCE"


STREAMS: dict[str, tuple[Callable[[DataFrame], DataFrame], str, list[Any]]] = {
    "count": (lambda df: df.groupBy().count(), "complete", [Row(count=3)]),
    "another column": (lambda df: df.select(F.lit(1).alias("x")), "append", [Row(x=1)] * 3),
    "limit": (lambda df: df.limit(2).select(F.lit(1).alias("x")), "append", [Row(x=1)] * 2),
    "union": (lambda df: df.union(df).select(F.lit(1).alias("x")), "append", [Row(x=1)] * 6),
}


@pytest.mark.parametrize("name", STREAMS)
def test_bare_rows_stream(spark: SparkSession, tmp_path: Path, name: str) -> None:
    (tmp_path / "a.txt").write_text("a\nb\nc\n")
    make, mode, answer = STREAMS[name]
    table = f"bare_{name.replace(' ', '_')}"
    stream = make(spark.readStream.text(str(tmp_path)).select())
    query = stream.writeStream.format("memory").queryName(table).outputMode(mode).start()
    query.processAllAvailable()
    query.stop()
    assert spark.table(table).collect() == answer


def test_a_stream_without_columns_is_refused_before_it_starts(spark: SparkSession, tmp_path: Path) -> None:
    stream = spark.readStream.text(str(tmp_path)).drop("value")
    with pytest.raises(AnalysisException, match="select at least one"):
        stream.writeStream.format("memory").queryName("refused").start()
    assert not spark.streams.active
