"""What a file source remembers: which files it has taken, in batches that a `SourceLog` keeps.

The offsets in the plan log are the truth: an offset is ``{"n": batches so far, "files": those of the last one}``. The
log is derived from them, written when the next batch is looked for: whatever a crash left, the offset that the driver
passes says which entries count (those below its ``n``) and brings the last one itself.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any

from tidemill.errors import CorruptCheckpointError, SourceError
from tidemill.sources.base import SourceLog
from tidemill.sources.listing import File

COMPACT_EVERY = 32
"""Entries between compactions: what a restart reads, and how often all of what is known is written again."""


def as_json(files: Iterable[File]) -> list[list[Any]]:
    """Files as an offset holds them. A name that is no text is kept in base64, behind a NUL."""
    return [[_encoded(f.path), f.size, f.modified] for f in files]


def from_json(entries: Iterable[Sequence[Any]]) -> list[File]:
    """The files that `as_json` wrote."""
    return [File(_decoded(path), size, modified) for path, size, modified in entries]


def _encoded(path: str) -> str:
    try:
        path.encode()
        return path
    except UnicodeEncodeError:
        return "\0" + base64.b64encode(path.encode(errors="surrogateescape")).decode()


def _decoded(path: str) -> str:
    if path.startswith("\0"):
        return base64.b64decode(path[1:]).decode(errors="surrogateescape")
    return path


class SeenFiles:
    """The files taken so far. ``key`` of a path is what makes it the same file (``fileNameOnly``: its name).

    With ``max_age`` (nanoseconds) files older than the newest one by more are forgotten, and ones that old are never
    new again, as Spark does by default after seven days; without it nothing is ever forgotten.
    """

    def __init__(self, log: SourceLog, name_only: bool, max_age: int | None) -> None:
        self._log = log
        self._name_only = name_only
        self._max_age = max_age
        self._n = -1
        self._files: dict[str, File] = {}
        self._newest = 0
        self._floor = 0

    def key(self, path: str) -> str:
        return path.rpartition("/")[2] if self._name_only else path

    def is_new(self, file: File) -> bool:
        return file.modified >= self._floor and self.key(file.path) not in self._files

    def known(self, path: str) -> File | None:
        """The file as it was when it was taken."""
        return self._files.get(self.key(path))

    def advance(self, n: int, files: list[File]) -> None:
        """Be at the offset ``n``, whose last batch took ``files``; called with offsets that are in the plan log.

        Raises `CorruptCheckpointError` if the log has lost batches before it.
        """
        if n == self._n:
            return
        if n != self._n + 1 or self._n < 0:
            self._restore(n)
        if n > 0:
            self._log.put(n, as_json(files))
            self._add(files)
        self._n = n
        self._forget()
        if n and n % COMPACT_EVERY == 0:
            self._log.compact(n, as_json(self._files.values()))

    def batches(self, start: int, end: int) -> list[File]:
        """The files of the batches after ``start`` up to and with ``end``, from the log."""
        entries = {n: entry for n, entry in self._log.read() if start < n <= end}
        missing = [n for n in range(start + 1, end + 1) if n not in entries]
        if missing:
            raise SourceError(f"the files of batch {missing[0]} of a file source are not in its log any more")
        return [f for n in sorted(entries) for f in from_json(entries[n])]

    def _restore(self, n: int) -> None:
        entries = [(k, entry) for k, entry in self._log.read() if k < n]
        first = entries[0][0] if entries else n
        gaps = {*range(first, n)} - {k for k, _ in entries}
        if gaps or (n > 1 and not entries) or first not in {1, n, *range(0, n, COMPACT_EVERY)}:
            raise CorruptCheckpointError(
                f"a file source is at batch {n}, but its log has lost batch {min(gaps, default=1)}: which files were "
                "read is not known; restore the directory 'sources' of the checkpoint, or start with a new checkpoint"
            )
        self._files, self._newest, self._floor = {}, 0, 0
        for _, entry in entries:
            self._add(from_json(entry))
            self._forget()

    def _add(self, files: Iterable[File]) -> None:
        for file in files:
            self._files[self.key(file.path)] = file
            self._newest = max(self._newest, file.modified)

    def _forget(self) -> None:
        if self._max_age is None:
            return
        self._floor = max(self._floor, self._newest - self._max_age)
        if len(self._files) and self._floor:
            self._files = {k: f for k, f in self._files.items() if f.modified >= self._floor}
