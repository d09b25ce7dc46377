"""Helm for tests: the one on PATH, or one built once by Go from the module proxy.

A cluster's tools often bring a helm of their own (`cluster env` prints the PATH); it is used when it is on PATH.
"""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path

from tests.services.parts import downloaded, run, unavailable

VERSION = "3.22.0"
PACKAGE = f"helm.sh/helm/v3/cmd/helm@v{VERSION}"
REMEDY = "put helm 3 on PATH, or Go 1.26 or newer and a module proxy that it can reach"


@functools.cache
def binary() -> str:
    """The path of helm."""
    return shutil.which("helm") or str(downloaded(f"helm-{VERSION}", build) / "helm")


def build(folder: Path) -> None:
    """About two minutes, once a machine."""
    go = shutil.which("go")
    if not go:
        unavailable("Helm", "there is neither helm nor go on PATH", REMEDY)
    done = run([go, "install", "-ldflags", "-s -w", PACKAGE], {**os.environ, "GOBIN": str(folder)})
    if done.returncode:
        unavailable("Helm", f"`go install {PACKAGE}` failed: {done.stdout.strip()[-300:]}", REMEDY)
