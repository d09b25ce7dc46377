"""Values decoded on the way in: what becomes of good and bad ones."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from tidemill.errors import SourceError, SparkRuntimeException
from tidemill.sources.base import Limits, Rows
from tidemill.sources.decoded import Decode, DecodedSource
from tidemill.sources.memory import MemoryLog, MemorySource
from tidemill.types import parse_ddl

KAFKA = "key BINARY, value BINARY, topic STRING, partition INT, offset BIGINT"


def log_of(*values: bytes | None) -> MemoryLog:
    """Records as Kafka's source gives them, on partition 3 from offset 100."""
    log = MemoryLog(parse_ddl(KAFKA))
    count = len(values)
    log.append(
        pa.table(
            [[b"k"] * count, list(values), ["clicks"] * count, [3] * count, list(range(100, 100 + count))],
            names=list("kvtpo"),
        )
    )
    return log


def read(log: MemoryLog, ddl: str, name: str = "", **more: Any) -> Rows:
    source = DecodedSource(MemorySource(log), Decode("json", parse_ddl(ddl), **more), name)
    (part,) = source.partitions(0, source.latest(0, Limits()))
    rows = source.read(part)
    assert rows.table.schema.names == source.schema.names
    return rows


def test_bad_records_leave_the_rows_with_their_coordinates() -> None:
    rows = read(log_of(b'{"a": 1}', b'{"a": "x"}', None, b'{"a": 4}'), "a INT", metadata=("offset", "key"))
    assert rows.table.to_pylist() == [
        {"a": 1, "offset": 100, "key": b"k"},
        {"a": None, "offset": 102, "key": b"k"},
        {"a": 4, "offset": 103, "key": b"k"},
    ]
    assert rows.bad.to_pylist() == [
        {
            "reason": "column 'a': 'x' is not INT (a whole number without quotes)",
            "source": "clicks",
            "partition": "3",
            "offset": "101",
            "record": b'{"a": "x"}',
        }
    ]


def test_bad_records_may_stay_with_their_text() -> None:
    ddl = "a INT, b INT, raw STRING"
    rows = read(log_of(b'{"a": 1, "b": 2}', b'{"a": 1, "b": "x"}'), ddl, corrupt="raw")
    assert [tuple(r.values()) for r in rows.table.to_pylist()] == [
        (1, 2, None),
        (1, None, '{"a": 1, "b": "x"}'),
    ]
    assert rows.bad.num_rows == 0
    assert read(log_of(b"{}"), ddl, corrupt="raw").table["raw"].to_pylist() == [None]


def test_failfast_names_the_first() -> None:
    with pytest.raises(SparkRuntimeException, match="source clicks, partition 3, offset 101: malformed JSON"):
        read(log_of(b"{}", b"{", b"["), "a INT", mode="failfast")


def test_a_source_without_coordinates_is_named_and_counted() -> None:
    log = MemoryLog(parse_ddl("value STRING"))
    log.append(pa.table({"value": ['{"a": 1}', "no"]}))
    (bad,) = read(log, "a INT", name="lines").bad.to_pylist()
    assert (bad["source"], bad["partition"], bad["offset"]) == ("lines", "0", "1")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"metadata": ("ofset",)}, "did you mean 'offset'"),
        ({"metadata": ("value",)}, "'value' is no column"),
        ({"mode": "lenient"}, "not one of permissive, failfast"),
        ({"corrupt": "a"}, "must be a STRING column"),
        ({"options": {"timestampFormt": "x"}}, "did you mean 'timestampFormat'"),
    ],
)
def test_mistakes(more: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read(log_of(b"{}"), "a INT", **more)
    with pytest.raises(SourceError, match="in the decode schema and in its metadata"):
        read(log_of(b"{}"), "offset INT", metadata=("offset",))


def test_a_source_without_values_cannot_be_decoded() -> None:
    with pytest.raises(SourceError, match="needs a source with a column 'value'; this one has a"):
        DecodedSource(MemorySource(MemoryLog(parse_ddl("a INT"))), Decode("json", parse_ddl("a INT")))
