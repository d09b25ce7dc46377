"""Kills drivers and executors beside every step and within: nothing lost, nothing twice, nothing changed once seen."""

from __future__ import annotations

from typing import Any

import pytest

from tests.crash.clusters import DEAD, executors, make_cluster, recoveries, zygote
from tests.crash.executors import Executors
from tests.crash.matrix import BLOW_PAIRS, BLOWS, DRIVER, FILES_REDIS, PLACES, Blow, Point, Target
from tests.crash.test_crash_matrix import marked

__all__ = ["executors", "make_cluster", "recoveries", "zygote"]


@pytest.mark.parametrize(("target", "blow"), [marked(t, b) for t, blows in BLOWS.items() for b in blows])
def test_a_process_dies(target: Target, blow: Blow, make_cluster: Any) -> None:
    cluster = make_cluster(target)
    if blow.victim == DRIVER:
        before = list(cluster.executors.deaths)
        assert cluster.live(blow) == DEAD
        assert cluster.live() == 0
        assert cluster.executors.deaths == before, "an executor did not outlive its driver"
    else:
        assert cluster.live(blow) == 0
    cluster.check()


@pytest.mark.parametrize(("target", "first", "second"), [marked(FILES_REDIS, *pair) for pair in BLOW_PAIRS])
def test_two_die_one_after_the_other(target: Target, first: Blow, second: Blow, make_cluster: Any) -> None:
    cluster = make_cluster(target)
    left = [first, second]
    while left:
        # An executor's death does not end a life of the driver: what follows it strikes the same one.
        drivers = [i for i, b in enumerate(left) if b.victim == DRIVER]
        now, left = (left[: drivers[0] + 1], left[drivers[0] + 1 :]) if drivers else (left, [])
        assert cluster.live(*now) == (DEAD if drivers else 0)
    if drivers:
        assert cluster.live() == 0
    cluster.check()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("target", [marked(FILES_REDIS)])
def test_an_executor_dies_within_an_attempt(
    target: Target, place: str, make_cluster: Any, executors: Executors
) -> None:
    cluster = make_cluster(target)
    executors.arm(place)
    deaths = len(executors.deaths)
    before = [Blow("executor-1", Point("staged", "before"))] if place == "restoring" else []
    assert cluster.live(*before) == 0
    assert not executors.switch.exists(), f"no executor has come to {place}"
    assert [code for _, code in executors.deaths[deaths:]] == [DEAD] * (1 + len(before))
    cluster.check()
