"""Python values go into Arrow and come back as PySpark gives them; what does not fit is refused in its words."""

from __future__ import annotations

import datetime as dt
import decimal
import os
import pickle
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from tidemill.errors import PySparkAttributeError, PySparkRuntimeError, PySparkTypeError, PySparkValueError
from tidemill.sql.data import local_rows
from tidemill.sql.row import Row
from tidemill.sql.values import rows
from tidemill.types import StructType

EVERYTHING = (
    "i INT, s STRING, d DOUBLE, t TIMESTAMP, n TIMESTAMP_NTZ, a ARRAY<INT>, m MAP<STRING, DOUBLE>, "
    "st STRUCT<x: INT, y: ARRAY<STRUCT<z: STRING>>>, dec DECIMAL(10,2), dt DATE, b BINARY, bo BOOLEAN, "
    "td INTERVAL DAY TO SECOND"
)
VALUES = (
    1, "a", 1.5, dt.datetime(2020, 1, 1, 1, 2, 3, 4), dt.datetime(2020, 6, 1), [1, None], {"k": 1.0, "l": None},
    Row(x=1, y=[Row(z="q"), None]), decimal.Decimal("1.50"), dt.date(2020, 1, 1), b"\x01a", True, dt.timedelta(1, 2, 3),
)  # fmt: skip


@pytest.fixture
def paris() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Paris"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def there_and_back(data: Any, schema: Any) -> list[Row]:
    table, found = local_rows(data, schema, "UTC")
    assert table.num_columns == len(found.fields)
    return rows(table, found)


def test_every_type_comes_back_equal() -> None:
    nulls = (None,) * len(VALUES)
    assert there_and_back([VALUES, nulls, VALUES], EVERYTHING) == [VALUES, nulls, VALUES]


def test_a_slice_of_a_table_gives_its_own_rows() -> None:
    table, schema = local_rows([VALUES, (None,) * len(VALUES), VALUES], EVERYTHING, "UTC")
    assert rows(table.slice(1, 2), schema) == [(None,) * len(VALUES), VALUES]


def test_a_naive_datetime_is_local_time_and_an_instant_inside(paris: None) -> None:
    table, schema = local_rows([(dt.datetime(2020, 1, 1, 12),)], "t TIMESTAMP", "UTC")
    assert table.column(0)[0].as_py() == dt.datetime(2020, 1, 1, 11)
    assert rows(table, schema) == [(dt.datetime(2020, 1, 1, 12),)]
    aware = dt.datetime(2020, 1, 1, 12, tzinfo=dt.UTC)
    assert there_and_back([(aware,)], "t TIMESTAMP") == [(dt.datetime(2020, 1, 1, 13),)]


@pytest.mark.parametrize(
    ("data", "schema", "found"),
    [
        ([(1, "a")], None, "struct<_1:bigint,_2:string>"),
        ([(1, "a")], ["x", "y"], "struct<x:bigint,y:string>"),
        ([(1, 2)], ["x"], "struct<x:bigint,_2:bigint>"),
        ([{"b": 1, "a": 2.0}, {"c": True}], None, "struct<a:double,b:bigint,c:boolean>"),
        ([Row(b=1, a=None), Row(b=2, a="x")], None, "struct<b:bigint,a:string>"),
        ([(1, "a"), (2, 3)], None, "struct<_1:bigint,_2:string>"),
        ([1, 2], "int", "struct<value:int>"),
        ([(dt.datetime(2020, 1, 1), decimal.Decimal("1.5"), b"x", {"a": 1}, (1, 2), [1], dt.date(2020, 1, 1))], None,
         ("struct<_1:timestamp,_2:decimal(38,18),_3:binary,_4:map<string,bigint>,_5:struct<_1:bigint,_2:bigint>,"
          "_6:array<bigint>,_7:date>")),
        (pa.table({"a": [1], "t": pa.array([0], pa.timestamp("us"))}), None, "struct<a:bigint,t:timestamp_ntz>"),
        (pa.table({"t": pa.array([0], pa.timestamp("ns", "Europe/Paris"))}), None, "struct<t:timestamp>"),
    ],
)  # fmt: skip
def test_schemas_are_inferred_as_pyspark_does(data: Any, schema: Any, found: str) -> None:
    assert local_rows(data, schema, "UTC")[1].simpleString() == found


def test_pandas_and_numpy_are_taken() -> None:
    np, pd = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1, 2], "s": ["x", None], "t": pd.to_datetime(["2020-01-01 12:00", None])})
    table, schema = local_rows(frame, None, "Europe/Paris")
    assert schema.simpleString() == "struct<a:bigint,s:string,t:timestamp>"
    assert table.column(2).to_pylist() == [dt.datetime(2020, 1, 1, 11), None]
    assert there_and_back(np.array([[1, 2], [3, 4]]), None) == [(1, 2), (3, 4)]
    assert there_and_back([(np.int64(3), np.float64(1.5))], None) == [(3, 1.5)]


@pytest.mark.parametrize(
    ("data", "schema", "kind", "said"),
    [
        ([], None, PySparkValueError, "CANNOT_INFER_EMPTY_SCHEMA"),
        ([1, 2], None, PySparkTypeError, "Can not infer schema for type: `int`"),
        ([(None,)], ["x"], PySparkValueError, "CANNOT_DETERMINE_TYPE"),
        ([("a",)], "x INT", PySparkTypeError, "x: IntegerType() can not accept object 'a' in type <class 'str'>."),
        ([(True,)], "x INT", PySparkTypeError, "can not accept object True"),
        ([(1,)], "x DOUBLE", PySparkTypeError, "DoubleType() can not accept object 1"),
        ([(1, 2)], "x INT", PySparkValueError, "Length of object (2) does not match with length of fields (1)."),
        ([("a", None)], "x STRING, y STRING NOT NULL", PySparkValueError, "field y: This field is not nullable"),
        ([(2**40,)], "x INT", PySparkValueError, "1099511627776 is outside"),
        ([([1, "a"],)], "x ARRAY<INT>", PySparkTypeError, "element in array field x"),
        ([(1,), (1.5,)], None, PySparkTypeError, "Can not merge type `LongType` and `DoubleType`."),
        (1, None, PySparkTypeError, "should be a list of rows"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(data: Any, schema: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind) as error:
        local_rows(data, schema, "UTC")
    assert said in str(error.value)


def test_rows_are_pysparks() -> None:
    row = Row(name="Ada", age=36)
    assert repr(row) == "Row(name='Ada', age=36)"
    assert (row.age, row["name"], row[1], "age" in row, "Ada" in row) == (36, "Ada", 36, True, False)
    assert row == ("Ada", 36)
    assert hash(row) == hash(("Ada", 36))
    assert Row("a", "b")(1, 2) == Row(a=1, b=2)
    assert repr(Row("a", "b")) == "<Row('a', 'b')>"
    assert Row(a=Row(b=[Row(c=1)])).asDict(True) == {"a": {"b": [{"c": 1}]}}
    copy = pickle.loads(pickle.dumps(row))
    assert copy == row
    assert copy.asDict() == row.asDict()


def test_rows_refuse_what_they_have_not() -> None:
    with pytest.raises(PySparkAttributeError):
        Row(a=1).b
    with pytest.raises(PySparkValueError, match="'b' is no field of this row; it has a"):
        Row(a=1)["b"]
    with pytest.raises(PySparkRuntimeError, match="read-only"):
        Row(a=1).a = 2
    with pytest.raises(PySparkTypeError):
        Row(1).asDict()


def test_a_struct_without_fields_keeps_its_rows() -> None:
    table, schema = local_rows([(), ()], StructType(), "UTC")
    assert len(rows(table, schema)) in (0, 2)
