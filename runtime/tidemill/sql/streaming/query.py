"""`StreamingQuery`: a handle on a query that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tidemill.errors import PySparkValueError, StreamingQueryException
from tidemill.sql.explain import explain
from tidemill.sql.streaming.listener import StreamingQueryProgress

if TYPE_CHECKING:
    from tidemill.driver.run import QueryRun
    from tidemill.plan.nodes import Node


class StreamingQuery:
    """Made by ``df.writeStream.start()``. All its methods may be called from any thread."""

    def __init__(
        self, run: QueryRun, plan: Node, stop_seconds: float | None = None, checkpoint: str | None = None
    ) -> None:
        self._run = run
        self._plan = plan
        self._stop_seconds = stop_seconds
        self._checkpoint = checkpoint

    @property
    def id(self) -> str:
        """The query's id; a query restarted from its checkpoint keeps it."""
        return str(self._run.id)

    @property
    def runId(self) -> str:
        """The id of this run."""
        return str(self._run.run_id)

    @property
    def name(self) -> str | None:
        """The name given by ``queryName``, or None."""
        return self._run.name

    @property
    def isActive(self) -> bool:
        return bool(self._run.is_active)

    @property
    def status(self) -> dict[str, Any]:
        """``message``, ``isDataAvailable`` and ``isTriggerActive``."""
        return dict(self._run.status)

    @property
    def lastProgress(self) -> StreamingQueryProgress | None:
        """The report of the last batch, or None before the first."""
        raw = self._run.last_progress
        return None if raw is None else StreamingQueryProgress.of(raw)

    @property
    def recentProgress(self) -> list[StreamingQueryProgress]:
        """The reports of the last batches, oldest first."""
        return [StreamingQueryProgress.of(raw) for raw in self._run.recent_progress]

    def awaitTermination(self, timeout: float | None = None) -> bool | None:
        """Wait for the end, for ``timeout`` seconds at most; whether it has ended, if a timeout was given.

        Raises `StreamingQueryException` if the query has failed.
        """
        if timeout is None:
            self._run.await_termination()
            return None
        if not isinstance(timeout, (int, float)) or timeout < 0:
            raise PySparkValueError(
                "Value for `timeout` must be greater than or equal to 0.", "VALUE_NOT_POSITIVE"
            )
        return bool(self._run.await_termination(timeout))

    def processAllAvailable(self) -> None:
        """Wait until everything that had arrived before the call is processed and written. For tests."""
        self._run.process_all_available()

    def stop(self) -> None:
        """Let the open batch finish and commit, then end; returns when it has."""
        self._run.stop(self._stop_seconds)

    def exception(self) -> StreamingQueryException | None:
        """Why the query failed, or None."""
        return self._run.exception()

    def explain(self, extended: bool = False) -> None:
        """Print the query's plan."""
        print(explain(self._plan))

    def __repr__(self) -> str:
        state = "active" if self.isActive else "stopped"
        return f"<StreamingQuery {self.name or self.id} ({state})>"
