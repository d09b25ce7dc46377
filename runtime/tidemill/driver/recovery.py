"""From the log to the event that starts the machine: where the last generation stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tidemill.driver.entries import PlanEntry, PreparedEntry
from tidemill.driver.machine import Recovered
from tidemill.driver.signature import compare
from tidemill.driver.watermark import Watermarks
from tidemill.errors import CheckpointError, CorruptCheckpointError, IncompatiblePlanError

if TYPE_CHECKING:
    from tidemill.checkpoint.base import CheckpointLog
    from tidemill.driver.loop import Loop

KEY = "query"


def recover(loop: Loop) -> Recovered:
    """Read the log, bring state and sinks to where it ends, and say so.

    The lease is held already, so no other process writes; the sink is opened first, which fences older producers.
    """
    log = loop.query.log
    kept = log.get(KEY, "query", 0)
    if kept is None:
        if log.latest(KEY, "plan") is not None:
            raise _lost("it holds batches, and not of which query (a copy that was not finished?)")
        log.put_new(KEY, "query", 0, loop.query.entry, loop.generation)
        kept = loop.query.entry
    if kept["id"] != loop.work.query:
        raise CheckpointError(
            f"another start of this query has begun the checkpoint as {kept['id']} while this one, "
            f"{loop.work.query}, was being prepared; start it again: it then goes on from there"
        )
    compare(kept, loop.query.entry, loop.query.name)
    # A process that died may have left entries that only memory held; all that follows builds on them.
    log.harden(KEY)
    last = log.latest(KEY, "commit")
    nth = -1 if last is None else last
    plan = _plan(log.get(KEY, "plan", nth)) if nth >= 0 else None
    open_plan = _plan(log.get(KEY, "plan", nth + 1))
    written = log.get(KEY, "prepared", nth + 1)
    prepared = PreparedEntry.from_json(loop.work.query, written) if written else None
    if nth >= 0 and plan is None:
        raise _lost(f"it has batch {nth} committed but not its plan")
    if nth >= 0 and log.get(KEY, "prepared", nth) is None:
        # An older state would be taken for that batch's, and its rows be given again.
        raise _lost(f"it has batch {nth} committed but not the prepared entry of batch {nth}")
    if prepared and open_plan is None:
        raise _lost(f"batch {nth + 1} is prepared, and its plan is gone")
    if prepared:
        _check_place(loop, prepared)
    tasks = _restore(loop, nth + 1 if prepared else nth)
    _open_sink(loop, nth + 1, prepared, tasks)
    return Recovered(
        next_batch=nth + 1,
        ends=plan.ends if plan else _initial(loop, open_plan),
        watermarks=_watermarks(loop, log.get(KEY, "commit", nth) if nth >= 0 else None, kept),
        late=(plan.evict or 0) if plan else 0,
        open_plan=open_plan,
        open_prepared=prepared,
    )


def _check_place(loop: Loop, prepared: PreparedEntry) -> None:
    """A batch that is prepared can only be finished where it was prepared for."""
    now = loop.work.sink.place()
    if prepared.sink not in ("", now):
        raise IncompatiblePlanError(
            f"batch {prepared.batch} is prepared for {prepared.sink} and may not be visible there yet, and the query "
            f"now writes to {now}. Run it once more with the sink that it had (with the trigger availableNow, say), "
            "which finishes that batch; then change the sink"
        )


def _plan(entry: dict[str, Any] | None) -> PlanEntry | None:
    return PlanEntry.from_json(entry) if entry else None


def _initial(loop: Loop, open_plan: PlanEntry | None) -> tuple[Any, ...]:
    """Where a query without a committed batch starts: where its first plan did, if there is one already."""
    return open_plan.starts if open_plan else tuple(s.initial() for s in loop.work.sources)


def _watermarks(loop: Loop, commit: dict[str, Any] | None, kept: dict[str, Any]) -> Watermarks:
    delays = [delay for delay, _ in loop.work.plan.watermarks]
    return Watermarks.start(delays, kept["policy"], commit["watermark"] if commit else 0)


def _restore(loop: Loop, upto: int) -> int:
    """Load the state as of batch ``upto``, and drop blobs that no entry names: those of lost attempts.

    Returns the most sink tasks of any batch that the log still knows.
    """
    loop.query.engine.load(loop.work)
    log, book = loop.query.log, loop.book
    entries, full = prepared_entries(log, loop.work.query, upto)
    for entry in entries[full:]:
        book.add(entry)
        loop.full_at = entry.batch if entry.chains is not None else loop.full_at
    if book.chains:
        loop.query.engine.restore(loop.work.query, book.chains)
    live = book.live()
    payloads = {
        b for b in loop.work.store.names(loop.work.query) if b.kind == "payload" and b.version >= upto
    }
    stray = [b for b in loop.work.store.names(loop.work.query) if b not in live and b not in payloads]
    loop.work.store.purge(stray)
    book.garbage.clear()
    return max((c.task.task + 1 for e in entries for c in e.committables), default=1)


def prepared_entries(log: CheckpointLog, query: str, upto: int) -> tuple[list[PreparedEntry], int]:
    """The prepared entries up to a batch, and the index of the last one that holds all chains."""
    numbers = [n for n in log.numbers(KEY, "prepared") if n <= upto]
    entries = [PreparedEntry.from_json(query, log.get(KEY, "prepared", n) or {}) for n in numbers]
    full = max((i for i, e in enumerate(entries) if e.chains is not None), default=0)
    _check_whole(entries[full:], upto)
    return entries, full


def _check_whole(entries: Sequence[PreparedEntry], upto: int) -> None:
    """From the last entry with all chains to the last batch none may be missing: its deltas would be, too."""
    there = {e.batch for e in entries}
    first = entries[0].batch if entries and entries[0].chains is not None else 0
    missing = [n for n in range(first, upto + 1) if n not in there]
    if missing:
        raise _lost(f"batch {upto} was prepared, and the prepared entry of batch {missing[0]} is gone")


def _lost(what: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"the checkpoint has lost entries: {what}; restore it from a copy, or start the query with a new checkpoint "
        "location (it then begins at its starting offsets)"
    )


def _open_sink(loop: Loop, batch: int, prepared: PreparedEntry | None, tasks: int) -> None:
    """Fence what older generations may still write; so the sink must know of as many tasks as they had."""
    sink, query = loop.work.sink, loop.work.query
    sink.open(loop.generation, query, tasks)
    sink.recover(query, batch, prepared.committables if prepared else None)
