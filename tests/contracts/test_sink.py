"""What every sink promises: prepared rows become visible once, whoever commits them and however often."""

from __future__ import annotations

import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from tests.services.kafka import KafkaBroker
from tidemill import sinks
from tidemill.sinks.base import Committable, Generation, Sink, TaskId
from tidemill.sinks.memory import MemoryTable
from tidemill.sinks.options import Wiring
from tidemill.types import StructType, to_arrow_schema

SCHEMA = StructType.fromDDL("value STRING")


def rows(*values: str) -> pa.Table:
    return pa.table({"value": list(values)}, schema=to_arrow_schema(SCHEMA))


class World(ABC):
    """The outside that a sink writes to. ``sink()`` is the sink of a new process."""

    generation = 0

    @cached_property
    def query(self) -> str:
        """An id that no other test on a shared broker has."""
        return str(uuid.uuid4())

    @abstractmethod
    def sink(self) -> Sink: ...

    @abstractmethod
    def seen(self) -> list[str]:
        """What a reader who knows nothing of us finds, sorted."""

    def start(
        self, batch: int = 0, committables: Sequence[Committable] | None = None, tasks: int = 1
    ) -> Sink:
        """A new driver, up to where it may run batches."""
        self.generation += 1
        sink = self.sink()
        sink.open(Generation(self.generation, "token"), self.query, tasks)
        # Payloads are read when they are committed, and not before.
        bare = None if committables is None else [replace(c, payload=None) for c in committables]
        sink.recover(self.query, batch, bare)
        return sink

    def prepare(self, sink: Sink, batch: int, *tasks: pa.Table) -> list[Committable]:
        """Each task's committable, as it comes back from entry and blob."""
        made = [sink.prepare(TaskId(self.query, batch, number), table) for number, table in enumerate(tasks)]
        return [replace(c, meta=json.loads(json.dumps(dict(c.meta)))) for c in made]


class Files(World):
    def __init__(self, path: Path, format: str, glob: str) -> None:
        self.path, self.format, self.glob = path / "out", format, glob

    def sink(self) -> Sink:
        return sinks.create(self.format, {"path": str(self.path)}, SCHEMA)

    def seen(self) -> list[str]:
        if not any(p.suffix == f".{self.format}" for p in self.path.rglob("*")):
            return []
        reader = f"read_{self.format}('{self.path}/{self.glob}')"
        return sorted(v for (v,) in duckdb.sql(f"SELECT value FROM {reader}").fetchall())


class Memory(World):
    def __init__(self) -> None:
        self.table = MemoryTable(SCHEMA)

    def sink(self) -> Sink:
        return sinks.create("memory", {}, SCHEMA, target=self.table)

    def seen(self) -> list[str]:
        return sorted(self.table.rows().column(0).to_pylist())


class ForeachBatch(World):
    """As a program uses it that wants each batch once: it goes by the batch id."""

    def __init__(self) -> None:
        self.batches: dict[int, list[str]] = {}

    def sink(self) -> Sink:
        def keep(frame: pa.Table, batch: int) -> None:
            self.batches[batch] = frame.column(0).to_pylist()

        return sinks.create("foreachBatch", {}, SCHEMA, target=keep, wiring=Wiring(make_frame=lambda t: t))

    def seen(self) -> list[str]:
        return sorted(v for values in self.batches.values() for v in values)


class Foreach(World):
    """As a program uses it that writes under keys of its own."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, int, int], str] = {}

    def sink(self) -> Sink:
        return sinks.create("foreach", {}, SCHEMA, target=self)

    def open(self, partition: int, epoch: int) -> bool:
        self.at, self.count = (epoch, partition), 0
        return True

    def process(self, row: dict[str, str]) -> None:
        self.rows[*self.at, self.count] = row["value"]
        self.count += 1

    def seen(self) -> list[str]:
        return sorted(self.rows.values())


class Kafka(World):
    def __init__(self, broker: KafkaBroker) -> None:
        self.broker, self.topic = broker, broker.topic(partitions=2)

    def sink(self) -> Sink:
        options = {"kafka.bootstrap.servers": self.broker.bootstrap, "topic": self.topic}
        return sinks.create("kafka", options, SCHEMA)

    def seen(self) -> list[str]:
        return sorted(v or "" for v in self.broker.values(self.topic))


MAKERS: dict[str, Callable[[pytest.FixtureRequest, Path], World]] = {
    "memory": lambda request, path: Memory(),
    "parquet": lambda request, path: Files(path, "parquet", "**/*.parquet"),
    "json": lambda request, path: Files(path, "json", "*.json"),
    "foreachBatch": lambda request, path: ForeachBatch(),
    "foreach": lambda request, path: Foreach(),
    "kafka": lambda request, path: Kafka(request.getfixturevalue("kafka")),
}


@pytest.fixture(
    params=[pytest.param(n, marks=pytest.mark.kafka) if n == "kafka" else n for n in MAKERS],
)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return MAKERS[request.param](request, tmp_path)


def test_rows_are_seen_after_commit_and_not_before(world: World) -> None:
    sink = world.start()
    prepared = world.prepare(sink, 0, rows("a", "b"))
    assert world.seen() == []
    sink.commit(0, prepared)
    assert world.seen() == ["a", "b"]


def test_a_second_commit_changes_nothing(world: World) -> None:
    sink = world.start()
    prepared = world.prepare(sink, 0, rows("a"), rows("b"))
    sink.commit(0, prepared)
    sink.commit(0, prepared)
    assert world.seen() == ["a", "b"]


def test_batches_of_several_tasks_and_empty_ones(world: World) -> None:
    sink = world.start()
    sink.commit(0, world.prepare(sink, 0, rows("a"), rows(), rows("b")))
    sink.commit(1, world.prepare(sink, 1, rows()))
    sink.commit(2, world.prepare(sink, 2, rows(), rows("c")))
    sink.purge(2)
    sink.close()
    sink.close()
    assert world.seen() == ["a", "b", "c"]


def test_a_prepared_batch_is_finished_by_the_next_process(world: World) -> None:
    first = world.start()
    first.commit(0, world.prepare(first, 0, rows("a")))
    prepared = world.prepare(first, 1, rows("b"), rows("c"))
    second = world.start(1, prepared, tasks=2)
    second.commit(1, prepared)
    second.commit(2, world.prepare(second, 2, rows("d")))
    assert world.seen() == ["a", "b", "c", "d"]


def test_a_batch_that_was_written_but_not_noted_is_not_written_again(world: World) -> None:
    first = world.start()
    prepared = world.prepare(first, 0, rows("a"), rows("b"))
    first.commit(0, prepared)
    second = world.start(0, prepared, tasks=2)
    second.commit(0, prepared)
    second.commit(1, world.prepare(second, 1, rows("c")))
    assert world.seen() == ["a", "b", "c"]


def test_of_a_batch_that_was_not_prepared_nothing_is_left(world: World) -> None:
    first = world.start()
    first.commit(0, world.prepare(first, 0, rows("a")))
    world.prepare(first, 1, rows("lost"))
    second = world.start(1, None)
    second.commit(1, world.prepare(second, 1, rows("again")))
    assert world.seen() == ["a", "again"]


def test_an_aborted_attempt_leaves_nothing(world: World) -> None:
    sink = world.start()
    sink.abort(world.prepare(sink, 0, rows("lost"), rows("lost")))
    sink.commit(0, world.prepare(sink, 0, rows("a")))
    assert world.seen() == ["a"]


def test_a_batch_may_be_written_in_any_number_of_lives(world: World) -> None:
    sink = world.start()
    for batch in range(3):
        prepared = world.prepare(sink, batch, rows(f"{batch}"))
        for _ in range(2):
            sink = world.start(batch, prepared)
            sink.commit(batch, prepared)
    assert world.seen() == ["0", "1", "2"]
