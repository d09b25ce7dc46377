"""What all tests share: services as pods, and Tidemill installed by its chart to look after one namespace."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from e2e import services
from e2e.cluster import Cluster, CommandError, Item, ready, until
from e2e.jobs import Job
from tests.services.parts import unavailable

CHART = Path(__file__).parents[1] / "charts/tidemill"
DEFINITION = "streamingjobs.tidemill.dev"
RELEASE = "tidemill"


@dataclass(frozen=True)
class Platform:
    """Three namespaces: the operator's, that of Redis and Kafka, and that of jobs."""

    cluster: Cluster
    image: str
    system: str
    services: str
    jobs: str

    @property
    def brokers(self) -> str:
        return f"kafka.{self.services}.svc:9092"

    @property
    def checkpoint(self) -> str:
        return f"redis://redis.{self.services}.svc:6379/0"

    def job(self, name: str) -> Job:
        return Job(self.cluster, self.jobs, name)

    def values(self) -> Item:
        """Of the chart."""
        repository, _, tag = self.image.rpartition(":")
        return {
            "image": {"repository": repository, "tag": tag},
            "watchNamespaces": [self.jobs],
            "jobs": {"checkpoint": {"location": self.checkpoint}},
            "crds": {"install": not self._has_another_release()},
        }

    def install(self, **values: object) -> None:
        """`helm upgrade --install`, until the operator says that it is ready."""
        given = json.dumps(self.values() | values)
        self.cluster.helm(
            "upgrade", "--install", RELEASE, str(CHART), "-n", self.system, "--take-ownership", "--wait",
            "--timeout", "3m", "-f", "-", given=given,
        )  # fmt: skip

    def _has_another_release(self) -> bool:
        """Whether somebody else's release has brought the definition of StreamingJob: theirs it stays."""
        annotation = "{.metadata.annotations.meta\\.helm\\.sh/release-namespace}"
        told = ("-o", f"jsonpath={annotation}", "--ignore-not-found")
        return self.cluster.kubectl("get", "crd", DEFINITION, *told) not in ("", self.system)

    def operators(self) -> list[Item]:
        return self.cluster.listed(self.system, "pods", "app.kubernetes.io/component=operator")

    def signal(self, pod: Item, number: int) -> None:
        """Send a signal to all processes of a pod."""
        sent = services.signal(self.services, self.image, pod, number)
        self.cluster.apply(sent)
        until(lambda: self.has_ended(sent["metadata"]["name"]))

    def has_ended(self, name: str) -> None:
        """Of a pod beside Redis and Kafka: well."""
        found = self.cluster.get(self.services, "pod", name)
        assert found is not None and found["status"]["phase"] == "Succeeded", (
            f"pod {name} is {found['status'] if found else 'gone'}"
        )

    def redis(self, *arguments: str) -> str:
        """What redis-cli prints."""
        return self.cluster.kubectl(
            "-n", self.services, "exec", "redis", "--", "redis-cli", *arguments
        ).strip()

    def tidemill(self, *arguments: str) -> str:
        """What a command prints that is run in the cluster."""
        return self.cluster.kubectl("-n", self.services, "exec", "client", "--", "tidemill", *arguments)

    # Kafka, by way of a pod

    def inside(self, *arguments: str, limit: float = 120) -> str:
        """What `inside.py` prints."""
        command = ("exec", "client", "--", "python", "/inside/inside.py", *arguments)
        return self.cluster.kubectl("-n", self.services, *command, limit=limit)

    def topics(self, partitions: dict[str, int]) -> None:
        self.inside("topics", self.brokers, *(f"{name}:{count}" for name, count in partitions.items()))

    def records(self, topic: str) -> list[Item]:
        """All that a read-committed reader sees."""
        return [json.loads(line) for line in self.inside("read", self.brokers, topic).splitlines() if line]


def new(cluster: Cluster) -> Platform:
    """One that is not up yet, with namespaces of its own."""
    image = os.environ.get("TIDEMILL_IMAGE", "")
    if not image:
        unavailable("TIDEMILL_IMAGE", "it is not set", "name an image that the cluster has: docs/install.md")
    end = secrets.token_hex(3)
    names = (f"tidemill-{what}-{end}" for what in ("system", "services", "jobs"))
    return Platform(cluster, image, *names)


def bring_up(made: Platform) -> None:
    names = made.system, made.services, made.jobs
    made.cluster.apply(
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names)
    )
    made.cluster.apply(
        *services.redis(made.services),
        *services.kafka(made.services),
        services.scripts(made.services),
        services.client(made.services, "client", made.image),
    )
    made.install()
    until(lambda: _all_ready(made), 180)


def _all_ready(made: Platform) -> None:
    waiting = [p["metadata"]["name"] for p in made.cluster.listed(made.services, "pods") if not ready(p)]
    assert not waiting, f"not ready: {waiting}"


def take_down(made: Platform, known: bool) -> None:
    """As the cluster was; ``known``: it had the definition of StreamingJob, which stays then.

    Jobs first: who deletes a namespace with its operator in it leaves what the operator should have cleaned up."""
    cluster = made.cluster
    names = made.jobs, made.services, made.system
    try:
        if is_defined(cluster):
            cluster.kubectl("delete", "sj", "--all", "-n", made.jobs, "--timeout=60s", limit=90)
        cluster.helm("uninstall", RELEASE, "-n", made.system, "--ignore-not-found")
    except CommandError as error:
        print(f"while cleaning up: {error}")
    cluster.kubectl("delete", "namespace", *names, "--ignore-not-found", "--timeout=120s", limit=150)
    if not known and is_defined(cluster) and not cluster.kubectl("get", "sj", "-A", "-o", "name").strip():
        cluster.kubectl("delete", "crd", DEFINITION)


def is_defined(cluster: Cluster) -> bool:
    """Whether the cluster knows StreamingJobs."""
    return bool(cluster.kubectl("get", "crd", DEFINITION, "--ignore-not-found"))
