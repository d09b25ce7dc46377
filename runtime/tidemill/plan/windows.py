"""``window``, ``session_window`` and ``window_time`` calls taken out of expressions and turned into plan nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from tidemill.errors import AnalysisException
from tidemill.plan.dialect import function_name
from tidemill.plan.durations import DAY, SECOND, Duration, parse_duration, window_length
from tidemill.plan.names import pretty
from tidemill.plan.nodes import Attribute, Node, Ref, Session, TimeWindows
from tidemill.plan.resolve import TIME_OF, Scope, last_instant
from tidemill.types import (
    CalendarIntervalType,
    DataType,
    DayTimeIntervalType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
)

_TIMES = (TimestampType, TimestampNTZType)


def window_type(time: DataType | None = None) -> StructType:
    """The struct of a window over times of this type."""
    kind = time if isinstance(time, _TIMES) else TimestampType()
    return StructType([StructField("start", kind), StructField("end", kind)])


def is_window_struct(kind: DataType) -> bool:
    return (
        isinstance(kind, StructType)
        and [f.name.lower() for f in kind.fields] == ["start", "end"]
        and all(isinstance(f.dataType, _TIMES) for f in kind.fields)
    )


def time_windows(e: exp.Expression) -> list[exp.Anonymous]:
    """The window(...) calls in an expression."""
    return [c for c in e.find_all(exp.Anonymous) if function_name(c) == "window" and len(c.expressions) > 1]


def session_windows(e: exp.Expression) -> list[exp.Anonymous]:
    return [c for c in e.find_all(exp.Anonymous) if function_name(c) == "session_window"]


def event_delay(e: exp.Expression, scope: Scope) -> int | None:
    """The watermark delay that a value carries: that of the column itself or of a window's time; else None."""
    if isinstance(e, exp.Paren):
        return event_delay(e.this, scope)
    if TIME_OF in e.meta:
        return event_delay(e.this.this, scope)
    if isinstance(e, Ref):
        return next((a.delay for a in (*scope.visible, *scope.hidden) if a.id == e.attribute_id), None)
    return None


@dataclass(frozen=True)
class Windowed:
    """Expressions whose window calls are references to ``node``'s columns, or to the session key."""

    node: Node
    expressions: list[exp.Expression]
    session: Session | None = None


def extract(
    child: Node, expressions: Sequence[exp.Expression], scope: Scope, grouping: bool = False
) -> Windowed:
    """Takes the (resolved) expressions' window calls out; session windows only where they are ``grouping`` keys."""
    windows = _distinct([w for e in expressions for w in time_windows(e)])
    sessions = _distinct([s for e in expressions for s in session_windows(e)])
    if len(windows) + len(sessions) > 1:
        raise AnalysisException(
            "Multiple time/session window expressions would result in a cartesian product of rows, therefore they "
            f"are currently not supported: {', '.join(pretty(w) for w in (*windows, *sessions))}; compute one "
            "window in a select of its own below",
            "_LEGACY_ERROR_TEMP_1039",
        )
    if windows:
        node = _time_window(child, windows[0], scope)
        return Windowed(node, [_replaced(e, windows[0], node.made.ref()) for e in expressions])
    if not sessions:
        return Windowed(child, list(expressions))
    if not grouping:
        raise AnalysisException(
            "session_window can only be a key of groupBy or GROUP BY, since a session ends only when its group does; "
            "group by it, or compute window() instead"
        )
    session = _session(sessions[0], scope)
    return Windowed(child, [_replaced(e, sessions[0], session.attribute.ref()) for e in expressions], session)


def _distinct(calls: list[exp.Anonymous]) -> list[exp.Anonymous]:
    found: list[exp.Anonymous] = []
    for each in calls:
        if each not in found:
            found.append(each)
    return found


def _replaced(e: exp.Expression, old: exp.Expression, new: exp.Expression) -> exp.Expression:
    return e.transform(lambda n: new.copy() if n == old else n)


def _time_window(child: Node, window: exp.Anonymous, scope: Scope) -> TimeWindows:
    time, kind = _time_of(window, scope)
    numbers = [_microseconds(a, window) for a in window.expressions[1:4]]
    length = numbers[0]
    slide = numbers[1] if len(numbers) > 1 else length
    offset = numbers[2] if len(numbers) > 2 else 0
    _check_numbers(window, length, slide, offset)
    made = Attribute("window", window_type(kind), nullable=length != slide, delay=event_delay(time, scope))
    return TimeWindows(child, time, made, length, slide, offset)


def _time_of(window: exp.Anonymous, scope: Scope) -> tuple[exp.Expression, DataType]:
    """The time that falls into windows; of a window column its last microsecond, as Spark's chained windows do."""
    time = window.expressions[0]
    kind = scope.typed(time).type
    if is_window_struct(kind):
        assert isinstance(kind, StructType)
        return last_instant(time), kind.fields[0].dataType
    if isinstance(kind, StringType):
        return exp.Cast(
            this=time.copy(), to=exp.DataType(this=exp.DataType.Type.TIMESTAMPLTZ)
        ), TimestampType()
    if not isinstance(kind, _TIMES):
        raise AnalysisException(
            f'cannot resolve "{pretty(window)}" due to data type mismatch: the first parameter requires the '
            f'"TIMESTAMP" type or a window column, however "{pretty(time)}" has the type '
            f'"{kind.simpleString().upper()}"; cast it, as in CAST({pretty(time)} AS TIMESTAMP)',
            "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE",
        )
    return time, kind


def _microseconds(e: exp.Expression, window: exp.Anonymous) -> int:
    if isinstance(e, exp.Literal) and e.is_string:
        return window_length(str(e.this))
    if isinstance(e, exp.Literal) and str(e.this).isdigit():
        return int(e.this)
    if isinstance(e, exp.Interval) and isinstance(e.this, exp.Literal):
        unit = e.args.get("unit")
        return window_length(f"{e.this.this} {unit.name if unit is not None else ''}")
    raise AnalysisException(
        f"cannot resolve \"{pretty(window)}\": the duration {pretty(e)!r} is not a constant; write it as '10 minutes'",
        "DATATYPE_MISMATCH.NON_FOLDABLE_INPUT",
    )


def _check_numbers(window: exp.Anonymous, length: int, slide: int, offset: int) -> None:
    where = f'cannot resolve "{pretty(window)}" due to data type mismatch'
    for name, value in (("window_duration", length), ("slide_duration", slide)):
        if value <= 0:
            raise AnalysisException(
                f"{where}: the `{name}` must be positive (current value = {value} microseconds)",
                "DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE",
            )
    for name, smaller, value in (("slide_duration", "window_duration", slide > length),
                                 ("abs(start_time)", "slide_duration", abs(offset) >= slide)):  # fmt: skip
        if value:
            sign = "<=" if name == "slide_duration" else "<"
            raise AnalysisException(
                f"{where}: the `{name}` must be {sign} the `{smaller}`",
                "DATATYPE_MISMATCH.PARAMETER_CONSTRAINT_VIOLATION",
            )


# --- Sessions -------------------------------------------------------------------------------------------------------


def _session(window: exp.Anonymous, scope: Scope) -> Session:
    if len(window.expressions) != 2:
        raise AnalysisException(
            f"session_window takes a time and a gap, not {len(window.expressions)} arguments",
            "WRONG_NUM_ARGS.WITHOUT_SUGGESTION",
        )
    time, kind = _time_of(window, scope)
    gap = _gap(window.expressions[1], scope)
    made = Attribute("session_window", window_type(kind), nullable=False, delay=event_delay(time, scope))
    return Session(made, time, gap)


def _gap(e: exp.Expression, scope: Scope) -> exp.Expression:
    """The gap as an interval; texts inside CASE and the like are read here, once, rather than for every row."""
    if isinstance(e, exp.Literal) and e.is_string:
        return interval(parse_duration(str(e.this)))
    if isinstance(e, exp.Interval):
        return e
    if isinstance(e, exp.Case):
        made = e.copy()
        for branch in made.args["ifs"]:
            branch.set("true", _gap(branch.args["true"], scope))
        if made.args.get("default") is not None:
            made.set("default", _gap(made.args["default"], scope))
        return made
    if isinstance(e, exp.Paren):
        return _gap(e.this, scope)
    kind = scope.typed(e).type
    if isinstance(kind, (DayTimeIntervalType, CalendarIntervalType)):
        return e
    if isinstance(kind, StringType):
        return exp.Cast(this=e.copy(), to=exp.DataType(this=exp.DataType.Type.INTERVAL))
    raise AnalysisException(
        f'cannot resolve "session_window" due to data type mismatch: the gap "{pretty(e)}" has the type '
        f"\"{kind.simpleString().upper()}\"; give an interval or text such as '5 minutes'",
        "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE",
    )


def interval(duration: Duration) -> exp.Expression:
    """The duration as an expression of seconds; days count as 24 hours. Raises on months."""
    if duration.months:
        raise AnalysisException("a gap in months is not supported, since months differ in length; give days")
    total = duration.days * DAY + duration.microseconds
    sign, total = ("-" if total < 0 else ""), abs(total)
    text = f"{sign}{total // SECOND}"
    if total % SECOND:
        text += f".{total % SECOND:06d}"
    return exp.Interval(this=exp.Literal.string(text), unit=exp.Var(this="SECOND"))
