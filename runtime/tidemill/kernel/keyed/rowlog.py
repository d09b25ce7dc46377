"""Columns of variable width (strings, lists, structs, maps): a log of Arrow segments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.kernel.keyed.vectors import Int64s, Ints, Vector, runs

SEGMENT_ROWS = 1 << 20
"""Most rows of a segment: merging one takes 20 to 40 ms, the longest that a batch waits for upkeep."""
SEGMENT_BYTES = 64 << 20
"""Most bytes of a segment (one row may be larger), far below the 2 GB that Arrow's 32-bit offsets reach."""
MERGE_FACTOR = 4
"""Segments of one size before they are merged: 12 small ones at most on the way from 1 k rows to full size."""
UPKEEP = 8
"""Rows that upkeep may copy for each row written or gone: 4 merges on the way to full size, one compaction, slack."""
TAKE_BYTES = 512 << 20
"""Aim for the size of one take's result, again far below 2 GB."""

_TAKE, _UNCHECKED = pc.get_function("take"), pc.TakeOptions(boundscheck=False)
"""What ``RecordBatch.take`` calls, without a third of its cost."""

ROW = np.int64(0xFFFFFFFF)
SEGMENT = np.int64(32)


@dataclass(slots=True, eq=False)
class _Segment:
    rows: pa.RecordBatch
    owners: npt.NDArray[np.int32]
    """The slot of each row, alive or not."""
    nbytes: int
    live: int

    @property
    def weight(self) -> float:
        """The share of a full segment that its live rows make."""
        share = self.live / len(self.owners)
        return max(self.live / SEGMENT_ROWS, share * self.nbytes / SEGMENT_BYTES)


class RowLog:
    """Rows by slot, appended and never changed; what is superseded goes when segments are merged.

    A position is segment number << 32 | row, and 0 is none (numbers begin at 1). Writing moves a slot's position to a
    new segment; `rollback` moves it back. Only `accept` drops or merges segments, and only as much as the writes so
    far have paid for, so that no batch waits for the whole log.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._segments: list[_Segment | None] = [None]
        self._position = Vector(np.int64)
        self._credit = 0
        self._undo: list[tuple[Int64s, Int64s]] = []
        self._added: list[int] = []

    def reserve(self, size: int) -> None:
        self._position.reserve(size)

    def write(self, slots: Ints, rows: pa.Table) -> None:
        """Append a row for each of the distinct slots; it replaces the one that the slot has."""
        if not len(slots):
            return
        self._undo.append((np.asarray(slots, np.int64), self._position.data.take(slots)))
        start = 0
        for batch in _segment_sized(rows):
            self._added.append(self._append(batch, slots[start : start + len(batch)].astype(np.int32)))
            start += len(batch)

    def take(self, slots: Ints, names: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows of the slots, in their order, as batches small enough for 32-bit offsets."""
        step = self._rows_per_take()
        for start in range(0, len(slots), step):
            yield self._take(self._position.data.take(slots[start : start + step]), names)

    def accept(self, removed: Int64s) -> None:
        """Forget the old rows and those of removed slots, and do the upkeep that is due."""
        gone = [self._position.data.take(removed), *(old for _, old in self._undo)]
        self._position.data[removed] = 0
        written = sum(len(slots) for slots, _ in self._undo)
        self._undo, self._added = [], []
        lost = self._bury(np.concatenate(gone))
        self._credit = min(self._credit + UPKEEP * (written + lost), 2 * SEGMENT_ROWS)
        if lost or written:
            self._keep_up()

    def rollback(self) -> None:
        for slots, old in reversed(self._undo):
            self._position.data[slots] = old
        for number in self._added:
            self._segments[number] = None
        self._undo, self._added = [], []

    @property
    def nbytes(self) -> int:
        return self._position.nbytes + sum(
            segment.nbytes + segment.owners.nbytes for segment in self._present()
        )

    @property
    def segments(self) -> int:
        return sum(1 for _ in self._present())

    def _present(self) -> Iterator[_Segment]:
        return (segment for segment in self._segments if segment is not None)

    def _append(self, batch: pa.RecordBatch, owners: npt.NDArray[np.int32]) -> int:
        segment = _Segment(batch, owners, batch.nbytes, len(owners))
        try:
            number = self._segments.index(None, 1)
            self._segments[number] = segment
        except ValueError:
            number = len(self._segments)
            self._segments.append(segment)
        first = number << 32
        self._position.data[owners] = np.arange(first, first + len(owners))
        return number

    def _rows(self, number: int) -> pa.RecordBatch:
        segment = self._segments[number]
        assert segment is not None, f"a slot points into segment {number}, which is gone"
        return segment.rows

    def _rows_per_take(self) -> int:
        present = list(self._present())
        rows = sum(len(segment.owners) for segment in present)
        per_row = sum(segment.nbytes for segment in present) / max(rows, 1)
        return int(min(1 << 20, max(1, TAKE_BYTES // max(per_row, 1))))

    def _take(self, positions: Int64s, names: Sequence[str] | None) -> pa.RecordBatch:
        numbers = (positions >> SEGMENT).astype(np.uint16)
        order = np.argsort(numbers, kind="stable")  # a radix sort, since the numbers are 16 bits wide
        starts, lengths = runs(numbers[order])
        rows = (positions & ROW)[order]
        indices = pa.array(rows)
        parts = []
        for number, start, length in zip(
            numbers[order[starts]].tolist(), starts.tolist(), lengths.tolist(), strict=True
        ):
            batch = self._rows(number)
            batch = batch if names is None else batch.select(names)
            parts.append(_TAKE.call([batch, indices.slice(start, length)], _UNCHECKED))
        if len(parts) == 1:
            return parts[0]  # a stable sort of equal numbers keeps the order
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return _TAKE.call([pa.concat_batches(parts), pa.array(back)], _UNCHECKED)

    def _bury(self, positions: Int64s) -> int:
        """Count rows out of their segments; drop the segments that have none left."""
        positions = positions[positions != 0]
        counts = np.bincount(positions >> SEGMENT, minlength=1)
        for number in np.flatnonzero(counts).tolist():
            segment = self._segments[number]
            assert segment is not None
            segment.live -= int(counts[number])
            if not segment.live:
                self._segments[number] = None
        return len(positions)

    def _keep_up(self) -> None:
        for group in self._due():
            cost = sum(segment.live for _, segment in group)
            if cost > self._credit:
                return
            self._credit -= cost
            self._merge(group)

    def _due(self) -> list[list[tuple[int, _Segment]]]:
        """Groups of segments to merge: enough of one size, or less than half alive."""
        sizes: dict[int, list[tuple[int, _Segment]]] = {}
        for number, segment in enumerate(self._segments):
            if segment is not None:
                sizes.setdefault(_size_class(segment.weight), []).append((number, segment))
        due = []
        for size, members in sorted(sizes.items()):
            sparse = [member for member in members if 2 * member[1].live < len(member[1].owners)]
            if size < 0 and len(members) >= MERGE_FACTOR:
                due += [group for group in _full_groups(members) if len(group) > 1]
            else:
                due += _full_groups(sparse)
        return due

    def _merge(self, group: Iterable[tuple[int, _Segment]]) -> None:
        batches, owners = [], []
        for number, segment in group:
            first = number << 32
            here = np.arange(first, first + len(segment.owners))
            alive = np.flatnonzero(self._position.data.take(segment.owners) == here)
            whole = len(alive) == len(here)
            batches.append(segment.rows if whole else segment.rows.take(pa.array(alive)))
            owners.append(segment.owners if whole else segment.owners[alive])
            self._segments[number] = None
        self._append(pa.concat_batches(batches), np.concatenate(owners))


def _size_class(weight: float) -> int:
    """0 for segments at half of full size or above, -1 for up to a quarter of those, and so on; -5 is 500 rows."""
    size = 0
    while weight < 0.5 and size > -5:
        weight *= MERGE_FACTOR
        size -= 1
    return size


def _full_groups(members: list[tuple[int, _Segment]]) -> list[list[tuple[int, _Segment]]]:
    """Cut into groups that make one segment each."""
    groups: list[list[tuple[int, _Segment]]] = []
    weight = 1.0
    for member in members:
        weight += member[1].weight
        if weight > 1:
            groups.append([])
            weight = member[1].weight
        groups[-1].append(member)
    return groups


def _segment_sized(rows: pa.Table) -> Iterator[pa.RecordBatch]:
    """Contiguous batches of at most a segment's size, which hold no memory of a larger table."""
    rows = rows.combine_chunks()
    most = min(SEGMENT_ROWS, max(1, SEGMENT_BYTES * rows.num_rows // max(rows.nbytes, 1)))
    for batch in rows.to_batches(max_chunksize=most):
        if not len(batch):
            continue
        shared = batch.get_total_buffer_size() > 2 * batch.nbytes + 4096
        yield batch.take(pa.array(np.arange(len(batch)))) if shared else batch
