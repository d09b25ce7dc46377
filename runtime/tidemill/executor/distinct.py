"""Streaming deduplication and the limit of a stream: operators that pass on some of their rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tidemill.executor.operator import Counts, Moment, Outcome, StatefulOperator, drop_late, expiries, hashes
from tidemill.kernel.duck import Session
from tidemill.plan.stages import Distinct, Take


class DistinctOperator(StatefulOperator):
    """The first row of each key; the state has one row per key seen."""

    def __init__(self, spec: Distinct, fragment: pa.Schema, shards: int) -> None:
        self.spec = spec
        # Attribute ids differ from process to process; state columns are named by position.
        self.names = [f"k{i}" for i in range(len(spec.keys))]
        self.schema = pa.schema(
            [(n, fragment.field(k).type) for n, k in zip(self.names, spec.keys, strict=True)]
        )
        super().__init__({"keys": self.schema}, shards)
        keys = ", ".join(spec.keys)
        same = " AND ".join(
            f"old.{n} IS NOT DISTINCT FROM new.{k}" for n, k in zip(self.names, spec.keys, strict=True)
        )
        self.first_sql = f"SELECT min(_seq) AS _seq FROM new GROUP BY {keys}"
        self.unseen_sql = (
            f"SELECT min(_seq) AS _seq FROM (SELECT new.* FROM new ANTI JOIN old ON {same}) GROUP BY {keys}"
        )

    def process(self, inputs: tuple[pa.Table, ...], moment: Moment, session: Session) -> Outcome:
        counts = Counts()
        table = self.tables["keys"]
        rows = drop_late(inputs[0], self.spec.times.late, moment.late, counts)
        first = self._first(rows, session) if rows.num_rows else rows
        if first.num_rows:
            keys = first.select(list(self.spec.keys)).rename_columns(self.names)
            table.insert(keys, hashes(first), expiries(first, self.spec.times.expiry))
            counts.updated += first.num_rows
        if self.spec.times.expiry and moment.evict is not None:
            gone = table.expired(moment.evict)
            table.remove(gone)
            counts.removed += len(gone)
        return Outcome(
            first.select(list(self.spec.columns)),
            counts.dropped,
            counts.dropped_rows,
            counts.updated,
            counts.removed,
        )

    def _first(self, rows: pa.Table, session: Session) -> pa.Table:
        """Rows whose key is neither in the state nor in an earlier row, in their order."""
        _, slots = self.tables["keys"].find(hashes(rows))
        new = rows.select(list(dict.fromkeys(self.spec.keys))).append_column(
            "_seq", pa.array(np.arange(rows.num_rows))
        )
        inputs = {"new": new}
        if len(slots):
            inputs["old"] = self.tables["keys"].gather(np.unique(slots))
        found = session.run(self.unseen_sql if len(slots) else self.first_sql, inputs)
        return rows.take(pa.array(np.sort(found["_seq"].to_numpy())))


class TakeOperator(StatefulOperator):
    """The first rows of a stream; the state is how many have come."""

    def __init__(self, spec: Take, shards: int) -> None:
        self.spec = spec
        super().__init__({"taken": pa.schema([("taken", pa.int64())])}, shards)

    def process(self, inputs: tuple[pa.Table, ...], moment: Moment, session: Session) -> Outcome:
        rows = inputs[0]
        table = self.tables["taken"]
        seen = int(table.scan()["taken"][0].as_py()) if len(table) else 0
        end = self.spec.offset + self.spec.count
        start = max(self.spec.offset - seen, 0)
        out = rows.slice(start, max(min(end - seen, rows.num_rows) - start, 0))
        if rows.num_rows:
            self._count(seen + rows.num_rows)
        return Outcome(out, updated=1)

    def _count(self, taken: int) -> None:
        table = self.tables["taken"]
        row = pa.table({"taken": pa.array([taken], pa.int64())})
        never = np.array([np.iinfo(np.int64).max])
        if len(table):
            table.update(table.slots(), row, never)
        else:
            table.insert(row, np.zeros(1, dtype=np.uint64), never)
