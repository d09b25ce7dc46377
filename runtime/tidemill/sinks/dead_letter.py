"""Where bad records go: any sink of files, Kafka or the console, by the same protocol as the query's own output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from tidemill.api.formats import DEAD_LETTERS
from tidemill.errors import AnalysisException, did_you_mean
from tidemill.sinks import make
from tidemill.sinks.base import Committable, Generation, Sink, TaskId
from tidemill.sinks.encoding import HEADERS
from tidemill.sinks.options import Wiring
from tidemill.sources.base import BAD_SCHEMA
from tidemill.types import BinaryType, StringType, StructField, StructType, to_arrow_schema

ABOUT = ("reason", "source", "partition", "offset")
"""The columns that tell of a record; in Kafka they are headers, so that the value stays as it was read."""

_KAFKA = StructType([StructField("value", BinaryType()), StructField("headers", HEADERS)])
_BYTES = StructType([*(StructField(n, StringType()) for n in ABOUT), StructField("record", BinaryType())])
_TEXT = StructType([*(StructField(n, StringType()) for n in ABOUT), StructField("record", StringType())])


def create(format: str, options: Mapping[str, Any], wiring: Wiring | None = None) -> DeadLetterSink:
    """The sink of a dead letter. Open it with a query id of its own (`dead_letter_id`)."""
    name = format.lower()
    if name not in DEAD_LETTERS:
        raise AnalysisException(
            f"a dead letter cannot be written as {format!r}; take one of {', '.join(DEAD_LETTERS)}"
            f"{did_you_mean(format, DEAD_LETTERS)}"
        )
    schema = {"kafka": _KAFKA, "parquet": _BYTES}.get(name, _TEXT)
    return DeadLetterSink(make.streaming(name, options, schema, wiring=wiring), schema)


def dead_letter_id(query: str) -> str:
    """The id under which a query's dead letter is written, so that both may go to one directory or topic."""
    return f"{query}.dead"


class DeadLetterSink(Sink):
    """Takes rows of `BAD_SCHEMA` and hands them on in a form that suits the format.

    Kafka gets each record's bytes as they were read, with headers that tell of it; Parquet the columns as they are;
    text formats the record as text, with what is no UTF-8 replaced.
    """

    modes = frozenset({"append"})

    def __init__(self, inner: Sink, schema: StructType) -> None:
        self.inner, self.schema = inner, schema

    def check(self) -> None:
        self.inner.check()

    def for_executors(self) -> Sink:
        return DeadLetterSink(self.inner.for_executors(), self.schema)

    def place(self) -> str:
        return self.inner.place()

    def open(self, generation: Generation, query: str, tasks: int) -> None:
        self.inner.open(generation, query, tasks)

    def prepare(self, task: TaskId, rows: pa.Table) -> Committable:
        return self.inner.prepare(task, self._adapted(rows.cast(BAD_SCHEMA)))

    def _adapted(self, rows: pa.Table) -> pa.Table:
        if self.schema == _BYTES:
            return rows
        if self.schema == _KAFKA:
            about = [[_header(n, row[n]) for n in ABOUT] for row in rows.select(list(ABOUT)).to_pylist()]
            return pa.table({"value": rows["record"], "headers": about}, schema=to_arrow_schema(_KAFKA))
        texts = [None if r is None else r.decode(errors="replace") for r in rows["record"].to_pylist()]
        return rows.set_column(len(ABOUT), "record", pa.array(texts, pa.string()))

    def commit(self, batch: int, committables: Sequence[Committable]) -> None:
        self.inner.commit(batch, committables)

    def abort(self, committables: Sequence[Committable]) -> None:
        self.inner.abort(committables)

    def recover(self, query: str, batch: int, committables: Sequence[Committable] | None) -> None:
        self.inner.recover(query, batch, committables)

    def purge(self, batch: int) -> None:
        self.inner.purge(batch)

    def close(self) -> None:
        self.inner.close()


def _header(name: str, value: str | None) -> dict[str, Any]:
    return {"key": name, "value": None if value is None else value.encode()}
