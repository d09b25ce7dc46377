"""What a checkpoint holds, for people, and how it is carried to another place. Reading takes no lease."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from tidemill.checkpoint import found, join, open_, shown
from tidemill.checkpoint.base import CheckpointLog, Kind
from tidemill.driver.chains import ChainBook
from tidemill.driver.recovery import KEY, prepared_entries
from tidemill.errors import CheckpointError, CorruptCheckpointError
from tidemill.kernel.keyed.delta import decode_delta, shape_of
from tidemill.kernel.keyed.replay import merged
from tidemill.state.base import BlobName, StateStore

_KINDS: tuple[Kind, ...] = ("plan", "prepared", "commit")
_TRIES = 3
"""A driver that runs may purge blobs between our look at the log and at them."""
_COPY_BYTES = 32 << 20


@dataclass(frozen=True)
class Contents:
    """One query's checkpoint."""

    location: str
    query: str
    sources: list[str]
    operators: list[dict[str, Any]]
    shards: int
    planned: int | None
    """The newest batch with such an entry, or None."""
    prepared: int | None
    committed: int | None
    oldest: int | None
    """The oldest batch that is kept."""
    watermark: int | None
    """Microseconds since the epoch, as of the last commit."""
    blobs: int
    bytes: int
    state: list[dict[str, Any]] = field(default_factory=list)
    """For each table of the state: its operator's name, shards, blobs and bytes that a recovery would read."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class StateTable:
    """One table of a query's state, and its first rows."""

    location: str
    operator: str
    rows: int
    shards: dict[int, int]
    """Rows by shard."""
    version: int
    """The batch as of which it is."""
    first: pa.Table

    def to_json(self) -> dict[str, Any]:
        rest = {"location": self.location, "operator": self.operator, "rows": self.rows}
        return {**rest, "version": self.version, "shards": self.shards, "first": self.first.to_pylist()}


def checkpoints(location: str) -> list[str]:
    """The checkpoints at and below a location; raises `CheckpointError` if there is none."""
    all_of_them = found(location)
    if not all_of_them:
        raise CheckpointError(
            f"there is no checkpoint at {shown(location)} or below it; is the location right?"
        )
    return all_of_them


def describe(location: str) -> Contents:
    """What one checkpoint holds."""
    log, store = open_(location)
    try:
        kept = log.get(KEY, "query", 0)
        if kept is None:
            raise CheckpointError(f"checkpoint {shown(location)} holds no query yet")
        batches = {kind: log.numbers(KEY, kind) for kind in _KINDS}
        commit = log.get(KEY, "commit", batches["commit"][-1]) if batches["commit"] else None
        names = store.names(kept["id"])
        sizes = store.sizes(names)
        return Contents(
            location=shown(location),
            query=kept["id"],
            sources=kept["sources"],
            operators=kept["operators"],
            shards=kept["shards"],
            planned=max(batches["plan"], default=None),
            prepared=max(batches["prepared"], default=None),
            committed=max(batches["commit"], default=None),
            oldest=min(batches["plan"], default=None),
            watermark=commit["watermark"] if commit else None,
            blobs=len(names),
            bytes=sum(sizes.values()),
            state=_tables(_book(log, kept["id"]), sizes),
        )
    finally:
        log.close()
        store.close()


def _book(log: CheckpointLog, query: str) -> ChainBook:
    upto = log.latest(KEY, "prepared")
    book = ChainBook(query)
    if upto is not None:
        entries, full = prepared_entries(log, query, upto)
        for entry in entries[full:]:
            book.add(entry)
    return book


def _tables(book: ChainBook, sizes: dict[BlobName, int]) -> list[dict[str, Any]]:
    return [
        {
            "operator": operator,
            "shards": len(shards),
            "blobs": sum(len(chain) for chain in shards.values()),
            "bytes": sum(sizes.get(name, 0) for chain in shards.values() for name in chain),
        }
        for operator, shards in sorted(book.chains.items())
    ]


def state(location: str, operator: str | None, shard: int | None, rows: int) -> list[StateTable]:
    """The tables of a query's state as of its last prepared batch, with their first ``rows`` rows.

    ``operator`` is a table's name (``op0.groups``) or an operator's (``op0``), ``shard`` one shard; None: all.
    """
    for last in range(_TRIES):
        log, store = open_(location)
        try:
            return _state(location, log, store, operator, shard, rows)
        except CorruptCheckpointError:
            if last == _TRIES - 1:
                raise
        finally:
            log.close()
            store.close()
    raise AssertionError


def _state(
    location: str, log: CheckpointLog, store: StateStore, operator: str | None, shard: int | None, rows: int
) -> list[StateTable]:
    kept = log.get(KEY, "query", 0)
    if kept is None:
        raise CheckpointError(f"checkpoint {shown(location)} holds no query yet")
    upto = log.latest(KEY, "prepared")
    chains = _book(log, kept["id"]).chains
    names = [o for o in sorted(chains) if operator is None or operator in (o, o.partition(".")[0])]
    if operator is not None and not names:
        known = ", ".join(sorted(chains)) or "none"
        raise CheckpointError(
            f"checkpoint {shown(location)} has no state of operator {operator!r}; known: {known}"
        )
    made = []
    for name in names:
        shards = {s: chain for s, chain in chains[name].items() if shard in (None, s)}
        made.append(_table(shown(location), name, upto or 0, store, shards, rows))
    return made


def _table(
    where: str, operator: str, version: int, store: StateStore, shards: dict[int, list[BlobName]], rows: int
) -> StateTable:
    """One shard after another, so that a large state is never whole in memory."""
    counts: dict[int, int] = {}
    first: list[pa.Table] = []
    for shard, chain in sorted(shards.items()):
        blobs = store.get(chain)
        schema, count = shape_of(blobs[chain[0]])
        held = merged([decode_delta(blobs[name], schema, count) for name in chain]).rows
        counts[shard] = held.num_rows
        left = rows - sum(t.num_rows for t in first)
        if left > 0 and held.num_rows:
            first.append(held.slice(0, left))
    table = pa.concat_tables(first) if first else pa.table({})
    return StateTable(where, operator, sum(counts.values()), counts, version, table)


# --- Copying --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Copied:
    """What went from one place to another."""

    source: str
    destination: str
    entries: int
    blobs: int
    bytes: int


def copy(source: str, destination: str) -> Iterator[Copied]:
    """Carry all checkpoints at and below ``source`` to ``destination``, under the same names.

    Takes the lease of both sides for the time: a query that runs has to be stopped first. A copy that was broken off
    can be made again. What is there already with other content is an error.
    """
    for each in checkpoints(source):
        below = _below(source, each)
        to = join(destination, *below.split("/")) if below else destination
        if shown(each) == shown(to):
            raise CheckpointError(f"{shown(source)} and {shown(destination)} are the same checkpoint")
        yield _copy(each, to)


def _below(base: str, location: str) -> str:
    start, whole = (shown(join(each)).partition("?")[0].rstrip("/") for each in (base, location))
    return whole.removeprefix(start).strip("/")


def _copy(source: str, destination: str) -> Copied:
    log, store = open_(source)
    to_log, to_store = open_(destination)
    try:
        old = log.acquire(f"tidemill checkpoint copy to {shown(destination)}")
        kept = log.get(KEY, "query", 0)
        if kept is None:
            raise CheckpointError(f"checkpoint {shown(source)} holds no query yet")
        there = to_log.get(KEY, "query", 0)
        if there is not None:
            raise CheckpointError(
                f"checkpoint {shown(destination)} holds query {there['id']} already; give a destination that holds none"
            )
        new = to_log.acquire(f"tidemill checkpoint copy from {shown(source)}", above=old.number)
        blobs, size = _copy_blobs(store, to_store, kept["id"])
        for i in range(len(kept["sources"])):
            mine = to_log.source_log(i)
            for n, remembered in log.source_log(i).read():
                mine.put(n, remembered)
        entries = 0
        for kind, n in _in_order(log):
            entry = log.get(KEY, kind, n)
            if entry is not None and to_log.get(KEY, kind, n) != entry:
                to_log.put_new(KEY, kind, n, entry, new)
            entries += 1
        # Last: without it a driver takes nothing that is there for whole.
        to_log.put_new(KEY, "query", 0, kept, new)
        return Copied(shown(source), shown(destination), entries + 1, blobs, size)
    finally:
        for each in (log, store, to_log, to_store):
            each.close()


def _in_order(log: CheckpointLog) -> list[tuple[Kind, int]]:
    """The batches' entries in the order in which a driver writes them."""
    numbers = [(n, place, kind) for place, kind in enumerate(_KINDS) for n in log.numbers(KEY, kind)]
    return [(kind, n) for n, _, kind in sorted(numbers)]


def _copy_blobs(store: StateStore, to: StateStore, query: str) -> tuple[int, int]:
    names = store.names(query)
    size = 0
    for some in _portions(names, store.sizes(names)):
        blobs = store.get(some)
        to.put(blobs)
        size += sum(map(len, blobs.values()))
    to.sync()
    return len(names), size


def _portions(names: Iterable[BlobName], sizes: dict[BlobName, int]) -> Iterator[Sequence[BlobName]]:
    by_size: dict[int, list[BlobName]] = defaultdict(list)
    total = 0
    for name in names:
        by_size[total // _COPY_BYTES].append(name)
        total += sizes.get(name, 0)
    yield from by_size.values()
