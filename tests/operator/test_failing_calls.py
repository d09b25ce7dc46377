"""Whichever call of the API server fails, before it has taken effect or after, in the end all is as it should be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.operator.kubernetes import Fate
from tests.operator.lives import Life, life, wrong
from tests.operator.stories import SPEC
from tidemill_operator.cluster import DEPLOYMENT, POD, SERVICE, STATEFUL_SET
from tidemill_operator.errors import ClusterError
from tidemill_operator.moments import iso
from tidemill_operator.names import RESTART_AT


def edit(made: Life, sql: str | None = None, **spec: Any) -> None:
    def change(job: Any) -> None:
        job["spec"] |= spec
        if sql is not None:
            job["spec"]["queries"] = [{**SPEC["queries"][0], "sql": sql}]

    job = made.job()
    assert job is not None
    made.cluster.change(job, change)


def restart(made: Life) -> None:
    job = made.job()
    assert job is not None
    made.cluster.change(job, lambda j: j["metadata"].update(annotations={RESTART_AT: iso(made.now())}))


def delete(made: Life) -> None:
    job = made.job()
    assert job is not None
    made.cluster.remove(job)


def lose(made: Life) -> None:
    for kind in (DEPLOYMENT, STATEFUL_SET, SERVICE, POD):
        for item in made.cluster.all(kind):
            made.cluster.remove(item)


STORIES: dict[str, tuple[dict[str, Any], Callable[[Life], None] | None]] = {
    "first start": ({}, None),
    "first start of a job to purge": ({"deletionPolicy": "Delete"}, None),
    "edit": ({}, lambda made: edit(made, "SELECT 2 AS a FROM access")),
    "edit that does not fit": ({}, lambda made: edit(made, "SELECT misfit FROM access")),
    "image": ({}, lambda made: edit(made, image="tidemill:2")),
    "executors": (
        {},
        lambda made: edit(made, executor={"replicas": 3, "resources": {"limits": {"memory": "4Gi"}}}),
    ),
    "restart": ({}, restart),
    "suspend": ({}, lambda made: edit(made, suspend=True)),
    "resume": ({"suspend": True}, lambda made: edit(made, suspend=False)),
    "purge": ({"deletionPolicy": "Delete"}, delete),
    "loss": ({}, lose),
    "new operator": ({}, lambda made: made.restarts_operator()),
}
MISFIT = Fate(exits=2, says="it does not fit")
BEFORE, AFTER = False, True
FAILURES = {
    "lost on its way": (0, BEFORE),
    "whose answer is lost": (0, AFTER),
    "that meets a conflict": (409, BEFORE),
    "that is refused": (403, BEFORE),
}


class FailsOnce:
    """The call of a number."""

    def __init__(self, number: int, status: int, late: bool) -> None:
        self.number, self.status, self.late = number, status, late
        self.failed = ""

    def __call__(self, call: str) -> tuple[ClusterError, bool] | None:
        self.number -= 1
        if self.number != -1:
            return None
        self.failed = call
        return ClusterError(self.status, call, "the test wants it so"), self.late


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("story", STORIES)
def test_one_call_fails(story: str, failure: str) -> None:
    spec, happens = STORIES[story]
    number = 0
    while True:
        with life(executor={"replicas": 3}, **spec) as made:
            made.cluster.fates["misfit"] = MISFIT
            if happens is not None:
                made.settles()
                happens(made)
            fails = made.failure = FailsOnce(number, *FAILURES[failure])
            made.passes(20)
            made.settles()
            assert not list(wrong(made)), fails.failed
        if not fails.failed:
            break
        number += 1
    assert number > 1, "no call failed"


def test_an_answer_that_comes_after_the_watch_brings_no_job_back() -> None:
    """Else one that is gone would be looked at, and counted, until everything is read anew."""
    with life(deletionPolicy="Delete") as made:
        made.settles()
        patch = made.api.patch

        async def late(*said: Any) -> Any:
            answer = await patch(*said)
            await asyncio.sleep(0.5)
            return answer

        made.api.patch = late  # type: ignore[method-assign]
        delete(made)
        made.passes(20)
        operator = made.operator
        assert made.job() is None and operator.observer is not None
        assert not operator.observer.world.jobs
        assert (
            operator.metrics.registry.get_sample_value(
                "tidemill_operator_reconciliations_total", {"result": "error"}
            )
            == 0
        )
