"""The job of the long story: requests of a web server come from Kafka; counts of each minute, and errors, go there.

And its answer: what a batch over the whole input makes of it, in plain Python.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

from e2e.cluster import Item
from e2e.inside import LAST
from e2e.jobs import job

INPUT, HITS, ERRORS, BAD = "web-access", "web-hits", "web-errors", "web-bad"
TOPICS = {INPUT: 4, HITS: 2, ERRORS: 2, BAD: 1}
"""Topics and their partitions."""
COUNTING = """
SELECT window(datum, '1 minute').start AS minute, path, count(*) AS hits, sum(bytes) AS bytes
FROM access
WHERE status < 500
GROUP BY window(datum, '1 minute'), path
"""


def manifest(namespace: str, brokers: str, name: str = "web-logs", executors: int = 1) -> Item:
    kafka = {"kafka.bootstrap.servers": brokers}
    source = {
        "name": "access",
        "format": "kafka",
        "options": {**kafka, "subscribe": INPUT, "startingOffsets": "earliest"},
        "decode": {
            "format": "json",
            "schema": "id BIGINT, datum TIMESTAMP, path STRING, status INT, bytes BIGINT",
            "metadata": ["partition", "offset"],
        },
        "watermark": {"eventTime": "datum", "delay": "5 minutes"},
        "deadLetter": {"format": "kafka", "options": {**kafka, "topic": BAD}},
    }
    return job(
        namespace,
        name,
        sources=[source],
        queries=[
            query("hits", COUNTING, {**kafka, "topic": HITS}),
            query("errors", failures(500), {**kafka, "topic": ERRORS}),
        ],
        executor={"replicas": executors},
        conf={"spark.sql.session.timeZone": "UTC"},
    )


def query(name: str, sql: str, options: dict[str, str]) -> Item:
    sink = {"format": "kafka", "options": options, "encode": {"format": "json"}}
    return {"name": name, "sql": sql, "sink": sink, "trigger": {"processingTime": "1 second"}}


def failures(least: int) -> str:
    """The query of requests that have failed."""
    return f"SELECT partition, offset, id, path, status FROM access WHERE status >= {least}"


class Input:
    """All that was written, as it lies in Kafka."""

    def __init__(self, records: Iterable[Item]) -> None:
        self.rows: list[Item] = []
        self.bad: list[str] = []
        for record in records:
            try:
                row = json.loads(record["value"])
            except json.JSONDecodeError:
                self.bad.append(record["value"])
            else:
                self.rows.append(row | {"partition": record["partition"], "offset": record["offset"]})

    def hits(self) -> Counter[tuple[datetime, str, int, int]]:
        """What `COUNTING` makes of it, less the window that the last row has opened."""
        hits, sizes = Counter[tuple[datetime, str]](), Counter[tuple[datetime, str]]()
        for row in self.rows:
            if row["status"] < 500 and row["datum"] != LAST:
                group = moment(row["datum"]).replace(second=0, microsecond=0), row["path"]
                hits[group] += 1
                sizes[group] += row["bytes"]
        return Counter((minute, path, hits[minute, path], sizes[minute, path]) for minute, path in hits)

    def failures(self, least: int, most: int = 599) -> Counter[tuple[int, int, int]]:
        """Partition, offset and id of requests whose status is in that range."""
        found = (r for r in self.rows if least <= r["status"] <= most)
        return Counter((r["partition"], r["offset"], r["id"]) for r in found)


def counted(records: Iterable[Item]) -> Counter[tuple[datetime, str, int, int]]:
    """What the job has written to `HITS`."""
    rows = (json.loads(r["value"]) for r in records)
    return Counter((moment(r["minute"]), r["path"], r["hits"], r["bytes"]) for r in rows)


def failed(records: Iterable[Item]) -> Counter[tuple[int, int, int]]:
    """What the job has written to `ERRORS`."""
    rows = (json.loads(r["value"]) for r in records)
    return Counter((r["partition"], r["offset"], r["id"]) for r in rows)


def moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
