"""A case of the crash matrix on executors, and the fixtures that make one."""

from __future__ import annotations

import contextlib
import signal
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.crash.executors import Executors, watched
from tests.crash.matrix import EXECUTORS, KILL_BATCH, Blow, Target
from tests.crash.program import TIMES
from tests.crash.test_crash_matrix import Case, Row, Zygote, make_case, started

DEAD = -signal.SIGKILL


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    yield from started()


@pytest.fixture(scope="module")
def executors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executors]:
    """Two that all cases share, driver after driver."""
    with Executors(tmp_path_factory.mktemp("executors"), EXECUTORS) as made:
        yield made


@dataclass
class Recoveries:
    """Seconds from each kill to the next commit, by who was killed and where the output goes."""

    seconds: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))

    def take(self, case: Case) -> None:
        lines = [line.split() for line in (case.directory / TIMES).read_text().splitlines()]
        commits = [float(at) for at, *words in lines if words[:2] == ["committed", "after"]]
        for at, *words in lines:
            if words[0] == "blow" and (later := [c for c in commits if c > float(at)]):
                who = words[1].partition("-")[0]
                self.seconds[who, case.target.name].append(min(later) - float(at))

    def __str__(self) -> str:
        lines = ["", "seconds from SIGKILL to the next commit: median / most of so many"]
        for (who, target), found in sorted(self.seconds.items()):
            ordered = sorted(found)
            lines.append(
                f"  {who:10} {target:32} {ordered[len(found) // 2]:.2f} / {ordered[-1]:.2f} of {len(found)}"
            )
        return "\n".join(lines)


@pytest.fixture(scope="module")
def recoveries(request: pytest.FixtureRequest) -> Iterator[Recoveries]:
    made = Recoveries()
    yield made
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
        print(made)


@dataclass
class Cluster:
    """A case on executors."""

    case: Case
    executors: Executors
    rows: list[Row]
    lives: int = 0

    def live(self, *blows: Blow, **settings: Any) -> int:
        """A life of the driver, which strikes these blows; its exit code."""
        config = self.config(*blows, **settings)
        # Files are looked at all the time; asking the broker takes longer than a batch does.
        files = self.case.target.sink == "files"
        with watched(self.case.look) if files else contextlib.nullcontext():
            code = self.case.zygote.live(config)
        self.case.look()
        return code

    def config(self, *blows: Blow, signal: str = "SIGKILL", **settings: Any) -> dict[str, Any]:
        self.lives += 1
        pids = self.executors.pids
        told = [
            {
                "victim": b.victim,
                "pid": pids.get(b.victim, 0),
                "step": b.point.step,
                "when": b.point.when,
                "batch": KILL_BATCH,
                "signal": signal,
            }
            for b in blows
        ]
        cluster = self.executors.driver(**settings)
        return {**self.case.config(0), "life": self.lives, "blows": told, "cluster": cluster}

    def error(self) -> str:
        """What ended the last life."""
        return (self.case.directory / f"error-{self.lives}").read_text()

    def check(self) -> None:
        self.case.check(self.rows)


@pytest.fixture
def make_cluster(
    executors: Executors,
    zygote: Zygote,
    recoveries: Recoveries,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Any]:
    made: list[Cluster] = []

    def make(target: Target) -> Cluster:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        case, rows = make_case(target, folder, zygote, request)
        made.append(Cluster(case, executors, rows))
        return made[-1]

    yield make
    executors.switch.unlink(missing_ok=True)
    for cluster in made:
        recoveries.take(cluster.case)
