"""to_json as DuckDB SQL: each part as its text, fields that are NULL left out, numbers and times as Spark writes them."""

from __future__ import annotations

from tidemill.errors import AnalysisException
from tidemill.kernel.functions import patterns
from tidemill.kernel.functions.jsontexts import java_text
from tidemill.plan.casts import cast, sql_name
from tidemill.plan.rendering import clock_text, let, to_local
from tidemill.plan.typed import Settings, Typed, quote_text
from tidemill.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegralType,
    MapType,
    NullType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
    nesting,
)

_KEYS = (StringType, IntegralType, BooleanType, DoubleType, FloatType, DecimalType)


class JsonWriting:
    """Renders one to_json() call."""

    def __init__(self, options: dict[str, str], settings: Settings) -> None:
        self.options = options
        self.settings = Settings(time_zone=options.get("timezone", settings.time_zone), ansi=False)
        self.nulls = options.get("ignorenullfields", "true").lower() == "false"

    def text(self, sql: str, kind: DataType) -> str:
        """SQL of the JSON text of a value; NULL where it is NULL."""
        match kind:
            case NullType():
                return "CAST(NULL AS VARCHAR)"
            case StructType():
                return let(sql, lambda x: self._struct(x, kind))
            case ArrayType(element):
                name = f"j{nesting(element)}_"
                item = f"coalesce({self.text(name, element)}, 'null')"
                return f"('[' || array_to_string(list_transform({sql}, lambda {name}: {item}), ',') || ']')"
            case MapType(key, value):
                return self._map(sql, key, value)
        return self._atom(sql, kind)

    def _struct(self, x: str, kind: StructType) -> str:
        members = []
        for n, f in enumerate(kind.fields):
            text = self.text(f"struct_extract_at({x}, {n + 1})", f.dataType)
            if self.nulls:
                text = f"coalesce({text}, 'null')"
            members.append(f"{quote_text(java_text(f.name) + ':')} || {text}")
        inside = f"concat_ws(',', {', '.join(members)})" if members else "''"
        return f"CASE WHEN {x} IS NOT NULL THEN '{{' || {inside} || '}}' END"

    def _map(self, sql: str, key: DataType, value: DataType) -> str:
        if not isinstance(key, _KEYS):
            raise AnalysisException(
                f"to_json(): keys of the type {sql_name(key)} are not supported; cast them to strings first",
                "UNSUPPORTED_FEATURE.JSON_MAP_KEY",
            )
        name = f"j{max(nesting(key), nesting(value))}_"
        written = _quoted(cast(Typed(f"{name}.key", key), StringType(), self.settings).sql)
        pair = f"{written} || ':' || coalesce({self.text(f'{name}.value', value)}, 'null')"
        return f"('{{' || array_to_string(list_transform(map_entries({sql}), lambda {name}: {pair}), ',') || '}}')"

    def _atom(self, sql: str, kind: DataType) -> str:
        match kind:
            case StringType():
                return _quoted(sql)
            case BinaryType():
                return f"('\"' || to_base64({sql}) || '\"')"
            case DateType() | TimestampType() | TimestampNTZType():
                return _quoted(moment_text(sql, kind, self.options, self.settings))
            case DoubleType() | FloatType():
                text = cast(Typed(sql, kind), StringType(), self.settings).sql
                return let(
                    sql,
                    lambda x: (
                        f"CASE WHEN isfinite({x}) THEN {text} WHEN {x} IS NOT NULL THEN '\"' || {text} || '\"' END"
                    ),
                )
            case IntegralType() | BooleanType() | DecimalType():
                return cast(Typed(sql, kind), StringType(), self.settings).sql
        raise AnalysisException(
            f"to_json(): values of the type {sql_name(kind)} are not supported; cast them to strings first",
            "UNSUPPORTED_FEATURE.JSON_VALUE",
        )


def moment_text(sql: str, kind: DataType, options: dict[str, str], settings: Settings) -> str:
    """SQL of a date's or time's text as the writers of JSON and CSV have it, by its format in ``options`` if there is one."""
    option, default = _FORMATS[type(kind)]
    local = to_local(sql, settings) if isinstance(kind, TimestampType) else sql
    if option not in options:
        text = let(local, lambda x: clock_text(x, default))
        return f"({text} || {_offset(sql, local, settings)})" if isinstance(kind, TimestampType) else text
    pattern = options[option]
    native = patterns.strftime(patterns.tokens(pattern, writing=True))
    if native is not None:
        return let(local, lambda x: clock_text(x, native))
    zone = settings.time_zone if isinstance(kind, TimestampType) else "UTC"
    return f"tm_date_format(CAST({sql} AS TIMESTAMP), {quote_text(pattern)}, {quote_text(zone)})"


_FORMATS: dict[type[DataType], tuple[str, str]] = {
    DateType: ("dateformat", "%Y-%m-%d"), TimestampType: ("timestampformat", "%Y-%m-%dT%H:%M:%S.%g"),
    TimestampNTZType: ("timestampntzformat", "%Y-%m-%dT%H:%M:%S.%g"),
}  # fmt: skip


def _offset(sql: str, local: str, settings: Settings) -> str:
    """``Z`` or ``+01:00``: how far the clock is ahead."""
    if settings.utc:
        return "'Z'"

    def written(minutes: str) -> str:
        sign = f"CASE WHEN {minutes} < 0 THEN '-' ELSE '+' END"
        clock = f"printf('%02d:%02d', abs({minutes}) // 60, abs({minutes}) % 60)"
        return f"CASE WHEN {minutes} = 0 THEN 'Z' ELSE {sign} || {clock} END"

    return f"({let(f'((epoch_us({local}) - epoch_us({sql})) // 60000000)', written)})"


def _quoted(sql: str) -> str:
    """A string as JSON; DuckDB escapes what Jackson escapes."""
    return f"CAST(to_json({sql}) AS VARCHAR)"
