"""A whole query whose Redis fails over to a replica that lacks its latest writes, wherever that cuts the log: what
readers have seen stays, or an error says that it cannot."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.crash.program import dice
from tests.crash.test_crash_matrix import expected, write_input
from tests.services.kafka import KafkaBroker
from tests.services.proxy import Proxy
from tests.services.redis import Replica, Server, wait_for
from tidemill import launch
from tidemill.checkpoint import open_
from tidemill.checkpoint.redisclient import Client, command
from tidemill.checkpoint.redisurl import parse
from tidemill.driver.machine import Trigger
from tidemill.errors import CorruptCheckpointError, LostWritesError, SinkError, StreamingQueryException
from tidemill.sinks.encoding import Encoding
from tidemill.sql import SparkSession
from tidemill.sql.readwriter import wiring

pytestmark = pytest.mark.redis

STEPS = ("planned", "staged", "prepared", "sunk", "committed", "purged")
LAST = ("planned", "prepared", "sunk", "committed")
Key = tuple[int, str]


@pytest.fixture
def spark() -> Iterator[SparkSession]:
    session = SparkSession.builder.config("spark.sql.session.timeZone", "UTC").getOrCreate().newSession()
    session.conf.set("spark.sql.streaming.minBatchesToRetain", "1")
    yield session
    session.stop()


class PowerCut(BaseException):
    """Ends the first life of the query, wherever it is."""


@dataclass
class Output:
    """A sink, and what its readers see."""

    sink: Callable[[], launch.SinkSpec]
    lines: Callable[[], Iterable[str | None]]

    def rows(self) -> dict[Key, dict[str, Any]]:
        rows = [json.loads(line) for line in self.lines() if line]
        found = {(row["start"], row["k"]): row for row in rows}
        assert len(found) == len(rows), "a row is there twice"
        return found


def files(directory: Path) -> Output:
    return Output(
        lambda: launch.SinkSpec("json", {"path": str(directory)}),
        lambda: [line for f in directory.glob("*.json") for line in f.read_text().splitlines()],
    )


def kafka_topic(broker: KafkaBroker) -> Output:
    topic = broker.topic()
    options = {"kafka.bootstrap.servers": broker.bootstrap, "topic": topic}
    return Output(
        lambda: launch.SinkSpec("kafka", options, encoding=Encoding("json", ("k",))),
        lambda: broker.values(topic),
    )


def run(
    spark: SparkSession,
    directory: Path,
    location: str,
    output: Output,
    hook: launch.StepHook = lambda step, when, batch: None,
) -> None:
    frame = dice(spark, directory / "in")
    sink = output.sink()
    sink.wiring = wiring(spark, frame.schema)
    query = launch.QuerySpec(
        sink=sink, trigger=Trigger("available"), checkpoint=location, conf=spark._config.all(), hook=hook
    )
    launch.start(frame._plan, query, spark._run_context()).await_termination()


@pytest.mark.parametrize("died", LAST)
@pytest.mark.parametrize("lost_from", STEPS)
def test_files_are_right_or_an_error_says_why_not(
    lost_from: str, died: str, spark: SparkSession, tmp_path: Path
) -> None:
    lose_writes(lost_from, died, spark, tmp_path, files(tmp_path / "out"))


@pytest.mark.parametrize("died", LAST)
@pytest.mark.parametrize("lost_from", ["planned", "prepared", "committed"])
def test_a_topic_is_right_or_an_error_says_why_not(
    lost_from: str, died: str, spark: SparkSession, tmp_path: Path, kafka: KafkaBroker
) -> None:
    lose_writes(lost_from, died, spark, tmp_path, kafka_topic(kafka))


def lose_writes(lost_from: str, died: str, spark: SparkSession, directory: Path, output: Output) -> None:
    """The replica hears nothing after ``lost_from`` of batch 2; the driver and the primary die after ``died`` of
    batch 3."""
    rows = write_input(directory / "in")
    with (
        Server(directory / "primary") as primary,
        Replica(directory / "replica", primary) as replica,
        Proxy(primary.port) as proxy,
    ):
        location = f"redis://127.0.0.1:{proxy.port}/0/job/q?patience=5&lease=0.5"

        def hook(step: str, when: str, batch: int) -> None:
            # A purge is told what it keeps from, which is a batch behind.
            if when == "after" and step == lost_from and batch == (1 if step == "purged" else 2):
                caught_up(primary)
                replica.promote()
            if when == "after" and batch == 3 and step == died:
                raise PowerCut

        with pytest.raises(StreamingQueryException):
            run(spark, directory, location, output, hook)
        seen = output.rows()
        proxy.target = replica.port
        proxy.cut()
        primary.kill()
        wait_for_lease(location)
        try:
            run(spark, directory, location, output)
        except StreamingQueryException as error:
            if not isinstance(error.cause, (LostWritesError, SinkError, CorruptCheckpointError)):
                raise
            now = output.rows()
        else:
            now = output.rows()
            assert now.keys() == expected(rows).keys()
        assert {k: now[k] for k in seen} == seen, "what readers had seen has changed"


def caught_up(primary: Server) -> None:
    client = primary.client()
    client.set("caught", "up")
    assert client.wait(1, 10_000) == 1
    client.close()


def wait_for_lease(location: str) -> None:
    """The first life did not crash for real: it gave its lease back to the server that died."""
    client = Client(parse(location))
    held = client.address.key("held")
    wait_for(lambda: not client.one(command("EXISTS", held)), "the lease does not end")
    client.close()


@pytest.mark.parametrize("step", ["planned", "staged", "prepared", "committed"])
def test_an_outage_within_a_batch_is_sat_out(
    step: str, own_redis: Server, spark: SparkSession, tmp_path: Path
) -> None:
    """Longer than the lease."""
    rows = write_input(tmp_path / "in")
    with Proxy(own_redis.port) as proxy, contextlib.ExitStack() as outage:
        location = f"redis://127.0.0.1:{proxy.port}/0/job/q?lease=0.3"

        def hook(now: str, when: str, batch: int) -> None:
            if (now, when, batch) == (step, "before", 2):
                outage.enter_context(proxy.closed())
                threading.Timer(1.5, outage.close).start()

        run(spark, tmp_path, location, files(tmp_path / "out"), hook)
    assert files(tmp_path / "out").rows().keys() == expected(rows).keys()


@pytest.mark.parametrize(("kind", "n"), [("plan", 3), ("prepared", 3), ("prepared", 4), ("blob", 0)])
def test_an_entry_or_blob_that_someone_deletes_is_missed(
    kind: str, n: int, own_redis: Server, spark: SparkSession, tmp_path: Path
) -> None:
    write_input(tmp_path / "in")
    location = own_redis.location(name="job/q")
    spark.conf.set("spark.sql.streaming.minBatchesToRetain", "100")
    run(spark, tmp_path, location, files(tmp_path / "out"))
    log, store = open_(location)
    last = log.latest("query", "commit")
    entry = log.get("query", "query", 0)
    assert last is not None
    assert entry is not None
    client = own_redis.client()
    if kind == "blob":
        live = max((b for b in store.names(entry["id"]) if b.kind == "delta"), key=lambda b: b.version)
        store.purge([live])
    else:
        key = f"tidemill:{{job/q}}:log:query:{kind}"
        gone = last if kind == "plan" else last - n + 3
        assert client.hdel(key, str(gone)) == 1
    log.close()
    with pytest.raises(StreamingQueryException) as raised:
        run(spark, tmp_path, location, files(tmp_path / "out"))
    assert isinstance(raised.value.cause, CorruptCheckpointError)
    wanted = {"plan": "its plan", "prepared": "the prepared entry of batch", "blob": "is missing"}
    assert wanted[kind] in str(raised.value)
