"""A text is opened once, however many of its fields are used and wherever a filter stands; and what is fast is right."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.kernel import duck
from tidemill.kernel.duck import Kernel, Session
from tidemill.plan import momenttexts
from tidemill.sql import DataFrame, SparkSession
from tidemill.sql import functions as F

TEXTS = ['{"a": 1, "b": "x"}', '{"a": 2, "b": 1.50}', '{"a": 2,}', "", None, '{"a": 2, "b": {"c": 1}}', "7"]


@pytest.fixture
def spark() -> SparkSession:
    return SparkSession.builder.getOrCreate().newSession()


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    run, seen = duck.Session._execute, []

    def noted(self: Session, sql: str) -> pa.Table:
        seen.append(sql)
        return run(self, sql)

    monkeypatch.setattr(duck.Session, "_execute", noted)
    return seen


def parsed(spark: SparkSession) -> DataFrame:
    texts = spark.createDataFrame([(t if t is None else t.encode(),) for t in TEXTS], "value BINARY")
    return texts.select(F.from_json(F.col("value").cast("string"), "a INT, b STRING").alias("r")).select(
        "r.*"
    )


def test_a_filter_on_what_was_read_does_not_read_twice(spark: SparkSession, statements: list[str]) -> None:
    rows = parsed(spark).where("a = 2").collect()
    assert [tuple(r) for r in rows] == [(2, "1.5"), (2, '{"c":1}')]
    assert [sql.count("json_transform") for sql in statements if "json_transform" in sql] == [1]


def test_two_readings_of_one_text_stay_apart(spark: SparkSession) -> None:
    texts = spark.createDataFrame([(t,) for t in TEXTS], "value STRING")
    both = texts.select(
        F.from_json("value", "a INT").alias("x"), F.from_json("value", "b STRING").alias("y"), "value"
    )
    alone = [texts.select(F.from_json("value", s)).collect() for s in ("a INT", "b STRING")]
    assert [(r["x"], r["y"]) for r in both.collect()] == [(a[0], b[0]) for a, b in zip(*alone, strict=True)]


def test_a_reading_inside_another_expression_gives_the_same(spark: SparkSession) -> None:
    texts = spark.createDataFrame([(t,) for t in TEXTS], "value STRING")
    reading = F.from_json("value", "a INT, b STRING")
    outside = [r[0] for r in texts.select(reading).collect()]
    inside = [r[0][0] for r in texts.select(F.array(reading)).collect()]
    assert outside == inside


_PIECES = st.sampled_from(
    [
        "2024",
        "01",
        "1",
        "09",
        "31",
        "-",
        "T",
        " ",
        ":",
        "59",
        "60",
        "24",
        ".",
        "123",
        "000000",
        "Z",
        "+",
        "\t",
    ]
)
_INSTANT = st.sampled_from(
    ["2024-01-02T03:04:05Z", "2024-01-02T03:04:05.678Z", "0001-12-31T23:59:59.999999Z"]
)


@st.composite
def instants(draw: st.DrawFn) -> str:
    """Texts of the lengths that are told apart, a few characters changed, moved or doubled."""
    text = list(draw(_INSTANT))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text) - 1))
        moved = text.pop(at)
        text.insert(draw(st.integers(0, len(text))), draw(st.sampled_from([moved, *"0159 TZ:-.+\t"])))
    return "".join(text)


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    kernel = Kernel(1)
    yield kernel.session()
    kernel.close()


@settings(max_examples=50)
@given(texts=st.lists(instants() | st.lists(_PIECES, max_size=12).map("".join), min_size=1, max_size=60))
def test_an_instant_known_by_its_length_has_the_form(session: Session, texts: list[str]) -> None:
    sure = momenttexts._in_utc("t")
    value = "TRY_CAST(t AS TIMESTAMPTZ)::TIMESTAMP"
    form = f"regexp_full_match(t, '{momenttexts.INSTANT}')"
    wrong = (
        f"SELECT t FROM x WHERE {sure} AND NOT coalesce({form} AND {value} = TRY_CAST(t AS TIMESTAMP), false)"
    )
    assert session.run(wrong, {"x": pa.table({"t": texts})}).to_pylist() == []
    plain = session.run(f"SELECT {sure} s FROM x", {"x": pa.table({"t": ["2024-01-02T03:04:05.678Z"]})})
    assert plain.to_pylist() == [{"s": True}]
