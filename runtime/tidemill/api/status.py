"""What the operator tells of a job: its status.

Everything may be absent, and what a newer operator has added is passed over. Texts that others wrote are cut to the
length that the API server takes, and lists of queries, too: a long error cannot keep a status from being written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from tidemill.api.base import Part

Phase = Literal[
    "Pending",
    "Starting",
    "Running",
    "Restarting",
    "Suspending",
    "Suspended",
    "Completed",
    "Failing",
    "Refused",
    "Terminating",
]

MOST_QUERIES = 100
"""A program may start any number of queries; the status tells of so many of them."""

_LONGEST_MESSAGE = 4096
"""100 queries with errors of this length still fit into etcd's 1.5 MB."""


def _cut_to(length: int) -> Callable[[object], object]:
    """Shorten a text that is longer."""

    def cut(value: object) -> object:
        return value if not isinstance(value, str) or len(value) <= length else value[: length - 1] + "…"

    return cut


Message = Annotated[str, BeforeValidator(_cut_to(_LONGEST_MESSAGE)), Field(max_length=_LONGEST_MESSAGE)]
Name = Annotated[str, Field(max_length=253)]
Word = Annotated[str, Field(max_length=64)]
Moment = Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]
"""RFC 3339, like ``2013-07-01T03:00:00Z``."""
Count = Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
Executors = Annotated[int, Field(ge=0, json_schema_extra={"format": "int32"})]
Figure = Annotated[float, Field(ge=0)]


def list_map(*keys: str) -> dict[str, Any]:
    """What makes a list a map to the API server: appliers own entries of it, not the whole."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


class Told(Part):
    """Base of what an operator writes; a newer one may write more."""

    model_config = ConfigDict(extra="ignore")


class Condition(Told):
    """One condition, as everywhere in Kubernetes."""

    type: str = Field(max_length=316, description="What it is about: `Ready`, `Progressing` or `Degraded`.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(default="", max_length=1024, description="One word for programs.")
    message: Annotated[
        str, BeforeValidator(_cut_to(32_768)), Field(max_length=32_768, description="A sentence for people.")
    ] = ""
    last_transition_time: Moment | None = Field(default=None, description="When `status` last changed.")
    observed_generation: Count | None = Field(
        default=None, description="The `metadata.generation` that it was seen on."
    )


class QueryStatus(Told):
    """One query, as the driver last told of it."""

    name: Name = Field(min_length=1, description="The query's name.")
    phase: Word | None = Field(
        default=None,
        description="What it does: `recovering`, `idle`, `planned`, `prepared`, `committing`, `stopped` or `failed`.",
    )
    batch_id: Count | None = Field(default=None, description="The last batch that was committed.")
    committed_at: Moment | None = Field(default=None, description="When that was.")
    watermark: Moment | None = Field(default=None, description="Rows of earlier event time are late.")
    lag_rows: Count | None = Field(
        default=None, description="Rows that its sources have and that it has not read."
    )
    input_rows_per_second: Figure | None = Field(default=None, description="How fast rows come in.")
    processed_rows_per_second: Figure | None = Field(
        default=None, description="How fast the last batch went through them."
    )
    state_rows: Count | None = Field(default=None, description="Rows of state that it keeps.")
    last_error: Message | None = Field(
        default=None, description="What ended it, or why an attempt at a batch failed last."
    )


def _each_once(queries: object) -> object:
    """The first of each name, as many as the API server takes: a program may name two queries alike."""
    if not isinstance(queries, list):
        return queries
    names = [
        query.get("name") if isinstance(query, dict) else getattr(query, "name", None) for query in queries
    ]
    return [query for i, query in enumerate(queries) if names[i] not in names[:i]][:MOST_QUERIES]


class Restart(Told):
    """The last planned restart, and the next."""

    token: Name | None = Field(
        default=None, description="Names the request that was last seen, so that it is answered once."
    )
    cause: Word | None = Field(default=None, description="Why: what asked for it, in one word.")
    requested_at: Moment | None = Field(default=None, description="When it was asked for.")
    started_at: Moment | None = Field(default=None, description="When the old driver was told to stop.")
    finished_at: Moment | None = Field(
        default=None,
        description="When the new driver ran, and each of its queries had read its checkpoint.",
    )
    pause_seconds: Figure | None = Field(
        default=None,
        description="From `startedAt` to `finishedAt`: the batch that the old driver finished is in it.",
    )
    next: Moment | None = Field(default=None, description="When `spec.restarts.schedule` next comes.")


class Certificates(Told):
    """The certificates by which driver and executors know each other."""

    secret: Name | None = Field(default=None, description="The Secret that holds them.")
    not_after: Moment | None = Field(default=None, description="When they expire; they are renewed before.")


class Refusal(Told):
    """A change that cannot be made; the job goes on as it was."""

    revision: Word | None = Field(default=None, description="The revision that was refused.")
    observed_generation: Count | None = Field(
        default=None, description="The `metadata.generation` that was refused."
    )
    reason: Message | None = Field(default=None, description="Why, and what can be done.")


class Completion(Told):
    """The end of a job whose queries have nothing more to do."""

    revision: Word | None = Field(default=None, description="The revision that has come to its end.")
    at: Moment | None = Field(default=None, description="When that was.")


class Status(Told):
    """What the operator has seen. Never written by hand; read on a laptop only to be passed over."""

    phase: Phase | None = Field(default=None, description="Where the job is in its life.")
    message: Message | None = Field(
        default=None,
        description="Why it is in that phase; absent where there is nothing to say. `kubectl get` shows its first line.",
    )
    observed_generation: Count | None = Field(
        default=None, description="The `metadata.generation` that was acted on."
    )
    replicas: Executors | None = Field(default=None, description="Executors that are there.")
    ready_replicas: Executors | None = Field(default=None, description="Executors that serve the driver.")
    label_selector: Annotated[str, Field(max_length=4096)] | None = Field(
        default=None, description="Selects the executors' pods, for autoscalers."
    )
    revision: Word | None = Field(default=None, description="The revision that runs, or ran last.")
    image: Annotated[str, Field(max_length=512)] | None = Field(
        default=None, description="The image of that revision."
    )
    checkpoint: Annotated[str, Field(max_length=2048)] | None = Field(
        default=None,
        description="Where a job keeps its progress whose manifest does not say: the platform's place when it first ran. "
        "It stays there, whatever place the platform names later.",
    )
    generation: Count | None = Field(
        default=None,
        description="The number of the driver's life, which grows with every start. It is absent until a driver has "
        "held the checkpoint.",
    )
    lag_rows: Count | None = Field(
        default=None, description="Rows that wait in the sources, for all queries."
    )
    last_batch: Count | None = Field(
        default=None, description="The batch that was committed last, of whichever query."
    )
    last_commit: Moment | None = Field(default=None, description="When that was.")
    figures_at: Moment | None = Field(
        default=None,
        description="When the figures (lag, batches, queries) were last written: at most once a minute.",
    )
    queries: Annotated[list[QueryStatus], BeforeValidator(_each_once)] = Field(
        default_factory=list,
        max_length=MOST_QUERIES,
        json_schema_extra=list_map("name"),
        description="The queries; of a program with very many the first of them.",
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=16,
        json_schema_extra=list_map("type"),
        description="The conditions Ready, Progressing and Degraded.",
    )
    restart: Restart | None = Field(default=None, description="Planned restarts.")
    certificates: Certificates | None = Field(
        default=None, description="What driver and executors know each other by."
    )
    refused: Refusal | None = Field(
        default=None, description="The change that was refused last, if it still is."
    )
    completed: Completion | None = Field(
        default=None, description="Present once the job has nothing more to do."
    )
