"""What every operator with state has in common: tables that an attempt can change and take back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tidemill.kernel.keyed import KeyedTable, ShardDelta

if TYPE_CHECKING:
    from tidemill.kernel.duck import Session
    from tidemill.plan.stages import Fragment

FOREVER = np.iinfo(np.int64).max
"""The expiry of state that no watermark evicts."""
MORE = "_more"
"""Says of partial rows whether they are of a group that a row before them is of, too."""


@dataclass(frozen=True)
class Moment:
    """When an operator runs: its own watermarks in microseconds (None: no event time upstream) and the batch's time."""

    late: int | None
    evict: int | None
    now_us: int


@dataclass
class Outcome:
    """An operator's output and what it counted."""

    rows: pa.Table
    dropped: int = 0
    """Late rows as Spark counts them: after partial aggregation."""
    dropped_rows: int = 0
    """Late input rows, exactly."""
    updated: int = 0
    removed: int = 0


@dataclass
class Counts:
    """Rows of one batch, while an operator works through it."""

    dropped: int = 0
    dropped_rows: int = 0
    updated: int = 0
    removed: int = 0


class StatefulOperator(ABC):
    """One operator's state on one executor, all shards together.

    A batch attempt is ``begin``, ``process``, ``deltas``, then ``accept`` or ``rollback``; nothing is lost between.
    """

    def __init__(self, schemas: dict[str, pa.Schema], shards: int, stable: Collection[str] = ()) -> None:
        """``stable``: columns that updates never name."""
        self.tables = {
            name: KeyedTable(schema, shards, [n for n in schema.names if n in stable])
            for name, schema in schemas.items()
        }

    @abstractmethod
    def process(self, inputs: tuple[pa.Table, ...], moment: Moment, session: Session) -> Outcome:
        """Take in one batch of fragment outputs, change the state, give the rows to pass on."""

    def joined(self, parts: Sequence[pa.Table]) -> pa.Table:
        """A fragment's rows from several executors."""
        return pa.concat_tables(parts)

    @property
    def state_rows(self) -> int:
        return sum(len(t) for t in self.tables.values())

    @property
    def state_bytes(self) -> int:
        return sum(t.nbytes for t in self.tables.values())

    def begin(self) -> None:
        for table in self.tables.values():
            table.begin()

    def accept(self) -> None:
        for table in self.tables.values():
            table.accept()

    def rollback(self) -> None:
        for table in self.tables.values():
            table.rollback()

    def deltas(self) -> dict[str, list[ShardDelta]]:
        return {name: table.delta() for name, table in self.tables.items()}


def drop_late(rows: pa.Table, column: str | None, late: int | None, counts: Counts) -> pa.Table:
    """``rows`` without those at or before the watermark; rows without event time stay."""
    if column is None or late is None or not rows.num_rows:
        return rows
    kept = expiries(rows, column) > late
    gone = int(len(kept) - np.count_nonzero(kept))
    if not gone:
        return rows
    counts.dropped += gone
    if MORE in rows.column_names:
        counts.dropped -= int(np.count_nonzero(rows[MORE].to_numpy()[~kept]))
    if "_rows" in rows.column_names:
        counts.dropped_rows += int(rows["_rows"].to_numpy()[~kept].sum())
    else:
        counts.dropped_rows += gone
    return rows.filter(pa.array(kept))


def expiries(rows: pa.Table, column: str | None) -> np.ndarray:
    """The column as int64 microseconds; `FOREVER` where it is null or there is none."""
    if column is None:
        return np.full(rows.num_rows, FOREVER, dtype=np.int64)
    values = rows[column]
    return (values.fill_null(int(FOREVER)) if values.null_count else values).to_numpy()


def finished(state: pa.Table, finish: Fragment, moment: Moment, session: Session) -> pa.Table:
    """An aggregation's output of its state rows; most batches of append mode have none."""
    if not state.num_rows:
        return finish.schema.empty_table()
    return session.run(finish.sql, {"state": state}, moment.now_us)


def hashes(rows: pa.Table) -> np.ndarray:
    """The ``_hash`` column as uint64."""
    return rows["_hash"].to_numpy()


def with_slots(rows: pa.Table, slots: np.ndarray, name: str = "_slot") -> pa.Table:
    return rows.append_column(name, pa.array(slots.astype(np.int64, copy=False)))
