"""Executors as child processes of the driver: a cluster on one machine."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from tidemill.engine.dask import SILENT, DaskEngine
from tidemill.errors import TidemillError
from tidemill.tls import TlsFiles, make_authority

log = logging.getLogger("tidemill.engine")

LOOK = 0.2
"""Seconds between looks at the processes."""
TO_END = 10.0
"""Seconds that an executor has to finish when it is told to end."""


class LocalCluster(DaskEngine):
    """An engine whose executors it starts itself, and again if one dies. Each has ``threads``; by default they share
    the processors."""

    def __init__(
        self, executors: int, threads: int | None = None, job: str = "", silent: float = SILENT
    ) -> None:
        if executors < 1:
            raise TidemillError(f"a cluster needs at least 1 executor, not {executors}")
        self.threads = threads or max(1, (os.cpu_count() or 1) // executors)
        self._directory = Path(tempfile.mkdtemp(prefix="tidemill-run-"))
        try:
            files = make_authority(self._directory, ("driver", "executor"))
        except ImportError as error:
            raise TidemillError(
                "executors need the cluster parts of Tidemill; install them with: pip install 'tidemill[cluster]'"
            ) from error
        super().__init__(files["driver"], expected=executors, job=job, silent=silent)
        self._own = files["executor"]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._wanted = executors
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="tidemill-executors", daemon=True)
        self._watcher.start()

    def scale(self, executors: int) -> None:
        """Have so many executors; those that go finish their batch and hand their shards over."""
        if executors < 1:
            raise TidemillError(f"a cluster needs at least 1 executor, not {executors}")
        self._wanted = self.expected = executors

    @property
    def processes(self) -> dict[str, int]:
        """Process ids by the names of executors."""
        return {name: p.pid for name, p in self._processes.items()}

    def _watch(self) -> None:
        pause = LOOK
        while not self._over.is_set():
            for name, process in list(self._processes.items()):
                if (code := process.poll()) is not None:
                    del self._processes[name]
                    if name in self._names():
                        log.warning("executor %s ended with code %d; starting it again", name, code)
                        pause = min(pause * 2, 10.0)
            for name in self._names():
                if name not in self._processes:
                    self._processes[name] = self._start(name)
            for name in self._processes.keys() - self._names():
                self._processes[name].terminate()
            self._over.wait(pause)
            pause = max(pause * 0.9, LOOK)

    def _names(self) -> set[str]:
        return {f"executor-{i}" for i in range(self._wanted)}

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        command = [
            sys.executable, "-m", "tidemill", "executor", "--driver", self.address, "--name", name,
            "--threads", str(self.threads), "--listen", "127.0.0.1", "--with-parent", *_options(self._own),
        ]  # fmt: skip
        # Its input is a pipe that ends with this process, however that ends.
        return subprocess.Popen(command, stdin=subprocess.PIPE)

    def close(self) -> None:
        if self._over.is_set():
            return
        self._over.set()
        self._watcher.join()
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(TO_END)
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()
        super().close()
        shutil.rmtree(self._directory, ignore_errors=True)


def _options(files: TlsFiles) -> list[str]:
    return ["--tls-ca", str(files.ca), "--tls-cert", str(files.cert), "--tls-key", str(files.key)]
