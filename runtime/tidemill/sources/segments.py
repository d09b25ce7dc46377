"""What has been read for several queries, and which of them still needs it: the bookkeeping of shared reads.

Nothing here reads or waits, and nothing locks: `tidemill.sources.shared` does, around it.

A *lane* is what is read in one direction (a Kafka partition, a file), a *segment* a read range of it.
A query's *mark* in a lane is where its last read ended: it will ask for what is behind the mark only to try again.
Segments of a lane do not overlap. A new query takes no part in those that were read before it came, since for it the
same offsets may mean other records (a topic made anew).
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from tidemill.sources.base import Piece, Rows

LIMIT = 64 << 20
"""Bytes of decoded rows that are kept for the queries of one source, ``tidemill.sharedReadBytes``."""
SHARE = 8
"""A segment takes about so small a part of the limit, so that queries follow each other closely."""
FIRST = 10_000
"""Offsets of a lane's first segment, before it is known how much they hold."""
LEAST, MOST = 100, 1_000_000
"""Offsets of any other."""
MARKS = 20_000
"""Lanes that are remembered for a query; of files, each is one."""
OVERHEAD = 2048
"""Bytes that a segment costs besides its rows, about."""


@dataclass(eq=False)
class Segment:
    """A range that one query reads, or has read, for all that are in ``left``."""

    lane: str
    start: int
    end: int
    columns: frozenset[str]
    left: dict[int, int]
    """Of each query that may take it: how many offsets it has not yet taken."""
    rows: Rows | None = None
    """None while they are read, and if that has failed."""
    size: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    """Set when reading is over, well or not."""


@dataclass(eq=False)
class Reading:
    """A query in the middle of a piece: it has what comes before ``at``."""

    query: int
    piece: Piece
    columns: frozenset[str]
    at: int


class Segments:
    """The segments of one source, at most ``limit`` bytes of them; the oldest make room for new ones."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.size = 0
        self.queries: dict[int, dict[str, int]] = {}
        """The mark of each live query in each lane that it has read."""
        self._lanes: dict[str, list[Segment]] = {}
        """Those of each lane in order, those being read included."""
        self._kept: dict[Segment, None] = {}
        """Those with rows, oldest first."""
        self._lost: dict[str, int] = {}
        """Up to where segments of a lane were dropped before all had taken them: who is behind that is on its own."""
        self._readings: set[Reading] = set()
        self._density: dict[str, float] = {}
        """Bytes that an offset of a lane holds."""

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def empty(self) -> bool:
        """Whether there are none, nor any that are being read."""
        return not self._lanes

    # Queries

    def attach(self, query: int) -> None:
        self.queries[query] = {}

    def detach(self, query: int) -> None:
        if self.queries.pop(query, None) is not None:
            for segment in list(self._kept):
                self._settle(segment)

    def begin(self, query: int, piece: Piece, columns: Collection[str]) -> Reading:
        """A query is going to read a piece."""
        if piece.lane not in self.queries.get(query, {}):
            self._skip(query, piece.lane, piece.start)
        made = Reading(query, piece, frozenset(columns), piece.start)
        self._readings.add(made)
        return made

    def finish(self, reading: Reading) -> None:
        """It has read it, or failed."""
        self._readings.discard(reading)

    def _skip(self, query: int, lane: str, start: int) -> None:
        """A query that begins at ``start`` needs nothing from before."""
        for segment in [s for s in self._lanes.get(lane, ()) if s.start < start]:
            self._take(segment, query, min(start, segment.end) - segment.start)

    def advance(self, reading: Reading, to: int) -> None:
        reading.at = to
        marks = self.queries.get(reading.query)
        if marks is not None:
            marks[reading.piece.lane] = max(to, marks.pop(reading.piece.lane, to))
            _bound(marks)

    # Segments

    def find(self, reading: Reading) -> Segment | None:
        """What the reading can go on with, be it that another query is just reading it."""
        found = self._at(reading)
        if found is None or reading.query not in found.left or not reading.columns <= found.columns:
            return None
        return found

    def gap(self, reading: Reading) -> int:
        """Up to where the reading finds nothing that it can use."""
        found = self._at(reading)
        if found is not None:
            return min(found.end, reading.piece.end)
        lane = self._lanes.get(reading.piece.lane, [])
        after = bisect_right(lane, reading.at, key=_start)
        return min(lane[after].start, reading.piece.end) if after < len(lane) else reading.piece.end

    def _at(self, reading: Reading) -> Segment | None:
        lane = self._lanes.get(reading.piece.lane, [])
        place = bisect_right(lane, reading.at, key=_start) - 1
        return lane[place] if place >= 0 and reading.at < lane[place].end else None

    def open(self, reading: Reading, gap: int) -> Segment | None:
        """A segment for the reading to read; None: it has to read up to ``gap`` for itself alone.

        So it is where nobody else may want it, where another segment is in the way, and behind what was dropped for want
        of room: rows that are kept for a query that has fallen behind would drive out those that the others need.
        """
        piece, start = reading.piece, reading.at
        if self._at(reading) is not None or start < self._lost.get(piece.lane, start):
            return None
        end = gap if piece.whole else min(gap, start + self._length(piece.lane))
        left = {q: self._wants(q, piece.lane, start, end) for q in self.queries}
        left[reading.query] = 0
        if not any(left.values()):
            return None
        made = Segment(piece.lane, start, end, reading.columns, left)
        lane = self._lanes.setdefault(piece.lane, [])
        lane.insert(bisect_right(lane, start, key=_start), made)
        return made

    def _wants(self, query: int, lane: str, start: int, end: int) -> int:
        """How much of a range a query may still ask for."""
        mark = self.queries[query].get(lane, start)
        reading = any(
            r.query == query and r.piece.lane == lane and r.at < end and start < r.piece.end
            for r in self._readings
        )
        return end - start if reading else max(0, end - max(start, mark))

    def _length(self, lane: str) -> int:
        density = self._density.get(lane)
        if density is None:
            return FIRST
        return int(min(max(self.limit / SHARE / max(density, 1e-3), LEAST), MOST))

    def fill(self, segment: Segment, rows: Rows) -> None:
        """The segment has been read."""
        segment.rows = rows
        held = _size(rows)
        segment.size = held + OVERHEAD
        self._density[segment.lane] = held / (segment.end - segment.start)
        _bound(self._density)
        self._kept[segment] = None
        self.size += segment.size
        self._settle(segment)
        while self.size > self.limit:
            oldest = next(iter(self._kept))
            self._lost[oldest.lane] = max(oldest.end, self._lost.pop(oldest.lane, oldest.end))
            _bound(self._lost)
            self._drop(oldest)

    def fail(self, segment: Segment) -> None:
        """It could not be read."""
        self._unlist(segment)

    def take(self, reading: Reading, segment: Segment) -> tuple[int, int]:
        """The part of the segment that the reading takes; it goes on behind it."""
        start, end = reading.at, min(segment.end, reading.piece.end)
        self._take(segment, reading.query, end - start)
        self.advance(reading, end)
        return start, end

    def _take(self, segment: Segment, query: int, count: int) -> None:
        if query in segment.left:
            segment.left[query] -= count
            self._settle(segment)

    def _settle(self, segment: Segment) -> None:
        """Drop a segment that no live query has yet to take."""
        if segment in self._kept and not any(n > 0 and q in self.queries for q, n in segment.left.items()):
            self._drop(segment)

    def _drop(self, segment: Segment) -> None:
        del self._kept[segment]
        self.size -= segment.size
        self._unlist(segment)

    def _unlist(self, segment: Segment) -> None:
        lane = self._lanes[segment.lane]
        lane.pop(bisect_right(lane, segment.start, key=_start) - 1)
        if not lane:
            del self._lanes[segment.lane]


def _size(rows: Rows) -> int:
    at = rows.places
    beside = at.offsets.nbytes + at.micros.nbytes if at is not None else 0
    return int(rows.table.get_total_buffer_size() + rows.bad.get_total_buffer_size() + beside)


def _bound(by_lane: dict[str, Any]) -> None:
    if len(by_lane) > MARKS:
        del by_lane[next(iter(by_lane))]


def _start(segment: Segment) -> int:
    return segment.start
