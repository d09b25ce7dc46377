"""The table that a benchmark prints."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Table:
    """Rows of what, measured, ratio to the ceiling of the same run, and the aim."""

    title: str
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)

    def row(self, what: str, measured: str, ratio: str = "", aim: str = "") -> None:
        self.rows.append((what, measured, ratio, aim))

    def show(self) -> None:
        lines = [("what", "measured", "ratio", "aim"), *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(4)]
        print(f"\n{self.title}")
        for line in lines:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
