"""What every Kafka client of a sink needs: its settings, and errors that say what to do."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

from tidemill.errors import AnalysisException, SinkError, did_you_mean
from tidemill.secrets import plain

log = logging.getLogger("tidemill.kafka")
log.addHandler(logging.NullHandler())
"""librdkafka's own messages. Quiet unless a program asks for them: what matters to us comes back as errors."""

ANSWER_SECONDS = 10.0
"""How long a broker may take to answer at the start; an unreachable one is told of then, and not in the first batch."""

_RELEASE_SECONDS = 3.0

_OURS = {
    "key.serializer": "keys are strings or bytes already",
    "value.serializer": "values are strings or bytes already",
    "transactional.id": "it is made of the query's id",
    "enable.idempotence": "it always is",
    "delivery.report.only.error": "it always is",
}


def settings(given: Mapping[str, str]) -> dict[str, Any]:
    """librdkafka's settings: ours, and over them the user's ``kafka.*`` options. Raises `AnalysisException`."""
    for name, why in _OURS.items():
        if name in given:
            raise AnalysisException(f"option 'kafka.{name}' cannot be set: {why}; leave it out")
    return {**_CONNECTION, **_PRODUCER, **given}


_CONNECTION: dict[str, Any] = {
    # The first connection waits for this too: 20 ms to the first transaction, not 60.
    "reconnect.backoff.ms": 10,
    "reconnect.backoff.max.ms": 1000,
    # The default of 100 ms makes of two transactions back to back 94 ms; the broker is mostly ready after 5.
    "retry.backoff.ms": 5,
    "retry.backoff.max.ms": 200,
}
_PRODUCER: dict[str, Any] = {
    # As Java's clients partition, so that records of one key meet whoever wrote them.
    "partitioner": "murmur2_random",
    # We flush: waiting for more rows of a batch that is all there only costs time.
    "linger.ms": 1,
    "queue.buffering.max.messages": 1_000_000,
    "queue.buffering.max.kbytes": 256 * 1024,
    "enable.idempotence": True,
    "delivery.report.only.error": True,
}


def without_producer(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that other clients than producers take."""
    return {k: v for k, v in config.items() if k not in _PRODUCER}


def make(kind: Any, config: Mapping[str, Any]) -> Any:
    """A client; raises `AnalysisException` for a setting that librdkafka does not know."""
    import confluent_kafka

    try:
        return kind({key: plain(value) for key, value in config.items()}, logger=log)
    except (confluent_kafka.KafkaException, ValueError, TypeError) as error:
        raise AnalysisException(
            f"the kafka.* options are not what librdkafka takes: {_text(error)}; its names are those of "
            "https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md"
        ) from error


def release(clients: list[Any], wait: bool = True) -> None:
    """Let go of clients, for which ``clients`` has to hold the last references.

    Destroying one can take for ever when its broker is gone, and so must neither hold us up nor the end of the process.
    """
    thread = threading.Thread(target=clients.clear, name="kafka release", daemon=True)
    thread.start()
    thread.join(_RELEASE_SECONDS if wait else 0)


def check_topic(config: Mapping[str, Any], topic: str | None) -> str:
    """The id of the cluster.

    Raises `SinkError` if no broker answers, or if ``topic`` is not there (and is not made by asking for it)."""
    import confluent_kafka

    producer = make(confluent_kafka.Producer, {**config, "allow.auto.create.topics": True})
    servers = config.get("bootstrap.servers")
    try:
        if topic is None:
            return str(producer.list_topics(timeout=ANSWER_SECONDS).cluster_id)
        answer = producer.list_topics(topic, timeout=ANSWER_SECONDS)
        found = answer.topics[topic]
        if found.error is None:
            return str(answer.cluster_id)
        # A broker that makes topics by itself does so when asked, and has it the next time.
        known = producer.list_topics(timeout=ANSWER_SECONDS).topics
    except confluent_kafka.KafkaException as error:
        raise SinkError(
            f"no Kafka broker answers at {servers} within {ANSWER_SECONDS:.0f} s ({_text(error)}); check the option "
            "'kafka.bootstrap.servers', the network, and kafka.security.* if the broker wants it"
        ) from error
    if topic not in known:
        names = [name for name in known if not name.startswith("__")]
        raise SinkError(
            f"topic {topic!r} is not on the broker {servers} ({found.error.str()})"
            f"{did_you_mean(topic, names) or '; create it first'}"
        )
    return str(answer.cluster_id)


def topic_of_rows(topic: object) -> str:
    """The topic that a row names; Spark's error if it names none."""
    if topic is None:
        raise SinkError("null topic present in the data. Use the topic option for setting a topic.")
    return str(topic)


def _text(error: BaseException) -> str:
    first = error.args[0] if error.args else error
    return str(first.str() if hasattr(first, "str") else first)
