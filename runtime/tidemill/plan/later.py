"""Aggregate calls in a filter or sort right above an aggregation, as ``df.groupBy('k').count().filter('sum(x) > 1')``
has them: Spark computes them in that aggregation, and so does this."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from tidemill.plan.expressions import Settings, compile_aggregate, has_aggregate
from tidemill.plan.groups import is_call, normal
from tidemill.plan.names import pretty
from tidemill.plan.nodes import Aggregate, Attribute, Filter, Named, Node, Project, Sort
from tidemill.plan.resolve import Scope


def with_calls_below(child: Node, e: exp.Expression, settings: Settings) -> tuple[Node, exp.Expression]:
    """``child`` with the aggregate calls of ``e`` among its aggregation's, and ``e`` with references to them."""
    below = _aggregation(child)
    if below is None or not has_aggregate(e):
        return child, e
    scope = Scope.over(below.child, settings)
    calls = list(below.aggregates)

    def point(node: exp.Expression) -> exp.Expression:
        if not is_call(node):
            return node
        call = scope.resolve(node)
        for known in calls:
            if normal(known.expression) == normal(call):
                return known.attribute.ref()
        spec = compile_aggregate(call, scope.types(), settings)
        made = Named(Attribute(pretty(call), spec.type, spec.nullable), call)
        calls.append(made)
        return made.attribute.ref()

    pointed = e.transform(point)
    return _replaced(child, below, replace(below, aggregates=tuple(calls))), pointed


def _aggregation(node: Node) -> Aggregate | None:
    while isinstance(node, (Project, Filter, Sort)):
        node = node.child
    return node if isinstance(node, Aggregate) else None


def _replaced(node: Node, old: Aggregate, new: Aggregate) -> Node:
    if node is old:
        return new
    assert isinstance(node, (Project, Filter, Sort))
    return replace(node, child=_replaced(node.child, old, new))
