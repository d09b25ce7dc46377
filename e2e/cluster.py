"""A cluster as a person at a terminal has it: kubectl and helm, and waiting for what one sees there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from tests.services import helm
from tests.services.parts import unavailable

T = TypeVar("T")
Item = dict[str, Any]

PATIENCE = 120.0
"""Seconds that anything may take, unless a test says otherwise: pods share two cores with each other and with us."""
LOOK = 0.5
"""Seconds between two looks."""


class CommandError(AssertionError):
    """kubectl or helm has said no. An AssertionError, so that `until` tries again."""


class Cluster:
    """The cluster that KUBECONFIG names."""

    def __init__(self) -> None:
        if not os.environ.get("KUBECONFIG"):
            unavailable(
                "a cluster", "KUBECONFIG is not set", "export KUBECONFIG=..., of a cluster to play with"
            )
        if shutil.which("kubectl") is None:
            unavailable("kubectl", "it is not on PATH", "install it: https://kubernetes.io/docs/tasks/tools/")

    def kubectl(self, *arguments: str, given: str = "", limit: float = 60) -> str:
        """What a command prints. Raises `CommandError` with what it complains of."""
        return _ran(["kubectl", *arguments], given, limit)

    def helm(self, *arguments: str, given: str = "", limit: float = 300) -> str:
        return _ran([helm.binary(), *arguments], given, limit)

    def apply(self, *items: Mapping[str, Any]) -> None:
        everything = {"apiVersion": "v1", "kind": "List", "items": list(items)}
        self.kubectl("apply", "-f", "-", given=json.dumps(everything))

    def get(self, namespace: str, kind: str, name: str) -> Item | None:
        """None if there is none."""
        told = self.kubectl("-n", namespace, "get", kind, name, "-o", "json", "--ignore-not-found")
        return dict(json.loads(told)) if told.strip() else None

    def listed(self, namespace: str, kind: str, labels: str = "") -> list[Item]:
        chosen = ["-l", labels] if labels else []
        return list(json.loads(self.kubectl("-n", namespace, "get", kind, "-o", "json", *chosen))["items"])

    def served(self, namespace: str, service: str, port: int, path: str) -> str:
        """What a service answers at a path, by way of the API server."""
        place = f"/api/v1/namespaces/{namespace}/services/{service}:{port}/proxy"
        return self.kubectl("get", "--raw", f"{place}{path}")

    def remove(self, namespace: str, pod: str) -> None:
        """As from a node that is taken away: with hardly the time to end in good order."""
        self.kubectl("-n", namespace, "delete", "pod", pod, "--grace-period=0", "--force", "--wait=false")


def until(check: Callable[[], T], limit: float = PATIENCE) -> T:
    """What ``check`` returns once it raises no AssertionError; the last one, if that takes longer than ``limit`` seconds."""
    end = time.monotonic() + limit
    while True:
        try:
            return check()
        except AssertionError as error:
            if time.monotonic() > end:
                raise AssertionError(f"after {limit:g} s still: {error}") from error
        time.sleep(LOOK)


def ready(pod: Item) -> bool:
    conditions = pod["status"].get("conditions", [])
    return "deletionTimestamp" not in pod["metadata"] and any(
        c["type"] == "Ready" and c["status"] == "True" for c in conditions
    )


def _ran(command: Sequence[str], given: str, limit: float) -> str:
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        raise CommandError(f"`{' '.join(command)}` took more than {limit:g} s") from None
    if done.returncode:
        raise CommandError(f"`{' '.join(command)}`: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
