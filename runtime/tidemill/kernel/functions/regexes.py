"""Regular expressions by Python's engine, whose patterns are nearer to Java's than RE2's are."""

from __future__ import annotations

import re
from functools import lru_cache

import pyarrow as pa

from tidemill.kernel.functions.rows import Refused, by_row
from tidemill.kernel.functions.texts import java_regex
from tidemill.kernel.macros import KernelFunction, kernel


def compiled(pattern: str) -> re.Pattern[str]:
    try:
        return java_regex(pattern)
    except re.error as error:
        raise Refused(
            "INVALID_PARAMETER_VALUE.PATTERN", f"{pattern!r} is no regular expression: {error}"
        ) from None


@lru_cache(maxsize=512)
def java_replacement(text: str) -> str:
    """``$1`` and ``\\$`` as Java has them, in Python's form."""
    found, at = "", 0
    while at < len(text):
        sign = text[at]
        if sign == "\\" and at + 1 < len(text):
            at += 1
            found += text[at].replace("\\", "\\\\")
        elif sign == "$" and (group := re.match(r"\{(\w+)\}|(\d)", text[at + 1 :])):
            found += rf"\g<{group.group(1) or group.group(2)}>"
            at += group.end()
        else:
            found += "\\\\" if sign == "\\" else sign
        at += 1
    return found


def _replace(text: str, pattern: str, by: str, position: int) -> str:
    if position - 1 > len(text):
        return text
    head, tail = text[: position - 1], text[position - 1 :]
    expression = compiled(pattern)
    template = java_replacement(by)
    # Java leaves out a group that matched nothing, and so does Python since 3.5.
    return head + expression.sub(template, tail)


def _group(expression: re.Pattern[str], index: int, name: str) -> None:
    if not 0 <= index <= expression.groups:
        raise Refused(
            "INVALID_PARAMETER_VALUE.REGEX_GROUP_INDEX",
            f"{name}() has no group {index}: the pattern has {expression.groups} groups",
        )


def _extract(text: str, pattern: str, index: int) -> str:
    expression = compiled(pattern)
    found = expression.search(text)
    if found is None:
        return ""
    _group(expression, index, "regexp_extract")
    return found.group(index) or ""


def _extract_all(text: str, pattern: str, index: int) -> list[str]:
    expression = compiled(pattern)
    found = list(expression.finditer(text))
    if found:
        _group(expression, index, "regexp_extract_all")
    return [m.group(index) or "" for m in found]


def split(text: str, pattern: str, limit: int) -> list[str]:
    """Java's split: an empty match at the beginning gives no empty first part; Spark keeps the empty last ones."""
    if pattern == "":
        return _characters(text, limit)
    found: list[str] = []
    begin = 0
    for match in compiled(pattern).finditer(text):
        if 0 < limit == len(found) + 1:
            break
        if match.end() == 0:
            continue
        found.append(text[begin : match.start()])
        begin = match.end()
    found.append(text[begin:])
    return found


def _characters(text: str, limit: int) -> list[str]:
    """An empty pattern: each character, and since Spark 3.4 no empty string behind them."""
    if 0 < limit < len(text):
        return [*text[: limit - 1], text[limit - 1 :]] if limit > 1 else [text]
    return list(text) or [""]


@kernel("rlike")
def _rlike() -> KernelFunction:
    return by_row(lambda text, pattern: compiled(pattern).search(text) is not None, "BOOLEAN", pa.bool_())


@kernel("regexp_replace")
def _regexp_replace() -> KernelFunction:
    return by_row(_replace, "VARCHAR", pa.string())


@kernel("regexp_extract")
def _regexp_extract() -> KernelFunction:
    return by_row(_extract, "VARCHAR", pa.string())


@kernel("regexp_extract_all")
def _regexp_extract_all() -> KernelFunction:
    return by_row(_extract_all, "VARCHAR[]", pa.list_(pa.string()))


@kernel("regexp_count")
def _regexp_count() -> KernelFunction:
    return by_row(lambda t, p: sum(1 for _ in compiled(p).finditer(t)), "INTEGER", pa.int32())


@kernel("regexp_substr")
def _regexp_substr() -> KernelFunction:
    def first(text: str, pattern: str) -> str | None:
        found = compiled(pattern).search(text)
        return found.group(0) or None if found else None

    return by_row(first, "VARCHAR", pa.string())


@kernel("regexp_instr")
def _regexp_instr() -> KernelFunction:
    def place(text: str, pattern: str) -> int:
        found = compiled(pattern).search(text)
        return found.start() + 1 if found else 0

    return by_row(place, "INTEGER", pa.int32())


@kernel("split")
def _split() -> KernelFunction:
    return by_row(split, "VARCHAR[]", pa.list_(pa.string()))
