"""Values that cannot work are refused, and by which name; those that can are told in the docs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import yaml

from charts.generate import leaves
from tests.charts.chart import CHART, ROOT, refusal, render


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replicas": 3}, "at '/replicas': maximum: got 3, want 2"),
        ({"replicas": 0}, "at '/replicas': minimum: got 0, want 1"),
        ({"replica": 2}, "additional properties 'replica' not allowed"),
        ({"redis": {"enable": True}}, "at '/redis': additional properties 'enable' not allowed"),
        ({"watchNamespaces": "team-a"}, "at '/watchNamespaces': got string, want array"),
        ({"watchNamespaces": ["Team A"]}, "at '/watchNamespaces/0': 'Team A' does not match pattern"),
        ({"watchNamespaces": ["a", "a"]}, "at '/watchNamespaces': items at 0 and 1 are equal"),
        ({"image": {"tag": 1.0}}, "at '/image/tag': got number, want string"),
        ({"image": {"repository": "tidemill:dev"}}, "at '/image/repository': 'tidemill:dev' does not match pattern"),
        ({"image": {"digest": "sha256:abc"}}, "at '/image/digest': 'sha256:abc' does not match pattern"),
        ({"image": {"pullPolicy": "Sometimes"}}, "must be one of 'Always', 'IfNotPresent', 'Never'"),
        ({"logFormat": "xml"}, "at '/logFormat': value must be one of 'json', 'text'"),
        ({"jobs": {"checkpoint": {"location": "redis.data:6379"}}}, "at '/jobs/checkpoint/location': "),
        ({"resources": {"limits": {"memory": "much"}}}, "at '/resources/limits/memory': 'much' does not match"),
        ({"podLabels": {"on": True}}, "at '/podLabels/on': got boolean, want string"),
        ({"alerts": {"runbookUrl": "docs"}}, "at '/alerts/runbookUrl': 'docs' does not match pattern"),
        ({"networkPolicies": {"apiServerPorts": []}}, "at '/networkPolicies/apiServerPorts': minItems: got 0, want 1"),
        (
            {"redis": {"enabled": True}, "jobs": {"checkpoint": {"location": "redis://redis.data.svc"}}},
            "redis.enabled: jobs would not use it, since jobs.checkpoint.location is given; leave one out",
        ),
        (
            {"jobs": {"checkpoint": {"existingSecret": "redis"}}},
            "at '/jobs/checkpoint': additional properties 'existingSecret' not allowed",
        ),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(values: dict[str, Any], said: str) -> None:
    assert said in refusal(values)


@pytest.mark.parametrize(
    "location",
    [
        "redis://:hush@redis:6379/0",
        "rediss://tidemill:hush@redis.data.svc",
        "redis+sentinel://${secret:redis/user}:hush@a:26379,b:26379/mymaster/0",
        "redis+cluster://:hush${TAIL}@a,b/",
        "redis+sentinel://a:26379/mymaster/0?replicas=1&sentinel_password=hush",
    ],
)
def test_a_password_in_plain_text_is_refused_and_not_shown(location: str) -> None:
    message = refusal({"jobs": {"checkpoint": {"location": location}}})
    assert "jobs.checkpoint.location: it has a password in plain text" in message
    assert "refer to that: redis://:${secret:redis/password}@redis:6379/0" in message
    assert "hush" not in message


@pytest.mark.parametrize(
    "location",
    [
        "redis://redis.data.svc:6379/0",
        "rediss+sentinel://a:26379,b:26379/mymaster/0?replicas=1",
        "redis+cluster://:${secret:redis/password}@a,b/",
        "redis://${secret:redis/user}:${secret:redis/password}@redis:6379/0?replicas=1",
        "redis+sentinel://a/mymaster/0?sentinel_password=${secret:redis/sentinel}&replicas=1",
        "rediss://redis:6379?ssl_ca_certs=/etc/ca@2.pem",
        "/checkpoints",
    ],
)
def test_locations_that_the_runtime_takes_are_taken(location: str) -> None:
    render({"jobs": {"checkpoint": {"location": location}}})


def schema() -> dict[str, Any]:
    return dict(json.loads((CHART / "values.schema.json").read_text()))


def paths(value: Any, path: str = "") -> set[str]:
    """Of all that has a name, down to texts, numbers, lists and empty objects."""
    if not isinstance(value, dict) or not value:
        return {path}
    return {p for name, below in value.items() for p in paths(below, f"{path}.{name}".removeprefix("."))}


def test_every_value_is_described_and_every_description_has_a_value() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    described = {path for path, _, _ in leaves(schema(), values)} - {"global"}
    named = {next((d for d in described if f"{p}.".startswith(f"{d}.")), p) for p in paths(values)}
    assert named == described


def test_the_values_as_they_come_fit_the_schema_of_objects_that_refuse_what_they_do_not_know() -> None:
    render()
    loose = [path for path, each in objects(schema()) if each.get("additionalProperties") is not False]
    assert set(loose) <= {"", "global"}


def objects(below: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Each object of the schema that has properties."""
    found = [(path, below)] if "properties" in below else []
    for name, each in below.get("properties", {}).items():
        found += objects(each, f"{path}.{name}".removeprefix("."))
    return found


def test_what_is_generated_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "charts" / "generate.py"), "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
