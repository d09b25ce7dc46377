"""Filters moved towards the sources, as far as Spark's optimiser moves them.

DuckDB would do as much within a query. What must be done here is what a program can see: a filter that stands above
``withWatermark`` and does not look at its column goes below it, so that the rows it drops do not move the watermark;
the one-sided parts of a join's condition filter that side's input, where the join's kind allows it; and what a filter
says of both sides of an inner join is part of the join's condition, and so bounds what the join has to keep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

from sqlglot import exp

from tidemill.plan.expressions import UdfCall, has_window, is_deterministic, is_generator
from tidemill.plan.nodes import (
    Aggregate,
    Alias,
    EventTime,
    Filter,
    Generate,
    Join,
    LocalData,
    Named,
    Node,
    Project,
    Range,
    Ref,
    Scan,
    TimeWindows,
    Unary,
    Union,
)

Conditions = list[exp.Expression]

_PUSHED_ON = {
    "inner": ("left", "right"), "cross": ("left", "right"), "semi": ("left", "right"), "left": ("right",),
    "right": ("left",), "full": (), "anti": ("right",),
}  # fmt: skip
"""The sides that a one-sided part of the join condition may filter."""
_PUSHED_THROUGH = {
    "inner": ("left", "right"), "cross": ("left", "right"), "semi": ("left",), "anti": ("left",), "left": ("left",),
    "right": ("right",), "full": (),
}  # fmt: skip
"""The sides that a filter above the join may go down."""

_SILENT = (Project, Filter, Alias, Scan, LocalData, Range)
"""Nodes that answer the same wherever a filter stands."""
_DEAR = {"from_json", "from_csv", "from_avro", "from_xml", "schema_of_json", "json_tuple"}
"""Functions that are not worth a second call for the sake of filtering earlier."""


def conjuncts(e: exp.Expression | None) -> Conditions:
    """The parts of a conjunction.

    >>> from sqlglot import parse_one
    >>> [c.sql() for c in conjuncts(parse_one("a AND (b AND c OR d)"))]
    ['a', 'b AND c OR d']
    """
    if e is None:
        return []
    bare: Any = e.unnest()
    if isinstance(bare, exp.Between) and is_deterministic(bare):
        # Two comparisons, each of which may bound an event time.
        low, high = bare.args["low"], bare.args["high"]
        return [
            exp.GTE(this=bare.this.copy(), expression=low.copy()),
            exp.LTE(this=bare.this.copy(), expression=high.copy()),
        ]
    return conjuncts(bare.this) + conjuncts(bare.expression) if isinstance(bare, exp.And) else [bare]


def conjunction(parts: Sequence[exp.Expression]) -> exp.Expression | None:
    """The parts as one condition; None for none."""
    wrapped: list[exp.Expression] = [exp.Paren(this=p.copy()) for p in parts]
    return reduce(lambda a, b: exp.And(this=a, expression=b), wrapped) if wrapped else None


def references(e: exp.Expression) -> set[int]:
    """Ids of the attributes that an expression reads."""
    return {r.attribute_id for r in e.find_all(Ref)}


def push_filters(node: Node) -> Node:
    """The same plan with its filters as low as they may go."""
    return _push(node, [])


def _push(node: Node, conditions: Conditions) -> Node:
    """``node`` filtered by ``conditions``, each deterministic and over ``node``'s output."""
    match node:
        case Filter():
            parts = conjuncts(node.condition)
            if all(is_deterministic(p) for p in parts):
                return _push(node.child, [*conditions, *parts])
            return _filtered(replace(node, child=_push(node.child, [])), conditions)
        case Alias():
            return replace(node, child=_push(node.child, conditions))
        case EventTime():
            return _through(node, conditions, lambda c: c if node.column not in references(c) else None)
        case Project():
            inlined = _inlined(node.items)
            if all(isinstance(n, _SILENT) for n in node.child.walk()):
                return _through(node, conditions, lambda c: _unless_dear(inlined(c)))
            return _through(node, conditions, inlined)
        case TimeWindows():
            return _through(node, conditions, lambda c: c if node.made.id not in references(c) else None)
        case Generate():
            made = {a.id for a in node.made}
            return _through(node, conditions, lambda c: c if not made & references(c) else None)
        case Aggregate():
            keys = [
                k for k in node.keys if node.session is None or k.attribute.id != node.session.attribute.id
            ]
            inlined = _inlined(keys)
            return _through(node, conditions, lambda c: inlined(c) if references(c) else None)
        case Union():
            return replace(node, inputs=tuple(_push(i, _for_input(node, i, conditions)) for i in node.inputs))
        case Join():
            return _join(node, conditions)
        case Unary():
            return _filtered(replace(node, child=_push(node.child, [])), conditions)
    return _filtered(node, conditions)


def _filtered(node: Node, conditions: Conditions) -> Node:
    condition = conjunction(conditions)
    return node if condition is None else Filter(node, condition)


def _through(
    node: Unary, conditions: Conditions, below: Callable[[exp.Expression], exp.Expression | None]
) -> Node:
    """Push what ``below`` can say over the child's output; the rest stays above."""
    said = [(c, below(c)) for c in conditions]
    down = [b for _, b in said if b is not None]
    return _filtered(replace(node, child=_push(node.child, down)), [c for c, b in said if b is None])


def _inlined(items: Sequence[Named]) -> Callable[[exp.Expression], exp.Expression | None]:
    """Rewrites a condition over the items' attributes into one over what they are computed from."""
    by_id = {i.attribute.id: i.expression for i in items if _movable(i.expression)}

    def rewrite(condition: exp.Expression) -> exp.Expression | None:
        return substituted(condition, by_id) if references(condition) <= by_id.keys() else None

    return rewrite


def _unless_dear(condition: exp.Expression | None) -> exp.Expression | None:
    """None for a condition that would parse texts once more, or call a user's function."""
    if condition is None or condition.find(UdfCall):
        return None
    names = {str(call.this).lower() for call in condition.find_all(exp.Anonymous)}
    return None if names & _DEAR else condition


def _movable(e: exp.Expression) -> bool:
    return is_deterministic(e) and not has_window(e) and not is_generator(e)


def substituted(e: exp.Expression, by_id: Mapping[int, exp.Expression]) -> exp.Expression:
    """``e`` with its references replaced."""

    def swap(node: exp.Expression) -> exp.Expression:
        stands_for = by_id.get(node.attribute_id) if isinstance(node, Ref) else None
        if stands_for is None:
            return node
        found: Any = stands_for.unalias()
        return found.copy() if isinstance(found, Ref) else exp.Paren(this=found.copy())

    return e.copy().transform(swap)


def _for_input(node: Union, child: Node, conditions: Conditions) -> Conditions:
    same = {a.id: b.ref() for a, b in zip(node.attributes, child.output, strict=True)}
    return [substituted(c, same) for c in conditions]


def _join(node: Join, conditions: Conditions) -> Node:
    sides = {"left": {a.id for a in node.left.output}, "right": {a.id for a in node.right.output}}
    down: dict[str, Conditions] = {"left": [], "right": []}

    def place(parts: Conditions, allowed: Sequence[str]) -> Conditions:
        """Give each part to a side that it is all about; what no side may take is left."""
        left_over: Conditions = []
        for part in parts:
            used = references(part)
            side = next((s for s in allowed if used and used <= sides[s] and is_deterministic(part)), None)
            (down[side] if side else left_over).append(part)
        return left_over

    above = place(conditions, _PUSHED_THROUGH[node.how])
    on = place(conjuncts(node.condition), _PUSHED_ON[node.how])
    if node.how in ("inner", "cross"):
        # ``FROM a, b WHERE a.k = b.k`` is an inner join on the keys.
        on, above = [*on, *(a for a in above if references(a))], [a for a in above if not references(a)]
    joined = replace(
        node,
        left=_push(node.left, down["left"]),
        right=_push(node.right, down["right"]),
        condition=conjunction(on),
        how="inner" if node.how == "cross" and on else node.how,
    )
    return _filtered(joined, above)
