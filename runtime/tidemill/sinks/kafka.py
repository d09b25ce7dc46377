"""Kafka topics, exactly once by transactions, or at least once without.

``prepare`` encodes rows and keeps them in the committable: Kafka has no place where rows could wait unseen for longer
than a transaction. ``commit`` writes them with a marker (`tidemill.sinks.markers`) in one transaction, for the whole
batch if it is small, else one for each task. After a restart every transactional id is initialised, which fences what
the dead process may still have under way, and the markers tell what is written.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from tidemill.errors import SinkError
from tidemill.sinks import kafkaclient
from tidemill.sinks.base import Committable, Generation, Sink, TaskId, from_ipc, to_ipc
from tidemill.sinks.markers import Marker, group
from tidemill.sinks.options import Options
from tidemill.sinks.transactions import Transactions

WHOLE_BYTES = 4 * 2**20
"""A batch of at most so many payload bytes goes in one transaction: a second one costs more than writing side by side
saves."""

_CLOCK_SLACK = 3600.0
"""Seconds by which the clocks of brokers and drivers may differ when a marker's age is judged."""


class KafkaRecords(Sink):
    """Makes rows records; `KafkaSink` sends them."""

    def __init__(self, topic: str | None, records: Callable[[pa.Table], pa.Table]) -> None:
        self.topic = topic
        self._records = records

    def place(self) -> str:
        raise NotImplementedError("the driver's sink commits")

    def prepare(self, task: TaskId, rows: pa.Table) -> Committable:
        if rows.num_rows == 0:
            return Committable(task, {"rows": 0})
        records = self._records(rows)
        payload = to_ipc(records)
        meta = {
            "rows": rows.num_rows,
            "bytes": len(payload),
            "crc": zlib.crc32(payload),
            "topic": self.topic or kafkaclient.topic_of_rows(records.column("topic")[0].as_py()),
            "at": int(time.time()),
        }
        return Committable(task, meta, payload)

    def commit(self, batch: int, committables: Sequence[Committable]) -> None:
        raise NotImplementedError("the driver's sink commits")


class KafkaSink(KafkaRecords):
    """See the module. ``records`` makes of rows a table of some of topic, key, value, headers and partition."""

    def __init__(self, options: Options, records: Callable[[pa.Table], pa.Table]) -> None:
        super().__init__(options.get("topic"), records)
        self.exactly_once = options.flag("exactlyOnce", True)
        self.config = kafkaclient.settings(options.with_prefix("kafka."))
        self.patience = (
            int(self.config.get("delivery.timeout.ms", self.config.get("message.timeout.ms", 120_000))) / 1000
        )
        self._marks: dict[int, Marker] = {}
        self._transactions: Transactions | None = None
        self._plain: Any = None
        self._cluster: str | None = None
        self._last = -1
        self._generation = Generation(0, "")
        self._query = ""

    def check(self) -> None:
        self._cluster = kafkaclient.check_topic(self.config, self.topic)

    def place(self) -> str:
        # The cluster by its own id: the brokers that one asks first may change.
        topic = f"Kafka topic {self.topic!r}" if self.topic is not None else "the Kafka topics that rows name"
        return f"{topic} of cluster {self._cluster}, {'exactly' if self.exactly_once else 'at least'} once"

    def open(self, generation: Generation, query: str, tasks: int) -> None:
        if self._cluster is None:
            self.check()
        self._generation, self._query = generation, query
        if self.exactly_once:
            made = self._transactions = Transactions(self.config, query, generation, self.patience)
            self._marks = self._take_over(made, range(max(tasks, 1)))

    def _take_over(self, made: Transactions, tasks: range) -> dict[int, Marker]:
        """Fence older producers, then read what they wrote."""
        if self.topic is None:
            made.fence(len(tasks))
            return {}
        with ThreadPoolExecutor(1) as pool:
            # On a broker that was never asked, the coordinators of transactions and of groups take a second each to
            # load: let them do it side by side. What counts is read after the fence.
            waking = pool.submit(made.markers.read, [0], self.topic)
            made.fence(len(tasks))
            waking.result()
        return made.markers.read(tasks, self.topic)

    # --- One task --------------------------------------------------------------------------------------------------

    def for_executors(self) -> Sink:
        return KafkaRecords(self.topic, self._records)

    # --- One batch -------------------------------------------------------------------------------------------------

    def commit(self, batch: int, committables: Sequence[Committable]) -> None:
        full = _with_rows(committables)
        if not self.exactly_once:
            self._write_plainly(batch, full)
            return
        assert self._transactions is not None, "open() comes before commit()"
        units = [u for u in self._units(batch, full) if not self._is_done(batch, u[0])]
        if len(units) == 1:
            self._send(batch, *units[0])
        elif units:
            with ThreadPoolExecutor(len(units)) as pool:
                list(pool.map(lambda unit: self._send(batch, *unit), units))

    def _units(self, batch: int, full: list[Committable]) -> list[tuple[int, list[Committable]]]:
        """The transactions of a batch: the task that each is named by, and what it holds. They follow from the
        committables alone, so that a restart finds the same ones."""
        if not full:
            return []
        if sum(c.meta["bytes"] for c in full) <= WHOLE_BYTES:
            return [(0, full)]
        return [(c.task.task, [c]) for c in full]

    def _is_done(self, batch: int, task: int) -> bool:
        return task in self._marks and self._marks[task].next > batch

    def _send(self, batch: int, task: int, parts: list[Committable]) -> None:
        assert self._transactions is not None
        marker = Marker(
            batch + 1,
            self._generation.number,
            self._generation.token,
            _content(parts),
            whole=len(parts) if task == 0 and len(parts) > 1 else 0,
            topic=_marker_topic(parts),
        )
        self._transactions.send(task, batch, marker, lambda client: self._produce(client, parts))
        self._marks[task] = marker

    def _produce(self, client: Any, parts: list[Committable]) -> None:
        for part in parts:
            if part.payload is None:
                raise SinkError(f"batch {part.task.batch}, task {part.task.task}: the rows to write are gone")
            produce_rows(client, from_ipc(part.payload), self.topic)

    def _write_plainly(self, batch: int, full: list[Committable]) -> None:
        if batch <= self._last:
            return
        if self._plain is None:
            self._plain = _PlainProducer(self.config)
        self._plain.write(lambda client: self._produce(client, full), self.patience)
        self._last = batch

    # --- After a restart -------------------------------------------------------------------------------------------

    def recover(self, query: str, batch: int, committables: Sequence[Committable] | None) -> None:
        if self._transactions is None:
            return
        units = self._units(batch, _with_rows(committables or ()))
        if self.topic is None:
            # Only the batch in doubt tells where its markers would be: rows name their topics.
            for task, parts in units:
                self._marks |= self._transactions.markers.read([task], _marker_topic(parts))
        for task, marker in self._marks.items():
            self._check_not_ahead(task, marker, batch, dict(units))
        for task, parts in units:
            if task not in self._marks:
                self._check_not_expired(task, parts)
        self._announce()

    def _check_not_ahead(
        self, task: int, marker: Marker, batch: int, units: dict[int, list[Committable]]
    ) -> None:
        """A marker may be ahead of the log by the batch in doubt, if its content is that batch's."""
        expected = batch + 1 if task in units else batch
        other = marker.next == batch + 1 and task in units and marker.content != _content(units[task])
        if marker.next > expected or other:
            raise SinkError(
                f"topic {marker.topic!r} holds batch {marker.next - 1} of query {self._query}, task {task}"
                f"{' with other content' if other else ''}, and the checkpoint is at batch {batch}: it is older than "
                "the output (restored from a copy, or deleted?). Bring back the newest checkpoint; or accept that rows "
                f"are written twice and delete the consumer group {group(self._query, task)!r}"
            )

    def _check_not_expired(self, task: int, parts: list[Committable]) -> None:
        """No marker means "not written" only while one could not have expired since the batch was prepared."""
        assert self._transactions is not None
        age = time.time() - min(c.meta["at"] for c in parts)
        if age < _CLOCK_SLACK:
            return
        kept = self._transactions.markers.retention_seconds()
        if age > kept - _CLOCK_SLACK:
            raise SinkError(
                f"whether batch {parts[0].task.batch} of query {self._query} was written to {parts[0].meta['topic']!r} "
                f"cannot be known: it was prepared {age / 86400:.1f} days ago, and the brokers keep markers for "
                f"{kept / 86400:.1f} days (offsets.retention.minutes). Look for its rows in the topic; then start the "
                "query with a new checkpoint at the right offsets"
            )

    def _announce(self) -> None:
        """Renew the markers in our name: a driver that was paused finds them, and does not fence us in turn."""
        assert self._transactions is not None
        for task, old in self._marks.items():
            mine = Marker(
                old.next, self._generation.number, self._generation.token, old.content, old.whole, old.topic
            )
            self._transactions.send(task, old.next - 1, mine, lambda client: None)
            self._marks[task] = mine

    def close(self) -> None:
        if self._transactions is not None:
            self._transactions.close()
        if self._plain is not None:
            kafkaclient.release([self._plain.take()])
            self._plain = None


class _PlainProducer:
    """An idempotent producer without transactions: at least once."""

    def __init__(self, config: dict[str, Any]) -> None:
        import confluent_kafka

        self._failed: list[Any] = []
        self._lock = threading.Lock()
        own = {**config, "on_delivery": self._delivered}
        self._client = kafkaclient.make(confluent_kafka.Producer, own)

    def write(self, produce: Callable[[Any], None], patience: float) -> None:
        with self._lock:
            self._failed.clear()
            produce(self._client)
            left = self._client.flush(patience)
            if self._failed or left:
                said = self._failed[0].str() if self._failed else f"{left} records are not acknowledged"
                raise SinkError(
                    f"Kafka did not take all records: {said}; mend that, then start the query again"
                )

    def take(self) -> Any:
        """The client, for its release."""
        client, self._client = self._client, None
        return client

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None:
            self._failed.append(error)


def produce_rows(client: Any, records: pa.Table, topic: str | None) -> None:
    """Hand records to a producer, in their order."""
    count = records.num_rows
    names = set(records.column_names)
    values = records.column("value").to_pylist()
    keys = records.column("key").to_pylist() if "key" in names else [None] * count
    produce = client.produce
    if topic is not None and not names & {"headers", "partition"}:
        for value, key in zip(values, keys, strict=True):
            try:
                produce(topic, value, key)
            except BufferError:
                _make_room(client)
                produce(topic, value, key)
        return
    topics = (
        [topic] * count if topic is not None else map(kafkaclient.topic_of_rows, records["topic"].to_pylist())
    )
    headers = records.column("headers").to_pylist() if "headers" in names else [None] * count
    partitions = records.column("partition").to_pylist() if "partition" in names else [None] * count
    for to, value, key, header, partition in zip(topics, values, keys, headers, partitions, strict=True):
        where = {} if partition is None else {"partition": partition}
        pairs = [(h["key"], h["value"]) for h in header] if header else None
        try:
            produce(to, value, key, headers=pairs, **where)
        except BufferError:
            _make_room(client)
            produce(to, value, key, headers=pairs, **where)


def _make_room(client: Any) -> None:
    """librdkafka's queue is full: wait until all of it is sent. A second time in a row the error is the caller's."""
    client.flush(30)


def _with_rows(committables: Sequence[Committable]) -> list[Committable]:
    return sorted((c for c in committables if c.meta["rows"]), key=lambda c: c.task)


def _marker_topic(parts: Sequence[Committable]) -> str:
    return str(min(c.meta["topic"] for c in parts))


def _content(parts: Sequence[Committable]) -> int:
    crc = 0
    for part in parts:
        crc = zlib.crc32(int(part.meta["crc"]).to_bytes(4, "big"), crc)
    return crc
