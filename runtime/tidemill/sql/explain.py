"""Plans as ``explain()`` prints them: one line per node, children indented."""

from __future__ import annotations

from typing import Any

from sqlglot import exp

from tidemill.plan import nodes
from tidemill.plan.nodes import Attribute, Named, Node, Ref


def explain(plan: Node) -> str:
    """The logical plan as text. A column is shown as ``name#id``."""
    return "\n".join(["== Logical Plan ==", *_lines(plan, "", "")])


def _lines(node: Node, first: str, rest: str) -> list[str]:
    lines = [f"{first}{_line(node)}"]
    for number, child in enumerate(node.children):
        last = number == len(node.children) - 1
        lines += _lines(child, f"{rest}{'+- ' if last else ':- '}", f"{rest}{'   ' if last else ':  '}")
    return lines


def _line(node: Node) -> str:
    text = f"{type(node).__name__}{_detail(node)}"
    return f"{text} (streaming)" if node.streaming and not node.children else text


def _detail(node: Node) -> str:
    match node:
        case nodes.Scan():
            shown = [
                f"{k}={v}" for k, v in node.options if k.lower() in ("path", "subscribe", "topic", "assign")
            ]
            return f" {node.format}{' ' + ', '.join(shown) if shown else ''} {_attributes(node.output)}"
        case nodes.Project():
            return f" [{', '.join(map(_named, node.items))}]"
        case nodes.Filter():
            return f" {_text(node.condition)}"
        case nodes.Aggregate():
            keys, found = ", ".join(map(_named, node.keys)), ", ".join(map(_named, node.aggregates))
            return f" keys=[{keys}], aggregates=[{found}]"
        case nodes.Join():
            return f" {node.how}{'' if node.condition is None else ' on ' + _text(node.condition)}"
        case nodes.EventTime():
            return f" {_by_id(node, node.column)}, delay={node.text or f'{node.delay} us'}"
        case nodes.Deduplicate():
            within = " within watermark" if node.within_watermark else ""
            return f" [{', '.join(_by_id(node, k) for k in node.keys)}]{within}"
        case nodes.TimeWindows():
            return f" {_attribute(node.made)} of {_text(node.time)}, length={node.length} us, slide={node.slide} us"
        case nodes.Sort():
            words = [f"{_text(o.expression)} {'DESC' if o.descending else 'ASC'}" for o in node.orders]
            return f" [{', '.join(words)}]"
        case nodes.Limit():
            return f" {node.count}{f' offset {node.offset}' if node.offset else ''}"
        case nodes.Alias():
            return f" {node.name}"
        case nodes.Range():
            return f" {node.start} to {node.end} by {node.step}"
    return f" {_attributes(node.output)}"


def _by_id(node: Node, wanted: int) -> str:
    return next((_attribute(a) for a in node.output if a.id == wanted), f"#{wanted}")


def _attribute(a: Attribute) -> str:
    return f"{a.name}#{a.id}"


def _attributes(found: tuple[Attribute, ...]) -> str:
    return f"[{', '.join(map(_attribute, found))}]"


def _named(item: Named) -> str:
    e = item.expression
    if isinstance(e, Ref) and e.attribute_id == item.attribute.id:
        return _attribute(item.attribute)
    return f"{_text(e)} AS {_attribute(item.attribute)}"


def _text(e: exp.Expression) -> str:
    def numbered(node: Any) -> Any:
        return (
            exp.to_identifier(f"{node.this}#{node.attribute_id}", quoted=False)
            if isinstance(node, Ref)
            else node
        )

    return str(e.transform(numbered).sql(dialect="spark"))
