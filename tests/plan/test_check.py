"""What cannot stream: each case was tried on PySpark 4.3, which gave this condition and these words."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest

from tests.plan.building import SETTINGS, dedup, e, group, joined, select, sql, stream, table
from tidemill.errors import AnalysisException
from tidemill.plan import analyze
from tidemill.plan.check import MODE, UNSUPPORTED, check_streaming
from tidemill.plan.nodes import Node, OutputMode

WINDOW = "window(t, '1 minute')"
RANGE = "v = v2 AND t2 >= t AND t2 <= t + INTERVAL 1 HOUR"


def r() -> Node:
    return stream()


def w() -> Node:
    return stream(delay="10 seconds")


def r2(delay: str | None = None) -> Node:
    return stream("t2 timestamp, v2 bigint", delay, "t2")


def w2() -> Node:
    return r2("5 seconds")


def s() -> Node:
    return table("v bigint, st timestamp")


def counts(node: Node | None = None) -> Node:
    return group(node or r(), "v")


def windows() -> Node:
    return group(w(), WINDOW)


def sort(node: Node, by: str) -> Node:
    return analyze.sort(node, [e(by)], SETTINGS)


def limit(node: Node, count: int, offset: int = 0) -> Node:
    return analyze.limit(node, count, offset)


Build = Callable[[], Node]

ALLOWED: list[tuple[str, str, Build]] = [
    ("stateless", "append update", r),
    ("counts", "update complete", counts),
    ("windows with watermark", "append update complete", windows),
    ("watermark that is no key", "update complete", lambda: counts(w())),
    ("windows without watermark", "update complete", lambda: group(r(), WINDOW)),
    ("global count", "update complete", lambda: group(r())),
    ("rollup", "append update complete", lambda: sql(
        "SELECT window(t, '1 minute'), v, count(*) FROM w GROUP BY ROLLUP (window(t, '1 minute'), v)", w=w())),
    ("sorted counts", "complete", lambda: sort(counts(), "n")),
    ("limit", "append", lambda: limit(r(), 3)),
    ("limited counts", "complete", lambda: limit(counts(), 3)),
    ("counts of limited rows", "complete", lambda: counts(limit(r(), 3))),
    ("sorted and limited counts", "complete", lambda: limit(sort(counts(), "n"), 3)),
    ("distinct", "append update", lambda: dedup(r())),
    ("deduplicated by event time", "append update", lambda: dedup(w(), "v", "t")),
    ("deduplicated counts", "update complete", lambda: dedup(counts(), "v")),
    ("deduplicated windows", "append", lambda: dedup(windows(), "window")),
    ("windows of deduplicated rows", "append update complete", lambda: group(dedup(w(), "v", "t"), WINDOW)),
    ("within watermark", "append update", lambda: dedup(w(), "v", within=True)),
    ("windows after within watermark", "append update complete", lambda: group(dedup(w(), "v", within=True), WINDOW)),
    ("chained windows", "append", lambda: group(windows(), "window(window, '5 minutes')")),
    ("windows grouped again", "append", lambda: group(group(w(), WINDOW, "v"), "window")),
    ("sessions", "append complete", lambda: group(w(), "session_window(t, '1 minute')", "v")),
    ("inner join", "append update", lambda: joined(r(), r2(), "v = v2")),
    ("inner join over a range", "append update", lambda: joined(w(), w2(), RANGE)),
    ("left join over a range", "append", lambda: joined(w(), w2(), RANGE, "left")),
    ("left join by event time", "append", lambda: joined(w(), r2(), "v = v2 AND t = t2", "left")),
    ("left join, right watermark", "append", lambda: joined(r(), w2(), RANGE, "left")),
    ("right join, left watermark", "append", lambda: joined(w(), r2(), RANGE, "right")),
    ("full join, one watermark", "append", lambda: joined(w(), r2(), RANGE, "full")),
    ("semi join over a range", "append update", lambda: joined(w(), w2(), RANGE, "semi")),
    ("static side on the right", "append update", lambda: joined(r(), s(), ["v"], "left")),
    ("static side on the left", "append update", lambda: joined(s(), r(), ["v"], "right")),
    ("anti join with a static side", "append update", lambda: joined(r(), s(), ["v"], "anti")),
    ("counts with a static side", "update complete", lambda: joined(counts(), s(), ["v"])),
    ("windows joined with a stream", "append", lambda: joined(windows(), w2(), "n = v2")),
    ("windows of a join", "append update", lambda: group(joined(w(), w2(), RANGE), WINDOW)),
    ("windows of a left join", "append", lambda: group(joined(w(), w2(), RANGE, "left"), WINDOW)),
    ("three streams", "append update", lambda: joined(
        joined(w(), w2(), "v = v2"), stream("t3 timestamp, v3 bigint"), "v = v3")),
    ("union", "append update", lambda: analyze.union([r(), r2()], SETTINGS)),
    ("union of counts", "update complete", lambda: analyze.union([counts(), counts()], SETTINGS)),
    ("IN a static table", "append update", lambda: sql("SELECT * FROM r WHERE v IN (SELECT v FROM s)", r=r(), s=s())),
    ("except a static table", "append update", lambda: analyze.set_operation(
        select(r(), "v"), select(s(), "v"), "except", SETTINGS)),
]  # fmt: skip


@pytest.mark.parametrize(("modes", "build"), [c[1:] for c in ALLOWED], ids=[c[0] for c in ALLOWED])
def test_the_output_modes_of_each_query_are_sparks(modes: str, build: Build) -> None:
    passed = []
    for mode in get_args(OutputMode):
        try:
            check_streaming(build(), mode, SETTINGS)
        except AnalysisException:
            continue
        passed.append(mode)
    assert passed == modes.split()


CHAIN = "possible 'correctness' issue"

REFUSED: list[tuple[str, OutputMode, str, str, Build]] = [
    ("counts", "append", MODE, "streaming aggregations without watermark", counts),
    ("stateless", "complete", MODE, "no streaming aggregations", r),
    ("sessions", "update", MODE, "session window streaming aggregations",
     lambda: group(w(), "session_window(t, '1 minute')")),
    ("no stream", "append", "WRITE_STREAM_NOT_ALLOWED", "readStream", s),
    ("distinct aggregate", "update", UNSUPPORTED, "approx_count_distinct",
     lambda: group(r(), "v", agg=("count(DISTINCT t)",))),
    ("sort", "append", UNSUPPORTED, "Sorting is not supported", lambda: sort(r(), "v")),
    ("counts of sorted rows", "complete", UNSUPPORTED, "Sorting is not supported", lambda: counts(sort(r(), "v"))),
    ("limit", "update", UNSUPPORTED, "Limits are not supported", lambda: limit(r(), 3)),
    ("offset", "append", UNSUPPORTED, "Offset is not supported", lambda: limit(r(), -1, 3)),
    ("window function", "append", "NON_TIME_WINDOW_NOT_SUPPORTED_IN_STREAMING", "sum(v)",
     lambda: select(r(), "sum(v) OVER (PARTITION BY v ORDER BY t)")),
    ("within watermark without one", "append", UNSUPPORTED, "without watermark", lambda: dedup(r(), "v", within=True)),
    ("deduplicated windows", "update", UNSUPPORTED, CHAIN, lambda: dedup(windows(), "window")),
    ("chained windows", "update", UNSUPPORTED, CHAIN, lambda: group(windows(), "window(window, '5 minutes')")),
    ("chained counts", "complete", UNSUPPORTED, CHAIN, lambda: group(counts(), "n", agg=("count(*)",))),
    ("windows joined", "update", UNSUPPORTED, CHAIN, lambda: joined(windows(), w2(), "n = v2")),
    ("windows joined", "complete", UNSUPPORTED, "only in Append and Update", lambda: joined(windows(), w2(), "n = v2")),
    ("left join", "update", UNSUPPORTED, "is not supported in Update output mode",
     lambda: joined(w(), w2(), RANGE, "left")),
    ("full join", "update", UNSUPPORTED, "is not supported in Update output mode",
     lambda: joined(w(), w2(), RANGE, "full")),
    ("left join without watermark", "append", UNSUPPORTED, "without a watermark in the join keys",
     lambda: joined(r(), r2(), "v = v2", "left")),
    ("left join without range", "append", UNSUPPORTED, "appropriate range condition",
     lambda: joined(w(), w2(), "v = v2", "left")),
    ("left join, left watermark", "append", UNSUPPORTED, "nullable side", lambda: joined(w(), r2(), RANGE, "left")),
    ("right join, right watermark", "append", UNSUPPORTED, "nullable side", lambda: joined(r(), w2(), RANGE, "right")),
    ("semi join, left watermark", "append", UNSUPPORTED, "nullable side", lambda: joined(w(), r2(), RANGE, "semi")),
    ("join without equality", "append", UNSUPPORTED, "without equality predicate is not supported",
     lambda: joined(w(), w2(), "t2 >= t")),
    ("anti join of streams", "append", UNSUPPORTED, "LeftAnti", lambda: joined(w(), w2(), RANGE, "anti")),
    ("left join from a static side", "append", UNSUPPORTED, "on the right", lambda: joined(s(), r(), ["v"], "left")),
    ("right join to a static side", "append", UNSUPPORTED, "on the left", lambda: joined(r(), s(), ["v"], "right")),
    ("full join with a static side", "append", UNSUPPORTED, "FullOuter", lambda: joined(r(), s(), ["v"], "full")),
    ("semi join from a static side", "append", UNSUPPORTED, "LeftSemi", lambda: joined(s(), r(), ["v"], "semi")),
    ("union with a static side", "append", UNSUPPORTED, "Union between streaming and batch",
     lambda: analyze.union([select(r(), "v"), select(s(), "v")], SETTINGS)),
    ("second watermark", "append", UNSUPPORTED, "Redefining watermark is disallowed",
     lambda: analyze.with_watermark(select(w(), "*", "t + interval 1 second AS u"), "u", "1 minute", SETTINGS)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "condition", "words", "build"), [c[1:] for c in REFUSED], ids=[f"{c[0]}-{c[1]}" for c in REFUSED]
)
def test_what_cannot_stream_is_refused_in_sparks_words(
    mode: OutputMode, condition: str, words: str, build: Build
) -> None:
    with pytest.raises(AnalysisException) as raised:
        check_streaming(build(), mode, SETTINGS)
    assert raised.value.condition == condition
    assert words in str(raised.value)


def test_set_operations_and_subqueries_over_streams_are_refused_when_built() -> None:
    for kind, left, right in (("intersect", r(), s()), ("except", s(), r())):
        with pytest.raises(AnalysisException, match=r"(?i)not supported") as raised:
            analyze.set_operation(select(left, "v"), select(right, "v"), kind, SETTINGS)  # type: ignore[arg-type]
        assert raised.value.condition == UNSUPPORTED
    with pytest.raises(AnalysisException) as inner:
        sql("SELECT * FROM s WHERE v IN (SELECT v FROM r)", r=r(), s=s())
    assert inner.value.condition == "INVALID_SUBQUERY_EXPRESSION.STREAMING_QUERY"
