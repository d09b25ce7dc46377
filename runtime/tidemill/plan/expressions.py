"""Expressions, compiled: the one page that the rest of the plan reads.

    compile_expression(tree, columns, settings) -> Typed            DuckDB SQL and its Spark type
    compile_aggregate(tree, columns, settings) -> AggregateSpec     at once, and in mergeable parts
    is_aggregate / has_aggregate / is_generator / has_window / is_deterministic / user_functions

Trees have `Ref`s for columns and ``exp.Anonymous`` for calls (see `tidemill.plan.dialect`); what a name means stands in
`tidemill.plan.functions`.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from tidemill.errors import AnalysisException
from tidemill.kernel.udf import UserFunction
from tidemill.plan import arithmetic, literals, operators, overs
from tidemill.plan.aggregates import AggregateSpec, Partial
from tidemill.plan.compiler import Compiler, UdfCall
from tidemill.plan.functions import known_functions
from tidemill.plan.functions.registry import FUNCTIONS, Call, check_arity, lookup
from tidemill.plan.typed import Settings, Typed, duck_type, quote_name, quote_text


def compile_expression(e: exp.Expression, columns: Mapping[int, Typed], settings: Settings) -> Typed:
    """A scalar expression over ``columns`` (by attribute id). Raises `AnalysisException` with Spark's condition."""
    return Compiler(columns, settings).compile(e)


def compile_aggregate(e: exp.Expression, columns: Mapping[int, Typed], settings: Settings) -> AggregateSpec:
    """One aggregate call, possibly under FILTER, WITHIN GROUP or IGNORE NULLS."""
    return aggregate_spec(e, Compiler(columns, settings)).finished()


def aggregate_spec(e: exp.Expression, compiler: Compiler) -> AggregateSpec:
    """The specification with its places still open."""
    if isinstance(e, (exp.Alias, exp.Paren)):
        return aggregate_spec(e.this, compiler)
    if isinstance(e, exp.Filter):
        condition = compiler.boolean(e.expression.this)
        return aggregate_spec(e.this, compiler).filtered(condition.sql)
    if isinstance(e, exp.RespectNulls):
        return aggregate_spec(e.this, compiler)
    if isinstance(e, exp.IgnoreNulls):
        return aggregate_spec(_ignoring(e.this), compiler)
    if isinstance(e, exp.WithinGroup):
        return aggregate_spec(_within(e), compiler)
    if isinstance(e, UdfCall):
        raise AnalysisException(
            f"user-defined aggregate {e.name!r} is not supported; use applyInPandas, or aggregate with built-in functions",
            "UNSUPPORTED_FEATURE.PYTHON_UDAF",
        )
    if not isinstance(e, exp.Anonymous):
        raise AnalysisException(f"{e.sql('spark')!r} is no aggregate call", "UNSUPPORTED_EXPR")
    function = lookup(str(e.this))
    if function.aggregate is None:
        raise AnalysisException(f"{function.name}() is no aggregate function", "UNSUPPORTED_EXPR")
    arguments, distinct = _arguments(e)
    check_arity(function, len(arguments))
    call = Call(function.name, arguments, compiler)
    if distinct and function.name not in _SAME_IF_DISTINCT:
        from tidemill.plan.functions.aggregate import distinct_spec

        return distinct_spec(call)
    return function.aggregate(call)


_SAME_IF_DISTINCT = {"min", "max", "collect_set", "bool_and", "bool_or", "every", "some", "any", "approx_count_distinct",
                     "bit_and", "bit_or"}  # fmt: skip


def _arguments(e: exp.Anonymous) -> tuple[list[exp.Expression], bool]:
    if len(e.expressions) and isinstance(e.expressions[0], exp.Distinct):
        return [*e.expressions[0].expressions, *e.expressions[1:]], True
    return list(e.expressions), False


def _ignoring(call: exp.Expression) -> exp.Expression:
    """``first(x) IGNORE NULLS`` as ``first(x, true)``."""
    changed = call.copy()
    changed.set("expressions", [*changed.expressions[:1], exp.true()])
    return changed


def _within(e: exp.WithinGroup) -> exp.Expression:
    """WITHIN GROUP (ORDER BY x) as two arguments more: x, and whether it descends."""
    call = e.this.copy()
    first = e.expression.expressions[0]
    descending = exp.Boolean(this=bool(first.args.get("desc")))
    call.set("this", f"{call.this}_within_group".lower())
    call.set("expressions", [*call.expressions, first.this.copy(), descending])
    return call


# --- asking about trees ---------------------------------------------------------------------------------------------


def _kind(e: exp.Expression) -> str:
    found = FUNCTIONS.get(str(e.this).lower()) if isinstance(e, exp.Anonymous) else None
    return found.kind if found else ""


def is_aggregate(e: exp.Expression) -> bool:
    """Whether the expression is one aggregate call, bare or under FILTER, WITHIN GROUP or IGNORE NULLS."""
    while isinstance(e, (exp.Filter, exp.IgnoreNulls, exp.RespectNulls)):
        e = e.this
    if isinstance(e, exp.WithinGroup):
        return f"{e.this.this}_within_group".lower() in FUNCTIONS
    if isinstance(e, UdfCall):
        return bool(e.args["udf"].kind == "pandas_agg")
    return _kind(e) == "aggregate"


def has_aggregate(e: exp.Expression) -> bool:
    """Whether an aggregate call stands in it that is not computed OVER a window."""
    if isinstance(e, exp.Window):
        inner = e.this.this if isinstance(e.this, (exp.Filter, exp.IgnoreNulls, exp.RespectNulls)) else e.this
        return any(has_aggregate(c) for c in inner.iter_expressions()) or any(
            has_aggregate(c) for c in e.iter_expressions() if c is not e.this
        )
    if is_aggregate(e):
        return True
    if isinstance(e, (exp.Subquery, exp.Select)):
        return False
    return any(has_aggregate(c) for c in e.iter_expressions())


def is_generator(e: exp.Expression) -> bool:
    """Whether the expression is a call of explode() and its like."""
    return _kind(e) == "generator"


def has_window(e: exp.Expression) -> bool:
    """Whether an OVER stands in it."""
    return e.find(exp.Window) is not None


def is_deterministic(e: exp.Expression) -> bool:
    """Whether the same row always gives the same answer, within one batch and in any other."""
    for node in e.walk():
        if isinstance(node, UdfCall) and not node.args["udf"].deterministic:
            return False
        if isinstance(node, exp.Anonymous):
            found = FUNCTIONS.get(str(node.this).lower())
            if found and not found.deterministic:
                return False
    return True


def user_functions(e: exp.Expression) -> list[UserFunction]:
    """The users' functions that it calls, each once."""
    found = {node.args["udf"].id: node.args["udf"] for node in e.find_all(UdfCall)}
    return list(found.values())


__all__ = [
    "AggregateSpec", "Call", "Partial", "Settings", "Typed", "UdfCall", "UserFunction", "aggregate_spec", "arithmetic",
    "compile_aggregate", "compile_expression", "duck_type", "has_aggregate", "has_window", "is_aggregate",
    "is_deterministic", "is_generator", "known_functions", "literals", "operators", "overs", "quote_name", "quote_text",
    "user_functions",
]  # fmt: skip
