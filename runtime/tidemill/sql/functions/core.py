"""Columns, literals, conditions, order, and windows of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from tidemill.sql.arguments import expect
from tidemill.sql.column import Column, ColumnOrName, by_name, named_tree, tree
from tidemill.sql.functions.building import call, lit, value

if TYPE_CHECKING:
    from tidemill.sql.dataframe import DataFrame


def col(col: str) -> Column:
    """The column of a name; ``a.b`` is field b of a, or column b of table a, and backticks keep dots together."""
    expect(col, str, "col", "str")
    return Column(by_name(col))


def column(col: str) -> Column:
    """The column of a name; another word for ``col``."""
    expect(col, str, "col", "str")
    return Column(by_name(col))


def expr(str: str) -> Column:
    """A column from SQL text, such as ``expr("price * 2 AS twice")``."""
    from tidemill.plan.dialect import parse_expression

    parsed = parse_expression(str)
    parsed.meta["text"] = str
    return Column(parsed)


def when(condition: Column, value: Any) -> Column:
    """``value`` where the condition holds; go on with ``.when`` and ``.otherwise``."""
    expect(condition, Column, "condition", "Column")
    return Column(exp.Case(ifs=[exp.If(this=tree(condition), true=tree(value))]))


def asc(col: ColumnOrName) -> Column:
    """Ascending order, nulls first."""
    return Column(named_tree(col)).asc()


def asc_nulls_first(col: ColumnOrName) -> Column:
    """Ascending order, nulls first."""
    return Column(named_tree(col)).asc_nulls_first()


def asc_nulls_last(col: ColumnOrName) -> Column:
    """Ascending order, nulls last."""
    return Column(named_tree(col)).asc_nulls_last()


def desc(col: ColumnOrName) -> Column:
    """Descending order, nulls last."""
    return Column(named_tree(col)).desc()


def desc_nulls_first(col: ColumnOrName) -> Column:
    """Descending order, nulls first."""
    return Column(named_tree(col)).desc_nulls_first()


def desc_nulls_last(col: ColumnOrName) -> Column:
    """Descending order, nulls last."""
    return Column(named_tree(col)).desc_nulls_last()


def bitwise_not(col: ColumnOrName) -> Column:
    """Every bit turned over."""
    return Column(exp.BitwiseNot(this=named_tree(col)))


def bitwiseNOT(col: ColumnOrName) -> Column:
    """Every bit turned over; the old name."""
    return bitwise_not(col)


def log(arg1: ColumnOrName | float, arg2: ColumnOrName | None = None) -> Column:
    """The natural logarithm of ``arg1``, or the logarithm of ``arg2`` to base ``arg1``."""
    if arg2 is None:
        return call("ln", value(arg1))
    base = arg1 if isinstance(arg1, (str, Column)) else lit(float(arg1))
    return call("log", base, arg2)


def call_function(funcName: str, *cols: ColumnOrName) -> Column:
    """A call of any function by its name, also one that was registered."""
    expect(funcName, str, "funcName", "str")
    return call(funcName, *cols)


def call_udf(udfName: str, *cols: ColumnOrName) -> Column:
    """A call of a registered function by its name."""
    return call_function(udfName, *cols)


def broadcast(df: DataFrame) -> DataFrame:
    """``df`` itself: every static side of a join is at hand for each task already."""
    from tidemill.sql.dataframe import DataFrame

    expect(df, DataFrame, "df", "DataFrame")
    return df


def window(
    timeColumn: ColumnOrName,
    windowDuration: str,
    slideDuration: str | None = None,
    startTime: str | None = None,
) -> Column:
    """The windows of time that a row falls into, as ``struct<start,end>``: tumbling, or sliding by ``slideDuration``.

    Durations are texts such as ``'10 minutes'``; ``startTime`` moves the windows against 1970-01-01 00:00:00 UTC.

    >>> window("t", "10 minutes", "5 minutes")
    Column<'window(t, '10 minutes', '5 minutes')'>
    """
    expect(windowDuration, str, "windowDuration", "str")
    durations = [lit(windowDuration)]
    if slideDuration is not None or startTime is not None:
        expect(slideDuration or windowDuration, str, "slideDuration", "str")
        durations.append(lit(slideDuration or windowDuration))
    if startTime is not None:
        expect(startTime, str, "startTime", "str")
        durations.append(lit(startTime))
    return call("window", timeColumn, *durations)


def session_window(timeColumn: ColumnOrName, gapDuration: Column | str) -> Column:
    """The session that a row falls into, as ``struct<start,end>``: it ends ``gapDuration`` after its last row.

    The gap is a text such as ``'5 minutes'``, or a column of intervals.
    """
    expect(gapDuration, (Column, str), "gapDuration", "Column or str")
    return call("session_window", timeColumn, lit(gapDuration))


def window_time(windowColumn: ColumnOrName) -> Column:
    """The event time of an aggregated window: the last microsecond in it."""
    return call("window_time", windowColumn)


__all__ = [
    "asc",
    "asc_nulls_first",
    "asc_nulls_last",
    "bitwiseNOT",
    "bitwise_not",
    "broadcast",
    "call_function",
    "call_udf",
    "col",
    "column",
    "desc",
    "desc_nulls_first",
    "desc_nulls_last",
    "expr",
    "lit",
    "log",
    "session_window",
    "when",
    "window",
    "window_time",
]
