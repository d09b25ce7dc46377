"""Our answers judged by Spark's: which cases are asked of us, for which function, and how an answer differs."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from sqlglot import exp

from tests.golden import cases
from tests.golden.asking import Asker, Outcome
from tidemill.errors import ParseException
from tidemill.plan.dialect import parse_expression
from tidemill.plan.expressions import known_functions

DATA = Path(__file__).parent / "data"
OVERFLOWS = {
    "CAST_OVERFLOW",
    "ARITHMETIC_OVERFLOW",
    "BINARY_ARITHMETIC_OVERFLOW",
    "NUMERIC_VALUE_OUT_OF_RANGE",
    "DATETIME_OVERFLOW",
}
"""Conditions of one event; which one Spark names depends on how its optimiser folded the expression."""


@lru_cache
def spark_functions() -> frozenset[str]:
    """The names that Spark SQL or PySpark gives to functions, in lower case."""
    found = json.loads((DATA / "pyspark_functions.json").read_text(encoding="utf-8"))
    return frozenset(n.lower() for n in (*found["parameters"], *found["sql"]))


@lru_cache
def answers(family: str) -> dict[str, dict[str, Any]]:
    found = json.loads((DATA / f"{family}.json").read_text(encoding="utf-8"))
    return {key(a): a for a in found}


def key(answer: dict[str, Any]) -> str:
    return json.dumps([answer[k] for k in ("sql", "zone", "ansi", "shape")])


@cache
def called(sql: str) -> tuple[str, ...]:
    """The functions that an expression calls, in lower case; none if only Spark can read it."""
    try:
        tree = parse_expression(sql)
    except ParseException:
        return ()
    found = {str(n.this).lower(): None for n in tree.walk() if isinstance(n, exp.Anonymous)}
    return tuple(found)


def refused(case: cases.Case) -> set[str]:
    """Functions of Spark in it that we have not, and refuse by name."""
    return {n for n in called(case.sql) if n in spark_functions() and n not in known_functions()}


def subject(case: cases.Case) -> str:
    """What the case proves: the first function of its section's heading that it calls, or else the whole heading."""
    return next((n for n in case.functions if n in called(case.sql)), " ".join(case.functions))


def groups() -> Iterator[tuple[str, str, list[cases.Case]]]:
    """(family, subject, cases) for everything that we have."""
    for family in cases.families():
        grouped: dict[str, list[cases.Case]] = {}
        for case in cases.load(family):
            if not refused(case):
                grouped.setdefault(subject(case), []).append(case)
        for name, group in grouped.items():
            yield family, name, group


def difference(asker: Asker, case: cases.Case, wanted: dict[str, Any]) -> str:
    """How our answer differs from Spark's; empty if it does not."""
    found = asker.ask(case)
    name = f"{case.sql}  [{case.zone}{'' if case.ansi else ', legacy'}]"
    if "refused" in case.options:
        honest = found.error and found.error[0] != "!" and found.error != "INTERNAL_ERROR"
        return "" if honest else f"{name}: must be refused, ours {found}"
    if wanted.get("error") == "UNKNOWN":
        return ""  # Arrow could not carry Spark's answer, or Spark's error has no condition: nothing is known
    if "error" in wanted:
        return (
            "" if matches_error(found, wanted["error"]) else f"{name}: Spark {wanted['error']}, ours {found}"
        )
    if found.error:
        return f"{name}: Spark {wanted['type']} {wanted['values']}, ours {found}"
    # Spark tells apart which fields an interval has; we know the two kinds.
    kind = re.sub(r"interval (day|hour|minute|second)( to \w+)?", "interval day to second", wanted["type"])
    kind = re.sub(r"interval (year|month)\b(?! to)", "interval year to month", kind)
    if found.type != kind:
        return f"{name}: Spark's type {wanted['type']}, ours {found.type}"
    lines = []
    for way, values in found.values.items():
        if not same(values, wanted["values"], case.options):
            lines.append(f"{name} {way}: {differing(values, wanted['values'], case.options)}")
    return "\n".join(lines)


def differing(ours: list[Any], spark: list[Any], options: frozenset[str]) -> str:
    """The rows that differ, by number."""
    rows = [
        f"row {n}: Spark {b!r}, ours {a!r}"
        for n, (a, b) in enumerate(zip(ours, spark, strict=False))
        if not same([a], [b], options)
    ]
    return "; ".join(rows) or f"{len(spark)} rows from Spark, {len(ours)} of ours"


def matches_error(found: Outcome, wanted: str) -> bool:
    """The same condition. Where both have subconditions, those may differ: what is wrong is the same."""
    if found.error in ("", "INTERNAL_ERROR") or found.error[0] == "!":
        return False
    if wanted == "UNKNOWN":  # Spark has an exception without a condition there
        return True
    ours, spark = found.error.split(".")[0], wanted.split(".")[0]
    return ours == spark or {ours, spark} <= OVERFLOWS


def same(ours: Any, spark: Any, options: frozenset[str]) -> bool:
    if isinstance(ours, dict) and isinstance(spark, dict) and "f" in ours and "f" in spark:
        a, b = float(ours["f"]), float(spark["f"])
        if "ulp" in options and a in (math.nextafter(b, math.inf), math.nextafter(b, -math.inf)):
            return True
        if "approx" in options:
            return math.isclose(a, b, rel_tol=1e-14, abs_tol=1e-300)
        return bool(ours["f"] == spark["f"])
    if isinstance(ours, list) and isinstance(spark, list):
        if len(ours) != len(spark):
            return False
        pairs = zip(ordered(ours, options), ordered(spark, options), strict=True)
        return all(same(a, b, options) for a, b in pairs)
    return bool(ours == spark)


def ordered(values: list[Any], options: frozenset[str]) -> list[Any]:
    """Lists inside an answer have no order where the function promises none."""
    if "unordered" not in options:
        return values
    return [
        sorted(v, key=lambda e: json.dumps(e, sort_keys=True)) if isinstance(v, list) else v for v in values
    ]
