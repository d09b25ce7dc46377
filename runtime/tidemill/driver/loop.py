"""The thin loop around the state machine: carries its instructions out and tells it what came of them."""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pyarrow as pa

from tidemill import logs
from tidemill.checkpoint.base import CheckpointLog
from tidemill.driver.chains import FULL_EVERY, ChainBook
from tidemill.driver.entries import PlanEntry, PreparedEntry
from tidemill.driver.machine import (
    AttemptFailed,
    CommitSinks,
    CommitWritten,
    Due,
    Event,
    Failed,
    Finish,
    Instruction,
    Machine,
    Phase,
    PlanWritten,
    Poll,
    Polled,
    PreparedWritten,
    Purge,
    RunStages,
    SinksCommitted,
    StagesDone,
    StopAsked,
    TakeBack,
    Wait,
    WriteCommit,
    WritePlan,
    WritePrepared,
    merge_observed,
)
from tidemill.driver.progress import BatchFigures, batch_progress
from tidemill.driver.recovery import recover
from tidemill.engine.base import Engine
from tidemill.errors import CorruptCheckpointError, ExecutorLostError, FencedError, SinkError
from tidemill.executor.journal import payload_name
from tidemill.executor.work import Attempt, Work
from tidemill.sinks.base import Committable, Generation
from tidemill.sources.base import Limits, Offset, Partition
from tidemill.sources.memory import together
from tidemill.state.base import BlobName

log = logging.getLogger("tidemill.query")

Step = Literal["planned", "staged", "prepared", "sunk", "committed", "purged"]
StepHook = Callable[[Step, Literal["before", "after"], int], None]
IDLE_POLL = 0.01
"""Seconds between looks at sources that cannot tell when something arrives, as Spark's polling delay."""


@dataclass
class Query:
    """All that a query's loop works with."""

    work: Work
    machine: Machine
    engine: Engine
    log: CheckpointLog
    entry: dict[str, Any]
    """What the log keeps of the query; compared with the checkpoint's own on recovery."""
    name: str | None
    sources: Sequence[str]
    """Descriptions, for reports."""
    sink: str
    hook: StepHook = lambda step, when, batch: None
    refresh: Callable[[float], dict[int, pa.Table]] = lambda now: {}
    """Static tables that are to be replaced now, by index."""
    report: Callable[[dict[str, Any]], None] = lambda progress: None
    idle: Callable[[], None] = lambda: None
    scratch: str | None = None
    """A directory to remove when the query is over."""
    recent: int = 100
    """Progress reports kept."""

    def close(self, release: Callable[[], None] = lambda: None) -> None:
        """Let go of every part, whatever one of them raises; ``release`` the lease once nothing is written any more."""
        closers = [*(s.close for s in self.work.sources), self.work.sink.close, release, self.log.close]
        for close in (*closers, self.work.store.close, self.clean):
            with contextlib.suppress(Exception):
                close()

    def clean(self) -> None:
        if self.scratch is not None:
            shutil.rmtree(self.scratch, ignore_errors=True)


@dataclass
class Loop:
    """One run of a query: `acquire` first; `run` returns when it is over, raising what ended it."""

    query: Query
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "Initializing sources"
    stop_asked: bool = False
    settled: threading.Condition = field(default_factory=threading.Condition)
    """Notified when the query has nothing to do; ``arrivals`` and ``seen`` under it tell since when."""
    arrivals: int = 0
    quiet_at: int = -1

    def __post_init__(self) -> None:
        self.machine = self.query.machine
        self.work = self.query.work
        self.generation = Generation(0, "")
        self.book = ChainBook(self.work.query)
        self.figures = BatchFigures()
        self.retried = 0
        """Attempts that were tried again."""
        self.failure: str | None = None
        """Why the last of them had failed."""
        self.committed: float | None = None
        """When the last batch was committed."""
        self.newest: list[dict[str, float]] = [{} for _ in self.work.sources]
        """Of each source: when the last record read of each partition was written."""
        self.previous_start: float | None = None
        self.full_at = -FULL_EVERY
        self.spent: list[BlobName] = []
        self._wake = threading.Event()

    # Asked from outside

    def stop(self) -> None:
        """Finish the open batch, commit it, end."""
        self.stop_asked = True
        self._wake.set()

    def arrived(self) -> None:
        """Something may be there to read."""
        with self.settled:
            self.arrivals += 1
        self._wake.set()

    # The loop

    def run(self) -> None:
        told = False
        pending: deque[Instruction] = deque()
        try:
            self._open()
            pending.extend(self._handle(recover(self)))
            while pending:
                if self.stop_asked and not told and not self._has_stopped():
                    told = True
                    extra = self._handle(StopAsked())
                    pending = deque(extra) if self._has_stopped() else pending
                instruction = pending.popleft()
                if isinstance(instruction, Finish):
                    if instruction.error is not None:
                        raise instruction.error
                    return
                event = self._carry_out(instruction)
                follow = self._handle(event) if event is not None else []
                if isinstance(event, Failed) and follow:
                    pending.clear()  # what was to come after it is not to come
                pending.extend(follow)
        finally:
            self._close()

    def _has_stopped(self) -> bool:
        return self.machine.phase is Phase.STOPPED

    def _handle(self, event: Event) -> list[Instruction]:
        return self.machine.handle(event)

    def _carry_out(self, instruction: Instruction) -> Event | None:
        logs.bind(batch=self.machine.batch)
        try:
            event: Event | None = getattr(self, f"_do_{type(instruction).__name__}")(instruction)
            return event
        except Exception as error:
            if isinstance(instruction, RunStages):
                self.failure = str(error)
                return self._failed_attempt(instruction.attempt, error)
            return Failed(self._told_by_lease(error))

    def _failed_attempt(self, attempt: int, error: Exception) -> AttemptFailed:
        lost = isinstance(error, ExecutorLostError)
        if lost:
            log.warning("attempt %d failed: %s", attempt, error)
        told = self._told_by_lease(error)
        return AttemptFailed(told, retriable=lost and told is error)

    def _told_by_lease(self, error: Exception) -> Exception:
        """What has gone wrong; that another driver has taken over, if that is behind it: executors leave for the new
        driver, and blobs that it needs no more are gone."""
        if isinstance(error, ExecutorLostError | CorruptCheckpointError | SinkError):
            try:
                self.query.log.check(self.generation)
            except FencedError as fenced:
                fenced.__cause__ = error
                return fenced
            except Exception:
                log.debug("whether the lease is still held cannot be known", exc_info=True)
        return error

    def acquire(self) -> None:
        """Take the checkpoint's lease; raises `CheckpointLockedError` if another process or query has it."""
        self.generation = self.query.log.acquire(f"query {self.query.name or self.work.query}")

    def _open(self) -> None:
        logs.bind(generation=self.generation.number)
        for source in self.work.sources:
            source.on_arrival(self.arrived)
        if self.machine.rules.trigger.kind == "available":
            for source in self.work.sources:
                source.freeze()

    def _close(self) -> None:
        if self.generation.number:
            # Without the lease, what the engine holds under the query's id is that of the run that has it.
            with contextlib.suppress(Exception):
                self.query.engine.forget(self.work.query)
            self.query.close(lambda: self.query.log.release(self.generation))
        else:
            self.query.close()
        with self.settled:
            self.settled.notify_all()

    # Instructions

    def _do_Poll(self, poll: Poll) -> Event:
        self.status = "Getting offsets"
        with self.settled:
            before = self.arrivals
        self.figures = BatchFigures()
        ends: list[Offset] = []
        with self.figures.timed("latestOffset"), together():
            for source, start in zip(self.work.sources, poll.starts, strict=True):
                ends.append(source.latest(start, Limits() if poll.all else source.limits))
        with self.settled:
            self._polled_at = before
        return Polled(tuple(ends), time.time())

    def _do_WritePlan(self, write: WritePlan) -> Event:
        self.query.hook("planned", "before", write.plan.batch)
        with self.figures.timed("walCommit"):
            self.query.log.put_new(KEY, "plan", write.plan.batch, write.plan.to_json(), self.generation)
        self.query.hook("planned", "after", write.plan.batch)
        return PlanWritten()

    def _do_RunStages(self, run: RunStages) -> Event:
        plan = run.plan
        self.status = f"Processing batch {plan.batch}"
        self.query.hook("staged", "before", plan.batch)
        for index, rows in self.query.refresh(plan.time_us / 1e6).items():
            self.query.engine.refresh(self.work.query, index, rows)
        attempt = self._attempt(plan, run.attempt)
        if run.attempt > 1:
            self.retried += 1
        with self.figures.timed("addBatch"):
            prepared = self._stages(plan, attempt)
        self.query.hook("staged", "after", plan.batch)
        return StagesDone(prepared)

    def _attempt(self, plan: PlanEntry, number: int) -> Attempt:
        g = self.generation.number
        return Attempt(self.work.query, plan.batch, number, g, plan.time_us, plan.late, plan.evict)

    def _stages(self, plan: PlanEntry, attempt: Attempt) -> PreparedEntry:
        with self.figures.timed("getBatch"):
            parts = self._partitions(plan)
        results = self.query.engine.run(attempt, parts, self.book.chains)
        for result in results:
            self.figures.add(result.read, result.operator)
            self.figures.metrics.update(result.metrics)
            self.figures.out_bytes += result.bytes
        full = plan.batch - self.full_at >= FULL_EVERY
        return PreparedEntry(
            batch=plan.batch,
            attempt=attempt.attempt,
            generation=attempt.generation,
            committables=tuple(c for r in results for c in r.committables),
            deltas=merge_deltas(r.deltas for r in results),
            snapshots=tuple(s for r in results for s in r.snapshots),
            observed=merge_observed([r.observed for r in results]),
            rows=sum(r.rows for r in self.figures.reads.values()),
            out=sum(r.rows for r in results if r.last),
            chains=self.book.to_json() if full else None,
            sink=self.work.sink.place(),
        )

    def _partitions(self, plan: PlanEntry) -> dict[int, tuple[Partition, ...]]:
        spans = zip(self.work.sources, plan.starts, plan.ends, strict=True)
        return {
            i: tuple(source.partitions(start, end)) if start != end else ()
            for i, (source, start, end) in enumerate(spans)
        }

    def _do_TakeBack(self, instruction: TakeBack) -> None:
        plan = self.machine.plan
        if plan is not None:
            self.query.engine.rollback(self._attempt(plan, self.machine.attempt))

    def _do_WritePrepared(self, write: WritePrepared) -> Event:
        entry = write.prepared
        self.query.hook("prepared", "before", entry.batch)
        with self.figures.timed("walCommit"):
            self.work.store.sync()
            self.query.log.put_new(KEY, "prepared", entry.batch, entry.to_json(), self.generation)
        self.book.add(entry)
        if entry.chains is not None:
            self.full_at = entry.batch
        if self.spent:
            # Not before now: this entry has made the commit of their batch durable, as it does all that came before.
            self.work.store.purge(self.spent)
            self.spent = []
        assert self.machine.plan is not None
        self.query.engine.accept(self._attempt(self.machine.plan, self.machine.attempt))
        self.query.hook("prepared", "after", entry.batch)
        return PreparedWritten()

    def _do_CommitSinks(self, commit: CommitSinks) -> Event:
        batch = commit.plan.batch
        self.query.hook("sunk", "before", batch)
        with self.figures.timed("commitBatch"):
            self.work.sink.commit(batch, self._payloads(commit.plan, commit.prepared))
        self.query.hook("sunk", "after", batch)
        return SinksCommitted()

    def _payloads(self, plan: PlanEntry, prepared: PreparedEntry) -> list[Committable]:
        """The committables with the payloads that the store keeps for them."""
        attempt = Attempt(self.work.query, plan.batch, prepared.attempt, prepared.generation, 0, None, None)
        kept = {c.task.task for c in prepared.committables if c.meta.get("_payload")}
        names = {task: payload_name(attempt, task) for task in kept}
        blobs = self.work.store.get(names.values()) if names else {}
        return [
            replace(c, payload=blobs[names[c.task.task]] if c.task.task in kept else None)
            for c in prepared.committables
        ]

    def _do_WriteCommit(self, write: WriteCommit) -> Event:
        batch = write.plan.batch
        self.query.hook("committed", "before", batch)
        with self.figures.timed("commitOffsets"):
            entry = {"batch": batch, "watermark": write.watermark}
            self.query.log.put_new(KEY, "commit", batch, entry, self.generation)
            for source, end in zip(self.work.sources, write.plan.ends, strict=True):
                source.committed(end)
        self.spent += self._payload_names(write.plan)
        self.query.hook("committed", "after", batch)
        self.committed = time.time()
        self._report(write.plan)
        return CommitWritten(time.time())

    def _payload_names(self, plan: PlanEntry) -> list[BlobName]:
        """The payloads of the open batch's committables."""
        prepared = self.machine.prepared
        assert prepared is not None
        attempt = Attempt(self.work.query, plan.batch, prepared.attempt, prepared.generation, 0, None, None)
        return [payload_name(attempt, c.task.task) for c in prepared.committables if c.meta.get("_payload")]

    def _report(self, plan: PlanEntry) -> None:
        prepared = self.machine.prepared
        assert prepared is not None
        for i, read in self.figures.reads.items():
            self.newest[i] |= read.newest
        spans = zip(self.work.sources, self.query.sources, plan.starts, plan.ends, self.newest, strict=True)
        sources = [
            {
                "description": d,
                "startOffset": a,
                "endOffset": b,
                "latestOffset": b,
                "metrics": s.metrics(a, b) | {f"read.{p}": str(when) for p, when in newest.items()},
            }
            for s, d, a, b, newest in spans
        ]
        head = {"id": self.work.query, "runId": self.run_id, "name": self.query.name}
        progress = batch_progress(
            head, plan, prepared, self.figures, self.previous_start, sources, self.query.sink
        )
        self.previous_start = self.figures.started
        self.query.report(progress)

    def _do_Purge(self, purge: Purge) -> None:
        self.query.hook("purged", "before", purge.below)
        below = min(purge.below, max(self.full_at, 0))
        self.query.log.purge(KEY, below)
        gone = self.book.take_garbage(below)
        if gone:
            self.work.store.purge(gone)
        self.work.sink.purge(below)
        self.query.hook("purged", "after", purge.below)

    def _do_Wait(self, wait: Wait) -> Event:
        self.status = "Waiting for next trigger" if wait.until else "Waiting for data to arrive"
        with self.settled:
            if wait.quiet:
                # Nothing is left of what came before the sources were asked.
                self.quiet_at = self._polled_at
                self.settled.notify_all()
        self.query.idle()
        timeout = IDLE_POLL if wait.until is None else max(wait.until - time.time(), 0)
        if wait.until is None:
            self._wake.wait(timeout)
        else:
            self._until(wait.until)
        self._wake.clear()
        return Due()

    def _until(self, when: float) -> None:
        """Sleep to a tick; only a stop cuts it short, and a clock that is set meanwhile does not make it longer."""
        end = time.monotonic() + when - time.time()
        while not self.stop_asked and (left := end - time.monotonic()) > 0:
            self._wake.wait(left)
            self._wake.clear()

    _polled_at: int = 0


KEY = "query"
"""The log's name for the query: one checkpoint location holds one query, whatever it is called."""


def merge_deltas(parts: Iterable[Mapping[str, Sequence[int]]]) -> dict[str, list[int]]:
    """Of all executors: the shards of each operator table that have a delta."""
    merged: dict[str, list[int]] = {}
    for deltas in parts:
        for table, shards in deltas.items():
            merged.setdefault(table, []).extend(shards)
    return merged
