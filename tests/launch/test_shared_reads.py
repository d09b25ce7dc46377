"""Queries over one Kafka topic: fetched and decoded once for all, and nobody waits for a slow one."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.services.kafka import KafkaBroker
from tidemill.api import load
from tidemill.cli.job import Job
from tidemill.engine.processes import LocalCluster
from tidemill.metrics import QueryMetrics
from tidemill.sources.base import Partition, Rows
from tidemill.sources.files import FileSource
from tidemill.sources.kafka import KafkaSource
from tidemill.sql import DataFrame, SparkSession
from tidemill.sql.streaming import StreamingQuery

JOB = """
apiVersion: tidemill.dev/v1alpha1
kind: StreamingJob
metadata: {{name: shared}}
spec:
  sources:
    - name: visits
      format: kafka
      options: {{kafka.bootstrap.servers: "{servers}", subscribe: "{topic}", startingOffsets: earliest,
                maxOffsetsPerTrigger: 40}}
      decode: {{format: json, schema: "n INT, host STRING", metadata: [partition, offset]}}
      deadLetter: {{format: json, options: {{path: out/bad}}}}
  queries:
    - name: everything
      sql: SELECT n, partition, offset FROM visits
      trigger: {trigger}
      sink: {{format: json, options: {{path: out/all}}}}
    - name: hosts
      sql: SELECT host, n FROM visits WHERE n % 2 = 0
      trigger: {trigger}
      sink: {{format: json, options: {{path: out/hosts}}}}
  conf: {{spark.sql.session.timeZone: UTC{conf}}}
"""


ONCE = "{availableNow: true}"


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, int]]:
    """How often each record, by topic and offset, was fetched in this process. Of topics with one partition."""
    found: Counter[tuple[str, int]] = Counter()
    read = KafkaSource.read
    lock = threading.Lock()

    def counted(source: KafkaSource, partition: Partition) -> Rows:
        rows = read(source, partition)
        with lock:
            found.update((partition.spec["topic"], o) for o in rows.table["offset"].to_pylist())
        return rows

    monkeypatch.setattr(KafkaSource, "read", counted)
    return found


def produce(kafka: KafkaBroker, topic: str, turn: int) -> list[int]:
    """A transaction that is committed or aborted, with bad records in it; the numbers of those that are good."""
    numbers = range(turn * 50, turn * 50 + 50)
    records = [json.dumps({"n": n, "host": f"h{n % 7}"}) if n % 10 else f"bad {n}" for n in numbers]
    kafka.produce_transaction(topic, records, commit=turn % 3 != 1)
    return [n for n in numbers if n % 10 and turn % 3 != 1]


def with_gaps(kafka: KafkaBroker) -> tuple[str, list[int]]:
    topic = kafka.topic()
    return topic, [n for turn in range(6) for n in produce(kafka, topic, turn)]


def rows(directory: Path) -> list[dict[str, Any]]:
    files = sorted(directory.glob("*.json"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def run(job: Job) -> dict[str, StreamingQuery]:
    job.start()
    for query in job.queries:
        query.awaitTermination(60)
    job.spark.stop()  # the next one would take over its settings
    assert not job.errors
    return {str(q.name): q for q in job.queries}


def shared_reads(query: StreamingQuery) -> int:
    return sum(p["sources"][0]["sharedReads"] for p in query.recentProgress)


def check_output(out: Path, good: list[int]) -> None:
    assert sorted(r["n"] for r in rows(out / "all")) == good
    assert sorted(r["n"] for r in rows(out / "hosts")) == [n for n in good if n % 2 == 0]
    bad = sorted({n // 10 * 10 for n in good})
    assert sorted(int(r["record"].split()[1]) for r in rows(out / "bad")) == bad


def test_a_jobs_queries_and_its_dead_letter_fetch_each_record_once(
    kafka: KafkaBroker, tmp_path: Path, fetched: Counter[tuple[str, int]]
) -> None:
    topic, good = with_gaps(kafka)
    text = JOB.format(servers=kafka.bootstrap, topic=topic, conf="", trigger=ONCE)
    queries = run(Job.create(load(text), tmp_path))
    check_output(tmp_path / "out", good)
    there = {(topic, int(r.offset or 0)) for r in kafka.consume_all(topic)}
    assert fetched == Counter(dict.fromkeys(there, 1))
    assert len(queries) == 3 and sum(map(shared_reads, queries.values())) >= 2 * 8
    ends = {(topic, 0): kafka.ends(topic)[0]}
    for name in queries:
        assert kafka.group_offsets(f"tidemill-{name}") == ends


def test_sharing_can_be_turned_off(
    kafka: KafkaBroker, tmp_path: Path, fetched: Counter[tuple[str, int]]
) -> None:
    topic, good = with_gaps(kafka)
    text = JOB.format(
        servers=kafka.bootstrap, topic=topic, conf=', tidemill.sharedReadBytes: "0"', trigger=ONCE
    )
    queries = run(Job.create(load(text), tmp_path))
    check_output(tmp_path / "out", good)
    assert set(fetched.values()) == {3}
    assert sum(map(shared_reads, queries.values())) == 0


def test_executors_share_among_the_queries_that_they_work_for(
    kafka: KafkaBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, good = kafka.topic(2), list[int]()
    text = JOB.format(servers=kafka.bootstrap, topic=topic, conf="", trigger="{processingTime: 0 seconds}")
    job = Job.create(load(text), tmp_path)
    cluster = LocalCluster(2)
    context = job.spark._run_context()
    monkeypatch.setattr(job.spark, "_run_context", lambda: replace(context, cluster=cluster))
    try:
        job.start()
        for turn in range(6):
            good += produce(kafka, topic, turn)
            for query in job.queries:
                query.processAllAvailable()
        for query in job.queries:
            query.stop()
    finally:
        job.spark.stop()
        cluster.close()
    assert not job.errors
    check_output(tmp_path / "out", good)
    assert sum(map(shared_reads, job.queries)) > 0


# Files


def test_a_jobs_queries_over_files_read_each_once_and_metrics_tell(
    tmp_path: Path, read_files: Counter[str]
) -> None:
    good = files_with_bad_lines(tmp_path / "in")
    text = JOB.format(servers="", topic="", conf="", trigger=ONCE)
    begin, end = text.index("      format: kafka"), text.index("      deadLetter")
    text = (text[:begin] + FILES + text[end:]).replace("n, partition, offset", "n")
    queries = run(Job.create(load(text), tmp_path))
    check_output(tmp_path / "out", good)
    assert read_files == Counter({f"{turn}.json": 1 for turn in range(6)})
    metrics = QueryMetrics()
    for name, query in queries.items():
        for progress in query.recentProgress:
            metrics.observe(name, progress)

    def values(kind: str) -> list[float]:
        name = f"tidemill_{kind}_total"
        return [metrics.registry.get_sample_value(name, {"query": q, "source": "0"}) or 0.0 for q in queries]

    size = sum(f.stat().st_size for f in (tmp_path / "in").iterdir())
    assert values("input_bytes") == [size] * 3
    assert sum(values("shared_bytes")) == 2 * size
    assert sum(values("shared_reads")) >= 6


FILES = """\
      format: json
      options: {path: in, maxFilesPerTrigger: 2}
      schema: n INT, host STRING
"""


def files_with_bad_lines(folder: Path) -> list[int]:
    """Six files; the numbers in their good lines."""
    folder.mkdir()
    for turn in range(6):
        numbers = range(turn * 50, turn * 50 + 50)
        lines = [json.dumps({"n": n, "host": f"h{n % 7}"}) if n % 10 else f"bad {n}" for n in numbers]
        (folder / f"{turn}.json").write_text("\n".join(lines))
    return [n for n in range(300) if n % 10]


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was read in this process, by its name."""
    found: Counter[str] = Counter()
    read = FileSource.read

    def counted(source: FileSource, partition: Partition) -> Rows:
        found.update(Path(f[0]).name for f in partition.spec["files"])
        return read(source, partition)

    monkeypatch.setattr(FileSource, "read", counted)
    return found


def test_queries_of_a_program_that_take_other_columns_read_files_once(
    spark: SparkSession, tmp_path: Path, read_files: Counter[str]
) -> None:
    stream = spark.readStream.schema("n INT, value STRING, more INT").json(str(tmp_path))
    taken = [
        Taken(stream.select("value"), "values"),
        Taken(stream.where("more > 1").selectExpr("CAST(n AS STRING) AS value"), "numbers"),
    ]
    for n in range(5):
        (tmp_path / f".{n}").write_text(json.dumps({"n": n, "value": f"v{n}", "more": n}))
        (tmp_path / f".{n}").rename(tmp_path / f"{n}.json")
        for each in taken:
            each.query.processAllAvailable()
    assert [t.values for t in taken] == [[f"v{n}" for n in range(5)], ["2", "3", "4"]]
    assert read_files == Counter({f"{n}.json": 1 for n in range(5)})


# A program, and a query that falls behind


class Taken:
    """What a query's batches held, in their order. While ``gate`` is closed the query stands still in a batch."""

    def __init__(self, frame: DataFrame, name: str) -> None:
        self.values: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.waits = threading.Event()
        self.query = frame.writeStream.queryName(name).foreachBatch(self.take).start()

    def take(self, batch: DataFrame, number: int) -> None:
        if not self.gate.is_set():
            self.waits.set()
            assert self.gate.wait(60)
        self.values += [row["value"] for row in batch.collect()]


@pytest.fixture
def spark() -> Iterator[SparkSession]:
    builder = SparkSession.builder.config("spark.sql.session.timeZone", "UTC")
    session = builder.getOrCreate().newSession()
    yield session
    for query in session.streams.active:
        query.stop()


def test_a_query_that_stands_still_holds_nobody_back_and_misses_nothing(
    kafka: KafkaBroker, spark: SparkSession, fetched: Counter[tuple[str, int]]
) -> None:
    topic = kafka.topic()
    spark.conf.set("tidemill.sharedReadBytes", "60000")
    stream = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", kafka.bootstrap)
        .option("subscribe", topic)
        .option("startingOffsets", "earliest")
        .option("groupIdPrefix", topic)
        .load()
        .selectExpr("CAST(value AS STRING) AS value")
    )
    slow = Taken(stream, "slow")
    others = [Taken(stream, "first"), Taken(stream.where("value NOT LIKE '%7'"), "second")]
    slow.gate.clear()
    expected: list[str] = []
    for turn in range(10):
        values = [f"{turn}-{i}-{'x' * 60}{i}" for i in range(100)]
        kafka.produce_transaction(topic, values, commit=turn % 4 != 3)
        expected += values if turn % 4 != 3 else []
        for other in others:
            other.query.processAllAvailable()
        assert slow.waits.wait(30)
    assert others[0].values == expected
    assert others[1].values == [v for v in expected if not v.endswith("7")]
    assert len(slow.values) == 0
    before = fetched.copy()
    assert (
        max(before.values()) <= 2
    )  # two queries that look at other times may begin apart, and soon go together
    assert sum(before.values()) < 1.2 * len(expected)
    slow.gate.set()
    slow.query.processAllAvailable()
    assert slow.values == expected
    late = sum((fetched - before).values())
    assert 0 < late < len(expected)  # by its own consumer, but for what was still there
    assert shared_reads(slow.query) > 0
    for taken in (slow, *others):
        taken.query.stop()
        assert kafka.group_offsets(f"{topic}-{taken.query.name}") == {(topic, 0): kafka.ends(topic)[0]}
