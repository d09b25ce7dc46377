"""What a running query does when something fails beneath it, and where two starts of it meet."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tidemill import launch
from tidemill.checkpoint.files import DirectoryLog
from tidemill.driver.loop import Loop
from tidemill.driver.machine import Trigger
from tidemill.errors import PySparkValueError, StreamingQueryException
from tidemill.sql import DataFrame, SparkSession
from tidemill.sql.readwriter import wiring


@pytest.fixture(scope="module")
def spark() -> SparkSession:
    builder = SparkSession.builder.config("spark.sql.session.timeZone", "UTC")
    return builder.config("tidemill.threads", "2").getOrCreate()


class Job:
    """Counts of words in files, into files; each file is a batch."""

    def __init__(self, spark: SparkSession, directory: Path) -> None:
        self.spark, self.directory = spark, directory
        (directory / "in").mkdir()

    def arrive(self, *names: str) -> None:
        for name in names:
            (self.directory / "in" / name).write_text(json.dumps({"k": name}) + "\n")

    def frame(self) -> DataFrame:
        reader = self.spark.readStream.schema("k STRING").option("maxFilesPerTrigger", 1)
        return reader.json(str(self.directory / "in")).dropDuplicates(["k"])

    def prepare(self, checkpoint: str = "", out: str = "out", **conf: str) -> launch.Query:
        frame = self.frame()
        sink = launch.SinkSpec("json", {"path": str(self.directory / out)})
        sink.wiring = wiring(self.spark, frame.schema)
        spec = launch.QuerySpec(
            sink=sink,
            trigger=Trigger("available"),
            checkpoint=checkpoint or str(self.directory / "cp"),
            conf={**self.spark._config.all(), **conf},
        )
        return launch.prepare(frame._plan, spec, self.spark._run_context())

    def run(self, query: launch.Query) -> None:
        launch.begin(query, self.spark._run_context()).await_termination()

    def out(self, out: str = "out") -> list[Any]:
        files = sorted((self.directory / out).glob("*.json"))
        return sorted(json.loads(line)["k"] for file in files for line in file.read_text().splitlines())


@pytest.fixture
def job(spark: SparkSession, tmp_path: Path) -> Job:
    return Job(spark, tmp_path)


def test_a_purge_that_fails_is_told_of_as_it_is(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job.arrive("a", "b", "c", "d")

    def fail(self: DirectoryLog, query: str, below: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(DirectoryLog, "purge", fail)
    with pytest.raises(StreamingQueryException, match="Input/output error"):
        job.run(job.prepare(**{launch.RETAIN: "1"}))
    monkeypatch.undo()
    job.run(job.prepare())
    assert job.out() == ["a", "b", "c", "d"]


def test_a_start_that_another_has_overtaken_writes_nothing(job: Job) -> None:
    late, early = job.prepare(), job.prepare()
    job.arrive("a")
    job.run(early)
    job.arrive("b")
    with pytest.raises(StreamingQueryException, match=r"another start of this query .* start it again"):
        job.run(late)
    assert job.out() == ["a"]
    job.run(job.prepare())
    assert job.out() == ["a", "b"]


def test_a_checkpoint_given_as_a_url_holds_all_of_it(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = job.directory / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    job.arrive("a", "b")
    job.run(job.prepare(f"file:{job.directory}/cp"))
    job.run(job.prepare("memory:overtaken"))
    assert list(elsewhere.iterdir()) == []
    assert sorted(p.name for p in (job.directory / "cp" / "sources" / "0").iterdir()) != []


@pytest.mark.parametrize("kept", ["0", "-5"])
def test_the_last_batch_cannot_be_purged(job: Job, kept: str) -> None:
    with pytest.raises(PySparkValueError, match=f"minBatchesToRetain has to be positive, not {kept}"):
        job.prepare(**{launch.RETAIN: kept})


def test_recovery_makes_what_it_finds_durable_before_it_deletes_anything(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.arrive("a")
    job.run(job.prepare())
    done: list[str] = []
    harden = DirectoryLog.harden

    def note(self: DirectoryLog, query: str) -> None:
        done.append("harden")
        harden(self, query)

    query = job.prepare()
    monkeypatch.setattr(DirectoryLog, "harden", note)
    monkeypatch.setattr(query.work.store, "purge", lambda names: done.append("purge"))
    job.run(query)
    assert done[:2] == ["harden", "purge"]


def test_a_prepared_batch_is_finished_where_it_was_prepared_for_or_not_at_all(job: Job) -> None:
    job.arrive("a")

    def crash(step: str, when: str, batch: int) -> None:
        if (step, when) == ("prepared", "after"):
            raise RuntimeError("crash")

    dying = job.prepare()
    dying.hook = crash
    with pytest.raises(StreamingQueryException, match="crash"):
        job.run(dying)
    job.arrive("b")
    where = (
        f"batch 0 is prepared for files in {job.directory}/out .* now writes to files in {job.directory}/new"
    )
    with pytest.raises(StreamingQueryException, match=where):
        job.run(job.prepare(out="new"))
    assert (job.out(), job.out("new")) == ([], [])
    job.run(job.prepare())
    assert job.out() == ["a", "b"]
    job.arrive("c")
    job.run(job.prepare(out="new"))
    assert (job.out(), job.out("new")) == (["a", "b"], ["c"])


def test_a_stop_that_comes_with_a_failure_hides_nothing_of_it(job: Job) -> None:
    job.arrive("a")
    query = job.prepare()
    loop = Loop(query)

    def fail(step: str, when: str, batch: int) -> None:
        if step == "staged":
            loop.stop()
            raise OSError("the disk is on fire")

    query.hook = fail
    loop.acquire()
    with pytest.raises(OSError, match="on fire"):
        loop.run()
    job.run(job.prepare())
    assert job.out() == ["a"]
