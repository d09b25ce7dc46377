"""Streams that a test fills itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tidemill.plan import analyze
from tidemill.sources.memory import MemoryLog, append_together
from tidemill.sql.data import local_rows
from tidemill.sql.session import schema_of
from tidemill.types import StructType

if TYPE_CHECKING:
    from tidemill.sql import DataFrame, SparkSession


class MemoryStream:
    """A stream of the rows given to `add`; each call is one micro-batch where the query has taken the one before.

    Any number of queries may read it, each from its beginning, and a query restarted from its checkpoint goes on where
    it was. It ends with the process.

    >>> from tidemill.sql import SparkSession
    >>> numbers = MemoryStream(SparkSession.builder.getOrCreate(), "a INT")
    >>> numbers.add([1, 2])
    1
    >>> numbers.toDF().isStreaming
    True
    """

    def __init__(self, spark: SparkSession, schema: StructType | str) -> None:
        self.spark = spark
        self.schema = schema_of(schema)
        self.log = MemoryLog(self.schema)

    def add(self, rows: Any) -> int:
        """Add one micro-batch; returns how many there are now.

        ``rows``: anything that ``createDataFrame`` takes. For a stream of one column, plain values will do.
        """
        return self.log.append(self._table(rows))

    def toDF(self) -> DataFrame:
        """The stream as a DataFrame."""
        plan = analyze.scan("memory", {}, self.schema, True, handle=self.log, user_schema=self.schema)
        return self.spark._frame(plan)

    def _table(self, rows: Any) -> pa.Table:
        if isinstance(rows, Sequence) and len(self.schema.fields) == 1:
            rows = [row if isinstance(row, (tuple, list, dict)) else (row,) for row in rows]
        return local_rows(rows, self.schema, self.spark._zone)[0]


def add_together(rows: Mapping[MemoryStream, Any]) -> None:
    """Add one micro-batch to each of several streams, so that a query over them sees all of it in one batch."""
    append_together({stream.log: stream._table(given) for stream, given in rows.items()})
