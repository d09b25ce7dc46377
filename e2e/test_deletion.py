"""A deleted job leaves its checkpoint, unless it is asked to take it along."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from e2e import weblog
from e2e.cluster import CommandError, until
from e2e.platform import Platform
from e2e.weblog import WebLog


@pytest.fixture(scope="module")
def log(platform: Platform) -> Iterator[WebLog]:
    with weblog.running(platform, "deleted") as found:
        found.job.works(executors=1)
        yield found


def test_deleted_within_a_batch_and_applied_again(log: WebLog) -> None:
    """It goes on where it was."""
    before = _within_a_batch(log)
    log.job.kubectl("delete", "sj", log.job.name, "--wait=false")
    until(lambda: _is_gone(log))
    log.apply()
    log.job.works(executors=1)
    after = log.job.driver()
    assert after["generation"] == before["generation"] + 1
    batches = log.job.batches()
    assert all(batches[q["name"]] >= q["batchId"] for q in before["queries"]), f"{batches} after {before}"


def test_the_output_is_that_of_a_batch(log: WebLog) -> None:
    log.is_exact()


def test_deletion_policy_delete(log: WebLog, platform: Platform) -> None:
    """Nothing is left of its checkpoint then."""
    place = f"{log.job.namespace}/{log.job.name}"
    assert "hits" in platform.tidemill("checkpoint", "show", f"{platform.checkpoint}/{place}")
    log.job.patch({"deletionPolicy": "Delete"})
    until(lambda: _has_finalizer(log))
    log.job.kubectl("delete", "sj", log.job.name, "--timeout=120s", limit=150)
    assert platform.redis("--scan", "--pattern", f"*{place}*") == ""
    with pytest.raises(CommandError, match="no checkpoint"):
        platform.tidemill("checkpoint", "show", f"{platform.checkpoint}/{place}")


def _within_a_batch(log: WebLog) -> dict[str, object]:
    """What the driver says while one is at work."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        told = log.job.driver()
        if any(q["openSince"] for q in told["queries"]):
            return told
    raise AssertionError(f"{log.job} has had no batch at work for a minute: {told}")


def _is_gone(log: WebLog) -> None:
    assert log.platform.cluster.get(log.job.namespace, "sj", log.job.name) is None
    labels = f"tidemill.dev/job={log.job.name}"
    left = [p["metadata"]["name"] for p in log.platform.cluster.listed(log.job.namespace, "pods", labels)]
    assert not left, f"there are still {left}"


def _has_finalizer(log: WebLog) -> None:
    assert "tidemill.dev/checkpoint" in log.job.read()["metadata"].get("finalizers", [])
