"""Windows of rows for ``Column.over``: partition, order and frame."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any

from sqlglot import exp

from tidemill.sql.column import Column, named_tree

_FAR = 2**31 - 1
"""Spark takes any bound at least this far from the row as unbounded."""


@dataclass(frozen=True)
class WindowSpec:
    """A window; each method returns a new one. Made by `Window`."""

    _keys: tuple[exp.Expression, ...] = ()
    _orders: tuple[exp.Expression, ...] = ()
    _frame: tuple[str, int, int] | None = None

    def partitionBy(self, *cols: Any) -> WindowSpec:
        return replace(self, _keys=tuple(named_tree(c) for c in _flat(cols)))

    def orderBy(self, *cols: Any) -> WindowSpec:
        return replace(self, _orders=tuple(ordered(named_tree(c)) for c in _flat(cols)))

    def rowsBetween(self, start: int, end: int) -> WindowSpec:
        """Rows by their distance from the current one: -1 is the row before, 0 the row itself."""
        return replace(self, _frame=("ROWS", start, end))

    def rangeBetween(self, start: int, end: int) -> WindowSpec:
        """Rows by the distance of their order value from the current row's."""
        return replace(self, _frame=("RANGE", start, end))

    def over(self, function: exp.Expression) -> exp.Window:
        """``function OVER (...)``."""
        order = exp.Order(expressions=[o.copy() for o in self._orders]) if self._orders else None
        return exp.Window(
            this=function,
            partition_by=[k.copy() for k in self._keys],
            order=order,
            spec=self._spec(),
            over="OVER",
        )

    def _spec(self) -> exp.WindowSpec | None:
        if self._frame is None:
            return None
        kind, start, end = self._frame
        (first, first_side), (last, last_side) = _bound(start), _bound(end)
        return exp.WindowSpec(kind=kind, start=first, start_side=first_side, end=last, end_side=last_side)


def _flat(cols: tuple[Any, ...]) -> list[Any]:
    return list(cols[0]) if len(cols) == 1 and isinstance(cols[0], (list, tuple)) else list(cols)


def ordered(e: exp.Expression) -> exp.Expression:
    """``e`` ascending with nulls first, unless it says otherwise."""
    return e if isinstance(e, exp.Ordered) else exp.Ordered(this=e, desc=False, nulls_first=True)


def _bound(distance: int) -> tuple[str | exp.Expression, str | None]:
    if distance == 0:
        return "CURRENT ROW", None
    side = "PRECEDING" if distance < 0 else "FOLLOWING"
    return ("UNBOUNDED" if abs(distance) >= _FAR else exp.Literal.number(abs(distance))), side


class Window:
    """Where windows begin.

    >>> from tidemill.sql import functions as F
    >>> F.rank().over(Window.partitionBy("team").orderBy(F.desc("points")))
    Column<'rank() OVER (PARTITION BY team ORDER BY points DESC NULLS LAST)'>
    """

    unboundedPreceding: int = -sys.maxsize - 1
    unboundedFollowing: int = sys.maxsize
    currentRow: int = 0

    @staticmethod
    def partitionBy(*cols: Any) -> WindowSpec:
        return WindowSpec().partitionBy(*cols)

    @staticmethod
    def orderBy(*cols: Any) -> WindowSpec:
        return WindowSpec().orderBy(*cols)

    @staticmethod
    def rowsBetween(start: int, end: int) -> WindowSpec:
        return WindowSpec().rowsBetween(start, end)

    @staticmethod
    def rangeBetween(start: int, end: int) -> WindowSpec:
        return WindowSpec().rangeBetween(start, end)


__all__ = ["Column", "Window", "WindowSpec"]
