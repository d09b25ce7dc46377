"""``tidemill run`` from its files' side: where things are read and written, and what a failure says."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tidemill.cli import app

JOB = """\
apiVersion: tidemill.dev/v1alpha1
kind: StreamingJob
metadata: {name: visits}
spec:
  sources:
    - name: visits
      format: csv
      options: {path: "${WHERE}/in"}
      schema: at TIMESTAMP, host STRING
      deadLetter: {format: json, options: {path: out/bad}}
  tables:
    - {name: hosts, format: json, options: {path: hosts.json}}
  queries:
    - name: named
      sql: SELECT team FROM visits JOIN hosts USING (host)
      trigger: {availableNow: true}
      sink: {format: json, options: {path: "out/named"}}
"""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job in one directory, run from another, its input named by a secret."""
    place = tmp_path / "job"
    (place / "in").mkdir(parents=True)
    (place / "in" / "1.csv").write_text("2024-01-01T00:00:00,a\n2024-01-01T00:01:00,b\nnever,a\n")
    (place / "hosts.json").write_text('{"host": "a", "team": "red"}\n{"host": "b", "team": "blue"}\n')
    (place / "job.yaml").write_text(JOB)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("WHERE", str(place))
    return place


def run(file: Path, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["run", str(file), *options])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stderr


def rows(directory: Path) -> list[dict[str, str]]:
    return [
        json.loads(line)
        for file in sorted(directory.glob("*.json"))
        for line in file.read_text().splitlines()
    ]


def test_paths_are_taken_from_the_manifest_wherever_it_is_run_from(job: Path) -> None:
    assert run(job / "job.yaml")[0] == 0
    assert sorted(row["team"] for row in rows(job / "out" / "named")) == ["blue", "red"]
    assert [row["record"] for row in rows(job / "out" / "bad")] == ["never,a"]
    assert not os.listdir()


def test_a_second_run_goes_on_where_the_first_one_stopped(job: Path) -> None:
    assert run(job / "job.yaml")[0] == 0
    (job / "in" / "2.csv").write_text("2024-01-01T00:02:00,a\n")
    assert run(job / "job.yaml")[0] == 0
    assert sorted(row["team"] for row in rows(job / "out" / "named")) == ["blue", "red", "red"]


def test_a_checkpoint_can_be_refused(job: Path) -> None:
    (job / "job.yaml").write_text(JOB + "  checkpoint: {location: state, onExisting: Fail}\n")
    assert run(job / "job.yaml")[0] == 0
    code, err = run(job / "job.yaml")
    assert code == 1
    # The directory is also the value of ${WHERE}, and what came as a secret is never printed.
    assert "there is a checkpoint in ***/state/default.visits, and spec.checkpoint.onExisting is Fail" in err


def test_a_redis_that_is_not_there_is_an_error_and_a_directory_can_take_its_place(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job / "job.yaml").write_text(JOB + '  checkpoint: {location: "redis://:${PASSWORD}@127.0.0.1:1/0"}\n')
    monkeypatch.setenv("PASSWORD", "hunter2")
    code, err = run(job / "job.yaml")
    assert code == 1
    assert "Redis redis://127.0.0.1:1/0 did not do its work within 5 s" in err
    assert "hunter2" not in err
    assert not (job / ".tidemill").exists()
    assert run(job / "job.yaml", "--checkpoint", ".tidemill")[0] == 0
    assert (job / ".tidemill").exists()


def test_a_missing_secret_is_named_before_anything_starts(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WHERE")
    assert run(job / "job.yaml") == (
        2,
        (
            f"{job}/job.yaml: line 8: spec.sources[0].options.path: ${{WHERE}} is not set; "
            "set the environment variable WHERE\n"
        ),
    )


def test_wrong_sql_is_told_as_validate_tells_it(job: Path) -> None:
    (job / "job.yaml").write_text(JOB.replace("JOIN hosts", "JOIN hostz"))
    assert run(job / "job.yaml") == (
        2,
        (
            f"{job}/job.yaml: line 15: spec.queries[0].sql: there is no source, table or earlier query `hostz`; "
            "did you mean 'hosts'?\n"
        ),
    )
