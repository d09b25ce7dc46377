"""``tidemill validate``: all that is wrong, and exit codes that scripts can use."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.api.manifests import WEB_LOGS
from tidemill.api import Problem
from tidemill.cli import app, validate
from tidemill.clock import SYSTEM

TICKS = """\
apiVersion: tidemill.dev/v1alpha1
kind: StreamingJob
metadata: {name: ticks}
spec:
  sources: [{name: ticks, format: rate, options: {rowsPerSecond: 5}}]
  queries:
    - {name: all_ticks, sql: SELECT * FROM ticks, sink: {format: console}, trigger: {availableNow: true}}
"""


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are about the file; what analysis of the queries finds has tests of its own."""
    monkeypatch.setattr(validate, "analysis", lambda job, directory: [])


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = Path("job.yaml")
    file.write_text(WEB_LOGS)
    return file


def run(*arguments: str, text: str | None = None) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["validate", *arguments], input=text)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def test_a_right_manifest_is_summed_up(job: Path) -> None:
    assert run("job.yaml") == (
        0,
        (
            "job.yaml: ok\n"
            "  job       web-logs\n"
            "  source    access: kafka subscribe=web-access, watermark 60 seconds on datum, without duplicates\n"
            "  table     hosts: csv path=hosts.csv\n"
            "  query     hits: append, every 10 seconds -> parquet path=out/hits\n"
            "  stops at  03:00 Europe/Paris\n"
        ),
        "",
    )


def test_planned_restarts_are_shown_with_the_next_one(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the time of their place, where the clocks go forward in between."""
    winter = datetime(2013, 3, 30, 12, tzinfo=UTC).timestamp()
    monkeypatch.setattr(SYSTEM, "now", lambda: winter)
    restarts = "  restarts: {schedule: 30 4 * * sun, timeZone: Europe/Paris}\n"
    job.write_text(TICKS + restarts)
    _, out, _ = run("job.yaml")
    line = "  restarts  30 4 * * sun Europe/Paris, next Sun 2013-03-31 04:30 CEST, on a cluster"
    assert out.splitlines()[-1] == line


def test_a_wrong_one_exits_with_2_and_names_every_problem(job: Path) -> None:
    job.write_text(WEB_LOGS.replace("append", "apend").replace("replicas", "replica"))
    assert run("job.yaml") == (
        2,
        "",
        (
            "job.yaml: line 28: spec.queries[0].outputMode: 'apend' is not one of append, update, complete; "
            "did you mean 'append'?\n"
            "job.yaml: line 36: spec.executor.replica: unknown field; did you mean 'replicas'?\n"
        ),
    )


def test_several_files_are_checked_in_one_go(job: Path) -> None:
    Path("ticks.yaml").write_text(TICKS)
    Path("bad.yaml").write_text(TICKS.replace("rowsPerSecond", "rowsPerSec"))
    code, out, err = run("job.yaml", "bad.yaml", "ticks.yaml", "missing-file.yaml")
    assert code == 2
    assert out.count(": ok\n") == 2
    assert err == (
        "bad.yaml: line 5: spec.sources[0].options.rowsPerSec: rate has no such option for a source; "
        "did you mean 'rowsPerSecond'?\n"
        "missing-file.yaml: there is no such file\n"
    )


def test_a_manifest_can_come_through_a_pipe() -> None:
    code, out, _ = run("-", text=TICKS)
    assert (code, out.splitlines()[0]) == (0, "stdin: ok")
    assert "all_ticks: append, all there is -> console" in out


def test_programs_read_json(job: Path) -> None:
    Path("bad.yaml").write_text(TICKS.replace("rate", "rat"))
    code, out, err = run("--json", "job.yaml", "bad.yaml")
    right, wrong = map(json.loads, out.splitlines())
    assert (code, err) == (2, "")
    assert right == {
        "file": "job.yaml",
        "ok": True,
        "job": "web-logs",
        "sources": [{"name": "access", "format": "kafka", "subscribe": "web-access"}],
        "tables": [{"name": "hosts", "format": "csv", "path": "hosts.csv"}],
        "functions": [],
        "queries": [
            {"name": "hits", "outputMode": "append", "sink": {"format": "parquet", "path": "out/hits"}}
        ],
        "program": False,
    }
    assert wrong["ok"] is False
    assert wrong["problems"] == [
        {
            "path": "spec.sources[0].format",
            "line": 5,
            "message": "'rat' is no format that can be read as a stream; did you mean 'rate'?",
        }
    ]


def test_a_password_in_plain_text_is_not_printed(job: Path) -> None:
    job.write_text(
        WEB_LOGS.replace("subscribe: web-access", "subscribe: web-access, kafka.sasl.password: hunter2")
    )
    for arguments in (["job.yaml"], ["--json", "job.yaml"]):
        code, out, err = run(*arguments)
        assert code == 0
        assert "hunter2" not in out + err


def test_what_analysis_finds_is_told_like_the_rest(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Problem(("spec", "queries", 0, "sql"), "there is no table 'acces'; did you mean 'access'?")
    monkeypatch.setattr(validate, "analysis", lambda job, directory: [found])
    assert run("job.yaml") == (
        2,
        "",
        "job.yaml: line 25: spec.queries[0].sql: there is no table 'acces'; did you mean 'access'?\n",
    )


def test_a_wrong_file_is_refused_without_loading_the_engine(job: Path) -> None:
    code = (
        "import sys\nfrom tidemill.cli import app\n"
        "try: app(['validate', 'none.yaml'])\n"
        "except SystemExit: print([m for m in ('duckdb', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_version_is_told() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert done.exit_code == 0
    assert done.stdout.startswith("tidemill 0.")
