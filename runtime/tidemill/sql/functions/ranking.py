"""Functions of a window of rows, used with ``over``."""

from __future__ import annotations

from typing import Any

from tidemill.sql.column import Column, ColumnOrName
from tidemill.sql.functions.building import call, lit


def cume_dist() -> Column:
    """The share of the partition's rows that are not after this one."""
    return call("cume_dist")


def dense_rank() -> Column:
    """The rank without gaps after ties."""
    return call("dense_rank")


def lag(col: ColumnOrName, offset: int = 1, default: Any = None) -> Column:
    """The value ``offset`` rows before this one, or ``default``."""
    return call("lag", col, lit(offset), lit(default))


def lead(col: ColumnOrName, offset: int = 1, default: Any = None) -> Column:
    """The value ``offset`` rows after this one, or ``default``."""
    return call("lead", col, lit(offset), lit(default))


def nth_value(col: ColumnOrName, offset: int, ignoreNulls: bool | None = False) -> Column:
    """The value of the frame's ``offset``-th row, counted from 1."""
    return call("nth_value", col, lit(offset), lit(True) if ignoreNulls else None)


def ntile(n: int) -> Column:
    """The number of the bucket that the row falls into, of ``n`` about equal ones."""
    return call("ntile", lit(n))


def percent_rank() -> Column:
    """The rank as a share from 0 to 1."""
    return call("percent_rank")


def rank() -> Column:
    """The rank with gaps after ties."""
    return call("rank")


def row_number() -> Column:
    """The row's number from 1."""
    return call("row_number")


__all__ = [
    "cume_dist",
    "dense_rank",
    "lag",
    "lead",
    "nth_value",
    "ntile",
    "percent_rank",
    "rank",
    "row_number",
]
