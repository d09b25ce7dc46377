"""The long story of one job: it reads Kafka under a steady feed, keeps its progress in Redis, and lives through whatever
happens to its pods. At the end its output is what a batch over the whole input makes: each row once."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from e2e import weblog
from e2e.cluster import until
from e2e.jobs import Job
from e2e.platform import Platform
from e2e.weblog import WebLog


@pytest.fixture(scope="module")
def log(platform: Platform) -> Iterator[WebLog]:
    with weblog.running(platform, "web-logs") as found:
        yield found


@pytest.fixture(scope="module")
def web_logs(log: WebLog) -> Job:
    return log.job


def test_an_applied_job_runs(web_logs: Job) -> None:
    web_logs.works(executors=1)
    assert "Running" in web_logs.line()


@pytest.mark.parametrize("component", ["executor", "driver"])
def test_a_killed_process(web_logs: Job, platform: Platform, component: str) -> None:
    """It is started again in its pod."""
    before = web_logs.driver()["generation"]
    (killed,) = web_logs.pods(component)
    platform.signal(killed, signal.SIGKILL)
    until(lambda: _has_ended_by(137, web_logs, component, killed["metadata"]["name"]))
    web_logs.works(executors=1)
    assert web_logs.driver()["generation"] == before + (component == "driver")


@pytest.mark.parametrize("component", ["executor", "driver"])
def test_a_removed_pod(web_logs: Job, component: str) -> None:
    """Another one takes its place."""
    before = web_logs.driver()["generation"]
    removed = web_logs.pods(component)[0]["metadata"]
    web_logs.cluster.remove(web_logs.namespace, removed["name"])
    until(lambda: _is_another(web_logs, component, removed["uid"]))
    web_logs.works(executors=1)
    assert web_logs.driver()["generation"] == before + (component == "driver")


def test_a_removed_operator(web_logs: Job, platform: Platform) -> None:
    """Its successor finds everything as it should be, and touches no pod."""
    pods = {p["metadata"]["uid"] for c in ("driver", "executor") for p in web_logs.pods(c)}
    killed = platform.operators()[0]["metadata"]
    platform.cluster.remove(platform.system, killed["name"])
    until(lambda: _leads(platform, killed["uid"]))
    web_logs.works(executors=1)
    assert {p["metadata"]["uid"] for c in ("driver", "executor") for p in web_logs.pods(c)} == pods


def test_the_output_is_that_of_a_batch(log: WebLog) -> None:
    """Every count, every error and every bad record once, however often something was killed."""
    log.is_exact()


def _has_ended_by(code: int, job: Job, component: str, pod: str) -> None:
    (found,) = (p for p in job.pods(component) if p["metadata"]["name"] == pod)
    (container,) = found["status"]["containerStatuses"]
    ends = [container.get(state, {}).get("terminated", {}) for state in ("state", "lastState")]
    assert code in [e.get("exitCode") for e in ends], f"{pod} has not ended by {code}: {ends}"


def _is_another(job: Job, component: str, uid: str) -> None:
    pods = job.pods(component)
    assert pods and uid not in {p["metadata"]["uid"] for p in pods}, f"no other {component} yet"


def _leads(platform: Platform, uid: str) -> None:
    """Another pod than that one holds the operator's lease."""
    lease = platform.cluster.get(platform.system, "lease", "tidemill-operator")
    holder = (lease or {}).get("spec", {}).get("holderIdentity", "")
    pods = {p["metadata"]["name"]: p["metadata"]["uid"] for p in platform.operators()}
    assert pods.get(holder, uid) != uid, f"the lease is held by {holder!r} of {pods}"
