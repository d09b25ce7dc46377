"""Jobs that are to be looked at: one at a time each, soon after something changed, later after a failure."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import Callable

from tidemill_operator.world import Key

GATHER = 0.05
"""Seconds after a change in which more changes of the same job are waited for."""
BACK_OFF = (1.0, 60.0)
"""Seconds until the next try after a first failure, and at most."""


class WorkQueue:
    """For one event loop. ``clock`` counts seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._numbers = itertools.count()
        self._working: set[Key] = set()
        self._again: dict[Key, float] = {}
        """Of those that are worked on: when to look at them again."""
        self._failures: dict[Key, int] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """Jobs that are due now, or worked on."""
        now = self._clock()
        return len(self._working) + sum(due <= now for due in self._due.values())

    def mark(self, key: Key, after: float = GATHER) -> None:
        """Look at it in ``after`` seconds, or earlier if it is to be looked at earlier anyway."""
        self._at(key, self._clock() + after)

    def _at(self, key: Key, due: float) -> None:
        known = self._again if key in self._working else self._due
        if due >= known.get(key, float("inf")):
            return
        known[key] = due
        if known is self._due:
            heapq.heappush(self._heap, (due, next(self._numbers), key))
            self._changed.set()

    async def take(self) -> Key:
        """The next one that is due; nobody else gets it until it is `done`."""
        while True:
            self._changed.clear()
            while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
                heapq.heappop(self._heap)  # it has been taken, or moved up
            wait = self._heap[0][0] - self._clock() if self._heap else None
            if wait is not None and wait <= 0:
                _, _, key = heapq.heappop(self._heap)
                del self._due[key]
                self._working.add(key)
                return key
            # Not `wait_for`: in Python 3.11 that forgets a cancellation that comes at the very moment of its time-out.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    def done(self, key: Key, again: float | None = None) -> None:
        """It has been looked at; ``again``: look at it in so many seconds, whether or not something changes."""
        self._failures.pop(key, None)
        self._finish(key, again)

    def failed(self, key: Key) -> float:
        """It could not be looked at; gives the seconds until the next try."""
        tries = self._failures[key] = self._failures.get(key, 0) + 1
        pause = min(BACK_OFF[0] * 2 ** (tries - 1), BACK_OFF[1])
        self._again.pop(key, None)  # a change does not shorten the pause: writing may be what changes it
        self._finish(key, pause)
        return pause

    def _finish(self, key: Key, again: float | None) -> None:
        self._working.discard(key)
        marked = self._again.pop(key, None)
        if marked is not None:
            self._at(key, marked)
        if again is not None:
            self.mark(key, again)
