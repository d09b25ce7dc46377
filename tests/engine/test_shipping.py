"""A program's own functions and modules reach executors; what cannot reach them is named before anything runs."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.services.cluster import session_on, stop
from tidemill import checkpoint
from tidemill.engine.dask import DaskEngine
from tidemill.errors import AnalysisException
from tidemill.sql import DataFrame, SparkSession
from tidemill.sql import functions as F
from tidemill.testing import MemoryStream
from tidemill.tls import make_authority

RULES = """\
import words

LIMIT = 3

def team(host):
    return words.loud(host) if len(host) < LIMIT else "long"
"""
WORDS = """\
def loud(text):
    return text.upper() + "!"
"""
JOB = """\
apiVersion: tidemill.dev/v1alpha1
kind: StreamingJob
metadata: {name: visits}
spec:
  functions:
    - {name: team, from: "rules:team", returns: STRING}
  sources:
    - name: visits
      format: csv
      options: {path: in}
      schema: at TIMESTAMP, host STRING
      deadLetter: {format: json, options: {path: out/bad}}
  tables:
    - {name: hosts, format: json, options: {path: hosts.json}}
  queries:
    - name: named
      sql: SELECT team(host) AS team, city FROM visits JOIN hosts USING (host)
      trigger: {availableNow: true}
      sink: {format: json, options: {path: out/named}}
"""
PROGRAM = """\
import sys
from pathlib import Path
from pyspark_like import SparkSession, functions as F
import words

class Prefix:
    def __init__(self, text): self.text = text
    def of(self, host): return self.text + words.loud(host)

here = Path(__file__).parent
spark = SparkSession.builder.config("tidemill.executors", "2").getOrCreate()
named = F.udf(Prefix("host ").of, "string")
visits = spark.readStream.schema("at TIMESTAMP, host STRING").csv(str(here / "in"))
query = (visits.select(named("host").alias("team")).writeStream.format("json").option("path", str(here / "out" / "named"))
         .option("checkpointLocation", str(here / "kept")).trigger(availableNow=True).start())
query.awaitTermination()
spark.stop()
"""
OWN = """\
apiVersion: tidemill.dev/v1alpha1
kind: StreamingJob
metadata: {name: own}
spec:
  program: {file: program.py}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A job's directory; commands run elsewhere."""
    made = tmp_path / "job"
    (made / "in").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (made / "in" / "1.csv").write_text("2024-01-01T00:00:00,a\n2024-01-01T00:01:00,bbb\nnever,a\n")
    (made / "hosts.json").write_text('{"host": "a", "city": "Ulm"}\n{"host": "bbb", "city": "Bonn"}\n')
    (made / "rules.py").write_text(RULES)
    (made / "words.py").write_text(WORDS)
    (made / "job.yaml").write_text(JOB)
    (made / "own.yaml").write_text(OWN)
    (made / "program.py").write_text(PROGRAM.replace("from pyspark_like import", "from tidemill.sql import"))
    return made


def run(place: Path, *command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=place.parent / "elsewhere", capture_output=True, text=True, timeout=110
    )  # fmt: skip


def rows(directory: Path) -> list[dict[str, Any]]:
    lines = [line for file in sorted(directory.glob("*.json")) for line in file.read_text().splitlines()]
    return sorted((json.loads(line) for line in lines), key=repr)


def test_modules_beside_the_manifest_reach_executors_and_bad_records_are_set_aside(place: Path) -> None:
    done = run(place, "-m", "tidemill", "run", "--executors", 2, place / "job.yaml")
    assert done.returncode == 0, done.stderr
    assert rows(place / "out" / "named") == [
        {"team": "A!", "city": "Ulm"},
        {"team": "long", "city": "Bonn"},
    ]
    assert [row["record"] for row in rows(place / "out" / "bad")] == ["never,a"]


@pytest.mark.parametrize("how", ["python", "tidemill run"])
def test_functions_and_classes_of_a_program_and_its_modules_reach_executors(place: Path, how: str) -> None:
    by_hand = (place / "program.py",)
    command = by_hand if how == "python" else ("-m", "tidemill", "run", "--executors", 2, place / "own.yaml")
    done = run(place, *command)
    assert done.returncode == 0, done.stderr
    assert [r["team"] for r in rows(place / "out" / "named")] == ["host A!", "host A!", "host BBB!"]


# --- What cannot be sent ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """On a driver without an executor: what is refused is so before one is needed."""
    files = make_authority(tmp_path_factory.mktemp("tls"), ("driver",))
    engine = DaskEngine(files["driver"])
    session = session_on(engine)
    yield session
    stop(session)
    engine.close()


def holding_a_lock(frame: DataFrame) -> DataFrame:
    lock = threading.Lock()

    def guarded(v: int) -> int:
        with lock:
            return v

    return frame.select(F.udf(guarded, "int")("v"))


def mapping_with_a_socket(frame: DataFrame) -> DataFrame:
    server = socket.socket()

    def noted(parts: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for part in parts:
            server.send(b"one more")
            yield part

    return frame.mapInPandas(noted, "v INT")


CULPRITS: dict[Callable[[DataFrame], DataFrame], str] = {
    holding_a_lock: r"function 'guarded': cannot pickle '_thread.lock' object; user functions must not hold",
    mapping_with_a_socket: r"a function of whole batches \(mapInPandas, applyInPandas, ...\): cannot pickle",
}


@pytest.mark.parametrize("how", CULPRITS)
def test_what_cannot_be_sent_is_named_before_the_query_starts(
    spark: SparkSession, how: Callable[[DataFrame], DataFrame], tmp_path: Path
) -> None:
    stream = MemoryStream(spark, "v INT")
    writer = how(stream.toDF()).writeStream.format("json").option("path", str(tmp_path / "out"))
    with pytest.raises(AnalysisException, match=f"cannot be sent to executors: {CULPRITS[how]}"):
        writer.option("checkpointLocation", str(tmp_path / "kept")).start()
    assert spark.streams.active == []


# --- Two drivers ------------------------------------------------------------------------------------------------------


def test_a_second_driver_of_a_job_is_told_who_has_it(place: Path) -> None:
    files = make_authority(place / "tls", ("driver",))["driver"]
    log, store = checkpoint.open_(str(place / ".tidemill" / "default.visits" / "named"))
    generation = log.acquire("query named of another driver")
    try:
        done = run(
            place, "-m", "tidemill", "driver", place / "job.yaml", "--listen", "127.0.0.1:0",
            "--tls-ca", files.ca, "--tls-cert", files.cert, "--tls-key", files.key,
        )  # fmt: skip
    finally:
        log.release(generation)
        log.close()
        store.close()
    assert done.returncode == 1, done.stderr
    assert "is in use by query named of another driver" in done.stderr
    assert not (place / "out" / "named").exists() or rows(place / "out" / "named") == []
