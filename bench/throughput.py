"""Rows a second through the whole of a job, from files and from Kafka, against DuckDB alone on the same records."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import work
from bench.table import Table
from tidemill.api import load
from tidemill.cli.job import Job
from tidemill.sources.segments import LIMIT

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
    with tempfile.TemporaryDirectory() as out:
        writer = work.counts(records).writeStream.format("parquet").trigger(availableNow=True)
        started = time.perf_counter()
        query = writer.option("checkpointLocation", f"{out}/c").start(f"{out}/o")
        query.awaitTermination()
        return time.perf_counter() - started


def to_kafka(broker: Any, directory: Path) -> str:
    """The same records in a topic of four partitions; its name."""
    topic: str = broker.topic(4)
    for file in sorted(directory.glob("*.json")):
        lines = file.read_bytes().splitlines()
        for at in range(0, len(lines), 50_000):
            broker.produce(topic, lines[at : at + 50_000])
    return topic


def from_kafka(broker: Any, topic: str, rows: int, queries: int = 1, shared: int = LIMIT) -> float:
    """As many queries of one job over a topic; seconds from start to the last commit of all."""
    with tempfile.TemporaryDirectory() as out:
        hosts = "".join(f"host{r},team{r % 20}\n" for r in range(work.HOSTS))
        (Path(out) / "hosts.csv").write_text(hosts)
        text = MANIFEST.format(
            servers=broker.bootstrap, topic=topic, schema=work.SCHEMA, limit=rows // 4, shared=shared,
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
        files = rows / from_files(directory)
        table.row("JSON rows/s from files", f"{files / 1e6:.2f} M", f"{files / top:.2f}", "0.50")
        if broker is not None:
            topic = to_kafka(broker, directory)
            kafka = rows / from_kafka(broker, topic, rows)
            table.row("JSON rows/s from Kafka", f"{kafka / 1e6:.2f} M", f"{kafka / top:.2f}", "1 M rows/s")
            several(table, broker, topic, rows)


def several(table: Table, broker: Any, topic: str, rows: int) -> None:
    """What a second query over the same source costs, as a multiple of the time of one."""
    one, two, apart = (
        min(from_kafka(broker, topic, rows, count, shared) for _ in range(2))
        for count, shared in ((1, LIMIT), (2, LIMIT), (2, 0))
    )
    table.row("two queries, read once / one query", f"{two:.2f} s / {one:.2f} s", f"{two / one:.2f}", "1.25")
    table.row("two queries, each reads / one query", f"{apart:.2f} s / {one:.2f} s", f"{apart / one:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    shown = Table("throughput")
    main(parser.parse_args().rows, shown)
    shown.show()
