"""The Kafka source against a real broker."""

from __future__ import annotations

import ctypes
import datetime
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from confluent_kafka import KafkaError
from hypothesis import given
from hypothesis import strategies as st

from tests.services.kafka import KafkaBroker, Record
from tidemill import sources
from tidemill.errors import DataLossError, SourceError
from tidemill.sources import kafka_batch
from tidemill.sources.base import Limits, Offset, Source
from tidemill.sources.kafka import KafkaSource, cut, share
from tidemill.sources.kafka_client import KafkaClient
from tidemill.sources.kafka_options import kafka_options
from tidemill.sources.kafka_read import BatchReader, MessageReader


@contextmanager
def opened(broker: KafkaBroker, topic: str, **options: Any) -> Iterator[KafkaSource]:
    given = {"kafka.bootstrap.servers": broker.bootstrap, "subscribe": topic, "startingOffsets": "earliest"}
    given |= {k.replace("__", "."): str(v) for k, v in options.items()}
    source = sources.create("kafka", {k: v for k, v in given.items() if v != "None"})
    assert isinstance(source, KafkaSource)
    try:
        yield source
    finally:
        source.close()


def rows(source: Source, start: Offset, end: Offset) -> list[dict[str, Any]]:
    return [r for p in source.partitions(start, end) for r in source.read(p).table.to_pylist()]


def values(source: Source, start: Offset, end: Offset) -> list[str]:
    return [r["value"].decode() for r in rows(source, start, end)]


def step(source: Source, start: Offset) -> tuple[Offset, list[str]]:
    end = source.latest(start, source.limits)
    return end, values(source, start, end)


def until(source: Source, start: Offset, count: int) -> tuple[Offset, list[str]]:
    """Batches until so many values came; the news of partitions and transactions may take the broker a moment."""
    found: list[str] = []
    deadline = time.monotonic() + 30
    while len(found) < count and time.monotonic() < deadline:
        end, more = step(source, start)
        found += more
        start = end
    return start, found


def test_records_come_with_all_that_spark_shows(kafka: KafkaBroker) -> None:
    topic = kafka.topic()
    kafka.produce(topic, [Record("v", key="k", timestamp=1_500, headers=(("h", b"1"), ("h", b"2"))), None])
    with opened(kafka, topic, includeHeaders="true") as source:
        start = source.initial()
        end = source.latest(start, Limits())
        first, second = rows(source, start, end)
    assert (start, end) == ({topic: {"0": 0}}, {topic: {"0": 2}})
    assert first == {
        "key": b"k",
        "value": b"v",
        "topic": topic,
        "partition": 0,
        "offset": 0,
        "timestamp": datetime.datetime(1970, 1, 1, 0, 0, 1, 500_000),
        "timestampType": 0,
        "headers": [{"key": "h", "value": b"1"}, {"key": "h", "value": b"2"}],
    }
    assert (second["key"], second["value"], second["headers"]) == (None, None, None)


def test_ranges_go_on_where_the_last_one_ended_and_read_the_same_again(kafka: KafkaBroker) -> None:
    topic = kafka.topic()
    kafka.produce(topic, [str(i) for i in range(25)])
    with opened(kafka, topic, maxOffsetsPerTrigger=10) as source:
        at, seen, ranges = source.initial(), [], []
        while True:
            end, more = step(source, at)
            if end == at:
                break
            ranges.append((at, end, more))
            seen += more
            at = end
        assert seen == [str(i) for i in range(25)]
        assert [len(m) for _, _, m in ranges] == [10, 10, 5]
        assert [values(source, a, b) for a, b, _ in reversed(ranges)] == [m for _, _, m in reversed(ranges)]


def test_a_range_that_ends_in_aborted_records_and_markers_ends(kafka: KafkaBroker) -> None:
    topic = kafka.topic()
    kafka.produce_transaction(topic, ["a", "b"])
    kafka.produce_transaction(topic, ["lost"], commit=False)
    with opened(kafka, topic) as source:
        at, found = until(source, source.initial(), 2)
        assert found == ["a", "b"]
        assert at == {topic: {"0": 5}}  # two records, a marker, the aborted one and its marker
        assert values(source, {topic: {"0": 3}}, {topic: {"0": 5}}) == []
        kafka.produce(topic, ["c"])
        assert until(source, at, 1)[1] == ["c"]
    with opened(kafka, topic, kafka__isolation__level="read_uncommitted") as source:
        assert until(source, source.initial(), 4)[1] == ["a", "b", "lost", "c"]


def test_partitions_that_are_added_are_read_from_their_first_record(kafka: KafkaBroker) -> None:
    topic = kafka.topic()
    with opened(kafka, topic, startingOffsets="latest") as source:
        at = source.initial()
        kafka.add_partitions(topic, 3)
        kafka.produce(topic, [Record("x", partition=2)])
        at, found = until(source, at, 1)
    assert found == ["x"]
    assert at[topic]["2"] == 1


def test_topics_that_match_a_pattern_are_read_as_they_appear(kafka: KafkaBroker) -> None:
    stem = kafka.topic()
    kafka.create_topic(f"{stem}.a")
    with opened(kafka, stem, subscribe=None, subscribePattern=rf"{stem}\..*") as source:
        at = source.initial()
        assert list(at) == [f"{stem}.a"]
        kafka.create_topic(f"{stem}.b")
        kafka.produce(f"{stem}.b", ["new"])
        assert until(source, at, 1)[1] == ["new"]


def test_assigned_partitions_only(kafka: KafkaBroker) -> None:
    topic = kafka.topic(partitions=2)
    kafka.produce(topic, [Record("no", partition=0), Record("yes", partition=1)])
    with opened(kafka, topic, subscribe=None, assign=json.dumps({topic: [1]})) as source:
        assert step(source, source.initial())[1] == ["yes"]
    with (
        pytest.raises(SourceError, match="has no partition 7"),
        opened(kafka, topic, subscribe=None, assign=json.dumps({topic: [7]})),
    ):
        pass


def test_where_a_query_starts(kafka: KafkaBroker) -> None:
    topic = kafka.topic(partitions=2)
    kafka.produce(topic, [Record(str(i), partition=0, timestamp=1000 * (i + 1)) for i in range(3)])

    def start(**options: Any) -> dict[str, int]:
        with opened(kafka, topic, **options) as source:
            found: dict[str, int] = source.initial()[topic]
            return found

    assert start() == {"0": 0, "1": 0}
    assert start(startingOffsets="latest") == {"0": 3, "1": 0}
    assert start(startingOffsets=json.dumps({topic: {"0": 1, "1": -2}})) == {"0": 1, "1": 0}
    assert start(startingOffsets=json.dumps({topic: {"0": -1, "1": -1}})) == {"0": 3, "1": 0}
    late = {"startingOffsetsByTimestampStrategy": "latest"}
    assert start(startingTimestamp=2000, **late) == {"0": 1, "1": 0}
    by_time = json.dumps({topic: {"0": 2001, "1": 0}})
    assert start(startingOffsetsByTimestamp=by_time, **late) == {"0": 2, "1": 0}
    with pytest.raises(SourceError, match="has no record at or after the starting time 9000"):
        start(startingTimestamp=9000)
    with pytest.raises(SourceError, match=f"leaves out topic '{topic}', partition 1"):
        start(startingOffsets=json.dumps({topic: {"0": 1}}))


def test_retention_that_overtakes_the_reader_is_an_error_or_is_counted(kafka: KafkaBroker) -> None:
    topic = kafka.topic()
    kafka.produce(topic, [str(i) for i in range(10)])
    kafka.delete_records(topic, {0: 6})
    start = {topic: {"0": 2}}
    with opened(kafka, topic) as source:
        with pytest.raises(
            DataLossError, match=r"offset 2 is needed, but the first that is left is 6.*failOnDataLoss"
        ):
            source.latest(start, Limits())
        with pytest.raises(DataLossError, match="offset 2 is needed"):
            values(source, start, {topic: {"0": 10}})
    with opened(kafka, topic, failOnDataLoss="false") as source:
        end, found = step(source, start)
        assert found == ["6", "7", "8", "9"]
        assert source.metrics(start, end)["offsetsLost"] == "4"
    with opened(kafka, topic) as source:
        assert source.initial() == {topic: {"0": 6}}


def test_progress_is_committed_to_a_consumer_group(kafka: KafkaBroker) -> None:
    topic = kafka.topic()
    kafka.produce(topic, ["a", "b", "c"])
    with opened(kafka, topic, groupIdPrefix="mill") as source:
        source.for_query("hits")
        at, _ = step(source, source.initial())
        source.committed(at)
        kafka.produce(topic, ["d"])
        source.latest(at, Limits())
        figures = source.metrics(at, at)
    assert kafka.group_offsets("mill-hits") == {(topic, 0): 3}
    assert figures["maxOffsetsBehindLatest"] == "1"
    assert figures[f"lag.{topic}.0"] == "1"


def test_how_far_reading_has_come_is_told_by_the_last_records_time(kafka: KafkaBroker) -> None:
    topic = kafka.topic()
    before = time.time()
    kafka.produce(topic, ["a", "b"])
    with opened(kafka, topic) as source:
        start = source.initial()
        end = source.latest(start, Limits())
        (partition,) = source.partitions(start, end)
        newest = source.read(partition).newest
    assert list(newest) == [f"{topic}.0"]
    assert before - 1 <= newest[f"{topic}.0"] <= time.time() + 1


def test_frozen_is_the_end(kafka: KafkaBroker) -> None:
    topic = kafka.topic()
    kafka.produce(topic, ["a", "b", "c"])
    with opened(kafka, topic, maxOffsetsPerTrigger=2) as source:
        at = source.initial()
        source.freeze()
        kafka.produce(topic, ["later"])
        kafka.add_partitions(topic, 2)
        found = []
        for _ in range(4):
            at, more = step(source, at)
            found += more
    assert found == ["a", "b", "c"]


def test_few_records_wait_for_more_but_not_forever(kafka: KafkaBroker) -> None:
    topic = kafka.topic()
    kafka.produce(topic, ["a", "b"])
    with opened(kafka, topic, minOffsetsPerTrigger=3, maxTriggerDelay="1h") as source:
        start = source.initial()
        assert source.latest(start, source.limits) == start
        assert source.latest(start, Limits()) == {topic: {"0": 2}}  # a trigger that takes all there is
        kafka.produce(topic, ["c"])
        assert until(source, start, 3)[1] == ["a", "b", "c"]
    with opened(kafka, topic, minOffsetsPerTrigger=9, maxTriggerDelay="1ms") as source:
        assert until(source, source.initial(), 3)[1] == ["a", "b", "c"]


def test_a_frozen_source_does_not_end_early_for_want_of_a_broker(own_kafka: KafkaBroker) -> None:
    topic = own_kafka.topic()
    own_kafka.produce(topic, ["a", "b", "c"])
    with opened(own_kafka, topic, maxOffsetsPerTrigger=2) as source:
        start = source.initial()
        source.freeze()
        own_kafka.kill()
        middle = source.latest(start, source.limits)
        end = source.latest(middle, source.limits)
        assert (middle, end) == ({topic: {"0": 2}}, {topic: {"0": 3}})
        assert source.latest(end, source.limits) == end
        own_kafka.start()
        assert values(source, start, end) == ["a", "b", "c"]


def test_a_broker_that_dies_and_comes_back_mid_read(own_kafka: KafkaBroker) -> None:
    topic = own_kafka.topic()
    own_kafka.produce(topic, [f"{i:06d}" for i in range(2_000)])
    with opened(own_kafka, topic, kafka__max__partition__fetch__bytes=2000) as source:
        start = source.initial()
        end = source.latest(start, Limits())
        middle = {topic: {"0": 500}}
        assert len(values(source, start, middle)) == 500
        own_kafka.kill()
        assert source.latest(end, Limits()) == end  # waits for the broker
        with ThreadPoolExecutor(1) as other:
            reading = other.submit(values, source, middle, end)
            own_kafka.start()  # here: a broker dies with the thread that started it
            rest = reading.result()
        assert rest == [f"{i:06d}" for i in range(500, 2_000)]
        own_kafka.produce(topic, ["after"])
        assert until(source, end, 1)[1] == ["after"]


@pytest.mark.parametrize("fast", ["1", "0"])
def test_a_read_that_waits_for_records_ends_when_the_source_is_closed(
    kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch, fast: str
) -> None:
    monkeypatch.setenv("TIDEMILL_KAFKA_BATCH", fast)
    topic = kafka.topic()
    with opened(kafka, topic) as source, ThreadPoolExecutor(1) as other:
        (part,) = source.partitions({topic: {"0": 0}}, {topic: {"0": 5}})
        reading = other.submit(source.read, part)
        source.close()
        with pytest.raises(SourceError, match="was closed while it was read"):
            reading.result()


def test_a_read_gives_up_after_a_while(kafka: KafkaBroker) -> None:
    topic = kafka.topic()
    with opened(kafka, topic, kafkaConsumer__pollTimeoutMs=100) as source:
        (part,) = source.partitions({topic: {"0": 0}}, {topic: {"0": 5}})
        with pytest.raises(SourceError, match=r"nothing came of topic .* at offset 0 for 0\.1 s"):
            source.read(part)


def test_batch_reads_have_both_ends(kafka: KafkaBroker) -> None:
    topic = kafka.topic(partitions=2)
    kafka.produce(topic, [Record(str(i), partition=i % 2) for i in range(6)])
    options = {"kafka.bootstrap.servers": kafka.bootstrap, "subscribe": topic}
    assert sources.batch("kafka", options).num_rows == 6
    ends = {
        "endingOffsets": json.dumps({topic: {"0": 1, "1": -1}}),
        "startingOffsets": json.dumps({topic: {"0": 0, "1": 2}}),
    }
    found = sources.batch("kafka", {**options, **ends})
    assert sorted(found["value"].to_pylist()) == [b"0", b"5"]
    with pytest.raises(SourceError, match="would be empty; use 'earliest'"):
        sources.batch("kafka", {**options, "startingOffsets": "latest"})


def test_an_unreachable_broker_and_a_missing_topic_are_named_before_anything_starts(
    kafka: KafkaBroker,
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(SourceError, match=f"no Kafka broker answers at {nowhere}.*kafka.bootstrap.servers"):
        sources.create("kafka", {"kafka.bootstrap.servers": nowhere, "subscribe": "clicks"})
    topic = kafka.topic()
    with pytest.raises(SourceError, match=f"topic '{topic}x' does not exist at .*did you mean '{topic}'"):
        sources.create("kafka", {"kafka.bootstrap.servers": kafka.bootstrap, "subscribe": f"{topic}x"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "PLAIN",
                "sasl.username": "u",
                "sasl.password": "pw",
            },
            "refuses the connection.*check kafka.sasl.username and kafka.sasl.password",
        ),
        ({"security.protocol": "SSL"}, "no Kafka broker answers at .*: ssl://.*closed by peer"),
    ],
)
def test_a_connection_that_is_refused(kafka: KafkaBroker, options: dict[str, str], message: str) -> None:
    given = {"kafka.bootstrap.servers": kafka.bootstrap, "subscribe": "x"}
    with pytest.raises(SourceError, match=message) as caught:
        sources.create("kafka", given | {f"kafka.{k}": v for k, v in options.items()})
    assert "pw" not in str(caught.value)


def test_a_setting_that_librdkafka_does_not_know(kafka: KafkaBroker) -> None:
    with pytest.raises(SourceError, match=r'No such configuration property: "fetch.mx.bytes".*librdkafka'):
        sources.create(
            "kafka",
            {"kafka.bootstrap.servers": kafka.bootstrap, "subscribe": "x", "kafka.fetch.mx.bytes": "1"},
        )


def test_shares_and_cuts() -> None:
    a, b = ("t", 0), ("t", 1)
    assert share({a: 0, b: 0}, {a: 1000, b: 1}, 10) == {a: 9, b: 1}
    assert share({}, {a: 5, b: 5}, 100) == {a: 5, b: 5}
    assert cut([(a, 0, 10)], 3, None) == [(a, 0, 3), (a, 3, 6), (a, 6, 10)]
    assert cut([(a, 0, 10), (b, 0, 1)], 2, None) == [(a, 0, 10), (b, 0, 1)]
    assert cut([(a, 0, 10)], None, 4) == [(a, 0, 3), (a, 3, 6), (a, 6, 10)]


# --- the two readers


def test_the_fast_reader_gives_what_the_plain_one_gives(
    kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kafka_batch.available(), "librdkafka of the confluent-kafka wheel was not found"
    topic = kafka.topic(partitions=2)
    sizes = [0, 1, 3, 4, 5, 11, 12, 13, 16, 100, 5_000, 300_000]
    records = [
        Record(bytes([65 + i % 26]) * n, key=str(n), partition=i % 2) for i, n in enumerate(sizes * 20)
    ]
    records += [Record(None, key=None, partition=0), Record(b"", key=b"", partition=1, timestamp=1)]
    kafka.produce(topic, records)
    kafka.produce_transaction(topic, [Record("no", partition=1)], commit=False)
    kafka.produce_transaction(topic, [Record("yes", partition=1)])
    end = {topic: {"0": kafka.ends(topic)[0], "1": kafka.ends(topic)[1]}}
    start: Offset = {topic: {"0": 0, "1": 0}}
    middle = {topic: {"0": 7, "1": 50}}
    found = []
    for setting, kind in [("1", BatchReader), ("0", MessageReader)]:
        monkeypatch.setenv("TIDEMILL_KAFKA_BATCH", setting)
        with opened(kafka, topic) as source:
            read = [
                [source.read(p) for p in source.partitions(a, b)]
                for a, b in [(start, middle), (middle, end), (start, end), (middle, end)]
            ]
            assert {type(r) for r in source._readers._idle.values()} == {kind}
        found.append([[(r.table, r.bytes > 0) for r in part] for part in read])
    assert found[0] == found[1]
    whole = pa.concat_tables(t for t, _ in found[0][2])
    assert whole.num_rows == len(records) + 1
    assert sorted(whole["value"].to_pylist(), key=repr) == sorted(
        [*(r.value if r.value is None else bytes(r.value) for r in records), b"yes"], key=repr
    )


def test_ranges_of_one_partition_are_read_at_once(kafka: KafkaBroker) -> None:
    topic = kafka.topic()
    kafka.produce(topic, [str(i) for i in range(1000)])
    with opened(kafka, topic, minPartitions=4) as source, ThreadPoolExecutor(4) as threads:
        parts = source.partitions({topic: {"0": 0}}, {topic: {"0": 1000}})
        for _ in range(3):
            read = [r.table["offset"].to_pylist() for r in threads.map(source.read, parts)]
            assert read == [list(range(i, i + 250)) for i in (0, 250, 500, 750)]
        assert {type(r) for r in source._readers._idle.values()} == {BatchReader}


def test_another_layout_of_librdkafka_falls_back_to_the_plain_reader(
    kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    topic = kafka.topic()
    kafka.produce(topic, ["a", "b"])
    gather = kafka_batch._gather
    monkeypatch.setattr(kafka_batch, "_gather", lambda at: gather(at) ^ (np.arange(9) == 8)[:, None])
    with opened(kafka, topic) as source:
        assert step(source, source.initial())[1] == ["a", "b"]
    assert "are laid out otherwise; Kafka is read the slow way" in caplog.text


@pytest.mark.parametrize("lists", ["none", "others"])
def test_records_are_let_go_one_by_one_where_lists_are_laid_out_otherwise(
    kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch, lists: str
) -> None:
    library = kafka_batch._library()
    others = replace(library.together, count=lambda made: 0) if lists == "others" else None
    monkeypatch.setattr(library, "together", others)
    topic = kafka.topic()
    kafka.produce(topic, [str(i) for i in range(100)])
    with opened(kafka, topic) as source:
        assert step(source, source.initial())[1] == [str(i) for i in range(100)]
    assert library.together is None


@given(st.lists(st.none() | st.binary(max_size=40), max_size=30))
def test_pieces_of_memory_become_a_column(pieces: list[bytes | None]) -> None:
    kept = [None if p is None else ctypes.create_string_buffer(p, max(1, len(p))) for p in pieces]
    at = np.array([0 if k is None else ctypes.addressof(k) for k in kept], np.int64)
    lengths = np.array([0 if p is None else len(p) for p in pieces], np.int64)
    column = kafka_batch.binary(at, lengths)
    column.validate(full=True)
    assert column.to_pylist() == pieces


class Metadata:
    """A cluster's answer to which topics there are: once without a leader of ours, then with one."""

    def __init__(self, troubled: str) -> None:
        self.answers = iter([{troubled: KafkaError.LEADER_NOT_AVAILABLE}, {}])

    def list_topics(self, timeout: float) -> SimpleNamespace:
        errors = next(self.answers)
        topics = {
            name: SimpleNamespace(
                partitions={} if name in errors else {0: None},
                error=KafkaError(errors[name]) if name in errors else None,
            )
            for name in ("ours-1", "ours-2", "theirs")
        }
        return SimpleNamespace(topics=topics)

    def poll(self, timeout: float) -> None:
        pass


@pytest.mark.parametrize("asked", [{"subscribePattern": "ours-.*"}, {"subscribe": "ours-1,ours-2"}])
@pytest.mark.parametrize("troubled", ["ours-2", "theirs"])
def test_a_topic_without_a_leader_for_a_moment_is_not_taken_for_gone(
    asked: dict[str, str], troubled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = KafkaClient(kafka_options({"kafka.bootstrap.servers": "x:1", **asked}))
    monkeypatch.setattr(client, "_admin", Metadata(troubled))
    assert client.partitions() == [("ours-1", 0), ("ours-2", 0)]
