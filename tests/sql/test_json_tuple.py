"""Several fields of JSON text at once: as an item of SELECT and as a LATERAL VIEW, of tables and of streams."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tidemill.sql import SparkSession

ROWS = ['{"a":1,"b":"x"}', '{"a":{"n":[2]}}', "zzz"]
QUERIES = {
    "SELECT json_tuple(value, 'a', 'b') FROM d": ["c0", "c1"],
    "SELECT json_tuple(value, 'a', 'b') AS (x, y) FROM d": ["x", "y"],
    "SELECT x, y FROM d LATERAL VIEW json_tuple(value, 'a', 'b') t AS x, y": ["x", "y"],
    "SELECT t.c0, t.c1 FROM d LATERAL VIEW OUTER json_tuple(value, 'a', 'b') t": ["c0", "c1"],
}
"""PySpark 4.3 names the columns so, and gives the same rows to each."""
ANSWER = [("1", "x"), ('{"n":[2]}', None), (None, None)]


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    made = SparkSession.builder.create()
    yield made
    made.stop()


@pytest.mark.parametrize("query", QUERIES)
def test_of_a_table(spark: SparkSession, query: str) -> None:
    spark.createDataFrame([(r,) for r in ROWS], "value STRING").createOrReplaceTempView("d")
    found = spark.sql(query)
    assert found.columns == QUERIES[query]
    assert [tuple(r) for r in found.collect()] == ANSWER


@pytest.mark.parametrize("query", QUERIES)
def test_of_a_stream(spark: SparkSession, tmp_path: Path, query: str) -> None:
    (tmp_path / "a.txt").write_text("\n".join(ROWS) + "\n")
    spark.readStream.text(str(tmp_path)).createOrReplaceTempView("d")
    started = spark.sql(query).writeStream.format("memory").queryName("tuples").start()
    started.processAllAvailable()
    started.stop()
    assert [tuple(r) for r in spark.table("tuples").collect()] == ANSWER
