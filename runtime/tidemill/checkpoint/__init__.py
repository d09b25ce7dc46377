"""The durable record of a job: see `tidemill.checkpoint.base`."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tidemill.errors import CheckpointError

if TYPE_CHECKING:
    from tidemill.checkpoint.base import CheckpointLog
    from tidemill.checkpoint.memory import MemoryDisk
    from tidemill.state.base import StateStore
    from tidemill.state.memory import MemoryStore

_named: dict[str, tuple[MemoryDisk, MemoryStore]] = {}
_lock = threading.Lock()


def open_(location: str | None) -> tuple[CheckpointLog, StateStore]:
    """The log and the blobs at ``location``; raises `CheckpointError` if that cannot be a checkpoint.

    A location is a directory (a path or ``file:`` URL), ``memory:`` or None for one that ends with the process, or
    ``memory:<name>`` for one that every caller in this process shares.
    """
    path = directory(location)
    if path is not None:
        return _in_directory(path)
    return _in_memory((location or "").removeprefix("memory:") or None)


def directory(location: str | None) -> str | None:
    """The directory that ``location`` names; None for one in memory."""
    return None if location is None or location.startswith("memory:") else _path(location)


def begun(directory: Path) -> bool:
    """Whether a query has begun in one of the checkpoints in ``directory``; a start that was refused leaves none."""
    return any(directory.glob("*/query/query/0.json"))


def _in_memory(name: str | None) -> tuple[CheckpointLog, StateStore]:
    from tidemill.checkpoint.memory import MemoryDisk, MemoryLog
    from tidemill.state.memory import MemoryStore

    if name is None:
        return MemoryLog(MemoryDisk()), MemoryStore()
    with _lock:
        disk, store = _named.setdefault(name, (MemoryDisk(), MemoryStore()))
    return MemoryLog(disk), store


def _in_directory(path: str) -> tuple[CheckpointLog, StateStore]:
    from tidemill.checkpoint.files import DirectoryLog
    from tidemill.state.files import DirectoryStore

    log = DirectoryLog(path)
    return log, DirectoryStore(log.path)


def _path(location: str) -> str:
    if not location.strip():
        raise CheckpointError("the checkpoint location is empty; give a directory")
    parts = urlsplit(location)
    if parts.scheme == "file":
        return unquote(parts.path)
    if "://" in location:
        raise CheckpointError(
            f"checkpoint location {location!r}: {parts.scheme!r} is not one of a directory, file: or memory:; "
            "give a directory"
        )
    return location
