"""The state seam: write-once blobs, named by who wrote them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class BlobName:
    """One blob: a delta or snapshot of a shard, or a sink task's payload.

    ``version`` is the batch that wrote it. A blob counts only if an entry of the log names it; generation and attempt
    keep the blobs of lost attempts apart.
    """

    query: str
    operator: str
    """Operator id such as ``op0``, or ``sink`` for payloads of committables."""
    shard: int
    """Shard, or the sink task."""
    version: int
    generation: int
    attempt: int
    kind: str = "delta"
    """``delta``, ``snapshot`` or ``payload``."""

    def path(self) -> str:
        return (
            f"{self.query}/{self.operator}/{self.shard}/"
            f"{self.version:012d}-{self.generation}-{self.attempt}.{self.kind}"
        )

    @classmethod
    def parse(cls, path: str) -> BlobName:
        query, operator, shard, file = path.rsplit("/", 3)
        stem, kind = file.split(".")
        version, generation, attempt = stem.split("-")
        return cls(query, operator, int(shard), int(version), int(generation), int(attempt), kind)


class StateStore(ABC):
    """Blobs, write-once. ``put`` of several blobs is one round trip (one pack file, one pipeline)."""

    @abstractmethod
    def put(self, blobs: Mapping[BlobName, bytes]) -> None:
        """Store blobs; a name that exists with other content raises `CheckpointError`. Durable after ``sync``."""

    @abstractmethod
    def get(self, names: Iterable[BlobName]) -> dict[BlobName, bytes]:
        """The blobs; a missing or damaged one raises `CorruptCheckpointError` naming it."""

    @abstractmethod
    def names(self, query: str) -> list[BlobName]:
        """All blobs of a query."""

    def sizes(self, names: Iterable[BlobName]) -> dict[BlobName, int]:
        """Bytes that each blob takes where it is kept."""
        return {name: len(data) for name, data in self.get(names).items()}

    @abstractmethod
    def purge(self, names: Iterable[BlobName]) -> None:
        """Delete blobs; names that are gone already are no error."""

    def sync(self) -> None:
        """Return once everything put so far survives a power failure."""

    def close(self) -> None:
        """Let go of connections. May be called twice."""
