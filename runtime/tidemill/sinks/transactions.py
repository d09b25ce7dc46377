"""Transactional writes to Kafka: rows and their marker, both or neither."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tidemill.errors import FencedError, SinkError
from tidemill.sinks import kafkaclient
from tidemill.sinks.base import Generation
from tidemill.sinks.markers import Marker, Markers

SLOTS = 2
"""Producers of a task, used in turn: the broker still ends one's transaction while the other's begins. Measured, back
to back: one producer 9 to 30 ms a transaction, two 5 to 9 ms."""

CALL_SECONDS = 30.0
"""For one call to a producer. A broker that restarts is back sooner, and librdkafka finds it by itself."""

OFFSETS_SECONDS = 10.0
"""For `send_offsets_to_transaction`, which we time ourselves: it can hang for ever, whatever its time-out says, when
the coordinator restarts (https://github.com/confluentinc/librdkafka/issues/5511)."""

_PAUSE_SECONDS = 0.05
"""Before a failed transaction is tried again: what made it fail is seldom gone sooner."""

_FENCED = {"_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH", "INVALID_PRODUCER_ID_MAPPING"}
_PERMANENT = {
    "MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE", "TOPIC_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED", "_UNKNOWN_PARTITION", "_UNKNOWN_TOPIC",
    "UNKNOWN_TOPIC_OR_PART", "TOPIC_EXCEPTION", "POLICY_VIOLATION", "INVALID_RECORD", "INVALID_TRANSACTION_TIMEOUT",
    "INVALID_REPLICATION_FACTOR", "SASL_AUTHENTICATION_FAILED", "_AUTHENTICATION",
}  # fmt: skip
"""Errors that trying again does not mend."""

Produce = Callable[[Any], None]
"""Hands all rows of a transaction to a producer."""


class Transactions:
    """The producers of one query's sink, in one generation. Threads may send for different tasks at once."""

    def __init__(
        self, config: Mapping[str, Any], query: str, generation: Generation, patience: float = 120.0
    ) -> None:
        self.config, self.query, self.generation = dict(config), query, generation
        self.patience = patience
        """Seconds after which a transaction that does not get through stops the query."""
        self.markers = Markers(config, query)
        self._producers: dict[tuple[int, int], _Producer] = {}
        self._lock = threading.Lock()

    def fence(self, tasks: int) -> None:
        """Take over every transactional id of ``tasks`` tasks: older producers can commit nothing from here on, and
        what they left open is ended."""
        ids = [(task, slot) for task in range(tasks) for slot in range(SLOTS)]
        with ThreadPoolExecutor(min(16, len(ids) or 1)) as pool:
            list(pool.map(lambda each: self._producer(*each), ids))

    def send(self, task: int, batch: int, marker: Marker, produce: Produce) -> None:
        """Write rows and marker in one transaction; on return both are there. Raises `FencedError` or `SinkError`."""
        slot, end = batch % SLOTS, time.monotonic() + self.patience
        while True:
            producer = self._producer(task, slot)
            try:
                producer.write(marker, self.markers.group_metadata(task), produce)
                return
            except Exception as error:
                self._judge(error, producer, task, slot, end)
            if producer.broken and self._is_written(task, slot, marker):
                return

    def _judge(self, error: Exception, producer: _Producer, task: int, slot: int, end: float) -> None:
        """Raise if ``error`` is final; else leave things so that the transaction can be tried again."""
        kind = _kafka_error(error)
        if kind is None:
            self._forget(task, slot)
            raise error
        name = producer.failed.name() if producer.failed is not None else kind.name()
        if kind.name() in _FENCED or name in _FENCED:
            self._forget(task, slot)
            self._refuse_too_long(time.monotonic() - producer.began, error)
            raise self._fenced()
        if name in _PERMANENT or time.monotonic() > end:
            self._forget(task, slot)
            said = producer.failed.str() if producer.failed is not None else kind.str()
            raise SinkError(
                f"Kafka refuses the rows of task {task}, query {self.query}: {said} ({name}); nothing of it is "
                "visible. Mend what it names, then start the query again"
            ) from error
        if not (kind.txn_requires_abort() and producer.abort()):
            producer.broken = True
            self._forget(task, slot)
        time.sleep(_PAUSE_SECONDS)

    def _refuse_too_long(self, seconds: float, error: Exception) -> None:
        """Brokers fence a producer too when they end a transaction of its that was open for too long."""
        most = int(self.config.get("transaction.timeout.ms", 60_000)) / 1000
        if seconds > most:
            raise SinkError(
                f"a transaction of query {self.query} was open for {seconds:.0f} s, and Kafka has ended it after "
                f"{most:g} s (transaction.timeout.ms). Write less in one batch (maxOffsetsPerTrigger, say), or raise the "
                "sink's option 'kafka.transaction.timeout.ms'; then start the query again, which writes that batch if "
                "it is not there"
            ) from error

    def _is_written(self, task: int, slot: int, marker: Marker) -> bool:
        """After a time-out nobody knows; a new producer ends the old transaction, and then its marker tells."""
        found = self.markers.read([task], marker.topic).get(task)
        if found is not None and found.is_newer_than(self.generation):
            raise self._fenced()
        self._producer(task, slot)
        found = self.markers.read([task], marker.topic).get(task)
        return found is not None and found.next >= marker.next

    def _producer(self, task: int, slot: int) -> _Producer:
        with self._lock:
            found = self._producers.get((task, slot))
        if found is None:
            found = _Producer(self.config, f"tidemill-{self.query}-{task}-{slot}", self.patience)
            with self._lock:
                self._producers[task, slot] = found
        return found

    def _forget(self, task: int, slot: int) -> None:
        with self._lock:
            gone = self._producers.pop((task, slot), None)
        if gone is not None:
            clients, gone.client = [gone.client], None
            kafkaclient.release(clients, wait=False)

    def _fenced(self) -> FencedError:
        return FencedError(
            f"a newer driver of query {self.query} has taken over its Kafka output (this one is generation "
            f"{self.generation.number}); this one has to stop"
        )

    def close(self) -> None:
        with self._lock:
            clients = [p.client for p in self._producers.values()]
            self._producers.clear()  # and with them all other references
        kafkaclient.release(clients)


class _Producer:
    """One transactional producer, initialised."""

    def __init__(self, config: Mapping[str, Any], name: str, patience: float) -> None:
        import confluent_kafka

        self.failed: Any = None
        """The error of the first record that was not delivered; the transaction's own error is only its echo."""
        self.broken = False
        self.began = time.monotonic()
        """When the last transaction was begun."""
        own = {"transactional.id": name, "client.id": name, "on_delivery": self._delivered}
        self.client = kafkaclient.make(confluent_kafka.Producer, {**config, **own})
        end = time.monotonic() + patience
        while True:
            try:
                return self.client.init_transactions(CALL_SECONDS)
            except confluent_kafka.KafkaException as error:
                kind = error.args[0]
                if kind.retriable() and time.monotonic() < end:
                    continue
                raise SinkError(
                    f"Kafka does not let us begin with transactional id {name!r}: {kind.str()} ({kind.name()}); see "
                    "that the brokers are up and that this user may write with that id"
                ) from error

    def write(self, marker: Marker, group_metadata: Any, produce: Produce) -> None:
        from confluent_kafka import TopicPartition

        self.failed = None
        self.began = time.monotonic()
        self.client.begin_transaction()
        produce(self.client)
        offset = TopicPartition(marker.topic, 0, marker.next, marker.metadata())
        _within(
            OFFSETS_SECONDS,
            lambda: self.client.send_offsets_to_transaction([offset], group_metadata, OFFSETS_SECONDS),
        )
        self.client.commit_transaction(CALL_SECONDS)

    def abort(self) -> bool:
        """Take the open transaction back; False if that fails too."""
        import confluent_kafka

        with contextlib.suppress(confluent_kafka.KafkaException):
            self.client.abort_transaction(CALL_SECONDS)
            return True
        return False

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None and self.failed is None and not error.name().startswith("_PURGE"):
            self.failed = error


def _within(seconds: float, call: Callable[[], None]) -> None:
    """Run ``call`` and raise what it raises, or a time-out if it does not come back; it is then left to itself."""
    import confluent_kafka

    came: list[BaseException | None] = []

    def run() -> None:
        try:
            call()
            came.append(None)
        except BaseException as error:
            came.append(error)

    thread = threading.Thread(target=run, name="kafka offsets", daemon=True)
    thread.start()
    thread.join(seconds)
    if not came:
        code = confluent_kafka.KafkaError._TIMED_OUT
        raise confluent_kafka.KafkaException(
            confluent_kafka.KafkaError(code, "no answer from the group coordinator")
        )
    if came[0] is not None:
        raise came[0]


def _kafka_error(error: Exception) -> Any:
    import confluent_kafka

    if isinstance(error, confluent_kafka.KafkaException):
        return error.args[0]
    return None
