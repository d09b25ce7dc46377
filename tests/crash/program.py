"""The program that is killed: windows over files, with answers that would differ if a batch ran again."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tidemill import launch
from tidemill.driver.machine import Trigger
from tidemill.engine.base import Engine
from tidemill.sinks.encoding import Encoding
from tidemill.sql import DataFrame, SparkSession
from tidemill.sql import functions as F
from tidemill.sql.readwriter import wiring
from tidemill.tls import TlsFiles

PAUSED = "paused"
TIMES = "times"
KILLED = 77
"""The exit code of a process that killed itself where it was told to."""


def run(config: dict[str, Any]) -> None:
    """One life of the program; ``config``: directory, sink, tasks, kill (step, when, batch) and what the sink needs.

    With ``cluster`` it drives executors that were started elsewhere, and sends the signals of ``blows``.
    """
    directory = Path(config["directory"])
    builder = SparkSession.builder.config("spark.sql.session.timeZone", "UTC")
    spark = builder.config("tidemill.threads", str(config["tasks"])).getOrCreate()
    spark.conf.set("spark.sql.streaming.minBatchesToRetain", "1")
    frame = dice(spark, directory / "in")
    sink = {"files": files, "kafka": kafka, "sqlite": sqlite}[config["sink"]](frame, config, directory)
    frame, spec = sink
    spec.wiring = wiring(spark, frame.schema)
    query = launch.QuerySpec(
        sink=spec,
        trigger=Trigger("available"),
        checkpoint=config.get("checkpoint") or str(directory / "checkpoint"),
        conf=spark._config.all(),
        hook=killer(config.get("kill"), directory if config.get("pause") else None),
    )
    context = spark._run_context()
    if "cluster" not in config:
        launch.start(frame._plan, query, context).await_termination()
        return
    query.hook = striker(config.get("blows", ()), directory)
    engine = driving(config["cluster"])
    try:
        launch.start(frame._plan, query, replace(context, cluster=engine)).await_termination()
    except Exception as error:
        cause = error.__cause__ or error
        (directory / f"error-{config['life']}").write_text(f"{type(cause).__name__}: {cause}")
        raise
    finally:
        engine.close()


def driving(cluster: dict[str, Any]) -> Engine:
    """An engine for executors that were told its port; see `tests.crash.executors`."""
    from tidemill.engine.dask import DaskEngine

    files = TlsFiles(*map(Path, cluster["tls"]))
    silent, patience = cluster.get("silent", 60.0), cluster.get("patience", 60.0)
    return DaskEngine(files, cluster["executors"], patience, port=cluster["port"], silent=silent)


def striker(blows: Sequence[dict[str, Any]], directory: Path) -> Callable[[str, str, int], None]:
    """A hook that sends signals, each once: to the process ``pid``, or to this one. It notes all steps and blows in the
    file ``times`` of the directory."""
    left = list(blows)

    def note(*words: object) -> None:
        with open(directory / TIMES, "a") as file:
            print(time.time(), *words, file=file)

    def hook(step: str, when: str, batch: int) -> None:
        for blow in [b for b in left if (b["step"], b["when"]) == (step, when) and batch >= b["batch"]]:
            left.remove(blow)
            pid = blow["pid"] or os.getpid()
            note("blow", blow["victim"], step, when, pid)
            os.kill(pid, signal.Signals[blow["signal"]])
            while blow["signal"] == "SIGKILL" and lives(pid):
                time.sleep(0.001)
            if blow["signal"] == "SIGSTOP" and pid == os.getpid():
                time.sleep(0.1)  # a process stops a little later than it is told to
        note(step, when, batch)

    return hook


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def dice(spark: SparkSession, path: Path) -> DataFrame:
    """The plan: nothing in it would come out the same a second time but the counts."""
    throw = F.udf(lambda: random.random(), "double").asNondeterministic()
    rows = (
        spark.readStream.schema("k STRING, t TIMESTAMP, v DOUBLE")
        .option("maxFilesPerTrigger", 1)
        .json(str(path))
    )
    return (
        rows.withWatermark("t", "10 seconds")
        .groupBy(F.window("t", "10 seconds").alias("w"), "k")
        .agg(
            F.count("*").alias("n"),
            F.sum("v").alias("total"),
            F.first("v").alias("one"),
            F.collect_list("v").alias("all"),
        )
        .select(
            F.col("w.start").cast("long").alias("start"),
            "k",
            "n",
            "total",
            "one",
            "all",
            throw().alias("dice"),
        )
    )


def killer(kill: dict[str, Any] | None, pause: Path | None) -> Callable[[str, str, int], None]:
    """A hook that ends the process at one moment, without any clean-up; or stops it there, once, with its pid in a
    file of the directory ``pause``, until it is told to go on."""

    def hook(step: str, when: str, batch: int) -> None:
        if kill and (step, when) == (kill["step"], kill["when"]) and batch >= kill["batch"]:
            if pause is None:
                os._exit(KILLED)
            if not (pause / PAUSED).exists():
                (pause / PAUSED).write_text(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGSTOP)

    return hook


def files(frame: DataFrame, config: dict[str, Any], directory: Path) -> tuple[DataFrame, launch.SinkSpec]:
    return frame, launch.SinkSpec("json", {"path": str(directory / "out")})


def kafka(frame: DataFrame, config: dict[str, Any], directory: Path) -> tuple[DataFrame, launch.SinkSpec]:
    options = {"kafka.bootstrap.servers": config["bootstrap"], "topic": config["topic"]}
    return frame, launch.SinkSpec("kafka", options, encoding=Encoding("json", ("k",)))


def sqlite(frame: DataFrame, config: dict[str, Any], directory: Path) -> tuple[DataFrame, launch.SinkSpec]:
    return frame, launch.SinkSpec("foreachBatch", target=Keeper(str(directory / "out.db")))


class Keeper:
    """Keeps each batch once, by its id, and notes a batch that came again with other rows."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, frame: DataFrame, batch: int) -> None:
        rows = json.dumps(sorted(json.dumps(r.asDict(), sort_keys=True) for r in frame.collect()))
        with sqlite3.connect(self.path) as database:
            database.execute("CREATE TABLE IF NOT EXISTS batches (id INTEGER PRIMARY KEY, rows TEXT)")
            database.execute("CREATE TABLE IF NOT EXISTS changed (id INTEGER)")
            known = database.execute("SELECT rows FROM batches WHERE id = ?", (batch,)).fetchone()
            if known is None:
                database.execute("INSERT INTO batches VALUES (?, ?)", (batch, rows))
            elif known[0] != rows:
                database.execute("INSERT INTO changed VALUES (?)", (batch,))
