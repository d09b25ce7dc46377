"""The crash matrix as data: where a process is killed, and what it writes to. The tests and docs/crash-matrix.md are
both made from it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

STEPS = ("planned", "staged", "prepared", "sunk", "committed", "purged")
"""The named steps of a batch, in order."""
KILL_BATCH = 2
"""The batch in whose steps the process is killed: late enough for state, retention and purging to be at work."""


@dataclass(frozen=True)
class Point:
    """A moment beside a step."""

    step: str
    when: str
    """before or after."""

    def __str__(self) -> str:
        return f"{self.when} {self.step}"


POINTS = tuple(Point(step, when) for step in STEPS for when in ("before", "after"))
PAIRS = tuple(product(POINTS, POINTS))
"""The process is killed at the first, started again, killed at the second, and started again."""


@dataclass(frozen=True)
class Target:
    """A sink under test; ``tasks`` is its most sink tasks in the first run, in the second and in the last."""

    name: str
    sink: str
    tasks: tuple[int, int, int] = (1, 1, 1)
    partitions: int = 1
    """Of the output topic."""
    redis: bool = False
    """Whether the checkpoint is in Redis."""


FILES = Target("files", "files")
FILES_THREADS = Target("files, other numbers of threads", "files", (2, 1, 3))
KAFKA = Target("Kafka, one partition", "kafka")
KAFKA_PARTITIONS = Target("Kafka, three partitions", "kafka", partitions=3)
KAFKA_THREADS = Target("Kafka, other numbers of threads", "kafka", (3, 1, 2), partitions=3)
SQLITE = Target("foreachBatch into SQLite, keyed by batch id", "sqlite")
FILES_REDIS = Target("files, checkpoint in Redis", "files", redis=True)
KAFKA_REDIS = Target("Kafka, checkpoint in Redis", "kafka", redis=True)
TARGETS = (FILES, FILES_THREADS, KAFKA, KAFKA_PARTITIONS, KAFKA_THREADS, SQLITE, FILES_REDIS, KAFKA_REDIS)

EVERY_PAIR = os.environ.get("TIDEMILL_EVERY_PAIR") == "1"
"""Asks for the pairs of Kafka and of Redis too that take long and tell least: a quarter of an hour more."""
IN_DOUBT = (Point("prepared", "after"), Point("sunk", "after"), Point("committed", "before"))
"""Where a recovering process leaves a transaction that may or may not have been committed."""
PAIRS_OF = {
    FILES: PAIRS,
    SQLITE: PAIRS,
    FILES_REDIS: PAIRS if EVERY_PAIR else tuple(pair for pair in PAIRS if pair[1] in IN_DOUBT),
    KAFKA: PAIRS if EVERY_PAIR else tuple(pair for pair in PAIRS if pair[1] in IN_DOUBT),
}
"""The pairs that each target is tried at; those that are not here are tried at every point."""


# --- Driver and executors ------------------------------------------------------------------------------------------

EXECUTORS = 2
DRIVER = "driver"
VICTIMS = (DRIVER, "executor-0", "executor-1")


@dataclass(frozen=True)
class Blow:
    """A process that is killed with SIGKILL at a moment of the driver's."""

    victim: str
    point: Point

    def __str__(self) -> str:
        return f"{self.victim} {self.point}"


PLACES = {
    "sending": "before the first frame of rows to another executor",
    "between-frames": "between two frames",
    "sent": "after the last frame",
    "receiving": "having received a frame",
    "storing": "before it stores its deltas",
    "stored": "having stored them, and not yet told",
    "accepting": "when it is told that the attempt has won",
    "restoring": "while it takes over the state of another executor that was killed",
}
"""Where an executor kills itself in the middle of an attempt; see tests/crash/executor.py."""


def _alternating(points: Sequence[Point]) -> list[Blow]:
    return [Blow(VICTIMS[1 + i % EXECUTORS], p) for i, p in enumerate(points)]


_OUTSIDE = tuple(p for p in POINTS if p.step in ("prepared", "sunk", "committed"))
_INSIDE = tuple(p for p in POINTS if p.step in ("staged", "prepared"))
BLOWS: dict[Target, list[Blow]] = {
    FILES_REDIS: [*(Blow(DRIVER, p) for p in POINTS), *_alternating(POINTS)],
    KAFKA_REDIS: [*(Blow(DRIVER, p) for p in _OUTSIDE), *_alternating(_INSIDE)],
    FILES: [*(Blow(DRIVER, p) for p in IN_DOUBT), *_alternating(_INSIDE)],
}
"""One kill on a driver with two executors that outlive it."""
if EVERY_PAIR:
    BLOWS = {target: [Blow(v, p) for v in VICTIMS for p in POINTS] for target in BLOWS}
BLOW_PAIRS = [
    (Blow(v, p), Blow(w, q)) for (v, w), (p, q) in product(product(VICTIMS[:2], VICTIMS[::2]), PAIRS)
][:: 1 if EVERY_PAIR else 53]
"""A second kill: of the driver that recovers, or of an executor before or after the driver's. 53 is prime to the
number of points, so that a sample has them all."""


def markdown() -> str:
    """The matrix as a page."""
    lines = [
        "# Crash matrix",
        "",
        "Generated from `tests/crash/matrix.py`, the list that the tests run. In each case the process is killed with",
        f"`os._exit` in batch {KILL_BATCH}, beside the step named; then it is started again. With pairs it is killed a",
        "second time while it recovers. The plan sums doubles, takes `first` and `collect_list`, and calls a function",
        "that throws dice, so that running a batch again would answer differently. Every case must show every row",
        "once, and no row that a reader has seen may change.",
        "",
        "| target | " + " | ".join(map(str, POINTS)) + " | pairs |",
        "|---|" + "---|" * (len(POINTS) + 1),
    ]
    told = {each: f"all {len(PAIRS)}" for each in (FILES, SQLITE)}
    some = f"{len(POINTS) * len(IN_DOUBT)}; all {len(PAIRS)} with `TIDEMILL_EVERY_PAIR=1`"
    told |= dict.fromkeys((KAFKA, FILES_REDIS), some)
    for target in TARGETS:
        pairs = told.get(target, "-")
        lines.append(f"| {target.name} | " + " | ".join("✓" for _ in POINTS) + f" | {pairs} |")
    lines += ["", *_of_clusters()]
    return "\n".join(lines) + "\n"


def _of_clusters() -> list[str]:
    lines = [
        f"## A driver and {EXECUTORS} executors",
        "",
        "The same program, its stages on executors in processes of their own, which outlive the driver and are started",
        "again when they die. The process named is killed with SIGKILL beside the step; a driver that died is started",
        f"again. Then {len(BLOW_PAIRS)} pairs of kills; with `TIDEMILL_EVERY_PAIR=1` every process at every step, and all",
        f"{4 * len(PAIRS)} pairs of driver or executor with driver or executor.",
        "",
        "| target | " + " | ".join(map(str, POINTS)) + " |",
        "|---|" + "---|" * len(POINTS),
    ]
    for target, blows in BLOWS.items():
        who = [sorted({b.victim.partition("-")[0] for b in blows if b.point == p}) for p in POINTS]
        lines.append(f"| {target.name} | " + " | ".join(", ".join(w) or "-" for w in who) + " |")
    lines += ["", "In the middle of an attempt an executor is killed", ""]
    return [*lines, *(f"- {what}" for what in PLACES.values())]
