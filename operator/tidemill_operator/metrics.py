"""What the operator measures of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import get_args

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client import Counter as PrometheusCounter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from tidemill.api.status import Phase


class Metrics:
    """``jobs`` gives the phases of all jobs, ``depth`` the length of the queue; asked at every scrape."""

    def __init__(self, jobs: Callable[[], Iterable[str]], depth: Callable[[], int]) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.reconciliations = PrometheusCounter(
            "tidemill_operator_reconciliations", "Jobs looked at.", ["result"], registry=registry
        )
        self.seconds = Histogram(
            "tidemill_operator_reconciliation_seconds", "Time that looking at a job took.", registry=registry
        )
        self.calls = PrometheusCounter(
            "tidemill_operator_api_calls", "Calls of the API server; watches not counted.", ["verb", "resource"],
            registry=registry,
        )  # fmt: skip
        self.restarts = PrometheusCounter(
            "tidemill_operator_restarts", "Planned restarts of jobs.", ["cause"], registry=registry
        )
        self.leader = Gauge("tidemill_operator_leader", "1 if this replica works.", registry=registry)
        for result in ("ok", "error"):
            self.reconciliations.labels(result)
        for cause in ("Changed", "Requested", "Scheduled", "Certificates"):
            self.restarts.labels(cause)
        registry.register(_Asked(jobs, depth))

    def count(self, verb: str, resource: str) -> None:
        self.calls.labels(verb, resource).inc()


class _Asked(Collector):
    def __init__(self, jobs: Callable[[], Iterable[str]], depth: Callable[[], int]) -> None:
        self.jobs, self.depth = jobs, depth

    def collect(self) -> Iterable[Metric]:
        phases = GaugeMetricFamily("tidemill_operator_jobs", "Jobs by phase.", labels=["phase"])
        found = Counter(self.jobs())
        # Those that no job is in, too: an alert that ends, and a panel, want a 0.
        for phase, number in sorted({**dict.fromkeys(get_args(Phase), 0), **found}.items()):
            phases.add_metric([phase], number)
        yield phases
        yield GaugeMetricFamily(
            "tidemill_operator_queue_depth", "Jobs that wait to be looked at.", value=self.depth()
        )
