"""What may change between two runs on one checkpoint, and what is refused with its name."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tidemill.errors import IncompatiblePlanError
from tidemill.kernel.duck import Kernel
from tidemill.sql import DataFrame, SparkSession
from tidemill.sql import functions as F
from tidemill.testing import MemoryStream

NOON = datetime(2024, 1, 1, 12)


@pytest.fixture(scope="module")
def spark() -> SparkSession:
    builder = SparkSession.builder.config("spark.sql.session.timeZone", "UTC")
    return builder.config("tidemill.threads", "2").getOrCreate()


class Story:
    """Runs on one checkpoint: each adds rows, takes what comes out, and stops."""

    def __init__(self, spark: SparkSession, checkpoint: Path) -> None:
        self.stream = MemoryStream(spark, "k STRING, t TIMESTAMP")
        self.checkpoint = checkpoint

    def timed(self) -> DataFrame:
        return self.stream.toDF().withWatermark("t", "10 seconds")

    def run(self, frame: DataFrame, mode: str, *rows: tuple[str, int]) -> list[Any]:
        """The rows of one run; an event time is given in seconds after noon."""
        out: list[Any] = []

        def take(batch: DataFrame, number: int) -> None:
            out.extend(tuple(row) for row in batch.collect())

        writer = frame.writeStream.outputMode(mode).foreachBatch(take)
        query = writer.option("checkpointLocation", str(self.checkpoint)).start()
        try:
            self.stream.add([(k, NOON + timedelta(seconds=s)) for k, s in rows])
            query.processAllAvailable()
        finally:
            query.stop()
        return sorted(out)


@pytest.fixture
def story(spark: SparkSession, tmp_path: Path) -> Story:
    return Story(spark, tmp_path)


def windows(frame: DataFrame) -> DataFrame:
    counted = frame.groupBy(F.window("t", "10 seconds").alias("w"), "k").count()
    return counted.select(F.date_format("w.start", "ss"), "k", "count")


def test_append_after_update_gives_each_open_window_once_when_it_is_final(story: Story) -> None:
    frame = windows(story.timed())
    assert story.run(frame, "update", ("a", 1), ("a", 2), ("b", 12)) == [("00", "a", 2), ("10", "b", 1)]
    assert story.run(frame, "append", ("a", 3), ("c", 31)) == [("00", "a", 3), ("10", "b", 1)]


def test_update_after_append_goes_on_from_the_counts(story: Story) -> None:
    frame = windows(story.timed())
    assert story.run(frame, "append", ("a", 1), ("b", 12)) == []
    assert story.run(frame, "update", ("b", 13), ("c", 31)) == [("10", "b", 2), ("30", "c", 1)]
    assert story.run(frame, "append", ("d", 61)) == [("30", "c", 1)]


def test_complete_and_update_take_turns_where_nothing_is_ever_dropped(story: Story) -> None:
    frame = story.stream.toDF().groupBy("k").count()
    assert story.run(frame, "update", ("a", 1), ("b", 1)) == [("a", 1), ("b", 1)]
    assert story.run(frame, "complete", ("a", 1)) == [("a", 2), ("b", 1)]
    assert story.run(frame, "update", ("b", 1)) == [("b", 2)]


@pytest.mark.parametrize(("before", "after"), [("complete", "append"), ("update", "complete")])
def test_complete_and_a_mode_that_drops_state_cannot_follow_each_other(
    story: Story, before: str, after: str
) -> None:
    frame = windows(story.timed())
    story.run(frame, before, ("a", 1))
    with pytest.raises(
        IncompatiblePlanError, match=r"aggregation \(op0\) .* for ever .*output mode complete"
    ):
        story.run(frame, after, ("a", 61))


def test_a_watermark_that_comes_later_finds_state_that_would_never_go(story: Story) -> None:
    story.run(windows(story.stream.toDF()), "update", ("a", 1))
    with pytest.raises(IncompatiblePlanError, match=r"keeps its state for ever .* and now drops state that"):
        story.run(windows(story.timed()), "append", ("a", 61))


def test_another_delay_is_no_other_query(story: Story) -> None:
    story.run(windows(story.timed()), "append", ("a", 1))
    later = windows(story.stream.toDF().withWatermark("t", "1 second"))
    assert story.run(later, "append", ("b", 12)) == [("00", "a", 1)]


def sessions(frame: DataFrame, gap: str) -> DataFrame:
    return frame.groupBy(F.session_window("t", gap), "k").count()


def test_another_session_gap_is_named(story: Story) -> None:
    story.run(sessions(story.timed(), "5 seconds"), "append", ("a", 1))
    story.run(sessions(story.timed(), "5 seconds"), "append", ("a", 2))
    with pytest.raises(
        IncompatiblePlanError, match=r"(?i)sessions .*'5' second apart.*sessions .*'9' second apart"
    ):
        story.run(sessions(story.timed(), "9 seconds"), "append", ("a", 3))


def test_a_group_key_that_is_made_in_another_way_is_named(story: Story) -> None:
    def by(make: Any) -> DataFrame:
        return story.stream.toDF().groupBy(make("k").alias("key")).count()

    assert story.run(by(F.upper), "update", ("a", 1)) == [("A", 1)]
    assert story.run(by(F.upper), "update", ("a", 1)) == [("A", 2)]
    with pytest.raises(IncompatiblePlanError, match=r"(?i)upper\(k\).*lower\(k\)"):
        story.run(by(F.lower), "update", ("a", 1))


def test_another_hash_function_would_not_find_the_state(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_key = story.stream.toDF().groupBy("k").count()
    story.run(by_key, "update", ("a", 1))
    monkeypatch.setattr(Kernel, "hash_mark", lambda kernel: "another")
    with pytest.raises(
        IncompatiblePlanError, match=r"DuckDB that is installed has another one. Install the version"
    ):
        story.run(by_key, "update", ("a", 1))
