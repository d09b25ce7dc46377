"""`StreamingQueryManager`: all the queries of a session."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tidemill.errors import IllegalArgumentException, PySparkValueError
from tidemill.sql.arguments import expect
from tidemill.sql.streaming.listener import StreamingQueryListener, event_of
from tidemill.sql.streaming.query import StreamingQuery

if TYPE_CHECKING:
    from tidemill.sql.session import SparkSession

log = logging.getLogger("tidemill.streams")


class StreamingQueryManager:
    """``spark.streams``. Its methods may be called from any thread."""

    def __init__(self, session: SparkSession) -> None:
        self._session = session
        self._queries: dict[str, StreamingQuery] = {}
        """Active ones by run id."""
        self._ended: list[StreamingQuery] = []
        """Those that have ended since the last `resetTerminated`."""
        self._starting: set[str] = set()
        self._changed = threading.Condition()
        self._listeners: list[StreamingQueryListener] = []

    @property
    def active(self) -> list[StreamingQuery]:
        """The queries that run."""
        with self._changed:
            return [q for q in self._queries.values() if q.isActive]

    def get(self, id: str) -> StreamingQuery | None:
        """The running query of an id, or None."""
        return next((q for q in self.active if q.id == str(id)), None)

    def awaitAnyTermination(self, timeout: float | None = None) -> bool | None:
        """Wait until any query ends, or has ended since `resetTerminated`; raises its error if it failed."""
        if timeout is not None and (not isinstance(timeout, (int, float)) or timeout < 0):
            raise PySparkValueError(
                "Value for `timeout` must be greater than or equal to 0.", "VALUE_NOT_POSITIVE"
            )
        with self._changed:
            found = self._changed.wait_for(lambda: bool(self._ended), timeout)
            failed = next((e for q in self._ended if (e := q.exception()) is not None), None)
        if failed is not None:
            raise failed
        return None if timeout is None else found

    def resetTerminated(self) -> None:
        """Forget the queries that have ended, so that the next `awaitAnyTermination` waits for another."""
        with self._changed:
            self._ended.clear()

    def addListener(self, listener: StreamingQueryListener) -> None:
        """Tell ``listener`` of everything that happens from now on."""
        expect(listener, StreamingQueryListener, "listener", "StreamingQueryListener")
        listener.spark = self._session
        with self._changed:
            self._listeners.append(listener)

    def removeListener(self, listener: StreamingQueryListener) -> None:
        """Tell it no more."""
        with self._changed:
            if listener in self._listeners:
                self._listeners.remove(listener)

    # --- Inside -----------------------------------------------------------------------------------------------------

    def _start(
        self, name: str | None, start: Callable[[], StreamingQuery], checkpoint: str | None = None
    ) -> StreamingQuery:
        """Run ``start`` under a name that no other query of the session has; a query of the session that has the
        ``checkpoint`` is stopped first, so that a notebook's cell can be run again."""
        with self._changed:
            taken = {q.name for q in self._queries.values() if q.isActive} | self._starting
            if name is not None and name in taken:
                raise IllegalArgumentException(
                    f"Cannot start query with name {name} as a query with that name is already active in this "
                    "SparkSession; stop it first, or take another name"
                )
            if name is not None:
                self._starting.add(name)
        try:
            for other in self.active if checkpoint is not None else []:
                if other._checkpoint == checkpoint:
                    other.stop()
            query = start()
            with self._changed:
                if query.isActive:
                    self._queries[query.runId] = query
                else:  # it ended before it could be put here, and its last event found nothing
                    self._ended.append(query)
                    self._changed.notify_all()
            return query
        finally:
            with self._changed:
                self._starting.discard(name or "")

    def _heard(self, kind: str, payload: dict[str, Any]) -> None:
        """An event of the engine, on the query's thread."""
        if kind == "terminated":
            with self._changed:
                query = self._queries.pop(payload["runId"], None)
                if query is not None:
                    self._ended.append(query)
                self._changed.notify_all()
        with self._changed:
            listeners = list(self._listeners)
        if not listeners:
            return
        method, event = event_of(kind, payload)
        for listener in listeners:
            try:
                getattr(listener, method)(event)
            except Exception:
                log.exception("%s.%s has failed", type(listener).__name__, method)
