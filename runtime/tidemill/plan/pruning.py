"""Columns that nothing above reads are taken out, down to the sources, which then need not decode them.

A pruned `Scan` has fewer attributes than its source has columns: whoever reads it selects them by name. Rows never
change, nor do they change in number. State of streaming operators keeps its shape whatever is read above it, so that a
restarted query may select more of what an operator gives: aggregates of a stream all stay, and so do the columns on
both sides of a stream-stream join.
"""

from __future__ import annotations

from dataclasses import replace

from tidemill.plan.hidden import narrowed
from tidemill.plan.nodes import (
    Aggregate,
    Deduplicate,
    EventTime,
    Filter,
    Generate,
    Join,
    MapBatches,
    Metrics,
    Node,
    Project,
    Scan,
    Sort,
    TimeWindows,
    Unary,
    Union,
)
from tidemill.plan.resolve import refs


def prune(node: Node) -> Node:
    """The same rows and columns from a plan that carries no column in vain."""
    return _pruned(node, {a.id for a in node.output})


def _pruned(node: Node, wanted: set[int]) -> Node:
    """``node`` with at least the columns ``wanted`` of its output, and no more than it takes."""
    match node:
        case Scan():
            kept = tuple(a for a in node.attributes if a.id in wanted)
            # A row without columns cannot be counted.
            return replace(node, attributes=kept or node.attributes[:1], whole=node.whole or node.schema)
        case Project(child, items):
            left = tuple(i for i in items if i.attribute.id in wanted) or items[:1]
            needed = set().union(*(refs(i.expression) for i in left)) if left else set()
            return Project(_pruned(child, needed), left)
        case Aggregate():
            return _aggregate(node, wanted)
        case MapBatches():
            return replace(node, child=prune(node.child))
        case Join():
            return _join(node, wanted)
        case Union():
            return _union(node, wanted)
        case Unary():
            return replace(node, child=_pruned(node.child, (wanted - _made(node)) | _read(node)))
    return node


def _made(node: Node) -> set[int]:
    match node:
        case Generate():
            return {a.id for a in node.made}
        case TimeWindows():
            return {node.made.id}
    return set()


def _read(node: Node) -> set[int]:
    """What a node reads of its child besides what it hands on."""
    match node:
        case Filter():
            return refs(node.condition)
        case Generate():
            return refs(node.expression)
        case TimeWindows():
            return refs(node.time)
        case EventTime():
            return {node.column}
        case Deduplicate():
            return set(node.keys)
        case Sort():
            return set().union(*(refs(o.expression) for o in node.orders))
        case Metrics(_, _, figures):
            made = [n for n in figures.walk() if isinstance(n, (Project, Aggregate))]
            items = [i for n in made for i in (n.items if isinstance(n, Project) else n.aggregates)]
            return set().union(*(refs(i.expression) for i in items))
    return set()


def _aggregate(node: Aggregate, wanted: set[int]) -> Node:
    calls = node.aggregates
    if not node.streaming:
        calls = tuple(c for c in calls if c.attribute.id in wanted)
        if not calls and not node.keys:
            calls = node.aggregates[:1]
    needed = set().union(*(refs(i.expression) for i in (*node.keys, *calls)))
    if node.session is not None:
        needed |= refs(node.session.time) | refs(node.session.gap)
    return replace(node, child=_pruned(node.child, needed), aggregates=calls)


def _join(node: Join, wanted: set[int]) -> Node:
    if node.left.streaming and node.right.streaming:
        return replace(node, left=prune(node.left), right=prune(node.right))
    needed = wanted | (refs(node.condition) if node.condition is not None else set())
    left = _pruned(node.left, needed & {a.id for a in node.left.output})
    right = _pruned(node.right, needed & {a.id for a in node.right.output})
    return replace(node, left=left, right=right)


def _union(node: Union, wanted: set[int]) -> Node:
    places = [i for i, a in enumerate(node.attributes) if a.id in wanted] or [0]
    inputs = []
    for child in node.inputs:
        kept = [child.output[i] for i in places]
        inputs.append(narrowed(_pruned(child, {a.id for a in kept}), kept))
    return Union(tuple(inputs), tuple(node.attributes[i] for i in places))
