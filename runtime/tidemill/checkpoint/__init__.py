"""The durable record of a job: see `tidemill.checkpoint.base`.

A location is one of

    a directory (a path or ``file:`` URL)
    ``redis://host:6379/0/<name>`` and its kin: see `tidemill.checkpoint.redisurl`
    ``memory:`` or None for one that ends with the process, ``memory:<name>`` for one that every caller in it shares

and names hang below it: `join(location, checkpoint_id, query)`.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from tidemill.checkpoint import redisurl
from tidemill.errors import CheckpointError

if TYPE_CHECKING:
    from tidemill.checkpoint.base import CheckpointLog
    from tidemill.checkpoint.memory import MemoryDisk
    from tidemill.state.base import StateStore
    from tidemill.state.memory import MemoryStore

_named: dict[str, tuple[MemoryDisk, MemoryStore]] = {}
_lock = threading.Lock()


def open_(location: str | None) -> tuple[CheckpointLog, StateStore]:
    """The log and the blobs of one query at ``location``; raises `CheckpointError` if that cannot be a checkpoint."""
    if redisurl.is_redis(location or ""):
        return _in_redis(location or "")
    path = directory(location)
    if path is not None:
        return _in_directory(path)
    return _in_memory((location or "").removeprefix("memory:") or None)


def open_store(location: str | None) -> StateStore:
    """The blobs at ``location`` alone: what executors need of a checkpoint. The driver has checked the server, which need
    not do its work just now."""
    if redisurl.is_redis(location or ""):
        from tidemill.checkpoint.redisclient import Client
        from tidemill.state.redis import RedisStore

        return RedisStore(Client(redisurl.parse(location or "")))
    log, store = open_(location)
    log.close()
    return store


def directory(location: str | None) -> str | None:
    """The directory that ``location`` names; None for one in memory or a server."""
    if location is None or location.startswith("memory:") or redisurl.is_redis(location):
        return None
    return _path(location)


def begun(location: str) -> dict[str, str | None]:
    """The checkpoints at and below ``location`` in which a query has begun; of each the uid of the job that began it, or
    None if that had none. A start that was refused has begun nothing."""
    entries = {each: _beginning(each) for each in found(location)}
    return {each: entry.get("job") for each, entry in entries.items() if entry is not None}


def _beginning(location: str) -> dict[str, Any] | None:
    log, store = open_(location)
    try:
        return log.get("query", "query", 0)
    finally:
        log.close()
        store.close()


def join(location: str, *names: str) -> str:
    """The location below ``location`` that the names lead to.

    >>> join("checkpoints", "web-logs", "hits")
    'checkpoints/web-logs/hits'
    >>> join("redis://host/0?replicas=1", "web-logs", "hits")
    'redis://host/0/web-logs/hits?replicas=1'
    """
    if redisurl.is_redis(location):
        return redisurl.join(location, *names)
    if location.startswith("memory:"):
        return location if location == "memory:" else "/".join([location, *names])
    return os.path.join(location, *names)


def shown(location: str | None) -> str:
    """The location for people: without user, password and settings."""
    if location is None:
        return "memory:"
    if redisurl.is_redis(location):
        return str(redisurl.parse(location))
    return _path(location) if location.startswith("file:") else location


def found(location: str) -> list[str]:
    """The locations of all checkpoints at and below ``location``; makes nothing."""
    if redisurl.is_redis(location):
        from tidemill.checkpoint.redisfound import names

        return names(location)
    if location.startswith("memory:"):
        return [location]
    return _directories(_path(location))


def _in_memory(name: str | None) -> tuple[CheckpointLog, StateStore]:
    from tidemill.checkpoint.memory import MemoryDisk, MemoryLog
    from tidemill.state.memory import MemoryStore

    if name is None:
        return MemoryLog(MemoryDisk()), MemoryStore()
    with _lock:
        disk, store = _named.setdefault(name, (MemoryDisk(), MemoryStore()))
    return MemoryLog(disk), store


def _in_redis(location: str) -> tuple[CheckpointLog, StateStore]:
    address = redisurl.parse(location)
    if not address.name:
        raise CheckpointError(
            f"checkpoint location {address} names a server and no checkpoint in it; write {address}/<name>"
        )
    from tidemill.checkpoint.redis import RedisLog
    from tidemill.checkpoint.redischecks import check
    from tidemill.checkpoint.redisclient import Client
    from tidemill.state.redis import RedisStore

    client = Client(address)
    try:
        check(client)
    except BaseException:
        client.close()
        raise
    return RedisLog(client), RedisStore(client)


def _in_directory(path: str) -> tuple[CheckpointLog, StateStore]:
    from tidemill.checkpoint.files import DirectoryLog
    from tidemill.state.files import DirectoryStore

    log = DirectoryLog(path)
    return log, DirectoryStore(log.path)


def _directories(root: str) -> list[str]:
    """Directories with the mark of a checkpoint; what lies below one is its own."""
    result = []
    for directory, below, files in os.walk(root):
        below.sort()
        if "tidemill.json" in files:
            below.clear()
            result.append(directory)
    return result


def _path(location: str) -> str:
    if not location.strip():
        raise CheckpointError("the checkpoint location is empty; give a directory")
    parts = urlsplit(location)
    if parts.scheme == "file":
        return unquote(parts.path)
    if "://" in location:
        raise CheckpointError(
            f"checkpoint location {location.partition('://')[0]}://...: {parts.scheme!r} is not one of a directory, "
            f"file:, memory: or {', '.join(redisurl.SCHEMES)}; give a directory"
        )
    return location
