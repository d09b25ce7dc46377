"""A job under a steady feed whose processes are killed, stopped, told to end and rescaled at random, for as long as it
is told: ``python -m bench.soak --minutes 10 [--sink files|kafka] [--rate N] [--seed N]``.

From Kafka, with the checkpoint in Redis. At the end the output must be that of a count of all that was fed; then the
numbers of blows and the times to recover from them are printed. Exit code 1 if it is not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.crash.executors import Executors
from tests.crash.program import TIMES, driving, striker
from tests.crash.rescaling import PARTITIONS, WINDOW, Feed
from tests.services.kafka import KafkaBroker
from tests.services.parts import dies_with_us
from tests.services.redis import Server as RedisServer

SILENT = 3.0
"""Seconds after which an executor is given up."""
CALM = (2.0, 8.0)
"""Seconds between two blows."""
MOST = 3
"""Executors."""
SETTLE = 180.0
"""Seconds at the end for all output to be there."""


# --- The driver's process -------------------------------------------------------------------------------------------


def drive(config: dict[str, Any]) -> None:
    """One life of the job, until SIGTERM."""
    from tidemill import launch
    from tidemill.sinks.encoding import Encoding
    from tidemill.sql import SparkSession
    from tidemill.sql import functions as F
    from tidemill.sql.readwriter import wiring

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    spark = SparkSession.builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
    servers = {"kafka.bootstrap.servers": config["bootstrap"]}
    rows = spark.readStream.format("kafka").options(**servers, subscribe=config["topic"])
    value = F.from_json(F.col("value").cast("string"), "t BIGINT, k STRING")
    counted = (
        rows.option("startingOffsets", "earliest")
        .load()
        .select(value.alias("v"))
        .select(F.timestamp_seconds("v.t").alias("t"), "v.k")
        .withWatermark("t", "30 seconds")
        .groupBy(F.window("t", f"{WINDOW} seconds").alias("w"), "k")
        .count()
        .select(F.col("w.start").cast("long").alias("start"), "k", "count")
    )
    if config["sink"] == "kafka":
        options = {**servers, "topic": config["out"]}
        sink = launch.SinkSpec("kafka", options, encoding=Encoding("json", ("k",)))
    else:
        sink = launch.SinkSpec("json", {"path": config["out"]})
    sink.wiring = wiring(spark, counted.schema)
    engine = driving(config["cluster"])
    hook = striker((), Path(config["directory"]))
    spec = launch.QuerySpec(sink, checkpoint=config["checkpoint"], hook=hook)
    query = launch.start(counted._plan, spec, replace(spark._run_context(), cluster=engine))
    while not stop.wait(0.1) and query.is_active:
        pass
    query.stop()
    engine.close()
    if query.exception() is not None:
        sys.exit(1)


# --- The soak -------------------------------------------------------------------------------------------------------


@dataclass
class Driver:
    """Starts the driver's process, and again whenever it has ended."""

    config: dict[str, Any]
    directory: Path
    codes: Counter[int] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)
    process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        command = [*dies_with_us(), sys.executable, "-W", "ignore", "-m", "bench.soak", "--drive"]
        with open(self.directory / "driver.log", "ab") as log:
            while not self.over.is_set():
                self.process = subprocess.Popen([*command, json.dumps(self.config)], stdout=log, stderr=log)
                self.codes[self.process.wait()] += 1

    def send(self, what: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(what)


@dataclass
class Chaos:
    """Strikes at random."""

    driver: Driver
    executors: Executors
    dice: random.Random
    blows: list[tuple[float, str]] = field(default_factory=list)

    def strike(self) -> None:
        kinds: dict[str, tuple[int, Callable[[], None]]] = {
            "driver killed": (3, lambda: self.driver.send(signal.SIGKILL)),
            "driver told to end": (1, lambda: self.driver.send(signal.SIGTERM)),
            "executor killed": (4, lambda: self._executor(signal.SIGKILL)),
            "executor told to end": (2, lambda: self._executor(signal.SIGTERM)),
            "executor stopped": (2, self._pause),
            "rescaled": (3, self._rescale),
        }
        name = self.dice.choices(list(kinds), [weight for weight, _ in kinds.values()])[0]
        self.blows.append((time.time(), name))
        with contextlib.suppress(KeyError, ProcessLookupError):
            kinds[name][1]()

    def _one(self) -> str:
        return self.dice.choice(sorted(self.executors.pids) or ["executor-0"])

    def _executor(self, what: signal.Signals) -> None:
        self.executors.send(self._one(), what)

    def _pause(self) -> None:
        self._executor(signal.SIGSTOP)
        threading.Timer(self.dice.uniform(0.5, 3 * SILENT), self.executors.resume).start()

    def _rescale(self) -> None:
        self.executors.scale(self.dice.choice([n for n in range(1, MOST + 1) if n != self.executors.count]))


def found(config: dict[str, Any], broker: KafkaBroker) -> tuple[Counter[tuple[int, str]], int]:
    """The output by window and key, and its rows."""
    if config["sink"] == "kafka":
        lines = [v for v in broker.values(config["out"]) if v]
    else:
        files = Path(config["out"]).glob("*.json")
        lines = [line for f in files for line in f.read_text().splitlines()]
    rows = [json.loads(line) for line in lines]
    return Counter({(r["start"], r["k"]): r["count"] for r in rows}), len(rows)


def soak(minutes: float, sink: str, rate: int, seed: int) -> bool:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for part in ("kafka", "redis", "run"):
            (folder / part).mkdir()
        broker = stack.enter_context(KafkaBroker(folder / "kafka"))
        redis = stack.enter_context(RedisServer(folder / "redis"))
        executors = stack.enter_context(Executors(folder / "executors", 2))
        config = {
            "bootstrap": broker.bootstrap,
            "topic": broker.topic(PARTITIONS),
            "sink": sink,
            "out": broker.topic(2) if sink == "kafka" else str(folder / "run" / "out"),
            "checkpoint": redis.location("lease=2"),
            "directory": str(folder / "run"),
            "cluster": {**executors.driver(silent=SILENT), "executors": 1},
        }
        feed = Feed(broker.bootstrap, str(config["topic"]), rate)
        driver = Driver(config, folder / "run")
        chaos = Chaos(driver, executors, random.Random(seed))
        for each in (feed.run, driver.run):
            threading.Thread(target=each, daemon=True).start()
        end = time.monotonic() + minutes * 60
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(chaos.dice.uniform(*CALM), left))
            chaos.strike()
        time.sleep(3 * SILENT)
        executors.resume()
        feed.over.set()
        exact = settled(config, broker, feed)
        driver.over.set()
        driver.send(signal.SIGTERM)
        tell(chaos, feed, driver, folder / "run" / TIMES, exact)
        if not exact:
            print((folder / "run" / "driver.log").read_text()[-6000:])
        return exact


def settled(config: dict[str, Any], broker: KafkaBroker, feed: Feed) -> bool:
    """Whether all that was fed is in the output, once, before long."""
    end = time.monotonic() + SETTLE
    while True:
        now, rows = found(config, broker)
        if rows != len(now):
            print(f"{rows - len(now)} windows are there twice")
            return False
        if now == feed.counts:
            return True
        wrong = {k for k in now if now[k] != feed.counts[k]}
        if wrong or time.monotonic() > end:
            print(f"{len(wrong)} windows are wrong, {len(feed.counts.keys() - now.keys())} are missing")
            return False
        time.sleep(1)


def tell(chaos: Chaos, feed: Feed, driver: Driver, times: Path, exact: bool) -> None:
    lines = [line.split() for line in times.read_text().splitlines()]
    commits = sorted(float(at) for at, *words in lines if words[:2] == ["committed", "after"])
    seconds: dict[str, list[float]] = defaultdict(list)
    for at, name in chaos.blows:
        if later := next((c for c in commits if c > at), None):
            seconds[name].append(later - at)
    print(
        f"{feed.sent} records, {len(commits)} batches, {len(chaos.blows)} blows, output {'exact' if exact else 'WRONG'}"
    )
    print(
        f"the driver ended with {dict(driver.codes)}, executors with {dict(Counter(c for _, c in chaos.executors.deaths))}"
    )
    print("seconds to the next commit: median / most")
    for name, found_of in sorted(seconds.items()):
        ordered = sorted(found_of)
        print(f"  {name:22} {len(ordered):4}   {ordered[len(ordered) // 2]:6.2f} / {ordered[-1]:6.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--sink", choices=("files", "kafka"), default="kafka")
    parser.add_argument("--rate", type=int, default=2_000, help="records a second")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the blows")
    parser.add_argument("--drive", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        drive(json.loads(options.drive))
        return
    print(f"soaking for {options.minutes:g} minutes, seed {options.seed}", flush=True)
    sys.exit(0 if soak(options.minutes, options.sink, options.rate, options.seed) else 1)


if __name__ == "__main__":
    main()
