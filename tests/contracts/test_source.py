"""What every source promises, whatever it reads."""

from __future__ import annotations

import itertools
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from tests.services.kafka import KafkaBroker
from tidemill.clock import Clock
from tidemill.sources.base import BAD_SCHEMA, Limits, Offset, Source
from tidemill.sources.decoded import Decode, DecodedSource
from tidemill.sources.files import FileSource
from tidemill.sources.kafka import KafkaSource
from tidemill.sources.memory import MemoryLog, MemorySource
from tidemill.sources.rate import RatePerBatchSource, RateSource
from tidemill.sources.segments import LIMIT
from tidemill.sources.shared import share
from tidemill.sources.socket import SocketSource
from tidemill.types import parse_ddl, to_arrow_schema

NO_LIMITS = Limits()


@dataclass
class Subject:
    """A source and a way to give it more; ``again`` makes the source as a restarted process would."""

    source: Source
    add: Callable[[int], None]
    again: Callable[[], Source]
    limits: Limits = NO_LIMITS
    """What makes it take less than everything."""
    endless: bool = False
    """It always has more."""


def memory(_: Path) -> Iterator[Subject]:
    log = MemoryLog(parse_ddl("a BIGINT"))
    subject = Subject(
        MemorySource(log),
        lambda i: log.append(pa.table({"a": [i, i + 1]})) and None,
        lambda: MemorySource(log),
    )
    yield subject
    subject.source.close()


def files(folder: Path, format: str, **options: str) -> Iterator[Subject]:
    schema = parse_ddl("value STRING" if format == "text" else "a BIGINT")
    given = {"path": str(folder), **options}

    def add(i: int) -> None:
        hidden, path = folder / f".{i}", folder / f"{i:04d}.{format}"
        text = {
            "json": f'{{"a": {i}}}\n{{"a": {i + 1}}}\n',
            "csv": f"{i}\n{i + 1}\n",
            "text": f"{i}\n{i + 1}\n",
        }
        if format == "parquet":
            parquet.write_table(pa.table({"a": [i, i + 1]}), hidden)
        else:
            hidden.write_text(text[format])
        hidden.rename(path)

    yield Subject(
        FileSource(format, given, schema), add, lambda: FileSource(format, given, schema), Limits(files=1)
    )


def kafka(broker: KafkaBroker, decoded: bool) -> Iterator[Subject]:
    topic = broker.topic(partitions=2)
    options = {
        "kafka.bootstrap.servers": broker.bootstrap,
        "subscribe": topic,
        "startingOffsets": "earliest",
    }

    def make() -> Source:
        source = KafkaSource(options)
        return (
            DecodedSource(source, Decode("json", parse_ddl("a BIGINT"), ("offset",))) if decoded else source
        )

    subject = Subject(
        make(),
        lambda i: broker.produce(topic, [f'{{"a": {i}}}', f'{{"a": "{i}"}}']),
        make,
        Limits(rows=1),
    )
    yield subject
    subject.source.close()


def rate(_: Path) -> Iterator[Subject]:
    now = [1_000_000.0]
    clock = Clock(now=lambda: now[0])
    options = {"rowsPerSecond": "7", "numPartitions": "2"}

    def add(_: int) -> None:
        now[0] += 1

    yield Subject(RateSource(options, clock), add, lambda: RateSource(options, clock))


def rate_per_batch(_: Path) -> Iterator[Subject]:
    options = {"rowsPerBatch": "5", "numPartitions": "2"}
    yield Subject(
        RatePerBatchSource(options), lambda _: None, lambda: RatePerBatchSource(options), endless=True
    )


def socket(_: Path) -> Iterator[Subject]:
    connections: list[socketserver.BaseRequestHandler] = []
    here = threading.Event()
    done = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            connections.append(self)
            here.set()
            done.wait()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = SocketSource({"host": "127.0.0.1", "port": str(server.server_address[1])})
        assert here.wait(10)

        def add(i: int) -> None:
            arrived = threading.Semaphore(0)
            source.on_arrival(arrived.release)
            connections[0].request.sendall(f"{i}\n{i + 1}\n".encode())
            assert arrived.acquire(timeout=10)
            assert arrived.acquire(timeout=10)

        yield Subject(source, add, lambda: source)
        source.close()
        done.set()
        server.shutdown()


def shared(subjects: Iterator[Subject]) -> Iterator[Subject]:
    """Beside a query that reads the same and is behind."""
    for subject in subjects:
        key = object()
        mine, other = (share(subject.again(), key, LIMIT) for _ in range(2))
        yield replace(subject, source=mine)
        mine.close()
        other.close()


KINDS: dict[str, Any] = {
    "memory": memory,
    "json files": lambda folder: files(folder, "json"),
    "csv files": lambda folder: files(folder, "csv"),
    "text files": lambda folder: files(folder, "text"),
    "parquet files": lambda folder: files(folder, "parquet", latestFirst="true"),
    "rate": rate,
    "rate-micro-batch": rate_per_batch,
    "socket": socket,
    "shared csv files": lambda folder: shared(files(folder, "csv")),
    "kafka": lambda broker: kafka(broker, decoded=False),
    "decoded kafka": lambda broker: kafka(broker, decoded=True),
    "shared kafka": lambda broker: shared(kafka(broker, decoded=False)),
    "shared decoded kafka": lambda broker: shared(kafka(broker, decoded=True)),
}


@pytest.fixture(params=list(KINDS))
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    of_kafka = request.param.endswith("kafka")
    yield from KINDS[request.param](request.getfixturevalue("kafka") if of_kafka else tmp_path)


def stored(offset: Offset) -> Offset:
    """The offset as it comes back from a checkpoint."""
    return json.loads(json.dumps(offset))


def content(source: Source, start: Offset, end: Offset) -> list[tuple[list[Any], list[Any]]]:
    found = [source.read(p) for p in source.partitions(start, end)]
    return [(r.table.to_pylist(), r.bad.to_pylist()) for r in found]


def rows(source: Source, start: Offset, end: Offset) -> list[str]:
    return sorted(str(r) for part in content(source, start, end) for side in part for r in side)


def test_the_same_range_gives_the_same_rows_in_the_same_order(subject: Subject) -> None:
    source = subject.source
    start = stored(source.initial())
    subject.add(10)
    end = stored(source.latest(start, Limits()))
    first = content(source, start, end)
    subject.add(20)
    assert sum(len(good) + len(bad) for good, bad in first) >= 2
    assert content(source, start, end) == first
    assert content(subject.again(), start, end) == first  # a restarted process


def test_ranges_follow_on_each_other_and_cover_everything_once(subject: Subject) -> None:
    source = subject.source
    start = middle = stored(source.initial())
    seen: list[str] = []
    for i in range(3):
        subject.add(100 * i)
        end = stored(source.latest(middle, Limits()))
        seen += rows(source, middle, end)
        middle = end
    assert len(seen) == len(set(seen))
    assert rows(source, start, middle) == sorted(seen)


def test_nothing_new_is_the_same_offset_and_an_empty_range(subject: Subject) -> None:
    source = subject.source
    start = stored(source.initial())
    assert source.partitions(start, start) == []
    if subject.endless:
        return
    assert stored(source.latest(start, Limits())) == start
    subject.add(1)
    end = stored(source.latest(start, Limits()))
    assert end != start
    assert stored(source.latest(end, Limits())) == end


def test_limits_are_kept_and_everything_comes_in_the_end(subject: Subject) -> None:
    source = subject.source
    if subject.limits == NO_LIMITS:
        return  # sources that take all there is
    at = start = stored(source.initial())
    for i in range(3):
        subject.add(100 * i)
    sizes = []
    while True:
        end = stored(source.latest(at, subject.limits))
        if end == at:
            break
        sizes.append(len(rows(source, at, end)))
        at = end
    assert len(sizes) >= 3
    assert sum(sizes) == 6
    assert len(rows(source, start, at)) == 6


def test_a_frozen_source_ends(subject: Subject) -> None:
    source = subject.source
    start = stored(source.initial())
    subject.add(1)
    source.freeze()
    subject.add(50)
    end = stored(source.latest(start, Limits()))
    assert len(rows(source, start, end)) in (2, 5, 7)
    assert stored(source.latest(end, Limits())) == end


def test_parts_are_read_on_several_threads_at_once(subject: Subject) -> None:
    source = subject.source
    start = stored(source.initial())
    for i in range(4):
        subject.add(100 * i)
    end = stored(source.latest(start, Limits()))
    parts = source.partitions(start, end)
    alone = [source.read(p).table.to_pylist() for p in parts]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(source.read, [*parts, *reversed(parts)]))
    assert [r.table.to_pylist() for r in together] == [*alone, *reversed(alone)]


def test_rows_have_the_schema_and_parts_are_json(subject: Subject) -> None:
    source = subject.source
    start = stored(source.initial())
    subject.add(1)
    end = stored(source.latest(start, Limits()))
    for i, part in enumerate(source.partitions(start, end)):
        assert part.index == i
        assert json.loads(json.dumps(part.spec)) == part.spec
        read = source.read(part)
        assert read.table.schema.equals(to_arrow_schema(source.schema))
        assert read.bad.schema.equals(BAD_SCHEMA)
        assert part.rows in (None, read.table.num_rows)
        assert read.bytes > 0


def test_a_split_part_gives_the_rows_of_the_whole(subject: Subject) -> None:
    source = subject.source
    start = stored(source.initial())
    for i in range(3):
        subject.add(100 * i)
    for part in source.partitions(start, stored(source.latest(start, Limits()))):
        whole = sorted(map(repr, source.read(part).table.to_pylist()))
        for into in (1, 2, 5):
            parts = source.split(part, into)
            assert 1 <= len(parts) <= into
            found = [r for p in parts for r in source.read(p).table.to_pylist()]
            assert sorted(map(repr, found)) == whole


def test_pieces_make_up_a_part_and_can_be_cut(subject: Subject) -> None:
    source = subject.source
    start = stored(source.initial())
    for i in range(3):
        subject.add(100 * i)
    for part in source.partitions(start, stored(source.latest(start, Limits()))):
        pieces = source.pieces(part)
        assert bool(pieces) == source.shareable
        if not pieces:
            continue
        cuts = [p.partition for p in pieces if p.whole]
        for piece in (p for p in pieces if not p.whole):
            marks = range(piece.start, piece.end + 1)
            cuts += [source.cut(piece, a, b) for a, b in itertools.pairwise(marks)]
        found = [source.read(p) for p in cuts]
        whole = source.read(part)
        assert [r for f in found for r in f.table.to_pylist()] == whole.table.to_pylist()
        assert [r for f in found for r in f.bad.to_pylist()] == whole.bad.to_pylist()


def test_committed_twice_and_closed_twice_is_nothing_special(subject: Subject) -> None:
    source = subject.source
    start = stored(source.initial())
    subject.add(1)
    end = stored(source.latest(start, Limits()))
    source.committed(end)
    source.committed(end)
    assert all(isinstance(v, str) for v in source.metrics(start, end).values())
    source.close()
    source.close()
