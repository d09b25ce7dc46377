"""Take golden answers from real PySpark. By hand: needs PySpark 4.3 and Java 17, which the tests do not.

    python tests/golden/make.py [family ...]

Reads ``cases/<family>.txt`` (see `cases.py`) and writes ``data/<family>.json``.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

os.environ["TZ"] = "UTC"
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import canonical  # noqa: E402
import cases  # noqa: E402
import inputs  # noqa: E402
from pyspark.errors import PySparkException  # noqa: E402
from pyspark.sql import DataFrame, SparkSession  # noqa: E402
from pyspark.sql import functions as F  # noqa: E402
from pyspark.sql.types import StructType  # noqa: E402

MANY = 30
"""Expressions that are tried in one query; those of a query that fails are tried alone."""


def session() -> SparkSession:
    logging.disable(logging.CRITICAL)  # the errors are what is asked for
    spark = (
        SparkSession.builder.master("local[1]")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("OFF")
    table = spark.sql(inputs.table_sql()).repartition(1).sortWithinPartitions("k")
    table.cache().createOrReplaceTempView("t")
    spark.table("t").count()
    return spark


def ask(spark: SparkSession, group: list[cases.Case]) -> list[dict]:
    """Answers for cases of one zone, mode and shape."""
    first = group[0]
    items = ", ".join(f"{c.sql} AS c{n}" for n, c in enumerate(group))
    if first.sql.startswith("product("):
        return product(spark, group)
    query = {
        "rows": f"SELECT {items} FROM t ORDER BY k",
        "one": f"SELECT {items}",
        "empty": f"SELECT {items} FROM t WHERE false",
        "generator": f"SELECT k, {first.sql} FROM (SELECT * FROM t ORDER BY k)",
        "aggregate": f"SELECT g, {items} FROM t GROUP BY g ORDER BY g",
    }[first.shape]
    try:
        if first.shape == "generator":
            return [generated(spark.sql(query), first)]
        frame = spark.sql(query)
        offset = 1 if first.shape == "aggregate" else 0
        kinds = [f.dataType.simpleString() for f in frame.schema.fields][offset:]
        found = frame.toArrow()
    except Exception as error:
        if len(group) > 1:
            half = len(group) // 2
            return ask(spark, group[:half]) + ask(spark, group[half:])
        return [failed(first, error)]
    return [
        {**c.key(), "type": kinds[n], "values": canonical.column(found.column(n + offset))}
        for n, c in enumerate(group)
    ]


def generated(frame: DataFrame, case: cases.Case) -> dict:
    """All rows of a generator, and the struct that its columns would make."""
    kind = StructType(frame.schema.fields[1:]).simpleString()
    found = frame.toArrow()
    values = zip(*(canonical.column(c) for c in found.columns), strict=True)
    return {**case.key(), "type": kind, "values": [list(row) for row in values]}


def product(spark: SparkSession, group: list[cases.Case]) -> list[dict]:
    """product() has no SQL name in Spark, only one in PySpark's API."""
    found = []
    for case in group:
        items = F.product(F.expr(case.sql[len("product(") : -1])).alias("v")
        frame = spark.table("t").groupBy("g").agg(items).orderBy("g").select("v")
        kind = frame.schema.fields[0].dataType.simpleString()
        found.append({**case.key(), "type": kind, "values": canonical.column(frame.toArrow().column(0))})
    return found


def failed(case: cases.Case, error: Exception) -> dict:
    condition = error.getCondition() if isinstance(error, PySparkException) else None
    if condition is None:
        print(f"{case.sql}: {type(error).__name__}: {str(error)[:100]}")
    return {**case.key(), "error": condition or "UNKNOWN"}


def apart(group: list[cases.Case]) -> list[list[cases.Case]]:
    """product() cannot stand in SQL with the others."""
    special = [c for c in group if c.sql.startswith("product(")]
    return [part for part in (special, [c for c in group if c not in special]) if part]


def answer(spark: SparkSession, family: str) -> list[dict]:
    wanted = cases.load(family)
    found: dict[cases.Case, dict] = {}
    shapes = sorted({(c.zone, c.ansi, c.shape) for c in wanted})
    for zone, ansi, shape in shapes:
        spark.conf.set("spark.sql.session.timeZone", zone)
        spark.conf.set("spark.sql.ansi.enabled", str(ansi).lower())
        group = [c for c in wanted if (c.zone, c.ansi, c.shape) == (zone, ansi, shape)]
        many = 1 if shape == "generator" else MANY
        for start in range(0, len(group), many):
            for part in apart(group[start : start + many]):
                found.update(zip(part, ask(spark, part), strict=True))
    return [found[c] for c in wanted]


def main() -> None:
    spark = session()
    (HERE / "data").mkdir(exist_ok=True)
    for family in sys.argv[1:] or cases.families():
        answers = answer(spark, family)
        lines = ",\n".join(json.dumps(a, ensure_ascii=False, sort_keys=True) for a in answers)
        (HERE / "data" / f"{family}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
        errors = sum("error" in a for a in answers)
        print(f"{family}: {len(answers)} answers, {errors} of them errors")


if __name__ == "__main__":
    main()
