"""The crash matrix as data: where a process is killed, and what it writes to. The tests and docs/crash-matrix.md are
both made from it."""

from __future__ import annotations

import os
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
    return "\n".join(lines) + "\n"
