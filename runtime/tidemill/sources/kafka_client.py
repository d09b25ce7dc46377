"""Questions to a Kafka cluster: which partitions are there, where do they begin and end. Answers or a `SourceError`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from tidemill.errors import SourceError
from tidemill.secrets import plain
from tidemill.sources.kafka_options import KafkaOptions

try:
    from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
    from confluent_kafka import IsolationLevel as Isolation
    from confluent_kafka.admin import AdminClient, OffsetSpec
except ImportError as missing:  # pragma: no cover
    raise SourceError(
        "format 'kafka' needs confluent-kafka; install it with: pip install 'tidemill[kafka]'"
    ) from missing

log = logging.getLogger(__name__)
_silent = logging.getLogger(f"{__name__}.librdkafka")
_silent.setLevel(
    logging.CRITICAL + 1
)  # what matters of it comes to `KafkaClient._on_error`, and from there to the user

_T = TypeVar("_T")
TopicPart = tuple[str, int]
"""A topic and the number of one of its partitions."""

CONNECT_SECONDS = 6.0
"""How long a broker may take to answer for the first time, before a query starts."""
ASK_SECONDS = 10.0
"""How long it may take to answer a question later."""

_HOPELESS = {
    KafkaError._AUTHENTICATION: "check kafka.sasl.username and kafka.sasl.password, and kafka.sasl.mechanism",
    KafkaError.SASL_AUTHENTICATION_FAILED: "check kafka.sasl.username and kafka.sasl.password",
    KafkaError._SSL: "check kafka.security.protocol and the kafka.ssl.* options",
}


class Unreachable(SourceError):
    """No broker answers now; later one may. ``moving``: one did, and said that a partition is changing hands."""

    def __init__(self, message: str, moving: bool = False) -> None:
        super().__init__(message)
        self.moving = moving


class KafkaClient:
    """One connection for questions. Safe to use from several threads; connects when first asked."""

    def __init__(self, options: KafkaOptions) -> None:
        self.options = options
        self._trouble: KafkaError | None = None
        self._lock = threading.Lock()
        self._admin: AdminClient | None = None
        self._known = False
        committed = options.client.get("isolation.level", "read_committed") == "read_committed"
        self._isolation = Isolation.READ_COMMITTED if committed else Isolation.READ_UNCOMMITTED

    def config(self, **more: Any) -> dict[str, Any]:
        """The settings of any client of this source, troubles told to us instead of to the terminal."""
        quick = {"reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 1000, "log.connection.close": False}
        given = {name: plain(value) for name, value in self.options.client.items()}
        return {**quick, **given, **more, "error_cb": self._on_error}

    def _on_error(self, error: KafkaError) -> None:
        self._trouble = error
        log.debug("kafka %s: %s", self.options.servers, error)

    def _connected(self) -> AdminClient:
        with self._lock:
            if self._admin is None:
                settings = {k: v for k, v in self.config().items() if k not in _CONSUMER_ONLY}
                try:
                    self._admin = AdminClient(settings, logger=_silent)
                except KafkaException as error:
                    raise self.misconfigured(error) from error
            return self._admin

    def misconfigured(self, error: KafkaException) -> SourceError:
        text = error.args[0].str() if isinstance(error.args[0], KafkaError) else str(error)
        return SourceError(
            f"a 'kafka.' option cannot be used: {text}; options 'kafka.<name>' take librdkafka's names "
            "(https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md)"
        )

    def partitions(self) -> list[TopicPart]:
        """All partitions that the options ask for, sorted. `SourceError` if a topic that is named is not there."""
        options = self.options
        there = self._topics()
        if options.pattern is not None:
            named = {t for t in there if options.pattern.fullmatch(t) and not t.startswith("__")}
            return sorted((t, p) for t in named for p in there[t])
        wanted = options.topics or tuple(options.assigned)
        missing = [t for t in wanted if t not in there]
        if missing:
            raise SourceError(
                f"topic {missing[0]!r} does not exist at {options.servers}; create it, or check its name"
                f"{_like(missing[0], there)}"
            )
        if not options.assigned:
            return sorted((t, p) for t in wanted for p in there[t])
        for topic, parts in options.assigned.items():
            for p in parts:
                if p not in there[topic]:
                    raise SourceError(
                        f"option 'assign': topic {topic!r} has no partition {p}, only {len(there[topic])} from 0"
                    )
        return sorted((t, p) for t, parts in options.assigned.items() for p in parts)

    def _topics(self) -> dict[str, list[int]]:
        admin = self._connected()
        deadline = time.monotonic() + (ASK_SECONDS if self._known else CONNECT_SECONDS)
        while True:
            try:
                found = admin.list_topics(timeout=0.5 if not self._known else 2.0)
                self._known = True
                for topic, about in found.topics.items():
                    # Without a leader for a moment: not gone, or all of it would be read again when it is back.
                    if (
                        about.error is not None
                        and about.error.code() in PASSING
                        and self._is_asked_for(topic)
                    ):
                        raise KafkaException(about.error)
                return {t: sorted(m.partitions) for t, m in found.topics.items() if m.error is None}
            except KafkaException as error:
                admin.poll(0.05)  # brings what librdkafka knows of the cause to `_on_error`
                self._give_up(error, deadline)

    def _is_asked_for(self, topic: str) -> bool:
        options = self.options
        if options.pattern is not None:
            return options.pattern.fullmatch(topic) is not None
        return topic in (options.topics or options.assigned)

    def _give_up(self, error: KafkaException, deadline: float) -> None:
        """Raise if there is no hope, or none in time; else return, to try again."""
        trouble = self._trouble
        servers = self.options.servers
        if trouble is not None and trouble.code() in _HOPELESS:
            raise SourceError(
                f"Kafka at {servers} refuses the connection: {trouble.str()}; {_HOPELESS[trouble.code()]}"
            ) from error
        if time.monotonic() > deadline:
            text = trouble.str() if trouble is not None else error.args[0].str()
            raise Unreachable(
                f"no Kafka broker answers at {servers}: {text}; check 'kafka.bootstrap.servers', and that the broker "
                "runs and can be reached from here"
            ) from error

    def earliest(self, parts: Iterable[TopicPart]) -> dict[TopicPart, int]:
        """The first offset of each partition."""
        return self._ask(dict.fromkeys(parts, OffsetSpec.earliest()))

    def latest(self, parts: Iterable[TopicPart]) -> dict[TopicPart, int]:
        """The offset after the last record; with read_committed, up to the first open transaction."""
        return self._ask(dict.fromkeys(parts, OffsetSpec.latest()))

    def ends(self, parts: Iterable[TopicPart]) -> tuple[dict[TopicPart, int], dict[TopicPart, int]]:
        """First and last offsets, both asked for at once."""
        asked = list(parts)

        def ask() -> tuple[dict[TopicPart, int], dict[TopicPart, int]]:
            first = self._send(dict.fromkeys(asked, OffsetSpec.earliest()))
            last = self._send(dict.fromkeys(asked, OffsetSpec.latest()))
            return self._answers(first), self._answers(last)

        return _settled(ask)

    def at_times(self, times: Mapping[TopicPart, int]) -> dict[TopicPart, int]:
        """The first offset at or after a time in ms; -1 where there is none."""
        return self._ask({part: OffsetSpec.for_timestamp(ms) for part, ms in times.items()})

    def _ask(self, specs: Mapping[TopicPart, Any]) -> dict[TopicPart, int]:
        return _settled(lambda: self._answers(self._send(specs)))

    def _send(self, specs: Mapping[TopicPart, Any]) -> dict[Any, Any]:
        if not specs:
            return {}
        wanted = {TopicPartition(t, p): spec for (t, p), spec in specs.items()}
        futures: dict[Any, Any] = self._connected().list_offsets(
            wanted, isolation_level=self._isolation, request_timeout=ASK_SECONDS
        )
        return futures

    def _answers(self, futures: Mapping[Any, Any]) -> dict[TopicPart, int]:
        found = {}
        for part, future in futures.items():
            try:
                found[part.topic, part.partition] = future.result().offset
            except KafkaException as error:
                raise self.failed(error, f"topic {part.topic}, partition {part.partition}") from error
        return found

    def failed(self, error: KafkaException, where: str) -> SourceError:
        """An error of the cluster as ours: `Unreachable` if it may pass."""
        cause = error.args[0]
        text = f"Kafka at {self.options.servers}, {where}: {cause.str()}"
        if cause.code() in _HOPELESS:
            return SourceError(f"{text}; {_HOPELESS[cause.code()]}")
        # Negative codes are librdkafka's own: it did not get as far as an answer.
        if cause.code() in PASSING or cause.retriable() or cause.code() < 0:
            return Unreachable(text, moving=cause.code() > 0)
        if cause.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED):
            return SourceError(f"{text}; give this user the right to read it")
        return SourceError(text)

    def consumer(self, **more: Any) -> Consumer:
        """A consumer with the settings of this source."""
        try:
            return Consumer(self.config(**more), logger=_silent)
        except KafkaException as error:
            raise self.misconfigured(error) from error


def _settled(ask: Callable[[], _T]) -> _T:
    """Ask again while partitions change hands, as those of a new topic do for a moment."""
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            return ask()
        except Unreachable as error:
            if not error.moving or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


PASSING = {
    KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._RESOLVE,
    KafkaError._WAIT_COORD, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.REQUEST_TIMED_OUT, KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.NETWORK_EXCEPTION, KafkaError.OFFSET_NOT_AVAILABLE, KafkaError._TIMED_OUT_QUEUE,
}  # fmt: skip
"""Errors that a living cluster gets over by itself."""

_CONSUMER_ONLY = {
    "isolation.level", "fetch.wait.max.ms", "fetch.min.bytes", "fetch.max.bytes", "max.partition.fetch.bytes",
    "fetch.message.max.bytes", "session.timeout.ms", "heartbeat.interval.ms", "max.poll.interval.ms",
    "group.instance.id", "check.crcs", "queued.min.messages", "queued.max.messages.kbytes", "client.rack",
    "partition.assignment.strategy", "allow.auto.create.topics", "fetch.error.backoff.ms",
}  # fmt: skip


def _like(name: str, there: Iterable[str]) -> str:
    from tidemill.errors import did_you_mean

    return did_you_mean(name, [t for t in there if not t.startswith("__")])
