"""What tests do with Kafka from within the cluster, since only there its brokers' names lead anywhere. Run in a pod of
Tidemill's image, which has a client: it imports nothing of these tests.

    inside.py topics BROKERS NAME:PARTITIONS...
    inside.py feed BROKERS TOPIC ROWS_PER_SECOND    `LEAST` rows and until the file /tmp/stop is there; the last row closes
                                                    every window
    inside.py read BROKERS TOPIC                    a JSON object a line, of what a read-committed reader sees
"""

from __future__ import annotations

import json
import random
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

STOP = Path("/tmp/stop")
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
STEP = timedelta(seconds=0.5)
"""Between two rows, in the rows' own time."""
LAST = "2100-01-01T00:00:00Z"
LEAST = 1000
BAD = 199
"""Every so many rows there is one that is no JSON."""


def topics(brokers: str, *named: str) -> None:
    """Make topics; those that there are stay."""
    admin = AdminClient({"bootstrap.servers": brokers})
    wanted = [NewTopic(name, int(count), 1) for name, count in (each.split(":") for each in named)]
    for made in admin.create_topics(wanted, operation_timeout=30).values():
        try:
            made.result()
        except KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                raise


def feed(brokers: str, topic: str, rate: str) -> None:
    """Write requests of a web server, at a steady rate and in the order of their time."""
    producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True, "linger.ms": 20})
    chance, began, number = random.Random(7), time.monotonic(), 0
    while not STOP.exists() or number < LEAST:
        while number < (time.monotonic() - began) * float(rate):
            producer.produce(topic, "no json" if number % BAD == BAD - 1 else request(number, chance))
            number += 1
        producer.poll(0)
        time.sleep(0.02)
    producer.flush()
    producer.produce(topic, json.dumps({"id": -1, "datum": LAST, "path": "/", "status": 200, "bytes": 0}))
    producer.flush()
    print(f"{number} rows", flush=True)


def request(number: int, chance: random.Random) -> str:
    row = {
        "id": number,
        "datum": (FIRST + number * STEP).isoformat(),
        "path": f"/page/{int(chance.paretovariate(1)) % 20}",
        "status": chance.choice([200, 200, 200, 200, 304, 404, 500]),
        "bytes": chance.randrange(100_000),
    }
    return json.dumps(row)


def read(brokers: str, topic: str) -> None:
    """All there is now."""
    reader = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "tests",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    partitions = reader.list_topics(topic, timeout=30).topics[topic].partitions
    reader.assign([TopicPartition(topic, p, 0) for p in partitions])
    open_, rows = set(partitions), []
    while open_:
        for message in reader.consume(1000, timeout=1):
            if message.error() is None:
                key = message.key().decode() if message.key() else None
                row = {"partition": message.partition(), "offset": message.offset(), "key": key}
                rows.append(json.dumps(row | {"value": message.value().decode()}))
            elif message.error().name() == "_PARTITION_EOF":
                open_.discard(message.partition())
            else:
                raise KafkaException(message.error())
    reader.close()
    print("\n".join(rows))


if __name__ == "__main__":
    {"topics": topics, "feed": feed, "read": read}[sys.argv[1]](*sys.argv[2:])
