"""Between a user's function and the kernel: Arrow columns become what the function takes, and its answer Arrow."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import pyarrow as pa

from tidemill.errors import PythonException
from tidemill.sql import values
from tidemill.sql.ingest import column_of
from tidemill.types import DataType, from_arrow, to_arrow


@dataclass(frozen=True)
class Adapter:
    """Calls ``func`` with columns; named in every error."""

    name: str
    func: Callable[..., Any]
    returns: DataType

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

        made = self.func(*(_series(c) for c in columns))
        if isinstance(made, pd.DataFrame):
            table = pa.Table.from_pandas(made, preserve_index=False)
            kind = to_arrow(self.returns)
            fields = [table.column(f.name).combine_chunks().cast(f.type) for f in kind]
            return pa.StructArray.from_arrays(fields, fields=list(kind))
        return pa.Array.from_pandas(made, type=to_arrow(self.returns))


class ByArrow(Adapter):
    """``arrow_udf``: called with Arrow arrays of a batch."""

    def answer(self, columns: Sequence[pa.Array], count: int) -> pa.Array:
        made = self.func(*columns)
        made = made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made
        return made.cast(to_arrow(self.returns))


def adapt(name: str, func: Callable[..., Any], returns: DataType, kind: str) -> Adapter:
    """The adapter for a kind of user function."""
    return {"python": ByRow, "pandas": ByPandas, "arrow": ByArrow}[kind](name, func, returns)


def _series(column: pa.Array) -> Any:
    if pa.types.is_struct(column.type):
        return pa.Table.from_arrays(column.flatten(), names=[f.name for f in column.type]).to_pandas()
    if pa.types.is_timestamp(column.type) and column.type.tz:
        column = column.cast(pa.timestamp("us"))
    return column.to_pandas()


def _takes_nothing(func: Callable[..., Any]) -> bool:
    try:
        return not signature(func).parameters
    except (TypeError, ValueError):
        return False
