"""The JSON that Grafana reads, from a few words for each panel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
"""Of Grafana's grid; a panel of width 12 fills half a row."""


@dataclass(frozen=True)
class Panel:
    title: str
    queries: dict[str, str]
    """Legend to PromQL. A legend may name labels, `{{query}}`; of a stat and a table it is the title of a figure."""
    unit: str = "short"
    help: str = ""
    kind: str = "timeseries"
    width: int = 8
    height: int = 7
    stacked: bool = False
    colours: dict[float, str] = field(default_factory=lambda: {0: "green"})
    """Of a stat: from which figure on it has which colour."""


@dataclass(frozen=True)
class Row:
    title: str


def dashboard(
    uid: str, title: str, variables: Iterable[dict[str, Any]], panels: Iterable[Panel | Row]
) -> dict[str, Any]:
    """A whole dashboard, its panels laid out from left to right and top to bottom."""
    return {
        "uid": uid,
        "title": title,
        "tags": ["tidemill"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [SOURCE, *variables]},
        "links": [
            {
                "type": "dashboards",
                "title": "Tidemill",
                "tags": ["tidemill"],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "panels": list(laid_out(panels)),
    }


SOURCE = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def variable(name: str, query: str, many: bool = True) -> dict[str, Any]:
    """A choice of one, or of some or all, of a label's values: ``query`` is a ``label_values(...)``."""
    chosen = {
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
    } | (chosen if many else {})


def laid_out(panels: Iterable[Panel | Row]) -> Iterable[dict[str, Any]]:
    x = y = bottom = 0
    for number, panel in enumerate(panels, 1):
        width, height = (COLUMNS, 1) if isinstance(panel, Row) else (panel.width, panel.height)
        if x + width > COLUMNS or isinstance(panel, Row):
            x, y = 0, bottom
        place = {"id": number, "gridPos": {"x": x, "y": y, "w": width, "h": height}}
        if isinstance(panel, Row):
            yield place | {"type": "row", "title": panel.title, "collapsed": False, "panels": []}
        else:
            yield place | _shown(panel)
        x, bottom = x + width, max(bottom, y + height)


def _shown(panel: Panel) -> dict[str, Any]:
    shown = {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.help,
        "datasource": DATASOURCE,
        "targets": [_target(panel, i, legend) for i, legend in enumerate(panel.queries)],
    }
    return shown | {"timeseries": _timeseries, "stat": _stat, "table": _table}[panel.kind](panel)


def _target(panel: Panel, number: int, legend: str) -> dict[str, Any]:
    target = {
        "refId": chr(ord("A") + number),
        "datasource": DATASOURCE,
        "expr": panel.queries[legend],
        "legendFormat": legend,
    }
    if panel.kind == "timeseries":
        return target
    return target | {"instant": True, "range": False} | ({"format": "table"} if panel.kind == "table" else {})


def _timeseries(panel: Panel) -> dict[str, Any]:
    drawn: dict[str, Any] = {"fillOpacity": 30 if panel.stacked else 5, "showPoints": "never"}
    if panel.stacked:
        drawn["stacking"] = {"mode": "normal"}
    return {
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": drawn}, "overrides": []},
        "options": {"legend": {"displayMode": "list"}, "tooltip": {"mode": "multi", "sort": "desc"}},
    }


def _stat(panel: Panel) -> dict[str, Any]:
    steps = [{"value": value or None, "color": colour} for value, colour in panel.colours.items()]
    return {
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "options": {"colorMode": "value", "graphMode": "none", "reduceOptions": {"calcs": ["lastNotNull"]}},
    }


def _table(panel: Panel) -> dict[str, Any]:
    """One line for each job, one column for each query, whose legend is `title:unit`."""
    columns = {chr(ord("A") + i): legend.split(":") for i, legend in enumerate(panel.queries)}
    overrides = [
        {
            "matcher": {"id": "byName", "options": f"Value #{ref}"},
            "properties": [{"id": "displayName", "value": title}, {"id": "unit", "value": unit}],
        }
        for ref, (title, unit) in columns.items()
    ]
    link = "/d/tidemill-job?var-namespace=${__data.fields.namespace}&var-job=${__value.raw}&${datasource:queryparam}"
    overrides.append(
        {
            "matcher": {"id": "byName", "options": "tidemill_job"},
            "properties": [
                {"id": "displayName", "value": "job"},
                {"id": "links", "value": [{"title": "This job", "url": link}]},
            ],
        }
    )
    return {
        "fieldConfig": {"defaults": {}, "overrides": overrides},
        "transformations": [
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {"excludeByName": {"Time": True}}},
        ],
    }
