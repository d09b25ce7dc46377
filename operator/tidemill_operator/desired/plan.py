"""What all builders know of a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tidemill.api import StreamingJob
from tidemill_operator import names
from tidemill_operator.cluster import Item
from tidemill_operator.platform import Platform


@dataclass(frozen=True)
class Plan:
    """A job as it is to run: one revision of it."""

    job: StreamingJob
    raw: Item
    """As the API server has it."""
    platform: Platform
    image: str
    revision: str
    """Of the driver, its configuration and its program."""
    executors: str
    """Revision of the executors."""
    certificates: str
    """Name of the Secret."""

    @property
    def name(self) -> str:
        return self.job.metadata.name

    @property
    def namespace(self) -> str:
        return self.job.metadata.namespace or "default"

    def meta(self, name: str, component: str | None = None, **labels: str) -> dict[str, Any]:
        """Metadata of one of its objects."""
        given = {k: v for k, v in self.job.metadata.labels.items() if k not in names.labels(self.name)}
        return {
            "name": name,
            "namespace": self.namespace,
            "labels": {**given, **names.labels(self.name, component), **labels},
            "ownerReferences": [owner(self.raw)],
        }


def owned(item: Item, raw: Item) -> bool:
    """Whether an object has been made for this very job, and not for one of the same name before it."""
    uids = [reference["uid"] for reference in item["metadata"].get("ownerReferences", [])]
    return raw["metadata"]["uid"] in uids


def owner(raw: Item) -> dict[str, Any]:
    """The job as the owner of what is made for it: Kubernetes deletes that with it."""
    return {
        "apiVersion": raw["apiVersion"],
        "kind": raw["kind"],
        "name": raw["metadata"]["name"],
        "uid": raw["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
