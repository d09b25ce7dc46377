"""to_csv as DuckDB SQL: a struct's fields as text, quoted where they have to be."""

from __future__ import annotations

from tidemill.errors import AnalysisException, did_you_mean
from tidemill.plan.casts import cast, sql_name
from tidemill.plan.jsonwriting import moment_text
from tidemill.plan.rendering import let
from tidemill.plan.typed import Settings, Typed, quote_text
from tidemill.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    MapType,
    NullType,
    NumericType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
    nesting,
)

_KNOWN = ("sep", "delimiter", "quote", "escape", "nullvalue", "emptyvalue", "quoteall", "ignoreleadingwhitespace",
          "ignoretrailingwhitespace", "dateformat", "timestampformat", "timestampntzformat", "timezone")  # fmt: skip
_BLANKS = "' ' || chr(9) || chr(10) || chr(13)"


class CsvWriting:
    """Renders one to_csv() call."""

    def __init__(self, options: dict[str, str], settings: Settings) -> None:
        for name in options:
            if name not in _KNOWN:
                raise AnalysisException(
                    f"to_csv(): option {name!r} is not supported{did_you_mean(name, _KNOWN)}",
                    "INVALID_OPTIONS",
                )
        self.options = options
        self.settings = Settings(time_zone=options.get("timezone", settings.time_zone), ansi=False)
        self.sep = options.get("sep", options.get("delimiter", ","))
        self.quote = options.get("quote", '"')
        self.escape = options.get("escape", "\\")
        self.null = options.get("nullvalue", "")
        self.all = options.get("quoteall", "false").lower() == "true"

    def line(self, sql: str, kind: StructType) -> str:
        """SQL of the line of a struct; NULL for a NULL struct, and for a line without any character, as in Spark."""

        def joined(x: str) -> str:
            cells = [
                self._cell(f"struct_extract_at({x}, {n + 1})", f.dataType, n == 0)
                for n, f in enumerate(kind.fields)
            ]
            return f"CASE WHEN {x} IS NOT NULL THEN nullif({f' || {quote_text(self.sep)} || '.join(cells)}, '') END"

        return let(sql, joined) if kind.fields else "CAST(NULL AS VARCHAR)"

    def _cell(self, sql: str, kind: DataType, first: bool) -> str:
        null = f"{self.quote}{self.null}{self.quote}" if self.all else self.null
        if isinstance(kind, (StringType, ArrayType, MapType, StructType)):
            text = self._string(self._text(sql, kind), first)
        else:
            text = self._quoted(self._text(sql, kind)) if self.all else self._text(sql, kind)
        return f"coalesce({text}, {quote_text(null)})"

    def _text(self, sql: str, kind: DataType) -> str:
        """SQL of the text of a value, before it is quoted; NULL where it is NULL."""
        match kind:
            case StringType():
                return sql
            case ArrayType(element):
                name = f"c{nesting(element)}_"
                item = self._inner(name, element)
                return let(sql, lambda x: _bracketed(_joined(x, name, item), f"{x}[1]"))
            case MapType(key, value):
                return self._map(sql, key, value)
            case StructType():
                return let(sql, lambda x: self._struct(x, kind))
            case DateType() | TimestampType() | TimestampNTZType():
                return moment_text(sql, kind, self.options, self.settings)
            case BinaryType():
                return f"('[' || rtrim(regexp_replace(hex({sql}), '(..)', '\\1 ', 'g')) || ']')"
            case NumericType() | BooleanType() | NullType():
                return cast(Typed(sql, kind), StringType(), self.settings).sql
        raise AnalysisException(
            f"to_csv(): values of the type {sql_name(kind)} are not supported; cast them to strings first",
            "DATATYPE_MISMATCH.UNSUPPORTED_INPUT_TYPE",
        )

    def _inner(self, sql: str, kind: DataType) -> str:
        """A value within another, with the blank before it; of NULL, nothing or a blank and ``nullValue``."""
        null = f" {self.null}" if self.null else ""
        return f"coalesce(' ' || {self._text(sql, kind)}, {quote_text(null)})"

    def _struct(self, x: str, kind: StructType) -> str:
        parts = [
            self._inner(f"struct_extract_at({x}, {n + 1})", f.dataType) for n, f in enumerate(kind.fields)
        ]
        inside = _bracketed(" || ',' || ".join(parts), f"struct_extract_at({x}, 1)", "{}")
        return f"CASE WHEN {x} IS NOT NULL THEN {inside} END"

    def _map(self, sql: str, key: DataType, value: DataType) -> str:
        name = f"c{max(nesting(key), nesting(value))}_"
        pair = f"' ' || {self._text(f'{name}.key', key)} || ' ->' || {self._inner(f'{name}.value', value)}"
        return _bracketed(_joined(f"map_entries({sql})", name, pair), "1", "{}")

    def _string(self, sql: str, first: bool) -> str:
        empty = self.options.get("emptyvalue", self.quote * 2)
        special = (
            "[" + "".join(f"\\x{{{ord(c):x}}}" for c in (self.sep[:1], self.quote, "\n", "\r") if c) + "]"
        )

        def written(x: str) -> str:
            trimmed = self._trimmed(x)
            if self.all:
                return f"CASE WHEN {x} = '' THEN {quote_text(empty)} ELSE {self._quoted(trimmed)} END"
            needs = f"regexp_matches({trimmed}, '{special}')"
            if first:
                needs += f" OR starts_with({x}, '#')"  # which would make the line a comment
            if len(self.sep) > 1:
                needs += f" OR contains({trimmed}, {quote_text(self.sep)})"
            return f"CASE WHEN {x} = '' THEN {quote_text(empty)} WHEN {needs} THEN {self._quoted(trimmed)} ELSE {trimmed} END"

        return let(sql, written)

    def _trimmed(self, x: str) -> str:
        if self.options.get("ignoreleadingwhitespace", "true").lower() == "true":
            x = f"ltrim({x}, {_BLANKS})"
        if self.options.get("ignoretrailingwhitespace", "true").lower() == "true":
            x = f"rtrim({x}, {_BLANKS})"
        return x

    def _quoted(self, sql: str) -> str:
        quote, escape = quote_text(self.quote), quote_text(self.escape)
        if self.escape != self.quote:
            sql = f"replace({sql}, {escape}, {escape} || {escape})"
        return f"({quote} || replace({sql}, {quote}, {escape} || {quote}) || {quote})"


def _joined(items: str, name: str, item: str) -> str:
    return f"array_to_string(list_transform({items}, lambda {name}: {item}), ',')"


def _bracketed(inside: str, first: str, brackets: str = "[]") -> str:
    """Values that each have a blank before them, in brackets: the first that is not NULL goes without it."""
    return f"('{brackets[0]}' || substr({inside}, CASE WHEN {first} IS NULL THEN 1 ELSE 2 END) || '{brackets[1]}')"
