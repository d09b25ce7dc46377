"""Pieces of DuckDB SQL that several renderers share."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable

from tidemill.plan.typed import Settings, quote_text
from tidemill.types import ArrayType, DataType, StructField, StructType

VOLATILE = re.compile(r"\b(random|uuid|tm_rand\w*|tm_uuid\w*|udf_[0-9a-f]{32})\(")
"""Calls that answer anew each time they are written; a user's function may also just be dear."""

LONGEST_REPEATED = 400
"""Characters of SQL that are simply written twice, trusting DuckDB to compute them once; longer ones are bound."""


def is_simple(sql: str) -> bool:
    """Whether ``sql`` can be written several times: short, and not volatile."""
    return len(sql) <= LONGEST_REPEATED and not VOLATILE.search(sql)


class Bound(str):
    """SQL of a value that stands anywhere, and the same over columns to be made first, each of those before it.

    A SELECT that can make columns takes the latter: DuckDB copies what goes into and out of a lambda.
    """

    __slots__ = ("body", "parts")
    parts: tuple[tuple[str, str], ...]
    """Names and SQL of the columns."""
    body: str

    def __new__(cls, sql: str, parts: tuple[tuple[str, str], ...], body: str) -> Bound:
        made = super().__new__(cls, sql)
        made.parts, made.body = parts, body
        return made


def bound_name(sql: str) -> str:
    """A name for a column that holds ``sql``."""
    return f"x{zlib.crc32(sql.encode()):08x}"


def let(sql: str, body: Callable[[str], str]) -> str:
    """``body`` with ``sql`` as its argument, evaluated once however often ``body`` writes it."""
    if is_simple(sql):
        return body(sql)
    name = bound_name(sql)
    return f"list_transform([{sql}], lambda {name}: {body(name)})[1]"


def to_local(sql: str, settings: Settings) -> str:
    """An instant (naive UTC) as the wall clock of the session's zone shows it."""
    return zone_local(sql, quote_text(settings.time_zone), settings.utc)


def clock_text(local: str, form: str) -> str:
    """A date or a wall clock by DuckDB's ``form``; as in Spark, years of more digits than the form's have a plus."""
    usual = f"strftime({local}, {quote_text(form)})"
    signed = re.sub(r"(?<!%)((?:%%)*)%Y", r"\1+%Y", form)
    if signed == form:
        return usual
    return f"CASE WHEN year({local}) > 9999 THEN strftime({local}, {quote_text(signed)}) ELSE {usual} END"


def from_local(sql: str, settings: Settings) -> str:
    """The instant at which the session's wall clock shows ``sql``."""
    if settings.utc:
        return sql
    return zone_instant(sql, quote_text(settings.time_zone))


def zone_local(sql: str, zone: str, utc: bool = False) -> str:
    return sql if utc else f"timezone({zone}, timezone('UTC', {sql}))"


def zone_instant(sql: str, zone: str) -> str:
    """The instant of a wall clock's reading. What the clock shows twice is the first time, as in Java; DuckDB takes the
    last. What it skips goes on by the length of the gap, in both."""
    back = "30 MINUTES" if zone.lower().strip("'") in ("australia/lord_howe", "australia/lhi") else "1 HOUR"

    def first(x: str) -> str:
        last = f"timezone('UTC', timezone({zone}, {x}))"
        earlier = f"({last} - INTERVAL {back})"
        return f"CASE WHEN {zone_local(earlier, zone)} = {x} THEN {earlier} ELSE {last} END"

    return let(sql, first)


def order_key(sql: str, kind: DataType) -> str:
    """``sql`` in a form that DuckDB orders as Spark does: inside structs and arrays a NULL comes first."""
    match kind:
        case ArrayType(element):
            return f"list_transform({sql}, lambda k_: struct_pack(n := k_ IS NOT NULL, v := {order_key('k_', element)}))"
        case StructType(fields):
            return let(sql, lambda x: _struct_key(x, fields))
    return sql


def _struct_key(x: str, fields: tuple[StructField, ...]) -> str:
    parts = []
    for n, field in enumerate(fields):
        value = f"struct_extract_at({x}, {n + 1})"
        parts.append(f"n{n} := {value} IS NOT NULL, v{n} := {order_key(value, field.dataType)}")
    return f"CASE WHEN {x} IS NOT NULL THEN struct_pack({', '.join(parts)}) END"
