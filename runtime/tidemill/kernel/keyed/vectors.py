"""Growable numpy vectors and pools of small integers: what the index and the columns are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer[Any]]
Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

NO_SLOTS: Int64s = np.empty(0, np.int64)


class Vector:
    """A one-dimensional array that grows in place; new elements are zero bytes.

    Growth goes through ``realloc``, which on Linux moves pages and copies nothing, so that a step can be small (1/64):
    neither a long pause nor half of the memory idle. For that to be safe nobody keeps a view of ``data`` beyond one
    function: hand out copies (``take``).
    """

    __slots__ = ("data",)

    def __init__(self, dtype: npt.DTypeLike, size: int = 0) -> None:
        self.data: npt.NDArray[Any] = np.zeros(size, dtype)

    def reserve(self, size: int) -> None:
        have = len(self.data)
        if size > have:
            self.data.resize(max(size, have + (have >> 6), 1024), refcheck=False)

    @property
    def nbytes(self) -> int:
        return int(self.data.nbytes)


class IdPool:
    """Hands out small integers, those given back first."""

    def __init__(self, start: int = 0) -> None:
        self.end = start
        """Every id handed out so far is below this."""
        self._free = Vector(np.int32)
        self._n_free = 0

    def take(self, count: int) -> Int64s:
        """``count`` ids, not in use."""
        old = self.reuse(count)
        if len(old) == count:
            return old
        first, self.end = self.end, self.end + count - len(old)
        return np.concatenate([old, np.arange(first, self.end)])

    def reuse(self, count: int) -> Int64s:
        """At most ``count`` of the ids that were given back."""
        old_end = self._n_free
        self._n_free -= min(count, old_end)
        return self._free.data[self._n_free : old_end].astype(np.int64)

    def give_back(self, ids: Ints) -> None:
        self._free.reserve(self._n_free + len(ids))
        self._free.data[self._n_free : self._n_free + len(ids)] = ids
        self._n_free += len(ids)

    @property
    def in_use(self) -> int:
        return self.end - self._n_free

    @property
    def nbytes(self) -> int:
        return self._free.nbytes


def ranges(starts: Ints, lengths: Ints) -> Int64s:
    """The numbers of many ranges, one after the other.

    >>> ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    total = int(lengths.sum())
    offsets = np.cumsum(lengths) - lengths
    return np.repeat(starts.astype(np.int64) - offsets, lengths) + np.arange(total)


def runs(ordered: Ints) -> tuple[Int64s, Int64s]:
    """Starts and lengths of the runs of equal numbers.

    >>> [part.tolist() for part in runs(np.array([7, 7, 9]))]
    [[0, 2], [2, 1]]
    """
    edges = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    starts = np.concatenate([NO_SLOTS, edges]) if not len(ordered) else np.concatenate([[0], edges])
    return starts, np.diff(starts, append=len(ordered))


def distinct(numbers: Ints) -> Ints:
    """Each number once, ascending (a sort: ten times faster than ``np.unique`` of numpy 2.4)."""
    ordered = np.sort(numbers)
    return ordered[runs(ordered)[0]]
