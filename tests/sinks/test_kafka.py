"""The Kafka sink against a real broker: exactly once through crashes, zombies, time-outs and restarts."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from tests.services.kafka import KafkaBroker
from tidemill import sinks
from tidemill.errors import AnalysisException, FencedError, IllegalArgumentException, SinkError
from tidemill.sinks import kafka as kafka_sink
from tidemill.sinks import transactions
from tidemill.sinks.base import Committable, Generation, TaskId
from tidemill.sinks.encoding import Encoding
from tidemill.sinks.kafka import KafkaSink
from tidemill.sinks.markers import Marker, group
from tidemill.types import StructType, to_arrow_schema

VALUE = StructType.fromDDL("value STRING")


class Job:
    """One query's life over several drivers."""

    def __init__(self, broker: KafkaBroker, schema: StructType = VALUE, **options: Any) -> None:
        self.broker, self.schema, self.query = broker, schema, str(uuid.uuid4())
        self.topic = broker.topic(partitions=3)
        self.options = {"kafka.bootstrap.servers": broker.bootstrap, "topic": self.topic, **options}
        self.number = 0

    def driver(self, batch: int = 0, doubt: Sequence[Committable] | None = None, tasks: int = 1) -> KafkaSink:
        """A new driver, its older ones still there."""
        self.number += 1
        sink = sinks.create("kafka", self.options, self.schema)
        assert isinstance(sink, KafkaSink)
        sink.open(Generation(self.number, uuid.uuid4().hex), self.query, tasks)
        sink.recover(self.query, batch, doubt)
        return sink

    def prepare(self, sink: KafkaSink, batch: int, *tasks: list[Any]) -> list[Committable]:
        tables = [pa.Table.from_pylist(_rows(rows), schema=to_arrow_schema(self.schema)) for rows in tasks]
        return [sink.prepare(TaskId(self.query, batch, n), table) for n, table in enumerate(tables)]

    def seen(self) -> list[str]:
        return sorted(str(v) for v in self.broker.values(self.topic))


def _rows(rows: list[Any]) -> list[dict[str, Any]]:
    return [r if isinstance(r, dict) else {"value": r} for r in rows]


class Crash(BaseException):
    """The process is gone; nothing after this runs."""


POINTS = ["begin_transaction", "produce", "send_offsets_to_transaction", "commit_transaction"]


class DyingProducer(Producer):  # type: ignore[misc]
    """A producer whose process dies before or after one of its calls."""

    point, after = "", False

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        if self.point == name and not self.after:
            raise Crash
        found = getattr(super(), name)(*args, **kwargs)
        if self.point == name:
            raise Crash
        return found

    def begin_transaction(self, *args: Any) -> Any:
        return self._call("begin_transaction", *args)

    def produce(self, *args: Any, **kwargs: Any) -> Any:
        return self._call("produce", *args, **kwargs)

    def send_offsets_to_transaction(self, *args: Any) -> Any:
        return self._call("send_offsets_to_transaction", *args)

    def commit_transaction(self, *args: Any) -> Any:
        return self._call("commit_transaction", *args)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("whole", [True, False], ids=["one transaction", "one for each task"])
def test_a_driver_dies_in_mid_commit(
    kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch, point: str, after: bool, whole: bool
) -> None:
    if not whole:
        monkeypatch.setattr(kafka_sink, "WHOLE_BYTES", 0)
    job = Job(kafka)
    first = job.driver(tasks=2)
    first.commit(0, job.prepare(first, 0, ["a"], ["b"]))
    prepared = job.prepare(first, 1, ["c"], ["d"])
    _make_die(monkeypatch, first, (0 if whole else 1, 1), point, after)
    with pytest.raises(Crash):
        first.commit(1, prepared)
    second = job.driver(1, prepared, tasks=2)
    second.commit(1, prepared)
    second.commit(2, job.prepare(second, 2, ["e"]))
    assert job.seen() == ["a", "b", "c", "d", "e"]


def _make_die(
    monkeypatch: pytest.MonkeyPatch, sink: KafkaSink, key: tuple[int, int], point: str, after: bool
) -> None:
    assert sink._transactions is not None
    sink._transactions._forget(*key)
    monkeypatch.setattr(DyingProducer, "point", "")
    with monkeypatch.context() as patched:
        patched.setattr("confluent_kafka.Producer", DyingProducer)
        sink._transactions._producer(*key)
    monkeypatch.setattr(DyingProducer, "point", point)
    monkeypatch.setattr(DyingProducer, "after", after)


@pytest.mark.parametrize("counts", [(1, 3), (3, 1)], ids=["more tasks", "fewer tasks"])
def test_another_number_of_tasks_after_a_restart(
    kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch, counts: tuple[int, int]
) -> None:
    monkeypatch.setattr(kafka_sink, "WHOLE_BYTES", 0)
    job = Job(kafka)
    before, then = counts
    first = job.driver(tasks=before)
    first.commit(0, job.prepare(first, 0, *([f"0-{n}"] for n in range(before))))
    doubt = job.prepare(first, 1, *([f"1-{n}"] for n in range(before)))
    first.commit(1, doubt)
    second = job.driver(1, doubt, tasks=before)
    second.commit(1, doubt)
    second.commit(2, job.prepare(second, 2, *([f"2-{n}"] for n in range(then))))
    expected = [f"{b}-{n}" for b, count in enumerate((before, before, then)) for n in range(count)]
    assert job.seen() == sorted(expected)


def test_a_zombie_writes_nothing(kafka: KafkaBroker) -> None:
    job = Job(kafka)
    old = job.driver()
    old.commit(0, job.prepare(old, 0, ["a"]))
    late = job.prepare(old, 1, ["zombie"])
    new = job.driver(1, None)
    for batch in (1, 2):
        with pytest.raises(FencedError, match="has taken over its Kafka output"):
            old.commit(batch, late)
    new.commit(1, job.prepare(new, 1, ["b"]))
    assert job.seen() == ["a", "b"]


def test_a_zombie_that_lost_its_producer_does_not_fence_the_new_driver(kafka: KafkaBroker) -> None:
    """It would begin anew with the same transactional id; the marker tells it in time whose turn it is."""
    job = Job(kafka)
    old = job.driver()
    old.commit(0, job.prepare(old, 0, ["a"]))
    late = job.prepare(old, 1, ["zombie"])
    new = job.driver(1, None)
    assert old._transactions is not None
    producer = old._transactions._producer(0, 1)
    producer.client = _TimesOut()
    with pytest.raises(FencedError):
        old.commit(1, late)
    new.commit(1, job.prepare(new, 1, ["b"]))
    new.commit(2, job.prepare(new, 2, ["c"]))
    assert job.seen() == ["a", "b", "c"]


class _TimesOut:
    """A producer that gets no answer."""

    def begin_transaction(self) -> None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no answer"))


@pytest.mark.parametrize("written", [False, True])
def test_a_commit_that_times_out_is_looked_up(
    kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    job = Job(kafka)
    sink = job.driver()
    sink.commit(0, job.prepare(sink, 0, ["a"]))
    write, calls = transactions._Producer.write, []

    def slow(self: Any, *args: Any) -> None:
        calls.append(self)
        if len(calls) == 1 and not written:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no answer"))
        write(self, *args)
        if len(calls) == 1:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no answer"))

    monkeypatch.setattr(transactions._Producer, "write", slow)
    sink.commit(1, job.prepare(sink, 1, ["b"]))
    assert len(calls) == (1 if written else 2)
    assert len(set(calls)) == len(calls), "the producer is thrown away"
    sink.commit(2, job.prepare(sink, 2, ["c"]))
    assert job.seen() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("open_for", "raised", "says"),
    [
        (1.0, FencedError, "a newer driver of query q has taken over"),
        (
            61.0,
            SinkError,
            r"open for 61 s, and Kafka has ended it after 60 s .*kafka\.transaction\.timeout\.ms",
        ),
    ],
)
def test_a_transaction_open_for_too_long_is_not_taken_for_a_newer_driver(
    monkeypatch: pytest.MonkeyPatch, open_for: float, raised: type[Exception], says: str
) -> None:
    class Fenced:
        failed, broken, client = None, False, None

        def __init__(self, *given: object) -> None:
            self.began = time.monotonic() - open_for

        def write(self, *given: object) -> None:
            raise KafkaException(KafkaError(KafkaError._FENCED))

    monkeypatch.setattr(transactions, "_Producer", Fenced)
    monkeypatch.setattr(transactions.Markers, "group_metadata", lambda self, task: None)
    made = transactions.Transactions({}, "q", Generation(1, "t"))
    with pytest.raises(raised, match=says):
        made.send(0, 0, Marker(1, 1, "t", 0), lambda client: None)


def test_the_leftovers_of_an_aborted_transaction_are_no_rows(kafka: KafkaBroker) -> None:
    job = Job(kafka)
    first = job.driver()
    first.commit(0, job.prepare(first, 0, ["a"]))
    assert first._transactions is not None
    client = first._transactions._producer(0, 1).client
    client.begin_transaction()
    client.produce(job.topic, b"left open")
    client.flush(10)
    second = job.driver(1, None)
    second.commit(1, job.prepare(second, 1, ["b"]))
    assert job.seen() == ["a", "b"]
    assert "left open" in kafka.values(job.topic, isolation="read_uncommitted")


def test_the_broker_restarts_in_mid_commit(own_kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "OFFSETS_SECONDS", 2.0)
    job = Job(own_kafka)
    sink = job.driver()
    sink.commit(0, job.prepare(sink, 0, ["first"]))
    prepared = [job.prepare(sink, batch, [f"{batch}"] * 50) for batch in range(1, 40)]
    done, failed = threading.Event(), []

    def write() -> None:
        try:
            for batch, parts in enumerate(prepared, 1):
                sink.commit(batch, parts)
                if batch == 5:
                    done.set()
        except Exception as error:
            failed.append(error)
        finally:
            done.set()

    writer = threading.Thread(target=write)
    writer.start()
    done.wait()
    own_kafka.kill()
    own_kafka.restart()
    writer.join()
    assert failed == []
    assert job.seen() == sorted(["first", *(f"{b}" for b in range(1, 40) for _ in range(50))])


# --- Markers --------------------------------------------------------------------------------------------------------


def test_a_checkpoint_older_than_the_output_is_refused(kafka: KafkaBroker) -> None:
    job = Job(kafka)
    sink = job.driver()
    for batch in range(3):
        sink.commit(batch, job.prepare(sink, batch, [f"{batch}"]))
    with pytest.raises(
        SinkError, match=r"holds batch 2 of query .* the checkpoint is at batch 1: it is older"
    ):
        job.driver(1, None)
    other = job.prepare(sink, 2, ["something else"])
    with pytest.raises(SinkError, match="with other content"):
        job.driver(2, other)


def test_a_marker_that_may_have_expired_is_not_taken_for_unwritten(kafka: KafkaBroker) -> None:
    job = Job(kafka)
    sink = job.driver()
    prepared = job.prepare(sink, 0, ["a"])
    old = [replace(c, meta={**c.meta, "at": int(time.time()) - 8 * 86400}) for c in prepared]
    with pytest.raises(
        SinkError, match=r"cannot be known: it was prepared 8\.0 days ago.*offsets\.retention\.minutes"
    ):
        job.driver(0, old)
    recent = [replace(c, meta={**c.meta, "at": int(time.time()) - 5 * 86400}) for c in prepared]
    job.driver(0, recent).commit(0, recent)
    assert job.seen() == ["a"]


def test_markers_can_be_read_by_lag_tools(kafka: KafkaBroker) -> None:
    job = Job(kafka)
    sink = job.driver()
    sink.commit(7, job.prepare(sink, 7, ["a"]))
    assert kafka.group_offsets(group(job.query, 0)) == {(job.topic, 0): 8}


# --- Records --------------------------------------------------------------------------------------------------------


def test_every_column_of_a_record(kafka: KafkaBroker) -> None:
    topic = kafka.topic(partitions=3)
    schema = StructType.fromDDL(
        "key STRING, value BINARY, topic STRING, partition INT, headers ARRAY<STRUCT<key: STRING, value: BINARY>>"
    )
    job = Job(kafka, schema)
    job.options.pop("topic")
    sink = job.driver()
    headers = [{"key": "h", "value": b"1"}]
    rows = [
        {"key": "k", "value": b"\x00\xff", "topic": job.topic, "partition": 2, "headers": headers},
        {"key": None, "value": None, "topic": topic, "partition": None, "headers": None},
    ]
    sink.commit(0, job.prepare(sink, 0, rows))
    (one,) = kafka.consume_all(job.topic)
    assert (one.key, one.value, one.partition) == (b"k", b"\x00\xff", 2)
    assert [tuple(h) for h in one.headers] == [("h", b"1")]
    (two,) = kafka.consume_all(topic)
    assert (two.key, two.value) == (None, None)
    nobody = job.prepare(sink, 1, [{"value": b"x", "topic": job.topic}, {"value": b"x"}])
    with pytest.raises(SinkError, match="null topic present in the data"):
        sink.commit(1, nobody)
    second = job.driver(1, None)
    second.commit(1, job.prepare(second, 1, [{"value": b"y", "topic": job.topic}]))
    assert len(kafka.consume_all(job.topic)) == 2


def test_an_encoded_record_holds_all_columns_and_the_key_some(kafka: KafkaBroker) -> None:
    schema = StructType.fromDDL("host STRING, t TIMESTAMP, hits BIGINT, share DOUBLE")
    job = Job(kafka, schema)
    encoding = Encoding("json", key=("HOST",))
    sink = sinks.create("kafka", job.options, schema, "update", encoding=encoding)
    sink.open(Generation(1, "t"), job.query, 1)
    rows = {"host": "a", "t": dt.datetime(2020, 1, 2, 3, 4, 5, 678000), "hits": 3, "share": None}
    table = pa.Table.from_pylist([rows], schema=to_arrow_schema(schema))
    sink.commit(0, [sink.prepare(TaskId(job.query, 0, 0), table)])
    (record,) = kafka.consume_all(job.topic)
    assert record.key == b"a"
    assert record.value is not None
    assert json.loads(record.value) == {"host": "a", "t": "2020-01-02T03:04:05.678Z", "hits": 3}


def test_at_least_once(kafka: KafkaBroker) -> None:
    job = Job(kafka, exactlyOnce="false")
    sink = job.driver()
    parts = job.prepare(sink, 0, ["a", "b"])
    sink.commit(0, parts)
    sink.commit(0, parts)
    sink.commit(1, job.prepare(sink, 1, ["c"]))
    assert job.seen() == ["a", "b", "c"]
    assert kafka.group_offsets(group(job.query, 0)) == {}


def test_a_batch_write(kafka: KafkaBroker) -> None:
    topic = kafka.topic()
    options = {"kafka.bootstrap.servers": kafka.bootstrap, "topic": topic}
    rows = pa.table({"value": ["a", "b"]})
    sinks.write(rows, "kafka", options, VALUE)
    sinks.write(rows, "kafka", options, VALUE, "append")
    assert kafka.values(topic) == ["a", "b", "a", "b"]
    with pytest.raises(AnalysisException, match="Save mode Overwrite not allowed for Kafka"):
        sinks.write(rows, "kafka", options, VALUE, "overwrite")


# --- Wrong input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ddl", "options", "says"),
    [
        ("v STRING", {"topic": "t"}, "Required attribute 'value' not found"),
        ("value STRING", {}, "topic option required when no 'topic' attribute is present"),
        (
            "value INT",
            {"topic": "t"},
            r"value attribute unsupported type int. value must be a\(n\) string or binary",
        ),
        ("value STRING, key INT", {"topic": "t"}, "key attribute unsupported type int"),
        ("value STRING, partition STRING", {"topic": "t"}, "partition attribute unsupported type string"),
        (
            "value STRING",
            {"topic": "t", "kafka.transactional.id": "x"},
            "cannot be set: it is made of the query's id",
        ),
        ("value STRING", {"topik": "t"}, "option 'topik' is not one of format kafka; did you mean 'topic'"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_starts(
    ddl: str, options: dict[str, str], says: str
) -> None:
    with pytest.raises(AnalysisException, match=says):
        sinks.create("kafka", {"kafka.bootstrap.servers": "nowhere:1", **options}, StructType.fromDDL(ddl))


def test_brokers_have_to_be_named() -> None:
    with pytest.raises(IllegalArgumentException, match=r"'kafka\.bootstrap\.servers' is not specified"):
        sinks.create("kafka", {"topic": "t"}, VALUE)


def test_an_unreachable_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemill.sinks.kafkaclient.ANSWER_SECONDS", 0.5)
    sink = sinks.create("kafka", {"kafka.bootstrap.servers": "127.0.0.1:1", "topic": "t"}, VALUE)
    with pytest.raises(SinkError, match=r"no Kafka broker answers at 127\.0\.0\.1:1 .*check the option"):
        sink.open(Generation(1, "t"), "q", 1)


def test_a_missing_topic(kafka: KafkaBroker) -> None:
    topic = kafka.topic()
    options = {"kafka.bootstrap.servers": kafka.bootstrap, "topic": topic + "x"}
    with pytest.raises(SinkError, match=rf"topic '{topic}x' is not on the broker .*did you mean"):
        sinks.create("kafka", options, VALUE).open(Generation(1, "t"), "q", 1)


def test_a_setting_that_librdkafka_does_not_know(kafka: KafkaBroker) -> None:
    options = {"kafka.bootstrap.servers": kafka.bootstrap, "topic": "t", "kafka.max.block.ms": "1"}
    with pytest.raises(AnalysisException, match=r"max\.block\.ms"):
        sinks.create("kafka", options, VALUE).open(Generation(1, "t"), "q", 1)


def test_a_record_too_large_stops_the_query_and_leaves_nothing(kafka: KafkaBroker) -> None:
    job = Job(kafka)
    sink = job.driver()
    with pytest.raises(SinkError, match=r"Kafka refuses the rows .*MSG_SIZE_TOO_LARGE"):
        sink.commit(0, job.prepare(sink, 0, ["small", "x" * 2_000_000]))
    assert job.seen() == []
