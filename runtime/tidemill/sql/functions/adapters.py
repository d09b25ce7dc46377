"""Between a user's function and the kernel: Arrow columns become what the function takes, and its answer Arrow."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import pyarrow as pa

from tidemill.errors import PythonException
from tidemill.sql import values
from tidemill.sql.ingest import column_of
from tidemill.types import (
    ArrayType,
    DataType,
    MapType,
    StructType,
    TimestampType,
    from_arrow,
    to_arrow,
    to_arrow_schema,
)


@dataclass(frozen=True)
class Adapter:
    """Calls ``func`` with columns; named in every error."""

    name: str
    func: Callable[..., Any]
    returns: DataType
    zone: str = "UTC"
    """The session's time zone, by whose wall clock pandas has its times."""

    def within(self, zone: str) -> Adapter:
        """The same for a session in another time zone."""
        return replace(self, zone=zone)

    def __call__(self, *columns: pa.Array) -> pa.Array:
        taken = () if _takes_nothing(self.func) else columns
        try:
            made = self.answer(taken, len(columns[0]))
        except Exception as error:
            trace = "".join(traceback.format_exception(error)).rstrip()
            raise PythonException(
                f"user function {self.name!r} has failed:\n{trace}", "PYTHON_EXCEPTION"
            ) from error
        if len(made) != len(columns[0]):
            raise PythonException(
                f"user function {self.name!r} returned {len(made)} values for {len(columns[0])} rows; "
                "it must return one for each",
                "SCHEMA_MISMATCH_FOR_PANDAS_UDF",
            )
        return made

    def answer(self, columns: Sequence[pa.Array], count: int) -> pa.Array:
        raise NotImplementedError


class ByRow(Adapter):
    """``udf``: called with one row's Python values at a time."""

    def answer(self, columns: Sequence[pa.Array], count: int) -> pa.Array:
        if not columns:
            return self._column([self.func() for _ in range(count)])
        rows = zip(*(values.python_values(c, from_arrow(c.type)) for c in columns), strict=True)
        return self._column([self.func(*row) for row in rows])

    def _column(self, made: list[Any]) -> pa.Array:
        """As PySpark has it, a value that is not of the declared type becomes null."""
        try:
            return column_of(made, self.returns)
        except Exception:
            return pa.concat_arrays([self._one(v) for v in made])

    def _one(self, value: Any) -> pa.Array:
        try:
            return column_of([value], self.returns)
        except Exception:
            return pa.nulls(1, to_arrow(self.returns))


class ByPandas(Adapter):
    """``pandas_udf``: called with pandas Series (DataFrames for structs) of a batch."""

    def answer(self, columns: Sequence[pa.Array], count: int) -> pa.Array:
        import pandas as pd

        from tidemill.sql import pandas  # slow to import, and few programs get here

        made = self.func(*(self._taken(c) for c in columns))
        if isinstance(made, pd.DataFrame) and isinstance(self.returns, StructType):
            fields = list(to_arrow(self.returns))
            parts = pandas.struct_from(made, self.returns, self.zone)
            return pa.StructArray.from_arrays(parts, fields=fields)
        return pandas.column_from(made, self.returns, self.zone)

    def _taken(self, column: pa.Array) -> Any:
        from tidemill.sql import pandas

        kind = from_arrow(column.type)
        if isinstance(kind, StructType):
            return pandas.frame(column, kind, self.zone)
        return pandas.series(column, kind, self.zone)


class ByArrow(Adapter):
    """``arrow_udf``: called with Arrow arrays of a batch."""

    def answer(self, columns: Sequence[pa.Array], count: int) -> pa.Array:
        made = self.func(*(self._taken(c) for c in columns))
        made = made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made
        return made.cast(to_arrow(self.returns))

    def _taken(self, column: pa.Array) -> pa.Array:
        return column.cast(_instants(from_arrow(column.type), self.zone))


def adapt(name: str, func: Callable[..., Any], returns: DataType, kind: str) -> Adapter:
    """The adapter for a kind of user function."""
    return {"python": ByRow, "pandas": ByPandas, "arrow": ByArrow}[kind](name, func, returns)


def _instants(kind: DataType, zone: str) -> pa.DataType:
    """The Arrow type of ``kind`` with ``zone`` for the zone of its instants."""
    match kind:
        case TimestampType():
            return pa.timestamp("us", zone)
        case ArrayType(element):
            return pa.list_(_instants(element, zone))
        case MapType(key, value):
            return pa.map_(_instants(key, zone), _instants(value, zone))
        case StructType(fields):
            return pa.struct([pa.field(f.name, _instants(f.dataType, zone)) for f in fields])
    return to_arrow(kind)


def batches_by_pandas(
    func: Callable[..., Any], taken: StructType, given: StructType, zone: Callable[[], str]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function of an iterator of DataFrames as one of an iterator of record batches."""

    def call(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from tidemill.sql import pandas

        for made in func(pandas.frame(b, taken, zone(), "us") for b in batches):
            parts = pandas.struct_from(made, given, zone())
            yield pa.RecordBatch.from_arrays(parts, schema=to_arrow_schema(given))

    return call


def batches_by_arrow(
    func: Callable[..., Any], taken: StructType, zone: Callable[[], str]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function of an iterator of record batches that gets instants in the session's time zone."""

    def labelled(batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = [
            c.cast(_instants(f.dataType, zone())) for c, f in zip(batch.columns, taken.fields, strict=True)
        ]
        return pa.RecordBatch.from_arrays(columns, names=taken.names)

    return lambda batches: func(labelled(b) for b in batches)


def _takes_nothing(func: Callable[..., Any]) -> bool:
    try:
        return not signature(func).parameters
    except (TypeError, ValueError):
        return False
