"""What a change of a job's spec does: the change matrix. Pure.

Every field of the spec is in `MATRIX`, or below one that is. What is not live is part of a revision: a hash of the spec's
own fields, the image and the certificates, never of a rendered pod, so that a new operator restarts nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from tidemill.api import StreamingJob
from tidemill_operator.cluster import Item

Effect = Literal["live", "executors", "restart", "refused"]

MATRIX: Mapping[str, tuple[Effect, str]] = {
    "sources": ("restart", "another schema or format may not fit what the checkpoint holds: that is refused"),
    "tables": ("restart", ""),
    "functions": ("restart", ""),
    "queries": (
        "restart",
        "a new query begins at its starting offsets; whether another text fits what is kept, the new driver says",
    ),
    "program": (
        "restart",
        "a ConfigMap that holds the program is not watched: ask for a restart after changing it",
    ),
    "image": ("restart", "executors are replaced with the driver, since both must be of one version"),
    "checkpoint.location": (
        "refused",
        "suspend the job, wait for the phase Suspended, `tidemill checkpoint copy`, change it, resume",
    ),
    "checkpoint.id": ("refused", "as for `checkpoint.location`"),
    "checkpoint.onExisting": ("live", "of use only when a job begins"),
    "stopAt": ("restart", ""),
    "conf": ("restart", "settings that the checkpoint has fixed are compared with it"),
    "driver.resources": ("restart", ""),
    "driver.podTemplate": ("restart", "with a field that gives a pod power over its node: refused"),
    "executor.replicas": ("live", "shards and partitions move at the next batch"),
    "executor.resources": ("executors", ""),
    "executor.podTemplate": ("executors", "as for `driver.podTemplate`"),
    "suspend": (
        "live",
        "the driver stops at the end of its batch, then the executors; false starts them from the checkpoint",
    ),
    "deletionPolicy": ("live", "Delete puts a finalizer on the job"),
    "restarts": ("live", "`status.restart.next` tells when"),
}
"""Path below ``spec`` -> what changing it does, and a remark."""


EFFECTS: Mapping[Effect, str] = {
    "live": "It holds from the next look at the job on, within seconds. Nothing is restarted.",
    "executors": "Executors are replaced one by one, each at the end of a batch and the next one only once all are ready "
    "again; one that does not work is replaced at once. The driver goes on.",
    "restart": "A driver of the new revision starts beside the old one, compares the job with its checkpoint, and waits. "
    "Only if it fits, the old one finishes its batch and commits, and the new one goes on; if it does not fit, or cannot "
    "be started, the change is refused and the job goes on as it was. Where the old driver is gone or fails, the new one "
    "takes its place at once.",
    "refused": "The job goes on as it was, and its status says why.",
}
"""What the effects mean."""


def effect(path: str) -> Effect:
    """Of changing what stands at ``path`` below ``spec``; the longest entry that leads there decides.

    >>> effect("queries"), effect("executor.replicas"), effect("checkpoint.id")
    ('restart', 'live', 'refused')
    """
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        found = MATRIX.get(".".join(parts[:length]))
        if found:
            return found[0]
    raise KeyError(f"spec.{path} is in no row of the change matrix; say in MATRIX what changing it does")


def leaves(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A dumped spec by the rows of the matrix: ``{"executor.replicas": 2, "image": ...}``."""
    found: dict[str, Any] = {}
    for key, value in spec.items():
        below = {row for row in MATRIX if row.startswith(f"{key}.")}
        if below and isinstance(value, Mapping):
            found |= {f"{key}.{k}": v for k, v in value.items()}
        else:
            found[key] = value
    return found


def own(job: StreamingJob) -> dict[str, Any]:
    """What the user has said, without defaults: a newer operator may know more fields, and must not see a change."""
    return leaves(job.spec.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True))


def revision(job: StreamingJob, image: str, certificates: str, token: str) -> str:
    """What the driver is replaced for."""
    said = {path: value for path, value in own(job).items() if effect(path) in ("restart", "refused")}
    said.pop("image", None)
    return _hash([said, image, certificates, token])


def executors(job: StreamingJob, image: str, certificates: str) -> str:
    """What executors are replaced for."""
    said = {path: value for path, value in own(job).items() if effect(path) == "executors"}
    return _hash([said, image, certificates])


def refused(job: StreamingJob, running: Item | None) -> str:
    """Why a job cannot become this while it runs as the manifest ``running``; empty if it can."""
    if running is None or job.spec.suspend:
        return ""
    before, after = leaves(running["spec"]), own(job)
    for path in (p for p, (what, _) in MATRIX.items() if what == "refused"):
        if before.get(path) != after.get(path):
            return (
                f"spec.{path} of a job that runs cannot change from {_shown(before.get(path))} to "
                f"{_shown(after.get(path))}: it would begin anew beside what it has written. Suspend the job "
                "(spec.suspend: true), copy its checkpoint with `tidemill checkpoint copy`, change it, then resume"
            )
    return ""


def _shown(value: Any) -> str:
    """Without a password, which would go on to the status, to events and logs."""
    return "the default" if value is None else re.sub(r"//[^/]*@", "//***@", repr(value))


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
