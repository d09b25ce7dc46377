"""`StreamingQueryListener`, its events, and progress reports with Spark's keys."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tidemill.errors import PySparkAttributeError, nearest
from tidemill.sql.row import Row

if TYPE_CHECKING:
    from tidemill.sql.session import SparkSession


class Report(dict[str, Any]):
    """A part of a progress report: a dict with Spark's keys, which are attributes too."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        if name.startswith("__"):
            raise AttributeError(name)
        near = nearest(name, self)
        hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(self)}"
        raise PySparkAttributeError(f"{type(self).__name__} has no {name!r}{hint}", "ATTRIBUTE_NOT_SUPPORTED")

    @property
    def json(self) -> str:
        """The report as one line of JSON."""
        return json.dumps(self._raw(), default=str, separators=(",", ":"))

    @property
    def prettyJson(self) -> str:
        """The report as indented JSON."""
        return json.dumps(self._raw(), default=str, indent=2)

    def _raw(self) -> dict[str, Any]:
        return self

    def __repr__(self) -> str:
        return self.prettyJson

    __str__ = __repr__


class StateOperatorProgress(Report):
    """One stateful operator: operatorName, numRowsTotal, numRowsUpdated, numRowsDroppedByWatermark, ..."""


class SourceProgress(Report):
    """One source: description, startOffset, endOffset, latestOffset, numInputRows, inputRowsPerSecond, ..."""


class SinkProgress(Report):
    """The sink: description, numOutputRows."""


class StreamingQueryProgress(Report):
    """One trigger: id, runId, name, timestamp, batchId, numInputRows, durationMs, eventTime, sources, sink, ...

    >>> p = StreamingQueryProgress.of({"batchId": 3, "sources": [{"numInputRows": 7}]})
    >>> p.batchId, p["batchId"], p.sources[0].numInputRows
    (3, 3, 7)
    """

    @classmethod
    def of(cls, raw: dict[str, Any]) -> StreamingQueryProgress:
        """The report of the engine's dict; ids stay texts inside, as in Spark's JSON."""
        made = cls(raw)
        made["sources"] = [SourceProgress(s) for s in raw.get("sources", [])]
        made["stateOperators"] = [StateOperatorProgress(s) for s in raw.get("stateOperators", [])]
        made["sink"] = SinkProgress(raw.get("sink", {}))
        if "observedMetrics" in raw:
            made["observedMetrics"] = {k: Row(**v) for k, v in raw["observedMetrics"].items()}
        return made

    def _raw(self) -> dict[str, Any]:
        if "observedMetrics" not in self:
            return self
        return {**self, "observedMetrics": {k: r.asDict(True) for k, r in self["observedMetrics"].items()}}

    @property
    def id(self) -> uuid.UUID:
        """The query's id, the same after a restart."""
        return uuid.UUID(self["id"])

    @property
    def runId(self) -> uuid.UUID:
        """The id of this run."""
        return uuid.UUID(self["runId"])


@dataclass(frozen=True)
class QueryStartedEvent:
    """A query has started."""

    id: uuid.UUID
    runId: uuid.UUID
    name: str | None
    timestamp: str
    jobTags: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class QueryProgressEvent:
    """A batch was committed."""

    progress: StreamingQueryProgress


@dataclass(frozen=True)
class QueryIdleEvent:
    """A trigger found nothing to do."""

    id: uuid.UUID
    runId: uuid.UUID
    timestamp: str


@dataclass(frozen=True)
class QueryTerminatedEvent:
    """A query has ended; ``exception`` says why, if it failed."""

    id: uuid.UUID
    runId: uuid.UUID
    exception: str | None = None
    errorClassOnException: str | None = None


class StreamingQueryListener:
    """Override what is of interest; methods are called on the query's thread, so be quick."""

    spark: SparkSession | None = None

    def onQueryStarted(self, event: QueryStartedEvent) -> None:
        """Called before ``start()`` returns."""

    def onQueryProgress(self, event: QueryProgressEvent) -> None:
        """Called after each batch."""

    def onQueryIdle(self, event: QueryIdleEvent) -> None:
        """Called when there is nothing to do."""

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:
        """Called when a query has ended."""


def event_of(kind: str, payload: dict[str, Any]) -> tuple[str, Any]:
    """The listener's method and its argument for an event of the engine."""
    if kind == "progress":
        return "onQueryProgress", QueryProgressEvent(StreamingQueryProgress.of(payload))
    query, run = uuid.UUID(payload["id"]), uuid.UUID(payload["runId"])
    if kind == "started":
        return "onQueryStarted", QueryStartedEvent(query, run, payload.get("name"), payload["timestamp"])
    if kind == "idle":
        return "onQueryIdle", QueryIdleEvent(query, run, payload["timestamp"])
    return "onQueryTerminated", QueryTerminatedEvent(
        query, run, payload.get("exception"), payload.get("errorClassOnException")
    )
