"""Writes an executor's share of a batch to the state store: deltas, payloads of committables, and now and then a
snapshot in place of a long chain of deltas."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from tidemill.executor.operator import StatefulOperator
from tidemill.executor.work import Attempt, Chains
from tidemill.kernel.keyed import KeyedTable
from tidemill.sinks.base import Committable
from tidemill.state.base import BlobName, StateStore

LONGEST_CHAIN = 100
"""Deltas of a shard before a snapshot is due however small they are: bounds recovery and the log that must be kept."""
LEAST_BYTES = 1 << 16
"""A shard smaller than this is not worth a snapshot before its chain is long."""
SNAPSHOTS_PER_BATCH = 4
"""Spreads snapshots over batches, so that none waits for a whole state to be written."""


@dataclass
class _Chain:
    """Since a shard's last snapshot."""

    deltas: int = 0
    bytes: int = 0


@dataclass
class Journal:
    """One query's writer on one executor."""

    store: StateStore
    operators: Mapping[str, StatefulOperator]
    chains: dict[tuple[str, int], _Chain] = field(default_factory=dict)
    snapshots: list[str] = field(default_factory=list)
    """Written since the last attempt that won, and not yet named by an entry."""

    def tables(self) -> Iterator[tuple[str, KeyedTable]]:
        for operator, held in self.operators.items():
            for name, table in held.tables.items():
                yield f"{operator}.{name}", table

    def write(
        self, attempt: Attempt, committables: list[Committable]
    ) -> tuple[dict[str, list[int]], list[Committable]]:
        """Store the attempt's deltas and payloads in one round trip; which shards, and the committables without
        their payloads."""
        blobs: dict[BlobName, bytes] = {}
        deltas: dict[str, list[int]] = {}
        for name, table in self.tables():
            for delta in table.delta():
                blobs[blob_name(attempt, name, delta.shard)] = delta.blob
                deltas.setdefault(name, []).append(delta.shard)
        for c in committables:
            if c.payload is not None:
                blobs[payload_name(attempt, c.task.task)] = c.payload
        if blobs:
            self.store.put(blobs)
        self._sizes = {(b.operator, b.shard): len(data) for b, data in blobs.items() if b.kind == "delta"}
        light = [
            replace(c, payload=None, meta={**c.meta, "_payload": c.payload is not None}) for c in committables
        ]
        return deltas, light

    def accepted(self, attempt: Attempt) -> None:
        """The attempt has won: count its deltas, and write the snapshots that are due."""
        self.snapshots.clear()
        for key, size in self._sizes.items():
            chain = self.chains.setdefault(key, _Chain())
            chain.deltas += 1
            chain.bytes += size
        due = self._due()
        blobs = {}
        for name, table in self.tables():
            for shard in due.get(name, ()):
                blobs[blob_name(attempt, name, shard, "snapshot")] = table.snapshot(shard).blob
                self.chains[name, shard] = _Chain()
        if blobs:
            self.store.put(blobs)
            self.snapshots.extend(b.path() for b in blobs)

    def _due(self) -> dict[str, list[int]]:
        """Shards whose deltas weigh more than the shard itself, or are too many."""
        sizes = {name: table.nbytes / table.shards for name, table in self.tables()}
        found = [
            (chain.deltas, name, shard)
            for (name, shard), chain in self.chains.items()
            if chain.bytes > max(sizes.get(name, 0), LEAST_BYTES) or chain.deltas >= LONGEST_CHAIN
        ]
        due: dict[str, list[int]] = {}
        # The longest first: shards that are heavy after every batch would keep all others waiting for ever.
        for _, name, shard in sorted(found, reverse=True)[:SNAPSHOTS_PER_BATCH]:
            due.setdefault(name, []).append(shard)
        return due

    def drop(self, shards: Collection[int]) -> None:
        """Forget shards that have moved to another executor."""
        for name, table in self.tables():
            table.drop(shards)
            for shard in shards:
                self.chains.pop((name, shard), None)

    def restore(self, chains: Chains) -> None:
        """Add shards from their blobs to the operators' tables."""
        names = [n for shards in chains.values() for chain in shards.values() for n in chain]
        blobs = self.store.get(names)
        for name, table in self.tables():
            shards = chains.get(name, {})
            table.load(blobs[n] for chain in shards.values() for n in chain)
            for shard, chain in shards.items():
                self.chains[name, shard] = _Chain(len(chain), sum(len(blobs[n]) for n in chain))

    _sizes: dict[tuple[str, int], int] = field(default_factory=dict)


def blob_name(attempt: Attempt, operator: str, shard: int, kind: str = "delta") -> BlobName:
    return BlobName(attempt.query, operator, shard, attempt.batch, attempt.generation, attempt.attempt, kind)


def payload_name(attempt: Attempt, task: int) -> BlobName:
    return blob_name(attempt, "sink", task, "payload")
