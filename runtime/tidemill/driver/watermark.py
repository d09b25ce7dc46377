"""How a query's watermark moves: pure.

Each ``withWatermark`` has one of its own: the highest event time seen there less its delay. The query's is the lowest
of them, or the highest if the policy says so, and never falls. Like Spark's, watermarks count whole milliseconds and
start at 0, 1970, so rows from before then are late from the start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tidemill.executor.work import Observed

Policy = Literal["min", "max"]
MILLI = 1000
"""Microseconds in the watermark's unit."""


@dataclass(frozen=True)
class Watermarks:
    """``now`` is the query's watermark in microseconds, ``own`` that of each ``withWatermark``: None until it saw a row.

    A restarted query knows only ``now``: a stream that was ahead must pass it again.
    """

    delays: tuple[int, ...]
    policy: Policy = "min"
    now: int = 0
    own: tuple[int | None, ...] = ()

    @classmethod
    def start(cls, delays: Sequence[int], policy: Policy, now: int = 0) -> Watermarks:
        return cls(tuple(delays), policy, now, (None,) * len(delays))

    def observe(self, seen: Mapping[int, Observed]) -> Watermarks:
        """The watermarks after a batch that saw these event times."""
        if not self.delays:
            return self
        own = tuple(
            _later(mark, _floor(seen[i].high) - _floor(self.delays[i])) if i in seen else mark
            for i, mark in enumerate(self.own)
        )
        choose = min if self.policy == "min" else max
        return replace(self, own=own, now=max(self.now, choose(m or 0 for m in own)))


def _later(mark: int | None, new: int) -> int:
    return new if mark is None else max(mark, new)


def _floor(micros: int) -> int:
    return micros // MILLI * MILLI
