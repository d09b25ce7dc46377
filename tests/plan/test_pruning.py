"""Taking unread columns out changes no rows, and reaches the sources."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plan.building import SETTINGS, dedup, group, joined, select, stream, table, where
from tests.plan.test_spark_rows import TABLES, rows_of
from tidemill import launch
from tidemill.plan import analyze
from tidemill.plan.nodes import Node, Scan
from tidemill.plan.pruning import prune
from tidemill.plan.sqltext import query_to_plan

CONTEXT = launch.Context(SETTINGS)


def names_read(plan: Node) -> list[list[str]]:
    return [[a.name for a in n.attributes] for n in prune(plan).walk() if isinstance(n, Scan)]


def test_a_source_is_asked_only_for_what_is_read() -> None:
    wide = table("a int, b int, c int, d int")
    assert names_read(select(wide, "a", "b + 1 AS z")) == [["a", "b"]]
    assert names_read(select(where(wide, "c > 1"), "a")) == [["a", "c"]]
    assert names_read(group(wide, "a", agg=("sum(d)",))) == [["a", "d"]]
    assert names_read(group(wide, agg=("count(*)",))) == [["a"]]
    assert names_read(select(joined(wide, table("a int, x int, y int"), ["a"]), "b", "x")) == [
        ["a", "b"],
        ["a", "x"],
    ]
    assert names_read(dedup(select(wide, "a"))) == [["a"]]


def test_event_time_is_read_even_if_nothing_shows_it() -> None:
    assert names_read(select(stream("t timestamp, v int, w int", "10 seconds"), "v")) == [["t", "v"]]


def test_a_streams_state_does_not_depend_on_what_is_read_above_it() -> None:
    counted = group(
        stream("t timestamp, v int, w int", "10 seconds"), "v", agg=("max(w) AS m", "count(*) AS n")
    )
    assert names_read(select(counted, "v", "n")) == [["t", "v", "w"]]
    two = joined(stream("k int, x int"), stream("k2 int, y int"), "k = k2")
    assert names_read(select(two, "k")) == [["k", "x"], ["k2", "y"]]


def other() -> Node:
    return select(TABLES["b"], "k AS k2", "name", "n")


def _columns(node: Node) -> list[str]:
    return list(dict.fromkeys(a.name for a in node.output))


def _safe(node: Node) -> bool:
    return len(_columns(node)) == len(node.output)


STEPS: dict[str, Callable[[Node], Node]] = {
    "first half": lambda n: select(n, *_columns(n)[: max(1, len(n.output) // 2)]),
    "last": lambda n: select(n, _columns(n)[-1]),
    "computed": lambda n: select(n, *_columns(n), f"{_columns(n)[0]} IS NULL AS h{len(n.output)}"),
    "filtered": lambda n: where(n, f"{_columns(n)[-1]} IS NOT NULL"),
    "counted": lambda n: group(n, _columns(n)[0], agg=(f"count({_columns(n)[-1]}) AS c", "count(*) AS d")),
    "distinct": dedup,
    "joined": lambda n: (
        joined(n, other(), f"CAST({_columns(n)[0]} AS STRING) <=> name", "left")
        if not {"name", "n"} & {*_columns(n)}
        else n
    ),
    "doubled": lambda n: analyze.union([n, n], SETTINGS),
    "sorted": lambda n: analyze.sort(n, [n.output[-1].ref()], SETTINGS),
}


@settings(max_examples=60)
@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=6))
def test_pruning_changes_no_rows(steps: list[str]) -> None:
    plan = query_to_plan("SELECT s, k, v, t FROM a", TABLES.get, SETTINGS)
    for step in steps:
        made = STEPS[step](plan)
        plan = made if _safe(made) else plan
    pruned = prune(plan)
    assert [a.id for a in pruned.output] == [a.id for a in plan.output]
    assert sorted(map(repr, rows_of(pruned, CONTEXT))) == sorted(map(repr, rows_of(plan, CONTEXT)))
