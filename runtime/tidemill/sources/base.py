"""The source seam: what a query reads, in ranges of offsets.

An offset is a JSON value that only its source understands. The driver decides ranges, executors read them; a range
read twice gives the same rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from tidemill.types import StructType

Offset = Any
"""A JSON value (dict, list, string, number)."""

BAD_SCHEMA = pa.schema(
    [
        ("reason", pa.string()),
        ("source", pa.string()),
        ("partition", pa.string()),
        ("offset", pa.string()),
        ("record", pa.binary()),
    ]
)
"""The rows of a dead-letter output: why, from where, and the record as it was read."""


@dataclass(frozen=True)
class Limits:
    """How much one batch may take; None: no limit."""

    rows: int | None = None
    files: int | None = None
    bytes: int | None = None
    """Of files; a single larger one is taken alone."""
    least: int | None = None
    """Fewer new rows may be left for a later batch."""


@dataclass(frozen=True)
class Partition:
    """A part of a range that one task reads. Serialisable: executors get it as JSON."""

    index: int
    spec: Mapping[str, Any]
    rows: int | None = None
    """How many rows it holds, where the source knows without reading."""
    affinity: str | None = None
    """What a reader keeps between batches (a Kafka partition's connection): the same text goes to the same executor."""


@dataclass(frozen=True)
class Piece:
    """A part of a partition that queries may share. ``start`` up to but not with ``end`` is its place in its lane."""

    lane: str
    """What is read in one direction: a Kafka partition, a file."""
    start: int
    end: int
    partition: Partition
    """Gives exactly this piece when it is read."""
    whole: bool = False
    """Whether it is read as a whole or not at all; others can be cut at any place."""


@dataclass(frozen=True)
class Places:
    """Where the records of a read stand in their lane, good and bad, in order."""

    offsets: np.ndarray
    """Of each record; ascending."""
    micros: np.ndarray
    """When each was written, in microseconds since the epoch."""
    bad: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    """Which of them are in `Rows.bad` and not in `Rows.table`."""


@dataclass(frozen=True)
class Rows:
    """What one partition holds: ``table`` in the source's schema, ``bad`` in `BAD_SCHEMA`."""

    table: pa.Table
    bad: pa.Table = field(default_factory=BAD_SCHEMA.empty_table)
    bytes: int = 0
    """Size as read, before decoding."""
    newest: Mapping[str, float] = field(default_factory=dict)
    """When the last record read was written, in seconds since the epoch, by the name of its partition in `metrics`
    (``lag.<name>``); empty where records have no such time."""
    places: Places | None = field(default=None, compare=False)
    """Of sources whose pieces can be cut."""
    saved: int = 0
    """Of ``bytes``: those that were not read for it, since another query had read them."""
    saved_reads: int = 0
    """Whether there was anything of that kind: 1 or 0."""


class SourceLog(ABC):
    """What a source must remember beyond the offsets that the driver keeps: numbered JSON lists.

    A durable one lies beside the checkpoint, one for each source of a query. Entries survive a crash and a power failure
    as soon as the call returns. Only the driver writes, one call at a time.
    """

    @abstractmethod
    def put(self, n: int, entry: list[Any]) -> None:
        """Write entry ``n`` in place of an older one of that number."""

    @abstractmethod
    def read(self) -> list[tuple[int, list[Any]]]:
        """All entries, ascending; `CorruptCheckpointError` if one is damaged."""

    @abstractmethod
    def compact(self, n: int, entry: list[Any]) -> None:
        """Let one entry ``n`` stand for all up to and with ``n``; after a crash either it or they are there."""


class Source(ABC):
    """One source of one query.

    ``latest``, ``partitions``, ``committed`` and ``freeze`` run in the driver, ``read`` on any executor and on several
    threads at once. Traps: ``committed`` may be called again for an offset after a restart; ``close`` may never be
    called; after a restart the driver passes offsets from the checkpoint, and start options count no more.
    """

    schema: StructType
    """Of the rows that ``read`` returns."""
    anywhere: bool = True
    """Whether any process can ``read``; otherwise only the driver's, which holds the rows."""

    def open(self, log: SourceLog) -> None:
        """Where to remember things. The driver calls it before ``initial`` or, after a restart, before ``latest``.

        Trap: the driver must not ask for ``latest(start)`` before ``start`` is in a durable plan entry.
        """

    def for_query(self, name: str) -> None:
        """The query's name (or id), the same after every restart; called before ``open``.

        Kafka names the consumer group by it that progress is shown under.
        """

    @abstractmethod
    def initial(self) -> Offset:
        """Where a new query starts, by the options. Called once in a query's life, before its first batch."""

    @abstractmethod
    def latest(self, start: Offset, limits: Limits) -> Offset:
        """The end of the next batch: at most ``limits`` after ``start``; equal to ``start`` if there is nothing new.

        Raises `DataLossError` if offsets after ``start`` are gone, unless the options allow the loss; then the loss is
        in ``metrics``.
        """

    @abstractmethod
    def partitions(self, start: Offset, end: Offset) -> list[Partition]:
        """The range after ``start`` up to and with ``end``, cut into parts; empty if it holds nothing."""

    def split(self, partition: Partition, into: int) -> list[Partition]:
        """The partition as ``into`` parts of about one size, or as many as can be had; together they give its rows.

        For executors that would have nothing to read.
        """
        return [partition]

    @abstractmethod
    def read(self, partition: Partition) -> Rows:
        """All rows of the partition. The same partition gives the same rows in the same order, always."""

    shareable: bool = False
    """Whether ``pieces`` gives any, so that queries can share what is read."""

    def pieces(self, partition: Partition) -> list[Piece]:
        """The partition as pieces of lanes; together they give its rows, in their order."""
        return []

    def cut(self, piece: Piece, start: int, end: int) -> Partition:
        """The part of a piece between two places."""
        raise NotImplementedError(f"{type(self).__name__} cannot cut what it reads")

    @property
    def limits(self) -> Limits:
        """The limits that the options ask for (``maxOffsetsPerTrigger``, ``maxFilesPerTrigger``, ...)."""
        return Limits()

    def freeze(self) -> None:
        """From now on report nothing newer than what is there now: ``availableNow`` ends at it."""

    def on_arrival(self, wake: Callable[[], None]) -> None:
        """Call ``wake``, from any thread, when there may be something new; sources that cannot tell never do."""

    def committed(self, end: Offset) -> None:
        """Everything up to ``end`` has been processed and will not be asked for again."""

    def metrics(self, start: Offset, end: Offset) -> dict[str, str]:
        """For progress reports: ``latestOffset`` and lag figures; Spark's key names where it has them.

        ``lag.<partition>`` is the number of records in a partition that are not yet read.
        """
        return {}

    def close(self) -> None:
        """Let go of connections. May never be called; may be called twice."""
