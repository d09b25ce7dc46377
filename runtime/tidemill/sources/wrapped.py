"""Sources around another source: they change what is read, and nothing of where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tidemill.sources.base import BAD_SCHEMA, Limits, Offset, Partition, Piece, Rows, Source, SourceLog
from tidemill.types import StructField, StructType, from_arrow


class WrappedSource(Source):
    """Everything but ``read`` is the inner source's."""

    def __init__(self, inner: Source) -> None:
        self.inner = inner
        self.schema = inner.schema
        self.anywhere = inner.anywhere
        self.shareable = inner.shareable

    def for_query(self, name: str) -> None:
        self.inner.for_query(name)

    def open(self, log: SourceLog) -> None:
        self.inner.open(log)

    def initial(self) -> Offset:
        return self.inner.initial()

    def latest(self, start: Offset, limits: Limits) -> Offset:
        return self.inner.latest(start, limits)

    def partitions(self, start: Offset, end: Offset) -> list[Partition]:
        return self.inner.partitions(start, end)

    def split(self, partition: Partition, into: int) -> list[Partition]:
        return self.inner.split(partition, into)

    def pieces(self, partition: Partition) -> list[Piece]:
        return self.inner.pieces(partition)

    def cut(self, piece: Piece, start: int, end: int) -> Partition:
        return self.inner.cut(piece, start, end)

    @property
    def limits(self) -> Limits:
        return self.inner.limits

    def freeze(self) -> None:
        self.inner.freeze()

    def on_arrival(self, wake: Callable[[], None]) -> None:
        self.inner.on_arrival(wake)

    def committed(self, end: Offset) -> None:
        self.inner.committed(end)

    def metrics(self, start: Offset, end: Offset) -> dict[str, str]:
        return self.inner.metrics(start, end)

    def close(self) -> None:
        self.inner.close()


BAD_RECORDS = StructType(StructField(f.name, from_arrow(f.type)) for f in BAD_SCHEMA)
"""`BAD_SCHEMA` as the rows of a source."""


class BadRecordsSource(WrappedSource):
    """The bad records of a source, as rows: what a dead-letter query reads."""

    def __init__(self, inner: Source) -> None:
        super().__init__(inner)
        self.schema = BAD_RECORDS

    def read(self, partition: Partition) -> Rows:
        rows = self.inner.read(partition)
        return replace(rows, table=rows.bad, bad=BAD_SCHEMA.empty_table(), places=None)
