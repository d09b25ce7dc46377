"""`StreamingJob`, the whole manifest: what runs, and how it is run."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from tidemill.api import moments, rules
from tidemill.api.base import (
    DNS_LABEL_PATTERN,
    FreeObject,
    OptionValue,
    Part,
    Rule,
    SecretText,
    as_text,
    explained,
)
from tidemill.api.query import Program, Query
from tidemill.api.source import Function, Source, Table

GROUP = "tidemill.dev"
VERSION = "v1alpha1"
KIND = "StreamingJob"

_QUANTITY_PATTERN = explained(
    r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi)?$", "is no quantity, like '500m', '2' or '4Gi'"
)
_CHECKPOINT_PATTERN = explained(
    r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?(/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)*$",
    "is no checkpoint id; write letters, digits, '-', '_', '.' and '/', beginning and ending with a letter or digit",
)

Quantity = Annotated[
    str,
    Field(max_length=32, pattern=_QUANTITY_PATTERN),
    BeforeValidator(as_text),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "maxLength": 32, "pattern": _QUANTITY_PATTERN}),
]


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
        default=None, max_length=63, pattern=DNS_LABEL_PATTERN, description="On a cluster: where it lives."
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="For selecting; the job's pods get them too."
    )
    annotations: dict[str, str] = Field(default_factory=dict, description="For tools; no effect.")
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

    RULES: ClassVar = (Rule(rules.check_location),)


class Resources(Part):
    """What a pod asks of its node, as in Kubernetes."""

    requests: dict[str, Quantity] = Field(
        default_factory=dict, max_length=16, description="What is set aside, like `{cpu: 500m, memory: 1Gi}`."
    )
    limits: dict[str, Quantity] = Field(
        default_factory=dict,
        max_length=16,
        description="What it may use at most. The memory limit bounds DuckDB.",
    )


class Driver(Part):
    """The pod that plans batches and commits them. On a cluster only."""

    resources: Resources = Field(default_factory=Resources, description="By default what the platform sets.")
    pod_template: FreeObject = Field(
        default_factory=dict,
        description="A pod template that is laid over ours, for anything else a pod can have.",
    )


class Executor(Part):
    """The pods that run the stages. On a cluster only: a laptop runs them on threads of one process."""

    replicas: int = Field(
        default=1,
        ge=0,
        le=1000,
        description="How many. 1000, because a job has at most 1024 shards of state to spread over them.",
    )
    resources: Resources = Field(default_factory=Resources, description="By default what the platform sets.")
    pod_template: FreeObject = Field(
        default_factory=dict,
        description="A pod template that is laid over ours, for anything else a pod can have.",
    )


class JobSpec(Part):
    """Either sources and queries, or a program; and how it is run."""

    sources: list[Source] = Field(
        default_factory=list,
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="The streams that queries read.",
    )
    tables: list[Table] = Field(
        default_factory=list,
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="The static sides of joins.",
    )
    functions: list[Function] = Field(
        default_factory=list,
        max_length=64,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="Python functions for the queries' SQL.",
    )
    queries: list[Query] = Field(
        default_factory=list,
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
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
        json_schema_extra={"pattern": moments.STOP_AT_PATTERN},
        description="A time of day and its zone, like `03:00 Europe/Paris`: the job then finishes its batch, commits "
        "and stops; the next start goes on.",
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
            "give queries or a program",
        ),
        Rule(
            cel="!has(self.program) || [has(self.sources) && size(self.sources) > 0, has(self.tables) && "
            "size(self.tables) > 0, has(self.functions) && size(self.functions) > 0, has(self.queries) && "
            "size(self.queries) > 0].all(given, !given)",
            says="a program has its own sources, tables, functions and queries; leave them out of the manifest",
        ),
        Rule(
            rules.check_names,
            "!has(self.sources) || !has(self.tables) || "
            "!self.sources.exists(s, self.tables.exists(t, t.name == s.name))",
            "sources, tables and queries share one name space: a source and a table have the same name",
        ),
        Rule(
            cel="!has(self.queries) || !has(self.sources) || "
            "!self.queries.exists(q, self.sources.exists(s, s.name == q.name))",
            says="sources, tables and queries share one name space: a query and a source have the same name",
        ),
        Rule(
            cel="!has(self.queries) || !has(self.tables) || "
            "!self.queries.exists(q, self.tables.exists(t, t.name == q.name))",
            says="sources, tables and queries share one name space: a query and a table have the same name",
        ),
        Rule(rules.check_stop_at),
    )


class Condition(Part):
    """One condition, as everywhere in Kubernetes."""

    type: str = Field(max_length=316, description="What it is about, like `Ready`.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(default="", max_length=1024, description="One word for programs.")
    message: str = Field(default="", max_length=32_768, description="A sentence for people.")
    last_transition_time: str | None = Field(
        default=None, json_schema_extra={"format": "date-time"}, description="When it last changed."
    )
    observed_generation: int | None = Field(
        default=None,
        ge=0,
        json_schema_extra={"format": "int64"},
        description="The generation it was seen on.",
    )


class Status(Part):
    """What the operator has seen. Never written by hand; read on a laptop only to be passed over."""

    phase: str | None = Field(default=None, max_length=64, description="One word for `kubectl get`.")
    message: str | None = Field(default=None, max_length=32_768, description="The sentence to the phase.")
    observed_generation: int | None = Field(
        default=None,
        ge=0,
        json_schema_extra={"format": "int64"},
        description="The generation that was acted on.",
    )
    replicas: int = Field(
        default=0, ge=0, json_schema_extra={"format": "int32"}, description="Executors that are there."
    )
    label_selector: str | None = Field(
        default=None, max_length=4096, description="Selects the executors' pods, for autoscalers."
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        description="The conditions Ready, Progressing and Degraded.",
    )


class StreamingJob(Part):
    """A streaming job: the same file runs on a laptop (`tidemill run`) and on a cluster (`kubectl apply`)."""

    api_version: Literal["tidemill.dev/v1alpha1"] = Field(description="The version of this format.")
    kind: Literal["StreamingJob"] = Field(description="What this is.")
    metadata: Metadata = Field(description="The job's name, and what Kubernetes keeps with it.")
    spec: JobSpec = Field(description="What runs, and how.")
    # Not `Status`: a job read from a cluster with a newer operator may have more in it, and nothing here needs it.
    status: FreeObject | None = Field(default=None, description="Written by the operator.")

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def checkpoint_id(self) -> str:
        """The name of the checkpoint in its location."""
        return self.spec.checkpoint.id or f"{self.metadata.namespace or 'default'}/{self.metadata.name}"

    @property
    def stop_at(self) -> moments.StopAt | None:
        return moments.parse_stop_at(self.spec.stop_at) if self.spec.stop_at else None
