"""The options of the Kafka source: Spark's names, checked, and turned into those of librdkafka."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tidemill.errors import SourceError, did_you_mean
from tidemill.sources.options import Options
from tidemill.types import StructType, parse_ddl

log = logging.getLogger(__name__)

EARLIEST, LATEST = -2, -1
"""Spark's numbers in JSON offsets."""

Partitions = dict[str, dict[int, int]]
"""A number (an offset, a time in ms) for each partition of each topic."""

KNOWN = ("kafka.bootstrap.servers", "subscribe", "subscribePattern", "assign", "startingOffsets", "endingOffsets",
         "startingTimestamp", "endingTimestamp", "startingOffsetsByTimestamp", "endingOffsetsByTimestamp",
         "startingOffsetsByTimestampStrategy", "failOnDataLoss", "maxOffsetsPerTrigger", "minOffsetsPerTrigger",
         "maxTriggerDelay", "maxRecordsPerPartition", "minPartitions", "groupIdPrefix", "includeHeaders",
         "kafkaConsumer.pollTimeoutMs")  # fmt: skip
_IGNORED = (
    "fetchOffset.numRetries",
    "fetchOffset.retryIntervalMs",
    "kafkaConsumer.useDeprecatedOffsetFetching",
)

_COLUMNS = (
    "key BINARY, value BINARY, topic STRING, partition INT, offset BIGINT, "
    "timestamp TIMESTAMP, timestampType INT"
)
_HEADERS = ", headers ARRAY<STRUCT<key: STRING, value: BINARY>>"

_JAVA_NAMES = {
    "fetch.max.wait.ms": "fetch.wait.max.ms",
    "request.timeout.ms": "socket.timeout.ms",
    "receive.buffer.bytes": "socket.receive.buffer.bytes",
    "send.buffer.bytes": "socket.send.buffer.bytes",
    "sasl.kerberos.service.name": "sasl.kerberos.service.name",
}
_JAVA_ONLY = {
    "max.poll.records", "default.api.timeout.ms", "exclude.internal.topics", "ssl.keystore.type",
    "ssl.truststore.type", "sasl.client.callback.handler.class",
}  # fmt: skip
_EQUIVALENTS = {
    "ssl.truststore.location": "kafka.ssl.ca.location, a file of PEM certificates (keytool and openssl convert one)",
    "ssl.truststore.password": "kafka.ssl.ca.location, which takes no password",
    "ssl.truststore.certificates": "kafka.ssl.ca.pem",
    "ssl.keystore.certificate.chain": "kafka.ssl.certificate.pem",
    "ssl.keystore.key": "kafka.ssl.key.pem",
    "sasl.login.callback.handler.class": "kafka.sasl.oauthbearer.method=oidc and kafka.sasl.oauthbearer.*",
    "ssl.enabled.protocols": "kafka.ssl.cipher.suites",
}
_OURS = {
    "auto.offset.reset": "the options 'startingOffsets' and 'failOnDataLoss' say where to begin",
    "enable.auto.commit": "the query commits its own progress",
    "key.deserializer": "keys are bytes; decode the column 'key'",
    "value.deserializer": "values are bytes; decode the column 'value'",
    "interceptor.classes": "Java classes cannot run here",
    "enable.partition.eof": "the source needs it on",
    "enable.auto.offset.store": "the query commits its own progress",
}


@dataclass(frozen=True)
class Start:
    """Where to begin or end: ``offsets`` (with Spark's -2 and -1) or ``times`` in ms for each partition, or one for
    all: ``earliest``, ``latest`` or a ``time``."""

    kind: Literal["earliest", "latest", "offsets", "times", "time"]
    each: Partitions = field(default_factory=dict)
    time: int = 0


@dataclass(frozen=True)
class KafkaOptions:
    """All that the options say."""

    topics: tuple[str, ...]
    pattern: re.Pattern[str] | None
    assigned: dict[str, list[int]]
    start: Start
    end: Start
    otherwise_latest: bool
    """Where no record has the starting time: begin at the end (else it is an error)."""
    fail_on_data_loss: bool
    max_offsets: int | None
    min_offsets: int | None
    max_delay: float
    """Seconds that ``min_offsets`` may wait; Spark's 15 minutes by default."""
    min_partitions: int | None
    max_records: int | None
    headers: bool
    group: str | None
    group_prefix: str
    poll_seconds: float
    """How long a read may go without anything from the broker; Spark's 120 by default."""
    client: dict[str, Any] = field(repr=False)
    """What librdkafka gets; passwords are among it."""

    @property
    def servers(self) -> str:
        return str(self.client["bootstrap.servers"])

    @property
    def what(self) -> str:
        """What is read, for messages."""
        if self.pattern:
            return f"topics like {self.pattern.pattern!r}"
        return f"topic {', '.join(self.topics or self.assigned)}"


def kafka_schema(options: Mapping[str, str]) -> StructType:
    """Spark's columns of a record; ``headers`` with ``includeHeaders``."""
    with_headers = Options("kafka", options, KNOWN, _IGNORED, ("kafka.",)).flag("includeHeaders")
    return parse_ddl(_COLUMNS + (_HEADERS if with_headers else ""))


def kafka_options(given: Mapping[str, str], batch: bool = False) -> KafkaOptions:
    """The options, checked; `SourceError` names what is wrong with one and what would be right."""
    options = Options("kafka", given, KNOWN, _IGNORED, ("kafka.",))
    options.required("kafka.bootstrap.servers", "broker:9092")
    topics, pattern, assigned = _what(options)
    _refuse_ends(options, batch)
    client = client_config(options.given)
    group = client.pop("group.id", None)
    return KafkaOptions(
        topics, pattern, assigned,
        _where(options, "starting", "earliest" if batch else "latest"),
        _where(options, "ending", "latest"),
        options.choice("startingOffsetsByTimestampStrategy", ("error", "latest"), "error") == "latest",
        options.flag("failOnDataLoss", True),
        options.whole("maxOffsetsPerTrigger"),
        options.whole("minOffsetsPerTrigger"),
        options.seconds("maxTriggerDelay", 900.0) or 0.0,
        options.whole("minPartitions"),
        options.whole("maxRecordsPerPartition"),
        options.flag("includeHeaders"),
        group,
        options.text("groupIdPrefix") or "tidemill",
        (options.whole("kafkaConsumer.pollTimeoutMs", 120_000) or 0) / 1000,
        client,
    )  # fmt: skip


def _what(options: Options) -> tuple[tuple[str, ...], re.Pattern[str] | None, dict[str, list[int]]]:
    ways = [n for n in ("subscribe", "subscribePattern", "assign") if n in options]
    if len(ways) != 1:
        raise SourceError(
            "format 'kafka' needs exactly one of the options 'subscribe' (topics, separated by commas), "
            f"'subscribePattern' (a regular expression) and 'assign' (JSON); it has {' and '.join(ways) or 'none'}"
        )
    text = options.required(ways[0], "clicks")
    if ways[0] == "subscribe":
        return tuple(dict.fromkeys(t.strip() for t in text.split(",") if t.strip())), None, {}
    if ways[0] == "subscribePattern":
        try:
            return (), re.compile(text), {}
        except re.error as error:
            raise options.wrong("subscribePattern", f"a regular expression ({error})") from error
    return (), None, _assignment(options)


def _assignment(options: Options) -> dict[str, list[int]]:
    try:
        found = json.loads(options.text("assign") or "")
        return {topic: sorted({int(p) for p in parts}) for topic, parts in found.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise options.wrong(
            "assign", 'a JSON map of topics to partitions, such as {"clicks": [0, 1]}'
        ) from error


def _refuse_ends(options: Options, batch: bool) -> None:
    for name in ("endingOffsets", "endingTimestamp", "endingOffsetsByTimestamp"):
        if name in options and not batch:
            raise SourceError(
                f"option {name!r} has no meaning in a streaming query, which has no end; leave it out"
            )
    if batch and (options.text("startingOffsets") or "").strip().lower() == "latest":
        raise SourceError(
            "option 'startingOffsets': a batch read from 'latest' would be empty; use 'earliest'"
        )
    if batch and (options.text("endingOffsets") or "").strip().lower() == "earliest":
        raise SourceError(
            "option 'endingOffsets': a batch read up to 'earliest' would be empty; use 'latest'"
        )
    for name in ("minOffsetsPerTrigger", "maxOffsetsPerTrigger"):
        if name in options and batch:
            log.debug("option %r has no meaning in a batch read", name)
    low, high = options.whole("minOffsetsPerTrigger"), options.whole("maxOffsetsPerTrigger")
    if low and high and low > high:
        raise SourceError(
            f"option 'minOffsetsPerTrigger' ({low}) is more than 'maxOffsetsPerTrigger' ({high})"
        )


def _where(options: Options, side: str, default: str) -> Start:
    """As in Spark, one time for all counts before times for each, and those before offsets."""
    if f"{side}Timestamp" in options:
        return Start("time", time=options.whole(f"{side}Timestamp", minimum=0) or 0)
    if f"{side}OffsetsByTimestamp" in options:
        return Start("times", _json_map(options, f"{side}OffsetsByTimestamp"))
    text = str(options.text(f"{side}Offsets", default)).strip()
    if text.lower() == "earliest":
        return Start("earliest")
    if text.lower() == "latest":
        return Start("latest")
    return Start("offsets", _json_map(options, f"{side}Offsets"))


def _json_map(options: Options, name: str) -> Partitions:
    text = options.text(name) or ""
    hint = ""
    try:
        found = json.loads(text)
        each = {t: {int(p): int(o) for p, o in parts.items()} for t, parts in found.items()}
        if name.endswith("Offsets") and any(o < EARLIEST for parts in each.values() for o in parts.values()):
            raise ValueError(text)
        return each
    except (ValueError, TypeError, AttributeError) as error:
        times = name.endswith("ByTimestamp")
        if not times:
            # A word for "now" is nearer to latest in meaning than any measure of letters knows.
            near = "latest" if text.lower() in ("newest", "now", "end", "last") else text
            hint = did_you_mean(near, ("earliest", "latest"))
        expected = (
            "a JSON map of times in milliseconds" if times else "earliest, latest or a JSON map of offsets"
        )
        raise options.wrong(name, f'{expected}, such as {{"clicks": {{"0": 23}}}}', hint) from error


def client_config(given: Mapping[str, str]) -> dict[str, Any]:
    """The ``kafka.*`` options as librdkafka's. Names of the Java client are translated or refused by name.

    >>> client_config({"kafka.bootstrap.servers": "b:9092", "kafka.fetch.max.wait.ms": "5"})
    {'bootstrap.servers': 'b:9092', 'fetch.wait.max.ms': '5'}
    """
    config: dict[str, Any] = {}
    for option, value in given.items():
        if not option.lower().startswith("kafka."):
            continue
        name = option[len("kafka.") :].lower()
        if name in _OURS:
            raise SourceError(f"option {option!r} cannot be set: {_OURS[name]}")
        if name in _EQUIVALENTS:
            raise SourceError(f"option {option!r} is of the Java client; use {_EQUIVALENTS[name]}")
        if name in _JAVA_ONLY:
            log.debug("option %r is of the Java client only and is ignored", option)
        elif name == "sasl.jaas.config":
            config |= _jaas(value)
        elif name == "ssl.keystore.location" and value.endswith((".jks", ".JKS")):
            raise SourceError(
                f"option {option!r}: {value!r} is a Java key store; give PKCS#12 (.p12) instead"
            )
        elif name == "isolation.level" and value not in ("read_committed", "read_uncommitted"):
            raise SourceError(
                f"option {option!r}: {value!r} is not read_committed or read_uncommitted"
                f"{did_you_mean(value, ('read_committed', 'read_uncommitted'))}"
            )
        else:
            config[_JAVA_NAMES.get(name, name)] = value
    return config


def _jaas(text: str) -> dict[str, str]:
    """User name and password of Java's login modules PLAIN and SCRAM."""
    if not re.search(r"(PlainLoginModule|ScramLoginModule)\s", text):
        raise SourceError(
            "option 'kafka.sasl.jaas.config': only PlainLoginModule and ScramLoginModule can be translated; for others "
            "use librdkafka's own options, such as kafka.sasl.kerberos.* or kafka.sasl.oauthbearer.*"
        )
    found = dict(re.findall(r"(\w+)\s*=\s*[\"']((?:[^\"'\\]|\\.)*)[\"']", text))
    if "username" not in found or "password" not in found:
        raise SourceError(
            'option \'kafka.sasl.jaas.config\' must give username="..." and password="..."; or use the options '
            "kafka.sasl.username and kafka.sasl.password"
        )
    return {
        "sasl.username": re.sub(r"\\(.)", r"\1", found["username"]),
        "sasl.password": re.sub(r"\\(.)", r"\1", found["password"]),
    }
