"""What metrics and status pages tell of queries and executors, as of one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True)
class QueryFigures:
    """Times in seconds since the epoch."""

    name: str
    id: str
    run_id: str
    active: bool
    phase: str
    """Of the state machine, in lower case; ``failed`` or ``stopped`` at the end."""
    message: str
    started: float
    generation: int = 0
    """0: it does not have the lease yet."""
    committed: float | None = None
    """When this run committed a batch last."""
    opened: float | None = None
    """When the open batch was triggered; None: none is open."""
    retried: int = 0
    """Attempts at batches that were tried again."""
    moved: int = 0
    """Shards that had to move to another executor."""
    error: str | None = None
    """What ended the query, or else why an attempt failed last."""
    progress: Mapping[str, Any] | None = None
    """The report of the last batch, with Spark's keys."""

    def to_json(self) -> dict[str, Any]:
        """For status pages."""
        p = self.progress or {}
        lag = [int(v) for s in p.get("sources", ()) for k, v in s["metrics"].items() if k.startswith("lag.")]
        return {
            "name": self.name,
            "id": self.id,
            "runId": self.run_id,
            "active": self.active,
            "phase": self.phase,
            "message": self.message,
            "startedAt": iso(self.started),
            "generation": self.generation,
            "batchId": p.get("batchId"),
            "committedAt": iso(self.committed),
            "openSince": iso(self.opened),
            "watermark": p.get("eventTime", {}).get("watermark"),
            "numInputRows": p.get("numInputRows"),
            "inputRowsPerSecond": p.get("inputRowsPerSecond"),
            "processedRowsPerSecond": p.get("processedRowsPerSecond"),
            "batchDuration": p.get("batchDuration"),
            "lagRows": sum(lag) if lag else None,
            "stateRows": sum(o["numRowsTotal"] for o in p.get("stateOperators", ())),
            "retriedAttempts": self.retried,
            "movedShards": self.moved,
            "lastError": self.error,
        }


@dataclass(frozen=True)
class ExecutorFigures:
    """Of one executor; all that counts counts from its start."""

    name: str
    address: str
    threads: int
    joined: float
    """Seconds since the epoch; 0: it serves no driver now."""
    shards: int = 0
    """Shards of state that it holds, of all queries."""
    busy: float = 0.0
    """Seconds in which it was at work on a batch; the rest it was idle."""
    busy_share: float = 0.0
    """Of the last minute, from 0 to 1."""
    sent: int = 0
    """Bytes of rows sent to other executors."""
    spilled: int = 0
    """Bytes of rows from others that went to files, memory being short."""

    def to_json(self) -> dict[str, Any]:
        """For status pages."""
        return {
            "name": self.name,
            "address": self.address,
            "joinedAt": iso(self.joined or None),
            "threads": self.threads,
            "shards": self.shards,
            "busySeconds": round(self.busy, 3),
            "busyShare": round(self.busy_share, 3),
            "sentBytes": self.sent,
            "spilledBytes": self.spilled,
        }


def iso(seconds: float | None) -> str | None:
    """A time for programs that read JSON."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
