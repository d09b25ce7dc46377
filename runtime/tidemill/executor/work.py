"""What driver and executors say to each other: a query to run, an attempt, its tasks, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tidemill.plan.stages import QueryPlan
from tidemill.sinks.base import Committable, Sink
from tidemill.sources.base import Partition, Source
from tidemill.state.base import BlobName, StateStore

SHARDS = 64
"""Default shards per operator: enough to spread over dozens of executors, few enough that a delta is not tiny."""


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
class Task:
    """One executor's share of a stage: the partitions of each source that it reads (empty for later stages)."""

    index: int
    partitions: Mapping[int, tuple[Partition, ...]] = field(default_factory=dict)


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


@dataclass
class TaskResult:
    """What one task of one stage reports; rows stay with the executor, for its next stage."""

    rows: int = 0
    read: dict[int, Read] = field(default_factory=dict)
    observed: dict[int, Observed] = field(default_factory=dict)
    operator: OperatorReport | None = None
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What ``observe`` has asked for, by its names."""
    committables: list[Committable] = field(default_factory=list)
    """Of the last stage. Payloads are in the store; here they are left out."""
    deltas: dict[str, list[int]] = field(default_factory=dict)
    """Of the last stage: operator table -> shards of which it stored a delta."""
    snapshots: list[str] = field(default_factory=list)
    """Of the last stage: paths of snapshots stored since the batch before, which make older blobs needless."""


Chains = Mapping[str, Mapping[int, Sequence[BlobName]]]
"""operator table (``op0.groups``) -> shard -> its blobs from the last snapshot on, in order."""
