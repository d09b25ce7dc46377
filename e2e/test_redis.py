"""What happens to the Redis of a checkpoint, as far as `?patience` reaches, costs its job time and nothing else."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from e2e import weblog
from e2e.cluster import ready, until
from e2e.platform import Platform
from e2e.weblog import WebLog

PAUSE = 15
"""Seconds: longer than the lease of a checkpoint, shorter than the patience with Redis (docs/redis.md)."""


@pytest.fixture(scope="module")
def log(platform: Platform) -> Iterator[WebLog]:
    with weblog.running(platform, "patient") as found:
        found.job.works(executors=1)
        yield found


@pytest.fixture
def _same_driver(log: WebLog) -> Iterator[None]:
    """It lives through all of it."""
    before = log.job.driver()["generation"]
    yield
    log.job.works(executors=1)
    assert log.job.driver()["generation"] == before


@pytest.mark.usefixtures("_same_driver")
def test_its_connections_are_cut(platform: Platform) -> None:
    assert int(platform.redis("CLIENT", "KILL", "TYPE", "normal")) > 0


@pytest.mark.usefixtures("_same_driver")
def test_it_does_not_answer_for_a_while(platform: Platform) -> None:
    (redis,) = platform.cluster.listed(platform.services, "pods", "app=redis")
    platform.signal(redis, signal.SIGSTOP)
    time.sleep(PAUSE)
    platform.signal(redis, signal.SIGCONT)


@pytest.mark.usefixtures("_same_driver")
def test_it_is_killed_and_comes_back_with_its_data(platform: Platform) -> None:
    (redis,) = platform.cluster.listed(platform.services, "pods", "app=redis")
    platform.signal(redis, signal.SIGKILL)

    def again() -> None:
        (now,) = platform.cluster.listed(platform.services, "pods", "app=redis")
        (container,) = now["status"]["containerStatuses"]
        assert container["restartCount"] > redis["status"]["containerStatuses"][0]["restartCount"]
        assert ready(now)

    until(again)


def test_the_output_is_that_of_a_batch(log: WebLog) -> None:
    log.is_exact()
