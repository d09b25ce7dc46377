"""What every engine promises, whether it runs batches on threads or on executors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.services.cluster import session_on, stop
from tidemill.driver.chains import ChainBook
from tidemill.driver.entries import PreparedEntry
from tidemill.driver.loop import merge_deltas
from tidemill.engine.base import Engine
from tidemill.engine.local import LocalEngine
from tidemill.engine.processes import LocalCluster
from tidemill.executor.journal import payload_name
from tidemill.executor.work import Attempt, StageResult
from tidemill.launch import Context, QuerySpec, SinkSpec, prepare
from tidemill.sinks.base import from_ipc
from tidemill.sql import DataFrame, SparkSession
from tidemill.sql import functions as F
from tidemill.sql.readwriter import wiring
from tidemill.testing import MemoryStream

ENGINES: dict[str, Callable[[], Engine]] = {
    "local": lambda: LocalEngine(2),
    "1 executor": lambda: LocalCluster(1, threads=1),
    "2 executors": lambda: LocalCluster(2, threads=1),
}
Row = tuple[Any, ...]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    made = ENGINES[request.param]()
    yield made
    made.close()


@pytest.fixture
def spark(engine: Engine) -> Iterator[SparkSession]:
    session = session_on(engine)
    yield session
    stop(session)


@dataclass
class Driven:
    """A query that a test drives step by step, as the driver's loop would."""

    frame: DataFrame
    engine: Engine
    location: Path
    mode: str = "update"
    loaded: bool = True
    batch: int = -1
    attempts: int = 0
    offsets: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        sink = SinkSpec(
            "foreachBatch", target=print, wiring=wiring(self.frame.sparkSession, self.frame.schema)
        )
        spec = QuerySpec(sink, mode=self.mode, checkpoint=str(self.location))  # type: ignore[arg-type]
        context = (
            Context(_local=self.engine)
            if isinstance(self.engine, LocalEngine)
            else Context(cluster=self.engine)
        )
        self.query = prepare(self.frame._plan, spec, context)
        self.work = self.query.work
        self.book = ChainBook(self.work.query)
        self.offsets = [s.initial() for s in self.work.sources]
        if self.loaded:
            self.engine.load(self.work)

    def run(self, late: int | None = None, evict: int | None = None) -> list[Row]:
        """An attempt over what the sources have; the rows that it would put out."""
        self.attempts += 1
        self.attempt = Attempt(
            self.work.query, self.batch + 1, self.attempts, 1, time.time_ns() // 1000, late, evict
        )
        self.ends = [s.latest(o, s.limits) for s, o in zip(self.work.sources, self.offsets, strict=True)]
        parts = {
            i: s.partitions(o, e)
            for i, (s, o, e) in enumerate(zip(self.work.sources, self.offsets, self.ends, strict=True))
        }
        self.results = self.engine.run(self.attempt, parts, self.book.chains)
        return self.rows(self.results)

    def rows(self, results: list[StageResult]) -> list[Row]:
        tasks = [c.task.task for r in results for c in r.committables]
        assert len(tasks) == len(set(tasks)), "two executors have used one task's number"
        names = [payload_name(self.attempt, t) for t in tasks]
        blobs = self.work.store.get(names)
        tables = [from_ipc(blobs[n]) for n in names]
        return sorted((tuple(r.values()) for t in tables for r in t.to_pylist()), key=repr)

    def accept(self) -> None:
        self.batch += 1
        self.book.add(
            PreparedEntry(
                batch=self.batch,
                attempt=self.attempt.attempt,
                generation=self.attempt.generation,
                committables=(),
                deltas=merge_deltas(r.deltas for r in self.results),
                snapshots=tuple(s for r in self.results for s in r.snapshots),
            )
        )
        self.engine.accept(self.attempt)
        self.offsets = self.ends

    def rollback(self) -> None:
        self.engine.rollback(self.attempt)

    def close(self) -> None:
        self.engine.forget(self.work.query)
        self.query.close()


@pytest.fixture
def drive(engine: Engine, tmp_path: Path) -> Iterator[Callable[..., Driven]]:
    driven: list[Driven] = []

    def make(frame: DataFrame, **options: Any) -> Driven:
        driven.append(Driven(frame, engine, tmp_path / str(len(driven)), **options))
        return driven[-1]

    yield make
    for query in driven:
        query.close()


def totals(stream: MemoryStream) -> DataFrame:
    return stream.toDF().groupBy("k").agg(F.sum("v").alias("s"), F.count("*").alias("n"))


KEYS = [chr(ord("a") + i) for i in range(20)]
"""Enough for every executor to hold some."""


def test_a_batch_adds_to_what_was_accepted(spark: SparkSession, drive: Callable[..., Driven]) -> None:
    stream = MemoryStream(spark, "k STRING, v INT")
    query = drive(totals(stream))
    stream.add([(k, 1) for k in KEYS])
    assert query.run() == [(k, 1, 1) for k in KEYS]
    query.accept()
    stream.add([(k, 2) for k in KEYS] + [("new", 7)])
    assert query.run() == sorted([(k, 3, 2) for k in KEYS] + [("new", 7, 1)], key=repr)
    query.accept()


def test_an_attempt_that_is_rolled_back_has_never_been(
    spark: SparkSession, drive: Callable[..., Driven]
) -> None:
    stream = MemoryStream(spark, "k STRING, v INT")
    query = drive(totals(stream))
    stream.add([(k, 1) for k in KEYS])
    query.run()
    query.accept()
    stream.add([(k, 2) for k in KEYS])
    first = query.run()
    query.rollback()
    assert query.run() == first
    query.rollback()
    query.rollback()
    assert query.run() == first


def test_a_users_error_comes_as_what_it_is_and_the_batch_can_be_taken_back(
    spark: SparkSession, drive: Callable[..., Driven]
) -> None:
    stream = MemoryStream(spark, "k STRING, v INT")
    angry = F.udf(refuse_seven, "int")
    query = drive(stream.toDF().groupBy("k").agg(F.sum(angry("v")).alias("s")))
    stream.add([(k, 1) for k in KEYS])
    query.run()
    query.accept()
    stream.add([(k, 7 if k == "c" else 1) for k in KEYS])
    with pytest.raises(Exception, match="I do not like 7") as caught:
        query.run()
    assert type(caught.value).__name__ == "PythonException"
    assert "refuse_seven" in str(caught.value), "the traceback shows the user's own line"
    query.rollback()
    query.offsets = query.ends  # past the rows that it cannot take
    stream.add([(k, 2) for k in KEYS])
    assert query.run() == [(k, 3) for k in KEYS]


def refuse_seven(v: int) -> int:
    if v == 7:
        raise ValueError("I do not like 7")
    return v


def test_state_comes_back_from_its_chains(spark: SparkSession, drive: Callable[..., Driven]) -> None:
    stream = MemoryStream(spark, "k STRING, v INT")
    query = drive(totals(stream))
    for v in (1, 2, 3):
        stream.add([(k, v) for k in KEYS])
        query.run()
        query.accept()
    query.engine.forget(query.work.query)
    query.engine.load(query.work)
    query.engine.restore(query.work.query, query.book.chains)
    stream.add([(k, 4) for k in KEYS])
    assert query.run() == [(k, 10, 4) for k in KEYS]
    query.accept()


def test_a_query_loaded_again_has_no_state(spark: SparkSession, drive: Callable[..., Driven]) -> None:
    stream = MemoryStream(spark, "k STRING, v INT")
    query = drive(totals(stream))
    stream.add([(k, 1) for k in KEYS])
    query.run()
    query.accept()
    query.engine.forget(query.work.query)
    query.engine.forget(query.work.query)
    query.engine.load(query.work)
    query.book = ChainBook(query.work.query)
    query.offsets = [0]
    assert query.run() == [(k, 1, 1) for k in KEYS]


def test_a_static_table_is_replaced_for_the_next_batch(
    spark: SparkSession, drive: Callable[..., Driven]
) -> None:
    stream = MemoryStream(spark, "k STRING, v INT")
    names = spark.createDataFrame([(k, "old") for k in KEYS], "k STRING, w STRING")
    query = drive(stream.toDF().join(names, "k").select("k", "w"), mode="append")
    stream.add([(k, 1) for k in KEYS])
    assert query.run() == [(k, "old") for k in KEYS]
    query.accept()
    (old,) = query.work.statics
    new = old.set_column(1, old.column_names[1], pa.array(["new"] * len(KEYS)))
    query.engine.refresh(query.work.query, 0, new)
    stream.add([(k, 1) for k in KEYS])
    assert query.run() == [(k, "new") for k in KEYS]
    query.accept()


def test_the_watermarks_of_an_attempt_decide_what_is_late_and_what_goes(
    spark: SparkSession, drive: Callable[..., Driven]
) -> None:
    def at(second: int) -> datetime:
        return datetime.fromtimestamp(second)

    stream = MemoryStream(spark, "k STRING, t TIMESTAMP")
    by = F.window("t", "10 seconds")
    counted = stream.toDF().withWatermark("t", "0 seconds").groupBy(by, "k").count().select("k", "count")
    query = drive(counted, mode="append")
    stream.add([(k, at(1)) for k in KEYS])
    assert query.run(0, 0) == []
    seen = [o for r in query.results for o in r.observed.values()]
    assert (sum(o.count for o in seen), max(o.high for o in seen)) == (20, 1_000_000)
    query.accept()
    stream.add([("a", at(2)), ("b", at(30))])
    assert query.run(5_000_000, 20_000_000) == [(k, 2 if k == "a" else 1) for k in KEYS]
    query.accept()
    stream.add([("a", at(3)), ("c", at(31))])
    assert query.run(20_000_000, 20_000_000) == []
    reports = [r.operator for r in query.results if r.operator is not None]
    assert sum(o.dropped_rows for o in reports) == 1
    assert sum(o.rows for o in reports) == 2
    query.accept()


def test_each_result_says_what_was_read_and_who_is_last(
    spark: SparkSession, drive: Callable[..., Driven]
) -> None:
    stream = MemoryStream(spark, "k STRING, v INT")
    query = drive(totals(stream))
    stream.add([(k, 1) for k in KEYS])
    query.run()
    reads = [r.read[0] for r in query.results if 0 in r.read]
    assert sum(r.rows for r in reads) == 20 and sum(r.bytes for r in reads) > 0
    assert sum(r.rows for r in query.results if r.last) == 20
    deltas = [(t, s) for r in query.results for t, shards in r.deltas.items() for s in shards]
    assert deltas and len(deltas) == len(set(deltas)), "two executors have stored one shard"
    query.accept()


def test_two_queries_run_at_once_and_do_not_meet(spark: SparkSession, drive: Callable[..., Driven]) -> None:
    streams = [MemoryStream(spark, "k STRING, v INT") for _ in range(2)]
    queries = [drive(totals(s)) for s in streams]
    found: list[list[Row]] = [[], []]
    together = threading.Barrier(2)

    def life(n: int) -> None:
        for v in range(1, 6):
            streams[n].add([(k, v * (n + 1)) for k in KEYS])
            together.wait(60)
            found[n] = queries[n].run()
            queries[n].accept()

    threads = [threading.Thread(target=life, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == [(k, 15, 5) for k in KEYS]
    assert found[1] == [(k, 30, 5) for k in KEYS]


def test_an_engine_that_stored_state_elsewhere_gives_it_to_the_one_after(
    spark: SparkSession, drive: Callable[..., Driven]
) -> None:
    """State that one engine has stored is what any other restores: their blobs are the same."""
    stream = MemoryStream(spark, "k STRING, v INT")
    query = drive(totals(stream))
    stream.add([(k, 1) for k in KEYS])
    query.run()
    query.accept()
    other = LocalEngine(1)
    try:
        other.load(query.work)
        other.restore(query.work.query, query.book.chains)
        stream.add([(k, 2) for k in KEYS])
        mine, query.engine = query.engine, other
        assert query.run() == [(k, 3, 2) for k in KEYS]
        query.engine = mine
    finally:
        other.close()


def test_an_engine_closes_twice() -> None:
    engine = LocalEngine(1)
    engine.close()
    engine.close()
    assert engine.members() == ["local"]
    with pytest.raises(NotImplementedError, match="no executor to retire"):
        engine.retire("local")


# --- Members: those of engines that have some ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    made = LocalCluster(1, threads=1)
    yield made
    made.close()
    made.close()


def wait_for(what: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it has not come about"
        time.sleep(0.02)


def test_executors_come_and_go_and_the_state_moves_with_the_next_batch(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    spark = session_on(cluster)
    stream = MemoryStream(spark, "k STRING, v INT")
    query = Driven(totals(stream), cluster, tmp_path)

    def batch() -> list[Row]:
        stream.add([(k, 1) for k in KEYS])
        rows = query.run()
        query.accept()
        return rows

    assert batch() == [(k, 1, 1) for k in KEYS]
    cluster.scale(2)
    wait_for(lambda: cluster.members() == ["executor-0", "executor-1"])
    assert batch() == [(k, 2, 2) for k in KEYS]
    assert holders(cluster, query) == {"executor-0": 32, "executor-1": 32}
    cluster.retire("executor-0")
    assert batch() == [(k, 3, 3) for k in KEYS]
    assert holders(cluster, query) == {"executor-1": 64}
    cluster.scale(1)
    wait_for(lambda: cluster.members() == ["executor-0"])
    assert batch() == [(k, 4, 4) for k in KEYS]
    query.close()


def holders(cluster: LocalCluster, query: Driven) -> dict[str, int]:
    names = {m.address: m.name for m in cluster._members.values()}
    owners = [names[o or ""] for o in cluster._queries[query.work.query].owners]
    return {name: owners.count(name) for name in sorted(set(owners))}
