"""Turns a scenario's data into a program in the public API, as a user would write it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from tidemill.sql import Column, DataFrame, SparkSession
from tidemill.sql import functions as F
from tidemill.testing import MemoryStream

_BINARY = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
    "%": lambda a, b: a % b, "==": lambda a, b: a == b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b, ">=": lambda a, b: a >= b, "or": lambda a, b: a | b,
}  # fmt: skip


def column(e: Any) -> Column:
    """A scenario's expression as a Column."""
    if isinstance(e, str):
        return F.col(e)
    if not isinstance(e, list):
        return F.lit(e)
    op, *args = e
    if op in _BINARY:
        return _BINARY[op](column(args[0]), column(args[1]))
    match op:
        case "and":
            return reduce(lambda a, b: a & b, map(column, args))
        case "lit":
            return F.lit(args[0])
        case "cast":
            return column(args[0]).cast(args[1])
        case "field":
            return column(args[0]).getField(args[1])
        case "ts":
            return F.timestamp_seconds(column(args[0]))
        case "secs":
            return column(args[0]).cast("long")
        case "interval":
            return F.expr(f"INTERVAL {args[0]}")
        case "split":
            return F.split(column(args[0]), args[1])
        case "count":
            return F.count("*") if args[0] == "*" else F.count(column(args[0]))
        case "window":
            return F.window(column(args[0]), *args[1:])
        case "session_window":
            return F.session_window(
                column(args[0]), column(args[1]) if isinstance(args[1], list) else args[1]
            )
        case "when":
            return _case(args)
    return getattr(F, op)(*map(column, args))


def _case(args: Sequence[Any]) -> Column:
    """``condition, value, condition, value, ..., otherwise``."""
    made = F.when(column(args[0]), column(args[1]))
    for i in range(2, len(args) - 1, 2):
        made = made.when(column(args[i]), column(args[i + 1]))
    return made.otherwise(column(args[-1]))


def named(items: Sequence[Sequence[Any]]) -> list[Column]:
    return [column(e).alias(name) for name, e in items]


def build(
    spark: SparkSession, ops: Sequence[Mapping[str, Any]], streams: Mapping[str, MemoryStream]
) -> DataFrame:
    """The DataFrame of a scenario's list of operations."""
    frame: DataFrame | None = None
    for op in ops:
        frame = _apply(spark, frame, op, streams)
    assert frame is not None
    return frame


def _apply(
    spark: SparkSession, frame: DataFrame | None, op: Mapping[str, Any], streams: Mapping[str, MemoryStream]
) -> DataFrame:
    match op["op"]:
        case "source":
            return streams[op["input"]].toDF()
        case "static":
            ddl = ", ".join(f"{n} {t}" for n, t in op["schema"])
            return spark.createDataFrame([tuple(r) for r in op["rows"]], ddl)
    assert frame is not None
    match op["op"]:
        case "with":
            return frame.withColumn(op["name"], column(op["expr"]))
        case "watermark":
            return frame.withWatermark(op["col"], op["delay"])
        case "select":
            return frame.select(*named(op["cols"]))
        case "drop":
            return frame.drop(*op["cols"])
        case "where":
            return frame.where(column(op["cond"]))
        case "group":
            return frame.groupBy(*named(op["keys"])).agg(*named(op["aggs"]))
        case "dedup":
            return frame.dropDuplicates(op["cols"]) if op.get("cols") else frame.dropDuplicates()
        case "dedup_within_watermark":
            cols = op.get("cols")
            return (
                frame.dropDuplicatesWithinWatermark(cols) if cols else frame.dropDuplicatesWithinWatermark()
            )
        case "order_by":
            key = F.col(op["col"])
            return frame.orderBy(key.desc() if op.get("desc") else key)
        case "union":
            return frame.union(build(spark, op["with"], streams))
        case "join":
            return frame.join(build(spark, op["with"], streams), column(op["on"]), op["how"])
    raise NotImplementedError(op["op"])
