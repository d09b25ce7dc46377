"""SQL text builds the plans that DataFrame calls build, and what it cannot build it refuses by name."""

from __future__ import annotations

import cloudpickle
import pytest

from tests.plan.building import (
    SETTINGS,
    T2,
    dedup,
    delays,
    e,
    group,
    joined,
    schema,
    select,
    sql,
    stream,
    table,
    where,
)
from tidemill.errors import AnalysisException, ParseException
from tidemill.plan import analyze
from tidemill.plan.canonical import canonical, fingerprint
from tidemill.plan.generators import GENERATORS
from tidemill.plan.nodes import Node

U = "k int, t timestamp, v double"


def u() -> Node:
    return stream(U, "10 seconds")


def hosts() -> Node:
    return table("k int, team string")


def sort(node: Node, *items: str) -> Node:
    return analyze.sort(node, [e(f"{i}") for i in items], SETTINGS)


PAIRS = [
    ("SELECT k, v * 2 AS d FROM u WHERE v > 1", lambda x: select(where(x, "v > 1"), "k", "v * 2 AS d")),
    ("SELECT * FROM u", lambda x: select(x, "*")),
    ("SELECT k, count(*) AS n FROM u GROUP BY k", lambda x: group(x, "k")),
    ("SELECT k, count(*) AS n FROM u GROUP BY 1", lambda x: group(x, "k")),
    ("SELECT k AS z, count(*) AS n FROM u GROUP BY z", lambda x: group(x, "k AS z")),
    ("SELECT window(t, '1 minute'), k, count(*) AS n FROM u GROUP BY 1, 2",
     lambda x: group(x, "window(t, '1 minute')", "k")),
    ("SELECT window(t, '60 seconds') AS w, team, count(*) AS hits FROM u JOIN hosts USING (k) GROUP BY 1, 2",
     lambda x: group(joined(x, hosts(), ["k"]), "window(t, '60 seconds') AS w", "team", agg=("count(*) AS hits",))),
    ("SELECT session_window(t, '5 minutes') AS s, sum(v) FROM u GROUP BY session_window(t, '5 minutes')",
     lambda x: group(x, "session_window(t, '5 minutes') AS s", agg=("sum(v)",))),
    ("SELECT k, sum(v) / count(*) + k AS r FROM u GROUP BY k",
     lambda x: group(x, "k", agg=("sum(v)/count(*) + k AS r",))),
    ("SELECT u.k, h.team FROM u LEFT JOIN hosts h ON u.k = h.k",
     lambda x: select(
         joined(analyze.alias(x, "u"), analyze.alias(hosts(), "h"), "u.k = h.k", "left"), "u.k", "h.team")),
    ("SELECT DISTINCT k FROM u", lambda x: dedup(select(x, "k"))),
    ("SELECT k FROM u UNION ALL SELECT k FROM hosts",
     lambda x: analyze.union([select(x, "k"), select(hosts(), "k")], SETTINGS)),
    ("SELECT k FROM u ORDER BY k DESC LIMIT 3 OFFSET 1",
     lambda x: analyze.limit(analyze.sort(select(x, "k"), [_desc("k")], SETTINGS), 3, 1)),
    ("WITH c AS (SELECT k, v FROM u) SELECT k FROM c WHERE v > 0",
     lambda x: select(where(select(x, "k", "v"), "v > 0"), "k")),
    ("SELECT q.k FROM (SELECT k FROM u) q", lambda x: select(select(x, "k"), "k")),
]  # fmt: skip


def _desc(name: str) -> object:
    from sqlglot import exp

    return exp.Ordered(this=e(name), desc=True, nulls_first=False)


@pytest.mark.parametrize(("text", "built"), PAIRS, ids=[p[0] for p in PAIRS])
def test_sql_and_calls_build_the_same_plan(text: str, built: object) -> None:
    source = u()
    assert canonical(sql(text, u=source, hosts=hosts())) == canonical(built(source))  # type: ignore[operator]


def test_the_canonical_form_does_not_depend_on_ids() -> None:
    def plan() -> Node:
        return sql("SELECT window(t, '1 minute') AS w, max(v) FROM u GROUP BY 1", u=u())

    first, second = plan(), plan()
    assert first != second
    assert canonical(first) == canonical(second)
    assert fingerprint(first) == fingerprint(second)
    other = sql("SELECT window(t, '2 minutes') AS w, max(v) FROM u GROUP BY 1", u=u())
    assert fingerprint(other) != fingerprint(first)


def test_plans_travel() -> None:
    plan = sql("SELECT k, count(*) FROM u JOIN hosts USING (k) WHERE v > 1 GROUP BY k", u=u(), hosts=hosts())
    there = cloudpickle.loads(cloudpickle.dumps(plan))
    assert there == plan
    assert canonical(there) == canonical(plan)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("SELECT a FROM t QUALIFY row_number() OVER (ORDER BY a) = 1", "QUALIFY"),
        ("SELECT a FROM t TABLESAMPLE (10 PERCENT)", "TABLESAMPLE"),
        ("SELECT * FROM t PIVOT (sum(b) FOR c IN ('x'))", "PIVOT"),
        ("SELECT a FROM t SORT BY a", "SORT BY"),
        ("SELECT a FROM t CLUSTER BY a", "CLUSTER BY"),
        ("SELECT a FROM t DISTRIBUTE BY a", "DISTRIBUTE BY"),
        ("SELECT a FROM t VERSION AS OF 1", "VERSION AS OF"),
        ("SELECT a FROM t JOIN LATERAL (SELECT 1)", "JOIN LATERAL"),
        ("SELECT a FROM t EXCEPT ALL SELECT a FROM t", "EXCEPT ALL"),
        ("SELECT a FROM t WHERE a IN (SELECT b FROM t) OR a = 1", "subquery inside OR"),
        ("SELECT a FROM t WHERE a > (SELECT b FROM t)", "scalar subquery"),
        ("SELECT a FROM t FOR UPDATE", "FOR UPDATE"),
        ("CREATE TABLE x (a INT)", "CREATE"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(text: str, word: str) -> None:
    with pytest.raises(AnalysisException, match=word):
        sql(text, t=table(T2))


def test_refusals_say_where() -> None:
    with pytest.raises(AnalysisException, match="line 2"):
        sql("SELECT a\nFROM t TABLESAMPLE (10 PERCENT)", t=table(T2))


def test_syntax_errors_say_where() -> None:
    with pytest.raises(ParseException) as raised:
        sql("SELECT a FROM t WHERE", t=table(T2))
    assert raised.value.condition == "PARSE_SYNTAX_ERROR"


def test_unknown_tables_and_names_are_named() -> None:
    with pytest.raises(AnalysisException, match="`nope`") as raised:
        sql("SELECT * FROM nope")
    assert raised.value.condition == "TABLE_OR_VIEW_NOT_FOUND"
    with pytest.raises(AnalysisException, match="of the outer query"):
        sql(
            "SELECT a FROM t WHERE a IN (SELECT max(a) FROM v WHERE v.a = t.b GROUP BY a)",
            t=table(T2),
            v=table("a int"),
        )


def test_order_by_reaches_below_the_select_list() -> None:
    t = table(T2, "t")
    assert schema(sql("SELECT upper(c) AS c FROM t ORDER BY t.c, b DESC", t=t)) == "struct<c:string>"
    assert schema(sql("SELECT a, count(*) AS n FROM t GROUP BY a ORDER BY max(b), n DESC, 1", t=t)) == (
        "struct<a:int,n:bigint>"
    )
    assert schema(
        sql("SELECT a + 1 AS z FROM t GROUP BY a + 1 HAVING z > 1 AND count(*) > 2 ORDER BY a + 1", t=t)
    ) == ("struct<z:int>")


def test_windows_are_known_by_their_name_in_a_grouped_query() -> None:
    text = (
        "SELECT window.start, window.end AS till, count(*) AS n FROM u "
        "GROUP BY window(t, '1 hour') ORDER BY window.start"
    )
    assert schema(sql(text, u=table(U))) == "struct<start:timestamp,till:timestamp,n:bigint>"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("u WATERMARK t DELAY OF INTERVAL 10 SECONDS", {"t": 10_000}),
        ("STREAM u WATERMARK t DELAY OF INTERVAL 1 MINUTE 30 SECONDS AS x", {"t": 90_000}),
        ("(SELECT t FROM STREAM(u)) WATERMARK t DELAY OF INTERVAL '5' SECOND q", {"t": 5_000}),
        ("u WATERMARK t + INTERVAL 1 SECOND AS late DELAY OF INTERVAL 1 DAY", {"late": 86_400_000}),
        ("STREAM u", {}),
        ("u watermark", {}),
    ],
)
def test_watermarks_in_sql(source: str, expected: dict[str, int]) -> None:
    assert delays(sql(f"SELECT * FROM {source}", u=stream(U))) == expected


@pytest.mark.parametrize(
    ("items", "condition"),
    [
        ("explode()", "WRONG_NUM_ARGS.WITHOUT_SUGGESTION"),
        ("explode(l, l)", "WRONG_NUM_ARGS.WITHOUT_SUGGESTION"),
        ("explode(k)", "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE"),
        ("explode(l) + 1", "UNSUPPORTED_GENERATOR.NESTED_IN_EXPRESSIONS"),
        ("explode(explode(l))", "UNSUPPORTED_GENERATOR.NESTED_IN_EXPRESSIONS"),
        ("explode(l) AS (x, y)", "UDTF_ALIAS_NUMBER_MISMATCH"),
    ],
)
def test_wrong_generators_are_refused(items: str, condition: str) -> None:
    with pytest.raises(AnalysisException) as raised:
        sql(f"SELECT {items} FROM t", t=table("k int, l array<int>"))
    assert raised.value.condition == condition


def test_every_generator_is_known() -> None:
    assert {"explode", "posexplode", "inline", "stack"} <= set(GENERATORS)
    t = table("k int, l array<int>, m map<string,int>")
    text = (
        "SELECT k, e, p, key, value FROM t LATERAL VIEW explode(l) x AS e "
        "LATERAL VIEW OUTER posexplode(m) y AS p, key, value"
    )
    assert schema(sql(text, t=t)) == "struct<k:int,e:int,p:int,key:string,value:int>"
