"""From trigger to commit: a windowed count over 1,000 rows a batch, exactly once, to files and from Kafka to Kafka;
from the start of the process to its first committed batch; and the memory that this takes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import work
from bench.apart import apart
from bench.table import Table
from tidemill.sql import functions as F
from tidemill.testing import MemoryStream

BATCHES = 200
WARM = 20
"""Batches before the measured ones: the first plan queries and open files."""

START = """
import sys, time
from tidemill.sql import SparkSession, functions as F
spark = SparkSession.builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
rows = spark.readStream.schema("t TIMESTAMP, k INT").json(sys.argv[1] + "/in")
counted = rows.withWatermark("t", "10 seconds").groupBy(F.window("t", "10 seconds"), "k").count()
q = counted.writeStream.option("checkpointLocation", sys.argv[1] + "/c").trigger(availableNow=True)
q = q.format("parquet").start(sys.argv[1] + "/o")
q.awaitTermination()
from bench.apart import peak_mb
print(peak_mb())
"""


def percentiles(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    middle, high = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    return f"{middle * 1000:.1f} / {high * 1000:.1f} ms"


def to_files() -> list[float]:
    """Seconds of each batch from trigger to commit."""
    spark = work.session().newSession()
    spark.conf.set("spark.sql.streaming.noDataMicroBatches.enabled", "false")
    stream = MemoryStream(spark, "t TIMESTAMP, k INT")
    frame = stream.toDF().withWatermark("t", "10 seconds").groupBy(F.window("t", "10 seconds"), "k").count()
    import pyarrow as pa

    taken = []
    with tempfile.TemporaryDirectory() as out:
        query = frame.writeStream.option("checkpointLocation", f"{out}/c").format("parquet").start(f"{out}/o")
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
    return taken[WARM:]


def kafka_to_kafka(bootstrap: str, source: str, target: str) -> list[float]:
    """Seconds from a record's being there to its count's being readable: one batch at a time."""
    from confluent_kafka import Producer

    spark = work.session().newSession()
    producer = Producer({"bootstrap.servers": bootstrap})
    servers = {"kafka.bootstrap.servers": bootstrap}
    rows = (
        spark.readStream.format("kafka")
        .options(**servers, subscribe=source, startingOffsets="earliest")
        .load()
    )
    counted = rows.groupBy(F.col("value").cast("string").alias("key")).count()
    records = counted.select("key", F.col("count").cast("string").alias("value"))
    taken = []
    with tempfile.TemporaryDirectory() as out:
        writer = records.writeStream.format("kafka").options(**servers, topic=target).outputMode("update")
        query = writer.option("checkpointLocation", f"{out}/c").start()
        for _ in range(BATCHES // 2 + WARM):
            for i in range(1000):
                producer.produce(source, f"k{i % 50}")
            producer.flush()
            query.processAllAvailable()
        taken = [p["batchDuration"] / 1000 for p in query.recentProgress if p["numInputRows"]]
        query.stop()
    return taken[WARM:]


def start() -> tuple[float, float]:
    """Seconds from the process's start to its end after one batch, and its most resident memory in MB."""
    with tempfile.TemporaryDirectory() as scratch:
        work_in = Path(scratch) / "in"
        work_in.mkdir()
        lines = "".join(f'{{"t": "2024-01-01T00:00:{i % 60:02d}Z", "k": {i % 5}}}\n' for i in range(1000))
        (work_in / "0.json").write_text(lines)
        best, most = float("inf"), 0.0
        for n in range(3):
            target = Path(scratch) / str(n)
            target.mkdir()
            (target / "in").symlink_to(work_in)
            started = time.perf_counter()
            command = [sys.executable, "-W", "ignore", "-c", START, str(target)]
            told = subprocess.run(command, check=True, stdout=subprocess.PIPE)
            best = min(best, time.perf_counter() - started)
            most = max(most, float(told.stdout))
        return best, most


def main(table: Table, broker: Any = None) -> None:
    seconds, megabytes = start()
    table.row("process start to first commit and end", f"{seconds:.2f} s", aim="1 s (Spark: 5 to 6 s)")
    table.row("most memory of that process", f"{megabytes:.0f} MB", aim="250 MB (Spark: 768 MB)")
    taken, most = apart(to_files)
    table.row(
        "batch of 1,000 rows to files, p50 / p99", percentiles(taken), aim="15 / 40 ms (Spark: 188 / 286)"
    )
    table.row("  most memory of it", f"{most:.0f} MB", aim="250 MB")
    if broker is not None:
        taken, most = apart(kafka_to_kafka, broker.bootstrap, broker.topic(1), broker.topic(1))
        table.row("the same from Kafka to Kafka", percentiles(taken), aim="30 / 100 ms")
        table.row("  most memory of it", f"{most:.0f} MB", aim="250 MB")
