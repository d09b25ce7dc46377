"""Bad records of files in a manifest: set aside unless it says otherwise."""

from __future__ import annotations

from pathlib import Path

from tidemill.cli.job import Reading
from tidemill.sources.base import Limits, Rows
from tidemill.types import parse_ddl


def read(folder: Path, ddl: str, bad: bool = False, **options: str) -> Rows:
    source = Reading("json", "clicks", None, parse_ddl(ddl), bad)({"path": str(folder), **options})
    start = source.initial()
    (part,) = source.partitions(start, source.latest(start, Limits()))
    return source.read(part)


def test_bad_records_of_files_are_set_aside(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}\n{"a": "x"}\n')
    rows = read(tmp_path, "a INT")
    assert rows.table["a"].to_pylist() == [1]
    assert rows.bad["offset"].to_pylist() == ["2"]
    assert read(tmp_path, "a INT", bad=True).table["record"].to_pylist() == [b'{"a": "x"}']
    assert read(tmp_path, "a INT", mode="PERMISSIVE").table["a"].to_pylist() == [1, None]
    kept = read(tmp_path, "a INT, _corrupt_record STRING")
    assert kept.table["_corrupt_record"].to_pylist() == [None, '{"a": "x"}']
