"""``tidemill checkpoint delete``, on directories and on Redis."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from typer.testing import CliRunner, Result

from tests.services.redis import Server
from tidemill import checkpoint
from tidemill.checkpoint import found, join, life, open_
from tidemill.checkpoint.redis import RedisLog
from tidemill.checkpoint.redisclient import Client
from tidemill.checkpoint.removal import remove
from tidemill.cli import app

MANIFEST = """
apiVersion: tidemill.dev/v1alpha1
kind: StreamingJob
metadata: {name: counts}
spec:
  sources:
    - {name: rows, format: json, options: {path: in}, schema: "k STRING, v BIGINT"}
  queries:
    - name: hits
      sql: SELECT k, count(*) AS n FROM rows GROUP BY k
      outputMode: complete
      trigger: {availableNow: true}
      sink: {format: memory}
    - name: everything
      sql: SELECT * FROM rows
      trigger: {availableNow: true}
      sink: {format: json, options: {path: out}}
  checkpoint: {}
"""


@pytest.fixture(params=["directory", pytest.param("redis", marks=pytest.mark.redis)])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A lease in Redis is short here: a process that has died keeps others waiting for it."""
    if request.param == "directory":
        return str(tmp_path / "cp")
    server: Server = request.getfixturevalue("redis")
    return f"{server.location()}?lease=1"


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A manifest, whose job has something to read."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.json").write_text('{"k": "a", "v": 1}\n{"k": "b", "v": 2}\n')
    (tmp_path / "job.yaml").write_text(MANIFEST)
    return tmp_path / "job.yaml"


def tidemill(*words: object, **how: Any) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], **how)


def delete(*words: object) -> Result:
    return tidemill("checkpoint", "delete", *words, "--yes")


def run(job: Path, *words: object) -> None:
    done = tidemill("run", job, *words)
    assert done.exit_code == 0, done.output


def traces(location: str) -> list[str]:
    """All that is left at and below a location."""
    path = checkpoint.directory(location)
    if path is not None:
        return sorted(str(p) for p in Path(path).rglob("*"))
    address = checkpoint.redisurl.parse(location)
    with Redis(port=address.nodes[0][1]) as server:
        keys = [k.decode() for k in server.scan_iter(match=f"tidemill:{{{address.name}*")]
        known = [n.decode() for n in server.smembers("tidemill:checkpoints")]
    return sorted(keys) + sorted(name for name in known if name.startswith(address.name))


def test_nothing_is_left_and_the_job_begins_anew(location: str, job: Path) -> None:
    run(job, "--checkpoint", location)
    assert len(found(location)) == 2 and traces(location)
    done = delete(location)
    assert done.exit_code == 0, done.output
    said = re.findall(r"removed \S+/(\w+): (\d+) entries, (\d+) blobs", done.output)
    assert said == [("everything", "4", "0"), ("hits", "4", said[1][2])]
    assert int(said[1][2]) > 0
    assert traces(location) == []
    run(job, "--checkpoint", location)
    assert "committed 0" in tidemill("checkpoint", "show", location).output


def test_nothing_is_wrong_with_nothing_to_remove(location: str, job: Path) -> None:
    for _ in range(2):
        done = delete(location)
        assert done.exit_code == 0
        assert "or below it: nothing to remove" in done.output
    assert traces(location) == []


def test_what_lies_beside_stays(location: str, job: Path) -> None:
    here, beside = join(location, "here"), join(location, "here-too")
    for each in (here, beside):
        run(job, "--checkpoint", each)
    kept = traces(beside)
    assert delete(here).exit_code == 0
    assert [t for t in traces(here) if t not in kept] == []
    assert traces(beside) == kept


def test_files_of_others_in_a_directory_stay(job: Path, tmp_path: Path) -> None:
    run(job)
    (query,) = [Path(each) for each in found(str(tmp_path)) if each.endswith("hits")]
    (query / "notes.txt").write_text("mine")
    (query / "data").mkdir()
    (query / "data" / "1.json").write_text("mine, too")
    done = delete("--manifest", job)
    assert "what else is there stays: 2 files" in done.output
    assert traces(str(query)) == [str(query / name) for name in ("data", "data/1.json", "notes.txt")]


# Held


def test_a_checkpoint_that_is_held_is_not_removed_nor_is_any_other(location: str, job: Path) -> None:
    run(job, "--checkpoint", location)
    before = [t for t in traces(location) if "lease" not in t and "lock" not in t and ":held" not in t]
    log, _ = open_(found(location)[1])
    log.acquire("query hits of somebody")
    refused = delete(location)
    assert refused.exit_code == 1
    assert "is in use by query hits of somebody" in refused.output
    assert set(before) <= set(traces(location))
    log.close()
    assert delete(location).exit_code == 0
    assert traces(location) == []


@pytest.mark.redis
def test_the_lease_of_a_process_that_has_died_elsewhere_is_waited_for(
    redis: Server, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = f"{redis.location()}?lease=2"
    run(job, "--checkpoint", location)
    log, _ = open_(found(location)[0])
    assert isinstance(log, RedisLog)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(life, "ours", lambda: {"host": "gone", "pid": 1})
        log.acquire("a driver that is killed")
    log._lease.forget()
    log.client.close()
    assert delete(location).exit_code == 0
    assert traces(location) == []


@pytest.mark.redis
def test_who_lost_the_lease_meanwhile_removes_nothing_of_the_log(redis: Server, job: Path) -> None:
    location = redis.location()
    run(job, "--checkpoint", location)
    log, store = open_(found(location)[0])
    assert isinstance(log, RedisLog)
    old = log.acquire("a removal that is paused")
    log._lease.release()
    other, _ = open_(found(location)[0])
    other.acquire("a driver")
    with pytest.raises(Exception, match="of a driver"):
        log.remove("query", 1, old)
    assert other.get("query", "query", 0) is not None
    for each in (log, store, other):
        each.close()


# Broken off


@pytest.fixture(params=range(1, 16, 2))
def breaks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """The process ends before its n-th removal, as far as anybody can tell."""

    class EndsError(BaseException):
        pass

    left = request.param
    unlink, run_ = Path.unlink, Client.run

    def counted(what: Any) -> Any:
        nonlocal left
        left -= what
        if left < 0:
            raise EndsError

    def set_up() -> None:
        def unlinked(path: Path, *a: Any, **k: Any) -> None:
            counted(1)
            unlink(path, *a, **k)

        def ran(client: Client, commands: Any, *a: Any, **k: Any) -> Any:
            text = [str(word) for each in commands for word in each.words]
            counted(any("DEL" in word or word == "SREM" for word in text))
            return run_(client, commands, *a, **k)

        monkeypatch.setattr(Path, "unlink", unlinked)
        monkeypatch.setattr(Client, "run", ran)

    return set_up


def test_a_removal_that_was_broken_off_can_be_done_again(
    location: str, job: Path, breaks: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(job, "--checkpoint", location)
    breaks()
    ended = False
    try:
        list(remove(location))
    except BaseException:
        ended = True
    monkeypatch.undo()
    left = traces(location)
    assert delete(location).exit_code == 0
    # The last file of a directory is what kept others out of it, and is no checkpoint.
    assert all(Path(trace).is_dir() or Path(trace).name == "lock" for trace in traces(location))
    assert found(location) == []
    assert ended or not left


# Where


@pytest.mark.parametrize("form", ["option", "environment", "manifest", "secret"])
def test_the_checkpoint_of_a_manifest_is_where_its_job_keeps_it(
    location: str, job: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words: list[object] = []
    if form in ("manifest", "secret"):
        monkeypatch.setenv("WHERE", location)
        written = location if form == "manifest" else "${WHERE}"
        job.write_text(MANIFEST.replace("checkpoint: {}", f'checkpoint: {{location: "{written}", id: mine}}'))
        run(job)
    else:
        run(job, "--checkpoint", location)
        if form == "option":
            words = ["--checkpoint", location]
        else:
            monkeypatch.setenv("TIDEMILL_CHECKPOINT", location)
    assert traces(location)
    done = delete("--manifest", job, *words)
    assert done.exit_code == 0 and done.output.count("removed") == 2, done.output
    assert traces(location) == []
    assert "nothing to remove" in delete("--manifest", job, *words).output


def test_only_the_secrets_of_the_location_are_needed(job: Path) -> None:
    run(job)
    job.write_text(MANIFEST.replace("options: {path: out}", 'options: {path: "${NOT_HERE}"}'))
    assert delete("--manifest", job).exit_code == 0
    assert not (job.parent / ".tidemill" / "default.counts").exists()
    job.write_text(MANIFEST.replace("checkpoint: {}", 'checkpoint: {location: "${NOT_HERE}"}'))
    refused = delete("--manifest", job)
    assert refused.exit_code == 1
    assert "set the environment variable NOT_HERE" in refused.output


def test_what_a_program_keeps_where_others_may_keep_theirs_stays(job: Path, tmp_path: Path) -> None:
    run(job, "--checkpoint", tmp_path / "shared")
    conf = f"conf: {{spark.sql.streaming.checkpointLocation: {tmp_path / 'shared'}}}"
    head = MANIFEST[: MANIFEST.index("spec:")]
    job.write_text(f'{head}spec: {{program: {{inline: "pass"}}, {conf}}}\n')
    done = delete("--manifest", job)
    assert done.exit_code == 0
    assert "stays: others may be kept there, too" in done.output and "nothing to remove" in done.output
    assert len(found(str(tmp_path / "shared"))) == 2


# Asking, and what is wrong


def test_where_nobody_can_be_asked_yes_is_needed(location: str, job: Path) -> None:
    run(job, "--checkpoint", location)
    before = traces(location)
    refused = tidemill("checkpoint", "delete", location)
    assert refused.exit_code == 2
    assert "this would remove for ever:" in refused.output and "give --yes" in refused.output
    assert traces(location) == before


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("\n", 1)])
def test_a_person_is_asked(job: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int) -> None:
    run(job)
    monkeypatch.setattr("tidemill.cli.checkpoint._is_a_person_there", lambda: True)
    done = tidemill("checkpoint", "delete", job.parent / ".tidemill", input=answer)
    assert done.exit_code == code
    assert "This removes for ever:" in done.output
    assert bool(found(str(job.parent / ".tidemill"))) == bool(code)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "give a LOCATION, or --manifest FILE"),
        (["here", "--manifest", "job.yaml"], 2, "give a LOCATION, or --manifest FILE"),
        (["here", "--checkpoint", "there"], 2, "give a LOCATION, or --manifest FILE"),
        (["--manifest", "none.yaml"], 2, "none.yaml: there is no such file"),
        (["s3://bucket/a"], 1, "'s3' is not one of a directory"),
        (["memory:a"], 1, "ends with its process"),
        (["redis://host:here/0"], 1, "is no host and port of a Redis server"),
        (["redis://127.0.0.1:1/0?patience=1"], 1, "Connection refused"),
        ([""], 1, "the checkpoint location is empty"),
    ],
)
def test_what_is_wrong_is_said(words: list[str], code: int, message: str) -> None:
    done = delete(*words)
    assert done.exit_code == code, done.output
    assert message in done.output


def test_a_damaged_checkpoint_can_be_removed_and_one_of_a_newer_version_cannot(job: Path) -> None:
    run(job)
    mark = job.parent / ".tidemill" / "default.counts" / "hits" / "tidemill.json"
    mark.write_text('{"format": 99}')
    refused = delete("--manifest", job)
    assert refused.exit_code == 1 and "has format version 99" in refused.output
    assert len(found(str(job.parent))) == 2
    mark.write_text("{damaged")
    (mark.parent / "lease").write_text("{damaged")
    (mark.parent / "query" / "query" / "0.json").write_text("{damaged")
    assert delete("--manifest", job).exit_code == 0
    assert traces(str(job.parent / ".tidemill" / "default.counts")) == []
