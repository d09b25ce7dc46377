"""A Prometheus scrapes a job and the operator, and finds all series that the chart's panels and alerts ask for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml

from e2e import services, weblog
from e2e.cluster import Item, ready, until
from e2e.platform import CHART, Platform
from tests.charts.promql import uses

DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))
RULES = yaml.safe_load((CHART / "alerts/tidemill.yaml").read_text())
ALERTS = {r["alert"]: r["expr"] for group in RULES["groups"] for r in group["rules"]}
NAME = "watched"
WAIT = 90.0
"""Seconds for the slowest series: of a rate there are two scrapes, of some figures there is one only after a few batches."""


@pytest.fixture(scope="module")
def prometheus(platform: Platform) -> Iterator[Prometheus]:
    """One that watches a job on two executors, since one alone exchanges nothing."""
    with weblog.running(platform, NAME, executor={"replicas": 2}) as log:
        log.job.works(executors=2)
        pods = [p for c in ("driver", "executor") for p in log.job.pods(c)] + platform.operators()
        made = services.prometheus(platform.services, [target(p) for p in pods])
        platform.cluster.apply(*made)
        until(lambda: _is_ready(platform))
        yield Prometheus(platform)
        platform.cluster.kubectl("-n", platform.services, "delete", "pod", "prometheus", "--wait=false")


def target(pod: Item) -> Item:
    """A pod, with the labels that docs/dashboards.md asks a scrape for: this Prometheus may know no Kubernetes."""
    meta = pod["metadata"]
    labels = {"namespace": meta["namespace"], "pod": meta["name"]}
    if name := meta["labels"].get("tidemill.dev/job"):
        labels["tidemill_job"] = name
    return {"targets": [f"{pod['status']['podIP']}:9090"], "labels": labels}


class Prometheus:
    def __init__(self, platform: Platform) -> None:
        self.platform = platform

    def asked(self, expression: str) -> list[Item]:
        """The series that come out."""
        place = f"/api/v1/query?query={quote(expression)}"
        told = self.platform.cluster.served(self.platform.services, "prometheus", 9090, place)
        return list(json.loads(told)["data"]["result"])

    def filled(self, expression: str) -> str:
        """As Grafana fills it in."""
        namespaces = f"{self.platform.jobs}|{self.platform.system}"
        values = {"$__rate_interval": "1m", "$job": NAME, "$query": ".+"}
        exact = expression.replace('="$namespace"', f'="{self.platform.jobs}"')
        for variable, value in {"$namespace": namespaces, **values}.items():
            exact = exact.replace(variable, value)
        return exact


def test_every_pod_is_scraped(prometheus: Prometheus) -> None:
    def all_up() -> None:
        found = {s["metric"]["pod"]: s["value"][1] for s in prometheus.asked("up")}
        assert len(found) == 4 and set(found.values()) == {"1"}, f"scraped: {found}"

    until(all_up, WAIT)


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_every_panel_has_something_to_show(prometheus: Prometheus, file: Path) -> None:
    panels = json.loads(file.read_text())["panels"]
    asked = [(p["title"], prometheus.filled(t["expr"])) for p in panels for t in p.get("targets", [])]
    assert len(asked) > 10
    until(lambda: _shows(asked, prometheus), WAIT)


def test_every_alert_finds_its_series(prometheus: Prometheus) -> None:
    """With the labels that it groups by; that it fires, charts' own tests show."""

    def found() -> None:
        missing = {alert: names for alert, e in ALERTS.items() if (names := _missing(e, prometheus))}
        assert not missing, f"series that are not there: {missing}"

    until(found, WAIT)


def _shows(asked: list[tuple[str, str]], prometheus: Prometheus) -> None:
    empty = [(title, expression) for title, expression in asked if not prometheus.asked(expression)]
    assert not empty, f"panels without anything: {empty}"


def _missing(expression: str, prometheus: Prometheus) -> list[str]:
    """Selectors of an expression that find no series with all labels that are grouped by."""
    used = uses(expression)
    selectors = {m[0] for name in used.metrics for m in re.finditer(rf"\b{name}\b({{[^}}]*}})?", expression)}
    return [
        s
        for s in sorted(selectors)
        if not any(used.labels <= f["metric"].keys() for f in prometheus.asked(s))
    ]


def _is_ready(platform: Platform) -> None:
    (pod,) = platform.cluster.listed(platform.services, "pods", "app=prometheus")
    assert ready(pod), f"Prometheus: {pod['status']}"
