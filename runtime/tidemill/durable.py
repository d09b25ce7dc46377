"""Files that survive a power failure. Each function raises `OSError`; what that means to whom is for the caller to say."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable
from pathlib import Path

_MOST_PIECES = 1000
"""Linux takes 1024 buffers in one writev."""


def replace(path: str, data: bytes) -> None:
    """Write a file so that, whatever happens, a reader finds the old content or the new one."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb", buffering=0) as file:
            write_all(file.fileno(), [data])
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_directories([os.path.dirname(path)])
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def write_all(descriptor: int, pieces: list[bytes]) -> None:
    """Write all of them, or raise: what fills a disk is first cut short, and only the next write is an error."""
    for at in range(0, len(pieces), _MOST_PIECES):
        chunk = pieces[at : at + _MOST_PIECES]
        size = sum(map(len, chunk))
        written = os.writev(descriptor, chunk)
        while written < size:
            rest = b"".join(chunk)[written:]
            written += os.write(descriptor, rest)


def sync(descriptors: Collection[int], directories: Iterable[str]) -> None:
    """Return once the files and the names in the directories would survive; closes the files, also after an error, when
    nobody knows any more what of them is on the disk."""
    try:
        for descriptor in descriptors:
            os.fsync(descriptor)
        sync_directories(directories)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def sync_directories(paths: Iterable[str | os.PathLike[str]]) -> None:
    """Return once the names in the directories would survive."""
    for path in paths:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def make_directory(path: Path) -> None:
    """Make it, and those above it that are missing."""
    missing = [directory for directory in (path, *path.parents) if not directory.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for made in missing:
        with contextlib.suppress(PermissionError):  # who may only search a directory cannot sync it
            sync_directories([made.parent])
