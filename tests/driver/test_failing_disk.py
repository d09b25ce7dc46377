"""Calls that change the disk fail one at a time, before or after it took effect; a second run always sets it right."""

from __future__ import annotations

import errno
import itertools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tidemill import launch
from tidemill.driver.machine import Trigger
from tidemill.errors import PySparkException, TidemillError
from tidemill.sql import SparkSession
from tidemill.sql import functions as F
from tidemill.sql.readwriter import wiring

EVERY_CALL = os.environ.get("TIDEMILL_EVERY_CALL") == "1"
"""Asks for all calls, which takes three minutes; else each ninth fails, which meets each kind of call."""
CALLS = ("write", "writev", "fsync", "link", "rename", "replace", "unlink", "makedirs")
FILES = (
    [("a", 1), ("b", 2), ("a", 1)],
    [("a", 3), ("c", 12)],
    [("b", 13), ("c", 14), ("b", 2)],
    [("d", 31), ("d", 31)],
    [("e", 62)],
)
COUNTS = [["00", "a", 2], ["00", "b", 1], ["10", "b", 1], ["10", "c", 2], ["30", "d", 1]]
"""Of the windows that are final in the end, each row of the input once."""


@pytest.fixture(scope="module")
def spark() -> SparkSession:
    builder = SparkSession.builder.config("spark.sql.session.timeZone", "UTC")
    return builder.config("tidemill.threads", "1").getOrCreate()


def query(spark: SparkSession, directory: Path) -> None:
    reader = spark.readStream.schema("k STRING, s INT").option("maxFilesPerTrigger", 1)
    timed = reader.json(str(directory / "in")).withColumn("t", F.timestamp_seconds("s"))
    once = timed.withWatermark("t", "10 seconds").dropDuplicates(["k", "t"])
    counted = once.groupBy(F.window("t", "10 seconds").alias("w"), "k").count()
    frame = counted.select(F.date_format("w.start", "ss").alias("w"), "k", "count")
    sink = launch.SinkSpec("json", {"path": str(directory / "out")}, wiring=wiring(spark, frame.schema))
    conf = {**spark._config.all(), launch.RETAIN: "1"}
    spec = launch.QuerySpec(sink, None, "append", Trigger("available"), str(directory / "cp"), conf)
    launch.start(frame._plan, spec, spark._run_context()).await_termination()


def given(directory: Path) -> None:
    (directory / "in").mkdir(parents=True)
    for n, rows in enumerate(FILES):
        path = directory / "in" / f"{n}.json"
        path.write_text("".join(json.dumps({"k": k, "s": s}) + "\n" for k, s in rows))
        os.utime(path, (n, n))


def written(directory: Path) -> list[Any]:
    lines = [line for path in (directory / "out").glob("*.json") for line in path.read_text().splitlines()]
    return sorted(list(json.loads(line).values()) for line in lines)


@contextmanager
def failing(at: int, after: bool) -> Iterator[list[str]]:
    """The ``at``-th call that changes the disk fails as on a full one; gives the names of all that were made."""
    made: list[str] = []

    def failing_call(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*given: Any, **named: Any) -> Any:
            made.append(name)
            if len(made) != at:
                return call(*given, **named)
            if after:
                call(*given, **named)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        return instead

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, failing_call(name, getattr(os, name)))
        yield made


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_whatever_call_fails_the_next_run_gives_each_row_once(
    spark: SparkSession, tmp_path: Path, after: bool
) -> None:
    for at in itertools.count(1, 1 if EVERY_CALL else 9):
        directory = tmp_path / str(at)
        given(directory)
        said = "No space left on device"
        with failing(at, after) as made:
            try:
                query(spark, directory)
            except (PySparkException, TidemillError) as error:
                said = str(error)
        assert "No space left on device" in said
        query(spark, directory)
        assert written(directory) == COUNTS, f"{made[at - 1 : at]} number {at} failed"
        assert list((directory / "out").rglob("*.tmp")) == []
        if at > len(made):
            break
    assert at > 100  # calls of one run
