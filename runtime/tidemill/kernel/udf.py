"""User functions as the kernel knows them: Arrow columns in, one Arrow column out.

How a column becomes the Python, pandas or NumPy values that a user's function takes is the API's matter
(`tidemill.sql.functions.adapters`); here a function is called, and its errors are kept from DuckDB, which would turn
them into text.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pyarrow as pa

from tidemill.kernel import failures
from tidemill.kernel.names import duck_type
from tidemill.types import DataType, to_arrow

UdfKind = Literal["python", "pandas", "arrow", "pandas_agg"]


@dataclass(frozen=True)
class UserFunction:
    """A function that the user wrote, with what the engine must know to call it.

    ``function`` takes one Arrow array per argument, all of one length, and returns one of that length. ``arity`` is
    the number of its arguments in the call: for a function without arguments DuckDB passes a column all the same,
    so that it knows how many rows there are, and ``function`` gets that column.
    """

    name: str
    function: Callable[..., Any] = field(compare=False)
    return_type: DataType
    kind: UdfKind = "python"
    deterministic: bool = True
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Unique for ever, also after pickling: two functions of one name are two functions."""

    @property
    def sql_name(self) -> str:
        """The name under which DuckDB knows it."""
        return f"udf_{self.id}"


def in_zone(function: UserFunction, zone: str) -> UserFunction:
    """The function as it works in a session's time zone; the same one if zones do not matter to it."""
    within = getattr(function.function, "within", None)
    if within is None or zone == "UTC":
        return function
    made = hashlib.md5(f"{function.id} {zone}".encode(), usedforsecurity=False).hexdigest()
    return replace(function, function=within(zone), id=made)


def registration(function: UserFunction) -> tuple[Callable[..., Any], str]:
    """What DuckDB is given: a function over Arrow columns, and the name of the type that it returns."""
    kind = to_arrow(function.return_type)

    def call(*columns: pa.ChunkedArray) -> pa.ChunkedArray:
        try:
            made = function.function(*(_whole(c) for c in columns))
            return pa.chunked_array([made.cast(kind)], kind)
        except Exception as error:
            raise RuntimeError(failures.remember(error)) from None

    return call, duck_type(function.return_type)


def _whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
