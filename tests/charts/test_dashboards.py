"""Every panel asks for series that are there, in PromQL that Prometheus takes."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.chart import CHART, of, render
from tests.charts.promql import uses
from tests.charts.series import PARTS, exposed, unknown
from tests.services import promtool
from tests.services.parts import run

FILES = sorted((CHART / "dashboards").glob("*.json"))
each_dashboard = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
# What Grafana puts in, some of it.
VARIABLES = {"$__rate_interval": "5m", "$namespace": "streaming", "$job": "web-logs", "$query": "hits"}


@functools.cache
def read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text()))


def expressions(file: Path) -> Iterator[tuple[str, str]]:
    """Each panel's title, with an expression as Prometheus gets it."""
    for panel in read(file)["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], filled(target["expr"])


def filled(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


@each_dashboard
def test_every_panel_asks_for_series_that_are_exposed(file: Path) -> None:
    asked = [(title, expression) for title, expression in expressions(file)]
    assert len(asked) > 10
    assert {title: unknown(uses(e)) for title, e in asked if unknown(uses(e))} == {}


def test_a_metric_or_a_label_that_nobody_exposes_is_seen() -> None:
    assert unknown(uses('rate(tidemill_rows_read_total{quer="a"}[5m])')) == ["tidemill_rows_read_total"]
    assert unknown(uses('rate(tidemill_batches_total{quer="a"}[5m])')) == ["tidemill_batches_total{quer}"]
    assert unknown(uses("sum by (executor) (tidemill_batches_total)")) == ["executor"]


@each_dashboard
def test_prometheus_takes_every_expression(file: Path, tmp_path: Path) -> None:
    rules = [{"record": f"panel:{i}", "expr": e} for i, (_, e) in enumerate(expressions(file))]
    path = tmp_path / "panels.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": file.stem, "rules": rules}]}))
    done = run([promtool.binary(), "check", "rules", str(path)])
    assert done.returncode == 0, done.stdout


@each_dashboard
def test_variables_are_defined_and_each_has_its_choices(file: Path) -> None:
    board = read(file)
    variables = {v["name"]: v for v in board["templating"]["list"]}
    text = json.dumps(board["panels"]) + json.dumps([v["query"] for v in variables.values()])
    named = set(re.findall(r"\$\{?([a-z]+)", text.replace("${__", "")))
    assert named <= set(variables)
    assert variables["datasource"]["type"] == "datasource"
    for name in set(variables) - {"datasource"}:
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", variables[name]["query"]["query"])
        assert found is not None
        metric, label = uses(filled(found[1])).metrics, found[2]
        assert all(label in exposed()[each] for each in metric)


@each_dashboard
def test_legends_name_labels_that_the_expression_leaves(file: Path) -> None:
    for panel in read(file)["panels"]:
        for target in panel.get("targets", []):
            used = uses(filled(target["expr"]))
            left = used.labels | frozenset(
                {"pod"} if not used.labels or "{{pod}}" in target["legendFormat"] else ()
            )
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= left, panel["title"]


@each_dashboard
def test_panels_lie_side_by_side(file: Path) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in read(file)["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


def test_every_metric_is_shown_somewhere() -> None:
    shown = {whole(name) for file in FILES for _, e in expressions(file) for name in uses(e).metrics}
    ours = {whole(name) for name in exposed() if name.startswith("tidemill_")}
    assert ours - shown == set()


def whole(name: str) -> str:
    """A metric's name, of a part of a histogram, too."""
    for part in PARTS:
        name = name.removesuffix(part)
    return name


def test_grafana_is_brought_all_of_them() -> None:
    values = {"dashboards": {"label": "board", "labelValue": "yes", "annotations": {"folder": "Streams"}}}
    made = [i for i in of(render(values), "ConfigMap") if i["metadata"]["labels"].get("board") == "yes"]
    assert {i["metadata"]["annotations"]["folder"] for i in made} == {"Streams"}
    brought = [json.loads(text) for i in made for text in i["data"].values()]
    assert sorted(b["uid"] for b in brought) == sorted(read(file)["uid"] for file in FILES)
    assert all(b in [read(file) for file in FILES] for b in brought)
