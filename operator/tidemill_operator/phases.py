"""Where a job is in its life: one phase, one sentence, one reason. Pure.

Pending -> Starting -> Running <-> Restarting
              |           |-> Suspending -> Suspended -> Starting
              |           |-> Completed -> Starting (an edit, or a restart that is asked for)
              `-> Failing -> Running              any -> Terminating; nothing runs and cannot: Refused
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tidemill.api import StreamingJob
from tidemill_operator import names, troubles
from tidemill_operator.memory import Memory
from tidemill_operator.world import Observed, leaving, ready

BUSY = frozenset({"Pending", "Starting", "Restarting", "Suspending", "Terminating"})
"""Phases in which something is under way."""


@dataclass(frozen=True)
class Standing:
    """``reason`` is one word, ``message`` a sentence; ``degraded`` if somebody should look into it."""

    phase: str
    message: str = ""
    reason: str = ""
    degraded: bool = False


def standing(seen: Observed, job: StreamingJob, memory: Memory, changing: bool) -> Standing:
    """The phase of a job that is not being deleted."""
    if job.spec.suspend:
        return _suspended(seen)
    if memory.completed and memory.completed == memory.revision and not changing:
        return Standing(
            "Completed",
            "all queries have ended; edit the job or ask for a restart to run it again",
            "Completed",
        )
    found = _driver(seen, job, memory, changing)
    if memory.refused.reason:
        if found.phase == "Failing":
            told = f"{found.message}; besides, a change was refused: {memory.refused.reason}"
            return Standing(found.phase, told, found.reason, degraded=True)
        refused = f"the change was refused, and the job goes on as it was: {memory.refused.reason}"
        return Standing(found.phase, refused, "ChangeRefused", degraded=True)
    return found


def _suspended(seen: Observed) -> Standing:
    if seen.drivers() or seen.driver_pods():
        return Standing("Suspending", "the driver finishes its batch", "Suspending")
    if seen.executor_pods():
        return Standing("Suspending", "the executors leave", "Suspending")
    return Standing("Suspended", "spec.suspend is true; false goes on from the checkpoint", "Suspended")


def _driver(seen: Observed, job: StreamingJob, memory: Memory, changing: bool) -> Standing:
    active = memory.revision
    pods = seen.driver_pods(active)
    reason, message = troubles.first(pods, seen.hints)
    report = seen.report(active)
    phase = report.get("phase", "")
    restarting = changing or (memory.restart.started is not None and memory.restart.finished is None)
    # What has crashed is well once it runs; another one that waits for the checkpoint has done nothing wrong.
    waits = phase == "standby" and memory.phase != "Failing"
    if reason and phase != "running" and not waits:
        return Standing("Pending" if reason == "Unschedulable" else "Failing", message, reason, degraded=True)
    if not pods and (why := troubles.unmade(seen.drivers().get(active))):
        return Standing("Failing", f"no pod of the driver can be made: {why}", "NoPod", degraded=True)
    if phase == "running":
        found = _running(seen, job, report, changing)
        return replace(found, phase="Restarting") if restarting and found.reason == "Recovering" else found
    if restarting:
        return Standing("Restarting", _restarting(seen, memory), "Restarting")
    if phase:
        return Standing("Starting", report.get("message") or f"the driver is {phase}", "Starting")
    if not pods:
        return Standing("Pending", "no pod of the driver yet", "Pending")
    return Standing("Starting", "the driver starts", "Starting")


def _restarting(seen: Observed, memory: Memory) -> str:
    old = [p for p in seen.driver_pods() if names.label_of(p, names.REVISION) != memory.revision]
    if old:
        return "the old driver finishes its batch"
    return f"the new driver takes over ({memory.restart.cause or 'Changed'})"


def _running(seen: Observed, job: StreamingJob, report: Mapping[str, Any], changing: bool) -> Standing:
    queries, executors = report.get("queries", []), seen.executor_pods()
    reason, message = troubles.of_executors(seen)
    failed = [q for q in queries if q.get("phase") == "failed"]
    if failed:
        told = str(failed[0].get("lastError") or "a query has failed")
        return Standing("Failing", told, "QueryFailed", degraded=True)
    if changing:
        return _tried(seen)
    there = sum(map(ready, executors))
    if not there:
        none = "no executor has joined the driver yet"
        if not job.spec.executor.replicas:
            none = "spec.executor.replicas is 0: there is nobody to compute"
        told = message or none
        return Standing("Starting", told, reason or "NoExecutors", degraded=bool(reason))
    if recovering(report):
        return Standing("Starting", "the queries read their checkpoints", "Recovering")
    if reason:
        return Standing("Running", message, reason, degraded=True)
    number = len(job.spec.queries) or len(queries)  # a dead letter is a query that nobody has written
    told = f"{_count(number, 'query', 'queries')} on {_count(there, 'executor', 'executors')}"
    return Standing("Running", told, "Running")


def recovering(report: Mapping[str, Any]) -> bool:
    """Whether a driver still reads checkpoints."""
    return any(q.get("phase") == "recovering" for q in report.get("queries", []))


def _tried(seen: Observed) -> Standing:
    """A new driver stands beside the one that runs."""
    beside = [p for p in seen.driver_pods() if not ready(p) and not leaving(p)]
    reason, message = troubles.first(beside, seen.hints)
    told = "a driver of the new revision is compared with the checkpoint"
    if reason:
        told = f"the job goes on as it was while a change is tried: {message}"
    return Standing("Running", told, reason or "ChangeTried", degraded=bool(reason))


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
