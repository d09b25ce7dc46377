"""Stream-stream joins: both sides' rows wait in state for partners still to come."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tidemill.executor.operator import Counts, Moment, Outcome, StatefulOperator, drop_late, expiries, hashes
from tidemill.kernel.duck import Session
from tidemill.plan.stages import JoinBy, Side

_PRESERVED = {"inner": "", "semi": "", "left": "l", "right": "r", "full": "lr"}
"""The sides whose unmatched rows come out with nulls."""


class JoinOperator(StatefulOperator):
    """One state row per input row, with whether it has found a partner.

    Within a batch: new left rows meet old right rows, then new right rows meet all left rows; so each pair meets once.
    Then both sides are stored, and what the watermark has passed is evicted, on a preserved side with nulls for the
    partner that never came. A row between the two watermarks is thus stored and evicted within one batch.
    """

    def __init__(self, spec: JoinBy, fragments: tuple[pa.Schema, ...], shards: int) -> None:
        self.spec = spec
        self.sides = {"l": spec.left, "r": spec.right}
        self.schemas = {
            p: pa.schema([*(f.field(n) for n in self.sides[p].columns), ("matched", pa.bool_())])
            for p, f in zip("lr", fragments, strict=True)
        }
        columns = (*spec.left.columns, *spec.right.columns)
        super().__init__({"left": self.schemas["l"], "right": self.schemas["r"]}, shards, stable=columns)
        self.by_side = {"l": self.tables["left"], "r": self.tables["right"]}
        taken = ", ".join([*(f"l.{c}" for c in spec.left.columns), *(f"r.{c}" for c in spec.right.columns)])
        pairs = f"SELECT {taken}, l._id AS _l, r._id AS _r"
        self.old_right_sql = f"{pairs} FROM new_l l JOIN old_r r ON {spec.on}"
        self.new_right_sql = (
            f"{pairs} FROM (SELECT * FROM new_l UNION ALL SELECT * FROM old_l) l JOIN new_r r ON {spec.on}"
        )

    def process(self, inputs: tuple[pa.Table, ...], moment: Moment, session: Session) -> Outcome:
        counts = Counts()
        new: dict[str, pa.Table] = {}
        out: list[pa.Table] = []
        for p, rows in zip("lr", inputs, strict=True):
            rows = drop_late(rows, self.sides[p].times.late, moment.late, counts)
            new[p], refused = self._kept(rows, self.sides[p])
            if p in _PRESERVED[self.spec.how]:
                out.append(self._with_nulls(p, refused))
        pairs, slots = self._pairs(new, session)
        out.append(self._joined(pairs))
        self._store(new, pairs, slots, counts)
        for p in "lr":
            out.append(self._evict(p, moment, counts))
        rows = pa.concat_tables([t for t in out if t.num_rows] or [self.spec.output.empty_table()])
        return Outcome(rows, counts.dropped, counts.dropped_rows, counts.updated, counts.removed)

    def _kept(self, rows: pa.Table, side: Side) -> tuple[pa.Table, pa.Table]:
        """Rows that may find a partner, numbered from 0 as ``_id``; and those that cannot."""
        refused = rows.slice(0, 0)
        if side.filtered:
            refused = rows.filter(pa.compute.invert(rows["_keep"]))
            rows = rows.filter(rows["_keep"])
        return rows.append_column("_id", pa.array(np.arange(rows.num_rows))), refused

    def _old(self, p: str, partner: pa.Table) -> tuple[pa.Table, np.ndarray]:
        """State rows of side ``p`` that may match ``partner``, with ``_id`` -1 - i for the i-th of their slots."""
        _, slots = self.by_side[p].find(np.unique(hashes(partner)))
        rows = self.by_side[p].gather(slots)
        return rows.append_column("_id", pa.array(-1 - np.arange(len(slots)))), slots

    def _pairs(self, new: dict[str, pa.Table], session: Session) -> tuple[pa.Table, dict[str, np.ndarray]]:
        columns = {p: [*self.sides[p].columns, "_id"] for p in "lr"}
        old_r, slots_r = self._old("r", new["l"])
        old_l, slots_l = self._old("l", new["r"])
        relations = {
            "new_l": new["l"].select(columns["l"]),
            "new_r": new["r"].select(columns["r"]),
            "old_l": old_l.select(columns["l"]),
            "old_r": old_r.select(columns["r"]),
        }
        found = []
        if new["l"].num_rows and old_r.num_rows:
            found.append(session.run(self.old_right_sql, {k: relations[k] for k in ("new_l", "old_r")}))
        if new["r"].num_rows and (new["l"].num_rows or old_l.num_rows):
            found.append(
                session.run(self.new_right_sql, {k: relations[k] for k in ("new_l", "old_l", "new_r")})
            )
        empty = [("_l", pa.int64()), ("_r", pa.int64())]
        schema = pa.schema([*self._fields(), *empty])
        pairs = pa.concat_tables([f.cast(schema) for f in found] or [schema.empty_table()])
        return pairs, {"l": slots_l, "r": slots_r}

    def _fields(self) -> list[pa.Field]:
        return [self.schemas[p].field(c) for p in "lr" for c in self.sides[p].columns]

    def _joined(self, pairs: pa.Table) -> pa.Table:
        """The output rows of all pairs; for a semi join each left row once."""
        if self.spec.how != "semi":
            return (
                pairs.drop_columns(["_l", "_r"]).rename_columns(self.spec.output.names).cast(self.spec.output)
            )
        _, first = np.unique(pairs["_l"].to_numpy(), return_index=True)
        rows = pairs.select(list(self.spec.left.columns)).take(pa.array(np.sort(first)))
        return rows.rename_columns(self.spec.output.names).cast(self.spec.output)

    def _store(
        self, new: dict[str, pa.Table], pairs: pa.Table, slots: dict[str, np.ndarray], counts: Counts
    ) -> None:
        for p in "lr":
            ids = np.unique(pairs[f"_{p}"].to_numpy())
            known = slots[p][-1 - ids[ids < 0]]
            matched = np.zeros(new[p].num_rows, dtype=bool)
            matched[ids[ids >= 0]] = True
            rows = new[p]
            if self.spec.how == "semi" and p == "l":
                # A left row that has matched can give nothing more.
                self.by_side[p].remove(known)
                rows, matched = rows.filter(pa.array(~matched)), matched[~matched]
            elif p in _PRESERVED[self.spec.how]:
                self._mark(p, known)
            self._insert(p, rows, matched)
            counts.updated += rows.num_rows

    def _insert(self, p: str, rows: pa.Table, matched: np.ndarray) -> None:
        if rows.num_rows:
            state = rows.select(list(self.sides[p].columns)).append_column("matched", pa.array(matched))
            expiry = expiries(rows, self.sides[p].times.expiry)
            self.by_side[p].insert(state, hashes(rows), expiry)

    def _mark(self, p: str, slots: np.ndarray) -> None:
        """Note that state rows have found a partner."""
        table = self.by_side[p]
        fresh = slots[~table.gather(slots, ["matched"])["matched"].to_numpy()]
        if len(fresh):
            table.update(fresh, pa.table({"matched": pa.array(np.ones(len(fresh), dtype=bool))}))

    def _evict(self, p: str, moment: Moment, counts: Counts) -> pa.Table:
        if not self.sides[p].times.expiry or moment.evict is None:
            return self.spec.output.empty_table()
        gone = self.by_side[p].expired(moment.evict)
        counts.removed += len(gone)
        if p not in _PRESERVED[self.spec.how]:
            self.by_side[p].remove(gone)
            return self.spec.output.empty_table()
        rows = self.by_side[p].gather(gone)
        self.by_side[p].remove(gone)
        return self._with_nulls(p, rows.filter(pa.compute.invert(rows["matched"])))

    def _with_nulls(self, p: str, rows: pa.Table) -> pa.Table:
        """Rows of one side as output rows without a partner."""
        arrays = []
        columns = [(q, c) for q in "lr" for c in self.sides[q].columns]
        for (q, c), kind in zip(columns, self.spec.output.types, strict=True):
            arrays.append(rows[c].cast(kind) if q == p else pa.nulls(rows.num_rows, kind))
        return pa.table(arrays, schema=self.spec.output)
