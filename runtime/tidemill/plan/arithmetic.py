"""Arithmetic with Spark's result types, overflow and division by zero; and arithmetic of times and intervals."""

from __future__ import annotations

from typing import Any

from sqlglot import exp

from tidemill.errors import AnalysisException
from tidemill.plan import coercion
from tidemill.plan.casts import _wrapped as wrapped
from tidemill.plan.casts import cast, sql_name
from tidemill.plan.compiler import Compiler, handles
from tidemill.plan.literals import MICROS, IntervalValue, interval, number
from tidemill.plan.rendering import from_local, let, to_local
from tidemill.plan.typed import Settings, Typed, cast_sql, duck_type, failure, null_of
from tidemill.types import (
    ByteType,
    CalendarIntervalType,
    DataType,
    DateType,
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
    TimestampNTZType,
    TimestampType,
    YearMonthIntervalType,
)

_OPERATORS: dict[type[exp.Expression], str] = {
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%", exp.IntDiv: "div",
}  # fmt: skip
_INTERVALS = (DayTimeIntervalType, YearMonthIntervalType, CalendarIntervalType)
_TIMES = (DateType, TimestampType, TimestampNTZType)
_BY_ZERO = "Division by zero. Use `try_divide` to tolerate a divisor of 0 and get NULL instead."
_REMAINDER_BY_ZERO = "Remainder by zero. Use `try_mod` to tolerate a divisor of 0 and get NULL instead."


@handles(*_OPERATORS)
def _binary(compiler: Compiler, node: Any) -> Typed:
    operator = _OPERATORS[type(node)]
    a, b = compiler.compile(node.this), compiler.compile(node.expression)
    return binary(
        operator, a, b, compiler.settings, node.sql("spark") if not node.find(_udf_class()) else operator
    )


def _udf_class() -> type[exp.Expression]:
    from tidemill.plan.compiler import UdfCall

    return UdfCall


def binary(
    operator: str, a: Typed, b: Typed, settings: Settings, text: str = "", safe: bool = False
) -> Typed:
    """``a operator b``. ``safe`` (the try_ functions): NULL where ANSI would raise."""
    if isinstance(a.type, (*_TIMES, *_INTERVALS)) or isinstance(b.type, (*_TIMES, *_INTERVALS)):
        found = _temporal(operator, a, b, settings)
        if found is None:
            raise _unfit(operator, a, b, text)
        return found
    texts = [t for t in (a.type, b.type) if isinstance(t, (StringType, NullType))]
    if settings.ansi and len(texts) == 2 and StringType() in texts:
        raise AnalysisException(
            f"cannot resolve {text or operator!r}: two strings are no numbers; cast one of them",
            "DATATYPE_MISMATCH.BINARY_OP_WRONG_TYPE",
        )
    if operator == "/" and isinstance(a.type, NullType):
        a = null_of(DoubleType())
    kind = _operand_type(operator, a, b, settings)
    if kind is None:
        raise _unfit(operator, a, b, text)
    if isinstance(kind, DecimalType):
        return _decimal(operator, _exact(a, b), _exact(b, a), settings, safe)
    a, b = cast(a, kind, settings), cast(b, kind, settings)
    if operator in ("+", "-", "*"):
        return _plain(operator, a, b, kind, settings, safe)
    return _divided(operator, a, b, kind, settings, safe)


def _unfit(operator: str, a: Typed, b: Typed, text: str) -> AnalysisException:
    return AnalysisException(
        f"cannot resolve {text or operator!r}: {sql_name(a.type)} {operator} {sql_name(b.type)} has no meaning; "
        "cast one side",
        "DATATYPE_MISMATCH.BINARY_OP_DIFF_TYPES",
    )


def _operand_type(operator: str, a: Typed, b: Typed, settings: Settings) -> DataType | None:
    x, y = (_readable(t.type, o.type, settings) for t, o in ((a, b), (b, a)))
    if not isinstance(x, (NumericType, NullType)) or not isinstance(y, (NumericType, NullType)):
        return None
    kind = coercion.tightest(x, y)
    if isinstance(kind, NullType):
        kind = DoubleType()
    if not settings.ansi and FloatType() in (x, y) and isinstance(y if x == FloatType() else x, IntegralType):
        kind = FloatType()
    if operator == "/" and not isinstance(kind, DecimalType):
        return DoubleType()
    if operator == "div" and isinstance(kind, IntegralType):
        return LongType()
    return kind


def _readable(kind: DataType, other: DataType, settings: Settings) -> DataType:
    """The number that a string is read as beside ``other``."""
    if not isinstance(kind, StringType):
        return kind
    return LongType() if settings.ansi and isinstance(other, IntegralType) else DoubleType()


def _exact(value: Typed, other: Typed) -> Typed:
    """A whole number as the decimal that it meets another decimal as; a literal has the digits that it has."""
    if isinstance(value.type, DecimalType):
        return value
    if isinstance(value.type, NullType):
        assert isinstance(other.type, DecimalType)
        return null_of(other.type)
    kind = (
        coercion.literal_decimal(value.value)
        if isinstance(value.value, int) and not isinstance(value.type, ByteType)
        else coercion.as_decimal(value.type)
    )
    return Typed(cast_sql(value.sql, kind), kind, value.nullable)


def _plain(operator: str, a: Typed, b: Typed, kind: DataType, settings: Settings, safe: bool) -> Typed:
    nullable = a.nullable or b.nullable or safe
    sql = f"({a.sql} {operator} {b.sql})"
    if isinstance(kind, IntegralType):
        if safe:
            sql = f"TRY({sql})"
        elif not settings.ansi:
            sql = wrapped(f"(CAST({a.sql} AS HUGEINT) {operator} CAST({b.sql} AS HUGEINT))", kind)
    return Typed(sql, kind, nullable)


def _divided(operator: str, a: Typed, b: Typed, kind: DataType, settings: Settings, safe: bool) -> Typed:
    lenient = safe or not settings.ansi
    nullable = a.nullable or b.nullable or lenient
    native = {"/": "/", "div": "//", "%": "%"}[operator]
    if operator == "div" and not isinstance(kind, IntegralType):
        raise _unfit(operator, a, b, "")
    result = kind

    def render(x: str, y: str) -> str:
        if operator == "div":  # the one quotient that overflows
            minus = f"-({x})" if settings.ansi or safe else wrapped(f"(-CAST({x} AS HUGEINT))", kind)  # type: ignore[arg-type]
            quotient = (
                f"CASE WHEN {y} = -1 THEN {minus} ELSE {x} // CASE WHEN {y} = -1 THEN 1 ELSE {y} END END"
            )
            plain = f"({x} // {y})" if _known_divisor(b) else quotient
        elif operator == "%" and isinstance(kind, IntegralType):
            plain = (
                f"CASE WHEN {y} = -1 THEN {cast_sql('0', kind)} ELSE {x} % {y} END"
                if not _known_divisor(b)
                else f"({x} % {y})"
            )
        else:
            plain = f"({x} {native} {y})"
        if _known_divisor(b):
            return plain
        zero = "NULL" if lenient else _zero_error(operator)
        guard = f"{x} IS NOT NULL AND " if not lenient and a.nullable else ""
        return f"CASE WHEN {y} = 0 THEN {f'CASE WHEN {guard}true THEN {zero} END' if guard else zero} ELSE {plain} END"

    sql = let(a.sql, lambda x: let(b.sql, lambda y: render(x, y)))
    return Typed(cast_sql(sql, result), result, nullable)


def _known_divisor(b: Typed) -> bool:
    """A literal that divides without fail: neither 0 nor -1."""
    return isinstance(b.value, (int, float)) and b.value not in (0, -1)


def _zero_error(operator: str) -> str:
    if operator == "%":
        return failure("REMAINDER_BY_ZERO", _REMAINDER_BY_ZERO)
    return failure("DIVIDE_BY_ZERO", _BY_ZERO)


# --- decimals -------------------------------------------------------------------------------------------------------


def _decimal(operator: str, a: Typed, b: Typed, settings: Settings, safe: bool) -> Typed:
    assert isinstance(a.type, DecimalType)
    assert isinstance(b.type, DecimalType)
    lenient = safe or not settings.ansi
    if operator == "div":
        return _decimal_div(a, b, lenient)
    kind = coercion.decimal_result(operator, a.type, b.type)
    if operator in ("/", "%"):
        sql = _decimal_quotient(operator, a, b, kind, lenient)
        return Typed(sql, kind, True if lenient else a.nullable or b.nullable)
    exact = _native_decimal(operator, a, b, kind)
    if exact is None:
        exact = _kernel_decimal({"+": "add", "-": "subtract", "*": "multiply"}[operator], a, b, kind, lenient)
    return Typed(exact, kind, a.nullable or b.nullable or lenient)


def _native_decimal(operator: str, a: Typed, b: Typed, kind: DecimalType) -> str | None:
    """DuckDB's arithmetic where it is exact: no digit is given up and 38 are enough for every value."""
    assert isinstance(a.type, DecimalType)
    assert isinstance(b.type, DecimalType)
    if operator == "*":
        if a.type.precision + b.type.precision > 37 or kind.scale != a.type.scale + b.type.scale:
            return None
        # DuckDB multiplies in 64 bits as long as neither factor needs more, however long the product is.
        (x, larger), (y, _) = sorted(((a, a.type), (b, b.type)), key=lambda v: -v[1].precision)
        wide = cast_sql(x.sql, DecimalType(max(19, larger.precision), larger.scale))
        return cast_sql(f"({wide if kind.precision > 18 else x.sql} * {y.sql})", kind)
    scale = max(a.type.scale, b.type.scale)
    whole = max(a.type.precision - a.type.scale, b.type.precision - b.type.scale)
    if kind.scale != scale or whole + scale + 1 > 38:
        return None
    return cast_sql(f"({cast_sql(a.sql, kind)} {operator} {cast_sql(b.sql, kind)})", kind)


def _kernel_decimal(name: str, a: Typed, b: Typed, kind: DecimalType, lenient: bool) -> str:
    strict = "lenient" if lenient else "strict"
    return f"tm_decimal_{name}__{kind.precision}_{kind.scale}_{strict}({a.sql}, {b.sql})"


def _decimal_quotient(operator: str, a: Typed, b: Typed, kind: DecimalType, lenient: bool) -> str:
    name = "divide" if operator == "/" else "remainder"
    zero = "NULL" if lenient else _zero_error(operator)

    def render(x: str, y: str) -> str:
        answer = _kernel_decimal(name, Typed(x, a.type), Typed(y, b.type), kind, lenient)
        guard = f"CASE WHEN {x} IS NOT NULL THEN {zero} END" if a.nullable and not lenient else zero
        return f"CASE WHEN {y} = 0 THEN {guard} ELSE {answer} END"

    return cast_sql(let(a.sql, lambda x: let(b.sql, lambda y: render(x, y))), kind)


def _decimal_div(a: Typed, b: Typed, lenient: bool) -> Typed:
    wide = DecimalType(38, 0)
    sql = _decimal_quotient("/", a, b, wide, lenient).replace("tm_decimal_divide", "tm_decimal_div")
    return Typed(cast_sql(sql, LongType()), LongType(), a.nullable or b.nullable or lenient)


# --- signs and bits -------------------------------------------------------------------------------------------------


@handles(exp.Neg)
def _negative(compiler: Compiler, node: exp.Neg) -> Typed:
    inner = node.this
    if isinstance(inner, exp.Literal) and not inner.is_string:
        return number(inner.this, negative=True)
    if isinstance(inner, exp.Cast) and isinstance(inner.this, exp.Literal) and inner.this.is_int:
        suffixed = inner.copy()  # -9223372036854775808L: the sign belongs to the literal
        suffixed.set("this", exp.Literal.number("-" + inner.this.this))
        return compiler.compile(suffixed)
    return negated(compiler.compile(inner), compiler.settings)


def negated(value: Typed, settings: Settings) -> Typed:
    """``-value``."""
    if isinstance(value.value, IntervalValue):
        v = value.value
        return interval(IntervalValue(-v.months, -v.days, -v.micros), value.type)
    if isinstance(value.type, (StringType, NullType)):
        value = cast(value, DoubleType(), settings)
    if isinstance(value.type, _INTERVALS):
        return Typed(f"(-({value.sql}))", value.type, value.nullable)
    if not isinstance(value.type, NumericType):
        raise AnalysisException(
            f"cannot negate {sql_name(value.type)}; only numbers and intervals have a sign",
            "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE",
        )
    if isinstance(value.type, IntegralType):
        return binary("-", Typed(cast_sql("0", value.type), value.type, False), value, settings)
    return Typed(f"(-({value.sql}))", value.type, value.nullable)


_BITWISE: dict[type[exp.Expression], str] = {exp.BitwiseAnd: "&", exp.BitwiseOr: "|", exp.BitwiseXor: "xor"}


@handles(*_BITWISE)
def _bitwise(compiler: Compiler, node: Any) -> Typed:
    a, b = compiler.compile(node.this), compiler.compile(node.expression)
    kind = coercion.common(a.type, b.type, compiler.settings.ansi)
    if not isinstance(kind, IntegralType):
        raise _unfit(_BITWISE[type(node)], a, b, node.sql("spark"))
    x, y = cast(a, kind, compiler.settings), cast(b, kind, compiler.settings)
    word = _BITWISE[type(node)]
    sql = f"xor({x.sql}, {y.sql})" if word == "xor" else f"({x.sql} {word} {y.sql})"
    return Typed(cast_sql(sql, kind), kind, x.nullable or y.nullable)


@handles(exp.BitwiseNot)
def _complement(compiler: Compiler, node: exp.BitwiseNot) -> Typed:
    value = compiler.compile(node.this)
    if not isinstance(value.type, IntegralType):
        raise AnalysisException(
            f"~ takes a whole number, not {sql_name(value.type)}", "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE"
        )
    return Typed(f"(~({value.sql}))", value.type, value.nullable)


@handles(exp.BitwiseLeftShift, exp.BitwiseRightShift)
def _shift(compiler: Compiler, node: exp.Binary) -> Typed:
    from tidemill.plan.functions.registry import Call, lookup

    name = "shiftleft" if isinstance(node, exp.BitwiseLeftShift) else "shiftright"
    render = lookup(name).render
    assert render is not None
    return render(Call(name, [node.this, node.expression], compiler))


# --- times ----------------------------------------------------------------------------------------------------------


def _of_nothing(operator: str, other: DataType) -> Typed | None:
    """A time or an interval and NULL: the type is that of the likeliest meaning."""
    if isinstance(other, _TIMES) and operator == "+":
        return null_of(TimestampType() if isinstance(other, DateType) else other)
    if isinstance(other, _TIMES) and operator == "-":
        return null_of(DayTimeIntervalType())
    if isinstance(other, _TIMES) or operator not in ("+", "-", "*", "/"):
        return None
    return null_of(other)


def _temporal(operator: str, a: Typed, b: Typed, settings: Settings) -> Typed | None:
    if isinstance(a.type, NullType) and operator == "/":
        return None
    if isinstance(a.type, NullType) or isinstance(b.type, NullType):
        return _of_nothing(operator, b.type if isinstance(a.type, NullType) else a.type)
    if operator == "+" and isinstance(b.type, _TIMES) and not isinstance(a.type, _TIMES):
        a, b = b, a
    nullable = a.nullable or b.nullable
    if isinstance(a.type, _TIMES) and operator in ("+", "-"):
        if isinstance(b.type, _INTERVALS):
            return shifted(a, b, operator, settings)
        if (
            isinstance(a.type, DateType)
            and isinstance(b.type, (IntegerType, ShortType))
            or (isinstance(a.type, DateType) and b.type.simpleString() == "tinyint")
        ):
            return Typed(f"({a.sql} {operator} {b.sql}::INTEGER)", DateType(), nullable)
        if operator == "-":
            return _difference(a, b, settings)
        return None
    if isinstance(a.type, StringType) and isinstance(b.type, _INTERVALS) and operator in ("+", "-"):
        return shifted(cast(a, TimestampType(), settings), b, operator, settings)
    if isinstance(a.type, _INTERVALS) and isinstance(b.type, _INTERVALS) and operator in ("+", "-"):
        return _interval_sum(operator, a, b)
    return _scaled(operator, a, b, settings)


def shifted(time: Typed, by: Typed, operator: str, settings: Settings) -> Typed:
    """A date or timestamp and an interval. Months and days go by the wall clock, hours by the instant."""
    nullable = time.nullable or by.nullable
    if isinstance(time.type, DateType):
        known = by.value
        days_only = isinstance(by.type, YearMonthIntervalType) or (
            isinstance(known, IntervalValue) and known.micros == 0
        )
        if days_only:
            return Typed(f"CAST({time.sql} {operator} {by.sql} AS DATE)", DateType(), nullable)
        if isinstance(by.type, CalendarIntervalType):
            return None  # type: ignore[return-value]
        time = cast(time, TimestampType(), settings)
    if not isinstance(time.type, TimestampType) or settings.utc:
        return Typed(f"({time.sql} {operator} {by.sql})", time.type, nullable)
    if not isinstance(by.type, DayTimeIntervalType):
        sql = from_local(f"({to_local(time.sql, settings)} {operator} {by.sql})", settings)
        return Typed(sql, time.type, nullable)
    days, micros = _whole_days(by)
    moved = time.sql
    if days != "0":
        moved = from_local(f"({to_local(time.sql, settings)} {operator} to_days({days}))", settings)
    if not days.lstrip(
        "-"
    ).isdigit():  # no days, no wall clock: an hour that is shown twice stays the one that it is
        moved = f"CASE WHEN {days} = 0 THEN {time.sql} ELSE {moved} END"
    rest = "" if micros == "0" else f" {operator} to_microseconds({micros})"
    return Typed(f"({moved}{rest})", time.type, nullable)


def _whole_days(by: Typed) -> tuple[str, str]:
    """A day-time interval as SQL for its days, which go by the wall clock, and its microseconds, which do not."""
    day = MICROS["DAY"]
    if isinstance(by.value, IntervalValue):
        total = by.value.duration
        days = abs(total) // day * (1 if total >= 0 else -1)
        return str(days), str(total - days * day)
    return f"CAST(epoch_us({by.sql}) // {day} AS INTEGER)", f"(epoch_us({by.sql}) % {day})"


def _difference(a: Typed, b: Typed, settings: Settings) -> Typed | None:
    """Time minus time: days between dates, else the duration."""
    nullable = a.nullable or b.nullable
    if isinstance(b.type, StringType):
        b = cast(b, a.type, settings)
    if not isinstance(b.type, _TIMES):
        return None
    if isinstance(a.type, DateType) and isinstance(b.type, DateType):
        return Typed(f"to_days(CAST({a.sql} - {b.sql} AS INTEGER))", DayTimeIntervalType(), nullable)
    kind = coercion.tightest(a.type, b.type)
    assert kind is not None
    # Between wall clocks, as Spark has it: across a change of the clock a day is still a day.
    x, y = (cast(v, kind, settings).sql for v in (a, b))
    if isinstance(kind, TimestampType):
        x, y = to_local(x, settings), to_local(y, settings)
    return Typed(f"({x} - {y})", DayTimeIntervalType(), nullable)


def _interval_sum(operator: str, a: Typed, b: Typed) -> Typed:
    kind = a.type if a.type == b.type else CalendarIntervalType()
    if isinstance(a.value, IntervalValue) and isinstance(b.value, IntervalValue):
        x, y, sign = a.value, b.value, 1 if operator == "+" else -1
        value = IntervalValue(x.months + sign * y.months, x.days + sign * y.days, x.micros + sign * y.micros)
        return interval(value, kind)
    return Typed(f"({a.sql} {operator} {b.sql})", kind, a.nullable or b.nullable)


def _scaled(operator: str, a: Typed, b: Typed, settings: Settings) -> Typed | None:
    """An interval times or divided by a number."""
    if operator == "*" and isinstance(b.type, _INTERVALS):
        a, b = b, a
    if (
        operator not in ("*", "/")
        or not isinstance(a.type, _INTERVALS)
        or isinstance(a.type, CalendarIntervalType)
    ):
        return None
    if isinstance(b.type, StringType):
        b = cast(b, DoubleType(), settings)
    if not isinstance(b.type, NumericType):
        return None
    months = isinstance(a.type, YearMonthIntervalType)
    amount = (
        f"(datepart('year', {a.sql}) * 12 + datepart('month', {a.sql}))" if months else f"epoch_us({a.sql})"
    )
    exact = operator == "*" and isinstance(b.type, IntegralType)
    if exact:
        count = f"({amount} * {b.sql})"
    elif isinstance(b.type, (FloatType, DoubleType)) or operator == "/":
        count = f"round({amount}::DOUBLE {operator} {b.sql}::DOUBLE)"
    else:
        count = f"round({amount} * {b.sql})"
    make = f"to_months(CAST({count} AS INTEGER))" if months else f"to_microseconds(CAST({count} AS BIGINT))"
    if operator == "/":
        error = "NULL" if not settings.ansi else failure("INTERVAL_DIVIDED_BY_ZERO", _BY_ZERO)
        make = f"CASE WHEN {b.sql} = 0 THEN {error} ELSE {make} END"
    return Typed(f"CAST({make} AS {duck_type(a.type)})", a.type, a.nullable or b.nullable)
