"""Expressions as PySpark prints a Column: ``Column<'+(a, 1)'>``."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from sqlglot import exp

from tidemill.plan.names import NAMED
from tidemill.plan.nodes import Ref

_PREFIX: dict[type[exp.Expression], str] = {
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%", exp.EQ: "=", exp.LT: "<", exp.LTE: "<=",
    exp.GT: ">", exp.GTE: ">=", exp.NullSafeEQ: "<=>", exp.And: "and", exp.Or: "or", exp.BitwiseAnd: "&",
    exp.BitwiseOr: "|", exp.BitwiseXor: "^", exp.Like: "like", exp.ILike: "ilike", exp.RegexpLike: "rlike",
    exp.IntDiv: "div", exp.DPipe: "||",
}  # fmt: skip


def render(e: exp.Expression) -> str:
    """The text inside ``Column<'...'>``."""
    if text := e.meta.get("text") or e.meta.get(NAMED):
        return str(text)
    if type(e) in _PREFIX:
        return f"{_PREFIX[type(e)]}({render(e.this)}, {render(e.expression)})"
    shape = _SHAPES.get(type(e))
    return shape(e) if shape else e.sql(dialect="spark")


def _list(items: list[exp.Expression]) -> str:
    return ", ".join(map(render, items))


def _call(e: exp.Expression) -> str:
    return f"{e.name}({_list(e.expressions)})"


def _column(e: exp.Expression) -> str:
    return ".".join("*" if isinstance(p, exp.Star) else p.name for p in cast("exp.Column", e).parts)


def _not(e: exp.Expression) -> str:
    inner = e.this
    if isinstance(inner, exp.Is):
        return f"isNotNull({render(inner.this)})"
    return f"!({render(inner)})"


def _cast_text(e: exp.Expression) -> str:
    value = e.this
    if e.meta.get("literal"):
        text = value.name if isinstance(value, exp.Literal) else render(value)
        return f"{text}L" if e.args["to"].this is exp.DataType.Type.BIGINT else text
    word = "TRY_CAST" if isinstance(e, exp.TryCast) else "CAST"
    return f"{word}({render(value)} AS {e.args['to'].sql(dialect='spark')})"


def _case(e: exp.Expression) -> str:
    cases = "".join(f" WHEN {render(i.this)} THEN {render(i.args['true'])}" for i in e.args["ifs"])
    default = e.args.get("default")
    return f"CASE{cases}{f' ELSE {render(default)}' if default is not None else ''} END"


def _ordered(e: exp.Expression) -> str:
    direction = "DESC" if e.args.get("desc") else "ASC"
    return f"{render(e.this)} {direction} NULLS {'FIRST' if e.args.get('nulls_first') else 'LAST'}"


def _window(e: exp.Expression) -> str:
    keys, order = e.args.get("partition_by"), e.args.get("order")
    parts = [f"PARTITION BY {_list(keys)}"] if keys else []
    parts += [f"ORDER BY {_list(order.expressions)}"] if order else []
    spec = e.args.get("spec")
    if spec:
        parts.append(f"{spec.args['kind']} BETWEEN {_bound(spec, 'start')} AND {_bound(spec, 'end')}")
    return f"{render(e.this)} OVER ({' '.join(parts)})"


def _bound(spec: exp.Expression, edge: str) -> str:
    value, side = spec.args[edge], spec.args.get(f"{edge}_side")
    if value == "CURRENT ROW":
        return "CURRENT ROW"
    text = value if isinstance(value, str) else render(value)
    return f"{text} {side}"


def _lambda(e: exp.Expression) -> str:
    names = [p.name for p in e.expressions]
    return f"{names[0] if len(names) == 1 else '(' + ', '.join(names) + ')'} -> {render(e.this)}"


_SHAPES: dict[type[exp.Expression], Callable[[exp.Expression], str]] = {
    exp.Anonymous: _call,
    exp.Column: _column,
    exp.Identifier: lambda e: e.name,
    Ref: lambda e: e.name,
    exp.Literal: lambda e: f"'{e.name}'" if e.is_string else e.name,
    exp.Boolean: lambda e: "true" if e.this else "false",
    exp.Null: lambda e: "NULL",
    exp.Star: lambda e: "*",
    exp.Neg: lambda e: (
        f"-{e.this.name}" if isinstance(e.this, exp.Literal) else f"negative({render(e.this)})"
    ),
    exp.Not: _not,
    exp.NEQ: lambda e: f"!(=({render(e.this)}, {render(e.expression)}))",
    exp.BitwiseNot: lambda e: f"~({render(e.this)})",
    exp.Is: lambda e: f"isNull({render(e.this)})",
    exp.In: lambda e: f"in({_list([e.this, *e.expressions])})",
    exp.Bracket: lambda e: f"{render(e.this)}[{_list(e.expressions)}]",
    exp.Distinct: lambda e: f"DISTINCT {_list(e.expressions)}",
    exp.Alias: lambda e: f"{render(e.this)} AS {e.alias}",
    exp.Aliases: lambda e: f"{render(e.this)} AS ({', '.join(i.name for i in e.expressions)})",
    exp.Cast: _cast_text,
    exp.TryCast: _cast_text,
    exp.Case: _case,
    exp.Ordered: _ordered,
    exp.Window: _window,
    exp.Lambda: _lambda,
    exp.Paren: lambda e: render(e.this),
}
