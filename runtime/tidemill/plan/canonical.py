"""A plan as plain data that does not depend on the process that built it, and as text for people.

``canonical`` is what the checkpoint compares: attribute ids are counted in the order in which they are met, live
objects and table aliases are left out, and user functions stand by name and type. Two programs that are written
differently but mean the same nodes give the same form.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlglot import exp

from tidemill.plan.compiler import UdfCall
from tidemill.plan.names import pretty
from tidemill.plan.nodes import (
    Aggregate,
    Alias,
    Attribute,
    Deduplicate,
    EventTime,
    Filter,
    Generate,
    Join,
    Limit,
    LocalData,
    MapBatches,
    Named,
    Node,
    Order,
    Project,
    Range,
    Ref,
    Scan,
    Session,
    Sort,
    TimeWindows,
    Union,
)
from tidemill.types import DataType, StructType

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


# --- For people -----------------------------------------------------------------------------------------------------


def describe(node: Node) -> str:
    """The plan as an indented tree, one operator a line, as ``explain`` prints it."""
    return "\n".join(_lines(node, "", ""))


def _lines(node: Node, first: str, rest: str) -> list[str]:
    lines = [first + _line(node)]
    for i, child in enumerate(node.children):
        last = i == len(node.children) - 1
        lines += _lines(child, rest + "+- " if last else rest + ":- ", rest + "   " if last else rest + ":  ")
    return lines


def _line(node: Node) -> str:
    match node:
        case Scan(format=format, name=name):
            kind = "StreamingScan" if node.streaming else "Scan"
            return f"{kind} {format}{f' {name}' if name else ''} {_names(node.output)}"
        case LocalData():
            return f"LocalData {_names(node.output)}"
        case Range(_, start, end, step):
            return f"Range ({start}, {end}, step={step}) {_names(node.output)}"
        case Project(_, items):
            return f"Project [{', '.join(map(_named, items))}]"
        case Filter(_, condition):
            return f"Filter {pretty(condition)}"
        case Generate(_, expression, made, outer):
            return f"Generate {'outer ' if outer else ''}{pretty(expression)} {_names(made)}"
        case TimeWindows():
            slide = f", slide {_seconds(node.slide)}" if node.slide != node.length else ""
            offset = f", start {_seconds(node.offset)}" if node.offset else ""
            return f"TimeWindows {pretty(node.time)}, length {_seconds(node.length)}{slide}{offset} [{_one(node.made)}]"
        case EventTime():
            name = next(_one(a) for a in node.output if a.id == node.column)
            return f"EventTimeWatermark {name}, {node.text or _seconds(node.delay)}"
        case Alias(_, name):
            return f"SubqueryAlias {name}"
        case MapBatches(_, function, kind, made):
            return f"MapIn{kind.capitalize()} {getattr(function, '__name__', 'function')} {_names(made)}"
        case Aggregate():
            keys, calls = (", ".join(map(_named, items)) for items in (node.keys, node.aggregates))
            session = (
                f", session of {pretty(node.session.time)} by {pretty(node.session.gap)}"
                if node.session
                else ""
            )
            return f"Aggregate [{keys}], [{calls}]{session}"
        case Deduplicate(child, keys, within):
            kept = [a for a in child.output if a.id in keys]
            return f"Deduplicate{'WithinWatermark' if within else ''} {_names(kept)}"
        case Join(how=how, condition=condition):
            on = f", {pretty(condition)}" if condition is not None else ""
            return f"Join {how}{on}"
        case Union():
            return f"Union {_names(node.output)}"
        case Sort(_, orders):
            return f"Sort [{', '.join(map(_order, orders))}]"
        case Limit(_, count, offset):
            return f"Limit {count if count >= 0 else 'all'}{f' offset {offset}' if offset else ''}"
    return type(node).__name__


def _one(a: Attribute) -> str:
    return f"{a.name}#{a.id}"


def _names(attributes: Sequence[Attribute]) -> str:
    return f"[{', '.join(map(_one, attributes))}]"


def _named(item: Named) -> str:
    e = item.expression
    if isinstance(e, Ref) and e.attribute_id == item.attribute.id:
        return _one(item.attribute)
    shown = (
        "session" if isinstance(e, exp.Null) and isinstance(item.attribute.type, StructType) else pretty(e)
    )
    return f"{shown} AS {_one(item.attribute)}"


def _order(order: Order) -> str:
    direction = "DESC" if order.descending else "ASC"
    return f"{pretty(order.expression)} {direction} NULLS {'FIRST' if order.nulls_first else 'LAST'}"


def _seconds(microseconds: int) -> str:
    return f"{microseconds / 1_000_000:g} s"
