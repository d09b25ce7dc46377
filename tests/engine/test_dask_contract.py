"""What we use of Dask. Its workers and schedulers promise little of it, so these tests are to fail when it changes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest
from distributed import Scheduler, Worker
from distributed.comm import CommClosedError
from distributed.core import rpc
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin
from distributed.protocol import to_serialize

from tidemill.engine.dask import QuietScheduler
from tidemill.engine.processes import LocalCluster
from tidemill.executor.worker import QuietWorker, raw, security, tamed
from tidemill.tls import TlsFiles, make_authority

HELD = "2026.8."
"""The release that these tests were written for. Read what they hold before moving it, and the pin in pyproject.toml."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TlsFiles]:
    return make_authority(tmp_path_factory.mktemp("tls"), ("driver", "executor"))


@asynccontextmanager
async def scheduler(files: dict[str, TlsFiles], *plugins: SchedulerPlugin) -> AsyncIterator[Scheduler]:
    tamed()
    made = QuietScheduler(host="tls://127.0.0.1", port=0, security=security(files["driver"]), dashboard=False)
    for plugin in plugins:
        made.add_plugin(plugin, name=type(plugin).__name__)
    async with made:
        yield made


def worker(of: Scheduler, files: dict[str, TlsFiles], plugin: WorkerPlugin, folder: Path) -> Worker:
    return QuietWorker(
        of.address, nthreads=1, security=security(files["executor"]), plugins=(plugin,), host="127.0.0.1",
        memory_limit=0, local_directory=str(folder), death_timeout=30,
    )  # fmt: skip


def test_it_is_the_release_that_was_tested() -> None:
    assert version("distributed").startswith(HELD)
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert "distributed>=2026.8,<2026.9" in project["optional-dependencies"]["cluster"]


def test_a_peer_that_has_gone_silent_is_seen_by_these_times() -> None:
    """docs/distributed.md tells them."""
    tamed()
    assert dask.config.get("distributed.comm.timeouts.tcp") == "30s"
    assert dask.config.get("distributed.scheduler.worker-ttl") == "5 minutes"


class Noting(WorkerPlugin):
    name = "noting"

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}
        """What the scheduler has said."""
        self.released = asyncio.Event()

    async def setup(self, worker: Worker) -> None:
        worker.handlers["t_echo"] = self.echo
        worker.handlers["t_wait"] = self.wait
        worker.handlers["t_release"] = self.release
        # The worker can call before the scheduler knows of it.
        self.seen = dict(await worker.scheduler.t_hello(address=worker.address))

    async def echo(self, data: Any) -> dict[str, Any]:
        held = raw(data)
        return {"size": len(held), "type": type(data).__name__, "data": to_serialize(memoryview(held))}

    async def wait(self) -> dict[str, str]:
        await self.released.wait()
        return {"status": "released"}

    async def release(self) -> dict[str, str]:
        self.released.set()
        return {"status": "ok"}


def hello(at: Scheduler, early: list[asyncio.Future[Any]] | None = None) -> Any:
    async def answer(address: str) -> dict[str, Any]:
        if early is not None:
            early.append(asyncio.ensure_future(at.rpc(address).t_echo(data=to_serialize(b"early"))))
        return {"known": address in at.workers}

    return answer


def test_a_plugins_setup_runs_before_the_worker_is_registered_and_calls_wait_until_it_is(
    files: dict[str, TlsFiles], tmp_path: Path
) -> None:
    async def main() -> None:
        early: list[asyncio.Future[Any]] = []
        async with scheduler(files) as s:
            s.handlers["t_hello"] = hello(s, early)
            plugin = Noting()
            async with worker(s, files, plugin, tmp_path) as w:
                assert plugin.seen == {"known": False}
                assert w.address in s.workers
                (answer,) = await asyncio.gather(*early)
                assert bytes(raw(answer["data"])) == b"early"
                assert w.address.startswith("tls://127.0.0.1:")

    asyncio.run(main())


@pytest.mark.parametrize("size", [0, 1, 1 << 10, 24 << 20])
def test_buffers_go_there_and_back_without_being_pickled(
    files: dict[str, TlsFiles], tmp_path: Path, size: int
) -> None:
    async def main() -> None:
        sent = os.urandom(size)
        async with scheduler(files) as s:
            s.handlers["t_hello"] = hello(s)
            async with worker(s, files, Noting(), tmp_path) as w:
                for data in (sent, memoryview(sent)):
                    answer = await s.rpc(w.address).t_echo(data=to_serialize(data))
                    assert answer["size"] == size
                    assert bytes(raw(answer["data"])) == sent

    asyncio.run(main())


def test_one_call_does_not_wait_for_another_to_the_same_process(
    files: dict[str, TlsFiles], tmp_path: Path
) -> None:
    async def main() -> None:
        async with scheduler(files) as s:
            s.handlers["t_hello"] = hello(s)
            async with worker(s, files, Noting(), tmp_path) as w:
                waiting = [asyncio.ensure_future(s.rpc(w.address).t_wait()) for _ in range(3)]
                assert (await s.rpc(w.address).t_release())["status"] == "ok"
                assert [a["status"] for a in await asyncio.gather(*waiting)] == ["released"] * 3

    asyncio.run(main())


def test_a_worker_finishes_when_its_scheduler_goes(files: dict[str, TlsFiles], tmp_path: Path) -> None:
    async def main() -> None:
        async with scheduler(files) as s:
            s.handlers["t_hello"] = hello(s)
            made = await worker(s, files, Noting(), tmp_path)
        await asyncio.wait_for(made.finished(), 30)

    asyncio.run(main())


class Gone(SchedulerPlugin):
    def __init__(self) -> None:
        self.workers: list[str] = []
        self.event = asyncio.Event()

    def remove_worker(self, scheduler: Scheduler, worker: str, *, stimulus_id: str, **kwargs: Any) -> None:
        self.workers.append(worker)
        self.event.set()


def test_a_worker_that_is_put_out_is_told_of(files: dict[str, TlsFiles], tmp_path: Path) -> None:
    async def main() -> None:
        gone = Gone()
        async with scheduler(files, gone) as s:
            s.handlers["t_hello"] = hello(s)
            async with worker(s, files, Noting(), tmp_path) as w:
                await s.remove_worker(w.address, stimulus_id="test")
                assert gone.workers == [w.address]
                await asyncio.wait_for(w.finished(), 30)

    asyncio.run(main())


CHILD = """
import asyncio, sys
from pathlib import Path
from distributed.diagnostics.plugin import WorkerPlugin
from tidemill.executor.worker import QuietWorker, security, tamed
from tidemill.tls import TlsFiles

class Mute(WorkerPlugin):
    name = "mute"
    async def setup(self, worker):
        worker.handlers["t_never"] = self.never
    async def never(self):
        print("asked", flush=True)
        await asyncio.sleep(600)

async def main():
    tamed()
    address, folder, *tls = sys.argv[1:]
    files = TlsFiles(*map(Path, tls))
    async with QuietWorker(address, nthreads=1, security=security(files), plugins=(Mute(),), host="127.0.0.1",
                           memory_limit=0, local_directory=folder) as w:
        print(w.address, flush=True)
        await w.finished()

asyncio.run(main())
"""


def test_a_killed_peer_is_a_closed_comm_and_then_nobody(files: dict[str, TlsFiles], tmp_path: Path) -> None:
    async def main() -> None:
        gone = Gone()
        own = files["executor"]
        async with scheduler(files, gone) as s:
            child = subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(CHILD), s.address, str(tmp_path), own.ca, own.cert, own.key],
                stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            try:
                assert child.stdout is not None
                address = (await asyncio.to_thread(child.stdout.readline)).strip()
                call = asyncio.ensure_future(s.rpc(address).t_never())
                assert await asyncio.to_thread(child.stdout.readline) == "asked\n"
            finally:
                child.send_signal(signal.SIGKILL)
                await asyncio.to_thread(child.wait)
                child.stdout.close()
            with pytest.raises(CommClosedError):
                await asyncio.wait_for(call, 30)
            await asyncio.wait_for(gone.event.wait(), 30)
            assert gone.workers == [address]
            with pytest.raises(OSError):
                await s.rpc(address).t_never()

    asyncio.run(main())


def listening(pid: int) -> set[tuple[str, int]]:
    found = psutil.Process(pid).net_connections(kind="inet")
    return {(c.laddr.ip, c.laddr.port) for c in found if c.status == psutil.CONN_LISTEN}


def test_driver_and_executor_listen_at_one_port_each_and_it_answers_no_http() -> None:
    before = listening(os.getpid())
    cluster = LocalCluster(2, threads=1)
    try:
        cluster._present()
        opened = listening(os.getpid()) - before
        assert {f"tls://{ip}:{port}" for ip, port in opened} == {cluster.address}
        for address in [cluster.address, *cluster._members]:
            assert plain_http(address) == b""
        for pid in cluster.processes.values():
            assert len(listening(pid)) == 1
            assert {f"tls://{ip}:{port}" for ip, port in listening(pid)} <= set(cluster._members)
    finally:
        cluster.close()


def plain_http(address: str) -> bytes:
    host, port = address.removeprefix("tls://").rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            return connection.recv(100)
        except ConnectionResetError:
            return b""


def test_a_connection_without_encryption_is_not_made(files: dict[str, TlsFiles]) -> None:
    async def main() -> None:
        async with scheduler(files) as s:
            bare = rpc(s.address.replace("tls://", "tcp://"), timeout=5)
            try:
                with pytest.raises(OSError):
                    await asyncio.wait_for(bare.identity(), 30)
            finally:
                await bare.close_rpc()

    asyncio.run(main())
