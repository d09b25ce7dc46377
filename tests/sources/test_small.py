"""Rate, socket, options and logs."""

from __future__ import annotations

import datetime
import logging
import socket
from pathlib import Path

import pytest

from tidemill import sources
from tidemill.api.formats import SOURCES
from tidemill.clock import Clock
from tidemill.errors import AnalysisException, SourceError
from tidemill.sources.base import Limits
from tidemill.sources.files import ONLY, file_options
from tidemill.sources.kafka_options import KNOWN, client_config, kafka_options
from tidemill.sources.log import DirectorySourceLog
from tidemill.sources.options import Options
from tidemill.sources.rate import RatePerBatchSource, RateSource


def test_rate_spreads_rows_over_time() -> None:
    now = [100.0]
    source = RateSource({"rowsPerSecond": "4"}, Clock(now=lambda: now[0]))
    start = source.initial()
    now[0] = 101.9
    end = source.latest(start, Limits())
    (part,) = source.partitions(start, end)
    found = source.read(part).table.to_pylist()
    assert [r["value"] for r in found] == [0, 1, 2, 3]
    assert [r["timestamp"].second + r["timestamp"].microsecond / 1e6 for r in found] == [
        40,
        40.25,
        40.5,
        40.75,
    ]


def test_rate_parts_hold_every_value_once() -> None:
    now = [0.0]
    source = RateSource(
        {"rowsPerSecond": "10", "rampUpTime": "3s", "numPartitions": "3"}, Clock(now=lambda: now[0])
    )
    start = source.initial()
    now[0] = 5
    parts = source.partitions(start, source.latest(start, Limits()))
    values = sorted(v for p in parts for v in source.read(p).table["value"].to_pylist())
    assert len(parts) == 3
    assert values == list(range(2 * (1 + 2 + 3) + 20))


def test_rate_per_batch_stamps_each_batch() -> None:
    options = {"rowsPerBatch": "2", "startTimestamp": "5000", "advanceMillisPerBatch": "100"}
    source = RatePerBatchSource(options)
    middle = source.latest(source.initial(), Limits())
    end = source.latest(middle, Limits())
    assert end == {"offset": 4, "timestamp": 5200}
    found = [r for p in source.partitions(source.initial(), end) for r in source.read(p).table.to_pylist()]
    second = datetime.datetime(1970, 1, 1, 0, 0, 5)
    tenth = datetime.timedelta(milliseconds=100)
    assert [(r["value"], r["timestamp"]) for r in found] == [
        (0, second),
        (1, second),
        (2, second + tenth),
        (3, second + tenth),
    ]
    with pytest.raises(SourceError, match="must not change while a checkpoint is in use"):
        RatePerBatchSource({"rowsPerBatch": "3"}).partitions(source.initial(), end)


def test_a_socket_without_server(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(SourceError, match=f"nobody answers at 127.0.0.1:{port}"),
    ):
        sources.create("socket", {"host": "127.0.0.1", "port": port})
    assert "cannot recover" in caplog.text
    with pytest.raises(SourceError, match="needs the option 'port'"):
        sources.create("socket", {"host": "localhost"})
    schema = sources.reader_schema("socket", {"host": "h", "port": "1", "includeTimestamp": "true"})
    assert schema.simpleString() == "struct<value:string,timestamp:timestamp>"


def test_formats_with_a_schema_of_their_own_take_no_other() -> None:
    with pytest.raises(AnalysisException, match="has a schema of its own"):
        sources.reader_schema("rate", {}, sources.reader_schema("rate", {}))
    with pytest.raises(AnalysisException, match="can only be read as a stream"):
        sources.batch("rate", {})


def test_what_a_manifest_may_say_a_source_understands(tmp_path: Path) -> None:
    fixed = {name: values[0] for name, values in ONLY.items()}
    for name, format in SOURCES.items():
        if name in sources.FILE_FORMATS:
            file_options(
                name,
                dict.fromkeys(format.options, "1") | {k: v for k, v in fixed.items() if k in format.options},
            )
        elif name == "kafka":
            Options(
                name,
                dict.fromkeys(format.options, "1"),
                KNOWN,
                ("fetchOffset.numRetries", "fetchOffset.retryIntervalMs"),
            )


def test_durations() -> None:
    def seconds(text: str) -> float | None:
        return Options("x", {"age": text}, ("age",)).seconds("age")

    assert [seconds(t) for t in ("250", "100ms", "7d", "1 hour", "2 minutes", "30s")] == [
        0.25,
        0.1,
        604800,
        3600,
        120,
        30,
    ]


def test_kafka_options_that_cannot_be_used() -> None:
    base = {"kafka.bootstrap.servers": "b:1"}
    for options, message in [
        ({}, "exactly one of the options 'subscribe'.*it has none"),
        ({"subscribe": "a", "assign": "{}"}, "it has subscribe and assign"),
        ({"subscribePattern": "("}, "not a regular expression"),
        ({"assign": "[1]"}, "not a JSON map of topics to partitions"),
        (
            {"subscribe": "a", "startingOffsets": "newest"},
            "'newest' is not earliest, latest or a JSON map.*'latest'",
        ),
        ({"subscribe": "a", "startingOffsets": '{"a": {"0": -3}}'}, "not earliest, latest or a JSON map"),
        ({"subscribe": "a", "endingOffsets": "latest"}, "has no end; leave it out"),
        ({"subscribe": "a", "maxOffsetPerTrigger": "1"}, "did you mean 'maxOffsetsPerTrigger'"),
        ({"subscribe": "a", "minOffsetsPerTrigger": "9", "maxOffsetsPerTrigger": "3"}, r"\(9\) is more than"),
        (
            {"subscribe": "a", "kafka.auto.offset.reset": "earliest"},
            "'startingOffsets' and 'failOnDataLoss' say",
        ),
        ({"subscribe": "a", "kafka.ssl.truststore.location": "x.jks"}, "use kafka.ssl.ca.location"),
        ({"subscribe": "a", "kafka.ssl.keystore.location": "x.jks"}, "give PKCS#12"),
        ({"subscribe": "a", "kafka.isolation.level": "read_comitted"}, "did you mean 'read_committed'"),
        (
            {"subscribe": "a", "kafka.sasl.jaas.config": "com.sun.Krb5LoginModule required;"},
            "only PlainLoginModule",
        ),
    ]:
        with pytest.raises(SourceError, match=message):
            kafka_options(base | options)
    with pytest.raises(SourceError, match=r"needs the option 'kafka\.bootstrap.servers'"):
        kafka_options({"subscribe": "a"})


def test_names_of_the_java_client_are_translated() -> None:
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    jaas = rf'{module} required username="me" password="p\"w";'
    found = client_config(
        {"kafka.sasl.jaas.config": jaas, "kafka.request.timeout.ms": "9", "kafka.max.poll.records": "5"}
    )
    assert found == {"sasl.username": "me", "sasl.password": 'p"w', "socket.timeout.ms": "9"}


def test_a_log_survives_a_crash_in_the_middle_of_compaction(tmp_path: Path) -> None:
    log = DirectorySourceLog(tmp_path)
    for n in range(1, 5):
        log.put(n, [n])
    kept = (tmp_path / f"{2:012d}").read_bytes()
    log.compact(3, [1, 2, 3])
    assert log.read() == [(3, [1, 2, 3]), (4, [4])]
    (tmp_path / f"{2:012d}").write_bytes(kept)  # what a crash before its deletion leaves
    assert log.read() == [(3, [1, 2, 3]), (4, [4])]
