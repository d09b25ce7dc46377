"""Dates, timestamps and their parts, in the session's time zone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tidemill.errors import AnalysisException, did_you_mean
from tidemill.plan.arithmetic import shifted
from tidemill.plan.casts import cast
from tidemill.plan.functions.registry import Call, define, special
from tidemill.plan.literals import MICROS, MONTHS, unit_name
from tidemill.plan.rendering import clock_text, from_local, let, to_local, zone_instant, zone_local
from tidemill.plan.typed import Typed, cast_sql, failure, quote_text
from tidemill.types import (
    ByteType,
    CalendarIntervalType,
    DataType,
    DateType,
    DayTimeIntervalType,
    DecimalType,
    DoubleType,
    FractionalType,
    IntegerType,
    LongType,
    NullType,
    StringType,
    TimestampNTZType,
    TimestampType,
    YearMonthIntervalType,
)

NOW = "CAST(getvariable('tidemill_now') AS TIMESTAMP)"
"""The batch timestamp, which the kernel sets."""

_TIMES = (DateType, TimestampType, TimestampNTZType)

# --- now ------------------------------------------------------------------------------------------------------------


@special("current_timestamp now", most=0)
def _current_timestamp(call: Call) -> Typed:
    return Typed(NOW, TimestampType(), False)


@special("localtimestamp", most=0)
def _localtimestamp(call: Call) -> Typed:
    return Typed(to_local(NOW, call.settings), TimestampNTZType(), False)


@special("current_date curdate", most=0)
def _current_date(call: Call) -> Typed:
    return Typed(f"CAST({to_local(NOW, call.settings)} AS DATE)", DateType(), False)


@special("current_timezone", most=0)
def _current_timezone(call: Call) -> Typed:
    return Typed(quote_text(call.settings.time_zone), StringType(), False, call.settings.time_zone)


# --- parts ----------------------------------------------------------------------------------------------------------


def wall_clock(call: Call, index: int, date: bool = False) -> Typed:
    """An argument as DuckDB's DATE or TIMESTAMP of the wall clock; what is no time is read as one."""
    value = call.arg(index)
    if not isinstance(value.type, _TIMES):
        value = call.coerced(index, DateType() if date else TimestampType())
    if isinstance(value.type, TimestampType):
        return Typed(to_local(value.sql, call.settings), TimestampNTZType(), value.nullable)
    return value


_DATE_PARTS = {
    "year": "year({0})", "quarter": "quarter({0})", "month": "month({0})", "day": "day({0})", "dayofmonth": "day({0})",
    "dayofyear": "dayofyear({0})", "dayofweek": "dayofweek({0}) + 1", "weekday": "isodow({0}) - 1",
    "weekofyear": "week({0})",
}  # fmt: skip
_TIME_PARTS = {"hour": "hour({0})", "minute": "minute({0})", "second": "second({0})"}


@special(" ".join([*_DATE_PARTS, *_TIME_PARTS]), least=1, most=1)
def _part(call: Call) -> Typed:
    template = _DATE_PARTS.get(call.name) or _TIME_PARTS[call.name]
    value = wall_clock(call, 0, date=call.name in _DATE_PARTS)
    if isinstance(value.type, DateType) and call.name in _TIME_PARTS:
        value = Typed(f"CAST({value.sql} AS TIMESTAMP)", TimestampNTZType(), value.nullable)
    return Typed(f"CAST({template.format(value.sql)} AS INTEGER)", IntegerType(), value.nullable)


@special("dayname monthname", least=1, most=1)
def _name(call: Call) -> Typed:
    value = wall_clock(call, 0, date=True)
    return Typed(f"left({call.name}({value.sql}), 3)", StringType(), value.nullable)


_FIELDS = {
    "YEAR": "year", "Y": "year", "YEARS": "year", "YR": "year", "YRS": "year", "QUARTER": "quarter", "QTR": "quarter",
    "MONTH": "month", "MON": "month", "MONS": "month", "MONTHS": "month", "WEEK": "weekofyear", "W": "weekofyear",
    "WEEKS": "weekofyear", "DAY": "day", "D": "day", "DAYS": "day", "DAYOFWEEK": "dayofweek", "DOW": "dayofweek",
    "DOY": "dayofyear", "HOUR": "hour", "H": "hour", "HOURS": "hour", "HR": "hour", "HRS": "hour", "MINUTE": "minute",
    "M": "minute", "MIN": "minute", "MINS": "minute", "MINUTES": "minute",
}  # fmt: skip


@special("extract date_part datepart", least=2, most=2)
def _extract(call: Call) -> Typed:
    field = str(call.literal(0)).upper()
    source = call.arg(1)
    if isinstance(source.type, (DayTimeIntervalType, YearMonthIntervalType, CalendarIntervalType)):
        return _interval_part(call, field, source)
    if field in ("SECOND", "S", "SEC", "SECONDS", "SECS"):
        value = wall_clock(call, 1)
        kind = DecimalType(8, 6)
        sql = f"CAST(microsecond(CAST({value.sql} AS TIMESTAMP)) AS DECIMAL(18,6)) * 0.000001::DECIMAL(7,6)"
        return Typed(cast_sql(sql, kind), kind, value.nullable)
    if field in ("YEAROFWEEK", "DAYOFWEEK_ISO", "DOW_ISO"):
        value = wall_clock(call, 1, date=True)
        word = "isoyear" if field == "YEAROFWEEK" else "isodow"
        return Typed(f"CAST({word}({value.sql}) AS INTEGER)", IntegerType(), value.nullable)
    name = _FIELDS.get(field)
    if name is None:
        raise AnalysisException(
            f"extract() knows no field {field!r} of a time{did_you_mean(field, _FIELDS)}",
            "INVALID_EXTRACT_FIELD",
        )
    return _part(Call(name, [call.nodes[1]], call.compiler))


def _interval_part(call: Call, field: str, source: Typed) -> Typed:
    """A field of an interval, the larger ones taken out."""
    micros = f"epoch_us({source.sql})"
    if field in ("SECOND", "S", "SEC", "SECONDS", "SECS"):
        kind = DecimalType(8, 6)
        return Typed(
            cast_sql(f"(CAST({micros} % 60000000 AS DECIMAL(18,6)) * 0.000001::DECIMAL(7,6))", kind),
            kind,
            source.nullable,
        )
    unit = unit_name({"D": "DAY", "H": "HOUR", "M": "MINUTE", "Y": "YEAR", "MON": "MONTH"}.get(field, field))
    if isinstance(source.type, YearMonthIntervalType) and unit in ("YEAR", "MONTH"):
        kind_: DataType = IntegerType() if unit == "YEAR" else ByteType()
        return Typed(cast_sql(f"datepart('{unit.lower()}', {source.sql})", kind_), kind_, source.nullable)
    if isinstance(source.type, DayTimeIntervalType) and unit in ("DAY", "HOUR", "MINUTE"):
        whole = f"{micros} // {MICROS[unit]}"
        rest = {"DAY": whole, "HOUR": f"({whole}) % 24", "MINUTE": f"({whole}) % 60"}[unit]
        part: DataType = IntegerType() if unit == "DAY" else ByteType()
        return Typed(cast_sql(f"({rest})", part), part, source.nullable)
    raise AnalysisException(f"extract() knows no field {field!r} of this interval", "INVALID_EXTRACT_FIELD")


# --- moving ---------------------------------------------------------------------------------------------------------


def _added(call: Call, sign: str) -> Typed:
    date = call.coerced(0, DateType())
    days = call.arg(1)
    if isinstance(days.type, (DayTimeIntervalType, YearMonthIntervalType, CalendarIntervalType)):
        return shifted(call.arg(0), days, sign, call.settings)
    if isinstance(days.type, FractionalType):
        raise call.mismatch("be a date and a whole number of days")
    days = call.coerced(1, IntegerType())
    return Typed(f"({date.sql} {sign} {days.sql})", DateType(), date.nullable or days.nullable)


@special("date_add dateadd timestampadd", least=2, most=3)
def _date_add(call: Call) -> Typed:
    """Two arguments: days. Three: a unit, a count and a time."""
    return _added(call, "+") if len(call) == 2 else _add_units(call)


@special("date_sub", least=2, most=2)
def _date_sub(call: Call) -> Typed:
    return _added(call, "-")


_TIMESTAMP_UNITS = {**{u: ("micros", n) for u, n in MICROS.items()}, **{u: ("months", n) for u, n in MONTHS.items()},
                    "DAY": ("days", 1), "WEEK": ("days", 7), "DAYOFYEAR": ("days", 1)}  # fmt: skip


def _unit(call: Call) -> str:
    name = str(call.literal(0)).upper()
    unit = name if name in _TIMESTAMP_UNITS else unit_name(name)
    if unit not in _TIMESTAMP_UNITS:
        raise AnalysisException(
            f"{call.name}() knows no unit {name!r}{did_you_mean(name, _TIMESTAMP_UNITS)}",
            "INVALID_PARAMETER_VALUE.DATETIME_UNIT",
        )
    return unit


def _add_units(call: Call) -> Typed:
    kind, factor = _TIMESTAMP_UNITS[_unit(call)]
    count, time = call.coerced(1, LongType()), call.arg(2)
    if not isinstance(time.type, (TimestampType, TimestampNTZType)):
        time = cast(time, TimestampType(), call.settings)
    nullable = count.nullable or time.nullable
    if kind == "micros":
        return Typed(f"({time.sql} + to_microseconds({count.sql} * {factor}))", time.type, nullable)
    word = "to_months" if kind == "months" else "to_days"
    by = f"{word}(CAST({count.sql} * {factor} AS INTEGER))"
    if isinstance(time.type, TimestampNTZType):
        return Typed(f"({time.sql} + {by})", time.type, nullable)
    return Typed(
        from_local(f"({to_local(time.sql, call.settings)} + {by})", call.settings), time.type, nullable
    )


@special("datediff date_diff timestampdiff", least=2, most=3)
def _datediff(call: Call) -> Typed:
    """Two arguments: days between dates. Three: a unit, from, to."""
    if len(call) == 3:
        return _diff_units(call)
    end, start = call.coerced(0, DateType()), call.coerced(1, DateType())
    return Typed(f"CAST({end.sql} - {start.sql} AS INTEGER)", IntegerType(), end.nullable or start.nullable)


def _diff_units(call: Call) -> Typed:
    kind, factor = _TIMESTAMP_UNITS[_unit(call)]
    start, end = (_as_timestamp(call, n) for n in (1, 2))
    nullable = start.nullable or end.nullable
    if kind == "months":
        return Typed(
            let(start.sql, lambda a: let(end.sql, lambda b: _months(a, b, factor))), LongType(), nullable
        )
    unit = factor * (MICROS["DAY"] if kind == "days" else 1)
    return Typed(f"((epoch_us({end.sql}) - epoch_us({start.sql})) // {unit})", LongType(), nullable)


def _as_timestamp(call: Call, index: int) -> Typed:
    value = wall_clock(call, index)
    return Typed(f"CAST({value.sql} AS TIMESTAMP)", TimestampNTZType(), value.nullable)


def _months(a: str, b: str, factor: int) -> str:
    """Whole months from ``a`` to ``b``: one less where the day and time of day are not yet reached."""
    count = f"((year({b}) - year({a})) * 12 + month({b}) - month({a}))"
    part = "(day({0}) * 86400000000 + epoch_us({0}) - epoch_us(date_trunc('day', {0})))"
    within = f"({part.format(b)} - {part.format(a)})"
    whole = f"CASE WHEN {count} > 0 AND {within} < 0 THEN {count} - 1 WHEN {count} < 0 AND {within} > 0 THEN {count} + 1 ELSE {count} END"
    return f"CAST(({whole}) // {factor} AS BIGINT)"


define("add_months", "date, int -> date", "CAST({0} + to_months({1}) AS DATE)")
define("last_day", "date -> date", "last_day({0})")

_FULL_DAYS = ("SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY")


@special("next_day", least=2, most=2)
def _next_day(call: Call) -> Typed:
    date, name = call.coerced(0, DateType()), call.coerced(1, StringType())
    word = f"upper(trim({name.sql}))"
    whens = " ".join(
        f"WHEN {word} IN ('{full}', '{full[:3]}', '{full[:2]}') THEN {n}" for n, full in enumerate(_FULL_DAYS)
    )
    other = "NULL"
    if call.settings.ansi:
        other = failure(
            "ILLEGAL_DAY_OF_WEEK", "Illegal input for day of week: {}; write it like 'MON'.", name.sql
        )
    known = f"{date.sql} IS NULL OR {name.sql} IS NULL"
    wanted = f"CASE WHEN {known} THEN NULL {whens} ELSE {other} END"
    sql = let(
        date.sql, lambda d: f"({d} + CAST((((({wanted}) - 1 - dayofweek({d})) % 7) + 7) % 7 + 1 AS INTEGER))"
    )
    return Typed(f"CAST({sql} AS DATE)", DateType(), True)


@special("months_between", least=2, most=3)
def _months_between(call: Call) -> Typed:
    a, b = call.coerced(0, TimestampType()), call.coerced(1, TimestampType())
    round_off = call.literal(2, True)

    def between(one: str, other: str) -> str:
        x, y = to_local(one, call.settings), to_local(other, call.settings)
        months = f"((year({x}) - year({y})) * 12 + month({x}) - month({y}))"
        last = "(CAST({0} AS DATE) = last_day({0}))"
        seconds = (
            f"((day({x}) - day({y})) * 86400 + {_seconds_of_day(one, call)} - {_seconds_of_day(other, call)})"
        )
        exact = f"({months} + {seconds} / 2678400.0::DOUBLE)"
        rounded = (
            f"(floor({exact} * 100000000.0::DOUBLE + 0.5) / 100000000.0::DOUBLE)" if round_off else exact
        )
        same = f"day({x}) = day({y}) OR ({last.format(x)} AND {last.format(y)})"
        return f"CASE WHEN {same} THEN CAST({months} AS DOUBLE) ELSE {rounded} END"

    sql = let(a.sql, lambda x: let(b.sql, lambda y: between(x, y)))
    return Typed(cast_sql(sql, DoubleType()), DoubleType(), a.nullable or b.nullable)


def _seconds_of_day(x: str, call: Call) -> str:
    """Seconds since the clock showed midnight; on the day when the clock changes that is not what it shows."""
    midnight = f"CAST(date_trunc('day', {to_local(x, call.settings)}) AS TIMESTAMP)"
    return f"((epoch_us({x}) - epoch_us({from_local(midnight, call.settings)})) // 1000000)"


# --- truncating -----------------------------------------------------------------------------------------------------

_DATE_UNITS = {"YEAR": "year", "YYYY": "year", "YY": "year", "QUARTER": "quarter", "MONTH": "month", "MON": "month",
               "MM": "month", "WEEK": "week"}  # fmt: skip
_TIME_UNITS = {**_DATE_UNITS, "DAY": "day", "DD": "day", "HOUR": "hour", "MINUTE": "minute", "SECOND": "second",
               "MILLISECOND": "millisecond", "MICROSECOND": "microsecond"}  # fmt: skip


@special("trunc", least=2, most=2)
def _trunc(call: Call) -> Typed:
    date = call.coerced(0, DateType())
    return _truncated(
        call, 1, date, _DATE_UNITS, lambda word: f"CAST(date_trunc('{word}', {date.sql}) AS DATE)"
    )


@special("date_trunc", least=2, most=2)
def _date_trunc(call: Call) -> Typed:
    value = call.coerced(1, TimestampType())
    return _truncated(call, 0, value, _TIME_UNITS, lambda word: _begin(call, word, value.sql))


def _truncated(
    call: Call, at: int, value: Typed, units: Mapping[str, str], cut: Callable[[str], str]
) -> Typed:
    """Cut to the unit that argument ``at`` names, whether a literal or not; NULL if it names none."""
    unit = call.coerced(at, StringType())
    if unit.value is None:
        whens = " ".join(f"WHEN '{name}' THEN {cut(word)}" for name, word in units.items())
        sql = f"CASE upper({unit.sql}) {whens} END"
    else:
        word = units.get(str(unit.value).upper())
        if word is not None:
            return Typed(cut(word), value.type, value.nullable)
        sql = "NULL"
    return Typed(cast_sql(sql, value.type), value.type, True)


def _begin(call: Call, word: str, x: str) -> str:
    """The beginning of the unit that the session's clock shows at the instant ``x``."""
    if word in ("second", "millisecond", "microsecond", "minute"):
        # Zones differ by whole minutes since 1972; before, by local mean time, seconds are what Java cuts too.
        return f"date_trunc('{word}', {x})"
    if word == "hour" and not call.settings.utc:
        # Within the hour that the clock shows twice, the instant keeps to its own.
        return let(x, lambda y: _hour_begin(y, call))
    return from_local(f"CAST(date_trunc('{word}', {to_local(x, call.settings)}) AS TIMESTAMP)", call.settings)


def _hour_begin(x: str, call: Call) -> str:
    local = to_local(x, call.settings)
    return f"({x} - to_microseconds(epoch_us({local}) - epoch_us(date_trunc('hour', {local}))))"


# --- text -----------------------------------------------------------------------------------------------------------


@special("date_format", least=2, most=2)
def _date_format(call: Call) -> Typed:
    from tidemill.kernel.functions import patterns

    value = call.coerced(0, TimestampType())
    pattern = call.arg(1)
    if pattern.value is not None:
        tokens = patterns.tokens(str(pattern.value), writing=True)
        native = patterns.strftime(tokens)
        if native is not None:
            sql = let(to_local(value.sql, call.settings), lambda x: clock_text(x, native))
            return Typed(sql, StringType(), value.nullable)
    sql = f"tm_date_format({value.sql}, {call.coerced(1, StringType()).sql}, {quote_text(call.settings.time_zone)})"
    return Typed(sql, StringType(), value.nullable or pattern.nullable)


_PARSE_ERROR = "The text {} cannot be read as a time; correct it or the pattern, or use `try_to_timestamp` for NULL instead."


def parsed(call: Call, text: Typed, pattern: Typed, safe: bool, local: bool = False) -> Typed:
    """A text read by a pattern; ``local`` gives the wall clock's reading and not the instant."""
    from tidemill.kernel.functions import patterns

    zone = "UTC" if local else call.settings.time_zone

    def render(x: str) -> str:
        if pattern.value is not None:
            tokens = patterns.tokens(str(pattern.value), writing=False)
            native = patterns.strptime(tokens)
            if native is not None:
                expression, form = native
                read = f"CASE WHEN regexp_full_match({x}, {quote_text(expression)}) THEN try_strptime({x}, {quote_text(form)}) END"
                return read if local else from_local(read, call.settings)
        return f"tm_parse_timestamp({x}, {pattern.sql}, {quote_text(zone)})"

    kind: DataType = TimestampNTZType() if local else TimestampType()
    if safe or not call.settings.ansi:
        return Typed(f"CAST({render(text.sql)} AS TIMESTAMP)", kind, True)

    def strict(x: str) -> str:
        error = failure("CANNOT_PARSE_TIMESTAMP", _PARSE_ERROR, x)
        return (
            f"coalesce({render(x)}, CASE WHEN {x} IS NOT NULL AND {pattern.sql} IS NOT NULL THEN {error} END)"
        )

    return Typed(f"CAST({let(text.sql, strict)} AS TIMESTAMP)", kind, text.nullable or pattern.nullable)


def _read(call: Call, to: DataType, safe: bool) -> Typed:
    value = call.arg(0)
    local = isinstance(to, TimestampNTZType)
    if len(call) == 2 and isinstance(value.type, (StringType, NullType)):
        found = parsed(call, call.coerced(0, StringType()), call.coerced(1, StringType()), safe, local)
        return cast(found, to, call.settings)
    return cast(value, to, call.settings, safe=safe)


@special("to_timestamp to_timestamp_ltz", least=1, most=2)
def _to_timestamp(call: Call) -> Typed:
    return _read(call, TimestampType(), False)


@special("to_timestamp_ntz", least=1, most=2)
def _to_timestamp_ntz(call: Call) -> Typed:
    return _read(call, TimestampNTZType(), False)


@special("try_to_timestamp", least=1, most=2)
def _try_to_timestamp(call: Call) -> Typed:
    return _read(call, TimestampType(), True)


@special("to_date", least=1, most=2)
def _to_date(call: Call) -> Typed:
    return _read(call, DateType(), False)


@special("try_to_date", least=1, most=2)
def _try_to_date(call: Call) -> Typed:
    return _read(call, DateType(), True)


@special("unix_timestamp to_unix_timestamp", least=0, most=2)
def _unix_timestamp(call: Call) -> Typed:
    if not len(call):
        return cast(Typed(NOW, TimestampType(), False), LongType(), call.settings)
    value = call.arg(0)
    if isinstance(value.type, (StringType, NullType)):
        pattern = call.coerced(1, StringType()) if len(call) == 2 else _DEFAULT_PATTERN
        value = parsed(call, call.coerced(0, StringType()), pattern, False)
    instant = cast(value, TimestampType(), call.settings)
    # Cut towards 1970, where a cast to BIGINT goes down.
    return Typed(f"(epoch_us({instant.sql}) // 1000000)", LongType(), instant.nullable)


_DEFAULT_PATTERN = Typed("'yyyy-MM-dd HH:mm:ss'", StringType(), False, "yyyy-MM-dd HH:mm:ss")


@special("from_unixtime", least=1, most=2)
def _from_unixtime(call: Call) -> Typed:
    from tidemill.kernel.functions import patterns

    seconds = call.coerced(0, LongType())
    instant = f"make_timestamp({seconds.sql} * 1000000)"
    pattern = call.coerced(1, StringType()) if len(call) == 2 else _DEFAULT_PATTERN
    nullable = seconds.nullable or pattern.nullable
    if pattern.value is not None:
        native = patterns.strftime(patterns.tokens(str(pattern.value), writing=True))
        if native is not None:
            sql = let(to_local(instant, call.settings), lambda x: clock_text(x, native))
            return Typed(sql, StringType(), nullable)
    sql = f"tm_date_format({instant}, {pattern.sql}, {quote_text(call.settings.time_zone)})"
    return Typed(sql, StringType(), nullable)


# --- numbers --------------------------------------------------------------------------------------------------------


@special("timestamp_seconds", least=1, most=1)
def _timestamp_seconds(call: Call) -> Typed:
    return cast(call.arg(0), TimestampType(), call.settings)


define("timestamp_millis", "bigint -> timestamp", "make_timestamp({0} * 1000)")
define("timestamp_micros", "bigint -> timestamp", "make_timestamp({0})")
_FLOORED = "((epoch_us({{0}}) - ((epoch_us({{0}}) % {0}) + {0}) % {0}) // {0})"
define("unix_seconds", "timestamp -> bigint", _FLOORED.format(1_000_000))
define("unix_millis", "timestamp -> bigint", _FLOORED.format(1_000))
define("unix_micros", "timestamp -> bigint", "epoch_us({0})")
define("unix_date", "date -> int", "CAST({0} - DATE '1970-01-01' AS INTEGER)")
define("date_from_unix_date", "int -> date", "(DATE '1970-01-01' + {0})")


# --- making ---------------------------------------------------------------------------------------------------------


@special("make_date", least=3, most=3)
def _make_date(call: Call) -> Typed:
    year, month, day = (call.coerced(n, IntegerType()) for n in range(3))
    nullable = year.nullable or month.nullable or day.nullable
    made = f"TRY(make_date({year.sql}, {month.sql}, {day.sql}))"
    if not call.settings.ansi:
        return Typed(made, DateType(), True)
    return Typed(_or_out_of_bounds(made, [year, month, day]), DateType(), nullable)


def _or_out_of_bounds(made: str, parts: list[Typed]) -> str:
    known = " AND ".join(f"{p.sql} IS NOT NULL" for p in parts)
    error = failure(
        "DATETIME_FIELD_OUT_OF_BOUNDS.WITHOUT_SUGGESTION",
        f"There is no such time: {'-'.join('{}' for _ in parts)}; use the `try_` function for NULL instead.",
        *(p.sql for p in parts),
    )
    return f"coalesce({made}, CASE WHEN {known} THEN {error} END)"


@special("make_timestamp make_timestamp_ltz make_timestamp_ntz try_make_timestamp try_make_timestamp_ltz "
         "try_make_timestamp_ntz", least=6, most=7)  # fmt: skip
def _make_timestamp(call: Call) -> Typed:
    parts = [call.coerced(n, IntegerType()) for n in range(5)]
    second = call.coerced(5, DecimalType(16, 6))
    whole = ", ".join(p.sql for p in parts)
    micros = f"to_microseconds(CAST({second.sql} * 1000000 AS BIGINT))"
    local = f"CASE WHEN {second.sql} >= 0 AND {second.sql} <= 60 AND {parts[3].sql} BETWEEN 0 AND 23 THEN TRY(make_timestamp({whole}, 0.0)) + {micros} END"
    safe = call.name.startswith("try_") or not call.settings.ansi
    nullable = safe or second.nullable or any(p.nullable for p in parts)
    sql = local if safe else _or_out_of_bounds(local, [*parts, second])
    if call.name.endswith("ntz"):
        return Typed(f"CAST({sql} AS TIMESTAMP)", TimestampNTZType(), nullable)
    if len(call) == 7:
        zone = call.coerced(6, StringType())
        return Typed(
            f"CAST({zone_instant(sql, zone.sql)} AS TIMESTAMP)", TimestampType(), nullable or zone.nullable
        )
    return Typed(f"CAST({from_local(sql, call.settings)} AS TIMESTAMP)", TimestampType(), nullable)


@special("make_dt_interval", least=0, most=4)
def _make_dt_interval(call: Call) -> Typed:
    parts = [call.coerced(n, IntegerType()) for n in range(min(len(call), 3))]
    factors = (MICROS["DAY"], MICROS["HOUR"], MICROS["MINUTE"])
    terms = [f"CAST({p.sql} AS BIGINT) * {f}" for p, f in zip(parts, factors, strict=False)]
    nullable = any(p.nullable for p in parts)
    if len(call) == 4:
        second = call.coerced(3, DecimalType(18, 6))
        terms.append(f"CAST({second.sql} * 1000000 AS BIGINT)")
        nullable = nullable or second.nullable
    return Typed(f"to_microseconds({' + '.join(terms) or '0'})", DayTimeIntervalType(), nullable)


@special("make_ym_interval", least=0, most=2)
def _make_ym_interval(call: Call) -> Typed:
    parts = [call.coerced(n, IntegerType()) for n in range(len(call))]
    terms = [f"{p.sql} * {f}" for p, f in zip(parts, (12, 1), strict=False)]
    return Typed(
        f"to_months({' + '.join(terms) or '0'})", YearMonthIntervalType(), any(p.nullable for p in parts)
    )


# --- zones ----------------------------------------------------------------------------------------------------------


def _zone(call: Call, index: int) -> Typed:
    """A zone as DuckDB knows it: a region, or an offset as ``Etc/GMT``-like fixed one."""
    from tidemill.kernel.functions.times import zone_of

    found = call.coerced(index, StringType())
    if isinstance(found.value, str):
        if zone_of(found.value) is None:
            raise AnalysisException(
                f"{call.name}(): {found.value!r} is no time zone; write one like 'Europe/Paris' or '+02:00'",
                "INVALID_TIMEZONE",
            )
        if found.value[:1] in "+-" or found.value.upper().startswith(("UTC+", "UTC-", "GMT+", "GMT-")):
            return found.retyped(NullType())
    return found


@special("from_utc_timestamp to_utc_timestamp", least=2, most=2)
def _utc_timestamp(call: Call) -> Typed:
    value, zone = call.coerced(0, TimestampType()), _zone(call, 1)
    nullable = value.nullable or zone.nullable
    away = call.name == "from_utc_timestamp"
    if isinstance(zone.type, NullType):
        return Typed(f"({value.sql} {'+' if away else '-'} {_offset(zone)})", TimestampType(), nullable)
    sql = zone_local(value.sql, zone.sql) if away else zone_instant(value.sql, zone.sql)
    return Typed(sql, TimestampType(), nullable)


def _offset(zone: Typed) -> str:
    import datetime as dt

    from tidemill.kernel.functions.times import zone_of

    found = zone_of(str(zone.value))
    assert found is not None
    offset = found.utcoffset(dt.datetime(2000, 1, 1))
    assert offset is not None
    return f"to_microseconds({round(offset.total_seconds() * 1_000_000)}::BIGINT)"


@special("convert_timezone", least=2, most=3)
def _convert_timezone(call: Call) -> Typed:
    value = call.coerced(len(call) - 1, TimestampNTZType())
    source = _zone(call, 0).sql if len(call) == 3 else quote_text(call.settings.time_zone)
    target = _zone(call, len(call) - 2)
    if isinstance(target.type, NullType) or (len(call) == 3 and isinstance(_zone(call, 0).type, NullType)):
        raise AnalysisException(
            "convert_timezone() takes regions like 'Europe/Paris', no offsets", "UNSUPPORTED_FEATURE"
        )
    return Typed(zone_local(zone_instant(value.sql, source), target.sql), TimestampNTZType(), value.nullable)
