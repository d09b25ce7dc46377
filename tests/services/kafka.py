"""A real Kafka broker for tests: one KRaft process on 127.0.0.1, its jars fetched once by Maven.

Tests take the fixture ``kafka`` (one broker for the session; name topics with ``kafka.topic()``) or ``own_kafka`` (a
broker for this test alone, to be killed and restarted).
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from tests.services.parts import dies_with_us, downloaded, free_ports, program, run, unavailable

VERSION = "4.1.0"
POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>dev.tidemill</groupId>
  <artifactId>kafka-for-tests</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""
# One broker needs one replica of everything, few partitions of its own topics (each costs files at the first use),
# no log cleaner (it takes 128 MB of heap at once), and no topics made by a typo. A killed broker may only come back
# when the session of its former life is over: 9 s by default.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=400
num.network.threads=2
num.io.threads=4
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.enable=false
"""
JVM = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xms128m", "-Xmx512m"]
START_SECONDS = 60  # 2 are usual; a machine that runs other tests beside ours may be slow
REQUEST_SECONDS = 30


@dataclass(frozen=True)
class Record:
    """A record to write, or one that was read; ``timestamp`` is in milliseconds since the epoch."""

    value: bytes | str | None
    key: bytes | str | None = None
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: int | None = None
    offset: int | None = None


class KafkaBroker:
    """One broker; its address and its data outlive ``stop``, ``kill`` and ``restart``.

    >>> with KafkaBroker(tmp_path) as broker:  # doctest: +SKIP
    ...     broker.create_topic("clicks", partitions=2)
    ...     broker.produce("clicks", ["a", "b"])
    ...     broker.values("clicks")
    """

    def __init__(self, folder: Path) -> None:
        self.port, self._controller = free_ports(2)
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.folder = folder
        self._java = java()
        self._jars = downloaded(f"kafka-{VERSION}", fetch_jars)
        self._process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count()

    def __enter__(self) -> KafkaBroker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    # --- its life

    def start(self) -> None:
        """Start the process and wait until it answers."""
        properties = self.folder / "server.properties"
        if not properties.exists():
            self._format(properties)
        with open(self.folder / "broker.log", "ab") as log:
            command = [*dies_with_us(), *self._command("kafka.Kafka", str(properties))]
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder)
        self._await_answer()

    def stop(self) -> None:
        """Ask the broker to shut down in order, and wait until it has."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the process as a power cut would (what the operating system has, it keeps)."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start again, on the same port and data, what was stopped or killed; kill it first if it runs."""
        self.kill()
        self.start()

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(REQUEST_SECONDS)
            self._process = None

    def _format(self, properties: Path) -> None:
        data = self.folder / "data"
        properties.write_text(PROPERTIES.format(port=self.port, controller=self._controller, data=data))
        cluster = (
            "dGlkZW1pbGwtdGVzdHMtMQ"  # any 16 bytes in base64; a constant saves starting a JVM to draw one
        )
        storage = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)]
        done = run(self._command(*storage))
        if done.returncode:
            raise RuntimeError(f"Kafka could not format {data}: {done.stdout}")

    def _command(self, *main: str) -> list[str]:
        return [self._java, *JVM, "-cp", f"{self._jars}/*", *main]

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"Kafka ended while it started:\n{self.log()}")
            try:
                if self._admin.list_topics(timeout=1).brokers:
                    return
            except KafkaException:
                time.sleep(0.05)  # the port refuses connections at first, which answers at once
        self.kill()
        raise RuntimeError(
            f"Kafka did not answer on {self.bootstrap} within {START_SECONDS} s:\n{self.log()}"
        )

    def log(self) -> str:
        """The end of what the broker printed in all its lives."""
        path = self.folder / "broker.log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    # --- topics

    def topic(self, partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
        """Create a topic under a name that no other test uses."""
        name = f"topic-{os.getpid()}-{next(self._names)}"
        self.create_topic(name, partitions, config)
        return name

    def create_topic(self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        """Create a topic and wait until each partition has its leader."""
        topic = NewTopic(name, partitions, 1, config=dict(config or {}))
        self._wait(self._admin.create_topics([topic]))
        self._await_partitions(name, partitions)

    def add_partitions(self, name: str, total: int) -> None:
        """Grow a topic to ``total`` partitions."""
        self._wait(self._admin.create_partitions([NewPartitions(name, total)]))
        self._await_partitions(name, total)

    def delete_topic(self, name: str) -> None:
        self._wait(self._admin.delete_topics([name]))

    def delete_records(self, name: str, before: Mapping[int, int]) -> None:
        """Drop the records before an offset, by partition, as retention would."""
        cuts = [TopicPartition(name, partition, offset) for partition, offset in before.items()]
        self._wait(self._admin.delete_records(cuts))

    def ends(self, name: str) -> dict[int, int]:
        """The offset after the last record of each partition, those of open transactions included."""
        consumer = self._consumer("read_uncommitted")
        try:
            return {
                p: self._last_of(consumer, TopicPartition(name, p)) for p in self._partitions(consumer, name)
            }
        finally:
            consumer.close()

    @staticmethod
    def _last_of(consumer: Consumer, partition: TopicPartition) -> int:
        """A topic is known before each of its partitions has its leader."""
        deadline = time.monotonic() + REQUEST_SECONDS
        while True:
            try:
                return int(consumer.get_watermark_offsets(partition, timeout=REQUEST_SECONDS)[1])
            except KafkaException as error:
                waiting = error.args[0].code() in (
                    KafkaError.NOT_LEADER_FOR_PARTITION,
                    KafkaError.LEADER_NOT_AVAILABLE,
                )
                if not waiting or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def group_offsets(self, group: str) -> dict[tuple[str, int], int]:
        """What a consumer group has committed, by topic and partition; transactions that just end are waited for."""
        asked = [ConsumerGroupTopicPartitions(group)]
        answer = self._wait(self._admin.list_consumer_group_offsets(asked, require_stable=True))
        return {(each.topic, each.partition): each.offset for each in answer[0].topic_partitions}

    @staticmethod
    def _partitions(client: Consumer, name: str) -> list[int]:
        """Asked with the client that goes on to read: it then knows the leaders, and need not wait to learn them."""
        described = client.list_topics(name, timeout=REQUEST_SECONDS).topics[name]
        if described.error is not None:
            raise KafkaException(described.error)
        return sorted(described.partitions)

    def _await_partitions(self, name: str, count: int) -> None:
        """The controller has the topic before the broker's own view of the metadata does."""
        deadline = time.monotonic() + REQUEST_SECONDS
        while time.monotonic() < deadline:
            described = self._admin.list_topics(name, timeout=REQUEST_SECONDS).topics[name]
            led = [p for p in described.partitions.values() if p.leader >= 0]
            if described.error is None and len(led) >= count:
                return
            time.sleep(0.02)
        raise RuntimeError(f"topic {name} has not {count} partitions after {REQUEST_SECONDS} s")

    # --- records

    def produce(self, topic: str, records: Iterable[Record | bytes | str | None]) -> None:
        """Write records and wait until the broker has them all; a bare value is a record without a key."""
        settings = {
            "bootstrap.servers": self.bootstrap,
            "linger.ms": 0,
            "topic.metadata.propagation.max.ms": 2000,  # a misspelt topic fails soon; 30 s is the default
        }
        producer = Producer(settings)
        _send(producer, topic, records)

    def produce_transaction(
        self, topic: str, records: Iterable[Record | bytes | str | None], commit: bool = True
    ) -> None:
        """Write records in one transaction that commits, or aborts after the broker has the records."""
        settings = {
            "bootstrap.servers": self.bootstrap,
            "transactional.id": f"tests-{os.getpid()}-{next(self._names)}",
            "log_level": 0,
        }
        producer = Producer(settings)
        producer.init_transactions(REQUEST_SECONDS)
        producer.begin_transaction()
        _send(producer, topic, records)
        if commit:
            producer.commit_transaction(REQUEST_SECONDS)
        else:
            producer.abort_transaction(REQUEST_SECONDS)

    def consume_all(self, topic: str, isolation: str = "read_committed") -> list[Record]:
        """Every record of the topic that a reader of that isolation sees now, by partition and offset."""
        consumer = self._consumer(isolation)
        try:
            unread = set(self._partitions(consumer, topic))
            consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in unread])
            found: list[Record] = []
            deadline = time.monotonic() + REQUEST_SECONDS
            while unread:
                message = consumer.poll(0.5)
                error = None if message is None else message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition())
                elif error is not None:
                    raise KafkaException(error)
                elif message is not None:
                    found.append(_record(message))
                if time.monotonic() > deadline:
                    raise RuntimeError(f"the end of {topic} did not come within {REQUEST_SECONDS} s")
            return sorted(found, key=lambda each: (each.partition, each.offset))
        finally:
            consumer.close()

    def values(self, topic: str, isolation: str = "read_committed") -> list[str | None]:
        """The values of ``consume_all`` as text."""
        records = self.consume_all(topic, isolation)
        return [each.value.decode() if isinstance(each.value, bytes) else each.value for each in records]

    @functools.cached_property
    def _admin(self) -> AdminClient:
        """One client for all lives of the broker: its futures die with it."""
        quick = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100}  # it may have seen us killed
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, **quick})

    def _consumer(self, isolation: str) -> Consumer:
        settings = {
            "bootstrap.servers": self.bootstrap,
            "group.id": "tests-that-commit-nothing",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": isolation,
            "fetch.wait.max.ms": 10,  # at the end of a topic the broker would hold the answer for 500
            "log_level": 0,
        }
        return Consumer(settings)

    @staticmethod
    def _wait(futures: Mapping[Any, Any]) -> list[Any]:
        return [future.result(REQUEST_SECONDS) for future in futures.values()]


def _send(producer: Producer, topic: str, records: Iterable[Record | bytes | str | None]) -> None:
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(error)

    for each in records:
        record = each if isinstance(each, Record) else Record(each)
        where = {} if record.partition is None else {"partition": record.partition}
        when = {} if record.timestamp is None else {"timestamp": record.timestamp}
        what = {"value": record.value, "key": record.key, "headers": list(record.headers)}
        producer.produce(topic, **what, **where, **when, on_delivery=delivered)
        producer.poll(0)
    unsent = producer.flush(REQUEST_SECONDS)
    if failures:
        raise KafkaException(failures[0])
    if unsent:
        raise RuntimeError(f"{unsent} records for {topic} were not acknowledged within {REQUEST_SECONDS} s")


def _record(message: Message) -> Record:
    return Record(
        value=message.value(),
        key=message.key(),
        partition=message.partition(),
        headers=tuple(message.headers() or ()),
        timestamp=message.timestamp()[1],
        offset=message.offset(),
    )


def java() -> str:
    """A Java that runs Kafka 4, from JAVA_HOME or PATH, installed if it is missing and we may."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin") if home else None
    found = found or program("Kafka", "java", ["default-jre-headless"])
    said = run([found, "-version"]).stdout
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < 17:
        unavailable(
            "Kafka", f"{found} is not Java 17 or newer: {said.strip()[:200]}", "set JAVA_HOME to one that is"
        )
    return found


def fetch_jars(folder: Path) -> None:
    """Put the broker's jars (43 MB) into the folder; Maven's settings say from where."""
    maven = program("Kafka", "mvn", ["maven"])
    (folder / "pom.xml").write_text(POM)
    copy = ["-B", "-q", "-Dstyle.color=never", f"-DoutputDirectory={folder}", "-DincludeScope=runtime"]
    # Java takes the home from the user database, where a service user may have none.
    options = f"{os.environ.get('MAVEN_OPTS', '')} -Duser.home={Path.home()}"
    command = [maven, "-f", str(folder / "pom.xml"), *copy, "dependency:copy-dependencies"]
    done = run(command, {**os.environ, "MAVEN_OPTS": options})
    if done.returncode:
        said = re.search(r"\[ERROR\] (.+)", done.stdout) or re.search("(?s)(.*)", done.stdout)
        remedy = "make a Maven repository reachable (~/.m2/settings.xml says which)"
        unavailable(
            "Kafka", f"Maven could not fetch org.apache.kafka:kafka_2.13:{VERSION}: {said[1][:300]}", remedy
        )
