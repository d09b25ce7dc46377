"""What the operator is told when it starts; the same for all jobs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any


def _resources(cpu: str, memory: str) -> dict[str, Any]:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}}


@dataclass(frozen=True)
class Platform:
    """Defaults of jobs that do not say otherwise, and times."""

    image: str = ""
    checkpoint: str = ""
    """A location such as ``redis://redis:6379/0``; may hold ``${secret:name/key}``, a Secret in the job's namespace."""
    pull_policy: str = "IfNotPresent"
    driver_resources: dict[str, Any] = field(default_factory=lambda: _resources("250m", "1Gi"))
    executor_resources: dict[str, Any] = field(default_factory=lambda: _resources("500m", "2Gi"))
    grace: int = 120
    """Seconds that a pod has to finish its batch."""
    certificates: timedelta = timedelta(days=365)
    """How long they are valid; they are renewed when a third of it is left."""
    figures: float = 60.0
    """Seconds between two writes of a status in which nothing but figures has changed."""
    attempts: int = 3
    """Starts that a standby driver gets before its job is refused, if it does not say that it does not fit."""
