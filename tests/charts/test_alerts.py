"""Alerts fire when they should and say what they should; each leads to a section of a page that is there."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.chart import CHART, ROOT, of, one, refusal, render
from tests.charts.promql import uses
from tests.charts.series import TARGET, unknown
from tests.charts.stories import STORIES, Story
from tests.services import promtool
from tests.services.parts import run

RULES = "https://example.org/tidemill/docs"


@functools.cache
def shipped() -> str:
    """The rules as the chart brings them."""
    made = render({"alerts": {"runbookUrl": RULES, "labels": {"team": "data"}}}, prometheus=True)
    text = str(one(made, "ConfigMap", "tidemill-alerts")["data"]["tidemill.yaml"])
    assert one(made, "PrometheusRule")["spec"] == yaml.safe_load(text), "both say the same"
    return text


@functools.cache
def rules() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in yaml.safe_load(shipped())["groups"] for rule in group["rules"]}


def written() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load((CHART / "alerts" / "tidemill.yaml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_prometheus_takes_the_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(shipped())
    done = run([promtool.binary(), "check", "rules", str(tmp_path / "rules.yaml")])
    assert done.returncode == 0, done.stdout
    assert f"{len(written())} rules found" in done.stdout


def test_the_chart_changes_labels_and_links_only() -> None:
    for name, rule in written().items():
        link = f"{RULES}/{rule['annotations']['runbook_url']}"
        assert rules()[name] == rule | {
            "labels": rule["labels"] | {"team": "data"},
            "annotations": rule["annotations"] | {"runbook_url": link},
        }


def test_alerts_ask_for_series_that_are_exposed() -> None:
    assert {name: unknown(uses(r["expr"])) for name, r in rules().items() if unknown(uses(r["expr"]))} == {}


def checked(stories: list[Story], folder: Path) -> str:
    """What promtool says to the stories; empty if all came out as told."""
    (folder / "rules.yaml").write_text(shipped())
    told = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [_told(s) for s in stories]}
    (folder / "stories.yaml").write_text(yaml.safe_dump(told))
    done = run([promtool.binary(), "test", "rules", str(folder / "stories.yaml")])
    return "" if done.returncode == 0 else done.stdout


def _told(story: Story) -> dict[str, Any]:
    rule = rules()[story.alert]
    fires = {
        "exp_labels": {**story.labels, **rule["labels"]},
        "exp_annotations": {**rule["annotations"], "summary": story.says},
    }
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in story.series.items()],
        "alert_rule_test": [
            {"eval_time": story.at, "alertname": story.alert, "exp_alerts": [fires] if story.says else []}
        ],
    }


@pytest.mark.parametrize("alert", written())
def test_it_fires_when_it_should_and_only_then(alert: str, tmp_path: Path) -> None:
    stories = [story for story in STORIES if story.alert == alert]
    assert {bool(story.says) for story in stories} == {True, False}, "one that fires, and one that does not"
    assert checked(stories, tmp_path) == ""


def test_a_story_that_does_not_come_out_is_seen(tmp_path: Path) -> None:
    quiet = next(story for story in STORIES if story.alert == "TidemillNoCommit" and story.says)
    assert "FAILED" in checked([Story(quiet.alert, quiet.series, quiet.at)], tmp_path)


def sections(page: str) -> dict[str, str]:
    """A page's headings of the third level below `## Runbook`, by the anchor that they get."""
    _, _, runbook = (ROOT / "docs" / page).read_text().partition("\n## Runbook\n")
    titles = re.findall(r"^### (.+)$", runbook.partition("\n## ")[0], re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-"): title for title in titles}


def test_each_alert_leads_to_a_section_and_each_section_has_an_alert() -> None:
    led = {rule["annotations"]["runbook_url"] for rule in written().values()}
    there = {f"{page}#{anchor}" for page in ("operations.md", "dashboards.md") for anchor in sections(page)}
    told_by_the_log = {
        "operations.md#checkpoint-in-use",
        "operations.md#fenced",
        "operations.md#lost-writes",
    }
    assert led - there == set()
    assert there - led <= told_by_the_log, "a condition that no alert finds"


def test_the_page_lists_every_alert() -> None:
    page = (ROOT / "docs" / "dashboards.md").read_text()
    rows = re.findall(r"^\| `(Tidemill\w+)` \| (\w+) \|", page, re.MULTILINE)
    assert dict(rows) == {name: rule["labels"]["severity"] for name, rule in written().items()}


def test_an_alert_can_be_left_out() -> None:
    kept = of(render({"alerts": {"disabled": ["TidemillNothingNew", "TidemillStateGrows"]}}), "ConfigMap")
    text = next(i["data"]["tidemill.yaml"] for i in kept if "tidemill.yaml" in i["data"])
    names = {rule["alert"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"]}
    assert names == set(written()) - {"TidemillNothingNew", "TidemillStateGrows"}
    said = refusal({"alerts": {"disabled": ["TidemillNothing"]}})
    assert "there is no alert 'TidemillNothing'; there are TidemillLag, " in said


def test_prometheus_takes_the_page_s_way_to_scrape(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "dashboards.md").read_text()
    (config,) = re.findall(r"^```yaml\n(scrape_configs:.*?)^```$", page, re.MULTILINE | re.DOTALL)
    # Debian builds Prometheus, and promtool, without the part that asks Kubernetes.
    asks, static = "kubernetes_sd_configs: [{role: pod}]", "static_configs: [{targets: [localhost]}]"
    assert asks in config
    (tmp_path / "prometheus.yaml").write_text(config.replace(asks, static))
    done = run([promtool.binary(), "check", "config", str(tmp_path / "prometheus.yaml")])
    assert done.returncode == 0, done.stdout
    (scrape,) = yaml.safe_load(config)["scrape_configs"]
    targets = {rule["target_label"] for rule in scrape["relabel_configs"] if "target_label" in rule}
    assert targets - {"__metrics_path__"} == TARGET
