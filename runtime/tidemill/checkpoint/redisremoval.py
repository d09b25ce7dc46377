"""How a checkpoint in Redis is removed: its blobs, then all of its log and its lease at once."""

from __future__ import annotations

import logging
import time
from typing import get_args

from tidemill.checkpoint import open_, shown
from tidemill.checkpoint.base import Kind
from tidemill.checkpoint.redis import RedisLog
from tidemill.checkpoint.removal import OWNER, Removed
from tidemill.errors import CheckpointLockedError
from tidemill.sinks.base import Generation
from tidemill.state.redis import RedisStore

log = logging.getLogger("tidemill.redis")

QUERY = "query"
"""The log's name for the query of a checkpoint."""
LOOK = 0.2
"""Seconds between looks at a lease that may run out."""


class HeldInRedis:
    """See `tidemill.checkpoint.removal.Held`."""

    def __init__(self, location: str) -> None:
        self.location = location
        found, store = open_(location)
        assert isinstance(found, RedisLog) and isinstance(store, RedisStore)
        self._log, self._store = found, store
        try:
            self._generation = self._taken()
        except BaseException:
            self.let_go()
            raise

    def _taken(self) -> Generation:
        """The lease; a living process renews its own, so that whoever keeps it for longer than it lasts is alive."""
        end = time.monotonic() + self._log.client.address.settings.lease
        told = False
        while True:
            try:
                return self._log.acquire(OWNER)
            except CheckpointLockedError as error:
                if time.monotonic() > end:
                    raise
                if not told:
                    told = True
                    log.warning("%s; waiting for that", error)
            time.sleep(LOOK)

    def remove(self) -> Removed:
        entry = self._log.get(QUERY, "query", 0)
        entries = sum(len(self._log.numbers(QUERY, kind)) for kind in get_args(Kind))
        sizes: list[int] = []
        self._log.check(self._generation)
        if entry is not None:
            sizes = list(self._store.sizes(self._store.names(entry["id"])).values())
            # Before the log, which alone says under which id they are.
            self._store.drop(entry["id"])
        self._log.remove(QUERY, len(entry["sources"]) if entry is not None else 0, self._generation)
        return Removed(shown(self.location), entries, len(sizes), sum(sizes))

    def let_go(self) -> None:
        self._log.close()
        self._store.close()
