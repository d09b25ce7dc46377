"""Queries, their manager, listeners and progress, over a run that the test controls."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tidemill import launch
from tidemill.driver.machine import Trigger
from tidemill.errors import (
    AnalysisException,
    IllegalArgumentException,
    PySparkAttributeError,
    PySparkException,
    PySparkNotImplementedError,
    PySparkTypeError,
    PySparkValueError,
    StreamingQueryException,
)
from tidemill.sql import SparkSession
from tidemill.sql.dataframe import DataFrame
from tidemill.sql.streaming import StreamingQueryListener, StreamingQueryProgress
from tidemill.sql.streaming.readwriter import duration
from tidemill.testing import MemoryStream

PROGRESS = {
    "id": str(uuid.uuid4()), "runId": str(uuid.uuid4()), "name": "q", "timestamp": "2024-01-01T00:00:00.000Z",
    "batchId": 3, "numInputRows": 7, "durationMs": {"triggerExecution": 12},
    "stateOperators": [{"operatorName": "stateStoreSave", "numRowsTotal": 2}],
    "sources": [{"description": "memory", "numInputRows": 7}], "sink": {"description": "noop", "numOutputRows": 1},
}  # fmt: skip


class FakeRun:
    """A query that runs until it is told to end."""

    def __init__(self, spec: launch.QuerySpec, context: launch.Context) -> None:
        self.id, self.run_id, self.name = str(uuid.uuid4()), str(uuid.uuid4()), spec.name
        self.spec, self.context = spec, context
        self.over = threading.Event()
        self.error: StreamingQueryException | None = None
        self.recent_progress: list[dict[str, Any]] = []
        self.status = {"message": "Waiting", "isDataAvailable": False, "isTriggerActive": False}
        self.tell("started")

    is_active = property(lambda self: not self.over.is_set())
    last_progress = property(lambda self: self.recent_progress[-1] if self.recent_progress else None)

    def tell(self, event: str, **payload: Any) -> None:
        head = {
            "id": self.id,
            "runId": self.run_id,
            "name": self.name,
            "timestamp": "2024-01-01T00:00:00.000Z",
        }
        self.context.listen(event, {**head, **payload})

    def report(self) -> None:
        self.recent_progress.append(PROGRESS)
        self.tell("progress", **{k: v for k, v in PROGRESS.items() if k not in ("id", "runId")})

    def stop(self, timeout: float | None = None) -> None:
        if self.is_active:
            self.over.set()
            self.tell("terminated", exception=str(self.error) if self.error else None)

    def fail(self) -> None:
        self.error = StreamingQueryException("it broke", "STREAM_FAILED")
        self.stop()

    def exception(self) -> StreamingQueryException | None:
        return self.error

    def await_termination(self, timeout: float | None = None) -> bool:
        ended = self.over.wait(timeout)
        if ended and self.error:
            raise self.error
        return ended

    def process_all_available(self) -> None:
        pass


@pytest.fixture
def spark() -> Iterator[SparkSession]:
    session = SparkSession.builder.create()
    yield session
    session.stop()


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[FakeRun]:
    made: list[FakeRun] = []

    def start(plan: Any, spec: launch.QuerySpec, context: launch.Context) -> FakeRun:
        made.append(FakeRun(spec, context))
        return made[-1]

    monkeypatch.setattr(launch, "start", start)
    return made


@pytest.fixture
def stream(spark: SparkSession) -> DataFrame:
    return MemoryStream(spark, "a INT").toDF()


def test_a_query_is_known_while_it_runs(spark: SparkSession, stream: DataFrame, runs: list[FakeRun]) -> None:
    query = stream.writeStream.format("noop").queryName("q").start()
    assert (query.name, query.isActive, spark.streams.active) == ("q", True, [query])
    assert spark.streams.get(query.id) is query
    assert query.lastProgress is None
    runs[0].report()
    assert query.lastProgress is not None
    assert query.lastProgress.batchId == 3
    assert query.awaitTermination(0) is False
    query.stop()
    assert (query.isActive, spark.streams.active, spark.streams.get(query.id)) == (False, [], None)
    assert query.awaitTermination(5) is True


def test_a_name_runs_once(stream: DataFrame, runs: list[FakeRun]) -> None:
    first = stream.writeStream.format("noop").queryName("q").start()
    with pytest.raises(
        IllegalArgumentException, match="Cannot start query with name q as a query with that name"
    ):
        stream.writeStream.format("noop").queryName("q").start()
    first.stop()
    stream.writeStream.format("noop").queryName("q").start()


def test_waiting_for_any_query(spark: SparkSession, stream: DataFrame, runs: list[FakeRun]) -> None:
    queries = [stream.writeStream.format("noop").start() for _ in range(2)]
    assert spark.streams.awaitAnyTermination(0) is False
    queries[0].stop()
    assert spark.streams.awaitAnyTermination(5) is True
    spark.streams.resetTerminated()
    assert spark.streams.awaitAnyTermination(0) is False
    waiting = threading.Thread(target=runs[1].fail)
    waiting.start()
    with pytest.raises(StreamingQueryException, match="it broke"):
        spark.streams.awaitAnyTermination()
    waiting.join()
    assert queries[1].exception() is runs[1].error


def test_listeners_hear_every_event_until_removed(
    spark: SparkSession, stream: DataFrame, runs: list[FakeRun]
) -> None:
    class Recorder(StreamingQueryListener):
        def __init__(self) -> None:
            self.heard: list[tuple[str, Any]] = []

        def onQueryStarted(self, event: Any) -> None:
            self.heard.append(("started", event.name))

        def onQueryProgress(self, event: Any) -> None:
            self.heard.append(("progress", event.progress.batchId))

        def onQueryIdle(self, event: Any) -> None:
            self.heard.append(("idle", str(event.runId) == runs[0].run_id))

        def onQueryTerminated(self, event: Any) -> None:
            self.heard.append(("terminated", event.exception))

    class Broken(StreamingQueryListener):
        def onQueryProgress(self, event: Any) -> None:
            raise RuntimeError("a listener's error is its own")

    recorder = Recorder()
    spark.streams.addListener(Broken())
    spark.streams.addListener(recorder)
    assert recorder.spark is spark
    query = stream.writeStream.format("noop").queryName("q").start()
    runs[0].report()
    runs[0].tell("idle")
    query.stop()
    assert recorder.heard == [("started", "q"), ("progress", 3), ("idle", True), ("terminated", None)]
    spark.streams.removeListener(recorder)
    stream.writeStream.format("noop").start()
    assert len(recorder.heard) == 4


def test_progress_is_a_dict_with_attributes() -> None:
    progress = StreamingQueryProgress.of(PROGRESS)
    assert progress.numInputRows == progress["numInputRows"] == 7
    assert progress.sources[0].numInputRows == progress["sources"][0]["numInputRows"] == 7
    assert progress.stateOperators[0].operatorName == "stateStoreSave"
    assert progress.sink.numOutputRows == 1
    assert progress.id == uuid.UUID(PROGRESS["id"])
    assert json.loads(progress.json) == PROGRESS
    assert json.loads(progress.prettyJson) == PROGRESS
    with pytest.raises(PySparkAttributeError, match="did you mean 'numInputRows'"):
        progress.numInputRow


@pytest.mark.parametrize(
    ("given", "trigger"),
    [
        ({"processingTime": "10 seconds"}, Trigger("processing", 10.0)),
        ({"processingTime": "0 seconds"}, Trigger("processing", 0.0)),
        ({"processingTime": "1 minute 500ms"}, Trigger("processing", 60.5)),
        ({"once": True}, Trigger("once")),
        ({"availableNow": True}, Trigger("available")),
    ],
)
def test_triggers(stream: DataFrame, runs: list[FakeRun], given: dict[str, Any], trigger: Trigger) -> None:
    stream.writeStream.format("noop").trigger(**given).start()
    assert runs[0].spec.trigger == trigger


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({}, PySparkValueError, "one must be"),
        ({"once": True, "availableNow": True}, PySparkValueError, "Only one trigger"),
        ({"once": False}, PySparkValueError, r"following values: \[True\]"),
        ({"continuous": "1 second"}, PySparkNotImplementedError, "processingTime='0 seconds'"),
        ({"processingTime": "soon"}, IllegalArgumentException, "Error parsing 'soon'"),
        ({"processingTime": "-1 second"}, IllegalArgumentException, "negative"),
        ({"processingTime": 5}, PySparkValueError, "non-empty string"),
    ],
)
def test_wrong_triggers_are_refused(
    stream: DataFrame, given: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        stream.writeStream.trigger(**given)


def test_what_is_given_reaches_the_engine(
    spark: SparkSession, stream: DataFrame, runs: list[FakeRun], tmp_path: Any
) -> None:
    spark.conf.set("spark.sql.streaming.noDataMicroBatches.enabled", False)
    writer = stream.writeStream.format("parquet").option("checkpointLocation", str(tmp_path / "c"))
    writer.partitionBy("a").outputMode("Append").option("compression", "zstd").start(str(tmp_path / "out"))
    spec = runs[0].spec
    assert spec.sink.format == "parquet"
    assert spec.sink.options == {"compression": "zstd", "path": str(tmp_path / "out")}
    assert spec.sink.partition_by == ("a",)
    assert (spec.mode, spec.checkpoint) == ("append", str(tmp_path / "c"))
    assert spec.conf["spark.sql.streaming.noDataMicroBatches.enabled"] == "false"


def test_a_checkpoint_is_demanded_or_made_below_the_sessions(
    spark: SparkSession, stream: DataFrame, runs: list[FakeRun], tmp_path: Any
) -> None:
    with pytest.raises(AnalysisException, match="checkpointLocation must be specified"):
        stream.writeStream.format("parquet").start(str(tmp_path / "out"))
    spark.conf.set("spark.sql.streaming.checkpointLocation", str(tmp_path))
    stream.writeStream.format("parquet").queryName("q").start(str(tmp_path / "out"))
    assert runs[0].spec.checkpoint == str(tmp_path / "q")


def test_wrong_calls_are_refused(spark: SparkSession, stream: DataFrame) -> None:
    with pytest.raises(IllegalArgumentException, match=r"Unknown output mode apend.*did you mean 'append'"):
        stream.writeStream.outputMode("apend")
    with pytest.raises(PySparkValueError):
        stream.writeStream.queryName("")
    with pytest.raises(AnalysisException, match="queryName must be specified for memory sink"):
        stream.writeStream.format("memory").start()
    with pytest.raises(PySparkAttributeError, match="`process` in provided object `f` is not callable"):
        stream.writeStream.foreach(1)
    with pytest.raises(PySparkTypeError, match="`func` should be callable"):
        stream.writeStream.foreachBatch(1)
    with pytest.raises(AnalysisException, match="WRITE_STREAM_NOT_ALLOWED"):
        spark.range(1).writeStream
    with pytest.raises(AnalysisException, match="use `writeStream`"):
        stream.write
    with pytest.raises(PySparkException, match="writeStream"):
        stream.collect()


@pytest.mark.parametrize(
    ("text", "seconds"), [("1 day", 86400.0), ("interval 2 hours", 7200.0), ("1.5 seconds", 1.5)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds
