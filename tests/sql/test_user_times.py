"""Times in users' functions over pandas and Arrow: the answers are those of PySpark 4.3 for a session in New York."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tidemill.errors import PySparkRuntimeError
from tidemill.sql import Column, DataFrame, SparkSession
from tidemill.sql import functions as F

pd = pytest.importorskip("pandas")

ROW = (
    "SELECT timestamp'2024-03-10 12:00:00.123456 UTC' AS t, timestamp_ntz'2024-03-10 12:00:00' AS n, "
    "date'2024-01-02' AS d, named_struct('t', timestamp'2024-07-10 12:00:00 UTC') AS st, "
    "array(timestamp'2024-07-10 12:00:00 UTC') AS ar, map('k', timestamp'2024-07-10 12:00:00 UTC') AS m, "
    "array(1, 2) AS ints, array(1, null) AS holes"
)


@pytest.fixture(scope="module")
def frame() -> Iterator[DataFrame]:
    spark = SparkSession.builder.config("spark.sql.session.timeZone", "America/New_York").create()
    yield spark.sql(ROW)
    spark.stop()


def one(frame: DataFrame, column: Column) -> Any:
    return frame.select(column).collect()[0][0]


SEEN = {
    "t": "Timestamp('2024-03-10 08:00:00.123456') datetime64[ns]",
    "n": "Timestamp('2024-03-10 12:00:00') datetime64[ns]",
    "d": "datetime.date(2024, 1, 2) object",
    "ar": "array([Timestamp('2024-07-10 08:00:00')], dtype=object) object",
    "m": "{'k': Timestamp('2024-07-10 08:00:00')} object",
    "ints": "array([1, 2], dtype=int32) object",
    "holes": "array([1, None], dtype=object) object",
}


@pytest.mark.parametrize("name", SEEN)
def test_pandas_functions_see_the_sessions_wall_clock(frame: DataFrame, name: str) -> None:
    seen = F.pandas_udf(lambda x: x.apply(repr) + " " + str(x.dtype), "string")
    assert one(frame, seen(name)) == SEEN[name]


def test_a_struct_is_a_frame_by_the_wall_clock(frame: DataFrame) -> None:
    seen = F.pandas_udf(lambda x: x["t"].apply(repr) + " " + str(x["t"].dtype), "string")
    assert one(frame, seen("st")) == "Timestamp('2024-07-10 08:00:00') datetime64[ns]"


def aware(values: Any) -> Any:
    return values.dt.tz_localize("UTC")


NOON = dt.datetime(2024, 7, 1, 12)
# A function whose hints give one value would be an aggregate; so these have none.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "same": lambda values: values,
    "aware": lambda values: aware(values),
    "noon": lambda values: pd.Series([[NOON]] * len(values)),
    "noon_in_utc": lambda values: pd.Series([[NOON.replace(tzinfo=dt.UTC)]] * len(values)),
}

GIVEN = [
    ("same", "timestamp", "t", "2024-03-10 08:00:00.123456"),
    ("aware", "timestamp", "t", "2024-03-10 04:00:00.123456"),
    ("same", "timestamp", "n", "2024-03-10 12:00:00"),
    ("same", "timestamp_ntz", "n", "2024-03-10 12:00:00"),
    ("same", "timestamp_ntz", "t", "2024-03-10 08:00:00.123456"),
    ("same", "struct<t timestamp>", "st", "{2024-07-10 08:00:00}"),
    ("same", "map<string, timestamp>", "m", "{k -> 2024-07-10 08:00:00}"),
    ("noon", "array<timestamp>", "t", "[2024-07-01 12:00:00]"),
    ("noon_in_utc", "array<timestamp>", "t", "[2024-07-01 08:00:00]"),
]


@pytest.mark.parametrize(("function", "kind", "name", "text"), GIVEN)
def test_what_pandas_functions_give_is_wall_clock_time(
    frame: DataFrame, function: str, kind: str, name: str, text: str
) -> None:
    assert one(frame, F.pandas_udf(FUNCTIONS[function], kind)(name).cast("string")) == text


def test_of_a_repeated_hour_the_second_counts(frame: DataFrame) -> None:
    twice = F.pandas_udf(lambda x: pd.Series([dt.datetime(2024, 11, 3, 1, 30)] * len(x)), "timestamp")
    assert one(frame, F.unix_timestamp(twice("t"))) == 1730615400
    made = frame.sparkSession.createDataFrame(pd.DataFrame({"t": [pd.Timestamp("2024-11-03 01:30:00")]}))
    assert one(made, F.unix_timestamp("t")) == 1730615400


def test_arrow_functions_have_the_sessions_zone(frame: DataFrame) -> None:
    seen = F.arrow_udf(lambda x: pa.array([f"{x.type} {x[0]}"]), "string")
    assert one(frame, seen("t")) == "timestamp[us, tz=America/New_York] 2024-03-10 08:00:00.123456-04:00"
    assert one(frame, seen("n")) == "timestamp[us] 2024-03-10 12:00:00"
    assert (
        one(frame, F.arrow_udf(FUNCTIONS["same"], "timestamp")("t").cast("string"))
        == "2024-03-10 08:00:00.123456"
    )


def test_row_functions_see_times_within_values_by_the_process_clock(frame: DataFrame) -> None:
    local = dt.datetime(2024, 7, 10, 12, tzinfo=dt.UTC).astimezone().replace(tzinfo=None)
    assert one(frame, F.udf(repr)("st")) == f"Row(t={local!r})"
    assert one(frame, F.udf(repr)("ar")) == repr([local])


def test_batches_of_pandas_are_in_wall_clock_time(frame: DataFrame) -> None:
    def told(frames: Iterator[Any]) -> Iterator[Any]:
        for f in frames:
            said = [repr((f.t[0], f.n[0], f.st[0], f.ar[0]))]
            yield pd.DataFrame({"said": said, "t": f.t, "aware": aware(f.t), "n": f.n, "st": f.st})

    kinds = "said string, t timestamp, aware timestamp, n timestamp_ntz, st struct<t timestamp>"
    made = frame.mapInPandas(told, kinds)
    row = made.select("said", *(F.col(c).cast("string") for c in made.columns[1:])).collect()[0]
    assert row.said == (
        "(Timestamp('2024-03-10 08:00:00.123456'), Timestamp('2024-03-10 12:00:00'), "
        "{'t': Timestamp('2024-07-10 08:00:00')}, array([Timestamp('2024-07-10 08:00:00')], dtype=object))"
    )
    assert tuple(row)[1:] == (
        "2024-03-10 08:00:00.123456", "2024-03-10 04:00:00.123456", "2024-03-10 12:00:00", "{2024-07-10 08:00:00}"
    )  # fmt: skip


def test_groups_of_pandas_are_in_wall_clock_time(frame: DataFrame) -> None:
    def told(key: Any, group: Any) -> Any:
        return pd.DataFrame({"said": [repr((key[0], group.t[0]))], "t": group.t, "key": [key[0]]})

    made = frame.groupBy("t").applyInPandas(told, "said string, t timestamp, key timestamp")
    row = made.select("said", F.col("t").cast("string"), F.col("key").cast("string")).collect()[0]
    said = "Timestamp('2024-03-10 08:00:00.123456')"
    assert tuple(row) == (f"({said}, {said})", "2024-03-10 08:00:00.123456", "2024-03-10 08:00:00.123456")


def test_batches_of_arrow_have_the_sessions_zone(frame: DataFrame) -> None:
    def told(batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            yield pa.RecordBatch.from_pydict({"a": [f"{batch.schema.types[0]} {batch.schema.types[1]}"]})

    assert (
        one(frame.mapInArrow(told, "a string"), F.col("a"))
        == "timestamp[us, tz=America/New_York] timestamp[us]"
    )
    again = frame.select("t", "n").mapInArrow(FUNCTIONS["same"], "t timestamp, n timestamp_ntz")
    assert one(again, F.col("t").cast("string")) == "2024-03-10 08:00:00.123456"


def test_frames_are_taken_by_name_or_by_position(frame: DataFrame) -> None:
    numbers = frame.selectExpr("1 AS i")
    assert numbers.mapInPandas(lambda fs: (pd.DataFrame({0: f.i}) for f in fs), "j int").collect() == [(1,)]
    with pytest.raises(PySparkRuntimeError, match=r"Missing: j\. Unexpected: i\."):
        numbers.mapInPandas(lambda fs: fs, "j int").collect()


def test_nested_times_of_a_table_as_pandas(frame: DataFrame) -> None:
    made = frame.select("t", "st", "ar").toPandas()
    assert [repr(v) for v in made.iloc[0]] == [
        "Timestamp('2024-03-10 08:00:00.123456')",
        "{'t': Timestamp('2024-07-10 08:00:00')}",
        "array([Timestamp('2024-07-10 08:00:00')], dtype=object)",
    ]


def test_a_stream_gives_pandas_functions_the_wall_clock_too(frame: DataFrame, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"t":"2024-03-10T12:00:00Z"}\n')
    spark = frame.sparkSession
    stream = spark.readStream.schema("t TIMESTAMP").json(str(tmp_path))
    seen = F.pandas_udf(lambda x: x.apply(repr), "string")
    made = stream.select(
        seen("t").alias("seen"), F.pandas_udf(FUNCTIONS["same"], "timestamp")("t").alias("t")
    )
    query = made.writeStream.format("memory").queryName("user_times").start()
    query.processAllAvailable()
    query.stop()
    row = spark.table("user_times").select("seen", F.col("t").cast("string")).collect()[0]
    assert tuple(row) == ("Timestamp('2024-03-10 08:00:00')", "2024-03-10 08:00:00")
