"""Frames between executors: none is lost, late ones of older attempts do no harm, and too many go to a file."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.errors import ExecutorLostError
from tidemill.executor.exchange import by_owner, to_first
from tidemill.executor.inbox import Inbox
from tidemill.executor.work import Attempt, Place

FIRST = Attempt("q", 5, 1, 1, 0, None, None)
SECOND = Attempt("q", 5, 2, 1, 0, None, None)
LANE = (0, 0)


def frame(*values: int) -> bytes:
    rows = pa.table({"v": pa.array(values, pa.int64())})
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, rows.schema) as writer:
        writer.write_table(rows)
    return out.getvalue().to_pybytes()


def values(rows: pa.Table) -> list[int]:
    return rows["v"].to_pylist()


def test_all_frames_of_a_sender_come_in_their_order() -> None:
    inbox = Inbox()
    inbox.put(FIRST, LANE, 1, frame(1, 2), last=False)
    inbox.put(FIRST, LANE, 2, frame(9), last=True)
    inbox.put(FIRST, LANE, 1, frame(3), last=True)
    got = inbox.take(FIRST, LANE, [1, 2])
    assert {s: values(t) for s, t in got.items()} == {1: [1, 2, 3], 2: [9]}


def test_who_takes_waits_for_the_last_frame() -> None:
    inbox = Inbox()
    inbox.put(FIRST, LANE, 1, frame(1), last=False)
    late = threading.Timer(0.05, inbox.put, (FIRST, LANE, 1, frame(2), True))
    late.start()
    assert values(inbox.take(FIRST, LANE, [1])[1]) == [1, 2]
    late.join()


def test_an_attempt_that_is_given_up_wakes_who_waits() -> None:
    inbox = Inbox()
    threading.Timer(0.05, inbox.give_up, (FIRST,)).start()
    with pytest.raises(ExecutorLostError, match="attempt 1 of batch 5 was given up"):
        inbox.take(FIRST, LANE, [1])


def test_frames_of_an_older_attempt_are_dropped_and_those_of_a_newer_kept() -> None:
    inbox = Inbox()
    inbox.put(FIRST, LANE, 1, frame(1), last=True)
    inbox.put(SECOND, LANE, 1, frame(2), last=True)  # from an executor that has begun already
    inbox.begin(SECOND)
    inbox.put(FIRST, LANE, 1, frame(3), last=True)  # late
    assert values(inbox.take(SECOND, LANE, [1])[1]) == [2]


def test_past_the_limit_frames_lie_in_files_and_read_the_same() -> None:
    inbox = Inbox(limit=len(frame(1)) + 10)
    for n in range(5):
        inbox.put(FIRST, LANE, 1, frame(n), last=n == 4)
    assert inbox.spilled == 4 * len(frame(1))
    assert values(inbox.take(FIRST, LANE, [1])[1]) == [0, 1, 2, 3, 4]
    inbox.put(FIRST, (1, 0), 1, frame(7), last=True)
    assert inbox.spilled == 4 * len(frame(1)), "what was taken makes room again"


@given(
    st.lists(st.integers(0, 2**64 - 1), max_size=60),
    st.lists(st.integers(0, 3), min_size=1, max_size=64),
)
def test_rows_go_to_the_owners_of_their_shards(hashes: Sequence[int], owners: Sequence[int]) -> None:
    place = Place(0, ("a", "b", "c", "d"), tuple(owners))
    hashed = np.array(hashes, np.uint64)
    rows = pa.table({"_hash": hashed, "n": np.arange(len(hashes))})
    cut = by_owner(rows, place)
    for member, part in enumerate(cut):
        expected = [n for n, h in enumerate(hashes) if owners[h % len(owners)] == member]
        assert part["n"].to_pylist() == expected


def test_what_must_be_together_goes_to_the_owner_of_the_first_shard() -> None:
    rows = pa.table({"v": [1, 2]})
    cut = to_first(rows, Place(1, ("a", "b", "c"), (2, 0, 1)))
    assert [t.num_rows for t in cut] == [0, 0, 2]
