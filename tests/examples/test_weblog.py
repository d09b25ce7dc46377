"""The web-log job: what is late, and that it stops at its hour and goes on the next time with nothing lost."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from tests.examples.lives import EXAMPLES
from tests.services.kafka import KafkaBroker
from tidemill.api import StreamingJob, load
from tidemill.cli.job import Job
from tidemill.cli.run import run
from tidemill.clock import Clock

HERE = EXAMPLES / "weblog"
DAY = datetime(2024, 3, 1, tzinfo=UTC)
PATIENCE = 60.0


@pytest.fixture
def topic(kafka: KafkaBroker) -> str:
    return kafka.topic()


@pytest.fixture
def manifest(kafka: KafkaBroker, topic: str, tmp_path: Path) -> StreamingJob:
    """The example, on this broker and topic, without the wait for larger files."""
    text = (HERE / "job.yaml").read_text()
    for theirs, ours in [
        ("localhost:9092", kafka.bootstrap),
        ("web-access", topic),
        ("30 seconds", "0 seconds"),
    ]:
        assert theirs in text
        text = text.replace(theirs, ours)
    (tmp_path / "job.yaml").write_text(text)
    return load(tmp_path / "job.yaml")


def record(at: datetime, number: int = 0) -> str:
    row = {
        "datum": at.isoformat(),
        "host": f"h{number % 3}",
        "path": f"/{number}",
        "status": 200,
        "bytes": number,
    }
    return json.dumps(row)


def requests(out: Path) -> list[tuple[datetime, int]]:
    """Time and number of each request, as DuckDB finds them in the Parquet files."""
    files = out / "requests"
    if not any(files.rglob("*.parquet")):
        return []
    query = f"SELECT datum::TIMESTAMP, bytes FROM read_parquet('{files}/**/*.parquet') ORDER BY ALL"
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        return con.execute(query).fetchall()


def hits(out: Path) -> Counter[tuple[str, str]]:
    """Requests of each minute and host; the same minute and host twice is wrong."""
    found: Counter[tuple[str, str]] = Counter()
    for file in (out / "hits").glob("*.json"):
        for row in map(json.loads, file.read_text().splitlines()):
            key = (row["minute"][11:16], row["host"])
            assert key not in found
            found[key] = row["requests"]
    return found


# --- what is late


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2024-03-01T{text}+00:00")


BATCHES = [
    # What comes at 12:01, 12:10 and 12:20, and whether it counts.
    [("12:00:50", True)],
    [("12:09:01", True), ("11:58:00", False)],
    [("12:10:00", True), ("12:08:02", True), ("12:07:50", False)],
]


def send_together(kafka: KafkaBroker, topic: str, records: list[str]) -> None:
    """In one transaction, so that no batch reads a part of them; returns when a reader sees them."""
    before = len(kafka.values(topic))
    kafka.produce_transaction(topic, records)
    deadline = time.monotonic() + PATIENCE
    while len(kafka.values(topic)) < before + len(records):
        assert time.monotonic() < deadline


def test_the_six_rows(manifest: StreamingJob, kafka: KafkaBroker, topic: str, tmp_path: Path) -> None:
    job = Job.create(manifest, tmp_path)
    job.start()
    try:
        for batch in BATCHES:
            send_together(kafka, topic, [record(at(time)) for time, _ in batch])
            for query in job.queries:
                query.processAllAvailable()
        kept = sorted(at(time).replace(tzinfo=None) for batch in BATCHES for time, counts in batch if counts)
        assert [datum for datum, _ in requests(tmp_path / "out")] == kept
        # The watermark is 12:09:00: the minutes of the rows that count are final, but for the last two.
        assert hits(tmp_path / "out") == {("12:00", "h0"): 1, ("12:08", "h0"): 1}
        kafka.produce(topic, [record(at("12:30:00"))])
        for query in job.queries:
            query.processAllAvailable()
        assert sorted(hits(tmp_path / "out")) == [(f"12:{m}", "h0") for m in ("00", "08", "09", "10")]
    finally:
        job.stop()
    assert job.errors == []


# --- its hour


@dataclass
class Night:
    """Feeds the job and tells it the time, from a thread of its own, while the job has the main one."""

    broker: KafkaBroker
    topic: str
    out: Path
    now: float
    sent: int = 0
    trouble: list[BaseException] = field(default_factory=list)

    def run(self, manifest: StreamingJob, directory: Path, feed: Callable[[], Iterator[None]]) -> int:
        """The job's exit code. Every step of `feed` is followed by a moment's wait; after the last it is three."""
        over = threading.Event()
        feeder = threading.Thread(target=self._feed, args=(feed, over))
        feeder.start()
        try:
            return run(manifest, directory, clock=Clock(lambda: self.now))
        finally:
            over.set()
            feeder.join()

    def _feed(self, feed: Callable[[], Iterator[None]], over: threading.Event) -> None:
        try:
            deadline = time.monotonic() + PATIENCE
            for _ in feed():
                if over.wait(0.02) or time.monotonic() > deadline:
                    raise AssertionError("the job ended, or what was waited for did not come")
        except BaseException as error:
            self.trouble.append(error)
        self.now += timedelta(hours=24).total_seconds()

    def send(self, count: int) -> None:
        """The next requests, one a second; each also twice, once at its time and again 20 requests later."""
        numbers = range(self.sent, self.sent + count)
        doubled = itertools.chain.from_iterable((n, n - 20) if n >= 20 else (n,) for n in numbers)
        self.broker.produce(self.topic, [record(DAY + timedelta(seconds=n), n) for n in doubled])
        self.sent += count


def test_it_stops_at_its_hour_and_goes_on(
    manifest: StreamingJob, kafka: KafkaBroker, topic: str, tmp_path: Path
) -> None:
    night = Night(kafka, topic, tmp_path / "out", now=DAY.timestamp())

    def the_hour_comes_while_it_reads() -> Iterator[None]:
        while len(requests(night.out)) < 500:
            night.send(50)
            yield
        night.send(500)

    assert night.run(manifest, tmp_path, the_hour_comes_while_it_reads) == 0
    assert night.trouble == []
    first = requests(night.out)
    # What it wrote are the first of the requests, without a gap: the batch at hand is finished, no other begun.
    assert [number for _, number in first] == list(range(len(first)))

    def all_are_read() -> Iterator[None]:
        night.send(200)
        while len(requests(night.out)) < night.sent or hits(night.out).total() < final(night.sent).total():
            yield

    assert night.run(manifest, tmp_path, all_are_read) == 0
    assert night.trouble == []
    expected = [((DAY + timedelta(seconds=n)).replace(tzinfo=None), n) for n in range(night.sent)]
    assert requests(night.out) == expected
    assert hits(night.out) == final(night.sent)


def final(sent: int) -> Counter[tuple[str, str]]:
    """Requests of each minute and host that are final: those of minutes that ended a minute before the last request."""
    until = DAY + timedelta(seconds=sent - 1 - 60)
    whole = [
        n
        for n in range(sent)
        if (DAY + timedelta(seconds=n)).replace(second=0) + timedelta(minutes=1) <= until
    ]
    return Counter(((DAY + timedelta(seconds=n)).strftime("%H:%M"), f"h{n % 3}") for n in whole)
