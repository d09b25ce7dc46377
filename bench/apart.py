"""Measured parts in processes of their own, so that each tells its own memory."""

from __future__ import annotations

import multiprocessing
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def peak_mb() -> float:
    """The most memory that this process has had at once, in MB.

    On Linux getrusage() starts from what the parent held when it forked.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def apart(function: Callable[..., T], *arguments: Any) -> tuple[T, float]:
    """What a function of a module returns in a new process, and the most memory of that process in MB."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result(), process.submit(peak_mb).result()
