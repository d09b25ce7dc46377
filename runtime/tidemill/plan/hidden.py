"""Columns that a projection has dropped and Spark still finds: for WHERE, ORDER BY and the keys of USING joins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from tidemill.plan.nodes import (
    Alias,
    Attribute,
    EventTime,
    Filter,
    Generate,
    Join,
    Limit,
    Named,
    Node,
    Project,
    Ref,
    Sort,
    TimeWindows,
)


def using_leftovers(node: Node) -> tuple[Attribute, ...]:
    """The keys of a USING join that it does not show: those of the other side."""
    while isinstance(node, (Filter, Sort, Limit, EventTime)):
        node = node.child
    if not (isinstance(node, Project) and isinstance(node.child, Join)):
        return ()
    kept = {a.id for a in node.output}
    left_out = tuple(a for a in node.child.output if a.id not in kept)
    # A projection that leaves out more than keys is a select of the user's, which hides what it does not name.
    return left_out if {a.id for a in left_out} <= _compared(node.child.condition) else ()


def _compared(condition: exp.Expression | None) -> set[int]:
    """The columns that a join condition compares for equality with one of the other side."""
    found: set[int] = set()
    for equal in condition.find_all(exp.EQ) if condition is not None else ():
        if isinstance(equal.this, Ref) and isinstance(equal.expression, Ref):
            found |= {equal.this.attribute_id, equal.expression.attribute_id}
    return found


def dropped(node: Node) -> tuple[Attribute, ...]:
    """What projections right below ``node`` have left out, nearest first."""
    kept = {a.id for a in node.output}
    found: list[Attribute] = []
    while isinstance(node, (Project, Filter, Sort, Alias, EventTime, TimeWindows, Generate)):
        named = {a.name.lower() for a in found}
        below = node.child.output
        if isinstance(node, Alias):
            break
        found += [a for a in below if a.id not in kept and a.name.lower() not in named]
        kept |= {a.id for a in below}
        node = node.child
    return tuple(found)


def expose(node: Node, wanted: set[int]) -> Node:
    """``node`` with the attributes ``wanted``, which exist below its projections, at the end of its output."""
    missing = wanted - {a.id for a in node.output}
    if not missing:
        return node
    if isinstance(node, Project):
        child = expose(node.child, missing)
        more = tuple(Named(a, a.ref()) for a in child.output if a.id in missing)
        return replace(node, child=child, items=(*node.items, *more))
    if isinstance(node, (Filter, Sort, EventTime, Limit, TimeWindows, Generate, Alias)):
        return replace(node, child=expose(node.child, missing))
    return node


def narrowed(node: Node, attributes: Sequence[Attribute]) -> Node:
    """``node`` with just these columns of its output."""
    if [a.id for a in node.output] == [a.id for a in attributes]:
        return node
    return Project(node, tuple(Named(a, a.ref()) for a in attributes))
