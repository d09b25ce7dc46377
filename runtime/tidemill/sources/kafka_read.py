"""Reading ranges of Kafka partitions into Arrow.

Each partition has a consumer of its own that is assigned, never subscribed, and kept between batches: it goes on
fetching in the background, so that the next range, which begins where the last one ended, is mostly there already.

A range may end in offsets that hold no record for us (transaction markers, aborted records, what compaction took). Its
end is reached when a record at or after it comes, or when the partition's end does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tidemill.errors import DataLossError, SourceError
from tidemill.sources.kafka_client import PASSING, KafkaClient, TopicPart
from tidemill.types import StructType, to_arrow_schema

log = logging.getLogger(__name__)

IDLE_CONSUMERS = 32
"""Consumers kept between batches; each holds connections, threads and up to `QUEUE_KB` of records."""
QUEUE_KB = 16_384
CHUNK = 10_000
"""Records taken from a consumer at once."""
POLL_SECONDS = 0.25
"""How long one wait for records is; it only bounds how soon a time-out or an end is seen."""
_GONE = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)
_OUT_OF_RANGE = (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET)


class PartitionReader:
    """One partition's consumer and where it stands. Used by one thread at a time."""

    def __init__(self, client: KafkaClient, part: TopicPart, columns: StructType) -> None:
        self.part = part
        self._client = client
        self._schema = to_arrow_schema(columns)
        self._patience = client.options.poll_seconds
        self._consumer: Consumer = client.consumer(**{
            "group.id": client.options.group or f"{client.options.group_prefix}-reader",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "queued.max.messages.kbytes": client.options.client.get("queued.max.messages.kbytes", QUEUE_KB),
            "isolation.level": client.options.client.get("isolation.level", "read_committed"),
        })  # fmt: skip
        self.position: int | None = None
        self._held: list[Message] = []
        """Records fetched beyond the end of the last range."""

    def read(self, start: int, end: int) -> tuple[pa.Table, int]:
        """The records from ``start`` up to but not with ``end``, and their bytes."""
        self._move(start)
        tables, total = [], 0
        heard = time.monotonic()
        while self.position is not None and self.position < end:
            got = self._held or self._consumer.consume(CHUNK, POLL_SECONDS)
            self._held = []
            taken, progress = self._sort_out(got, end)
            if taken:
                table, size = as_table(taken, self._schema)
                tables.append(table)
                total += size
            if progress:
                heard = time.monotonic()
            elif time.monotonic() - heard > self._patience:
                raise SourceError(
                    f"Kafka at {self._client.options.servers}: nothing came of topic {self.part[0]}, partition "
                    f"{self.part[1]} at offset {self.position} for {self._patience:g} s; check the broker, or raise "
                    "the option 'kafkaConsumer.pollTimeoutMs'"
                )
        return pa.concat_tables([self._schema.empty_table(), *tables]), total

    def _move(self, start: int) -> None:
        if self.position == start:
            return
        first = self._held[0].offset() if self._held else None
        if self.position is not None and self.position < start and first is not None and start <= first:
            self.position = start
            return
        self._held = []
        self._consumer.assign([TopicPartition(*self.part, start)])
        self.position = start

    def _sort_out(self, got: Sequence[Message], end: int) -> tuple[list[Message], bool]:
        """The records of the range among what came, and whether anything of the partition came at all."""
        taken: list[Message] = []
        progress = False
        for i, message in enumerate(got):
            error = message.error()
            if error is not None:
                progress |= self._on_event(error, message)
            elif message.offset() >= end:
                self._held = list(got[i:])
                self.position = end
                return taken, True
            elif message.offset() >= (self.position or 0):  # a seek may leave older ones in the queue
                taken.append(message)
                self.position = message.offset() + 1
                progress = True
        return taken, progress

    def _on_event(self, error: KafkaError, message: Message) -> bool:
        if error.code() == KafkaError._PARTITION_EOF:
            self.position = max(self.position or 0, message.offset())
            return True
        if error.code() in _OUT_OF_RANGE:
            self._out_of_range(error)
            return True
        topic, number = self.part
        if error.code() in _GONE:
            raise DataLossError(
                f"topic {topic}, partition {number} is gone ({error.str()}); if that is meant, start with "
                "a new checkpoint"
            )
        if error.code() not in PASSING and not error.retriable():
            raise self._client.failed(KafkaException(error), f"topic {topic}, partition {number}")
        log.debug("topic %s, partition %s: %s", topic, number, error)
        return False

    def _out_of_range(self, error: KafkaError) -> None:
        """Go on at the first offset that is left, where the options allow it."""
        wanted = self.position or 0
        first = self._client.earliest([self.part])[self.part]
        if self._client.options.fail_on_data_loss or first <= wanted:
            raise lost(self.part, wanted, first)
        log.warning("topic %s, partition %s: offsets %s to %s are lost", *self.part, wanted, first)
        self._held = []
        self._consumer.assign([TopicPartition(*self.part, first)])
        self.position = first

    def close(self) -> None:
        self._consumer.close()


def lost(part: TopicPart, wanted: int, first: int) -> DataLossError:
    """The error for records that were not read and are gone."""
    return DataLossError(
        f"topic {part[0]}, partition {part[1]}: offset {wanted} is needed, but the first that is left is {first}; "
        "retention was faster than the query. Raise the topic's retention, or set the option 'failOnDataLoss' to "
        "'false' to go on without the lost records"
    )


def as_table(messages: Sequence[Message], schema: pa.Schema) -> tuple[pa.Table, int]:
    """Records as Arrow, column by column, and the bytes of their keys and values."""
    values = pa.array([m.value() for m in messages], pa.binary())
    keys = pa.array([m.key() for m in messages], pa.binary())
    stamps = [m.timestamp() for m in messages]
    count = len(messages)
    columns: list[Any] = [
        keys,
        values,
        pa.repeat(messages[0].topic(), count),
        pa.repeat(pa.scalar(messages[0].partition(), pa.int32()), count),
        pa.array([m.offset() for m in messages], pa.int64()),
        pa.array([ms for _, ms in stamps], pa.int64()).cast(pa.timestamp("ms")).cast(pa.timestamp("us")),
        # librdkafka: 0 none, 1 create, 2 append; Spark: -1, 0, 1.
        pa.array([kind - 1 for kind, _ in stamps], pa.int32()),
    ]
    if "headers" in schema.names:
        columns.append(pa.array([_headers(m) for m in messages], schema.field("headers").type))
    return pa.table(columns, schema=schema), values.nbytes + keys.nbytes


def _headers(message: Message) -> list[dict[str, Any]] | None:
    found = message.headers()
    return None if found is None else [{"key": k, "value": v} for k, v in found]


class Readers:
    """The readers of a source: kept while idle, each used by one thread at a time."""

    def __init__(self, client: KafkaClient, columns: StructType) -> None:
        self._client = client
        self._columns = columns
        self._idle: OrderedDict[tuple[TopicPart, int], PartitionReader] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = False

    def read(self, part: TopicPart, start: int, end: int) -> tuple[pa.Table, int]:
        """One range of one partition."""
        reader = self._take(part, start)
        try:
            found = reader.read(start, end)
        except BaseException:
            reader.close()
            raise
        self._give_back(reader)
        return found

    def _take(self, part: TopicPart, start: int) -> PartitionReader:
        with self._lock:
            keys = [key for key in self._idle if key[0] == part]
            fit = [key for key in keys if key[1] == start] or keys[:1]
            if fit:
                return self._idle.pop(fit[0])
        return PartitionReader(self._client, part, self._columns)

    def _give_back(self, reader: PartitionReader) -> None:
        spare = []
        with self._lock:
            if self._closed:
                spare.append(reader)
            else:
                key = (reader.part, reader.position or 0)
                spare.extend(filter(None, [self._idle.pop(key, None)]))
                self._idle[key] = reader
                while len(self._idle) > IDLE_CONSUMERS:
                    spare.append(self._idle.popitem(last=False)[1])
        for each in spare:
            each.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle = list(self._idle.values())
            self._idle.clear()
        for reader in idle:
            reader.close()
