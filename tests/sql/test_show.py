"""Tables print as Spark's ``show()`` prints them; the expected texts were printed by PySpark 4.3."""

from __future__ import annotations

import datetime as dt
import decimal

import pytest

from tidemill.kernel.show import java_double, show
from tidemill.sql.data import local_rows
from tidemill.sql.row import Row
from tidemill.sql.treestring import tree_string
from tidemill.types import parse_ddl

SCHEMA = (
    "i INT, s STRING, d DOUBLE, t TIMESTAMP, a ARRAY<INT>, m MAP<STRING, DOUBLE>, st STRUCT<x: INT, y: STRING>, "
    "dec DECIMAL(10,2), dt DATE, b BINARY, bo BOOLEAN, n INT, nan DOUBLE, big DOUBLE"
)
ROW = (
    1, "a", 1.5, dt.datetime(2020, 1, 1, 1, 2, 3, tzinfo=dt.UTC), [1, None], {"k": 1.0}, Row(x=1, y="q"),
    decimal.Decimal("1.50"), dt.date(2020, 1, 1), b"\x01ab", True, None, float("nan"), 1e20,
)  # fmt: skip

PLAIN = """\
+---+---+---+-------------------+---------+----------+------+----+----------+----------+----+----+---+------+
|  i|  s|  d|                  t|        a|         m|    st| dec|        dt|         b|  bo|   n|nan|   big|
+---+---+---+-------------------+---------+----------+------+----+----------+----------+----+----+---+------+
|  1|  a|1.5|2020-01-01 01:02:03|[1, NULL]|{k -> 1.0}|{1, q}|1.50|2020-01-01|[01 61 62]|true|NULL|NaN|1.0E20|
+---+---+---+-------------------+---------+----------+------+----+----------+----------+----+----+---+------+
"""
CUT = """\
+---+---+---+-----+-----+-----+-----+----+-----+-----+----+----+---+-----+
|  i|  s|  d|    t|    a|    m|   st| dec|   dt|    b|  bo|   n|nan|  big|
+---+---+---+-----+-----+-----+-----+----+-----+-----+----+----+---+-----+
|  1|  a|1.5|20...|[1...|{k...|{1...|1.50|20...|[0...|true|NULL|NaN|1....|
+---+---+---+-----+-----+-----+-----+----+-----+-----+----+----+---+-----+
"""
VERTICAL = """\
-RECORD 0------------------
 i   | 1                   
 s   | a                   
 d   | 1.5                 
 t   | 2020-01-01 01:02:03 
 a   | [1, NULL]           
 m   | {k -> 1.0}          
 st  | {1, q}              
 dec | 1.50                
 dt  | 2020-01-01          
 b   | [01 61 62]          
 bo  | true                
 n   | NULL                
 nan | NaN                 
 big | 1.0E20              
"""  # noqa: W291
WIDE = """\
+-------------------------------------+---+
|                                    a|  b|
+-------------------------------------+---+
|日本日本日本日本日本日本日本日本日...|  x|
+-------------------------------------+---+
"""


def shown(data: object, schema: str, **options: object) -> str:
    table, found = local_rows(data, schema, "UTC")
    return show(table, found, **options)  # type: ignore[arg-type]


def test_a_row_of_every_type() -> None:
    assert shown([ROW], SCHEMA) == PLAIN
    assert shown([ROW], SCHEMA, truncate=5) == CUT
    assert shown([ROW], SCHEMA, vertical=True) == VERTICAL


def test_wide_characters_take_two_columns() -> None:
    assert shown([("日本" * 15, "x")], "a STRING, b STRING") == WIDE


def test_more_rows_than_shown_are_told() -> None:
    text = shown([(i,) for i in range(3)], "id BIGINT", n=2)
    assert text.endswith("|  1|\n+---+\nonly showing top 2 rows")
    assert shown([(1,), (2,)], "id BIGINT", n=1).endswith("only showing top 1 row")
    assert shown([], "id BIGINT") == "+---+\n| id|\n+---+\n+---+\n"
    assert shown([], "id BIGINT", vertical=True) == "(0 rows)"


def test_line_breaks_are_escaped() -> None:
    assert "|a\\nb\\tc|" in shown([("a\nb\tc",)], "x STRING", truncate=0)


def test_instants_are_shown_in_the_sessions_zone() -> None:
    assert "|2020-01-01 02:02:03|" in shown([(ROW[3],)], "t TIMESTAMP", time_zone="Europe/Paris")


def test_durations_and_floats() -> None:
    assert "INTERVAL '1 02:03:04.5' DAY TO SECOND" in shown(
        [(dt.timedelta(1, 7384, 500000),)], "d INTERVAL DAY TO SECOND", truncate=0
    )
    assert "|0.33333334|" in shown([(1 / 3,)], "f FLOAT")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-5, "1.0E-5"), (1e7, "1.0E7"), (123456789.125, "1.23456789125E8"), (0.001, "0.001"), (-0.0, "-0.0"),
        (100.0, "100.0"), (1e6, "1000000.0"), (12345678.9, "1.23456789E7"), (float("inf"), "Infinity"), (0.0, "0.0"),
        (9999999.0, "9999999.0"), (0.00099, "9.9E-4"),
    ],
)  # fmt: skip
def test_doubles_are_javas(value: float, text: str) -> None:
    assert java_double(value) == text


def test_the_schema_as_a_tree() -> None:
    schema = parse_ddl("a ARRAY<STRUCT<x: MAP<STRING, STRUCT<q: INT>>>>, b INT NOT NULL, c DECIMAL(10,2)")
    assert tree_string(schema) == (
        "root\n"
        " |-- a: array (nullable = true)\n"
        " |    |-- element: struct (containsNull = true)\n"
        " |    |    |-- x: map (nullable = true)\n"
        " |    |    |    |-- key: string\n"
        " |    |    |    |-- value: struct (valueContainsNull = true)\n"
        " |    |    |    |    |-- q: integer (nullable = true)\n"
        " |-- b: integer (nullable = false)\n"
        " |-- c: decimal(10,2) (nullable = true)\n"
    )
    assert tree_string(schema, 1).count("\n") == 4
