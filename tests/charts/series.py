"""Every series that our processes expose, with its labels: what dashboards and alerts may ask for."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.process_collector import ProcessCollector

from tests.charts.promql import Uses
from tidemill.metrics import METRICS
from tidemill_operator.metrics import Metrics

TARGET = frozenset({"namespace", "pod", "tidemill_job"})
"""Labels that a scrape puts on every series, as docs/dashboards.md asks for."""
PARTS = ("_bucket", "_sum", "_count")
"""Of a histogram."""


def exposed() -> dict[str, frozenset[str]]:
    """Name to labels, those of the target included."""
    found = {"up": TARGET}
    for m in METRICS:
        found |= _named(m.name, m.kind == "histogram", m.labels)
    for registry in (_operators(), _process()):
        for family in registry.collect():
            labels = {name for sample in family.samples for name in sample.labels}
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found |= _named(name, family.type == "histogram", tuple(labels))
    return found


def _named(name: str, histogram: bool, labels: tuple[str, ...]) -> dict[str, frozenset[str]]:
    names = [name + part for part in PARTS] if histogram else [name]
    return {n: TARGET | set(labels) | ({"le"} if n.endswith("_bucket") else set()) for n in names}


def _operators() -> CollectorRegistry:
    metrics = Metrics(lambda: ["Running"], lambda: 0)
    metrics.count("apply", "deployments")
    return metrics.registry


def _process() -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def unknown(uses: Uses) -> list[str]:
    """What ``uses`` and nothing exposes: metrics, labels by which they are selected, labels to group by."""
    known = exposed()
    found = [name for name in uses.metrics if name not in known]
    found += [
        f"{name}{{{label}}}"
        for name, labels in uses.metrics.items()
        for label in sorted(labels - known.get(name, labels))
    ]
    of_all = frozenset().union(*(known.get(name, frozenset()) for name in uses.metrics))
    return found + sorted(uses.labels - of_all)
