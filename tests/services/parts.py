"""Real parts that tests start: where their downloads are kept, and what is said when one cannot be had."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

_refused: dict[str, BaseException] = {}


def unavailable(part: str, reason: str, remedy: str) -> NoReturn:
    """Skip the test that asked for the part; with CI=true tests/conftest.py makes a failure of it."""
    pytest.skip(f"{part}: {reason}. Remedy: {remedy}", allow_module_level=True)


def cache() -> Path:
    """The folder outside the tree that keeps downloads between runs: $TIDEMILL_CACHE, or ~/.cache/tidemill."""
    folder = Path(os.environ.get("TIDEMILL_CACHE") or Path.home() / ".cache" / "tidemill")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        unavailable(
            "download cache", f"cannot make {folder}: {error}", "set TIDEMILL_CACHE to a writable folder"
        )
    return folder


def downloaded(name: str, fill: Callable[[Path], None]) -> Path:
    """The cache's folder of that name, filled once: ``fill`` gets an empty folder, and its result appears whole or
    not at all. Test processes that ask at the same time wait for the first; what was refused stays so."""
    if name in _refused:
        raise _refused[name]
    ready = cache() / name
    with locked(cache() / f"{name}.lock"):
        if not ready.exists():
            work = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=cache()))
            try:
                fill(work)
                work.rename(ready)
            except pytest.skip.Exception as refusal:
                _refused[name] = refusal
                raise
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return ready


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def program(part: str, name: str, packages: list[str]) -> str:
    """The path of a program, installed from Debian packages if it is missing and we may."""
    found = shutil.which(name)
    if found:
        return found
    remedy = f"install the packages {' '.join(packages)} (or what your system calls them)"
    if os.geteuid() != 0:
        unavailable(part, f"`{name}` is missing, and we are not root to install it", remedy)
    if not shutil.which("apt-get"):
        unavailable(part, f"`{name}` is missing, and there is no apt-get to install it with", remedy)
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with locked(cache() / "apt.lock"):
        for command in (["apt-get", "update", "-qq"], install):
            done = run(command, environment)
            if done.returncode:
                unavailable(part, f"`{' '.join(command)}` failed: {done.stdout.strip()[-500:]}", remedy)
    return shutil.which(name) or unavailable(part, f"`{name}` is not on PATH, though installed", remedy)


def release() -> str:
    """The distribution's version and the processor: Debian packages of another pair do not fit."""
    said = {}
    with contextlib.suppress(OSError):
        said = platform.freedesktop_os_release()
    return f"debian{said.get('VERSION_ID', '')}-{platform.machine()}"


def debian_packages(part: str, packages: Iterable[str], folder: Path, remedy: str) -> None:
    """Unpack Debian packages into a folder, which takes no root and starts none of their services. With package lists
    of our own where the machine has none, and we may not make them."""
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        unavailable(part, "it is not on PATH, and there is no apt-get to fetch it with", remedy)
    download = ["download", "-qq", *packages]
    done = run(["env", "-C", str(folder), "apt-get", *download])
    if done.returncode:
        lists = cache() / "apt"
        for name in ("lists/partial", "cache/archives/partial"):
            (lists / name).mkdir(parents=True, exist_ok=True)
        own = ["apt-get", "-o", f"Dir::State::lists={lists}/lists", "-o", f"Dir::Cache={lists}/cache"]
        with locked(cache() / "apt.lock"):
            run([*own, "update", "-qq"])
        done = run(["env", "-C", str(folder), *own, *download])
    if done.returncode:
        unavailable(part, f"apt-get could not fetch it: {done.stdout.strip()[-300:]}", remedy)
    for package in folder.glob("*.deb"):
        run(["dpkg", "-x", str(package), str(folder)])
        package.unlink()


def run(command: list[str], environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; ``stdout`` holds all that it said."""
    return subprocess.run(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing listens on; held together until all are known, so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def dies_with_us() -> list[str]:
    """The words in front of a command whose process must not outlive the test process, however that one ends."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []
