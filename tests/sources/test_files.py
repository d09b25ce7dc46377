"""Files as a stream: each taken once and whole, through restarts and whatever writers do."""

from __future__ import annotations

import bz2
import errno
import gzip
import json
import logging
import os
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import orc

from tidemill import sources
from tidemill.errors import (
    AnalysisException,
    CheckpointError,
    CorruptCheckpointError,
    IllegalArgumentException,
    SourceError,
    SparkRuntimeException,
)
from tidemill.sources import files as files_module
from tidemill.sources import listing
from tidemill.sources.base import Limits, Offset, Source, SourceLog
from tidemill.sources.files import FileSource
from tidemill.sources.listing import glob_pattern, is_being_written
from tidemill.sources.log import DirectorySourceLog, MemorySourceLog
from tidemill.sources.seen import COMPACT_EVERY
from tidemill.types import StructType, parse_ddl

A = parse_ddl("a INT")


def write(path: Path, *values: Any, modified: float | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"a": v}) + "\n" for v in values))
    if modified is not None:
        os.utime(path, (modified, modified))


def stream(folder: Path, schema: StructType = A, log: SourceLog | None = None, **options: Any) -> FileSource:
    source = sources.create("json", {"path": str(folder), **{k: str(v) for k, v in options.items()}}, schema)
    assert isinstance(source, FileSource)
    if log is not None:
        source.open(log)
    return source


def step(source: Source, start: Offset) -> tuple[Offset, list[Any]]:
    """One batch: its end, which passes through the checkpoint, and column ``a``."""
    end = json.loads(json.dumps(source.latest(start, source.limits)))
    return end, [v for p in source.partitions(start, end) for v in source.read(p).table["a"].to_pylist()]


def drained(source: Source, start: Offset) -> tuple[Offset, list[list[Any]]]:
    batches = []
    while True:
        end, got = step(source, start)
        if end == start:
            return end, batches
        batches.append(got)
        start = end


# --- what is taken, and when


def test_files_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    write(tmp_path / "b.json", 1, modified=1000)
    write(tmp_path / "a.json", 2, modified=2000)
    write(tmp_path / "c.json", 3, modified=3000)
    assert drained(stream(tmp_path, maxFilesPerTrigger=1), {"n": 0, "files": []})[1] == [[1], [2], [3]]
    source = stream(tmp_path, maxFilesPerTrigger=2, latestFirst="true")
    assert drained(source, source.initial())[1] == [[3, 2], [1]]


def test_bytes_limit_a_batch_but_never_stop_it(tmp_path: Path) -> None:
    for i in range(4):
        write(tmp_path / f"{i}.json", i, modified=1000 + i)
    size = (tmp_path / "0.json").stat().st_size
    source = stream(tmp_path, maxBytesPerTrigger=2 * size)
    assert drained(source, source.initial())[1] == [[0, 1], [2, 3]]
    source = stream(tmp_path, maxBytesPerTrigger=1)
    assert drained(source, source.initial())[1] == [[0], [1], [2], [3]]


def test_a_file_that_appears_late_with_an_older_time_is_read(tmp_path: Path) -> None:
    source = stream(tmp_path)
    write(tmp_path / "new.json", 1, modified=1_700_000_000)
    at, got = step(source, source.initial())
    write(tmp_path / "old.json", 2, modified=1_000_000_000)
    assert (got, step(source, at)[1]) == ([1], [2])


def test_max_file_age_leaves_out_what_is_older_than_the_newest_by_more(tmp_path: Path) -> None:
    source = stream(tmp_path, maxFileAge="1h")
    write(tmp_path / "new.json", 1, modified=100_000)
    at, _ = step(source, source.initial())
    write(tmp_path / "old.json", 2, modified=90_000)
    write(tmp_path / "recent.json", 3, modified=99_000)
    assert step(source, at)[1] == [3]


def test_hidden_names_and_other_directories_are_left_out(tmp_path: Path) -> None:
    for name in (".a.json", "_b.json", "c.json._COPYING_", "sub/d.json", "_SUCCESS", "e.json"):
        write(tmp_path / name, name)
    schema = parse_ddl("a STRING")
    assert step(stream(tmp_path, schema), {"n": 0, "files": []})[1] == ["e.json"]
    deep = stream(tmp_path, schema, recursiveFileLookup="true")
    assert sorted(step(deep, deep.initial())[1]) == ["e.json", "sub/d.json"]


def test_globs_choose_directories_and_names(tmp_path: Path) -> None:
    for name in ("x1/a.json", "x2/a.json", "y1/a.json", "x1/b.txt"):
        write(tmp_path / name, name)
    source = stream(tmp_path / "{x,z}[0-9]", parse_ddl("a STRING"), pathGlobFilter="*.json")
    assert sorted(step(source, source.initial())[1]) == ["x1/a.json", "x2/a.json"]
    assert glob_pattern("a?[^x-z]{b,cd}*").match("a12cd.json")
    assert not glob_pattern("a[^x-z]").match("ay")


def test_the_same_name_in_another_directory_is_the_same_file_if_asked(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.json", 1)
    source = stream(tmp_path / "*", fileNameOnly="true")
    at, got = step(source, source.initial())
    write(tmp_path / "other" / "a.json", 2)
    assert (got, step(source, at)[1]) == ([1], [])


# --- writers


def test_a_file_is_not_taken_while_somebody_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with open(path, "w") as writer:
        writer.write('{"a": 1}\n{"a"')
        writer.flush()
        if is_being_written(str(path)) is None:
            pytest.skip(f"the file system of {tmp_path} cannot tell who writes; run the tests on a local one")
        source = stream(tmp_path)
        at, got = step(source, source.initial())
        assert got == []
        writer.write(": 2}\n")
    assert step(source, at)[1] == [1, 2]


def test_where_nobody_can_tell_who_writes_a_file_must_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "is_being_written", lambda _: None)
    path = tmp_path / "a.json"
    write(path, 1)
    changes = iter([lambda: write(path, 1, 2), lambda: None])
    monkeypatch.setattr(files_module.time, "sleep", lambda _: next(changes)())
    source = stream(tmp_path)
    at, got = step(source, source.initial())
    assert got == []  # it changed while we looked
    assert step(source, at)[1] == [1, 2]


def test_what_is_appended_later_is_not_read_and_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.json"
    write(path, 1)
    source = stream(tmp_path)
    start = source.initial()
    end, _ = step(source, start)
    with open(path, "a") as more:
        more.write('{"a": 2}\n')
    again = [v for p in source.partitions(start, end) for v in source.read(p).table["a"].to_pylist()]
    assert again == [1]  # the batch runs again as it ran
    with caplog.at_level(logging.WARNING):
        assert step(source, end)[1] == []
    assert "a.json has changed since it was read" in caplog.text
    assert source.metrics(start, end)["numFilesChanged"] == "1"


def test_a_file_that_shrank_or_is_gone_is_an_error_that_names_it(tmp_path: Path) -> None:
    write(tmp_path / "a.json", 1, 2)
    source = stream(tmp_path)
    end = source.latest(source.initial(), Limits())
    part = source.partitions(source.initial(), end)[0]
    write(tmp_path / "a.json", 1)
    with pytest.raises(SourceError, match=r"a\.json had 18 bytes when it was taken and has 9 now"):
        source.read(part)
    (tmp_path / "a.json").unlink()
    with pytest.raises(SourceError, match=r"a\.json is gone since it was taken.*ignoreMissingFiles"):
        source.read(part)
    assert stream(tmp_path, ignoreMissingFiles="true").read(part).table.num_rows == 0


def test_half_a_parquet_file_waits_for_its_end(tmp_path: Path) -> None:
    whole = tmp_path / ".whole"
    parquet.write_table(pa.table({"a": pa.array([1], pa.int32())}), whole)
    raw = whole.read_bytes()
    path = tmp_path / "a.parquet"
    path.write_bytes(raw[:-8])
    source = sources.create("parquet", {"path": str(tmp_path)}, A)
    at, got = step(source, source.initial())
    path.write_bytes(raw)
    assert (got, step(source, at)[1]) == ([], [1])


# --- restarts


def test_a_restart_reads_what_was_planned_and_nothing_twice(tmp_path: Path) -> None:
    checkpoint = DirectorySourceLog(tmp_path / "log")
    folder = tmp_path / "in"
    for i in range(5):
        write(folder / f"{i}.json", i, modified=1000 + i)
    source = stream(folder, log=checkpoint, maxFilesPerTrigger=2)
    first, _ = step(source, source.initial())
    second, got = step(source, first)
    # The plan of the second batch is durable; the process dies. A new file does not change it.
    write(folder / "0a.json", 99, modified=500)
    restarted = stream(folder, log=DirectorySourceLog(tmp_path / "log"), maxFilesPerTrigger=2)
    again = [v for p in restarted.partitions(first, second) for v in restarted.read(p).table["a"].to_pylist()]
    assert again == got == [2, 3]
    assert drained(restarted, second)[1] == [[99, 4]]


def test_a_batch_that_was_never_planned_is_forgotten(tmp_path: Path) -> None:
    log = MemorySourceLog()
    folder = tmp_path / "in"
    write(folder / "a.json", 1)
    source = stream(folder, log=log)
    source.latest(source.initial(), Limits())  # the process dies before the plan is written
    restarted = stream(folder, log=log)
    write(folder / "b.json", 2)
    assert sorted(step(restarted, restarted.initial())[1]) == [1, 2]


@given(
    steps=st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), max_size=90),
    at_once=st.integers(1, 3),
)
def test_through_any_restarts_each_file_is_read_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, bool, bool]], at_once: int
) -> None:
    root = tmp_path_factory.mktemp("any")
    folder = root / "in"
    folder.mkdir()
    log = DirectorySourceLog(root / "log")
    source = stream(folder, log=log, maxFilesPerTrigger=at_once)
    at, seen, count = source.initial(), [], 0
    for new, lost, restart in [*steps, *[(0, False, False)] * 400]:
        for _ in range(new):
            write(folder / f"{count}.json", count)
            count += 1
        if restart:
            source = stream(folder, log=DirectorySourceLog(root / "log"), maxFilesPerTrigger=at_once)
        end, got = step(source, at)
        if lost:  # the process dies before the plan is durable
            source = stream(folder, log=DirectorySourceLog(root / "log"), maxFilesPerTrigger=at_once)
            continue
        seen += got
        at = end
        if not new and not got and len(seen) == count:
            break
    assert sorted(seen) == list(range(count))


def test_offsets_and_the_log_stay_small(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    log = DirectorySourceLog(tmp_path / "log")
    source = stream(folder, log=log)
    at = source.initial()
    for i in range(2 * COMPACT_EVERY + 3):
        write(folder / f"{i}.json", i)
        at, _ = step(source, at)
        assert len(at["files"]) == 1
    source.latest(at, Limits())
    assert len(list((tmp_path / "log").iterdir())) <= COMPACT_EVERY + 1
    assert drained(stream(folder, log=log), at)[1] == []


def test_a_log_that_has_lost_entries_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    log = DirectorySourceLog(tmp_path / "log")
    folder.mkdir()
    source = stream(folder, log=log)
    at = source.initial()
    for i in range(4):
        write(folder / f"{i}.json", i)
        at, _ = step(source, at)
    with pytest.raises(CorruptCheckpointError, match="its log has lost batch 1"):
        stream(folder, log=MemorySourceLog()).latest(at, Limits())
    (tmp_path / "log" / f"{2:012d}").unlink()
    with pytest.raises(CorruptCheckpointError, match="has lost batch 2"):
        stream(folder, log=log).latest(at, Limits())
    (tmp_path / "log" / f"{3:012d}").write_text("nonsense")
    with pytest.raises(CorruptCheckpointError, match="is not what was written"):
        log.read()


def test_what_the_log_says_survives_a_power_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_sync(descriptor: int) -> None:
        done.append("sync " + os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), tmp_path))
        fsync(descriptor)

    def note_rename(source: str, target: str) -> None:
        done.append(f"rename {os.path.basename(target)}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_rename)
    log = DirectorySourceLog(tmp_path / "sources" / "0")
    for name, write_entry in (("000000000001", log.put), ("000000000001.compact", log.compact)):
        done.clear()
        write_entry(1, [["/in/a", 1, 1]])
        content, renamed, names = done[-3:]
        assert content == f"sync sources/0/{name}.{os.getpid()}.tmp"
        assert (renamed, names) == (f"rename {name}", "sync sources/0")


def test_a_log_on_a_full_disk_says_so_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        CheckpointError, match="000000000001 cannot be written: No space left on device; make"
    ):
        DirectorySourceLog(tmp_path).put(1, [])
    assert list(tmp_path.iterdir()) == []


def test_what_a_crash_kept_from_being_cleaned_up_is_cleaned_up_later(tmp_path: Path) -> None:
    folder, log = tmp_path / "in", MemorySourceLog()
    write(folder / "a.json", 1)
    write(folder / "b.json", 2)
    at, _ = step(stream(folder, log=log, cleanSource="delete"), {"n": 0, "files": []})
    write(folder / "b.json", 3)  # as long as it was: not the file that was read
    again = stream(folder, log=log, cleanSource="delete")
    assert step(again, at)[1] == []
    assert [p.name for p in folder.iterdir()] == ["b.json"]


def test_cleaning_up_happens_after_the_commit(tmp_path: Path) -> None:
    folder, archive = tmp_path / "in", tmp_path / "done"
    write(folder / "a.json", 1)
    source = stream(folder, cleanSource="archive", sourceArchiveDir=archive)
    end, _ = step(source, source.initial())
    assert (folder / "a.json").exists()
    source.committed(end)
    source.committed(end)  # as after a restart
    assert not (folder / "a.json").exists()
    assert Path(f"{archive}{folder}/a.json").exists()
    write(folder / "b.json", 2)
    source = stream(folder, cleanSource="delete")
    end, _ = step(source, source.initial())
    source.committed(end)
    assert list(folder.iterdir()) == []


# --- partitions, formats, bad records


def test_partition_directories_become_columns_at_the_end(tmp_path: Path) -> None:
    write(tmp_path / "day=2024-01-02" / "k=a%20b" / "x.json", 1)
    write(tmp_path / "day=2024-01-03" / "k=__HIVE_DEFAULT_PARTITION__" / "x.json", 2)
    options = {"path": str(tmp_path)}
    schema = sources.reader_schema("json", options, A, streaming=True)
    assert schema.simpleString() == "struct<a:int,day:date,k:string>"
    found = sources.batch("json", options, schema).to_pylist()
    assert [(r["a"], str(r["day"]), r["k"]) for r in found] == [
        (1, "2024-01-02", "a b"),
        (2, "2024-01-03", None),
    ]
    typed = sources.reader_schema("json", options, parse_ddl("day STRING, a INT"))
    assert typed.simpleString() == "struct<a:int,day:string,k:string>"
    wrong = parse_ddl("a INT, k INT")
    with pytest.raises(SourceError, match=r"directory k=a b of .*'a b' is not INT"):
        sources.batch("json", options, wrong)


def test_packed_files_are_unpacked(tmp_path: Path) -> None:
    raw = b'{"a": 1}\n{"a": 2}\n'
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(raw))
    (tmp_path / "b.json.bz2").write_bytes(bz2.compress(raw))
    pa.output_stream(str(tmp_path / "c.json.zst"), compression="zstd").write(raw)
    assert sources.batch("json", {"path": str(tmp_path)}, A)["a"].to_pylist() == [1, 2, 1, 2, 1, 2]


def test_avro_and_parquet_take_columns_by_name(tmp_path: Path) -> None:
    avro = {
        "type": "record",
        "name": "r",
        "fields": [{"name": "b", "type": "string"}, {"name": "a", "type": "int"}],
    }
    with open(tmp_path / "x.avro", "wb") as out:
        fastavro.writer(out, avro, [{"a": 1, "b": "x"}])
    parquet.write_table(pa.table({"b": ["x"], "a": [1]}), tmp_path / "x.parquet")
    orc.write_table(pa.table({"b": ["x"], "a": [1]}), tmp_path / "x.orc")
    schema = parse_ddl("a BIGINT, b STRING, c DOUBLE")
    for format in ("avro", "parquet", "orc"):
        options = {"path": str(tmp_path / f"*.{format}")}
        assert sources.batch(format, options, schema).to_pylist() == [{"a": 1, "b": "x", "c": None}]
        assert sources.reader_schema(format, options).names == ["b", "a"]


def test_an_avro_schema_resolves_what_older_writers_wrote(tmp_path: Path) -> None:
    def record(*fields: Any) -> dict[str, Any]:
        return {"type": "record", "name": "r", "fields": list(fields)}

    old = {"name": "a", "type": "int"}
    with open(tmp_path / "x.avro", "wb") as out:
        fastavro.writer(out, record(old), [{"a": 1}])
    new = record(
        {"name": "b", "type": "long", "aliases": ["a"]}, {"name": "c", "type": "string", "default": "none"}
    )
    options = {"path": str(tmp_path), "avroSchema": json.dumps(new)}
    assert sources.batch("avro", options).to_pylist() == [{"b": 1, "c": "none"}]


def test_text_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\r\n\ntwo \xff\nlast")
    assert sources.batch("text", {"path": str(tmp_path)})["value"].to_pylist() == [
        "one",
        "",
        "two \ufffd",
        "last",
    ]
    whole = sources.batch("text", {"path": str(tmp_path), "wholetext": "true"})["value"].to_pylist()
    assert whole == ["one\r\n\ntwo \ufffd\nlast"]


def test_csv_reads_as_spark_does(tmp_path: Path) -> None:
    lines = ["a,b,c", 'x,"",1', '"a""b",y,2', '"p,q",,3', "s,t", "u,v,no"]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    schema = parse_ddl("a STRING, b STRING, c INT, _corrupt_record STRING")
    found = sources.batch("csv", {"path": str(tmp_path), "header": "true"}, schema)
    assert [tuple(r.values()) for r in found.to_pylist()] == [
        ("x", None, 1, None),
        ('"a""b"', "y", 2, None),
        ("p,q", None, 3, None),
        ("s", "t", None, "s,t"),
        ("u", "v", None, "u,v,no"),
    ]
    inferred = sources.reader_schema("csv", {"path": str(tmp_path), "header": "true", "inferSchema": "true"})
    assert inferred.simpleString() == "struct<a:string,b:string,c:string>"


def test_json_with_multi_line_records_and_inference(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"b": 1.5,\n "a": {"x": 1}}, {"b": 2, "c": "2024-01-01"}]')
    options = {"path": str(tmp_path), "multiLine": "true"}
    schema = sources.reader_schema("json", options)
    assert schema.simpleString() == "struct<a:struct<x:bigint>,b:double,c:string>"
    assert sources.batch("json", options, schema).to_pylist() == [
        {"a": {"x": 1}, "b": 1.5, "c": None},
        {"a": None, "b": 2.0, "c": "2024-01-01"},
    ]


@pytest.mark.parametrize(
    ("mode", "rows"),
    [
        ("PERMISSIVE", [{"a": 1, "_corrupt_record": None}, {"a": None, "_corrupt_record": '{"a": "x"}'}]),
        ("DROPMALFORMED", [{"a": 1, "_corrupt_record": None}]),
    ],
)
def test_bad_records_by_mode(tmp_path: Path, mode: str, rows: list[Any]) -> None:
    write(tmp_path / "a.json", 1, "x")
    schema = parse_ddl("a INT, _corrupt_record STRING")
    assert sources.batch("json", {"path": str(tmp_path), "mode": mode}, schema).to_pylist() == rows


def test_a_dead_letter_says_file_line_and_reason(tmp_path: Path) -> None:
    write(tmp_path / "a.json", 1)
    (tmp_path / "b.json").write_text('{"a": 2}\n\n{"a": 1.5}\n{"a": \xff}\n', encoding="latin-1")
    source = stream(tmp_path, mode="DEADLETTER")
    end = source.latest(source.initial(), Limits())
    (part,) = source.partitions(source.initial(), end)
    rows = source.read(part)
    assert rows.table["a"].to_pylist() == [1, 2]
    assert [
        (Path(b["partition"]).name, b["offset"], b["reason"], b["record"]) for b in rows.bad.to_pylist()
    ] == [
        ("b.json", "3", "column 'a': '1.5' is not INT (a whole number)", b'{"a": 1.5}'),
        ("b.json", "4", "byte 6 (0xff) is not UTF-8", b'{"a": \xff}'),
    ]
    with pytest.raises(
        SparkRuntimeException, match=r"b\.json, line 3: column 'a'.*MALFORMED|MALFORMED.*line 3"
    ):
        stream(tmp_path, mode="FAILFAST").read(part)


# --- mistakes


def test_mistakes_are_named_before_anything_starts(tmp_path: Path) -> None:
    path = str(tmp_path)
    with pytest.raises(
        IllegalArgumentException, match="Schema must be specified when creating a streaming source"
    ):
        sources.reader_schema("json", {"path": path}, None, streaming=True)
    with pytest.raises(AnalysisException, match=r"PATH_NOT_FOUND.*does not exist"):
        sources.reader_schema("json", {"path": path + "/nowhere"}, A)
    with pytest.raises(AnalysisException, match="did you mean 'json'"):
        sources.create("jsno", {}, A)
    with pytest.raises(AnalysisException, match="Unable to infer schema for CSV"):
        sources.reader_schema("csv", {"path": path})
    for options, message in [
        ({"maxFilePerTrigger": "1"}, "did you mean 'maxFilesPerTrigger'"),
        ({"maxFilesPerTrigger": "0"}, "'0' is not a positive integer"),
        ({"maxFilesPerTrigger": "1", "maxBytesPerTrigger": "1"}, "can't be both set"),
        ({"maxBytesPerTrigger": "lots"}, "such as 1048576"),
        ({"latestFirst": "maybe"}, "'maybe' is not 'true' or 'false'"),
        ({"maxFileAge": "abc"}, "'abc' is not a duration"),
        ({"cleanSource": "delte"}, "did you mean 'delete'"),
        ({"cleanSource": "archive"}, "'sourceArchiveDir' says where to"),
        ({"cleanSource": "archive", "sourceArchiveDir": path + "/old"}, "lies in the directory that is read"),
        ({"mode": "PERMISIVE"}, "did you mean 'PERMISSIVE'"),
        ({"timestampFormat": "QQQ"}, "'QQQ' in the pattern"),
        ({"allowSingleQuotes": "true"}, "only 'false' is supported, not 'true'"),
        ({"timeZone": "Mars"}, "'Mars' is no time zone"),
    ]:
        with pytest.raises(SourceError, match=message):
            stream(tmp_path, **options)


def test_a_directory_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:  # root, who runs tests in containers, may list anything
        raise PermissionError(13, "Permission denied", path)

    source = stream(tmp_path)
    monkeypatch.setattr(listing.os, "scandir", refuse)
    with pytest.raises(SourceError, match=f"directory '{tmp_path}' may not be listed"):
        source.latest(source.initial(), Limits())


def test_a_part_is_split_between_files_of_about_the_same_weight(tmp_path: Path) -> None:
    for name, rows in [("a", 10), ("b", 1), ("c", 1), ("d", 8)]:
        write(tmp_path / f"{name}.json", *range(rows))
    source = stream(tmp_path)
    (part,) = source.partitions(source.initial(), source.latest(source.initial(), Limits()))
    rows = [source.read(p).table.num_rows for p in source.split(part, 2)]
    assert rows == [10, 10]
    assert [p.index for p in source.split(part, 9)] == [0, 1, 2, 3]
