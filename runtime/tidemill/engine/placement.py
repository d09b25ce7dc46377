"""Which executor holds which shard, and which partitions each one reads. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

from tidemill.sources.base import Partition


def place(owners: Sequence[str | None], members: Sequence[str]) -> list[str]:
    """An owner among ``members`` for every shard: shares differ by one shard at most, and only shards move that must.

    >>> place([None] * 4, ["a", "b"])
    ['a', 'b', 'a', 'b']
    >>> place(["a", "a", "b", "b"], ["a", "b", "c"])
    ['a', 'a', 'b', 'c']
    >>> place(["a", "a", "b", "c"], ["a", "b"])
    ['a', 'a', 'b', 'b']
    """
    held: dict[str, list[int]] = {m: [] for m in members}
    for s, owner in enumerate(owners):
        if owner in held:
            held[owner].append(s)
    least, more = divmod(len(owners), len(members))
    # Those that hold the most may hold the odd shards, so that fewer move.
    richest = sorted(members, key=lambda m: -len(held[m]))
    room = {m: least + (1 if i < more else 0) for i, m in enumerate(richest)}
    placed: list[str | None] = [None] * len(owners)
    for m in members:
        for s in held[m][: room[m]]:
            placed[s] = m
        room[m] -= min(len(held[m]), room[m])
    return _fill(placed, members, room)


def _fill(placed: list[str | None], members: Sequence[str], room: dict[str, int]) -> list[str]:
    """Shards without an owner to those with room, in turns: neighbours are loaded by different executors."""
    turn = 0
    for s, owner in enumerate(placed):
        while owner is None:
            m = members[turn % len(members)]
            turn += 1
            if room[m]:
                room[m] -= 1
                placed[s] = owner = m
    return [m for m in placed if m is not None]


def moves(before: Sequence[str | None], after: Sequence[str | None]) -> dict[str, list[int]]:
    """The shards that each executor has after and had not before."""
    found: dict[str, list[int]] = {}
    for shard, (old, new) in enumerate(zip(before, after, strict=True)):
        if old != new and new is not None:
            found.setdefault(new, []).append(shard)
    return found


class Dealer:
    """Gives out the partitions of one query, batch after batch.

    One that says whom it likes (`Partition.affinity`) stays with the same executor while that is there and has no more
    than its share, so that what it has fetched ahead is of use; the others go to whoever has the least.

    >>> parts = [Partition(i, {}, affinity=f"t/{i}") for i in range(3)]
    >>> dealer = Dealer()
    >>> [[p.index for p in d.get(0, ())] for d in dealer.deal({0: parts}, ["a", "b"])]
    [[0, 2], [1]]
    >>> [[p.index for p in d.get(0, ())] for d in dealer.deal({0: parts[1:]}, ["a", "b"])]
    [[2], [1]]
    """

    def __init__(self) -> None:
        self._home: dict[tuple[int, str], str] = {}

    def deal(
        self, partitions: Mapping[int, Sequence[Partition]], members: Sequence[str]
    ) -> list[dict[int, tuple[Partition, ...]]]:
        """Each member's partitions of each source, in their order."""
        number = {m: n for n, m in enumerate(members)}
        dealt: list[dict[int, tuple[Partition, ...]]] = [{} for _ in members]
        for source, parts in partitions.items():
            for n, mine in enumerate(self._of_source(source, parts, number)):
                if mine:
                    dealt[n][source] = tuple(mine)
        return dealt

    def _of_source(
        self, source: int, parts: Sequence[Partition], number: Mapping[str, int]
    ) -> list[list[Partition]]:
        most = -(-len(parts) // len(number))
        mine: list[list[Partition]] = [[] for _ in number]
        homeless = []
        for part in parts:
            home = number.get(self._home.get((source, part.affinity or ""), ""))
            if home is None or len(mine[home]) >= most:
                homeless.append(part)
            else:
                mine[home].append(part)
        loads = [(len(m), n) for n, m in enumerate(mine)]
        heapq.heapify(loads)
        names = list(number)
        for part in homeless:
            load, n = heapq.heappop(loads)
            heapq.heappush(loads, (load + 1, n))
            mine[n].append(part)
            if part.affinity is not None:
                self._home[source, part.affinity] = names[n]
        return [sorted(m, key=lambda p: p.index) for m in mine]
