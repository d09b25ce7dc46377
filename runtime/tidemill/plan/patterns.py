"""LIKE and regular expressions: DuckDB's where they mean the same as Java's, Python's otherwise."""

from __future__ import annotations

import re
from typing import Any

from tidemill.errors import AnalysisException
from tidemill.kernel.functions.texts import java_regex
from tidemill.plan.typed import Typed, quote_text
from tidemill.types import BooleanType

_BEYOND_RE2 = re.compile(
    r"\(\?(?:[=!>]|<[=!])|\\[1-9]|\\k<|(?:[*+?]|\{\d+(?:,\d*)?\})\+|\\[GZRXN]|&&|\\p\{(?:java|Is|In|L[a-z]{2,}|Alpha|Punct|Upper|Lower|Digit|Space|ASCII|Alnum)"
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
    if pattern.value is not None and "[[:" in pattern.value:
        raise AnalysisException(
            f"the pattern {pattern.value!r} has a class like [[:digit:]], which Java reads otherwise; write \\\\d or [0-9]",
            "INVALID_PARAMETER_VALUE.PATTERN",
        )
    if pattern.value is not None and _BEYOND_RE2.search(pattern.value):
        return None
    if pattern.value is not None and _NAMED_GROUP.search(pattern.value):
        return quote_text(_NAMED_GROUP.sub("(?P<", pattern.value))
    return pattern.sql


_NAMED_GROUP = re.compile(r"(?<!\\)\(\?<(?![=!])")


def group_count(pattern: Any) -> int:
    """How many capturing groups a literal pattern has; -1 if there is none that can be read."""
    if not isinstance(pattern, str):
        return -1
    try:
        return java_regex(pattern).groups
    except re.error:
        return -1


def same_in_replacement(pattern: Any) -> bool:
    """Whether RE2 replaces what Java replaces: not for empty matches, nor for '$' before a last line break."""
    if group_count(pattern) < 0 or "$" in pattern:
        return False
    # Every match takes at least one character, as the pattern's structure says.
    return re._parser.parse(java_regex(pattern).pattern).getwidth()[0] > 0  # type: ignore[attr-defined]


_LINE_END = r"(?:\r\n|[\n\r\x{85}\x{2028}\x{2029}])?$"


def _searchable(pattern: Typed) -> str | None:
    """The pattern for RE2's search: in Java a last '$' also stands before a last line break."""
    native = native_pattern(pattern)
    text = pattern.value
    if native and isinstance(text, str) and "$" in text:
        if text.endswith("$") and not text.endswith("\\$") and "$" not in text[:-1] and "|" not in text:
            return quote_text(text[:-1] + _LINE_END)
        return None if "$" in re.sub(r"\\.", "", text) else native
    return native


def rlike(text: Typed, pattern: Typed) -> Typed:
    """Whether the regular expression is found anywhere in the text."""
    native = _searchable(pattern)
    sql = f"regexp_matches({text.sql}, {native})" if native else f"tm_rlike({text.sql}, {pattern.sql})"
    return Typed(sql, BooleanType(), text.nullable or pattern.nullable)
