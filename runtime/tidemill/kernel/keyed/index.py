"""The key index: 64-bit hashes to slots, many slots to a hash allowed."""

from __future__ import annotations

import numpy as np

from tidemill.kernel.keyed.blocks import HOLE, Blocks
from tidemill.kernel.keyed.vectors import Hashes, IdPool, Int64s, Ints, Vector, distinct, runs

EMPTY = -1
FIRST_BUCKETS = 64
SPREAD = np.uint64(
    0x9E3779B97F4A7C15
)  # 2**64 / golden ratio: spreads hashes that share their low bits (one shard's)
HIGH_HALF = np.uint64(32)


class HashIndex:
    """A multimap from hashes to slots, by linear hashing over numpy vectors.

    Each distinct hash is an *entry* in the chain of a *bucket*. An entry refers to its only slot, or to a block of
    slots. Buckets are split a few at a time as entries come, so that no batch pays for all of them; chains are
    followed for all hashes at once, a step of the longest chain costing one pass over the hashes still on their way
    (12 steps at 10 M entries, the second one over a third of them).

    Entry 0 ends every chain, which is what new zeroed memory holds.
    """

    def __init__(self) -> None:
        self._low = FIRST_BUCKETS  # buckets when this round of splits began: a power of two
        self._buckets = FIRST_BUCKETS
        self._head = Vector(np.int32, FIRST_BUCKETS)  # by bucket
        self._entries = IdPool(start=1)
        self._hash = Vector(np.uint64, 1)  # by entry
        self._next = Vector(np.int32, 1)  # by entry
        self._ref = Vector(np.int32, 1)  # by entry: a slot, or -2 - block, or EMPTY
        self._entry = Vector(np.int32)  # by slot
        self._blocks = Blocks()

    def find(self, hashes: Hashes) -> tuple[Int64s, Int64s]:
        """All pairs (position in ``hashes``, slot), ordered by position."""
        entries = self._lookup(hashes)
        query = np.flatnonzero(entries)
        refs = self._ref.data.take(entries[query])
        shared = refs < 0
        if not shared.any():
            return query, refs.astype(np.int64)
        blocks = -2 - refs[shared]
        lengths = np.ones(len(refs), np.int64)
        lengths[shared] = self._blocks.lengths(blocks)
        slots = np.repeat(refs, lengths)
        slots[slots < 0] = self._blocks.read(blocks)
        present = slots != HOLE
        return np.repeat(query, lengths)[present], slots[present].astype(np.int64)

    def add(self, hashes: Hashes, slots: Int64s) -> None:
        """Put each slot under its hash."""
        if not len(slots):
            return
        entries = self._entries_of(hashes)
        self._entry.reserve(int(slots.max()) + 1)
        self._entry.data[slots] = entries
        ref = self._ref.data
        empty = ref.take(entries) == EMPTY
        ref[entries[empty]] = slots[empty]  # of several new slots under one hash the last one stays
        others = np.flatnonzero(ref.take(entries) != slots)
        if len(others):
            self._share(entries[others], slots[others])

    def remove(self, slots: Int64s) -> None:
        """Take out distinct slots."""
        entries = self._entry.data.take(slots)
        refs = self._ref.data.take(entries)
        shared = refs < 0
        gone = entries[~shared]
        if shared.any():
            ids = (-2 - refs[shared]).astype(np.int64)
            emptied = self._blocks.remove(ids, slots[shared])
            last = np.isin(ids, emptied)
            gone = np.concatenate([gone, distinct(entries[shared][last])])
            self._blocks.free(emptied)
        if len(gone):
            self._drop(gone)

    def hashes(self, slots: Ints) -> Hashes:
        """The hash under which each slot lies."""
        return self._hash.data.take(self._entry.data.take(slots))

    @property
    def nbytes(self) -> int:
        vectors = (self._head, self._hash, self._next, self._ref, self._entry)
        return sum(vector.nbytes for vector in vectors) + self._entries.nbytes + self._blocks.nbytes

    def _lookup(self, hashes: Hashes) -> Ints:
        """The entry of each hash, 0 where there is none."""
        at = self._head.data.take(self._bucket(hashes))
        found = np.where(self._hash.data.take(at) == hashes, at, 0)
        todo = np.flatnonzero((at != 0) & (found == 0))
        at = at[todo]
        while len(todo):
            at = self._next.data.take(at)
            same = self._hash.data.take(at) == hashes[todo]
            found[todo[same]] = at[same]  # at the end of a chain, a hash that equals entry 0's finds 0: none
            further = np.flatnonzero((at != 0) & ~same)
            todo, at = todo[further], at[further]
        return found

    def _entries_of(self, hashes: Hashes) -> Ints:
        """The entry of each hash, made where there is none."""
        entries = self._lookup(hashes)
        missing = np.flatnonzero(entries == 0)
        if len(missing):
            order = np.argsort(hashes[missing])
            ordered = hashes[missing[order]]
            starts, lengths = runs(ordered)
            new = self._entries.take(len(starts))
            for vector in (self._hash, self._next, self._ref):
                vector.reserve(self._entries.end)
            self._hash.data[new] = ordered[starts]
            self._ref.data[new] = EMPTY
            entries[missing[order]] = np.repeat(new, lengths)
            self._split_buckets()
            self._link(new)
        return entries

    def _share(self, entries: Ints, slots: Int64s) -> None:
        """Add slots to entries that have one already, or more."""
        order = np.argsort(entries, kind="stable")
        starts, counts = runs(entries[order])
        owners = entries[order[starts]]
        refs = self._ref.data.take(owners)
        alone = refs >= 0
        if alone.any():
            refs[alone] = -2 - self._blocks.new(refs[alone])
            self._ref.data[owners[alone]] = refs[alone]
        self._blocks.append(-2 - refs, slots[order], counts)

    def _drop(self, entries: Ints) -> None:
        """Take distinct entries out of their chains: what else is in those buckets is linked anew."""
        self._ref.data[entries] = EMPTY
        buckets = distinct(self._bucket(self._hash.data.take(entries)))
        chained = self._chained(self._head.data.take(buckets))
        self._head.data[buckets] = 0
        self._link(chained[self._ref.data.take(chained) != EMPTY])
        self._entries.give_back(entries)

    def _bucket(self, hashes: Hashes) -> Int64s:
        spread = ((hashes * SPREAD) >> HIGH_HALF).view(np.int64)
        bucket = spread & (2 * self._low - 1)
        return np.where(bucket < self._buckets, bucket, bucket - self._low)

    def _link(self, entries: Ints) -> None:
        """Put entries at the head of their chains; of those that share a bucket one wins each pass."""
        bucket = self._bucket(self._hash.data.take(entries))
        while len(entries):
            old = self._head.data.take(bucket)
            self._head.data[bucket] = entries
            won = self._head.data.take(bucket) == entries
            self._next.data[entries[won]] = old[won]
            lost = np.flatnonzero(~won)
            entries, bucket = entries[lost], bucket[lost]

    def _chained(self, heads: Ints) -> Ints:
        """All entries of some chains."""
        parts = []
        while len(heads):
            heads = heads[heads != 0]
            parts.append(heads)
            heads = self._next.data.take(heads)
        return np.concatenate(parts) if parts else np.empty(0, np.int32)

    def _split_buckets(self) -> None:
        """Have as many buckets as entries: a step and a half to find one. Splits 1/1024 of them at a time, or more."""
        entries = self._entries.in_use
        if entries <= self._buckets:
            return
        wanted = entries + (entries >> 10) + FIRST_BUCKETS
        self._head.reserve(wanted)
        while self._buckets < wanted:
            first = self._buckets - self._low
            count = min(wanted - self._buckets, self._low - first)
            heads = self._head.data[first : first + count].copy()
            self._head.data[first : first + count] = 0
            chained = self._chained(heads)
            self._buckets += count
            if self._buckets == 2 * self._low:
                self._low *= 2
            self._link(chained)
