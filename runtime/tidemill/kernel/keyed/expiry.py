"""When rows expire: a hierarchical timing wheel over slots."""

from __future__ import annotations

import heapq

import numpy as np

from tidemill.kernel.keyed.vectors import NO_SLOTS, Int64s, Ints, Vector, distinct, runs

NEVER = int(np.iinfo(np.int64).max)
FINEST = 1_000_000
"""Microseconds of the narrowest buckets: a watermark inside of one looks at a second's worth of rows."""
FAN_OUT = 64
"""Buckets of one level within one of the next: a batch touches at most 64 or so of each level."""
LEVELS = 8
"""The last level's buckets are 140,000 years wide: no wider one fits an int64."""
WIDTHS = FINEST * FAN_OUT ** np.arange(LEVELS, dtype=np.int64)


class ExpiryWheel:
    """Slots by the watermark at which they expire, in buckets that are the coarser the further off they are.

    `expired` reads the buckets that begin at or before the watermark and moves nothing; `settle` then empties them and
    puts what still lies ahead into finer ones. An entry of a bucket counts only if its slot still expires within the
    bucket, so that a change of expiry, a freed slot or a write that was taken back needs no clean-up: what such
    entries cost is bounded by `settle`, which begins anew when they are three of four.
    """

    def __init__(self) -> None:
        self._expiry = Vector(np.int64)  # by slot; NEVER for slots without a row
        self._buckets: dict[int, _Bucket] = {}  # by LEVELS * number + level
        self._ahead: list[tuple[int, int]] = []  # heap of (start, key)
        self._due: list[int] = []  # keys taken off the heap
        self._watermark: int | None = None
        self._entries = 0

    def reserve(self, size: int) -> None:
        old = len(self._expiry.data)
        self._expiry.reserve(size)
        self._expiry.data[old:] = NEVER

    def read(self, slots: Ints) -> Int64s:
        return self._expiry.data.take(slots)

    def change(self, slots: Ints, expiry: Int64s) -> Int64s:
        """Set the expiry of distinct slots; what it was, for `restore`."""
        old = self._expiry.data.take(slots)
        self._expiry.data[slots] = expiry
        moved = np.flatnonzero((old != expiry) & (expiry != NEVER))
        self._place(slots[moved], expiry[moved])
        return old

    def restore(self, slots: Ints, old: Int64s | int) -> None:
        """Set the expiry back; no new entries are needed, since `settle` has not run in between."""
        self._expiry.data[slots] = old

    def forget(self, slots: Ints) -> None:
        """The slots have no row any more."""
        self._expiry.data[slots] = NEVER

    def expired(self, watermark: int) -> Int64s:
        """Distinct slots whose expiry is at or before the watermark."""
        while self._ahead and self._ahead[0][0] <= watermark:
            self._due.append(heapq.heappop(self._ahead)[1])
        self._watermark = watermark
        if not self._due:
            return NO_SLOTS
        slots = np.concatenate([self._buckets[key].slots for key in self._due])
        return distinct(slots[self._expiry.data.take(slots) <= watermark]).astype(np.int64)

    def settle(self) -> None:
        """Put what is left of the buckets that `expired` has read into finer ones."""
        due, self._due = self._due, []
        for key in due:
            bucket = self._buckets.pop(key)
            self._entries -= bucket.count
            number, level = divmod(key, LEVELS)
            slots = bucket.slots
            expiry = self._expiry.data.take(slots)
            slots = distinct(slots[(expiry // WIDTHS[level] == number) & (expiry != NEVER)])
            self._place(slots, self._expiry.data.take(slots))
        if self._entries > 4 * len(self._expiry.data) + 65_536:
            self._begin_anew()

    @property
    def nbytes(self) -> int:
        return self._expiry.nbytes + sum(bucket.nbytes for bucket in self._buckets.values())

    def _begin_anew(self) -> None:
        self._buckets, self._ahead, self._entries = {}, [], 0
        slots = np.flatnonzero(self._expiry.data != NEVER)
        self._place(slots, self._expiry.data.take(slots))

    def _place(self, slots: Ints, expiry: Int64s) -> None:
        if not len(slots):
            return
        if self._watermark is None:
            self._watermark = int(expiry.min())
        # The level only decides what a later `settle` costs, so that float precision is enough.
        distance = expiry.astype(np.float64) - float(self._watermark)
        level = np.searchsorted(WIDTHS[1:].astype(np.float64), distance, side="right")
        keys = expiry // WIDTHS[level] * LEVELS + level
        order = np.argsort(keys)
        starts, lengths = runs(keys[order])
        slots = slots[order].astype(np.int32)
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
            self._bucket(int(keys[order[start]])).append(slots[start : start + length])
        self._entries += len(slots)

    def _bucket(self, key: int) -> _Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket()
            number, level = divmod(key, LEVELS)
            heapq.heappush(self._ahead, (number * int(WIDTHS[level]), key))
        return bucket


class _Bucket:
    """A growing list of slots, repeats allowed."""

    __slots__ = ("_slots", "count")

    def __init__(self) -> None:
        self._slots = np.empty(16, np.int32)
        self.count = 0

    def append(self, slots: Ints) -> None:
        end = self.count + len(slots)
        if end > len(self._slots):
            self._slots.resize(max(end, len(self._slots) * 3 // 2), refcheck=False)
        self._slots[self.count : end] = slots
        self.count = end

    @property
    def slots(self) -> Ints:
        """A view, good until the next `append`."""
        return self._slots[: self.count]

    @property
    def nbytes(self) -> int:
        return self._slots.nbytes
