"""Prometheus' promtool for tests: the one on PATH, or Debian's, fetched once and without root."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

from tests.services.parts import debian_packages, downloaded, release, run, unavailable

REMEDY = "put promtool on PATH (it comes with Prometheus), or give apt-get a Debian mirror"


@functools.cache
def binary() -> str:
    """The path of promtool."""
    return shutil.which("promtool") or str(downloaded(f"promtool-{release()}", fetch) / "usr/bin/promtool")


def fetch(folder: Path) -> None:
    debian_packages("promtool", ["prometheus"], folder, REMEDY)
    done = run([str(folder / "usr/bin/promtool"), "--version"])
    if done.returncode:
        unavailable("promtool", f"Debian's does not run: {done.stdout.strip()[-300:]}", REMEDY)
