"""Blobs in memory: for tests, and for queries that need not outlive their process."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from tidemill.errors import CheckpointError, CorruptCheckpointError
from tidemill.state.base import BlobName, StateStore


class MemoryStore(StateStore):
    """See `StateStore`."""

    def __init__(self) -> None:
        self._blobs: dict[BlobName, bytes] = {}
        self._lock = threading.Lock()

    def put(self, blobs: Mapping[BlobName, bytes]) -> None:
        with self._lock:
            for name, data in blobs.items():
                if self._blobs.get(name, data) != data:
                    raise CheckpointError(f"blob {name.path()} exists with other content; blobs never change")
            self._blobs.update(blobs)

    def get(self, names: Iterable[BlobName]) -> dict[BlobName, bytes]:
        with self._lock:
            try:
                return {name: self._blobs[name] for name in names}
            except KeyError as missing:
                raise CorruptCheckpointError(f"blob {missing.args[0].path()} is missing") from None

    def names(self, query: str) -> list[BlobName]:
        with self._lock:
            return sorted(name for name in self._blobs if name.query == query)

    def purge(self, names: Iterable[BlobName]) -> None:
        with self._lock:
            for name in names:
                self._blobs.pop(name, None)
