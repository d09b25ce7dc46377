"""Pieces of DuckDB SQL that several renderers share."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable

from tidemill.plan.typed import Settings, quote_text

VOLATILE = re.compile(r"\b(random|uuid|tm_rand\w*|tm_uuid\w*|udf_[0-9a-f]{32})\(")
"""Calls that answer anew each time they are written; a user's function may also just be dear."""

LONGEST_REPEATED = 400
"""Characters of SQL that are simply written twice, trusting DuckDB to compute them once; longer ones are bound."""


def is_simple(sql: str) -> bool:
    """Whether ``sql`` can be written several times: short, and not volatile."""
    return len(sql) <= LONGEST_REPEATED and not VOLATILE.search(sql)


def let(sql: str, body: Callable[[str], str]) -> str:
    """``body`` with ``sql`` as its argument, evaluated once however often ``body`` writes it."""
    if is_simple(sql):
        return body(sql)
    name = f"x{zlib.crc32(sql.encode()):08x}"
    return f"list_transform([{sql}], lambda {name}: {body(name)})[1]"


def to_local(sql: str, settings: Settings) -> str:
    """An instant (naive UTC) as the wall clock of the session's zone shows it."""
    return zone_local(sql, quote_text(settings.time_zone), settings.utc)


def from_local(sql: str, settings: Settings) -> str:
    """The instant at which the session's wall clock shows ``sql``."""
    if settings.utc:
        return sql
    return zone_instant(sql, quote_text(settings.time_zone))


def zone_local(sql: str, zone: str, utc: bool = False) -> str:
    return sql if utc else f"timezone({zone}, timezone('UTC', {sql}))"


def zone_instant(sql: str, zone: str) -> str:
    return f"timezone('UTC', timezone({zone}, {sql}))"
