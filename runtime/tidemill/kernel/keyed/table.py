"""The keyed state table: rows by slot behind a hash index, changed in attempts that can be taken back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from tidemill.errors import CheckpointError
from tidemill.kernel.keyed.columns import FixedColumn, Saved, is_fixed
from tidemill.kernel.keyed.delta import (
    RESERVED,
    WORTH_COMPRESSING,
    Delta,
    Encoder,
    ShardDelta,
    bookkeeping,
    decode_delta,
    latest,
    shard_of,
)
from tidemill.kernel.keyed.expiry import NEVER, ExpiryWheel
from tidemill.kernel.keyed.index import HashIndex
from tidemill.kernel.keyed.rowlog import RowLog
from tidemill.kernel.keyed.vectors import NO_SLOTS, Hashes, IdPool, Int64s, Ints, Vector, distinct

ALIVE, TOUCHED, BORN = np.uint8(1), np.uint8(2), np.uint8(4)
"""A slot has a row; the attempt has written or removed it; it had none before the attempt."""
MOST_SHARDS = 1024
NO_IDS = np.empty(0, np.uint64)


@dataclass
class _Attempt:
    """What to take back, and what the delta is made of."""

    next_row_id: int
    touched: list[Int64s] = field(default_factory=list)
    removed: list[tuple[Int64s, Hashes]] = field(default_factory=list)
    columns: list[tuple[FixedColumn, Int64s, Saved]] = field(default_factory=list)
    expiry: list[tuple[Int64s, Int64s]] = field(default_factory=list)


class KeyedTable:
    """Rows of one stateful operator, found by a 64-bit hash of their keys; one hash may have many rows.

    A row lives in a *slot* (int64; meaningless outside of this table, and free for another row once an attempt that
    removed it is accepted). Unequal keys may have equal hashes: `find` gives candidates, the caller compares keys.
    What an operation costs follows the rows it touches, not the rows there are; only `scan`, `slots`, `drop` and
    snapshots read all of them. Writes go in attempts: `begin`, writes, `delta`, then `accept` or `rollback`.

    Columns of fixed width are changed in place, and `update` may name some of the columns only, which makes flags
    and counters cheap. The others lie in logs: those of ``stable`` (keys, say, which updates leave alone) in one, the
    rest in another; a log's columns are rewritten together. A table belongs to one thread at a time.

    >>> table = KeyedTable(pa.schema([("word", pa.string()), ("hits", pa.int64())]))
    >>> rows = pa.table({"word": ["ebb", "flow"], "hits": [1, 2]})
    >>> table.begin()
    >>> slots = table.insert(rows, np.array([11, 12], np.uint64))
    >>> table.accept()
    >>> query, found = table.find(np.array([12, 13], np.uint64))
    >>> query.tolist(), table.gather(found).to_pylist()
    ([0], [{'word': 'flow', 'hits': 2}])
    """

    def __init__(self, schema: pa.Schema, shards: int = 64, stable: Collection[str] = ()) -> None:
        """``shards``: 1 to 1024, the number of slices that `delta` is cut into (by hash modulo shards)."""
        _check(schema, shards)
        self.schema = pa.schema([pa.field(column.name, column.type) for column in schema])
        self.shards = shards
        self._index = HashIndex()
        self._fixed = {column.name: FixedColumn(column.type) for column in schema if is_fixed(column.type)}
        varying = [column for column in self.schema if column.name not in self._fixed]
        groups = [[c for c in varying if (c.name in stable) is kept] for kept in (True, False)]
        self._logs = [RowLog(pa.schema(group)) for group in groups if group]
        self._wheel: ExpiryWheel | None = None
        self._encoder = Encoder(shards)
        self._pool = IdPool()
        self._status = Vector(np.uint8)
        self._row_id = Vector(np.uint64)
        self._shard = Vector(np.uint16)
        self._next_row_id = 0
        self._count = 0
        self._attempt: _Attempt | None = None

    # Reading

    def __len__(self) -> int:
        return self._count

    def find(self, hashes: Hashes) -> tuple[Int64s, Int64s]:
        """All pairs (position in ``hashes``, slot of a row with that hash), ordered by position."""
        return self._index.find(hashes)

    def gather(self, slots: Ints, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of the slots, in their order; all columns in the schema's order, or those named."""
        names = self.schema.names if columns is None else list(columns)
        arrays: dict[str, pa.Array | pa.ChunkedArray] = {}
        for log in self._logs:
            wanted = [name for name in log.schema.names if name in names]
            if wanted:
                part = pa.Table.from_batches(
                    log.take(slots, wanted), pa.schema([self.schema.field(name) for name in wanted])
                )
                arrays |= dict(zip(wanted, part.columns, strict=True))
        for name in names:
            if name in self._fixed:
                arrays[name] = self._fixed[name].take(slots)
        schema = pa.schema([self.schema.field(name) for name in names])
        return pa.table([arrays[name] for name in names], schema=schema)

    def slots(self) -> Int64s:
        """The slots of all rows, ascending. Reads the whole table."""
        return np.flatnonzero(self._status.data & ALIVE)

    def scan(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows, in the order of `slots`. Reads the whole table."""
        return self.gather(self.slots(), columns)

    def row_ids(self, slots: Ints) -> Hashes:
        """Numbers that rise in the order of insertion and survive recovery, unlike slots; unique within a shard."""
        return self._row_id.data.take(slots)

    def hashes(self, slots: Ints) -> Hashes:
        return self._index.hashes(slots)

    def expiry(self, slots: Ints) -> Int64s:
        """Microseconds; the greatest int64 for rows that never expire."""
        return np.full(len(slots), NEVER) if self._wheel is None else self._wheel.read(slots)

    def expired(self, watermark: int) -> Int64s:
        """The slots of rows that expire at or before the watermark (microseconds), ascending; removes nothing.

        Costs what they are and at most the rows of one second more, if the rows found are removed before `accept`.
        """
        if self._wheel is None:
            return NO_SLOTS
        slots = self._wheel.expired(int(watermark))
        return slots[(self._status.data.take(slots) & ALIVE) != 0]

    @property
    def nbytes(self) -> int:
        """Memory in use, about: without what Python and malloc add."""
        parts: list[Vector | FixedColumn | RowLog | HashIndex | IdPool | ExpiryWheel] = [
            self._index, self._pool, self._status, self._row_id, self._shard, *self._fixed.values(), *self._logs,
        ]  # fmt: skip
        return sum(part.nbytes for part in parts) + (self._wheel.nbytes if self._wheel else 0)

    # Attempts

    def begin(self) -> None:
        """Start an attempt: what is written from here on can be taken back."""
        if self._attempt is not None:
            raise RuntimeError(
                "an attempt is open already; accept it or roll it back before the next one begins"
            )
        self._attempt = _Attempt(self._next_row_id)

    def accept(self) -> None:
        """Keep the attempt's writes, and do a bounded share of the upkeep."""
        attempt, self._attempt = self._open(), None
        touched = _joined(attempt.touched)
        status = self._status.data.take(touched)
        dead = touched[(status & ALIVE) == 0]
        self._status.data[touched] = status & ALIVE
        for log in self._logs:
            log.accept(dead)
        self._free(dead)
        if self._wheel is not None:
            self._wheel.settle()

    def rollback(self) -> None:
        """Take the attempt's writes back: the same rows under the same slots as at `begin`."""
        attempt, self._attempt = self._open(), None
        for log in self._logs:
            log.rollback()
        for column, slots, saved in reversed(attempt.columns):
            column.restore(slots, saved)
        for slots, expiry in reversed(attempt.expiry):
            assert self._wheel is not None
            self._wheel.restore(slots, expiry)
        self._unindex(attempt)
        self._next_row_id = attempt.next_row_id

    def _unindex(self, attempt: _Attempt) -> None:
        touched = _joined(attempt.touched)
        status = self._status.data.take(touched)
        born = (status & BORN) != 0
        self._index.remove(touched[born & ((status & ALIVE) != 0)])
        for slots, hashes in attempt.removed:
            old = (self._status.data.take(slots) & BORN) == 0
            self._index.add(hashes[old], slots[old])
        self._status.data[touched] = np.where(born, 0, ALIVE)
        self._free(touched[born])
        kept = status & (ALIVE | BORN)
        self._count += int((kept == 0).sum()) - int((kept == ALIVE | BORN).sum())

    # Writing, within an attempt

    def insert(self, rows: pa.Table, hashes: Hashes, expiry: Int64s | None = None) -> Int64s:
        """Add rows under their hashes; their new slots. ``expiry`` in microseconds; none is never."""
        first = self._next_row_id
        self._next_row_id += rows.num_rows
        return self._insert(rows, hashes, expiry, np.arange(first, self._next_row_id, dtype=np.uint64))

    def update(self, slots: Int64s, rows: pa.Table, expiry: Int64s | None = None) -> None:
        """Replace the columns that ``rows`` has in the rows of distinct slots; an ``expiry`` of none keeps the old."""
        attempt = self._touch(slots)
        rows = self._checked(rows, self.schema.names)
        for name, column in self._fixed.items():
            if name in rows.column_names:
                attempt.columns.append((column, slots, column.save(slots)))
                column.put(slots, _whole(rows.column(name)))
        for log in self._logs:
            given = [name for name in log.schema.names if name in rows.column_names]
            if given:
                log.write(slots, self._completed(log, slots, rows.select(given)))
        if expiry is not None:
            attempt.expiry.append((slots, self._wheel_in_use().change(slots, expiry)))

    def remove(self, slots: Ints) -> None:
        """Remove the rows of the slots, which `gather` can read until the attempt is accepted."""
        gone = distinct(slots).astype(np.int64)
        attempt = self._touch(gone)
        attempt.removed.append((gone, self._index.hashes(gone)))
        self._index.remove(gone)
        self._status.data[gone] &= ~ALIVE
        self._count -= len(gone)

    # Durable forms

    def delta(self) -> list[ShardDelta]:
        """What the attempt has changed so far, for each shard that it touched, by shard."""
        touched = _joined(self._open().touched)
        status = self._status.data.take(touched)
        alive = (status & ALIVE) != 0
        return self._encoded(touched[alive], touched[~alive & ((status & BORN) == 0)])

    def snapshot(self, shard: int) -> ShardDelta:
        """All rows of a shard, as a delta from nothing: with it the blobs before it are not needed."""
        if self._attempt is not None:
            raise RuntimeError("an attempt is open; accept it or roll it back before a snapshot")
        mine = (self._shard.data == shard) & ((self._status.data & ALIVE) != 0)
        encoded = self._encoded(np.flatnonzero(mine), NO_SLOTS)
        return encoded[0] if encoded else self._encoder.encode(shard, self._rows(NO_SLOTS), NO_IDS, False)

    def load(self, blobs: Iterable[bytes]) -> None:
        """Add shards from their snapshots and deltas; each shard's blobs come in the order of their writing.

        Shards may come from several tables, and be added while others are here. Raises `CorruptCheckpointError`,
        `IncompatiblePlanError`, and `CheckpointError` for a shard that has rows here already.
        """
        chains: dict[int, list[bytes]] = {}
        for blob in blobs:
            chains.setdefault(shard_of(blob), []).append(blob)
        self._check_absent(chains)
        self.begin()
        try:
            for chain in chains.values():  # one shard after the other, so that only one is in memory twice
                for delta in latest(decode_delta(blob, self.schema, self.shards) for blob in chain):
                    self._load(delta)
        except BaseException:
            self.rollback()
            raise
        self.accept()

    def drop(self, shards: Collection[int]) -> None:
        """Forget shards that have moved to another executor; no delta tells of it. Reads the whole table."""
        mine = np.isin(self._shard.data, list(shards)) & ((self._status.data & ALIVE) != 0)
        self.begin()
        self.remove(np.flatnonzero(mine))
        self.accept()

    # Parts

    def _insert(self, rows: pa.Table, hashes: Hashes, expiry: Int64s | None, row_ids: Hashes) -> Int64s:
        attempt = self._open()
        rows = self._checked(rows, None)
        slots = self._pool.take(rows.num_rows)
        self._reserve()
        self._status.data[slots] = ALIVE | TOUCHED | BORN
        attempt.touched.append(slots)
        self._count += len(slots)
        self._row_id.data[slots] = row_ids
        self._shard.data[slots] = hashes % np.uint64(self.shards)
        self._index.add(hashes, slots)
        for name, column in self._fixed.items():
            column.put(slots, _whole(rows.column(name)))
        for log in self._logs:
            log.write(slots, rows.select(log.schema.names))
        if expiry is not None:
            self._wheel_in_use().change(slots, expiry)
        return slots

    def _load(self, delta: Delta) -> None:
        self._insert(delta.rows, delta.hashes, delta.expiry, delta.row_ids)
        highest = max((int(ids.max()) for ids in (delta.row_ids, delta.removed) if len(ids)), default=-1)
        self._next_row_id = max(self._next_row_id, highest + 1)

    def _check_absent(self, shards: Collection[int]) -> None:
        here = np.unique(self._shard.data[self.slots()])
        if both := sorted(set(here.tolist()) & set(shards)):
            raise CheckpointError(
                f"shards {both} are in the state table already; drop them before they are loaded"
            )

    def _reserve(self) -> None:
        parts: list[Vector | FixedColumn | RowLog] = [self._status, self._row_id, self._shard]
        for part in [*parts, *self._fixed.values(), *self._logs]:
            part.reserve(self._pool.end)
        if self._wheel is not None:
            self._wheel.reserve(self._pool.end)

    def _wheel_in_use(self) -> ExpiryWheel:
        if self._wheel is None:
            self._wheel = ExpiryWheel()
            self._wheel.reserve(self._pool.end)
        return self._wheel

    def _open(self) -> _Attempt:
        if self._attempt is None:
            raise RuntimeError("no attempt is open; call begin() before writing to the state table")
        return self._attempt

    def _touch(self, slots: Int64s) -> _Attempt:
        attempt = self._open()
        status = self._status.data.take(slots)
        if not (status & ALIVE).all():
            raise RuntimeError(
                f"{int(((status & ALIVE) == 0).sum())} of {len(slots)} slots to write have no row"
            )
        attempt.touched.append(slots[(status & TOUCHED) == 0])
        self._status.data[slots] = status | TOUCHED
        return attempt

    def _free(self, slots: Int64s) -> None:
        self._status.data[slots] = 0
        self._pool.give_back(slots)
        if self._wheel is not None:
            self._wheel.forget(slots)

    def _checked(self, rows: pa.Table, optional: Collection[str] | None) -> pa.Table:
        """The table's columns in its types; all of them unless they are ``optional``."""
        have = set(rows.column_names)
        wanted = [name for name in self.schema.names if optional is None or name in have]
        strange = have - set(wanted)
        missing = set(wanted) - have
        if strange or missing:
            raise ValueError(
                f"rows for the state table lack columns {sorted(missing)}, have unknown {sorted(strange)}"
            )
        rows, schema = rows.select(wanted), pa.schema([self.schema.field(name) for name in wanted])
        return rows if rows.schema.equals(schema) else rows.cast(schema)

    def _completed(self, log: RowLog, slots: Int64s, rows: pa.Table) -> pa.Table:
        """Rows with all columns of a log, those that are not given as they are now."""
        missing = [name for name in log.schema.names if name not in rows.column_names]
        if missing:
            old = self.gather(slots, missing)
            for name in missing:
                rows = rows.append_column(name, old.column(name))
        return rows.select(log.schema.names)

    def _rows(self, slots: Int64s) -> pa.Table:
        rows = self.gather(slots)
        expiry = None if self._wheel is None else self._wheel.read(slots)
        for name, array in bookkeeping(self._index.hashes(slots), self.row_ids(slots), expiry).items():
            rows = rows.append_column(name, array)
        return rows

    def _encoded(self, upserted: Int64s, removed: Int64s) -> list[ShardDelta]:
        upserted, up_ends = self._by_shard(upserted)
        removed, gone_ends = self._by_shard(removed)
        rows, ids = self._rows(upserted), self.row_ids(removed)
        per_row = rows.nbytes / max(len(upserted), 1)
        if len(upserted) and all(column.num_chunks == 1 for column in rows.columns):
            rows = rows.to_batches()[0]  # slicing a batch is faster than slicing a table
        deltas = []
        up = gone = 0
        for shard, (up_end, gone_end) in enumerate(zip(up_ends, gone_ends, strict=True)):
            if up_end > up or gone_end > gone:
                mine, lost = rows.slice(up, up_end - up), ids[gone:gone_end]
                compress = mine.num_rows * per_row + lost.nbytes >= WORTH_COMPRESSING
                deltas.append(self._encoder.encode(shard, mine, lost, compress))
            up, gone = up_end, gone_end
        return deltas

    def _by_shard(self, slots: Int64s) -> tuple[Int64s, list[int]]:
        """The slots in the order of their shards, and where each shard's end."""
        shard = self._shard.data.take(slots)
        order = np.argsort(shard, kind="stable")
        return slots[order], np.cumsum(np.bincount(shard, minlength=self.shards)).tolist()


def _joined(parts: list[Int64s]) -> Int64s:
    return np.concatenate(parts) if parts else NO_SLOTS


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _check(schema: pa.Schema, shards: int) -> None:
    if not 1 <= shards <= MOST_SHARDS:
        raise ValueError(f"a state table has 1 to {MOST_SHARDS} shards, not {shards}")
    for column in schema:
        if (unfit := _unfit(column.type)) is not None:
            raise TypeError(
                f"state column {column.name!r} is {column.type}, and Arrow cannot take from {unfit}; "
                "cast it to the plain type that it stands for"
            )
        if column.name in RESERVED or schema.names.count(column.name) > 1:
            raise ValueError(
                f"state column {column.name!r} is named twice, or like a column of ours; rename it"
            )


def _unfit(kind: pa.DataType) -> pa.DataType | None:
    """The part of a type that Arrow 26 has no kernel for, or that differs from batch to batch."""
    views = (
        pa.types.is_string_view,
        pa.types.is_binary_view,
        pa.types.is_list_view,
        pa.types.is_large_list_view,
    )
    if any(is_kind(kind) for is_kind in (*views, pa.types.is_dictionary, pa.types.is_run_end_encoded)):
        return kind
    parts = (kind.field(number).type for number in range(kind.num_fields))
    return next((unfit for part in parts if (unfit := _unfit(part)) is not None), None)
