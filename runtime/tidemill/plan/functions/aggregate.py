"""Aggregates: counts, sums, extremes, first and last, lists and sets, booleans and bits."""

from __future__ import annotations

from tidemill.errors import AnalysisException
from tidemill.plan import coercion
from tidemill.plan.aggregates import AggregateSpec, Partial, over_rows, whole
from tidemill.plan.casts import _wrapped as wrapped
from tidemill.plan.casts import cast, sql_name
from tidemill.plan.functions.registry import Call, aggregate
from tidemill.plan.rendering import order_key
from tidemill.plan.typed import Typed, cast_sql, duck_type, quote_text
from tidemill.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    DayTimeIntervalType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegralType,
    LongType,
    MapType,
    NullType,
    NumericType,
    StringType,
    StructField,
    StructType,
    YearMonthIntervalType,
)

_DISTINCT_REASON = "Distinct aggregations are not supported on streaming DataFrames/Datasets. Consider using approx_count_distinct() instead."


def simple(call: str, merge: str, kind: DataType, nullable: bool = True, where: str = "") -> AggregateSpec:
    """An aggregate whose only state is its own value."""
    return whole(kind, nullable, Partial(cast_sql(over_rows(call, where), kind), cast_sql(merge, kind), kind))


def _number(call: Call, index: int = 0) -> Typed:
    """An argument that must be a number; strings are read as doubles."""
    found = call.arg(index)
    if isinstance(found.type, (StringType, NullType)):
        return call.coerced(index, DoubleType())
    if not isinstance(found.type, NumericType):
        raise call.mismatch("be numbers")
    return found


# --- counts ---------------------------------------------------------------------------------------------------------


def _not_null(arguments: list[Typed]) -> str:
    return " AND ".join(f"{a.sql} IS NOT NULL" for a in arguments if a.nullable)


@aggregate("count", least=1, most=None)
def _count(call: Call) -> AggregateSpec:
    from sqlglot import exp

    literal = len(call) == 1 and isinstance(call.nodes[0], (exp.Star, exp.Literal))
    if literal:
        sql = over_rows("count(*)")
    elif len(call) == 1:
        sql = over_rows(f"count({call.arg(0).sql})")
    else:
        sql = over_rows("count(*)", _not_null(call.args))
    return whole(
        LongType(),
        False,
        Partial(sql, "CAST(coalesce(sum({0}), 0) AS BIGINT)", LongType()),
        finish="coalesce({0}, 0)",
    )


@aggregate("count_if")
def _count_if(call: Call) -> AggregateSpec:
    condition = call.compiler.boolean(call.nodes[0])
    sql = over_rows("count(*)", condition.sql)
    return whole(
        LongType(),
        False,
        Partial(sql, "CAST(coalesce(sum({0}), 0) AS BIGINT)", LongType()),
        finish="coalesce({0}, 0)",
    )


def distinct_spec(call: Call) -> AggregateSpec:
    """An aggregate over distinct values: in batch plans only."""
    arguments = call.args
    if call.name == "count":
        where = _not_null(arguments)
        value = arguments[0].sql if len(arguments) == 1 else f"row({', '.join(a.sql for a in arguments)})"
        return AggregateSpec(
            LongType(),
            False,
            over_rows(f"count(DISTINCT {value})", where),
            streaming=False,
            reason=_DISTINCT_REASON,
        )
    base = {
        "sum": _sum,
        "avg": _avg,
        "mean": _avg,
        "collect_list": _collect_list,
        "array_agg": _collect_list,
    }.get(call.name)
    if base is None:
        raise AnalysisException(
            f"{call.name}(DISTINCT ...) is not supported; aggregate over a subquery with SELECT DISTINCT",
            "DISTINCT_AGGREGATE_UNSUPPORTED",
        )
    spec = base(call)
    batch = (
        spec.batch.replace("sum(", "sum(DISTINCT ")
        .replace("count(", "count(DISTINCT ")
        .replace("list(", "list(DISTINCT ")
    )
    return AggregateSpec(spec.type, spec.nullable, batch, streaming=False, reason=_DISTINCT_REASON)


@aggregate("count_distinct", least=1, most=None)
def _count_distinct(call: Call) -> AggregateSpec:
    call.name = "count"
    return distinct_spec(call)


@aggregate("sum_distinct")
def _sum_distinct(call: Call) -> AggregateSpec:
    call.name = "sum"
    return distinct_spec(call)


@aggregate("approx_count_distinct", least=1, most=2)
def _approx_count_distinct(call: Call) -> AggregateSpec:
    """Counted exactly, by the set of 63-bit hashes; the relative error that may be given is met by any exact answer."""
    value = call.arg(0)
    hashed = f"CAST(hash({value.sql}) >> 1 AS BIGINT)"
    state = ArrayType(LongType(), False)
    init = over_rows(f"list(DISTINCT {hashed})", f"{value.sql} IS NOT NULL")
    part = Partial(init, "list_distinct(flatten(list({0})))", state)
    return whole(LongType(), False, part, finish="CAST(coalesce(len({0}), 0) AS BIGINT)")


# --- sums -----------------------------------------------------------------------------------------------------------


def _sum_type(kind: DataType) -> DataType:
    if isinstance(kind, IntegralType):
        return LongType()
    if isinstance(kind, DecimalType):
        return coercion.bounded(kind.precision + 10, kind.scale)
    return DoubleType()


@aggregate("sum")
def _sum(call: Call) -> AggregateSpec:
    return _sum_spec(call, safe=not call.settings.ansi)


@aggregate("try_sum")
def _try_sum(call: Call) -> AggregateSpec:
    return _sum_spec(call, safe=True)


def _sum_spec(call: Call, safe: bool) -> AggregateSpec:
    if isinstance(call.arg(0).type, (DayTimeIntervalType, YearMonthIntervalType)):
        return _interval_sum(call.arg(0))
    value = _number(call)
    kind = _sum_type(value.type)
    if isinstance(kind, DoubleType):
        return simple(f"sum(CAST({value.sql} AS DOUBLE))", "sum({0})", kind)
    # The state is wider than the answer: a sum that leaves the range and comes back is no overflow in the end.
    state = DecimalType(38, value.type.scale if isinstance(value.type, DecimalType) else 0)
    sums = over_rows(f"sum({value.sql})")
    if isinstance(kind, LongType) and call.name == "try_sum":
        wide = Partial(cast_sql(sums, state), cast_sql("sum({0})", state), state)
        return whole(kind, True, wide, finish="TRY_CAST({0} AS BIGINT)")
    if isinstance(kind, LongType):
        init, merge, finish = _whole_sum(call, sums, safe)
        return whole(kind, True, Partial(init, merge, kind), finish=finish)
    finish = _decimal_sum("{0}", kind, safe)
    return whole(
        kind, True, Partial(cast_sql(sums, state), cast_sql("sum({0})", state), state), finish=finish
    )


def _interval_sum(value: Typed) -> AggregateSpec:
    """The sum in microseconds or in months: DuckDB does not add intervals up."""
    days = isinstance(value.type, DayTimeIntervalType)
    unit = "epoch_us({0})" if days else "(date_part('year', {0}) * 12 + date_part('month', {0}))"
    sums = Partial(
        f"CAST({over_rows(f'sum({unit.format(value.sql)})')} AS BIGINT)",
        "CAST(sum({0}) AS BIGINT)",
        LongType(),
    )
    finish = "to_microseconds({0})" if days else "to_months(CAST({0} AS INTEGER))"
    return whole(value.type, True, sums, finish=finish)


def _whole_sum(call: Call, sums: str, safe: bool) -> tuple[str, str, str]:
    if safe:
        return wrapped(sums, LongType()), wrapped("sum({0})", LongType()), "{0}"
    return f"CAST({sums} AS BIGINT)", "CAST(sum({0}) AS BIGINT)", "{0}"


def _decimal_sum(sql: str, kind: DataType, safe: bool) -> str:
    return f"TRY_CAST({sql} AS {duck_type(kind)})" if safe else cast_sql(sql, kind)


@aggregate("avg mean")
def _avg(call: Call) -> AggregateSpec:
    return average(call, safe=not call.settings.ansi)


@aggregate("try_avg")
def _try_avg(call: Call) -> AggregateSpec:
    return average(call, safe=True)


def average(call: Call, safe: bool) -> AggregateSpec:
    if isinstance(call.arg(0).type, (DayTimeIntervalType, YearMonthIntervalType)):
        raise AnalysisException(
            f"{call.name}({sql_name(call.arg(0).type)}) is not supported; average its seconds",
            "UNSUPPORTED_FEATURE",
        )
    value = _number(call)
    count = Partial(over_rows(f"count({value.sql})"), "CAST(sum({1}) AS BIGINT)", LongType())
    if isinstance(value.type, DecimalType):
        total = coercion.bounded(value.type.precision + 10, value.type.scale)
        kind = coercion.bounded(value.type.precision + 4, value.type.scale + 4)
        init = f"TRY_CAST({over_rows(f'sum({value.sql})')} AS {duck_type(total)})"
        if not safe:
            init = cast_sql(over_rows(f"sum({value.sql})"), total)
        sums = Partial(init, cast_sql("sum({0})", total), total)
        lenient = "lenient" if safe else "strict"
        divided = f"tm_decimal_average__{total.precision}_{total.scale}_{kind.precision}_{kind.scale}_{lenient}({{0}}, {{1}})"
        return whole(kind, True, sums, count, finish=f"CASE WHEN {{1}} > 0 THEN {divided} END")
    sums = Partial(over_rows(f"sum(CAST({value.sql} AS DOUBLE))"), "sum({0})", DoubleType())
    return whole(DoubleType(), True, sums, count, finish="CASE WHEN {1} > 0 THEN {0} / {1} END")


@aggregate("product")
def _product(call: Call) -> AggregateSpec:
    value = call.coerced(0, DoubleType())
    return simple(f"product({value.sql})", "product({0})", DoubleType())


# --- extremes -------------------------------------------------------------------------------------------------------


@aggregate("min max")
def _extreme(call: Call) -> AggregateSpec:
    value = call.arg(0)
    if _orderless(value.type):
        raise AnalysisException(
            f"{call.name}() cannot order {sql_name(value.type)}; aggregate one of its parts",
            "DATATYPE_MISMATCH.INVALID_ORDERING_TYPE",
        )
    if isinstance(value.type, (ArrayType, StructType)):

        def pick(x: str) -> str:
            return f"arg_{call.name}({x}, {order_key(x, value.type)})"

        return whole(value.type, True, Partial(over_rows(pick(value.sql)), pick("{0}"), value.type))
    return simple(f"{call.name}({value.sql})", f"{call.name}({{0}})", value.type)


def _orderless(kind: DataType) -> bool:
    match kind:
        case MapType():
            return True
        case ArrayType(element):
            return _orderless(element)
        case StructType(fields):
            return any(_orderless(f.dataType) for f in fields)
    return False


@aggregate("max_by min_by", least=2, most=2)
def _extreme_by(call: Call) -> AggregateSpec:
    value, order = call.arg(0), call.arg(1)
    which = call.name[:3]
    boxed = StructType([StructField("v", value.type)])
    best = Partial(over_rows(f"{which}({order.sql})"), f"{which}({{0}})", order.type)
    pick = f"arg_{which}(struct_pack(v := {value.sql}), {order.sql})"
    held = Partial(over_rows(pick), f"arg_{which}({{1}}, {{0}})", boxed)
    spec = whole(value.type, True, best, held, finish="struct_extract({1}, 'v')")
    return spec


@aggregate("first first_value any_value", least=1, most=2)
def _first(call: Call) -> AggregateSpec:
    return _placed(call, "first")


@aggregate("last last_value", least=1, most=2)
def _last(call: Call) -> AggregateSpec:
    return _placed(call, "last")


def _placed(call: Call, which: str) -> AggregateSpec:
    value = call.arg(0)
    if call.literal(1, False):
        return whole(value.type, True, Partial(
            over_rows(f"{which}({value.sql})", f"{value.sql} IS NOT NULL"),
            f"{which}({{0}}) FILTER (WHERE {{0}} IS NOT NULL)", value.type))  # fmt: skip
    # Boxed, so that a NULL that was seen is not taken for nothing seen.
    boxed = StructType([StructField("v", value.type)])
    part = Partial(
        over_rows(f"{which}(struct_pack(v := {value.sql}))"),
        f"{which}({{0}}) FILTER (WHERE {{0}} IS NOT NULL)",
        boxed,
    )
    return whole(value.type, True, part, finish="struct_extract({0}, 'v')")


# --- collections ----------------------------------------------------------------------------------------------------


@aggregate("collect_list array_agg")
def _collect_list(call: Call) -> AggregateSpec:
    value = call.arg(0)
    kind = ArrayType(value.type, False)
    part = Partial(over_rows(f"list({value.sql})", f"{value.sql} IS NOT NULL"), "flatten(list({0}))", kind)
    return whole(kind, False, part, finish=f"coalesce({{0}}, CAST([] AS {duck_type(kind)}))")


@aggregate("collect_set")
def _collect_set(call: Call) -> AggregateSpec:
    value = call.arg(0)
    if _orderless(value.type):
        raise AnalysisException(
            "collect_set() cannot compare maps; collect one of their parts",
            "DATATYPE_MISMATCH.UNSUPPORTED_INPUT_TYPE",
        )
    kind = ArrayType(value.type, False)
    # -0.0 and 0.0 are one value, and written as the latter.
    item = value.sql
    if isinstance(value.type, (DoubleType, FloatType)):
        item = f"CASE WHEN {item} = 0 THEN {cast_sql('0', value.type)} ELSE {item} END"
    part = Partial(
        over_rows(f"list(DISTINCT {item})", f"{value.sql} IS NOT NULL"),
        "list_distinct(flatten(list({0})))",
        kind,
    )
    return whole(kind, False, part, finish=f"coalesce({{0}}, CAST([] AS {duck_type(kind)}))")


@aggregate("listagg string_agg", least=1, most=2)
def _listagg(call: Call) -> AggregateSpec:
    return _joined(call, "")


@aggregate("listagg_within_group string_agg_within_group", least=3, most=4)
def _listagg_ordered(call: Call) -> AggregateSpec:
    order, descending = call.arg(len(call) - 2), call.literal(len(call) - 1)
    spec = _joined(
        Call(call.name, call.nodes[:-2], call.compiler),
        f" ORDER BY {order.sql} {'DESC NULLS LAST' if descending else 'ASC NULLS FIRST'}",
    )
    return AggregateSpec(
        spec.type,
        True,
        spec.batch,
        streaming=False,
        reason="listagg() WITHIN GROUP needs all rows at once, which a streaming query never has; use listagg() without an order",
    )


def _joined(call: Call, order: str) -> AggregateSpec:
    value = call.arg(0)
    if not isinstance(value.type, (StringType, BinaryType)):
        value = cast(value, StringType(), call.settings)
    separator = quote_text(str(call.literal(1, "") or ""))
    if isinstance(value.type, BinaryType):
        raise AnalysisException("listagg(BINARY) is not supported; decode it first", "UNSUPPORTED_FEATURE")
    part = Partial(
        over_rows(f"list({value.sql}{order})", f"{value.sql} IS NOT NULL"),
        "flatten(list({0}))",
        ArrayType(StringType(), False),
    )
    joined = f"CASE WHEN len({{0}}) > 0 THEN array_to_string({{0}}, {separator}) END"
    return whole(StringType(), True, part, finish=joined)


# --- booleans and bits ----------------------------------------------------------------------------------------------


@aggregate("bool_and every")
def _bool_and(call: Call) -> AggregateSpec:
    return simple(f"bool_and({call.coerced(0, BooleanType()).sql})", "bool_and({0})", BooleanType())


@aggregate("bool_or some any")
def _bool_or(call: Call) -> AggregateSpec:
    return simple(f"bool_or({call.coerced(0, BooleanType()).sql})", "bool_or({0})", BooleanType())


@aggregate("bit_and bit_or bit_xor")
def _bits(call: Call) -> AggregateSpec:
    value = call.arg(0)
    if not isinstance(value.type, IntegralType):
        raise call.mismatch("be whole numbers")
    return simple(f"{call.name}({value.sql})", f"{call.name}({{0}})", value.type)
