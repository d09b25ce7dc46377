"""Rows as text: what is written can be read back, and is what Java would write."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import math
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.kernel.encode import CsvForm, TextForm, csv_lines, json_lines, number_texts, plain_texts
from tidemill.kernel.show import java_double
from tidemill.types import DoubleType, StructType, TimestampType, to_arrow_schema

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def table(ddl: str, rows: list[tuple[object, ...]]) -> tuple[pa.Table, StructType]:
    schema = StructType.fromDDL(ddl)
    arrow = to_arrow_schema(schema)
    return pa.Table.from_arrays(
        [pa.array([r[i] for r in rows], f.type) for i, f in enumerate(arrow)], schema=arrow
    ), schema


@given(
    st.lists(
        st.tuples(
            st.none() | TEXT,
            st.none() | st.integers(-(2**31), 2**31 - 1),
            st.none() | st.lists(st.none() | TEXT),
        )
    )
)
def test_json_can_be_read_back(rows: list[tuple[object, ...]]) -> None:
    names = ('a"\\b', "n", "nested")
    data, schema = table('`a"\\b` STRING, n INT, nested ARRAY<STRING>', rows)
    lines = json_lines(data, schema, TextForm()).to_pylist()
    assert [json.loads(line) for line in lines] == [
        {k: v for k, v in zip(names, row, strict=True) if v is not None} for row in rows
    ]
    kept = json_lines(data, schema, TextForm(ignore_null_fields=False)).to_pylist()
    assert [json.loads(line) for line in kept] == [dict(zip(names, row, strict=True)) for row in rows]


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1))
def test_csv_can_be_read_back(rows: list[tuple[str, str]]) -> None:
    data, schema = table("a STRING, b STRING", rows)  # type: ignore[arg-type]
    form = CsvForm(escape='"', trim_left=False, trim_right=False, quote_all=True)
    text = "".join(csv_lines(data, schema, form, TextForm()).to_pylist())
    assert [tuple(row) for row in csv.reader(io.StringIO(text, newline=""))] == rows


@given(st.lists(st.none() | st.floats()))
def test_doubles_are_written_as_java_writes_them(values: list[float | None]) -> None:
    texts = number_texts(pa.array(values, pa.float64()), DoubleType()).to_pylist()
    assert texts == [None if v is None else java_double(v) for v in values]
    for value, text in zip(values, texts, strict=True):
        if value is not None and not math.isnan(value):
            assert float(text) == value


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu", "Europe/London"])
@given(moments=st.lists(st.none() | st.datetimes(dt.datetime(1901, 1, 1), dt.datetime(2199, 1, 1))))
def test_instants_carry_the_offset_of_their_zone(zone: str, moments: list[dt.datetime | None]) -> None:
    texts = plain_texts(pa.array(moments, pa.timestamp("us")), TimestampType(), TextForm(zone)).to_pylist()
    for moment, text in zip(moments, texts, strict=True):
        if moment is None:
            assert text is None
            continue
        local = moment.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(zone))
        offset = local.strftime("%z")
        # Local mean times of old had seconds in their offsets; Spark's pattern has no place for them.
        shown = "Z" if offset[:5] == "+0000" and len(offset) == 5 else f"{offset[:3]}:{offset[3:5]}"
        if len(offset) == 5:
            assert text == local.replace(tzinfo=None).isoformat(timespec="milliseconds") + shown


def test_empty_and_null_collections_differ() -> None:
    data, schema = table(
        "l ARRAY<INT>, m MAP<STRING, ARRAY<INT>>", [([], []), (None, None), ([None], [("k", [])])]
    )
    assert json_lines(data, schema, TextForm()).to_pylist() == [
        '{"l":[],"m":{}}',
        "{}",
        '{"l":[null],"m":{"k":[]}}',
    ]


def test_nothing_gives_nothing() -> None:
    data, schema = table("a INT", [])
    assert json_lines(data, schema, TextForm()).to_pylist() == []
    assert csv_lines(data, schema, CsvForm(), TextForm()).to_pylist() == []
