"""``tidemill driver`` and ``tidemill executor``: a job on several processes that are started by hand."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.processes import JOB, WAIT, Cluster, Process, until
from tidemill.tls import TlsFiles, make_authority


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
