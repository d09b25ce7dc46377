"""Executors that outlive their drivers, and come again when they die: as pods of a StatefulSet do."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.services.parts import dies_with_us, free_ports
from tidemill.tls import make_authority

LOOK = 0.02
"""Seconds between looks at the processes."""


class Executors:
    """``count`` processes that serve whichever driver listens on ``port`` of 127.0.0.1.

    ``switch`` is the file that `tests.crash.executor` looks at.
    """

    def __init__(self, folder: Path, count: int = 2, port: int = 0, like: Executors | None = None) -> None:
        """``like``: others whose certificates they share."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.switch = folder / "switch"
        self.port = port or free_ports(1)[0]
        """Where executors look for their driver."""
        self.count = count
        self.deaths: list[tuple[str, int]] = []
        """Names and exit codes of those that ended and were started again."""
        self._tls = like._tls if like else make_authority(folder, ("driver", "executor"))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Executors:
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watcher.join()
        for process in self._processes.values():
            process.kill()
            process.wait()

    def driver(self, **other: Any) -> dict[str, Any]:
        """What a driver of these executors has to know, as JSON."""
        files = self._tls["driver"]
        tls = [str(files.ca), str(files.cert), str(files.key)]
        return {"port": self.port, "tls": tls, "executors": self.count, **other}

    def log(self, name: str) -> str:
        """All that an executor of that name has said."""
        return (self.folder / f"{name}.log").read_text()

    @property
    def pids(self) -> dict[str, int]:
        with self._lock:
            return {n: p.pid for n, p in self._processes.items() if p.poll() is None}

    def send(self, name: str, what: signal.Signals) -> None:
        """Raise KeyError if it is not there."""
        os.kill(self.pids[name], what)

    def scale(self, count: int) -> None:
        """Those that are too many are told to end; they finish their batch first."""
        self.count = count

    def arm(self, place: str, what: signal.Signals = signal.SIGKILL) -> None:
        """Have the executor that comes to ``place`` first send itself a signal."""
        temporary = self.switch.with_suffix(".new")
        temporary.write_text(f"{place} {what.name}")
        os.replace(temporary, self.switch)

    def stopped(self) -> list[str]:
        """Those that SIGSTOP has stopped."""
        return [name for name, pid in self.pids.items() if _state(pid) == "T"]

    def resume(self) -> None:
        for name in self.stopped():
            with contextlib.suppress(KeyError, ProcessLookupError):
                self.send(name, signal.SIGCONT)

    # The watcher

    def _watch(self) -> None:
        told: set[str] = set()
        while not self._over.is_set():
            names = {f"executor-{i}" for i in range(self.count)}
            with self._lock:
                for name, process in list(self._processes.items()):
                    if (code := process.poll()) is not None:
                        del self._processes[name]
                        told.discard(name)
                        if name in names:
                            self.deaths.append((name, code))
                for name in names - self._processes.keys():
                    self._processes[name] = self._start(name)
                for name in self._processes.keys() - names - told:
                    self._processes[name].terminate()
                    told.add(name)
            self._over.wait(LOOK)

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        files = self._tls["executor"]
        command = [
            *dies_with_us(), sys.executable, "-W", "ignore", "-m", "tests.crash.executor", str(self.switch),
            "--driver", f"tls://127.0.0.1:{self.port}", "--name", name, "--threads", "1", "--listen", "127.0.0.1",
            "--tls-ca", str(files.ca), "--tls-cert", str(files.cert), "--tls-key", str(files.key),
        ]  # fmt: skip
        with open(self.folder / f"{name}.log", "ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


@contextlib.contextmanager
def watched(what: Any, every: float = LOOK) -> Iterator[None]:
    """Call ``what`` again and again on a thread meanwhile; what it raises is raised at the end."""
    over, failed = threading.Event(), []

    def look() -> None:
        while not over.wait(every):
            try:
                what()
            except BaseException as error:
                failed.append(error)
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if failed:
        raise failed[0]


def wait_until(what: Any, seconds: float = 60.0, complaint: str = "it has not come about") -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, complaint
        time.sleep(LOOK)
