"""Rows a second through the whole of a job, from files and from Kafka, against DuckDB alone on the same records."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import work
from bench.apart import apart
from bench.table import Table
from tidemill.api import load
from tidemill.cli.job import Job
from tidemill.sources.segments import LIMIT
from tidemill.sql import DataFrame
from tidemill.sql import functions as F

MANIFEST = """
apiVersion: tidemill.dev/v1alpha1
kind: StreamingJob
metadata: {{name: bench}}
spec:
  sources:
    - name: access
      format: kafka
      options: {{kafka.bootstrap.servers: "{servers}", subscribe: "{topic}", startingOffsets: earliest,
                maxOffsetsPerTrigger: {limit}}}
      decode: {{format: json, schema: "{schema}"}}
      watermark: {{eventTime: t, delay: 10 seconds}}
  tables:
    - {{name: hosts, format: csv, options: {{path: hosts.csv}}, schema: "host STRING, team STRING"}}
  queries:
{queries}
  conf: {{spark.sql.session.timeZone: UTC, tidemill.threads: "2", tidemill.sharedReadBytes: "{shared}"}}
"""
QUERY = """\
    - name: {name}
      sql: SELECT window(t, '10 seconds') AS w, team, count(*) AS n FROM access JOIN hosts USING (host)
           WHERE status = 200 GROUP BY window(t, '10 seconds'), team
      trigger: {{availableNow: true}}
      sink: {{format: parquet, options: {{path: {name}}}}}
"""


def from_files(directory: Path) -> float:
    """Seconds from start to the last commit."""
    records = (
        work.session().readStream.schema(work.SCHEMA).option("maxFilesPerTrigger", 2).json(str(directory))
    )
    return _until_done(records)


def _until_done(records: DataFrame) -> float:
    with tempfile.TemporaryDirectory() as out:
        writer = work.counts(records).writeStream.format("parquet").trigger(availableNow=True)
        started = time.perf_counter()
        query = writer.option("checkpointLocation", f"{out}/c").start(f"{out}/o")
        query.awaitTermination()
        return time.perf_counter() - started


def to_topic(broker: Any, directory: Path) -> str:
    """The records as a topic of four partitions; its name."""
    topic: str = broker.topic(4)
    for file in sorted(directory.glob("*.json")):
        lines = file.read_bytes().splitlines()
        for at in range(0, len(lines), 50_000):
            broker.produce(topic, lines[at : at + 50_000])
    return topic


def from_json(servers: str, topic: str, rows: int) -> float:
    """The records of a topic through a program's from_json(); seconds from start to the last commit."""
    options = {"kafka.bootstrap.servers": servers, "subscribe": topic, "startingOffsets": "earliest"}
    reader = work.session().readStream.format("kafka").options(**options, maxOffsetsPerTrigger=rows // 4)
    text = F.col("value").cast("string")
    return _until_done(reader.load().select(F.from_json(text, work.SCHEMA).alias("r")).select("r.*"))


def from_kafka(servers: str, topic: str, rows: int, queries: int = 1, shared: int = LIMIT) -> float:
    """As many queries of a manifest's job over a topic; seconds from start to the last commit of all."""
    with tempfile.TemporaryDirectory() as out:
        hosts = "".join(f"host{r},team{r % 20}\n" for r in range(work.HOSTS))
        (Path(out) / "hosts.csv").write_text(hosts)
        text = MANIFEST.format(
            servers=servers, topic=topic, schema=work.SCHEMA, limit=rows // 4, shared=shared,
            queries="".join(QUERY.format(name=f"counts{n}") for n in range(queries)),
        )  # fmt: skip
        job = Job.create(load(text), Path(out))
        started = time.perf_counter()
        job.start()
        for query in job.queries:
            query.awaitTermination()
        took = time.perf_counter() - started
        job.spark.stop()
        return took


def main(rows: int, table: Table, broker: Any = None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch) / "records"
        work.write_records(directory, rows, files=8)
        top = rows / work.ceiling(directory)
        table.row("JSON rows/s, DuckDB alone", f"{top / 1e6:.2f} M", "1.00")

        def measured(what: str, taken: tuple[float, float], aim: str) -> None:
            rate = rows / taken[0]
            table.row(f"JSON rows/s {what}", f"{rate / 1e6:.2f} M", f"{rate / top:.2f}", aim)
            table.row("  most memory of it", f"{taken[1]:.0f} MB", aim="250 MB")

        measured("from files", apart(from_files, directory), "0.50")
        if broker is not None:
            source = broker.bootstrap, to_topic(broker, directory), rows
            measured("from Kafka, decode", apart(from_kafka, *source), "1 M rows/s")
            measured("from Kafka, from_json()", apart(from_json, *source), "1 M rows/s")
            several(table, *source)


def several(table: Table, servers: str, topic: str, rows: int) -> None:
    """What a second query over the same source costs, as a multiple of the time of one."""
    one, two, alone = (
        min(apart(from_kafka, servers, topic, rows, count, shared)[0] for _ in range(2))
        for count, shared in ((1, LIMIT), (2, LIMIT), (2, 0))
    )
    table.row("two queries, read once / one query", f"{two:.2f} s / {one:.2f} s", f"{two / one:.2f}", "1.25")
    table.row("two queries, each reads / one query", f"{alone:.2f} s / {one:.2f} s", f"{alone / one:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    shown = Table("throughput")
    main(parser.parse_args().rows, shown)
    shown.show()
