"""Tables: directories in the warehouse, each with a note of its format and schema that readers of the files skip."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tidemill.errors import AnalysisException, did_you_mean
from tidemill.types import StructType

_NOTE = "_tidemill_table.json"


@dataclass(frozen=True)
class TableNote:
    """What is kept of a table besides its files."""

    name: str
    format: str
    schema: str
    """JSON form."""
    path: str
    partition_by: tuple[str, ...] = ()
    description: str | None = None
    external: bool = False

    @property
    def struct(self) -> StructType:
        return StructType.fromJson(json.loads(self.schema))


class Warehouse:
    """All tables of one directory; nothing is kept in memory, so sessions and processes see the same."""

    def __init__(self, root: str) -> None:
        self.root = Path(root.removeprefix("file:"))

    def path(self, name: str) -> Path:
        if not name or name.startswith(".") or "/" in name or os.sep in name:
            raise AnalysisException(
                f"{name!r} is no table name; use letters, digits and _", "INVALID_TABLE_NAME"
            )
        return self.root / name.lower()

    def find(self, name: str) -> TableNote | None:
        try:
            raw = json.loads((self.path(name) / _NOTE).read_text())
        except (FileNotFoundError, NotADirectoryError):
            return None
        return TableNote(**{**raw, "partition_by": tuple(raw["partition_by"])})

    def create(self, note: TableNote) -> None:
        """Make a table, or write its note anew."""
        folder = self.path(note.name)
        folder.mkdir(parents=True, exist_ok=True)
        Path(note.path).mkdir(parents=True, exist_ok=True)
        raw = json.dumps({**note.__dict__, "partition_by": list(note.partition_by)}, indent=2)
        draft = folder / f".{_NOTE}.{os.getpid()}"
        draft.write_text(raw)
        draft.replace(folder / _NOTE)

    def drop(self, name: str) -> bool:
        """Remove a table; the files of an external one stay."""
        note = self.find(name)
        if note is None:
            return False
        shutil.rmtree(self.path(name))
        return True

    def names(self) -> list[str]:
        if not self.root.is_dir():
            return []
        return sorted(p.name for p in self.root.iterdir() if (p / _NOTE).is_file())

    def required(self, name: str) -> TableNote:
        note = self.find(name)
        if note is None:
            raise missing(name, self.names())
        return note


def missing(name: str, known: list[str]) -> AnalysisException:
    """The error for a table or view that does not exist."""
    return AnalysisException(
        f"The table or view `{name}` cannot be found. Verify the spelling and correctness of the schema and "
        f"catalog{did_you_mean(name, known)}",
        "TABLE_OR_VIEW_NOT_FOUND",
        {"relationName": f"`{name}`"},
    )
