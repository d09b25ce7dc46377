"""Real Redis servers for tests: processes on 127.0.0.1, their program fetched once from Debian, without root.

Tests take the fixture ``redis`` (one server for the session; take locations from ``redis.location()``) or start what
they need in a folder of their own: `Server`, `Pair` with a replica, `Watched` by a Sentinel, `Cluster`.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from redis import Redis, RedisCluster
from redis.exceptions import RedisError

from tests.services.parts import (
    debian_packages,
    dies_with_us,
    downloaded,
    free_ports,
    release,
    run,
    unavailable,
)

OLDEST = 7
"""The major version that Tidemill asks for; which one it is, is Debian's choice, whose servers keep no others."""
PACKAGES = ("redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1")
START_SECONDS = 20  # 0.1 is usual; a machine that runs other tests beside ours may be slow
REMEDY = "install Redis 7 so that redis-server is on PATH, or give apt-get a Debian mirror"
_names = itertools.count()


@functools.cache
def binary() -> tuple[str, dict[str, str]]:
    """The path of redis-server, and the environment that it wants: the system's if that is new enough, else ours."""
    own = shutil.which("redis-server")
    if own and is_new_enough(run([own, "--version"]).stdout):
        return own, dict(os.environ)
    return unpacked(downloaded(f"redis-{release()}", fetch))


def unpacked(root: Path) -> tuple[str, dict[str, str]]:
    """The program in a folder of packages, and the environment in which it finds their libraries."""
    libraries = ":".join(sorted({str(p.parent) for p in root.glob("usr/lib/*/*.so*")}))
    return str(root / "usr/bin/redis-server"), {**os.environ, "LD_LIBRARY_PATH": libraries}


def is_new_enough(said: str) -> bool:
    """By what ``redis-server --version`` says."""
    version = re.search(r"v=(\d+)\.", said)
    return version is not None and int(version[1]) >= OLDEST


def fetch(folder: Path) -> None:
    """Fill the folder with what the packages hold."""
    debian_packages("Redis", PACKAGES, folder, REMEDY)
    path, environment = unpacked(folder)
    said = run([path, "--version"], environment).stdout
    if not is_new_enough(said):
        unavailable("Redis", f"apt-get brought another version: {said.strip()[:200]}", REMEDY)


class Server:
    """One process; its port and its data outlive ``kill``, ``stop`` and ``start``.

    >>> with Server(tmp_path) as server:  # doctest: +SKIP
    ...     open_(server.location())
    """

    def __init__(self, folder: Path, *settings: str, port: int | None = None, tls: bool = False) -> None:
        """``settings``: lines of a redis.conf."""
        self.folder = folder
        self.port = port or free_ports(1)[0]
        self.settings = settings
        self.tls = tls
        self.process: subprocess.Popen[bytes] | None = None
        self.user = ""
        folder.mkdir(parents=True, exist_ok=True)
        self.program, self._environment = binary()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self, wait: bool = True) -> None:
        lines = [
            "bind 127.0.0.1",
            f"port {0 if self.tls else self.port}",
            f"tls-port {self.port if self.tls else 0}",
            f"dir {self.folder}",
            'save ""',
            "appendonly yes",
            # Only processes are killed here, no machine: what is written is there. By default a busy disk holds writes up.
            "appendfsync no",
            "daemonize no",
            "repl-diskless-sync-delay 0",
            *self.settings,
        ]
        (self.folder / "redis.conf").write_text("\n".join(lines) + "\n")
        self._spawn([str(self.folder / "redis.conf")])
        if wait:
            self.await_answer()

    def _spawn(self, arguments: list[str]) -> None:
        with open(self.folder / "log", "ab") as log:
            command = [*dies_with_us(), self.program, *arguments]
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=self._environment
            )

    def await_answer(self) -> None:
        wait_for(self._answers, f"redis-server did not start: {self.folder / 'log'}")

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            said = (self.folder / "log").read_text(errors="replace")[-500:]
            raise RuntimeError(f"redis-server ended with {self.process.returncode}: {said}")
        if self.tls:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return True
            return False
        try:
            return bool(self.client().ping())
        except RedisError as error:
            return "NOAUTH" in str(error) or "NOPERM" in str(error)

    def kill(self) -> None:
        """End the process as a crash would; what it has written stays."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(START_SECONDS)
            self.process = None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Not answering, as behind a broken network."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def client(self, **settings: Any) -> Redis:
        """A client of the tests' own."""
        return Redis("127.0.0.1", self.port, protocol=2, socket_timeout=5, retry=None, **settings)  # type: ignore[arg-type]

    def location(self, settings: str = "", name: str | None = None) -> str:
        """A location for a checkpoint that no other test has."""
        name = name or f"test-{os.getpid()}-{next(_names)}"
        return f"redis://{self.user}127.0.0.1:{self.port}/0/{name}{'?' * bool(settings)}{settings}"

    def run(self, *words: str) -> Any:
        client = self.client()
        try:
            return client.execute_command(*words)
        finally:
            client.close()


class Replica(Server):
    """A server that follows another, until it is promoted."""

    def __init__(self, folder: Path, primary: Server) -> None:
        super().__init__(folder, f"replicaof 127.0.0.1 {primary.port}", "repl-diskless-sync yes")
        self.primary = primary

    def await_answer(self) -> None:
        super().await_answer()
        wait_for(lambda: b"master_link_status:up" in self._replication(), "the replica did not catch up")

    def _replication(self) -> bytes:
        client = self.client()
        try:
            return str(client.info("replication")).replace("'", "").replace(": ", ":").encode()
        finally:
            client.close()

    def promote(self) -> None:
        """From now on it follows no longer: all that the primary acknowledges later is lost to it."""
        self.run("REPLICAOF", "NO", "ONE")


class Sentinel(Server):
    """One Sentinel that watches a primary as the service ``mymaster``."""

    def __init__(self, folder: Path, primary: Server) -> None:
        super().__init__(folder)
        self.primary = primary

    def start(self, wait: bool = True) -> None:
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"dir {self.folder}",
            f"sentinel monitor mymaster 127.0.0.1 {self.primary.port} 1",
            "sentinel down-after-milliseconds mymaster 500",
            "sentinel failover-timeout mymaster 3000",
        ]
        (self.folder / "sentinel.conf").write_text("\n".join(lines) + "\n")
        self._spawn([str(self.folder / "sentinel.conf"), "--sentinel"])
        if wait:
            self.await_answer()

    def location(self, settings: str = "", name: str | None = None) -> str:
        tail = super().location(settings, name).partition("/0/")[2]
        return f"redis+sentinel://127.0.0.1:{self.port}/mymaster/0/{tail}"

    def await_replica(self) -> None:
        """Only a replica that a Sentinel has heard of can take over."""
        wait_for(
            lambda: len(self.run("SENTINEL", "REPLICAS", "mymaster")) == 1, "the Sentinel saw no replica"
        )


class Cluster:
    """Three primaries that share the slots."""

    def __init__(self, folder: Path, nodes: int = 3) -> None:
        ports = free_ports(2 * nodes)
        self.buses = ports[nodes:]
        self.nodes = [
            Server(
                folder / str(i),
                "cluster-enabled yes",
                "cluster-node-timeout 2000",
                f"cluster-port {bus}",
                port=port,
            )
            for i, (port, bus) in enumerate(zip(ports, self.buses, strict=False))
        ]

    def __enter__(self) -> Cluster:
        for node in self.nodes:
            node.start()
        count = len(self.nodes)
        for i, node in enumerate(self.nodes):
            first, last = 16384 * i // count, 16384 * (i + 1) // count - 1
            node.run("CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
            node.run("CLUSTER", "SET-CONFIG-EPOCH", str(i + 1))
        for node in self.nodes[1:]:
            node.run("CLUSTER", "MEET", "127.0.0.1", str(self.nodes[0].port), str(self.buses[0]))
        for node in self.nodes:
            wait_for(lambda node=node: self._is_whole(node), "the cluster did not form")
        return self

    def _is_whole(self, node: Server) -> bool:
        said = str(node.run("CLUSTER", "INFO"))
        return "cluster_state:ok" in said.replace("'", "").replace(": ", ":") and f"{len(self.nodes)}" in said

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.kill()

    def client(self) -> RedisCluster:
        return RedisCluster(host="127.0.0.1", port=self.nodes[0].port)

    def location(self, settings: str = "", name: str | None = None) -> str:
        tail = self.nodes[0].location(settings, name).partition("/0/")[2]
        hosts = ",".join(f"127.0.0.1:{n.port}" for n in self.nodes[:2])
        return f"redis+cluster://{hosts}/{tail}"


def wait_for(what: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(RedisError):
            if what():
                return
        time.sleep(0.02)
    raise RuntimeError(f"{complaint} (after {START_SECONDS} s)")
