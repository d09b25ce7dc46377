"""Makes the topics of the orders job, then orders until Ctrl-C. One in a hundred records is no order at all.

python examples/kafka/produce.py localhost:9092 [--per-second 1000]
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

TOPICS = {"orders": 3, "orders-paid": 3, "takings": 2, "orders-bad": 1}
"""How many partitions each has."""
SHOPS = ("Antwerp", "Bergen", "Cork", "Delft", "Esbjerg")
STATES = ("paid", "paid", "paid", "open", "cancelled")


def orders(seed: int, start: datetime, per_second: float) -> Iterator[str]:
    """Records without an end: orders whose times go on from `start`, each up to 10 s in disorder."""
    draw = random.Random(seed)
    number = 0
    while True:
        at = start + timedelta(seconds=number / per_second - draw.uniform(0, 10))
        order = {
            "id": number,
            "at": at.isoformat(timespec="milliseconds"),
            "shop": draw.choice(SHOPS),
            "state": draw.choice(STATES),
            "amount": draw.randrange(100, 20_000) / 100,
        }
        text = json.dumps(order)
        yield text[: draw.randrange(1, len(text))] if draw.random() < 0.01 else text
        number += 1


def create_topics(brokers: str) -> None:
    admin = AdminClient({"bootstrap.servers": brokers})
    wanted = [NewTopic(name, count) for name, count in TOPICS.items()]
    for made in admin.create_topics(wanted).values():
        try:
            made.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("brokers")
    parser.add_argument("--per-second", type=float, default=1000.0, help="how many orders a second")
    options = parser.parse_args()
    create_topics(options.brokers)
    producer = Producer({"bootstrap.servers": options.brokers, "linger.ms": 20})
    began = time.monotonic()
    try:
        for number, record in enumerate(orders(0, datetime.now(UTC), options.per_second)):
            time.sleep(max(0.0, began + number / options.per_second - time.monotonic()))
            producer.produce("orders", record)
            producer.poll(0)
    except KeyboardInterrupt:
        producer.flush()


if __name__ == "__main__":
    main()
