"""`kubectl scale` of a job that is fed: shards and their state move, and the output is that of a batch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e import weblog
from e2e.cluster import until
from e2e.jobs import Job
from e2e.platform import Platform
from e2e.weblog import WebLog


@pytest.fixture(scope="module")
def log(platform: Platform) -> Iterator[WebLog]:
    with weblog.running(platform, "scaled") as found:
        found.job.works(executors=1)
        yield found


@pytest.mark.parametrize("executors", [3, 1])
def test_scaled_under_feed(log: WebLog, executors: int) -> None:
    """Every executor gets its share, and the driver stays."""
    before = log.job.driver()["generation"]
    log.job.kubectl("scale", "sj", log.job.name, f"--replicas={executors}")
    log.job.works(executors)
    until(lambda: _all_share(log.job, executors))
    assert log.job.status()["replicas"] == executors
    assert log.job.driver()["generation"] == before


def test_the_output_is_that_of_a_batch(log: WebLog) -> None:
    log.is_exact()


def _all_share(job: Job, executors: int) -> None:
    shards = {m["name"]: m["shards"] for m in job.driver()["executors"]["members"]}
    assert len(shards) == executors and all(shards.values()), f"shards by executor: {shards}"
