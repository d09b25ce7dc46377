"""The columns of a table, by slot: those of fixed width in place, the others in logs."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa

from tidemill.kernel.keyed.columns import FixedColumn, Saved, is_fixed
from tidemill.kernel.keyed.rowlog import RowLog
from tidemill.kernel.keyed.vectors import Bools, Bytes, Int64s, Ints

Columns = dict[str, "pa.Array | pa.ChunkedArray"]


class RowStore:
    """Rows by slot, whose writes can be taken back until they are accepted.

    The varying columns form one or two *parts*, each a log: the stable ones, and the rest. A write that leaves a part
    alone costs nothing for it, in memory and in the delta.
    """

    def __init__(self, schema: pa.Schema, stable: Collection[str] = ()) -> None:
        for column in schema:
            _check_type(column)
        self.schema = pa.schema([pa.field(column.name, column.type) for column in schema])
        self._fixed = {column.name: FixedColumn(column.type) for column in schema if is_fixed(column.type)}
        varying = [column for column in self.schema if column.name not in self._fixed]
        groups = [[c for c in varying if (c.name in stable) is kept] for kept in (True, False)]
        self._logs = [RowLog(pa.schema(group)) for group in groups if group]
        self._undo: list[tuple[FixedColumn, Int64s, Saved]] = []

    @property
    def parts(self) -> list[list[str]]:
        """The columns of each part."""
        return [log.schema.names for log in self._logs]

    @property
    def _columns(self) -> list[FixedColumn | RowLog]:
        return [*self._fixed.values(), *self._logs]

    def reserve(self, size: int) -> None:
        for column in self._columns:
            column.reserve(size)

    def gather(self, slots: Ints, names: Sequence[str] | None = None) -> pa.Table:
        """The rows of the slots, in their order; all columns in the schema's order, or those named."""
        names = self.schema.names if names is None else names
        found: Columns = {name: self._fixed[name].take(slots) for name in names if name in self._fixed}
        for log in self._logs:
            found |= _taken(log, slots, [name for name in log.schema.names if name in names])
        return self._table(found, names)

    def gather_parts(self, slots: Ints, parts: Bytes) -> pa.Table:
        """All columns of the slots, but null for the parts k whose bit ``1 << k`` is not set for the slot."""
        found: Columns = {name: column.take(slots) for name, column in self._fixed.items()}
        for number, log in enumerate(self._logs):
            wanted = (parts >> np.uint8(number) & np.uint8(1)).view(np.bool_)
            found |= _spread(_taken(log, slots[wanted], log.schema.names), wanted)
        return self._table(found, self.schema.names)

    def fitted(self, rows: pa.Table) -> pa.Table:
        """Rows with all columns, in the schema's order and types; raises `ValueError` if one is missing or unknown."""
        return self._checked(rows, self.schema.names)

    def are_whole(self, parts: Bytes) -> bool:
        """Whether all the rows have all parts."""
        every = np.uint8((1 << len(self._logs)) - 1)
        return bool(((parts & every) == every).all())

    def insert(self, slots: Int64s, rows: pa.Table) -> None:
        """Write `fitted` rows to distinct slots that have none."""
        for name, column in self._fixed.items():
            column.put(slots, _whole(rows.column(name)))
        for log in self._logs:
            log.write(slots, rows.select(log.schema.names))

    def update(self, slots: Int64s, rows: pa.Table) -> int:
        """Replace the columns that ``rows`` has; a bit ``1 << k`` for each part k that was written."""
        names = [name for name in self.schema.names if name in rows.column_names]
        rows = self._checked(rows, names)
        for name in self._fixed.keys() & set(names):
            column = self._fixed[name]
            self._undo.append((column, slots, column.save(slots)))
            column.put(slots, _whole(rows.column(name)))
        written = 0
        for number, log in enumerate(self._logs):
            if given := [name for name in log.schema.names if name in names]:
                log.write(slots, self._completed(log, slots, rows.select(given)))
                written |= 1 << number
        return written

    def accept(self, removed: Int64s) -> None:
        """Keep what was written; the removed slots have no rows any more. Does a bounded share of the upkeep."""
        self._undo = []
        for log in self._logs:
            log.accept(removed)

    def rollback(self) -> None:
        for log in self._logs:
            log.rollback()
        for column, slots, saved in reversed(self._undo):
            column.restore(slots, saved)
        self._undo = []

    @property
    def nbytes(self) -> int:
        return sum(column.nbytes for column in self._columns)

    def _checked(self, rows: pa.Table, wanted: list[str]) -> pa.Table:
        """The wanted columns, in the schema's types."""
        missing = sorted(set(wanted) - set(rows.column_names))
        strange = sorted(set(rows.column_names) - set(wanted))
        if strange or missing:
            raise ValueError(f"rows for the state table lack columns {missing}, have unknown {strange}")
        rows, schema = rows.select(wanted), self._schema_of(wanted)
        return rows if rows.schema.equals(schema) else rows.cast(schema)

    def _completed(self, log: RowLog, slots: Int64s, rows: pa.Table) -> pa.Table:
        """Rows with all columns of a log: those that are not given, as they are now."""
        missing = [name for name in log.schema.names if name not in rows.column_names]
        for name, column in _taken(log, slots, missing).items():
            rows = rows.append_column(name, column)
        return rows.select(log.schema.names)

    def _schema_of(self, names: Sequence[str]) -> pa.Schema:
        return self.schema if names is self.schema.names else pa.schema([self.schema.field(n) for n in names])

    def _table(self, found: Columns, names: Sequence[str]) -> pa.Table:
        return pa.table([found[name] for name in names], schema=self._schema_of(names))


def _taken(log: RowLog, slots: Ints, names: list[str]) -> Columns:
    if not names:
        return {}
    schema = pa.schema([log.schema.field(name) for name in names])
    return dict(zip(names, pa.Table.from_batches(log.take(slots, names), schema).columns, strict=True))


def _spread(columns: Columns, wanted: Bools) -> Columns:
    """The columns' values where they are wanted, in order, and nulls elsewhere."""
    if wanted.all():
        return columns
    if not wanted.any():
        return {name: pa.nulls(len(wanted), column.type) for name, column in columns.items()}
    places = pa.array(np.cumsum(wanted) - 1, mask=~wanted)
    return {name: _whole(column).take(places) for name, column in columns.items()}


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _check_type(column: pa.Field) -> None:
    if (unfit := _unfit(column.type)) is not None:
        raise TypeError(
            f"state column {column.name!r} is {column.type}, and Arrow cannot take from {unfit}; "
            "cast it to the plain type that it stands for"
        )


def _unfit(kind: pa.DataType) -> pa.DataType | None:
    """The part of a type that Arrow 26 has no kernel for, or that differs from batch to batch."""
    views = (
        pa.types.is_string_view,
        pa.types.is_binary_view,
        pa.types.is_list_view,
        pa.types.is_large_list_view,
    )
    if any(is_kind(kind) for is_kind in (*views, pa.types.is_dictionary, pa.types.is_run_end_encoded)):
        return kind
    parts = (kind.field(number).type for number in range(kind.num_fields))
    return next((unfit for part in parts if (unfit := _unfit(part)) is not None), None)
