"""``tidemill checkpoint`` and ``tidemill state``, on directories and on Redis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.services.redis import Server
from tidemill.checkpoint import join, open_
from tidemill.cli import app
from tidemill.sql import SparkSession
from tidemill.sql import functions as F

INPUT = [{"k": "abc"[i % 3], "v": i} for i in range(12)]


@pytest.fixture(params=["directory", pytest.param("redis", marks=pytest.mark.redis)])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return place(request.param, request, tmp_path)


@pytest.fixture(params=["directory", pytest.param("redis", marks=pytest.mark.redis)])
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return place(request.param, request, tmp_path / "elsewhere")


def place(kind: str, request: pytest.FixtureRequest, path: Path) -> str:
    if kind == "directory":
        return str(path / "cp")
    server: Server = request.getfixturevalue("redis")
    return server.location()


@pytest.fixture
def spark() -> Iterator[SparkSession]:
    session = SparkSession.builder.config("spark.sql.session.timeZone", "UTC").getOrCreate().newSession()
    yield session
    session.stop()


def run(spark: SparkSession, path: Path, location: str) -> None:
    """A count by key over one file a batch."""
    rows = (
        spark.readStream.schema("k STRING, v BIGINT").option("maxFilesPerTrigger", 1).json(str(path / "in"))
    )
    counts = rows.groupBy("k").agg(F.count("*").alias("n"), F.sum("v").alias("total"))
    writer = counts.writeStream.outputMode("complete").foreachBatch(lambda frame, n: keep(path, frame, n))
    query = writer.option("checkpointLocation", join(location, "counts")).trigger(availableNow=True).start()
    assert query.awaitTermination(60)


def keep(path: Path, frame: Any, batch: int) -> None:
    (path / f"batch-{batch}").write_text(json.dumps(sorted(list(r) for r in frame.collect())))


def add(path: Path, n: int) -> None:
    (path / "in").mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in INPUT[4 * n : 4 * n + 4])
    (path / "in" / f"{n}.json").write_text(text)


def tidemill(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_a_checkpoint_is_shown(spark: SparkSession, location: str, tmp_path: Path) -> None:
    for n in range(2):
        add(tmp_path, n)
    run(spark, tmp_path, location)
    shown = tidemill("checkpoint", "show", location)
    assert shown.exit_code == 0, shown.output
    assert "batches: planned 1, prepared 1, committed 1; kept from 0" in shown.output
    assert "op0: aggregation" in shown.output
    (line,) = tidemill("checkpoint", "show", location, "--json").output.splitlines()
    told = json.loads(line)
    assert (told["committed"], told["shards"]) == (1, 64)
    assert told["bytes"] > 0 and told["state"][0]["blobs"] > 0


def test_a_state_is_shown(spark: SparkSession, location: str, tmp_path: Path) -> None:
    for n in range(3):
        add(tmp_path, n)
    run(spark, tmp_path, location)
    (line,) = tidemill("state", "show", location, "--json").output.splitlines()
    told = json.loads(line)
    assert told["rows"] == 3 and len(told["first"]) == 3 and told["version"] == 2
    assert sorted(next(iter(row.values())) for row in told["first"]) == ["a", "b", "c"]
    assert "3 rows in" in tidemill("state", "show", location, "--operator", "op0", "--rows", "1").output
    shard = next(s for s, rows in told["shards"].items() if rows)
    one = json.loads(tidemill("state", "show", location, "--shard", shard, "--json").output)
    assert list(one["shards"]) == [shard]
    unknown = tidemill("state", "show", location, "--operator", "op7")
    assert unknown.exit_code == 1
    assert "has no state of operator 'op7'; known: op0" in unknown.output


def test_a_copy_goes_on_where_the_original_was(
    spark: SparkSession, location: str, destination: str, tmp_path: Path
) -> None:
    add(tmp_path, 0)
    add(tmp_path, 1)
    run(spark, tmp_path, location)
    copied = tidemill("checkpoint", "copy", location, destination)
    assert copied.exit_code == 0, copied.output
    assert "7 entries" in copied.output
    add(tmp_path, 2)
    run(spark, tmp_path, destination)
    assert json.loads((tmp_path / "batch-2").read_text()) == [["a", 4, 18], ["b", 4, 22], ["c", 4, 26]]
    again = tidemill("checkpoint", "copy", location, destination)
    assert again.exit_code == 1
    assert "already; give a destination that holds none" in again.output


def test_a_job_that_runs_is_not_copied(spark: SparkSession, location: str, tmp_path: Path) -> None:
    add(tmp_path, 0)
    run(spark, tmp_path, location)
    log, _ = open_(join(location, "counts"))
    log.acquire("query counts")
    refused = tidemill("checkpoint", "copy", location, str(tmp_path / "to"))
    log.close()
    assert refused.exit_code == 1
    assert "is in use by query counts" in refused.output


def test_a_copy_that_was_broken_off_is_no_checkpoint(
    spark: SparkSession, location: str, tmp_path: Path
) -> None:
    add(tmp_path, 0)
    log, _ = open_(join(location, "counts"))
    log.put_new("query", "plan", 0, {"half": True}, log.acquire("copy"))
    log.close()
    with pytest.raises(Exception, match="not of which query"):
        run(spark, tmp_path, location)


def test_where_nothing_is(tmp_path: Path) -> None:
    shown = tidemill("checkpoint", "show", str(tmp_path / "nothing"))
    assert shown.exit_code == 1
    assert "there is no checkpoint at" in shown.output
    assert not (tmp_path / "nothing").exists()


MANIFEST = """
apiVersion: tidemill.dev/v1alpha1
kind: StreamingJob
metadata: {name: counts}
spec:
  sources:
    - {name: rows, format: json, options: {path: in}, schema: "k STRING, v BIGINT"}
  queries:
    - name: everything
      sql: SELECT * FROM rows
      trigger: {availableNow: true}
      sink: {format: json, options: {path: out}}
  checkpoint: {onExisting: Fail}
"""


def test_a_job_is_kept_where_the_command_says(location: str, tmp_path: Path) -> None:
    add(tmp_path, 0)
    (tmp_path / "job.yaml").write_text(MANIFEST)
    words = ["run", str(tmp_path / "job.yaml"), "--checkpoint", location]
    kept(words, tmp_path, location)


def test_a_job_is_kept_where_its_manifest_says(location: str, tmp_path: Path) -> None:
    add(tmp_path, 0)
    (tmp_path / "job.yaml").write_text(
        MANIFEST.replace("{onExisting", f'{{location: "{location}", onExisting')
    )
    kept(["run", str(tmp_path / "job.yaml")], tmp_path, location)


def kept(words: list[str], tmp_path: Path, location: str) -> None:
    assert tidemill(*words).exit_code == 0
    assert not (tmp_path / ".tidemill").exists()
    assert "committed 0" in tidemill("checkpoint", "show", location).output
    again = tidemill(*words)
    assert again.exit_code == 1
    assert "there is a checkpoint in" in again.output


def start(uid: str | None, tmp_path: Path, location: str) -> Result:
    head = f"name: counts, uid: {uid}" if uid else "name: counts"
    (tmp_path / "job.yaml").write_text(MANIFEST.replace("name: counts", head))
    return tidemill("run", str(tmp_path / "job.yaml"), "--checkpoint", location)


def test_a_job_that_must_not_resume_anothers_checkpoint_resumes_its_own(
    location: str, destination: str, tmp_path: Path
) -> None:
    add(tmp_path, 0)
    assert start("one", tmp_path, location).exit_code == 0
    add(tmp_path, 1)
    again = start("one", tmp_path, location)
    assert again.exit_code == 0, again.output
    for other, whose in (("two", " of the job with uid one"), (None, "")):
        refused = start(other, tmp_path, location)
        assert refused.exit_code == 1
        assert f"there is a checkpoint{whose} in " in refused.output
        assert "onExisting is Fail; remove it (tidemill checkpoint delete)" in refused.output
    assert tidemill("checkpoint", "copy", location, destination).exit_code == 0
    add(tmp_path, 2)
    assert start("one", tmp_path, destination).exit_code == 0, "a copy is the same job's"
    assert len(list((tmp_path / "out").glob("*.json"))) == 3


def test_a_checkpoint_that_no_job_of_a_cluster_began_is_anothers(location: str, tmp_path: Path) -> None:
    add(tmp_path, 0)
    assert start(None, tmp_path, location).exit_code == 0
    refused = start("one", tmp_path, location)
    assert refused.exit_code == 1
    assert "there is a checkpoint of no job in " in refused.output


def test_a_start_that_began_no_query_is_in_nobodys_way(location: str, tmp_path: Path) -> None:
    """A driver that dies after it has taken the lease, and before the query's entry is there."""
    add(tmp_path, 0)
    name = "default/counts" if "://" in location else "default.counts"
    log, _ = open_(join(location, name, "everything"))
    log.acquire("query everything")
    log.close()
    done = start("one", tmp_path, location)
    assert done.exit_code == 0, done.output
