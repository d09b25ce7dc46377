"""Where sources remember what their offsets do not say: in memory for tests, in a directory on one machine."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

from tidemill import durable
from tidemill.checkpoint.entry import unwritten
from tidemill.errors import CorruptCheckpointError
from tidemill.sources.base import SourceLog


class MemorySourceLog(SourceLog):
    """Lives as long as its process; the fake beside the seam."""

    def __init__(self) -> None:
        self.entries: dict[int, list[Any]] = {}

    def put(self, n: int, entry: list[Any]) -> None:
        self.entries[n] = entry

    def read(self) -> list[tuple[int, list[Any]]]:
        return sorted(self.entries.items())

    def compact(self, n: int, entry: list[Any]) -> None:
        self.entries = {n: entry} | {k: v for k, v in self.entries.items() if k > n}


class DirectorySourceLog(SourceLog):
    """One small file per entry, each with a checksum; a compacted entry is named ``<n>.compact``.

    Files appear by rename, and are durable before the call returns: the driver's log is, by the end of the batch, and
    it builds on them. A compacted entry makes those below it void, so that a crash between its appearance and their
    deletion does no harm.
    """

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)

    def put(self, n: int, entry: list[Any]) -> None:
        self._write(f"{n:012d}", entry)

    def read(self) -> list[tuple[int, list[Any]]]:
        files = self._files()
        floor = max((n for n, compact in files if compact), default=-1)
        chosen = [(n, c) for n, c in sorted(files) if n > floor or (n == floor and c)]
        return [(n, self._read(self.directory / _name(n, compact))) for n, compact in chosen]

    def compact(self, n: int, entry: list[Any]) -> None:
        self._write(_name(n, True), entry)
        for old, compact in self._files():
            if old < n or (old == n and not compact):
                (self.directory / _name(old, compact)).unlink(missing_ok=True)

    def _files(self) -> list[tuple[int, bool]]:
        if not self.directory.is_dir():
            return []
        names = [p.name for p in self.directory.iterdir() if not p.name.endswith(".tmp")]
        return [(int(name.partition(".")[0]), name.endswith(".compact")) for name in names]

    def _write(self, name: str, entry: list[Any]) -> None:
        body = json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode()
        path = self.directory / name
        try:
            durable.make_directory(self.directory)
            durable.replace(os.fspath(path), b"%08x\n" % zlib.crc32(body) + body)
        except OSError as error:
            raise unwritten(os.fspath(path), error) from error

    def _read(self, path: Path) -> list[Any]:
        checksum, _, body = path.read_bytes().partition(b"\n")
        if checksum != b"%08x" % zlib.crc32(body):
            raise CorruptCheckpointError(
                f"source log entry {path} is not what was written (checksum {checksum.decode(errors='replace')} "
                "differs); restore the checkpoint from a copy, or start with a new one"
            )
        entry: list[Any] = json.loads(body)
        return entry


def _name(n: int, compact: bool) -> str:
    return f"{n:012d}.compact" if compact else f"{n:012d}"
