"""Jobs that cannot run say why where one looks first: in the MESSAGE of `kubectl get sj`, and in `kubectl describe`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.cluster import Item, until
from e2e.jobs import Job, job
from e2e.platform import Platform

CRASHING = """
from tidemill.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
raise ValueError("there is no flour left")
"""


def _kafka(brokers: str, **options: object) -> Item:
    """A job that prints what it reads of a topic."""
    source = {
        "name": "access",
        "format": "kafka",
        "options": {"kafka.bootstrap.servers": brokers, "subscribe": "nothing", **options},
    }
    query = {"name": "everything", "sql": "SELECT value FROM access", "sink": {"format": "console"}}
    return {"sources": [source], "queries": [query]}


def _specs(platform: Platform) -> dict[str, Item]:
    """By the trouble's name."""
    brokers = platform.brokers
    password = {"secretRef": {"name": "no-such-secret", "key": "password"}}
    return {
        "wrong-broker": _kafka("nowhere.invalid:9092"),
        "wrong-image": {**_kafka(brokers), "image": "localhost/no-such-image:1"},
        "missing-secret": _kafka(brokers, **{"kafka.sasl.password": password}),
        "crashing-program": {"program": {"inline": CRASHING}},
    }


CAUSES = {
    "wrong-broker": "nowhere.invalid:9092",
    "wrong-image": "localhost/no-such-image:1",
    "missing-secret": "no-such-secret",
    "crashing-program": "there is no flour left",
}
"""What has to be said of each."""


@pytest.fixture(scope="module")
def broken(platform: Platform) -> Iterator[dict[str, Job]]:
    """All of them at once."""
    specs = _specs(platform)
    platform.cluster.apply(*(job(platform.jobs, name, **spec) for name, spec in specs.items()))
    yield {name: platform.job(name) for name in specs}
    platform.cluster.kubectl("-n", platform.jobs, "delete", "sj", *specs, "--ignore-not-found")


@pytest.mark.parametrize("name", CAUSES)
def test_the_cause_is_said(broken: dict[str, Job], name: str) -> None:
    until(lambda: _is_said(broken[name], CAUSES[name]))


def _is_said(job: Job, cause: str) -> None:
    """All at one moment: between two tries a job is Starting."""
    status = job.status()
    assert status.get("phase") == "Failing" and cause in status["message"], f"{job} is {status}"
    degraded = next(c for c in status["conditions"] if c["type"] == "Degraded")
    assert degraded["status"] == "True" and cause in degraded["message"], degraded
    line = job.line()
    assert "Failing" in line and cause in line, line
    told, _, events = job.kubectl("describe", "sj", job.name).partition("\nEvents:")
    assert cause in told, told
    assert cause in events, f"no event says so:\n{events}"
