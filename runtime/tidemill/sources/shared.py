"""Queries that read the same source read it once.

Every query has a `Source` of its own, which decides where its batches end and keeps its progress. What is read, sources
of one kind with the same options have in common (`SharedReads`): whoever comes first fetches and decodes a segment of a
partition, those who come after slice it, and the consumer that stands at the right place goes on. A query that is further
behind than the segments that are kept reads by its own consumer, and leaves theirs where it stands.

Executors in other processes do the same among the queries that they work for: partitions stick to executors.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from tidemill.sources.base import Partition, Piece, Rows, Source
from tidemill.sources.segments import Reading, Segment, Segments
from tidemill.sources.wrapped import BadRecordsSource, WrappedSource
from tidemill.types import StructType

TIPS = 16
"""Places in a lane where a consumer is known to stand: as many as pieces of a partition that are read at once."""

Widen = Callable[[StructType], Source]
"""Makes a source of the same rows with other columns."""


def share(source: Source, key: Any, limit: int, widen: Widen | None = None) -> Source:
    """The source of a query, which reads together with those of the same ``key`` and ``limit`` (bytes, 0: alone).

    ``key`` must say all that decides what is read; of queries that read different columns only with ``widen``.
    """
    if isinstance(source, BadRecordsSource):
        return BadRecordsSource(share(source.inner, key, limit, widen))
    if limit <= 0 or not source.shareable:
        return source
    with _lock:
        reads = next((r for r in _known if (r.key, r.segments.limit) == (key, limit)), None)
        if reads is None:
            reads = SharedReads(key, limit)
            _known.add(reads)
        return SharedSource(source, reads, widen)


class SharedSource(WrappedSource):
    """Everything but ``read`` is the inner source's."""

    def __init__(self, inner: Source, reads: SharedReads, widen: Widen | None = None) -> None:
        super().__init__(inner)
        self.reads = reads
        self.widen = widen
        self.number = reads.attach(self)

    def read(self, partition: Partition) -> Rows:
        pieces = self.inner.pieces(partition)
        if not pieces or self.reads.lonely:
            rows = self.inner.read(partition)
            self.reads.passed(self, pieces)
            return rows
        return together([rows for piece in pieces for rows in self.reads.read(self, piece)])

    def close(self) -> None:
        self.reads.detach(self)
        self.inner.close()


class SharedReads:
    """What some queries of this process read together. Safe to use from several threads."""

    def __init__(self, key: Any, limit: int) -> None:
        self.key = key
        self.segments = Segments(limit)
        self._lock = threading.Lock()
        self._sources: weakref.WeakValueDictionary[int, SharedSource] = weakref.WeakValueDictionary()
        self._numbers = itertools.count()
        self._tips: dict[str, dict[int, int]] = {}
        """Of each lane: offset -> the query whose consumer stands there."""
        self._wide: dict[tuple[str, ...], Source] = {}

    # Queries

    def attach(self, source: SharedSource) -> int:
        with self._lock:
            number = next(self._numbers)
            self._sources[number] = source
            self.segments.attach(number)
            return number

    def detach(self, source: SharedSource) -> None:
        with self._lock:
            self._sources.pop(source.number, None)
            self._forget(source.number)

    def _forget(self, query: int) -> None:
        self.segments.detach(query)
        for tips in self._tips.values():
            for at in [at for at, q in tips.items() if q == query]:
                del tips[at]

    @property
    def lonely(self) -> bool:
        """Whether there is one query only, and nothing left for it by others."""
        with self._lock:
            # Sources that nobody closed.
            for query in [q for q in self.segments.queries if q not in self._sources]:
                self._forget(query)
            return len(self.segments.queries) <= 1 and self.segments.empty

    def passed(self, source: SharedSource, pieces: Sequence[Piece]) -> None:
        """A query has read pieces by itself."""
        with self._lock:
            for piece in pieces:
                reading = self.segments.begin(source.number, piece, ())
                self.segments.advance(reading, piece.end)
                self.segments.finish(reading)
                self._tip(source, piece, piece.end)

    # Reading

    def read(self, source: SharedSource, piece: Piece) -> list[Rows]:
        """The rows of a piece, in parts."""
        parts = []
        with self._lock:
            reading = self.segments.begin(source.number, piece, source.schema.names)
        try:
            while reading.at < piece.end:
                parts.append(self._part(source, reading))
        finally:
            with self._lock:
                self.segments.finish(reading)
        return parts

    def _part(self, source: SharedSource, reading: Reading) -> Rows:
        """Some more of a piece: what another query has read or is reading, or what is read now, for all or for one."""
        with self._lock:
            segment = self.segments.find(reading)
            if segment is None:
                gap = self.segments.gap(reading)
                own = self.segments.open(reading, gap)
                if own is not None:
                    own.columns = self._columns()
        if segment is not None:
            segment.over.wait()
            if segment.rows is None or not reading.columns <= segment.columns:
                # Whoever read it has failed; that need not be so for us.
                return self._alone(source, reading, min(segment.end, reading.piece.end))
            rows, saved = segment.rows, True
        elif own is not None:
            segment, rows, saved = own, self._fetch(source, reading.piece, own), False
        else:
            return self._alone(source, reading, gap)
        with self._lock:
            start, end = self.segments.take(reading, segment)
        return _selected(cut(rows, start, end, reading.piece, saved), source.schema)

    def _columns(self) -> frozenset[str]:
        """Those that any of the queries reads."""
        return frozenset(n for s in self._sources.values() for n in s.schema.names)

    def _fetch(self, source: SharedSource, piece: Piece, segment: Segment) -> Rows:
        """Read a segment for all."""
        rows: Rows | None = None
        try:
            rows = self._read(source, piece, segment)
            return rows
        finally:
            with self._lock:
                if rows is None:
                    self.segments.fail(segment)
                else:
                    self.segments.fill(segment, rows)
            segment.over.set()

    def _read(self, source: SharedSource, piece: Piece, segment: Segment) -> Rows:
        if piece.whole:
            return self._whole(source, piece, segment)
        partition = source.inner.cut(piece, segment.start, segment.end)
        through = self._standing(source, piece.lane, segment.start)
        try:
            rows = through.inner.read(partition)
        except Exception:
            if through is source:
                raise
            through = source  # the other query may have ended; if that is not why, ours says what is
            rows = source.inner.read(partition)
        with self._lock:
            self._tip(through, piece, segment.end)
        return rows

    def _whole(self, source: SharedSource, piece: Piece, segment: Segment) -> Rows:
        wide = self._widened(source, segment.columns)
        try:
            return wide.read(piece.partition)
        except Exception:
            if wide is source.inner:
                raise
            # The error may lie in a column of another query's.
            segment.columns = frozenset(source.schema.names)
            return source.inner.read(piece.partition)

    def _alone(self, source: SharedSource, reading: Reading, end: int) -> Rows:
        """Read what is only for this query, by its own consumer, which then no longer stands where the others read."""
        piece = reading.piece
        with self._lock:
            self._clear_tips(source.number, piece.lane)
        whole = piece.whole or (reading.at, end) == (piece.start, piece.end)
        partition = piece.partition if whole else source.inner.cut(piece, reading.at, end)
        rows = source.inner.read(partition)
        with self._lock:
            self.segments.advance(reading, end)
        return rows

    # Consumers, and where they stand

    def _standing(self, source: SharedSource, lane: str, at: int) -> SharedSource:
        """The source whose consumer goes on at an offset; this one's own if there is none."""
        with self._lock:
            query = self._tips.get(lane, {}).pop(at, None)
            found = self._sources.get(query) if query is not None else None
            if found is None:
                self._clear_tips(source.number, lane)
            return found or source

    def _tip(self, source: SharedSource, piece: Piece, at: int) -> None:
        tips = self._tips.setdefault(piece.lane, {})
        if source.number in self._sources and not piece.whole:
            tips[at] = source.number
            while len(tips) > TIPS:
                del tips[next(iter(tips))]

    def _clear_tips(self, query: int, lane: str) -> None:
        """A consumer may be anywhere now."""
        tips = self._tips.get(lane, {})
        for at in [at for at, q in tips.items() if q == query]:
            del tips[at]

    # Columns

    def _widened(self, source: SharedSource, columns: frozenset[str]) -> Source:
        """A source with the columns that all queries read."""
        if source.widen is None or columns == set(source.schema.names):
            return source.inner
        with self._lock:
            fields = {f.name: f for s in self._sources.values() for f in s.schema.fields}
            fields |= {f.name: f for f in source.schema.fields}
            names = tuple(sorted(columns))
            if names not in self._wide:
                self._wide[names] = source.widen(StructType([fields[n] for n in names]))
            return self._wide[names]


_known: weakref.WeakSet[SharedReads] = weakref.WeakSet()
_lock = threading.Lock()


def cut(rows: Rows, start: int, end: int, piece: Piece, saved: bool) -> Rows:
    """The rows of a segment that lie between two offsets; ``saved``: another query has read them."""
    if piece.whole:
        return replace(rows, saved=rows.bytes, saved_reads=1) if saved else rows
    at = rows.places
    assert at is not None, "a source that can be cut says where its rows stand"
    low, high = (int(i) for i in at.offsets.searchsorted([start, end]))
    bad_low, bad_high = (int(i) for i in at.bad.searchsorted([low, high]))
    count = max(len(at.offsets), 1)
    size = rows.bytes * high // count - rows.bytes * low // count
    newest = dict.fromkeys(rows.newest, float(at.micros[high - 1]) / 1e6) if high > low else {}
    return Rows(
        rows.table.slice(low - bad_low, high - low - (bad_high - bad_low)),
        rows.bad.slice(bad_low, bad_high - bad_low),
        size,
        newest,
        saved=size if saved else 0,
        saved_reads=int(saved),
    )


def _selected(rows: Rows, schema: StructType) -> Rows:
    names = schema.names
    return rows if rows.table.column_names == names else replace(rows, table=rows.table.select(names))


def together(parts: Sequence[Rows]) -> Rows:
    """Rows one after the other, as of one read."""
    if len(parts) == 1:
        return parts[0]
    newest: dict[str, float] = {}
    for part in parts:
        newest |= part.newest
    return Rows(
        pa.concat_tables([p.table for p in parts]),
        pa.concat_tables([p.bad for p in parts]),
        sum(p.bytes for p in parts),
        newest,
        saved=sum(p.saved for p in parts),
        saved_reads=max(p.saved_reads for p in parts),
    )
