"""Metrics: what reports add up to, and what is so when Prometheus asks."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from tidemill.cli.watching import MetricsListener
from tidemill.driver.progress import iso
from tidemill.figures import ExecutorFigures, QueryFigures
from tidemill.metrics import (
    EXECUTOR_METRICS,
    METRICS,
    ExecutorMetrics,
    QueryMetrics,
    executor_samples,
    query_samples,
    seconds,
)
from tidemill.sql import SparkSession
from tidemill.testing import MemoryStream, add_together

PROGRESS: dict[str, Any] = {
    "batchId": 7,
    "durationMs": {"addBatch": 40, "commitBatch": 5, "triggerExecution": 60},
    "eventTime": {"watermark": "2024-01-01T00:00:00.000Z"},
    "stateOperators": [
        {"numRowsTotal": 3, "memoryUsedBytes": 300, "customMetrics": {"numLateRows": 2}},
        {"numRowsTotal": 9, "memoryUsedBytes": 900, "customMetrics": {"numLateRows": 0}},
    ],
    "sources": [
        {
            "numInputRows": 10,
            "bytes": 1000,
            "numBadRecords": 1,
            "metrics": {"lag.hits.0": "5", "read.hits.0": "1704067190.0", "lag.hits.1": "0"},
        }
    ],
    "sink": {"numOutputRows": 4, "bytes": 64},
}
QUERY = QueryFigures(
    "hits", "id", "run", True, "idle", "Waiting", started=1_704_067_000.0, generation=3, progress=PROGRESS
)
EXECUTOR = ExecutorFigures("e0", "tls://e0", 2, joined=1.0, shards=32, busy=12.5, busy_share=0.5, sent=7)


def samples(query: QueryFigures, now: float = 1_704_067_200.0) -> dict[tuple[str, ...], float]:
    return {(name.removeprefix("tidemill_"), *labels[1:]): v for name, labels, v in query_samples(query, now)}


def values(registry: CollectorRegistry) -> dict[str, float]:
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_reports_add_up() -> None:
    metrics = QueryMetrics()
    metrics.observe("hits", PROGRESS)
    metrics.observe("hits", PROGRESS)
    metrics.ended("hits", failed=True)
    found = values(metrics.registry)
    assert found['tidemill_batches_total{query="hits"}'] == 2
    assert found['tidemill_input_rows_total{query="hits",source="0"}'] == 20
    assert found['tidemill_input_bytes_total{query="hits",source="0"}'] == 2000
    assert found['tidemill_bad_records_total{query="hits",source="0"}'] == 2
    assert found['tidemill_output_rows_total{query="hits"}'] == 8
    assert found['tidemill_output_bytes_total{query="hits"}'] == 128
    assert found['tidemill_late_rows_total{operator="op1",query="hits"}'] == 4  # the last one upstream
    assert found['tidemill_batch_step_seconds_sum{query="hits",step="commitBatch"}'] == 0.01
    assert found['tidemill_batch_seconds_sum{query="hits"}'] == 0.12
    assert found['tidemill_query_failures_total{query="hits"}'] == 1


def test_counters_of_a_query_begin_at_0_before_its_first_batch() -> None:
    metrics = QueryMetrics()
    spark = SparkSession.builder.create()
    spark.streams.addListener(MetricsListener(metrics))
    left, right = MemoryStream(spark, "k INT, x STRING"), MemoryStream(spark, "k INT, y STRING")
    rows = left.toDF().join(right.toDF(), "k").dropDuplicates(["k"])
    query = rows.writeStream.format("noop").queryName("hits").start()
    try:
        before = counters(metrics)
        add_together({left: [(1, "a")], right: [(1, "b")]})
        query.processAllAvailable()
    finally:
        query.stop()
        spark.stop()
    assert before == dict.fromkeys(counters(metrics), 0)
    for series in (
        'query_failures_total{query="hits"}',
        'bad_records_total{query="hits",source="1"}',
        'late_rows_total{operator="op1",query="hits"}',
    ):
        assert f"tidemill_{series}" in before


def counters(metrics: QueryMetrics) -> dict[str, float]:
    """Of queries, each series with its value."""
    found = values(metrics.registry).items()
    return {name: value for name, value in found if name.startswith("tidemill") and "_total{" in name}


def test_a_query_at_a_moment() -> None:
    found = samples(replace(QUERY, committed=1_704_067_195.0, retried=2, moved=8))
    assert found["batch_id",] == 7
    assert (found["watermark_timestamp_seconds",], found["watermark_delay_seconds",]) == (
        1_704_067_200.0,
        0.0,
    )
    assert (found["state_rows", "op0"], found["state_bytes", "op1"]) == (9, 300)
    assert (found["recoveries_total", "driver"], found["recoveries_total", "attempt"]) == (2, 2)
    assert found["shards_moved_total",] == 8
    assert (found["checkpoint_age_seconds",], found["last_commit_timestamp_seconds",]) == (
        5.0,
        1_704_067_195.0,
    )


def test_lag_in_records_and_in_seconds() -> None:
    found = samples(QUERY)
    assert (found["source_lag_rows", "0", "hits.0"], found["source_lag_seconds", "0", "hits.0"]) == (5, 10.0)
    assert (found["source_lag_rows", "0", "hits.1"], found["source_lag_seconds", "0", "hits.1"]) == (0, 0.0)


def test_a_batch_that_hangs_shows_though_nothing_was_left_to_read_before_it() -> None:
    found = samples(replace(QUERY, opened=1_704_067_170.0))
    assert found["batch_open_seconds",] == found["source_lag_seconds", "0", "hits.1"] == 30.0


def test_a_partition_that_was_never_read_has_no_lag_in_seconds() -> None:
    source = {**PROGRESS["sources"][0], "metrics": {"lag.hits.0": "5"}}
    found = samples(replace(QUERY, progress={**PROGRESS, "sources": [source]}))
    assert found["source_lag_rows", "0", "hits.0"] == 5
    assert ("source_lag_seconds", "0", "hits.0") not in found


def test_before_the_first_batch_there_is_age_and_no_watermark() -> None:
    found = samples(replace(QUERY, generation=0, progress=None))
    assert found["checkpoint_age_seconds",] == 200.0
    assert ("watermark_timestamp_seconds",) not in found and ("recoveries_total", "driver") not in found


def test_any_year_that_a_report_can_show() -> None:
    for at in (0, 1.5, -62_198_755_200, -62_135_596_801, 253_402_300_799, 253_402_300_800, 316_516_204_799):
        assert seconds(iso(at)) == at


def test_a_watermark_beyond_the_year_9999_is_a_number() -> None:
    far = {**PROGRESS, "eventTime": {"watermark": "+12000-01-01T00:00:00.000Z"}}
    assert samples(replace(QUERY, progress=far))["watermark_timestamp_seconds",] == 316_516_204_800


def test_a_driver_tells_of_its_executors_and_they_tell_the_same() -> None:
    metrics = QueryMetrics()
    metrics.ask(lambda: [QUERY], lambda: [EXECUTOR], lambda: 2)
    driver, own = values(metrics.registry), values(ExecutorMetrics(lambda: EXECUTOR).registry)
    assert (driver["tidemill_executors"], driver["tidemill_executors_expected"]) == (1, 2)
    for name in EXECUTOR_METRICS:
        assert driver[f'{name}{{executor="e0"}}'] == own[f'{name}{{executor="e0"}}']
    assert own['tidemill_executor_busy_seconds_total{executor="e0"}'] == 12.5


def test_an_executor_without_a_driver_says_so() -> None:
    found = {name: value for name, _, value in executor_samples(replace(EXECUTOR, joined=0.0))}
    assert found["tidemill_executor_joined"] == 0


def test_every_metric_of_the_table_can_be_seen() -> None:
    """Nothing is documented that is not there, and the other way round."""
    metrics = QueryMetrics()
    metrics.ask(lambda: [replace(QUERY, committed=time.time())], lambda: [EXECUTOR], lambda: 2)
    metrics.observe("hits", PROGRESS)
    metrics.ended("hits", failed=True)
    families = [f for f in metrics.registry.collect() if f.name.startswith("tidemill")]
    shown = {f.name + ("_total" if f.type == "counter" else "") for f in families}
    assert shown == {m.name for m in METRICS}
    for family in families:
        (metric,) = [m for m in METRICS if m.name.removesuffix("_total") == family.name]
        labels = {frozenset(s.labels) - {"le"} for s in family.samples}
        assert (family.type, labels) == (metric.kind, {frozenset(metric.labels)})
