"""Makes the topic of the web-log job, then requests until Ctrl-C: some twice, some too late.

python examples/weblog/produce.py localhost:9092 [--per-second 200]
"""

from __future__ import annotations

import argparse
import json
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

TOPIC = "web-access"
HOSTS = ("www", "shop", "docs")
PATHS = ("/", "/search", "/cart", "/item/1", "/item/2")
DOUBLED, LATE = 0.05, 0.01
"""Shares of requests that are sent twice, and that come two minutes late."""


def request(draw: random.Random, now: datetime) -> dict[str, Any]:
    late = timedelta(minutes=2 if draw.random() < LATE else 0)
    return {
        "datum": (now - late).isoformat(timespec="milliseconds"),
        "host": draw.choice(HOSTS),
        "path": draw.choice(PATHS),
        "status": draw.choice((200, 200, 200, 304, 404)),
        "bytes": draw.randrange(200, 50_000),
    }


def create_topic(brokers: str) -> None:
    made = AdminClient({"bootstrap.servers": brokers}).create_topics([NewTopic(TOPIC, 1)])
    try:
        made[TOPIC].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("brokers")
    parser.add_argument("--per-second", type=float, default=200.0, help="how many requests a second")
    options = parser.parse_args()
    create_topic(options.brokers)
    producer = Producer({"bootstrap.servers": options.brokers, "linger.ms": 20})
    draw = random.Random()
    try:
        while True:
            record = json.dumps(request(draw, datetime.now(UTC)))
            for _ in range(2 if draw.random() < DOUBLED else 1):
                producer.produce(TOPIC, record)
            producer.poll(0)
            time.sleep(1 / options.per_second)
    except KeyboardInterrupt:
        producer.flush()


if __name__ == "__main__":
    main()
