"""The job of the long stories: requests of a web server come from Kafka; counts of each minute, and errors, go there.

And its answer: what a batch over the whole input makes of it, in plain Python.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from e2e import services
from e2e.cluster import Item, until
from e2e.inside import LAST
from e2e.jobs import Job, job
from e2e.platform import Platform

RATE = 40
"""Rows a second; each is half a second later than the one before, so that a minute of the log takes three."""
COUNTING = """
SELECT window(datum, '1 minute').start AS minute, path, count(*) AS hits, sum(bytes) AS bytes
FROM access
WHERE status < 500
GROUP BY window(datum, '1 minute'), path
"""


@dataclass(frozen=True)
class WebLog:
    """One such job, with topics and a feed of its own."""

    platform: Platform
    job: Job

    def topic(self, what: str) -> str:
        """Of `access`, which is fed, and of `hits`, `errors` and `bad`, which are written."""
        return f"{self.job.name}-{what}"

    def manifest(self, counting: str = COUNTING, least: int = 500, **spec: Any) -> Item:
        """``least``: the first status that is an error."""
        kafka = {"kafka.bootstrap.servers": self.platform.brokers}
        source = {
            "name": "access",
            "format": "kafka",
            "options": {**kafka, "subscribe": self.topic("access"), "startingOffsets": "earliest"},
            "decode": {
                "format": "json",
                "schema": "id BIGINT, datum TIMESTAMP, path STRING, status INT, bytes BIGINT",
                "metadata": ["partition", "offset"],
            },
            "watermark": {"eventTime": "datum", "delay": "5 minutes"},
            "deadLetter": {"format": "kafka", "options": {**kafka, "topic": self.topic("bad")}},
        }
        queries = [
            query("hits", counting, {**kafka, "topic": self.topic("hits")}),
            query("errors", failures(least), {**kafka, "topic": self.topic("errors")}),
        ]
        conf = {"spark.sql.session.timeZone": "UTC"}
        return job(self.job.namespace, self.job.name, sources=[source], queries=queries, conf=conf, **spec)

    def apply(self, **changes: Any) -> None:
        """The manifest with these changes: those of before are taken back."""
        self.platform.cluster.apply(self.manifest(**changes))

    def begin(self, **spec: Any) -> None:
        self.platform.topics({self.topic(w): n for w, n in PARTITIONS.items()})
        command = ("feed", self.platform.brokers, self.topic("access"), str(RATE))
        feeder = services.client(self.platform.services, self._feeder, self.platform.image, *command)
        self.platform.cluster.apply(feeder)
        self.apply(**spec)

    def end(self) -> None:
        self.job.kubectl("delete", "sj", self.job.name, "--ignore-not-found")
        self.platform.cluster.kubectl(
            "-n", self.platform.services, "delete", "pod", self._feeder, "--ignore-not-found", "--wait=false"
        )

    @property
    def _feeder(self) -> str:
        return f"feeder-{self.job.name}"

    def given(self) -> Input:
        """Stop the feed; all that it has written."""
        cluster, place = self.platform.cluster, self.platform.services
        cluster.kubectl("-n", place, "exec", self._feeder, "--", "touch", "/tmp/stop")
        until(lambda: self.platform.has_ended(self._feeder))
        return Input(self.platform.records(self.topic("access")))

    def is_exact(self) -> None:
        """Stop the feed, and hold the whole output against a batch's: every count, every error and every bad record once."""
        given = self.given()
        self.counts_are_exact(given)
        assert difference(self.errors(), given.failures(500)) == {}

    def counts_are_exact(self, given: Input) -> None:
        """And the bad records. The job has read everything then."""
        wanted = given.hits()
        assert wanted.total() > 50, "too little was fed to prove anything"

        def written() -> Counter[object]:
            found = counted(self.platform.records(self.topic("hits")))
            assert found.total() >= wanted.total(), f"{found.total()} of {wanted.total()} counts are there"
            return found

        assert difference(until(written), wanted) == {}
        bad = [r["value"] for r in self.platform.records(self.topic("bad"))]
        found = Counter(json.loads(text)["value"] if text[:1] == "{" else text for text in bad)
        assert difference(found, Counter(given.bad)) == {}

    def errors(self) -> Counter[tuple[int, int, int]]:
        """What the job has written of them, once it is still: the query of errors may be a batch behind that of counts."""
        seen: list[Counter[tuple[int, int, int]]] = []

        def still() -> None:
            seen.append(failed(self.platform.records(self.topic("errors"))))
            told = self.job.driver()["queries"]
            waiting = {q["name"]: q.get("lagRows") for q in told if q.get("lagRows") or q.get("openSince")}
            assert not waiting and seen[-2:] == seen[-1:] * 2, f"{self.job} still reads: {waiting}"

        until(still)
        return seen[-1]


PARTITIONS = {"access": 4, "hits": 2, "errors": 2, "bad": 1}
"""Of each topic."""


@contextlib.contextmanager
def running(platform: Platform, name: str, **spec: Any) -> Iterator[WebLog]:
    """A web log's job that has been applied; gone afterwards."""
    log = WebLog(platform, platform.job(name))
    try:
        log.begin(**spec)
        yield log
    finally:
        log.end()


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
    """What the job has written to `hits`."""
    rows = (json.loads(r["value"]) for r in records)
    return Counter((moment(r["minute"]), r["path"], r["hits"], r["bytes"]) for r in rows)


def failed(records: Iterable[Item]) -> Counter[tuple[int, int, int]]:
    """What the job has written to `errors`."""
    rows = (json.loads(r["value"]) for r in records)
    return Counter((r["partition"], r["offset"], r["id"]) for r in rows)


def difference(found: Counter[Any], wanted: Counter[Any]) -> dict[str, list[Any]]:
    """Some of what is too much, and of what is missing."""
    more, less = found - wanted, wanted - found
    return ({"too much": sorted(more.elements(), key=str)[:5]} if more else {}) | (
        {"missing": sorted(less.elements(), key=str)[:5]} if less else {}
    )


def moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
