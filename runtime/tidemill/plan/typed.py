"""A compiled expression: DuckDB SQL and its Spark type; and the settings under which expressions are compiled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

# The rest of the plan finds them here.
from tidemill.kernel.names import duck_type as duck_type
from tidemill.kernel.names import quote_name as quote_name
from tidemill.types import (
    DataType,
    IntegerType,
    StringType,
)


@dataclass(frozen=True)
class Settings:
    """What an expression's meaning depends on besides itself."""

    time_zone: str = "UTC"
    """``spark.sql.session.timeZone``."""
    ansi: bool = True
    """``spark.sql.ansi.enabled``; true since Spark 4."""
    case_sensitive: bool = False
    """``spark.sql.caseSensitive``."""

    @property
    def utc(self) -> bool:
        return self.time_zone.upper() in ("UTC", "ETC/UTC", "GMT", "Z", "+00:00")


@dataclass(frozen=True)
class Typed:
    """DuckDB SQL whose value has exactly the physical type of ``type`` (see `duck_type`)."""

    sql: str
    type: DataType
    nullable: bool = True
    value: Any = None
    """The Python value where the expression is a literal other than NULL."""

    def retyped(self, kind: DataType) -> Typed:
        """The same SQL read as another type of the same physical form."""
        return replace(self, type=kind)


def quote_text(text: str) -> str:
    """A DuckDB string literal.

    >>> quote_text("it's")
    "'it''s'"
    """
    if "\0" in text:  # DuckDB's parser ends a statement there
        return "(" + " || chr(0) || ".join(quote_text(part) for part in text.split("\0")) + ")"
    return "'" + text.replace("'", "''") + "'"


def null_of(kind: DataType) -> Typed:
    """NULL of a type."""
    return Typed(f"CAST(NULL AS {duck_type(kind)})", kind, True)


def cast_sql(sql: str, kind: DataType) -> str:
    """DuckDB's cast, for values that are of the right type but for their width; free where nothing is to be done."""
    return f"CAST({sql} AS {duck_type(kind)})"


def text_literal(text: str) -> Typed:
    return Typed(quote_text(text), StringType(), False, text)


def int_literal(number: int) -> Typed:
    return Typed(f"CAST({number} AS INTEGER)", IntegerType(), False, number)


def failure(condition: str, message: str, *parts: str) -> str:
    """SQL that raises a Spark condition when evaluated. ``{}`` in ``message`` stand for the SQL strings ``parts``."""
    pieces = message.split("{}")
    sql = quote_text(f"[{condition}] {pieces[0]}")
    for part, piece in zip(parts, pieces[1:], strict=True):
        sql += f" || coalesce(CAST({part} AS VARCHAR), 'NULL')"
        if piece:
            sql += f" || {quote_text(piece)}"
    return f"error({sql})"
