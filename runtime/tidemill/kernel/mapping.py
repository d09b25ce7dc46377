"""The user's own functions of whole record batches: ``mapInPandas`` and ``mapInArrow``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa

MapFunction = Callable[[Iterator[pa.RecordBatch]], Iterable[pa.RecordBatch]]


def mapped(function: MapFunction, rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """What ``function`` makes of the rows, cast to ``schema``. It gets one empty batch if there are no rows."""
    batches = rows.to_batches() or [pa.RecordBatch.from_pylist([], schema=rows.schema)]
    return pa.Table.from_batches([b.cast(schema) for b in function(iter(batches))], schema)
