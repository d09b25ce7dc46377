"""``tidemill run`` when something is wrong: one message that names the value and the remedy, and nothing begun."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.examples.lives import interrupt, life, until, whole_life
from tests.services.kafka import KafkaBroker
from tidemill.cli import app

JOB = """\
apiVersion: tidemill.dev/v1alpha1
kind: StreamingJob
metadata: {name: clicks}
spec:
  sources:
    - name: clicks
      format: json
      options: {path: clicks}
      schema: at TIMESTAMP, page STRING
      watermark: {eventTime: at, delay: 1 minute}
  queries:
    - name: hits
      sql: SELECT page, count(*) AS hits FROM clicks GROUP BY page, window(at, '1 minute')
      trigger: {availableNow: true}
      sink: {format: json, options: {path: out}}
"""
SQL = "SELECT page, count(*) AS hits FROM clicks GROUP BY page, window(at, '1 minute')"
PATH = "options: {path: clicks}"
WATERMARK = "      watermark: {eventTime: at, delay: 1 minute}\n"
SECOND = (
    "    - {name: views, format: json, options: {path: clicks}, schema: 'seen TIMESTAMP, title STRING'}\n"
)
CONF = "  conf: {%s}\n"
PROGRAM = (
    "apiVersion: tidemill.dev/v1alpha1\nkind: StreamingJob\nmetadata: {name: p}\n"
    "spec:\n  program: {file: program.py}\n"
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A job with rows to read: 12:00 becomes final, 12:09 stays open."""
    (tmp_path / "clicks").mkdir()
    arrive(tmp_path, "1.json", "12:00:05", "12:09:00")
    (tmp_path / "job.yaml").write_text(JOB)
    return tmp_path


def arrive(place: Path, name: str, *times: str) -> None:
    rows = [json.dumps({"at": f"2024-05-01T{time}", "page": "home"}) for time in times]
    (place / "clicks" / name).write_text("\n".join(rows) + "\n")


def change(place: Path, *changes: tuple[str, str]) -> None:
    text = JOB
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (place / "job.yaml").write_text(text)


def run(place: Path, *options: str) -> tuple[int, str]:
    """Exit code and standard error of a run in this process, which must not have let an exception through."""
    done = CliRunner().invoke(app, ["run", *options, str(place / "job.yaml")])
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    return done.exit_code, done.stderr


def complaint(place: Path, *options: str) -> tuple[int, str]:
    """Exit code and the only complaint; nothing that the job writes is there."""
    code, err = run(place, *options)
    assert len(err.splitlines()) == 1, err
    assert not (place / "out").exists()
    return code, err


def batches(place: Path) -> list[Path]:
    return sorted(place.glob(".tidemill/default.clicks/hits/query/commit/*.json"))


def rows(place: Path) -> list[str]:
    return sorted(line for file in (place / "out").glob("*.json") for line in file.read_text().splitlines())


# --- What is written wrong


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("format: json\n", "format: jsn\n", "line 7: spec.sources[0].format: 'jsn' .*did you mean 'json'"),
        ("sink: {format: json", "sink: {format: parkay", "'parkay' is no format that can be written; known: text"),
        (PATH, "options: {path: clicks, maxFilesPerTriger: 1}", "maxFilesPerTriger: .*'maxFilesPerTrigger'"),
        (PATH, "options: {path: clicks, maxFilesPerTrigger: many}", "'many' is no whole number"),
        ("{path: out}", "{path: out, compression: zipp}", "codec zipp is not available.*did you mean 'gzip'"),
        ("page STRING", "page STRNG", "unknown type 'strng'; did you mean 'string'"),
        ("watermark:", "watermrk:", "watermrk: unknown field; did you mean 'watermark'"),
        ("SELECT page", "SELECT pagee", "`pagee` cannot be resolved.*`page`"),
        ("count(*)", "cuont(*)", "function 'cuont' is not known; did you mean 'count'"),
        ("count(*)", "CAST(count(*) AS itn)", "'itn' is no type; did you mean 'int'"),
        ("SELECT page", "SELEC page", "not 'SELEC'; did you mean 'SELECT'"),
        ("FROM clicks", "FROM clickz", "no source, table or earlier query `clickz`; did you mean 'clicks'"),
        ("1 minute}", "1 minit}", "'1 minit' is no duration.*'minute'"),
        ("{availableNow: true}", "{processingTime: fast}", "'fast' is no duration"),
        (WATERMARK, "", "Invalid streaming output mode: append.*withWatermark"),
        ("      trigger", "      outputMode: update\n      trigger", "a json sink takes append only, not update"),
        (SQL, "SELECT page FROM clicks ORDER BY page", "Sorting is not supported"),
        (WATERMARK, WATERMARK + SECOND, None),
        ("{path: out}}", "{path: out}, partitionBy: [pge]}", "Partition column pge not found.*'page'"),
    ],
)  # fmt: skip
def test_what_is_misspelt_or_impossible_is_named(place: Path, old: str, new: str, told: str | None) -> None:
    changes = [(old, new)]
    if told is None:
        changes.append((SQL, "SELECT page FROM clicks JOIN views ON at > seen"))
        told = "Stream-stream join without equality predicate is not supported.*add a condition"
    change(place, *changes)
    code, err = complaint(place)
    assert code == 2
    assert_told(err, told)
    assert not (place / ".tidemill").exists()


def assert_told(err: str, pattern: str) -> None:
    parts, at = pattern.split(".*"), 0
    for part in parts:
        at = err.find(part, at)
        assert at >= 0, f"{part!r} is not told in {err!r}"


@pytest.mark.parametrize(
    ("conf", "told"),
    [
        ("spark.sql.sesion.timeZone: UTC", "did you mean 'spark.sql.session.timeZone'"),
        ("spark.sql.session.timeZone: Mars", "'Mars'.*Did you mean 'MST'"),
        ("tidemill.shards: few", "'few'.*tidemill.shards"),
        ("tidemill.shards: '0'", "'0'.*tidemill.shards.*at least 1"),
        ("spark.sql.streaming.minBatchesToRetain: '0'", "'0'.*minBatchesToRetain.*at least 1"),
        ("spark.sql.streaming.multipleWatermarkPolicy: mean", "'mean'.*one of min, max"),
    ],
)
def test_a_wrong_setting_is_named_with_its_line(place: Path, conf: str, told: str) -> None:
    (place / "job.yaml").write_text(JOB + CONF % conf)
    code, err = complaint(place)
    assert code == 2
    assert_told(err, "line 16: spec.conf.*" + told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "No module named 'shouting'"),
        ("def shout(x:\n", "SyntaxError"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("whisper = str\n", "has no 'shout'"),
    ],
)
def test_a_function_that_cannot_be_had_is_told(
    place: Path, text: str | None, told: str, request: pytest.FixtureRequest
) -> None:
    module = f"shouting{request.node.callspec.indices['text']}"  # a module is imported once in a process
    if text is not None:
        (place / f"{module}.py").write_text(text)
    function = f"  functions:\n    - {{name: shout, from: '{module}:shout', returns: STRING}}\n"
    (place / "job.yaml").write_text(JOB + function)
    code, err = complaint(place)
    assert code == 2
    assert "line 17: spec.functions[0].from: function 'shout': module" in err
    assert told.removesuffix("'") in err


# --- Where it reads and writes


def test_a_missing_directory_is_named(place: Path) -> None:
    change(place, (PATH, "options: {path: nowhere}"))
    code, err = complaint(place)
    assert code == 1
    assert f"{place}/nowhere" in err
    assert "create the directory" in err


def test_a_file_is_no_output_directory(place: Path) -> None:
    change(place, ("{path: out}", "{path: job.yaml}"))
    code, err = complaint(place)
    assert code == 1
    assert f"output directory {place}/job.yaml cannot be written" in err


def test_no_broker_answers(place: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it, nobody answers
        address = "127.0.0.1:%d" % taken.getsockname()[1]  # noqa: UP031
        kafka_job(place, address, "clicks")
        code, err = complaint(place)
    assert code == 1
    assert f"no Kafka broker answers at {address}" in err
    assert "kafka.bootstrap.servers" in err


def test_a_missing_topic_is_named_on_either_side(place: Path, kafka: KafkaBroker) -> None:
    topic = kafka.topic()
    kafka_job(place, kafka.bootstrap, topic + "x")
    code, err = complaint(place)
    assert code == 1
    assert_told(err, f"'{topic}x' does not exist.*did you mean '{topic}'")
    sink = (
        f"sink: {{format: kafka, options: {{kafka.bootstrap.servers: '{kafka.bootstrap}', topic: {topic}x}}}}"
    )
    change(
        place,
        ("sink: {format: json, options: {path: out}}", sink),
        (SQL, "SELECT page AS value FROM clicks"),
    )
    code, err = complaint(place)
    assert code == 1
    assert_told(err, f"'{topic}x' is not on the broker.*did you mean '{topic}'")


def kafka_job(place: Path, address: str, topic: str) -> None:
    change(
        place,
        (
            f"format: json\n      {PATH}\n      schema: at TIMESTAMP, page STRING\n{WATERMARK}",
            f"format: kafka\n      options: {{kafka.bootstrap.servers: '{address}', subscribe: {topic}}}\n",
        ),
        (SQL, "SELECT CAST(value AS STRING) AS page FROM clicks"),
    )


# --- The checkpoint


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("GROUP BY page,", "GROUP BY page, at,", "its aggregation (op0) is by, page: string, window.*now by, page: string, at"),
        ("count(*)", "sum(1)", "COUNT(*).*SUM(1)"),
        (SQL, "SELECT page FROM clicks", "its operators with state are aggregation, and the query now has none"),
        (PATH, "options: {path: '.'}", "its source 0 is json[path="),
    ],
)  # fmt: skip
def test_a_checkpoint_of_another_query_is_refused(place: Path, old: str, new: str, told: str) -> None:
    assert run(place)[0] == 0
    done = rows(place)
    arrive(place, "2.json", "12:20:00")
    change(place, (old, new))
    code, err = run(place)
    assert (code, len(err.splitlines())) == (1, 1), err
    assert_told(err, told + ".*Undo the change, or give the query a new checkpoint location")
    assert rows(place) == done


@pytest.mark.parametrize(
    "kind", ["query/query/0", "query/plan/3", "query/prepared/3", "query/commit/3", "tidemill"]
)
@pytest.mark.parametrize("how", ["cut", "flipped", "a directory"])
def test_a_damaged_entry_stops_the_query_and_is_named(place: Path, kind: str, how: str) -> None:
    damage(twice(place) / f"{kind}.json", how)
    assert_refused(place, kind)


@pytest.mark.parametrize("kind", ["plan", "prepared"])
def test_a_committed_batch_that_has_lost_an_entry_is_not_run_over(place: Path, kind: str) -> None:
    (twice(place) / "query" / kind / "3.json").unlink()
    done = rows(place)
    arrive(place, "3.json", "12:40:00")
    code, err = run(place)
    assert code == 1
    assert "has batch 3 committed but not" in err
    assert rows(place) == done


@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
def test_damaged_state_stops_the_query_and_is_named(place: Path, how: str) -> None:
    newest = sorted(twice(place).glob("*/state/*.pack"))[-1]
    damage(newest, how)
    assert_refused(place, "/state")


def twice(place: Path) -> Path:
    """Two runs of two batches each; the query's checkpoint."""
    assert run(place)[0] == 0
    arrive(place, "2.json", "12:20:00")
    assert run(place)[0] == 0
    assert len(batches(place)) == 4
    return place / ".tidemill" / "default.clicks" / "hits"


def damage(file: Path, how: str) -> None:
    data = bytearray(file.read_bytes())
    if how in ("gone", "a directory"):
        file.unlink()
    if how == "a directory":
        file.mkdir()
    elif how == "cut":
        file.write_bytes(data[: len(data) // 2])
    elif how == "flipped":
        data[len(data) // 2] ^= 0x15
        file.write_bytes(data)


def assert_refused(place: Path, named: str) -> None:
    done = rows(place)
    arrive(place, "3.json", "12:40:00")
    code, err = run(place)
    told = [line for line in err.splitlines() if " INFO " not in line]
    assert code == 1
    assert len(told) == 1, err
    assert named in told[0]
    assert "checkpoint file" in told[0]
    assert rows(place) == done


def test_a_lost_query_entry_is_no_new_query(place: Path) -> None:
    change(place, (SQL, "SELECT page FROM clicks"))
    assert run(place)[0] == 0
    (entry,) = place.glob(".tidemill/*/hits/query/query/0.json")
    entry.unlink()
    code, err = run(place)
    assert (code, len(err.splitlines())) == (1, 1), err
    assert "restore it from a copy" in err


def test_what_a_failed_start_leaves_is_no_checkpoint(place: Path) -> None:
    (place / "job.yaml").write_text(
        JOB.replace("path: out", "path: job.yaml") + "  checkpoint: {onExisting: Fail}\n"
    )
    assert run(place)[0] == 1
    (place / "job.yaml").write_text(JOB + "  checkpoint: {onExisting: Fail}\n")
    assert run(place)[0] == 0
    assert "onExisting is Fail" in run(place)[1]


# --- Real processes


def live(place: Path) -> Path:
    """The job without an end of its own."""
    change(place, ("      trigger: {availableNow: true}\n", ""))
    return place / "job.yaml"


def test_a_second_process_is_told_who_has_the_checkpoint(place: Path) -> None:
    file = live(place)
    with life("-m", "tidemill", "run", file) as first:
        until(lambda: bool(batches(place)), first, "the first batch")
        code, _, err = whole_life("-m", "tidemill", "run", file)
        assert (code, len(err.splitlines())) == (1, 1), err
        assert f"hits is in use by query hits (pid {first.pid} on " in err
        assert interrupt(first)[0] == 0


def test_a_signal_ends_a_job_after_its_batch(place: Path) -> None:
    slow(place)
    with life("-m", "tidemill", "run", place / "job.yaml") as process:
        until((place / "began").exists, process, "the batch")
        process.terminate()
        (place / "go").touch()
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert len(rows(place)) == 2
    assert "has ended: 1 batches, 2 rows" in err


def test_a_second_ctrl_c_ends_it_at_once_and_the_next_run_goes_on(place: Path) -> None:
    slow(place)
    with life("-m", "tidemill", "run", "--log-format", "json", place / "job.yaml") as process:
        until((place / "began").exists, process, "the batch")
        process.send_signal(2)
        # The first is taken when the listing of queries that are to stop begins; until then it is one signal.
        until(lambda: interrupted(process.pid), process, "the first signal")
        code, _, err = interrupt(process)
    assert code == 130, err
    assert "Traceback" not in err
    assert rows(place) == []
    (place / "go").touch()
    change(place, (SQL, "SELECT slow(page) AS page FROM clicks"))
    (place / "job.yaml").write_text((place / "job.yaml").read_text() + FUNCTIONS)
    assert whole_life("-m", "tidemill", "run", place / "job.yaml")[0] == 0
    assert len(rows(place)) == 2


FUNCTIONS = "  functions:\n    - {name: slow, from: 'slowly:slow', returns: STRING}\n"
SLOWLY = """\
import time
from pathlib import Path

here = Path(__file__).parent


def slow(page):
    (here / "began").touch()
    while not (here / "go").exists():
        time.sleep(0.01)
    return page
"""


def slow(place: Path) -> None:
    """The job with a batch that ends when a file appears."""
    live(place)
    text = (place / "job.yaml").read_text().replace(SQL, "SELECT slow(page) AS page FROM clicks")
    (place / "job.yaml").write_text(text + FUNCTIONS)
    (place / "slowly.py").write_text(SLOWLY)


def interrupted(pid: int) -> bool:
    """Whether a process has no SIGINT waiting for it."""
    status = Path(f"/proc/{pid}/status").read_text()
    waiting = int(status.partition("ShdPnd:")[2].split()[0], 16)
    return not waiting & (1 << 1)


def test_logs_are_json_from_the_first_line_to_the_last(place: Path) -> None:
    code, _, err = whole_life("-m", "tidemill", "run", "--log-format", "json", place / "job.yaml")
    assert code == 0
    first, *_, last = (json.loads(line) for line in err.splitlines())
    assert (first["message"], first["level"], first["query"]) == ("query hits has started", "info", "hits")
    assert (last["batches"], last["rows"]) == (2, 2)
    change(place, ("SELECT page", "SELECT pagee"))
    code, _, err = whole_life("-m", "tidemill", "run", "--log-format", "json", place / "job.yaml")
    assert code == 2
    assert json.loads(err)["level"] == "error"
    assert "spec.queries[0].sql" in json.loads(err)["message"]


def test_a_port_in_use_is_told_before_anything_starts(place: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, err = complaint(place, "--metrics-port", str(port))
    assert code == 1
    assert f"cannot be served at 127.0.0.1:{port}: Address already in use; choose another port" in err


# --- Programs


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        (None, 2, "spec.program.file: 'program.py' cannot be read beside the manifest"),
        ("x = (\n", 2, "spec.program.file: it is no Python, line 1"),
        ("open('nothing')\n", 1, "program.py, line 1: [Errno 2] No such file or directory: 'nothing'"),
        (
            "from tidemill.sql import SparkSession\n\nspark = SparkSession.builder.getOrCreate()\nspark.sql('SELECT x')\n",
            1,
            "program.py, line 4: [UNRESOLVED_COLUMN.",
        ),
    ],
)
def test_a_program_that_is_wrong_is_told_by_its_line(
    tmp_path: Path, text: str | None, code: int, told: str
) -> None:
    (tmp_path / "job.yaml").write_text(PROGRAM)
    if text is not None:
        (tmp_path / "program.py").write_text(text)
    found, err = complaint(tmp_path)
    assert found == code
    assert told in err


def test_a_programs_own_error_is_told_as_python_does_without_our_frames(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(PROGRAM)
    (tmp_path / "neighbour.py").write_text("def fail():\n    raise ValueError('mine')\n")
    (tmp_path / "program.py").write_text("import neighbour\n\nneighbour.fail()\n")
    code, out, err = whole_life("-m", "tidemill", "run", tmp_path / "job.yaml")
    assert (code, out) == (1, "")
    assert err.splitlines()[0] == "Traceback (most recent call last):"
    assert err.splitlines()[1] == f'  File "{tmp_path}/program.py", line 3, in <module>'
    assert err.splitlines()[-1] == "ValueError: mine"
    assert f"{os.sep}tidemill{os.sep}" not in err
