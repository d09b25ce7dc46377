"""Which blobs make up a state."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tidemill.driver.chains import ChainBook
from tidemill.driver.entries import PreparedEntry
from tidemill.state.base import BlobName


def blob(shard: int, version: int, kind: str = "delta") -> BlobName:
    return BlobName("q", "op0.groups", shard, version, 1, 1, kind)


def entry(
    batch: int, shards: list[int], snapshots: list[BlobName] | None = None, **more: object
) -> PreparedEntry:
    paths = tuple(b.path() for b in snapshots or [])
    return PreparedEntry(batch, 1, 1, (), {"op0.groups": shards} if shards else {}, paths, **more)  # type: ignore[arg-type]


def test_deltas_follow_one_another() -> None:
    book = ChainBook("q")
    book.add(entry(0, [1, 2]))
    book.add(entry(1, [2]))
    assert book.chains == {"op0.groups": {1: [blob(1, 0)], 2: [blob(2, 0), blob(2, 1)]}}


def test_a_snapshot_replaces_what_is_before_it_and_not_what_is_after() -> None:
    book = ChainBook("q")
    for n in range(3):
        book.add(entry(n, [1]))
    book.add(entry(3, [1], [blob(1, 2, "snapshot")]))
    assert book.chains["op0.groups"][1] == [blob(1, 2, "snapshot"), blob(1, 3)]
    assert book.take_garbage(below=2) == [blob(1, 0), blob(1, 1)]
    assert book.take_garbage(below=3) == [blob(1, 2)]
    assert book.take_garbage(below=99) == []


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 3), unique=True), st.sets(st.integers(0, 3))), max_size=12),
    st.data(),
)
def test_an_entry_with_the_chains_whole_stands_for_all_before_it(
    batches: list[tuple[list[int], set[int]]], data: st.DataObject
) -> None:
    whole, entries = ChainBook("q"), []
    for n, (shards, snapped) in enumerate(batches):
        snapshots = [blob(s, n - 1, "snapshot") for s in sorted(snapped) if n]
        written = entry(n, shards, snapshots, chains=whole.to_json() if data.draw(st.booleans()) else None)
        entries.append(PreparedEntry.from_json("q", json.loads(json.dumps(written.to_json()))))
        whole.add(written)
    full = max((i for i, e in enumerate(entries) if e.chains is not None), default=0)
    late = ChainBook("q")
    for e in entries[full:]:
        late.add(e)
    assert late.chains == whole.chains
