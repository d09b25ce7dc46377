"""Operators that compare, choose and match: everything but arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlglot import exp

from tidemill.errors import AnalysisException, did_you_mean
from tidemill.plan import coercion
from tidemill.plan.casts import cast, sql_name
from tidemill.plan.compiler import Compiler, handles
from tidemill.plan.patterns import like, rlike
from tidemill.plan.rendering import let, order_key
from tidemill.plan.typed import Typed, duck_type, failure, text_literal
from tidemill.types import (
    ArrayType,
    BooleanType,
    DataType,
    IntegerType,
    LongType,
    MapType,
    NullType,
    StringType,
    StructType,
)

_COMPARISONS: dict[type[exp.Expression], str] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM", exp.NullSafeNEQ: "IS DISTINCT FROM",
}  # fmt: skip


def different(node: exp.Expression, *kinds: DataType) -> AnalysisException:
    types = " and ".join(sql_name(k) for k in kinds)
    return AnalysisException(
        f"cannot resolve {node.sql('spark')!r}: {types} have no type in common; cast one side",
        "DATATYPE_MISMATCH.BINARY_OP_DIFF_TYPES",
    )


def comparable(compiler: Compiler, node: exp.Expression, a: Typed, b: Typed) -> tuple[Typed, Typed]:
    """Both sides in the type in which they are compared."""
    kind = coercion.compared(a.type, b.type, compiler.settings.ansi)
    if kind is None or _holds_map(kind):
        raise different(node, a.type, b.type)
    return cast(a, kind, compiler.settings), cast(b, kind, compiler.settings)


def _holds_map(kind: DataType) -> bool:
    match kind:
        case MapType():
            return True
        case ArrayType(element):
            return _holds_map(element)
        case StructType(fields):
            return any(_holds_map(f.dataType) for f in fields)
    return False


@handles(*_COMPARISONS)
def _compare(compiler: Compiler, node: Any) -> Typed:
    a, b = comparable(compiler, node, compiler.compile(node.this), compiler.compile(node.expression))
    operator = _COMPARISONS[type(node)]
    nullable = (a.nullable or b.nullable) and not operator.startswith("IS")
    x, y = a.sql, b.sql
    if operator[0] in "<>" and operator != "<>":
        x, y = order_key(x, a.type), order_key(y, b.type)
    return Typed(f"({x} {operator} {y})", BooleanType(), nullable)


@handles(exp.And, exp.Or)
def _connect(compiler: Compiler, node: Any) -> Typed:
    # A long chain is a deep tree, and so it is walked and not recursed into.
    parts = [compiler.boolean(p) for p in node.flatten()]
    word = " AND " if isinstance(node, exp.And) else " OR "
    return Typed(f"({word.join(p.sql for p in parts)})", BooleanType(), any(p.nullable for p in parts))


@handles(exp.Not)
def _not(compiler: Compiler, node: exp.Not) -> Typed:
    inner = compiler.boolean(node.this)
    return Typed(f"(NOT {inner.sql})", BooleanType(), inner.nullable)


@handles(exp.Is)
def _is(compiler: Compiler, node: exp.Is) -> Typed:
    inner = compiler.compile(node.this)
    if isinstance(node.expression, exp.Null):
        return Typed(f"({inner.sql} IS NULL)", BooleanType(), False)
    if isinstance(node.expression, exp.Boolean):
        condition = cast(inner, BooleanType(), compiler.settings)
        return Typed(f"({condition.sql} IS {str(node.expression.this).upper()})", BooleanType(), False)
    raise AnalysisException(f"{node.sql('spark')!r}: IS takes NULL, TRUE or FALSE", "PARSE_SYNTAX_ERROR")


@handles(exp.Between)
def _between(compiler: Compiler, node: exp.Between) -> Typed:
    value = compiler.compile(node.this)
    parts = []
    for limit, operator in ((node.args["low"], ">="), (node.args["high"], "<=")):
        a, b = comparable(compiler, node, value, compiler.compile(limit))
        parts.append((a, operator, b))
    sql = " AND ".join(f"{a.sql} {operator} {b.sql}" for a, operator, b in parts)
    return Typed(f"({sql})", BooleanType(), any(x.nullable for a, _, b in parts for x in (a, b)))


@handles(exp.In)
def _in(compiler: Compiler, node: exp.In) -> Typed:
    if not node.expressions:
        raise AnalysisException(
            f"{node.sql('spark')!r}: IN (SELECT ...) is supported as a join only; write it as LEFT SEMI JOIN",
            "UNSUPPORTED_SUBQUERY_EXPRESSION_CATEGORY.UNSUPPORTED_IN_EXISTS_SUBQUERY",
        )
    items = [compiler.compile(e) for e in (node.this, *node.expressions)]
    kind = coercion.common_of([i.type for i in items], compiler.settings.ansi)
    if kind is None or _holds_map(kind):
        raise different(node, *{i.type: None for i in items})
    value, *others = (cast(i, kind, compiler.settings) for i in items)
    nullable = value.nullable or any(o.nullable for o in others)
    return Typed(f"({value.sql} IN ({', '.join(o.sql for o in others)}))", BooleanType(), nullable)


# --- choosing -------------------------------------------------------------------------------------------------------


def choose(compiler: Compiler, branches: Sequence[tuple[str, Typed]], default: Typed | None) -> Typed:
    """CASE over conditions already rendered; the branches meet in their common type."""
    values = [v for _, v in branches] + ([default] if default else [])
    kind = coercion.common_of([v.type for v in values], compiler.settings.ansi)
    if kind is None:
        types = ", ".join(sql_name(v.type) for v in values)
        raise AnalysisException(
            f"the branches of CASE/IF have types {types}, which have nothing in common; cast them to one",
            "DATATYPE_MISMATCH.DATA_DIFF_TYPES",
        )
    when = " ".join(f"WHEN {c} THEN {cast(v, kind, compiler.settings).sql}" for c, v in branches)
    otherwise = f" ELSE {cast(default, kind, compiler.settings).sql}" if default else ""
    nullable = default is None or any(v.nullable for v in values)
    # CAST costs nothing here, and gives NULL branches their type.
    return Typed(f"CAST(CASE {when}{otherwise} END AS {duck_type(kind)})", kind, nullable)


@handles(exp.Case)
def _case(compiler: Compiler, node: exp.Case) -> Typed:
    subject = compiler.compile(node.this) if node.this else None
    branches = []
    for branch in node.args["ifs"]:
        if subject is None:
            condition = compiler.boolean(branch.this).sql
        else:
            a, b = comparable(compiler, node, subject, compiler.compile(branch.this))
            condition = f"{a.sql} = {b.sql}"
        branches.append((condition, compiler.compile(branch.args["true"])))
    default = node.args.get("default")
    return choose(compiler, branches, compiler.compile(default) if default is not None else None)


@handles(exp.If)
def _if(compiler: Compiler, node: exp.If) -> Typed:
    otherwise = node.args.get("false")
    branch = (compiler.boolean(node.this).sql, compiler.compile(node.args["true"]))
    return choose(compiler, [branch], compiler.compile(otherwise) if otherwise is not None else None)


# --- matching -------------------------------------------------------------------------------------------------------


@handles(exp.Like, exp.ILike, exp.RegexpLike, exp.Escape)
def _like(compiler: Compiler, node: exp.Expression) -> Typed:
    escape = "\\"
    if isinstance(node, exp.Escape):
        escape = str(compiler.compile(node.expression).value)
        node = node.this
    text = cast(compiler.compile(node.this), StringType(), compiler.settings)
    pattern, word = node.expression, ""
    if isinstance(pattern, (exp.Any, exp.All)):
        word = " OR " if isinstance(pattern, exp.Any) else " AND "
        inner = pattern.this
        patterns = inner.expressions if isinstance(inner, exp.Tuple) else [inner.unnest()]
    else:
        patterns = [pattern]
    found = []
    for item in patterns:
        made = cast(compiler.compile(item), StringType(), compiler.settings)
        if isinstance(node, exp.RegexpLike):
            found.append(rlike(text, made))
        else:
            found.append(like(text, made, escape, case_sensitive=isinstance(node, exp.Like)))
    sql = f"({word.join(f.sql for f in found)})" if word else found[0].sql
    negated = f"(NOT {sql})" if node.args.get("negate") else sql
    return Typed(negated, BooleanType(), any(f.nullable for f in found))


@handles(exp.DPipe)
def _concatenate(compiler: Compiler, node: Any) -> Typed:
    from tidemill.plan.functions.registry import Call, lookup

    render = lookup("concat").render
    assert render is not None
    return render(Call("concat", list(node.flatten()), compiler))


@handles(exp.Concat)
def _adjacent(compiler: Compiler, node: exp.Concat) -> Typed:
    """``'a' 'b'`` is one literal."""
    return text_literal("".join(str(compiler.compile(e).value) for e in node.expressions))


# --- parts of values ------------------------------------------------------------------------------------------------


def field_of(compiler: Compiler, value: Typed, name: str) -> Typed:
    """``value.name``: a struct's field, that field of every struct of an array, or a map's value."""
    match value.type:
        case StructType():
            field = struct_field(value.type, name, compiler.settings.case_sensitive)
            sql = f"struct_extract({value.sql}, {_field_key(field.name)})"
            return Typed(sql, field.dataType, value.nullable or field.nullable)
        case ArrayType(StructType() as element, contains_null):
            field = struct_field(element, name, compiler.settings.case_sensitive)
            item = f"struct_extract(e_, {_field_key(field.name)})"
            kind = ArrayType(field.dataType, contains_null or field.nullable)
            return Typed(f"list_transform({value.sql}, lambda e_: {item})", kind, value.nullable)
        case MapType(key, _, _) if isinstance(key, StringType):
            return element_of(compiler, value, text_literal(name))
    raise AnalysisException(
        f"cannot take field {name!r} of {sql_name(value.type)}; only structs have fields",
        "INVALID_EXTRACT_BASE_FIELD_TYPE",
    )


def _field_key(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"


def struct_field(kind: StructType, name: str, case_sensitive: bool):  # type: ignore[no-untyped-def]
    """The field of a name; `AnalysisException` naming the nearest if there is none or more than one."""
    matches = [f for f in kind if f.name == name or (not case_sensitive and f.name.lower() == name.lower())]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise AnalysisException(
            f"field name {name!r} is ambiguous: there are {len(matches)} of it",
            "AMBIGUOUS_REFERENCE_TO_FIELDS",
        )
    raise AnalysisException(
        f"there is no field {name!r} in {kind.simpleString()}{did_you_mean(name, kind.names)}",
        "FIELD_NOT_FOUND",
    )


@handles(exp.Dot)
def _dot(compiler: Compiler, node: exp.Dot) -> Typed:
    value = compiler.compile(node.this)
    return field_of(compiler, value, node.expression.name)


@handles(exp.Bracket)
def _bracket(compiler: Compiler, node: exp.Bracket) -> Typed:
    value = compiler.compile(node.this)
    if len(node.expressions) != 1 or isinstance(node.expressions[0], exp.Slice):
        raise AnalysisException(
            f"{node.sql('spark')!r}: [] takes one index; use slice() for a range", "PARSE_SYNTAX_ERROR"
        )
    return element_of(compiler, value, compiler.compile(node.expressions[0]))


def element_of(compiler: Compiler, value: Typed, key: Typed) -> Typed:
    """``value[key]``: an array's element from 0 on, a map's value, or a struct's field by a literal name."""
    match value.type:
        case ArrayType(element):
            index = cast(
                key, LongType() if isinstance(key.type, LongType) else IntegerType(), compiler.settings
            )
            return _array_element(compiler, value, index, element)
        case MapType(kind, item, _):
            wanted = cast(key, kind, compiler.settings)
            return Typed(f"map_extract_value({value.sql}, {wanted.sql})", item, True)
        case StructType() if isinstance(key.value, str):
            return field_of(compiler, value, key.value)
        case NullType():
            return Typed("NULL", NullType(), True)
    raise AnalysisException(
        f"cannot take an element of {sql_name(value.type)}; only arrays and maps have them",
        "INVALID_EXTRACT_BASE_FIELD_TYPE",
    )


def _array_element(compiler: Compiler, value: Typed, index: Typed, element: DataType) -> Typed:
    if not compiler.settings.ansi:
        sql = let(index.sql, lambda i: f"CASE WHEN {i} >= 0 THEN list_extract({value.sql}, {i} + 1) END")
        return Typed(sql, element, True)

    def checked(array: str, i: str) -> str:
        error = failure(
            "INVALID_ARRAY_INDEX",
            "The index {} is out of bounds; the array has {} elements. Use get() for NULL instead.",
            i,
            f"len({array})",
        )
        return (
            f"CASE WHEN {i} < 0 OR {i} >= len({array}) THEN {error} ELSE list_extract({array}, {i} + 1) END"
        )

    return Typed(let(value.sql, lambda a: let(index.sql, lambda i: checked(a, i))), element, True)
