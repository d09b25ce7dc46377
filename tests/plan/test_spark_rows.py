"""Rows of SQL queries over small tables, as PySpark 4.3 answered them; with and without the columns nobody reads.

``spark_rows.json`` holds [query, rows]; timestamps are texts.
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.plan.building import SETTINGS
from tidemill import launch
from tidemill.plan import analyze
from tidemill.plan.nodes import Node
from tidemill.plan.pruning import prune
from tidemill.plan.sqltext import query_to_plan
from tidemill.types import TimestampType, parse_ddl, to_arrow_schema

ANSWERS = json.loads(Path(__file__).with_name("spark_rows.json").read_text())
Row = tuple[Any, ...]


def local(ddl: str, *rows: Row) -> Node:
    schema = parse_ddl(ddl)
    columns = []
    for i, field in enumerate(schema.fields):
        values = [r[i] for r in rows]
        if field.dataType == TimestampType():
            values = [v and datetime.datetime.fromisoformat(v) for v in values]
        columns.append(pa.array(values, to_arrow_schema(schema).field(i).type))
    return analyze.local(pa.table(columns, schema=to_arrow_schema(schema)), schema)


TABLES = {
    "a": local(
        "k int, s string, v double, t timestamp",
        (1, "a", 10.0, "2024-01-01 00:00:10"),
        (2, "a", 20.0, "2024-01-01 00:01:10"),
        (3, "b", None, "2024-01-01 00:01:59"),
        (None, "b", 5.5, "2024-01-01 00:02:00"),
        (5, None, 7.25, None),
        (1, "c", 1.0, "2023-12-31 23:59:59"),
    ),
    "b": local(
        "k int, name string, n int",
        (1, "x", 100),
        (2, "y", 200),
        (2, "z", None),
        (7, "w", 700),
        (None, "n", 0),
    ),
    "c": local("k int", (1,), (None,)),
    "empty": local("k int"),
}


@pytest.fixture(scope="module")
def context() -> launch.Context:
    return launch.Context(SETTINGS)


def rows_of(plan: Node, context: launch.Context) -> list[Row]:
    table = launch.collect(plan, context)
    columns = [c.to_pylist() for c in table.columns]
    shown = [[str(v) if isinstance(v, datetime.datetime) else v for v in column] for column in columns]
    return list(zip(*shown, strict=True))


def compared(rows: list[Any], query: str) -> list[str]:
    texts = [json.dumps(r) for r in rows]
    return texts if " order by " in query and " over " not in query else sorted(texts)


@pytest.mark.parametrize(("query", "expected"), ANSWERS, ids=[a[0] for a in ANSWERS])
def test_a_query_gives_sparks_rows(query: str, expected: list[Any], context: launch.Context) -> None:
    plan = query_to_plan(query, TABLES.get, SETTINGS)
    assert compared(rows_of(plan, context), query) == compared(expected, query)
    assert compared(rows_of(prune(plan), context), query) == compared(expected, query)
