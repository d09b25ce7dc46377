"""Our answers against real PySpark's, which are committed as data (`make.py` takes them)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from tests.golden import cases
from tests.golden.asking import Asker, Outcome

from tidemill.plan.expressions import known_functions

HERE = Path(__file__).parent


@lru_cache
def answers(family: str) -> dict[str, dict[str, Any]]:
    found = json.loads((HERE / "data" / f"{family}.json").read_text(encoding="utf-8"))
    return {key(a): a for a in found}


def key(answer: dict[str, Any]) -> str:
    return json.dumps([answer[k] for k in ("sql", "zone", "ansi", "shape")])


def sections() -> Iterator[tuple[str, tuple[str, ...], list[cases.Case]]]:
    for family in cases.families():
        grouped: dict[tuple[str, ...], list[cases.Case]] = {}
        for case in cases.load(family):
            grouped.setdefault(case.functions, []).append(case)
        for functions, group in grouped.items():
            yield family, functions, group


@pytest.fixture(scope="module")
def asker() -> Iterator[Asker]:
    made = Asker()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("family", "group"), [pytest.param(f, g, id=f"{f}-{'-'.join(n)}"[:90]) for f, n, g in sections()]
)
def test_answers_are_spark_s(asker: Asker, family: str, group: list[cases.Case]) -> None:
    wrong = [text for case in group if (text := difference(asker, case, answers(family)[key(case.key())]))]
    assert not wrong, "\n" + "\n".join(wrong)


def difference(asker: Asker, case: cases.Case, wanted: dict[str, Any]) -> str:
    """How our answer differs from Spark's; empty if it does not."""
    found = asker.ask(case)
    name = f"{case.sql}  [{case.zone}{'' if case.ansi else ', legacy'}]"
    if "error" in wanted:
        return "" if matches_error(found, wanted["error"]) else f"{name}: Spark {wanted['error']}, ours {found}"
    if found.error:
        return f"{name}: Spark {wanted['type']} {wanted['values']}, ours {found}"
    # Spark tells apart which fields an interval has; we know the two kinds.
    if found.type != re.sub(r"interval (day|hour|minute|second)( to \w+)?", "interval day to second", wanted["type"]):
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
    """The same condition, as far as it has been told apart; a subclass may be finer on either side."""
    if not found.error:
        return False
    ours = found.error.split(".")[0]
    return ours == wanted.split(".")[0] or {ours, wanted.split(".")[0]} <= {"CAST_OVERFLOW", "ARITHMETIC_OVERFLOW", "BINARY_ARITHMETIC_OVERFLOW", "NUMERIC_VALUE_OUT_OF_RANGE"}  # fmt: skip


def same(ours: Any, spark: Any, options: frozenset[str]) -> bool:
    if isinstance(ours, dict) and isinstance(spark, dict) and "f" in ours and "f" in spark:
        a, b = float(ours["f"]), float(spark["f"])
        if "ulp" in options and a in (math.nextafter(b, math.inf), math.nextafter(b, -math.inf)):
            return True
        if "approx" in options:
            return math.isclose(a, b, rel_tol=1e-14, abs_tol=1e-300)
        return ours["f"] == spark["f"]
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


def test_every_function_has_golden_answers() -> None:
    proven = {name for family in cases.families() for case in cases.load(family) for name in case.functions}
    missing = [
        n for n, kind in known_functions().items()
        if n not in proven and kind not in ("planned", "generator") and not n.endswith("_within_group")
    ]  # fmt: skip
    assert not missing, f"no golden answers for {len(missing)} functions: {' '.join(missing)}"


def test_every_case_has_an_answer() -> None:
    for family in cases.families():
        known = answers(family)
        missing = [c.sql for c in cases.load(family) if key(c.key()) not in known]
        assert not missing, f"run tests/golden/make.py {family}: no answers for {missing}"


