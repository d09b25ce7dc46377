"""The queue of jobs to look at."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operator.warp import WarpedLoop
from tidemill_operator.workqueue import BACK_OFF, GATHER, WorkQueue

A, B, C = ("shop", "a"), ("shop", "b"), ("shop", "c")


@pytest.fixture
def loop() -> Iterator[WarpedLoop]:
    made = WarpedLoop()
    yield made
    made.ends()


@pytest.fixture
def queue(loop: WarpedLoop) -> WorkQueue:
    return WorkQueue(loop.time)


def run(loop: WarpedLoop, work: Coroutine[Any, Any, Any]) -> Any:
    return loop.run_until_complete(work)


def taken(loop: WarpedLoop, queue: WorkQueue, within: float = 0.0) -> tuple[str, str] | None:
    """The next one if it comes within so many seconds."""

    async def take() -> tuple[str, str] | None:
        try:
            async with asyncio.timeout(within + 1e-6):
                return await queue.take()
        except TimeoutError:
            return None

    found: tuple[str, str] | None = run(loop, take())
    return found


class TestMarks:
    def test_a_job_comes_soon_after_it_is_marked(self, loop: WarpedLoop, queue: WorkQueue) -> None:
        queue.mark(A)
        assert taken(loop, queue) is None
        assert taken(loop, queue, GATHER) == A

    def test_many_marks_are_one_look(self, loop: WarpedLoop, queue: WorkQueue) -> None:
        for _ in range(5):
            queue.mark(A)
        assert taken(loop, queue, GATHER) == A
        queue.done(A)
        assert taken(loop, queue, 3600) is None

    def test_an_earlier_mark_counts_and_a_later_one_does_not(
        self, loop: WarpedLoop, queue: WorkQueue
    ) -> None:
        queue.mark(A, 60)
        queue.mark(A, 5)
        queue.mark(A, 30)
        assert taken(loop, queue, 4) is None
        assert taken(loop, queue, 1) == A
        queue.done(A)
        assert taken(loop, queue, 3600) is None

    def test_jobs_come_in_the_order_in_which_they_are_due(self, loop: WarpedLoop, queue: WorkQueue) -> None:
        queue.mark(A, 3)
        queue.mark(B, 1)
        queue.mark(C, 2)
        assert [taken(loop, queue, 10) for _ in range(3)] == [B, C, A]

    def test_who_waits_hears_of_a_mark(self, loop: WarpedLoop, queue: WorkQueue) -> None:
        async def wait() -> tuple[str, str]:
            waiting = asyncio.ensure_future(queue.take())
            await asyncio.sleep(100)
            queue.mark(A)
            return await waiting

        assert run(loop, wait()) == A
        assert loop.time() == pytest.approx(100 + GATHER)

    def test_its_length_is_what_is_due_or_worked_on(self, loop: WarpedLoop, queue: WorkQueue) -> None:
        queue.mark(A)
        queue.mark(B)
        queue.mark(C, 60)
        assert len(queue) == 0
        loop.passes(1)
        assert len(queue) == 2
        taken(loop, queue)
        assert len(queue) == 2
        queue.done(A)
        assert len(queue) == 1


class TestWork:
    @pytest.mark.parametrize("ticks", range(6))
    def test_a_worker_that_is_cancelled_as_it_hears_of_a_mark_ends(
        self, loop: WarpedLoop, queue: WorkQueue, ticks: int
    ) -> None:
        async def end() -> bool:
            queue.mark(B, 1000)
            worker = asyncio.ensure_future(queue.take())
            await asyncio.sleep(1)
            queue.mark(A, 100)
            for _ in range(ticks):
                await asyncio.sleep(0)
            worker.cancel()
            await asyncio.wait({worker}, timeout=5)
            return worker.cancelled()

        assert run(loop, end())

    def test_a_mark_while_it_is_worked_on_comes_again_and_not_to_another_worker(
        self, loop: WarpedLoop, queue: WorkQueue
    ) -> None:
        queue.mark(A)
        assert taken(loop, queue, 1) == A
        queue.mark(A)
        assert taken(loop, queue, 60) is None
        queue.done(A)
        assert taken(loop, queue) == A

    def test_the_next_look_is_when_it_was_asked_for(self, loop: WarpedLoop, queue: WorkQueue) -> None:
        queue.mark(A)
        taken(loop, queue, 1)
        queue.done(A, again=15)
        assert taken(loop, queue, 14.9) is None
        assert taken(loop, queue, 0.2) == A

    def test_or_earlier_when_something_changes(self, loop: WarpedLoop, queue: WorkQueue) -> None:
        queue.mark(A)
        taken(loop, queue, 1)
        queue.mark(A)
        queue.done(A, again=15)
        assert taken(loop, queue, GATHER) == A


class TestFailures:
    def test_they_back_off_to_a_limit(self, loop: WarpedLoop, queue: WorkQueue) -> None:
        queue.mark(A)
        pauses = []
        for _ in range(9):
            assert taken(loop, queue, 100) == A
            pauses.append(queue.failed(A))
            assert taken(loop, queue, pauses[-1] - 0.01) is None
        assert pauses == [1, 2, 4, 8, 16, 32, *[BACK_OFF[1]] * 3]

    def test_a_success_forgets_them(self, loop: WarpedLoop, queue: WorkQueue) -> None:
        queue.mark(A)
        for _ in range(4):
            taken(loop, queue, 100)
            queue.failed(A)
        taken(loop, queue, 100)
        queue.done(A, again=1)
        taken(loop, queue, 1)
        assert queue.failed(A) == BACK_OFF[0]

    def test_others_do_not_wait(self, loop: WarpedLoop, queue: WorkQueue) -> None:
        queue.mark(A)
        taken(loop, queue, 1)
        for _ in range(6):
            queue.failed(A)
        queue.mark(B)
        assert taken(loop, queue, GATHER) == B

    def test_what_its_own_writing_has_marked_does_not_shorten_the_pause(
        self, loop: WarpedLoop, queue: WorkQueue
    ) -> None:
        queue.mark(A)
        taken(loop, queue, 1)
        queue.mark(A)
        pause = queue.failed(A)
        assert taken(loop, queue, pause - 0.01) is None
        assert taken(loop, queue, 0.02) == A

    def test_a_change_after_it_does(self, loop: WarpedLoop, queue: WorkQueue) -> None:
        queue.mark(A)
        taken(loop, queue, 1)
        for _ in range(6):
            queue.failed(A)
        queue.mark(A)
        assert taken(loop, queue, GATHER) == A


Steps = st.lists(
    st.tuples(st.sampled_from(["mark", "take", "done", "failed", "wait"]), st.sampled_from([A, B, C]), st.integers(0, 90)),
    max_size=60,
)  # fmt: skip


@given(Steps)
def test_no_mark_is_lost_and_no_job_has_two_workers(steps: list[tuple[str, tuple[str, str], int]]) -> None:
    loop = WarpedLoop()
    queue = WorkQueue(loop.time)
    working: set[tuple[str, str]] = set()
    owed: set[tuple[str, str]] = set()
    for step, key, number in steps:
        if step == "mark":
            queue.mark(key, number)
            owed.add(key)
        elif step == "take" and (found := taken(loop, queue, number)) is not None:
            assert found not in working
            working.add(found)
            owed.discard(found)
        elif step == "done" and key in working:
            working.discard(key)
            queue.done(key)
        elif step == "failed" and key in working:
            working.discard(key)
            queue.failed(key)
            owed.add(key)
        elif step == "wait":
            loop.passes(number)
    for key in working:
        queue.done(key)
    while owed:
        found = taken(loop, queue, BACK_OFF[1] + 90)
        assert found is not None, f"{owed} were marked, and never came"
        owed.discard(found)
        queue.done(found)
    assert taken(loop, queue, 3600) is None
    loop.ends()
