"""LIKE and regular expressions: DuckDB's where they mean the same as Java's, Python's otherwise."""

from __future__ import annotations

import re

from tidemill.errors import AnalysisException
from tidemill.plan.typed import Typed, quote_text
from tidemill.types import BooleanType

_BEYOND_RE2 = re.compile(
    r"\(\?(?:[=!>]|<[=!])|\\[1-9]|\\k<|[*+?}]\+|\\[GZRXN]|&&|\\p\{(?:java|Is|In|L[a-z]{2,}|Alpha|Punct|Upper|Lower|Digit|Space|ASCII|Alnum)"
)
"""What Java's regular expressions have and RE2's lack: look-around, back-references, possessive quantifiers, ..."""


def like(text: Typed, pattern: Typed, escape: str = "\\", case_sensitive: bool = True) -> Typed:
    """``text LIKE pattern ESCAPE escape``."""
    word = "LIKE" if case_sensitive else "ILIKE"
    nullable = text.nullable or pattern.nullable
    if pattern.value is not None:
        check_escapes(pattern.value, escape)
        if escape not in pattern.value:
            return Typed(f"({text.sql} {word} {pattern.sql})", BooleanType(), nullable)
    return Typed(f"({text.sql} {word} {pattern.sql} ESCAPE {quote_text(escape)})", BooleanType(), nullable)


def check_escapes(pattern: str, escape: str) -> None:
    """Spark refuses an escape before anything but '_', '%' and itself, and one at the end."""
    at = 0
    while at < len(pattern):
        if pattern[at] == escape:
            following = pattern[at + 1 : at + 2]
            if following not in ("_", "%", escape) or not following:
                what = "ESC_AT_THE_END" if not following else "ESC_IN_THE_MIDDLE"
                raise AnalysisException(
                    f"the pattern {pattern!r} has the escape character {escape!r} before "
                    f"{following or 'its end'!r}; it can only stand before '_', '%' or itself",
                    f"INVALID_FORMAT.{what}",
                )
            at += 1
        at += 1


def native_pattern(pattern: Typed) -> str | None:
    """The pattern's SQL if DuckDB can run it as Java would, else None."""
    if pattern.value is not None and _BEYOND_RE2.search(pattern.value):
        return None
    return pattern.sql


def rlike(text: Typed, pattern: Typed) -> Typed:
    """Whether the regular expression is found anywhere in the text."""
    native = native_pattern(pattern)
    sql = f"regexp_matches({text.sql}, {native})" if native else f"tm_rlike({text.sql}, {pattern.sql})"
    return Typed(sql, BooleanType(), text.nullable or pattern.nullable)
