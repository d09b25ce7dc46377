"""Who a process is, so that another can tell whether it still lives."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any


def ours() -> dict[str, Any]:
    """This process: its host and pid for people, and what tells it from a later process of that pid."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "place": _place(), "start": _start(os.getpid())}


def is_dead(life: Mapping[str, Any]) -> bool:
    """Whether that process is known to have ended. False for all that cannot be seen from here: other machines,
    other containers."""
    place, start = life.get("place"), life.get("start")
    if not place or not start or place != _place():
        return False
    return _start(int(life["pid"])) != start


def _place() -> str | None:
    """The machine since its last start, and the space that its pids are counted in; None where there is no /proc."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _start(pid: int) -> str | None:
    """When a process started, in ticks since the machine did; None if there is none, or it only waits to be reaped."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            words = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if words[0] in "ZX" else words[19]
