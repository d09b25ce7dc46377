"""A query that runs on a thread of its own, as the API sees it."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from tidemill import logs
from tidemill.driver.loop import Loop, Query
from tidemill.driver.machine import Phase
from tidemill.driver.progress import iso
from tidemill.errors import PySparkException, StreamingQueryException, TidemillError
from tidemill.figures import QueryFigures

log = logging.getLogger("tidemill.query")

_running: weakref.WeakSet[QueryRun] = weakref.WeakSet()
LAST_WAIT = 5.0
"""Seconds that a program's end waits for a batch: a thread that is cut off inside DuckDB would abort the process."""


def running(run_id: str) -> QueryRun | None:
    """The run of this id, if it runs in this process."""
    return next((run for run in list(_running) if run.run_id == run_id), None)


@atexit.register
def _stop_all() -> None:
    for run in list(_running):
        run.stop(LAST_WAIT)


def _condition(error: StreamingQueryException | None) -> str | None:
    """The condition of what has ended a query, which says more than that it has failed."""
    if error is None:
        return None
    return (error.cause.condition if isinstance(error.cause, PySparkException) else None) or error.condition


class QueryRun:
    """One run of a query. ``listen`` is called with (event, payload) for started, progress, idle and terminated."""

    def __init__(
        self, query: Query, listen: Callable[[str, dict[str, Any]], None] = lambda event, payload: None
    ) -> None:
        self.query = query
        self.id = query.work.query
        self.name = query.name
        self._listen = listen
        self._recent: deque[dict[str, Any]] = deque(maxlen=query.recent)
        self._error: StreamingQueryException | None = None
        self._over = threading.Event()
        self._started = time.time()
        query.report = self._report
        query.idle = self._idle
        self._loop = Loop(query)
        self.run_id = self._loop.run_id
        self._thread = threading.Thread(
            target=self._run, name=f"tidemill-{query.name or self.id}", daemon=True
        )

    def start(self) -> QueryRun:
        """Begin; raises if the query's checkpoint is in use."""
        try:
            self._loop.acquire()
        except BaseException:
            self.query.close()
            raise
        _running.add(self)
        self._started = time.time()
        self._tell("started", {"timestamp": iso(time.time())})
        self._thread.start()
        return self

    # State

    @property
    def is_active(self) -> bool:
        return not self._over.is_set()

    @property
    def status(self) -> dict[str, Any]:
        """Spark's status: message, isDataAvailable, isTriggerActive."""
        message = (
            self._loop.status
            if self.is_active
            else ("Terminated with exception" if self._error else "Stopped")
        )
        busy = message.startswith("Processing")
        return {
            "message": message,
            "isDataAvailable": busy,
            "isTriggerActive": busy or message == "Getting offsets",
        }

    @property
    def last_progress(self) -> dict[str, Any] | None:
        return self._recent[-1] if self._recent else None

    @property
    def recent_progress(self) -> list[dict[str, Any]]:
        return list(self._recent)

    def figures(self) -> QueryFigures:
        """What metrics and status pages tell; callable from any thread."""
        loop, machine, error = self._loop, self._loop.machine, self._error
        ended = "failed" if error is not None else "stopped"
        opened = machine.plan is not None and self.is_active
        return QueryFigures(
            name=self.name or self.id,
            id=self.id,
            run_id=self.run_id,
            active=self.is_active,
            phase=machine.phase.name.lower() if self.is_active else ended,
            message=self.status["message"],
            started=self._started,
            generation=loop.generation.number,
            committed=loop.committed,
            opened=loop.figures.started if opened else None,
            retried=loop.retried,
            moved=self.query.engine.moved(self.id),
            error=str(error) if error is not None else loop.failure,
            progress=self.last_progress,
        )

    @property
    def sources(self) -> int:
        """How many it reads from."""
        return len(self.query.sources)

    @property
    def operators(self) -> int:
        """How many with state it has."""
        return len(self.query.entry["operators"])

    @property
    def is_recovering(self) -> bool:
        """Whether it is still finding out where the checkpoint ends."""
        return self.is_active and self._loop.machine.phase is Phase.RECOVERING

    def trouble(self) -> str:
        """Why the run will neither go on nor end, or nothing."""
        dead = self.is_active and self._thread.ident is not None and not self._thread.is_alive()
        return f"the thread of query {self.name or self.id} has ended" if dead else ""

    def exception(self) -> StreamingQueryException | None:
        return self._error

    # Control

    def stop(self, timeout: float | None = None) -> None:
        """Let the open batch finish and commit, then end."""
        self._loop.stop()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def await_termination(self, timeout: float | None = None) -> bool:
        """Wait for the end; raises the error that caused it. False if it has not ended in ``timeout`` seconds."""
        ended = self._over.wait(timeout)
        if ended and self._error is not None:
            raise self._error
        return ended

    def process_all_available(self) -> None:
        """Wait until everything that had arrived before the call is processed and committed, no-data batches too."""
        loop = self._loop
        loop.arrived()
        with loop.settled:
            wanted = loop.arrivals
            loop.settled.wait_for(lambda: loop.quiet_at >= wanted or self._over.is_set())
        if self._error is not None:
            raise self._error

    # The thread

    def _run(self) -> None:
        logs.bind(query=self.name or self.id)
        try:
            self._loop.run()
        except BaseException as error:
            self._error = self._named(error)
            # What was raised on purpose says all; where anything else came from, the traceback says.
            trace = not isinstance(error, TidemillError)
            log.error("query %s has failed: %s", self.name or self.id, error, exc_info=trace)
        finally:
            _running.discard(self)
            self._over.set()
            with self._loop.settled:
                self._loop.settled.notify_all()
            payload = {
                "exception": str(self._error) if self._error else None,
                "errorClassOnException": _condition(self._error),
                "timestamp": iso(time.time()),
            }
            self._tell("terminated", payload)

    def _named(self, error: BaseException) -> StreamingQueryException:
        message = f"query {self.name or self.id} [runId = {self.run_id}] terminated with exception: {error}"
        about = {"id": self.id, "runId": self.run_id, "message": str(error)}
        return StreamingQueryException(message, "STREAM_FAILED", error, about)

    def _report(self, progress: dict[str, Any]) -> None:
        self._recent.append(progress)
        self._tell("progress", progress)

    def _idle(self) -> None:
        self._tell("idle", {"timestamp": iso(time.time())})

    def _tell(self, event: str, payload: dict[str, Any]) -> None:
        try:
            self._listen(event, {"id": self.id, "runId": self.run_id, "name": self.name, **payload})
        except Exception:
            log.exception("a listener failed on %s of query %s", event, self.name or self.id)
