"""Incrementalisation: a streaming plan cut at its stateful operators into stages.

The tree is walked once. A node that needs a stage of its own (a watermark to observe, an operator with state) becomes
a leaf of the fragment above it; everything between two such nodes is one DuckDB query.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
from sqlglot import exp

from tidemill.plan.expressions import Settings, is_deterministic
from tidemill.plan.grouping import group_stage, session_stage
from tidemill.plan.joining import join_stage
from tidemill.plan.nodes import (
    Aggregate,
    Attribute,
    Deduplicate,
    EventTime,
    Filter,
    Join,
    Limit,
    MapBatches,
    Metrics,
    Node,
    OutputMode,
    Project,
    Scan,
    Sort,
)
from tidemill.plan.physical import Relation, arrow_fields, column
from tidemill.plan.stages import (
    Distinct,
    Fragment,
    Input,
    Mapped,
    Measured,
    Observe,
    Operator,
    Pass,
    QueryPlan,
    Stage,
    Take,
    Times,
    WatermarkOf,
)
from tidemill.types import StructType


@dataclass
class Split:
    """The plan of a query, its sources and its static relations, which the caller provides with rows."""

    plan: QueryPlan
    sources: tuple[Scan, ...]
    statics: tuple[Node, ...]
    """Plans that do not stream; each is computed once, before the first batch, and again when it is refreshed."""


@dataclass
class Splitter:
    """State of one walk."""

    settings: Settings
    mode: OutputMode
    stages: list[Stage] = field(default_factory=list)
    sources: list[Scan] = field(default_factory=list)
    statics: list[Node] = field(default_factory=list)
    watermarks: list[tuple[int, str]] = field(default_factory=list)
    leaves: dict[int, Input] = field(default_factory=dict)
    """By ``id()`` of the node: the relation that stands for it in the fragments above."""
    marks: dict[int, WatermarkOf | None] = field(default_factory=dict)
    """By ``id()`` of the node: the watermark of its rows."""
    operators: int = 0

    def visit(self, node: Node) -> WatermarkOf | None:
        """Give stages to everything at and below ``node`` that needs one; the watermark of ``node``'s rows."""
        if id(node) not in self.marks:
            self.marks[id(node)] = self._visit(node)
        return self.marks[id(node)]

    def _visit(self, node: Node) -> WatermarkOf | None:
        if not node.streaming:
            self.leaf(node, "static", len(self.statics))
            self.statics.append(node)
            return None
        below = [m for m in map(self.visit, node.children) if m is not None]
        mark = WatermarkOf(min(m.shift for m in below)) if below else None
        match node:
            case Scan():
                self.leaf(node, "source", len(self.sources))
                self.sources.append(node)
            case EventTime():
                mark = WatermarkOf()
                self.watermarks.append((node.delay, node.text))
                observe = Observe(f"c{node.column}", len(self.watermarks) - 1, node.delay)
                self.add(node, (self.fragment(node.child),), observe, mark)
            case Aggregate():
                make = session_stage if node.session else group_stage
                fragment, operator = make(self, node)
                self.add(node, (fragment,), operator, mark, no_data=self.mode != "complete")
            case Deduplicate():
                self.add(node, *self.distinct(node), mark, no_data=True)
            case Join() if node.left.streaming and node.right.streaming:
                return join_stage(self, node, mark)
            case MapBatches(child):
                made = Mapped(node.function, names_of(child), names_of(node))
                self.add(node, (self.fragment(child),), made, mark)
            case Metrics(child):
                self.add(node, (self.fragment(child),), self.measured(node), mark)
            case Limit() if self.mode == "append" or not _aggregates(node):
                self.add(node, (self.fragment(node.child),), self.take(node), mark)
        return mark

    def take(self, node: Limit) -> Take:
        return Take(self.next_id(), (f"{node.count} rows after {node.offset}",), node.count, node.offset)

    def measured(self, node: Metrics) -> Measured:
        relation = Relation(self.settings, {id(node.rows): "rows"})
        sql, schema = relation.sql(node.figures), pa.schema(arrow_fields(node.figures.output))
        query = Fragment(sql, (), schema, tuple(relation.functions.values()))
        return Measured(node.name, query, names_of(node.figures))

    def next_id(self) -> str:
        self.operators += 1
        return f"op{self.operators - 1}"

    def leaf(self, node: Node, kind: str, index: int) -> None:
        names = tuple(column(a) for a in node.output)
        self.leaves[id(node)] = Input(f"{kind}{index}", kind, index, names)  # type: ignore[arg-type]

    def add(
        self,
        node: Node,
        fragments: tuple[Fragment, ...],
        operator: Operator,
        watermark: WatermarkOf | None,
        no_data: bool = False,
    ) -> None:
        """A stage that computes ``node``."""
        schema = pa.schema(arrow_fields(node.output))
        self.stages.append(Stage(len(self.stages), fragments, operator, watermark, schema, no_data))
        self.leaf(node, "stage", len(self.stages) - 1)

    def relation(self) -> Relation:
        return Relation(self.settings, {key: leaf.relation for key, leaf in self.leaves.items()})

    def fragment(self, node: Node) -> Fragment:
        """The query that computes ``node`` from the leaves below it."""
        relation = self.relation()
        names = ", ".join(column(a) for a in node.output)
        sql = f"SELECT {names} FROM ({relation.sql(node)})"
        made = self.finished(relation, sql, arrow_fields(node.output), node)
        return replace(made, plain=id(node) in self.leaves)

    def finished(
        self, relation: Relation, sql: str, fields: Sequence[tuple[str, object]], node: Node
    ) -> Fragment:
        schema = pa.schema(fields)
        return Fragment(sql, self.inputs(node), schema, tuple(relation.functions.values()))

    def inputs(self, node: Node) -> tuple[Input, ...]:
        """The nearest leaves at or below ``node``, each once."""
        if id(node) in self.leaves:
            return (self.leaves[id(node)],)
        found = [i for child in node.children for i in self.inputs(child)]
        return tuple(dict.fromkeys(found))

    def above_leaves(self, node: Node) -> Iterator[Node]:
        """``node`` and what is below it, down to the nearest leaves."""
        if id(node) not in self.leaves:
            yield node
            for child in node.children:
                yield from self.above_leaves(child)

    def distinct(self, node: Deduplicate) -> tuple[tuple[Fragment, ...], Distinct]:
        relation = self.relation()
        attributes = {a.id: a for a in node.output}
        keys = [f"c{k}" for k in node.keys]
        timed = next((a for a in node.output if a.delay is not None), None)
        late = time_column(timed)
        if node.within_watermark:
            expiry = f"{late} + {timed.delay}" if timed else "NULL"
        else:
            expiry = time_column(
                next((attributes[k] for k in node.keys if attributes[k].delay is not None), None)
            )
        names = ", ".join(column(a) for a in node.output)
        sql = (
            f"SELECT {names}, hash({', '.join(keys)}) AS _hash, ({late})::BIGINT AS _late, "
            f"({expiry})::BIGINT AS _expiry FROM ({relation.sql(node.child)})"
        )
        fields = [*arrow_fields(node.output), *HIDDEN]
        fragment = self.finished(relation, sql, fields, node.child)
        times = Times("_late" if timed else None, "_expiry" if expiry != "NULL" else None)
        what = (
            "within the watermark" if node.within_watermark else "for ever",
            *(attributes[k].name for k in node.keys),
        )
        shown = tuple(column(a) for a in node.output)
        return (fragment,), Distinct(self.next_id(), what, tuple(keys), shown, times)


def names_of(node: Node) -> tuple[str, ...]:
    return tuple(a.name for a in node.output)


HIDDEN: list[tuple[str, object]] = [("_hash", pa.uint64()), ("_late", pa.int64()), ("_expiry", pa.int64())]
"""Columns that operators with state find beside those of the plan."""


def time_column(attribute: Attribute | None, name: str | None = None) -> str:
    """SQL for an event-time attribute in microseconds: a window counts by its end. ``NULL`` for no attribute."""
    if attribute is None:
        return "NULL"
    name = name or column(attribute)
    return f'epoch_us({name}."end")' if isinstance(attribute.type, StructType) else f"epoch_us({name})"


def _aggregates(node: Node) -> bool:
    """Whether the rows of ``node`` come from a streaming aggregation: in complete mode each batch has all of them, and
    a limit then counts from the start."""
    return any(isinstance(n, Aggregate) and n.streaming for n in node.walk())


def expressions_of(node: Node) -> list[exp.Expression]:
    """Every expression in a node, children's not included."""
    match node:
        case Project():
            return [i.expression for i in node.items]
        case Filter():
            return [node.condition]
        case Aggregate():
            return [i.expression for i in (*node.keys, *node.aggregates)]
        case Join():
            return [node.condition] if node.condition is not None else []
    return []


def split(node: Node, mode: OutputMode, settings: Settings) -> Split:
    """The stages of a checked streaming plan."""
    splitter = Splitter(settings, mode)
    mark = splitter.visit(node)
    output = splitter.fragment(node)
    whole = any(isinstance(n, Sort | Limit) for n in splitter.above_leaves(node))
    splitter.stages.append(Stage(len(splitter.stages), (output,), Pass(), mark, output.schema, whole=whole))
    plan = QueryPlan(
        stages=tuple(splitter.stages),
        names=tuple(a.name for a in node.output),
        sources=len(splitter.sources),
        statics=len(splitter.statics),
        watermarks=tuple(splitter.watermarks),
        mode=mode,
        deterministic=all(is_deterministic(e) for n in node.walk() for e in expressions_of(n)),
    )
    return Split(plan, tuple(splitter.sources), tuple(splitter.statics))
