"""A plan as plain data that does not depend on the process that built it.

Attribute ids are counted in the order in which they are met, live
objects and table aliases are left out, and user functions stand by name and type. Two programs that are written
differently but mean the same nodes give the same form.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from sqlglot import exp

from tidemill.plan.compiler import UdfCall
from tidemill.plan.nodes import (
    Aggregate,
    Alias,
    Attribute,
    LocalData,
    MapBatches,
    Named,
    Node,
    Order,
    Ref,
    Session,
)
from tidemill.types import DataType

Json = Any
"""None, a boolean, a number, a text, a list or a dict of these."""


def canonical(node: Node) -> dict[str, Json]:
    """The plan as JSON-able data, the same in every process."""
    return _Canonical().node(node)


def fingerprint(node: Node) -> str:
    """A short hash of the canonical form."""
    text = json.dumps(canonical(node), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class _Canonical:
    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}

    def number(self, attribute_id: int) -> int:
        return self.numbers.setdefault(attribute_id, len(self.numbers) + 1)

    def node(self, node: Node) -> dict[str, Json]:
        if isinstance(node, Alias):
            return self.node(node.child)
        children = [self.node(c) for c in node.children]
        made: dict[str, Json] = {"node": type(node).__name__}
        for f in fields(node):
            value = getattr(node, f.name)
            if isinstance(value, Node) or not f.compare or f.name in ("inputs",):
                continue
            made[f.name] = self.value(
                value, ids=f.name in ("keys", "column") and not isinstance(node, Aggregate)
            )
        if isinstance(node, (LocalData, MapBatches)):
            made["schema"] = node.schema.simpleString()
        if children:
            made["children"] = children
        return made

    def value(self, value: Any, ids: bool = False) -> Json:
        match value:
            case Attribute():
                return self.attribute(value)
            case Named(attribute, expression):
                # The expression first: what it reads was met before what it makes.
                read = self.expression(expression)
                return {"of": read, "as": self.attribute(attribute)}
            case Order() | Session():
                return {f.name: self.value(getattr(value, f.name)) for f in fields(value)}
            case exp.Expression():
                return self.expression(value)
            case DataType():
                return value.simpleString()
            case bool() | None | str():
                return value
            case int():
                return self.number(value) if ids else value
            case tuple() | list():
                return [self.value(v, ids) for v in value]
            case Mapping():
                return {str(k): self.value(v) for k, v in value.items()}
        return str(value)

    def attribute(self, a: Attribute) -> Json:
        made: list[Json] = [self.number(a.id), a.name, a.type.simpleString(), a.nullable]
        return [*made, a.delay] if a.delay is not None else made

    def expression(self, e: exp.Expression) -> Json:
        match e:
            case Ref():
                return {"ref": self.number(e.attribute_id)}
            case exp.Paren():
                return self.expression(e.this)
            case UdfCall():
                udf = e.args["udf"]
                kind = udf.return_type.simpleString()
                return {
                    "udf": [udf.name, udf.kind, kind],
                    "args": [self.expression(a) for a in e.expressions],
                }
            case exp.Anonymous():
                return {"call": str(e.this).lower(), "args": [self.expression(a) for a in e.expressions]}
            case exp.Literal():
                return {"text": str(e.this)} if e.is_string else {"number": str(e.this)}
            case exp.Identifier():
                return {"name": e.name}
        parts = {
            k: self._part(v)
            for k, v in sorted(e.args.items())
            if v is not None and v is not False and v != []
        }
        return {type(e).__name__: parts}

    def _part(self, value: Any) -> Json:
        if isinstance(value, exp.Expression):
            return self.expression(value)
        if isinstance(value, list):
            return [self._part(v) for v in value]
        return value if isinstance(value, (bool, int, str)) else str(value)
