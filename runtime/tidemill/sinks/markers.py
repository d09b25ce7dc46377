"""Markers: what the output's own brokers know of the batches that were written.

A marker is a consumer group's committed offset, one group for each (query, task), on a partition of the output. It is
committed in the transaction of the rows that it speaks of, so that both are there or neither is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import asdict, dataclass
from typing import Any

from tidemill.errors import SinkError
from tidemill.sinks import kafkaclient
from tidemill.sinks.base import Generation

_DEFAULT_RETENTION_MINUTES = 7 * 24 * 60
"""Kafka's default of ``offsets.retention.minutes``, for brokers that do not tell theirs."""

_ANSWER_SECONDS = 5.0


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
    """Reads the markers of a query."""

    def __init__(self, config: Mapping[str, Any], query: str) -> None:
        from confluent_kafka.admin import AdminClient

        self.query = query
        # The admin client has no use for a producer's settings, and says so.
        plain = {k: v for k, v in config.items() if k not in kafkaclient.settings({})}
        self._connect = lambda: kafkaclient.make(AdminClient, plain)
        self._admin = self._connect()

    def read(self, tasks: range) -> dict[int, Marker]:
        """The markers of some tasks; waits for transactions that are being ended."""
        with ThreadPoolExecutor(min(8, len(tasks) or 1)) as pool:
            found = zip(tasks, pool.map(self._read, tasks), strict=True)
            return {task: marker for task, marker in found if marker is not None}

    def _read(self, task: int) -> Marker | None:
        from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException

        request = ConsumerGroupTopicPartitions(group(self.query, task))
        last: Exception | None = None
        end = time.monotonic() + 60
        while time.monotonic() < end:
            answer = self._admin.list_consumer_group_offsets(
                [request], require_stable=True, request_timeout=_ANSWER_SECONDS
            )
            try:
                partitions = next(iter(answer.values())).result(_ANSWER_SECONDS + 1).topic_partitions
            except FutureTimeout as error:
                # It waits for a coordinator that is gone, and would go on waiting (librdkafka's issue 5511).
                last, self._admin = error, self._connect()
                continue
            except KafkaException as error:
                if error.args[0].name() == "GROUP_ID_NOT_FOUND":
                    return None
                last = error
                time.sleep(0.02)
                continue
            errors = [p.error for p in partitions if p.error]
            if not errors:
                found = [_parse(p) for p in partitions if p.offset >= 0]
                return max((m for m in found if m), key=lambda m: m.next, default=None)
            # UNSTABLE_OFFSET_COMMIT: a transaction is being ended; its result is a matter of milliseconds.
            last = KafkaException(errors[0])
            time.sleep(0.02)
        raise SinkError(
            f"the markers of query {self.query} (consumer group {group(self.query, task)}) cannot be read: {last}; "
            "see that the brokers are up and that this user may read the group"
        )

    def retention_seconds(self) -> float:
        """How long the brokers keep a marker."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import ConfigResource

        try:
            brokers = self._admin.list_topics(timeout=kafkaclient.ANSWER_SECONDS).brokers
            resource = ConfigResource(ConfigResource.Type.BROKER, str(next(iter(brokers))))
            answer = self._admin.describe_configs([resource], request_timeout=kafkaclient.ANSWER_SECONDS)
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
