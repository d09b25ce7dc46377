"""Prometheus metrics of a driver and of an executor.

Names and labels are stable; no label holds a key, a file name or anything else without a bound. `METRICS` is the table
that the docs are made from. What adds up over batches is fed from their reports (`QueryMetrics.observe`); what is so at
a moment is asked for when Prometheus asks (`Moment`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from tidemill.figures import ExecutorFigures, QueryFigures

Kind = Literal["counter", "gauge", "histogram"]
SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Bucket bounds from a fast local batch to one that is in trouble."""


@dataclass(frozen=True)
class Metric:
    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    moment: bool = False
    """Asked for when Prometheus asks, not fed from reports."""


_Q, _QS, _QO, _E = ("query",), ("query", "source"), ("query", "operator"), ("executor",)
_QSP = ("query", "source", "partition")

METRICS = (
    Metric("tidemill_input_rows_total", "counter", _QS, "Rows read from a source."),
    Metric("tidemill_input_bytes_total", "counter", _QS, "Bytes read from a source, before decoding."),
    Metric("tidemill_bad_records_total", "counter", _QS, "Records that could not be decoded."),
    Metric("tidemill_shared_reads_total", "counter", _QS,
           "Reads of a partition that took records which another query had read: they were not fetched and decoded again."),
    Metric("tidemill_shared_bytes_total", "counter", _QS,
           "Bytes of those records, before decoding; tidemill_input_bytes_total counts them too."),
    Metric("tidemill_output_rows_total", "counter", _Q, "Rows handed to the sink."),
    Metric("tidemill_output_bytes_total", "counter", _Q, "Bytes handed to the sink, in memory, before encoding."),
    Metric("tidemill_late_rows_total", "counter", _QO, "Input rows dropped as late, exactly."),
    Metric("tidemill_batches_total", "counter", _Q, "Batches committed."),
    Metric("tidemill_batch_seconds", "histogram", _Q, "From trigger to commit."),
    Metric("tidemill_batch_step_seconds", "histogram", ("query", "step"),
           "Time of each step of a batch: latestOffset (asking the sources), walCommit (plan and prepared entries), "
           "getBatch (cutting into partitions), addBatch (the stages), commitBatch (the sink's commit), "
           "commitOffsets (the commit entry)."),
    Metric("tidemill_query_failures_total", "counter", _Q, "Runs of a query that ended with an error."),
    Metric("tidemill_query_active", "gauge", _Q, "1 while the query runs, 0 once it has ended.", True),
    Metric("tidemill_batch_id", "gauge", _Q, "Number of the last committed batch.", True),
    Metric("tidemill_batch_open_seconds", "gauge", _Q,
           "Since when a batch is at work; 0: none is. A batch that hangs shows here.", True),
    Metric("tidemill_last_commit_timestamp_seconds", "gauge", _Q, "When the last batch was committed.", True),
    Metric("tidemill_checkpoint_age_seconds", "gauge", _Q,
           "Since the last commit of this driver, or its start. It grows while there is nothing to read, too.", True),
    Metric("tidemill_watermark_timestamp_seconds", "gauge", _Q, "The watermark in force in the last batch.", True),
    Metric("tidemill_watermark_delay_seconds", "gauge", _Q, "By how much the watermark is behind the clock.", True),
    Metric("tidemill_source_lag_rows", "gauge", _QSP,
           "Records not yet read, as of the last batch, where the source knows (Kafka).", True),
    Metric("tidemill_source_lag_seconds", "gauge", _QSP,
           "Age of the last record read, while there are others to read; else age of the open batch, or 0. Where the "
           "source knows (Kafka).", True),
    Metric("tidemill_state_rows", "gauge", _QO, "Rows of state.", True),
    Metric("tidemill_state_bytes", "gauge", _QO, "Memory held by state.", True),
    Metric("tidemill_recoveries_total", "counter", ("query", "kind"),
           "kind=attempt: batch attempts that failed and were tried again, by this driver. kind=driver: lives of "
           "drivers that this one has taken over from, planned restarts included; it is kept in the checkpoint.", True),
    Metric("tidemill_shards_moved_total", "counter", _Q, "Shards of state that another executor had to load.", True),
    Metric("tidemill_executors", "gauge", (), "Executors that have joined this driver.", True),
    Metric("tidemill_executors_expected", "gauge", (), "Executors that it was told to expect.", True),
    Metric("tidemill_executor_joined", "gauge", _E, "1 while the executor serves a driver.", True),
    Metric("tidemill_executor_threads", "gauge", _E, "Threads that compute.", True),
    Metric("tidemill_executor_shards", "gauge", _E, "Shards of state that it holds.", True),
    Metric("tidemill_executor_busy_seconds_total", "counter", _E,
           "Time in which it was at work on batches, waiting for other executors' rows included; the rest of the time "
           "it was idle.", True),
    Metric("tidemill_exchange_bytes_total", "counter", _E, "Bytes of rows sent to other executors.", True),
    Metric("tidemill_spilled_bytes_total", "counter", _E,
           "Bytes of rows from other executors that went to files, memory being short.", True),
)  # fmt: skip
_BY_NAME = {m.name: m for m in METRICS}
EXECUTOR_METRICS = tuple(m.name for m in METRICS if m.labels == _E)
"""What an executor serves, too: the same figures under the same labels."""

Samples = Iterator[tuple[str, tuple[str, ...], float]]
"""Metric, values of its labels, value."""


class QueryMetrics:
    """Keeps the metrics of a process, one label value per query name."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._by_name: dict[str, Any] = {}
        for m in METRICS:
            if m.moment:
                continue
            if m.kind == "histogram":
                made: Any = Histogram(m.name, m.help, m.labels, buckets=SECONDS, registry=self.registry)
            else:
                made = Counter(m.name, m.help, m.labels, registry=self.registry)
            self._by_name[m.name] = made
        ProcessCollector(registry=self.registry)

    def ask(
        self,
        queries: Callable[[], Iterable[QueryFigures]],
        executors: Callable[[], Iterable[ExecutorFigures]],
        expected: Callable[[], int],
    ) -> None:
        """Where to ask for what is so at a moment."""
        self.registry.register(Moment(lambda: driver_samples(queries(), list(executors()), expected())))

    def began(self, query: str, sources: int, operators: int) -> None:
        """Its counters begin at 0: who asks for an increase does not see what a series begins with.

        ``operators``: those with state.
        """
        each: dict[tuple[str, ...], list[list[str]]] = {
            _Q: [[]],
            _QS: [[str(i)] for i in range(sources)],
            _QO: [[f"op{i}"] for i in range(operators)],
        }
        for m in METRICS:
            if m.kind == "counter" and not m.moment:
                for more in each[m.labels]:
                    self._of(m.name, query, *more).inc(0)

    def ended(self, query: str, failed: bool) -> None:
        if failed:
            self._of("tidemill_query_failures_total", query).inc()

    def observe(self, query: str, progress: Mapping[str, Any]) -> None:
        """Take in the report of one committed batch (Spark's JSON keys)."""
        self._of("tidemill_batches_total", query).inc()
        self._of("tidemill_output_rows_total", query).inc(max(progress["sink"]["numOutputRows"], 0))
        self._of("tidemill_output_bytes_total", query).inc(progress["sink"].get("bytes", 0))
        for step, millis in progress["durationMs"].items():
            if step == "triggerExecution":
                self._of("tidemill_batch_seconds", query).observe(millis / 1000)
            else:
                self._of("tidemill_batch_step_seconds", query, step).observe(millis / 1000)
        for i, source in enumerate(progress["sources"]):
            self._of("tidemill_input_rows_total", query, str(i)).inc(source["numInputRows"])
            self._of("tidemill_input_bytes_total", query, str(i)).inc(source["bytes"])
            self._of("tidemill_bad_records_total", query, str(i)).inc(source["numBadRecords"])
            self._of("tidemill_shared_reads_total", query, str(i)).inc(source.get("sharedReads", 0))
            self._of("tidemill_shared_bytes_total", query, str(i)).inc(source.get("sharedBytes", 0))
        for name, figures in _operators(progress):
            late = figures["customMetrics"]["numLateRows"]
            self._of("tidemill_late_rows_total", query, name).inc(late)

    def _of(self, name: str, *labels: str) -> Any:
        return self._by_name[name].labels(*labels)


class ExecutorMetrics:
    """The metrics of an executor's own process."""

    def __init__(self, figures: Callable[[], ExecutorFigures]) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(Moment(lambda: executor_samples(figures())))
        ProcessCollector(registry=self.registry)


class Moment(Collector):
    """Metrics of what is so when Prometheus asks."""

    def __init__(self, samples: Callable[[], Samples]) -> None:
        self._samples = samples

    def describe(self) -> Iterable[Any]:
        return ()  # without asking, which may be too early

    def collect(self) -> Iterable[Any]:
        families: dict[str, Any] = {}
        for name, labels, value in self._samples():
            if name not in families:
                m = _BY_NAME[name]
                kind = CounterMetricFamily if m.kind == "counter" else GaugeMetricFamily
                families[name] = kind(name, m.help, labels=m.labels)
            families[name].add_metric(labels, value)
        return families.values()


def driver_samples(
    queries: Iterable[QueryFigures], executors: Iterable[ExecutorFigures], expected: int
) -> Samples:
    now = time.time()
    for query in queries:
        yield from query_samples(query, now)
    joined = list(executors)
    yield "tidemill_executors", (), len(joined)
    yield "tidemill_executors_expected", (), expected
    for executor in joined:
        yield from executor_samples(executor)


def executor_samples(e: ExecutorFigures) -> Samples:
    label = (e.name,)
    yield "tidemill_executor_joined", label, float(e.joined > 0)
    yield "tidemill_executor_threads", label, e.threads
    yield "tidemill_executor_shards", label, e.shards
    yield "tidemill_executor_busy_seconds_total", label, e.busy
    yield "tidemill_exchange_bytes_total", label, e.sent
    yield "tidemill_spilled_bytes_total", label, e.spilled


def query_samples(q: QueryFigures, now: float) -> Samples:
    label = (q.name,)
    yield "tidemill_query_active", label, float(q.active)
    yield "tidemill_batch_open_seconds", label, max(now - q.opened, 0.0) if q.opened else 0.0
    if q.generation:
        yield "tidemill_recoveries_total", (q.name, "driver"), q.generation - 1
    yield "tidemill_recoveries_total", (q.name, "attempt"), q.retried
    yield "tidemill_shards_moved_total", label, q.moved
    if q.committed is not None:
        yield "tidemill_last_commit_timestamp_seconds", label, q.committed
    yield "tidemill_checkpoint_age_seconds", label, max(now - (q.committed or q.started), 0.0)
    if q.progress is not None:
        yield from _progress_samples(q, q.progress, now)


def _progress_samples(q: QueryFigures, progress: Mapping[str, Any], now: float) -> Samples:
    yield "tidemill_batch_id", (q.name,), progress["batchId"]
    if "watermark" in progress["eventTime"]:
        mark = seconds(progress["eventTime"]["watermark"])
        yield "tidemill_watermark_timestamp_seconds", (q.name,), mark
        if mark > 0:  # before it has seen an event the watermark is 1970
            yield "tidemill_watermark_delay_seconds", (q.name,), now - mark
    for name, figures in _operators(progress):
        yield "tidemill_state_rows", (q.name, name), figures["numRowsTotal"]
        yield "tidemill_state_bytes", (q.name, name), figures["memoryUsedBytes"]
    for i, source in enumerate(progress["sources"]):
        for partition, rows, age in lags(source.get("metrics", {}), q.opened, now):
            label = (q.name, str(i), partition)
            yield "tidemill_source_lag_rows", label, rows
            if age is not None:
                yield "tidemill_source_lag_seconds", label, age


def lags(
    figures: Mapping[str, str], opened: float | None, now: float
) -> Iterator[tuple[str, int, float | None]]:
    """Of each partition: its records not yet read, and by how many seconds reading is behind, None if unknown.

    >>> list(lags({"lag.hits.0": "3", "read.hits.0": "90.0", "lag.hits.1": "0"}, None, 100.0))
    [('hits.0', 3, 10.0), ('hits.1', 0, 0.0)]
    """
    for key, value in figures.items():
        if key.startswith("lag."):
            partition = key.removeprefix("lag.")
            read = figures.get(f"read.{partition}")
            if int(value):
                age = max(now - float(read), 0.0) if read else None
            else:
                age = max(now - opened, 0.0) if opened else 0.0
            yield partition, int(value), age


def _operators(progress: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Upstream first, by their ids."""
    return [(f"op{i}", figures) for i, figures in enumerate(reversed(progress["stateOperators"]))]


_ISO = re.compile(r"([+-]?\d+)-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{3})Z")
_TURN = 12_622_780_800
"""Seconds in 400 years, after which the calendar repeats; Python's ends at the year 9999."""


def seconds(text: str) -> float:
    """Seconds since 1970 of a report's time, whatever its year.

    >>> seconds("1970-01-01T00:00:01.500Z"), seconds("+10000-01-01T00:00:00.000Z")
    (1.5, 253402300800.0)
    """
    found = _ISO.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time of a report")
    year, month, day, hour, minute, second, millis = map(int, found.groups())
    turns, year = (year - 2000) // 400, (year - 2000) % 400 + 2000
    at = datetime(year, month, day, hour, minute, second, millis * 1000, UTC)
    return at.timestamp() + turns * _TURN
