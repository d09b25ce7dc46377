"""The long story of one job: it reads Kafka under a steady feed, keeps its progress in Redis, and lives through whatever
happens to its pods. At the end its output is what a batch over the whole input makes: each row once."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterator

import pytest

from e2e import services, weblog
from e2e.cluster import until
from e2e.jobs import Job
from e2e.platform import Platform
from e2e.weblog import BAD, ERRORS, HITS, INPUT

RATE = 40
"""Rows a second; each is half a second later than the one before, so that a minute of the log takes three."""


@pytest.fixture(scope="module")
def web_logs(platform: Platform) -> Iterator[Job]:
    """The job, and a pod that feeds it."""
    platform.topics(weblog.TOPICS)
    feeder = services.client(
        platform.services, "feeder", platform.image, "feed", platform.brokers, INPUT, str(RATE)
    )
    platform.cluster.apply(feeder)
    job = platform.job("web-logs")
    platform.cluster.apply(weblog.manifest(platform.jobs, platform.brokers))
    yield job
    job.kubectl("delete", "sj", job.name, "--ignore-not-found")


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


def test_the_output_is_that_of_a_batch(web_logs: Job, platform: Platform) -> None:
    """Every count, every error and every bad record once, however often something was killed."""
    platform.cluster.kubectl("-n", platform.services, "exec", "feeder", "--", "touch", "/tmp/stop")
    until(lambda: platform.has_ended("feeder"))
    given = weblog.Input(platform.records(INPUT))
    wanted = given.hits()
    assert wanted.total() > 50, "too little was fed to prove anything"

    def written() -> Counter[object]:
        found = weblog.counted(platform.records(HITS))
        assert found.total() >= wanted.total(), f"{found.total()} of {wanted.total()} counts are there"
        return found

    assert _difference(until(written), wanted) == {}
    assert _difference(weblog.failed(platform.records(ERRORS)), given.failures(500)) == {}
    bad = Counter(
        json.loads(r["value"])["value"] if r["value"][:1] == "{" else r["value"]
        for r in platform.records(BAD)
    )
    assert _difference(bad, Counter(given.bad)) == {}


def _difference(found: Counter[object], wanted: Counter[object]) -> dict[str, list[object]]:
    """Some of what is too much, and of what is missing."""
    more, less = found - wanted, wanted - found
    return ({"too much": sorted(more.elements(), key=str)[:5]} if more else {}) | (
        {"missing": sorted(less.elements(), key=str)[:5]} if less else {}
    )


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
