"""The life of a query, told in events and instructions; nothing runs."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    Recovered,
    Rules,
    RunStages,
    SinksCommitted,
    StagesDone,
    StopAsked,
    TakeBack,
    Trigger,
    Wait,
    WriteCommit,
    WritePlan,
    WritePrepared,
)
from tidemill.driver.watermark import Watermarks
from tidemill.executor.work import Observed

SECOND = 1_000_000


def rules(kind: str = "processing", interval: float = 0.0, **changes: object) -> Rules:
    return Rules(**{"trigger": Trigger(kind, interval), "no_data": True, "has_watermark": True, **changes})  # type: ignore[arg-type]


def fresh(**changes: object) -> Recovered:
    start = Recovered(0, (0,), Watermarks.start([10 * SECOND], "min"), late=0)
    return Recovered(**{**start.__dict__, **changes})  # type: ignore[arg-type]


def prepared(plan: PlanEntry, high: int | None = None) -> PreparedEntry:
    seen = {0: Observed(1, high, high, high)} if high is not None else {}
    return PreparedEntry(plan.batch, 1, 1, (), {}, (), seen)


def run_batch(
    machine: Machine, plan: PlanEntry, high: int | None = None, now: float = 0.0
) -> list[Instruction]:
    """From the written plan to what follows the commit."""
    (run,) = machine.handle(PlanWritten())
    assert isinstance(run, RunStages)
    (write,) = machine.handle(StagesDone(prepared(plan, high)))
    assert isinstance(write, WritePrepared)
    (sink,) = machine.handle(PreparedWritten())
    assert isinstance(sink, CommitSinks)
    assert not sink.recovered
    (commit,) = machine.handle(SinksCommitted())
    assert isinstance(commit, WriteCommit)
    return machine.handle(CommitWritten(now))


def test_a_batch_goes_through_every_durable_step_in_order() -> None:
    machine = Machine(rules())
    assert machine.handle(fresh()) == [Poll((0,), all=False)]
    (write,) = machine.handle(Polled((5,), now=100.0))
    assert write == WritePlan(PlanEntry(0, 100 * SECOND, (0,), (5,), late=0, evict=0))
    assert run_batch(machine, write.plan) == [Poll((5,), all=False)]
    assert machine.batch == 1


def test_a_moved_watermark_runs_one_batch_without_data_and_then_none() -> None:
    machine = Machine(rules())
    machine.handle(fresh())
    (write,) = machine.handle(Polled((1,), now=0.0))
    run_batch(machine, write.plan, high=25 * SECOND)
    (write,) = machine.handle(Polled((1,), now=0.0))
    assert (write.plan.starts, write.plan.ends) == ((1,), (1,))
    assert (write.plan.late, write.plan.evict) == (0, 15 * SECOND)
    run_batch(machine, write.plan)
    assert machine.handle(Polled((1,), now=0.0)) == [Wait(None)]


def test_lateness_follows_eviction_by_one_batch() -> None:
    machine = Machine(rules(no_data=False))
    machine.handle(fresh())
    for end, high, marks in [(1, 25, (0, 0)), (2, 40, (0, 15)), (3, None, (15, 30))]:
        (write,) = machine.handle(Polled((end,), now=0.0))
        assert (write.plan.late, write.plan.evict) == tuple(m * SECOND for m in marks)
        run_batch(machine, write.plan, high=None if high is None else high * SECOND)


def test_once_runs_one_batch_of_everything() -> None:
    machine = Machine(rules("once"))
    assert machine.handle(fresh()) == [Poll((0,), all=True)]
    (write,) = machine.handle(Polled((9,), now=0.0))
    assert run_batch(machine, write.plan, high=25 * SECOND) == [Finish()]


def test_available_now_runs_until_nothing_is_left_not_even_for_the_watermark() -> None:
    machine = Machine(rules("available"))
    machine.handle(fresh())
    (write,) = machine.handle(Polled((1,), now=0.0))
    assert run_batch(machine, write.plan, high=25 * SECOND) == [Poll((1,), all=False)]
    (write,) = machine.handle(Polled((1,), now=0.0))
    run_batch(machine, write.plan)
    assert machine.handle(Polled((1,), now=0.0)) == [Finish()]


def test_a_trigger_interval_waits_for_the_next_tick_unless_it_has_passed() -> None:
    machine = Machine(rules(interval=10.0))
    machine.handle(fresh())
    (write,) = machine.handle(Polled((1,), now=12.0))
    assert run_batch(machine, write.plan, now=13.0) == [Wait(20.0, quiet=False)]
    machine.handle(Due())
    (write,) = machine.handle(Polled((2,), now=20.0))
    assert run_batch(machine, write.plan, now=31.0) == [Poll((2,), all=False)]


def test_a_clock_that_is_set_back_during_a_batch_does_not_put_the_next_tick_off() -> None:
    machine = Machine(rules(interval=10.0))
    machine.handle(fresh())
    (write,) = machine.handle(Polled((1,), now=10_002.0))
    assert run_batch(machine, write.plan, now=2_003.0) == [Wait(2_010.0, quiet=False)]


def test_an_answer_that_comes_after_the_end_counts_no_more() -> None:
    machine = Machine(rules())
    machine.handle(fresh())
    machine.handle(Failed(ValueError()))
    assert machine.handle(Polled((1,), now=0.0)) == []


def test_a_stop_lets_the_open_batch_commit() -> None:
    machine = Machine(rules())
    machine.handle(fresh())
    (write,) = machine.handle(Polled((1,), now=0.0))
    assert machine.handle(StopAsked()) == []
    assert run_batch(machine, write.plan) == [Finish()]


def test_a_stop_while_idle_is_immediate() -> None:
    machine = Machine(rules())
    machine.handle(fresh())
    assert machine.handle(StopAsked()) == [Finish()]


def test_a_failed_attempt_is_taken_back_and_tried_again_as_often_as_the_rules_say() -> None:
    machine = Machine(rules(attempts=2))
    machine.handle(fresh())
    machine.handle(Polled((1,), now=0.0))
    machine.handle(PlanWritten())
    lost = AttemptFailed(ValueError("a peer died"), retriable=True)
    back, again = machine.handle(lost)
    assert isinstance(back, TakeBack)
    assert (again.attempt, again.plan.batch) == (2, 0)
    assert machine.handle(lost) == [TakeBack(), Finish(lost.error)]


def test_a_failure_after_prepared_takes_nothing_back() -> None:
    machine = Machine(rules())
    machine.handle(fresh())
    (write,) = machine.handle(Polled((1,), now=0.0))
    machine.handle(PlanWritten())
    machine.handle(StagesDone(prepared(write.plan)))
    error = OSError("disk full")
    assert machine.handle(Failed(error)) == [Finish(error)]


PLAN = PlanEntry(7, 100 * SECOND, (3,), (5,), late=1 * SECOND, evict=2 * SECOND)


def test_recovery_runs_a_planned_batch_again_with_its_own_offsets_and_watermarks() -> None:
    machine = Machine(rules())
    marks = Watermarks.start([0], "min", 2 * SECOND)
    assert machine.handle(fresh(next_batch=7, ends=(3,), watermarks=marks, open_plan=PLAN)) == [
        RunStages(PLAN, 1)
    ]
    assert machine.phase is Phase.PLANNED


def test_recovery_only_commits_a_prepared_batch() -> None:
    machine = Machine(rules())
    entry = prepared(PLAN, high=50 * SECOND)
    marks = Watermarks.start([0], "min", 2 * SECOND)
    event = fresh(next_batch=7, ends=(3,), watermarks=marks, open_plan=PLAN, open_prepared=entry)
    assert machine.handle(event) == [CommitSinks(PLAN, entry, recovered=True)]
    assert machine.handle(SinksCommitted()) == [WriteCommit(PLAN, 50 * SECOND)]
    machine.handle(CommitWritten(0.0))
    assert (machine.batch, machine.ends, machine.late) == (8, (5,), 2 * SECOND)


def test_old_entries_are_purged_once_enough_batches_are_kept() -> None:
    machine = Machine(rules(retain=2, no_data=False))
    machine.handle(fresh())
    purged = []
    for end in range(1, 6):
        (write,) = machine.handle(Polled((end,), now=0.0))
        purged += [i.below for i in run_batch(machine, write.plan) if isinstance(i, Purge)]
    assert purged == [1, 2]


def test_an_event_out_of_place_is_a_bug() -> None:
    with pytest.raises(RuntimeError, match="PlanWritten cannot happen while RECOVERING"):
        Machine(rules()).handle(PlanWritten())


def answers(instruction: Instruction, draw: st.DrawFn, end: int) -> Event | None:
    """One of the things that can come of an instruction."""
    error = AttemptFailed(ValueError(), retriable=draw(st.booleans()))
    match instruction:
        case Poll():
            return Polled((end + draw(st.integers(0, 2)),), now=0.0)
        case WritePlan():
            return PlanWritten()
        case RunStages():
            done = StagesDone(prepared(instruction.plan, high=draw(st.integers(0, 100)) * SECOND))
            return draw(st.sampled_from([done, done, error]))
        case WritePrepared():
            return draw(st.sampled_from([PreparedWritten(), PreparedWritten(), Failed(OSError())]))
        case CommitSinks():
            return SinksCommitted()
        case WriteCommit():
            return CommitWritten(0.0)
        case Wait():
            return Due()
    return None


@st.composite
def lives(draw: st.DrawFn) -> list[Instruction]:
    """Everything that a machine asked for in one life of some length."""
    kind = draw(st.sampled_from(["processing", "once", "available"]))
    machine = Machine(rules(kind, attempts=draw(st.integers(1, 3)), retain=draw(st.integers(1, 3))))
    done: list[Instruction] = []
    pending = machine.handle(fresh())
    while pending and len(done) < 60:
        if draw(st.integers(0, 19)) == 0:
            extra = machine.handle(StopAsked())
            pending = extra or pending
        instruction = pending.pop(0)
        done.append(instruction)
        event = answers(instruction, draw, machine.ends[0])
        if event is not None:
            pending += machine.handle(event)
    return done


@given(lives())
def test_whatever_happens_batches_are_contiguous_and_each_step_follows_the_one_before(
    done: list[Instruction],
) -> None:
    durable = [i for i in done if isinstance(i, WritePlan | WritePrepared | CommitSinks | WriteCommit)]
    order = {WritePlan: 0, WritePrepared: 1, CommitSinks: 2, WriteCommit: 3}
    steps = [(_batch(i), order[type(i)]) for i in durable]
    assert steps == [(n // 4, n % 4) for n in range(len(steps))]
    plans = [i.plan for i in durable if isinstance(i, WritePlan)]
    for before, after in pairwise(plans):
        assert after.starts == before.ends
        assert after.late == before.evict
        assert (after.evict or 0) >= (before.evict or 0)


def _batch(instruction: Instruction) -> int:
    return instruction.prepared.batch if isinstance(instruction, WritePrepared) else instruction.plan.batch  # type: ignore[union-attr]
