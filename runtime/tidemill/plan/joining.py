"""Stages of stream-stream joins: what to hash by, what can be dropped early, and how long a row is of use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
from sqlglot import exp

from tidemill.plan.casts import cast
from tidemill.plan.coercion import compared
from tidemill.plan.expressions import Settings, compile_expression, is_deterministic
from tidemill.plan.nodes import Attribute, Join, Node, Ref
from tidemill.plan.physical import arrow_fields, columns_of, in_words
from tidemill.plan.pushdown import conjuncts, references
from tidemill.plan.ranges import keeps_time
from tidemill.plan.stages import Fragment, JoinBy, Side, Times, WatermarkOf
from tidemill.types import StructType, to_arrow

if TYPE_CHECKING:
    from tidemill.plan.incremental import Splitter


@dataclass(frozen=True)
class Condition:
    """A join condition taken apart; every part is a list of conjuncts."""

    keys: tuple[tuple[exp.Expression, exp.Expression], ...]
    """(left, right) of each equality."""
    left: tuple[exp.Expression, ...]
    right: tuple[exp.Expression, ...]
    both: tuple[exp.Expression, ...]


def take_apart(node: Join) -> Condition:
    left = {a.id for a in node.left.output}
    right = {a.id for a in node.right.output}
    keys, only_left, only_right, both = [], [], [], []
    for part in conjuncts(node.condition):
        used = references(part)
        if isinstance(part, exp.EQ | exp.NullSafeEQ):
            a, b = references(part.this), references(part.expression)
            if a and b and a <= left and b <= right:
                keys.append((part.this, part.expression))
            elif a and b and a <= right and b <= left:
                keys.append((part.expression, part.this))
        if is_deterministic(part) and used <= left:
            only_left.append(part)
        elif is_deterministic(part) and used <= right:
            only_right.append(part)
        else:
            both.append(part)
    return Condition(tuple(keys), tuple(only_left), tuple(only_right), tuple(both))


def join_stage(splitter: Splitter, node: Join, mark: WatermarkOf | None) -> WatermarkOf | None:
    """Add the join's stage; the watermark of its output."""
    condition = take_apart(node)
    keys = _keys_sql(node, condition, splitter.settings)
    expiries, shifts = _expiries(node, condition, keys, splitter.settings)
    left = _side(splitter, node.left, "l", [k[0] for k in keys], condition.left, expiries[0])
    right = _side(splitter, node.right, "r", [k[1] for k in keys], condition.right, expiries[1])
    relation = splitter.relation()
    columns = {
        i: type(t)(f"{side}.{side}{n}", t.type, t.nullable)
        for side, child in (("l", node.left), ("r", node.right))
        for n, (i, t) in enumerate(columns_of(child).items())
    }
    assert node.condition is not None
    on = relation.expression(node.condition, columns)
    schema = pa.schema(arrow_fields(node.output))
    functions = tuple(relation.functions.values())
    what = (node.how, "on", in_words(node.condition))
    operator = JoinBy(splitter.next_id(), what, node.how, left[1], right[1], on, functions, schema)
    evicts = any(s.times.expiry for s in (left[1], right[1]))
    out = WatermarkOf(mark.shift + min(0, *shifts)) if mark else None
    splitter.add(node, (left[0], right[0]), operator, mark, no_data=evicts)
    return out


def _keys_sql(node: Join, condition: Condition, settings: Settings) -> list[tuple[str, str]]:
    """Both sides of each equality in the type in which they are compared: 1.5 as FLOAT and as DOUBLE are equal, but
    their hashes are not."""
    found = []
    for left, right in condition.keys:
        a = compile_expression(left, columns_of(node.left), settings)
        b = compile_expression(right, columns_of(node.right), settings)
        kind = compared(a.type, b.type, settings.ansi)
        if kind is not None:
            a, b = cast(a, kind, settings), cast(b, kind, settings)
        found.append((a.sql, b.sql))
    return found


def _side(
    splitter: Splitter,
    child: Node,
    prefix: str,
    keys: Sequence[str],
    filters: Sequence[exp.Expression],
    expiry: str,
) -> tuple[Fragment, Side]:
    relation = splitter.relation()
    columns = columns_of(child)
    names = [f"{prefix}{i}" for i in range(len(child.output))]
    items = [f"c{a.id} AS {n}" for a, n in zip(child.output, names, strict=True)]
    hashed = ", ".join(keys)
    timed = next((a for a in child.output if a.delay is not None), None)
    late = f"{_micros(timed)}" if timed else "NULL"
    keep = " AND ".join(f"({relation.expression(f, columns)})" for f in filters) or "true"
    sql = (
        f"SELECT {', '.join(items)}, hash({hashed}) AS _hash, ({late})::BIGINT AS _late, "
        f"({expiry})::BIGINT AS _expiry, coalesce({keep}, false) AS _keep FROM ({relation.sql(child)})"
    )
    fields = [
        *((n, to_arrow(a.type)) for a, n in zip(child.output, names, strict=True)),
        ("_hash", pa.uint64()),
        ("_late", pa.int64()),
        ("_expiry", pa.int64()),
        ("_keep", pa.bool_()),
    ]
    times = Times("_late" if timed else None, "_expiry" if expiry != "NULL" else None)
    return splitter.finished(relation, sql, fields, child), Side(tuple(names), times, bool(filters))


def _micros(attribute: Attribute) -> str:
    name = f"c{attribute.id}"
    return f'epoch_us({name}."end")' if isinstance(attribute.type, StructType) else f"epoch_us({name})"


def _expiries(
    node: Join, condition: Condition, keys: Sequence[tuple[str, str]], settings: Settings
) -> tuple[tuple[str, str], tuple[int, int]]:
    """For each side the SQL of when a row is of no more use, and how far its event time may lag the watermark.

    Where an equality key is event time, both sides' rows go when the watermark reaches that key. Else, where both
    sides have event time and the condition bounds one by the other, a row goes when the watermark has passed every
    time that it could still match.
    """
    for (a, b), (left, right) in zip(condition.keys, keys, strict=True):
        timed = _event_key(node.left, a) or _event_key(node.right, b)
        if timed is not None:
            window = isinstance(timed.type, StructType)
            shown = [f'epoch_us(({k})."end")' if window else f"epoch_us({k})" for k in (left, right)]
            return (shown[0], shown[1]), (0, 0)
    lags = (
        _lag(node.left, node.right, condition.both, settings),
        _lag(node.right, node.left, condition.both, settings),
    )
    expiries = []
    for child, lag in ((node.left, lags[0]), (node.right, lags[1])):
        timed = next((a for a in child.output if a.delay is not None), None)
        expiries.append("NULL" if lag is None or timed is None else f"{_micros(timed)} - ({lag})")
    return (expiries[0], expiries[1]), (lags[0] or 0, lags[1] or 0)


def _event_key(child: Node, key: exp.Expression) -> Attribute | None:
    bare = key.unnest()
    if not isinstance(bare, Ref):
        return None
    return next((a for a in child.output if a.id == bare.attribute_id and a.delay is not None), None)


def _lag(child: Node, other: Node, parts: Sequence[exp.Expression], settings: Settings) -> int | None:
    """The state watermark of ``child``'s rows minus the watermark, in microseconds; None: they are kept for ever.

    Each inequality that bounds ``child``'s time from below by ``other``'s gives one; the lowest counts. For <= and >=
    a row exactly at the bound may still match, so the bound lies a millisecond (the watermark's unit) lower.
    """
    own = {a.id for a in child.output if a.delay is not None}
    others = {a.id for a in other.output if a.delay is not None}
    found = []
    for part in parts:
        if not isinstance(part, exp.LT | exp.LTE | exp.GT | exp.GTE):
            continue
        low, high = part.this, part.expression
        if isinstance(part, exp.GT | exp.GTE):
            low, high = high, low
        bound = _solve(low, high, own, others, settings)
        if bound is not None:
            found.append(bound - (1000 if isinstance(part, exp.LTE | exp.GTE) else 0))
    return min(found) if found else None


def _solve(
    low: exp.Expression, high: exp.Expression, own: set[int], others: set[int], settings: Settings
) -> int | None:
    """From ``low < high``: the c of ``own time > other time + c``; None if it says nothing of that form."""
    left, right = _linear(low, settings), _linear(high, settings)
    if left is None or right is None:
        return None
    weights = {i: right[0].get(i, 0) - left[0].get(i, 0) for i in {*left[0], *right[0]}}
    plus = [i for i, w in weights.items() if w == 1]
    minus = [i for i, w in weights.items() if w == -1]
    if len(plus) != 1 or len(minus) != 1 or any(w not in (-1, 0, 1) for w in weights.values()):
        return None
    return left[1] - right[1] if plus[0] in own and minus[0] in others else None


def _linear(expression: exp.Expression, settings: Settings) -> tuple[dict[int, int], int] | None:
    """The expression as a sum of time columns and microseconds."""
    e: Any = expression.unnest()
    if isinstance(e, Ref):
        return {e.attribute_id: 1}, 0
    if isinstance(e, exp.Cast):
        # Any other cast moves the time: a date is up to a day before it.
        return _linear(e.this, settings) if keeps_time(e) else None
    if isinstance(e, exp.Add | exp.Sub):
        a, b = _linear(e.this, settings), _linear(e.expression, settings)
        if a is None or b is None:
            return None
        sign = 1 if isinstance(e, exp.Add) else -1
        weights = dict(a[0])
        for i, w in b[0].items():
            weights[i] = weights.get(i, 0) + sign * w
        return weights, a[1] + sign * b[1]
    micros = _duration(e, settings) if not references(e) else None
    return None if micros is None else ({}, micros)


def _duration(e: exp.Expression, settings: Settings) -> int | None:
    """A constant interval in microseconds; None if it is none, or has months, whose length is no constant."""
    sql = compile_expression(e, {}, settings).sql
    measured = (
        f"SELECT datepart('month', i) + datepart('year', i), epoch_us(TIMESTAMP '2000-01-01' + i) "
        f"- epoch_us(TIMESTAMP '2000-01-01') FROM (SELECT ({sql})::INTERVAL AS i)"
    )
    try:
        # The module's own connection is not for several threads, and queries may start at once.
        with duckdb.connect() as connection:
            row = connection.execute(measured).fetchone()
    except duckdb.Error:
        return None
    return None if row is None or row[0] else row[1]
