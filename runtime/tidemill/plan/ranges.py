"""What a join condition says about event times: equality keys, and one side's time bounded by the other's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp

from tidemill.plan.nodes import Attribute, Join, Ref
from tidemill.plan.resolve import refs

_COMPARISONS: dict[type[exp.Expression], int] = {exp.GT: 1, exp.GTE: 1, exp.LT: -1, exp.LTE: -1}
"""Whether ``left - right`` is positive or negative."""


def conjuncts(e: exp.Expression | None) -> Iterator[exp.Expression]:
    """The parts of a conjunction, BETWEEN as its two comparisons."""
    if e is None:
        return
    if isinstance(e, exp.Paren):
        yield from conjuncts(e.this)
    elif isinstance(e, exp.And):
        yield from conjuncts(e.this)
        yield from conjuncts(e.expression)
    elif isinstance(e, exp.Between):
        yield exp.GTE(this=e.this.copy(), expression=e.args["low"].copy())
        yield exp.LTE(this=e.this.copy(), expression=e.args["high"].copy())
    else:
        yield e


def equalities(node: Join) -> Iterator[tuple[exp.Expression, exp.Expression]]:
    """(left, right) of each equality between the sides."""
    left, right = {a.id for a in node.left.output}, {a.id for a in node.right.output}
    for part in conjuncts(node.condition):
        if not isinstance(part, (exp.EQ, exp.NullSafeEQ)):
            continue
        a, b = part.this, part.expression
        if refs(a) and refs(b) and refs(a) <= left and refs(b) <= right:
            yield a, b
        elif refs(a) and refs(b) and refs(a) <= right and refs(b) <= left:
            yield b, a


def has_equality(node: Join) -> bool:
    return any(True for _ in equalities(node))


def watermark_in_keys(node: Join) -> bool:
    """Whether an event-time column is itself an equality key."""
    timed = {a.id for a in (*node.left.output, *node.right.output) if a.delay is not None}
    return any(
        isinstance(side, Ref) and side.attribute_id in timed
        for pair in equalities(node)
        for side in map(_bare, pair)
    )


def _bare(e: exp.Expression) -> exp.Expression:
    while isinstance(e, exp.Paren):
        e = e.this
    return e


def time_bounded(node: Join, kept: Sequence[Attribute], others: Sequence[Attribute]) -> bool:
    """Whether the condition keeps a time of ``kept`` above an event time of ``others``, give or take a constant: then
    the watermark of ``others`` tells when a row of ``kept`` can match no more."""
    timed = {a.id for a in others if a.delay is not None}
    mine = {a.id for a in kept}
    for part in conjuncts(node.condition):
        sign = _COMPARISONS.get(type(part))
        if sign is None:
            continue
        terms = _terms(part.this, sign)
        more = _terms(part.expression, -sign)
        if terms is None or more is None:
            continue
        total = {i: terms.get(i, 0) + more.get(i, 0) for i in (*terms, *more)}
        above = [i for i, n in total.items() if n == 1 and i in mine]
        below = [i for i, n in total.items() if n == -1 and i in timed]
        if len(above) == 1 and len(below) == 1 and sum(1 for n in total.values() if n) == 2:
            return True
    return False


def keeps_time(e: exp.Cast) -> bool:
    """Whether a cast of a time is the same time: a date or a number of seconds is not."""
    return str(e.to.this.name).startswith("TIMESTAMP")


def _terms(e: exp.Expression, sign: int) -> dict[int, int] | None:
    """The columns of a sum and their signs; None if it is no sum of columns and constants."""
    match e:
        case exp.Paren():
            return _terms(e.this, sign)
        case exp.Cast() if keeps_time(e):
            return _terms(e.this, sign)
        case Ref():
            return {e.attribute_id: sign}
        case exp.Add() | exp.Sub():
            left = _terms(e.this, sign)
            right = _terms(e.expression, sign if isinstance(e, exp.Add) else -sign)
            if left is None or right is None:
                return None
            return {i: left.get(i, 0) + right.get(i, 0) for i in (*left, *right)}
        case exp.Neg():
            return _terms(e.this, -sign)
    return {} if not refs(e) else None
