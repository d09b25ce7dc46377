"""How much of its time an executor is at work: what a scaler decides by."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from tidemill.clock import SYSTEM, Clock

WINDOW = 60.0
"""Seconds that `Busy.share` looks back."""


class Busy:
    """Counts the time in which at least one batch is at work; two at once count once, so that the rest was idle."""

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._working = 0
        self._since = 0.0
        self._total = 0.0
        self._samples: deque[tuple[float, float]] = deque([(clock.monotonic(), 0.0)])

    @contextmanager
    def working(self) -> Iterator[None]:
        with self._lock:
            if self._working == 0:
                self._since = self._clock.monotonic()
            self._working += 1
        try:
            yield
        finally:
            with self._lock:
                self._working -= 1
                if self._working == 0:
                    self._total += self._clock.monotonic() - self._since

    @property
    def seconds(self) -> float:
        """Ever, the batch at hand included."""
        with self._lock:
            return self._now()

    def _now(self) -> float:
        return self._total + (self._clock.monotonic() - self._since if self._working else 0.0)

    def share(self) -> float:
        """Of about the last minute, or of the time since the start; as exact as it is asked often."""
        with self._lock:
            at, busy = self._clock.monotonic(), self._now()
            while len(self._samples) > 1 and self._samples[1][0] <= at - WINDOW:
                self._samples.popleft()
            first, then = self._samples[0]
            if at - self._samples[-1][0] >= 1.0:
                self._samples.append((at, busy))
        return min(1.0, (busy - then) / (at - first)) if at > first else 0.0
