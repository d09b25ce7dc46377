"""The life of a query as a pure state machine: events in, instructions out, no I/O.

    RECOVERING   the log is being read; nothing has run in this generation
    IDLE         no batch is open; the sources are being asked, or the next trigger is awaited
    PLANNED      batch n is fixed: its offsets, time and watermarks; its plan entry is being written or its stages run
    PREPARED     batch n's output is fixed: its prepared entry is being written or its sinks commit
    COMMITTING   every sink has committed; the commit entry is being written
    STOPPED      over: on request, because the trigger is satisfied, or by an error

A stop that is asked for while a batch is open takes effect once the batch is committed. The table at the end names
every transition; an event that it does not name in a phase is a bug and raises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Literal

from tidemill.driver.entries import PlanEntry, PreparedEntry
from tidemill.driver.watermark import Watermarks
from tidemill.executor.work import Observed
from tidemill.sources.base import Offset


class Phase(Enum):
    RECOVERING = auto()
    IDLE = auto()
    PLANNED = auto()
    PREPARED = auto()
    COMMITTING = auto()
    STOPPED = auto()


@dataclass(frozen=True)
class Trigger:
    """When batches run. ``interval`` in seconds; 0: as soon as there is something to do."""

    kind: Literal["processing", "once", "available"] = "processing"
    interval: float = 0.0


@dataclass(frozen=True)
class Rules:
    """What does not change while a query runs."""

    trigger: Trigger
    no_data: bool
    """Whether a moved watermark alone is worth a batch: some operator evicts by it, and the setting allows it."""
    has_watermark: bool
    attempts: int = 4
    """Tries at a batch's stages before its error is the query's."""
    retain: int = 20
    """Committed batches whose entries are kept."""


# --- Events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recovered:
    """What the log says. ``open_plan``: a batch planned and not committed; ``open_prepared``: if it got that far."""

    next_batch: int
    ends: tuple[Offset, ...]
    watermarks: Watermarks
    late: int
    """The eviction watermark of the last batch planned, in microseconds: the lateness watermark of the next."""
    open_plan: PlanEntry | None = None
    open_prepared: PreparedEntry | None = None


@dataclass(frozen=True)
class Polled:
    """Where each source could go on to."""

    ends: tuple[Offset, ...]
    now: float
    """Seconds since the epoch."""


@dataclass(frozen=True)
class PlanWritten:
    pass


@dataclass(frozen=True)
class StagesDone:
    prepared: PreparedEntry


@dataclass(frozen=True)
class AttemptFailed:
    error: BaseException
    retriable: bool


@dataclass(frozen=True)
class PreparedWritten:
    pass


@dataclass(frozen=True)
class SinksCommitted:
    pass


@dataclass(frozen=True)
class CommitWritten:
    now: float


@dataclass(frozen=True)
class Due:
    """The time that `Wait` named has come, or something has arrived."""


@dataclass(frozen=True)
class StopAsked:
    pass


@dataclass(frozen=True)
class Failed:
    """Something that is not tried again has failed."""

    error: BaseException


Event = (
    Recovered | Polled | PlanWritten | StagesDone | AttemptFailed | PreparedWritten | SinksCommitted | CommitWritten
    | Due | StopAsked | Failed
)  # fmt: skip


# --- Instructions ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Poll:
    """Ask the sources for their ends after ``starts``; ``all``: without limits."""

    starts: tuple[Offset, ...]
    all: bool


@dataclass(frozen=True)
class WritePlan:
    plan: PlanEntry


@dataclass(frozen=True)
class RunStages:
    plan: PlanEntry
    attempt: int


@dataclass(frozen=True)
class TakeBack:
    """Undo what the attempt did to state."""


@dataclass(frozen=True)
class WritePrepared:
    prepared: PreparedEntry


@dataclass(frozen=True)
class CommitSinks:
    plan: PlanEntry
    prepared: PreparedEntry
    recovered: bool
    """Fixed by an earlier generation: state is already at this batch."""


@dataclass(frozen=True)
class WriteCommit:
    plan: PlanEntry
    watermark: int


@dataclass(frozen=True)
class Purge:
    below: int


@dataclass(frozen=True)
class Wait:
    """Until ``until`` (seconds since the epoch; None: until something arrives, with a poll now and then)."""

    until: float | None
    quiet: bool = True
    """The sources had nothing new; False: a batch has just run, and there may be more."""


@dataclass(frozen=True)
class Finish:
    error: BaseException | None = None


Instruction = (
    Poll
    | WritePlan
    | RunStages
    | TakeBack
    | WritePrepared
    | CommitSinks
    | WriteCommit
    | Purge
    | Wait
    | Finish
)


# --- The machine ----------------------------------------------------------------------------------------------------


@dataclass
class Machine:
    rules: Rules
    phase: Phase = Phase.RECOVERING
    batch: int = 0
    """The open batch, or the next one."""
    ends: tuple[Offset, ...] = ()
    """Of the last batch committed."""
    watermarks: Watermarks = field(default_factory=lambda: Watermarks.start((), "min"))
    late: int = 0
    plan: PlanEntry | None = None
    prepared: PreparedEntry | None = None
    attempt: int = 0
    stopping: bool = False
    started: float = 0.0
    """When the last batch was triggered."""

    def handle(self, event: Event) -> list[Instruction]:
        """The instructions that follow from an event, to be carried out in order."""
        transition = TRANSITIONS.get((self.phase, type(event)))
        if transition is None:
            raise RuntimeError(f"{type(event).__name__} cannot happen while {self.phase.name}")
        return transition(self, event)

    # Recovering

    def recovered(self, event: Recovered) -> list[Instruction]:
        self.batch, self.ends = event.next_batch, event.ends
        self.watermarks, self.late = event.watermarks, event.late
        if event.open_plan is None:
            return self.idle()
        self.plan = event.open_plan
        if event.open_prepared is None:
            return self.run_planned()
        self.prepared = event.open_prepared
        self.phase = Phase.PREPARED
        return [CommitSinks(self.plan, self.prepared, recovered=True)]

    # Idle

    def idle(self) -> list[Instruction]:
        self.phase, self.plan, self.prepared, self.attempt = Phase.IDLE, None, None, 0
        return self.finish() if self.stopping else [self.poll()]

    def poll(self) -> Poll:
        return Poll(self.ends, all=self.rules.trigger.kind == "once")

    def due(self, event: Due) -> list[Instruction]:
        return [self.poll()]

    def polled(self, event: Polled) -> list[Instruction]:
        if event.ends == self.ends and not self.watermark_alone():
            return self.nothing(event.now)
        self.started = event.now
        evict = self.watermarks.now
        marks = (self.late, evict) if self.rules.has_watermark else (None, None)
        self.plan = PlanEntry(self.batch, int(event.now * 1_000_000), self.ends, event.ends, *marks)
        self.phase = Phase.PLANNED
        return [WritePlan(self.plan)]

    def watermark_alone(self) -> bool:
        """Whether the watermark has moved since the last batch, and some operator waits for that."""
        return self.rules.no_data and self.watermarks.now > self.late

    def nothing(self, now: float) -> list[Instruction]:
        if self.rules.trigger.kind != "processing":
            return self.finish()
        return [Wait(self.next_tick(now) if self.rules.trigger.interval else None)]

    def next_tick(self, now: float) -> float:
        """The next multiple of the interval, as Spark's clock ticks."""
        interval = self.rules.trigger.interval
        return (now // interval + 1) * interval

    # A batch

    def plan_written(self, event: PlanWritten) -> list[Instruction]:
        return self.run_planned()

    def run_planned(self) -> list[Instruction]:
        assert self.plan is not None
        self.phase = Phase.PLANNED
        if self.plan.evict is not None:
            self.late = self.plan.evict
        self.attempt += 1
        return [RunStages(self.plan, self.attempt)]

    def attempt_failed(self, event: AttemptFailed) -> list[Instruction]:
        if event.retriable and self.attempt < self.rules.attempts and not self.stopping:
            return [TakeBack(), *self.run_planned()]
        return [TakeBack(), *self.finish(event.error)]

    def stages_done(self, event: StagesDone) -> list[Instruction]:
        self.prepared = event.prepared
        self.phase = Phase.PREPARED
        return [WritePrepared(event.prepared)]

    def prepared_written(self, event: PreparedWritten) -> list[Instruction]:
        assert self.plan is not None and self.prepared is not None
        return [CommitSinks(self.plan, self.prepared, recovered=False)]

    def sinks_committed(self, event: SinksCommitted) -> list[Instruction]:
        assert self.plan is not None and self.prepared is not None
        self.watermarks = self.watermarks.observe(self.prepared.observed)
        if self.plan.evict is not None:
            self.late = self.plan.evict
        self.phase = Phase.COMMITTING
        return [WriteCommit(self.plan, self.watermarks.now)]

    def commit_written(self, event: CommitWritten) -> list[Instruction]:
        assert self.plan is not None
        self.ends = self.plan.ends
        self.batch = self.plan.batch + 1
        below = self.plan.batch - self.rules.retain
        purge: list[Instruction] = [Purge(below)] if below > 0 else []
        return [*purge, *self.after_batch(event.now)]

    def after_batch(self, now: float) -> list[Instruction]:
        trigger = self.rules.trigger
        follow = self.idle()
        if self.stopping:
            return follow
        if trigger.kind == "once":
            return self.finish()
        if trigger.kind == "processing" and trigger.interval:
            # A batch that took longer than the interval is followed at once. Neither tick is far off, whichever way the
            # clock was set meanwhile.
            tick = min(self.next_tick(self.started), self.next_tick(now))
            return [Wait(tick, quiet=False)] if tick > now else follow
        return follow

    # The end

    def stop_asked(self, event: StopAsked) -> list[Instruction]:
        self.stopping = True
        return self.finish() if self.phase is Phase.IDLE else []

    def failed(self, event: Failed) -> list[Instruction]:
        back: list[Instruction] = [TakeBack()] if self.phase is Phase.PLANNED else []
        return [*back, *self.finish(event.error)]

    def finish(self, error: BaseException | None = None) -> list[Instruction]:
        self.phase = Phase.STOPPED
        return [Finish(error)]

    def ignore(self, event: Event) -> list[Instruction]:
        return []


TRANSITIONS: Mapping[tuple[Phase, type], Callable[[Machine, Any], list[Instruction]]] = {
    (Phase.RECOVERING, Recovered): Machine.recovered,
    (Phase.RECOVERING, StopAsked): Machine.stop_asked,
    (Phase.RECOVERING, Failed): Machine.failed,
    (Phase.IDLE, Due): Machine.due,
    (Phase.IDLE, Polled): Machine.polled,
    (Phase.IDLE, StopAsked): Machine.stop_asked,
    (Phase.IDLE, Failed): Machine.failed,
    (Phase.PLANNED, PlanWritten): Machine.plan_written,
    (Phase.PLANNED, StagesDone): Machine.stages_done,
    (Phase.PLANNED, AttemptFailed): Machine.attempt_failed,
    (Phase.PLANNED, StopAsked): Machine.stop_asked,
    (Phase.PLANNED, Failed): Machine.failed,
    (Phase.PREPARED, PreparedWritten): Machine.prepared_written,
    (Phase.PREPARED, SinksCommitted): Machine.sinks_committed,
    (Phase.PREPARED, StopAsked): Machine.stop_asked,
    (Phase.PREPARED, Failed): Machine.failed,
    (Phase.COMMITTING, CommitWritten): Machine.commit_written,
    (Phase.COMMITTING, StopAsked): Machine.stop_asked,
    (Phase.COMMITTING, Failed): Machine.failed,
    (Phase.STOPPED, StopAsked): Machine.ignore,
    (Phase.STOPPED, Failed): Machine.ignore,
    (Phase.STOPPED, Due): Machine.ignore,
    (Phase.STOPPED, Polled): Machine.ignore,
}
"""Every transition. (Polled after a stop: the poll was under way; its answer no longer counts.)"""


def merge_observed(seen: list[Mapping[int, Observed]]) -> dict[int, Observed]:
    """The event times of several tasks, as of one."""
    merged: dict[int, Observed] = {}
    for each in seen:
        for i, o in each.items():
            m = merged.get(i)
            merged[i] = o if m is None else Observed(
                m.count + o.count, min(m.low, o.low), max(m.high, o.high), m.total + o.total
            )  # fmt: skip
    return merged
