"""OVER: window functions and aggregates over frames, in plans that do not stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from tidemill.errors import AnalysisException
from tidemill.plan.aggregates import OVER
from tidemill.plan.casts import cast
from tidemill.plan.compiler import Compiler, handles
from tidemill.plan.typed import Typed
from tidemill.types import DataType, IntegerType

if TYPE_CHECKING:
    from tidemill.plan.functions.registry import Call


@handles(exp.Window)
def _over(compiler: Compiler, node: exp.Window) -> Typed:
    from tidemill.plan.functions.registry import Call, check_arity, lookup

    if (
        node.args.get("alias") is not None
        and not node.args.get("order")
        and not node.args.get("partition_by")
    ):
        raise AnalysisException(
            f"window {node.args['alias'].name!r} is not defined; write OVER (PARTITION BY ... ORDER BY ...)",
            "MISSING_WINDOW_SPECIFICATION",
        )
    inner, ignore_nulls = node.this, False
    if isinstance(inner, (exp.IgnoreNulls, exp.RespectNulls)):
        ignore_nulls = isinstance(inner, exp.IgnoreNulls)
        inner = inner.this
    call = inner.this if isinstance(inner, exp.Filter) else inner
    function = lookup(str(call.this))
    if function.kind == "window":
        check_arity(function, len(call.expressions))
        assert function.render is not None
        _check_frame(function.name, node)
        found = function.render(Call(function.name, call.expressions, compiler))
        nulls = " IGNORE NULLS)" if ignore_nulls else ")"
        sql = found.sql.replace(")" + OVER, nulls + OVER)
        fixed = function.name not in ("nth_value",)
        return Typed(
            sql.replace(OVER, f" OVER ({_window(compiler, node, fixed)})"), found.type, found.nullable
        )
    from tidemill.plan.expressions import aggregate_spec

    if function.name in _PLACED and not isinstance(inner, exp.Filter):
        return _placed(compiler, node, Call(function.name, call.expressions, compiler), ignore_nulls)
    if any(isinstance(a, exp.Distinct) for a in call.expressions):
        raise AnalysisException(
            f"{function.name}(DISTINCT ...) cannot stand OVER a window; aggregate in a query of its own and join it",
            "DISTINCT_WINDOW_FUNCTION_UNSUPPORTED",
        )
    if ignore_nulls:
        inner = exp.IgnoreNulls(this=inner.copy())
    spec = aggregate_spec(inner, compiler)
    return Typed(
        spec.batch.replace(OVER, f" OVER ({_window(compiler, node, False)})")
        .replace("/*filter*/", "")
        .replace("/*and*/", ""),
        spec.type,
        spec.nullable,
    )


def _check_frame(name: str, node: exp.Window) -> None:
    """Functions of a row's place need an order and fix their frame; `nth_value` takes any."""
    if name == "nth_value":
        return
    if not node.args.get("order"):
        raise AnalysisException(
            f"{name}() needs an order; write OVER (... ORDER BY ...)", "WINDOW_FUNCTION_FRAME_NOT_ORDERED"
        )
    spec = node.args.get("spec")
    neighbour = name in ("lag", "lead")
    given = spec and [str(spec.args.get(k)) for k in ("kind", "start", "start_side", "end")]
    if spec and given and (neighbour or given != ["ROWS", "UNBOUNDED", "PRECEDING", "CURRENT ROW"]):
        raise AnalysisException(
            f"{name}() has a frame of its own; leave {spec.sql('spark')} out",
            "_LEGACY_ERROR_TEMP_1035" if neighbour else "_LEGACY_ERROR_TEMP_1036",
        )


_PLACED = {"first": "first_value", "first_value": "first_value", "any_value": "first_value", "last": "last_value",
           "last_value": "last_value"}  # fmt: skip


def _placed(compiler: Compiler, node: exp.Window, call: Call, ignore_nulls: bool) -> Typed:
    """The first or last row of a frame: DuckDB's window functions, which know IGNORE NULLS."""
    value = call.arg(0)
    nulls = " IGNORE NULLS" if ignore_nulls or call.literal(1, False) else ""
    frame = _window(compiler, node, False)
    return Typed(f"{_PLACED[call.name]}({value.sql}{nulls}) OVER ({frame})", value.type, True)


def _window(compiler: Compiler, node: exp.Window, fixed_frame: bool) -> str:
    parts = []
    keys = node.args.get("partition_by")
    if keys:
        parts.append("PARTITION BY " + ", ".join(compiler.compile(k).sql for k in keys))
    order = node.args.get("order")
    kind: DataType | None = None
    if order:
        items = []
        for item in order.expressions:
            made = compiler.compile(item.this if isinstance(item, exp.Ordered) else item)
            kind = made.type
            items.append(made.sql + _direction(item))
        parts.append("ORDER BY " + ", ".join(items))
    spec = node.args.get("spec")
    if spec and not fixed_frame:
        parts.append(_frame(compiler, spec, kind))
    return " ".join(parts)


def _direction(item: exp.Expression) -> str:
    descending = bool(item.args.get("desc"))
    first = item.args.get("nulls_first")
    if first is None:
        first = not descending
    return f" {'DESC' if descending else 'ASC'} NULLS {'FIRST' if first else 'LAST'}"


def _frame(compiler: Compiler, spec: exp.Expression, order: DataType | None) -> str:
    kind = str(spec.args.get("kind") or "rows").upper()
    start = _bound(compiler, spec.args.get("start"), spec.args.get("start_side"), kind, order)
    end = _bound(compiler, spec.args.get("end"), spec.args.get("end_side"), kind, order)
    return f"{kind} BETWEEN {start} AND {end}"


def _bound(compiler: Compiler, value: object, side: object, kind: str, order: DataType | None) -> str:
    if value is None or value == "CURRENT ROW":
        return "CURRENT ROW"
    word = str(side or "PRECEDING").upper()
    if value == "UNBOUNDED":
        return f"UNBOUNDED {word}"
    assert isinstance(value, exp.Expression)
    made = compiler.compile(value)
    if kind == "ROWS":
        return f"{cast(made, IntegerType(), compiler.settings).sql} {word}"
    if order is not None and made.type.simpleString().startswith("interval"):
        return f"{made.sql} {word}"
    return f"{made.sql} {word}"
