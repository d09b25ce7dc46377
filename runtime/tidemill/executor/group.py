"""Streaming aggregation: partial rows of a batch merged into the state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.executor.operator import (
    MORE,
    Counts,
    Moment,
    Outcome,
    StatefulOperator,
    drop_late,
    expiries,
    finished,
    hashes,
    with_slots,
)
from tidemill.kernel.duck import Session
from tidemill.plan.stages import GroupBy


class GroupByOperator(StatefulOperator):
    """One state row per group: keys and partial aggregates.

    The hash index only proposes candidates; DuckDB's GROUP BY over old and new rows decides by the keys themselves.
    """

    def __init__(self, spec: GroupBy, fragment: pa.Schema, shards: int) -> None:
        self.spec = spec
        self.schema = pa.schema([fragment.field(n) for n in (*spec.keys, *spec.partials)])
        super().__init__({"groups": self.schema}, shards, stable=spec.keys)
        self.merge_sql = self._merge_sql()

    def _merge_sql(self) -> str:
        keys = ", ".join(self.spec.keys)
        merged = [f"{m} AS {p}" for m, p in zip(self.spec.merges, self.spec.partials, strict=True)]
        items = [
            *self.spec.keys,
            *merged,
            "max(_slot) AS _slot",
            "any_value(_hash) AS _hash",
            "any_value(_expiry) AS _expiry",
        ]
        rows = "SELECT * FROM (SELECT *, 0 AS _seq FROM old UNION ALL BY NAME SELECT *, 1 AS _seq FROM new)"
        # A candidate that merely shares a hash with a new row forms a group of its own, without a new row in it.
        grouped = f" GROUP BY {keys}" if keys else ""
        return f"SELECT {', '.join(items)} FROM ({rows}){grouped} HAVING max(_seq) = 1"

    def joined(self, parts: Sequence[pa.Table]) -> pa.Table:
        """A group of several executors keeps its rows, marked by `MORE` but for the first: `merge` brings them together
        with the state, in one query."""
        full = [p for p in parts if p.num_rows]
        if len(full) < 2:
            return full[0] if full else parts[0]
        rows = pa.concat_tables(full)
        if not self.spec.keys:
            # An executor without input has a row of nothing, which `first` must not take for an answer.
            some = rows.filter(pc.greater(rows["_rows"], 0))
            rows = some if some.num_rows else rows.slice(0, 1)
        more = np.ones(rows.num_rows, dtype=bool)
        more[np.unique(hashes(rows), return_index=True)[1]] = False
        return rows.append_column(MORE, pa.array(more)) if more.any() else rows

    def process(self, inputs: tuple[pa.Table, ...], moment: Moment, session: Session) -> Outcome:
        counts = Counts()
        rows = drop_late(inputs[0], self.spec.times.late, moment.late, counts)
        changed = self.merge(rows, session, counts)
        out = self.emit(changed, moment, counts)
        rows = finished(out, self.spec.finish, moment, session)
        return Outcome(rows, counts.dropped, counts.dropped_rows, counts.updated, counts.removed)

    def merge(self, rows: pa.Table, session: Session, counts: Counts) -> pa.Table:
        """Bring new partial rows into the state; all state rows that they changed, as they are now."""
        table = self.tables["groups"]
        hashed = hashes(rows)
        at, slots = table.find(hashed)
        known = several(rows, hashed)
        known[at] = True
        if not known.any():
            counts.updated += rows.num_rows
            state = rows.select(self.schema.names)
            table.insert(state, hashed, expiries(rows, "_expiry"))
            return state
        merged = self._merged(rows.filter(pa.array(known)), np.unique(slots), session)
        unseen = rows.filter(pa.array(~known))
        counts.updated += merged.num_rows + unseen.num_rows
        slot = merged["_slot"].to_numpy()
        old = slot >= 0
        state = merged.select(self.schema.names).cast(self.schema)
        partials = list(self.spec.partials)
        if old.all():
            table.update(slot, state.select(partials))
        else:
            table.update(slot[old], state.filter(pa.array(old)).select(partials))
            self._insert(merged.filter(pa.array(~old)))
        self._insert(unseen)
        return pa.concat_tables([state, unseen.select(self.schema.names).cast(self.schema)])

    def _insert(self, rows: pa.Table) -> None:
        if rows.num_rows:
            state = rows.select(self.schema.names).cast(self.schema)
            self.tables["groups"].insert(state, hashes(rows), expiries(rows, "_expiry"))

    def _merged(self, rows: pa.Table, slots: np.ndarray, session: Session) -> pa.Table:
        names = [*self.schema.names, "_hash", "_expiry"]
        new = with_slots(rows.select(names), np.full(rows.num_rows, -1))
        old = with_slots(self.tables["groups"].gather(slots), slots)
        return session.run(self.merge_sql, {"old": old, "new": new})

    def emit(self, changed: pa.Table, moment: Moment, counts: Counts) -> pa.Table:
        table = self.tables["groups"]
        if self.spec.mode == "complete":
            return table.scan()
        final = table.expired(moment.evict) if self.spec.times.expiry and moment.evict is not None else None
        out = changed
        if self.spec.mode == "append":
            out = table.gather(final) if final is not None and len(final) else self.schema.empty_table()
        if final is not None and len(final):
            counts.removed += len(final)
            table.remove(final)
        return out


def several(rows: pa.Table, hashed: np.ndarray) -> np.ndarray:
    """Where a group has more rows than one."""
    if MORE not in rows.column_names:
        return np.zeros(rows.num_rows, dtype=bool)
    return np.isin(hashed, hashed[rows[MORE].to_numpy()])
