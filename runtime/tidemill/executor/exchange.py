"""Rows on their way between executors: each shard's to the executor that holds its state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tidemill.executor.work import Attempt, Place


class Exchange(ABC):
    """Swaps rows among the executors of a batch attempt."""

    @abstractmethod
    def swap(
        self, attempt: Attempt, place: Place, stage: int, side: int, parts: Sequence[pa.Table]
    ) -> list[pa.Table]:
        """Give ``parts[m]`` to executor ``m``; what they all have for this one, in their order.

        Every executor of the attempt calls it for the same stages and sides in the same order. Raises
        `ExecutorLostError` if one of them is gone, or the attempt has been given up.
        """


class NoExchange(Exchange):
    """Of an executor that is alone."""

    def swap(
        self, attempt: Attempt, place: Place, stage: int, side: int, parts: Sequence[pa.Table]
    ) -> list[pa.Table]:
        return list(parts)


def by_owner(rows: pa.Table, place: Place) -> list[pa.Table]:
    """Rows with a ``_hash`` cut by the executor that owns their shard; within one, in their order."""
    owners = np.asarray(place.owners, dtype=np.uint16)
    owner = owners[(rows["_hash"].to_numpy() % np.uint64(len(owners))).astype(np.intp)]
    order = np.argsort(owner, kind="stable")
    ends = np.cumsum(np.bincount(owner, minlength=place.members)).tolist()
    sorted_rows = rows.take(pa.array(order))
    return [sorted_rows.slice(a, b - a) for a, b in zip([0, *ends], ends, strict=False)]


def to_first(rows: pa.Table, place: Place) -> list[pa.Table]:
    """All rows for the owner of shard 0, none for the others."""
    none = rows.slice(0, 0)
    return [rows if m == place.owners[0] else none for m in range(place.members)]
