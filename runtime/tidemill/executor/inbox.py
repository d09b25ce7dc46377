"""Frames of rows from other executors, until the operator that they are for takes them."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

import pyarrow as pa

from tidemill.errors import ExecutorLostError
from tidemill.executor.work import Attempt

Frame = bytes | bytearray | memoryview
Lane = tuple[int, int]
"""A stage, and the side of it."""


@dataclass
class _Stack:
    """What one sender has sent on one lane."""

    frames: list[pa.Buffer] = field(default_factory=list)
    held: int = 0
    """Bytes in memory."""
    whole: bool = False


class Inbox:
    """Of one query on one executor. Frames come in on the event loop, an operator waits for them on its own thread.

    Past ``limit`` bytes in memory frames lie in a file of their own; the system may keep its pages or not.
    """

    def __init__(self, limit: int = 256 << 20) -> None:
        self.limit = limit
        self.spilled = 0
        """Bytes that went to files, ever."""
        self._stacks: dict[tuple[Attempt, Lane, int], _Stack] = {}
        self._held = 0
        self._given_up: set[Attempt] = set()
        self._closed = False
        self._to_cancel: list[tuple[Attempt, Future[None]]] = []
        self._changed = threading.Condition()

    def put(self, attempt: Attempt, lane: Lane, sender: int, frame: Frame, last: bool) -> None:
        with self._changed:
            stack = self._stacks.setdefault((attempt, lane, sender), _Stack())
            size = len(frame)
            if self._held + size > self.limit:
                stack.frames.append(_in_file(frame))
                self.spilled += size
            else:
                stack.frames.append(pa.py_buffer(frame))
                stack.held += size
                self._held += size
            stack.whole = last
            self._changed.notify_all()

    def take(self, attempt: Attempt, lane: Lane, senders: Collection[int]) -> dict[int, pa.Table]:
        """All that the senders have for this lane, once it is there.

        Waits for as long as that takes: whether a sender still lives is for the driver to find out, which then gives
        the attempt up, or is gone itself. Raises `ExecutorLostError` if the attempt is given up.
        """
        keys = {s: (attempt, lane, s) for s in senders}
        with self._changed:
            while not all(k in self._stacks and self._stacks[k].whole for k in keys.values()):
                if self._is_over(attempt):
                    raise given_up(attempt)
                self._changed.wait()
            stacks = {s: self._stacks.pop(k) for s, k in keys.items()}
            self._held -= sum(stack.held for stack in stacks.values())
        return {s: _table(stack.frames) for s, stack in stacks.items()}

    def _is_over(self, attempt: Attempt) -> bool:
        return self._closed or attempt in self._given_up

    def give_up(self, attempt: Attempt) -> None:
        """Wake who waits, with an error."""
        with self._changed:
            self._given_up.add(attempt)
            self._wake()

    def close(self) -> None:
        """Give up every attempt, those too that have not come to wait yet."""
        with self._changed:
            self._closed = True
            self._stacks.clear()
            self._wake()

    def _wake(self) -> None:
        self._changed.notify_all()
        for attempt, sending in self._to_cancel:
            if self._is_over(attempt):
                sending.cancel()

    @contextlib.contextmanager
    def sending(self, attempt: Attempt, future: Future[None]) -> Iterator[None]:
        """Meanwhile ``future`` is cancelled if the attempt is given up: a peer that hangs takes no more rows."""
        with self._changed:
            self._to_cancel.append((attempt, future))
            self._wake()
        try:
            yield
        finally:
            with self._changed:
                self._to_cancel.remove((attempt, future))

    def begin(self, attempt: Attempt) -> None:
        """Drop what was sent for attempts before this one."""
        with self._changed:
            self._stacks = {k: v for k, v in self._stacks.items() if _is_after(k[0], attempt)}
            self._held = sum(stack.held for stack in self._stacks.values())
            self._given_up = {a for a in self._given_up if _is_after(a, attempt)}


def given_up(attempt: Attempt) -> ExecutorLostError:
    return ExecutorLostError(f"attempt {attempt.attempt} of batch {attempt.batch} was given up")


def _is_after(one: Attempt, other: Attempt) -> bool:
    """Whether ``one`` is ``other`` or begins after it: a faster executor may be ahead."""
    return (one.generation, one.batch, one.attempt) >= (other.generation, other.batch, other.attempt)


def _in_file(frame: Frame) -> pa.Buffer:
    """The frame in a file without a name, mapped: it goes when no one reads it any more."""
    descriptor, path = tempfile.mkstemp(prefix="tidemill-spill-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(frame)
        with pa.memory_map(path) as mapped:
            return mapped.read_buffer()
    finally:
        os.unlink(path)


def _table(frames: list[pa.Buffer]) -> pa.Table:
    tables = []
    for frame in frames:
        with pa.ipc.open_stream(frame) as reader:
            tables.append(reader.read_all())
    return pa.concat_tables(tables)
