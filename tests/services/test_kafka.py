from __future__ import annotations

import pytest
from confluent_kafka import KafkaException

from tests.services.kafka import KafkaBroker, Record


def test_records_come_back_with_all_their_parts(kafka: KafkaBroker) -> None:
    topic = kafka.topic(partitions=2)
    kafka.produce(
        topic,
        [
            Record("a", key="k", partition=1, headers=(("h", b"1"),), timestamp=1_700_000_000_000),
            Record(None, key="k", partition=1),
            Record("b", partition=0),
        ],
    )
    first, second, third = kafka.consume_all(topic)
    assert (first.partition, first.offset, first.value, first.key) == (0, 0, b"b", None)
    assert second == Record(b"a", b"k", 1, (("h", b"1"),), 1_700_000_000_000, 0)
    assert (third.offset, third.value) == (1, None)
    assert kafka.ends(topic) == {0: 1, 1: 2}


def test_an_aborted_transaction_is_only_seen_uncommitted(kafka: KafkaBroker) -> None:
    topic = kafka.topic()
    kafka.produce_transaction(topic, ["aborted"], commit=False)
    kafka.produce_transaction(topic, ["committed"])
    assert kafka.values(topic) == ["committed"]
    assert kafka.values(topic, "read_uncommitted") == ["aborted", "committed"]


def test_partitions_grow_and_retention_cuts(kafka: KafkaBroker) -> None:
    topic = kafka.topic()
    kafka.produce(topic, ["old", "new"])
    kafka.add_partitions(topic, 3)
    kafka.produce(topic, [Record("late", partition=2)])
    kafka.delete_records(topic, {0: 1})
    assert kafka.values(topic) == ["new", "late"]


def test_a_missing_topic_is_not_made(kafka: KafkaBroker) -> None:
    with pytest.raises(KafkaException, match="UNKNOWN_TOPIC"):
        kafka.produce("no-such-topic", ["a"])


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_broker_that_comes_back_has_its_address_and_its_data(own_kafka: KafkaBroker, end: str) -> None:
    topic = own_kafka.topic()
    own_kafka.produce(topic, ["before"])
    own_kafka.produce_transaction(topic, ["and this"])
    address = own_kafka.bootstrap
    getattr(own_kafka, end)()
    own_kafka.restart()
    own_kafka.produce(topic, ["after"])
    assert own_kafka.bootstrap == address
    assert own_kafka.values(topic) == ["before", "and this", "after"]
