"""Runs batches on executors in other processes, which are Dask workers of a scheduler that lives here, in the driver."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import pickle
import secrets
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pyarrow as pa
from distributed import Scheduler
from distributed.comm import CommClosedError
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.protocol import to_serialize

from tidemill import __version__
from tidemill.engine.base import Engine
from tidemill.engine.placement import Dealer, moves, place
from tidemill.engine.shipping import ship
from tidemill.errors import ExecutorLostError, TidemillError
from tidemill.executor.host import WIRE
from tidemill.executor.work import Attempt, Chains, Place, Read, Share, StageResult, Work
from tidemill.executor.worker import HEARTBEAT, Unseen, raw, security, tamed
from tidemill.figures import ExecutorFigures
from tidemill.health import Heartbeat
from tidemill.logs import CarryingPool
from tidemill.sources.base import Partition, Source
from tidemill.tls import TlsFiles

log = logging.getLogger("tidemill.engine")
T = TypeVar("T")

WAIT = 120.0
"""Seconds to wait for all the executors that are expected, and for a first one before a batch attempt fails."""
SILENT = 60.0
"""Seconds without an answer of any kind, after which an executor is given up: more than any pause of a process that
lives, little beside what moving its state costs."""
GREETING = 5.0
"""Seconds that an executor has to answer when another one comes under its name."""


@dataclass(frozen=True)
class Member:
    """An executor that has joined."""

    address: str
    name: str
    threads: int
    process: str = ""
    joined: float = field(default_factory=time.time)


@dataclass
class _Query:
    """What is where."""

    work: Work
    generation: int = 0
    shipment: bytes = b""
    owners: list[str | None] = field(default_factory=list)
    """Of each shard: the address of the executor that has its state."""
    loaded: set[str] = field(default_factory=set)
    left_out: set[str] = field(default_factory=set)
    """Of those: who had no part in a batch since. What state they still have is no longer theirs; should they come back,
    they load the query anew."""
    seated: tuple[Member, ...] = ()
    """The executors of the last batch, in the order that they know."""
    dealer: Dealer = field(default_factory=Dealer)
    open: tuple[str, ...] = ()
    """Executors of the attempt that is not yet accepted or rolled back."""
    settling: Future[None] | None = None
    """The last accept, on its way."""
    moved: int = 0
    """Shards that had to be loaded since the start, the first loading not counted."""


class QuietScheduler(Unseen, Scheduler):
    """A scheduler that listens at one port only, with TLS."""


@dataclass
class _Asked:
    """Who waits for answers of an executor."""

    since: dict[asyncio.Task[Any], float] = field(default_factory=dict)
    """On the event loop's clock."""
    over: str = ""
    """Why none will come."""


class DaskEngine(Engine):
    """See `Engine`. ``expected``: executors to wait for before the first batch, two minutes at most (`WAIT`); for a
    batch that has none at all ``patience`` seconds. Where ``count`` gives how many there are just now, that is what is
    expected; 0: it does not know.

    ``files`` is this process's certificate, None only for tests in one process; ``host`` and ``port`` are where it
    listens (port 0: any that is free); an executor that answers nothing for ``silent`` seconds is given up, however long
    a batch may take; ``job`` is what the log lines of executors say they work for. Raises
    `TidemillError` if it cannot listen there.
    """

    remote = True

    def __init__(
        self,
        files: TlsFiles | None,
        expected: int = 1,
        patience: float = WAIT,
        host: str = "127.0.0.1",
        port: int = 0,
        job: str = "",
        silent: float = SILENT,
        count: Callable[[], int] = lambda: 0,
    ) -> None:
        self._count = count
        self.expected, self.patience, self.job, self.silent = expected, patience, job, silent
        self._token = secrets.token_hex(16)
        self._members: dict[str, Member] = {}
        self._leaving: set[str] = set()
        self._changed = threading.Condition()
        self._queries: dict[str, _Query] = {}
        self._readers = CarryingPool(2, thread_name_prefix="tidemill-read")
        self._asked: dict[str, _Asked] = {}
        self._pings: dict[str, asyncio.Task[None]] = {}
        self._ending = False
        self._heart = Heartbeat()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tidemill-cluster", daemon=True)
        self._thread.start()
        try:
            self._scheduler = self._call(self._started(files, host, port))
        except BaseException:
            self._end_loop()
            raise
        self._met = False

    async def _started(self, files: TlsFiles | None, host: str, port: int) -> Scheduler:
        tamed()
        scheme = "tls" if files else "tcp"
        made = QuietScheduler(host=f"{scheme}://{host}", port=port, security=security(files), dashboard=False)
        made.handlers["tidemill_join"] = self._join
        made.handlers["tidemill_leave"] = self._leave
        made.add_plugin(_Leavers(self), name="tidemill")
        try:
            await made
        except Exception as error:
            raise TidemillError(
                f"the driver cannot listen at {host}:{port}: {_root(error)}; give a free port and an address of this "
                "machine"
            ) from error
        self._beating = asyncio.ensure_future(self._heart.keep())
        self._watching = asyncio.ensure_future(self._look_after())
        return made

    @property
    def address(self) -> str:
        """Where executors find this driver."""
        return str(self._scheduler.address)

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run on the event loop, from another thread."""
        if self._loop.is_closed():
            coroutine.close()
            raise ExecutorLostError("the cluster has been closed")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    # Members

    async def _join(
        self, address: str, name: str, process: str, version: str, wire: int, threads: int
    ) -> dict[str, Any]:
        if (version, wire) != (__version__, WIRE):
            reason = (
                f"executor {name} has Tidemill {version} (wire format {wire}), and the driver {__version__} "
                f"({WIRE}); run both from the same image"
            )
            log.error(reason)
            return {"refusal": reason}
        if reason := await self._in_the_way(name, process):
            log.error(reason)
            return {"refusal": reason}
        with self._changed:
            self._members[address] = Member(address, name, threads, process)
            self._changed.notify_all()
        log.info("executor %s has joined (%s)", name, address)
        return {"engine": self._token, "job": self.job}

    async def _in_the_way(self, name: str, process: str) -> str:
        """Why no executor can join under a name: another one has it, and lives. One that does not is expelled."""
        for other in [m for m in self._members.values() if m.name == name]:
            if other.process != process and await self._answers(other.address, GREETING):
                return (
                    f"there is an executor {name} already, at {other.address}; give each a name of its own "
                    "with --name"
                )
            await self._expel(other.address, "has come again, from another address")
        return ""

    async def _leave(self, address: str) -> dict[str, Any]:
        """Answers once the executor may go: when no attempt is open on it."""
        with self._changed:
            self._leaving.add(address)
        while any(address in q.open for q in list(self._queries.values())):
            await asyncio.sleep(0.01)
        self._lost(address, "has left")
        return {"status": "ok"}

    def _lost(self, address: str, why: str = "is gone") -> None:
        """On the event loop: forget an executor, and wake who waits for it."""
        with self._changed:
            member = self._members.pop(address, None)
            self._leaving.discard(address)
            for query in self._queries.values():
                query.loaded.discard(address)
                query.left_out.discard(address)
                query.owners = [None if o == address else o for o in query.owners]
            self._changed.notify_all()
        # Dask would try to connect to one that is gone for half a minute.
        asked = self._asked.pop(address, _Asked())
        asked.over = why
        for task in asked.since.keys() - {asyncio.current_task()}:
            task.cancel()
        if member is not None:
            log.info("executor %s %s", member.name, why)

    def members(self) -> list[str]:
        with self._changed:
            return sorted(m.name for m in self._members.values())

    def executors(self) -> list[ExecutorFigures]:
        with self._changed:
            members = list(self._members.values())
            stateful = [list(q.owners) for q in self._queries.values() if q.work.stateful]
        found = []
        for m in sorted(members, key=lambda m: m.name):
            worker = self._scheduler.workers.get(m.address)
            beat = worker.metrics.get(HEARTBEAT, {}) if worker is not None else {}
            shards = sum(owners.count(m.address) for owners in stateful)
            found.append(ExecutorFigures(m.name, m.address, m.threads, m.joined, shards, **beat))
        return found

    @property
    def expects(self) -> int:
        return self._count() or self.expected

    def moved(self, query: str) -> int:
        found = self._queries.get(query)
        return found.moved if found is not None else 0

    def trouble(self) -> str:
        return self._heart.trouble if self._thread.is_alive() else "the thread of the cluster has ended"

    def no_more_waiting(self) -> None:
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    def retire(self, member: str) -> None:
        with self._changed:
            self._leaving |= {a for a, m in self._members.items() if m.name == member}

    def _present(self) -> list[Member]:
        """The executors for the next batch, once there are some."""

        def fit() -> list[Member]:
            found = [m for a, m in self._members.items() if a not in self._leaving]
            return sorted(found or self._members.values(), key=lambda m: (m.name, m.address))

        if not self._met:
            most, wanted = min(self.patience, WAIT), self.expects
            with self._changed:
                self._changed.wait_for(lambda: self._ending or len(fit()) >= wanted, most)
            self._met = True
        with self._changed:
            if not self._changed.wait_for(lambda: self._ending or fit(), self.patience) or not fit():
                if self._ending:
                    raise ExecutorLostError("the driver ends, and no executor is there for the batch at hand")
                raise ExecutorLostError(
                    f"no executor has joined the driver at {self.address} in {self.patience:.0f} s; start one with "
                    "tidemill executor --driver ADDRESS, and look into its log"
                )
            return fit()

    # Asking

    async def _ask(self, address: str, what: str, query: str, generation: int, data: bytes) -> Any:
        if address not in self._members:
            raise ExecutorLostError(f"executor at {address} is gone")
        asked = self._asked.setdefault(address, _Asked())
        me = asyncio.current_task()
        assert me is not None
        asked.since[me] = self._loop.time()
        try:
            answer = await self._scheduler.rpc(address).tidemill_call(
                engine=self._token, what=what, query=query, generation=generation, data=to_serialize(data)
            )
        except (CommClosedError, OSError) as error:
            # Should it live, and only the connection have ended, it must know, to join anew.
            await self._expel(address, "is gone")
            raise ExecutorLostError(f"executor at {address} is gone: {error}") from error
        except asyncio.CancelledError:
            if not asked.over:
                raise
            me.uncancel()
            raise ExecutorLostError(f"executor at {address} {asked.over}") from None
        finally:
            del asked.since[me]
        found = pickle.loads(raw(answer["data"]))
        if answer["status"] != "ok":
            raise found
        return found

    async def _look_after(self) -> None:
        """Look after those whom others wait for. A quarter until the first look, a quarter between looks and a half for
        the answer make the time after which an executor is given up."""
        while True:
            await asyncio.sleep(self.silent / 4)
            before = self._loop.time() - self.silent / 4
            self._asked = {a: asked for a, asked in self._asked.items() if asked.since}
            for address, asked in self._asked.items():
                if address not in self._pings and min(asked.since.values()) <= before:
                    self._pings[address] = asyncio.ensure_future(self._ping(address))

    async def _ping(self, address: str) -> None:
        try:
            if not await self._answers(address, self.silent / 2):
                await self._expel(address)
        finally:
            del self._pings[address]

    async def _answers(self, address: str, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._scheduler.rpc(address).tidemill_ping(), seconds)
            return True
        except (TimeoutError, CommClosedError, OSError):
            return False

    async def _ask_all(
        self, query: str, generation: int, asked: Mapping[str, tuple[str, Sequence[tuple[Any, ...]]]]
    ) -> None:
        """Of each address: the calls of one method, one after the other; raises the first error when all are over."""

        async def calls(address: str, what: str, arguments: Sequence[tuple[Any, ...]]) -> None:
            for given in arguments:
                await self._ask(address, what, query, generation, pickle.dumps(given))

        done = await asyncio.gather(*(calls(a, *c) for a, c in asked.items()), return_exceptions=True)
        for error in done:
            if isinstance(error, BaseException):
                raise error

    # The engine

    def check(self, work: Work) -> None:
        ship(work)

    def load(self, work: Work) -> None:
        if work.recipe is None:
            raise TidemillError(f"query {work.query} has no recipe for executors")
        self._queries[work.query] = _Query(work, owners=[None] * work.shards)

    def restore(self, query: str, chains: Chains) -> None:
        """Nothing yet: executors load what they get with the next batch, when it is known who there is."""

    def run(
        self, attempt: Attempt, partitions: Mapping[int, Sequence[Partition]], chains: Chains
    ) -> list[StageResult]:
        query = self._queries[attempt.query]
        query.generation = attempt.generation
        self._settled(query)
        with self._changed:
            members = self._present()
            # From now on none of them may leave before the attempt is over.
            query.open = tuple(m.address for m in members)
        addresses = [m.address for m in members]
        if query.seated != tuple(members) or None in query.owners:
            self._place(query, members, chains)
        given, read = self._read_here(query.work, partitions)
        elsewhere = {
            i: _for_each(query.work.sources[i], parts, len(members))
            for i, parts in partitions.items()
            if i not in given
        }
        dealt = zip(addresses, query.dealer.deal(elsewhere, addresses), strict=True)
        shares = {
            address: Share(parts, {i: _slice(rows, n, len(members)) for i, rows in given.items()})
            for n, (address, parts) in enumerate(dealt)
        }
        return [StageResult(read=read), *self._call(self._run(attempt, shares))]

    def _settled(self, query: _Query) -> None:
        """The accept before has arrived everywhere; an executor that was lost on the way is no matter."""
        settling, query.settling = query.settling, None
        if settling is not None:
            settling.result()

    def _place(self, query: _Query, members: Sequence[Member], chains: Chains) -> None:
        """Every shard on one of the executors, its state loaded there, and every executor in its place."""
        query.seated = ()
        addresses = [m.address for m in members]
        if not query.shipment:
            query.shipment = ship(query.work)
        # Who is about to leave is asked for nothing more: it may be gone in the middle of it.
        query.left_out |= query.loaded.difference(addresses)
        new = [a for a in addresses if a not in query.loaded or a in query.left_out]
        self._tell(query, "load", dict.fromkeys(new, (query.shipment,)))
        query.loaded |= set(new)
        query.left_out.difference_update(new)
        before = [None if o in new else o for o in query.owners]
        after = place(before, addresses)
        gains, losses = moves(before, after), moves(after, before)
        # Nobody's until they are loaded: if that fails on the way, the next attempt loads them again. Those who gain
        # drop them too, for what a failed loading may have left there.
        query.owners = [o if o == n else None for o, n in zip(before, after, strict=True)]
        gone = {a: sorted({*gains.get(a, ()), *losses.get(a, ())}) for a in {*gains, *losses}}
        self._tell(query, "drop", {a: (shards,) for a, shards in gone.items() if a in addresses})
        self._tell(query, "restore", {a: (_of(chains, shards),) for a, shards in gains.items()})
        query.owners = list(after)
        owners = tuple(addresses.index(a) for a in after)
        width = max(m.threads for m in members)
        seats = {a: (Place(n, tuple(addresses), owners, width),) for n, a in enumerate(addresses)}
        self._tell(query, "seat", seats)
        query.seated = tuple(members)
        if any(before) and gains:
            query.moved += sum(map(len, gains.values()))
            log.info("%d of %d shards have moved", sum(map(len, gains.values())), len(after))

    def _tell(self, query: _Query, what: str, arguments: Mapping[str, tuple[Any, ...]]) -> None:
        """One call on each of the executors, all at once; raises the first error when all are over."""
        asked = {a: (what, [given]) for a, given in arguments.items()}
        self._call(self._ask_all(query.work.query, query.generation, asked))

    def _read_here(
        self, work: Work, partitions: Mapping[int, Sequence[Partition]]
    ) -> tuple[dict[int, pa.Table], dict[int, Read]]:
        """The rows of sources that only this process can read."""
        given: dict[int, pa.Table] = {}
        read: dict[int, Read] = {}
        for i, source in enumerate(work.sources):
            if source.anywhere:
                continue
            found = list(self._readers.map(source.read, partitions.get(i, ())))
            rows = [r.table for r in found]
            given[i] = pa.concat_tables(rows) if rows else _empty(work, i)
            read[i] = Read(given[i].num_rows, sum(r.bytes for r in found), sum(r.bad.num_rows for r in found))
        return given, read

    async def _run(self, attempt: Attempt, shares: Mapping[str, Share]) -> list[StageResult]:
        tasks = {
            asyncio.ensure_future(
                self._ask(a, "run", attempt.query, attempt.generation, pickle.dumps((attempt, share)))
            ): a
            for a, share in shares.items()
        }
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        if not pending and not any(t.exception() for t in done):
            results = [t.result() for t in tasks]
            return [r for stage in zip(*results, strict=True) for r in stage]
        # Not waited for: who hangs does not hear it, and is given up.
        telling = asyncio.ensure_future(self._give_up(attempt, {tasks[t] for t in pending}))
        if pending:
            _, hung = await asyncio.wait(pending, timeout=self.silent)
            for task in hung:
                await self._expel(tasks[task])
            await asyncio.wait(pending)
        telling.cancel()
        raise _worst([e for t in tasks if t.done() and not t.cancelled() and (e := t.exception())])

    async def _give_up(self, attempt: Attempt, addresses: Collection[str]) -> None:
        """Wake executors that wait for rows of one that is gone."""

        async def tell(address: str) -> None:
            await self._scheduler.rpc(address).tidemill_give_up(
                engine=self._token, head=pickle.dumps(attempt)
            )

        await asyncio.gather(*(tell(a) for a in addresses), return_exceptions=True)

    async def _expel(self, address: str, why: str = "") -> None:
        """An executor that does not answer is out; should it come back, it has to join anew."""
        self._lost(address, why or f"has not answered for {self.silent:g} s (tidemill.executorTimeout)")
        await self._scheduler.remove_worker(address, stimulus_id="tidemill-hung")

    def accept(self, attempt: Attempt) -> None:
        query = self._queries[attempt.query]

        async def tell() -> None:
            try:
                calls = {a: ("accept", [(attempt,)]) for a in query.open if a in query.loaded}
                await self._ask_all(attempt.query, attempt.generation, calls)
            except ExecutorLostError:
                pass  # its shards are loaded elsewhere, from what was stored
            finally:
                query.open = ()

        query.settling = asyncio.run_coroutine_threadsafe(tell(), self._loop)

    def rollback(self, attempt: Attempt) -> None:
        query = self._queries[attempt.query]
        calls: dict[str, tuple[str, Sequence[tuple[Any, ...]]]] = {
            a: ("rollback", [()]) for a in query.open if a in query.loaded
        }
        try:
            self._call(self._ask_all(attempt.query, attempt.generation, calls))
        except ExecutorLostError:
            pass
        finally:
            query.open = ()

    def refresh(self, query: str, index: int, rows: pa.Table) -> None:
        found = self._queries[query]
        statics = list(found.work.statics)
        statics[index] = rows
        found.work.statics = tuple(statics)
        found.shipment = b""
        self._settled(found)
        calls = {a: ("refresh", [(index, rows)]) for a in found.loaded - found.left_out}
        self._call(self._ask_all(query, found.generation, calls))

    def forget(self, query: str) -> None:
        found = self._queries.pop(query, None)
        if found is None:
            return
        try:
            self._settled(found)
            calls: dict[str, tuple[str, Sequence[tuple[Any, ...]]]] = {
                a: ("forget", [()]) for a in found.loaded
            }
            self._call(self._ask_all(query, found.generation, calls))
        except (TidemillError, concurrent.futures.CancelledError) as error:
            log.debug("forgetting query %s: %s", query, error)

    def close(self) -> None:
        if not self._loop.is_running():
            return
        self._call(self._closed())
        self._end_loop()
        self._readers.shutdown()

    async def _closed(self) -> None:
        self._beating.cancel()
        self._watching.cancel()
        await self._scheduler.close(reason="the driver ends")

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _Leavers(SchedulerPlugin):
    """Tells the engine which workers Dask has lost."""

    def __init__(self, engine: DaskEngine) -> None:
        self._engine = engine

    def remove_worker(self, scheduler: Scheduler, worker: str, *, stimulus_id: str, **kwargs: Any) -> None:
        self._engine._lost(worker)


def _root(error: BaseException) -> BaseException:
    """What it all began with; Dask wraps errors of a server's start."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _worst(errors: Sequence[BaseException]) -> BaseException:
    """What stopped an attempt: an error of the program says more than that executors were lost over it."""
    own = [e for e in errors if not isinstance(e, ExecutorLostError)]
    return [*own, *errors][0]


def _of(chains: Chains, shards: Collection[int]) -> dict[str, dict[int, Sequence[Any]]]:
    wanted = set(shards)
    return {table: {s: c for s, c in by_shard.items() if s in wanted} for table, by_shard in chains.items()}


def _for_each(source: Source, parts: Sequence[Partition], readers: int) -> list[Partition]:
    """The partitions, split so that every reader gets some if that can be done."""
    if not parts or len(parts) >= readers:
        return list(parts)
    split = [p for part in parts for p in source.split(part, -(-readers // len(parts)))]
    return [replace(part, index=n) for n, part in enumerate(split)]


def _slice(rows: pa.Table, n: int, of: int) -> pa.Table:
    size = -(-rows.num_rows // of)
    return rows.slice(n * size, size)


def _empty(work: Work, source: int) -> pa.Table:
    from tidemill.types import to_arrow_schema

    return to_arrow_schema(work.sources[source].schema).empty_table()
