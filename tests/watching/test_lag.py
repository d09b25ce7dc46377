"""By how much a query is behind Kafka, from the broker to the metric."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.services.kafka import KafkaBroker
from tidemill.metrics import query_samples
from tidemill.sql import SparkSession


@pytest.fixture(params=["local", "cluster"])
def spark(request: pytest.FixtureRequest) -> Iterator[SparkSession]:
    session = SparkSession.builder.config("tidemill.executors", 0 if request.param == "local" else 1).create()
    yield session
    session.stop()
    if session._context is not None and session._context.cluster is not None:
        session._context.cluster.close()


def test_lag_in_records_and_seconds_of_each_partition(kafka: KafkaBroker, spark: SparkSession) -> None:
    topic = kafka.topic()
    kafka.produce(topic, ["a", "b", "c", "d", "e"])
    written = time.time()
    reader = spark.readStream.format("kafka").option("kafka.bootstrap.servers", kafka.bootstrap)
    rows = (
        reader.option("subscribe", topic)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", 2)
    )
    query = rows.load().writeStream.format("noop").queryName("hits").trigger(availableNow=True).start()
    assert query.awaitTermination(60)

    figures = [replace(query._run.figures(), progress=p) for p in query.recentProgress]
    found = [
        {
            name: value
            for name, labels, value in query_samples(f, written + 60)
            if labels[1:] == ("0", f"{topic}.0")
        }
        for f in figures
    ]
    assert [f["tidemill_source_lag_rows"] for f in found] == [3, 1, 0]
    assert all(55 < f["tidemill_source_lag_seconds"] < 120 for f in found[:2])
    assert found[2]["tidemill_source_lag_seconds"] == 0
