"""Builders of the logical plan: each takes resolved nodes and expressions as written, and gives a resolved node.

DataFrame calls and SQL text both come through here, so that the same program is the same plan. Resolution is eager, as
Spark's is: a wrong name, type or combination raises `AnalysisException` with Spark's condition where the call is made.

An expression "as written" is a SQLGlot tree whose names are ``exp.Column`` (``a``, ``t.a``, ``s.field``), whose calls
are ``exp.Anonymous``, and which may hold ``exp.Star``, ``exp.Alias``, ``exp.Aliases`` and `Ref` (from ``df['a']``).
The builders never change the trees that they are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa
from sqlglot import exp

from tidemill.errors import AnalysisException, IllegalArgumentException
from tidemill.plan.columns import drop, rename, rename_all, with_columns
from tidemill.plan.combine import join, natural, refuse_maps, set_operation, union
from tidemill.plan.durations import parse_duration
from tidemill.plan.expressions import Settings, Typed, has_aggregate, has_window, is_aggregate, is_generator
from tidemill.plan.grouping_sets import Grouping
from tidemill.plan.groups import aggregate
from tidemill.plan.hidden import expose, narrowed
from tidemill.plan.later import with_calls_below
from tidemill.plan.names import pretty
from tidemill.plan.nodes import (
    Alias,
    Attribute,
    Deduplicate,
    EventTime,
    Filter,
    Limit,
    LocalData,
    MapBatches,
    Metrics,
    Node,
    Range,
    Ref,
    Scan,
)
from tidemill.plan.ordering import sort
from tidemill.plan.resolve import TAKEN, Scope, nodes_of, refs
from tidemill.plan.select import project
from tidemill.plan.windows import is_window_struct, time_windows
from tidemill.types import BooleanType, LongType, NullType, StructType, TimestampType

# --- Leaves ---------------------------------------------------------------------------------------------------------


def attributes(schema: StructType) -> tuple[Attribute, ...]:
    """New columns for a schema's fields."""
    return tuple(Attribute(f.name, f.dataType, f.nullable) for f in schema.fields)


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
    return Scan(
        format,
        tuple(sorted(options.items())),
        attributes(schema),
        streaming,
        user_schema,
        name=name,
        handle=handle,
    )


def local(table: pa.Table, schema: StructType) -> LocalData:
    """Rows that the program holds: ``table`` has one column per field of ``schema``, in order."""
    return LocalData(attributes(schema), table)


def range_(start: int, end: int, step: int = 1) -> Range:
    """``spark.range``: one BIGINT column ``id``, never null."""
    if step == 0:
        raise AnalysisException("range() cannot have a step of 0; give a positive or negative one")
    return Range(Attribute("id", LongType(), nullable=False), start, end, step)


# --- Columns --------------------------------------------------------------------------------------------------------


def column(child: Node, name: str, settings: Settings) -> exp.Expression:
    """What ``df['a']``, ``df.a`` and ``df['s.field']`` mean: a Ref, or a Dot over one, or a Star for ``'*'``."""
    if name == "*":
        return exp.Star()
    found = Scope.over(child, settings).column(name_parts(name))
    for ref in found.find_all(Ref):
        ref.meta[TAKEN] = True
    return found


def name_parts(name: str) -> list[str]:
    """The parts of a column name as ``col()`` takes it: dots apart, backticks around what is one part.

    >>> name_parts("a.`b.c`")
    ['a', 'b.c']
    """
    parts: list[str] = []
    rest = name
    while True:
        if rest.startswith("`"):
            end = rest.find("`", 1)
            while end > 0 and rest[end + 1 : end + 2] == "`":
                end = rest.find("`", end + 2)
            after = rest[end + 1 : end + 2]
            if end < 1 or after not in ("", "."):
                raise AnalysisException(
                    f"syntax error in the column name {name!r}", "INVALID_ATTRIBUTE_NAME_SYNTAX"
                )
            parts.append(rest[1:end].replace("``", "`"))
            dotted, rest = after == ".", rest[end + 2 :]
        else:
            head, dot, rest = rest.partition(".")
            parts.append(head)
            dotted = bool(dot)
        if not dotted:
            break
    if not all(parts):
        raise AnalysisException(
            f"syntax error in the column name {name!r}: a part of it is empty; put names with dots into backticks",
            "INVALID_ATTRIBUTE_NAME_SYNTAX",
        )
    return parts


def typed(child: Node, expression: exp.Expression, settings: Settings) -> Typed:
    """Type and nullability of a scalar expression over the child's columns."""
    scope = Scope.over(child, settings)
    return scope.typed(scope.resolve(expression))


# --- Rows -----------------------------------------------------------------------------------------------------------


def filter_rows(child: Node, condition: exp.Expression, settings: Settings) -> Node:
    """Rows for which ``condition`` is true; it may use columns that a projection below has dropped."""
    base, condition = with_calls_below(
        child, condition.this if isinstance(condition, exp.Alias) else condition, settings
    )
    scope = Scope.reaching(base, settings)
    resolved = scope.resolve(condition)
    _check_filter(resolved, scope)
    below = expose(base, refs(resolved))
    return narrowed(Filter(below, resolved), child.output)


def _check_filter(condition: exp.Expression, scope: Scope) -> None:
    shown = pretty(condition)
    if has_window(condition):
        raise AnalysisException(
            f"it is not allowed to use window functions inside WHERE clause: {shown}; compute them in a select below",
            "WINDOW_FUNCTION_NOT_ALLOWED_IN_CLAUSE",
        )
    if has_aggregate(condition):
        calls = ", ".join(pretty(n) for n in nodes_of(condition) if is_aggregate(n))
        raise AnalysisException(
            f'the WHERE condition "{shown}" contains invalid expressions: {calls}; aggregate first, then filter, or '
            "use HAVING",
            "INVALID_WHERE_CONDITION",
        )
    if any(is_generator(n) for n in nodes_of(condition)) or time_windows(condition):
        raise AnalysisException(
            f"the generator is not supported: outside the SELECT clause, found: {shown}; select it first, then filter",
            "UNSUPPORTED_GENERATOR.OUTSIDE_SELECT",
        )
    kind = scope.typed(condition).type
    if not isinstance(kind, (BooleanType, NullType)):
        raise AnalysisException(
            f'cannot resolve "{shown}" due to data type mismatch: filter expression "{shown}" of type '
            f'"{kind.simpleString().upper()}" is not a boolean; compare it with something',
            "DATATYPE_MISMATCH.FILTER_NOT_BOOLEAN",
        )


def limit(child: Node, count: int, offset: int = 0) -> Node:
    """At most ``count`` rows after the first ``offset``; with an offset, -1 means all the rest."""
    least = -1 if offset else 0
    for value, bound in ((count, least), (offset, 0)):
        if value < bound:
            raise AnalysisException(
                f'the limit like expression "{value}" is invalid. The limit expression must be equal to or greater '
                f"than 0, but got {value}",
                "INVALID_LIMIT_LIKE_EXPRESSION.IS_NEGATIVE",
            )
    return Limit(child, count, offset)


def deduplicate(
    child: Node, names: Sequence[str] | None, settings: Settings, within_watermark: bool = False
) -> Node:
    """``dropDuplicates`` (None: all columns) and ``dropDuplicatesWithinWatermark``; ``distinct`` is the first."""
    scope = Scope(child.output, settings)
    keys: list[Attribute] = []
    for name in names if names is not None else []:
        found = [a for a in child.output if scope.same(a.name, name)]
        if not found:
            listed = ", ".join(a.name for a in child.output)
            raise AnalysisException(
                f'cannot resolve column name "{name}" among ({listed})', "UNRESOLVED_COLUMN_AMONG_FIELD_NAMES"
            )
        keys += found
    keys = list(child.output) if names is None else keys
    refuse_maps(keys)
    return Deduplicate(child, tuple(dict.fromkeys(a.id for a in keys)), within_watermark)


def with_watermark(child: Node, column: str | exp.Expression, delay: str, settings: Settings) -> Node:
    """The column is event time, late by ``delay`` at most (``'10 seconds'``; a month is 31 days, parts of a
    millisecond are cut off). On rows that are not a stream it means nothing."""
    wait = parse_duration(delay).delay
    if wait < 0:
        raise IllegalArgumentException(
            f"requirement failed: delay threshold ({delay}) should not be negative."
        )
    scope = Scope(child.output, settings)
    found = scope.column(name_parts(column)) if isinstance(column, str) else scope.resolve(column)
    shown = column if isinstance(column, str) else pretty(column)
    if not isinstance(found, Ref):
        raise AnalysisException(
            f"the event time in withWatermark must be a top-level column, but {shown!r} is a nested field or an "
            "expression; give it a name in a select before withWatermark",
            "EVENT_TIME_MUST_BE_TOP_LEVEL_COLUMN",
        )
    kind = scope.typed(found).type
    if not isinstance(kind, TimestampType):
        remedy = f"window_time({shown})" if is_window_struct(kind) else f"CAST({shown} AS TIMESTAMP)"
        raise AnalysisException(
            f'the event time `{shown}` has the invalid type "{kind.simpleString().upper()}", but expected '
            f'"TIMESTAMP"; select {remedy} first, under a name of its own',
            "EVENT_TIME_IS_NOT_ON_TIMESTAMP_TYPE",
            {"eventName": f"`{shown}`", "eventType": f'"{kind.simpleString().upper()}"'},
        )
    if not child.streaming:
        return child
    return EventTime(child, found.attribute_id, wait // 1000 * 1000, delay)


def alias(child: Node, name: str) -> Node:
    """The child's columns under ``name``, as ``name.column``."""
    return Alias(child, name)


def observe(child: Node, name: str, items: Sequence[exp.Expression], settings: Settings) -> Node:
    """The rows, and of each batch of them the aggregates ``items``."""
    rows = LocalData(child.output, pa.table({}))
    return Metrics(child, name, aggregate(rows, [], items, settings))


def map_batches(child: Node, function: Any, kind: Literal["pandas", "arrow"], schema: StructType) -> Node:
    """``mapInPandas`` and ``mapInArrow``: ``schema`` is what ``function`` gives."""
    return MapBatches(child, function, kind, attributes(schema))


__all__ = [
    "Grouping", "aggregate", "alias", "attributes", "column", "deduplicate", "drop", "filter_rows", "join", "limit",
    "local", "map_batches", "name_parts", "natural", "observe", "project", "range_", "rename", "rename_all", "scan",
    "set_operation", "sort", "typed", "union", "with_columns", "with_watermark",
]  # fmt: skip
