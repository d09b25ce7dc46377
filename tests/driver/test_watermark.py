"""How a query's watermark moves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidemill.driver.watermark import Watermarks
from tidemill.executor.work import Observed

SECOND = 1_000_000


def seen(**highs: int) -> dict[int, Observed]:
    """Event times by watermark: ``seen(_0=20)`` saw 20 seconds at watermark 0."""
    return {int(k[1:]): Observed(1, h * SECOND, h * SECOND, h * SECOND) for k, h in highs.items()}


def test_the_slowest_stream_decides_by_default() -> None:
    marks = Watermarks.start([10 * SECOND, 5 * SECOND], "min").observe(seen(_0=21))
    assert marks.now == 0
    assert marks.observe(seen(_1=8)).now == 3 * SECOND


def test_the_fastest_stream_decides_by_policy_max() -> None:
    assert Watermarks.start([10 * SECOND, 5 * SECOND], "max").observe(seen(_0=21)).now == 11 * SECOND


def test_after_a_restart_a_stream_that_was_ahead_must_pass_the_watermark_again() -> None:
    marks = Watermarks.start([10 * SECOND, 5 * SECOND], "min", now=11 * SECOND).observe(seen(_0=100))
    assert marks.now == 11 * SECOND


def test_watermarks_count_whole_milliseconds() -> None:
    seen_at = {0: Observed(1, 0, 5_000_999, 0)}
    assert Watermarks.start([1_000_500], "min").observe(seen_at).now == 4_000_000


def test_a_query_without_event_time_has_none_to_move() -> None:
    assert Watermarks.start([], "min").observe({}).now == 0


@given(st.lists(st.dictionaries(st.integers(0, 2), st.integers(-100, 100))), st.sampled_from(["min", "max"]))
def test_a_watermark_never_falls(batches: list[dict[int, int]], policy: str) -> None:
    marks = Watermarks.start([0, SECOND, 7 * SECOND], policy)  # type: ignore[arg-type]
    for batch in batches:
        after = marks.observe(seen(**{f"_{i}": h for i, h in batch.items()}))
        assert after.now >= marks.now
        marks = after
