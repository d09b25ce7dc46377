"""A job that is fed is scaled, by its manifest and by `kubectl scale`: shards and their state move, and the output is that of a
batch. The manifest goes through `tidemill submit`, and what one sees comes from `tidemill status` and `logs`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from e2e import weblog
from e2e.cluster import until
from e2e.jobs import Job
from e2e.platform import Platform
from e2e.weblog import WebLog
from tests.operator.commandline import run


@pytest.fixture(scope="module")
def log(platform: Platform) -> Iterator[WebLog]:
    with weblog.running(platform, "scaled") as found:
        found.job.works(executors=1)
        yield found


def test_submitted_while_it_runs(log: WebLog) -> None:
    """A number of executors is live: the driver stays."""
    before = log.job.driver()["generation"]
    for replicas, what in ((2, "configured"), (2, "unchanged")):
        manifest = json.dumps(log.manifest(executor={"replicas": replicas}))
        done = run("submit", "-", given=manifest)
        assert (done.code, what in done.err) == (0, True), done
    assert log.job.read()["spec"]["executor"]["replicas"] == 2
    assert log.job.driver()["generation"] == before


def test_a_submitted_mistake_goes_no_further(log: WebLog) -> None:
    before = log.job.read()["spec"]
    done = run("submit", "-", given=json.dumps(log.manifest(counting="SELECT nothing FROM access")))
    assert (done.code, "`nothing` cannot be resolved" in done.err) == (2, True), done
    assert log.job.read()["spec"] == before


def test_its_status_has_its_queries(log: WebLog) -> None:
    job, *queries = [p for p in run("status", log.job.name, "-n", log.job.namespace).out.split("\n\n") if p]
    assert job.splitlines()[1].split()[:2] == [log.job.name, "Running"]
    assert {line.split()[0] for line in queries[0].splitlines()} >= {"QUERY", "hits", "errors"}
    assert "last transition: " in queries[-1]


@pytest.mark.parametrize("component", ["driver", "executor"])
def test_its_logs_are_those_of_its_pods(log: WebLog, component: str) -> None:
    pod = log.job.pods(component)[0]["metadata"]["name"]
    words = () if component == "driver" else ("--executor", pod.rpartition("-")[2])
    theirs = log.job.kubectl("logs", pod).splitlines()
    ours = run("logs", log.job.name, "-n", log.job.namespace, *words).out.splitlines()
    assert theirs and ours[: len(theirs)] == theirs
    last = run("logs", log.job.name, "-n", log.job.namespace, *words, "--tail", "1").out.splitlines()
    assert len(last) == 1 and json.loads(last[0])


def test_a_log_that_is_followed_ends_with_ctrl_c(log: WebLog) -> None:
    words = ("logs", log.job.name, "-n", log.job.namespace, "--follow", "--tail", "1")
    command = [sys.executable, "-m", "tidemill", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        lines = [process.stdout.readline() for _ in range(2)]  # a batch each second: there is a next one
        process.send_signal(signal.SIGINT)
        told = process.stderr.read()
    assert all(map(json.loads, lines))
    assert (process.returncode, told) == (-signal.SIGINT, b"")


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
