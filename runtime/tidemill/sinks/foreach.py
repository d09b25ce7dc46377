"""The user's own functions as sinks: at least once, with the batch id to tell a repeated batch by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from tidemill.errors import PySparkAttributeError, PySparkTypeError
from tidemill.sinks.base import Committable, Sink, TaskId, from_ipc
from tidemill.sinks.memory import RowsSink, joined
from tidemill.types import StructType


class ForeachBatchSink(RowsSink):
    """Calls ``function(frame, batch_id)`` with all rows of a batch, in the driver, after the batch is prepared: a
    repeated call gets the same rows."""

    def __init__(
        self, function: Callable[[Any, int], None], schema: StructType, make_frame: Callable[[pa.Table], Any]
    ) -> None:
        if not callable(function):
            raise PySparkTypeError(
                f"foreachBatch takes a function of a DataFrame and a batch id, not {function!r}"
            )
        super().__init__()
        self.function, self.schema, self.make_frame = function, schema, make_frame

    def for_executors(self) -> Sink:
        return RowsSink()

    def place(self) -> str:
        return "foreachBatch"

    def commit(self, batch: int, committables: Sequence[Committable]) -> None:
        self.function(self.make_frame(joined(committables, self.schema)), batch)


class ForeachSink(RowsSink):
    """Calls ``writer`` for each row: a function, or an object with ``process`` and perhaps ``open`` and ``close``.

    ``open(partition_id, epoch_id)`` may return False to skip a partition, ``close(error)`` is called whenever ``open``
    returned, also after an error. Partition and epoch are task and batch, and name the same rows for ever.
    """

    def __init__(self, writer: Any, schema: StructType, make_rows: Callable[[pa.Table], list[Any]]) -> None:
        check_writer(writer)
        super().__init__()
        self.writer, self.schema, self.make_rows = writer, schema, make_rows

    def for_executors(self) -> Sink:
        return RowsSink()

    def place(self) -> str:
        return "foreach"

    def commit(self, batch: int, committables: Sequence[Committable]) -> None:
        for committable in sorted(committables, key=lambda c: c.task):
            rows = self.make_rows(from_ipc(committable.payload or b""))
            if hasattr(self.writer, "process"):
                _process(self.writer, committable.task, rows)
            else:
                for row in rows:
                    self.writer(row)


def check_writer(writer: Any) -> None:
    """Raise as PySpark does if ``writer`` cannot be one."""
    if not hasattr(writer, "process"):
        if not callable(writer):
            raise PySparkAttributeError(
                "Attribute `process` in provided object `f` is not callable: give a function of a row, or an object "
                "with a 'process' method",
                "ATTRIBUTE_NOT_CALLABLE",
                {"attr_name": "process", "obj_name": "f"},
            )
        return
    for name in ("open", "process", "close"):
        method = getattr(writer, name, None)
        if method is not None and not callable(method):
            raise PySparkAttributeError(
                f"Attribute `{name}` in provided object `f` is not callable.",
                "ATTRIBUTE_NOT_CALLABLE",
                {"attr_name": name, "obj_name": "f"},
            )


def _process(writer: Any, task: TaskId, rows: list[Any]) -> None:
    opened = not hasattr(writer, "open") or writer.open(task.task, task.batch)
    error: Exception | None = None
    try:
        if opened:
            for row in rows:
                writer.process(row)
    except Exception as raised:
        error = raised
    finally:
        if hasattr(writer, "close"):
            writer.close(error)
    if error is not None:
        raise error
