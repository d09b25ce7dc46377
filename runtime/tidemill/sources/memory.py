"""Rows that the program itself adds: the source behind `tidemill.testing.MemoryStream`, and the seam's fake.

An offset is the number of batches added so far. As in Spark, a trigger takes everything added before it; the rows stay
in the log, so that any number of queries, restarts included, may read them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pyarrow as pa

from tidemill.errors import SourceError
from tidemill.sources.base import Limits, Offset, Partition, Rows, Source
from tidemill.types import StructType, to_arrow_schema

_TOGETHER = threading.RLock()
"""Held while one micro-batch over several logs is added, and while a driver asks several sources for their ends."""


@contextmanager
def together() -> Iterator[None]:
    """Within it no log grows: a driver asks all its sources for ``latest`` inside, so that it sees none or all of what
    `append_together` adds."""
    with _TOGETHER:
        yield


class MemoryLog:
    """Batches of rows, in the order in which they were added. Safe to use from any thread."""

    def __init__(self, schema: StructType) -> None:
        self.schema = schema
        self._arrow = to_arrow_schema(schema)
        self._batches: list[pa.Table] = []
        self._wakers: list[Callable[[], None]] = []

    def __len__(self) -> int:
        """How many batches were added."""
        return len(self._batches)

    def append(self, rows: pa.Table) -> int:
        """Add one batch and wake whoever waits; returns the offset after it.

        Columns are matched by position and cast to the schema; raises `SourceError` where that cannot be done.
        """
        batch = self._fitted(rows)
        with _TOGETHER:
            self._batches.append(batch)
            offset = len(self._batches)
        self._wake()
        return offset

    def batches(self, start: int, end: int) -> pa.Table:
        """The rows of the batches after ``start`` up to and with ``end``."""
        if not 0 <= start <= end <= len(self._batches):
            raise SourceError(
                f"memory stream: offsets {start} to {end} are not in a log of {len(self._batches)} batches; "
                "a memory stream does not outlive its process"
            )
        return pa.concat_tables([self._arrow.empty_table(), *self._batches[start:end]])

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call ``wake`` after each append, on the thread that appends; returns what ends it."""
        self._wakers.append(wake)

        def unsubscribe() -> None:
            if wake in self._wakers:
                self._wakers.remove(wake)

        return unsubscribe

    def _fitted(self, rows: pa.Table) -> pa.Table:
        if rows.num_columns != len(self._arrow):
            raise SourceError(
                f"memory stream: rows of {rows.num_columns} columns added to a stream of {len(self._arrow)} "
                f"({self.schema.simpleString()})"
            )
        try:
            return rows.rename_columns(self._arrow.names).cast(self._arrow)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise SourceError(
                f"memory stream: the rows do not fit {self.schema.simpleString()}: {error}"
            ) from error

    def _wake(self) -> None:
        for wake in list(self._wakers):
            wake()


def append_together(rows: Mapping[MemoryLog, pa.Table]) -> dict[MemoryLog, int]:
    """Add one batch to each log as one step; returns the offset after it in each.

    Nothing is added if any of the batches does not fit.
    """
    fitted = {log: log._fitted(table) for log, table in rows.items()}
    offsets = {}
    with _TOGETHER:
        for log, batch in fitted.items():
            log._batches.append(batch)
            offsets[log] = len(log._batches)
    for log in fitted:
        log._wake()
    return offsets


class MemorySource(Source):
    """Reads a `MemoryLog` from its beginning."""

    anywhere = False

    def __init__(self, log: MemoryLog) -> None:
        self.log = log
        self.schema = log.schema
        self._frozen: int | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    def initial(self) -> Offset:
        return 0

    def latest(self, start: Offset, limits: Limits) -> Offset:
        end = len(self.log) if self._frozen is None else self._frozen
        return max(int(start), end)

    def partitions(self, start: Offset, end: Offset) -> list[Partition]:
        if start == end:
            return []
        rows = self.log.batches(start, end).num_rows
        return [Partition(0, {"start": start, "end": end}, rows)] if rows else []

    def read(self, partition: Partition) -> Rows:
        table = self.log.batches(partition.spec["start"], partition.spec["end"])
        return Rows(table, bytes=table.nbytes)

    def freeze(self) -> None:
        self._frozen = len(self.log)

    def on_arrival(self, wake: Callable[[], None]) -> None:
        self._unsubscribe()
        self._unsubscribe = self.log.subscribe(wake)

    def metrics(self, start: Offset, end: Offset) -> dict[str, str]:
        return {"latestOffset": str(len(self.log))}

    def close(self) -> None:
        self._unsubscribe()
        self._unsubscribe = lambda: None
