"""What driver and executors say to each other: a query to run, an attempt, its tasks, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tidemill.plan.stages import QueryPlan, Stateful
from tidemill.sinks.base import Committable, Sink
from tidemill.sources.base import Partition, Source
from tidemill.state.base import BlobName, StateStore

SHARDS = 64
"""Default shards per operator: enough to spread over dozens of executors, few enough that a delta is not tiny."""


@dataclass(frozen=True)
class Recipe:
    """How an executor in another process makes its own parts of a query: plain data and functions, to be shipped."""

    sources: tuple[Callable[[], Source] | None, ...]
    """None: its rows are in the driver, which reads them itself."""
    sink: Sink
    store: Callable[[], StateStore]


@dataclass
class Work:
    """All that an engine needs to run a query, given to it once."""

    query: str
    """The query's id."""
    plan: QueryPlan
    sources: tuple[Source, ...]
    columns: tuple[tuple[str, ...], ...]
    """Of each source: the columns that the plan reads."""
    statics: tuple[pa.Table, ...]
    sink: Sink
    store: StateStore
    shards: int = SHARDS
    recipe: Recipe | None = None
    """For executors in other processes; these themselves have none."""
    name: str = ""
    """What people call the query."""

    @property
    def stateful(self) -> bool:
        """Whether its shards hold anything."""
        return any(isinstance(stage.operator, Stateful) for stage in self.plan.stages)


@dataclass(frozen=True)
class Attempt:
    """One try at running a batch's stages. Watermarks in microseconds, the query's own; None: it has none."""

    query: str
    batch: int
    attempt: int
    generation: int
    now_us: int
    late: int | None
    evict: int | None


@dataclass(frozen=True)
class Place:
    """An executor among those that share a batch: the first of one, unless there are more."""

    me: int = 0
    peers: tuple[str, ...] = ("",)
    """The addresses of all, in their order."""
    owners: tuple[int, ...] = ()
    """Of each shard: the number of the executor that holds its state; empty with one executor, which holds all."""
    width: int = 0
    """Most sink tasks of one executor; 0: as many as it has threads."""

    @property
    def members(self) -> int:
        return len(self.peers)

    @property
    def first(self) -> bool:
        """Whether rows that have to be together are here: with shard 0."""
        return not self.owners or self.owners[0] == self.me


@dataclass(frozen=True)
class Share:
    """One executor's share of a batch: the partitions of each source that it reads."""

    partitions: Mapping[int, tuple[Partition, ...]] = field(default_factory=dict)
    given: Mapping[int, pa.Table] = field(default_factory=dict)
    """By source: rows that the driver has read already."""
    place: Place = Place()
    """Which of them it is; an executor in another process was told when it changed."""


@dataclass(frozen=True)
class Observed:
    """Event times that a watermark's stage saw, in microseconds."""

    count: int
    low: int
    high: int
    total: int


@dataclass
class OperatorReport:
    """What a stateful operator did in a batch."""

    id: str
    kind: str
    rows: int = 0
    bytes: int = 0
    updated: int = 0
    removed: int = 0
    dropped: int = 0
    dropped_rows: int = 0
    millis: int = 0


@dataclass
class Read:
    """What was read of one source."""

    rows: int = 0
    bytes: int = 0
    bad: int = 0
    newest: dict[str, float] = field(default_factory=dict)
    """See `Rows.newest`."""
    saved: int = 0
    """See `Rows.saved`, and ``saved_reads`` there."""
    saved_reads: int = 0

    def add(self, other: Read) -> None:
        self.rows, self.bytes, self.bad = (
            self.rows + other.rows,
            self.bytes + other.bytes,
            self.bad + other.bad,
        )
        self.saved, self.saved_reads = self.saved + other.saved, self.saved_reads + other.saved_reads
        for partition, when in other.newest.items():
            self.newest[partition] = max(when, self.newest.get(partition, when))


@dataclass
class StageResult:
    """What one executor reports of one stage; rows stay with it, for its next stage."""

    rows: int = 0
    """Of its output."""
    bytes: int = 0
    """Of the query's output, in memory."""
    last: bool = False
    """Whether its output is the query's."""
    read: dict[int, Read] = field(default_factory=dict)
    observed: dict[int, Observed] = field(default_factory=dict)
    operator: OperatorReport | None = None
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What ``observe`` has asked for, by its names."""
    committables: list[Committable] = field(default_factory=list)
    """Of the last stage. Payloads are in the store; here they are left out. No two executors use the same task."""
    deltas: dict[str, list[int]] = field(default_factory=dict)
    """Of the last stage: operator table -> shards of which it stored a delta."""
    snapshots: list[str] = field(default_factory=list)
    """Of the last stage: paths of snapshots stored since the batch before, which make older blobs needless."""


Chains = Mapping[str, Mapping[int, Sequence[BlobName]]]
"""operator table (``op0.groups``) -> shard -> its blobs from the last snapshot on, in order."""
