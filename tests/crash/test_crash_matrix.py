"""Kills the program beside every step and at every pair of steps: nothing lost, nothing twice, nothing changed."""

from __future__ import annotations

import json
import math
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.crash.matrix import FILES, KILL_BATCH, PAIRS_OF, POINTS, TARGETS, Point, Target
from tests.crash.program import KILLED
from tests.services.kafka import KafkaBroker

FILES_IN = 5
"""Input files, one for each batch with data; the last moves the watermark past all but its own windows."""
ROWS = 40
Row = dict[str, Any]
Key = tuple[int, str]


@dataclass
class Zygote:
    """The process that forks lives of the program."""

    process: subprocess.Popen[str]

    def live(self, config: dict[str, Any]) -> int:
        self.begin(config)
        return self.ended()

    def begin(self, config: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(config) + "\n")
        self.process.stdin.flush()

    def ended(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    yield from started()


def started() -> Iterator[Zygote]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.crash.zygote"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Zygote(process)
        assert process.stdin is not None
        process.stdin.close()


def write_input(directory: Path) -> list[Row]:
    """Rows in the order of their times, two windows a file; values whose sum depends on the order of adding."""
    directory.mkdir()
    rows = [
        {
            "k": "abc"[i % 3],
            "t": f"2024-01-01T00:{i // 60:02d}:{i % 60:02d}Z",
            "v": 0.1 * (i % 7) + 1e10 * (i % 2),
            "at": i,
        }
        for i in range(FILES_IN * ROWS // 2)
    ]
    size = len(rows) // FILES_IN
    for n in range(FILES_IN):
        part = [{k: v for k, v in r.items() if k != "at"} for r in rows[n * size : (n + 1) * size]]
        (directory / f"{n}.json").write_text("".join(json.dumps(r) + "\n" for r in part))
    return rows


def expected(rows: Sequence[Row]) -> dict[Key, list[float]]:
    """The values of each group whose window the last watermark has closed."""
    base = 1_704_067_200
    last = max(r["at"] for r in rows) - 10
    groups: dict[Key, list[float]] = defaultdict(list)
    for r in rows:
        start = r["at"] // 10 * 10
        if start + 10 <= last:
            groups[base + start, r["k"]].append(r["v"])
    return groups


@dataclass
class Case:
    """One directory, its target, and what readers have seen of it so far."""

    target: Target
    directory: Path
    zygote: Zygote
    read: Callable[[Case], list[Row]]
    extra: dict[str, Any] = field(default_factory=dict)
    seen: dict[Key, Row] = field(default_factory=dict)

    def live(self, number: int, kill: Point | None) -> int:
        at = {"step": kill.step, "when": kill.when, "batch": KILL_BATCH} if kill else None
        code = self.zygote.live({**self.config(number), "kill": at})
        self.look()
        return code

    def config(self, number: int) -> dict[str, Any]:
        return {
            "directory": str(self.directory),
            "sink": self.target.sink,
            "tasks": self.target.tasks[number],
            **self.extra,
        }

    def look(self) -> None:
        """Read the output as anyone might: each row once, and none other than it was before."""
        now: dict[Key, Row] = {}
        for row in self.read(self):
            key = (row["start"], row["k"])
            assert key not in now, f"{key} is there twice: {now[key]} and {row}"
            now[key] = row
        for key, row in self.seen.items():
            assert now.get(key) == row, f"{key} was {row} and is now {now.get(key)}"
        self.seen = now

    def check(self, rows: Sequence[Row]) -> None:
        wanted = expected(rows)
        assert self.seen.keys() == wanted.keys()
        for key, values in wanted.items():
            row = self.seen[key]
            assert row["n"] == len(values)
            assert math.isclose(row["total"], math.fsum(values), rel_tol=1e-12)
            assert sorted(row["all"]) == sorted(values)
            assert row["one"] in values


def read_files(case: Case) -> list[Row]:
    found = (case.directory / "out").glob("*.json")
    return [json.loads(line) for file in found for line in file.read_text().splitlines()]


def read_sqlite(case: Case) -> list[Row]:
    path = case.directory / "out.db"
    if not path.exists():
        return []
    with sqlite3.connect(path) as database:
        if not database.execute("SELECT name FROM sqlite_master WHERE name = 'changed'").fetchall():
            return []
        assert database.execute("SELECT id FROM changed").fetchall() == [], (
            "a batch came again with other rows"
        )
        batches = database.execute("SELECT rows FROM batches").fetchall()
    return [json.loads(row) for (rows,) in batches for row in json.loads(rows)]


def make_case(
    target: Target, directory: Path, zygote: Zygote, request: pytest.FixtureRequest
) -> tuple[Case, list[Row]]:
    rows = write_input(directory / "in")
    extra = {"checkpoint": request.getfixturevalue("redis").location()} if target.redis else {}
    if target.sink != "kafka":
        read = read_files if target.sink == "files" else read_sqlite
        return Case(target, directory, zygote, read, extra), rows
    broker: KafkaBroker = request.getfixturevalue("kafka")
    topic = broker.topic(target.partitions)

    def read_topic(case: Case) -> list[Row]:
        return [json.loads(value) for value in broker.values(topic)]

    extra |= {"bootstrap": broker.bootstrap, "topic": topic}
    return Case(target, directory, zygote, read_topic, extra), rows


def marked(target: Target, *points: Point) -> Any:
    marks = [pytest.mark.kafka] if target.sink == "kafka" else []
    marks += [pytest.mark.redis] if target.redis else []
    return pytest.param(target, *points, marks=marks, id=", ".join([target.name, *map(str, points)]))


@pytest.mark.parametrize(("target", "point"), [marked(t, p) for t in TARGETS for p in POINTS])
def test_killed_once(
    target: Target, point: Point, zygote: Zygote, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    case, rows = make_case(target, tmp_path, zygote, request)
    assert case.live(0, point) == KILLED
    assert case.live(1, None) == 0
    case.check(rows)


@pytest.mark.parametrize(
    ("target", "first", "second"), [marked(t, *pair) for t, pairs in PAIRS_OF.items() for pair in pairs]
)
def test_killed_again_while_recovering(
    target: Target,
    first: Point,
    second: Point,
    zygote: Zygote,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    case, rows = make_case(target, tmp_path, zygote, request)
    assert case.live(0, first) == KILLED
    assert case.live(1, second) == KILLED
    assert case.live(2, None) == 0
    case.check(rows)


def test_a_life_without_a_kill_answers_the_same(
    zygote: Zygote, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    case, rows = make_case(FILES, tmp_path, zygote, request)
    assert case.live(0, None) == 0
    case.check(rows)
