"""Decoding records: whole columns at once must answer what one record at a time answers."""

from __future__ import annotations

import datetime
import io
import json
from decimal import Decimal
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.errors import SourceError
from tidemill.kernel.decode import Decoder, JsonDecoder, decoder
from tidemill.kernel.moments import parse_moment, zone
from tidemill.kernel.records import TextRules
from tidemill.types import StructType, parse_ddl

NESTED = "i INT, b BIGINT, d DOUBLE, f BOOLEAN, s STRING, t TIMESTAMP, n DECIMAL(10,2), z DECIMAL(20,3), "
NESTED += "a ARRAY<INT>, m MAP<STRING,BIGINT>, r STRUCT<x: INT, y: ARRAY<STRING>>"


def decode(ddl: str, *records: bytes | str | None, format: str = "json", **options: str) -> Any:
    raw = [r.encode() if isinstance(r, str) else r for r in records]
    return decoder(format, parse_ddl(ddl), options).decode(pa.array(raw, pa.binary()))


def one(ddl: str, value: str) -> tuple[Any, str | None]:
    done = decode(f"v {ddl}", f'{{"v": {value}}}')
    return done.table["v"].to_pylist()[0], (done.reasons or [None])[0]


# What PySpark 4.3 reads from {"v": <value>} with this type; BAD: a null, and the record is corrupt.
BAD = object()


@pytest.mark.parametrize(
    ("ddl", "value", "expected"),
    [
        ("INT", "12", 12), ("INT", "1.7", BAD), ("INT", "1.0", BAD), ("INT", "1e3", BAD), ("INT", '"12"', BAD),
        ("INT", "true", BAD), ("INT", "2147483648", BAD), ("INT", "-2147483648", -2147483648), ("INT", "null", None),
        ("BIGINT", "9223372036854775807", 9223372036854775807), ("BIGINT", "9223372036854775808", BAD),
        ("TINYINT", "127", 127), ("TINYINT", "128", BAD), ("STRING", "1", "1"), ("STRING", "true", "true"),
        ("STRING", '"a\\u0000b"', "a\x00b"), ("BOOLEAN", "true", True), ("BOOLEAN", "1", BAD),
        ("BOOLEAN", '"true"', BAD), ("DOUBLE", "1", 1.0), ("DOUBLE", '"1.5"', BAD),
        ("DOUBLE", '"Infinity"', float("inf")),
        ("DOUBLE", "1e400", float("inf")), ("DECIMAL(5,2)", "1.256", Decimal("1.26")),
        ("DECIMAL(5,2)", '"1.25"', Decimal("1.25")), ("DECIMAL(5,2)", "123456", BAD),
        ("DECIMAL(38,3)", "12345678901234567890.123", Decimal("12345678901234567890.123")),
        ("BINARY", '"aGk="', b"hi"), ("BINARY", '"h"', BAD),
        ("DATE", '"2024-01-02"', datetime.date(2024, 1, 2)), ("DATE", '"2024-02-30"', BAD), ("DATE", "5", BAD),
        ("DATE", '"2024-01-02T00:00:00"', datetime.date(2024, 1, 2)),
        ("TIMESTAMP", '"2024-01-02 03:04:05"', datetime.datetime(2024, 1, 2, 3, 4, 5)),
        ("TIMESTAMP", '"2024-01-02T03:04:05+02:00"', datetime.datetime(2024, 1, 2, 1, 4, 5)),
        ("TIMESTAMP", '"2024-01-02T03:04:05.123456789Z"', datetime.datetime(2024, 1, 2, 3, 4, 5, 123456)),
        ("TIMESTAMP", '"2024-01"', datetime.datetime(2024, 1, 1)),
        ("TIMESTAMP", "1", datetime.datetime(1970, 1, 1, 0, 0, 1)),
        ("TIMESTAMP", '"1"', BAD), ("TIMESTAMP", '"2024-01-02T25:00:00"', BAD),
        ("ARRAY<INT>", "[1, null]", [1, None]), ("ARRAY<INT>", '[1, "x"]', BAD), ("ARRAY<INT>", "5", BAD),
        ("MAP<STRING,INT>", '{"x": 1}', [("x", 1)]), ("MAP<STRING,INT>", '{"x": 1.5}', BAD),
        ("STRUCT<x: INT>", '{"X": 1}', {"x": None}),
        ("STRUCT<x: INT>", "[1]", BAD), ("ARRAY<ARRAY<INT>>", "[[1], [], null]", [[1], [], None]),
    ],
)  # fmt: skip
def test_json_values_are_what_spark_reads(ddl: str, value: str, expected: Any) -> None:
    got, reason = one(ddl, value)
    if expected is BAD:
        assert got is None
        assert reason is not None and "column 'v" in reason
    else:
        assert (got, reason) == (expected, None)


def test_a_reason_names_the_column_and_the_value() -> None:
    done = decode(
        "a INT, r STRUCT<x: ARRAY<INT>>",
        '{"a": "abc", "r": {"x": [1, 2.5]}}',
        '{"a": 1',
        "[1]",
        b"\xff",
        "",
        None,
        "{}",
    )
    whole = "a whole number"
    assert done.bad.tolist() == [0, 1, 2, 3, 4]
    assert done.reasons == [
        f"column 'a': 'abc' is not INT ({whole} without quotes); column 'r.x[1]': '2.5' is not INT ({whole})",
        "malformed JSON: Expecting ',' delimiter: line 1 column 8 (char 7)",
        "the record is not a JSON object but an array",
        "byte 0 (0xff) is not UTF-8",
        "malformed JSON: Expecting value: line 1 column 1 (char 0)",
    ]
    assert done.table.num_rows == 7


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=6)
    | st.sampled_from(["2024-01-02 03:04:05", "2024-01-02T03:04:05Z", "2024-01-02", "1.50", "12", "NaN"])
    | st.integers(-5, 5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyk"), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
records = st.dictionaries(st.sampled_from("ibdfstnamrz"), json_values, max_size=6).map(
    lambda r: json.dumps(r).encode()
) | st.sampled_from(
    [b"", b"{", b"null", b"[]", b"5", b"\xfe", b'{"i": 1}', b'{"i":1,"i":2}', b'{"s":"\\ud800"}', b" {} "]
)


@given(st.lists(records | st.none(), max_size=12))
def test_all_at_once_and_one_by_one_give_the_same(batch: list[bytes | None]) -> None:
    schema = parse_ddl(NESTED)
    fast, slow = decoder("json", schema), OneByOne(schema, TextRules())
    got, expected = fast.decode(pa.array(batch, pa.binary())), slow.decode(pa.array(batch, pa.binary()))
    assert (got.bad.tolist(), got.reasons) == (expected.bad.tolist(), expected.reasons)
    assert repr(got.table.drop_columns("s").to_pylist()) == repr(expected.table.drop_columns("s").to_pylist())
    # A number in a STRING column keeps its value, not always its spelling: 1.50 may come as 1.5.
    for mine, theirs in zip(got.table["s"].to_pylist(), expected.table["s"].to_pylist(), strict=True):
        assert mine == theirs or mine.lstrip("-")[:1] in "0123456789[{I" or "NaN" in mine


class OneByOne(JsonDecoder):
    """The second look for every record."""

    def fast(self, texts: pa.Array) -> Any:
        return self._nulls(len(texts)), texts.is_valid().to_numpy(zero_copy_only=False)


def test_time_zones_and_patterns() -> None:
    done = decode("t TIMESTAMP, d DATE", '{"t": "02/01/2024 10:00", "d": "2.1.24"}', '{"t": "nope", "d": "2.1.24"}',
                  timestampFormat="dd/MM/yyyy HH:mm", dateFormat="d.M.yy", timeZone="Europe/Paris")  # fmt: skip
    assert done.table.to_pylist()[0] == {
        "t": datetime.datetime(2024, 1, 2, 9),
        "d": datetime.date(2024, 1, 2),
    }
    assert done.bad.tolist() == [1]
    summer = decode(
        "t TIMESTAMP",
        '{"t": "2024-07-01 10:00:00"}',
        '{"t": "2024-07-01T10:00:00Z"}',
        timeZone="Europe/Paris",
    )
    assert [t.hour for t in summer.table["t"].to_pylist()] == [8, 10]


@given(
    st.datetimes(datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30)),
    st.sampled_from(["", "Z", "+02:00", "-0130"]),
)
def test_times_are_read_as_they_are_written(moment: datetime.datetime, offset: str) -> None:
    text = f"{moment:%Y}".zfill(4) + f"-{moment:%m-%d %H:%M:%S.%f}{offset}"
    expected = parse_moment(text, zone("UTC"))
    assert one("TIMESTAMP", json.dumps(text)) == (expected, None)


def test_csv_records() -> None:
    done = decode("a INT, b STRING", "1,x", '2,"q,r"', "x,y", "3", "4,", '5,"open', None, format="csv")
    assert [tuple(r.values()) for r in done.table.to_pylist()] == [
        (1, "x"), (2, "q,r"), (None, "y"), (3, None), (4, None), (None, None), (None, None)
    ]  # fmt: skip
    assert dict(zip(done.bad.tolist(), done.reasons, strict=True)) == {
        2: "column 'a': 'x' is not INT (a whole number)",
        3: "1 fields where the schema has 2",
        5: "a quoted field does not end",
    }
    trimmed = decode("a INT, b STRING", " 1 ; x ", format="csv", sep=";", ignoreLeadingWhiteSpace="true",
                     ignoreTrailingWhiteSpace="true")  # fmt: skip
    assert trimmed.table.to_pylist() == [{"a": 1, "b": "x"}]


def avro(schema: Any, record: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, record)
    return out.getvalue()


def test_avro_records_with_and_without_confluents_header() -> None:
    writer = {"type": "record", "name": "r", "fields": [
        {"name": "a", "type": "long"},
        {"name": "t", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}  # fmt: skip
    moment = datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC)
    good = avro(writer, {"a": 1, "t": moment})
    done = decode("a INT, t TIMESTAMP, c STRING", good, good[:1], b"", avro(writer, {"a": 1 << 40, "t": moment}), None,
                  format="avro", avroSchema=json.dumps(writer))  # fmt: skip
    assert done.table.to_pylist()[0] == {"a": 1, "t": moment.replace(tzinfo=None), "c": None}
    assert done.bad.tolist() == [1, 2, 3]
    assert "is not INT" in done.reasons[2]
    framed = decode(
        "a INT", b"\0\0\0\0\7" + good, good, format="avro", avroSchema=json.dumps(writer), confluent="true"
    )
    assert framed.table["a"].to_pylist() == [1, None]
    assert "Confluent's five bytes" in framed.reasons[0]


def test_text_records() -> None:
    done = decode("value STRING", "a", "", b"\xff", None, format="text")
    assert done.table["value"].to_pylist() == ["a", "", None, None]
    assert done.reasons == ["byte 0 (0xff) is not UTF-8"]


def test_mistakes() -> None:
    schema: StructType = parse_ddl("a INT")
    for format, options, message in [
        ("jsn", {}, "did you mean 'json'"),
        ("json", {"timestampFormt": "x"}, "did you mean 'timestampFormat'"),
        ("csv", {"quote": "''"}, "is not a single character"),
        ("avro", {"avroSchema": "{"}, "is no Avro schema"),
        ("text", {}, "decodes into one STRING column"),
    ]:
        with pytest.raises(SourceError, match=message):
            decoder(format, schema, options)


def test_chunks_are_one_column() -> None:
    made: Decoder = decoder("json", parse_ddl("a INT"))
    chunks = pa.chunked_array([[b'{"a": 1}', b"x"], [], [b'{"a": 2}', b"y"]], pa.binary())
    done = made.decode(chunks)
    assert (done.table["a"].to_pylist(), done.bad.tolist()) == ([1, None, 2, None], [1, 3])
    assert made.decode(pa.chunked_array([], pa.binary())).table.num_rows == 0
