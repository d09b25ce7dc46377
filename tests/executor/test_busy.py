"""How busy an executor is, by its own clock."""

from __future__ import annotations

from tidemill.clock import Clock
from tidemill.executor.busy import WINDOW, Busy


def test_two_batches_at_once_count_once_and_the_one_at_hand_counts() -> None:
    now = [100.0]
    busy = Busy(Clock(monotonic=lambda: now[0]))
    with busy.working():
        now[0] += 2
        with busy.working():
            now[0] += 1
            assert busy.seconds == 3
        now[0] += 1
    now[0] += 4
    assert busy.seconds == 4
    assert busy.share() == 0.5


def test_the_share_is_that_of_the_last_minute() -> None:
    now = [0.0]
    busy = Busy(Clock(monotonic=lambda: now[0]))
    with busy.working():
        for _ in range(100):
            now[0] += 1
            assert busy.share() == 1.0
    for _ in range(int(WINDOW / 2)):
        now[0] += 1
        share = busy.share()
    assert share == 0.5
    for _ in range(int(WINDOW)):
        now[0] += 1
        share = busy.share()
    assert share == 0.0
    assert busy.seconds == 100
