"""Processes of a job for tests: drivers and executors that are started by hand, as a pod starts them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tidemill.tls import TlsFiles

JOB = """\
apiVersion: tidemill.dev/v1alpha1
kind: StreamingJob
metadata: {name: visits}
spec:
  sources:
    - name: visits
      format: csv
      options: {path: in}
      schema: at TIMESTAMP, host STRING
      watermark: {eventTime: at, delay: 1 minute}
  queries:
    - name: hosts
      sql: SELECT host FROM visits
      trigger: {processingTime: 100 milliseconds}
      sink: {format: json, options: {path: out/hosts}}
    - name: hits
      sql: SELECT window(at, '1 minute') AS w, host, count(*) AS hits FROM visits GROUP BY 1, 2
      trigger: {processingTime: 100 milliseconds}
      sink: {format: json, options: {path: out/hits}}
  executor: {replicas: 2}
"""
WAIT = 60.0


@dataclass
class Process:
    """A ``tidemill`` process and its log lines, which are JSON."""

    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def lines(self) -> list[dict[str, Any]]:
        found = []
        for line in self.log.read_text().splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found

    def says(self, pattern: str) -> re.Match[str]:
        """The first message that matches, once it is there."""

        def look() -> re.Match[str] | None:
            return next((m for line in self.lines if (m := re.search(pattern, line["message"]))), None)

        return until(look, lambda: f"no {pattern!r} in:\n{self.log.read_text()}", self.popen)

    @property
    def address(self) -> str:
        return self.says(r"listens at (tls://\S+),")[1]

    def get(self, path: str) -> tuple[int, str]:
        base = self.says(r"health and metrics at (http://\S+)")[1]
        try:
            with urllib.request.urlopen(base + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def status(self) -> dict[str, Any]:
        return json.loads(self.get("/api/v1/status")[1])

    def becomes(self, phase: str) -> None:
        until(lambda: self.status()["phase"] == phase, lambda: str(self.status()), self.popen)

    def becomes_ready(self) -> None:
        until(lambda: self.get("/readyz")[0] == 200, lambda: self.get("/readyz")[1], self.popen)

    def metrics(self) -> dict[str, float]:
        lines = [line for line in self.get("/metrics")[1].splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def stops(self) -> int:
        """The exit code after SIGTERM."""
        self.popen.send_signal(signal.SIGTERM)
        return self.ends()

    def ends(self) -> int:
        return self.popen.wait(WAIT)


def until(look: Callable[[], Any], said: Callable[[], str], alive: subprocess.Popen[bytes]) -> Any:
    """What ``look`` gives, once it gives something."""
    end = time.monotonic() + WAIT
    while not (found := look()):
        assert time.monotonic() < end and alive.poll() is None, said()
        time.sleep(0.05)
    return found


@dataclass
class Cluster:
    """A job's directory, certificates for its processes, and those that were started."""

    folder: Path
    files: dict[str, TlsFiles]
    processes: list[Process] = field(default_factory=list)

    def start(
        self,
        command: str,
        *arguments: str,
        who: str = "",
        program: str = "",
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> Process:
        """``program``: Python that runs in place of the command line, and calls it."""
        tls = self.files[who or command]
        log = self.folder / f"{len(self.processes)}.log"
        run = ["-c", program] if program else ["-m", "tidemill"]
        options = ["--log-format", "json", "--health-host", "127.0.0.1"]
        options += ["--tls-ca", str(tls.ca), "--tls-cert", str(tls.cert), "--tls-key", str(tls.key)]
        with log.open("wb") as out:
            popen = subprocess.Popen(
                [sys.executable, *run, command, *arguments, *options],
                stderr=out, stdout=out, cwd=self.folder, env={**os.environ, **env},
            )  # fmt: skip
        self.processes.append(Process(popen, log))
        return self.processes[-1]

    def driver(self, *arguments: str, **how: Any) -> Process:
        """``how``: as for `start`."""
        options = ("--listen", "127.0.0.1:0", "--health-port", "0", *arguments)
        return self.start("driver", "job.yaml", *options, **how)

    def executor(self, driver: Process, name: str) -> Process:
        return self.start(
            "executor", "--driver", driver.address, "--name", name, "--threads", "1",
            "--listen", "127.0.0.1", "--health-port", "0",
        )  # fmt: skip

    def put(self, name: str, *rows: tuple[str, str]) -> None:
        hidden = self.folder / f".{name}"
        hidden.write_text("".join(f"2024-01-01T{at},{host}\n" for at, host in rows))
        hidden.rename(self.folder / "in" / f"{name}.csv")

    def rows(self, query: str) -> list[dict[str, Any]]:
        files = (self.folder / "out" / query).glob("*.json")
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def close(self) -> None:
        for process in self.processes:
            if process.popen.poll() is None:
                process.popen.kill()
                process.popen.wait()
