"""Shards and partitions find their executors: evenly, and with as few moves as can be."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tidemill.engine.placement import Dealer, moves, place
from tidemill.sources.base import Partition

MEMBERS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True)
OWNERS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h", None]), min_size=1, max_size=128)


@given(OWNERS, MEMBERS)
def test_every_shard_has_an_owner_and_shares_differ_by_one(
    owners: list[str | None], members: list[str]
) -> None:
    placed = place(owners, members)
    assert set(placed) <= set(members)
    shares = [placed.count(m) for m in members]
    assert max(shares) - min(shares) <= 1


@given(OWNERS, MEMBERS)
def test_no_shard_moves_that_need_not(owners: list[str | None], members: list[str]) -> None:
    """Least moves: each executor keeps all that it holds up to its share, and the shares favour who holds most."""
    placed = place(owners, members)
    kept = sum(old == new for old, new in zip(owners, placed, strict=True))
    least, more = divmod(len(owners), len(members))
    held = sorted((owners.count(m) for m in members), reverse=True)
    best = sum(min(count, least + (1 if i < more else 0)) for i, count in enumerate(held))
    assert kept == best


@given(OWNERS, MEMBERS)
def test_a_placement_stays_as_it_is(owners: list[str | None], members: list[str]) -> None:
    placed = place(owners, members)
    assert place(placed, members) == placed
    assert moves(placed, placed) == {}


@given(OWNERS, MEMBERS)
def test_moves_are_what_differs(owners: list[str | None], members: list[str]) -> None:
    placed = place(owners, members)
    gained = {s: m for m, shards in moves(owners, placed).items() for s in shards}
    assert gained == {s: m for s, m in enumerate(placed) if owners[s] != m}


def parts(count: int, affinity: bool = True) -> list[Partition]:
    return [Partition(i, {}, affinity=f"t/{i}" if affinity else None) for i in range(count)]


@given(st.lists(st.tuples(MEMBERS, st.integers(0, 40)), min_size=1, max_size=6), st.booleans())
def test_every_partition_is_dealt_once_and_evenly(
    batches: list[tuple[list[str], int]], affinity: bool
) -> None:
    dealer = Dealer()
    for members, count in batches:
        dealt = dealer.deal({0: parts(count, affinity)}, members)
        assert Counter(p.index for d in dealt for p in d.get(0, ())) == Counter(range(count))
        loads = [len(d.get(0, ())) for d in dealt]
        assert max(loads) <= -(-count // len(members))
        assert all([p.index for p in d.get(0, ())] == sorted(p.index for p in d.get(0, ())) for d in dealt)


def test_a_kafka_partition_stays_where_it_was_fetched_ahead() -> None:
    dealer = Dealer()

    def homes(members: list[str], count: int) -> dict[str, str]:
        dealt = dealer.deal({0: parts(count)}, members)
        return {p.affinity or "": m for m, d in zip(members, dealt, strict=True) for p in d.get(0, ())}

    first = homes(["a", "b"], 8)
    assert homes(["a", "b"], 8) == first
    grown = homes(["a", "b", "c"], 8)
    assert sum(grown[p] != first[p] for p in first) == 2  # c takes its share, and nothing else moves
    assert homes(["a", "b", "c"], 8) == grown
    left = homes(["b", "c"], 8)
    assert all(left[p] == grown[p] for p in grown if grown[p] != "a")
