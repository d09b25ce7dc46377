"""The quick start: a week of real flights through a streaming job, watched in the terminal.

    python examples/flights/quickstart.py [--days 7] [--hours-per-second 40] [--directory DIR] [--plain]

Runs `job.yaml` as it stands beside this file on a copy in a directory of its own, while the flights are played in.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import replay
from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tidemill.api import load
from tidemill.cli.job import Job

AIRPORTS = {"EWR": "Newark", "JFK": "Kennedy", "LGA": "LaGuardia"}
SHOWN_HOURS = 9
BAR = 34
"""Characters of the longest bar."""


@dataclass
class Board:
    """What has become final so far, read from the job's output as any reader would."""

    out: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def update(self) -> list[dict[str, Any]]:
        """The rows that have appeared since the last look."""
        new = []
        for file in sorted(self.out.glob("*.json")):
            if file.name not in self.seen:
                self.seen.add(file.name)
                new += [json.loads(line) for line in file.read_text().splitlines()]
        self.rows += new
        return new


@dataclass
class Totals:
    """Sums over the reports of the query."""

    batches: int = 0
    rows: int = 0
    late: int = 0
    millis: list[int] = field(default_factory=list)
    watermark: str = ""
    last: int = -1

    def update(self, query: Any) -> None:
        for p in query.recentProgress:
            if p["batchId"] <= self.last:
                continue
            self.last = p["batchId"]
            self.batches += 1
            self.rows += p["numInputRows"]
            self.late += sum(o["customMetrics"]["numLateRows"] for o in p["stateOperators"])
            self.millis.append(p["batchDuration"])
            self.watermark = p["eventTime"].get("watermark", self.watermark)

    @property
    def median(self) -> int:
        return sorted(self.millis)[len(self.millis) // 2] if self.millis else 0


def table(rows: list[dict[str, Any]]) -> Table:
    """The hours that became final last."""
    made = Table(title="Departures, final by hour", title_justify="left", expand=False)
    for name, side in [
        ("hour", "left"),
        ("from", "left"),
        ("flights", "right"),
        ("mean delay", "right"),
        ("worst", "right"),
    ]:
        made.add_column(name, justify=side)  # type: ignore[arg-type]
    for r in sorted(rows, key=lambda r: (r["hour"], r["origin"]))[-SHOWN_HOURS:]:
        made.add_row(
            r["hour"][5:16].replace("T", " "), AIRPORTS[r["origin"]], str(r["flights"]),
            f"{r['mean_delay']:.1f} min", f"{r['worst']} min",
        )  # fmt: skip
    return made


def chart(rows: list[dict[str, Any]]) -> Panel:
    """Mean delay by hour of the day, over everything that is final."""
    sums: dict[str, tuple[int, float]] = {}
    for r in rows:
        n, total = sums.get(r["hour"][11:13], (0, 0.0))
        sums[r["hour"][11:13]] = (n + r["flights"], total + r["flights"] * r["mean_delay"])
    means = {hour: total / n for hour, (n, total) in sums.items()}
    longest = max([*means.values(), 1.0])
    text = Text()
    for hour in sorted(means):
        mean = max(means[hour], 0.0)
        color = "green" if mean < 8 else "yellow" if mean < 16 else "red"
        text.append(f"{hour}h ", style="dim")
        text.append("█" * max(round(BAR * mean / longest), 1), style=color)
        text.append(f" {mean:.0f} min\n")
    return Panel(text or Text("nothing is final yet"), title="Mean delay by hour of day", width=BAR + 20)


def screen(board: Board, totals: Totals, played: int) -> Group:
    line = Text.assemble(
        (f"{played:,}", "bold"), " flights played · ", (f"{totals.rows:,}", "bold"), " read in ",
        (f"{totals.batches}", "bold"), " batches · median batch ", (f"{totals.median} ms", "bold"), " · watermark ",
        (totals.watermark[:16].replace("T", " "), "bold"), " · ", (f"{totals.late}", "bold red"), " came too late",
    )  # fmt: skip
    return Group(Columns([table(board.rows), chart(board.rows)]), line)


def play(into: Path, days: int, pause: float, played: list[int], done: threading.Event) -> None:
    for count in replay.play(into, days, pause):
        played[0] = count
    done.set()


def follow(job: Job, board: Board, played: list[int], done: threading.Event) -> Iterator[Totals]:
    """Totals again and again, until everything that was played is final or waits for its hour to be."""
    totals = Totals()
    query = job.queries[-1]
    while True:
        over = done.is_set()
        if over:
            query.processAllAvailable()
        totals.update(query)
        yield totals
        if over or not query.isActive:
            return
        time.sleep(0.1)


def run(options: argparse.Namespace, directory: Path, console: Console) -> int:
    played, done = [0], threading.Event()
    started = time.monotonic()
    into = replay.set_up(directory / "data")
    shutil.copy(Path(__file__).with_name("job.yaml"), directory)
    job = Job.create(load(directory / "job.yaml"), directory)
    job.start()
    player = threading.Thread(
        target=play, args=(into, options.days, 1 / options.hours_per_second, played, done), daemon=True
    )
    player.start()
    board = Board(directory / "out" / "departures")
    try:
        totals = show(job, board, played, done, console, options.plain or not console.is_terminal)
    except KeyboardInterrupt:
        return 0
    finally:
        job.stop()
    for error in job.errors:
        console.print(error, style="red")
    if not job.errors:
        farewell(console, directory, board, totals, time.monotonic() - started)
    return 1 if job.errors else 0


def show(
    job: Job, board: Board, played: list[int], done: threading.Event, console: Console, plain: bool
) -> Totals:
    totals = Totals()
    if plain:
        for current in follow(job, board, played, done):
            totals = current
            for r in sorted(board.update(), key=lambda r: (r["hour"], r["origin"])):
                console.print(
                    f"{r['hour'][:16]} {r['origin']} {r['flights']:3d} flights, mean delay {r['mean_delay']:6.1f} min, "
                    f"worst {r['worst']:4d} min ({r['worst_airline']})", highlight=False, soft_wrap=True,
                )  # fmt: skip
        return totals
    with Live(console=console, refresh_per_second=10) as live:
        for totals in follow(job, board, played, done):
            board.update()
            live.update(screen(board, totals, played[0]))
    return totals


def farewell(console: Console, directory: Path, board: Board, totals: Totals, seconds: float) -> None:
    counted = sum(r["flights"] for r in board.rows)
    console.print(
        f"\n{totals.rows:,} flights in {totals.batches} batches ({totals.median} ms each, median) and {seconds:.1f} s: "
        f"{counted:,} in hours that are final, {totals.late} too late for theirs, "
        f"{totals.rows - counted - totals.late:,} in hours still open. Each exactly once; kill it and see.",
        highlight=False,
        soft_wrap=True,
    )
    console.print("\nTry next:", highlight=False)
    tidemill = Path(sys.executable).with_name("tidemill")
    program = Path(__file__).resolve().with_name("job.py")
    for what in (
        f"  {tidemill} run {directory}/job.yaml",
        "      the same job by hand: it goes on where this stopped; Ctrl-C ends it",
        f"  {sys.executable} {program} {directory}/data {directory}/program",
        f"      the same as a PySpark program; it writes to {directory}/program/departures",
        "  examples/README.md",
        "      your own Kafka: Kafka to Kafka exactly once, a web log, a word count",
    ):
        console.print(what, highlight=False, soft_wrap=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--days", type=int, default=7, help="how many days of 2013 to play (365 at most)")
    parser.add_argument("--hours-per-second", type=float, default=20.0, help="how fast")
    parser.add_argument(
        "--directory", type=Path, help="where to keep data, output and checkpoint; default: a new one"
    )
    parser.add_argument(
        "--plain", action="store_true", help="plain lines, as where the output is no terminal"
    )
    options = parser.parse_args()
    directory = options.directory or Path(tempfile.mkdtemp(prefix="tidemill-flights-"))
    return run(options, directory, Console())


if __name__ == "__main__":
    raise SystemExit(main())
