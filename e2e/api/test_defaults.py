"""What the API server adds, and that a cluster and a laptop read one job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from e2e.api.server import Json, Server
from tests.api.manifests import WEB_LOGS, changed
from tidemill.api import load, parse
from tidemill.api.docs import EXAMPLE

ROOT = Path(__file__).parents[2]


def job(name: str, **spec: Any) -> Json:
    """A small job."""
    queries = [{"name": "all_ticks", "sql": "SELECT * FROM ticks", "sink": {"format": "console"}}]
    return {
        "apiVersion": "tidemill.dev/v1alpha1",
        "kind": "StreamingJob",
        "metadata": {"name": name},
        "spec": {"sources": [{"name": "ticks", "format": "rate"}], "queries": queries, **spec},
    }


@pytest.mark.parametrize(
    "spec", [{}, {"executor": {}}, {"executor": None}, {"executor": {"resources": {"limits": {"cpu": 1}}}}]
)
def test_a_job_has_an_executor_unless_it_says_otherwise(server: Server, spec: Json) -> None:
    assert server.create(job("small", **spec), dry_run=True)["spec"]["executor"]["replicas"] == 1


def test_no_executors_are_no_default(server: Server) -> None:
    said = job("small", executor={"replicas": 0})
    assert server.create(said, dry_run=True)["spec"]["executor"]["replicas"] == 0


def test_defaults_grow_where_a_part_is_given(server: Server) -> None:
    said = job("small", restarts={"schedule": "0 3 * * *"}, checkpoint={"id": "mine"})
    spec = server.create(said, dry_run=True)["spec"]
    assert spec["restarts"] == {"schedule": "0 3 * * *", "timeZone": "UTC"}
    assert spec["checkpoint"] == {"id": "mine", "onExisting": "Resume"}
    assert spec["queries"][0]["trigger"] == {"processingTime": "0 seconds"}
    assert (spec["suspend"], spec["deletionPolicy"]) == (False, "Retain")


def test_what_is_not_asked_for_does_not_appear(server: Server) -> None:
    spec = server.create(job("small"), dry_run=True)["spec"]
    assert not {"restarts", "program", "stopAt", "image"} & set(spec)


@pytest.mark.parametrize(
    "value", ["a", 1, 1.5, True, "${NAME}", {"secretRef": {"name": "kafka", "key": "password"}}], ids=str
)
def test_an_option_is_a_text_a_number_a_boolean_or_a_secret(server: Server, value: Any) -> None:
    created = server.create(changed("conf", {"a": value}), dry_run=True)
    assert created["spec"]["conf"] == {"a": value}
    assert type(created["spec"]["conf"]["a"]) is type(value)


MANIFESTS = {
    "web-logs": WEB_LOGS,
    "reference": EXAMPLE,
    **{path.parent.name: path.read_text() for path in sorted(ROOT.glob("examples/*/job.yaml"))},
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_cluster_has_the_job_that_the_laptop_reads(server: Server, name: str) -> None:
    """And the operator reads it with the laptop's models."""
    text = MANIFESTS[name]
    stored = server.create(as_json(text), dry_run=True)
    read, problems = parse(stored)
    assert problems == []
    assert read is not None
    assert read.spec == load(text).spec


def as_json(text: str) -> Json:
    """As the laptop reads YAML, which is how kubectl reads it (tests/api/test_document.py)."""
    from tidemill.api.document import read_documents

    found: Json = next(d.data for d in read_documents(text) if d.data.get("kind") == "StreamingJob")
    return found
