"""The functions have PySpark's names and parameters, and build the trees that SQL text parses to."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidemill.errors import AnalysisException, PySparkAttributeError, PySparkTypeError, PySparkValueError
from tidemill.plan.dialect import parse_expression
from tidemill.plan.functions import known_functions
from tidemill.sql import SparkSession
from tidemill.sql import functions as F
from tidemill.sql.column import Column, tree

SNAPSHOT = json.loads((Path(__file__).parent / "data" / "pyspark_functions.json").read_text())["parameters"]


@pytest.mark.parametrize("name", F.__all__)
def test_parameters_are_pysparks(name: str) -> None:
    function = getattr(F, name)
    if inspect.isclass(function):
        return
    assert list(inspect.signature(function).parameters) == SNAPSHOT[name]
    assert function.__doc__


def test_at_least_250_functions_are_there() -> None:
    assert len(set(F.__all__) & set(SNAPSHOT)) >= 250


def test_every_function_means_something_to_the_plan() -> None:
    known = set(known_functions())
    trees = [ast.parse(module.read_text()) for module in Path(F.__file__).parent.glob("*.py")]
    functions = [f for tree in trees for f in ast.walk(tree) if isinstance(f, ast.FunctionDef)]
    unmapped = {f.name for f in functions if set(_calls(f)) - known}
    assert unmapped == set(), "map these in plan/functions, or take them out of sql/functions"


def _calls(function: ast.FunctionDef) -> Iterator[str]:
    """The SQL functions that a Python function calls."""
    for node in ast.walk(function):
        match node:
            case ast.Call(ast.Name("call" | "call_distinct"), [ast.Constant(str(name)), *_]):
                yield name


def test_an_unknown_function_is_refused_with_the_nearest() -> None:
    with pytest.raises(PySparkAttributeError, match=r"'dat_format' does not exist.*date_format"):
        F.dat_format


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (F.upper("a"), "upper(a)"),
        (F.count("*"), "count(*)"),
        (F.count_distinct("a", "b"), "count(DISTINCT a, b)"),
        (F.lpad("a", 5, "x"), "lpad(a, 5, 'x')"),
        (F.date_add("a", 1), "date_add(a, 1)"),
        (F.date_add("a", "n"), "date_add(a, n)"),
        (F.window("t", "10 minutes", "5 minutes"), "window(t, '10 minutes', '5 minutes')"),
        (
            F.window("t", "10 minutes", startTime="1 minute"),
            "window(t, '10 minutes', '10 minutes', '1 minute')",
        ),
        (F.when(F.col("a") > 1, "x").otherwise(0), "CASE WHEN a > 1 THEN 'x' ELSE 0 END"),
        (F.array("a", "b"), "array(a, b)"),
        (F.array(["a", "b"]), "array(a, b)"),
        (F.array_contains("a", 1), "array_contains(a, 1)"),
        (F.first("a", ignorenulls=True), "first(a, true)"),
        (F.from_json("a", "x INT"), "from_json(a, 'x INT')"),
        (F.to_json("a", {"pretty": True}), "to_json(a, map('pretty', 'true'))"),
        (F.col("a.b"), "a.b"),
        (F.col("`a.b`"), "`a.b`"),
        (F.col("t.*"), "t.*"),
        (F.lit(1.5), "1.5D"),
        (F.lit(2**40), "1099511627776L"),
        (F.lit(-3), "-3"),
        (F.col("a").cast("decimal(10,2)"), "CAST(a AS DECIMAL(10,2))"),
        (F.col("a").isin(1, 2), "a IN (1, 2)"),
        (F.col("a").isNotNull(), "a IS NOT NULL"),
        (F.col("a").eqNullSafe(1), "a <=> 1"),
        (F.col("a")["k"], "a['k']"),
        (~(F.col("a") == 1), "NOT (a = 1)"),
    ],
)
def test_the_tree_is_that_of_sql_text(column: Column, text: str) -> None:
    wanted = parse_expression(text)
    for paren in list(wanted.find_all(type(parse_expression("(a)")))):
        paren.replace(paren.this)
    assert tree(column) == wanted


def test_a_lambda_calls_the_function_once_with_fresh_variables() -> None:
    calls: list[Column] = []

    def twice(x: Column) -> Column:
        calls.append(x)
        return x * 2

    first, second = F.transform("a", twice), F.transform("a", twice)
    assert len(calls) == 2
    assert repr(calls[0]) != repr(calls[1])
    assert repr(first) != repr(second)


def test_a_lambda_must_give_a_column_of_one_to_three() -> None:
    with pytest.raises(PySparkValueError, match="should return Column, got int"):
        F.transform("a", lambda x: 1)
    with pytest.raises(PySparkValueError, match="between 1 and 3"):
        F.transform("a", lambda w, x, y, z: x)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: F.upper(1), "Argument `col` should be Column or str, got int."),
        (lambda: F.when(1, 2), "Argument `condition` should be Column, got int."),
        (lambda: F.window("t", 2), "Argument `windowDuration` should be str, got int."),
        (lambda: F.session_window("t", 1), "Argument `gapDuration` should be Column or str, got int."),
        (lambda: F.udf(1), "Argument `func` should be callable, got int."),
    ],
)
def test_wrong_types_are_refused_in_pysparks_words(call: object, said: str) -> None:
    with pytest.raises(PySparkTypeError) as error:
        call()  # type: ignore[operator]
    assert error.value.getCondition() == "NOT_EXPECTED_TYPE"
    assert said in str(error.value)


def test_shuffle_refuses_a_seed_whose_order_would_not_be_sparks() -> None:
    spark = SparkSession.builder.create()
    numbers = spark.range(1).select(F.array(F.lit(1), F.lit(2), F.lit(3)).alias("a"))
    assert sorted(numbers.select(F.shuffle("a")).collect()[0][0]) == [1, 2, 3]
    with pytest.raises(AnalysisException, match="leave the seed out"):
        numbers.select(F.shuffle("a", 5)).collect()
    spark.stop()
