"""The chart as Helm renders it, and Kubernetes' own models to hold it against."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

from tests.services import helm

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "tidemill"
NAMESPACE = "streaming"
RELEASE = "tidemill"
PROMETHEUS = "monitoring.coreos.com/v1"
"""What the Prometheus operator adds to a cluster's API."""
Item = dict[str, Any]

# Of each thing that the chart can do, some: between them, every line of the templates is rendered.
VALUE_SETS: dict[str, tuple[dict[str, Any], bool]] = {
    "as it comes": ({}, False),
    "as it comes, with the Prometheus operator": ({}, True),
    "to try out": ({"redis": {"enabled": True}, "networkPolicies": {"enabled": True}}, False),
    "for two teams": (
        {"watchNamespaces": ["team-a", "team-b"], "crds": {"install": False}, "rbac": {"aggregate": False}},
        True,
    ),
    "two operators, a Redis with a volume": (
        {"replicas": 2, "redis": {"enabled": True, "persistence": {"enabled": True, "storageClass": "fast"}}},
        False,
    ),
    "a password in a Secret, an image by digest": (
        {
            "image": {"digest": f"sha256:{'0' * 64}"},
            "jobs": {
                "image": "registry.example/jobs:1",
                "checkpoint": {"location": "redis://:${secret:redis/password}@redis:6379/0"},
            },
        },
        False,
    ),
    "guarded": (
        {
            "watchNamespaces": ["team-a"],
            "networkPolicies": {
                "enabled": True,
                "metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
                "jobEgress": [{"ports": [{"port": 9092, "protocol": "TCP"}]}],
            },
        },
        False,
    ),
    "placed": (
        {
            "nodeSelector": {"disk": "fast"},
            "tolerations": [{"key": "streaming", "operator": "Exists"}],
            "affinity": {"podAffinity": {}},
            "priorityClassName": "high",
            "imagePullSecrets": [{"name": "registry"}],
            "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
            "podLabels": {"team": "data"},
            "podAnnotations": {"note": "ours"},
            "metrics": {"podMonitor": {"labels": {"release": "prometheus"}}},
            "dashboards": {"annotations": {"grafana_folder": "Tidemill"}},
            "alerts": {"labels": {"team": "data"}, "ruleLabels": {"release": "prometheus"}},
            "redis": {"enabled": True},
        },
        True,
    ),
    "next to nothing": (
        {
            "crds": {"install": False},
            "rbac": {"create": False},
            "serviceAccount": {"create": False},
            "metrics": {"scrapeAnnotations": False, "podMonitor": {"enabled": False}},
            "dashboards": {"enabled": False},
            "alerts": {"enabled": False},
            "test": {"enabled": False},
        },
        True,
    ),
}


def template(
    values: Mapping[str, Any], prometheus: bool = False, chart: Path = CHART
) -> subprocess.CompletedProcess[str]:
    """``helm template`` with the values, for a cluster with or without the Prometheus operator."""
    apis = ["--api-versions", PROMETHEUS] if prometheus else []
    command = [helm.binary(), "template", RELEASE, str(chart), "--namespace", NAMESPACE, *apis]
    return subprocess.run(
        [*command, "--kube-version", "1.34.0", "--values", "-"],
        input=yaml.safe_dump(dict(values)),
        capture_output=True,
        text=True,
        timeout=60,
    )


def render(values: Mapping[str, Any] | None = None, prometheus: bool = False) -> list[Item]:
    """The objects that the chart makes."""
    done = template(values or {}, prometheus)
    assert done.returncode == 0, done.stderr
    return [item for item in yaml.safe_load_all(done.stdout) if item]


def notes(values: Mapping[str, Any], prometheus: bool, folder: Path) -> str:
    """What an installation prints: of Helm's commands that one alone renders it, and it wants a cluster. So in a copy of
    the chart it is put into an object."""
    copy = shutil.copytree(CHART, folder / "chart")
    text = (copy / "templates" / "NOTES.txt").read_text()
    (copy / "templates" / "notes.yaml").write_text(
        f'{{{{ define "notes" }}}}{text}{{{{ end }}}}\nkind: Notes\ntext: {{{{ include "notes" . | quote }}}}\n'
    )
    done = template(values, prometheus, copy)
    assert done.returncode == 0, done.stderr
    (made,) = [item for item in yaml.safe_load_all(done.stdout) if item and item["kind"] == "Notes"]
    return str(made["text"])


def refusal(values: Mapping[str, Any]) -> str:
    """What Helm says to values that it does not take."""
    done = template(values)
    assert done.returncode != 0, f"{values} were taken"
    return done.stderr


def of(items: list[Item], kind: str, name: str = "") -> list[Item]:
    """Those of a kind, and of a name if one is given."""
    return [i for i in items if i["kind"] == kind and name in ("", i["metadata"]["name"])]


def one(items: list[Item], kind: str, name: str = "") -> Item:
    (found,) = of(items, kind, name)
    return found


def pods(items: list[Item]) -> Iterator[tuple[str, Item]]:
    """Each pod, or template of one, that is made: its owner's name and its spec."""
    for item in items:
        if item["kind"] == "Pod":
            yield item["metadata"]["name"], item["spec"]
        elif item["kind"] in ("Deployment", "StatefulSet"):
            yield item["metadata"]["name"], item["spec"]["template"]["spec"]


def container(items: list[Item]) -> Item:
    """The operator's."""
    (found,) = one(items, "Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(found)


def variables(items: list[Item]) -> dict[str, Any]:
    """The environment of the operator: values, or where they come from."""
    return {v["name"]: v.get("value", v.get("valueFrom")) for v in container(items)["env"]}


_LIST = re.compile(r"List\[(.+)\]")
_DICT = re.compile(r"Dict\[str, (.+)\]")


def unknown_fields(item: Item) -> list[str]:
    """Fields that Kubernetes' own models do not have, where they have the kind at all."""
    version = item["apiVersion"].rpartition("/")[2]
    model = f"{version[0].upper()}{version[1:]}{item['kind']}"
    return list(_unknown(item, model, item["kind"])) if hasattr(client, model) else []


def _unknown(value: Any, kind: str, path: str) -> Iterator[str]:
    if found := _LIST.fullmatch(kind):
        for i, each in enumerate(value):
            yield from _unknown(each, found[1], f"{path}[{i}]")
    elif found := _DICT.fullmatch(kind):
        for name, each in value.items():
            yield from _unknown(each, found[1], f"{path}.{name}")
    elif hasattr(client, kind) and isinstance(value, dict):
        model = getattr(client, kind)
        fields = {alias: model.openapi_types[name] for name, alias in model.attribute_map.items()}
        for name, below in value.items():
            if name not in fields:
                yield f"{path}.{name}"
            else:
                yield from _unknown(below, fields[name], f"{path}.{name}")
    elif kind == "str" and not isinstance(value, str):
        yield f"{path} is {value!r}, not a text"
