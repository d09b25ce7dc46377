"""What a driver and an executor offer the pod that they live in: how they wait, how they end, what they say at the end."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.processes import JOB, Cluster, Process, until
from tests.services.redis import Server
from tidemill.checkpoint import join, open_

HEAD = JOB[: JOB.index("spec:")]
ONCE = JOB.replace("processingTime: 100 milliseconds", "availableNow: true")
MAIN = "from tidemill.cli import main; main()"
GATE = """\
import os, time

def gate(host):
    open("entered", "w").close()
    while not os.path.exists("go"):
        time.sleep(0.01)
    return host
"""
GATED = f"""\
{HEAD}spec:
  sources:
    - {{name: visits, format: csv, options: {{path: in}}, schema: "at TIMESTAMP, host STRING"}}
  functions:
    - {{name: gate, from: "gate:gate", returns: STRING}}
  queries:
    - name: hosts
      sql: SELECT gate(host) AS host FROM visits
      trigger: {{processingTime: 100 milliseconds}}
      sink: {{format: json, options: {{path: out/hosts}}}}
"""


def gated(cluster: Cluster) -> Path:
    """A job whose batch is computed once the file that this names is there."""
    (cluster.folder / "gate.py").write_text(GATE)
    (cluster.folder / "job.yaml").write_text(GATED)
    cluster.put("1", ("00:00:01", "a"))
    return cluster.folder / "go"


def entered(cluster: Cluster, process: Process) -> None:
    until((cluster.folder / "entered").exists, process.log.read_text, process.popen)


def program(cluster: Cluster, *lines: str) -> None:
    """A job that is a program; ``rows`` is what it reads."""
    (cluster.folder / "job.py").write_text("\n".join([*PROGRAM, *lines]))
    (cluster.folder / "job.yaml").write_text(f"{HEAD}spec: {{program: {{file: job.py}}}}\n")
    cluster.put("1", ("00:00:01", "a"))


PROGRAM = (
    "import sys, time",
    "from tidemill.sql import SparkSession",
    "spark = SparkSession.builder.getOrCreate()",
    "rows = spark.readStream.schema('at TIMESTAMP, host STRING').csv('in').select('host')",
    "to = rows.writeStream.format('json').option('path', 'out/hosts').queryName('hosts')",
)


# Completed


@pytest.mark.parametrize("where", ["directory", pytest.param("redis", marks=pytest.mark.redis)])
def test_a_driver_whose_job_is_completed_says_so_and_waits(
    cluster: Cluster, where: str, request: pytest.FixtureRequest
) -> None:
    (cluster.folder / "job.yaml").write_text(ONCE)
    cluster.put("1", ("00:00:01", "a"), ("00:00:02", "b"))
    server: Server | None = request.getfixturevalue("redis") if where == "redis" else None
    kept = server.location() if server else str(cluster.folder / "kept")
    options = ("--executors", "1", "--checkpoint", kept)
    driver = cluster.driver("--linger", *options)
    executor = cluster.executor(driver, "e0")
    driver.becomes("completed")

    status = driver.status()
    assert status["message"].startswith("every query had ended by 20")
    assert [(q["name"], q["phase"], q["batchId"]) for q in status["queries"]] == [
        ("hosts", "stopped", 0),
        ("hits", "stopped", 1),
    ]
    assert driver.get("/livez") == (200, "ok\n")
    assert driver.get("/readyz") == (503, f"completed: {status['message']}\n")
    log, _ = open_(join(kept, "default/visits" if server else "default.visits", "hosts"))
    assert log.held_by() is None
    log.close()
    until(lambda: executor.status()["shards"] == 0, lambda: str(executor.status()), executor.popen)
    assert executor.get("/readyz")[0] == 200  # it has a driver, and nothing to do

    cluster.put("2", ("00:00:03", "c"))
    other = cluster.driver(*options)
    cluster.executor(other, "e1")
    assert other.ends() == 0, other.log.read_text()  # without the option it ends, and the checkpoint was free
    assert sorted(row["host"] for row in cluster.rows("hosts")) == ["a", "b", "c"]
    assert driver.stops() == 0, driver.log.read_text()
    assert executor.stops() == 0


HOUR = """\
import time, types
from pathlib import Path
import tidemill.cli.job as job
job.SYSTEM = types.SimpleNamespace(now=lambda: time.time() + 2 * 86400 * Path("hour").exists())
"""


@pytest.mark.parametrize("executors", [0, 1])
def test_a_job_is_completed_when_its_hour_has_come(cluster: Cluster, executors: int) -> None:
    (cluster.folder / "job.yaml").write_text(f'{JOB}  stopAt: "03:00 Europe/Paris"\n')
    cluster.put("1", ("00:00:01", "a"))
    driver = cluster.driver("--linger", program=HOUR + MAIN)
    for i in range(executors):
        cluster.executor(driver, f"e{i}")
    driver.becomes("running")
    (cluster.folder / "hour").touch()
    driver.becomes("completed")  # with a batch that no executor is there for: it is planned
    assert driver.stops() == 0, driver.log.read_text()


@pytest.mark.parametrize(
    "end",
    [
        "to.trigger(availableNow=True).start()",
        "to.trigger(availableNow=True).start().awaitTermination(); spark.stop()",
        "to.trigger(availableNow=True).start().awaitTermination(); sys.exit()",
    ],
)
def test_a_program_that_has_ended_is_completed_however_it_ends(cluster: Cluster, end: str) -> None:
    program(cluster, end)
    driver = cluster.driver("--linger")
    executor = cluster.executor(driver, "e0")
    driver.becomes("completed")
    assert [(q["name"], q["phase"], q["batchId"]) for q in driver.status()["queries"]] == [
        ("hosts", "stopped", 0)
    ]
    assert driver.get("/livez") == (200, "ok\n")
    assert executor.get("/readyz")[0] == 200
    assert [row["host"] for row in cluster.rows("hosts")] == ["a"]
    assert driver.stops() == 0, driver.log.read_text()


def test_a_program_that_ends_while_its_query_runs_has_it_stopped(cluster: Cluster) -> None:
    program(cluster, "to.start()", "sys.exit()")
    driver = cluster.driver("--linger")
    driver.becomes("completed")
    log, _ = open_(str(cluster.folder / ".tidemill" / "default.visits" / "hosts"))
    assert log.held_by() is None
    log.close()
    assert driver.stops() == 0, driver.log.read_text()


# Waiting for executors


def test_only_a_driver_that_lingers_waits_for_executors_without_end(cluster: Cluster) -> None:
    (cluster.folder / "job.yaml").write_text(ONCE.replace("replicas: 2", "replicas: 0"))
    cluster.put("1", ("00:00:01", "a"))
    hasty = "import tidemill.engine.dask as dask; dask.WAIT = 0.5\n" + MAIN
    first = cluster.driver(program=hasty)
    assert first.ends() == 1
    assert "no executor has joined the driver" in first.log.read_text()

    driver = cluster.driver("--linger", program=hasty)
    driver.becomes("running")
    first = cluster.driver("--checkpoint", "elsewhere", program=hasty)
    assert first.ends() == 1  # so long the other one has waited, too
    status = driver.status()
    assert (status["phase"], status["message"]) == ("running", "waiting for executors")
    assert status["executors"] == {"expected": 0, "joined": 0, "members": []}
    assert driver.get("/readyz") == (503, "no executor has joined\n")
    assert driver.get("/livez") == (200, "ok\n")
    assert {q["retriedAttempts"] for q in status["queries"]} == {0}

    cluster.executor(driver, "e0")
    driver.becomes("completed")
    assert len(cluster.rows("hosts")) == 1
    assert driver.stops() == 0


def test_a_driver_says_how_many_executors_it_waits_for(cluster: Cluster) -> None:
    driver = cluster.driver("--linger")
    driver.becomes("running")
    assert driver.status()["message"] == "waiting for executors: none of 2 has joined"
    cluster.executor(driver, "e0")
    until(lambda: driver.status()["message"] == "", driver.log.read_text, driver.popen)


# SIGTERM


SIGTERM_ON_IMPORT = """\
import os, signal, sys

class Signal:
    def find_spec(self, name, path=None, target=None):
        if name == "pyarrow":
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Signal())
"""


@pytest.mark.parametrize("command", ["driver", "executor"])
def test_who_is_told_to_stop_while_its_parts_are_loaded_ends_well(cluster: Cluster, command: str) -> None:
    addresses = {
        "driver": ["job.yaml", "--listen", "127.0.0.1:0"],
        "executor": ["--driver", "tls://127.0.0.1:1"],
    }
    process = cluster.start(command, *addresses[command], program=SIGTERM_ON_IMPORT + MAIN)
    assert process.ends() == 0, process.log.read_text()


def test_a_driver_that_starts_ends_at_once_when_it_is_told(cluster: Cluster) -> None:
    (cluster.folder / "slow.py").write_text("import time\nopen('begun', 'w').close()\ntime.sleep(1000)\n")
    function = '  functions: [{name: f, from: "slow:f", returns: STRING}]\n'
    (cluster.folder / "job.yaml").write_text(JOB.replace("  queries:\n", f"{function}  queries:\n"))
    driver = cluster.driver("--linger")
    until((cluster.folder / "begun").exists, driver.log.read_text, driver.popen)
    assert driver.status()["phase"] == "starting"
    assert driver.stops() == 0, driver.log.read_text()


def test_a_program_without_a_query_ends_at_once_when_it_is_told(cluster: Cluster) -> None:
    program(cluster, "open('begun', 'w').close()", "time.sleep(1000)")
    driver = cluster.driver("--linger")
    until((cluster.folder / "begun").exists, driver.log.read_text, driver.popen)
    assert driver.stops() == 0, driver.log.read_text()


def test_a_program_that_is_told_to_stop_begins_no_other_query(cluster: Cluster) -> None:
    program(cluster, "while True:", "    to.start().awaitTermination()")
    driver = cluster.driver()
    cluster.executor(driver, "e0")
    driver.becomes_ready()
    assert driver.stops() == 0, driver.log.read_text()


def test_a_standby_ends_when_it_is_told(cluster: Cluster) -> None:
    first = cluster.driver()
    until(lambda: first.status()["queries"], first.log.read_text, first.popen)
    standby = cluster.driver("--standby", "--linger")
    standby.becomes("standby")
    assert standby.stops() == 0, standby.log.read_text()
    assert first.get("/livez")[0] == 200


@pytest.mark.parametrize("kind", ["manifest", "program", "program that waits"])
def test_a_driver_that_waits_for_executors_ends_when_it_is_told(cluster: Cluster, kind: str) -> None:
    if kind != "manifest":
        program(cluster, "to.start()" + (".awaitTermination()" if kind == "program that waits" else ""))
    cluster.put("2", ("00:00:01", "a"))
    term = cluster.folder / "term"
    driver = cluster.driver("--linger", env={"TIDEMILL_TERMINATION_LOG": str(term)})

    def planned() -> bool:
        return bool(list((cluster.folder / ".tidemill").glob("*/hosts/query/plan/0.json")))

    until(planned, driver.log.read_text, driver.popen)
    assert driver.stops() == 0, driver.log.read_text()
    assert not term.exists()


def test_a_driver_finishes_its_batch_before_it_ends(cluster: Cluster) -> None:
    go = gated(cluster)
    driver = cluster.driver("--linger")
    cluster.executor(driver, "e0")
    entered(cluster, driver)
    driver.popen.terminate()
    driver.becomes("stopping")
    assert not cluster.rows("hosts")
    go.touch()
    assert driver.ends() == 0, driver.log.read_text()
    assert [row["host"] for row in cluster.rows("hosts")] == ["a"]
    assert "hosts" in next((cluster.folder / ".tidemill").glob("*/hosts/query/commit/0.json")).as_posix()


def test_an_executor_finishes_its_batch_before_it_leaves(cluster: Cluster) -> None:
    go = gated(cluster)
    driver = cluster.driver("--linger")
    executor = cluster.executor(driver, "e0")
    entered(cluster, driver)
    executor.popen.terminate()
    other = cluster.executor(driver, "e1")
    until(lambda: driver.status()["executors"]["joined"] == 2, driver.log.read_text, driver.popen)
    assert executor.popen.poll() is None
    go.touch()
    assert executor.ends() == 0, executor.log.read_text()
    until(lambda: driver.status()["executors"]["joined"] == 1, driver.log.read_text, driver.popen)
    cluster.put("2", ("00:00:02", "b"))
    until(lambda: len(cluster.rows("hosts")) == 2, driver.log.read_text, driver.popen)
    assert driver.status()["queries"][0]["retriedAttempts"] == 0
    assert driver.stops() == 0
    assert other.stops() == 0


# Termination messages


@pytest.fixture
def said(tmp_path: Path) -> Path:
    return tmp_path / "termination-log"


def told(file: Path) -> dict[str, str]:
    return {"TIDEMILL_TERMINATION_LOG": str(file)}


def test_a_driver_says_at_its_end_what_is_wrong_with_its_manifest(cluster: Cluster, said: Path) -> None:
    (cluster.folder / "job.yaml").write_text(JOB.replace("queries:", "querys:"))
    assert cluster.driver(env=told(said)).ends() == 2
    assert said.read_text().startswith("line 4: spec: it computes nothing; ")
    assert "\nline 11: spec.querys: unknown field; did you mean 'queries'?\n" in said.read_text()


def test_a_driver_says_at_its_end_why_a_query_has_failed(cluster: Cluster, said: Path) -> None:
    """The cause comes first, and a secret is in it nowhere."""
    (cluster.folder / "fails.py").write_text(
        "def f(host):\n    raise ValueError('no host ' + host + ' ' + 'x' * 9000)\n"
    )
    job = GATED.replace("gate:gate", "fails:f") + '  conf: {my.password: "${PASSWORD}"}\n'
    (cluster.folder / "job.yaml").write_text(job)
    cluster.put("1", ("00:00:01", "hunter22"))
    driver = cluster.driver("--linger", env={**told(said), "PASSWORD": "hunter22"})
    cluster.executor(driver, "e0")
    assert driver.ends() == 1
    text = said.read_text()
    assert text.startswith("query hosts: ") and "no host *** xxx" in text, text[:200]
    assert "hunter22" not in text and len(text.encode()) <= 4000 and text.endswith("…")


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("raise KeyError('host')", "KeyError: 'host'"),
        ("spark.sql('SELECT nothing')", "job.py, line 6: "),
        ("sys.exit('no hosts today')", "no hosts today"),
        ("sys.exit(3)", "it has ended itself with exit code 3"),
        ("import os; os.listdir('nowhere')", "job.py, line 6: "),
    ],
)
def test_a_program_that_fails_says_why_at_its_end(
    cluster: Cluster, said: Path, line: str, first: str
) -> None:
    program(cluster, line)
    driver = cluster.driver("--linger", env=told(said))
    assert driver.ends() != 0
    assert said.read_text().startswith(first), said.read_text()


def test_an_error_that_nobody_expected_is_said_at_the_end(cluster: Cluster, said: Path) -> None:
    broken = (
        "import tidemill.cli.driver as d\n\ndef drive(*a): raise RuntimeError('broken')\n\nd.drive = drive\n"
    )
    assert cluster.driver(program=broken + MAIN, env=told(said)).ends() == 1
    first, *rest = said.read_text().splitlines()
    assert first == "RuntimeError: broken"
    assert "Traceback (most recent call last):" in rest


def test_an_executor_says_at_its_end_what_was_wrong(cluster: Cluster, said: Path) -> None:
    executor = cluster.start("executor", "--driver", "nowhere", "--name", "e0", env=told(said))
    assert executor.ends() == 2
    assert said.read_text().startswith("executor e0: --driver 'nowhere' is no address")


def test_a_wrong_option_is_said_at_the_end(cluster: Cluster, said: Path) -> None:
    assert cluster.driver("--lingers", env=told(said)).ends() == 2
    assert said.read_text().startswith("No such option: --lingers")


def test_nothing_is_said_at_an_end_that_is_well(cluster: Cluster, said: Path) -> None:
    (cluster.folder / "job.yaml").write_text(ONCE)
    driver = cluster.driver(env=told(said))
    executor = cluster.executor(driver, "e0")
    cluster.executor(driver, "e1")
    assert driver.ends() == 0, driver.log.read_text()
    assert executor.stops() == 0
    assert not said.exists()


def test_a_message_that_cannot_be_written_is_a_line_in_the_log(cluster: Cluster) -> None:
    (cluster.folder / "job.yaml").write_text("a: b")
    driver = cluster.driver(env=told(cluster.folder))
    assert driver.ends() == 2
    driver_lines = [line["message"] for line in driver.lines]
    assert any("TIDEMILL_TERMINATION_LOG=" in m and "Is a directory" in m for m in driver_lines)


# Whose checkpoint it is


def test_a_program_goes_on_from_its_own_checkpoint_only(cluster: Cluster, said: Path) -> None:
    program(cluster, "to.trigger(availableNow=True).start()")
    spec = (
        (cluster.folder / "job.yaml")
        .read_text()
        .replace("spec: {", "spec: {checkpoint: {onExisting: Fail}, ")
    )
    for uid, code in (("one", 0), ("one", 0), ("two", 1)):
        (cluster.folder / "job.yaml").write_text(spec.replace("name: visits", f"name: visits, uid: {uid}"))
        driver = cluster.driver(env=told(said))
        executor = cluster.executor(driver, "e0") if code == 0 else None
        assert driver.ends() == code, driver.log.read_text()
        if executor is not None:
            executor.popen.kill()
    assert "there is a checkpoint of the job with uid one in " in said.read_text()
    assert len(cluster.rows("hosts")) == 1
    entry = json.loads(next((cluster.folder / ".tidemill").glob("*/hosts/query/query/0.json")).read_text())
    assert entry["entry"]["job"] == "one"
    assert os.listdir(cluster.folder / ".tidemill") == ["default.visits"]
