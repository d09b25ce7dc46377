"""Which blobs make up the state: for each shard its last snapshot and the deltas after it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tidemill.driver.entries import PreparedEntry
from tidemill.state.base import BlobName

FULL_EVERY = 50
"""Every so many batches an entry carries the chains whole, so that recovery reads at most that many entries."""


@dataclass
class ChainBook:
    """The chains as of the last prepared batch, and the blobs that have fallen out of them."""

    query: str
    chains: dict[str, dict[int, list[BlobName]]] = field(default_factory=dict)
    garbage: list[BlobName] = field(default_factory=list)

    def add(self, entry: PreparedEntry) -> None:
        """Follow a prepared entry: its snapshots stand for all before its own deltas."""
        if entry.chains is not None:
            self.chains = parse_chains(entry.chains)
        for path in entry.snapshots:
            blob = BlobName.parse(path)
            chain = self.chains.setdefault(blob.operator, {}).setdefault(blob.shard, [])
            self.garbage += [old for old in chain if old.version <= blob.version]
            chain[:] = [blob, *(later for later in chain if later.version > blob.version)]
        for operator, shards in entry.deltas.items():
            for shard in shards:
                name = BlobName(self.query, operator, shard, entry.batch, entry.generation, entry.attempt)
                self.chains.setdefault(operator, {}).setdefault(shard, []).append(name)

    def live(self) -> set[BlobName]:
        return {b for shards in self.chains.values() for chain in shards.values() for b in chain}

    def take_garbage(self, below: int) -> list[BlobName]:
        """Blobs that no recovery to a batch at or after ``below`` needs; each is given once."""
        gone = [b for b in self.garbage if b.version < below]
        self.garbage = [b for b in self.garbage if b.version >= below]
        return gone

    def to_json(self) -> dict[str, dict[str, list[str]]]:
        return {
            operator: {str(shard): [b.path() for b in chain] for shard, chain in shards.items()}
            for operator, shards in self.chains.items()
        }


def parse_chains(written: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, dict[int, list[BlobName]]]:
    return {
        operator: {int(shard): [BlobName.parse(p) for p in chain] for shard, chain in shards.items()}
        for operator, shards in written.items()
    }
