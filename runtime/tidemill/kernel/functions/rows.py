"""From a Python function of one row to one over Arrow columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from tidemill.kernel.macros import KernelFunction


class Refused(Exception):
    """A value that the function cannot take; becomes Spark's condition in the query's error."""

    def __init__(self, condition: str, message: str) -> None:
        super().__init__(f"[{condition}] {message}")


def by_row(
    function: Callable[..., Any],
    returns: str,
    arrow: pa.DataType,
    null_in: bool = False,
    volatile: bool = False,
) -> KernelFunction:
    """``function`` for each row; a NULL argument gives NULL unless ``null_in``."""

    def call(*columns: Any) -> pa.Array:
        rows = zip(*(c.to_pylist() for c in columns), strict=True)
        if null_in:
            return pa.array([function(*row) for row in rows], arrow)
        return pa.array([None if None in row else function(*row) for row in rows], arrow)

    return KernelFunction(call, returns, volatile)
