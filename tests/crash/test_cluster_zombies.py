"""Processes that were paused or cut off and come back: they change nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.crash.clusters import Cluster, executors, make_cluster, recoveries, zygote
from tests.crash.executors import Executors, wait_until
from tests.crash.matrix import DRIVER, FILES_REDIS, KAFKA_REDIS, PLACES, Blow, Point, Target
from tests.crash.program import TIMES
from tests.crash.test_crash_matrix import Zygote, make_case, marked, started
from tests.services.cluster import session_on, stop
from tests.services.parts import free_ports
from tests.services.proxy import Proxy
from tidemill.engine.dask import DaskEngine
from tidemill.sql import functions as F
from tidemill.testing import MemoryStream
from tidemill.tls import TlsFiles

__all__ = ["executors", "make_cluster", "recoveries", "zygote"]

SILENT = 1.0
"""Seconds after which these tests give an executor up."""
LEASE = "?lease=0.5"
WOKEN = [
    Point(step, when)
    for step, when in [
        ("planned", "after"),
        ("staged", "before"),
        ("staged", "after"),
        ("prepared", "after"),
        ("sunk", "before"),
        ("sunk", "after"),
        ("committed", "after"),
    ]
]


@pytest.fixture(scope="module")
def another() -> Iterator[Zygote]:
    yield from started()


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    """Leads executors to a driver, and then to another one: as the name of a service does."""
    with Proxy(free_ports(1)[0]) as made:
        yield made


@pytest.fixture(scope="module")
def led(proxy: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executors]:
    with Executors(tmp_path_factory.mktemp("led"), 2, proxy.port) as made:
        yield made


@pytest.mark.parametrize(
    ("target", "point"),
    [marked(FILES_REDIS, p) for p in WOKEN] + [marked(KAFKA_REDIS, p) for p in WOKEN[2:5]],
)
def test_a_driver_that_slept_past_its_lease_finds_its_executors_with_another(
    target: Target,
    point: Point,
    zygote: Zygote,
    another: Zygote,
    proxy: Proxy,
    led: Executors,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    proxy.target, new = free_ports(2)
    case, rows = make_case(target, tmp_path, another, request)
    case.extra["checkpoint"] += LEASE
    cluster = Cluster(case, led, rows)
    zygote.begin(cluster.config(Blow(DRIVER, point), signal="SIGSTOP", port=proxy.target, patience=5))
    sleeper = asleep(tmp_path)
    proxy.target = new
    proxy.cut()
    wait_until(lambda: cluster.live(port=new) == 0, complaint="no one has taken over")
    cluster.check()
    os.kill(sleeper, signal.SIGCONT)
    assert zygote.ended() == 1, "it did not notice that another one has taken over"
    assert (tmp_path / "error-1").read_text().startswith("FencedError: ")
    case.look()
    cluster.check()


def asleep(directory: Path) -> int:
    """The pid of a driver that has struck itself."""

    def struck() -> list[str]:
        file = directory / TIMES
        lines = file.read_text().splitlines() if file.exists() else []
        return [line.split()[-1] for line in lines if " blow " in line]

    wait_until(struck, complaint="it has not stopped")
    pid = int(struck()[0])
    wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    return pid


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("target", [marked(FILES_REDIS)])
def test_an_executor_that_hangs_is_given_up(
    target: Target, place: str, make_cluster: Any, executors: Executors
) -> None:
    cluster: Cluster = make_cluster(target)
    executors.arm(place, signal.SIGSTOP)
    deaths = list(executors.deaths)
    lost = [Blow("executor-1", Point("staged", "before"))] if place == "restoring" else []
    assert cluster.live(*lost, silent=SILENT) == 0
    assert not executors.switch.exists(), f"no executor has come to {place}"
    cluster.check()
    assert len(executors.stopped()) == 1
    executors.resume()
    # A driver that waits for both finds both, and what the one had begun for the driver before shows nowhere.
    again: Cluster = make_cluster(target)
    assert again.live() == 0
    again.check()
    cluster.case.look()
    cluster.check()
    assert len(executors.deaths) == len(deaths) + len(lost)


@pytest.fixture
def engine(executors: Executors) -> Iterator[DaskEngine]:
    told = executors.driver()
    made = DaskEngine(TlsFiles(*map(Path, told["tls"])), 2, port=told["port"], silent=SILENT)
    yield made
    made.close()
    executors.resume()


def test_an_executor_that_slept_joins_its_driver_anew(engine: DaskEngine, executors: Executors) -> None:
    both = ["executor-0", "executor-1"]
    spark = session_on(engine)
    stream = MemoryStream(spark, "k STRING, v INT")
    seen: dict[str, int] = {}
    counted = stream.toDF().groupBy("k").agg(F.sum("v").alias("s"))
    query = (
        counted.writeStream.outputMode("update")
        .foreachBatch(lambda frame, batch: seen.update({r["k"]: r["s"] for r in frame.collect()}))
        .start()
    )

    def add(total: int) -> None:
        stream.add([(f"k{i}", 1) for i in range(100)])
        query.processAllAvailable()
        assert seen == {f"k{i}": total for i in range(100)}

    add(1)
    assert engine.members() == both
    executors.send("executor-1", signal.SIGSTOP)
    started = datetime.now()
    add(2)
    assert engine.members() == ["executor-0"]
    assert (datetime.now() - started).total_seconds() >= SILENT / 2, "it was given up before its time"
    executors.send("executor-1", signal.SIGCONT)
    wait_until(lambda: engine.members() == both)
    add(3)
    executors.send("executor-0", signal.SIGSTOP)
    add(4)
    assert engine.members() == ["executor-1"]
    executors.resume()
    wait_until(lambda: engine.members() == both)
    add(5)
    stop(spark)


def test_a_batch_may_take_longer_than_an_executor_may_be_silent(engine: DaskEngine) -> None:
    spark = session_on(engine)
    stream = MemoryStream(spark, "k STRING, v INT")
    slow = F.udf(lambda v: __import__("time").sleep(SILENT * 2.5) or v, "int")
    rows: list[int] = []
    query = (
        stream.toDF()
        .select(slow("v").alias("v"))
        .writeStream.foreachBatch(lambda frame, batch: rows.extend(r["v"] for r in frame.collect()))
        .start()
    )
    members = dict(engine._members)
    stream.add([("a", 1)])
    query.processAllAvailable()
    assert rows == [1]
    assert engine._members.keys() >= members.keys(), "an executor that was busy was given up"
    stop(spark)


def test_an_executor_that_hangs_is_given_up_sooner_when_its_successor_has_come(
    executors: Executors, tmp_path: Path
) -> None:
    told = executors.driver()
    engine = DaskEngine(TlsFiles(*map(Path, told["tls"])), 2, port=told["port"])
    try:
        wait_until(lambda: len(engine.members()) == 2)
        first = {m.name: m.process for m in engine._members.values()}
        with Executors(tmp_path / "others", 1, executors.port, like=executors):
            wait_until(lambda: engine.members() == ["executor-0", "executor-0", "executor-1"])
        wait_until(lambda: len(engine.members()) == 2)
        assert {m.name: m.process for m in engine._members.values()} == first, "who lives was given up"
        executors.send("executor-0", signal.SIGSTOP)
        with Executors(tmp_path / "others", 1, executors.port, like=executors):
            wait_until(lambda: len(engine.members()) == 3)
            wait_until(lambda: first["executor-0"] not in [m.process for m in engine._members.values()])
            assert engine.members() == ["executor-0", "executor-1"]
    finally:
        engine.close()
        executors.resume()
