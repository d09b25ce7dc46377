"""Functions that choose, test for NULL, and convert."""

from __future__ import annotations

from tidemill.plan import coercion
from tidemill.plan.arithmetic import binary
from tidemill.plan.casts import cast
from tidemill.plan.functions.registry import Call, define, special
from tidemill.plan.operators import choose
from tidemill.plan.rendering import let
from tidemill.plan.typed import Typed, cast_sql, duck_type
from tidemill.types import (
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    NullType,
    ShortType,
    StringType,
    TimestampType,
)


@special("coalesce", least=1)
def _coalesce(call: Call) -> Typed:
    items = call.same_type()
    kind = items[0].type
    sql = f"coalesce({', '.join(i.sql for i in items)})" if len(items) > 1 else items[0].sql
    return Typed(sql, kind, all(i.nullable for i in items))


@special("nvl ifnull", least=2, most=2)
def _nvl(call: Call) -> Typed:
    return _coalesce(call)


@special("nvl2", least=3, most=3)
def _nvl2(call: Call) -> Typed:
    chosen = choose(call.compiler, [(f"{call.arg(0).sql} IS NOT NULL", call.arg(1))], call.arg(2))
    return chosen


@special("nullif", least=2, most=2)
def _nullif(call: Call) -> Typed:
    a = call.arg(0)
    x, y = call.same_type()
    sql = let(a.sql, lambda v: f"CASE WHEN {x.sql} = {y.sql} THEN NULL ELSE {v} END")
    return Typed(f"CAST({sql} AS {duck_type(a.type)})", a.type, True)


@special("nullifzero", least=1, most=1)
def _nullifzero(call: Call) -> Typed:
    a = call.arg(0)
    return Typed(let(a.sql, lambda v: f"CASE WHEN {v} = 0 THEN NULL ELSE {v} END"), a.type, True)


@special("zeroifnull", least=1, most=1)
def _zeroifnull(call: Call) -> Typed:
    a = call.arg(0)
    zero = Typed("CAST(0 AS INTEGER)", IntegerType(), False, 0)
    kind = coercion.common(a.type, zero.type, call.settings.ansi)
    assert kind is not None
    x, z = cast(a, kind, call.settings), cast(zero, kind, call.settings)
    return Typed(f"coalesce({x.sql}, {z.sql})", kind, False)


@special("if iff", least=3, most=3)
def _if(call: Call) -> Typed:
    condition = call.compiler.boolean(call.nodes[0])
    return choose(call.compiler, [(condition.sql, call.arg(1))], call.arg(2))


@special("when", least=2)
def _when(call: Call) -> Typed:
    """``when(c1, v1, c2, v2, ..., otherwise)``: CASE as a call."""
    pairs = len(call) // 2
    branches = [(call.compiler.boolean(call.nodes[2 * i]).sql, call.arg(2 * i + 1)) for i in range(pairs)]
    return choose(call.compiler, branches, call.arg(len(call) - 1) if len(call) % 2 else None)


@special("greatest least", least=2)
def _extreme(call: Call) -> Typed:
    if len({isinstance(a.type, StringType) for a in call.args if not isinstance(a.type, NullType)}) > 1:
        raise call.mismatch("have one type")  # a string is not read as a number or a date here
    items = call.same_type()
    sql = f"{call.name}({', '.join(i.sql for i in items)})"
    return Typed(cast_sql(sql, items[0].type), items[0].type, all(i.nullable for i in items))


@special("nanvl", least=2, most=2)
def _nanvl(call: Call) -> Typed:
    a, b = call.arg(0), call.arg(1)
    kind: DataType = FloatType() if a.type == b.type == FloatType() else DoubleType()
    x, y = cast(a, kind, call.settings), cast(b, kind, call.settings)
    return Typed(
        let(x.sql, lambda v: f"CASE WHEN isnan({v}) THEN {y.sql} ELSE {v} END"),
        kind,
        a.nullable or b.nullable,
    )


define("isnull", "any -> boolean", "({0} IS NULL)", nullable=False)
define("isnotnull", "any -> boolean", "({0} IS NOT NULL)", nullable=False)
define("isnan", "double -> boolean", "coalesce(isnan({0}), false)", nullable=False)


@special("equal_null", least=2, most=2)
def _equal_null(call: Call) -> Typed:
    a, b = call.same_type()
    return Typed(f"({a.sql} IS NOT DISTINCT FROM {b.sql})", BooleanType(), False)


# --- conversions by name --------------------------------------------------------------------------------------------

_CONVERSIONS: dict[str, DataType] = {
    "boolean": BooleanType(), "tinyint": ByteType(), "smallint": ShortType(), "int": IntegerType(), "bigint": LongType(),
    "float": FloatType(), "double": DoubleType(), "string": StringType(), "binary": BinaryType(), "date": DateType(),
    "timestamp": TimestampType(), "decimal": DecimalType(10, 0),
}  # fmt: skip


@special(" ".join(_CONVERSIONS), least=1, most=1)
def _convert(call: Call) -> Typed:
    return cast(call.arg(0), _CONVERSIONS[call.name], call.settings)


# --- arithmetic by name ---------------------------------------------------------------------------------------------

_TRY = {"try_add": "+", "try_subtract": "-", "try_multiply": "*", "try_divide": "/", "try_mod": "%"}


@special(" ".join(_TRY), least=2, most=2)
def _try(call: Call) -> Typed:
    return binary(_TRY[call.name], call.arg(0), call.arg(1), call.settings, call.name, safe=True)


@special("mod", least=2, most=2)
def _mod(call: Call) -> Typed:
    return binary("%", call.arg(0), call.arg(1), call.settings, call.name)


@special("typeof", least=1, most=1)
def _typeof(call: Call) -> Typed:
    kind = call.arg(0).type
    name = "void" if isinstance(kind, NullType) else kind.simpleString()
    return Typed("'" + name.replace("'", "''") + "'", StringType(), False, name)
