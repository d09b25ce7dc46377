"""What the log's entries hold, as dataclasses with JSON forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tidemill.executor.work import Observed
from tidemill.sinks.base import Committable, TaskId
from tidemill.sources.base import Offset


@dataclass(frozen=True)
class PlanEntry:
    """Written before anything of a batch runs. Watermarks in microseconds; None: the query has none."""

    batch: int
    time_us: int
    """The batch timestamp, ``current_timestamp`` in the query."""
    starts: tuple[Offset, ...]
    ends: tuple[Offset, ...]
    late: int | None
    evict: int | None

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "starts": list(self.starts), "ends": list(self.ends)}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> PlanEntry:
        return cls(**{**entry, "starts": tuple(entry["starts"]), "ends": tuple(entry["ends"])})


@dataclass(frozen=True)
class PreparedEntry:
    """From here the batch's output is fixed."""

    batch: int
    attempt: int
    generation: int
    committables: tuple[Committable, ...]
    deltas: Mapping[str, Sequence[int]]
    """Operator table -> shards of which this attempt stored a delta."""
    snapshots: tuple[str, ...]
    """Snapshots stored since the entry before: a shard's older blobs are needed no more."""
    observed: Mapping[int, Observed] = field(default_factory=dict)
    rows: int = 0
    """Input rows."""
    out: int = 0
    chains: Mapping[str, Mapping[str, Sequence[str]]] | None = None
    """Now and then: the chains of all shards before this batch, so that older entries are not needed."""
    sink: str = ""
    """The place that the committables are for, as their sink tells it."""

    def to_json(self) -> dict[str, Any]:
        return {
            "batch": self.batch,
            "attempt": self.attempt,
            "generation": self.generation,
            "committables": [{"task": c.task.task, "meta": dict(c.meta)} for c in self.committables],
            "deltas": {k: list(v) for k, v in self.deltas.items()},
            "snapshots": list(self.snapshots),
            "observed": {str(i): asdict(o) for i, o in self.observed.items()},
            "rows": self.rows,
            "out": self.out,
            "chains": self.chains,
            "sink": self.sink,
        }

    @classmethod
    def from_json(cls, query: str, entry: Mapping[str, Any]) -> PreparedEntry:
        made = [
            Committable(TaskId(query, entry["batch"], c["task"]), c["meta"]) for c in entry["committables"]
        ]
        return cls(
            batch=entry["batch"],
            attempt=entry["attempt"],
            generation=entry["generation"],
            committables=tuple(made),
            deltas=entry["deltas"],
            snapshots=tuple(entry["snapshots"]),
            observed={int(i): Observed(**o) for i, o in entry["observed"].items()},
            rows=entry["rows"],
            out=entry["out"],
            chains=entry["chains"],
            sink=entry.get("sink", ""),
        )
