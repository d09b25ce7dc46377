"""A subtree under new identities, as the right side of a self-join needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any

from sqlglot import exp

from tidemill.plan.nodes import Attribute, Deduplicate, EventTime, Named, Node, Ref

Renewals = dict[int, int]


def renewed(node: Node, ids: Iterable[int]) -> Node:
    """``node`` with every attribute in ``ids`` under a new id, wherever in the subtree it is made or read."""
    mapping = {i: Attribute("", _ANY).id for i in sorted(ids)}
    return _node(node, mapping)


_ANY: Any = None


def _node(node: Node, mapping: Renewals) -> Node:
    changes = {f.name: _value(getattr(node, f.name), mapping) for f in fields(node)}
    if isinstance(node, EventTime):
        changes["column"] = mapping.get(node.column, node.column)
    if isinstance(node, Deduplicate):
        changes["keys"] = tuple(mapping.get(k, k) for k in node.keys)
    return replace(node, **changes)


def _value(value: Any, mapping: Renewals) -> Any:
    """A field of a node, renewed; whatever holds no attributes is given back as it is."""
    if isinstance(value, Node):
        return _node(value, mapping)
    if isinstance(value, Attribute):
        return replace(value, id=mapping[value.id], twin=value.id) if value.id in mapping else value
    if isinstance(value, exp.Expression):
        return expression(value, mapping)
    if isinstance(value, Named) or type(value).__name__ in ("Session", "Order"):
        return replace(value, **{f.name: _value(getattr(value, f.name), mapping) for f in fields(value)})
    if isinstance(value, tuple):
        return tuple(_value(v, mapping) for v in value)
    return value


def expression(e: exp.Expression, mapping: Renewals) -> exp.Expression:
    """A copy of ``e`` that reads the new attributes."""

    def point(node: exp.Expression) -> exp.Expression:
        if isinstance(node, Ref) and node.attribute_id in mapping:
            made = Ref(this=node.this, id=mapping[node.attribute_id])
            made.meta.update(node.meta)
            return made
        return node

    return e.transform(point)
