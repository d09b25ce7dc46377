"""An executor as a Dask worker: handlers on its comms, and the process around it.

Dask gives membership, TLS and framing; batches go over handlers of ours, in a thread of their own, so that the event
loop always answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import signal
import ssl
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from functools import partial
from typing import Any

import dask
import pyarrow as pa
from distributed import Worker
from distributed.comm import CommClosedError
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.protocol import Serialized, to_serialize
from distributed.security import Security

from tidemill import __version__, logs
from tidemill.errors import ExecutorLostError, TidemillError
from tidemill.executor.exchange import Exchange
from tidemill.executor.host import WIRE, Host
from tidemill.executor.inbox import Inbox, given_up
from tidemill.executor.work import Attempt, Place
from tidemill.figures import ExecutorFigures
from tidemill.health import HealthServer, Heartbeat, Probes
from tidemill.tls import TlsFiles

log = logging.getLogger("tidemill.executor")

FRAME = 8 << 20
"""Bytes of rows sent at once, about: a receiver that is slow holds its sender up by no more."""
HEARTBEAT = "tidemill"
"""Under which Dask keeps our part of its heartbeats."""
REACH = 10.0
"""Seconds for a driver to answer."""
JOIN = 15.0
"""Seconds for a driver that has answered to take a worker in, and then this executor; one that stops on the way may
never do it, and another one may have come in its place."""
_AWAY = (OSError, TimeoutError, CommClosedError, asyncio.CancelledError, ValueError)
"""What the start of a worker fails with if its driver goes meanwhile."""
AGAIN = (0.1, 2.0)
"""Seconds before the next try to reach a driver: at first, and at most."""


class Unseen:
    """A part of Dask without its web server, which would ask nobody for a certificate."""

    def start_http_server(self, *args: Any, **kwargs: Any) -> None:
        """Start none."""


class QuietWorker(Unseen, Worker):
    """A worker that listens at one port only, with TLS."""


def tamed() -> None:
    """Dask as we use it: no web pages to prepare, and no log of every connection."""
    dask.config.set({"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []})
    logging.getLogger("distributed").setLevel(logging.CRITICAL)


def security(files: TlsFiles | None) -> Security | None:
    """Dask's form of a process's certificate; the same for drivers and executors."""
    if files is None:
        return None
    ca, cert, key = (str(f) for f in (files.ca, files.cert, files.key))
    return Security(
        tls_ca_file=ca, tls_scheduler_cert=cert, tls_scheduler_key=key, tls_worker_cert=cert, tls_worker_key=key,
        require_encryption=True,
    )  # fmt: skip


def raw(data: Any) -> bytes | memoryview:
    """The bytes of a message, whether or not Dask has unpacked them."""
    if isinstance(data, Serialized):
        return bytes(data.frames[0]) if len(data.frames) == 1 else b"".join(map(bytes, data.frames))
    return data


class PeerExchange(Exchange):
    """Swaps rows with the other executors of an attempt, over the worker's comms."""

    def __init__(self, host: Host, worker: Worker, loop: asyncio.AbstractEventLoop, inbox: Inbox) -> None:
        self.host, self.worker, self.loop, self.inbox = host, worker, loop, inbox

    def swap(
        self, attempt: Attempt, place: Place, stage: int, side: int, parts: Sequence[pa.Table]
    ) -> list[pa.Table]:
        others = [m for m in range(place.members) if m != place.me]
        sending = asyncio.run_coroutine_threadsafe(
            self._send_all(attempt, place, stage, side, parts, others), self.loop
        )
        with self.inbox.sending(attempt, sending):
            got = self.inbox.take(attempt, (stage, side), others)
            try:
                sending.result()
            except CancelledError:
                raise given_up(attempt) from None
        return [parts[m] if m == place.me else got[m] for m in range(place.members)]

    async def _send_all(
        self,
        attempt: Attempt,
        place: Place,
        stage: int,
        side: int,
        parts: Sequence[pa.Table],
        others: Sequence[int],
    ) -> None:
        try:
            await asyncio.gather(*(self._send(attempt, place, stage, side, m, parts[m]) for m in others))
        except BaseException:
            self.inbox.give_up(attempt)
            raise

    async def _send(
        self, attempt: Attempt, place: Place, stage: int, side: int, member: int, rows: pa.Table
    ) -> None:
        peer = self.worker.rpc(place.peers[member])
        head = pickle.dumps((attempt, (stage, side), place.me))
        try:
            frames = list(_pieces(rows))
            for n, piece in enumerate(frames):
                frame = memoryview(_encoded(piece))
                self.host.sent += frame.nbytes
                answer = await peer.tidemill_rows(
                    head=head, last=n == len(frames) - 1, frame=to_serialize(frame)
                )
                if answer["status"] != "ok":
                    raise ExecutorLostError(answer["reason"])
        except (CommClosedError, OSError) as error:
            raise ExecutorLostError(f"executor {place.peers[member]} is gone: {error}") from error


def _pieces(rows: pa.Table) -> list[pa.Table]:
    count = max(1, -(-rows.nbytes // FRAME))
    size = max(1, -(-rows.num_rows // count))
    return [rows.slice(at, size) for at in range(0, max(rows.num_rows, 1), size)]


def _encoded(rows: pa.Table) -> pa.Buffer:
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, rows.schema) as writer:
        writer.write_table(rows)
    return out.getvalue()


class ExecutorPlugin(WorkerPlugin):
    """Our handlers on a Dask worker; `join` then tells the driver that this executor is ready."""

    name = "tidemill"

    def __init__(self, host: Host, name: str) -> None:
        self.host = host
        self.executor = name
        self.joined = asyncio.Event()

    async def setup(self, worker: Worker) -> None:
        self.worker = worker
        self.host.make_exchange = partial(PeerExchange, self.host, worker, asyncio.get_running_loop())
        worker.handlers["tidemill_call"] = self.call
        worker.handlers["tidemill_rows"] = self.rows
        worker.handlers["tidemill_give_up"] = self.give_up
        worker.handlers["tidemill_ping"] = self.ping

    async def join(self) -> None:
        """Once Dask's scheduler knows the worker, so that it tells when this one is lost. Raises `TidemillError` if the
        driver does not want it."""
        answer = await self.worker.scheduler.tidemill_join(
            address=self.worker.address,
            name=self.executor,
            process=self.host.id,
            version=__version__,
            wire=WIRE,
            threads=self.host.threads,
        )
        if refusal := answer.get("refusal"):
            raise TidemillError(refusal)
        self.engine = answer["engine"]
        if job := answer.get("job"):
            logs.of_process(job=job)
        self.joined.set()

    async def call(self, engine: str, what: str, query: str, generation: int, data: Any) -> dict[str, Any]:
        """One of the host's methods. An error comes back as an answer, so that Dask need not unpickle it."""
        try:
            await self.joined.wait()  # the driver may call before its answer to `join` is here
            if engine != self.engine:
                raise TidemillError("this executor serves another driver")
            done = self.host.call(what, query, generation, bytes(raw(data)))
            return {"status": "ok", "data": to_serialize(await asyncio.wrap_future(done))}
        except Exception as error:
            return {"status": "error", "data": to_serialize(_pickled(error))}

    async def rows(self, head: bytes, last: bool, frame: Any) -> dict[str, Any]:
        attempt, lane, sender = pickle.loads(head)
        try:
            inbox = self.host.inbox(attempt.query, attempt.generation)
        except TidemillError as error:
            return {"status": "refused", "reason": str(error)}
        inbox.put(attempt, lane, sender, raw(frame), last)
        return {"status": "ok"}

    async def ping(self) -> dict[str, Any]:
        """Batches compute on other threads: who lives answers at once, however long a batch takes."""
        return {"status": "ok"}

    async def give_up(self, engine: str, head: bytes) -> dict[str, Any]:
        if engine == self.engine:
            attempt: Attempt = pickle.loads(head)
            self.host.inbox(attempt.query, attempt.generation).give_up(attempt)
        return {"status": "ok"}


def _pickled(error: Exception) -> bytes:
    try:
        data = pickle.dumps(error)
        pickle.loads(data)
        return data
    except Exception:  # an error of the user's own that does not pickle still says what it says
        return pickle.dumps(TidemillError(f"{type(error).__name__}: {error}"))


class Membership:
    """How an executor stands with its driver, for those who ask its process."""

    def __init__(self, driver: str, name: str, host: Host) -> None:
        self.driver, self.name, self.host = driver, name, host
        self.heart = Heartbeat()
        self.joined = 0.0
        """Since when, in seconds since the epoch; 0: it has no driver."""
        self.address = ""

    def joins(self, address: str) -> None:
        self.address, self.joined = address, time.time()

    def parts(self) -> None:
        self.joined = 0.0

    def ready(self) -> str:
        return (
            "" if self.joined else f"there is no driver at {self.driver}, or it has not let this executor in"
        )

    def figures(self) -> ExecutorFigures:
        h = self.host
        busy, share = h.busy.seconds, h.busy.share()
        return ExecutorFigures(
            self.name, self.address, h.threads, self.joined, h.shards, busy, share, h.sent, h.spilled
        )

    def status(self) -> dict[str, Any]:
        f = self.figures()
        head = {"role": "executor", "version": __version__, "driver": self.driver, "joined": bool(f.joined)}
        return {**head, **f.to_json()}


def heartbeat(host: Host) -> dict[str, Any]:
    """What Dask takes to the driver a few times a second: `ExecutorFigures` that only this process knows."""
    busy, share = host.busy.seconds, host.busy.share()
    return {"busy": busy, "busy_share": share, "sent": host.sent, "spilled": host.spilled}


async def serve(
    driver: str,
    host: Host,
    name: str,
    files: TlsFiles | None,
    stop: asyncio.Event,
    listen: str = "",
    membership: Membership | None = None,
) -> None:
    """Be an executor of the driver at ``driver`` until ``stop``: wait for it, join, and join again if it comes anew.

    Raises `TidemillError` if the driver does not want this executor: another version, say.
    """
    tamed()
    member = membership or Membership(driver, name, host)
    pause = AGAIN[0]
    told = ""
    while not stop.is_set():
        plugin = ExecutorPlugin(host, name)
        try:
            if files is not None:
                await reach(driver, files)
            worker = QuietWorker(
                driver, nthreads=1, security=security(files), plugins=(plugin,), host=listen or None,
                memory_limit=0, local_directory=tempfile.gettempdir(), death_timeout=JOIN,
                metrics={HEARTBEAT: lambda _: heartbeat(host)},
            )  # fmt: skip
            async with worker:
                await asyncio.wait_for(plugin.join(), JOIN)
                log.info("executor %s serves the driver at %s", name, driver)
                pause, told = AGAIN[0], ""
                member.joins(worker.address)
                try:
                    await _until_over(worker, stop)
                finally:
                    host.abandon()
        except (OSError, TimeoutError, CommClosedError, RuntimeError) as error:
            # A driver that goes while a worker starts is Dask's RuntimeError, with the reason as its cause.
            if isinstance(error, RuntimeError) and not isinstance(error.__cause__, _AWAY):
                raise
            if told != str(error):
                told = str(error)
                log.warning("no driver at %s yet (%s); trying again", driver, told)
        finally:
            member.parts()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)
        pause = min(pause * 2, AGAIN[1])


async def reach(driver: str, files: TlsFiles) -> None:
    """Raise `OSError` saying why there is no way to the driver; Dask would try for half a minute, and not say why."""
    host, _, port = driver.rpartition("://")[2].rpartition(":")
    made = security(files)
    assert made is not None
    context = made.get_connection_args("worker")["ssl_context"]
    opening = asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    try:
        reader, writer = await asyncio.wait_for(opening, REACH)
        try:
            # Who is turned away learns it when it reads; to others the driver speaks first.
            said = await asyncio.wait_for(reader.read(1), REACH)
        finally:
            writer.close()
    except ssl.SSLCertVerificationError as error:
        raise OSError(
            f"its certificate was not signed by the CA in {files.ca}: {error.verify_message}"
        ) from error
    except ssl.SSLError as error:
        raise OSError(f"it does not accept the certificate {files.cert}: {error.reason}") from error
    except TimeoutError as error:
        raise OSError(f"no answer in {REACH:.0f} s") from error
    if not said:
        raise OSError(f"it has closed the connection; it may not accept the certificate {files.cert}")


async def _until_over(worker: Worker, stop: asyncio.Event) -> None:
    """Wait for the driver to go, or for ``stop``; then leave in good order."""
    over = asyncio.ensure_future(worker.finished())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({over, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set() and not over.done():
        with contextlib.suppress(OSError, CommClosedError):
            await worker.scheduler.tidemill_leave(address=worker.address)
    for task in (over, stopping):
        task.cancel()


def run(
    driver: str,
    name: str,
    files: TlsFiles | None,
    threads: int | None = None,
    listen: str = "",
    health: tuple[str, int] | None = None,
) -> None:
    """An executor's process: serves until SIGTERM or Ctrl-C, then finishes its batch and leaves.

    ``health``: the host and port at which it tells how it does.
    """
    host = Host(threads)
    member = Membership(driver, name, host)

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        beating = asyncio.ensure_future(member.heart.keep())
        await serve(driver, host, name, files, stop, listen, member)
        beating.cancel()

    server = _health_server(member, *health) if health else None
    try:
        asyncio.run(main())
    finally:
        if server is not None:
            server.close()
        host.close()


def _health_server(member: Membership, host: str, port: int) -> HealthServer:
    from tidemill.metrics import ExecutorMetrics

    registry = ExecutorMetrics(member.figures).registry
    probes = Probes(lambda: member.heart.trouble, member.ready, member.status, registry)
    return HealthServer(probes, port, host)
