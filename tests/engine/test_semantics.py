"""What a program means does not depend on where it runs: two executors answer as one process does."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from tests.services.cluster import session_on, stop
from tidemill.engine.processes import LocalCluster
from tidemill.errors import StreamingQueryException
from tidemill.sql import DataFrame, SparkSession
from tidemill.sql import functions as F
from tidemill.testing import MemoryStream

Rows = list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    made = LocalCluster(2, threads=1)
    yield made
    made.close()


@pytest.fixture
def spark(cluster: LocalCluster) -> Iterator[SparkSession]:
    session = session_on(cluster)
    yield session
    stop(session)


class Output:
    """The rows of each batch, as foreachBatch gets them."""

    def __init__(self, frame: DataFrame, mode: str = "append", **options: str) -> None:
        self.batches: list[Rows] = []
        writer = frame.writeStream.outputMode(mode).foreachBatch(self.take)
        for key, value in options.items():
            writer = writer.option(key, value)
        self.query = writer.start()

    def take(self, frame: DataFrame, batch: int) -> None:
        if rows := [tuple(r) for r in frame.collect()]:
            self.batches.append(rows)

    def next(self) -> list[Rows]:
        self.query.processAllAvailable()
        found, self.batches = self.batches, []
        return found


def lines(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f".{name}").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (folder / f".{name}").rename(folder / name)


LETTERS = [chr(ord("a") + i) for i in range(12)]


def pairs(spark: SparkSession) -> MemoryStream:
    return MemoryStream(spark, "k STRING, v INT")


# --- Aggregation ------------------------------------------------------------------------------------------------------


def test_an_aggregate_without_keys_is_of_all_executors_rows(spark: SparkSession) -> None:
    stream = pairs(spark)
    total = stream.toDF().agg(F.sum("v"), F.count("*"), F.first("k"), F.last("k"), F.avg("v"))
    output = Output(total, "complete")
    stream.add([(k, i) for i, k in enumerate(LETTERS)])
    assert output.next() == [[(66, 12, "a", "l", 5.5)]]
    stream.add([("z", 1)])
    assert output.next() == [[(67, 13, "a", "z", 67 / 13)]]


@pytest.mark.parametrize("where", ["only the first", "only the second", "none"])
def test_first_is_not_taken_from_an_executor_without_rows(spark: SparkSession, where: str) -> None:
    stream = pairs(spark)
    kept = {"only the first": F.col("k") == "a", "only the second": F.col("k") == "b", "none": F.lit(False)}
    output = Output(stream.toDF().where(kept[where]).agg(F.first("k"), F.min("v"), F.count("*")), "complete")
    stream.add([("a", 1), ("b", 2)])
    wanted = {"only the first": ("a", 1, 1), "only the second": ("b", 2, 1), "none": (None, None, 0)}[where]
    assert output.next() == [[wanted]]


def test_complete_mode_with_order_and_limit_orders_the_whole_result(spark: SparkSession) -> None:
    stream = pairs(spark)
    counted = stream.toDF().groupBy("k").agg(F.sum("v").alias("s"))
    output = Output(counted.orderBy(F.desc("s"), "k").limit(4), "complete")
    stream.add([(k, i) for i, k in enumerate(LETTERS)])
    assert output.next() == [[("l", 11), ("k", 10), ("j", 9), ("i", 8)]]
    stream.add([("a", 100), ("b", 10)])
    assert output.next() == [[("a", 100), ("b", 11), ("l", 11), ("k", 10)]]


def test_a_limit_on_a_stream_counts_the_rows_of_all_executors(spark: SparkSession) -> None:
    stream = pairs(spark)
    output = Output(stream.toDF().limit(15))
    stream.add([(k, 1) for k in LETTERS])
    assert [len(b) for b in output.next()] == [12]
    stream.add([(k, 2) for k in LETTERS])
    assert [len(b) for b in output.next()] == [3]
    stream.add([(k, 3) for k in LETTERS])
    assert output.next() == []


def test_distinct_and_collected_values_are_whole(spark: SparkSession) -> None:
    stream = pairs(spark)
    by = stream.toDF().groupBy((F.col("v") % 2).alias("odd")).agg(F.collect_set("k"), F.max_by("k", "v"))
    output = Output(by, "complete")
    stream.add([(k, i) for i, k in enumerate(LETTERS)])
    (rows,) = output.next()
    found = sorted((odd, sorted(keys), top) for odd, keys, top in rows)
    assert found == [(0, LETTERS[::2], "k"), (1, LETTERS[1::2], "l")]


# --- Functions that look at all rows ----------------------------------------------------------------------------------


def test_a_function_of_whole_batches_gets_the_rows_of_all_executors(spark: SparkSession) -> None:
    stream = pairs(spark)

    def counted(parts: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        whole = pd.concat(parts)
        yield pd.DataFrame({"n": [len(whole)], "s": [int(whole.v.sum())]})

    output = Output(stream.toDF().mapInPandas(counted, "n INT, s INT"))
    stream.add([(k, i) for i, k in enumerate(LETTERS)])
    assert output.next() == [[(12, 66)]]
    stream.add([("one", 5)])
    assert output.next() == [[(1, 5)]]


def test_a_function_of_whole_batches_has_times_of_the_sessions_zone(cluster: LocalCluster) -> None:
    spark = session_on(cluster, **{"spark.sql.session.timeZone": "Asia/Tokyo"})
    stream = MemoryStream(spark, "t TIMESTAMP")

    def hours(parts: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for part in parts:
            yield pd.DataFrame({"h": part.t.dt.hour})

    output = Output(stream.toDF().mapInPandas(hours, "h INT"))
    stream.add([(datetime.fromtimestamp(0, UTC),)])
    assert output.next() == [[(9,)]]
    stop(spark)


def test_a_function_of_record_batches_gets_the_rows_of_all_executors(spark: SparkSession) -> None:
    stream = pairs(spark)

    def counted(parts: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pydict({"n": pa.array([sum(p.num_rows for p in parts)], pa.int32())})

    output = Output(stream.toDF().mapInArrow(counted, "n INT"))
    stream.add([(k, i) for i, k in enumerate(LETTERS)])
    assert output.next() == [[(12,)]]


def test_a_function_of_groups_gets_each_group_once_and_whole(spark: SparkSession) -> None:
    stream = pairs(spark)

    def one(group: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"k": [group.k.iloc[0]], "n": [len(group)], "s": [int(group.v.sum())]})

    output = Output(stream.toDF().groupBy("k").applyInPandas(one, "k STRING, n INT, s INT"))
    stream.add([(k, i) for k in "abc" for i in range(4)])
    assert [sorted(b) for b in output.next()] == [[("a", 4, 6), ("b", 4, 6), ("c", 4, 6)]]


def test_observed_figures_are_of_all_rows(spark: SparkSession) -> None:
    stream = pairs(spark)
    watched = stream.toDF().observe("seen", F.count("*").alias("n"), F.sum("v").alias("s"), F.first("k"))
    output = Output(watched.groupBy("k").count(), "update")
    stream.add([(k, i) for i, k in enumerate(LETTERS)])
    output.next()
    assert tuple(output.query.lastProgress["observedMetrics"]["seen"]) == (12, 66, "a")


def test_a_scalar_function_of_pandas_runs_where_the_rows_are(spark: SparkSession) -> None:
    stream = pairs(spark)
    plus = F.pandas_udf(lambda v: v + 1, "int")
    output = Output(stream.toDF().groupBy(plus("v").alias("w")).count(), "update")
    stream.add([(k, i % 3) for i, k in enumerate(LETTERS)])
    assert [sorted(b) for b in output.next()] == [[(1, 4), (2, 4), (3, 4)]]


# --- Sources, tables, sinks -------------------------------------------------------------------------------------------


def test_files_are_read_by_both_executors_and_each_row_once(spark: SparkSession, tmp_path: Path) -> None:
    for n in range(4):
        lines(tmp_path / "in", f"{n}.json", [{"k": k, "v": n} for k in LETTERS])
    stream = spark.readStream.schema("k STRING, v INT").json(str(tmp_path / "in"))
    output = Output(stream.groupBy("k").agg(F.sum("v"), F.count("*")), "update")
    assert [sorted(b) for b in output.next()] == [[(k, 6, 4) for k in LETTERS]]
    lines(tmp_path / "in", "4.json", [{"k": "a", "v": 4}])
    assert output.next() == [[("a", 10, 5)]]


def test_a_static_table_and_a_stream_of_two_sources_join(spark: SparkSession, tmp_path: Path) -> None:
    left, right = (
        MemoryStream(spark, "k STRING, t TIMESTAMP, a INT"),
        MemoryStream(spark, "k STRING, u TIMESTAMP, b INT"),
    )
    names = spark.createDataFrame([(k, k.upper()) for k in LETTERS], "k STRING, name STRING")
    one = left.toDF().withWatermark("t", "10 seconds").join(names, "k", "left")
    joined = one.alias("l").join(
        right.toDF().withWatermark("u", "10 seconds").alias("r"),
        F.expr("l.k = r.k AND u BETWEEN t AND t + INTERVAL 5 SECONDS"),
        "left",
    )
    output = Output(joined.select("l.k", "name", "a", "b"))
    at = datetime(2024, 1, 1)
    left.add([(k, at, i) for i, k in enumerate(LETTERS)])
    right.add([(k, at, 100 + i) for i, k in enumerate(LETTERS) if i % 2])
    found = [r for b in output.next() for r in b]
    assert sorted(found) == [(k, k.upper(), i, 100 + i) for i, k in enumerate(LETTERS) if i % 2]
    late = datetime(2024, 1, 2)
    left.add([("z", late, 0)])
    right.add([("y", late, 0)])
    found = [r for b in output.next() for r in b]
    assert sorted(found) == [(k, k.upper(), i, None) for i, k in enumerate(LETTERS) if i % 2 == 0]


def test_a_static_table_is_read_again_when_it_is_due(spark: SparkSession, tmp_path: Path) -> None:
    lines(tmp_path / "names", "1.json", [{"k": k, "name": "old"} for k in LETTERS])
    scan = spark.read.schema("k STRING, name STRING").json(str(tmp_path / "names"))._plan
    names = spark._frame(dataclasses.replace(scan, refresh=0.0))
    stream = pairs(spark)
    output = Output(stream.toDF().join(names, "k").select("k", "name"))
    stream.add([(k, 1) for k in LETTERS])
    assert [sorted(b) for b in output.next()] == [[(k, "old") for k in LETTERS]]
    (tmp_path / "names" / "1.json").unlink()
    lines(tmp_path / "names", "2.json", [{"k": k, "name": "new"} for k in LETTERS])
    stream.add([(k, 1) for k in LETTERS])
    assert [sorted(b) for b in output.next()] == [[(k, "new") for k in LETTERS]]


def test_foreach_and_memory_tables_get_each_row_once(spark: SparkSession) -> None:
    stream = pairs(spark)
    seen: Rows = []
    each = stream.toDF().writeStream.foreach(lambda r: seen.append(tuple(r))).start()
    table = stream.toDF().writeStream.format("memory").queryName("kept").start()
    stream.add([(k, i) for i, k in enumerate(LETTERS)])
    each.processAllAvailable()
    table.processAllAvailable()
    wanted = [(k, i) for i, k in enumerate(LETTERS)]
    assert sorted(seen) == wanted
    assert sorted(tuple(r) for r in spark.table("kept").collect()) == wanted


def test_an_error_of_a_function_ends_the_query_as_it_does_in_one_process(spark: SparkSession) -> None:
    stream = pairs(spark)

    def refuse(v: int) -> int:
        if v == 7:
            raise LookupError("seven")
        return v

    output = Output(stream.toDF().select(F.udf(refuse, "int")("v")))
    stream.add([(k, i) for i, k in enumerate(LETTERS)])
    with pytest.raises(StreamingQueryException, match="LookupError: seven"):
        output.next()


def test_a_query_goes_on_from_the_checkpoint_that_one_process_wrote_and_back(
    spark: SparkSession, tmp_path: Path
) -> None:
    alone = SparkSession.builder.getOrCreate().newSession()
    stream = pairs(spark)
    kept = str(tmp_path / "kept")

    def life(session: SparkSession) -> list[Rows]:
        frame = session._frame(stream.toDF()._plan).groupBy("k").agg(F.sum("v"), F.count("*"))
        output = Output(frame, "update", checkpointLocation=kept)
        rows = output.next()
        output.query.stop()
        return [sorted(b) for b in rows]

    for n, session in enumerate((alone, spark, alone, spark), 1):
        stream.add([(k, 1) for k in LETTERS])
        assert life(session) == [[(k, n, n) for k in LETTERS]]


def test_few_files_are_read_by_all_executors(spark: SparkSession, tmp_path: Path) -> None:
    for name in ("one.json", "two.json"):
        lines(tmp_path / "in", name, [{"name": name}])
    frame = spark.readStream.schema("name STRING").json(str(tmp_path / "in"))
    writer = frame.writeStream.format("json").trigger(availableNow=True)
    writer.option("checkpointLocation", str(tmp_path / "c")).start(str(tmp_path / "out")).awaitTermination()
    written = [json.loads(part.read_text())["name"] for part in (tmp_path / "out").glob("*.json")]
    assert sorted(written) == ["one.json", "two.json"]  # each in a file of its own: by whom it was read
