"""What a job's pods ask of a cluster, and what may be laid over them."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from tidemill.api.base import Part, as_text, explained
from tidemill.api.document import describe

_QUANTITY_PATTERN = explained(
    r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi)?$", "is no quantity, like '500m', '2' or '4Gi'"
)
Quantity = Annotated[
    str,
    Field(max_length=32, pattern=_QUANTITY_PATTERN),
    BeforeValidator(as_text),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "maxLength": 32, "pattern": _QUANTITY_PATTERN}),
]


def _pod_template(value: object) -> object:
    template = _mapping(value, "", ("metadata", "spec"), "; what a pod has stands below spec")
    _mapping(template.get("metadata") or {}, "metadata: ", ("labels", "annotations"))
    _mapping(template.get("spec") or {}, "spec: ")
    return value


def _mapping(value: object, where: str, known: Collection[str] = (), hint: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where}expected a mapping, not {describe(value)}")
    strange = [name for name in value if known and name not in known]
    if strange:
        raise ValueError(f"{where}unknown field {strange[0]!r}; known: {', '.join(known)}{hint}")
    return value


def _texts(longest: int) -> dict[str, Any]:
    values = {"type": "string", "maxLength": longest}
    return {"type": "object", "maxProperties": 64, "additionalProperties": values}


_POD_TEMPLATE_SCHEMA = {
    "type": "object",
    "properties": {
        "metadata": {
            "description": "What to add to a pod's metadata.",
            "type": "object",
            "properties": {
                "labels": {"description": "Labels to add.", **_texts(63)},
                "annotations": {"description": "Annotations to add.", **_texts(65_536)},
            },
        },
        "spec": {
            "description": "What a pod has, as in Kubernetes; the container is called tidemill.",
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
        },
    },
}

if TYPE_CHECKING:
    PodTemplate = dict[str, Any]
else:
    PodTemplate = Annotated[
        dict[str, Any], BeforeValidator(_pod_template), WithJsonSchema(_POD_TEMPLATE_SCHEMA)
    ]
"""Laid over a pod's template field by field; the API server checks the result when it makes the pod."""


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
    pod_template: PodTemplate = Field(
        default_factory=dict,
        description="A pod template (metadata and spec) that is laid over ours, for anything else a pod can have.",
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
    pod_template: PodTemplate = Field(
        default_factory=dict,
        description="A pod template (metadata and spec) that is laid over ours, for anything else a pod can have.",
    )
