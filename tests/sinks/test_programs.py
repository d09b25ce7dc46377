"""Sinks of programs: console, memory, noop, foreach and foreachBatch; and the dead letter."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.services.kafka import KafkaBroker
from tidemill import sinks
from tidemill.errors import AnalysisException, PySparkAttributeError, PySparkTypeError
from tidemill.sinks import dead_letter
from tidemill.sinks.base import Generation, Sink, TaskId
from tidemill.sinks.memory import MemoryTable, tables
from tidemill.sinks.options import Wiring
from tidemill.sources.base import BAD_SCHEMA
from tidemill.types import StructType, to_arrow_schema

V = StructType.fromDDL("v INT")


def rows(*values: int) -> pa.Table:
    return pa.table({"v": list(values)}, schema=to_arrow_schema(V))


def run(sink: Sink, batch: int, *tasks: pa.Table) -> None:
    sink.commit(batch, [sink.prepare(TaskId("q", batch, n), t) for n, t in enumerate(tasks)])


# --- Console --------------------------------------------------------------------------------------------------------

# What PySpark 4.3's console sink prints for these rows.
CUT = """\
-------------------------------------------
Batch: 0
-------------------------------------------
+----+-------------------+---------+---------+--------+------+--------------------+
|   a|                  t|        s|      arr|       m|   dbl|                 str|
+----+-------------------+---------+---------+--------+------+--------------------+
|   1|2019-12-31 19:00:00|{1, NULL}|[a, NULL]|{k -> 1}|1.0E10|a long string wit...|
|NULL|               NULL|     NULL|     NULL|    NULL|  NULL|  日本\\nnewline\\ttab|
+----+-------------------+---------+---------+--------+------+--------------------+
only showing top 2 rows
"""
WHOLE = """\
-------------------------------------------
Batch: 0
-------------------------------------------
+----+-------------------+---------+---------+--------+------+----------------------------------------------+
|a   |t                  |s        |arr      |m       |dbl   |str                                           |
+----+-------------------+---------+---------+--------+------+----------------------------------------------+
|1   |2019-12-31 19:00:00|{1, NULL}|[a, NULL]|{k -> 1}|1.0E10|a long string with more than twenty characters|
|NULL|NULL               |NULL     |NULL     |NULL    |NULL  |日本\\nnewline\\ttab                            |
|3   |NULL               |NULL     |NULL     |NULL    |NULL  |NULL                                          |
+----+-------------------+---------+---------+--------+------+----------------------------------------------+

"""


@pytest.mark.parametrize(
    ("options", "expected"), [({"numRows": 2}, CUT), ({"truncate": False}, WHOLE)], ids=["cut", "whole"]
)
def test_the_console_prints_as_spark_does(options: dict[str, Any], expected: str) -> None:
    schema = StructType.fromDDL(
        "a INT, t TIMESTAMP, s STRUCT<x:INT,y:STRING>, arr ARRAY<STRING>, m MAP<STRING,INT>, dbl DOUBLE, str STRING"
    )
    full = {"a": 1, "t": dt.datetime(2020, 1, 1), "s": {"x": 1, "y": None}, "arr": ["a", None], "m": [("k", 1)],
            "dbl": 1e10, "str": "a long string with more than twenty characters"}  # fmt: skip
    parts = [[full], [{"str": "日本\nnewline\ttab"}, {"a": 3}]]
    printed: list[str] = []
    wiring = Wiring(time_zone="America/New_York", write=printed.append)
    sink = sinks.create("console", options, schema, wiring=wiring)
    made = [pa.Table.from_pylist(p, schema=to_arrow_schema(schema)) for p in parts]
    run(sink, 0, *made)
    run(sink, 0, *made)
    assert "".join(printed) == expected


@pytest.mark.parametrize(("option", "value"), [("numRows", "x"), ("truncate", "perhaps")])
def test_a_wrong_option_of_the_console(option: str, value: str) -> None:
    with pytest.raises(ValueError, match=rf"option '{option}' of format console: '{value}' is not"):
        sinks.create("console", {option: value}, V)


# --- Memory and noop ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "expected"), [("append", [1, 2, 3]), ("update", [1, 2, 3]), ("complete", [2, 3])]
)
def test_the_memory_table(mode: str, expected: list[int]) -> None:
    sink = sinks.create("memory", {"queryName": "hits"}, V, mode)
    run(sink, 0, rows(1))
    run(sink, 1, rows(2), rows(3))
    run(sink, 1, rows(2), rows(3))
    assert tables["hits"].rows().column(0).to_pylist() == expected


def test_a_memory_table_needs_a_name() -> None:
    with pytest.raises(AnalysisException, match="queryName must be specified for memory sink"):
        sinks.create("memory", {}, V)
    table = MemoryTable(V)
    run(sinks.create("memory", {}, V, target=table), 0, rows(7))
    assert table.rows().column(0).to_pylist() == [7]


def test_noop_takes_all_and_keeps_nothing() -> None:
    sink = sinks.create("noop", {}, V, "complete")
    prepared = sink.prepare(TaskId("q", 0, 0), rows(1))
    assert prepared.payload is None
    sink.commit(0, [prepared])


# --- The user's own functions ---------------------------------------------------------------------------------------


class Writer:
    """Notes what is called, and fails or refuses where it is told to."""

    def __init__(self, refuse: int = -1, fail: int = -1) -> None:
        self.calls: list[Any] = []
        self.refuse, self.fail = refuse, fail

    def open(self, partition_id: int, epoch_id: int) -> bool:
        self.calls.append(("open", partition_id, epoch_id))
        return partition_id != self.refuse

    def process(self, row: dict[str, Any]) -> None:
        if row["v"] == self.fail:
            raise ValueError("no")
        self.calls.append(row["v"])

    def close(self, error: Exception | None) -> None:
        self.calls.append(("close", error and str(error)))


def test_foreach_opens_processes_and_closes_each_partition() -> None:
    writer = Writer()
    run(sinks.create("foreach", {}, V, target=writer), 5, rows(1, 2), rows())
    assert writer.calls == [("open", 0, 5), 1, 2, ("close", None), ("open", 1, 5), ("close", None)]


def test_foreach_skips_a_partition_that_open_refuses_and_closes_it() -> None:
    writer = Writer(refuse=0)
    run(sinks.create("foreach", {}, V, target=writer), 0, rows(1), rows(2))
    assert writer.calls == [("open", 0, 0), ("close", None), ("open", 1, 0), 2, ("close", None)]


def test_foreach_tells_close_of_the_error_and_fails() -> None:
    writer = Writer(fail=2)
    with pytest.raises(ValueError, match="no"):
        run(sinks.create("foreach", {}, V, target=writer), 0, rows(1, 2, 3))
    assert writer.calls == [("open", 0, 0), 1, ("close", "no")]


def test_foreach_takes_a_function_or_an_object_with_process_alone() -> None:
    seen: list[Any] = []
    run(sinks.create("foreach", {}, V, target=seen.append), 0, rows(1, 2))

    class OnlyProcess:
        def process(self, row: Any) -> None:
            seen.append(row)

    run(sinks.create("foreach", {}, V, target=OnlyProcess()), 0, rows(3))
    assert [r["v"] for r in seen] == [1, 2, 3]
    with pytest.raises(PySparkAttributeError, match="`process` in provided object `f` is not callable"):
        sinks.create("foreach", {}, V, target=object())


def test_foreach_batch_gets_a_frame_of_all_tasks_and_also_empty_ones() -> None:
    calls: list[tuple[list[int], int]] = []
    wiring = Wiring(make_frame=lambda table: table.column(0).to_pylist())
    sink = sinks.create("foreachBatch", {}, V, target=lambda df, n: calls.append((df, n)), wiring=wiring)
    run(sink, 0, rows(1), rows(2, 3))
    run(sink, 1, rows())
    assert calls == [([1, 2, 3], 0), ([], 1)]
    with pytest.raises(PySparkTypeError, match="foreachBatch takes a function"):
        sinks.create("foreachBatch", {}, V, target="f")


# --- Dead letter ----------------------------------------------------------------------------------------------------

BAD = pa.Table.from_pylist(
    [
        {"reason": "no JSON", "source": "access", "partition": "0", "offset": "17", "record": b"{oops \xff"},
        {"reason": "null", "source": "access", "partition": None, "offset": "18", "record": None},
    ],
    schema=BAD_SCHEMA,
)


def write_bad(format: str, options: dict[str, Any]) -> None:
    sink = dead_letter.create(format, options)
    query = dead_letter.dead_letter_id("q")
    sink.open(Generation(1, "t"), query, 1)
    sink.recover(query, 0, None)
    prepared = [sink.prepare(TaskId(query, 0, 0), BAD), sink.prepare(TaskId(query, 0, 1), BAD.slice(0, 0))]
    sink.commit(0, prepared)
    sink.close()


def test_bad_records_as_files(tmp_path: Path) -> None:
    write_bad("parquet", {"path": str(tmp_path / "p")})
    assert pq.read_table(tmp_path / "p").to_pylist() == BAD.to_pylist()
    write_bad("json", {"path": str(tmp_path / "j")})
    (file,) = (tmp_path / "j").glob("*.json")
    assert file.read_text().splitlines() == [
        '{"reason":"no JSON","source":"access","partition":"0","offset":"17","record":"{oops �"}',
        '{"reason":"null","source":"access","offset":"18"}',
    ]


@pytest.mark.kafka
def test_bad_records_in_kafka_keep_their_bytes(kafka: KafkaBroker) -> None:
    topic = kafka.topic()
    write_bad("kafka", {"kafka.bootstrap.servers": kafka.bootstrap, "topic": topic})
    one, two = kafka.consume_all(topic)
    assert (one.value, two.value) == (b"{oops \xff", None)
    assert dict(one.headers) == {
        "reason": b"no JSON",
        "source": b"access",
        "partition": b"0",
        "offset": b"17",
    }


def test_a_format_that_is_no_dead_letter() -> None:
    with pytest.raises(AnalysisException, match="a dead letter cannot be written as 'csv'"):
        dead_letter.create("csv", {"path": "x"})
