"""Lives of a program: started as a user starts it, watched, interrupted, killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PATIENCE = 60.0
"""Seconds until a wait is given up: far more than any of them takes."""


@contextmanager
def life(*arguments: object, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process with these arguments; killed at the end of the block if it still runs."""
    command = [sys.executable, "-u", *map(str, arguments)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200", **environment},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def whole_life(*arguments: object, **environment: str) -> tuple[int, str, str]:
    """Run a program to its own end: exit code, standard output, standard error."""
    with life(*arguments, **environment) as process:
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, out, err


def interrupt(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Ctrl-C, then wait for the end: exit code, standard output, standard error."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def until(holds: Callable[[], bool], process: subprocess.Popen[str], what: str) -> None:
    """Wait until something holds outside of the process; fails at once if the process has ended before."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if process.poll() is not None:
            raise AssertionError(f"ended with {process.returncode} before {what}: {process.communicate()}")
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {PATIENCE} s")
        time.sleep(0.02)
