"""Progress reports with Spark's JSON keys, and the figures behind them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tidemill.driver.entries import PlanEntry, PreparedEntry
from tidemill.executor.work import OperatorReport, Read

_OPERATORS = {
    "GroupBy": "stateStoreSave", "SessionBy": "sessionWindowStateStoreSave", "Distinct": "dedupe",
    "JoinBy": "symmetricHashJoin", "Take": "globalLimit",
}  # fmt: skip
"""Spark's names of the operators."""


@dataclass
class BatchFigures:
    """What one trigger did, gathered while it runs."""

    started: float = field(default_factory=time.time)
    millis: dict[str, float] = field(default_factory=dict)
    """Spark's durationMs keys."""
    reads: dict[int, Read] = field(default_factory=dict)
    operators: list[OperatorReport] = field(default_factory=list)
    """Upstream first."""
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What ``observe`` has asked for."""
    out_bytes: int = 0
    """Handed to the sink."""

    @contextmanager
    def timed(self, key: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.millis[key] = self.millis.get(key, 0.0) + (time.perf_counter() - start) * 1000

    def add(self, reads: dict[int, Read], operator: OperatorReport | None) -> None:
        for i, r in reads.items():
            self.reads.setdefault(i, Read()).add(r)
        if operator is not None:
            same = next((o for o in self.operators if o.id == operator.id), None)
            if same is None:
                self.operators.append(operator)
            else:
                for name in ("rows", "bytes", "updated", "removed", "dropped", "dropped_rows", "millis"):
                    setattr(same, name, getattr(same, name) + getattr(operator, name))


def iso(seconds: float) -> str:
    """``2024-01-01T00:00:00.000Z``; years beyond 9999 as Java writes them: ``+12000-01-01T00:00:00.000Z``."""
    # The calendar repeats after 400 years; Python's has no year below 1 or above 9999.
    turns = 0 if _FIRST <= seconds < _LAST else int(seconds // _TURN)
    at = datetime.fromtimestamp(seconds - turns * _TURN, UTC)
    year = at.year + 400 * turns
    sign = "+" if year > 9999 else "-" if year < 0 else ""
    return f"{sign}{abs(year):04}" + at.strftime("-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


_TURN = 12_622_780_800
"""Seconds in 400 years."""
_FIRST, _LAST = -62_135_596_800, 253_402_300_799
"""Python's calendar, in seconds since 1970."""


def batch_progress(
    head: dict[str, Any],
    plan: PlanEntry,
    prepared: PreparedEntry,
    figures: BatchFigures,
    previous_start: float | None,
    sources: Sequence[dict[str, Any]],
    sink: str,
) -> dict[str, Any]:
    """The report of a committed batch; ``head`` has id, runId and name."""
    seconds = max(time.time() - figures.started, 1e-3)
    since = max(figures.started - previous_start, 1e-3) if previous_start else None
    rows = prepared.rows
    return {
        **head,
        "timestamp": iso(figures.started),
        "batchId": plan.batch,
        "batchDuration": int(seconds * 1000),
        "numInputRows": rows,
        "inputRowsPerSecond": rows / since if since else 0.0,
        "processedRowsPerSecond": rows / seconds,
        "durationMs": {
            **{k: round(v) for k, v in figures.millis.items()},
            "triggerExecution": round(seconds * 1000),
        },
        "eventTime": event_time(plan, prepared),
        "stateOperators": [operator_progress(o) for o in reversed(figures.operators)],
        "sources": [
            {**source, **rates(figures.reads.get(i, Read()), since, seconds)}
            for i, source in enumerate(sources)
        ],
        "sink": {"description": sink, "numOutputRows": prepared.out, "bytes": figures.out_bytes},
        "observedMetrics": figures.metrics,
    }


def rates(read: Read, since: float | None, seconds: float) -> dict[str, Any]:
    return {
        "numInputRows": read.rows,
        "inputRowsPerSecond": read.rows / since if since else 0.0,
        "processedRowsPerSecond": read.rows / seconds,
        "numBadRecords": read.bad,
        "bytes": read.bytes,
        "sharedReads": read.saved_reads,
        "sharedBytes": read.saved,
    }


def event_time(plan: PlanEntry, prepared: PreparedEntry) -> dict[str, str]:
    """Spark's eventTime block: of the watermark with the most to tell, and the watermark in force."""
    if plan.evict is None:
        return {}
    block = {"watermark": iso(plan.evict / 1e6)}
    seen = list(prepared.observed.values())
    if seen:
        count = sum(o.count for o in seen)
        block["max"] = iso(max(o.high for o in seen) // 1000 / 1e3)
        block["min"] = iso(min(o.low for o in seen) // 1000 / 1e3)
        block["avg"] = iso(sum(o.total for o in seen) // count // 1000 / 1e3)
    return block


def operator_progress(report: OperatorReport) -> dict[str, Any]:
    """One entry of stateOperators. ``numLateRows`` is ours: late input rows, exactly; Spark's own count comes after
    partial aggregation."""
    return {
        "operatorName": _OPERATORS[report.kind],
        "numRowsTotal": report.rows,
        "numRowsUpdated": report.updated,
        "numRowsRemoved": report.removed,
        "allUpdatesTimeMs": report.millis,
        "allRemovalsTimeMs": 0,
        "commitTimeMs": 0,
        "memoryUsedBytes": report.bytes,
        "numRowsDroppedByWatermark": report.dropped,
        "numShufflePartitions": 1,
        "numStateStoreInstances": 1,
        "customMetrics": {"numLateRows": report.dropped_rows},
    }
