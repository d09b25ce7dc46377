"""``tidemill driver`` and ``tidemill executor``: a job on several processes that are started by hand."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tidemill.tls import TlsFiles, make_authority

JOB = """\
apiVersion: tidemill.dev/v1alpha1
kind: StreamingJob
metadata: {name: visits}
spec:
  sources:
    - name: visits
      format: csv
      options: {path: in}
      schema: at TIMESTAMP, host STRING
      watermark: {eventTime: at, delay: 1 minute}
  queries:
    - name: hosts
      sql: SELECT host FROM visits
      trigger: {processingTime: 100 milliseconds}
      sink: {format: json, options: {path: out/hosts}}
    - name: hits
      sql: SELECT window(at, '1 minute') AS w, host, count(*) AS hits FROM visits GROUP BY 1, 2
      trigger: {processingTime: 100 milliseconds}
      sink: {format: json, options: {path: out/hits}}
  executor: {replicas: 2}
"""
WAIT = 60.0


@dataclass
class Process:
    """A ``tidemill`` process and its log lines, which are JSON."""

    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def lines(self) -> list[dict[str, Any]]:
        found = []
        for line in self.log.read_text().splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found

    def says(self, pattern: str) -> re.Match[str]:
        """The first message that matches, once it is there."""

        def look() -> re.Match[str] | None:
            return next((m for line in self.lines if (m := re.search(pattern, line["message"]))), None)

        return until(look, lambda: f"no {pattern!r} in:\n{self.log.read_text()}", self.popen)

    @property
    def address(self) -> str:
        return self.says(r"listens at (tls://\S+),")[1]

    def get(self, path: str) -> tuple[int, str]:
        base = self.says(r"health and metrics at (http://\S+)")[1]
        try:
            with urllib.request.urlopen(base + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def status(self) -> dict[str, Any]:
        return json.loads(self.get("/api/v1/status")[1])

    def becomes_ready(self) -> None:
        until(lambda: self.get("/readyz")[0] == 200, lambda: self.get("/readyz")[1], self.popen)

    def metrics(self) -> dict[str, float]:
        lines = [line for line in self.get("/metrics")[1].splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def ends(self) -> int:
        return self.popen.wait(WAIT)


def until(look: Callable[[], Any], said: Callable[[], str], alive: subprocess.Popen[bytes]) -> Any:
    """What ``look`` gives, once it gives something."""
    end = time.monotonic() + WAIT
    while not (found := look()):
        assert time.monotonic() < end and alive.poll() is None, said()
        time.sleep(0.05)
    return found


@dataclass
class Cluster:
    """A job's directory, certificates for its processes, and those that were started."""

    folder: Path
    files: dict[str, TlsFiles]
    processes: list[Process] = field(default_factory=list)

    def start(self, command: str, *arguments: str, who: str = "", program: str = "") -> Process:
        tls = self.files[who or command]
        log = self.folder / f"{len(self.processes)}.log"
        run = ["-c", program] if program else ["-m", "tidemill"]
        options = ["--log-format", "json", "--health-host", "127.0.0.1"]
        options += ["--tls-ca", str(tls.ca), "--tls-cert", str(tls.cert), "--tls-key", str(tls.key)]
        with log.open("wb") as out:
            popen = subprocess.Popen(
                [sys.executable, *run, command, *arguments, *options], stderr=out, stdout=out, cwd=self.folder
            )
        self.processes.append(Process(popen, log))
        return self.processes[-1]

    def driver(self, *arguments: str) -> Process:
        return self.start("driver", "job.yaml", "--listen", "127.0.0.1:0", "--health-port", "0", *arguments)

    def executor(self, driver: Process, name: str) -> Process:
        return self.start(
            "executor", "--driver", driver.address, "--name", name, "--threads", "1",
            "--listen", "127.0.0.1", "--health-port", "0",
        )  # fmt: skip

    def put(self, name: str, *rows: tuple[str, str]) -> None:
        hidden = self.folder / f".{name}"
        hidden.write_text("".join(f"2024-01-01T{at},{host}\n" for at, host in rows))
        hidden.rename(self.folder / "in" / f"{name}.csv")

    def rows(self, query: str) -> list[dict[str, Any]]:
        files = (self.folder / "out" / query).glob("*.json")
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def close(self) -> None:
        for process in self.processes:
            if process.popen.poll() is None:
                process.popen.kill()
                process.popen.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    (tmp_path / "in").mkdir()
    (tmp_path / "job.yaml").write_text(JOB)
    made = Cluster(tmp_path, make_authority(tmp_path / "tls", ("driver", "executor")))
    try:
        yield made
    finally:
        made.close()


def test_a_job_runs_on_a_driver_and_two_executors_until_it_is_told_to_stop(cluster: Cluster) -> None:
    cluster.put("1", ("00:00:01", "a"), ("00:00:02", "b"), ("00:00:03", "a"))
    driver = cluster.driver()
    assert driver.get("/livez") == (200, "ok\n")
    assert driver.get("/readyz")[0] == 503  # nobody is there to compute

    executors = [cluster.executor(driver, f"e{i}") for i in range(2)]
    driver.becomes_ready()
    for executor in executors:
        executor.becomes_ready()
    cluster.put("2", ("00:10:00", "c"))
    until(lambda: len(cluster.rows("hits")) == 2, driver.log.read_text, driver.popen)
    assert sorted(row["host"] for row in cluster.rows("hosts")) == ["a", "a", "b", "c"]
    assert {row["host"]: row["hits"] for row in cluster.rows("hits")} == {"a": 2, "b": 1}

    check_status(driver, executors[0])
    check_metrics(driver, executors[0])
    check_lines(driver, executors[0])

    driver.popen.send_signal(signal.SIGTERM)
    assert driver.ends() == 0, driver.log.read_text()
    until(lambda: executors[0].get("/readyz")[0] == 503, lambda: "still ready", executors[0].popen)
    assert executors[0].get("/livez")[0] == 200  # it waits for the next driver
    for executor in executors:
        executor.popen.send_signal(signal.SIGTERM)
        # Kubernetes waits 30 s before it kills; Dask would look for its scheduler for as long.
        assert executor.popen.wait(20) == 0, executor.log.read_text()


def check_status(driver: Process, executor: Process) -> None:
    status = driver.status()
    assert (status["role"], status["job"], status["phase"]) == ("driver", "visits", "running")
    assert status["generation"] == 1
    hits = next(q for q in status["queries"] if q["name"] == "hits")
    assert hits["batchId"] >= 1 and hits["watermark"] == "2024-01-01T00:09:00.000Z"
    assert (hits["stateRows"], hits["lastError"]) == (1, None)
    assert (status["executors"]["expected"], status["executors"]["joined"]) == (2, 2)
    assert [(e["name"], e["threads"], e["shards"]) for e in status["executors"]["members"]] == [
        ("e0", 1, 32),
        ("e1", 1, 32),
    ]
    own = executor.status()
    assert (own["role"], own["name"], own["joined"], own["shards"]) == ("executor", "e0", True, 32)
    assert own["busySeconds"] > 0 and 0 < own["busyShare"] <= 1


def check_metrics(driver: Process, executor: Process) -> None:
    found = driver.metrics()
    assert found['tidemill_input_rows_total{query="hits",source="0"}'] == 4
    assert found['tidemill_output_rows_total{query="hits"}'] == 2
    assert found['tidemill_output_bytes_total{query="hits"}'] > 0
    assert found['tidemill_state_rows{operator="op0",query="hits"}'] == 1
    assert found['tidemill_recoveries_total{kind="driver",query="hits"}'] == 0
    assert found['tidemill_recoveries_total{kind="attempt",query="hits"}'] == 0
    assert found['tidemill_watermark_delay_seconds{query="hits"}'] > 0
    assert found['tidemill_checkpoint_age_seconds{query="hits"}'] >= 0
    assert (found["tidemill_executors"], found["tidemill_executors_expected"]) == (2, 2)
    assert found['tidemill_executor_shards{executor="e1"}'] == 32
    assert executor.metrics()['tidemill_executor_busy_seconds_total{executor="e0"}'] > 0
    assert executor.metrics()['tidemill_executor_joined{executor="e0"}'] == 1
    until(
        lambda: driver.metrics()['tidemill_executor_busy_seconds_total{executor="e0"}'] > 0,
        lambda: "heartbeats bring no figures",
        driver.popen,
    )


def check_lines(driver: Process, executor: Process) -> None:
    told = [line for line in driver.lines if line.get("query") == "hits" and "is at batch" in line["message"]]
    assert told and all((line["job"], line["generation"]) == ("visits", 1) for line in told)
    assert [line["batch"] for line in told] == sorted(line["batch"] for line in told)
    joined = next(line for line in executor.lines if "serves the driver" in line["message"])
    assert (joined["executor"], joined["job"]) == ("e0", "visits")


def test_a_standby_waits_for_the_checkpoint_and_goes_on_from_it(cluster: Cluster) -> None:
    cluster.put("1", ("00:00:01", "a"))
    first = cluster.driver("--executors", "1")
    cluster.executor(first, "e0")
    until(lambda: cluster.rows("hosts"), first.log.read_text, first.popen)

    refused = cluster.driver()
    assert refused.ends() == 1
    assert "is in use by query" in refused.log.read_text()

    standby = cluster.driver("--executors", "1", "--standby")
    standby.says("the job fits its checkpoint, which is held by query")
    assert standby.status()["phase"] == "standby"
    code, reason = standby.get("/readyz")
    assert code == 503 and "the job fits its checkpoint" in reason

    cluster.executor(standby, "e1")
    first.popen.send_signal(signal.SIGTERM)
    assert first.ends() == 0, first.log.read_text()
    standby.becomes_ready()
    cluster.put("2", ("00:00:02", "b"))
    until(lambda: len(cluster.rows("hosts")) == 2, standby.log.read_text, standby.popen)
    assert standby.status()["generation"] == 2
    assert standby.metrics()['tidemill_recoveries_total{kind="driver",query="hosts"}'] == 1


def test_a_standby_of_a_job_that_does_not_fit_says_so_and_harms_nobody(cluster: Cluster) -> None:
    first = cluster.driver("--executors", "1")
    cluster.executor(first, "e0")
    first.becomes_ready()
    (cluster.folder / "job.yaml").write_text(
        JOB.replace("host, count(*) AS hits", "count(*) AS hits").replace("1, 2", "1")
    )
    other = cluster.driver("--standby")
    assert other.ends() != 0
    assert "held by" not in other.log.read_text()
    assert first.get("/livez")[0] == 200 and first.popen.poll() is None


def test_a_job_on_one_machine_shows_the_same_pages(cluster: Cluster) -> None:
    cluster.put("1", ("00:00:01", "a"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = cluster.folder / "run.log"
    options = ["--executors", "1", "--metrics-port", str(port), "--log-format", "json"]
    with log.open("wb") as out:
        popen = subprocess.Popen(
            [sys.executable, "-m", "tidemill", "run", "job.yaml", *options], stderr=out, cwd=cluster.folder
        )
    job = Process(popen, log)
    cluster.processes.append(job)
    until(lambda: cluster.rows("hosts"), log.read_text, popen)
    job.becomes_ready()
    assert job.status()["executors"]["expected"] == 1
    assert job.metrics()['tidemill_executor_joined{executor="executor-0"}'] == 1
    served = next(line for line in job.lines if "serves the driver" in line["message"])
    assert (served["executor"], served["job"]) == ("executor-0", "visits")
    popen.send_signal(signal.SIGTERM)
    assert job.ends() == 0, log.read_text()


def test_an_executor_that_is_killed_is_seen_to_be_gone_and_the_job_goes_on(cluster: Cluster) -> None:
    cluster.put("1", ("00:00:01", "a"), ("00:00:02", "b"))
    driver = cluster.driver()
    executors = [cluster.executor(driver, f"e{i}") for i in range(2)]
    until(lambda: len(cluster.rows("hosts")) == 2, driver.log.read_text, driver.popen)
    until(
        lambda: [e["shards"] for e in driver.status()["executors"]["members"]] == [32, 32],
        driver.log.read_text,
        driver.popen,
    )
    executors[1].popen.kill()
    cluster.put("2", ("00:10:00", "c"))
    until(lambda: len(cluster.rows("hits")) == 2, driver.log.read_text, driver.popen)
    found = driver.metrics()
    assert (found["tidemill_executors"], found["tidemill_executors_expected"]) == (1, 2)
    assert found['tidemill_shards_moved_total{query="hits"}'] == 32
    assert found['tidemill_executor_shards{executor="e0"}'] == 64
    assert driver.get("/readyz")[0] == 200

    executors[0].popen.kill()
    until(lambda: driver.get("/readyz")[0] == 503, driver.log.read_text, driver.popen)
    assert driver.get("/readyz")[1] == "no executor has joined\n"
    assert driver.get("/livez")[0] == 200  # to start the driver again would help nobody


PROGRAM = """\
import sys
from tidemill.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
rows = spark.readStream.schema("at TIMESTAMP, host STRING").csv("in")
rows.select("host").writeStream.format("json").option("path", sys.argv[1]).queryName("hosts").start()
"""


def test_a_program_runs_on_the_executors_and_keeps_its_checkpoint_with_the_job(cluster: Cluster) -> None:
    (cluster.folder / "mounted.py").write_text(PROGRAM)
    head = JOB[: JOB.index("spec:")]
    program = "{configMap: {name: visits, key: job.py}, args: [out/hosts]}"
    (cluster.folder / "job.yaml").write_text(f"{head}spec:\n  program: {program}\n")
    cluster.put("1", ("00:00:01", "a"))
    driver = cluster.driver("--program", "mounted.py")
    cluster.executor(driver, "e0")
    until(lambda: cluster.rows("hosts"), driver.log.read_text, driver.popen)
    driver.becomes_ready()
    assert [q["name"] for q in driver.status()["queries"]] == ["hosts"]
    assert (cluster.folder / ".tidemill" / "default.visits" / "hosts" / "tidemill.json").exists()
    driver.popen.send_signal(signal.SIGTERM)
    assert driver.ends() == 0, driver.log.read_text()


def test_a_driver_without_executors_stops_when_it_is_told(cluster: Cluster) -> None:
    cluster.put("1", ("00:00:01", "a"))
    driver = cluster.driver()
    until(lambda: driver.status()["queries"], driver.log.read_text, driver.popen)
    driver.popen.send_signal(signal.SIGTERM)
    assert driver.ends() == 0, driver.log.read_text()


# Wrong input: one message each, with what to do


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--listen", "here"], "--listen 'here' is no address; write HOST:PORT"),
        (["--listen", "http://127.0.0.1:1"], "write tls://HOST:PORT"),
        (["--listen", "192.0.2.1:0"], "the driver cannot listen at 192.0.2.1:0"),
        (["--listen", "127.0.0.1:0", "--tls-key", "none.pem"], "TLS key file none.pem cannot be read"),
        (["--listen", "127.0.0.1:0", "--executors", "0"], "--executors"),
    ],
)
def test_a_driver_says_what_is_wrong_with_its_options(
    cluster: Cluster, arguments: list[str], message: str
) -> None:
    tls = cluster.files["driver"]
    environment = {
        "TIDEMILL_TLS_CA": str(tls.ca),
        "TIDEMILL_TLS_CERT": str(tls.cert),
        "TIDEMILL_TLS_KEY": str(tls.key),
        "COLUMNS": "200",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tidemill", "driver", "job.yaml", *arguments],
        capture_output=True, text=True, cwd=cluster.folder, env=os.environ | environment, timeout=WAIT, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("what", ["--listen", "--health-port"])
def test_a_port_in_use_is_named(cluster: Cluster, what: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listen = f"127.0.0.1:{port if what == '--listen' else 0}"
        health = ["--health-port", str(port)] if what == "--health-port" else []
        driver = cluster.start("driver", "job.yaml", "--listen", listen, *health)
        assert driver.ends() != 0
    text = driver.log.read_text()
    assert str(port) in text and "port" in text and "Traceback" not in text


def test_an_executor_of_another_version_is_turned_away(cluster: Cluster) -> None:
    driver = cluster.driver()
    program = "import tidemill; tidemill.__version__ = '9.9.9'; from tidemill.cli import main; main()"
    executor = cluster.start(
        "executor", "--driver", driver.address, "--name", "e9", "--listen", "127.0.0.1", program=program
    )
    assert executor.ends() == 2
    assert "e9 has Tidemill 9.9.9" in executor.log.read_text()
    assert "run both from the same image" in executor.log.read_text()
    driver.says("e9 has Tidemill 9.9.9")


def test_an_executor_with_a_certificate_of_another_job_is_told_so(cluster: Cluster, tmp_path: Path) -> None:
    driver = cluster.driver()
    own = cluster.files["executor"]
    other = make_authority(tmp_path / "other", ("executor",))["executor"]
    cluster.files |= {"stranger": other, "impostor": TlsFiles(own.ca, other.cert, other.key)}
    options = ("--driver", driver.address, "--listen", "127.0.0.1")
    stranger = cluster.start("executor", *options, "--name", "e8", who="stranger")
    impostor = cluster.start("executor", *options, "--name", "e9", who="impostor")

    assert impostor.ends() == 2
    assert f"was not signed by the CA in {own.ca}" in impostor.log.read_text()
    stranger.says("certificate was not signed by the CA in")  # and waits: the right driver may come
    assert driver.status()["executors"]["joined"] == 0
