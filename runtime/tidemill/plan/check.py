"""What a streaming query cannot be: Spark's UnsupportedOperationChecker, before anything starts.

The order of the checks is Spark's, so that a program with two faults is told of the same one first.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from tidemill.errors import AnalysisException
from tidemill.plan.dialect import function_name
from tidemill.plan.expressions import Settings, compile_aggregate, has_window
from tidemill.plan.names import pretty
from tidemill.plan.nodes import (
    Aggregate,
    Attribute,
    Deduplicate,
    EventTime,
    Join,
    Limit,
    Node,
    OutputMode,
    Project,
    Sort,
    Union,
)
from tidemill.plan.pushdown import push_filters
from tidemill.plan.ranges import has_equality, time_bounded, watermark_in_keys
from tidemill.plan.resolve import columns, nodes_of

UNSUPPORTED = "_LEGACY_ERROR_TEMP_3102"
"""Spark's condition for most of these; it has no better name."""
MODE = "STREAMING_OUTPUT_MODE.UNSUPPORTED_OPERATION"

_JOINS = {
    "inner": "Inner", "cross": "Inner", "left": "LeftOuter", "right": "RightOuter", "full": "FullOuter",
    "semi": "LeftSemi", "anti": "LeftAnti",
}  # fmt: skip


def check_streaming(plan: Node, mode: OutputMode, settings: Settings | None = None) -> None:
    """Raises `AnalysisException` if the query cannot run as a stream in this output mode."""
    if not plan.streaming:
        raise AnalysisException(
            "`writeStream` can be called only on streaming Dataset/DataFrame: no source of this query was opened with "
            "readStream; use write instead",
            "WRITE_STREAM_NOT_ALLOWED",
        )
    if not plan.output:
        raise AnalysisException(
            "the rows of this stream have no columns, so there is nothing to write; select at least one",
            "EMPTY_SCHEMA_NOT_SUPPORTED_FOR_DATASOURCE",
        )
    _check_mode(plan, mode)
    _check_watermarks(plan)
    _check_chain(plan, mode)
    for node in _bottom_up(plan):
        if node.streaming:
            _check_node(node, mode, settings or Settings())
    _check_equalities(push_filters(plan))


def _bottom_up(plan: Node) -> Iterator[Node]:
    for child in plan.children:
        yield from _bottom_up(child)
    yield plan


def aggregates_of(plan: Node) -> list[Aggregate]:
    """The streaming aggregations of a plan."""
    return [n for n in plan.walk() if isinstance(n, Aggregate) and n.streaming]


# --- The whole query ------------------------------------------------------------------------------------------------


def _check_mode(plan: Node, mode: OutputMode) -> None:
    aggregations = aggregates_of(plan)
    if mode == "append" and any(all(k.attribute.delay is None for k in a.keys) for a in aggregations):
        raise _mode_error(
            mode,
            "streaming aggregations without watermark",
            "call withWatermark on the event time and group by it or by a window of it, so that groups become final; "
            "or use outputMode('update') or 'complete'",
        )
    if mode == "update" and any(a.session is not None for a in aggregations):
        raise _mode_error(
            mode,
            "session window streaming aggregations",
            "use outputMode('append') or 'complete': sessions merge",
        )
    if mode == "complete" and not aggregations:
        raise _mode_error(
            mode,
            "no streaming aggregations",
            "complete mode writes a whole result table, which only an aggregation has; use outputMode('append')",
        )


def _mode_error(mode: str, what: str, remedy: str) -> AnalysisException:
    return AnalysisException(
        f"Invalid streaming output mode: {mode}. This output mode is not supported for {what} on streaming "
        f"DataFrames/DataSets; {remedy}",
        MODE,
    )


def _check_watermarks(plan: Node) -> None:
    for node in plan.walk():
        if isinstance(node, EventTime) and any(isinstance(n, EventTime) for n in node.child.walk()):
            name = next(a.name for a in node.output if a.id == node.column)
            raise AnalysisException(
                f"Redefining watermark is disallowed: the input of withWatermark({name!r}, {node.text!r}) has a "
                "watermark already; define one per source, before joins and aggregations",
                UNSUPPORTED,
            )


def _stateful(node: Node) -> bool:
    """Whether late rows from below would be dropped by this operator."""
    match node:
        case Aggregate():
            return node.streaming
        case Join(left, right):
            return left.streaming and right.streaming
        case Deduplicate(child, keys, within):
            timed = {a.id for a in child.output if a.delay is not None}
            return child.streaming and (within or bool(timed & set(keys)) or len(keys) == len(child.output))
    return False


def _check_chain(plan: Node, mode: OutputMode) -> None:
    if mode == "append":
        return
    for node in plan.walk():
        if _stateful(node) and any(aggregates_of(c) for c in node.children):
            if isinstance(node, Join) and mode == "complete":
                continue  # refused below by a sentence of its own
            raise AnalysisException(
                "Detected pattern of possible 'correctness' issue due to global watermark: in "
                f"{mode} mode an aggregation gives rows that are older than the watermark, which the "
                f"{_operator(node)} above it would drop as late; use outputMode('append'), or let another query read "
                "the first one's output",
                UNSUPPORTED,
            )


def _operator(node: Node) -> str:
    match node:
        case Aggregate():
            return "aggregation"
        case Join():
            return "stream-stream join"
    return "deduplication"


# --- One operator ---------------------------------------------------------------------------------------------------


def _check_node(node: Node, mode: OutputMode, settings: Settings) -> None:
    match node:
        case Aggregate():
            _check_aggregate(node, settings)
        case Deduplicate(child, _, True) if all(a.delay is None for a in child.output):
            raise _unsupported(
                "dropDuplicatesWithinWatermark is not supported on streaming DataFrames/DataSets without watermark; "
                "call withWatermark first"
            )
        case Join():
            _check_join(node, mode)
        case Union(inputs) if any(not i.streaming for i in inputs):
            raise _unsupported(
                "Union between streaming and batch DataFrames/Datasets is not supported; open both sides with "
                "readStream, or write the batch side once on its own"
            )
        case Sort(child) if not (mode == "complete" and aggregates_of(child)):
            raise _unsupported(
                "Sorting is not supported on streaming DataFrames/Datasets, unless it is on aggregated "
                "DataFrame/Dataset in Complete output mode; a stream has no end to sort up to"
            )
        case Limit():
            _check_limit(node, mode)
        case Project():
            _check_project(node)


def _unsupported(message: str) -> AnalysisException:
    return AnalysisException(message, UNSUPPORTED)


def _check_aggregate(node: Aggregate, settings: Settings) -> None:
    types = columns(node.child.output)
    for item in node.aggregates:
        if item.expression.find(exp.Distinct):
            raise _unsupported(
                "Distinct aggregations are not supported on streaming DataFrames/Datasets. Consider using "
                f"approx_count_distinct() instead of {pretty(item.expression)}"
            )
        spec = compile_aggregate(item.expression, types, settings)
        if not spec.streaming:
            reason = spec.reason or "its state cannot be kept in parts"
            raise _unsupported(
                f"{pretty(item.expression)} is not supported on streaming DataFrames/Datasets: {reason}"
            )


def _check_limit(node: Limit, mode: OutputMode) -> None:
    if node.offset:
        raise _unsupported(
            "Offset is not supported on streaming DataFrames/Datasets; filter the rows instead"
        )
    if mode == "update":
        raise _unsupported(
            "Limits are not supported on streaming DataFrames/Datasets in Update output mode; use append or complete"
        )


def _check_project(node: Project) -> None:
    for item in node.items:
        e = item.expression
        if has_window(e):
            shown = next(pretty(w.this) for w in e.walk() if isinstance(w, exp.Window))
            raise AnalysisException(
                f"Window function is not supported in {shown} (as column `{item.attribute.name}`) on streaming "
                "DataFrames/Datasets. Structured Streaming only supports time-window aggregation using the WINDOW "
                "function: group by window(time, duration)",
                "NON_TIME_WINDOW_NOT_SUPPORTED_IN_STREAMING",
            )
        if any(function_name(n) == "monotonically_increasing_id" for n in nodes_of(e)):
            raise _unsupported(
                "Expression(s): monotonically_increasing_id() is not supported with streaming DataFrames/Datasets; "
                "use uuid(), or the source's own offsets"
            )


# --- Joins ----------------------------------------------------------------------------------------------------------


def _check_join(node: Join, mode: OutputMode) -> None:
    name, left, right = _JOINS[node.how], node.left.streaming, node.right.streaming
    if node.how == "anti" and right:
        raise _unsupported(
            "LeftAnti joins with a streaming DataFrame/Dataset on the right are not supported: rows that may still "
            "come cannot be ruled out; put the stream on the left, or use a left outer join and filter nulls"
        )
    if left and right:
        _check_stream_stream(node, name, mode)
    elif node.how == "full":
        stream, static = ("left", "right") if left else ("right", "left")
        raise _unsupported(
            f"FullOuter joins with streaming DataFrames/Datasets on the {stream} and a static DataFrame/Dataset on the "
            f"{static} is not supported: the end of the stream is never known; use a {stream} outer join"
        )
    elif (node.how in ("left", "semi") and right) or (node.how == "right" and left):
        stream, static = ("right", "left") if right else ("left", "right")
        raise _unsupported(
            f"{name} join with a streaming DataFrame/Dataset on the {stream} and a static DataFrame/Dataset on the "
            f"{static} is not supported: the end of the stream is never known; swap the sides"
        )


def _check_stream_stream(node: Join, name: str, mode: OutputMode) -> None:
    outer = node.how in ("left", "right", "full")
    allowed = ("append",) if outer else ("append", "update")
    if mode not in allowed:
        shown = "only in Append output mode" if outer else "only in Append and Update output modes"
        raise _unsupported(
            f"{name} join between two streaming DataFrames/Datasets is not supported in {mode.capitalize()} output "
            f"mode, {shown}"
        )
    if node.how in ("left", "right", "full", "semi") and not _final(node):
        raise _unsupported(
            f"Stream-stream {name} join between two streaming DataFrame/Datasets is not supported without a watermark "
            "in the join keys, or a watermark on the nullable side and an appropriate range condition, such as "
            "right.time BETWEEN left.time AND left.time + INTERVAL 1 HOUR; without it no row is ever known to have no "
            "match",
        )


def _check_equalities(pushed: Node) -> None:
    """The filters are where they belong by now: a condition in WHERE makes an inner join as well as one in ON."""
    for node in pushed.walk():
        if isinstance(node, Join) and node.left.streaming and node.right.streaming and not has_equality(node):
            raise _unsupported(
                "Stream-stream join without equality predicate is not supported: the two streams' rows are found by "
                "equal keys; add a condition such as left.id = right.id",
            )


def _final(node: Join) -> bool:
    """Whether some watermark tells when a row of the preserved side can have no more matches."""
    if watermark_in_keys(node):
        return True
    left: tuple[Attribute, ...] = node.left.output
    right: tuple[Attribute, ...] = node.right.output
    by_right, by_left = time_bounded(node, left, right), time_bounded(node, right, left)
    match node.how:
        case "left" | "semi":
            return by_right
        case "right":
            return by_left
    return by_right or by_left


__all__ = ["aggregates_of", "check_streaming"]
