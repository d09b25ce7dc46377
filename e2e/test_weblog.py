"""The long story of one job: it reads Kafka under a steady feed, keeps its progress in Redis, and lives through whatever
happens to its pods. At the end its output is what a batch over the whole input makes: each row once."""

from __future__ import annotations

import json
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


def test_a_killed_executor(web_logs: Job) -> None:
    killed = web_logs.pods("executor")[0]["metadata"]
    web_logs.cluster.kill(web_logs.namespace, killed["name"])
    until(lambda: _is_another(web_logs, "executor", killed["uid"]))
    web_logs.works(executors=1)


def test_a_killed_driver(web_logs: Job) -> None:
    before = web_logs.driver()["generation"]
    killed = web_logs.pods("driver")[0]["metadata"]
    web_logs.cluster.kill(web_logs.namespace, killed["name"])
    until(lambda: _is_another(web_logs, "driver", killed["uid"]))
    web_logs.works(executors=1)
    assert web_logs.driver()["generation"] > before


def test_a_killed_operator(web_logs: Job, platform: Platform) -> None:
    """Its successor finds everything as it should be, and touches no pod."""
    pods = {p["metadata"]["uid"] for c in ("driver", "executor") for p in web_logs.pods(c)}
    killed = platform.operators()[0]["metadata"]
    platform.cluster.kill(platform.system, killed["name"])
    until(lambda: _leads(platform, killed["uid"]))
    web_logs.works(executors=1)
    assert {p["metadata"]["uid"] for c in ("driver", "executor") for p in web_logs.pods(c)} == pods


def test_the_output_is_that_of_a_batch(web_logs: Job, platform: Platform) -> None:
    """Every count, every error and every bad record once, however often something was killed."""
    platform.cluster.kubectl("-n", platform.services, "exec", "feeder", "--", "touch", "/tmp/stop")
    until(lambda: _has_ended(platform, "feeder"))
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


def _is_another(job: Job, component: str, uid: str) -> None:
    pods = job.pods(component)
    assert pods and uid not in {p["metadata"]["uid"] for p in pods}, f"no other {component} yet"


def _leads(platform: Platform, uid: str) -> None:
    """Another pod than that one holds the operator's lease."""
    lease = platform.cluster.get(platform.system, "lease", "tidemill-operator")
    holder = (lease or {}).get("spec", {}).get("holderIdentity", "")
    pods = {p["metadata"]["name"]: p["metadata"]["uid"] for p in platform.operators()}
    assert pods.get(holder, uid) != uid, f"the lease is held by {holder!r} of {pods}"


def _has_ended(platform: Platform, pod: str) -> None:
    found = platform.cluster.get(platform.services, "pod", pod)
    assert found is not None and found["status"]["phase"] == "Succeeded", f"pod {pod} goes on"
