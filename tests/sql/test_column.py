"""Columns print as PySpark's do, and refuse what PySpark's refuse. The expected texts are PySpark 4.3's."""

from __future__ import annotations

import copy
import datetime as dt
import decimal

import pytest

from tidemill.errors import PySparkTypeError, PySparkValueError
from tidemill.sql import Window
from tidemill.sql import functions as F
from tidemill.sql.column import Column, split_name

a, b = F.col("a"), F.col("b")


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        (a, "a"),
        (a + 1, "+(a, 1)"),
        (1 + a, "+(a, 1)"),
        (-a, "negative(a)"),
        (a - 1.5, "-(a, 1.5)"),
        (2 * a, "*(a, 2)"),
        (a / b, "/(a, b)"),
        (a % 2, "%(a, 2)"),
        (2**a, "power(2, a)"),
        (a != 1, "!(=(a, 1))"),
        (a.eqNullSafe(1), "<=>(a, 1)"),
        ((a > 1) & (b < 2), "and(>(a, 1), <(b, 2))"),
        ((a > 1) | (b < 2), "or(>(a, 1), <(b, 2))"),
        (~(a > 1), "!(>(a, 1))"),
        (a.bitwiseXOR(1), "^(a, 1)"),
        (a.getItem(0), "a[0]"),
        (a.x, "a['x']"),
        (a["x"], "a['x']"),
        (a.contains("x"), "contains(a, 'x')"),
        (a.like("x%"), "like(a, 'x%')"),
        (a.rlike("x"), "rlike(a, 'x')"),
        (a[1:2], "substr(a, 1, 2)"),
        (a.isin([1, 2]), "in(a, 1, 2)"),
        (a.isin(), "in(a)"),
        (a.asc(), "a ASC NULLS FIRST"),
        (a.desc(), "a DESC NULLS LAST"),
        (a.asc_nulls_last(), "a ASC NULLS LAST"),
        (a.desc_nulls_first(), "a DESC NULLS FIRST"),
        (a.isNull(), "isNull(a)"),
        (a.isNotNull(), "isNotNull(a)"),
        (a.alias("z"), "a AS z"),
        (a.alias("x", "y"), "a AS (x, y)"),
        (a.cast("int"), "CAST(a AS INT)"),
        (a.try_cast("int"), "TRY_CAST(a AS INT)"),
        (a.between(1, 2), "and(>=(a, 1), <=(a, 2))"),
        (
            F.when(a > 1, "x").when(a > 2, "y").otherwise(0),
            "CASE WHEN >(a, 1) THEN 'x' WHEN >(a, 2) THEN 'y' ELSE 0 END",
        ),
        (
            F.sum("a").over(Window.partitionBy("b").orderBy(a.desc())),
            "sum(a) OVER (PARTITION BY b ORDER BY a DESC NULLS LAST)",
        ),
        (F.lit("x"), "'x'"),
        (F.lit(1.5), "1.5"),
        (F.lit(True), "true"),
        (F.lit(None), "NULL"),
        (F.lit(2**40), "1099511627776L"),
        (F.lit(decimal.Decimal("1.50")), "1.50"),
        (F.lit([1, 2]), "array(1, 2)"),
        (F.expr("a + 1"), "a + 1"),
        (F.count("*"), "count(*)"),
    ],
)
def test_it_prints_as_pysparks(column: Column, shown: str) -> None:
    assert repr(column) == f"Column<'{shown}'>"


def test_it_is_no_bool() -> None:
    with pytest.raises(PySparkValueError, match="use '&' for 'and'") as error:
        bool(a == 1)
    assert error.value.getCondition() == "CANNOT_CONVERT_COLUMN_INTO_BOOL"
    with pytest.raises(PySparkValueError, match="array_contains"):
        assert "x" in a
    with pytest.raises(PySparkTypeError, match="not iterable"):
        iter(a)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: a.over(1), "Argument `window` should be WindowSpec, got int."),
        (lambda: a.cast(1), "Argument `dataType` should be DataType or str, got int."),
        (lambda: a.substr(1, F.lit(2)), "should be the same type, got int and Column"),
        (lambda: a.when(a > 1, 1), "continues a chain"),
    ],
)
def test_wrong_arguments_are_refused(call: object, said: str) -> None:
    with pytest.raises(PySparkTypeError, match=said.replace("(", r"\(")):
        call()  # type: ignore[operator]


def test_building_on_a_column_leaves_it_alone() -> None:
    base = F.when(a > 1, "x")
    first, second = base.otherwise(0), base.when(a > 2, "y")
    assert repr(base) == "Column<'CASE WHEN >(a, 1) THEN 'x' END'>"
    assert "ELSE 0" in repr(first)
    assert "'y'" in repr(second)
    assert repr(copy.deepcopy(first)) == repr(first)


@pytest.mark.parametrize(
    ("name", "parts"),
    [("a", ("a",)), ("a.b", ("a", "b")), ("`a.b`.c", ("a.b", "c")), ("`a``b`", ("a`b",)), ("a b", ("a b",))],
)
def test_names_are_split_at_dots_outside_backticks(name: str, parts: tuple[str, ...]) -> None:
    assert split_name(name) == parts


@pytest.mark.parametrize("name", ["a..b", "`a", "a.", "", "a`b`"])
def test_a_malformed_name_is_refused(name: str) -> None:
    with pytest.raises(PySparkValueError, match="INVALID_ATTRIBUTE_NAME_SYNTAX"):
        F.col(name)


def test_a_value_without_sql_form_is_refused() -> None:
    with pytest.raises(PySparkTypeError, match="cannot be a literal"):
        F.lit(object())


def test_durations_are_literals_with_microseconds() -> None:
    shown = F.lit(dt.timedelta(days=1, seconds=2, microseconds=3))._expression
    assert shown.this.name == "1 00:00:02.000003"
    assert F.lit(-dt.timedelta(hours=1))._expression.this.name == "-0 01:00:00.000000"
