"""Which executor holds which shard, and which partitions each one reads. Pure."""

from __future__ import annotations

import hashlib
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
    held = {m: [s for s, o in enumerate(owners) if o == m] for m in members}
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


def moves(before: Sequence[str | None], after: Sequence[str]) -> dict[str, list[int]]:
    """The shards that each executor has to load."""
    found: dict[str, list[int]] = {}
    for shard, (old, new) in enumerate(zip(before, after, strict=True)):
        if old != new:
            found.setdefault(new, []).append(shard)
    return found


def deal(
    partitions: Mapping[int, Sequence[Partition]], members: Sequence[str]
) -> list[dict[int, tuple[Partition, ...]]]:
    """Each member's partitions of each source. One that says whom it likes (`Partition.affinity`) stays with the same
    executor while that is there, so that what it has fetched ahead is of use; the others go round."""
    dealt: list[dict[int, list[Partition]]] = [{} for _ in members]
    for source, parts in partitions.items():
        loads = [0] * len(members)
        most = -(-len(parts) // len(members))
        for part in sorted(parts, key=lambda p: p.affinity is None):
            order = _liking(part.affinity, members) if part.affinity is not None else range(len(members))
            m = (
                next((m for m in order if loads[m] < most), 0)
                if part.affinity
                else min(order, key=loads.__getitem__)
            )
            loads[m] += 1
            dealt[m].setdefault(source, []).append(part)
    return [{source: tuple(sorted(p, key=lambda x: x.index)) for source, p in d.items()} for d in dealt]


def _liking(affinity: str, members: Sequence[str]) -> list[int]:
    """Members by rendezvous hashing: a member that joins or leaves changes little."""

    def weight(m: int) -> bytes:
        return hashlib.blake2b(f"{affinity}|{members[m]}".encode(), digest_size=8).digest()

    return sorted(range(len(members)), key=weight)
