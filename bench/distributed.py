"""What executors cost and bring, against the same work in one process: ``python -m bench.distributed``.

(a) rows a second of a job on 2 executors of one thread, against `LocalEngine` with 2 threads; (b) what a batch of 1,000
rows costs more when it crosses processes; (c) how long it takes until a job with so many keys of state goes on after its
executors are lost, the state being in Redis; (d) memory of an idle executor; (e) the driver's planning and bookkeeping of
a batch for 10 to 1,000 executors that are only simulated, and ten partitions for each.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import work
from bench.apart import apart
from bench.table import Table

BATCHES = 120
WARM = 20


def session(executors: int) -> Any:
    from tidemill.sql import SparkSession

    builder = SparkSession.builder.config("spark.sql.session.timeZone", "UTC")
    builder = builder.config("tidemill.threads", str(work.THREADS)).config("tidemill.executors", executors)
    spark = builder.getOrCreate()
    if executors:  # they take a moment to start, which is no part of a batch
        spark._run_context().engine._present()
    return spark


def throughput(executors: int, directory: str) -> tuple[float, float]:
    """Rows a second in batches of a million once the first is over, and the seconds of that one: it loads the query."""
    spark = session(executors)
    records = spark.readStream.schema(work.SCHEMA).option("maxFilesPerTrigger", 4).json(directory)
    with tempfile.TemporaryDirectory() as out:
        writer = work.counts(records).writeStream.format("parquet").trigger(availableNow=True)
        query = writer.option("checkpointLocation", f"{out}/c").start(f"{out}/o")
        query.awaitTermination()
        ended = datetime.now(UTC)
    first, *rest = query.recentProgress
    spark.stop()
    taken = ended - datetime.fromisoformat(rest[0]["timestamp"])
    rows = sum(progress["numInputRows"] for progress in rest)
    return rows / taken.total_seconds(), first["durationMs"]["triggerExecution"] / 1000


def batches(executors: int, location: str) -> list[float]:
    """Seconds of each batch of 1,000 rows, exactly once to files, with the checkpoint at ``location``."""
    import pyarrow as pa

    from tidemill.sql import functions as F
    from tidemill.testing import MemoryStream

    spark = session(executors)
    spark.conf.set("spark.sql.streaming.noDataMicroBatches.enabled", "false")
    stream = MemoryStream(spark, "t TIMESTAMP, k INT")
    frame = stream.toDF().withWatermark("t", "10 seconds").groupBy(F.window("t", "10 seconds"), "k").count()
    taken = []
    with tempfile.TemporaryDirectory() as out:
        query = frame.writeStream.option("checkpointLocation", location).format("parquet").start(f"{out}/o")
        for batch in range(BATCHES + WARM):
            times = [1_700_000_000_000_000 + batch * 2_000_000 + i * 1000 for i in range(1000)]
            rows = pa.table(
                {"t": pa.array(times, pa.timestamp("us")), "k": pa.array(i % 50 for i in range(1000))}
            )
            started = time.perf_counter()
            stream.log.append(rows)
            query.processAllAvailable()
            taken.append(time.perf_counter() - started)
        query.stop()
    spark.stop()
    return taken[WARM:]


def recovery(executors: int, location: str, keys: int) -> float:
    """Seconds from the start of a query whose state of ``keys`` keys is in Redis to its next committed batch."""
    import pyarrow as pa

    from tidemill.testing import MemoryStream

    spark = session(executors)
    stream = MemoryStream(spark, "k LONG, v LONG")
    frame = stream.toDF().groupBy("k").sum("v")

    def start() -> Any:
        writer = frame.writeStream.format("noop").outputMode("update")
        return writer.option("checkpointLocation", location).start()

    def add(first: int, count: int) -> None:
        ids = pa.array(range(first, first + count), pa.int64())
        stream.log.append(pa.table({"k": ids, "v": ids}))

    query = start()
    for first in range(0, keys, 500_000):
        add(first, min(500_000, keys - first))
        query.processAllAvailable()
    query.stop()
    add(0, 1000)
    started = time.perf_counter()
    query = start()
    query.processAllAvailable()
    taken = time.perf_counter() - started
    assert query.lastProgress["stateOperators"][0]["numRowsTotal"] == keys
    query.stop()
    spark.stop()
    return taken


def idle() -> float:
    """Resident MB of an executor that has joined and done nothing."""
    spark = session(1)
    (pid,) = spark._run_context().engine.processes.values()  # type: ignore[attr-defined]
    time.sleep(1)
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    spark.stop()
    return pages * 4096 / 1e6


def planning(executors: int) -> float:
    """Milliseconds of the driver's own work for one batch on executors that answer at once."""
    import pickle

    from tidemill.driver.entries import PlanEntry, PreparedEntry
    from tidemill.driver.loop import merge_deltas
    from tidemill.driver.machine import merge_observed
    from tidemill.engine.placement import Dealer, place
    from tidemill.executor.work import Attempt, Observed, Read, Share, StageResult
    from tidemill.sinks.base import Committable, TaskId
    from tidemill.sources.base import Partition

    members = [f"tls://10.0.{n // 250}.{n % 250}:8786" for n in range(executors)]
    owners = place([None] * 1024, members)
    held = {m: [s for s, o in enumerate(owners) if o == m] for m in members}
    dealer = Dealer()
    best = float("inf")
    for batch in range(5):
        spans = [(f"topic/{p}", batch * 1000, batch * 1000 + 1000) for p in range(10 * executors)]
        answers = {
            m: pickle.dumps([
                StageResult(1000, read={0: Read(10_000, 1_000_000, 0)}, observed={0: Observed(10_000, 1, 2, 3)}),
                StageResult(100, last=True, deltas={"op0.groups": held[m]},
                            committables=[Committable(TaskId("q", batch, n), {"files": [["a.tmp", "b"]]})]),
            ])
            for n, m in enumerate(members)
        }  # fmt: skip
        started = time.perf_counter()
        ends = {part: end for part, _, end in spans}
        plan = PlanEntry(batch, 0, ({part: a for part, a, _ in spans},), (ends,), None, None)
        _as_json(plan.to_json())
        parts = [
            Partition(i, {"topic": "topic", "partition": i, "from": a, "to": b}, affinity=p)
            for i, (p, a, b) in enumerate(spans)
        ]
        attempt = Attempt("q", batch, 1, 1, 0, None, None)
        for share in dealer.deal({0: parts}, members):
            pickle.dumps((attempt, Share(share)))
        results = [r for m in members for r in pickle.loads(answers[m])]
        prepared = PreparedEntry(
            batch, 1, 1, tuple(c for r in results for c in r.committables), merge_deltas(r.deltas for r in results),
            (), merge_observed([r.observed for r in results]),
        )  # fmt: skip
        _as_json(prepared.to_json())
        best = min(best, time.perf_counter() - started)
    return best * 1000


def _as_json(entry: Mapping[str, Any]) -> bytes:
    from tidemill.checkpoint.entry import encode

    return encode(dict(entry))


def middle(seconds: Sequence[float]) -> float:
    return sorted(seconds)[len(seconds) // 2] * 1000


def main(rows: int, keys: Sequence[int]) -> None:
    from tests.services.redis import Server

    table = Table("Tidemill on executors, on this machine")
    with tempfile.TemporaryDirectory() as scratch, Server(Path(scratch) / "redis") as redis:
        directory = Path(scratch) / "records"
        work.write_records(directory, rows, files=rows // 250_000)
        (alone, _), _ = apart(throughput, 0, str(directory))
        (shared, first), _ = apart(throughput, 2, str(directory))
        table.row("JSON rows/s, one process with 2 threads", f"{alone / 1e6:.2f} M", "1.00")
        table.row(
            "JSON rows/s, 2 executors of 1 thread", f"{shared / 1e6:.2f} M", f"{shared / alone:.2f}", "0.90"
        )
        table.row("their first batch, which loads the query", f"{first:.2f} s")
        local, _ = apart(batches, 0, redis.location())
        table.row("batch of 1,000 rows, one process, p50", f"{middle(local):.1f} ms")
        for n in (1, 2):
            remote, _ = apart(batches, n, redis.location())
            more = middle(remote) - middle(local)
            table.row(
                f"the same on {n} executors, p50", f"{middle(remote):.1f} ms", f"+{more:.1f} ms", "+5 ms"
            )
        for count in keys:
            taken, _ = apart(recovery, 2, redis.location(), count)
            table.row(f"start with {count:,} keys of state in Redis", f"{taken:.1f} s", aim="5 s for 10 M")
        table.row("memory of an idle executor", f"{apart(idle)[0]:.0f} MB", aim="150 MB")
    for n in (10, 100, 1000):
        table.row(f"driver's own work a batch, {n} executors", f"{planning(n):.1f} ms", aim="50 ms for 1,000")
    table.show()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=8_000_000)
    parser.add_argument("--keys", type=int, nargs="*", default=[1_000_000, 10_000_000])
    given = parser.parse_args()
    main(given.rows, given.keys)
