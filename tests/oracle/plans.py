"""A grammar of streaming plans, each a function from its input DataFrames to one DataFrame.

The same function makes the streaming query and the batch query that it must agree with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tidemill.sql import DataFrame
from tidemill.sql import functions as F

Build = Callable[..., DataFrame]
SCHEMA = "k STRING, t TIMESTAMP, v INT"


@dataclass(frozen=True)
class Plan:
    """``modes``: output modes that it can run in. ``key``: positions of the columns that name a row of its result;
    ``end``: the position of a column (seconds) from which a row is final once the watermark reaches it."""

    text: str
    build: Build
    modes: tuple[str, ...]
    inputs: int = 1
    key: tuple[int, ...] = ()
    end: int | None = None

    def __repr__(self) -> str:
        return self.text


def seconds(column: Any) -> Any:
    return column.cast("long")


# --- Stateless heads ------------------------------------------------------------------------------------------------


def same(frame: DataFrame) -> DataFrame:
    return frame


def filtered(frame: DataFrame) -> DataFrame:
    return frame.where(F.col("v") > 2)


def computed(frame: DataFrame) -> DataFrame:
    return frame.withColumn("v", F.col("v") * 2 + 1)


def joined(frame: DataFrame) -> DataFrame:
    names = frame.sparkSession.createDataFrame([("a", 10), ("b", 20), ("b", 21)], "k STRING, w INT")
    return frame.join(names, "k", "left").select(
        "k", "t", (F.col("v") + F.coalesce("w", F.lit(0))).alias("v")
    )


def doubled(frame: DataFrame) -> DataFrame:
    return frame.union(frame.select("k", "t", (F.col("v") + 1).alias("v")))


HEADS = {"": same, "filter ": filtered, "compute ": computed, "join static ": joined, "union ": doubled}


# --- Stateful tails -------------------------------------------------------------------------------------------------

AGGREGATES = (
    F.count("*").alias("n"), F.sum("v").alias("s"), F.min("v").alias("lo"), F.max("v").alias("hi"),
    F.avg("v").alias("mean"), F.stddev("v").alias("dev"), F.count("v").alias("m"),
)  # fmt: skip


def grouped(frame: DataFrame) -> DataFrame:
    return frame.groupBy("k").agg(*AGGREGATES)


def windowed(*sizes: str) -> Build:
    def build(frame: DataFrame) -> DataFrame:
        by = (
            frame.withWatermark("t", "20 seconds")
            .groupBy(F.window("t", *sizes).alias("w"), "k")
            .agg(*AGGREGATES)
        )
        return by.select(
            seconds(F.col("w.start")).alias("a"), seconds(F.col("w.end")).alias("b"), *by.columns[1:]
        )

    return build


def sessions(frame: DataFrame) -> DataFrame:
    window = F.session_window("t", "5 seconds").alias("w")
    by = frame.withWatermark("t", "20 seconds").groupBy(window, "k").agg(*AGGREGATES)
    return by.select(
        seconds(F.col("w.start")).alias("a"), seconds(F.col("w.end")).alias("b"), *by.columns[1:]
    )


def deduplicated(frame: DataFrame) -> DataFrame:
    return frame.select("k", "v").dropDuplicates()


def deduplicated_in_time(frame: DataFrame) -> DataFrame:
    unique = frame.withWatermark("t", "20 seconds").dropDuplicates(["k", "t"])
    return unique.select("k", seconds(F.col("t")).alias("t"))


def chained(frame: DataFrame) -> DataFrame:
    first = frame.withWatermark("t", "20 seconds").groupBy(F.window("t", "5 seconds").alias("w"), "k")
    counted = first.agg(F.count("*").alias("n"))
    second = counted.groupBy(F.window(F.window_time("w"), "15 seconds").alias("x")).agg(F.sum("n").alias("n"))
    return second.select(seconds(F.col("x.start")).alias("a"), seconds(F.col("x.end")).alias("b"), "n")


def side(frame: DataFrame, name: str) -> DataFrame:
    timed = frame.withWatermark("t", "20 seconds")
    window = F.window("t", "10 seconds").alias(f"{name}w")
    return timed.select(F.col("k").alias(f"{name}k"), window, F.col("v").alias(f"{name}v"))


def pairs(how: str) -> Build:
    def build(left: DataFrame, right: DataFrame) -> DataFrame:
        a, b = side(left, "l"), side(right, "r")
        near = F.col("lv") <= F.col("rv") + 3
        made = a.join(b, (F.col("lk") == F.col("rk")) & (F.col("lw") == F.col("rw")) & near, how)
        if how == "left_semi":
            return made.select(seconds(F.col("lw.end")).alias("e"), "lk", "lv")
        return made.select(seconds(F.coalesce("lw.end", "rw.end")).alias("e"), "lk", "lv", "rk", "rv")

    return build


TAILS = (
    Plan("group", grouped, ("update", "complete"), key=(0,)),
    Plan("tumble", windowed("10 seconds"), ("append", "update", "complete"), key=(0, 2), end=1),
    Plan("slide", windowed("10 seconds", "4 seconds"), ("append", "update", "complete"), key=(0, 2), end=1),
    Plan("hop", windowed("10 seconds", "5 seconds"), ("append", "update", "complete"), key=(0, 2), end=1),
    Plan("session", sessions, ("append", "complete"), key=(0, 2), end=1),
    Plan("distinct", deduplicated, ("append",)),
    Plan("distinct in time", deduplicated_in_time, ("append",)),
    Plan("chain", chained, ("append",), end=1),
    *(
        Plan(how, pairs(how), ("append",), inputs=2, end=0)
        for how in ("inner", "left_outer", "right_outer", "full_outer", "left_semi")
    ),
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A head for each input under a tail."""
    tail = draw(st.sampled_from(TAILS))
    heads = [draw(st.sampled_from(sorted(HEADS))) for _ in range(tail.inputs)]

    def build(*frames: DataFrame) -> DataFrame:
        return tail.build(*(HEADS[h](f) for h, f in zip(heads, frames, strict=True)))

    return Plan("".join(heads) + tail.text, build, tail.modes, tail.inputs, tail.key, tail.end)
