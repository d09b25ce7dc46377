"""Rows without columns, as ``df.select()`` makes them: neither DuckDB nor Arrow counts those, so they get a column."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
from sqlglot import exp

from tidemill.plan.hidden import narrowed
from tidemill.plan.nodes import Attribute, Deduplicate, Join, LocalData, Named, Node, Project, Unary, Union
from tidemill.types import IntegerType


def held(node: Node) -> Node:
    """The plan with a hidden column wherever there is none; the same plan if there is no such place."""
    if all(n.output for n in node.walk()):
        return node
    match node:
        case LocalData(rows=rows) if not node.attributes:
            return LocalData((_nothing(),), pa.table({"": pa.nulls(rows.num_rows, pa.int32())}))
        case Project(child, items):
            return Project(held(child), items or (Named(_nothing(), exp.Literal.number(1)),))
        case Union():
            return _union(node)
        case Join():
            return replace(node, left=held(node.left), right=held(node.right))
        case Deduplicate(child, keys):
            below = held(child)
            return replace(node, child=below, keys=keys or (below.output[0].id,))
        case Unary():
            return replace(node, child=held(node.child))
    return node


def _union(node: Union) -> Node:
    inputs = tuple(held(i) for i in node.inputs)
    if node.attributes:
        return replace(node, inputs=inputs)
    return Union(tuple(narrowed(i, i.output[:1]) for i in inputs), (_nothing(),))


def _nothing() -> Attribute:
    return Attribute("", IntegerType(), False)
