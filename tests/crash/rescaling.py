"""Executors come and go while a topic is fed at a steady rate: used by a test and by ``python -m bench.rescale``."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from confluent_kafka import Producer

from tests.crash.executors import wait_until
from tests.services.cluster import session_on, stop
from tests.services.kafka import KafkaBroker
from tidemill.engine.processes import LocalCluster
from tidemill.launch import QuerySpec, SinkSpec, start
from tidemill.sql import functions as F
from tidemill.sql.readwriter import wiring

PARTITIONS = 6
KEYS = 500
FED = 0.05
"""Seconds between two portions of records."""
WINDOW = 2
"""Seconds of event time, which is the time of feeding."""
BASE = 1_700_000_000


@dataclass
class Feed:
    """Produces ``rate`` records a second on a thread, and knows what was produced."""

    bootstrap: str
    topic: str
    rate: int
    counts: Counter[tuple[int, str]] = field(default_factory=Counter)
    """Records by window and key."""
    sent: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 5})
        begun = time.monotonic()
        while not self.over.is_set():
            due = int((time.monotonic() - begun) * self.rate)
            for _ in range(due - self.sent):
                self.produce(producer, BASE + int(time.monotonic() - begun), f"k{self.sent * 7919 % KEYS}")
            producer.poll(0)
            self.over.wait(FED)
        # The last one closes every window before it.
        self.produce(producer, BASE + 100_000, "last")
        producer.flush()

    def produce(self, producer: Producer, at: int, key: str) -> None:
        self.sent += 1
        if key != "last":
            self.counts[at // WINDOW * WINDOW, key] += 1
        value = json.dumps({"t": at, "k": key})
        producer.produce(self.topic, value, partition=self.sent % PARTITIONS)


@dataclass
class Story:
    """What came of a run."""

    wanted: Counter[tuple[int, str]]
    found: Counter[tuple[int, str]]
    rows: int
    """Of the output: more than its keys if one is there twice."""
    attempts: dict[int, int]
    """Of each batch."""
    commits: list[tuple[float, int]]
    """When, and how many executors there were."""
    fed: int
    moved: int

    def pause(self) -> float:
        """The longest time between two commits, in seconds."""
        times = [at for at, _ in self.commits]
        return max(b - a for a, b in pairwise(times))


def rescale(
    broker: KafkaBroker,
    directory: Path,
    steps: Callable[[LocalCluster, Callable[[int], None]], None],
    rate: int = 2_000,
) -> Story:
    """Count a steady feed per window and key, on one executor at first, while ``steps`` changes that.

    ``steps`` gets the cluster, and a function that waits for so many more commits.
    """
    topic = broker.topic(PARTITIONS)
    feed = Feed(broker.bootstrap, topic, rate)
    attempts: dict[int, int] = {}
    commits: list[tuple[float, int]] = []
    cluster = LocalCluster(1, threads=1)
    feeding = threading.Thread(target=feed.run, daemon=True)

    def hook(step: str, when: str, batch: int) -> None:
        if (step, when) == ("staged", "before"):
            attempts[batch] = attempts.get(batch, 0) + 1
        if (step, when) == ("committed", "after"):
            commits.append((time.monotonic(), len(cluster.members())))

    def batches(count: int) -> None:
        end = len(commits) + count
        wait_until(lambda: len(commits) >= end or not query.is_active)

    try:
        spark = session_on(cluster)
        rows = (
            spark.readStream.format("kafka")
            .options(**{"kafka.bootstrap.servers": broker.bootstrap, "subscribe": topic})
            .option("startingOffsets", "earliest")
            .load()
        )
        value = F.from_json(F.col("value").cast("string"), "t BIGINT, k STRING")
        counted = (
            rows.select(value.alias("v"))
            .select(F.timestamp_seconds("v.t").alias("t"), "v.k")
            .withWatermark("t", "30 seconds")
            .groupBy(F.window("t", f"{WINDOW} seconds").alias("w"), "k")
            .count()
            .select(F.col("w.start").cast("long").alias("start"), "k", "count")
        )
        sink = SinkSpec("json", {"path": str(directory / "out")}, wiring=wiring(spark, counted.schema))
        spec = QuerySpec(sink, checkpoint=str(directory / "checkpoint"), hook=hook)
        query = start(counted._plan, spec, spark._run_context())
        feeding.start()
        batches(5)
        commits.clear()
        steps(cluster, batches)
        told = list(commits)
        feed.over.set()
        feeding.join()
        query.process_all_available()
        moved = cluster.moved(query.id)
        query.stop()
        if (error := query.exception()) is not None:
            raise error
        stop(spark)
    finally:
        feed.over.set()
        cluster.close()
    out = [
        json.loads(line) for f in (directory / "out").glob("*.json") for line in f.read_text().splitlines()
    ]
    found = Counter({(r["start"], r["k"]): r["count"] for r in out})
    return Story(feed.counts, found, len(out), attempts, told, feed.sent, moved)


def one_three_two(cluster: LocalCluster, batches: Callable[[int], None], seconds: float = 0) -> None:
    """1 -> 3 -> 2 executors, with some batches on each."""
    for count in (3, 2):
        cluster.scale(count)
        wait_until(lambda count=count: len(cluster.members()) == count)  # type: ignore[misc]
        end = time.monotonic() + seconds
        batches(10)
        while time.monotonic() < end:
            batches(1)
