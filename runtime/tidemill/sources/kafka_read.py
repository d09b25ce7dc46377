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
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tidemill.errors import DataLossError, SourceError
from tidemill.sources import kafka_batch
from tidemill.sources.kafka_client import PASSING, KafkaClient, TopicPart
from tidemill.types import StructType, to_arrow_schema

log = logging.getLogger(__name__)

IDLE_CONSUMERS = 32
"""Consumers kept between batches; each holds up to `QUEUE_KB` of records, and four times that where they are short."""
QUEUE_KB = 4_096
CHUNK = 10_000
"""Records taken from a consumer at once."""
POLL_SECONDS = 0.005
"""How long one wait is. librdkafka waits for as many records as it was asked for; we ask for no more than the range can
hold, but a range with transaction markers holds fewer, and then this is what it costs."""
_GONE = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)
_OUT_OF_RANGE = (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET)


class PartitionReader(ABC):
    """One partition and where its reader stands. Used by one thread at a time."""

    def __init__(self, client: KafkaClient, part: TopicPart, columns: StructType) -> None:
        self.part = part
        self.position: int | None = None
        self.schema = to_arrow_schema(columns)
        self._client = client
        self._patience = client.options.poll_seconds
        self.stopped = threading.Event()
        """Set by whoever closes the source, so that a read without a broker ends."""

    def read(self, start: int, end: int) -> tuple[pa.Table, int]:
        """The records from ``start`` up to but not with ``end``, and their bytes."""
        if self.position != start and not self.skip(start):
            self.start(start)
        self.position = start
        tables, total = [], 0
        heard = time.monotonic()
        while self.position < end:
            table, size, progress = self.step(end)
            if table is not None:
                tables.append(table)
                total += size
            if progress:
                heard = time.monotonic()
            elif self.stopped.is_set():
                raise SourceError("the Kafka source was closed while it was read")
            elif time.monotonic() - heard > self._patience:
                raise SourceError(
                    f"Kafka at {self._client.options.servers}: nothing came of topic {self.part[0]}, partition "
                    f"{self.part[1]} at offset {self.position} for {self._patience:g} s; check the broker, or raise "
                    "the option 'kafkaConsumer.pollTimeoutMs'"
                )
        return pa.concat_tables([self.schema.empty_table(), *tables]), total

    def room(self, end: int) -> int:
        """How many records to ask for at most."""
        return min(CHUNK, end - (self.position or 0))

    @abstractmethod
    def start(self, offset: int) -> None:
        """Fetch from ``offset`` on and drop what is held."""

    @abstractmethod
    def skip(self, offset: int) -> bool:
        """Whether going on, from what is held, gives ``offset`` and what follows it."""

    @abstractmethod
    def step(self, end: int) -> tuple[pa.Table | None, int, bool]:
        """Some more records before ``end`` and their bytes, and whether anything came; moves ``position``."""

    @abstractmethod
    def close(self) -> None: ...

    def event(self, error: KafkaError, offset: int) -> bool:
        """Take in what came in place of a record; whether it is progress."""
        if error.code() == KafkaError._PARTITION_EOF:
            self.position = max(self.position or 0, offset)
            return True
        if error.code() in _OUT_OF_RANGE:
            self._out_of_range()
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

    def _out_of_range(self) -> None:
        """Go on at the first offset that is left, where the options allow it."""
        wanted = self.position or 0
        first = self._client.earliest([self.part])[self.part]
        if self._client.options.fail_on_data_loss or first <= wanted:
            raise lost(self.part, wanted, first)
        log.warning("topic %s, partition %s: offsets %s to %s are lost", *self.part, wanted, first)
        self.start(first)
        self.position = first


def reader_settings(client: KafkaClient) -> dict[str, Any]:
    """What both kinds of readers ask of librdkafka."""
    given = client.options.client
    # A full queue makes librdkafka pause for a second by default, ten times as long as it takes to empty one; the
    # number of records in it must not fill it before their bytes do.
    # A broker is asked once at a time: while it waits for news of partitions that are read to their end, one whose
    # queue has room again waits too, by default for half a second.
    queue = {
        "fetch.wait.max.ms": 50,
        "fetch.queue.backoff.ms": 5,
        "queued.min.messages": 1_000_000,
        "queued.max.messages.kbytes": QUEUE_KB,
    }
    return {
        **{name: given.get(name, value) for name, value in queue.items()},
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "isolation.level": given.get("isolation.level", "read_committed"),
    }


class MessageReader(PartitionReader):
    """By confluent-kafka's consumer: a Python object for each record."""

    def __init__(self, client: KafkaClient, part: TopicPart, columns: StructType) -> None:
        super().__init__(client, part, columns)
        group = client.options.group or f"{client.options.group_prefix}-reader"
        self._consumer: Consumer = client.consumer(
            **{"group.id": group, "enable.auto.offset.store": False, **reader_settings(client)}
        )
        self._held: list[Message] = []
        """Records fetched beyond the end of the last range."""

    def start(self, offset: int) -> None:
        self._held = []
        self._consumer.assign([TopicPartition(*self.part, offset)])

    def skip(self, offset: int) -> bool:
        at = self.position
        return at is not None and bool(self._held) and at < offset <= self._held[0].offset()

    def step(self, end: int) -> tuple[pa.Table | None, int, bool]:
        got = self._held or self._consumer.consume(self.room(end), POLL_SECONDS)
        self._held = []
        taken, progress = self._sort_out(got, end)
        if not taken:
            return None, 0, progress
        table, size = as_table(taken, self.schema)
        return table, size, progress

    def _sort_out(self, got: Sequence[Message], end: int) -> tuple[list[Message], bool]:
        """The records of the range among what came, and whether anything of the partition came at all."""
        taken: list[Message] = []
        progress = False
        for i, message in enumerate(got):
            error = message.error()
            if error is not None:
                progress |= self.event(error, message.offset())
            elif message.offset() >= end:
                self._held = list(got[i:])
                self.position = end
                return taken, True
            elif message.offset() >= (self.position or 0):  # a seek may leave older ones in the queue
                taken.append(message)
                self.position = message.offset() + 1
                progress = True
        return taken, progress

    def close(self) -> None:
        self._consumer.close()


class BatchReader(PartitionReader):
    """By librdkafka's batches, without a Python object for each record: see `tidemill.sources.kafka_batch`."""

    def __init__(
        self,
        client: KafkaClient,
        part: TopicPart,
        columns: StructType,
        handle: kafka_batch.Handle,
        number: int,
    ) -> None:
        super().__init__(client, part, columns)
        self.number = number
        self._queue = kafka_batch.Queue(handle, *part, CHUNK)
        self._held = kafka_batch.EMPTY

    def start(self, offset: int) -> None:
        self._let_go()
        self._queue.start(offset)

    def _let_go(self) -> None:
        self._queue.release(self._held)
        self._held = kafka_batch.EMPTY

    def skip(self, offset: int) -> bool:
        at = self.position
        return at is not None and len(self._held) > 0 and at < offset <= int(self._held.offsets[0])

    def step(self, end: int) -> tuple[pa.Table | None, int, bool]:
        got = self._held if len(self._held) else self._queue.take(self.room(end), POLL_SECONDS)
        self._held = kafka_batch.EMPTY
        if not len(got):
            return None, 0, False
        errors = np.flatnonzero(got.errors)
        if len(errors) and errors[0] == 0:
            return self._on_error(got)
        # Records up to the first error; it and what follows wait for the next step.
        run = got[: errors[0]] if len(errors) else got
        offsets = run.offsets
        before, within = np.searchsorted(offsets, [self.position or 0, end])
        self._held = got[int(within) :]
        if within < len(run):
            self.position = end
        elif within:
            self.position = max(self.position or 0, int(offsets[within - 1]) + 1)
        return self._table(run[: int(within)], int(before))

    def _table(self, done: kafka_batch.Records, first: int) -> tuple[pa.Table | None, int, bool]:
        try:
            if first == len(done):
                return None, 0, True
            table, size = kafka_batch.as_table(done[first:], *self.part, self.schema)
            return table, size, True
        finally:
            self._queue.release(done)

    def _on_error(self, got: kafka_batch.Records) -> tuple[None, int, bool]:
        code, offset = int(got.errors[0]), int(got.offsets[0])
        self._queue.release(got[:1])
        self._held = got[1:]
        return None, 0, self.event(KafkaError(code), offset)

    def close(self) -> None:
        self._let_go()
        self._queue.stop()


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
        self._stopped = threading.Event()
        self._handles: list[kafka_batch.Handle] = []
        # Headers are linked lists behind each record, which only calls can reach.
        self._by_batches = kafka_batch.available() and "headers" not in columns.names
        self._batched: dict[TopicPart, set[int]] = {}
        """The handles by which a partition is read: librdkafka allows one reader of it to each."""

    def read(self, part: TopicPart, start: int, end: int) -> tuple[pa.Table, int]:
        """One range of one partition."""
        reader = self._take(part, start)
        reader.stopped = self._stopped
        try:
            found = reader.read(start, end)
        except kafka_batch.Unusable as error:
            self._drop(reader)
            log.warning("%s; Kafka is read the slow way", error)
            self._by_batches = False
            return self.read(part, start, end)
        except BaseException:
            self._drop(reader)
            raise
        self._give_back(reader)
        return found

    def _take(self, part: TopicPart, start: int) -> PartitionReader:
        with self._lock:
            keys = [key for key in self._idle if key[0] == part]
            fit = [key for key in keys if key[1] == start] or keys[:1]
            if fit:
                return self._idle.pop(fit[0])
            if self._by_batches:
                number = self._free_handle(part)
                return BatchReader(self._client, part, self._columns, self._handles[number], number)
        return MessageReader(self._client, part, self._columns)

    def _free_handle(self, part: TopicPart) -> int:
        """A handle that does not read the partition yet: tasks may read two ranges of one partition at once."""
        used = self._batched.setdefault(part, set())
        number = next(i for i in range(len(used) + 1) if i not in used)
        if number == len(self._handles):
            self._handles.append(self._connected())
        used.add(number)
        return number

    def _connected(self) -> kafka_batch.Handle:
        settings = {**self._client.config(), **reader_settings(self._client)}
        settings.pop("error_cb")
        return kafka_batch.Handle(settings)

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
            self._drop(each)

    def _drop(self, reader: PartitionReader) -> None:
        reader.close()
        with self._lock:
            if isinstance(reader, BatchReader):
                self._batched[reader.part].discard(reader.number)
        self._let_handles_go()

    def _let_handles_go(self) -> None:
        with self._lock:
            if not self._closed or any(self._batched.values()):
                return
            handles, self._handles = self._handles, []
        for handle in handles:
            handle.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._stopped.set()
            idle = list(self._idle.values())
            self._idle.clear()
        for reader in idle:
            self._drop(reader)
        self._let_handles_go()
