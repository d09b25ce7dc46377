"""Our answers against real PySpark's, which are committed as data (`make.py` takes them)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.golden import cases
from tests.golden.asking import Asker
from tests.golden.judging import answers, called, difference, groups, key
from tidemill.plan.expressions import known_functions


@pytest.fixture(scope="module")
def asker() -> Iterator[Asker]:
    made = Asker()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("family", "group"), [pytest.param(f, g, id=f"{f}-{n.replace(' ', '-')}"[:90]) for f, n, g in groups()]
)
def test_answers_are_sparks(asker: Asker, family: str, group: list[cases.Case]) -> None:
    wrong = [text for case in group if (text := difference(asker, case, answers(family)[key(case.key())]))]
    assert not wrong, "\n" + "\n".join(wrong)


def test_every_mapped_function_has_golden_answers() -> None:
    every = [case for family in cases.families() for case in cases.load(family)]
    proven = {name for case in every for name in (*case.functions, *called(case.sql))}
    missing = [
        name
        for name, kind in known_functions().items()
        if name not in proven and kind != "planned" and not name.endswith("_within_group")
    ]
    assert not missing, f"no golden answers for {len(missing)} functions: {' '.join(missing)}"


def test_every_case_has_an_answer() -> None:
    for family in cases.families():
        known = answers(family)
        missing = [c.sql for c in cases.load(family) if key(c.key()) not in known]
        assert not missing, f"run tests/golden/make.py {family}: no answers for {missing}"
