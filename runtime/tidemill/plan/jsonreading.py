"""from_json as DuckDB SQL: the text is opened once into tokens, tokens become values, and rows that hold anything of
which DuckDB's answer might not be Spark's are read again by a kernel function (`tidemill.kernel.functions.documents`).

Tokens are text for strings and times, else JSON, so that the number 12 and the text "12" stay apart. Each type has two
renderings: the value of a token, and the doubt in it. A doubt too many costs time only; one too few would be silent.
"""

from __future__ import annotations

from tidemill.kernel.functions import patterns
from tidemill.kernel.functions.documents import packed
from tidemill.plan import momenttexts
from tidemill.plan.rendering import VOLATILE, Bound, bound_name, from_local, let
from tidemill.plan.typed import Settings, cast_sql, duck_type, quote_name, quote_text
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
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
    nesting,
)

EXACT_DIGITS = 15
"""Longer numbers do not survive DuckDB's JSON text, which passes them through a double."""

_TEXTS = (StringType, DateType, TimestampType, TimestampNTZType, BinaryType)


def token_type(kind: DataType) -> str:
    """DuckDB's name of the type as which a part of the text is opened."""
    match kind:
        case StructType(fields):
            return f"STRUCT({', '.join(f'{quote_name(f.name)} {token_type(f.dataType)}' for f in fields)})"
        case ArrayType(element):
            return f"{token_type(element)}[]"
        case MapType(_, value):
            return f"MAP(VARCHAR, {token_type(value)})"
    return "VARCHAR" if isinstance(kind, _TEXTS) else "JSON"


class JsonReading:
    """Renders one from_json() call."""

    def __init__(self, kind: DataType, options: dict[str, str], settings: Settings) -> None:
        self.kind = kind
        self.options = options
        self.settings = settings
        zone = options.get("timezone", settings.time_zone)
        self.local = Settings(time_zone=zone, ansi=settings.ansi)
        self.slow = f"tm_from_json__{packed(kind, options, settings.time_zone)}"
        self.corrupt = options.get("columnnameofcorruptrecord", "_corrupt_record")
        # Whether it matters that a value does not fit, beyond its being NULL.
        self.watchful = options.get("mode", "").upper() == "FAILFAST" or (
            isinstance(kind, StructType) and self.corrupt in kind.names
        )

    def render(self, text: str) -> str:
        """SQL of the value of ``text``."""
        if isinstance(self.kind, StructType) and not self._columns():
            return f"{self.slow}({text})"
        if VOLATILE.search(text):  # each call has a value of its own
            return let(text, self._render)
        name = bound_name(text)
        opened = self._opened(name)
        token = bound_name(opened)
        parts = ((name, text), (token, opened))
        return Bound(let(text, self._render), parts, self._chosen(name, token))

    def _render(self, text: str) -> str:
        return f"list_transform([{self._opened(text)}], lambda o_: {self._chosen(text, 'o_')})[1]"

    def _opened(self, text: str) -> str:
        wanted = self._wanted()
        shape = quote_text('"' + token_type(wanted).replace("\\", "\\\\").replace('"', '\\"') + '"')
        return f"CASE WHEN {sound(text)} THEN json_transform({text}, {shape}) END"

    def _chosen(self, text: str, t: str) -> str:
        """The value of ``text`` that was opened as ``t``."""
        wanted = self._wanted()
        doubt = f"{t} IS NULL OR {self._doubt_at_top(t, wanted)}"
        chosen = f"CASE WHEN {doubt} THEN {self.slow}({text}) ELSE {self._with_corrupt(t, wanted)} END"
        return cast_sql(chosen, self.kind)

    def _columns(self) -> list[str]:
        assert isinstance(self.kind, StructType)
        return [f.name for f in self.kind if f.name != self.corrupt]

    def _wanted(self) -> DataType:
        if not isinstance(self.kind, StructType):
            return self.kind
        return StructType(f for f in self.kind if f.name in self._columns())

    def _with_corrupt(self, t: str, wanted: DataType) -> str:
        """What is not in doubt is not corrupt: that column is NULL."""
        if not isinstance(self.kind, StructType):
            return self.value(t, wanted)
        parts = (
            f"{quote_name(f.name)} := "
            + ("NULL" if f.name == self.corrupt else self.value(f"{t}.{quote_name(f.name)}", f.dataType))
            for f in self.kind
        )
        return cast_sql(f"struct_pack({', '.join(parts)})", self.kind)

    # --- values -----------------------------------------------------------------------------------------------------

    def value(self, t: str, kind: DataType) -> str:
        """SQL of the value of the token ``t``, right where there is no doubt in it."""
        match kind:
            case StringType():
                return t
            case StructType(fields):
                parts = (
                    f"{quote_name(f.name)} := {self.value(f'{t}.{quote_name(f.name)}', f.dataType)}"
                    for f in fields
                )
                return f"CASE WHEN {t} IS NOT NULL THEN struct_pack({', '.join(parts)}) END"
            case ArrayType(element):
                name = f"e{nesting(element)}_"
                item = self.value(name, element)
                return t if item == name else f"list_transform({t}, lambda {name}: {item})"
            case MapType(_, inner):
                return self._map(t, inner)
            case BooleanType():
                return f"TRY_CAST({t}::VARCHAR AS BOOLEAN)"
            case DateType() | TimestampType() | TimestampNTZType():
                return self._moment(t, kind)
            case IntegralType() | DoubleType() | FloatType() | DecimalType():
                return f"TRY_CAST({t}::VARCHAR AS {duck_type(kind)})"
        return f"CAST(NULL AS {duck_type(kind)})"

    def _map(self, t: str, inner: DataType) -> str:
        name = f"m{nesting(inner)}_"
        item = self.value(f"{name}.value", inner)
        if item == f"{name}.value":
            return t
        pair = f"struct_pack(key := {name}.key, value := {item})"
        return f"map_from_entries(list_transform(map_entries({t}), lambda {name}: {pair}))"

    def _moment(self, t: str, kind: DataType) -> str:
        option = self._option(kind)
        if option in self.options:
            native = self._native(option)
            if native is None:
                return f"CAST(NULL AS {duck_type(kind)})"
            read = f"try_strptime({t}, {quote_text(native[1])})"
            if isinstance(kind, TimestampType):
                return from_local(read, self.local)
            return cast_sql(read, kind)
        if isinstance(kind, TimestampType):
            return momenttexts.instant_value(t, self.local)
        return momenttexts.date_value(t) if isinstance(kind, DateType) else momenttexts.local_value(t)

    def _moment_doubt(self, t: str, kind: DataType) -> str:
        option = self._option(kind)
        if option in self.options:
            native = self._native(option)
            lost = f"{self._moment(t, kind)} IS NULL"
            if native is not None:
                lost = f"NOT regexp_full_match({t}, {quote_text(native[0])}) OR {lost}"
            return f"({t} IS NOT NULL AND ({lost}))"
        if isinstance(kind, TimestampType):
            return momenttexts.instant_doubt(t)
        return momenttexts.date_doubt(t) if isinstance(kind, DateType) else momenttexts.local_doubt(t)

    def _option(self, kind: DataType) -> str:
        return {"date": "dateformat", "timestamp": "timestampformat"}.get(
            kind.simpleString(), "timestampntzformat"
        )

    def _native(self, option: str) -> tuple[str, str] | None:
        """The expression of what DuckDB reads as Spark would, and DuckDB's format for it."""
        return patterns.strptime(patterns.tokens(self.options[option], writing=False))

    # --- doubts -----------------------------------------------------------------------------------------------------

    def _doubt_at_top(self, t: str, kind: DataType) -> str:
        if not isinstance(kind, StructType):
            return self.doubt(t, kind, inside=True)
        # A number or an array opened as an object has no fields; nor has an object of others, read again in vain.
        hollow = " AND ".join(f"{t}.{quote_name(f.name)} IS NULL" for f in kind)
        return f"({hollow}) OR {self._fields_doubt(t, kind, self.watchful)}"

    def _fields_doubt(self, t: str, kind: StructType, inside: bool) -> str:
        return " OR ".join(self.doubt(f"{t}.{quote_name(f.name)}", f.dataType, inside) for f in kind)

    def doubt(self, t: str, kind: DataType, inside: bool) -> str:
        """SQL that is true where the value of the token ``t`` may not be Spark's; it may be NULL for false.

        ``inside``: a value that does not fit is more than NULL, since what holds it is lost with it.
        """
        lost = f"({t} IS NOT NULL AND {self.value(t, kind)} IS NULL)"
        match kind:
            case StringType():
                return text_doubt(t)
            case StructType():
                hollow = " AND ".join(f"{t}.{quote_name(f.name)} IS NULL" for f in kind) or "true"
                return (
                    f"({t} IS NOT NULL AND (({hollow}) OR {self._fields_doubt(t, kind, inside) or 'false'}))"
                )
            case ArrayType(element):
                return self._parts_doubt(t, t, element, inside)
            case MapType(_, inner):  # NULL also where a key is written twice
                return self._parts_doubt(t, f"map_values({t})", inner, True)
            case IntegralType():
                value = self.value(t, kind)
                return f"CASE WHEN {value} IS NULL THEN {t} IS NOT NULL ELSE contains({t}::VARCHAR, '.') END"
            case DecimalType():
                return f"{lost} OR strlen({t}::VARCHAR) > {EXACT_DIGITS}"
            case DoubleType() | FloatType():
                return f"({t} IS NOT NULL AND isfinite({self.value(t, kind)}) IS NOT TRUE)"
            case BooleanType():
                return f"({t} IS NOT NULL AND {t}::VARCHAR NOT IN ('true', 'false'))"
            case DateType() | TimestampType() | TimestampNTZType():
                return self._moment_doubt(t, kind)
        return lost

    def _parts_doubt(self, t: str, parts: str, element: DataType, null: bool) -> str:
        name = f"d{nesting(element)}_"
        some = f"len(list_filter({parts}, lambda {name}: {self.doubt(name, element, inside=True)})) > 0"
        return f"({t} IS NULL OR {some})" if null else f"({some})"


def sound(text: str) -> str:
    """SQL that is true where DuckDB reads a text as Spark does. DuckDB forgives a comma before the end, Spark does not."""
    return f"(json_valid({text}) AND NOT regexp_matches({text}, ',\\s*[}}\\]]'))"


_NUMBER = r"-?([0-9]+(\.[0-9]+([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)|(?i:nan|inf|infinity))"
_WORTH_A_LOOK = "[0-9][.eE]|\\\\|[nN][aA][nN]|[iI][nN][fF]"


def text_doubt(t: str) -> str:
    """True where a token may be no string but a number that is not whole, or not finite, which Java writes in its own
    way, or an object or array, in which such numbers may be."""
    # The first character settles it for most. CASE and not AND, since DuckDB slices whole structs for what is left of a
    # condition.
    return (
        f"CASE WHEN ascii({t}) IN (45, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 78, 110, 73, 105) "
        f"THEN regexp_full_match({t}, '{_NUMBER}') "
        f"WHEN ascii({t}) IN (91, 123) THEN regexp_matches({t}, '{_WORTH_A_LOOK}') ELSE false END"
    )


__all__ = ["JsonReading", "sound", "text_doubt", "token_type"]
