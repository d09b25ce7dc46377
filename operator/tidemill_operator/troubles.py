"""Why a pod does not do its work, in words for the job's status. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tidemill_operator import names
from tidemill_operator.cluster import STATEFUL_SET, Item
from tidemill_operator.names import name_of
from tidemill_operator.world import Observed, leaving

_PULL = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ErrImageInspect")


def trouble(pod: Item, hints: Mapping[str, str]) -> tuple[str, str]:
    """A reason for programs and a sentence for people; two empty texts if there is none.

    ``hints`` are what events say of pods that are stuck, by their names.
    """
    if leaving(pod):
        return "", ""
    status = pod.get("status", {})
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        found = _of_container(pod, container)
        if found[0]:
            return found
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return "Unschedulable", f"pod {name_of(pod)} finds no node: {condition.get('message', '')}"
    if status.get("phase") == "Failed":
        return status.get(
            "reason"
        ) or "PodFailed", f"pod {name_of(pod)}: {status.get('message', 'has failed')}"
    if hint := hints.get(name_of(pod)):
        return "CannotStart", f"pod {name_of(pod)} cannot start: {hint}"
    return "", ""


def _of_container(pod: Item, container: Mapping[str, Any]) -> tuple[str, str]:
    waiting = container.get("state", {}).get("waiting", {})
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in _PULL:
        return "ImagePull", f"image {container.get('image', '')} cannot be pulled: {message or reason}"
    if reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
        return reason, f"pod {name_of(pod)} cannot start: {message}"
    ended = last_end(container)
    if ended and not container.get("ready"):
        code = ended.get("exitCode")
        if ended.get("reason") == "OOMKilled":
            return (
                "OutOfMemory",
                f"pod {name_of(pod)} was killed at its memory limit; raise it in spec.*.resources",
            )
        if code != 0:
            tried = f"{container.get('restartCount', 0)} restarts{_pause(message)}"
            return "Crashed", f"{_last_words(ended)} (pod {name_of(pod)}, {tried})"
    return "", ""


def _pause(message: str) -> str:
    """How long Kubernetes waits before it starts a container again, as it says itself: ``back-off 40s restarting ...``."""
    found = re.match(r"back-off (\S*\d\S*) ", message)
    return f", the next within {found[1]}" if found else ""


def _last_words(ended: Mapping[str, Any]) -> str:
    """What a process has said at its end, in one line: below its causes it may have put where they came from."""
    said = str(ended.get("message") or "").partition("\n\n")[0]
    return (
        "; ".join(filter(None, map(str.strip, said.splitlines()))) or f"it ended with {ended.get('exitCode')}"
    )


def unmade(deployment: Item | None) -> str:
    """Why no pod of a Deployment can be made: a quota, or a policy of the namespace; empty if nothing says so."""
    conditions = (deployment or {}).get("status", {}).get("conditions", [])
    failed = (c for c in conditions if c["type"] == "ReplicaFailure" and c["status"] == "True")
    return next((str(c.get("message", "")) for c in failed), "")


def of_executors(seen: Observed) -> tuple[str, str]:
    """The first trouble of executors, or else why there are fewer of them than wanted."""
    pods = seen.executor_pods()
    found = first(pods, seen.hints)
    for wanted in seen.of(STATEFUL_SET, names.EXECUTOR):
        if not found[0] and (said := seen.hints.get(name_of(wanted))):
            number = wanted["spec"]["replicas"]
            # create Pod web-logs-executor-1 in StatefulSet web-logs-executor failed error: pods "web-logs-executor-1" is ...
            why = said.partition(" failed error: ")[2] or said
            return "NoPod", f"no pod can be made for {number - len(pods)} of {number} executors: {why}"
    return found


def last_end(container: Mapping[str, Any]) -> Mapping[str, Any]:
    """How the container ended last, if it has; now, or before it was started again."""
    for state in ("state", "lastState"):
        if found := container.get(state, {}).get("terminated"):
            return dict(found)
    return {}


def first(pods: Iterable[Item], hints: Mapping[str, str]) -> tuple[str, str]:
    """The first trouble of some pods."""
    return next((found for pod in pods if (found := trouble(pod, hints))[0]), ("", ""))


def verdict(pods: Iterable[Item], attempts: int) -> str:
    """Why a standby driver does not fit, if it has said so: exit code 2, or an error as often as it is tried."""
    for pod in pods:
        if leaving(pod):
            continue
        for container in pod.get("status", {}).get("containerStatuses", []):
            ended = last_end(container)
            code = ended.get("exitCode", 0)
            starts = container.get("restartCount", 0) + ("running" not in container.get("state", {}))
            if code == 2 or (code not in (0, 143, 137) and starts >= attempts):
                return _last_words(ended)
    return ""
