"""Queries that read the same source: what each gets is what it would get alone, and most of it is read once."""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.errors import SourceError
from tidemill.sources.base import Limits, Offset, Partition, Piece, Places, Rows, Source
from tidemill.sources.decoded import Decode, DecodedSource
from tidemill.sources.files import FileSource
from tidemill.sources.segments import LIMIT
from tidemill.sources.shared import SharedSource, share
from tidemill.sources.wrapped import BadRecordsSource
from tidemill.types import parse_ddl, to_arrow_schema

RAW = parse_ddl("value BINARY, topic STRING, partition INT, offset BIGINT")


@dataclass
class Topic:
    """Records of one partition at offsets with gaps between them, and a count of how often each was read."""

    records: dict[int, bytes]
    reads: Counter[int] = field(default_factory=Counter)
    ranges: list[tuple[int, int]] = field(default_factory=list)
    broken: set[int] = field(default_factory=set)
    """Numbers of reads that fail, from 0."""
    calls: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, offsets: list[int], bad: tuple[int, ...] = ()) -> Topic:
        return cls({o: b"oops" if o in bad else f'{{"n": {o}}}'.encode() for o in sorted(offsets)})


class TopicSource(Source):
    """Reads a `Topic` as the Kafka source does."""

    shareable = True
    schema = RAW

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.position: int | None = None
        self.seeks = 0
        """How often the next range did not begin where the last one ended."""

    def initial(self) -> Offset:
        return 0

    def latest(self, start: Offset, limits: Limits) -> Offset:
        return max(self.topic.records, default=-1) + 1

    def partitions(self, start: Offset, end: Offset) -> list[Partition]:
        return [Partition(0, {"from": start, "to": end})] if end > start else []

    def pieces(self, partition: Partition) -> list[Piece]:
        return [Piece("t/0", partition.spec["from"], partition.spec["to"], partition)]

    def cut(self, piece: Piece, start: int, end: int) -> Partition:
        return replace(piece.partition, spec={"from": start, "to": end})

    def read(self, partition: Partition) -> Rows:
        start, end = partition.spec["from"], partition.spec["to"]
        found = {o: v for o, v in self.topic.records.items() if start <= o < end}
        with self.topic.lock:
            number, self.topic.calls = self.topic.calls, self.topic.calls + 1
            if number in self.topic.broken:
                raise SourceError("the broker is gone")
            self.topic.reads.update(list(found))
            self.topic.ranges.append((start, end))
            self.seeks += self.position is not None and self.position != start
            self.position = end
        offsets = np.array(list(found), np.int64)
        values = list(found.values())
        columns: list[Any] = [values, ["t"] * len(values), [0] * len(values), offsets]
        table = pa.table(columns, schema=to_arrow_schema(RAW))
        last = {"t.0": float(offsets[-1])} if len(offsets) else {}
        return Rows(
            table, bytes=sum(map(len, values)), newest=last, places=Places(offsets, offsets * 1_000_000)
        )


DECODE = Decode("json", parse_ddl("n BIGINT"), ("offset",))


@contextmanager
def queries(topic: Topic, count: int, limit: int = LIMIT, kind: str = "raw") -> Iterator[list[Source]]:
    """Sources of as many queries; of kind ``decoded`` the last one reads the bad records."""
    key = object()
    made: list[Source] = []
    for i in range(count):
        source: Source = TopicSource(topic)
        if kind == "decoded":
            source = DecodedSource(source, DECODE)
            source = BadRecordsSource(source) if i == count - 1 else source
        made.append(share(source, key, limit))
    try:
        yield made
    finally:
        for source in made:
            source.close()


def consumer(source: Source) -> TopicSource:
    while not isinstance(source, TopicSource):
        source = source.inner  # type: ignore[attr-defined]
    return source


def alone(topic: Topic, like: Source) -> Source:
    """The same source, of a query that shares nothing."""
    if isinstance(like, BadRecordsSource):
        return BadRecordsSource(DecodedSource(TopicSource(topic), DECODE))
    if like.schema.names == RAW.names:
        return TopicSource(topic)
    return DecodedSource(TopicSource(topic), DECODE)


def piece(start: int, end: int) -> Partition:
    return Partition(0, {"from": start, "to": end})


def offsets(rows: Rows) -> list[int]:
    return [int(o) for o in rows.table["offset"].to_pylist()]


# What is read once


def test_queries_at_one_pace_read_every_record_once() -> None:
    topic = Topic.of(list(range(0, 3000, 3)))
    with queries(topic, 3) as sources:
        for start in range(0, 3000, 500):
            read = [s.read(piece(start, start + 500)) for s in sources]
            assert [offsets(r) for r in read] == [[o for o in topic.records if start <= o < start + 500]] * 3
            assert [r.saved_reads for r in read] == [0, 1, 1]
            assert [r.saved for r in read] == [0, read[0].bytes, read[0].bytes]
    assert set(topic.reads.values()) == {1}
    assert [consumer(s).seeks for s in sources] == [0, 0, 0]


def test_what_all_have_taken_is_let_go() -> None:
    topic = Topic.of(list(range(1000)))
    with queries(topic, 2) as (a, b):
        assert isinstance(a, SharedSource)
        a.read(piece(0, 600))
        b.read(piece(0, 400))
        assert len(a.reads.segments) == 1
        b.read(piece(400, 700))
        assert len(a.reads.segments) == 1  # the one from 600 on, which a has yet to take
        a.read(piece(600, 1000))
        b.close()
        assert (len(a.reads.segments), a.reads.segments.size) == (0, 0)


def test_batches_that_end_elsewhere_share_what_they_have_in_common() -> None:
    topic = Topic.of(list(range(1000)))
    with queries(topic, 2) as (a, b):
        a.read(piece(0, 300))
        assert offsets(b.read(piece(0, 500))) == list(range(500))
        assert offsets(a.read(piece(300, 900))) == list(range(300, 900))
        assert offsets(b.read(piece(500, 1000))) == list(range(500, 1000))
    assert set(topic.reads.values()) == {1}
    assert topic.ranges == [(0, 300), (300, 500), (500, 900), (900, 1000)]
    assert consumer(a).seeks == consumer(b).seeks == 0
    assert consumer(b).position is None  # one consumer has read it all


def test_good_and_bad_records_come_of_one_decoding() -> None:
    topic = Topic.of(list(range(100)), bad=(3, 40, 41, 99))
    with queries(topic, 3, kind="decoded") as (a, b, letters):
        assert letters.read(piece(0, 50)).table["offset"].to_pylist() == ["3", "40", "41"]
        good = [o for o in range(100) if o not in (3, 40, 41, 99)]
        assert offsets(a.read(piece(0, 100))) == good
        both = b.read(piece(0, 100))
        assert (offsets(both), both.bad["offset"].to_pylist()) == (good, ["3", "40", "41", "99"])
        assert letters.read(piece(50, 100)).table["offset"].to_pylist() == ["99"]
    assert set(topic.reads.values()) == {1}


def test_the_second_waits_for_the_read_of_the_first() -> None:
    topic = Topic.of(list(range(100)))
    entered, go = threading.Event(), threading.Event()
    with queries(topic, 2) as (a, b), ThreadPoolExecutor(2) as pool:
        inner = consumer(a)
        slow = inner.read

        def read(partition: Partition) -> Rows:
            entered.set()
            assert go.wait(30)
            return slow(partition)

        inner.read = read  # type: ignore[method-assign]
        first = pool.submit(a.read, piece(0, 100))
        assert entered.wait(30)
        second = pool.submit(b.read, piece(20, 80))
        assert not second.done()
        go.set()
        assert offsets(first.result(30)) == list(range(100))
        assert offsets(second.result(30)) == list(range(20, 80))
    assert set(topic.reads.values()) == {1}


# Who reads alone


def test_one_query_keeps_nothing() -> None:
    topic = Topic.of(list(range(100)))
    with queries(topic, 1) as (a,):
        assert isinstance(a, SharedSource)
        assert offsets(a.read(piece(0, 100))) == list(range(100))
        assert a.read(piece(0, 100)).saved_reads == 0
        assert len(a.reads.segments) == 0


def test_a_query_that_falls_behind_reads_alone_and_disturbs_nobody() -> None:
    topic = Topic.of(list(range(10_000)))
    with queries(topic, 3, limit=40_000) as (a, b, late):
        late.read(piece(0, 100))
        for start in range(0, 10_000, 100):
            a.read(piece(start, start + 100))
            b.read(piece(start, start + 100))
            if start == 5_000:
                assert offsets(late.read(piece(100, 4_000))) == list(range(100, 4_000))
        assert isinstance(a, SharedSource)
        assert a.reads.segments.size <= 40_000
        assert offsets(late.read(piece(4_000, 10_000))) == list(range(4_000, 10_000))
        assert len(a.reads.segments) == 0
    # What it was too late for was read twice; nothing more often, and the rest once.
    assert set(topic.reads.values()) == {1, 2}
    assert topic.reads[9_999] == 1
    # Its own consumer went to and fro no more than it did; that of the others once took over.
    assert consumer(a).seeks + consumer(b).seeks <= 1


def test_it_reads_with_the_others_again_when_it_has_caught_up() -> None:
    topic = Topic.of(list(range(4_000)))
    with queries(topic, 2, limit=20_000) as (a, late):
        for start in range(0, 2_000, 100):
            a.read(piece(start, start + 100))
        late.read(piece(0, 2_000))
        topic.reads.clear()
        for start in range(2_000, 4_000, 100):
            a.read(piece(start, start + 100))
            assert late.read(piece(start, start + 100)).saved_reads == 1
    assert set(topic.reads.values()) == {1}


def test_no_limit_means_no_sharing() -> None:
    source = TopicSource(Topic.of([]))
    assert share(source, "key", 0) is source


def test_a_new_query_takes_nothing_that_was_read_before_it_came() -> None:
    topic = Topic.of(list(range(100)))
    with queries(topic, 2) as (a, b):
        a.read(piece(0, 100))
        assert isinstance(a, SharedSource)
        c = share(TopicSource(topic), a.reads.key, LIMIT)
        assert c.read(piece(0, 100)).saved_reads == 0
        assert b.read(piece(0, 100)).saved_reads == 1
        c.close()


# What goes wrong


def test_an_error_of_one_query_is_not_the_others() -> None:
    topic = Topic.of(list(range(100)))
    topic.broken = {0}
    with queries(topic, 2) as (a, b):
        with pytest.raises(SourceError, match="gone"):
            a.read(piece(0, 100))
        assert offsets(b.read(piece(0, 100))) == list(range(100))
        assert a.read(piece(0, 100)).saved_reads == 1


def test_who_waited_for_a_read_that_fails_reads_for_itself() -> None:
    topic = Topic.of(list(range(100)))
    entered, go = threading.Event(), threading.Event()

    def fail(partition: Partition) -> Rows:
        entered.set()
        assert go.wait(30)
        raise SourceError("the query has ended")

    with queries(topic, 2) as (a, b), ThreadPoolExecutor(2) as pool:
        consumer(a).read = fail  # type: ignore[method-assign]
        first = pool.submit(a.read, piece(0, 100))
        assert entered.wait(30)
        second = pool.submit(b.read, piece(20, 80))
        go.set()
        assert offsets(second.result(30)) == list(range(20, 80))
        with pytest.raises(SourceError, match="ended"):
            first.result(30)
        assert isinstance(a, SharedSource)
        assert a.reads.segments.empty


def test_a_consumer_that_is_closed_under_another_query_is_replaced() -> None:
    topic = Topic.of(list(range(200)))
    with queries(topic, 3) as (a, b, c):
        a.read(piece(0, 100))
        topic.broken = {1}  # a's consumer, as if a had ended
        assert offsets(b.read(piece(0, 200))) == list(range(200))
        assert consumer(b).position == 200
        a.close()
        assert offsets(c.read(piece(0, 200))) == list(range(200))


def test_queries_that_nobody_closed_keep_nothing_alive() -> None:
    topic = Topic.of(list(range(100)))
    with queries(topic, 2) as (a, b):
        assert isinstance(a, SharedSource)
        forgotten = share(TopicSource(topic), a.reads.key, LIMIT)
        del forgotten
        for source in (a, b):
            source.read(piece(0, 100))
        assert len(a.reads.segments) == 0


# The property


@st.composite
def runs(draw: st.DrawFn) -> tuple[Topic, list[list[tuple[int, int]]], int, str, random.Random]:
    """A topic, the ranges that each query reads one after the other, and the bytes that are kept."""
    end = draw(st.integers(1, 400))
    there = draw(st.sets(st.integers(0, end - 1), max_size=end))
    bad = draw(st.sets(st.sampled_from(sorted(there)), max_size=5)) if there else set()
    topic = Topic.of(sorted(there), tuple(bad))
    topic.broken = draw(st.sets(st.integers(0, 20), max_size=3))
    ranges = []
    for _ in range(draw(st.integers(2, 4))):
        marks = sorted({draw(st.integers(0, end)), end, *draw(st.sets(st.integers(0, end), max_size=6))})
        spans = list(itertools.pairwise(marks))
        ranges.append([s for s in spans for _ in range(draw(st.sampled_from([1, 1, 1, 2])))])
    limit = draw(st.sampled_from([1, 3_000, 6_000, 20_000, LIMIT]))
    return topic, ranges, limit, draw(st.sampled_from(["raw", "decoded"])), draw(st.randoms())


def told(rows: Rows) -> tuple[Any, ...]:
    return rows.table.to_pylist(), rows.table.schema, rows.bad.to_pylist(), dict(rows.newest)


def until_read(source: Source, span: tuple[int, int]) -> Rows:
    for _ in range(20):
        try:
            return source.read(piece(*span))
        except SourceError:
            continue
    raise AssertionError("it fails for good")


def check(topic: Topic, source: Source, span: tuple[int, int], rows: Rows) -> None:
    again = Topic(topic.records)
    assert told(rows) == told(alone(again, source).read(piece(*span)))


@given(runs())
@settings(max_examples=150)
def test_every_query_gets_what_it_would_get_alone(run: Any) -> None:
    topic, ranges, limit, kind, chance = run
    with queries(topic, len(ranges), limit, kind) as sources:
        left = [(s, list(r)) for s, r in zip(sources, ranges, strict=True)]
        while left := [(s, r) for s, r in left if r]:
            source, spans = chance.choice(left)
            span = spans.pop(0)
            check(topic, source, span, until_read(source, span))
        shared = next(s for s in sources if isinstance(s, SharedSource)).reads.segments
        assert shared.size <= limit
        for source in sources:
            source.close()
        assert (len(shared), shared.size) == (0, 0)


@given(runs())
@settings(max_examples=60)
def test_so_it_does_on_threads(run: Any) -> None:
    topic, ranges, limit, kind, _ = run
    start = threading.Barrier(len(ranges))

    def work(source: Source, spans: list[tuple[int, int]]) -> None:
        start.wait(30)
        # Two pieces at a time, as the tasks of a batch are.
        with ThreadPoolExecutor(2) as tasks:
            for span, rows in zip(spans, tasks.map(lambda s: until_read(source, s), spans), strict=True):
                check(topic, source, span, rows)

    with queries(topic, len(ranges), limit, kind) as sources, ThreadPoolExecutor(len(ranges)) as pool:
        for done in [pool.submit(work, s, r) for s, r in zip(sources, ranges, strict=True)]:
            done.result(60)


# Files


@pytest.mark.parametrize(("count", "times"), [(12, {1}), (40, {2})])
def test_files_are_read_once_whatever_columns_the_queries_take(
    tmp_path: Path, count: int, times: set[int]
) -> None:
    """Of many small ones in several directories only those queries share that take the same of these."""
    reads: Counter[str] = Counter()

    def make(schema: Any) -> Source:
        source = FileSource("json", {"path": str(tmp_path)}, schema)
        read = source.read

        def counted(partition: Partition) -> Rows:
            reads.update(Path(f[0]).name for f in partition.spec["files"])
            return read(partition)

        source.read = counted  # type: ignore[method-assign]
        return source

    for day in (1, 2):
        (tmp_path / f"day={day}").mkdir()
    schemas = [parse_ddl("a BIGINT, day INT"), parse_ddl("b STRING"), parse_ddl("a BIGINT, day INT")]
    sources = [share(make(s), str(tmp_path), LIMIT, make) for s in schemas]
    for n in range(count):
        (tmp_path / f"day={n % 2 + 1}" / f"{n:02}.json").write_text(f'{{"a": {n}, "b": "x{n}"}}\n')
    ends = [s.latest(s.initial(), Limits()) for s in sources]
    for source, schema, end in zip(sources, schemas, ends, strict=True):
        own = FileSource("json", {"path": str(tmp_path)}, schema)
        (part,) = source.partitions(source.initial(), end)
        rows, expected = source.read(part), own.read(part)
        assert rows.table.equals(expected.table)
        assert rows.bytes == expected.bytes
    assert len(reads) == count and set(reads.values()) == times
    for source in sources:
        source.close()


def test_a_column_of_another_query_that_cannot_be_read_does_not_stop_this_one(tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    def make(schema: Any) -> Source:
        return FileSource("parquet", {"path": str(tmp_path)}, schema)

    good = share(make(parse_ddl("a BIGINT")), str(tmp_path), LIMIT, make)
    bad = share(make(parse_ddl("b DATE")), str(tmp_path), LIMIT, make)
    parquet.write_table(pa.table({"a": [1, 2], "b": [[1], [2]]}), tmp_path / "1.parquet")
    (part,) = good.partitions(good.initial(), good.latest(good.initial(), Limits()))
    assert good.read(part).table["a"].to_pylist() == [1, 2]
    with pytest.raises(SourceError, match="'b'"):
        bad.read(part)
    good.close()
    bad.close()
