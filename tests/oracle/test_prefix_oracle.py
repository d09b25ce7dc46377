"""Whatever the plan, the batches and the restarts: the output is that of a batch query over what was read."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.oracle.plans import SCHEMA, Plan, plans
from tests.services.cluster import session_on, stop
from tidemill.engine.processes import LocalCluster
from tidemill.sql import DataFrame, SparkSession
from tidemill.testing import MemoryStream, add_together

BASE = 1_700_000_000
DISORDER = 15
"""Seconds that a row may be older than the newest before it: less than the plans' watermark delay, so none is late."""
Rows = list[tuple[Any, ...]]


@st.composite
def histories(draw: st.DrawFn, inputs: int) -> list[list[Rows]]:
    """Batches, each with rows for every input; times go on, with some disorder."""
    now, batches = 0, []
    for _ in range(draw(st.integers(1, 6))):
        now += draw(st.integers(0, 25))
        batches.append([draw(st.lists(row(now), max_size=8)) for _ in range(inputs)])
    return batches


def row(now: int) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(
        st.sampled_from(["a", "b", "c", None]),
        st.integers(now - DISORDER, now).map(lambda s: datetime.fromtimestamp(BASE + s)),
        st.one_of(st.none(), st.integers(0, 9)),
    )


@dataclass
class Stream:
    """A query over memory streams, restarted now and then on one checkpoint."""

    spark: SparkSession
    plan: Plan
    mode: str
    checkpoint: str
    batches: list[Rows] = field(default_factory=list)
    query: Any = None

    def __post_init__(self) -> None:
        self.inputs = [MemoryStream(self.spark, SCHEMA) for _ in range(self.plan.inputs)]

    def start(self) -> None:
        frame = self.plan.build(*(i.toDF() for i in self.inputs))
        writer = frame.writeStream.outputMode(self.mode).foreachBatch(self.take)
        self.query = writer.option("checkpointLocation", self.checkpoint).start()

    def take(self, frame: DataFrame, batch: int) -> None:
        self.batches.append([tuple(r) for r in frame.collect()])

    def add(self, parts: list[Rows]) -> None:
        add_together(dict(zip(self.inputs, parts, strict=True)))
        self.query.processAllAvailable()

    def restart(self) -> None:
        self.query.stop()
        self.start()

    def watermark(self) -> float:
        marks = [p["eventTime"].get("watermark") for p in self.query.recentProgress]
        return datetime.fromisoformat(marks[-1]).timestamp() if marks and marks[-1] else -math.inf


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    session = SparkSession.builder.getOrCreate().newSession()
    yield session
    session.stop()


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(plan=plans(), data=st.data())
def test_the_output_is_that_of_a_batch_over_a_prefix(
    spark: SparkSession, plan: Plan, data: st.DataObject
) -> None:
    holds(spark, plan, data)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    made = LocalCluster(2, threads=1)
    yield made
    made.close()


@pytest.fixture(scope="module")
def on_executors(cluster: LocalCluster) -> Iterator[SparkSession]:
    session = session_on(cluster)
    yield session
    stop(session)


@pytest.mark.timeout(600)  # minutes on a machine that does other things as well
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(plan=plans(), data=st.data())
def test_it_is_so_on_executors_that_come_and_go(
    cluster: LocalCluster, on_executors: SparkSession, plan: Plan, data: st.DataObject
) -> None:
    def moved() -> None:
        """One of them, or none, takes no part from the next batch on: its shards go to the other."""
        out = data.draw(st.sampled_from(["nobody", "executor-0", "executor-1"]), label="out")
        cluster._leaving.clear()
        cluster.retire(out)

    holds(on_executors, plan, data, moved)


def holds(
    spark: SparkSession, plan: Plan, data: st.DataObject, before: Callable[[], None] = lambda: None
) -> None:
    mode = data.draw(st.sampled_from(plan.modes), label="mode")
    history = data.draw(histories(plan.inputs), label="history")
    restarts = data.draw(
        st.lists(st.booleans(), min_size=len(history), max_size=len(history)), label="restarts"
    )
    with tempfile.TemporaryDirectory() as checkpoint:
        stream = Stream(spark, plan, mode, checkpoint)
        stream.start()
        try:
            so_far: list[Rows] = [[] for _ in range(plan.inputs)]
            for parts, again in zip(history, restarts, strict=True):
                before()
                stream.add(parts)
                for rows, part in zip(so_far, parts, strict=True):
                    rows += part
                check(stream, batch(spark, plan, so_far))
                if again:
                    mark = stream.watermark()
                    stream.restart()
                    stream.query.processAllAvailable()
                    assert stream.watermark() in (-math.inf, mark)
        finally:
            stream.query.stop()


def batch(spark: SparkSession, plan: Plan, inputs: list[Rows]) -> Rows:
    frames = [spark.createDataFrame(rows, SCHEMA) for rows in inputs]
    return [tuple(r) for r in plan.build(*frames).collect()]


def check(stream: Stream, whole: Rows) -> None:
    """Compare what came out so far with the batch query's rows."""
    if stream.mode == "complete":
        if any(stream.batches):
            assert same(stream.batches[-1], whole)
        return
    if stream.mode == "update":
        latest = {tuple(r[i] for i in stream.plan.key): r for rows in stream.batches for r in rows}
        assert same(list(latest.values()), whole)
        return
    emitted = [r for rows in stream.batches for r in rows]
    end = stream.plan.end
    if end is None:
        assert same(emitted, whole)
        return
    mark = stream.watermark()
    if stream.plan.inputs == 1:
        assert same(emitted, [r for r in whole if r[end] <= mark])
        return
    # A join gives a pair as soon as both are there, and a row without a partner once the watermark has passed it.
    lonely = [r for r in whole if None in (r[1], r[3])] if len(whole[0] if whole else ()) > 3 else []
    waiting = [r for r in lonely if r[end] > mark]
    assert same(emitted, without(whole, waiting))


def without(rows: Rows, some: Rows) -> Rows:
    left = list(rows)
    for r in some:
        left.remove(r)
    return left


def same(found: Rows, wanted: Rows) -> bool:
    """As multisets; doubles to 12 digits, since sums are made in another order."""
    assert sorted(map(shown, found)) == sorted(map(shown, wanted))
    return True


def shown(r: tuple[Any, ...]) -> str:
    return repr([f"{v:.12g}" if isinstance(v, float) else v for v in r])
