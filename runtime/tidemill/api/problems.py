"""What is wrong with a manifest, and where: a path, a line, a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Path = tuple[str | int, ...]
"""Keys and list positions from the root of the manifest: ``("spec", "queries", 0, "sql")``."""


def dotted(path: Path) -> str:
    """A path as people write it.

    >>> dotted(("spec", "sources", 0, "options", "kafka.bootstrap.servers"))
    "spec.sources[0].options['kafka.bootstrap.servers']"
    """
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.replace("_", "").isalnum():
            text += f".{step}" if text else step
        else:
            text += f"[{step!r}]"
    return text


@dataclass(frozen=True)
class Problem:
    """One thing to put right. ``line`` counts from 1; it is None where no text was read."""

    path: Path
    message: str
    line: int | None = None

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{dotted(self.path)}: {self.message}" if self.path else f"{where}{self.message}"


def line_of(path: Path, lines: Mapping[Path, int]) -> int | None:
    """The line of ``path``, or of the nearest thing around it that was written."""
    for length in range(len(path), -1, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None
