"""StreamingJobs as their users see them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from e2e.cluster import PATIENCE, Cluster, Item, ready, until

HEALTH_PORT = 9090
SMALL = {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}
"""Many pods share the two cores of a small machine."""


def job(namespace: str, name: str, **spec: Any) -> Item:
    """A manifest, with small pods."""
    spec["driver"] = {"resources": SMALL} | spec.get("driver", {})
    spec["executor"] = {"resources": SMALL} | spec.get("executor", {})
    return {
        "apiVersion": "tidemill.dev/v1alpha1",
        "kind": "StreamingJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


@dataclass(frozen=True)
class Job:
    """One that has been applied, or will be."""

    cluster: Cluster
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"job {self.name}"

    def kubectl(self, *arguments: str, **more: Any) -> str:
        return self.cluster.kubectl("-n", self.namespace, *arguments, **more)

    def read(self) -> Item:
        found = self.cluster.get(self.namespace, "sj", self.name)
        assert found is not None, f"there is no {self}"
        return found

    def status(self) -> Item:
        """Empty until the operator has seen it."""
        return dict(self.read().get("status", {}))

    def line(self) -> str:
        """What `kubectl get sj` says of it."""
        return self.kubectl("get", "sj", self.name, "--no-headers")

    def patch(self, spec: Mapping[str, Any]) -> None:
        self.kubectl("patch", "sj", self.name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def annotate(self, annotation: str) -> None:
        self.kubectl("annotate", "sj", self.name, "--overwrite", annotation)

    def pods(self, component: str) -> list[Item]:
        """Those that are not on their way out."""
        labels = f"tidemill.dev/job={self.name},app.kubernetes.io/component={component}"
        found = self.cluster.listed(self.namespace, "pods", labels)
        return [p for p in found if "deletionTimestamp" not in p["metadata"]]

    def driver(self) -> Item:
        """What its driver says of itself."""
        service = f"{self.name}-driver"
        told = json.loads(self.cluster.served(self.namespace, service, HEALTH_PORT, "/api/v1/status"))
        return dict(told)

    def batches(self) -> dict[str, int]:
        """The last committed batch of each query."""
        queries = self.driver()["queries"]
        return {q["name"]: -1 if q["batchId"] is None else q["batchId"] for q in queries}

    # What one waits for

    def is_in(self, phase: str, said: str = "", limit: float = PATIENCE) -> Item:
        """Its status, once it is in that phase, and its message holds ``said``, for the spec as it now is."""

        def check() -> Item:
            found = self.read()
            status: Item = found.get("status", {})
            seen = (status.get("phase"), status.get("message"))
            assert status.get("observedGeneration") == found["metadata"]["generation"], f"{self} is {seen}"
            assert status.get("phase") == phase, f"{self} is {seen}, not {phase}"
            assert said in status.get("message", ""), f"{self} is {seen}, which does not say {said!r}"
            return status

        return until(check, limit)

    def works(self, executors: int, limit: float = PATIENCE) -> None:
        """It runs on so many executors that are ready, and each query goes on to commit batches."""

        def there() -> dict[str, int]:
            status = self.status()
            seen = f"{status.get('phase')}: {status.get('message')}"
            assert status.get("phase") == "Running", f"{self} is {seen}"
            assert len([p for p in self.pods("executor") if ready(p)]) == executors, f"{self} is {seen}"
            told = self.driver()
            assert told["executors"]["joined"] == executors, (
                f"{self} has {told['executors']['joined']} executors"
            )
            return self.batches()

        before = until(there, limit)

        def further() -> None:
            now = self.batches()
            assert all(now.get(name, -1) > batch for name, batch in before.items()), (
                f"{self} commits nothing: from {before} it has come to {now}"
            )

        until(further, limit)
