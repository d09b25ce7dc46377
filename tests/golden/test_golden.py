"""Our answers against real PySpark's, which are committed as data (`make.py` takes them)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.golden import cases
from tests.golden.asking import Asker
from tests.golden.judging import answers, called, difference, groups, key
from tidemill.plan.expressions import known_functions

KNOWN: dict[str, str] = json.loads((Path(__file__).parent / "known_differences.json").read_text())
"""Expressions that answer otherwise than Spark, and how; docs/api-coverage.md lists them for users."""


INTERNAL = {"drop_field", "update_field"}
"""What `Column.dropFields` and `withField` are made of; SQL has no names for them (tests/sql/test_answers.py)."""


@pytest.fixture(scope="module")
def asker() -> Iterator[Asker]:
    made = Asker()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("family", "group"), [pytest.param(f, g, id=f"{f}-{n.replace(' ', '-')}"[:90]) for f, n, g in groups()]
)
def test_answers_are_sparks(asker: Asker, family: str, group: list[cases.Case]) -> None:
    found = {case.sql: "" for case in group}
    for case in group:
        found[case.sql] += difference(asker, case, answers(family)[key(case.key())])
    wrong = [text for sql, text in found.items() if text and sql not in KNOWN]
    assert not wrong, "\n" + "\n".join(wrong)
    mended = [sql for sql, text in found.items() if not text and sql in KNOWN]
    assert not mended, f"these answer as Spark does now; take them out of known_differences.json: {mended}"


def test_every_mapped_function_has_golden_answers() -> None:
    every = [case for family in cases.families() for case in cases.load(family)]
    proven = {name for case in every for name in (*case.functions, *called(case.sql))}
    missing = [
        name
        for name, kind in known_functions().items()
        if name not in proven
        and name not in INTERNAL
        and kind != "planned"
        and not name.endswith("_within_group")
    ]
    assert not missing, f"no golden answers for {len(missing)} functions: {' '.join(missing)}"


def test_every_case_has_an_answer() -> None:
    for family in cases.families():
        known = answers(family)
        missing = [c.sql for c in cases.load(family) if key(c.key()) not in known]
        assert not missing, f"run tests/golden/make.py {family}: no answers for {missing}"
