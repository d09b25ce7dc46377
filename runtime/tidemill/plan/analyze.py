"""Builders of the logical plan: each takes resolved nodes and expressions as written, and gives a resolved node.

DataFrame calls and SQL text both come through here, so that the same program is the same plan. Resolution is eager, as
Spark's is: a wrong name, type or combination raises `AnalysisException` with Spark's condition where the call is made.

An expression "as written" is a SQLGlot tree whose names are ``exp.Column`` (``a``, ``t.a``, ``s.field``), whose function
calls are ``exp.Anonymous``, and which may hold ``exp.Star``, ``exp.Alias``/``exp.Aliases`` and `Ref` (from ``df['a']``).
The builders never change the trees that they are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from sqlglot import exp

from tidemill.plan.nodes import LocalData, Node, Range, Scan
from tidemill.types import StructType

if TYPE_CHECKING:
    import pyarrow as pa

    from tidemill.plan.expressions import Settings, Typed

Grouping = Literal["cube", "rollup"] | Sequence[Sequence[int]]
"""``cube``, ``rollup``, or the grouping sets as positions in the keys."""


# --- Leaves ---------------------------------------------------------------------------------------------------------


def scan(
    format: str,
    options: Mapping[str, str],
    schema: StructType,
    streaming: bool,
    name: str = "",
    handle: Any = None,
    user_schema: StructType | None = None,
) -> Scan:
    """Rows of a source whose columns are ``schema``; ``user_schema`` is what the user gave of it, if anything."""
    raise NotImplementedError


def local(table: pa.Table, schema: StructType) -> LocalData:
    """Rows that the program holds: ``table`` has one column per field of ``schema``, in order."""
    raise NotImplementedError


def range_(start: int, end: int, step: int = 1) -> Range:
    """``spark.range``: one BIGINT column ``id``, never null."""
    raise NotImplementedError


# --- Columns --------------------------------------------------------------------------------------------------------


def column(child: Node, name: str, settings: Settings) -> exp.Expression:
    """What ``df['a']``, ``df.a`` and ``df['s.field']`` mean: a Ref, or a Dot over one, or a Star for ``'*'``."""
    raise NotImplementedError


def typed(child: Node, expression: exp.Expression, settings: Settings) -> Typed:
    """Type and nullability of a scalar expression over the child's columns."""
    raise NotImplementedError


def project(child: Node, items: Sequence[exp.Expression], settings: Settings) -> Node:
    """``select``: one output column per item, after stars; at most one generator; aggregates make it a global
    aggregation, as in ``df.select(F.count('*'))``."""
    raise NotImplementedError


def with_columns(child: Node, columns: Mapping[str, exp.Expression], settings: Settings) -> Node:
    """The child's columns, those named in ``columns`` replaced in place, new ones at the end."""
    raise NotImplementedError


def rename(child: Node, names: Mapping[str, str], settings: Settings) -> Node:
    """``withColumn(s)Renamed``: old name to new; names that do not exist are ignored, as in Spark."""
    raise NotImplementedError


def rename_all(child: Node, names: Sequence[str]) -> Node:
    """``toDF(*names)``: every column under a new name, by position."""
    raise NotImplementedError


def drop(child: Node, columns: Sequence[str | exp.Expression], settings: Settings) -> Node:
    """Without these columns; those that do not exist are ignored, as in Spark."""
    raise NotImplementedError


# --- Rows -----------------------------------------------------------------------------------------------------------


def filter_rows(child: Node, condition: exp.Expression, settings: Settings) -> Node:
    """Rows for which ``condition`` is true; it may use columns that a projection below has dropped."""
    raise NotImplementedError


def sort(child: Node, items: Sequence[exp.Expression], settings: Settings) -> Node:
    """``orderBy``: items may be ``exp.Ordered``; a plain integer literal is a position, counted from 1."""
    raise NotImplementedError


def limit(child: Node, count: int, offset: int = 0) -> Node:
    """At most ``count`` rows (-1: all) after the first ``offset``."""
    raise NotImplementedError


def deduplicate(
    child: Node, names: Sequence[str] | None, settings: Settings, within_watermark: bool = False
) -> Node:
    """``dropDuplicates`` (None: all columns) and ``dropDuplicatesWithinWatermark``; ``distinct`` is the first."""
    raise NotImplementedError


def with_watermark(child: Node, column: str | exp.Expression, delay: str, settings: Settings) -> Node:
    """The column is event time, late by ``delay`` at most (``'10 seconds'``; a month is 31 days)."""
    raise NotImplementedError


def alias(child: Node, name: str) -> Node:
    """The child's columns under ``name``, as ``name.column``."""
    raise NotImplementedError


def map_batches(
    child: Node, function: Any, kind: Literal["pandas", "arrow"], schema: StructType
) -> Node:
    """``mapInPandas`` and ``mapInArrow``: ``schema`` is what ``function`` gives."""
    raise NotImplementedError


# --- Groups ---------------------------------------------------------------------------------------------------------


def aggregate(
    child: Node,
    keys: Sequence[exp.Expression],
    items: Sequence[exp.Expression],
    settings: Settings,
    grouping: Grouping | None = None,
    having: exp.Expression | None = None,
) -> Node:
    """One row per distinct value of ``keys``. The output is exactly ``items``, so ``groupBy(k).agg(x)`` passes
    ``[k, x]``; an item combines aggregate calls, keys and constants. Keys may be window() and session_window()."""
    raise NotImplementedError


# --- Several inputs -------------------------------------------------------------------------------------------------


def join(
    left: Node, right: Node, on: exp.Expression | Sequence[str] | None, how: str, settings: Settings
) -> Node:
    """``how`` is any of Spark's spellings (inner, left_outer, leftsemi, ...); names in ``on`` are USING keys."""
    raise NotImplementedError


def union(
    inputs: Sequence[Node], settings: Settings, by_name: bool = False, allow_missing: bool = False
) -> Node:
    """UNION ALL, by position or by name, columns widened to a common type."""
    raise NotImplementedError


def set_operation(left: Node, right: Node, kind: Literal["intersect", "except"], settings: Settings) -> Node:
    """INTERSECT and EXCEPT: distinct rows of ``left`` that are, or are not, in ``right``. Nulls are equal."""
    raise NotImplementedError
