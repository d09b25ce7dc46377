"""CAST and TRY_CAST as Spark defines them for every pair of types."""

from __future__ import annotations

from collections.abc import Callable

from tidemill.errors import AnalysisException
from tidemill.kernel.functions import times
from tidemill.plan import momenttexts
from tidemill.plan.rendering import from_local, let, to_local
from tidemill.plan.typed import Settings, Typed, cast_sql, duck_type, failure, null_of, quote_name
from tidemill.types import (
    ArrayType,
    AtomicType,
    BinaryType,
    BooleanType,
    ByteType,
    CalendarIntervalType,
    DataType,
    DateType,
    DayTimeIntervalType,
    DecimalType,
    DoubleType,
    FloatType,
    FractionalType,
    IntegralType,
    MapType,
    NullType,
    NumericType,
    ShortType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
    YearMonthIntervalType,
    nesting,
)

_INTERVALS = (DayTimeIntervalType, YearMonthIntervalType, CalendarIntervalType)
_TRIMMED = r"[\x00-\x20\x7f]*"
_SHORT_NAMES = {"bigint": "BIGINT", "int": "INT"}


def sql_name(kind: DataType) -> str:
    """A type as Spark's messages quote it."""
    return f'"{kind.simpleString().upper()}"'


def mismatch(value: DataType, to: DataType) -> AnalysisException:
    return AnalysisException(
        f"cannot cast {sql_name(value)} to {sql_name(to)}; convert by a function that says how",
        "DATATYPE_MISMATCH.CAST_WITHOUT_SUGGESTION",
    )


def cast(value: Typed, to: DataType, settings: Settings, safe: bool = False) -> Typed:
    """``value`` as ``to``. What cannot be read is an error under ANSI, NULL without it or when ``safe``."""
    if value.type == to:
        return value
    if isinstance(value.type, NullType):
        return null_of(to)
    folded = _folded(value, to, settings)
    if folded is not None:
        return folded
    sql = _Cast(settings, safe or not settings.ansi).render(value.sql, value.type, to)
    nullable = value.nullable or safe or not settings.ansi
    return Typed(sql, to, nullable, value.value if _keeps_value(value, to) else None)


def _keeps_value(value: Typed, to: DataType) -> bool:
    return value.value is not None and isinstance(value.type, IntegralType) and isinstance(to, IntegralType)


def _folded(value: Typed, to: DataType, settings: Settings) -> Typed | None:
    """A literal string as the date or time that it says, so that nothing is parsed while running."""
    if not isinstance(value.value, str) or not isinstance(value.type, StringType):
        return None
    if isinstance(to, DateType):
        days = times.read_date(value.value)
        return None if days is None else Typed(f"(DATE '1970-01-01' + {days}::INTEGER)", to, False)
    if isinstance(to, TimestampType):
        micros = times.read_timestamp(value.value, settings.time_zone)
    elif isinstance(to, TimestampNTZType):
        micros = times.read_timestamp_ntz(value.value)
    else:
        return None
    return None if micros is None else Typed(f"make_timestamp({micros}::BIGINT)", to, False)


class _Cast:
    """Renderers by pair. ``lenient``: NULL for what cannot be read."""

    def __init__(self, settings: Settings, lenient: bool) -> None:
        self.settings = settings
        self.lenient = lenient

    def render(self, sql: str, a: DataType, b: DataType) -> str:
        if a == b:
            return sql
        if isinstance(a, NullType):
            return null_of(b).sql
        if isinstance(b, StringType):
            return self.to_string(sql, a)
        match a, b:
            case ArrayType(x, _), ArrayType(y, _):
                return self.array(sql, x, y)
            case MapType(k, v, _), MapType(j, w, _):
                return self.map(sql, (k, v), (j, w))
            case StructType(), StructType() if len(a) == len(b):
                return self.struct(sql, a, b)
        if not (isinstance(a, AtomicType) and isinstance(b, AtomicType)):
            raise mismatch(a, b)
        return self.atom(sql, a, b)

    def atom(self, sql: str, a: DataType, b: DataType) -> str:
        if isinstance(a, StringType):
            return self.from_string(sql, b)
        if isinstance(b, NumericType):
            return self.to_number(sql, a, b)
        if isinstance(b, BooleanType) and isinstance(a, NumericType):
            return f"({sql} <> 0)"
        if isinstance(b, (DateType, TimestampType, TimestampNTZType)):
            return self.to_time(sql, a, b)
        if isinstance(b, CalendarIntervalType) and isinstance(a, _INTERVALS):
            return sql
        if isinstance(b, BinaryType) and isinstance(a, IntegralType) and not self.settings.ansi:
            return f"unhex(right(printf('%016x', {sql}::BIGINT), {a.bits // 4}))"
        raise mismatch(a, b)

    # --- failing ----------------------------------------------------------------------------------------------------

    def or_malformed(self, sql: str, attempt: str, to: DataType) -> str:
        """``attempt`` is NULL where the string ``sql`` is no ``to``."""
        if self.lenient:
            return attempt
        error = failure(
            "CAST_INVALID_INPUT",
            "The value '{}' of the type \"STRING\" cannot be cast to "
            + sql_name(to)
            + " because it is malformed; correct the value, or use `try_cast` to get NULL instead.",
            sql,
        )
        return f"coalesce({attempt}, CASE WHEN {sql} IS NOT NULL THEN {error} END)"

    def or_overflow(self, sql: str, attempt: str, a: DataType, b: DataType) -> str:
        if self.lenient:
            return attempt
        error = failure(
            "CAST_OVERFLOW",
            f"The value {{}} of the type {sql_name(a)} cannot be cast to {sql_name(b)} due to an overflow; "
            "use `try_cast` to get NULL instead.",
            sql,
        )
        return f"coalesce({attempt}, CASE WHEN {sql} IS NOT NULL THEN {error} END)"

    def or_out_of_range(self, sql: str, attempt: str, to: DecimalType) -> str:
        if self.lenient:
            return attempt
        error = failure(
            "NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION",
            f"The value {{}} cannot be represented as Decimal({to.precision}, {to.scale}); "
            "use `try_cast` to get NULL instead.",
            sql,
        )
        return f"coalesce({attempt}, CASE WHEN {sql} IS NOT NULL THEN {error} END)"

    # --- strings ----------------------------------------------------------------------------------------------------

    def from_string(self, sql: str, to: DataType) -> str:
        if isinstance(to, BinaryType):
            return f"encode({sql})"
        readers: list[tuple[type[DataType], Callable[[str, DataType], str]]] = [
            (IntegralType, self._read_integer), (DecimalType, self._read_decimal), (FractionalType, self._read_fraction),
            (BooleanType, self._read_boolean), (DateType, self._read_date), (TimestampType, self._read_timestamp),
            (TimestampNTZType, self._read_timestamp), (DayTimeIntervalType, self._read_interval),
            (YearMonthIntervalType, self._read_interval), (CalendarIntervalType, self._read_interval),
        ]  # fmt: skip
        for kind, reader in readers:
            if isinstance(to, kind):
                return let(sql, lambda x: self.or_malformed(x, reader(x, to), to))  # noqa: B023
        raise mismatch(StringType(), to)

    def _read_integer(self, x: str, to: DataType) -> str:
        # DuckDB alone would also read '1e3', '1_000' and round '1.5'.
        fraction = r"(\.[0-9]*)?" if self.lenient and not self.settings.ansi else ""
        digits = rf"[+-]?[0-9]+{fraction}" if not fraction else r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)"
        read = f"TRY_CAST({x} AS {duck_type(to)})"
        if fraction:
            whole = f"split_part(trim({x}), '.', 1)"
            read = (
                f"TRY_CAST(CASE WHEN {whole} IN ('', '+', '-') THEN '0' ELSE {whole} END AS {duck_type(to)})"
            )
        return f"CASE WHEN regexp_full_match({x}, '{_TRIMMED}{digits}{_TRIMMED}') THEN {read} END"

    def _read_fraction(self, x: str, to: DataType) -> str:
        kind = duck_type(to)
        java = rf"{_TRIMMED}[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[dDfF]{_TRIMMED}"
        return (
            f"CASE WHEN contains({x}, '_') THEN NULL ELSE coalesce(TRY_CAST({x} AS {kind}), "
            f"CASE WHEN regexp_full_match({x}, '{java}') THEN "
            f"TRY_CAST(regexp_replace({x}, '[dDfF]\\s*$', '') AS {kind}) END) END"
        )

    def _read_decimal(self, x: str, to: DataType) -> str:
        number = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
        attempt = f"TRY_CAST({x} AS {duck_type(to)})"
        assert isinstance(to, DecimalType)
        read = self.or_out_of_range(x, attempt, to)
        return f"CASE WHEN regexp_full_match({x}, '{_TRIMMED}{number}{_TRIMMED}') THEN {read} END"

    def _read_boolean(self, x: str, to: DataType) -> str:
        word = f"lower(trim({x}, chr(9) || chr(10) || chr(13) || ' '))"
        return (
            f"CASE WHEN {word} IN ('true', 't', 'yes', 'y', '1') THEN true "
            f"WHEN {word} IN ('false', 'f', 'no', 'n', '0') THEN false END"
        )

    def _read_date(self, x: str, to: DataType) -> str:
        return (
            f"CASE WHEN {momenttexts.date_doubt(x)} THEN tm_to_date({x}) ELSE {momenttexts.date_value(x)} END"
        )

    def _read_timestamp(self, x: str, to: DataType) -> str:
        if isinstance(to, TimestampNTZType):
            slow, value, doubt = (
                f"tm_to_timestamp_ntz({x})",
                momenttexts.local_value(x),
                momenttexts.local_doubt(x),
            )
        else:
            slow = f"tm_to_timestamp({x}, '{self.settings.time_zone}')"
            value, doubt = momenttexts.instant_value(x, self.settings), momenttexts.instant_doubt(x)
        return f"CASE WHEN {doubt} THEN {slow} ELSE {value} END"

    def _read_interval(self, x: str, to: DataType) -> str:
        named: dict[type[DataType], str] = {DayTimeIntervalType: "dt", YearMonthIntervalType: "ym"}
        name = named.get(type(to), "cal")
        return f"tm_to_interval({x}, '{name}')"

    def to_string(self, sql: str, a: DataType) -> str:
        match a:
            case FloatType() | DoubleType():
                # DuckDB and Java agree on the digits, and within these bounds on the form.
                kernel = "tm_float_text" if isinstance(a, FloatType) else "tm_double_text"
                return let(
                    sql,
                    lambda x: (
                        f"CASE WHEN {x} = 0 OR (abs({x}) >= 0.001 AND abs({x}) < 10000000) "
                        f"THEN CAST({x} AS VARCHAR) ELSE {kernel}({x}) END"
                    ),
                )
            case DateType():
                return let(sql, momenttexts.date_text)
            case TimestampType():
                return let(to_local(sql, self.settings), momenttexts.local_text)
            case TimestampNTZType():
                return let(sql, momenttexts.local_text)
            case DecimalType(precision, scale):
                return self._decimal_text(sql, precision, scale)
            case BinaryType():
                return let(sql, lambda x: f"coalesce(TRY(decode({x})), tm_utf8({x}))")
            case DayTimeIntervalType() | YearMonthIntervalType() | CalendarIntervalType():
                name = {DayTimeIntervalType: "dt", YearMonthIntervalType: "ym"}.get(type(a), "cal")
                return f"tm_interval_text({sql}, '{name}')"
            case ArrayType(element):
                item = f"coalesce({self.render('c_', element, StringType())}, 'null')"
                return f"('[' || array_to_string(list_transform({sql}, lambda c_: {item}), ', ') || ']')"
            case MapType(key, value):
                pair = (
                    f"{self.render('c_.key', key, StringType())} || ' -> ' || "
                    f"coalesce({self.render('c_.value', value, StringType())}, 'null')"
                )
                return f"('{{' || array_to_string(list_transform(map_entries({sql}), lambda c_: {pair}), ', ') || '}}')"
            case StructType(fields):
                return let(sql, lambda x: self._struct_text(x, StructType(fields)))
        return f"CAST({sql} AS VARCHAR)"

    def _decimal_text(self, sql: str, precision: int, scale: int) -> str:
        if not self.settings.ansi and scale > 6:
            return f"tm_decimal_text({sql})"  # Java's toString goes over to exponents there
        if precision == scale:  # DuckDB leaves the 0 before the point out
            sql = (
                f"CAST({sql} AS DECIMAL({precision + 1},{scale}))"
                if precision < 38
                else f"CAST({sql} AS DECIMAL(38,37))"
            )
        return f"CAST({sql} AS VARCHAR)"

    def _struct_text(self, x: str, kind: StructType) -> str:
        parts = [
            f"coalesce({self.render(f'{x}.{quote_name(f.name)}', f.dataType, StringType())}, 'null')"
            for f in kind
        ]
        inside = " || ', ' || ".join(parts)
        return f"CASE WHEN {x} IS NOT NULL THEN '{{' || {inside} || '}}' END"

    # --- numbers ----------------------------------------------------------------------------------------------------

    def to_number(self, sql: str, a: DataType, b: DataType) -> str:
        if isinstance(a, BooleanType):
            return cast_sql(f"CAST({sql} AS INTEGER)", b)
        if isinstance(a, TimestampType):
            return self._seconds(sql, b)
        if (
            isinstance(a, (DateType, TimestampNTZType))
            and not self.settings.ansi
            and not isinstance(a, TimestampNTZType)
        ):
            return null_of(b).sql
        if not isinstance(a, NumericType):
            raise mismatch(a, b)
        if isinstance(b, DecimalType):
            return self._to_decimal(sql, a, b)
        if isinstance(b, IntegralType):
            return self._to_integer(sql, a, b)
        if isinstance(b, FloatType) and isinstance(a, DoubleType):
            return let(sql, lambda x: self._to_float(x))
        return cast_sql(sql, b)

    def _to_float(self, x: str) -> str:
        largest = "3.4028235677973366e38::DOUBLE"  # where rounding to a float reaches infinity
        return (
            f"CASE WHEN {x} >= {largest} AND NOT isnan({x}) THEN 'inf'::FLOAT "
            f"WHEN {x} <= -{largest} THEN '-inf'::FLOAT ELSE TRY_CAST({x} AS FLOAT) END"
        )

    def _to_integer(self, sql: str, a: DataType, b: IntegralType) -> str:
        if isinstance(a, IntegralType):
            if a.bits <= b.bits:
                return cast_sql(sql, b)
            if self.lenient and not self.settings.ansi:
                return _wrapped(sql, b)
            return let(sql, lambda x: self.or_overflow(x, f"TRY_CAST({x} AS {duck_type(b)})", a, b))
        if self.lenient and not self.settings.ansi:
            return let(sql, lambda x: _saturated(x, a, b))
        return let(sql, lambda x: self.or_overflow(x, f"TRY_CAST(trunc({x}) AS {duck_type(b)})", a, b))

    def _to_decimal(self, sql: str, a: DataType, b: DecimalType) -> str:
        if isinstance(a, (FloatType, DoubleType)):
            return let(sql, lambda x: self._fraction_to_decimal(x, b))
        elif (
            isinstance(a, IntegralType)
            and b.precision - b.scale >= 19
            or (
                isinstance(a, DecimalType)
                and a.scale <= b.scale
                and a.precision - a.scale <= b.precision - b.scale
            )
        ):
            return cast_sql(sql, b)
        return let(sql, lambda x: self.or_out_of_range(x, f"TRY_CAST({x} AS {duck_type(b)})", b))

    def _fraction_to_decimal(self, x: str, b: DecimalType) -> str:
        """By way of its digits, as Java's BigDecimal is made; a multiplication would round 1.005 down."""
        read = f"TRY_CAST(CAST({x}::DOUBLE AS VARCHAR) AS {duck_type(b)})"
        return f"CASE WHEN isfinite({x}) THEN {self.or_out_of_range(x, read, b)} END"

    def _seconds(self, sql: str, b: DataType) -> str:
        if isinstance(b, (FloatType, DoubleType)):
            return cast_sql(f"(epoch_us({sql}) / 1000000.0::DOUBLE)", b)
        if isinstance(b, DecimalType):
            micros = DecimalType(20, 0)
            return self._to_decimal(
                f"(CAST(epoch_us({sql}) AS DECIMAL(20,0)) * 0.000001::DECIMAL(7,6))", micros, b
            )
        whole = let(
            sql, lambda x: f"((epoch_us({x}) - ((epoch_us({x}) % 1000000) + 1000000) % 1000000) // 1000000)"
        )
        if isinstance(b, IntegralType) and b.bits < 64:
            return let(
                whole, lambda x: self.or_overflow(x, f"TRY_CAST({x} AS {duck_type(b)})", TimestampType(), b)
            )
        return cast_sql(whole, b)

    # --- times ------------------------------------------------------------------------------------------------------

    def to_time(self, sql: str, a: DataType, b: DataType) -> str:
        match a, b:
            case DateType(), TimestampType():
                return from_local(f"CAST({sql} AS TIMESTAMP)", self.settings)
            case (DateType(), TimestampNTZType()) | (TimestampNTZType(), DateType()):
                return cast_sql(sql, b)
            case TimestampType(), DateType():
                return f"CAST({to_local(sql, self.settings)} AS DATE)"
            case TimestampType(), TimestampNTZType():
                return to_local(sql, self.settings)
            case TimestampNTZType(), TimestampType():
                return from_local(sql, self.settings)
        if isinstance(b, TimestampType):
            if isinstance(a, BooleanType) and self.settings.ansi:
                raise mismatch(a, b)
            if isinstance(a, (IntegralType, BooleanType)):
                unit = "1" if isinstance(a, BooleanType) else "1000000"
                return f"make_timestamp(CAST({sql} AS BIGINT) * {unit})"
            if isinstance(a, DecimalType):
                return f"make_timestamp(CAST(trunc({sql} * 1000000) AS BIGINT))"
            if isinstance(a, FractionalType):
                return let(sql, self._timestamp_of_fraction)
        raise mismatch(a, b)

    def _timestamp_of_fraction(self, x: str) -> str:
        made = f"make_timestamp(CAST(trunc({x}::DOUBLE * 1000000) AS BIGINT))"
        if self.lenient:
            return f"CASE WHEN isfinite({x}::DOUBLE) THEN {made} END"
        error = failure(
            "CAST_INVALID_INPUT",
            'The value {} of the type "DOUBLE" cannot be cast to "TIMESTAMP"; it is no number.',
            x,
        )
        return f"CASE WHEN isfinite({x}::DOUBLE) THEN {made} WHEN {x} IS NOT NULL THEN {error} END"

    # --- nested -----------------------------------------------------------------------------------------------------

    def array(self, sql: str, a: DataType, b: DataType) -> str:
        name = f"c{nesting(a)}_"
        item = self.render(name, a, b)
        return sql if item == name else f"list_transform({sql}, lambda {name}: {item})"

    def map(self, sql: str, a: tuple[DataType, DataType], b: tuple[DataType, DataType]) -> str:
        name = f"c{max(nesting(a[0]), nesting(a[1]))}_"
        key, value = (
            self.render(f"{name}.{p}", x, y) for p, x, y in zip(("key", "value"), a, b, strict=True)
        )
        if (key, value) == (f"{name}.key", f"{name}.value"):
            return sql
        pair = f"{{'key': {key}, 'value': {value}}}"
        return f"map_from_entries(list_transform(map_entries({sql}), lambda {name}: {pair}))"

    def struct(self, sql: str, a: StructType, b: StructType) -> str:
        def packed(x: str) -> str:
            parts = [
                f"{quote_name(g.name)} := {self.render(f'struct_extract_at({x}, {i + 1})', f.dataType, g.dataType)}"
                for i, (f, g) in enumerate(zip(a, b, strict=True))
            ]
            return f"CASE WHEN {x} IS NOT NULL THEN struct_pack({', '.join(parts)}) END"

        return let(sql, packed)


def _wrapped(sql: str, to: IntegralType) -> str:
    """The low bits of a whole number, as Java's narrowing keeps them."""
    half = 1 << (to.bits - 1)
    full = 1 << to.bits
    wide = f"CAST({sql} AS HUGEINT)"
    return cast_sql(f"(((({wide} + {half}) % {full}) + {full}) % {full} - {half})", to)


def _saturated(x: str, a: DataType, b: IntegralType) -> str:
    """A fraction as Java narrows it: through INT for the narrow types, at the bounds for what is beyond."""
    if isinstance(a, DecimalType):
        return _wrapped(f"trunc({x})", b)
    if isinstance(b, (ByteType, ShortType)):
        return _wrapped(_clamped(x, 32), b)
    return cast_sql(_clamped(x, b.bits), b)


def _clamped(x: str, bits: int) -> str:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return (
        f"CASE WHEN isnan({x}) THEN 0 WHEN {x} >= {high}::DOUBLE THEN {high} WHEN {x} <= {low}::DOUBLE THEN {low} "
        f"ELSE CAST(trunc({x}) AS BIGINT) END"
    )
