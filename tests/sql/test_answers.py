"""What an expression of the DataFrame API is called, its type and its values are PySpark's."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sql.expressions import EXPRESSIONS, ROWS, SCHEMA
from tidemill.sql import DataFrame, SparkSession

ANSWERS = json.loads((Path(__file__).parent / "data" / "pyspark_answers.json").read_text())["answers"]

NAMED_OTHERWISE = {
    "array_sort": "Spark shows the comparator that it writes itself",
    "dtsub": "Spark's INTERVAL DAY; there is one day-time interval here",
    "lag": "Spark shows the frame of one row as -1 FOLLOWING",
    "lag0": "Spark shows the frame of one row as -1 FOLLOWING",
    "lead": "Spark shows the frame of one row as 2 FOLLOWING",
    "position": "Spark shows position(...) for the call and locate(...) for the syntax",
    "sumr": "Spark shows 1 PRECEDING as -1 FOLLOWING",
}
"""Columns whose name or type differs, and why; their values do not."""


@pytest.fixture(scope="module")
def frame() -> Iterator[DataFrame]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    spark = SparkSession.builder.config("spark.sql.session.timeZone", "UTC").create()
    yield spark.createDataFrame(ROWS, SCHEMA)
    spark.stop()
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_it_answers_as_pyspark_does(frame: DataFrame, name: str) -> None:
    found = frame.select(EXPRESSIONS[name]())
    rows, expected = found.collect(), ANSWERS[name]
    if name in NAMED_OTHERWISE:
        assert sorted(repr(tuple(r)) for r in rows) == sorted(_values(r) for r in expected["rows"])
        return
    columns = ",".join(f"{f.name}:{f.dataType.simpleString()}" for f in found.schema.fields)
    assert columns == expected["columns"]
    assert sorted(map(repr, rows)) == expected["rows"]


def _values(row: str) -> str:
    """The one value of a printed row, as a tuple is printed."""
    return f"({row.rpartition(')=')[2].removesuffix(')')},)"
