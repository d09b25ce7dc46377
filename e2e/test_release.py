"""The chart's release is upgraded, tested, taken away and brought back, and no job notices."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e import weblog
from e2e.cluster import Cluster, until
from e2e.jobs import Job
from e2e.platform import DEFINITION, RELEASE, Platform
from e2e.weblog import WebLog


@pytest.fixture(scope="module")
def log(platform: Platform) -> Iterator[WebLog]:
    with weblog.running(platform, "undisturbed") as found:
        found.job.works(executors=1)
        yield found
        platform.install()


@pytest.fixture(scope="module")
def job(log: WebLog) -> Job:
    return log.job


@pytest.fixture
def _same_pods(job: Job) -> Iterator[None]:
    before = _pods(job)
    yield
    job.works(executors=1)
    assert _pods(job) == before


@pytest.mark.usefixtures("_same_pods")
def test_an_upgrade_restarts_no_job(job: Job, platform: Platform) -> None:
    """Not even one that names another image for jobs: those that run keep theirs until they are restarted anyway."""
    before = {p["metadata"]["uid"] for p in platform.operators()}
    values = platform.values()["jobs"] | {"image": "localhost/not-to-be-fetched:1"}
    platform.install(jobs=values, podAnnotations={"upgraded": "yes"})
    until(lambda: _is_another(platform, before))
    # The new operator has looked at the job, too: nobody else could scale it.
    job.kubectl("scale", "sj", job.name, "--replicas=2")
    job.works(executors=2)
    job.kubectl("scale", "sj", job.name, "--replicas=1")


def test_helm_test(platform: Platform) -> None:
    platform.install()
    told = platform.cluster.helm("test", RELEASE, "-n", platform.system, "--logs", "--timeout", "2m")
    assert told.count("Phase:          Succeeded") == 2, told


@pytest.mark.usefixtures("_same_pods")
def test_uninstalling_leaves_jobs_at_work(job: Job, platform: Platform, cluster: Cluster) -> None:
    cluster.helm("uninstall", RELEASE, "-n", platform.system, "--wait")
    until(lambda: _is_away(platform))
    assert cluster.kubectl("get", "crd", DEFINITION, "-o", "name")
    job.works(executors=1)
    platform.install()


def test_the_output_is_that_of_a_batch(log: WebLog) -> None:
    log.is_exact()


def _is_away(platform: Platform) -> None:
    assert not platform.operators(), "the operator is still there"


def _is_another(platform: Platform, before: set[str]) -> None:
    now = {p["metadata"]["uid"] for p in platform.operators()}
    assert now and not now & before, "the old operator is still there"


def _pods(job: Job) -> set[str]:
    return {p["metadata"]["uid"] for c in ("driver", "executor") for p in job.pods(c)}
