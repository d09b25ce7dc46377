"""Aggregation by session window: sessions that touch become one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tidemill.executor.operator import (
    Counts,
    Moment,
    Outcome,
    StatefulOperator,
    drop_late,
    finished,
    hashes,
    with_slots,
)
from tidemill.kernel.duck import Session
from tidemill.plan.islands import islands_sql
from tidemill.plan.stages import SessionBy


class SessionOperator(StatefulOperator):
    """One state row per session; the index is by key alone, so that a new row meets all open sessions of its key."""

    def __init__(self, spec: SessionBy, fragment: pa.Schema, shards: int) -> None:
        self.spec = spec
        self.schema = pa.schema([fragment.field(n) for n in (*spec.keys, "s_start", "s_end", *spec.partials)])
        super().__init__({"sessions": self.schema}, shards)
        self.merge_sql = self._merge_sql()

    def _merge_sql(self) -> str:
        rows = islands_sql(
            "SELECT *, 0 AS _seq FROM old UNION ALL BY NAME SELECT *, 1 AS _seq FROM new",
            list(self.spec.keys),
        )
        merged = [f"{m} AS {p}" for m, p in zip(self.spec.merges, self.spec.partials, strict=True)]
        items = [
            *self.spec.keys, "s_first AS s_start", "s_last AS s_end", *merged, "any_value(_hash) AS _hash",
            "list(_slot) FILTER (WHERE _slot >= 0) AS _slots",
        ]  # fmt: skip
        by = ", ".join([*self.spec.keys, "s_first", "s_last"])
        # Sessions of the state that no new row touches stay as they are.
        return f"SELECT {', '.join(items)} FROM ({rows}) GROUP BY {by} HAVING max(_seq) = 1"

    def process(self, inputs: tuple[pa.Table, ...], moment: Moment, session: Session) -> Outcome:
        counts = Counts()
        rows = drop_late(inputs[0], self.spec.times.late, moment.late, counts)
        if rows.num_rows:
            self._merge(rows, session, counts)
        out = self._emit(moment, counts)
        rows = finished(out, self.spec.finish, moment, session)
        return Outcome(rows, counts.dropped, counts.dropped_rows, counts.updated, counts.removed)

    def _merge(self, rows: pa.Table, session: Session, counts: Counts) -> None:
        table = self.tables["sessions"]
        _, slots = table.find(np.unique(hashes(rows)))
        new = with_slots(rows.select([*self.schema.names, "_hash"]), np.full(rows.num_rows, -1))
        old = with_slots(table.gather(slots), slots)
        merged = session.run(self.merge_sql, {"old": old, "new": new})
        replaced = merged["_slots"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        if len(replaced):
            table.remove(replaced.astype(np.int64))
        state = merged.select(self.schema.names).cast(self.schema)
        table.insert(state, hashes(merged), state["s_end"].cast(pa.int64()).to_numpy())
        counts.updated += state.num_rows

    def _emit(self, moment: Moment, counts: Counts) -> pa.Table:
        table = self.tables["sessions"]
        if self.spec.mode == "complete":
            return table.scan()
        if not self.spec.times.expiry or moment.evict is None:
            return self.schema.empty_table()
        final = table.expired(moment.evict)
        out = table.gather(final)
        table.remove(final)
        counts.removed += len(final)
        return out
