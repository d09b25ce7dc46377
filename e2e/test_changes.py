"""What is done to a job that runs: it is edited, well and badly, suspended, restarted and given another image. Between all of
that it reads on, and its output is that of a batch."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from e2e import weblog
from e2e.cluster import Item, until
from e2e.jobs import Job
from e2e.platform import Platform
from e2e.weblog import COUNTING, WebLog, difference

NOT_FOUND = 404
"""What the edited filter takes for an error, too."""
ALL_PATHS = """
SELECT window(datum, '1 minute').start AS minute, count(*) AS hits
FROM access WHERE status < 500 GROUP BY window(datum, '1 minute')
"""
"""Another grouping, which does not fit the state of `COUNTING`."""

Measure = Callable[[str, float], None]


@pytest.fixture(scope="module")
def log(platform: Platform) -> Iterator[WebLog]:
    with weblog.running(platform, "changed") as found:
        found.job.works(executors=1)
        yield found


def test_an_incompatible_edit_is_refused(log: WebLog) -> None:
    """The job goes on untouched and says why; taking the edit back clears that."""
    before = _pods(log.job)
    log.apply(counting=ALL_PATHS)
    log.job.is_in("Running", "the change was refused")
    line = log.job.line()
    assert "the change was refused" in line and "cannot continue from this checkpoint" in line
    log.job.works(executors=1)
    log.apply(counting=COUNTING)
    status = log.job.is_in("Running", "2 queries on 1 executor")
    assert "refused" not in status
    log.job.works(executors=1)
    assert _pods(log.job) == before


def test_an_edited_filter(log: WebLog, measured: Measure) -> None:
    log.apply(least=NOT_FOUND)
    restart = _restarted(log.job, "Changed", "")
    measured("pause of an edited filter", restart["pauseSeconds"])
    log.job.works(executors=1)


def test_a_restart_that_an_annotation_asks_for(log: WebLog, measured: Measure) -> None:
    before = log.job.status()["restart"].get("startedAt", "")
    log.job.annotate(f"tidemill.dev/restart-at={datetime.now(UTC):%FT%TZ}")
    restart = _restarted(log.job, "Requested", before)
    measured("pause of a restart that is asked for", restart["pauseSeconds"])
    log.job.works(executors=1)


def test_suspended_and_resumed(log: WebLog) -> None:
    """No pod is left meanwhile."""
    before = log.job.driver()["generation"]
    log.job.patch({"suspend": True})
    log.job.is_in("Suspended")
    assert [log.job.pods(c) for c in ("driver", "executor")] == [[], []]
    log.job.patch({"suspend": False})
    log.job.works(executors=1)
    assert log.job.driver()["generation"] == before + 1


def test_another_image(log: WebLog, measured: Measure) -> None:
    """`TIDEMILL_IMAGE_NEXT`, or the image that there is by its other name: its digest."""
    (driver,) = log.job.pods("driver")
    digest = driver["status"]["containerStatuses"][0]["imageID"]
    following = os.environ.get("TIDEMILL_IMAGE_NEXT") or digest
    before = log.job.status().get("restart", {}).get("startedAt", "")
    log.job.patch({"image": following})
    restart = _restarted(log.job, "Changed", before)
    measured("pause of another image", restart["pauseSeconds"])
    log.job.works(executors=1)
    pods = [p for c in ("driver", "executor") for p in log.job.pods(c)]
    assert {p["spec"]["containers"][0]["image"] for p in pods} == {following}
    assert log.job.status()["image"] == following


def test_the_output_is_that_of_a_batch(log: WebLog) -> None:
    """Of the first filter up to one record of each partition, of the second one from there on."""
    given = log.given()
    log.counts_are_exact(given)
    found = log.errors()
    added = given.failures(NOT_FOUND, 499)
    cut = {p: min(o for q, o, _ in found & added if q == p) for p in {p for p, _, _ in found & added}}
    assert len(cut) == weblog.PARTITIONS["access"], f"the second filter has not worked everywhere: {cut}"
    later = Counter(e for e in added.elements() if e[1] >= cut[e[0]])
    assert difference(found, given.failures(500) + later) == {}


def _restarted(job: Job, cause: str, before: str) -> Item:
    """The restart after the one that began at ``before``, once it is over."""

    def over() -> Item:
        status = job.status()
        restart: Item = status.get("restart", {})
        seen = f"{status.get('phase')}: {status.get('message')}; restart {restart}"
        assert restart.get("startedAt", "") > before and "finishedAt" in restart, seen
        assert restart["cause"] == cause, seen
        return restart

    return until(over)


def _pods(job: Job) -> set[str]:
    return {p["metadata"]["uid"] for c in ("driver", "executor") for p in job.pods(c)}
