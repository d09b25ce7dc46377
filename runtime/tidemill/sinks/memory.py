"""A table in this process, and sinks that print or drop: for trying out."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pyarrow as pa

from tidemill.errors import AnalysisException
from tidemill.kernel.show import show
from tidemill.sinks.base import Committable, Sink, TaskId, from_ipc, to_ipc
from tidemill.sinks.options import Options, Wiring
from tidemill.types import StructType, to_arrow_schema


class MemoryTable:
    """What a memory sink has written. A batch counts once, however often it is committed."""

    def __init__(self, schema: StructType) -> None:
        self.schema = schema
        self._batches: dict[int, pa.Table] = {}
        self._lock = threading.Lock()

    def add(self, batch: int, rows: pa.Table) -> None:
        with self._lock:
            self._batches.setdefault(batch, rows)

    def replace(self, batch: int, rows: pa.Table) -> None:
        with self._lock:
            self._batches = {batch: rows}

    def rows(self) -> pa.Table:
        """All rows written so far, in the order of their batches."""
        with self._lock:
            found = [self._batches[n] for n in sorted(self._batches)]
        return pa.concat_tables([to_arrow_schema(self.schema).empty_table(), *found])

    def batches(self) -> dict[int, pa.Table]:
        with self._lock:
            return dict(self._batches)


tables: dict[str, MemoryTable] = {}
"""Memory tables by the names of their queries."""


class RowsSink(Sink):
    """Keeps rows for another sink that commits them: what executors prepare with where only the driver can write.

    ``most``: rows of a task that are kept; None: all.
    """

    def __init__(self, most: int | None = None) -> None:
        self.most = most

    def place(self) -> str:
        raise NotImplementedError("the driver's sink commits")

    def prepare(self, task: TaskId, rows: pa.Table) -> Committable:
        return Committable(task, payload=to_ipc(rows if self.most is None else rows.slice(0, self.most)))

    def commit(self, batch: int, committables: Sequence[Committable]) -> None:
        raise NotImplementedError("the driver's sink commits")


class MemorySink(RowsSink):
    """Complete mode replaces the table, append and update add to it, as in Spark."""

    def __init__(self, table: MemoryTable, mode: str) -> None:
        super().__init__()
        self.table, self.mode = table, mode

    def for_executors(self) -> Sink:
        return RowsSink()

    def place(self) -> str:
        return "a table in memory"

    def commit(self, batch: int, committables: Sequence[Committable]) -> None:
        rows = joined(committables, self.table.schema)
        if self.mode == "complete":
            self.table.replace(batch, rows)
        else:
            self.table.add(batch, rows)


class ConsoleSink(RowsSink):
    """Prints each batch as Spark does. A batch that a crash left in doubt may be printed twice."""

    def __init__(self, options: Options, schema: StructType, wiring: Wiring) -> None:
        self.schema, self.wiring = schema, wiring
        self.rows = options.count("numRows", 20)
        super().__init__(self.rows + 1)  # one row more than are shown tells that there are more
        self.truncate = _truncate(options)
        self._last = -1

    def for_executors(self) -> Sink:
        return RowsSink(self.most)

    def place(self) -> str:
        return "the console"

    def commit(self, batch: int, committables: Sequence[Committable]) -> None:
        if batch <= self._last:
            return
        line = "-" * 43
        table = show(
            joined(committables, self.schema),
            self.schema,
            self.rows,
            self.truncate,
            time_zone=self.wiring.time_zone,
        )
        self.wiring.write(f"{line}\nBatch: {batch}\n{line}\n{table}\n")
        self._last = batch


class NoopSink(Sink):
    """Drops everything: for measuring."""

    def place(self) -> str:
        return "nowhere (noop)"

    def prepare(self, task: TaskId, rows: pa.Table) -> Committable:
        return Committable(task)

    def commit(self, batch: int, committables: Sequence[Committable]) -> None:
        pass


def joined(committables: Sequence[Committable], schema: StructType) -> pa.Table:
    """The rows of all payloads in the order of their tasks."""
    payloads = [c.payload for c in sorted(committables, key=lambda c: c.task) if c.payload is not None]
    if not payloads:
        return to_arrow_schema(schema).empty_table()
    return pa.concat_tables([from_ipc(p) for p in payloads])


def memory_table(target: object, name: str, schema: StructType) -> MemoryTable:
    """The table given as ``target``, or the one of that name, made if it is new."""
    if isinstance(target, MemoryTable):
        return target
    if not name:
        raise AnalysisException("queryName must be specified for memory sink.")
    tables[name] = MemoryTable(schema)
    return tables[name]


def _truncate(options: Options) -> int:
    """Spark takes a flag or a width."""
    value = options.text("truncate", "true").lower()
    if value in ("true", "false"):
        return 20 if value == "true" else 0
    if not value.isdigit():
        raise options.wrong("truncate", "true, false or a width")
    return int(value)
