"""Prometheus metrics of queries, fed from their progress reports.

Names and labels are stable; no label holds a key, a file name or anything else without a bound. `METRICS` is the table
that the docs are made from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

Kind = Literal["counter", "gauge", "histogram"]
SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Bucket bounds from a fast local batch to one that is in trouble."""


@dataclass(frozen=True)
class Metric:
    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str


METRICS = (
    Metric("tidemill_input_rows_total", "counter", ("query", "source"), "Rows read from a source."),
    Metric(
        "tidemill_input_bytes_total",
        "counter",
        ("query", "source"),
        "Bytes read from a source, before decoding.",
    ),
    Metric(
        "tidemill_bad_records_total", "counter", ("query", "source"), "Records that could not be decoded."
    ),
    Metric("tidemill_output_rows_total", "counter", ("query",), "Rows handed to the sink."),
    Metric(
        "tidemill_late_rows_total", "counter", ("query", "operator"), "Input rows dropped as late, exactly."
    ),
    Metric("tidemill_batches_total", "counter", ("query",), "Batches committed."),
    Metric("tidemill_batch_seconds", "histogram", ("query",), "From trigger to commit."),
    Metric("tidemill_batch_step_seconds", "histogram", ("query", "step"), "Time of each step of a batch."),
    Metric("tidemill_batch_id", "gauge", ("query",), "Number of the last committed batch."),
    Metric(
        "tidemill_last_commit_timestamp_seconds", "gauge", ("query",), "When the last batch was committed."
    ),
    Metric(
        "tidemill_watermark_timestamp_seconds",
        "gauge",
        ("query",),
        "The watermark in force in the last batch.",
    ),
    Metric(
        "tidemill_source_lag_rows",
        "gauge",
        ("query", "source"),
        "Records not yet read, where the source knows.",
    ),
    Metric("tidemill_state_rows", "gauge", ("query", "operator"), "Rows of state."),
    Metric("tidemill_state_bytes", "gauge", ("query", "operator"), "Memory held by state."),
    Metric(
        "tidemill_query_failures_total", "counter", ("query",), "Runs of a query that ended with an error."
    ),
    Metric("tidemill_query_active", "gauge", ("query",), "1 while the query runs."),
)


class QueryMetrics:
    """Keeps the metrics of all queries of a process, one label value per query name."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        made = {"counter": Counter, "gauge": Gauge}
        self._by_name: dict[str, Any] = {}
        for m in METRICS:
            if m.kind == "histogram":
                self._by_name[m.name] = Histogram(
                    m.name, m.help, m.labels, buckets=SECONDS, registry=self.registry
                )
            else:
                self._by_name[m.name] = made[m.kind](m.name, m.help, m.labels, registry=self.registry)

    def serve(self, port: int, address: str = "0.0.0.0") -> int:
        """Answer ``/metrics`` over HTTP on a thread; the port in use (0 asks for any free one)."""
        server, _ = start_http_server(port, address, self.registry)
        return int(server.server_port)

    def started(self, query: str) -> None:
        self._of("tidemill_query_active", query).set(1)

    def ended(self, query: str, failed: bool) -> None:
        self._of("tidemill_query_active", query).set(0)
        if failed:
            self._of("tidemill_query_failures_total", query).inc()

    def observe(self, query: str, progress: Mapping[str, Any]) -> None:
        """Take in the report of one committed batch (Spark's JSON keys)."""
        self._of("tidemill_batches_total", query).inc()
        self._of("tidemill_batch_id", query).set(progress["batchId"])
        self._of("tidemill_last_commit_timestamp_seconds", query).set_to_current_time()
        self._of("tidemill_output_rows_total", query).inc(max(progress["sink"]["numOutputRows"], 0))
        for step, millis in progress["durationMs"].items():
            if step == "triggerExecution":
                self._of("tidemill_batch_seconds", query).observe(millis / 1000)
            else:
                self._of("tidemill_batch_step_seconds", query, step).observe(millis / 1000)
        if "watermark" in progress["eventTime"]:
            mark = datetime.fromisoformat(progress["eventTime"]["watermark"]).timestamp()
            self._of("tidemill_watermark_timestamp_seconds", query).set(mark)
        for i, source in enumerate(progress["sources"]):
            self._source(query, str(i), source)
        for i, operator in enumerate(reversed(progress["stateOperators"])):
            self._operator(query, f"op{i}", operator)

    def _source(self, query: str, index: str, source: Mapping[str, Any]) -> None:
        self._of("tidemill_input_rows_total", query, index).inc(source["numInputRows"])
        self._of("tidemill_input_bytes_total", query, index).inc(source["bytes"])
        self._of("tidemill_bad_records_total", query, index).inc(source["numBadRecords"])
        lag = source.get("metrics", {}).get("totalOffsetsBehindLatest")
        if lag is not None:
            self._of("tidemill_source_lag_rows", query, index).set(float(lag))

    def _operator(self, query: str, operator: str, figures: Mapping[str, Any]) -> None:
        self._of("tidemill_state_rows", query, operator).set(figures["numRowsTotal"])
        self._of("tidemill_state_bytes", query, operator).set(figures["memoryUsedBytes"])
        self._of("tidemill_late_rows_total", query, operator).inc(figures["customMetrics"]["numLateRows"])

    def _of(self, name: str, *labels: str) -> Any:
        return self._by_name[name].labels(*labels)
