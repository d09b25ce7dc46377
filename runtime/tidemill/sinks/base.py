"""The sink seam: output in two steps, so that what was prepared can be made visible without running anything again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa


@dataclass(frozen=True, order=True)
class Generation:
    """One life of a driver: a number that only grows and a random token, compared whole."""

    number: int
    token: str


@dataclass(frozen=True, order=True)
class TaskId:
    """One sink task's output of one batch of one query; ``query`` is the query's id, for ever the same."""

    query: str
    batch: int
    task: int


@dataclass(frozen=True)
class Committable:
    """What it takes to make one task's output visible, whoever does it and however often."""

    task: TaskId
    meta: Mapping[str, Any] = field(default_factory=dict)
    """JSON; kept in the ``prepared`` entry, so small."""
    payload: bytes | None = None
    """Kept as a blob of its own; for sinks that cannot stage rows outside (Kafka: the encoded rows as Arrow IPC)."""


class Sink(ABC):
    """Where a query writes.

    ``prepare`` runs on executors, on several threads at once; the rest in the driver. A batch's life is: ``prepare``
    for each task, then (once the ``prepared`` entry is durable) ``commit`` with all of them, in batch order. Traps: a
    crash can fall between any two of these; ``commit`` can be called again for a batch that was committed; tasks
    of an attempt that lost are never committed, and nothing may be left of them.
    """

    modes: frozenset[str] = frozenset({"append", "update", "complete"})
    """The output modes it accepts; checked at ``start()``."""

    def check(self) -> None:
        """Raise `SinkError` if it is plain that nothing can be written there. Runs before anything starts, beside
        older generations that still write, and changes nothing that a reader sees."""

    def open(self, generation: Generation, query: str, tasks: int) -> None:
        """Take over from any older generation. Runs before ``recover``; ``tasks``: the most of any batch known."""

    def for_executors(self) -> Sink:
        """A sink that prepares as this one does, to be shipped to other processes: plain data, no connections."""
        return self

    @abstractmethod
    def place(self) -> str:
        """Where committables of this sink become visible, in words: only a sink of the same place may commit them.
        Runs after ``check``; the same in every process, and without secrets."""

    @abstractmethod
    def prepare(self, task: TaskId, rows: pa.Table) -> Committable:
        """Stage ``rows`` (the query's output columns) so that ``commit`` needs nothing else. No reader sees them."""

    @abstractmethod
    def commit(self, batch: int, committables: Sequence[Committable]) -> None:
        """Make a batch visible; all of its tasks are given, also those already committed. Idempotent."""

    def abort(self, committables: Sequence[Committable]) -> None:
        """Forget tasks of a lost attempt; best effort."""

    def recover(self, query: str, batch: int, committables: Sequence[Committable] | None) -> None:
        """After a restart, before any batch runs: clear what the dead process left behind.

        ``batch`` is the first batch without a commit entry; ``committables`` are its own if it was prepared
        (they will be committed next), else None (it will be run anew, so strays of it must go).
        """

    def purge(self, batch: int) -> None:
        """Batches below ``batch`` will never be committed again; markers kept for them may go."""

    def close(self) -> None:
        """Let go of connections. May never be called; may be called twice."""


def to_ipc(rows: pa.Table) -> bytes:
    """``rows`` as a compressed Arrow IPC stream."""
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, rows.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(rows)
    return out.getvalue().to_pybytes()


def from_ipc(payload: bytes) -> pa.Table:
    """The rows that `to_ipc` wrote."""
    with pa.ipc.open_stream(payload) as reader:
        return reader.read_all()
