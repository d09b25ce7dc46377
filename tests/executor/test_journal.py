"""Which shards get their snapshot."""

from __future__ import annotations

import pyarrow as pa

from tidemill.executor.journal import LEAST_BYTES, SNAPSHOTS_PER_BATCH, Journal, _Chain
from tidemill.kernel.keyed import KeyedTable
from tidemill.state.memory import MemoryStore


class Held:
    tables = {"groups": KeyedTable(pa.schema([("k", pa.int64())]), 64, [])}


def test_no_shard_waits_for_ever_however_heavy_the_others_are() -> None:
    journal = Journal(MemoryStore(), {"op0": Held()})  # type: ignore[dict-item]
    shards = range(3 * SNAPSHOTS_PER_BATCH)
    longest = 0
    for _ in range(50):
        for shard in shards:
            chain = journal.chains.setdefault(("op0.groups", shard), _Chain())
            chain.deltas += 1
            chain.bytes += 2 * LEAST_BYTES
        for shard in journal._due().get("op0.groups", ()):
            journal.chains["op0.groups", shard] = _Chain()
        longest = max(longest, *(c.deltas for c in journal.chains.values()))
    assert longest <= 4
