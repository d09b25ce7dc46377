"""ROLLUP, CUBE and GROUPING SETS: every row once per set, with the keys that the set leaves out as nulls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from sqlglot import exp

from tidemill.errors import AnalysisException
from tidemill.plan.dialect import call
from tidemill.plan.nodes import Attribute, Generate, Named, Node, Project, Ref
from tidemill.types import ByteType, IntegerType, LongType

Grouping = Literal["cube", "rollup"] | Sequence[Sequence[int]]
"""``cube``, ``rollup``, or the grouping sets as positions in the keys."""

MOST_KEYS = 63
"""The set's number is a BIGINT with one bit per key."""


@dataclass(frozen=True)
class Sets:
    """The rows to aggregate, with what the aggregation groups by."""

    node: Node
    keys: list[Named]
    user_keys: list[tuple[exp.Expression, Ref]]
    number: Ref
    """The set's number: bit n-1-i is 1 if key i is left out (Spark's grouping_id)."""

    def call(self, name: str, arguments: Sequence[exp.Expression], shown: str) -> exp.Expression:
        """What ``grouping_id()`` and ``grouping(key)`` are over the aggregate's output."""
        if name == "grouping_id" and (not arguments or list(arguments) == [k for k, _ in self.user_keys]):
            made: exp.Expression = _cast(self.number, LongType())
        elif name == "grouping" and len(arguments) == 1:
            made = _cast(_bit(self.number, self._place(arguments[0], shown)), ByteType())
        else:
            raise AnalysisException(
                f"{shown} does not match the grouping columns; call grouping_id() without arguments, or grouping(key)",
                "GROUPING_ID_COLUMN_MISMATCH",
            )
        made.meta["name"] = shown
        return made

    def _place(self, key: exp.Expression, shown: str) -> int:
        for i, (known, _) in enumerate(self.user_keys):
            if known == key:
                return len(self.user_keys) - 1 - i
        raise AnalysisException(f"{shown} is not about a grouping column", "GROUPING_COLUMN_MISMATCH")


def sets_of(grouping: Grouping, count: int) -> list[tuple[int, ...]]:
    """The key positions of every set, in Spark's order.

    >>> sets_of("rollup", 2)
    [(0, 1), (0,), ()]
    """
    if isinstance(grouping, str) and grouping == "rollup":
        return [tuple(range(n)) for n in range(count, -1, -1)]
    if isinstance(grouping, str):
        return [s for n in range(count, -1, -1) for s in combinations(range(count), n)]
    return [tuple(s) for s in grouping]


def grouping_sets(
    child: Node, keys: Sequence[Named], user_keys: Sequence[tuple[exp.Expression, Ref]], grouping: Grouping
) -> Sets:
    """One explode over the sets' numbers, so that the input is read once, then a key column that is null where the
    row's set leaves it out. Aggregates still see the columns as they were."""
    count = len(keys)
    if count > MOST_KEYS:
        raise AnalysisException(
            f"{count} grouping columns are more than {MOST_KEYS}", "GROUPING_SIZE_LIMIT_EXCEEDED"
        )
    numbers = [_number(s, count) for s in sets_of(grouping, count)]
    array = call("array", *(exp.Literal.number(n) for n in numbers))
    made = Attribute("spark_grouping_id", IntegerType(), nullable=False)
    exploded = Generate(child, call("explode", array), (made,))
    nulled = [_nulled(k, made, count - 1 - i, numbers) for i, k in enumerate(keys)]
    node = Project(exploded, (*(Named(a, a.ref()) for a in exploded.output), *nulled))
    refs = {k.attribute.id: n.attribute.ref() for k, n in zip(keys, nulled, strict=True)}
    return Sets(
        node,
        [*(Named(n.attribute, n.attribute.ref()) for n in nulled), Named(made, made.ref())],
        [(key, refs[ref.attribute_id]) for key, ref in user_keys],
        made.ref(),
    )


def _number(members: Sequence[int], count: int) -> int:
    return sum(1 << (count - 1 - i) for i in range(count) if i not in members)


def _nulled(key: Named, number: Attribute, place: int, numbers: Sequence[int]) -> Named:
    absent = [n for n in numbers if n >> place & 1]
    attribute = key.attribute.renewed(nullable=key.attribute.nullable or bool(absent))
    if not absent:
        return Named(attribute, key.expression)
    here = exp.In(this=number.ref(), expressions=[exp.Literal.number(n) for n in absent])
    branch = exp.If(this=exp.Not(this=here), true=key.expression.copy())
    return Named(attribute, exp.Case(ifs=[branch]))


def _bit(number: Ref, place: int) -> exp.Expression:
    return call(
        "mod",
        exp.IntDiv(this=number.copy(), expression=exp.Literal.number(1 << place)),
        exp.Literal.number(2),
    )


def _cast(e: exp.Expression, kind: LongType | ByteType) -> exp.Expression:
    to = exp.DataType.Type.BIGINT if isinstance(kind, LongType) else exp.DataType.Type.TINYINT
    return exp.Cast(this=e.copy(), to=exp.DataType(this=to))
