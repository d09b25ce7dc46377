"""A checkpoint in memory: for tests, and for queries that need not outlive their process."""

from __future__ import annotations

import json
import secrets
import threading
import weakref
from dataclasses import dataclass, field
from typing import Any

from tidemill.checkpoint.base import CheckpointLog, Kind
from tidemill.errors import CheckpointError, CheckpointLockedError, FencedError
from tidemill.sinks.base import Generation
from tidemill.sources.base import SourceLog
from tidemill.sources.log import MemorySourceLog


@dataclass
class MemoryDisk:
    """What outlives a `MemoryLog`, as a directory outlives the process that wrote it."""

    entries: dict[tuple[str, str], dict[int, str]] = field(default_factory=dict)
    generation: Generation = field(default_factory=lambda: Generation(0, ""))
    owner: str = ""
    holder: weakref.ref[MemoryLog] | None = None
    sources: dict[int, MemorySourceLog] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)


class MemoryLog(CheckpointLog):
    """One process's view of a `MemoryDisk`. A log that is closed or forgotten holds no lease, as if it had crashed."""

    def __init__(self, disk: MemoryDisk | None = None) -> None:
        self.disk = disk or MemoryDisk()

    def acquire(self, owner: str, above: int = 0) -> Generation:
        with self.disk.lock:
            holder = self.disk.holder() if self.disk.holder else None
            if holder is not None and holder is not self:
                raise CheckpointLockedError(
                    f"the checkpoint in memory is held by {self.disk.owner}; stop that query first"
                )
            self.disk.generation = Generation(
                max(self.disk.generation.number, above) + 1, secrets.token_hex(8)
            )
            self.disk.owner, self.disk.holder = owner, weakref.ref(self)
            return self.disk.generation

    def held_by(self) -> str | None:
        with self.disk.lock:
            holder = self.disk.holder() if self.disk.holder else None
            return None if holder is None or holder is self else self.disk.owner

    def release(self, generation: Generation) -> None:
        with self.disk.lock:
            if self._is_held_by_us() and generation == self.disk.generation:
                self.disk.holder = None

    def check(self, generation: Generation) -> None:
        if not self._is_held_by_us() or generation != self.disk.generation:
            raise FencedError(
                f"generation {generation.number} no longer holds the checkpoint; "
                f"the newest is {self.disk.generation.number}, of {self.disk.owner}"
            )

    def put_new(self, query: str, kind: Kind, n: int, entry: dict[str, Any], generation: Generation) -> None:
        with self.disk.lock:
            self.check(generation)
            entries = self.disk.entries.setdefault((query, kind), {})
            if n in entries:
                raise CheckpointError(
                    f"{kind} entry {n} of query {query} exists already; entries never change"
                )
            entries[n] = json.dumps(entry)

    def get(self, query: str, kind: Kind, n: int) -> dict[str, Any] | None:
        text = self._entries(query, kind).get(n)
        return None if text is None else dict(json.loads(text))

    def latest(self, query: str, kind: Kind) -> int | None:
        return max(self._entries(query, kind), default=None)

    def numbers(self, query: str, kind: Kind) -> list[int]:
        return sorted(self._entries(query, kind))

    def purge(self, query: str, below: int) -> None:
        with self.disk.lock:
            for kind in ("plan", "prepared", "commit"):
                entries = self.disk.entries.get((query, kind), {})
                for n in [n for n in entries if n < below]:
                    del entries[n]

    def source_log(self, index: int) -> SourceLog:
        with self.disk.lock:
            return self.disk.sources.setdefault(index, MemorySourceLog())

    def close(self) -> None:
        with self.disk.lock:
            if self._is_held_by_us():
                self.disk.holder = None

    def _entries(self, query: str, kind: str) -> dict[int, str]:
        with self.disk.lock:
            return dict(self.disk.entries.get((query, kind), {}))

    def _is_held_by_us(self) -> bool:
        return self.disk.holder is not None and self.disk.holder() is self
