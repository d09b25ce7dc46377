"""Runs the stages of one query on one executor: fragments through DuckDB, operators over their state."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from concurrent.futures import Executor

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.executor.exchange import Exchange, NoExchange, by_owner, to_first
from tidemill.executor.journal import Journal
from tidemill.executor.operator import Moment, StatefulOperator
from tidemill.executor.operators import make_operator
from tidemill.executor.work import (
    Attempt,
    Chains,
    Observed,
    OperatorReport,
    Place,
    Read,
    Share,
    StageResult,
    Work,
)
from tidemill.kernel.duck import Kernel, conform
from tidemill.kernel.mapping import mapped
from tidemill.plan.stages import Fragment, Input, Mapped, Measured, Observe, Stage, Stateful
from tidemill.sinks.base import Committable, TaskId
from tidemill.types import to_arrow_schema

ROWS_PER_SINK_TASK = 50_000
"""Fewer rows than this are not worth a second file or transaction."""


class StageRunner:
    """One query on one executor. Calls come one at a time; ``pool`` reads partitions and prepares sinks in parallel."""

    def __init__(
        self, work: Work, kernel: Kernel, pool: Executor, width: int, exchange: Exchange | None = None
    ) -> None:
        self.work = work
        self.pool = pool
        self.width = width
        """Most sink tasks of a batch."""
        self.exchange = exchange or NoExchange()
        self.session = kernel.session()
        self.statics = list(work.statics)
        self.operators: dict[int, StatefulOperator] = {}
        for stage in work.plan.stages:
            self.session.register_functions(f for part in stage.fragments for f in part.functions)
            self.session.register_functions(getattr(stage.operator, "functions", ()))
            if made := make_operator(stage, work.shards):
                self.operators[stage.id] = made
        by_id = {self._stateful(s).id: o for s, o in self.operators.items()}
        self.journal = Journal(work.store, by_id)
        self._outputs: dict[int, pa.Table] = {}
        self._open = False

    def _stateful(self, stage: int) -> Stateful:
        operator = self.work.plan.stages[stage].operator
        assert isinstance(operator, Stateful)
        return operator

    def restore(self, chains: Chains) -> None:
        """Add the state of shards that are not here."""
        self.journal.restore(chains)

    def drop(self, shards: Collection[int]) -> None:
        """Forget the state of shards that another executor has now."""
        self.journal.drop(shards)

    def run(self, attempt: Attempt, share: Share) -> list[StageResult]:
        """All stages of an attempt; the last one also prepares the sink and stores deltas."""
        self._outputs.clear()
        self._open = True
        for operator in self.operators.values():
            operator.begin()
        return [self._run(attempt, stage, share) for stage in self.work.plan.stages]

    def accept(self, attempt: Attempt) -> None:
        self._close(StatefulOperator.accept)
        self.journal.accepted(attempt)

    def rollback(self) -> None:
        if self._open:
            self._close(StatefulOperator.rollback)

    def _close(self, how: Callable[[StatefulOperator], None]) -> None:
        self._open = False
        self._outputs.clear()
        for operator in self.operators.values():
            how(operator)

    def _run(self, attempt: Attempt, stage: Stage, share: Share) -> StageResult:
        result = StageResult()
        sides = enumerate(stage.fragments)
        inputs = tuple(self._fragment(stage, side, f, attempt, share, result) for side, f in sides)
        rows = self._operate(stage, inputs, attempt, result)
        if not share.place.first:
            result.metrics.clear()  # its rows are elsewhere, and nothing is known of them here
        self._outputs[stage.id] = rows
        result.rows = rows.num_rows
        result.last = stage.id == len(self.work.plan.stages) - 1
        if result.last:
            result.bytes = rows.nbytes
            self._finish(attempt, share.place, rows, result)
        return result

    def _fragment(
        self, stage: Stage, side: int, fragment: Fragment, attempt: Attempt, share: Share, result: StageResult
    ) -> pa.Table:
        """A fragment's rows; those of an operator with state only if their shard is here."""
        tables = {i.relation: self._input(i, share, result) for i in fragment.inputs}
        if stage.whole and share.place.members > 1:
            tables = self._gathered(stage, fragment, attempt, share, tables)
        rows = self._computed(fragment, tables, attempt)
        operator = self.operators.get(stage.id)
        if share.place.members == 1 or not (operator or stage.together):
            return rows
        cut = by_owner if operator and "_hash" in rows.column_names else to_first
        parts = self.exchange.swap(attempt, share.place, stage.id, side, cut(rows, share.place))
        return operator.joined(parts) if operator else pa.concat_tables(parts)

    def _computed(self, fragment: Fragment, tables: dict[str, pa.Table], attempt: Attempt) -> pa.Table:
        if fragment.plain:
            (rows,) = tables.values()
            return conform(rows.select(fragment.schema.names), fragment.schema)
        return self.session.run(fragment.sql, tables, attempt.now_us, fragment.schema)

    def _gathered(
        self, stage: Stage, fragment: Fragment, attempt: Attempt, share: Share, tables: dict[str, pa.Table]
    ) -> dict[str, pa.Table]:
        """The inputs, with all executors' rows of earlier stages on one of them."""
        for side, given in enumerate(fragment.inputs):
            if given.kind == "stage":
                cut = to_first(tables[given.relation], share.place)
                parts = self.exchange.swap(attempt, share.place, stage.id, side, cut)
                tables[given.relation] = pa.concat_tables(parts)
        return tables

    def _input(self, source: Input, share: Share, result: StageResult) -> pa.Table:
        match source.kind:
            case "source":
                names = list(self.work.columns[source.index])
                rows = self._read(source.index, share, result).select(names)
            case "static":
                rows = self.statics[source.index]
            case _:
                return self._outputs[source.index]
        return rows.rename_columns(list(source.columns))

    def _read(self, index: int, share: Share, result: StageResult) -> pa.Table:
        if index in share.given:
            return share.given[index]
        source = self.work.sources[index]
        found = list(self.pool.map(source.read, share.partitions.get(index, ())))
        read = result.read.setdefault(index, Read())
        for r in found:
            read.add(Read(r.table.num_rows, r.bytes, r.bad.num_rows, dict(r.newest), r.saved, r.saved_reads))
        if found:
            return pa.concat_tables([r.table for r in found])

        return to_arrow_schema(source.schema).empty_table()

    def _operate(
        self, stage: Stage, inputs: tuple[pa.Table, ...], attempt: Attempt, result: StageResult
    ) -> pa.Table:
        spec = stage.operator
        if isinstance(spec, Observe):
            if seen := observe(inputs[0][spec.column]):
                result.observed[spec.watermark] = seen
            return inputs[0]
        if isinstance(spec, Measured):
            made = self.session.run(spec.query.sql, {"rows": inputs[0]}, attempt.now_us, spec.query.schema)
            result.metrics[spec.name] = dict(zip(spec.columns, made.to_pylist()[0].values(), strict=True))
            return inputs[0]
        if isinstance(spec, Mapped):
            return self._mapped(spec, inputs[0], stage.schema)
        operator = self.operators.get(stage.id)
        if operator is None:
            return inputs[0]
        started = time.monotonic()
        outcome = operator.process(inputs, moment_of(stage, attempt), self.session)
        result.operator = OperatorReport(
            id=self._stateful(stage.id).id,
            kind=type(spec).__name__,
            rows=operator.state_rows,
            bytes=operator.state_bytes,
            updated=outcome.updated,
            removed=outcome.removed,
            dropped=outcome.dropped,
            dropped_rows=outcome.dropped_rows,
            millis=int((time.monotonic() - started) * 1000),
        )
        return conform(outcome.rows, stage.schema)

    def _mapped(self, spec: Mapped, rows: pa.Table, schema: pa.Schema) -> pa.Table:
        if not rows.num_rows:
            return schema.empty_table()
        made = pa.schema([f.with_name(n) for f, n in zip(schema, spec.made, strict=True)])
        return mapped(spec.function, rows.rename_columns(list(spec.names)), made).rename_columns(schema.names)

    def _finish(self, attempt: Attempt, place: Place, rows: pa.Table, result: StageResult) -> None:
        prepared = self._prepare(attempt, place, rows.rename_columns(list(self.work.plan.names)))
        result.deltas, result.committables = self.journal.write(attempt, prepared)
        result.snapshots = list(self.journal.snapshots)

    def _prepare(self, attempt: Attempt, place: Place, rows: pa.Table) -> list[Committable]:
        width = place.width or self.width
        tasks = min(width, max(1, rows.num_rows // ROWS_PER_SINK_TASK))
        if self.work.plan.mode == "complete":
            tasks = 1
        size = -(-rows.num_rows // tasks)
        first = place.me * width  # no two executors use the same number
        ids = [TaskId(attempt.query, attempt.batch, first + i) for i in range(tasks)]
        parts = [rows.slice(i * size, size) for i in range(tasks)]
        return list(self.pool.map(self.work.sink.prepare, ids, parts))


def observe(times: pa.ChunkedArray) -> Observed | None:
    """Event-time figures of a column of timestamps or of windows (by their end); None without any."""
    if pa.types.is_struct(times.type):
        times = pc.struct_field(times, "end")
    micros = times.cast(pa.timestamp("us")).cast(pa.int64())
    count = len(micros) - micros.null_count
    if not count:
        return None
    ends = pc.min_max(micros).as_py()
    # A mean is good enough as a double; the sum of microseconds since 1970 would overflow an int64 past 5,000 rows.
    return Observed(count, ends["min"], ends["max"], int(pc.mean(micros).as_py() * count))


def moment_of(stage: Stage, attempt: Attempt) -> Moment:
    """The operator's own watermarks."""
    if stage.watermark is None or attempt.evict is None or attempt.late is None:
        return Moment(None, None, attempt.now_us)
    shift = stage.watermark.shift
    return Moment(attempt.late + shift, attempt.evict + shift, attempt.now_us)
