"""Many growing lists of slots in one array: what a hash that has several rows points at."""

from __future__ import annotations

import numpy as np

from tidemill.kernel.keyed.vectors import IdPool, Int64s, Ints, Vector, ranges, runs

HOLE = -1


class Blocks:
    """Lists of slots, each in one block of a shared arena.

    A block has a power of two of places, a quarter of them or more free when it is made, so that a slot is copied a
    bounded number of times however long its list grows. A removed slot leaves a hole; a block that is more than half
    holes is made anew. All methods work on many blocks at once.
    """

    def __init__(self) -> None:
        self._arena = Vector(np.int32)
        self._arena_end = 0
        self._spare: dict[int, IdPool] = {}  # by size class: starts of free blocks
        self._ids = IdPool()
        self._start = Vector(np.int32)
        self._used = Vector(np.int32)
        self._live = Vector(np.int32)
        self._class = Vector(np.uint8)
        self._place = Vector(np.int32)  # by slot: where it lies in the arena

    def new(self, slots: Ints) -> Int64s:
        """A block for each slot, holding it."""
        ids = self._ids.take(len(slots))
        for vector in (self._start, self._used, self._live, self._class):
            vector.reserve(self._ids.end)
        self._class.data[ids] = 0
        self._allocate(ids)
        self._live.data[ids] = 1
        self._fill(ids, slots)
        return ids

    def append(self, ids: Ints, slots: Ints, counts: Ints) -> None:
        """Add to each of the distinct blocks its ``counts`` of the slots, which lie one block after the other."""
        room = (1 << self._class.data[ids].astype(np.int64)) - self._used.data[ids]
        tight = counts > room
        if tight.any():
            self._renew(ids[tight], counts[tight])
        at = ranges(self._start.data[ids] + self._used.data[ids], counts)
        self._write(at, slots)
        self._used.data[ids] += counts.astype(np.int32)
        self._live.data[ids] += counts.astype(np.int32)

    def remove(self, ids: Ints, slots: Ints) -> Int64s:
        """Take each slot out of its block (blocks may repeat); the blocks that are empty now, for `free`."""
        self._arena.data[self._place.data[slots]] = HOLE
        ordered = np.sort(ids)
        first, counts = runs(ordered)
        touched = ordered[first].astype(np.int64)
        self._live.data[touched] -= counts.astype(np.int32)
        live = self._live.data[touched]
        sparse = touched[(live > 0) & (live * 2 < self._used.data[touched])]
        if len(sparse):
            self._renew(sparse, np.zeros(len(sparse), np.int64))
        return touched[live == 0]

    def free(self, ids: Int64s) -> None:
        self._release(ids)
        self._ids.give_back(ids)

    def lengths(self, ids: Ints) -> Ints:
        """Places in use, holes included."""
        return self._used.data[ids]

    def read(self, ids: Ints) -> Ints:
        """The lists one after the other, `HOLE` for a slot that was removed."""
        return self._arena.data.take(ranges(self._start.data[ids], self._used.data[ids]))

    @property
    def nbytes(self) -> int:
        vectors = (self._arena, self._start, self._used, self._live, self._class, self._place)
        return sum(vector.nbytes for vector in vectors) + sum(pool.nbytes for pool in self._spare.values())

    def _renew(self, ids: Ints, extra: Ints) -> None:
        """Move lists to new blocks, without their holes and with room for ``extra`` more slots and a third."""
        slots = self.read(ids)
        self._release(ids)
        wanted = (self._live.data[ids].astype(np.int64) + extra) * 4 / 3
        self._class.data[ids] = np.ceil(np.log2(wanted)).astype(np.uint8)
        self._allocate(ids)
        self._fill(ids, slots[slots != HOLE])

    def _fill(self, ids: Ints, slots: Ints) -> None:
        live = self._live.data[ids]
        self._used.data[ids] = live
        self._write(ranges(self._start.data[ids], live), slots)

    def _write(self, at: Int64s, slots: Ints) -> None:
        self._arena.data[at] = slots
        self._place.reserve(int(slots.max()) + 1)
        self._place.data[slots] = at

    def _allocate(self, ids: Ints) -> None:
        classes = self._class.data[ids]
        for size_class in np.flatnonzero(np.bincount(classes)).tolist():
            mine = ids[classes == size_class]
            old = self._spare.setdefault(size_class, IdPool()).reuse(len(mine))
            fresh = self._arena_end + (np.arange(len(mine) - len(old)) << size_class)
            self._arena_end += len(fresh) << size_class
            self._start.data[mine] = np.concatenate([old, fresh])
        self._arena.reserve(self._arena_end)

    def _release(self, ids: Ints) -> None:
        classes = self._class.data[ids]
        for size_class in np.flatnonzero(np.bincount(classes)).tolist():
            self._spare[size_class].give_back(self._start.data[ids[classes == size_class]])
