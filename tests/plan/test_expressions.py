"""What compiling an expression refuses and promises; what it answers is proven by the golden answers."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from sqlglot import exp

from tidemill.errors import AnalysisException, ArithmeticException, NumberFormatException, ParseException
from tidemill.kernel.duck import Kernel, Session
from tidemill.kernel.udf import UserFunction
from tidemill.plan.dialect import parse_expression, parse_query
from tidemill.plan.expressions import (
    Settings,
    Typed,
    UdfCall,
    compile_aggregate,
    compile_expression,
    has_aggregate,
    has_window,
    is_aggregate,
    is_deterministic,
    is_generator,
    known_functions,
    user_functions,
)
from tidemill.plan.nodes import Ref
from tidemill.types import IntegerType, LongType, StringType

COLUMNS = {
    1: Typed("a", IntegerType()),
    2: Typed("s", StringType()),
    3: Typed("b", LongType(), nullable=False),
}
IDS = {"a": 1, "s": 2, "b": 3}


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    kernel = Kernel(threads=1)
    made = kernel.session()
    yield made
    made.close()
    kernel.close()


def tree(text: str) -> exp.Expression:
    def bind(node: exp.Expression) -> exp.Expression:
        known = isinstance(node, exp.Column) and node.name in IDS
        return Ref(this=node.name, id=IDS[node.name]) if known else node

    return parse_expression(text).transform(bind)


def compiled(text: str, **settings: object) -> Typed:
    return compile_expression(tree(text), COLUMNS, Settings(**settings))


# --- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(known_functions()))
def test_every_call_is_read_as_it_is_written(name: str) -> None:
    if name in ("extract", "position", "trim", "if", "any", "overlay", "when"):
        return  # they have a syntax of their own
    found = parse_expression(f"{name}(a, b)")
    assert isinstance(found, exp.Anonymous)
    assert str(found.this).lower() == name
    assert len(found.expressions) == 2


def test_an_index_on_a_call_keeps_the_call() -> None:
    found = parse_expression("array(1, 2)[0]")
    assert isinstance(found, exp.Bracket)
    assert len(found.this.expressions) == 2


def test_syntax_errors_say_where() -> None:
    with pytest.raises(ParseException, match=r"line 1, position .* 'SELECT a \+'"):
        parse_expression("a +")
    with pytest.raises(ParseException, match="one at a time"):
        parse_expression("a, b")
    with pytest.raises(ParseException, match="expected one statement, found 2"):
        parse_query("SELECT 1; SELECT 2")


# --- refusing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "condition", "says"),
    [
        ("uper(s)", "UNRESOLVED_ROUTINE", "'upper'"),
        ("upper(s, s)", "WRONG_NUM_ARGS", "upper.* takes 1 arguments, not 2"),
        ("sum(a) + 1", "UNSUPPORTED_EXPR_FOR_OPERATOR", "an aggregate"),
        ("row_number()", "WINDOW_FUNCTION_WITHOUT_OVER_CLAUSE", "needs a window"),
        ("transform(array(a), 1)", "INVALID_LAMBDA_FUNCTION_CALL", "takes a lambda"),
        ("a = array(a)", "DATATYPE_MISMATCH", '"INT" and "ARRAY<INT>"'),
        ("named_struct('x', a).y", "FIELD_NOT_FOUND", "no field 'y'"),
        ("named_struct('xyz', a).xy", "FIELD_NOT_FOUND", "did you mean 'xyz'"),
        ("cast(a as array<int>)", "DATATYPE_MISMATCH", '"INT" to "ARRAY<INT>"'),
        ("date_format(current_timestamp(), 'YYYY')", "INCONSISTENT_BEHAVIOR_CROSS_VERSION", "week-based"),
        ("not a", "DATATYPE_MISMATCH", "not a condition"),
        ("s like 'a\\\\b'", "INVALID_FORMAT", "escape character"),
        ("nowhere + 1", "UNRESOLVED_COLUMN", "nowhere"),
        ("case when a > 1 then array(1) else 2 end", "DATATYPE_MISMATCH", "nothing in common"),
    ],
)
def test_refusals_name_the_value_and_the_remedy(text: str, condition: str, says: str) -> None:
    with pytest.raises(AnalysisException, match=says) as caught:
        compiled(text)
    assert str(caught.value.condition).startswith(condition)


def test_errors_of_values_have_sparks_conditions(session: Session) -> None:
    rows = {"t": pa.table({"a": pa.array([1, 0], pa.int32()), "s": ["1", "x"], "b": [2**62, 1]})}

    def run(text: str) -> pa.Table:
        return session.run(f"SELECT {compiled(text).sql} AS v FROM t", rows)

    with pytest.raises(ArithmeticException) as zero:
        run("1 / a")
    assert zero.value.getCondition() == "DIVIDE_BY_ZERO"
    with pytest.raises(ArithmeticException) as overflow:
        run("b * 4")
    assert overflow.value.getCondition() == "ARITHMETIC_OVERFLOW"
    with pytest.raises(
        NumberFormatException, match='\'x\' of the type "STRING" cannot be cast to "INT"'
    ) as text:
        run("cast(s as int)")
    assert text.value.getCondition() == "CAST_INVALID_INPUT"


# --- promising ------------------------------------------------------------------------------------------------------


def test_literals_keep_their_values_and_columns_their_nullability() -> None:
    assert compiled("42").value == 42
    assert compiled("-9223372036854775808L").value == -(2**63)
    assert compiled("'it''s'").value == "it's"
    assert not compiled("b + 1").nullable
    assert compiled("a + b").nullable
    assert not compiled("coalesce(a, 0)").nullable


def test_a_volatile_argument_is_evaluated_once(session: Session) -> None:
    # Each of these renders its argument several times.
    for text in (
        "cast(cast(rand() * 1000000 as int) as string)",
        "round(rand() * 1000, 2)",
        "date_trunc('hour', now())",
    ):
        assert compiled(text).sql.count("random()") <= 1
    same = compile_expression(parse_expression("aggregate(array(uuid()), '', (x, y) -> y)"), {}, Settings())
    assert len(session.run(f"SELECT {same.sql} AS v").column("v")[0].as_py()) == 36


def test_the_batch_timestamp_is_what_the_kernel_sets(session: Session) -> None:
    sql = compile_expression(parse_expression("unix_timestamp()"), {}, Settings()).sql
    assert session.run(f"SELECT {sql} AS v", {}, now_us=86_400_000_000).column("v").to_pylist() == [86_400]
    date = compile_expression(
        parse_expression("cast(current_date() as string)"), {}, Settings("Asia/Tokyo")
    ).sql
    found = session.run(f"SELECT {date} AS v", {}, now_us=86_400_000_000 - 3_600_000_000)
    assert found.column("v").to_pylist() == ["1970-01-02"]


def test_long_chains_do_not_recurse() -> None:
    wide = " or ".join(f"a = {n}" for n in range(3000))
    assert compiled(wide).sql.count(" OR ") == 2999


def test_nested_calls_do_not_double_the_sql() -> None:
    text = "s"
    for _ in range(12):
        text = f"lpad({text}, a, s)"
    assert len(compiled(text).sql) < 200_000


def test_trees_can_be_asked_what_they_hold() -> None:
    assert is_aggregate(tree("count(*) filter (where a > 1)"))
    assert not is_aggregate(tree("sum(a) + 1"))
    assert has_aggregate(tree("sum(a) + 1"))
    assert not has_aggregate(tree("sum(a) over (order by b)"))
    assert has_aggregate(tree("sum(sum(a)) over (order by b)"))
    assert has_window(tree("1 + row_number() over (order by a)"))
    assert is_generator(tree("explode(array(a))"))
    assert is_deterministic(tree("a + current_timestamp()")) is True
    assert not is_deterministic(tree("a + rand()"))
    udf = UserFunction("f", lambda x: x, LongType(), deterministic=False)
    call = UdfCall(this="f", udf=udf, expressions=[tree("a")])
    assert not is_deterministic(call)
    assert user_functions(exp.Add(this=call, expression=call.copy())) == [udf]


def test_what_a_stream_cannot_aggregate_says_so() -> None:
    spec = compile_aggregate(tree("count(distinct a)"), COLUMNS, Settings())
    assert not spec.streaming
    assert "approx_count_distinct" in spec.reason
    assert compile_aggregate(tree("sum(a)"), COLUMNS, Settings()).streaming
