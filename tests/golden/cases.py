"""The expressions whose answers are golden: ``cases/<family>.txt``.

``[function ...]`` begins a section: the functions that its expressions prove. Words after a colon change how they are
asked: ``zones`` also in New York's time, ``legacy`` also without ANSI, ``one`` without a table, ``aggregate`` by group,
``empty`` over no rows, ``generator`` with all the rows that it makes. Others change what is compared: ``ulp`` allows
floats one bit of difference, ``approx`` compares them to 14 digits, ``unordered`` takes lists for sets, ``refused``
holds what Spark answers and we refuse with a reason. ``#`` begins a comment: why a comparison is not exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent / "cases"
DST_ZONE = "America/New_York"
SHAPES = ("one", "aggregate", "empty", "generator")


@dataclass(frozen=True)
class Case:
    functions: tuple[str, ...]
    sql: str
    zone: str = "UTC"
    ansi: bool = True
    shape: str = "rows"
    options: frozenset[str] = frozenset()

    def key(self) -> dict[str, object]:
        return {"sql": self.sql, "zone": self.zone, "ansi": self.ansi, "shape": self.shape}


def families() -> list[str]:
    return sorted(p.stem for p in HERE.glob("*.txt"))


def load(family: str) -> list[Case]:
    """The cases of a family, in the order of the file, each once."""
    found: dict[Case, None] = {}
    functions: tuple[str, ...] = ()
    options: frozenset[str] = frozenset()
    for line in (HERE / f"{family}.txt").read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("[") and text.endswith("]"):
            names, _, words = text[1:-1].partition(":")
            functions, options = tuple(names.split()), frozenset(words.split())
            continue
        shape = next((s for s in SHAPES if s in options), "rows")
        for zone in ("UTC", DST_ZONE) if "zones" in options else ("UTC",):
            for ansi in (True, False) if "legacy" in options else (True,):
                found[Case(functions, text, zone, ansi, shape, options)] = None
    return list(found)
