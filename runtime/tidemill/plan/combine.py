"""Several inputs: joins, unions and set operations, with self-joins told apart and columns widened to a common type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

from sqlglot import exp

from tidemill.errors import AnalysisException, did_you_mean
from tidemill.plan import coercion
from tidemill.plan.dialect import call
from tidemill.plan.expressions import Settings, has_aggregate, has_window
from tidemill.plan.names import pretty
from tidemill.plan.nodes import Attribute, Deduplicate, Join, JoinType, Named, Node, Project, Ref, Union
from tidemill.plan.renew import renewed
from tidemill.plan.resolve import TAKEN, Scope, quoted
from tidemill.types import BooleanType, DataType, MapType, NullType, ddl

_SPELLINGS: dict[str, JoinType] = {
    "inner": "inner", "cross": "cross",
    "outer": "full", "full": "full", "fullouter": "full",
    "left": "left", "leftouter": "left", "right": "right", "rightouter": "right",
    "semi": "semi", "leftsemi": "semi", "anti": "anti", "leftanti": "anti",
}  # fmt: skip
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def join_type(how: str) -> JoinType:
    """The join that any of Spark's spellings means (``left_outer``, ``leftsemi``, ...)."""
    word = how.lower().replace("_", "").replace(" ", "")
    if word not in _SPELLINGS:
        known = sorted({*_SPELLINGS, *get_args(JoinType)})
        raise AnalysisException(
            f"unsupported join type {how!r}{did_you_mean(word, known)}; supported are {', '.join(known)}",
            "UNSUPPORTED_JOIN_TYPE",
        )
    return _SPELLINGS[word]


def join(
    left: Node, right: Node, on: exp.Expression | Sequence[str] | None, how: str, settings: Settings
) -> Node:
    """``how`` is any of Spark's spellings (inner, left_outer, leftsemi, ...); names in ``on`` are USING keys."""
    kind = join_type(how)
    right, renewals = apart(left, right)
    if on is None:
        return Join(left, right, kind, None)
    if not isinstance(on, exp.Expression):
        return _using(left, right, list(on), kind, settings)
    scope = Scope((*left.output, *right.output), settings)
    condition = scope.resolve(_sides(on, renewals))
    _check_condition(condition, scope)
    return Join(left, right, "inner" if kind == "cross" else kind, condition)


def apart(left: Node, right: Node) -> tuple[Node, dict[int, Attribute]]:
    """``right`` with columns of its own where it shares some with ``left``, and what became of those."""
    shared = {a.id for a in left.output} & {a.id for a in right.output}
    if not shared:
        return right, {}
    before = [a.id for a in right.output]
    made = renewed(right, shared)
    return made, {old: new for old, new in zip(before, made.output, strict=True) if old in shared}


def _sides(on: exp.Expression, renewals: dict[int, Attribute]) -> exp.Expression:
    """In a self-join ``df1.a == df2.a`` compares one column with itself as written; it means one of each side."""
    if not renewals:
        return on
    made = on.copy()
    for equal in [e for e in made.walk() if isinstance(e, (exp.EQ, exp.NullSafeEQ))]:
        a, b = equal.this, equal.expression
        if isinstance(a, Ref) and isinstance(b, Ref) and a.attribute_id == b.attribute_id in renewals:
            b.set("id", renewals[b.attribute_id].id)
            a.meta["side"] = True
            for side in (a, b):
                side.meta.pop(TAKEN, None)
    for ref in made.find_all(Ref):
        if ref.attribute_id in renewals and not ref.meta.pop("side", False):
            raise Scope.either_side(ref)
    return made


def _check_condition(condition: exp.Expression, scope: Scope) -> None:
    if has_aggregate(condition) or has_window(condition):
        raise AnalysisException(
            f"aggregate and window functions are not allowed in a join condition: {pretty(condition)}; compute them "
            "in a select below first",
            "UNSUPPORTED_EXPR_FOR_OPERATOR",
        )
    kind = scope.typed(condition).type
    if not isinstance(kind, (BooleanType, NullType)):
        raise AnalysisException(
            f'the join condition "{pretty(condition)}" has the invalid type "{kind.simpleString().upper()}", expected '
            '"BOOLEAN"; compare it with something, as in a = b',
            "JOIN_CONDITION_IS_NOT_BOOLEAN_TYPE",
        )


def _using(left: Node, right: Node, names: list[str], how: JoinType, settings: Settings) -> Node:
    pairs = [(_key(left, n, "left", settings), _key(right, n, "right", settings)) for n in names]
    if not pairs:
        return Join(left, right, how, None)
    condition: exp.Expression | None = None
    for a, b in pairs:
        equal = exp.EQ(this=a.ref(), expression=b.ref())
        condition = equal if condition is None else exp.And(this=condition, expression=equal)
    assert condition is not None
    _check_condition(condition, Scope((*left.output, *right.output), settings))
    node = Join(left, right, "inner" if how == "cross" else how, condition)
    taken = {a.id for pair in pairs for a in pair}
    keys = [_shown_key(a, b, node, settings) for a, b in pairs]
    rest = [Named(o, o.ref()) for o in node.output if o.id not in taken]
    return Project(node, (*keys, *rest))


def natural(left: Node, right: Node, how: str, settings: Settings) -> Node:
    """NATURAL JOIN: USING all names that both sides have."""
    scope = Scope(right.output, settings)
    common = [a.name for a in left.output if any(scope.same(a.name, b.name) for b in right.output)]
    return join(left, right, common, how, settings)


def _key(side: Node, name: str, which: str, settings: Settings) -> Attribute:
    scope = Scope(side.output, settings)
    found = [a for a in side.output if scope.same(a.name, name)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(quoted(a.name) for a in side.output)
    if found:
        raise AnalysisException(
            f"reference {quoted(name)} is ambiguous: the {which} side of the join has it {len(found)} times ({names})",
            "AMBIGUOUS_REFERENCE",
        )
    raise AnalysisException(
        f"USING column {quoted(name)} cannot be resolved on the {which} side of the join. The {which}-side columns: "
        f"[{names}]{did_you_mean(name, [a.name for a in side.output])}",
        "UNRESOLVED_USING_COLUMN_FOR_JOIN",
    )


def _shown_key(a: Attribute, b: Attribute, node: Join, settings: Settings) -> Named:
    """The one key column of a USING join: the preserved side's, or for a full join whichever is there."""
    output = {o.id: o for o in node.output}
    if node.how == "right":
        return Named(output[b.id], b.ref())
    if node.how != "full":
        return Named(output[a.id], a.ref())
    either = call("coalesce", a.ref(), b.ref())
    typed = Scope(node.output, settings).typed(either)
    nullable = a.nullable or b.nullable
    return Named(Attribute(a.name, typed.type, nullable), either)


# --- Unions ---------------------------------------------------------------------------------------------------------


def union(
    inputs: Sequence[Node], settings: Settings, by_name: bool = False, allow_missing: bool = False
) -> Node:
    """UNION ALL, by position or by name, columns widened to a common type. Names, and event time, are the first's."""
    nodes = list(inputs)
    if by_name:
        nodes = _by_name(nodes, allow_missing, settings)
    nodes = _widened(nodes, "UNION")
    first = nodes[0]
    attributes = tuple(
        replace(a, nullable=any(n.output[i].nullable for n in nodes), qualifier=())
        for i, a in enumerate(first.output)
    )
    return Union(tuple(nodes), attributes)


def _widened(nodes: list[Node], operation: str) -> list[Node]:
    """The nodes with columns cast where they differ, so that all have the same types by position."""
    for i, node in enumerate(nodes):
        if len(node.output) != len(nodes[0].output):
            raise AnalysisException(
                f"{operation} can only be performed on inputs with the same number of columns, but the first input "
                f"has {len(nodes[0].output)} columns and the {_ORDINALS[min(i, 9)]} input has "
                f"{len(node.output)} columns",
                "NUM_COLUMNS_MISMATCH",
            )
    kinds = [a.type for a in nodes[0].output]
    for n, node in enumerate(nodes[1:], 1):
        for i, a in enumerate(node.output):
            found = coercion.common(kinds[i], a.type)
            if found is None:
                raise _incompatible(operation, n, i, a.type, kinds[i])
            kinds[i] = found
    return [cast_columns(node, kinds) for node in nodes]


def _incompatible(operation: str, n: int, i: int, kind: DataType, first: DataType) -> AnalysisException:
    return AnalysisException(
        f"{operation} can only be performed on tables with compatible column types. The {_ORDINALS[min(i, 9)]} column "
        f'of the {_ORDINALS[min(n, 9)]} table is "{kind.simpleString().upper()}" type which is not compatible with '
        f'"{first.simpleString().upper()}" at the same column of the first table; cast one of them',
        "INCOMPATIBLE_COLUMN_TYPE",
    )


def cast_columns(node: Node, kinds: Sequence[DataType]) -> Node:
    """``node`` with each column cast to the type in its place, where it is not of that type already."""
    if all(a.type == k for a, k in zip(node.output, kinds, strict=True)):
        return node
    items = [
        Named(a, a.ref()) if a.type == k else Named(replace(a.renewed(), type=k), cast(a.ref(), k))
        for a, k in zip(node.output, kinds, strict=True)
    ]
    return Project(node, tuple(items))


def cast(e: exp.Expression, kind: DataType) -> exp.Expression:
    """CAST as the parser builds it."""
    from tidemill.plan.dialect import parse_expression

    made = parse_expression(f"CAST(NULL AS {ddl(kind)})")
    made.set("this", e)
    return made


def _by_name(nodes: list[Node], allow_missing: bool, settings: Settings) -> list[Node]:
    scope = Scope((), settings)
    names: list[Attribute] = []
    for node in nodes[: len(nodes) if allow_missing else 1]:
        names += [a for a in node.output if not any(scope.same(a.name, n.name) for n in names)]
    return [_arranged(node, names, scope, allow_missing) for node in nodes]


def _arranged(node: Node, names: Sequence[Attribute], scope: Scope, allow_missing: bool) -> Node:
    items: list[Named] = []
    for wanted in names:
        found = next((a for a in node.output if scope.same(a.name, wanted.name)), None)
        if found is None and not allow_missing:
            listed = ", ".join(a.name for a in node.output)
            raise AnalysisException(
                f'cannot resolve column name "{wanted.name}" among ({listed}); give it to that side, or pass '
                "allowMissingColumns=True for nulls in its place",
                "UNRESOLVED_COLUMN_AMONG_FIELD_NAMES",
            )
        if found is None:
            items.append(Named(Attribute(wanted.name, wanted.type), cast(exp.Null(), wanted.type)))
        else:
            items.append(Named(found, found.ref()))
    if len(node.output) > len(names):
        raise AnalysisException(
            f"UNION can only be performed on inputs with the same number of columns, but the first input has "
            f"{len(names)} columns and another has {len(node.output)}",
            "NUM_COLUMNS_MISMATCH",
        )
    same = [i.attribute.id for i in items] == [a.id for a in node.output]
    return node if same else Project(node, tuple(items))


def set_operation(left: Node, right: Node, kind: Literal["intersect", "except"], settings: Settings) -> Node:
    """INTERSECT and EXCEPT: distinct rows of ``left`` that are, or are not, in ``right``. Nulls are equal."""
    word = kind.upper()
    if kind == "intersect" and (left.streaming or right.streaming):
        raise AnalysisException(
            "Intersect of streaming DataFrames/Datasets is not supported; use a left semi join on the columns",
            "_LEGACY_ERROR_TEMP_3102",
        )
    if kind == "except" and right.streaming:
        raise AnalysisException(
            "Except on a streaming DataFrame/Dataset on the right is not supported; swap the sides, or use a join",
            "_LEGACY_ERROR_TEMP_3102",
        )
    left, right = _widened([left, right], word)
    right, _ = apart(left, right)
    refuse_maps(left.output)
    condition: exp.Expression | None = None
    for a, b in zip(left.output, right.output, strict=True):
        same = exp.NullSafeEQ(this=a.ref(), expression=b.ref())
        condition = same if condition is None else exp.And(this=condition, expression=same)
    how: JoinType = "semi" if kind == "intersect" else "anti"
    node = Join(left, right, how, condition)
    return Deduplicate(node, tuple(a.id for a in node.output))


def refuse_maps(attributes: Sequence[Attribute]) -> None:
    """Maps have no equality, so rows that hold one cannot be told apart."""
    for a in attributes:
        if isinstance(a.type, MapType):
            raise AnalysisException(
                "the feature is not supported: cannot have MAP type columns in a set operation (INTERSECT, EXCEPT, "
                f"DISTINCT, dropDuplicates), but the type of column {quoted(a.name)} is "
                f'"{a.type.simpleString().upper()}"; turn it into map_entries or to_json first',
                "UNSUPPORTED_FEATURE.SET_OPERATION_ON_MAP_TYPE",
            )


__all__ = [
    "apart",
    "cast",
    "cast_columns",
    "join",
    "join_type",
    "natural",
    "refuse_maps",
    "set_operation",
    "union",
]
