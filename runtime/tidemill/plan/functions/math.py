"""Mathematics: rounding, roots, logarithms, trigonometry, bits."""

from __future__ import annotations

from tidemill.plan import coercion
from tidemill.plan.arithmetic import binary, negated
from tidemill.plan.casts import _wrapped as wrapped
from tidemill.plan.casts import cast
from tidemill.plan.functions.registry import Call, define, special
from tidemill.plan.rendering import let
from tidemill.plan.typed import Typed, cast_sql, duck_type, failure
from tidemill.types import (
    BinaryType,
    ByteType,
    DataType,
    DayTimeIntervalType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    IntegralType,
    LongType,
    NullType,
    NumericType,
    ShortType,
    StringType,
    YearMonthIntervalType,
)

# --- powers and logarithms: doubles in, doubles out; what has no answer is NaN, as in Java -----------------------------

define("sqrt", "double -> double", "CASE WHEN {0} < 0 THEN 'nan'::DOUBLE ELSE sqrt({0}) END")
define("cbrt", "double -> double", "cbrt({0})")
define("exp", "double -> double", "exp({0})")
define("expm1", "double -> double", "tm_expm1({0})", kind="kernel")
define("log1p", "double -> double", "tm_log1p({0})", kind="kernel", nullable=True)
for _name, _sql in (("ln", "ln"), ("log2", "log2"), ("log10", "log10")):
    define(_name, "double -> double", f"CASE WHEN {{0}} > 0 THEN {_sql}({{0}}) END", nullable=True)
define("log", "double, double? -> double", {
    1: "CASE WHEN {0} > 0 THEN ln({0}) END",
    2: "CASE WHEN {0} > 0 AND {1} > 0 THEN ln({1}) / ln({0}) END",
}, nullable=True)  # fmt: skip
define("pow power", "double, double -> double",
       "CASE WHEN abs({0}) = 1 AND NOT isfinite({1}) THEN 'nan'::DOUBLE WHEN {0} = 1 AND isnan({1}) THEN 'nan'::DOUBLE ELSE pow({0}, {1}) END")  # fmt: skip
define("hypot", "double, double -> double", "tm_hypot({0}, {1})", kind="kernel")
define("e", "-> double", "2.718281828459045::DOUBLE")
define("pi", "-> double", "3.141592653589793::DOUBLE")

# --- trigonometry ---------------------------------------------------------------------------------------------------

_INFINITE = "CASE WHEN isinf({{0}}) THEN 'nan'::DOUBLE ELSE {}({{0}}) END"
for _name in ("sin", "cos", "tan"):
    define(_name, "double -> double", _INFINITE.format(_name))
define("cot", "double -> double", "CASE WHEN isinf({0}) THEN 'nan'::DOUBLE ELSE 1.0::DOUBLE / tan({0}) END")
define("sec", "double -> double", "CASE WHEN isinf({0}) THEN 'nan'::DOUBLE ELSE 1.0::DOUBLE / cos({0}) END")
define("csc", "double -> double", "CASE WHEN isinf({0}) THEN 'nan'::DOUBLE ELSE 1.0::DOUBLE / sin({0}) END")
for _name in ("asin", "acos"):
    define(_name, "double -> double", f"CASE WHEN abs({{0}}) > 1 THEN 'nan'::DOUBLE ELSE {_name}({{0}}) END")
for _name in ("atan", "sinh", "cosh", "tanh"):
    define(_name, "double -> double", f"{_name}({{0}})")
define("asinh", "double -> double", "asinh({0})")
define("acosh", "double -> double", "CASE WHEN {0} < 1 THEN 'nan'::DOUBLE ELSE acosh({0}) END")
define("atanh", "double -> double", "tm_atanh({0})", kind="kernel")
define("atan2", "double, double -> double", "atan2({0} + 0.0::DOUBLE, {1} + 0.0::DOUBLE)")
define("degrees", "double -> double", "degrees({0})")
define("radians", "double -> double", "radians({0})")
define("rint", "double -> double", "round_even({0}, 0)")


@special("signum sign", least=1, most=1)
def _sign(call: Call) -> Typed:
    value = _amount(call, 0)
    signs = "CASE WHEN isnan({0}) THEN {0} WHEN {0} > 0 THEN 1.0 WHEN {0} < 0 THEN -1.0 ELSE {0} END"
    return Typed(cast_sql(let(value.sql, signs.format), DoubleType()), DoubleType(), value.nullable)


define(
    "factorial",
    "int -> bigint",
    "CASE WHEN {0} BETWEEN 0 AND 20 THEN CAST(factorial({0}) AS BIGINT) END",
    nullable=True,
)
define("bin", "bigint -> string", "CASE WHEN {0} = 0 THEN '0' ELSE ltrim(to_binary({0}), '0') END")


# --- whole numbers --------------------------------------------------------------------------------------------------


@special("abs", least=1, most=1)
def _abs(call: Call) -> Typed:
    value = call.arg(0)
    if isinstance(value.type, (StringType, NullType)):
        value = call.coerced(0, DoubleType())
    if isinstance(value.type, (DayTimeIntervalType, YearMonthIntervalType)):
        zero = "to_microseconds(0)"
        sql = let(value.sql, lambda x: f"CASE WHEN {x} < {zero} THEN -({x}) ELSE {x} END")
        return Typed(sql, value.type, value.nullable)
    if not isinstance(value.type, NumericType):
        raise call.mismatch("be numbers")
    sql = f"abs({value.sql})"
    if isinstance(value.type, IntegralType) and not call.settings.ansi:
        sql = wrapped(f"abs(CAST({value.sql} AS HUGEINT))", value.type)
    return Typed(cast_sql(sql, value.type), value.type, value.nullable)


@special("negative", least=1, most=1)
def _negative(call: Call) -> Typed:
    return negated(call.arg(0), call.settings)


@special("positive", least=1, most=1)
def _positive(call: Call) -> Typed:
    value = call.arg(0)
    return call.coerced(0, DoubleType()) if isinstance(value.type, (StringType, NullType)) else value


@special("pmod", least=2, most=2)
def _pmod(call: Call) -> Typed:
    """The remainder with the divisor's sign, by Spark's own formula."""
    a, b = call.arg(0), call.arg(1)
    first = binary("%", a, b, call.settings, "pmod")
    kind = first.type
    divisor = cast(b, kind, call.settings)
    if isinstance(kind, DecimalType):
        again = binary("%", binary("+", first, b, call.settings), b, call.settings)
        sql = let(first.sql, lambda r: f"CASE WHEN {r} < 0 THEN {again.sql} ELSE {r} END")
        return Typed(cast_sql(sql, kind), kind, first.nullable)
    zero = cast_sql("0", kind)
    sql = let(
        first.sql,
        lambda r: let(divisor.sql, lambda n: f"CASE WHEN {r} < {zero} THEN ({r} + {n}) % {n} ELSE {r} END"),
    )
    return Typed(cast_sql(sql, kind), kind, first.nullable)


@special("ceil ceiling floor", least=1, most=2)
def _ceil(call: Call) -> Typed:
    value, word = call.arg(0), "floor" if call.name == "floor" else "ceil"
    if len(call) == 2:
        return _at_scale(call, word)
    if isinstance(value.type, DecimalType):
        p, s = value.type.precision, value.type.scale
        kind: DataType = coercion.bounded(p - s + 1, 0) if s > 0 else DecimalType(p, 0)
        return Typed(cast_sql(f"{word}({value.sql})", kind), kind, value.nullable)
    if isinstance(value.type, IntegralType):
        return cast(value, LongType(), call.settings)
    number = call.coerced(0, DoubleType())
    if call.settings.ansi:
        return Typed(f"CAST({word}({number.sql}) AS BIGINT)", LongType(), number.nullable)
    limit = "9223372036854775807"
    sql = let(
        f"{word}({number.sql})",
        lambda x: (
            f"CASE WHEN isnan({x}) THEN 0 WHEN {x} >= 9.223372036854775807e18::DOUBLE THEN {limit} "
            f"WHEN {x} <= -9.223372036854775808e18::DOUBLE THEN (-{limit} - 1) ELSE CAST({x} AS BIGINT) END"
        ),
    )
    return Typed(cast_sql(sql, LongType()), LongType(), number.nullable)


def _at_scale(call: Call, word: str) -> Typed:
    scale = call.literal(1)
    value = call.arg(0)
    exact = coercion.as_decimal(value.type) if isinstance(value.type, NumericType) else DecimalType(30, 15)
    number = cast(value, exact, call.settings)
    kept = min(exact.scale, max(int(scale), 0))
    kind = coercion.bounded(exact.precision - exact.scale + kept + 1, kept)
    sql = f"tm_round__{kind.precision}_{kind.scale}_{word}({number.sql}, {int(scale)})"
    return Typed(sql, kind, value.nullable)


@special("round bround", least=1, most=2)
def _round(call: Call) -> Typed:
    value = call.arg(0)
    scale = int(call.literal(1, 0) or 0)
    if isinstance(value.type, (StringType, NullType)):
        value = call.coerced(0, DoubleType())
    even = call.name == "bround"
    if isinstance(value.type, DecimalType):
        return _round_decimal(value, scale, even, call)
    if isinstance(value.type, IntegralType):
        return _round_integer(value, scale, even, call)
    if not isinstance(value.type, (DoubleType, FloatType)):
        raise call.mismatch("be numbers")
    return Typed(_round_fraction(value, scale, even), value.type, value.nullable)


def _round_decimal(value: Typed, scale: int, even: bool, call: Call) -> Typed:
    assert isinstance(value.type, DecimalType)
    p, s = value.type.precision, value.type.scale
    if scale < 0:
        kind = coercion.bounded(max(p - s, -scale) + 1, 0)
    else:
        kept = min(s, scale)
        kind = coercion.bounded(p - s + kept + 1, kept)
    if scale >= s:
        return Typed(cast_sql(value.sql, kind), kind, value.nullable)
    if scale >= 0 and not even:
        return Typed(cast_sql(f"round({value.sql}, {scale})", kind), kind, value.nullable)
    word = "even" if even else "up"
    return Typed(
        f"tm_round__{kind.precision}_{kind.scale}_{word}({value.sql}, {scale})", kind, value.nullable
    )


def _round_integer(value: Typed, scale: int, even: bool, call: Call) -> Typed:
    assert isinstance(value.type, IntegralType)
    if scale >= 0:
        return value
    word = "even" if even else "up"
    exact = cast(value, DecimalType(20, 0), call.settings)
    sql = f"tm_round__38_0_{word}({exact.sql}, {scale})"
    if call.settings.ansi:
        return Typed(cast_sql(sql, value.type), value.type, value.nullable)
    return Typed(wrapped(sql, value.type), value.type, value.nullable)


SURE_SCALE = 12
"""Digits up to which a double can be rounded by arithmetic: ten to that power is exact, and the product nearly."""


def _round_fraction(value: Typed, scale: int, even: bool) -> str:
    """Java rounds the decimal digits of a double, and not the double: 2.675 becomes 2.68.

    A product that is small and clear of a tie has but one whole number to go to, and its quotient by a power of ten is
    the double nearest to those digits. The rest goes by its digits, in a kernel.
    """
    word = "even" if even else "up"
    single = "float" if isinstance(value.type, FloatType) else "double"
    slow = f"tm_round_{single}__{word}({{0}}, {scale})"
    if scale == 0 and not even:
        whole = "CASE WHEN NOT isfinite({0}) THEN {0} WHEN abs({0}) < 0.5 THEN {1} ELSE round({0}) END"
        return let(value.sql, lambda x: cast_sql(whole.format(x, cast_sql("0", value.type)), value.type))
    if isinstance(value.type, FloatType) or not 0 <= scale <= SURE_SCALE:
        return slow.format(value.sql)
    power = f"{10**scale}.0::DOUBLE"

    def quick(x: str) -> str:
        scaled = f"({x} * {power})"
        clear = f"abs({scaled}) < 1e9 AND abs(abs({scaled}) - trunc(abs({scaled})) - 0.5) > 1e-5 AND abs({scaled}) > 0.5"
        return f"CASE WHEN {clear} THEN round({scaled}) / {power} ELSE {slow.format(x)} END"

    return let(value.sql, quick)


@special("conv", least=3, most=3)
def _conv(call: Call) -> Typed:
    text, a, b = (
        call.coerced(0, StringType()),
        call.coerced(1, IntegerType()),
        call.coerced(2, IntegerType()),
    )
    mode = "strict" if call.settings.ansi else "lenient"
    return Typed(f"tm_conv__{mode}({text.sql}, {a.sql}, {b.sql})", StringType(), True)


@special("hex", least=1, most=1)
def _hex(call: Call) -> Typed:
    value = call.arg(0)
    if isinstance(value.type, (BinaryType, StringType)):
        return Typed(f"hex({value.sql})", StringType(), value.nullable)
    number = call.coerced(0, LongType())
    # DuckDB writes a negative number with 16 digits too.
    return Typed(f"to_hex({number.sql})", StringType(), number.nullable)


define("unhex", "string -> binary", "tm_unhex({0})", kind="kernel", nullable=True)


# --- bits -----------------------------------------------------------------------------------------------------------


@special("shiftleft shiftright shiftrightunsigned", least=2, most=2)
def _shift(call: Call) -> Typed:
    """Java's shifts: by the low five or six bits of the count."""
    value = call.arg(0)
    if isinstance(value.type, (ByteType, ShortType)) or not isinstance(value.type, IntegralType):
        value = call.coerced(0, IntegerType())
    assert isinstance(value.type, IntegralType)
    count = call.coerced(1, IntegerType())
    bits = value.type.bits
    by = f"({count.sql} & {bits - 1})"
    if call.name == "shiftleft":
        sql = wrapped(f"(CAST({value.sql} AS HUGEINT) * CAST(pow(2, {by}) AS HUGEINT))", value.type)
    elif call.name == "shiftright":
        sql = cast_sql(f"({value.sql} >> {by})", value.type)
    else:
        unsigned = (
            f"(CAST({value.sql} AS HUGEINT) + CASE WHEN {value.sql} < 0 THEN {1 << bits}::HUGEINT ELSE 0 END)"
        )
        sql = wrapped(f"({unsigned} // CAST(pow(2, {by}) AS HUGEINT))", value.type)
    return Typed(sql, value.type, value.nullable or count.nullable)


@special("bit_count", least=1, most=1)
def _bit_count(call: Call) -> Typed:
    value = call.arg(0)
    kind = value.type if isinstance(value.type, IntegralType) else LongType()
    # Java counts the bits of the value as a long, sign and all.
    wide = f"CAST(CAST({cast(value, kind, call.settings).sql} AS {duck_type(LongType())}) AS BIGINT)"
    return Typed(f"CAST(bit_count({wide}) AS INTEGER)", IntegerType(), value.nullable)


@special("bit_get getbit", least=2, most=2)
def _bit_get(call: Call) -> Typed:
    value, at = call.arg(0), call.coerced(1, IntegerType())
    if not isinstance(value.type, IntegralType):
        raise call.mismatch("be whole numbers")
    bits = value.type.bits
    error = failure(
        "INVALID_PARAMETER_VALUE.BIT_POSITION_RANGE", f"bit {{}} is not one of 0 to {bits - 1}", at.sql
    )
    sql = f"CASE WHEN {at.sql} < 0 OR {at.sql} >= {bits} THEN {error} ELSE CAST(({value.sql} >> {at.sql}) & 1 AS TINYINT) END"
    return Typed(f"CAST({sql} AS TINYINT)", ByteType(), value.nullable or at.nullable)


def _amount(call: Call, index: int) -> Typed:
    """A number, or an interval's months or microseconds as one."""
    value = call.arg(index)
    if isinstance(value.type, DayTimeIntervalType):
        return Typed(f"CAST(epoch_us({value.sql}) AS DOUBLE)", DoubleType(), value.nullable)
    if isinstance(value.type, YearMonthIntervalType):
        months = f"(datepart('year', {value.sql}) * 12 + datepart('month', {value.sql}))"
        return Typed(f"CAST({months} AS DOUBLE)", DoubleType(), value.nullable)
    return call.coerced(index, DoubleType())


@special("width_bucket", least=4, most=4)
def _width_bucket(call: Call) -> Typed:
    v, low, high = (_amount(call, n) for n in range(3))
    count = call.coerced(3, LongType())
    sql = (
        f"CASE WHEN {count.sql} <= 0 OR {low.sql} = {high.sql} OR isnan({v.sql}) OR NOT isfinite({low.sql}) "
        f"OR NOT isfinite({high.sql}) THEN NULL "
        f"WHEN {low.sql} < {high.sql} THEN CASE WHEN {v.sql} < {low.sql} THEN 0 WHEN {v.sql} >= {high.sql} THEN {count.sql} + 1 "
        f"ELSE CAST(floor({count.sql} * ({v.sql} - {low.sql}) / ({high.sql} - {low.sql})) AS BIGINT) + 1 END "
        f"ELSE CASE WHEN {v.sql} > {low.sql} THEN 0 WHEN {v.sql} <= {high.sql} THEN {count.sql} + 1 "
        f"ELSE CAST(floor({count.sql} * ({low.sql} - {v.sql}) / ({low.sql} - {high.sql})) AS BIGINT) + 1 END END"
    )
    return Typed(cast_sql(sql, LongType()), LongType(), True)


@special("rand random", least=0, most=1, deterministic=False)
def _rand(call: Call) -> Typed:
    _no_seed(call)
    return Typed("random()", DoubleType(), False)


@special("randn", least=0, most=1, deterministic=False)
def _randn(call: Call) -> Typed:
    _no_seed(call)
    return Typed("(sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()))", DoubleType(), False)


def _no_seed(call: Call) -> None:
    if len(call):
        call.literal(0)
