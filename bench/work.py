"""The work that the benchmarks measure: JSON records parsed, filtered, joined with a table, counted per 10 s."""

from __future__ import annotations

from pathlib import Path

import duckdb

from tidemill.sql import DataFrame, SparkSession
from tidemill.sql import functions as F

SCHEMA = "t TIMESTAMP, host STRING, path STRING, status INT, bytes BIGINT"
THREADS = 2
HOSTS = 1000


def write_records(directory: Path, rows: int, files: int) -> None:
    """JSON lines of about 95 bytes each; times go on by 3 ms a row, over all files in order."""
    directory.mkdir(parents=True)
    each = rows // files
    for n in range(files):
        duckdb.execute(
            f"""COPY (SELECT strftime(TIMESTAMP '2024-01-01' + to_milliseconds(CAST(({n * each} + r) * 3 AS BIGINT)),
                '%Y-%m-%dT%H:%M:%S.%gZ') AS t, 'host' || (r % {HOSTS}) AS host, '/p/' || (r % 5000) AS path,
                CASE WHEN r % 10 = 0 THEN 500 ELSE 200 END AS status, (r * 7919) % 100000 AS bytes
                FROM range({each}) x(r)) TO '{directory}/{n:04d}.json' (FORMAT json)"""
        )


def ceiling(directory: Path) -> float:
    """Seconds that DuckDB alone takes for the same work over all files at once; the better of two runs."""
    import time

    connection = duckdb.connect(config={"threads": THREADS})
    connection.execute(
        f"CREATE TABLE hosts AS SELECT 'host' || r AS host, 'team' || (r % 20) AS team FROM range({HOSTS}) x(r)"
    )
    best = float("inf")
    for _ in range(2):
        started = time.perf_counter()
        connection.execute(
            f"""CREATE OR REPLACE TABLE counts AS
            SELECT time_bucket(INTERVAL 10 SECONDS, t) AS w, team, count(*) AS n
            FROM read_json('{directory}/*.json', format = 'newline_delimited', columns = {{t: 'TIMESTAMP',
                host: 'VARCHAR', path: 'VARCHAR', status: 'INTEGER', bytes: 'BIGINT'}})
            JOIN hosts USING (host) WHERE status = 200 GROUP BY 1, 2"""
        )
        best = min(best, time.perf_counter() - started)
    return best


def session() -> SparkSession:
    builder = SparkSession.builder.config("spark.sql.session.timeZone", "UTC")
    return builder.config("tidemill.threads", str(THREADS)).getOrCreate()


def counts(records: DataFrame) -> DataFrame:
    """Records of `SCHEMA` to counts per team and 10 seconds."""
    spark = records.sparkSession
    hosts = spark.createDataFrame(
        [(f"host{r}", f"team{r % 20}") for r in range(HOSTS)], "host STRING, team STRING"
    )
    kept = records.where("status = 200").withWatermark("t", "10 seconds").join(hosts, "host")
    return kept.groupBy(F.window("t", "10 seconds").alias("w"), "team").count()
