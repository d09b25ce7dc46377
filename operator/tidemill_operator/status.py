"""The status of a job, as the CRD has it: transitions at once, figures at most once a minute. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tidemill.api import StreamingJob
from tidemill.api.status import MOST_QUERIES
from tidemill_operator import names
from tidemill_operator.memory import Memory
from tidemill_operator.moments import iso, parsed
from tidemill_operator.names import name_of
from tidemill_operator.phases import BUSY, Standing
from tidemill_operator.world import Observed, leaving, ready

FIGURES = ("lagRows", "lastBatch", "lastCommit", "queries")
"""What changes all the time, and is no transition."""
_LAST_HEARD = (*FIGURES, "generation")
"""What is kept while no driver answers."""
LONGEST = 4096
"""Characters of a text that others wrote; the API server takes no more."""
_OF_A_QUERY = (
    "name", "phase", "batchId", "committedAt", "watermark", "lagRows", "inputRowsPerSecond", "processedRowsPerSecond",
    "stateRows", "lastError",
)  # fmt: skip


def full(
    seen: Observed, state: Standing, memory: Memory, job: StreamingJob | None, now: datetime
) -> dict[str, Any]:
    """All of it."""
    raw = seen.job
    name = name_of(raw)
    generation = int(raw["metadata"].get("generation", 0))
    before = raw.get("status") or {}
    pods = [p for p in seen.executor_pods() if not leaving(p)]
    report = seen.report(memory.revision)
    found: dict[str, Any] = {
        "phase": state.phase,
        "message": state.message[:1024],
        "observedGeneration": generation,
        "replicas": len(pods),
        "readyReplicas": sum(map(ready, pods)),
        "labelSelector": ",".join(f"{k}={v}" for k, v in names.selector(name, names.EXECUTOR).items()),
        "conditions": _conditions(state, before, generation, now),
        **memory.to_status(name),
    }
    return found | (_figures(report) or {k: before[k] for k in _LAST_HEARD if k in before})


def _figures(report: Mapping[str, Any]) -> dict[str, Any]:
    """What a driver says; one that has not held the checkpoint yet knows nothing of it."""
    generation = int(report.get("generation") or 0)
    if not generation:
        return {}
    # Of two runs of one query the later one counts.
    told = {q["name"]: _of_a_query(q) for q in report.get("queries", []) if q.get("name")}
    queries = list(told.values())[:MOST_QUERIES]
    found: dict[str, Any] = {"queries": queries, "generation": generation}
    lags = [q["lagRows"] for q in queries if "lagRows" in q]
    if lags:
        found["lagRows"] = sum(lags)
    if commits := [q["committedAt"] for q in queries if "committedAt" in q]:
        found["lastCommit"] = max(commits)
    if batches := [q["batchId"] for q in queries if "batchId" in q]:
        found["lastBatch"] = max(batches)
    return found


def _of_a_query(told: Mapping[str, Any]) -> dict[str, Any]:
    found = {k: told[k] for k in _OF_A_QUERY if told.get(k) is not None}
    if "lastError" in found:
        found["lastError"] = str(found["lastError"])[:LONGEST]
    return found


def _conditions(
    state: Standing, before: Mapping[str, Any], generation: int, now: datetime
) -> list[dict[str, Any]]:
    running = state.phase == "Running"
    held = {
        "Ready": running,
        "Progressing": state.phase in BUSY or state.reason == "ChangeTried",
        "Degraded": state.degraded,
    }
    known = {c["type"]: c for c in before.get("conditions", [])}
    found = []
    for kind, holds in held.items():
        status = "True" if holds else "False"
        told = holds or kind == "Ready"
        since = known.get(kind, {})
        same = since.get("status") == status
        found.append(
            {
                "type": kind,
                "status": status,
                "reason": _reason(kind, state) if told else "AsExpected",
                "message": state.message[:1024] if told else "",
                "lastTransitionTime": since["lastTransitionTime"]
                if same and "lastTransitionTime" in since
                else iso(now),
                "observedGeneration": generation,
            }
        )
    return found


def _reason(kind: str, state: Standing) -> str:
    """What runs may have another trouble; it is ready for all that."""
    return state.phase if kind == "Ready" and state.phase == "Running" else state.reason or state.phase


def patch(
    before: Mapping[str, Any], after: Mapping[str, Any], now: datetime, figures: float
) -> dict[str, Any] | None:
    """The merge patch that makes ``after`` of ``before``; None if there is nothing to write yet.

    Nothing but figures is written only ``figures`` seconds after the last time.
    """
    changed = _difference({k: v for k, v in before.items() if k != "figuresAt"}, after)
    if not changed:
        return None
    last = parsed(before.get("figuresAt"))
    first = "lastCommit" in changed and "lastCommit" not in before
    due = first or last is None or (now - last).total_seconds() >= figures
    if not due and changed.keys() <= set(FIGURES):
        return None
    return {**changed, "figuresAt": iso(now)}


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """A merge patch: what is gone has to be said at every depth.

    >>> _difference({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 2}})
    {'a': None, 'b': {'d': None}}
    """
    found: dict[str, Any] = {k: None for k in before if k not in after}
    for key, value in after.items():
        known = before.get(key)
        if isinstance(value, Mapping) and isinstance(known, Mapping):
            if below := _difference(known, value):
                found[key] = below
        elif known != value:
            found[key] = value
    return found
