"""`tidemill driver` and `tidemill executor`, as they run on a cluster: processes that know only addresses and files."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tidemill.tls import TlsFiles, make_authority

JOB = """\
apiVersion: tidemill.dev/v1alpha1
kind: StreamingJob
metadata: {name: visits}
spec:
  sources:
    - {name: visits, format: json, options: {path: in}, schema: "k STRING, v INT"}
  queries:
    - name: first
      sql: SELECT DISTINCT k, v FROM visits
      trigger: {availableNow: true}
      sink: {format: json, options: {path: out}}
  executor: {replicas: 2}
"""


@contextmanager
def started(*command: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tidemill", *map(str, command)], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def options(files: TlsFiles) -> list[object]:
    return ["--tls-ca", files.ca, "--tls-cert", files.cert, "--tls-key", files.key]


def until(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    assert process.stderr is not None
    told = []
    for line in process.stderr:
        told.append(line)
        if found := re.search(pattern, line):
            return found
    raise AssertionError(f"{pattern!r} is not in what it said:\n{''.join(told)}")


def driver(place: Path, files: dict[str, TlsFiles], port: int = 0) -> list[object]:
    return ["driver", place / "job.yaml", "--listen", f"127.0.0.1:{port}", *options(files["driver"])]


def put(place: Path, name: str, count: int) -> None:
    rows = [json.dumps({"k": f"key {i}", "v": i}) + "\n" for i in range(count)]
    (place / "in" / name).write_text("".join(rows))


def out(place: Path) -> list[int]:
    lines = [line for file in (place / "out").glob("*.json") for line in file.read_text().splitlines()]
    return sorted(json.loads(line)["v"] for line in lines)


def test_executors_outlive_a_driver_and_serve_the_next(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "job.yaml").write_text(JOB)
    put(tmp_path, "1.json", 20)
    files = make_authority(tmp_path / "tls", ("driver", "executor"))
    with ExitStack() as open_:
        first = open_.enter_context(started(*driver(tmp_path, files)))
        port = int(until(first, r"the driver listens at tls://127\.0\.0\.1:(\d+), for 2 executors")[1])
        executors = [
            open_.enter_context(
                started(
                    "executor", "--driver", f"tls://127.0.0.1:{port}", "--threads", 1, *options(files["executor"])
                )
            )
            for _ in range(2)
        ]  # fmt: skip
        assert first.communicate(timeout=100) and first.returncode == 0
        assert out(tmp_path) == list(range(20))
        put(tmp_path, "2.json", 25)
        second = open_.enter_context(started(*driver(tmp_path, files, port)))
        told = second.communicate(timeout=100)[1]
        assert second.returncode == 0, told
        assert len(re.findall(r"executor \S+ has joined", told)) == 2
        assert out(tmp_path) == list(range(25)), "what was seen is in the state that the second one restored"
        for executor in executors:
            executor.send_signal(signal.SIGTERM)
        assert [e.wait(60) for e in executors] == [0, 0]
