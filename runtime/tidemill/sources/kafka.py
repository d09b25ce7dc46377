"""Kafka topics, as Spark's source reads them: ranges of offsets, records of aborted transactions left out.

An offset is ``{topic: {partition: next offset}}``, Spark's JSON. Unlike Spark, input is read committed unless
``kafka.isolation.level`` says otherwise. Partitions that appear while the query runs are read from their first record.
When no broker answers, a running query waits for one: there is just nothing new.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from confluent_kafka import Consumer, KafkaException, TopicPartition

from tidemill.clock import SYSTEM, Clock
from tidemill.errors import DataLossError, SourceError
from tidemill.sources.base import Limits, Offset, Partition, Piece, Places, Rows, Source
from tidemill.sources.kafka_client import KafkaClient, TopicPart, Unreachable
from tidemill.sources.kafka_options import EARLIEST, LATEST, KafkaOptions, Start, kafka_options, kafka_schema
from tidemill.sources.kafka_read import Readers, lost
from tidemill.types import to_arrow_schema

log = logging.getLogger(__name__)

NEWS_SECONDS = 1.0
"""How often the cluster is asked for new partitions."""
WARN_SECONDS = 10.0
"""How often a warning about the same trouble is repeated."""

Ends = dict[TopicPart, int]


def to_ends(offset: Offset) -> Ends:
    """An offset of ours as numbers by partition."""
    return {(topic, int(p)): int(o) for topic, parts in offset.items() for p, o in parts.items()}


def to_offset(ends: Mapping[TopicPart, int]) -> Offset:
    """The JSON form: topics and partitions in order."""
    found: dict[str, dict[str, int]] = {}
    for (topic, p), o in sorted(ends.items()):
        found.setdefault(topic, {})[str(p)] = o
    return found


class KafkaSource(Source):
    """Raises `SourceError` when made if no broker answers within seconds, or a topic that is named is not there."""

    shareable = True

    def __init__(self, options: Mapping[str, str], clock: Clock = SYSTEM) -> None:
        self.options = kafka_options(options)
        self.schema = kafka_schema(options)
        self._clock = clock
        self._client = KafkaClient(self.options)
        self._readers = Readers(self._client, self.schema)
        self._parts = self._client.partitions()
        self._asked = clock.monotonic()
        self._frozen: Ends | None = None
        self._newest: Ends = {}
        self._lost: dict[TopicPart, int] = {}
        self._since = clock.monotonic()
        self._warned = -WARN_SECONDS
        self._committer: Consumer | None = None
        self._group = self.options.group or f"{self.options.group_prefix}-{'-'.join(self._topics())}"[:200]

    def _topics(self) -> list[str]:
        return sorted({t for t, _ in self._parts})

    def for_query(self, name: str) -> None:
        if self.options.group is None:
            self._group = f"{self.options.group_prefix}-{name}"

    @property
    def limits(self) -> Limits:
        return Limits(rows=self.options.max_offsets, least=self.options.min_offsets)

    def initial(self) -> Offset:
        return to_offset(resolve(self._client, self.options.start, self._parts, self.options, "starting"))

    # --- where the next batch ends

    def latest(self, start: Offset, limits: Limits) -> Offset:
        begin = to_ends(start)
        try:
            first, last = self._bounds(begin)
        except Unreachable as error:
            if self._clock.monotonic() - self._warned >= WARN_SECONDS:
                self._warned = self._clock.monotonic()
                log.warning("%s; waiting for it", error)
            if self._frozen is None:
                return start
            # The end is known: what stops here would be taken for all there is. The read will wait for a broker.
            first, last = dict.fromkeys(self._frozen, 0), self._frozen
        self._newest = last
        end = self._checked(begin, first, last)
        if self._frozen is not None:
            end = {
                p: min(o, max(self._frozen[p], begin.get(p, 0))) for p, o in end.items() if p in self._frozen
            }
        if self._too_few(begin, end, limits.least):
            return start
        self._since = self._clock.monotonic()
        limited = end if limits.rows is None else share(begin, end, limits.rows)
        kept = {p: o for p, o in begin.items() if p not in limited and self._keeps(p)}
        found = to_offset({**kept, **limited})
        # A partition that is new and empty is no news yet: the same place must be the same offset.
        return start if to_ends(found) == begin or not self._differs(begin, limited) else found

    def _keeps(self, part: TopicPart) -> bool:
        return part in set(self._parts) or self._frozen is not None

    def _differs(self, begin: Ends, end: Ends) -> bool:
        return any(o != begin.get(p, 0) for p, o in end.items()) or any(p not in end for p in begin)

    def _bounds(self, begin: Ends) -> tuple[Ends, Ends]:
        if self._frozen is None and self._clock.monotonic() - self._asked >= NEWS_SECONDS:
            self._parts = self._client.partitions()
            self._asked = self._clock.monotonic()
        return self._client.ends(self._parts)

    def _checked(self, begin: Ends, first: Ends, last: Ends) -> Ends:
        """The ends, after a look for records that were needed and are gone."""
        for part, offset in begin.items():
            if part not in last:
                self._loss(
                    part, offset, offset, f"topic {part[0]}, partition {part[1]} is gone with what it held"
                )
            elif offset < first[part]:
                self._loss(part, offset, first[part], None)
            elif offset > last[part]:
                self._loss(
                    part, offset, offset,
                    f"topic {part[0]}, partition {part[1]} ends at {last[part]}, before offset {offset} that was read "
                    "already: it was made anew or cut; start with a new checkpoint",
                )  # fmt: skip
        for part in last.keys() - begin.keys():
            if first[part] > 0:
                self._loss(part, 0, first[part], None)
        return last

    def _loss(self, part: TopicPart, wanted: int, first: int, message: str | None) -> None:
        if self.options.fail_on_data_loss:
            if message is None:
                raise lost(part, wanted, first)
            raise DataLossError(f"{message}; or set the option 'failOnDataLoss' to 'false'")
        count = max(0, first - wanted)
        if count > self._lost.get(part, -1):
            log.warning("%s", message or f"topic {part[0]}, partition {part[1]}: {count} records are lost")
            self._lost[part] = count

    def _too_few(self, begin: Ends, end: Ends, least: int | None) -> bool:
        """``minOffsetsPerTrigger``: wait for more, but not longer than ``maxTriggerDelay``; never at the very end."""
        if least is None or self._frozen is not None:
            return False
        new = sum(max(0, o - begin.get(p, 0)) for p, o in end.items())
        return new < least and self._clock.monotonic() - self._since < self.options.max_delay

    def freeze(self) -> None:
        self._parts = self._client.partitions()
        self._frozen = self._client.latest(self._parts)

    # --- reading

    def partitions(self, start: Offset, end: Offset) -> list[Partition]:
        begin = to_ends(start)
        ranges = [(p, begin.get(p, 0), o) for p, o in sorted(to_ends(end).items()) if o > begin.get(p, 0)]
        pieces = cut(ranges, self.options.min_partitions, self.options.max_records)
        return [
            Partition(i, {"topic": t, "partition": p, "from": a, "to": b}, affinity=f"{t}/{p}")
            for i, ((t, p), a, b) in enumerate(pieces)
        ]

    def read(self, partition: Partition) -> Rows:
        spec = partition.spec
        table, size = self._readers.read((spec["topic"], spec["partition"]), spec["from"], spec["to"])
        newest = _newest(f"{spec['topic']}.{spec['partition']}", table)
        return Rows(table, bytes=size, newest=newest, places=_places(table))

    def pieces(self, partition: Partition) -> list[Piece]:
        spec = partition.spec
        return [Piece(f"{spec['topic']}/{spec['partition']}", spec["from"], spec["to"], partition)]

    def cut(self, piece: Piece, start: int, end: int) -> Partition:
        return replace(piece.partition, spec={**piece.partition.spec, "from": start, "to": end})

    # --- after a batch

    def committed(self, end: Offset) -> None:
        """Offsets go to the consumer group, so that ordinary tools show the lag; nothing of ours depends on it."""
        places = [TopicPartition(t, p, o) for (t, p), o in to_ends(end).items()]
        if not places:
            return
        try:
            if self._committer is None:
                self._committer = self._client.consumer(
                    **{"group.id": self._group, "enable.auto.commit": False, "on_commit": self._on_commit}
                )
            self._committer.commit(offsets=places, asynchronous=True)
            self._committer.poll(0)
        except (KafkaException, SourceError) as error:
            self._on_commit(error, places)

    def _on_commit(self, error: Any, places: list[Any]) -> None:
        if error is not None:
            log.warning("offsets were not committed to the consumer group %r: %s", self._group, error)

    def metrics(self, start: Offset, end: Offset) -> dict[str, str]:
        """Spark's three figures, and the lag of each partition behind its newest record."""
        at = to_ends(end)
        behind = {p: max(0, newest - at.get(p, 0)) for p, newest in self._newest.items()}
        lags = list(behind.values()) or [0]
        found = {
            "minOffsetsBehindLatest": str(min(lags)),
            "maxOffsetsBehindLatest": str(max(lags)),
            "avgOffsetsBehindLatest": str(sum(lags) / len(lags)),
            "offsetsLost": str(sum(self._lost.values())),
            "consumerGroup": self._group,
        }
        return found | {f"lag.{t}.{p}": str(lag) for (t, p), lag in sorted(behind.items())}

    def close(self) -> None:
        self._readers.close()
        if self._committer is not None:
            committer, self._committer = self._committer, None
            deadline = time.monotonic() + 1
            while time.monotonic() < deadline and committer.poll(0.01) is not None:
                pass
            committer.close()


def _places(table: pa.Table) -> Places:
    micros = table["timestamp"].cast(pa.int64()).fill_null(-1)
    return Places(np.asarray(table["offset"]), np.asarray(micros))


def _newest(partition: str, table: pa.Table) -> dict[str, float]:
    """When the last record of a range was written."""
    if not table.num_rows:
        return {}
    micros = table["timestamp"][-1].value  # as a number, since Python's calendar ends and Kafka's does not
    return {partition: micros / 1e6} if micros is not None and micros >= 0 else {}


def share(begin: Ends, end: Ends, limit: int) -> Ends:
    """At most about ``limit`` offsets, shared by partitions in proportion to what each has, as Spark does.

    >>> share({("t", 0): 0, ("t", 1): 0}, {("t", 0): 90, ("t", 1): 10}, 10)
    {('t', 0): 9, ('t', 1): 1}
    """
    sizes = {p: max(0, o - begin.get(p, 0)) for p, o in end.items()}
    total = sum(sizes.values())
    if total <= limit:
        return end
    found = {}
    for part, size in sizes.items():
        part_limit = limit * size / total
        # A slow partition must not starve: any share at all is at least one record.
        taken = 1 if 0 < part_limit < 1 else int(part_limit)
        found[part] = min(end[part], begin.get(part, 0) + taken) if size else end[part]
    return found


def cut(
    ranges: list[tuple[TopicPart, int, int]], at_least: int | None, at_most: int | None
) -> list[tuple[TopicPart, int, int]]:
    """Ranges cut into at least so many pieces of at most so many offsets, larger ranges into more."""
    total = sum(b - a for _, a, b in ranges)
    pieces = []
    for part, a, b in ranges:
        count = max(1, -(-(b - a) // at_most)) if at_most else 1
        if at_least and len(ranges) < at_least:
            count = max(count, min(b - a, round((b - a) / total * at_least) or 1))
        marks = [a + (b - a) * i // count for i in range(count + 1)]
        pieces += [(part, x, y) for x, y in itertools.pairwise(marks) if y > x]
    return pieces


def resolve(
    client: KafkaClient, where: Start, parts: Iterable[TopicPart], options: KafkaOptions, side: str
) -> Ends:
    """Where the options say to begin (or end), as offsets."""
    parts = list(parts)
    if where.kind == "earliest":
        return client.earliest(parts)
    if where.kind == "latest":
        return client.latest(parts)
    if where.kind == "time":
        return _at_times(client, dict.fromkeys(parts, where.time), options, side)
    given = {(t, p): o for t, each in where.each.items() for p, o in each.items()}
    option = f"{side}Offsets" + ("ByTimestamp" if where.kind == "times" else "")
    _check_cover(given, parts, option)
    if where.kind == "times":
        return _at_times(client, given, options, side)
    found = dict(given)
    found |= client.earliest([p for p, o in given.items() if o == EARLIEST])
    found |= client.latest([p for p, o in given.items() if o == LATEST])
    return found


def _check_cover(given: Ends, parts: list[TopicPart], option: str) -> None:
    missing, unknown = sorted(set(parts) - set(given)), sorted(set(given) - set(parts))
    if missing or unknown:
        what = f"leaves out {_named(missing)}" if missing else f"names {_named(unknown)}, which is not there"
        raise SourceError(
            f"option {option!r} {what}; it must give every partition that is read"
            + (" (-2 stands for earliest, -1 for latest)" if option.endswith("Offsets") else "")
        )


def _named(parts: list[TopicPart]) -> str:
    return f"topic {parts[0][0]!r}, partition {parts[0][1]}"


def _at_times(client: KafkaClient, times: Ends, options: KafkaOptions, side: str) -> Ends:
    found = client.at_times(times)
    beyond = sorted(p for p, o in found.items() if o < 0)
    if beyond and side == "starting" and not options.otherwise_latest:
        raise SourceError(
            f"{_named(beyond)} has no record at or after the starting time {times[beyond[0]]}; choose an earlier "
            "one, or set the option 'startingOffsetsByTimestampStrategy' to 'latest'"
        )
    return found | client.latest(beyond)


def read_kafka(given: Mapping[str, str]) -> pa.Table:
    """A batch read: from ``starting*`` (default earliest) to ``ending*`` (default latest)."""
    options = kafka_options(given, batch=True)
    schema = kafka_schema(given)
    client = KafkaClient(options)
    parts = client.partitions()
    begin = resolve(client, options.start, parts, options, "starting")
    end = resolve(client, options.end, parts, options, "ending")
    first = client.earliest(parts)
    readers = Readers(client, schema)
    try:
        tables = []
        for part in parts:
            if begin[part] < first[part] and options.fail_on_data_loss:
                raise lost(part, begin[part], first[part])
            start = max(begin[part], first[part])
            if end[part] > start:
                tables.append(readers.read(part, start, end[part])[0])
        return pa.concat_tables([to_arrow_schema(schema).empty_table(), *tables])
    finally:
        readers.close()
