"""Kafka to Kafka exactly once: killed again and again, and still equal to a batch query over the same orders."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from subprocess import Popen
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from tests.examples.lives import EXAMPLES, life, until
from tests.services.kafka import KafkaBroker

HERE = EXAMPLES / "kafka"
sys.path.insert(0, str(HERE))
import produce  # noqa: E402

START = datetime(2024, 1, 1, tzinfo=UTC)
KILLS = 3
CHUNK = 2_000
CLOSING = {"id": -1, "at": "2024-01-02T00:00:00Z", "shop": "Last", "state": "paid", "amount": 1}
"""Moves the watermark past all the other orders."""

Row = tuple[Any, ...]


def is_order(record: str) -> bool:
    try:
        return isinstance(json.loads(record), dict)
    except ValueError:
        return False


def in_batch(records: Iterable[str]) -> tuple[list[Row], list[Row]]:
    """Paid orders and takings, as one DuckDB query over all the orders finds them."""
    orders = pa.Table.from_pylist([json.loads(r) for r in records if is_order(r)])
    paid = (
        'SELECT id, shop, amount::DECIMAL(10, 2) AS amount, "at"::TIMESTAMPTZ AS moment '
        "FROM orders WHERE state = 'paid'"
    )
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    con.register("orders", orders)
    one = con.execute(f"SELECT id, shop, amount::DOUBLE FROM ({paid})").fetchall()
    two = con.execute(
        "SELECT shop, strftime(date_trunc('minute', moment), '%Y-%m-%dT%H:%M'), count(*), sum(amount)::DOUBLE "
        f"FROM ({paid}) GROUP BY ALL"
    ).fetchall()
    return sorted(one), sorted(two)


def records(broker: KafkaBroker, topic: str) -> list[dict[str, Any]]:
    """The rows of a topic as a committed reader sees them; each must have its shop as its key."""
    found = []
    for record in broker.consume_all(topic):
        row = json.loads(record.value or "null")
        assert record.key == row["shop"].encode()
        found.append(row)
    return found


def paid_in(broker: KafkaBroker) -> list[Row]:
    return sorted((r["id"], r["shop"], float(r["amount"])) for r in records(broker, "orders-paid"))


def takings_in(broker: KafkaBroker) -> list[Row]:
    rows = records(broker, "takings")
    return sorted((r["shop"], r["minute"][:16], r["orders"], float(r["amount"])) for r in rows)


def start(form: str, broker: KafkaBroker, place: Path) -> AbstractContextManager[Popen[str]]:
    """A life of the example, in small batches so that a kill comes in the middle of one."""
    text = (HERE / f"job.{form}").read_text().replace("localhost:9092", broker.bootstrap)
    job = place / f"job.{form}"
    job.write_text(text.replace("10000", "500").replace("10_000", "500"))
    if form == "yaml":
        return life("-m", "tidemill", "run", job)
    return life(job, broker.bootstrap, place / "checkpoint")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["yaml", "py"])
def test_killed_in_the_middle_nothing_is_lost_and_nothing_doubled(
    form: str, own_kafka: KafkaBroker, tmp_path: Path
) -> None:
    produce.create_topics(own_kafka.bootstrap)
    source = produce.orders(7, START, per_second=50)
    sent: list[str] = []
    for _ in range(KILLS):
        chunk = list(itertools.islice(source, CHUNK))
        enough = sum(own_kafka.ends("orders-paid").values()) + CHUNK // 5
        own_kafka.produce("orders", chunk)
        sent += chunk
        with start(form, own_kafka, tmp_path) as process:
            until(
                lambda enough=enough: sum(own_kafka.ends("orders-paid").values()) > enough,
                process,
                "some output",
            )
            process.kill()
    paid, takings = in_batch(sent)
    with start(form, own_kafka, tmp_path) as process:
        until(lambda: len(paid_in(own_kafka)) >= len(paid), process, "all paid orders")
        bad = [r for r in sent if not is_order(r)]
        until(lambda: len(own_kafka.values("orders-bad")) >= len(bad), process, "all bad records")
        assert paid_in(own_kafka) == paid
        own_kafka.produce("orders", [json.dumps(CLOSING)])
        until(lambda: len(takings_in(own_kafka)) >= len(takings), process, "all takings")
    assert takings_in(own_kafka) == takings
    assert sorted(filter(None, own_kafka.values("orders-bad"))) == sorted(bad)
    shutil.rmtree(tmp_path)
