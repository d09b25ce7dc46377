"""Executors join and leave under load: the output is exact, and no attempt fails for one that goes in good order."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from tests.crash.executors import wait_until
from tests.crash.rescaling import Story, one_three_two, rescale
from tests.services.kafka import KafkaBroker
from tidemill.engine.processes import LocalCluster


def is_exact(story: Story) -> None:
    assert story.fed > 0
    assert story.rows == len(story.found), "a window is there twice"
    assert story.found == story.wanted
    failed = {batch: tries for batch, tries in story.attempts.items() if tries > 1}
    assert failed == {}, "attempts have failed, and no executor was lost"


def test_one_executor_then_three_then_two(kafka: KafkaBroker, tmp_path: Path) -> None:
    story = rescale(kafka, tmp_path, one_three_two)
    is_exact(story)
    assert {executors for _, executors in story.commits} >= {1, 2, 3}
    assert story.moved > 0


def test_an_executor_that_is_told_to_end_fails_no_attempt(kafka: KafkaBroker, tmp_path: Path) -> None:
    def steps(cluster: LocalCluster, batches: Callable[[int], None]) -> None:
        cluster.scale(2)
        wait_until(lambda: len(cluster.members()) == 2)
        for n in range(4):
            batches(5)
            name = f"executor-{n % 2}"
            pid = cluster.processes[name]
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda name=name, pid=pid: cluster.processes.get(name, pid) != pid)  # type: ignore[misc]
            wait_until(lambda: len(cluster.members()) == 2)

    is_exact(rescale(kafka, tmp_path, steps))
