"""How checkpoints are removed: all that a location and what is below it hold, once nobody holds them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tidemill.checkpoint import directory, found, redisurl, shown
from tidemill.errors import CheckpointError

OWNER = "tidemill checkpoint delete"
"""Who holds the lease meanwhile, in the words that others are refused with."""


@dataclass(frozen=True)
class Removed:
    """One checkpoint that is no more."""

    location: str
    """For people."""
    entries: int
    blobs: int
    """In a directory: files of blobs."""
    bytes: int
    """In Redis: of the blobs alone."""
    left: int = 0
    """Files in its directory that are none of a checkpoint's, and stay."""


class Held(Protocol):
    """A checkpoint that nobody else can take meanwhile."""

    def remove(self) -> Removed:
        """Delete it; broken off, it can be done again."""

    def let_go(self) -> None:
        """Give back what is left."""


def remove(location: str) -> Iterator[Removed]:
    """Delete all checkpoints at and below ``location``, one after the other; none if there are none.

    Raises `CheckpointLockedError`, with nothing deleted, if a living process holds one of them. In Redis, where a process
    that has died holds its lease until that runs out, so long is waited.
    """
    with ExitStack() as ends:
        held = []
        for each in found(location):
            held.append(_hold(each, location))
            ends.callback(held[-1].let_go)
        for checkpoint in held:
            yield checkpoint.remove()


def _hold(location: str, root: str) -> Held:
    if redisurl.is_redis(location):
        from tidemill.checkpoint.redisremoval import HeldInRedis

        return HeldInRedis(location)
    path, above = directory(location), directory(root)
    if path is None or above is None:
        raise CheckpointError(
            f"checkpoint location {shown(location)} is in memory, and ends with its process; give a directory or "
            "a redis:// location"
        )
    from tidemill.checkpoint.filesremoval import HeldDirectory

    return HeldDirectory(Path(path), Path(above))
