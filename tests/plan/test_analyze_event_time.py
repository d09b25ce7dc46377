"""Which columns carry a watermark: expected delays are the metadata that PySpark 4.3 shows."""

from __future__ import annotations

import pytest

from tests.plan.building import SETTINGS, dedup, delays, e, group, joined, select, stream, table
from tidemill.errors import AnalysisException, IllegalArgumentException
from tidemill.plan import analyze
from tidemill.plan.nodes import Aggregate, EventTime, Node, Project, TimeWindows

TEN = 10_000


def other() -> Node:
    return stream("t2 timestamp, v2 bigint", "5 seconds", "t2")


def late() -> Node:
    return stream(delay="10 seconds")


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (["t"], {"t": TEN}),
        (["t AS q"], {"q": TEN}),
        (["t + interval 1 second AS q"], {}),
        (["CAST(t AS TIMESTAMP) AS q"], {}),
        (["coalesce(t, t) AS q"], {}),
        (["window(t, '1 minute') AS w"], {"w": TEN}),
        (["window(t, '1 minute')"], {"window": TEN}),
        (["window(t, '1 minute').end AS x"], {}),
        (["window(t + interval 1 second, '1 minute') AS w"], {}),
        (["*"], {"t": TEN}),
    ],
)
def test_a_column_keeps_its_watermark_and_a_computation_loses_it(
    items: list[str], expected: dict[str, int]
) -> None:
    assert delays(select(late(), *items)) == expected


def test_fields_of_a_window_have_no_event_time() -> None:
    assert delays(select(select(late(), "window(t, '1 minute') AS w"), "w.start", "w.end", "w")) == {"w": TEN}


def test_group_keys_keep_event_time() -> None:
    assert delays(group(late(), "t")) == {"t": TEN}
    assert delays(group(late(), "window(t, '1 minute')", "v")) == {"window": TEN}
    assert delays(group(late(), "window(t, '1 minute') AS g")) == {"g": TEN}
    assert delays(group(late(), "session_window(t, '1 minute')")) == {"session_window": TEN}
    assert delays(group(late(), "date_trunc('HOUR', t)")) == {}
    assert delays(group(late(), agg=("max(t)",))) == {}


def test_windows_chain_by_the_window_column() -> None:
    first = group(late(), "window(t, '1 minute')")
    assert delays(group(first, "window(window, '5 minutes')")) == {"window": TEN}
    assert delays(group(first, "window(window_time(window), '5 minutes')")) == {"window": TEN}
    assert delays(group(first, "session_window(window, '5 minutes')")) == {"session_window": TEN}
    named = select(first, "window_time(window)", "window_time(window) AS wt", "n")
    assert delays(named) == {"window_time(window)": TEN, "wt": TEN}


def test_joins_keep_both_sides_and_using_keeps_the_preserved_one() -> None:
    for how in ("inner", "left", "right", "full"):
        assert delays(joined(late(), other(), "v = v2", how)) == {"t": TEN, "t2": 5000}
    same = stream("t timestamp, v2 bigint", "5 seconds")
    assert delays(joined(late(), same, ["t"], "inner")) == {"t": TEN}
    assert delays(joined(late(), same, ["t"], "left")) == {"t": TEN}
    assert delays(joined(late(), same, ["t"], "right")) == {"t": 5000}
    assert delays(joined(late(), same, ["t"], "full")) == {}


def test_a_union_has_the_event_time_of_its_first_input() -> None:
    def union(*inputs: Node, by_name: bool = False) -> dict[str, int]:
        return delays(analyze.union(inputs, SETTINGS, by_name))

    plain = stream()
    assert union(late(), other()) == {"t": TEN}
    assert union(other(), late()) == {"t2": 5000}
    assert union(late(), plain) == {"t": TEN}
    assert union(plain, late()) == {}
    assert union(late(), select(other(), "v2 AS v", "t2 AS t"), by_name=True) == {"t": TEN}


def test_deduplication_keeps_event_time() -> None:
    assert delays(dedup(late(), "t")) == delays(dedup(late())) == {"t": TEN}


@pytest.mark.parametrize(
    ("delay", "milliseconds"),
    [
        ("1 month", 2_678_400_000),
        ("1 year 2 months 3 days 1 hour", 37_760_400_000),
        ("interval 10 seconds", 10_000),
        ("1.5 seconds", 1_500),
        ("500 milliseconds", 500),
        ("500 microseconds", 0),
        ("1 week", 604_800_000),
        ("-1 month 40 days", 777_600_000),
    ],
)
def test_delays_are_read_as_spark_reads_them(delay: str, milliseconds: int) -> None:
    assert delays(stream(delay=delay)) == {"t": milliseconds}


@pytest.mark.parametrize(
    ("ddl", "column", "delay", "condition", "words"),
    [
        ("t timestamp", "t", "-1 second", None, "delay threshold (-1 second) should not be negative"),
        ("t timestamp", "t", "10", "CANNOT_PARSE_INTERVAL", "'10'"),
        ("t timestamp", "t", "ten seconds", "CANNOT_PARSE_INTERVAL", "'ten seconds'"),
        ("t timestamp", "t", "1 secnd", "CANNOT_PARSE_INTERVAL", "did you mean 'second'"),
        ("v bigint", "v", "1 second", "EVENT_TIME_IS_NOT_ON_TIMESTAMP_TYPE", '"BIGINT"'),
        ("v date", "v", "1 second", "EVENT_TIME_IS_NOT_ON_TIMESTAMP_TYPE", '"DATE"'),
        ("t timestamp", "nope", "1 second", "UNRESOLVED_COLUMN.WITH_SUGGESTION", "`nope`"),
        ("s struct<t:timestamp>", "s.t", "1 second", "EVENT_TIME_MUST_BE_TOP_LEVEL_COLUMN", "'s.t'"),
    ],
)
def test_a_wrong_watermark_is_refused(
    ddl: str, column: str, delay: str, condition: str | None, words: str
) -> None:
    with pytest.raises((AnalysisException, IllegalArgumentException)) as raised:
        analyze.with_watermark(table(ddl, streaming=True), column, delay, SETTINGS)
    assert raised.value.condition == condition
    assert words in str(raised.value)


def test_a_watermark_on_rows_that_do_not_stream_means_nothing() -> None:
    plain = table("t timestamp")
    assert analyze.with_watermark(plain, "t", "1 second", SETTINGS) is plain


def test_a_grouped_window_stands_right_below_its_aggregation() -> None:
    plan = group(late(), "window(t, '10 seconds', '5 seconds', '1 second')", "v")
    assert isinstance(plan, Aggregate)
    windows = plan.child
    assert isinstance(windows, TimeWindows)
    assert (windows.length, windows.slide, windows.offset) == (10_000_000, 5_000_000, 1_000_000)
    assert isinstance(windows.child, EventTime)
    assert plan.keys[0].expression == windows.made.ref()


def test_a_session_key_has_its_time_and_gap() -> None:
    gap = "CASE WHEN v > 1 THEN '5 seconds' ELSE '1 minute' END"
    plan = group(late(), f"session_window(t, {gap}) AS s", "v")
    assert isinstance(plan, Project)
    aggregate = plan.child
    assert isinstance(aggregate, Aggregate)
    assert aggregate.session is not None
    assert aggregate.keys[0].attribute.id == aggregate.session.attribute.id
    assert "'60'" in aggregate.session.gap.args["default"].sql()


def test_a_session_cannot_be_selected() -> None:
    with pytest.raises(AnalysisException, match="group by it"):
        select(late(), "session_window(t, '1 minute')")


def test_two_windows_at_once_are_refused() -> None:
    with pytest.raises(AnalysisException, match="cartesian product"):
        group(late(), "window(t, '1 minute')", "window(t, '2 minutes')")
    assert len(group(late(), "window(t, '1 minute')", "window(t, '1 minute')").output) == 3


def test_trees_that_are_given_stay_as_they_are() -> None:
    key, item = e("window(t, '1 minute')"), e("count(*) + v AS x")
    before = key.copy(), item.copy()
    analyze.aggregate(late(), [key, e("v")], [key, item], SETTINGS)
    assert (key, item) == before
