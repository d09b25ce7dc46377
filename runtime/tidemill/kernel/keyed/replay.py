"""A shard's chain of deltas, made one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tidemill.errors import CorruptCheckpointError
from tidemill.kernel.keyed.delta import Delta
from tidemill.kernel.keyed.expiry import NEVER
from tidemill.kernel.keyed.vectors import Bools, Hashes, Int64s, runs


def merged(deltas: Sequence[Delta]) -> Delta:
    """What applying deltas of one shard in order to nothing leaves: each row's latest version, no removed ids.

    A column comes from the last delta in which the row has its part. Raises `CorruptCheckpointError` if there is
    none, which means that the chain lacks its beginning.
    """
    if len(deltas) == 1 and deltas[0].parts is None:
        return deltas[0]
    history = _History(deltas)
    rows = pa.concat_tables([delta.rows for delta in deltas])
    sources: dict[tuple[int, ...], pa.Array] = {}
    columns = []
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        parts = tuple(_part_of(name, delta) for delta in deltas)
        if parts not in sources:
            sources[parts] = pa.array(history.last(_present(parts, deltas)))
        columns.append(column.combine_chunks().take(sources[parts]))
    last = history.latest
    return Delta(
        deltas[0].shard,
        pa.table(columns, schema=rows.schema),
        np.concatenate([delta.hashes for delta in deltas])[last],
        np.concatenate([delta.row_ids for delta in deltas])[last],
        _expiry(deltas, last),
        None,
        [],
        np.concatenate([delta.removed for delta in deltas]),
    )


class _History:
    """For every row id that is left, the versions of its row, as positions in all deltas' rows."""

    def __init__(self, deltas: Sequence[Delta]) -> None:
        ids, positions = _events(deltas)
        order = np.argsort(ids, kind="stable")
        starts, lengths = runs(ids[order])
        self._versions = positions[order]
        self._starts = starts
        self._left = self._versions[starts + lengths - 1] >= 0 if len(starts) else np.empty(0, np.bool_)
        self._shard = deltas[0].shard

    @property
    def latest(self) -> Int64s:
        return self.last(None)

    def last(self, present: Bools | None) -> Int64s:
        """The last version of each row, of those that are ``present`` (a flag for each position)."""
        if not len(self._starts):
            return np.empty(0, np.int64)
        versions = self._versions
        if present is not None:
            versions = np.where((versions >= 0) & present[versions], versions, -1)
        last = np.maximum.reduceat(versions, self._starts)[self._left]
        if (missing := int((last < 0).sum())) > 0:
            raise CorruptCheckpointError(
                f"{missing} rows of shard {self._shard} were changed but never written: the chain of state blobs lacks "
                "its beginning; restore the checkpoint from a copy, or start from a new checkpoint"
            )
        return last


def _events(deltas: Sequence[Delta]) -> tuple[Hashes, Int64s]:
    """All row ids in the order in which they were written or removed; where the row is, or -1 for a removal."""
    ids, positions = [], []
    end = 0
    for delta in deltas:
        start, end = end, end + len(delta.row_ids)
        ids += [delta.removed, delta.row_ids]
        positions += [np.full(len(delta.removed), -1), np.arange(start, end)]
    return np.concatenate(ids), np.concatenate(positions)


def _part_of(name: str, delta: Delta) -> int:
    """The part that a column belongs to, -1 for columns that each row has."""
    if delta.parts is None:
        return -1
    return next((number for number, names in enumerate(delta.part_columns) if name in names), -1)


def _present(parts: tuple[int, ...], deltas: Sequence[Delta]) -> Bools | None:
    """Whether each row has the part given for its delta; none if all have."""
    if all(part < 0 for part in parts):
        return None
    flags = []
    for part, delta in zip(parts, deltas, strict=True):
        if part < 0 or delta.parts is None:
            flags.append(np.ones(len(delta.row_ids), np.bool_))
        else:
            flags.append((delta.parts >> part & 1).astype(np.bool_))
    return np.concatenate(flags)


def _expiry(deltas: Sequence[Delta], last: Int64s) -> Int64s | None:
    if all(delta.expiry is None for delta in deltas):
        return None
    parts = [np.full(len(d.row_ids), NEVER) if d.expiry is None else d.expiry for d in deltas]
    return np.concatenate(parts)[last]
