"""The file sink: what any reader of the directory sees, in Spark's forms."""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidemill import sinks
from tidemill.errors import AnalysisException, IllegalArgumentException, PySparkValueError, SinkError
from tidemill.sinks.base import Generation, TaskId
from tidemill.sinks.options import Wiring
from tidemill.types import StructType, to_arrow_schema

Q = "query-one"


def table(ddl: str, *rows: tuple[Any, ...]) -> tuple[StructType, pa.Table]:
    schema = StructType.fromDDL(ddl)
    columns = [[row[i] for row in rows] for i in range(len(schema))]
    arrow = to_arrow_schema(schema)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, arrow, strict=True)]
    return schema, pa.Table.from_arrays(arrays, schema=arrow)


def store(
    path: Path,
    format: str,
    schema: StructType,
    rows: pa.Table,
    by: tuple[str, ...] = (),
    zone: str = "UTC",
    **options: str,
) -> list[Path]:
    """Write one batch; gives the files of the directory."""
    sink = sinks.create(
        format, {"path": str(path), **options}, schema, "append", by, wiring=Wiring(time_zone=zone)
    )
    sink.open(Generation(1, "t"), Q, 1)
    sink.commit(0, [sink.prepare(TaskId(Q, 0, 0), rows)])
    sink.close()
    return sorted(p for p in path.rglob("*") if p.is_file())


# --- Formats --------------------------------------------------------------------------------------------------------

ALL = """a INT, b STRING, c DOUBLE, d DOUBLE, t TIMESTAMP, dd DATE, m DECIMAL(10,2), e BOOLEAN, bin BINARY, n STRING,
    st STRUCT<p:INT,q:INT>, ar ARRAY<INT>, mp MAP<STRING,INT>, nt TIMESTAMP_NTZ, iv INTERVAL DAY TO SECOND, f FLOAT,
    nan DOUBLE, emp STRING, sp STRING, comma STRING, nl STRING, bs STRING, u STRING, qq STRING, ap STRING"""
ROW = (
    1, 'x"y', 1.5, 1e20, dt.datetime(2020, 1, 2, 8, 4, 5, 123456), dt.date(2020, 1, 2), decimal.Decimal("1.50"), True,
    b"ab", None, {"p": 1, "q": None}, [1, None], [("k", None), ("j", 2)], dt.datetime(2020, 1, 2, 3, 4, 5),
    dt.timedelta(days=1, hours=2, minutes=3, seconds=4.5), 0.1, float("nan"), "", " sp ", "a,b", "l1\nl2",
    "back\\slash", "é\x01/", 'q\\"z', "'",
)  # fmt: skip
NESTED = ("st", "ar", "mp")

# What PySpark 4.3 writes for the same row with spark.sql.session.timeZone=America/New_York.
JSON = (
    '{"a":1,"b":"x\\"y","c":1.5,"d":1.0E20,"t":"2020-01-02T03:04:05.123-05:00","dd":"2020-01-02","m":1.50,"e":true,'
    '"bin":"YWI=",%s"st":{"p":1%s},"ar":[1,null],"mp":{"k":null,"j":2},"nt":"2020-01-02T03:04:05.000",'
    '"iv":"INTERVAL \'1 02:03:04.5\' DAY TO SECOND","f":0.1,"nan":"NaN","emp":"","sp":" sp ","comma":"a,b",'
    '"nl":"l1\\nl2","bs":"back\\\\slash","u":"é\\u0001/","qq":"q\\\\\\"z","ap":"\'"}\n'
)
CSV_PLAIN = (
    '1,"x\\"y",1.5,1.0E20,2020-01-02T03:04:05.123-05:00,2020-01-02,1.50,true,[61 62],,2020-01-02T03:04:05.000,'
    'INTERVAL \'1 02:03:04.5\' DAY TO SECOND,0.1,NaN,"",sp,"a,b","l1\nl2",back\\slash,é\x01/,"q\\\\\\"z",\'\n'
)
CSV_ALL_QUOTED = (
    '"1","x\\"y","1.5","1.0E20","2020-01-02T03:04:05.123-05:00","2020-01-02","1.50","true","[61 62]","",'
    '"2020-01-02T03:04:05.000","INTERVAL \'1 02:03:04.5\' DAY TO SECOND","0.1","NaN","","sp","a,b","l1\nl2",'
    '"back\\\\slash","é\x01/","q\\\\\\"z","\'"\n'
)
CSV_OTHER = (
    '1|"x\\"y"|1.5|1.0E20|2020-01-02T03:04:05.123-05:00|2020-01-02|1.50|true|[61 62]|NA|2020-01-02T03:04:05.000|'
    'INTERVAL \'1 02:03:04.5\' DAY TO SECOND|0.1|NaN|E|sp|a,b|"l1\nl2"|back\\slash|é\x01/|"q\\\\\\"z"|\'\n'
)


@pytest.mark.parametrize(
    ("format", "options", "expected"),
    [
        ("json", {}, JSON % ("", "")),
        ("json", {"ignoreNullFields": "false"}, JSON % ('"n":null,', ',"q":null')),
        ("csv", {}, CSV_PLAIN),
        ("csv", {"quoteAll": "true"}, CSV_ALL_QUOTED),
        ("csv", {"sep": "|", "nullValue": "NA", "emptyValue": "E"}, CSV_OTHER),
    ],
)
def test_text_is_as_spark_writes_it(
    tmp_path: Path, format: str, options: dict[str, str], expected: str
) -> None:
    schema, rows = table(ALL, ROW)
    if format == "csv":
        rows = rows.drop_columns(list(NESTED))
        schema = StructType(f for f in schema if f.name not in NESTED)
    (file,) = store(tmp_path / "o", format, schema, rows, zone="America/New_York", **options)
    assert file.read_bytes().decode() == expected


def test_a_header_and_text_lines(tmp_path: Path) -> None:
    schema, rows = table("`the name` INT, b STRING", (1, "x"), (2, None))
    (file,) = store(tmp_path / "csv", "csv", schema, rows, header="true")
    assert file.read_text() == "the name,b\n1,x\n2,\n"
    schema, rows = table("line STRING", ("a",), (None,), ("b",))
    (file,) = store(tmp_path / "text", "text", schema, rows)
    assert file.read_text() == "a\n\nb\n"
    assert file.suffix == ".txt"


def test_doubles_of_every_size(tmp_path: Path) -> None:
    numbers = [
        0.0,
        -0.0,
        1e-3,
        9.99e-4,
        1e7,
        9999999.0,
        12345678.9,
        -1e-5,
        1e16,
        5e-324,
        float("-inf"),
        100.0,
    ]
    schema, rows = table("d DOUBLE, l ARRAY<DOUBLE>", *((n, [n]) for n in numbers))
    (file,) = store(tmp_path / "o", "json", schema, rows)
    texts = ["0.0", "-0.0", "0.001", "9.99E-4", "1.0E7", "9999999.0", "1.23456789E7", "-1.0E-5", "1.0E16", "5.0E-324",
             '"-Infinity"', "100.0"]  # fmt: skip
    assert file.read_text().splitlines() == [f'{{"d":{t},"l":[{t}]}}' for t in texts]


def test_parquet_marks_instants_and_names_the_codec(tmp_path: Path) -> None:
    schema, rows = table(
        "t TIMESTAMP, n TIMESTAMP_NTZ, l ARRAY<TIMESTAMP>",
        (dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 1), [dt.datetime(2020, 1, 1)]),
    )
    (file,) = store(tmp_path / "o", "parquet", schema, rows)
    assert file.name.endswith(".snappy.parquet")
    kinds = pq.read_schema(file)
    assert kinds.field("t").type == pa.timestamp("us", "UTC")
    assert kinds.field("n").type == pa.timestamp("us")
    assert kinds.field("l").type.value_type == pa.timestamp("us", "UTC")
    (file,) = store(tmp_path / "z", "parquet", schema, rows, compression="zstd")
    assert pq.ParquetFile(file).metadata.row_group(0).column(0).compression == "ZSTD"


def test_compressed_lines(tmp_path: Path) -> None:
    schema, rows = table("a INT", (1,))
    (file,) = store(tmp_path / "o", "json", schema, rows, compression="gzip")
    assert file.name.endswith(".json.gz")
    assert gzip.decompress(file.read_bytes()) == b'{"a":1}\n'


def test_avro_can_be_read_back(tmp_path: Path) -> None:
    fastavro = pytest.importorskip("fastavro", reason="install tidemill[avro]")
    keep = [n for n in StructType.fromDDL(ALL).names if n != "iv"]
    schema, rows = table(ALL, ROW, (None,) * len(ROW))
    schema, rows = StructType(f for f in schema if f.name in keep), rows.select(keep)
    (file,) = store(tmp_path / "o", "avro", schema, rows)
    with file.open("rb") as data:
        reader = fastavro.reader(data)
        one, two = list(reader)
    assert one["t"] == dt.datetime(2020, 1, 2, 8, 4, 5, 123456, dt.UTC)
    assert (one["m"], one["st"], one["mp"]) == (
        decimal.Decimal("1.50"),
        {"p": 1, "q": None},
        {"k": None, "j": 2},
    )
    assert set(two.values()) == {None}
    with pytest.raises(SinkError, match="Avro cannot hold type interval"):
        sinks.create("avro", {"path": "x"}, StructType.fromDDL("iv INTERVAL DAY TO SECOND"))


# --- Partitions -----------------------------------------------------------------------------------------------------


def test_partition_directories_are_named_as_hive_and_spark_name_them(tmp_path: Path) -> None:
    schema, rows = table(
        "v INT, s STRING, t TIMESTAMP, d DOUBLE, b BOOLEAN, da DATE, m DECIMAL(3,2), n STRING",
        (1, "a/b:c%d e=", dt.datetime(2020, 1, 2, 3, 4, 5, 500000), 1.0, True, dt.date(2020, 1, 1),
         decimal.Decimal("1.5"), None),
        (2, "", None, 1e20, None, None, None, "é~"),
    )  # fmt: skip
    files = store(tmp_path / "o", "json", schema, rows, ("s", "t", "d", "b", "da", "m", "n"))
    none = "__HIVE_DEFAULT_PARTITION__"
    # As PySpark 4.3 names them.
    assert [str(f.parent.relative_to(tmp_path / "o")) for f in files] == [
        f"s={none}/t={none}/d=1.0E20/b={none}/da={none}/m={none}/n=é~",
        f"s=a%2Fb%3Ac%25d e%3D/t=2020-01-02 03%3A04%3A05.5/d=1.0/b=true/da=2020-01-01/m=1.50/n={none}",
    ]
    assert [f.read_text() for f in files] == ['{"v":2}\n', '{"v":1}\n']


def test_partitioned_rows_come_back(tmp_path: Path) -> None:
    schema, rows = table("v INT, k INT", *((i, i % 3) for i in range(30)))
    store(tmp_path / "o", "parquet", schema, rows, ("K",))
    found = duckdb.sql(
        f"SELECT v, k FROM read_parquet('{tmp_path}/o/**/*.parquet', hive_partitioning=true) ORDER BY v"
    ).fetchall()
    assert found == [(i, i % 3) for i in range(30)]


# --- Exactly once ---------------------------------------------------------------------------------------------------


def test_readers_see_each_batch_whole_at_any_time(tmp_path: Path) -> None:
    """A reader beside a writer: what it finds is always a number of whole files, and each row once."""
    schema, rows = table("v INT", *((i,) for i in range(100)))
    sink = sinks.create("parquet", {"path": str(tmp_path)}, schema)
    sink.open(Generation(1, "t"), Q, 1)
    stop, wrong = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            files = [str(p) for p in tmp_path.rglob("*.parquet")]
            if files:
                count, distinct = (
                    duckdb.connect()
                    .sql(
                        f"SELECT count(*), count(DISTINCT filename) FROM read_parquet({files}, filename=true)"
                    )
                    .fetchall()[0]
                )
                if count != 100 * len(files) or distinct != len(files):
                    wrong.append((count, distinct, files))

    reader = threading.Thread(target=read)
    reader.start()
    for batch in range(40):
        sink.commit(batch, [sink.prepare(TaskId(Q, batch, n), rows) for n in range(2)])
    stop.set()
    reader.join()
    assert wrong == []
    assert pq.read_table(tmp_path).num_rows == 8000


CRASH = """
import os, sys
import pyarrow as pa
from tidemill import sinks
from tidemill.sinks.base import Generation, TaskId
from tidemill.types import StructType
path, point = sys.argv[1], sys.argv[2]
sink = sinks.create("json", {"path": path}, StructType.fromDDL("v INT"))
sink.open(Generation(1, "t"), "q", 2)
prepared = []
for task in range(2):
    prepared.append(sink.prepare(TaskId("q", 0, task), pa.table({"v": pa.array([task], pa.int32())})))
    if point == f"prepared {task}":
        os._exit(0)
print(repr([(c.task.task, dict(c.meta)) for c in prepared]), flush=True)
rename = os.rename
def dying(*args):
    if point == "before rename": os._exit(0)
    rename(*args)
    if point == "after rename": os._exit(0)
os.rename = dying
sink.commit(0, prepared)
"""


@pytest.mark.parametrize("point", ["prepared 0", "prepared 1", "before rename", "after rename", "end"])
def test_a_writer_dies(tmp_path: Path, point: str) -> None:
    from tidemill.sinks.base import Committable

    done = subprocess.run(
        [sys.executable, "-c", CRASH, str(tmp_path), point],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    sink = sinks.create("json", {"path": str(tmp_path)}, StructType.fromDDL("v INT"))
    sink.open(Generation(2, "u"), "q", 2)
    if done.stdout:
        prepared = [Committable(TaskId("q", 0, n), meta) for n, meta in eval(done.stdout)]
        sink.recover("q", 0, prepared)
    else:
        sink.recover("q", 0, None)
        prepared = [
            sink.prepare(TaskId("q", 0, n), pa.table({"v": pa.array([n], pa.int32())})) for n in range(2)
        ]
    sink.commit(0, prepared)
    sink.close()
    files = sorted(p for p in tmp_path.rglob("*") if p.is_file())
    assert [f.read_text() for f in files] == ['{"v":0}\n', '{"v":1}\n']


def test_two_queries_in_one_directory_leave_each_other_alone(tmp_path: Path) -> None:
    schema, rows = table("v INT", (1,))
    one, two = (sinks.create("json", {"path": str(tmp_path)}, schema) for _ in range(2))
    one.open(Generation(1, "t"), "one", 1)
    two.open(Generation(1, "t"), "two", 1)
    waiting = [two.prepare(TaskId("two", 0, 0), rows)]
    one.recover("one", 0, None)
    one.commit(0, [one.prepare(TaskId("one", 0, 0), rows)])
    one.close()
    two.commit(0, waiting)
    one.close()
    two.commit(1, [two.prepare(TaskId("two", 1, 0), rows)])
    two.close()
    assert len(list(tmp_path.glob("*.json"))) == 3
    assert not (tmp_path / ".tidemill").exists()


def test_an_output_newer_than_the_checkpoint_is_refused(tmp_path: Path) -> None:
    schema, rows = table("v INT", (1,))
    sink = sinks.create("json", {"path": str(tmp_path)}, schema)
    sink.open(Generation(1, "t"), Q, 1)
    sink.commit(0, [sink.prepare(TaskId(Q, 0, 0), rows)])
    with pytest.raises(SinkError, match="the checkpoint is older than the output"):
        sink.commit(0, [sink.prepare(TaskId(Q, 0, 0), rows)])


def test_finished_files_may_be_taken_away(tmp_path: Path) -> None:
    schema, rows = table("v INT", (1,))
    sink = sinks.create("json", {"path": str(tmp_path)}, schema)
    sink.open(Generation(1, "t"), Q, 1)
    prepared = [sink.prepare(TaskId(Q, 0, 0), rows)]
    sink.commit(0, prepared)
    for file in tmp_path.glob("*.json"):
        file.unlink()
    sink.commit(0, prepared)
    import shutil

    shutil.rmtree(tmp_path / ".tidemill")
    with pytest.raises(SinkError, match="has been emptied or moved"):
        sink.commit(0, prepared)


# --- Batch ----------------------------------------------------------------------------------------------------------


def test_a_partition_directory_may_be_taken_away_and_comes_again(tmp_path: Path) -> None:
    schema, rows = table("day STRING, a INT", ("mon", 1), ("tue", 2))
    sink = sinks.create("json", {"path": str(tmp_path)}, schema, "append", ("day",))
    sink.open(Generation(1, "t"), Q, 1)
    for batch in (0, 1):
        sink.commit(batch, [sink.prepare(TaskId(Q, batch, 0), rows)])
        found = sorted(p.parent.name for p in tmp_path.rglob("*.json"))
        assert found == ["day=mon", "day=tue", "day=tue"][: 2 + batch]
        shutil.rmtree(tmp_path / "day=mon")
    sink.close()


def test_save_modes(tmp_path: Path) -> None:
    schema, rows = table("v INT", (1,), (2,))
    path = tmp_path / "o"

    def save(mode: str, data: pa.Table = rows) -> int:
        sinks.write(data, "parquet", {"path": str(path)}, schema, mode)
        return int(pq.read_table(path).num_rows)

    assert save("errorifexists") == 2
    with pytest.raises(AnalysisException, match="PATH_ALREADY_EXISTS"):
        save("error")
    assert save("ignore") == 2
    assert save("append") == 4
    assert save("overwrite") == 2
    assert save("overwrite", rows.slice(0, 0)) == 0, "a file tells the columns"
    with pytest.raises(PySparkValueError, match=r"Unknown save mode: apend.*did you mean 'append'"):
        save("apend")


def test_a_failed_overwrite_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema, rows = table("v INT", (1,))
    sinks.write(rows, "json", {"path": str(tmp_path / "o")}, schema)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tidemill.sinks.fileformats.JsonFormat.write", full)
    with pytest.raises(SinkError, match="No space left on device; make room"):
        sinks.write(rows, "json", {"path": str(tmp_path / "o")}, schema, "overwrite")
    assert [f.read_text() for f in (tmp_path / "o").glob("*.json")] == ['{"v":1}\n']


def test_tables_are_directories_of_the_warehouse(tmp_path: Path) -> None:
    schema, rows = table("v INT", (1,))
    wiring = Wiring(warehouse=f"file:{tmp_path}")
    for name, options in (("Hits", {}), ("web.hits", {"format": "json"})):
        sink = sinks.create("table", options, schema, target=name, wiring=wiring)
        sink.open(Generation(1, "t"), Q, 1)
        sink.commit(0, [sink.prepare(TaskId(Q, 0, 0), rows)])
    assert len(list((tmp_path / "hits").glob("*.parquet"))) == 1
    assert len(list((tmp_path / "web.db" / "hits").glob("*.json"))) == 1
    with pytest.raises(AnalysisException, match="is not a table name"):
        sinks.create("table", {}, schema, target="a.b.c", wiring=wiring)


# --- Wrong input ----------------------------------------------------------------------------------------------------

S = StructType.fromDDL("a INT, b STRING, s STRUCT<x: INT>")
WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: sinks.create("parquett", {}, S), r"DATA_SOURCE_NOT_FOUND.*parquett.*did you mean 'parquet'"),
    (lambda: sinks.create("rate", {}, S), "does not support streamed writing"),
    (lambda: sinks.create("parquet", {}, S), "'path' is not specified"),
    (lambda: sinks.create("json", {"path": "x", "compresion": "gzip"}, S), "'compresion' .*did you mean 'compression'"),
    (lambda: sinks.create("json", {"path": "x", "dateFormat": "yyyy"}, S), "option 'dateFormat' .*is not supported"),
    (lambda: sinks.create("json", {"path": "s3://b/x"}, S), "is on 's3', and only directories"),
    (lambda: sinks.create("parquet", {"path": "x"}, S, "complete"), r"STREAMING_OUTPUT_MODE\.UNSUPPORTED_DATASOURCE"),
    (lambda: sinks.create("csv", {"path": "x"}, S), "CSV datasource doesn't support the column `s`"),
    (lambda: sinks.create("text", {"path": "x"}, S), "The Text datasource doesn't support the column `a`"),
    (lambda: sinks.create("json", {"path": "x"}, S, partition_by=("c",)), r"column c not found .*\(a, b, s\)"),
    (lambda: sinks.create("json", {"path": "x"}, S, partition_by=("a", "b", "s")), "ALL_PARTITION_COLUMNS_NOT_ALLOWED"),
    (lambda: sinks.create("json", {"path": "x"}, S, partition_by=("s",)), "Cannot use struct<x:int> for partition"),
    (lambda: sinks.create("console", {}, S, partition_by=("a",)), "'partitionBy' is not supported by format console"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "says"), WRONG, ids=[says for _, says in WRONG])
def test_what_cannot_be_is_refused_before_anything_starts(make: Callable[[], object], says: str) -> None:
    with pytest.raises((AnalysisException, IllegalArgumentException), match=says):
        make()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"compression": "gzp"},
            r"The codec gzp is not available\. Available codecs are .*did you mean 'gzip'",
        ),
        ({"header": "yes"}, "option 'header' of format csv: 'yes' is not true or false"),
        ({"quote": "ab"}, "is not one character"),
        ({"encoding": "latin1"}, "is not UTF-8"),
    ],
)
def test_a_wrong_value(options: dict[str, str], says: str) -> None:
    with pytest.raises(PySparkValueError, match=says):
        sinks.create("csv", {"path": "x", **options}, StructType.fromDDL("a INT"))


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "out", Path("/proc/tidemill-out")):
        with pytest.raises(
            SinkError, match=rf"output directory {path} cannot be written: .*give a directory"
        ):
            sinks.create("json", {"path": str(path)}, S).open(Generation(1, "t"), Q, 1)


def test_a_directory_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:  # root may write anywhere: let the system answer as it would to anyone else
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    else:
        tmp_path.chmod(0o500)
    with pytest.raises(SinkError, match="cannot be written"):
        sinks.create("json", {"path": str(tmp_path)}, S).open(Generation(1, "t"), Q, 1)


FULL_DISK = """
import os, resource, sys
import pyarrow as pa
from tidemill import sinks
from tidemill.errors import SinkError
from tidemill.sinks.base import Generation, TaskId
from tidemill.types import StructType
path, format, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
sink = sinks.create(format, {"path": path}, StructType.fromDDL("a BIGINT"))
sink.open(Generation(1, "t"), "q", 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))  # cuts a write short first, as a disk does that fills up
try:
    sink.prepare(TaskId("q", 0, 0), pa.table({"a": range(1000)}))
except SinkError as error:
    print(error)
print([name for _, _, names in os.walk(path) for name in names])
"""


@pytest.mark.parametrize("format", ["json", "parquet", "avro"])
def test_a_file_that_a_full_disk_cut_short_is_never_shown(tmp_path: Path, format: str) -> None:
    (whole,) = store(tmp_path / "whole", format, *table("a BIGINT", *((n,) for n in range(1000))))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for missing in (1, 100):
        most = str(whole.stat().st_size - missing)
        command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "out"), format, most]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        said, left = done.stdout.splitlines()
        assert "batch 0 cannot be written: File too large; make room" in said
        assert left == "[]"
