"""What streaming operators answer, as observed on real Spark: every scenario, through the public API."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.program import build
from tests.services.cluster import session_on, stop
from tests.services.redis import Server
from tidemill.engine.processes import LocalCluster
from tidemill.sql import DataFrame, Row, SparkSession
from tidemill.testing import MemoryStream, add_together

SCENARIOS = json.loads((Path(__file__).parent / "scenarios.json").read_text())["scenarios"]
CASES = [(s, mode) for s in SCENARIOS for mode in (s["mode"], *s.get("also_modes", ()))]


@dataclass
class Runner:
    """One scenario, from its first step to its last."""

    spark: SparkSession
    scenario: Mapping[str, Any]
    mode: str
    checkpoint: str
    batches: list[list[tuple[Any, ...]]] = field(default_factory=list)
    """Output of each batch since the last expectation."""

    def __post_init__(self) -> None:
        self.streams = {
            name: MemoryStream(self.spark, ", ".join(f"{n} {t}" for n, t in columns))
            for name, columns in self.scenario["inputs"].items()
        }
        self.query: Any = None
        self.before = 0

    def run(self) -> None:
        expected = next((s["expect_error"] for s in self.scenario["steps"] if "expect_error" in s), None)
        if expected is None:
            self.steps()
            return
        with pytest.raises(Exception) as caught:
            self.steps()
        check_error(caught.value, expected)

    def steps(self) -> None:
        self.frame = build(self.spark, self.scenario["query"], self.streams)
        if not self.scenario.get("manual_trigger"):
            self.start()
        for step in self.scenario["steps"]:
            ((name, value),) = [(k, v) for k, v in step.items() if k != "conf"]
            getattr(self, "run_trigger" if name == "run" else name)(value)
        self.stop()

    def start(self, **trigger: Any) -> None:
        writer = self.frame.writeStream.outputMode(self.mode).foreachBatch(self.take)
        writer = writer.option("checkpointLocation", self.checkpoint)
        self.query = (writer.trigger(**trigger) if trigger else writer).start()

    def stop(self) -> None:
        if self.query is not None:
            self.query.stop()
            self.query = None

    def take(self, frame: DataFrame, batch: int) -> None:
        self.batches.append([plain(r) for r in frame.collect()])

    def progress(self) -> list[Any]:
        return self.query.recentProgress

    # Steps

    def add(self, rows: Any) -> None:
        if isinstance(rows, dict):
            add_together({self.streams[k]: wide(v) for k, v in rows.items()})
        else:
            (stream,) = self.streams.values()
            stream.add(wide(rows))
        if self.query is not None:
            self.before = len(self.progress())
            self.query.processAllAvailable()

    def run_trigger(self, kind: str) -> None:
        self.stop()
        self.start(**{kind: True})
        assert self.query.awaitTermination(30), "the trigger has not come to its end"

    def restart(self, value: Any) -> None:
        self.stop()
        self.frame = build(self.spark, self.scenario["query"], self.streams)
        self.start()
        self.query.processAllAvailable()

    def emitted(self) -> list[tuple[Any, ...]]:
        found = [b for b in self.batches if b] if self.mode == "complete" else self.batches
        self.batches = []
        if self.mode == "complete":
            return found[-1] if found else []
        return [row for batch in found for row in batch]

    def expect(self, rows: list[Any]) -> None:
        assert multiset(self.emitted()) == multiset(map(tuple, wide(rows)))

    def expect_ordered(self, rows: list[Any]) -> None:
        assert self.emitted() == [tuple(r) for r in wide(rows)]

    def expect_batches(self, batches: list[list[Any]]) -> None:
        found, self.batches = self.batches, []
        assert [multiset(b) for b in found] == [multiset(map(tuple, b)) for b in batches]

    def expect_watermark(self, seconds: int) -> None:
        assert epoch(self.query.lastProgress["eventTime"]["watermark"]) == seconds

    def expect_state_rows(self, rows: list[int]) -> None:
        assert [o["numRowsTotal"] for o in self.query.lastProgress["stateOperators"]] == rows

    def expect_dropped(self, counts: list[int]) -> None:
        totals = [0] * len(counts)
        for progress in self.progress()[self.before :]:
            for i, o in enumerate(progress["stateOperators"]):
                totals[i] += o["numRowsDroppedByWatermark"]
        assert totals == counts

    def expect_event_time(self, block: dict[str, int]) -> None:
        last = [p for p in self.progress() if p["numInputRows"]][-1]
        assert {k: epoch(v) for k, v in last["eventTime"].items()} == block

    def expect_error(self, value: Any) -> None:
        if self.query is not None:
            self.query.processAllAvailable()


def wide(rows: list[Any]) -> list[tuple[Any, ...]]:
    """A bare value is a row of one column."""
    return [tuple(r) if isinstance(r, list) else (r,) for r in rows]


def plain(row: Row) -> tuple[Any, ...]:
    return tuple(tuple(v) if isinstance(v, Row) else v for v in row)


def multiset(rows: Any) -> list[str]:
    return sorted(map(repr, rows))


def epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def check_error(error: BaseException | None, expected: Mapping[str, Any]) -> None:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or getattr(error, "cause", None)
    names = {c.__name__ for e in chain for c in type(e).__mro__}
    assert names & set(expected["class"]), names
    text = " ".join(str(e) for e in chain).lower()
    for fragment in expected["contains"]:
        assert fragment in text, text
    if "condition" in expected:
        assert expected["condition"] in {getattr(e, "condition", None) for e in chain}


@pytest.fixture
def spark() -> Iterator[SparkSession]:
    session = SparkSession.builder.config("spark.sql.session.timeZone", "UTC").getOrCreate().newSession()
    yield session
    session.stop()


every_scenario = pytest.mark.parametrize(
    ("scenario", "mode"), CASES, ids=[f"{s['id']}-{m}" for s, m in CASES]
)


@every_scenario
def test_scenario(scenario: Mapping[str, Any], mode: str, spark: SparkSession, tmp_path: Path) -> None:
    check(spark, scenario, mode, str(tmp_path / "checkpoint"))


@pytest.fixture(scope="module", params=[1, 3], ids=lambda n: f"executors={n}")
def cluster(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    made = LocalCluster(request.param, threads=1)
    yield made
    made.close()


@every_scenario
def test_scenario_on_executors(
    scenario: Mapping[str, Any], mode: str, cluster: LocalCluster, redis: Server
) -> None:
    spark = session_on(cluster)
    try:
        check(spark, scenario, mode, redis.location())
    finally:
        stop(spark)


def check(spark: SparkSession, scenario: Mapping[str, Any], mode: str, checkpoint: str) -> None:
    for key, value in scenario.get("conf", {}).items():
        spark.conf.set(key, value)
    Runner(spark, scenario, mode, checkpoint).run()


def test_there_are_53_scenarios() -> None:
    assert len(SCENARIOS) == 53
