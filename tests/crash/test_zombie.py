"""A driver that is stopped for longer than its lease while another one takes over, and then goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.matrix import FILES_REDIS, KAFKA_REDIS, KILL_BATCH, POINTS, Point, Target
from tests.crash.program import PAUSED
from tests.crash.test_crash_matrix import Case, Zygote, make_case, marked, started

PATIENCE = 30
KAFKAS = [p for p in POINTS if p.step in ("prepared", "sunk", "committed")]


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    yield from started()


@pytest.fixture(scope="module")
def another() -> Iterator[Zygote]:
    yield from started()


@pytest.mark.parametrize(
    ("target", "point"),
    [marked(FILES_REDIS, p) for p in POINTS] + [marked(KAFKA_REDIS, p) for p in KAFKAS],
)
def test_who_comes_back_changes_nothing(
    target: Target,
    point: Point,
    zygote: Zygote,
    another: Zygote,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    case, rows = make_case(target, tmp_path, another, request)
    case.extra["checkpoint"] += "?lease=0.5"
    zygote.begin(config(case, point))
    sleeper = paused(tmp_path)
    deadline = time.monotonic() + PATIENCE
    while case.live(1, None) != 0:  # until the lease has run out
        assert time.monotonic() < deadline
    case.check(rows)
    os.kill(sleeper, signal.SIGCONT)
    assert zygote.ended() == 1, "it did not notice that another one has taken over"
    case.look()
    case.check(rows)


def config(case: Case, point: Point) -> dict[str, object]:
    kill = {"step": point.step, "when": point.when, "batch": KILL_BATCH}
    return {**case.config(0), "kill": kill, "pause": True}


def paused(directory: Path) -> int:
    """The process that has stopped itself."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        file = directory / PAUSED
        if file.exists() and (text := file.read_text()):
            state = Path(f"/proc/{text}/stat").read_text().rpartition(")")[2].split()[0]
            if state == "T":
                return int(text)
        time.sleep(0.01)
    raise AssertionError("it has not stopped")
