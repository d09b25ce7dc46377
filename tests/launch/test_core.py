"""What a query must never do to its rows, its neighbours or the process that it runs in."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tidemill.errors import (
    AnalysisException,
    CheckpointLockedError,
    IncompatiblePlanError,
)
from tidemill.sql import DataFrame, SparkSession
from tidemill.sql import functions as F
from tidemill.sql.streaming import StreamingQuery
from tidemill.testing import MemoryStream

FIRST = datetime(2024, 1, 1)
LATER = datetime(2024, 1, 2)


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    builder = SparkSession.builder.config("spark.sql.session.timeZone", "UTC")
    session = builder.config("tidemill.threads", "2").getOrCreate()
    yield session
    for query in session.streams.active:
        query.stop()


class Output:
    """The rows of each batch that a query gave."""

    def __init__(self, frame: DataFrame, mode: str = "append", checkpoint: Path | None = None) -> None:
        self.rows: list[Any] = []
        writer = frame.writeStream.outputMode(mode).foreachBatch(self.take)
        self.query: StreamingQuery = (
            writer.option("checkpointLocation", str(checkpoint)) if checkpoint else writer
        ).start()

    def take(self, batch: DataFrame, number: int) -> None:
        self.rows += [tuple(row) for row in batch.collect()]

    def next(self) -> list[Any]:
        self.query.processAllAvailable()
        rows, self.rows = self.rows, []
        return rows


@pytest.mark.parametrize(
    ("left", "a", "right", "b"),
    [
        ("float", 1.5, "double", 1.5),
        ("int", 1, "double", 1.0),
        ("int", 1, "string", "1"),
        ("int", 1, "decimal(6,2)", Decimal("1.00")),
        ("decimal(5,1)", Decimal("1.0"), "decimal(6,2)", Decimal("1.00")),
        ("date", date(2024, 1, 1), "timestamp", FIRST),
        ("double", 0.0, "double", -0.0),
    ],
)
def test_keys_of_two_types_meet_if_they_are_equal(
    spark: SparkSession, left: str, a: Any, right: str, b: Any
) -> None:
    one, two = MemoryStream(spark, f"k {left}, x INT"), MemoryStream(spark, f"k {right}, y INT")
    joined = one.toDF().alias("l").join(two.toDF().alias("r"), F.expr("l.k = r.k")).select("x", "y")
    output = Output(joined)
    one.add([(a, 1)])
    assert output.next() == []
    two.add([(b, 2)])
    assert output.next() == [(1, 2)]
    output.query.stop()


def timed_streams(spark: SparkSession) -> tuple[MemoryStream, MemoryStream, DataFrame, DataFrame]:
    one, two = MemoryStream(spark, "k INT, lt TIMESTAMP"), MemoryStream(spark, "k INT, rt TIMESTAMP")
    left = one.toDF().withWatermark("lt", "1 second").alias("l")
    return one, two, left, two.toDF().withWatermark("rt", "1 second").alias("r")


def test_a_between_tells_when_an_outer_row_has_no_partner_to_come(spark: SparkSession) -> None:
    one, two, left, right = timed_streams(spark)
    on = F.expr("l.k = r.k AND r.rt BETWEEN l.lt AND l.lt + INTERVAL 10 SECONDS")
    output = Output(left.join(right, on, "left").select("l.k", "rt"))
    one.add([(1, FIRST)])
    two.add([(2, FIRST)])
    assert output.next() == []
    one.add([(3, LATER)])
    two.add([(4, LATER)])
    assert output.next() == [(1, None)]
    output.query.stop()


def test_a_time_cut_to_its_date_does_not_evict_rows_that_may_still_match(spark: SparkSession) -> None:
    one, two, left, right = timed_streams(spark)
    on = F.expr("l.k = r.k AND l.lt >= cast(cast(r.rt AS DATE) AS TIMESTAMP)")
    output = Output(left.join(right, on).select("l.k"))
    one.add([(1, FIRST.replace(hour=1)), (9, FIRST.replace(hour=5))])
    two.add([(8, FIRST.replace(hour=5))])
    assert output.next() == []
    two.add([(1, FIRST.replace(hour=6))])
    assert output.next() == [(1,)]
    output.query.stop()


def test_an_outer_join_by_the_date_alone_is_refused_as_it_could_never_end(spark: SparkSession) -> None:
    _, _, left, right = timed_streams(spark)
    joined = left.join(right, F.expr("l.k = r.k AND l.lt >= cast(r.rt AS DATE)"), "left")
    with pytest.raises(AnalysisException, match="range condition"):
        Output(joined)


def test_a_limit_over_a_complete_result_counts_anew_in_each_batch(spark: SparkSession) -> None:
    stream = MemoryStream(spark, "k STRING")
    counts = stream.toDF().groupBy("k").count().orderBy(F.desc("count"), "k").limit(2)
    output = Output(counts, "complete")
    stream.add([("a",), ("b",), ("c",)])
    assert output.next() == [("a", 1), ("b", 1)]
    stream.add([("c",)])
    assert output.next() == [("c", 2), ("a", 1)]
    output.query.stop()


def test_a_limit_below_an_aggregation_counts_the_whole_stream(spark: SparkSession) -> None:
    stream = MemoryStream(spark, "k STRING")
    output = Output(stream.toDF().limit(2).groupBy().count(), "complete")
    stream.add([("a",)])
    assert output.next() == [(1,)]
    stream.add([("b",), ("c",)])
    assert output.next() == [(2,)]
    output.query.stop()


def test_users_functions_within_and_around_aggregates(spark: SparkSession) -> None:
    stream = MemoryStream(spark, "v INT")
    more = F.udf(lambda v: v + 1, "int")
    output = Output(stream.toDF().groupBy().agg(more(F.sum(more(more("v"))))), "update")
    stream.add([(1,)])
    assert output.next() == [(4,)]
    stream.add([(1,)])
    assert output.next() == [(7,)]
    output.query.stop()


def test_a_second_query_on_a_checkpoint_in_use_fails_and_the_first_goes_on(
    spark: SparkSession, tmp_path: Path
) -> None:
    stream = MemoryStream(spark, "k STRING")
    first = Output(stream.toDF(), checkpoint=tmp_path)
    stream.add([("a",)])
    assert first.next() == [("a",)]
    spark.conf.set("spark.sql.streaming.stopActiveRunOnRestart", "false")
    try:
        with pytest.raises(CheckpointLockedError, match="is in use"):
            Output(stream.toDF(), checkpoint=tmp_path)
    finally:
        spark.conf.unset("spark.sql.streaming.stopActiveRunOnRestart")
    stream.add([("b",)])
    assert first.next() == [("b",)]
    first.query.stop()


def test_a_query_started_again_takes_the_place_of_its_running_self(
    spark: SparkSession, tmp_path: Path
) -> None:
    stream = MemoryStream(spark, "k STRING")
    first = Output(stream.toDF(), checkpoint=tmp_path)
    stream.add([("a",)])
    assert first.next() == [("a",)]
    again = Output(stream.toDF(), checkpoint=tmp_path)
    assert not first.query.isActive and first.query.exception() is None
    assert again.query.id == first.query.id and again.query.runId != first.query.runId
    stream.add([("b",)])
    assert again.next() == [("b",)]
    again.query.stop()


def test_as_many_reports_are_kept_as_the_session_says(spark: SparkSession) -> None:
    stream = MemoryStream(spark, "k STRING")
    spark.conf.set("spark.sql.streaming.numRecentProgressUpdates", "2")
    try:
        output = Output(stream.toDF())
    finally:
        spark.conf.unset("spark.sql.streaming.numRecentProgressUpdates")
    for k in "abc":
        stream.add([(k,)])
        assert output.next() == [(k,)]
    output.query.processAllAvailable()
    assert [p.batchId for p in output.query.recentProgress] == [1, 2]
    output.query.stop()


def test_a_format_that_does_not_exist_is_said_before_anything_else(spark: SparkSession) -> None:
    stream = MemoryStream(spark, "k STRING")
    with pytest.raises(AnalysisException, match=r"DATA_SOURCE_NOT_FOUND.*did you mean 'parquet'"):
        stream.toDF().writeStream.format("parqet").start("somewhere")


def test_a_function_of_frames_sees_each_batch_below_and_above_state(spark: SparkSession) -> None:
    def doubled(frames: Iterator[Any]) -> Iterator[Any]:
        for frame in frames:
            yield frame.assign(v=frame.v * 2)[["v"]]

    stream = MemoryStream(spark, "k STRING, v INT")
    sums = stream.toDF().mapInPandas(doubled, "v LONG").groupBy().agg(F.sum("v").alias("v"))
    output = Output(sums.mapInPandas(doubled, "v LONG"), "update")
    stream.add([("a", 1), ("b", 2)])
    assert output.next() == [(12,)]
    stream.add([("a", 1)])
    assert output.next() == [(16,)]
    output.query.stop()


def test_a_window_of_another_length_cannot_continue(spark: SparkSession, tmp_path: Path) -> None:
    stream = MemoryStream(spark, "t TIMESTAMP")
    timed = stream.toDF().withWatermark("t", "0 seconds")
    before = Output(timed.groupBy(F.window("t", "60 seconds")).count(), checkpoint=tmp_path)
    stream.add([(FIRST,)])
    before.next()
    before.query.stop()
    with pytest.raises(IncompatiblePlanError, match="60000000 us"):
        Output(timed.groupBy(F.window("t", "10 seconds")).count(), checkpoint=tmp_path)


def test_all_that_was_there_is_processed_however_the_batches_are_cut(
    spark: SparkSession, tmp_path: Path
) -> None:
    for n in range(2):
        (tmp_path / f"{n}.json").write_text(json.dumps({"k": n}))
    reader = spark.readStream.schema("k INT").option("maxFilesPerTrigger", 1)
    writer = reader.json(str(tmp_path)).writeStream.format("memory").queryName("cut")
    query = writer.trigger(processingTime="100 milliseconds").start()
    query.processAllAvailable()
    assert sorted(r.k for r in spark.table("cut").collect()) == [0, 1]
    query.stop()


def test_an_event_time_beyond_the_year_9999_does_not_stop_the_query(spark: SparkSession) -> None:
    stream = MemoryStream(spark, "s STRING")
    timed = stream.toDF().selectExpr("cast(s AS TIMESTAMP) AS t").withWatermark("t", "1 second")
    output = Output(timed.groupBy(F.window("t", "1 day")).count().select("count"), "update")
    stream.add([("+12000-01-01 00:00:00",)])
    assert output.next() == [(1,)]
    progress = output.query.lastProgress
    assert progress is not None and progress.eventTime["watermark"] == "+11999-12-31T23:59:59.000Z"
    output.query.stop()


def test_a_stopped_query_leaves_no_file_open(spark: SparkSession, tmp_path: Path) -> None:
    def once(n: int) -> int:
        stream = MemoryStream(spark, "k STRING")
        output = Output(stream.toDF().dropDuplicates(["k"]), checkpoint=tmp_path / str(n))
        stream.add([("a",)])
        output.next()
        output.query.stop()
        return len(os.listdir("/proc/self/fd"))

    before = once(0)
    assert [once(n) for n in range(1, 4)][-1] <= before
