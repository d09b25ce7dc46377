"""What it costs to make a batch's output durable and visible, beside the least that its bytes cost.

    python bench/sinks.py [--rows 1000] [--batches 200] [--kafka]

Files: prepare and commit of one task, against writing the same bytes to one file with fsync. Kafka (``--kafka`` starts
a broker): a transaction with its marker, back to back, against an idempotent producer that sends the same records and
waits for them. The checkpoint: the three entries of a batch and one pack of 64 deltas. Milliseconds, p50 and p99.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from tidemill import sinks
from tidemill.checkpoint import open_
from tidemill.sinks.base import Generation, Sink, TaskId
from tidemill.state.base import BlobName
from tidemill.types import StructType, to_arrow_schema

SCHEMA = StructType.fromDDL(
    "datum TIMESTAMP, host STRING, path STRING, status INT, bytes BIGINT, share DOUBLE"
)
WARM_UP = 10


def rows(count: int) -> pa.Table:
    start = dt.datetime(2024, 1, 1)
    columns = [
        [start + dt.timedelta(milliseconds=i) for i in range(count)],
        [f"host-{i % 50}" for i in range(count)],
        [f"/path/{i * 7919 % 1000}" for i in range(count)],
        [200 + i % 3 for i in range(count)],
        [i * 13 for i in range(count)],
        [i / 7 for i in range(count)],
    ]
    return pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=to_arrow_schema(SCHEMA))


def timed(batches: int, run: Callable[[int], Any]) -> list[float]:
    took = []
    for batch in range(batches + WARM_UP):
        start = time.perf_counter()
        run(batch)
        took.append((time.perf_counter() - start) * 1e3)
    return sorted(took[WARM_UP:])


def line(name: str, took: list[float], floor: list[float] | None = None) -> None:
    p50, p99 = statistics.median(took), took[int(len(took) * 0.99)]
    ratio = f"{p50 / statistics.median(floor):8.1f}x" if floor else ""
    print(f"{name:<44}{p50:9.2f}{p99:9.2f}{ratio}")


def batch_of(sink: Sink, query: str, table: pa.Table) -> Callable[[int], None]:
    def run(batch: int) -> None:
        sink.commit(batch, [sink.prepare(TaskId(query, batch, 0), table)])

    return run


def file_sinks(folder: Path, table: pa.Table, batches: int) -> None:
    for format in ("parquet", "json", "csv", "avro"):
        path = folder / format
        sink = sinks.create(format, {"path": str(path)}, SCHEMA)
        sink.open(Generation(1, "bench"), "bench", 1)
        took = timed(batches, batch_of(sink, "bench", table))
        data = next(path.glob("part-*")).read_bytes()
        line(
            f"{format}, {len(data):,} bytes",
            took,
            timed(batches, lambda n, data=data: raw_write(folder / f"raw-{n}", data)),
        )


def raw_write(path: Path, data: bytes) -> None:
    with open(path, "wb", buffering=0) as file:
        file.write(data)
        os.fsync(file.fileno())


def checkpoint(folder: Path, batches: int) -> None:
    log, store = open_(str(folder / "checkpoint"))
    generation = log.acquire("bench")
    delta = os.urandom(1000)

    def run(n: int) -> None:
        log.put_new("q", "plan", n, {"batch": n}, generation)
        store.put({BlobName("q", "op0", shard, n, 1, 0): delta for shard in range(64)})
        store.sync()
        log.put_new("q", "prepared", n, {"batch": n}, generation)
        log.put_new("q", "commit", n, {"batch": n}, generation)
        log.purge("q", n - 100)

    took = timed(batches, run)
    line(
        "checkpoint: 3 entries, 64 deltas of 1 kB",
        took,
        timed(batches, lambda n: raw_write(folder / f"cp-{n}", delta * 64)),
    )


def kafka_sink(table: pa.Table, batches: int) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.services.kafka import KafkaBroker

    values = pa.table({"value": table.column("path")})
    schema = StructType.fromDDL("value STRING")
    with tempfile.TemporaryDirectory() as folder, KafkaBroker(Path(folder)) as broker:
        found = []
        for once in ("false", "true"):
            options = {
                "kafka.bootstrap.servers": broker.bootstrap,
                "topic": broker.topic(2),
                "exactlyOnce": once,
            }
            sink = sinks.create("kafka", options, schema)
            start = time.perf_counter()
            sink.open(Generation(1, "bench"), f"bench-{once}", 1)
            opened = (time.perf_counter() - start) * 1e3
            found.append((opened, timed(batches, batch_of(sink, f"bench-{once}", values))))
            sink.close()
        line("kafka, at least once", found[0][1])
        line("kafka, exactly once", found[1][1], found[0][1])
        print(f"{'kafka, to open exactly once':<44}{found[1][0]:9.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--kafka", action="store_true", help="start a broker and measure the Kafka sink too")
    given = parser.parse_args()
    table = rows(given.rows)
    print(f"{given.rows:,} rows a batch, milliseconds{'':<14}{'p50':>9}{'p99':>9}{'to floor':>9}")
    # Beside the code and not in /tmp, which may be memory: an fsync has to cost what it costs.
    folder = Path(tempfile.mkdtemp(prefix=".bench-", dir=Path.cwd()))
    try:
        file_sinks(folder, table, given.batches)
        checkpoint(folder, given.batches)
    finally:
        shutil.rmtree(folder)
    if given.kafka:
        kafka_sink(table, given.batches)


if __name__ == "__main__":
    main()
