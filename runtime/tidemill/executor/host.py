"""One executor's queries and their state. It outlives the connection to a driver, which may come back as another."""

from __future__ import annotations

import os
import pickle
import secrets
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from tidemill import logs
from tidemill.errors import ExecutorLostError, FencedError
from tidemill.executor.busy import Busy
from tidemill.executor.exchange import Exchange
from tidemill.executor.inbox import Inbox
from tidemill.executor.stage import StageRunner
from tidemill.executor.work import Attempt, Chains, Place, Recipe, Share, StageResult, Work
from tidemill.kernel.duck import Kernel
from tidemill.logs import CarryingPool
from tidemill.plan.stages import QueryPlan
from tidemill.sources.base import Source

WIRE = 1
"""Of what driver and executors say to each other; they must have the same."""


@dataclass(frozen=True)
class Shipment:
    """A query on its way to executors."""

    query: str
    plan: QueryPlan
    columns: tuple[tuple[str, ...], ...]
    statics: tuple[pa.Table, ...]
    shards: int
    recipe: Recipe
    name: str = ""


class _Query:
    """A query on this executor: a thread of its own, since its calls come one at a time."""

    def __init__(self, generation: int, name: str) -> None:
        self.generation = generation
        self.inbox = Inbox()
        self.abandoned = False
        """No one waits for its answers any more."""
        self.thread = ThreadPoolExecutor(1, thread_name_prefix=f"tidemill-{name[:8]}")
        self.runner: StageRunner | None = None
        self.sources: tuple[Source | None, ...] = ()
        self.place = Place()
        self.name = name
        """What people call it, once it is loaded."""
        self.shards = 0
        """That are here."""

    def end(self) -> None:
        """Wake what waits, skip what has not begun, and let go of everything once the thread comes to it."""
        self.abandoned = True
        self.inbox.close()
        self._over = self.thread.submit(self.close)
        self.thread.shutdown(wait=False)

    def thread_is_busy(self) -> bool:
        return not self._over.done()

    def close(self) -> None:
        """On the query's thread."""
        if self.runner is not None:
            self.runner.session.close()
            self.runner.work.store.close()
            self.runner = None
        for source in self.sources:
            if source is not None:
                source.close()
        self.sources = ()
        self.shards = 0


class Host:
    """What an executor does when its driver asks. ``call`` may come from any thread and never blocks."""

    def __init__(
        self, threads: int | None = None, make_exchange: Callable[[Inbox], Exchange] | None = None
    ) -> None:
        self.threads = threads or os.cpu_count() or 1
        self.kernel = Kernel(self.threads)
        self.make_exchange = make_exchange
        self.busy = Busy()
        self.sent = 0
        """Bytes of rows given to other executors, ever."""
        self._pool = CarryingPool(self.threads, thread_name_prefix="tidemill-task")
        self.id = secrets.token_hex(8)
        """Tells this process from another of its name."""
        self._queries: dict[str, _Query] = {}
        self._abandoned: list[_Query] = []
        self._heard: dict[str, int] = {}
        """Of each query: the newest generation that asked for anything, over all connections."""
        self._lock = threading.Lock()

    def call(self, what: str, query: str, generation: int, data: bytes) -> Future[bytes]:
        """Do ``what`` with the pickled arguments; the future holds the pickled answer.

        ``data`` comes from a process with the job's certificate, which may run code here anyway. Raises `FencedError`
        for a driver older than one that was heard.
        """
        found = self._of(query, generation)
        return found.thread.submit(self._do, what, query, found, data)

    @property
    def shards(self) -> int:
        """Shards of state that are here."""
        with self._lock:
            return sum(q.shards for q in self._queries.values())

    @property
    def spilled(self) -> int:
        """Bytes of rows from other executors that went to files, ever."""
        with self._lock:
            return sum(q.inbox.spilled for q in self._queries.values())

    def inbox(self, query: str, generation: int) -> Inbox:
        return self._of(query, generation).inbox

    def _of(self, query: str, generation: int) -> _Query:
        with self._lock:
            newest = self._heard.get(query, 0)
            if generation < newest:
                raise FencedError(
                    f"query {query}: generation {newest} has taken over from {generation}; this driver must stop"
                )
            self._heard[query] = generation
            found = self._queries.get(query)
            if found is None:
                found = self._queries[query] = _Query(generation, query)
            found.generation = generation
            return found

    def abandon(self) -> None:
        """The driver is gone, or has given this executor up: let go of all that it asked for, what still runs included.

        What runs ends on its own thread; what it stores on the way has a name that no entry will ever hold.
        """
        with self._lock:
            queries, self._queries = list(self._queries.values()), {}
            self._abandoned = [q for q in self._abandoned if q.thread_is_busy()] + queries
        for query in queries:
            query.end()

    def _do(self, what: str, name: str, query: _Query, data: bytes) -> bytes:
        if query.abandoned:
            raise ExecutorLostError("the connection that asked is gone")
        method: Callable[..., Any] = getattr(self, f"_{what}")
        with logs.bound(query=query.name, generation=query.generation):
            return pickle.dumps(method(query, *pickle.loads(data)))

    # What a driver asks for, on the query's thread

    def _load(self, query: _Query, shipped: bytes) -> None:
        query.close()
        shipment: Shipment = pickle.loads(shipped)
        recipe = shipment.recipe
        query.sources = tuple(make() if make is not None else None for make in recipe.sources)
        work = Work(
            query=shipment.query,
            plan=shipment.plan,
            sources=query.sources,  # type: ignore[arg-type]  # those of the driver are never read here
            columns=shipment.columns,
            statics=shipment.statics,
            sink=recipe.sink,
            store=recipe.store(),
            shards=shipment.shards,
            name=shipment.name,
        )
        query.name = shipment.name or shipment.query
        exchange = self.make_exchange(query.inbox) if self.make_exchange else None
        query.runner = StageRunner(work, self.kernel, self._pool, self.threads, exchange)

    def _restore(self, query: _Query, chains: Chains) -> None:
        _runner(query).restore(chains)

    def _drop(self, query: _Query, shards: Collection[int]) -> None:
        _runner(query).drop(shards)

    def _seat(self, query: _Query, place: Place) -> None:
        """This executor's place from now on, until it is given another."""
        query.place = place

    def _run(self, query: _Query, attempt: Attempt, share: Share) -> list[StageResult]:
        query.inbox.begin(attempt)
        runner = _runner(query)
        if runner.work.stateful:
            query.shards = query.place.owners.count(query.place.me)
        with self.busy.working(), logs.bound(batch=attempt.batch):
            results = runner.run(attempt, replace(share, place=query.place))
            # The driver makes the entry that names these blobs durable, and cannot do it for blobs of another process.
            runner.work.store.sync()
            return results

    def _accept(self, query: _Query, attempt: Attempt) -> None:
        with self.busy.working(), logs.bound(batch=attempt.batch):
            _runner(query).accept(attempt)

    def _rollback(self, query: _Query) -> None:
        if query.runner is not None:
            query.runner.rollback()

    def _refresh(self, query: _Query, index: int, rows: pa.Table) -> None:
        _runner(query).statics[index] = rows

    def _forget(self, query: _Query) -> None:
        query.close()

    def close(self) -> None:
        self.abandon()
        for query in self._abandoned:
            query.thread.shutdown()
        self._pool.shutdown(cancel_futures=True)
        self.kernel.close()


def _runner(query: _Query) -> StageRunner:
    assert query.runner is not None, "a query is loaded before it runs"
    return query.runner
