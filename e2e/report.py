"""What a person needs to see of a cluster in which a test has failed."""

from __future__ import annotations

from collections.abc import Iterator

from e2e.cluster import CommandError
from e2e.platform import Platform

LINES = 40
"""Of each log, and of the events."""


def told(platform: Platform) -> Iterator[tuple[str, str]]:
    """Titles and texts: jobs, pods, events, logs."""
    for namespace in (platform.jobs, platform.system, platform.services):
        yield f"pods of {namespace}", _asked(platform, namespace, "get", "pods", "-o", "wide")
    yield "jobs", _asked(platform, platform.jobs, "get", "sj", "-o", "wide")
    yield "jobs, described", _asked(platform, platform.jobs, "describe", "sj")
    events = ("get", "events", "--sort-by=.lastTimestamp")
    yield "events", _last(_asked(platform, platform.jobs, *events))
    for pod in platform.cluster.listed(platform.jobs, "pods") + platform.operators():
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        tail = ("logs", name, f"--tail={LINES}")
        yield f"log of {name}", _asked(platform, namespace, *tail)
        if any(c.get("restartCount") for c in pod["status"].get("containerStatuses", [])):
            yield f"log of {name} before it was restarted", _asked(platform, namespace, *tail, "--previous")


def _asked(platform: Platform, namespace: str, *arguments: str) -> str:
    try:
        return platform.cluster.kubectl("-n", namespace, *arguments)
    except CommandError as error:
        return str(error)


def _last(text: str) -> str:
    return "\n".join(text.splitlines()[-LINES:])
