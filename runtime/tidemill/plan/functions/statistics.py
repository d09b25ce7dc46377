"""Moments, correlations and percentiles."""

from __future__ import annotations

from sqlglot import exp

from tidemill.errors import AnalysisException
from tidemill.plan.aggregates import AggregateSpec, Partial, over_rows, whole
from tidemill.plan.functions.aggregate import average
from tidemill.plan.functions.registry import Call, aggregate
from tidemill.plan.typed import Typed
from tidemill.types import (
    ArrayType,
    DataType,
    DateType,
    DoubleType,
    LongType,
    NumericType,
    StructField,
    StructType,
    TimestampType,
)

_MOMENTS = StructType(StructField(n, DoubleType()) for n in ("n", "a", "m2", "m3", "m4"))
_PAIRS = StructType(StructField(n, DoubleType()) for n in ("n", "ax", "ay", "c", "mx", "my"))


# --- one variable ---------------------------------------------------------------------------------------------------


def _moments(call: Call, order: int) -> Partial:
    """Count, mean and central sums up to ``order``; merged pair by pair with Chan's and Pébay's formulas."""
    x = call.coerced(0, DoubleType()).sql
    rows = over_rows(f"list({x})", f"{x} IS NOT NULL")
    if order == 2:
        return _variance(x)
    return Partial(_central(rows), _merged("{0}", order), _MOMENTS)


def _variance(x: str) -> Partial:
    """DuckDB's own running variance, in one pass."""
    n, a = over_rows(f"count({x})"), over_rows(f"avg({x})")
    m2 = f"{over_rows(f'var_pop({x})')} * {n}"
    init = f"struct_pack(n := {n}::DOUBLE, a := {a}, m2 := {m2}, m3 := NULL::DOUBLE, m4 := NULL::DOUBLE)"
    return Partial(init, _merged("{0}", 2), _MOMENTS)


def _central(rows: str) -> str:
    """Two passes over a group's values: the mean first, then the sums of powers about it."""
    power = "list_sum(list_transform(r_.v, lambda e_: {}))"
    products = {2: "(e_ - r_.a) * (e_ - r_.a)"}
    products[3] = f"{products[2]} * (e_ - r_.a)"
    products[4] = f"{products[3]} * (e_ - r_.a)"
    sums = ", ".join(f"m{k} := coalesce({power.format(p)}, 0.0)::DOUBLE" for k, p in products.items())
    boxed = f"struct_pack(v := coalesce({rows}, []::DOUBLE[]), a := list_avg({rows}))"
    return f"list_transform([{boxed}], lambda r_: struct_pack(n := len(r_.v)::DOUBLE, a := r_.a, {sums}))[1]"


def _merged(column: str, order: int) -> str:
    n, d = "(p_.n + q_.n)", "(q_.a - p_.a)"
    a = f"p_.a + {d} * q_.n / {n}"
    m2 = f"p_.m2 + q_.m2 + {d} * {d} * p_.n * q_.n / {n}"
    m3 = m4 = "NULL::DOUBLE"
    if order > 2:
        m3 = (
            f"p_.m3 + q_.m3 + {d} * {d} * {d} * p_.n * q_.n * (p_.n - q_.n) / ({n} * {n}) "
            f"+ 3 * {d} * (p_.n * q_.m2 - q_.n * p_.m2) / {n}"
        )
        m4 = (
            f"p_.m4 + q_.m4 + {d} * {d} * {d} * {d} * p_.n * q_.n * (p_.n * p_.n - p_.n * q_.n + q_.n * q_.n) / ({n} * {n} * {n}) "
            f"+ 6 * {d} * {d} * (p_.n * p_.n * q_.m2 + q_.n * q_.n * p_.m2) / ({n} * {n}) "
            f"+ 4 * {d} * (p_.n * q_.m3 - q_.n * p_.m3) / {n}"
        )
    both = f"struct_pack(n := {n}, a := {a}, m2 := {m2}, m3 := {m3}, m4 := {m4})"
    step = f"CASE WHEN p_.n = 0 THEN q_ WHEN q_.n = 0 THEN p_ ELSE {both} END"
    return f"list_reduce(list({column}), lambda p_, q_: {step})"


def _moment_spec(call: Call, order: int, finish: str) -> AggregateSpec:
    spec = whole(DoubleType(), True, _moments(call, order), finish=finish)
    return spec


@aggregate("stddev stddev_samp std var_samp variance")
def _sample(call: Call) -> AggregateSpec:
    value = "(({0}).m2 / (({0}).n - 1))"
    value = f"sqrt{value}" if call.name.startswith("std") else value
    return _moment_spec(call, 2, f"CASE WHEN ({{0}}).n > 1 THEN {value} END")


@aggregate("stddev_pop var_pop")
def _population(call: Call) -> AggregateSpec:
    value = "(({0}).m2 / ({0}).n)"
    value = f"sqrt{value}" if call.name == "stddev_pop" else value
    return _moment_spec(call, 2, f"CASE WHEN ({{0}}).n > 0 THEN {value} END")


@aggregate("skewness")
def _skewness(call: Call) -> AggregateSpec:
    value = "sqrt(({0}).n) * ({0}).m3 / sqrt(({0}).m2 * ({0}).m2 * ({0}).m2)"
    return _moment_spec(call, 3, f"CASE WHEN ({{0}}).n > 0 AND ({{0}}).m2 <> 0 THEN {value} END")


@aggregate("kurtosis")
def _kurtosis(call: Call) -> AggregateSpec:
    value = "({0}).n * ({0}).m4 / (({0}).m2 * ({0}).m2) - 3.0"
    return _moment_spec(call, 4, f"CASE WHEN ({{0}}).n > 0 AND ({{0}}).m2 <> 0 THEN {value} END")


# --- two variables --------------------------------------------------------------------------------------------------


def _pairs(call: Call) -> Partial:
    """Count, means, and the central sums of products, over rows where both are known."""
    x, y = (call.coerced(n, DoubleType()).sql for n in range(2))
    known = f"{x} IS NOT NULL AND {y} IS NOT NULL"
    n = over_rows("count(*)", known)
    parts = {
        "n": f"{n}::DOUBLE", "ax": over_rows(f"avg({x})", known), "ay": over_rows(f"avg({y})", known),
        "c": f"{over_rows(f'covar_pop({y}, {x})')} * {n}", "mx": f"{over_rows(f'var_pop({x})', known)} * {n}",
        "my": f"{over_rows(f'var_pop({y})', known)} * {n}",
    }  # fmt: skip
    init = f"struct_pack({', '.join(f'{k} := {v}' for k, v in parts.items())})"
    total, dx, dy = "(p_.n + q_.n)", "(q_.ax - p_.ax)", "(q_.ay - p_.ay)"
    both = (
        f"struct_pack(n := {total}, ax := p_.ax + {dx} * q_.n / {total}, ay := p_.ay + {dy} * q_.n / {total}, "
        f"c := p_.c + q_.c + {dx} * {dy} * p_.n * q_.n / {total}, mx := p_.mx + q_.mx + {dx} * {dx} * p_.n * q_.n / {total}, "
        f"my := p_.my + q_.my + {dy} * {dy} * p_.n * q_.n / {total})"
    )
    step = f"CASE WHEN p_.n = 0 THEN q_ WHEN q_.n = 0 THEN p_ ELSE {both} END"
    return Partial(init, f"list_reduce(list({{0}}), lambda p_, q_: {step})", _PAIRS)


_PAIR_FINISHES = {
    "corr": "CASE WHEN ({0}).n > 1 AND ({0}).mx > 0 AND ({0}).my > 0 THEN ({0}).c / sqrt(({0}).mx * ({0}).my) END",
    "covar_pop": "CASE WHEN ({0}).n > 0 THEN ({0}).c / ({0}).n END",
    "covar_samp": "CASE WHEN ({0}).n > 1 THEN ({0}).c / (({0}).n - 1) END",
}


@aggregate("corr covar_pop covar_samp", least=2, most=2)
def _covariance(call: Call) -> AggregateSpec:
    return whole(DoubleType(), True, _pairs(call), finish=_PAIR_FINISHES[call.name])


_REGRESSIONS = {  # of y on x, where the call's first argument is y
    "regr_sxx": "CASE WHEN ({0}).n > 0 THEN ({0}).my END", "regr_syy": "CASE WHEN ({0}).n > 0 THEN ({0}).mx END",
    "regr_sxy": "CASE WHEN ({0}).n > 0 THEN ({0}).c END",
    "regr_slope": "CASE WHEN ({0}).n > 1 AND ({0}).my > 0 THEN ({0}).c / ({0}).my END",
    "regr_intercept": "CASE WHEN ({0}).n > 1 AND ({0}).my > 0 THEN ({0}).ax - ({0}).c / ({0}).my * ({0}).ay END",
    "regr_r2": "CASE WHEN ({0}).n > 1 AND ({0}).my > 0 THEN CASE WHEN ({0}).mx = 0 THEN 1.0 "
               "ELSE ({0}).c * ({0}).c / (({0}).mx * ({0}).my) END END",
}  # fmt: skip


@aggregate("regr_avgx regr_avgy", least=2, most=2)
def _regression_average(call: Call) -> AggregateSpec:
    """The plain average, with a decimal's type, over the rows in which neither is NULL."""
    given = exp.and_(*(exp.Is(this=n.copy(), expression=exp.Null()).not_() for n in call.nodes))
    kept = exp.Case(ifs=[exp.If(this=given, true=call.nodes[call.name == "regr_avgx"].copy())])
    return average(Call(call.name, [kept], call.compiler), not call.settings.ansi)


@aggregate(" ".join([*_REGRESSIONS, "regr_count"]), least=2, most=2)
def _regression(call: Call) -> AggregateSpec:
    if call.name == "regr_count":
        return whole(LongType(), False, _pairs(call), finish="CAST(coalesce(({0}).n, 0) AS BIGINT)")
    return whole(DoubleType(), True, _pairs(call), finish=_REGRESSIONS[call.name])


# --- percentiles: the state is every value ----------------------------------------------------------------------------


def _values(value: Typed) -> Partial:
    kind = ArrayType(value.type, False)
    return Partial(over_rows(f"list({value.sql})", f"{value.sql} IS NOT NULL"), "flatten(list({0}))", kind)


def _interpolated(value: Typed, share: object, descending: bool = False) -> str:
    """Spark's linear interpolation between the two nearest ranks."""
    p = 1 - float(str(share)) if descending else float(str(share))
    at = f"({p!r}::DOUBLE * (len(r_) - 1))"
    low, high = f"r_[CAST(floor({at}) AS BIGINT) + 1]", f"r_[CAST(ceil({at}) AS BIGINT) + 1]"
    between = f"(ceil({at}) - {at}) * {low} + ({at} - floor({at})) * {high}"
    inner = f"CASE WHEN len(r_) = 0 THEN NULL WHEN floor({at}) = ceil({at}) THEN {low} ELSE {between} END"
    return f"list_transform([list_sort({{0}})], lambda r_: {inner})[1]"


def _shares(call: Call, index: int) -> tuple[list[object], bool]:
    """The percentages: one literal, or an array of some."""
    from sqlglot import exp

    node = call.nodes[index]
    if isinstance(node, exp.Anonymous) and str(node.this).lower() == "array":
        found = [call.compiler.compile(e).value for e in node.expressions]
        several = True
    else:
        found, several = [call.literal(index)], False
    for share in found:
        if share is None or not 0 <= float(share) <= 1:
            raise AnalysisException(
                f"{call.name}() takes literal shares between 0 and 1, not {share}",
                "DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE",
            )
    return found, several


@aggregate("percentile", least=2, most=3)
def _percentile(call: Call) -> AggregateSpec:
    if len(call) == 3:
        raise AnalysisException(
            "percentile() with frequencies is not supported; repeat the rows", "UNSUPPORTED_FEATURE"
        )
    value = call.coerced(0, DoubleType())
    shares, several = _shares(call, 1)
    parts = [_interpolated(value, s) for s in shares]
    if not several:
        return whole(DoubleType(), True, _values(value), finish=parts[0])
    finish = f"CASE WHEN len({{0}}) > 0 THEN [{', '.join(parts)}] END"
    return whole(ArrayType(DoubleType(), False), True, _values(value), finish=finish)


@aggregate("median")
def _median(call: Call) -> AggregateSpec:
    value = call.coerced(0, DoubleType())
    return whole(DoubleType(), True, _values(value), finish=_interpolated(value, 0.5))


@aggregate("percentile_cont_within_group", least=3, most=3)
def _percentile_cont(call: Call) -> AggregateSpec:
    value = call.coerced(1, DoubleType())
    finish = _interpolated(value, call.literal(0), bool(call.literal(2)))
    return whole(DoubleType(), True, _values(value), finish=finish)


@aggregate("percentile_disc_within_group", least=3, most=3)
def _percentile_disc(call: Call) -> AggregateSpec:
    value = call.coerced(1, DoubleType())
    order = "'DESC'" if call.literal(2) else "'ASC'"
    rank = f"greatest(CAST(ceil({float(str(call.literal(0)))!r}::DOUBLE * len({{0}})) AS BIGINT), 1)"
    return whole(DoubleType(), True, _values(value), finish=f"list_sort({{0}}, {order})[{rank}]")


@aggregate("mode_within_group", least=2, most=2)
def _mode_within(call: Call) -> AggregateSpec:
    return _mode_spec(call)


@aggregate("percentile_approx approx_percentile", least=2, most=3)
def _percentile_approx(call: Call) -> AggregateSpec:
    """Answered exactly: the value at the rank that the approximation aims at."""
    value = call.arg(0)
    if not isinstance(value.type, (NumericType, DateType, TimestampType)):
        value = call.coerced(0, DoubleType())
    shares, several = _shares(call, 1)
    rank = "list_sort({{0}})[greatest(CAST(ceil({0}::DOUBLE * len({{0}})) AS BIGINT), 1)]"
    parts = [rank.format(repr(float(str(s)))) for s in shares]
    if not several:
        return whole(value.type, True, _values(value), finish=parts[0])
    kind: DataType = ArrayType(value.type, False)
    return whole(kind, True, _values(value), finish=f"CASE WHEN len({{0}}) > 0 THEN [{', '.join(parts)}] END")


@aggregate("mode", least=1, most=2)
def _mode(call: Call) -> AggregateSpec:
    return _mode_spec(Call(call.name, call.nodes[:1], call.compiler))


def _mode_spec(call: Call) -> AggregateSpec:
    """The most frequent value; of several the least, where Spark takes any."""
    value = call.arg(0)
    counted = "list_transform(list_distinct({0}), lambda d_: struct_pack(n := -len(list_filter({0}, lambda e_: e_ = d_)), v := d_))"
    finish = f"list_sort({counted})[1].v"
    return whole(value.type, True, _values(value), finish=finish)
