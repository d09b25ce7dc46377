"""The keyed state table: rows by slot behind a hash index, changed in attempts that can be taken back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from tidemill.errors import CheckpointError
from tidemill.kernel.keyed.delta import (
    EXPIRY,
    HASH,
    PARTS,
    RESERVED,
    ROW_ID,
    Delta,
    Encoder,
    ShardDelta,
    decode_delta,
    shard_of,
)
from tidemill.kernel.keyed.expiry import NEVER, ExpiryWheel
from tidemill.kernel.keyed.index import HashIndex
from tidemill.kernel.keyed.replay import merged
from tidemill.kernel.keyed.store import RowStore
from tidemill.kernel.keyed.vectors import NO_SLOTS, Bytes, Hashes, IdPool, Int64s, Ints, Vector, distinct

ALIVE, TOUCHED, BORN = np.uint8(1), np.uint8(2), np.uint8(4)
"""A slot has a row; the attempt has written or removed it; it had none before the attempt."""
PARTS_AT, ALL_PARTS = np.uint8(3), np.uint8(0b11000)
"""Two more bits of a slot's status: which parts of its columns the attempt has written."""
MOST_SHARDS = 1024
SMALL_SHARD = 100
"""Rows of a snapshot that is not worth compressing."""
NO_IDS = np.empty(0, np.uint64)


@dataclass
class _Attempt:
    """What to take back, and what the delta is made of."""

    next_row_id: int
    touched: list[Int64s] = field(default_factory=list)
    removed: list[tuple[Int64s, Hashes]] = field(default_factory=list)
    expiry: list[tuple[Int64s, Int64s]] = field(default_factory=list)


class KeyedTable:
    """Rows of one stateful operator, found by a 64-bit hash of their keys; one hash may have many rows.

    A row lives in a *slot* (int64; meaningless outside of this table, and free for another row once an attempt that
    removed it is accepted). Unequal keys may have equal hashes: `find` gives candidates, the caller compares keys.
    What an operation costs follows the rows it touches, not the rows there are; only `scan`, `slots`, `drop` and
    snapshots read all of them. Writes go in attempts: `begin`, writes, `delta`, then `accept` or `rollback`.

    Columns of fixed width are changed in place, and `update` may name some of the columns only, which makes flags
    and counters cheap. The others lie in two logs: those of ``stable`` (keys, say, which updates leave alone) in one,
    the rest in the other. An update rewrites, and the delta holds, those logs' rows only that it names columns of. A
    table belongs to one thread at a time.

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
        self._store = RowStore(schema, stable)
        self.schema = self._store.schema
        self.shards = shards
        self._index = HashIndex()
        self._wheel: ExpiryWheel | None = None
        self._encoder = Encoder(shards, self._store.parts)
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
        return self._store.gather(slots, None if columns is None else list(columns))

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
        parts = (self._store, self._index, self._pool, self._status, self._row_id, self._shard)
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
        self._store.accept(dead)
        self._free(dead)
        if self._wheel is not None:
            self._wheel.settle()

    def rollback(self) -> None:
        """Take the attempt's writes back: the same rows under the same slots as at `begin`."""
        attempt, self._attempt = self._open(), None
        self._store.rollback()
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
        written = np.uint8(self._store.update(slots, rows))
        self._status.data[slots] |= written << PARTS_AT
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
        return self._encoded(
            touched[alive], status[alive] >> PARTS_AT, touched[~alive & ((status & BORN) == 0)]
        )

    def snapshot(self, shard: int) -> ShardDelta:
        """All rows of a shard, as a delta from nothing: with it the blobs before it are not needed."""
        if self._attempt is not None:
            raise RuntimeError("an attempt is open; accept it or roll it back before a snapshot")
        mine = (self._shard.data == shard) & ((self._status.data & ALIVE) != 0)
        slots = np.flatnonzero(mine)
        return self._encoder.encode(shard, self._rows(slots, None), NO_IDS, compress=len(slots) > SMALL_SHARD)

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
                self._load(merged([decode_delta(blob, self.schema, self.shards) for blob in chain]))
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
        rows = self._store.fitted(rows)
        slots = self._pool.take(rows.num_rows)
        self._reserve()
        self._status.data[slots] = ALIVE | TOUCHED | BORN | ALL_PARTS
        attempt.touched.append(slots)
        self._count += len(slots)
        self._row_id.data[slots] = row_ids
        self._shard.data[slots] = hashes % np.uint64(self.shards)
        self._index.add(hashes, slots)
        self._store.insert(slots, rows)
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
        for part in (self._status, self._row_id, self._shard, self._store):
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

    def _rows(self, slots: Int64s, parts: Bytes | None) -> pa.Table:
        """Rows as a delta has them, whole or with those parts that each has a bit for."""
        own: dict[str, Ints] = {HASH: self._index.hashes(slots), ROW_ID: self.row_ids(slots)}
        if self._wheel is not None:
            own[EXPIRY] = self._wheel.read(slots)
        if parts is None or self._store.are_whole(parts):
            rows = self._store.gather(slots)
        else:
            rows = self._store.gather_parts(slots, parts)
            own[PARTS] = parts
        for name, values in own.items():
            rows = rows.append_column(name, pa.array(values))
        return rows

    def _encoded(self, upserted: Int64s, parts: Bytes, removed: Int64s) -> list[ShardDelta]:
        order, ends = self._by_shard(upserted)
        lost_order, lost_ends = self._by_shard(removed)
        rows = self._rows(upserted[order], parts[order])
        return self._encoder.cut(rows, ends, self.row_ids(removed[lost_order]), lost_ends)

    def _by_shard(self, slots: Int64s) -> tuple[Int64s, list[int]]:
        """The order that puts slots shard by shard, and where each shard's end."""
        shard = self._shard.data.take(slots)
        order = np.argsort(shard, kind="stable")  # a radix sort, since shards are 16 bits wide
        return order, np.cumsum(np.bincount(shard, minlength=self.shards)).tolist()


def _joined(parts: list[Int64s]) -> Int64s:
    return np.concatenate(parts) if parts else NO_SLOTS


def _check(schema: pa.Schema, shards: int) -> None:
    if not 1 <= shards <= MOST_SHARDS:
        raise ValueError(f"a state table has 1 to {MOST_SHARDS} shards, not {shards}")
    for name in schema.names:
        if name in RESERVED or schema.names.count(name) > 1:
            raise ValueError(f"state column {name!r} is named twice, or like a column of ours; rename it")
