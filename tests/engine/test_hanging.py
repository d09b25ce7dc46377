"""An executor that computes for long is waited for; one that does not answer is not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any

import pytest
from distributed.comm import CommClosedError

from tests.services.cluster import session_on, stop
from tidemill.engine.processes import LocalCluster
from tidemill.errors import ExecutorLostError
from tidemill.executor.inbox import Inbox
from tidemill.executor.work import Attempt
from tidemill.sql import functions as F
from tidemill.testing import MemoryStream


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    made = LocalCluster(2, threads=1, silent=2.0)
    yield made
    made.close()


def test_a_long_batch_is_not_taken_for_a_hung_executor(cluster: LocalCluster) -> None:
    spark = session_on(cluster)
    stream = MemoryStream(spark, "k STRING, v INT")

    def slow(v: int) -> int:
        if v == 0:
            time.sleep(4)
        return v

    counted = stream.toDF().groupBy("k").agg(F.sum(F.udf(slow, "int")("v")).alias("s"))
    query = counted.writeStream.outputMode("update").format("memory").queryName("long").start()
    stream.add([(str(i % 5), i) for i in range(20)])
    query.processAllAvailable()
    assert sum(r.s for r in spark.table("long").collect()) == 190
    assert query.lastProgress["durationMs"]["addBatch"] > 3500
    assert len(cluster.members()) == 2
    stop(spark)


def test_a_batch_goes_on_without_an_executor_that_hangs_and_that_one_comes_back(
    cluster: LocalCluster,
) -> None:
    spark = session_on(cluster)
    stream = MemoryStream(spark, "k STRING, v INT")
    counted = stream.toDF().groupBy("k").agg(F.sum("v").alias("s"))
    rows: list[tuple[str, int]] = []
    query = (
        counted.writeStream.outputMode("update")
        .foreachBatch(lambda f, n: rows.extend(map(tuple, f.collect())))
        .start()
    )
    keys = [str(i) for i in range(10)]
    stream.add([(k, 1) for k in keys])
    query.processAllAvailable()
    pid = cluster.processes["executor-1"]
    os.kill(pid, signal.SIGSTOP)
    try:
        stream.add([(k, 2) for k in keys])
        query.processAllAvailable()
        assert cluster.members() == ["executor-0"]
        assert sorted(rows) == sorted([(k, 1) for k in keys] + [(k, 3) for k in keys])
    finally:
        os.kill(pid, signal.SIGCONT)
    end = time.monotonic() + 60
    while len(cluster.members()) < 2:
        assert time.monotonic() < end, "it has not joined again"
        time.sleep(0.05)
    stream.add([(k, 3) for k in keys])
    query.processAllAvailable()
    assert sorted(rows)[-1] == ("9", 6) and len(rows) == 30
    stop(spark)


def test_an_executor_whose_connection_broke_joins_anew(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    spark = session_on(cluster)
    stream = MemoryStream(spark, "k STRING, v INT")
    counted = stream.toDF().groupBy("k").agg(F.sum("v").alias("s"))
    query = counted.writeStream.outputMode("update").format("memory").queryName("broken").start()
    keys = [str(i) for i in range(10)]
    stream.add([(k, 1) for k in keys])
    query.processAllAvailable()
    first = next(iter(cluster._members))
    real, broken = cluster._scheduler.rpc, []

    class Broken:
        async def tidemill_call(self, **message: object) -> object:
            if message["what"] != "run":  # the batch before may still be on its way to be accepted
                return await real(first).tidemill_call(**message)
            broken.append(message["what"])
            raise CommClosedError("the network has a hiccup")

    class Pool:
        def __call__(self, address: str) -> object:
            return Broken() if address == first and not broken else real(address)

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

    monkeypatch.setattr(cluster._scheduler, "rpc", Pool())
    stream.add([(k, 2) for k in keys])
    query.processAllAvailable()
    assert broken == ["run"]
    end = time.monotonic() + 60
    while len(cluster.members()) < 2:
        assert time.monotonic() < end, "it has not joined again"
        time.sleep(0.05)
    assert first not in cluster._members
    stream.add([(k, 3) for k in keys])
    query.processAllAvailable()
    rows = sorted((r.k, r.s) for r in spark.table("broken").collect())
    assert rows == sorted((k, s) for k in keys for s in (1, 3, 6))
    stop(spark)


def test_an_executor_that_is_to_leave_is_asked_for_nothing_more(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be gone in the middle of it, and the attempt would fail."""
    spark = session_on(cluster)
    stream = MemoryStream(spark, "k STRING, v INT")
    counted = stream.toDF().groupBy("k").agg(F.sum("v").alias("s"))
    query = counted.writeStream.outputMode("update").format("memory").queryName("leaving").start()
    stream.add([(str(i), 1) for i in range(10)])
    query.processAllAvailable()
    address, member = next(iter(cluster._members.items()))
    real, asked = cluster._ask, []

    async def noting(to: str, what: str, *rest: Any) -> Any:
        asked.append((to, what))
        return await real(to, what, *rest)

    monkeypatch.setattr(cluster, "_ask", noting)
    cluster.retire(member.name)
    stream.add([(str(i), 2) for i in range(10)])
    query.processAllAvailable()
    assert [what for to, what in asked if to == address and what != "accept"] == []
    assert {what for to, what in asked if to != address} >= {"drop", "restore", "seat", "run"}
    cluster._leaving.discard(address)  # it was only said to
    stop(spark)


def test_an_executor_that_comes_back_has_nothing_left_of_what_it_had(cluster: LocalCluster) -> None:
    """All are leaving, say, and one of them must work again: what it held before has been changed elsewhere since."""
    spark = session_on(cluster)
    stream = MemoryStream(spark, "t TIMESTAMP, k INT")
    marked = stream.toDF().withWatermark("t", "0 seconds")
    counted = marked.groupBy(F.window("t", "10 seconds").alias("w"), "k").count()
    query = counted.writeStream.format("memory").queryName("back").start()
    keys = range(40)

    def batch(second: int, *leaving: str) -> None:
        cluster._leaving = {a for a, m in cluster._members.items() if m.name in leaving}
        stream.add([(datetime.fromtimestamp(second, UTC), k) for k in keys])
        query.processAllAvailable()

    batch(1)
    batch(2, "executor-0")
    batch(3)
    batch(4, "executor-1")
    batch(5)
    batch(15)
    rows = sorted((r.k, r["count"]) for r in spark.table("back").collect())
    assert rows == [(k, 5) for k in keys]
    stop(spark)


def test_who_waits_for_rows_is_woken_when_the_connection_to_the_driver_ends() -> None:
    inbox = Inbox()
    old = Attempt("q", 1, 1, 1, 0, None, None)
    sending: Future[None] = Future()
    with inbox.sending(old, sending):
        inbox.close()
    assert sending.cancelled(), "a peer that hangs takes no more rows"
    with pytest.raises(ExecutorLostError, match="attempt 1 of batch 1 was given up"):
        inbox.take(old, (0, 0), [1])
