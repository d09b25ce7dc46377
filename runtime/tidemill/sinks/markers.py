"""Markers: what the output's own brokers know of the batches that were written.

A marker is a consumer group's committed offset, one group for each (query, task), on a partition of the output. It is
committed in the transaction of the rows that it speaks of, so that both are there or neither is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from tidemill.errors import SinkError
from tidemill.sinks import kafkaclient
from tidemill.sinks.base import Generation

_DEFAULT_RETENTION_MINUTES = 7 * 24 * 60
"""Kafka's default of ``offsets.retention.minutes``, for brokers that do not tell theirs."""

_ANSWER_SECONDS = 5.0
_PATIENCE_SECONDS = 60.0
"""For one answer, and for all of them: a coordinator that moves is back in seconds."""


@dataclass(frozen=True)
class Marker:
    """Batches below ``next`` of a task are written."""

    next: int
    generation: int
    token: str
    content: int
    """Checksum of what the last one wrote."""
    whole: int = 0
    """The tasks whose rows went in the same transaction; 0: this task's only."""
    topic: str = ""
    """Where the offset is committed."""

    def metadata(self) -> str:
        """Kafka takes at most 4,000 characters."""
        return json.dumps({k: v for k, v in asdict(self).items() if k not in ("next", "topic")})

    def is_newer_than(self, generation: Generation) -> bool:
        ours = (generation.number, generation.token)
        return self.generation > ours[0] or (self.generation == ours[0] and self.token != ours[1])


def group(query: str, task: int) -> str:
    """The consumer group that holds a task's marker."""
    return f"tidemill-sink-{query}-{task}"


class Markers:
    """Reads the markers of a query.

    By a consumer of each group and not by the admin client, whose ``list_consumer_group_offsets`` takes the process
    down when a coordinator is loading (a null pointer in librdkafka 2.16, `rd_kafka_handle_OffsetFetch`).
    """

    def __init__(self, config: Mapping[str, Any], query: str) -> None:
        self.query = query
        self._config = kafkaclient.without_producer(config)
        self._metadata: dict[int, Any] = {}

    def read(self, tasks: Iterable[int], topic: str) -> dict[int, Marker]:
        """The markers of some tasks on a topic; waits for transactions that are being ended."""
        tasks = list(tasks)
        with ThreadPoolExecutor(min(8, len(tasks) or 1)) as pool:
            found = zip(tasks, pool.map(lambda task: self._read(task, topic), tasks), strict=True)
            return {task: marker for task, marker in found if marker is not None}

    def group_metadata(self, task: int) -> Any:
        """What a transaction needs to know of the group of a task."""
        if task not in self._metadata:
            with self._consumer(task) as consumer:
                self._metadata[task] = consumer.consumer_group_metadata()
        return self._metadata[task]

    def _read(self, task: int, topic: str) -> Marker | None:
        from confluent_kafka import KafkaException, TopicPartition

        last: Exception | None = None
        end = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < end:
            with self._consumer(task) as consumer:
                self._metadata[task] = consumer.consumer_group_metadata()
                try:
                    (found,) = consumer.committed([TopicPartition(topic, 0)], timeout=_ANSWER_SECONDS)
                    if found.error:
                        raise KafkaException(found.error)
                    return _parse(found) if found.offset >= 0 else None
                except KafkaException as error:
                    last = error
                    time.sleep(0.02)
        raise SinkError(
            f"the markers of query {self.query} (consumer group {group(self.query, task)}) cannot be read: {last}; "
            "see that the brokers are up and that this user may read the group"
        )

    @contextmanager
    def _consumer(self, task: int) -> Iterator[Any]:
        from confluent_kafka import Consumer

        own = {
            "group.id": group(self.query, task),
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
        consumer = kafkaclient.make(Consumer, {**self._config, **own})
        try:
            yield consumer
        finally:
            consumer.close()

    def retention_seconds(self) -> float:
        """How long the brokers keep a marker."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient, ConfigResource

        try:
            admin = kafkaclient.make(AdminClient, self._config)
            brokers = admin.list_topics(timeout=kafkaclient.ANSWER_SECONDS).brokers
            resource = ConfigResource(ConfigResource.Type.BROKER, str(next(iter(brokers))))
            answer = admin.describe_configs([resource], request_timeout=kafkaclient.ANSWER_SECONDS)
            minutes = int(next(iter(answer.values())).result()["offsets.retention.minutes"].value)
        except (KafkaException, KeyError, ValueError, TypeError):
            minutes = _DEFAULT_RETENTION_MINUTES
        return minutes * 60.0


def _parse(partition: Any) -> Marker | None:
    try:
        known = json.loads(partition.metadata or "")
        return Marker(next=partition.offset, topic=partition.topic, **known)
    except (ValueError, TypeError):
        # An offset that is not of our making, such as one set by hand, says nothing.
        return None
