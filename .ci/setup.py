"""Fill a virtual environment with Tidemill and what a target needs, and do nothing when that is already so.

`run` and `test` install the wheel, built from this tree, because the wheel is what users get; `dev` installs the
tree itself, editable. Everything is pinned by constraints.txt. Two stamps in the environment say what it holds: one
for the dependencies, one for the wheel, so that an edit of the sources costs a wheel build and not a resolve.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
PROJECT = ROOT / "pyproject.toml"
SOURCES = [ROOT / "runtime", ROOT / "operator"]
# What each target asks of the wheel; a later one holds all of an earlier one, so that `make test run` installs once.
EXTRAS = {"run": "all,examples", "test": "dev", "dev": "dev"}


def main(target: str) -> None:
    venv = Path(os.environ.get("VENV") or (".venv" if target == "dev" else "build/venv"))
    venv = venv if venv.is_absolute() else ROOT / venv
    began = time.monotonic()
    venv.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{venv}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        changed = fill(venv, target)
    if changed:
        print(f"setup: {venv} is ready ({time.monotonic() - began:.0f} s)", flush=True)


def fill(venv: Path, target: str) -> bool:
    """Bring the environment up to date; False when it already was."""
    python = venv / "bin" / "python"
    if not usable(venv):
        create(venv)
    have, want = held(venv), f"{digest([PROJECT, CONSTRAINTS])} {target}"
    sources = "editable" if target == "dev" else digest(files(SOURCES))
    satisfied = have["deps"] in (want, want.replace(" run", " test"))
    if satisfied and have["wheel"] == sources:
        return False
    if not satisfied:
        say(f"installing what `{target}` needs into {venv} (a minute or less)")
        pip(python, "install", "--constraint", str(CONSTRAINTS), "hatchling")
    forget(venv)
    install(python, venv, target, dependencies=not satisfied)
    (venv / "deps.stamp").write_text(have["deps"] if satisfied else want)
    (venv / "wheel.stamp").write_text(sources)
    return True


def usable(venv: Path) -> bool:
    """Whether the environment was made whole (pip comes last), and by the interpreter that PYTHON asks for."""
    if not (venv / "bin" / "pip").exists() or not (venv / "bin" / "python").exists():
        return False
    made_by = (venv / "pyvenv.cfg").read_text()
    return not os.environ.get("PYTHON") or f"version = {platform.python_version()}\n" in made_by


def create(venv: Path) -> None:
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        stop(f"{sys.executable} has no venv module; install it (Debian: apt-get install python3-venv)")
    if venv.exists() and any(venv.iterdir()) and not (venv / "pyvenv.cfg").exists():
        stop(f"VENV={venv} is a folder with other things in it; name a new one")
    shutil.rmtree(venv, ignore_errors=True)
    call([sys.executable, "-m", "venv", str(venv)], f"cannot make a virtual environment in {venv}")


def install(python: Path, venv: Path, target: str, dependencies: bool) -> None:
    """Install Tidemill alone, or with its dependencies when those may have changed."""
    if target == "dev":
        what = ["--no-build-isolation", "--editable", f"{ROOT}[{EXTRAS[target]}]"]
    else:
        what = [f"{wheel(python, venv)}[{EXTRAS[target]}]"]
    if dependencies:
        pip(python, "install", "--constraint", str(CONSTRAINTS), *what)
    if target != "dev":
        pip(python, "install", "--no-deps", "--force-reinstall", *what)


def wheel(python: Path, venv: Path) -> Path:
    """Build the wheel in an empty directory of the environment, so that an older one is never picked up."""
    where = venv / "wheel"
    shutil.rmtree(where, ignore_errors=True)
    pip(python, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(where), str(ROOT))
    (built,) = where.glob("*.whl")
    return built


def pip(python: Path, *arguments: str) -> None:
    command = [
        str(python),
        "-m",
        "pip",
        "--disable-pip-version-check",
        arguments[0],
        "--quiet",
        *arguments[1:],
    ]
    call(
        command,
        "pip failed (see above); is the registry reachable? pip takes its address from PIP_INDEX_URL or pip.conf",
        env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"},
    )


def call(command: list[str], complaint: str, env: dict[str, str] | None = None) -> None:
    if subprocess.run(command, cwd=ROOT, env=env).returncode:
        stop(complaint)


def held(venv: Path) -> dict[str, str]:
    stamps = {name: venv / f"{name}.stamp" for name in ("deps", "wheel")}
    return {name: stamp.read_text() if stamp.exists() else "" for name, stamp in stamps.items()}


def forget(venv: Path) -> None:
    """An install that fails half-way must not look finished."""
    for name in ("deps", "wheel"):
        (venv / f"{name}.stamp").unlink(missing_ok=True)


def files(folders: Iterable[Path]) -> list[Path]:
    found = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if "__pycache__" not in path.parts)


def digest(paths: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for path in paths:
        total.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()[:16]


def say(text: str) -> None:
    print(f"setup: {text}", flush=True)


def stop(complaint: str) -> NoReturn:
    sys.exit(f"setup: {complaint}")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in EXTRAS:
        stop(f"usage: .ci/setup {'|'.join(EXTRAS)}")
    main(sys.argv[1])
