"""The one place that asks for the time, so that tests can say what time it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Clock:
    """``now`` is wall time in seconds since the epoch; ``monotonic`` only measures durations."""

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


SYSTEM = Clock()
