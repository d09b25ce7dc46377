"""`StreamingJob`, the whole manifest: what runs, and how it is run."""

from __future__ import annotations

from itertools import combinations
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from tidemill.api import cel, moments, rules
from tidemill.api.base import (
    DNS_LABEL_PATTERN,
    FreeObject,
    OptionValue,
    Part,
    Rule,
    SecretText,
    explained,
)
from tidemill.api.cron import Schedule, check_schedule, parse_schedule
from tidemill.api.pods import Driver, Executor
from tidemill.api.query import Program, Query
from tidemill.api.source import Function, Source, Table
from tidemill.api.status import list_map

GROUP = "tidemill.dev"
VERSION = "v1alpha1"
KIND = "StreamingJob"

_NAMESPACE_PATTERN = explained(
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "is no namespace; write lower-case letters, digits and -"
)
_CHECKPOINT_PATTERN = explained(
    r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?(/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)*$",
    "is no checkpoint id; write letters, digits, '-', '_', '.' and '/', beginning and ending with a letter or digit",
)

_SCHEME = "self.location.split('://')[0]"


class Metadata(Part):
    """The part of Kubernetes' ObjectMeta that a manifest or an API server writes."""

    name: str = Field(
        min_length=1,
        max_length=40,
        pattern=DNS_LABEL_PATTERN,
        description="The job's name. At most 40 characters, so that the names of its pods and their labels stay "
        "within Kubernetes' 63.",
    )
    namespace: str | None = Field(
        default=None, max_length=63, pattern=_NAMESPACE_PATTERN, description="On a cluster: where it lives."
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="For selecting; the job's pods get them too."
    )
    annotations: dict[str, str] = Field(
        default_factory=dict,
        description="For tools. On a cluster `tidemill.dev/restart-at: 2024-05-01T12:00:00Z` asks for a restart at that "
        "time, after the batch at hand.",
    )
    generation: int | None = Field(default=None, description="Written by the API server.")
    uid: str | None = Field(default=None, description="Written by the API server.")
    resource_version: str | None = Field(default=None, description="Written by the API server.")
    creation_timestamp: str | None = Field(default=None, description="Written by the API server.")
    deletion_timestamp: str | None = Field(default=None, description="Written by the API server.")
    deletion_grace_period_seconds: int | None = Field(default=None, description="Written by the API server.")
    finalizers: list[str] = Field(default_factory=list, description="Written by the operator.")
    owner_references: list[FreeObject] = Field(default_factory=list, description="Written by tools.")
    managed_fields: list[FreeObject] = Field(default_factory=list, description="Written by the API server.")
    generate_name: str | None = Field(
        default=None, description="Not for a file: a job needs a name of its own."
    )


class Checkpoint(Part):
    """Where progress and state are kept, so that a job goes on where it stopped."""

    location: Annotated[SecretText, Field(min_length=1, max_length=2048)] | None = Field(
        default=None,
        description="A directory, or `redis://host:port/db`. By default the platform's Redis on a cluster, and "
        "`.tidemill/` on a laptop. `${NAME}` and `${secret:name/key}` bring in a password.",
    )
    id: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        pattern=_CHECKPOINT_PATTERN,
        description="Names the checkpoint in its location. By default namespace/name, so that a job that is deleted "
        "and applied again finds it.",
    )
    on_existing: Literal["Resume", "Fail"] = Field(
        default="Resume",
        description="What a new job does when it finds a checkpoint of its id. `Resume`: go on from it. `Fail`: refuse "
        "to start, for when going on would be a mistake. A restart of the same job always goes on.",
    )

    RULES: ClassVar = (
        Rule(
            rules.check_location,
            f"!has(self.location) || !self.location.contains('://') || {_SCHEME}.contains('${{') || "
            f"{_SCHEME} in {cel.one_of(rules.LOCATIONS)}",
            f"a checkpoint is kept in a directory, or at {', '.join(f'{scheme}://' for scheme in rules.LOCATIONS)}",
            at=".location",
        ),
    )


class Restarts(Part):
    """Planned restarts: each finishes the batch at hand, commits, and goes on with a fresh driver. On a cluster only."""

    schedule: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(check_schedule)] = Field(
        json_schema_extra=cel.extra(*cel.schedule()),
        description="When, as cron writes it: minute, hour, day of the month, month and weekday, like `0 3 * * *` (every "
        "night at three) or `30 2 * * sun`. `*`, numbers, ranges (`1-5`), steps (`*/2`) and lists (`1,15`); months and "
        "weekdays by name, too. Where a day of the month and a weekday are given, either is enough. At least 5 minutes "
        "apart. A time that summer time skips comes an hour later; of one that comes twice the first counts.",
    )
    time_zone: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(moments.check_zone)] = Field(
        default="UTC",
        json_schema_extra=cel.extra(*cel.zone()),
        description="The zone that `schedule` is meant in, like `Europe/Paris`.",
    )


def _apart(one: str, other: str) -> Rule:
    """Sources, tables and queries share one name space, without regard to case."""
    return Rule(
        cel=f"!has(self.{one}) || !has(self.{other}) || !self.{one}.exists(a, "
        f"self.{other}.exists(b, a.name.lowerAscii() == b.name.lowerAscii()))",
        says=f"sources, tables and queries share one name space, without regard to case: a name of {one} is in "
        f"{other}, too",
        at=f".{other}",
    )


def _named_once(key: str) -> Rule:
    return Rule(
        cel=f"!has(self.{key}) || "
        f"self.{key}.all(a, self.{key}.exists_one(b, a.name.lowerAscii() == b.name.lowerAscii()))",
        says=f"two {key} have the same name, without regard to case; SQL could not tell them apart",
        at=f".{key}",
    )


class JobSpec(Part):
    """Either sources and queries, or a program; and how it is run."""

    sources: list[Source] = Field(
        default_factory=list,
        max_length=32,
        json_schema_extra=list_map("name"),
        description="The streams that queries read.",
    )
    tables: list[Table] = Field(
        default_factory=list,
        max_length=32,
        json_schema_extra=list_map("name"),
        description="The static sides of joins.",
    )
    functions: list[Function] = Field(
        default_factory=list,
        max_length=64,
        json_schema_extra=list_map("name"),
        description="Python functions for the queries' SQL.",
    )
    queries: list[Query] = Field(
        default_factory=list,
        max_length=32,
        json_schema_extra=list_map("name"),
        description="What is computed, and where it goes.",
    )
    program: Program | None = Field(
        default=None,
        description="A PySpark-shaped program in place of sources, tables, functions and queries.",
    )
    image: str | None = Field(
        default=None,
        min_length=1,
        max_length=512,
        description="The container image of driver and executors. By default the platform's. No effect on a laptop.",
    )
    checkpoint: Checkpoint = Field(
        default_factory=Checkpoint, description="Where progress and state are kept."
    )
    stop_at: str | None = Field(
        default=None,
        max_length=64,
        json_schema_extra=cel.extra(*cel.zone_of_stop_at(), pattern=moments.STOP_AT_PATTERN),
        description="A time of day and its zone, like `03:00 Europe/Paris`: the job then finishes its batch, commits "
        "and stops; the next start goes on.",
    )
    restarts: Restarts | None = Field(
        default=None,
        description="When to restart on plan, for credentials or memory that age. By default never. No effect on a "
        "laptop.",
    )
    conf: Annotated[dict[str, OptionValue], Field(max_length=200)] = Field(
        default_factory=dict,
        description="Spark's settings of the session, like `spark.sql.session.timeZone: UTC`.",
    )
    driver: Driver = Field(default_factory=Driver, description="The driver's pod. No effect on a laptop.")
    executor: Executor = Field(
        default_factory=Executor, description="The executors' pods. No effect on a laptop."
    )
    suspend: bool = Field(
        default=False,
        description="true: on a cluster, stop after the batch at hand and keep the checkpoint; false goes on from it. "
        "No effect on a laptop.",
    )
    deletion_policy: Literal["Retain", "Delete"] = Field(
        default="Retain",
        description="What becomes of the checkpoint when the job is deleted from a cluster. `Retain` by default: a job "
        "applied again goes on, and nothing is lost by a slip. No effect on a laptop.",
    )

    RULES: ClassVar = (
        Rule(
            rules.check_kind_of_job,
            "has(self.program) || (has(self.queries) && size(self.queries) > 0)",
            "give queries (with a name, sql and a sink) or a program",
            at=".queries",
            reason="Required",
        ),
        Rule(
            cel="!has(self.program) || [has(self.sources) && size(self.sources) > 0, has(self.tables) && "
            "size(self.tables) > 0, has(self.functions) && size(self.functions) > 0, has(self.queries) && "
            "size(self.queries) > 0].all(given, !given)",
            says="a program has sources, tables, functions and queries of its own; leave either the program or these out",
            at=".program",
            reason="Forbidden",
        ),
        Rule(rules.check_names),
        *(_apart(*pair) for pair in combinations(("sources", "tables", "queries"), 2)),
        *(_named_once(key) for key in ("sources", "tables", "queries", "functions")),
        Rule(rules.check_stop_at),
    )


class StreamingJob(Part):
    """A streaming job: the same file runs on a laptop (`tidemill run`) and on a cluster (`kubectl apply`)."""

    api_version: Literal["tidemill.dev/v1alpha1"] = Field(description="The version of this format.")
    kind: Literal["StreamingJob"] = Field(description="What this is.")
    metadata: Metadata = Field(description="The job's name, and what Kubernetes keeps with it.")
    spec: JobSpec = Field(description="What runs, and how.")
    # Not `Status`: a job read from a cluster with a newer operator may have more in it, and nothing here needs it.
    status: FreeObject | None = Field(default=None, description="Written by the operator.")

    RULES: ClassVar = (
        Rule(
            cel="!has(oldSelf.status) || !has(oldSelf.status.generation) || "
            "(has(oldSelf.status.phase) && oldSelf.status.phase == 'Suspended') || "
            f"({cel.unchanged('spec.checkpoint.location')} && {cel.unchanged('spec.checkpoint.id')})",
            says="where the checkpoint of a job that has run is kept (location, id) changes only while the job is "
            "suspended, or it would begin anew beside what it has written: set suspend: true, wait for the phase "
            "Suspended, copy the checkpoint with `tidemill checkpoint copy`, then change this",
            at=".spec.checkpoint",
            reason="Forbidden",
        ),
    )

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def checkpoint_id(self) -> str:
        """The name of the checkpoint in its location."""
        return self.spec.checkpoint.id or f"{self.metadata.namespace or 'default'}/{self.metadata.name}"

    @property
    def restarts(self) -> Schedule | None:
        """When it is to restart; None: never by itself."""
        said = self.spec.restarts
        return parse_schedule(said.schedule, said.time_zone) if said else None

    @property
    def stop_at(self) -> moments.StopAt | None:
        return moments.parse_stop_at(self.spec.stop_at) if self.spec.stop_at else None
