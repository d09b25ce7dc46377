"""Rows made from nothing but time: ``rate`` (so many a second) and ``rate-micro-batch`` (so many a batch)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from tidemill.clock import SYSTEM, Clock
from tidemill.errors import SourceError
from tidemill.sources.base import Limits, Offset, Partition, Rows, Source
from tidemill.sources.options import Options
from tidemill.types import LongType, StructField, StructType, TimestampType, to_arrow_schema

RATE_SCHEMA = StructType([StructField("timestamp", TimestampType()), StructField("value", LongType())])
_ARROW = to_arrow_schema(RATE_SCHEMA)


def _rows(first: int, timestamps_us: np.ndarray, step: int = 1) -> Rows:
    values = first + step * np.arange(len(timestamps_us), dtype=np.int64)
    columns = [pa.array(timestamps_us).cast(pa.timestamp("us")), pa.array(values)]
    return Rows(pa.table(columns, schema=_ARROW), bytes=16 * len(values))


class RateSource(Source):
    """``rowsPerSecond`` rows (default 1) for each second since the query's first start, whole seconds only.

    As in Spark, ``rampUpTime`` grows the speed to ``rowsPerSecond`` linearly, second by second; the rows of a batch
    spread evenly over its time. An offset is ``{"start": microseconds, "seconds": n}``: seconds seen since the start.
    """

    def __init__(self, options: Mapping[str, str], clock: Clock = SYSTEM) -> None:
        checked = Options("rate", options, ("rowsPerSecond", "rampUpTime", "numPartitions"))
        self.schema = RATE_SCHEMA
        self._speed = checked.whole("rowsPerSecond", 1) or 1
        self._ramp = int(checked.seconds("rampUpTime", 0.0, unit="s") or 0)
        self._parts = checked.whole("numPartitions", 1) or 1
        self._clock = clock
        self._frozen: float | None = None

    def initial(self) -> Offset:
        return {"start": int(self._clock.now() * 1000) * 1000, "seconds": 0}

    def latest(self, start: Offset, limits: Limits) -> Offset:
        now = self._clock.now() if self._frozen is None else self._frozen
        seconds = int((int(now * 1_000_000) - start["start"]) // 1_000_000)
        return {"start": start["start"], "seconds": max(start["seconds"], seconds)}

    def total(self, seconds: int) -> int:
        """Rows made in the first ``seconds`` seconds; second k of the ramp makes k times one step of speed.

        >>> [RateSource({"rowsPerSecond": "10", "rampUpTime": "4s"}).total(s) for s in range(7)]
        [0, 2, 6, 12, 20, 30, 40]
        """
        step = self._speed // (self._ramp + 1)
        ramp = min(seconds, self._ramp)
        return step * ramp * (ramp + 1) // 2 + (seconds - ramp) * self._speed

    def partitions(self, start: Offset, end: Offset) -> list[Partition]:
        first, last = self.total(start["seconds"]), self.total(end["seconds"])
        count = min(self._parts, last - first)
        spec = {"begin": start["start"], "from": start["seconds"], "to": end["seconds"], "of": count}
        return [Partition(i, spec, (last - first - i + count - 1) // count) for i in range(count)]

    def read(self, partition: Partition) -> Rows:
        spec = partition.spec
        first, last = self.total(spec["from"]), self.total(spec["to"])
        places = np.arange(partition.index, last - first, spec["of"], dtype=np.int64)
        micros = (spec["to"] - spec["from"]) * 1_000_000
        # Milliseconds, as in Spark: row i of n comes at the share i/n of the batch's time.
        at = places * micros // (last - first) // 1000 * 1000
        begin = spec["begin"] + spec["from"] * 1_000_000
        return _rows(first + partition.index, begin + at, spec["of"])

    def freeze(self) -> None:
        self._frozen = self._clock.now()


class RatePerBatchSource(Source):
    """``rowsPerBatch`` rows in every batch, however late it runs; an offset is ``{"offset": rows, "timestamp": ms}``.

    All rows of a batch carry one timestamp: ``startTimestamp`` (ms, default 0) for the first, and
    ``advanceMillisPerBatch`` (default 1000) more for each that follows.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        known = ("rowsPerBatch", "startTimestamp", "advanceMillisPerBatch", "numPartitions")
        checked = Options("rate-micro-batch", options, known)
        checked.required("rowsPerBatch", "100")
        self.schema = RATE_SCHEMA
        self._rows = checked.whole("rowsPerBatch") or 1
        self._begin = checked.whole("startTimestamp", 0, minimum=0) or 0
        self._advance = checked.whole("advanceMillisPerBatch", 1000, minimum=0)
        self._parts = checked.whole("numPartitions", 1) or 1
        self._frozen = False
        self._last: Offset = None

    def initial(self) -> Offset:
        return {"offset": 0, "timestamp": self._begin}

    def latest(self, start: Offset, limits: Limits) -> Offset:
        if self._frozen and self._last is not None and start["offset"] >= self._last["offset"]:
            return start
        end = {"offset": start["offset"] + self._rows, "timestamp": start["timestamp"] + self._advance}
        if self._frozen:
            self._last = end  # an endless source: availableNow takes one batch
        return end

    def partitions(self, start: Offset, end: Offset) -> list[Partition]:
        batches, rest = divmod(end["offset"] - start["offset"], self._rows)
        if rest:
            raise SourceError(
                f"rate-micro-batch: the range {start['offset']} to {end['offset']} holds no whole batches of "
                f"{self._rows} rows; option 'rowsPerBatch' must not change while a checkpoint is in use"
            )
        count = min(self._parts, batches * self._rows)
        spec = {"first": start["offset"], "timestamp": start["timestamp"], "batches": batches, "of": count}
        return [Partition(i, spec, (batches * self._rows - i + count - 1) // count) for i in range(count)]

    def read(self, partition: Partition) -> Rows:
        spec = partition.spec
        places = np.arange(partition.index, spec["batches"] * self._rows, spec["of"], dtype=np.int64)
        millis = spec["timestamp"] + places // self._rows * self._advance
        return _rows(spec["first"] + partition.index, millis * 1000, spec["of"])

    def freeze(self) -> None:
        self._frozen = True
