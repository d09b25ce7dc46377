"""A source whose ``value`` column is decoded into typed columns, as a manifest's ``decode`` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.errors import SourceError, SparkRuntimeException, did_you_mean
from tidemill.kernel.decode import decoder
from tidemill.sources.base import BAD_SCHEMA, Partition, Rows, Source
from tidemill.sources.wrapped import WrappedSource
from tidemill.types import StringType, StructType, to_arrow_schema

MODES = ("permissive", "failfast")


@dataclass(frozen=True)
class Decode:
    """What the records hold. ``metadata`` names columns of the source to keep, after the decoded ones.

    ``mode``: ``permissive`` takes bad records out of the rows (they are in `Rows.bad`), or, with ``corrupt`` (a STRING
    column of the schema), leaves them as rows with their text in it; ``failfast`` stops at the first.
    """

    format: str
    schema: StructType
    metadata: Sequence[str] = ()
    mode: str = "permissive"
    options: Mapping[str, str] = field(default_factory=dict)
    corrupt: str | None = None


class DecodedSource(WrappedSource):
    """Everything but ``read`` is the inner source's."""

    def __init__(self, source: Source, decode: Decode, name: str = "") -> None:
        super().__init__(source)
        self.name = name
        self._check(source.schema, decode)
        # Where a bad record was is told by its place in the partition, unless it has coordinates of its own.
        self.shareable = source.shareable and _has_coordinates(source.schema.names)
        self._decode = decode
        self._values = StructType(f for f in decode.schema.fields if f.name != decode.corrupt)
        self._decoder = decoder(decode.format, self._values, decode.options)
        self.schema = StructType([*decode.schema.fields, *(source.schema[m] for m in decode.metadata)])

    def _check(self, inner: StructType, decode: Decode) -> None:
        if "value" not in inner.names:
            raise SourceError(
                f"decode needs a source with a column 'value'; this one has {', '.join(inner.names)}"
            )
        for name in decode.metadata:
            if name not in inner.names or name == "value":
                hint = did_you_mean(name, [n for n in inner.names if n != "value"])
                raise SourceError(
                    f"decode metadata {name!r} is no column of the source{hint or '; it has ' + ', '.join(inner.names)}"
                )
            if name in decode.schema.names:
                raise SourceError(
                    f"column {name!r} is in the decode schema and in its metadata; leave one out"
                )
        if decode.mode not in MODES:
            raise SourceError(f"decode mode {decode.mode!r} is not one of {', '.join(MODES)}")
        if decode.corrupt is not None:
            kind = decode.schema[decode.corrupt].dataType if decode.corrupt in decode.schema.names else None
            if not isinstance(kind, StringType):
                raise SourceError(
                    f"the corrupt-record column {decode.corrupt!r} must be a STRING column of the schema"
                )

    def read(self, partition: Partition) -> Rows:
        rows = self.inner.read(partition)
        done = self._decoder.decode(rows.table.column("value"))
        columns = {n: done.table.column(n) for n in self._values.names}
        columns |= {m: rows.table.column(m) for m in self._decode.metadata}
        if not len(done.bad):
            if self._decode.corrupt is not None:
                columns[self._decode.corrupt] = pa.nulls(rows.table.num_rows, pa.string())
            return replace(rows, table=self._table(columns))
        bad = self._bad(rows.table, partition, done.bad, done.reasons)
        if self._decode.mode == "failfast":
            first = bad.slice(0, 1).to_pylist()[0]
            raise SparkRuntimeException(
                f"source {first['source']}, partition {first['partition']}, offset {first['offset']}: "
                f"{first['reason']}; mend the record, or set decode's mode to 'permissive'",
                "MALFORMED_RECORD_IN_PARSING.WITHOUT_SUGGESTION",
            )
        if self._decode.corrupt is not None:
            texts = np.full(rows.table.num_rows, None, object)
            texts[done.bad] = [r.decode(errors="replace") for r in bad.column("record").to_pylist()]
            columns[self._decode.corrupt] = pa.array(texts, pa.string())
            return replace(rows, table=self._table(columns))
        good = np.ones(rows.table.num_rows, bool)
        good[done.bad] = False
        table = self._table(columns).filter(pa.array(good))
        places = replace(rows.places, bad=done.bad) if rows.places is not None else None
        return replace(rows, table=table, bad=pa.concat_tables([rows.bad, bad]), places=places)

    def _table(self, columns: dict[str, Any]) -> pa.Table:
        return pa.table([columns[n] for n in self.schema.names], schema=to_arrow_schema(self.schema))

    def _bad(self, table: pa.Table, partition: Partition, places: np.ndarray, reasons: list[str]) -> pa.Table:
        """The bad records in `BAD_SCHEMA`: Kafka's own coordinates, or the row's place in the partition."""
        found = table.take(pa.array(places))
        count = len(places)
        kafka = _has_coordinates(table.column_names)
        columns = [
            pa.array(reasons, pa.string()),
            found.column("topic") if kafka else pa.repeat(self.name or "records", count),
            found.column("partition").cast(pa.string()) if kafka else pa.repeat(str(partition.index), count),
            found.column("offset").cast(pa.string()) if kafka else pc.cast(pa.array(places), pa.string()),
            found.column("value").cast(pa.binary()),
        ]
        return pa.table(columns, schema=BAD_SCHEMA)


def _has_coordinates(names: Sequence[str]) -> bool:
    return {"topic", "partition", "offset"} <= set(names)
