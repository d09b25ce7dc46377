"""What a person, Prometheus or Kubernetes sees of a running job."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tidemill import __version__
from tidemill.driver.run import running
from tidemill.figures import ExecutorFigures, QueryFigures, iso
from tidemill.health import HealthServer, Probes
from tidemill.metrics import QueryMetrics
from tidemill.sql.session import open_sessions
from tidemill.sql.streaming import StreamingQueryListener

if TYPE_CHECKING:
    from tidemill.cli.job import Job
    from tidemill.driver.run import QueryRun
    from tidemill.engine.base import Engine

log = logging.getLogger(__name__)


class MetricsListener(StreamingQueryListener):
    """Feeds Prometheus metrics from the reports of queries."""

    def __init__(self, metrics: QueryMetrics) -> None:
        self.metrics = metrics
        self.names: dict[str, str] = {}

    def onQueryStarted(self, event: Any) -> None:
        name = self.names[str(event.runId)] = event.name or str(event.id)
        if run := running(str(event.runId)):
            self.metrics.began(name, run.sources, run.operators)

    def onQueryProgress(self, event: Any) -> None:
        progress = event.progress
        self.metrics.observe(progress["name"] or str(progress["id"]), progress)

    def onQueryTerminated(self, event: Any) -> None:
        name = self.names.pop(str(event.runId), str(event.id))
        self.metrics.ended(name, failed=event.exception is not None)


class LogListener(StreamingQueryListener):
    """Logs the start, the first batch and the end of queries, and how far they are every now and then."""

    EVERY = 10.0
    """Seconds between two lines of a query that runs on."""

    def __init__(self) -> None:
        self.queries: dict[str, dict[str, Any]] = {}

    def onQueryStarted(self, event: Any) -> None:
        name = event.name or str(event.id)
        self.queries[str(event.runId)] = {"query": name, "batches": 0, "rows": 0, "told": -self.EVERY}
        log.info("query %s has started", name, extra={"query": name})

    def onQueryProgress(self, event: Any) -> None:
        progress, sums = event.progress, self.queries.get(str(event.progress["runId"]))
        if sums is None:
            return
        sums["batches"] += 1
        sums["rows"] += progress["numInputRows"]
        if time.monotonic() >= sums["told"] + self.EVERY:
            sums["told"] = time.monotonic()
            self._tell(f"is at batch {progress['batchId']}", sums)

    def onQueryTerminated(self, event: Any) -> None:
        sums = self.queries.pop(str(event.runId), None)
        if sums is not None and event.exception is None:
            self._tell("has ended", sums)

    def _tell(self, what: str, sums: dict[str, Any]) -> None:
        figures = {k: sums[k] for k in ("query", "batches", "rows")}
        log.info(
            "query %s %s: %d batches, %d rows",
            sums["query"],
            what,
            sums["batches"],
            sums["rows"],
            extra=figures,
        )


class Watch:
    """What may be asked of a driver, from its first moment to its last."""

    def __init__(self, name: str, mask: Callable[[str], str] = str) -> None:
        self.name, self.mask = name, mask
        self._phase = "starting"
        """starting, standby (another driver holds the checkpoint), running, stopping, completed (every query has ended
        well, and the process waits to be told so)."""
        self.message = ""
        self.metrics = QueryMetrics()
        self.metrics.ask(self.queries, self.executors, lambda: self._engine.expects if self._engine else 0)
        self._job: Job | None = None
        self._engine: Engine | None = None
        self._since = self._phase_since = time.time()

    @property
    def phase(self) -> str:
        return self._phase

    @phase.setter
    def phase(self, phase: str) -> None:
        if phase != self._phase:
            self._phase, self._phase_since = phase, time.time()

    def serve(self, host: str, port: int) -> HealthServer:
        return HealthServer(Probes(self.live, self.ready, self.status, self.metrics.registry), port, host)

    def engine(self, engine: Engine) -> None:
        """There is an engine; not yet a job."""
        self._engine = engine

    def begin(self, job: Job) -> None:
        """There is a job, whose queries will start."""
        self._job = job
        self._engine = job.spark._run_context().engine
        job.spark.streams.addListener(MetricsListener(self.metrics))

    def _runs(self) -> list[QueryRun]:
        if self._job is None:
            return []
        active = [q for session in open_sessions() for q in session.streams.active]
        return list({q.runId: q._run for q in [*self._job.queries, *active]}.values())

    def queries(self) -> list[QueryFigures]:
        return [run.figures() for run in self._runs()]

    def _told(self) -> list[QueryRun]:
        """Those of `_runs`, and the last runs of what else a program has started."""
        if self._job is None:
            return []
        ended = [q for s in (self._job.spark, *open_sessions()) for q in s.streams._ended]
        return list({run.id: run for run in [*(q._run for q in ended), *self._runs()]}.values())

    def executors(self) -> list[ExecutorFigures]:
        return self._engine.executors() if self._engine is not None else []

    def live(self) -> str:
        """Why the process must be started again, or nothing."""
        troubles = [self._engine.trouble()] if self._engine is not None else []
        return "; ".join(filter(None, [*troubles, *(run.trouble() for run in self._runs())]))

    def ready(self) -> str:
        """Why no batches can run now, or nothing."""
        if self.phase != "running":
            return f"{self.phase}: {self.message}" if self.message else self.phase
        runs = self._runs()
        if not any(run.is_active for run in runs):
            return "no query runs"
        recovering = [run.name or run.id for run in runs if run.is_recovering]
        if recovering:
            return f"reading the checkpoint of {', '.join(recovering)}"
        return "" if self.executors() else "no executor has joined"

    def _waits(self) -> str:
        """What a job that runs, and cannot, waits for; or nothing."""
        waits = any(run.is_active for run in self._runs()) and not self.executors()
        if self.phase != "running" or self._engine is None or not waits:
            return ""
        expected = self._engine.expects
        return (
            f"waiting for executors: none of {expected} has joined" if expected else "waiting for executors"
        )

    def status(self) -> dict[str, Any]:
        queries, executors = [run.figures().to_json() for run in self._told()], self.executors()
        for query in queries:
            query["lastError"] = query["lastError"] and self.mask(query["lastError"])
        return {
            "role": "driver",
            "version": __version__,
            "job": self.name,
            "phase": self.phase,
            "phaseSince": iso(self._phase_since),
            "message": self.mask(self.message) or self._waits(),
            "startedAt": iso(self._since),
            "generation": max((q["generation"] for q in queries), default=0),
            "queries": queries,
            "executors": {
                "expected": self._engine.expects if self._engine is not None else 0,
                "joined": len(executors),
                "members": [e.to_json() for e in executors],
            },
        }


@contextmanager
def progress_line(job: Job) -> Iterator[Callable[[], None]]:
    """Gives what shows the queries' progress: a line each, in place; nothing where no person is watching."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda: None
        return
    handlers = [h for h in logging.getLogger("tidemill").handlers if isinstance(h, logging.StreamHandler)]
    before = [h.stream for h in handlers]
    with Live(console=console, refresh_per_second=5, transient=False) as live:
        for handler in handlers:
            handler.setStream(sys.stderr)  # which is now one that writes above the line
        try:
            yield lambda: live.update(lines(job))
        finally:
            for handler, stream in zip(handlers, before, strict=True):
                handler.setStream(stream)


def lines(job: Job) -> Table:
    """One line for each query."""
    table = Table.grid(padding=(0, 2))
    for query in job.queries:
        table.add_row(Text(query.name or "", style="bold"), *figures(query))
    return table


def figures(query: Any) -> list[str]:
    """Batch, rows, rate, watermark, state and losses of a query."""
    p = query.lastProgress
    if p is None:
        return [query.status["message"]]
    late = sum(o["customMetrics"]["numLateRows"] for q in query.recentProgress for o in q["stateOperators"])
    bad = sum(s["numBadRecords"] for q in query.recentProgress for s in q["sources"])
    return [
        *progress_figures(p),
        f"late {late:,}" if late else "",
        f"bad {bad:,}" if bad else "",
    ]


def progress_figures(p: Any) -> list[str]:
    """A report in a few words, of which some may be empty."""
    mark = p["eventTime"].get("watermark", "")
    return [
        f"batch {p['batchId']}",
        f"{p['processedRowsPerSecond']:,.0f} rows/s",
        f"{p['batchDuration']} ms",
        f"watermark {mark[11:19]}" if mark else "",
        f"state {sum(o['numRowsTotal'] for o in p['stateOperators']):,}" if p["stateOperators"] else "",
    ]
