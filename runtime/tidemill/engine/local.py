"""Runs everything in this process, on threads."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

import pyarrow as pa

from tidemill.engine.base import Engine
from tidemill.executor.busy import Busy
from tidemill.executor.stage import StageRunner
from tidemill.executor.work import Attempt, Chains, Share, StageResult, Work
from tidemill.figures import ExecutorFigures
from tidemill.kernel.duck import Kernel
from tidemill.logs import CarryingPool
from tidemill.sources.base import Partition


class LocalEngine(Engine):
    """One executor named ``local``. ``threads``: of DuckDB, of reading, and the most sink tasks of a batch."""

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or os.cpu_count() or 1
        self.kernel = Kernel(self.threads)
        self._pool = CarryingPool(self.threads, thread_name_prefix="tidemill-task")
        self._busy = Busy()
        self._since = time.time()
        self._runners: dict[str, StageRunner] = {}

    def load(self, work: Work) -> None:
        self._runners[work.query] = StageRunner(work, self.kernel, self._pool, self.threads)

    def restore(self, query: str, chains: Chains) -> None:
        self._runners[query].restore(chains)

    def run(
        self, attempt: Attempt, partitions: Mapping[int, Sequence[Partition]], chains: Chains
    ) -> list[StageResult]:
        share = Share({source: tuple(parts) for source, parts in partitions.items()})
        with self._busy.working():
            return self._runners[attempt.query].run(attempt, share)

    def executors(self) -> list[ExecutorFigures]:
        shards = sum(r.work.shards for r in list(self._runners.values()) if r.work.stateful)
        busy, share = self._busy.seconds, self._busy.share()
        return [ExecutorFigures("local", "", self.threads, self._since, shards, busy, share)]

    def accept(self, attempt: Attempt) -> None:
        self._runners[attempt.query].accept(attempt)

    def rollback(self, attempt: Attempt) -> None:
        self._runners[attempt.query].rollback()

    def refresh(self, query: str, index: int, rows: pa.Table) -> None:
        self._runners[query].statics[index] = rows

    def forget(self, query: str) -> None:
        runner = self._runners.pop(query, None)
        if runner is not None:
            runner.session.close()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self.kernel.close()
