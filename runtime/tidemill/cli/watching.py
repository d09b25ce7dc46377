"""What a person or Prometheus sees of a running job."""

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

from tidemill.metrics import QueryMetrics
from tidemill.sql.streaming import StreamingQueryListener

if TYPE_CHECKING:
    from tidemill.cli.job import Job

log = logging.getLogger(__name__)


class MetricsListener(StreamingQueryListener):
    """Feeds Prometheus metrics from the reports of queries."""

    def __init__(self, metrics: QueryMetrics) -> None:
        self.metrics = metrics
        self.names: dict[str, str] = {}

    def onQueryStarted(self, event: Any) -> None:
        self.names[str(event.runId)] = event.name or str(event.id)
        self.metrics.started(self.names[str(event.runId)])

    def onQueryProgress(self, event: Any) -> None:
        progress = event.progress
        self.metrics.observe(progress["name"] or str(progress["id"]), progress)

    def onQueryTerminated(self, event: Any) -> None:
        name = self.names.pop(str(event.runId), str(event.id))
        self.metrics.ended(name, failed=event.exception is not None)


class LogListener(StreamingQueryListener):
    """Logs the start and the end of queries, and how far they are every now and then."""

    EVERY = 10.0
    """Seconds between two lines of a query that runs on."""

    def __init__(self) -> None:
        self.queries: dict[str, dict[str, Any]] = {}

    def onQueryStarted(self, event: Any) -> None:
        name = event.name or str(event.id)
        self.queries[str(event.runId)] = {"query": name, "batches": 0, "rows": 0, "told": time.monotonic()}
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
    mark = p["eventTime"].get("watermark", "")
    return [
        f"batch {p['batchId']}",
        f"{p['processedRowsPerSecond']:,.0f} rows/s",
        f"{p['batchDuration']} ms",
        f"watermark {mark[11:19]}" if mark else "",
        f"state {sum(o['numRowsTotal'] for o in p['stateOperators']):,}" if p["stateOperators"] else "",
        f"late {late:,}" if late else "",
        f"bad {bad:,}" if bad else "",
    ]
