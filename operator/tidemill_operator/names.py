"""What the objects of a job are called, and how they are found again."""

from __future__ import annotations

from typing import Any

MANAGER = "tidemill-operator"
"""Of the fields that we own in server-side apply, and in the label of everything that we make."""
JOB_LABEL = "tidemill.dev/job"
REVISION = "tidemill.dev/revision"
"""On what belongs to one revision: as a label of driver pods and executors' pods."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""The annotation in which `kubectl apply`, and `tidemill submit`, keep the whole manifest again."""
RESTART_AT = "tidemill.dev/restart-at"
"""The annotation that asks for a planned restart."""
FINALIZER = "tidemill.dev/checkpoint"
MANAGED = "app.kubernetes.io/managed-by"
COMPONENT = "app.kubernetes.io/component"

DRIVER, EXECUTOR, PURGE = "driver", "executor", "purge"
DRIVER_PORT, HEALTH_PORT = 8786, 9090
CONTAINER = "tidemill"
"""Of a pod: ours; somebody's mesh may have put others beside it."""
TLS_VOLUME = "tls"
"""Of a pod: has its job's certificates."""


def labels(job: str, component: str | None = None) -> dict[str, str]:
    """Of every object of a job."""
    found = {
        "app.kubernetes.io/name": "tidemill",
        "app.kubernetes.io/instance": job,
        MANAGED: MANAGER,
        JOB_LABEL: job,
    }
    return found | ({COMPONENT: component} if component else {})


def selector(job: str, component: str) -> dict[str, str]:
    """What tells a job's pods of one kind from all others; never changes."""
    return {JOB_LABEL: job, COMPONENT: component}


def config(job: str, revision: str) -> str:
    return f"{job}-{revision}"


def driver(job: str, revision: str) -> str:
    return f"{job}-driver-{revision}"


def driver_service(job: str) -> str:
    return f"{job}-driver"


def executor(job: str) -> str:
    return f"{job}-executor"


def certificates(job: str, serial: int) -> str:
    return f"{job}-tls-{serial}"


def purge(job: str) -> str:
    return f"{job}-purge"


def name_of(item: dict[str, Any]) -> str:
    return str(item["metadata"]["name"])


def label_of(item: dict[str, Any], label: str) -> str:
    """Empty if it has none."""
    return str(item["metadata"].get("labels", {}).get(label, ""))
