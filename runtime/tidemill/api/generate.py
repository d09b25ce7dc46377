"""Writing generated files, or checking that they are up to date."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def write_or_check(files: Mapping[Path, str], command: str, check: bool) -> int:
    """Write ``files``; with ``check`` only compare, print what differs, and return 1 if anything does."""
    stale = 0
    for path, text in files.items():
        written = path.read_text("utf-8") if path.exists() else ""
        if written == text:
            continue
        if check:
            stale = 1
            print(f"{path} is not what the models say; run: {command}", file=sys.stderr)
            sys.stderr.writelines(_first_differences(written, text))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            print(f"wrote {path}")
    return stale


def _first_differences(old: str, new: str) -> list[str]:
    return list(
        difflib.unified_diff(old.splitlines(True), new.splitlines(True), "written", "generated", n=1)
    )[:20]


def arguments(argv: Sequence[str], usage: str) -> tuple[Path, bool]:
    """The one path of a command line, and whether ``--check`` is given. Exits with 2 on anything else."""
    check = "--check" in argv
    rest = [word for word in argv if word != "--check"]
    if len(rest) != 1 or rest[0].startswith("-"):
        print(f"usage: {usage}", file=sys.stderr)
        raise SystemExit(2)
    return Path(rest[0]), check
