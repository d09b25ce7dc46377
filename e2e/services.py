"""Redis, Kafka, a place to reach Kafka from and a killer, as pods."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from e2e.cluster import Item

REDIS = os.environ.get("REDIS_IMAGE", "redis:7")
KAFKA = os.environ.get("KAFKA_IMAGE", "apache/kafka:4.1.0")
PROMETHEUS = os.environ.get("PROMETHEUS_IMAGE", "prom/prometheus:v3.5.0")
INSIDE = Path(__file__).with_name("inside.py")


def redis(namespace: str) -> list[Item]:
    """With an append-only file that outlives its process, which is not the first of its pod: that one cannot be stopped."""
    command = (
        "redis-server --bind 0.0.0.0 --protected-mode no --dir /data --save '' --appendonly yes --appendfsync always "
        "--maxmemory-policy noeviction"
    )
    container = {
        "name": "redis",
        "image": REDIS,
        "command": ["sh", "-c", f"exec {command}"],
        "ports": [{"containerPort": 6379}],
        "readinessProbe": {"tcpSocket": {"port": 6379}, "periodSeconds": 1},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "securityContext": {"runAsUser": 999, "runAsGroup": 999},
    }
    spec = {
        "shareProcessNamespace": True,
        "securityContext": {"fsGroup": 999},
        "volumes": [{"name": "data", "emptyDir": {}}],
    }
    return served(namespace, "redis", 6379, container, spec)


def kafka(namespace: str) -> list[Item]:
    """One broker, set up for Apache's image, which reads KAFKA_*, and for one that knows its name by ADVERTISE."""
    advertised = f"kafka.{namespace}.svc"
    variables = {
        "ADVERTISE": advertised,
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://localhost:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{advertised}:9092",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    }
    container = {
        "name": "kafka",
        "image": KAFKA,
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "ports": [{"containerPort": 9092}],
        "readinessProbe": {"tcpSocket": {"port": 9092}, "periodSeconds": 1},
    }
    return served(namespace, "kafka", 9092, container)


def prometheus(namespace: str, targets: list[Item]) -> list[Item]:
    """One that scrapes these every second."""
    settings = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "tidemill", "static_configs": targets}],
    }
    made = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "prometheus", "namespace": namespace},
    }
    config = {**made, "data": {"prometheus.yml": json.dumps(settings)}}  # JSON is YAML
    container = {
        "name": "prometheus",
        "image": PROMETHEUS,
        "command": ["prometheus", "--config.file=/config/prometheus.yml", "--storage.tsdb.path=/tmp/tsdb"],
        "ports": [{"containerPort": 9090}],
        "readinessProbe": {"httpGet": {"port": 9090, "path": "/-/ready"}, "periodSeconds": 1},
        "volumeMounts": [{"name": "config", "mountPath": "/config"}],
    }
    spec = {"volumes": [{"name": "config", "configMap": {"name": "prometheus"}}]}
    return [config, *served(namespace, "prometheus", 9090, container, spec)]


def scripts(namespace: str) -> Item:
    """`inside.py`, for pods to mount."""
    meta = {"name": "inside", "namespace": namespace}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": meta,
        "data": {"inside.py": INSIDE.read_text()},
    }


def client(namespace: str, name: str, image: str, *arguments: str) -> Item:
    """A pod that runs `inside.py` with these arguments; with none it waits to be told what to do."""
    container = {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "/inside/inside.py", *arguments] if arguments else ["sleep", "infinity"],
        "volumeMounts": [{"name": "inside", "mountPath": "/inside"}],
    }
    spec = {"volumes": [{"name": "inside", "configMap": {"name": "inside"}}], "restartPolicy": "Never"}
    return pod(namespace, name, container, spec)


def signal(namespace: str, image: str, victim: Item, number: int) -> Item:
    """A pod that sends a signal to the processes of another pod. From within that pod none reaches its first process: this
    one sees all processes of the node, and tells them apart by the pods' uids in their cgroups' names."""
    uid = victim["metadata"]["uid"]
    script = f"""
import json
import os
from pathlib import Path
found = 0
for path in Path("/proc").glob("[0-9]*/cgroup"):
    if {uid!r} in path.read_text().replace("_", "-") and b"pause" not in (path.parent / "cmdline").read_bytes():
        os.kill(int(path.parent.name), {number})
        found += 1
assert found, "no process of pod {uid}"
"""
    container = {"name": "signal", "image": image, "command": ["python", "-c", script]}
    spec = {"hostPID": True, "nodeName": victim["spec"]["nodeName"], "restartPolicy": "Never"}
    name = f"signal-{number}-{secrets.token_hex(3)}"
    return pod(namespace, name, container | {"securityContext": {"runAsUser": 0}}, spec)


def served(
    namespace: str, name: str, port: int, container: Item, spec: Mapping[str, Any] | None = None
) -> list[Item]:
    """A pod and the service that leads to it."""
    wanted = {"selector": {"app": name}, "ports": [{"port": port}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}}
    return [pod(namespace, name, container, spec), {**service, "spec": wanted}]


def pod(namespace: str, name: str, container: Item, spec: Mapping[str, Any] | None = None) -> Item:
    """Without the variables that Kubernetes makes of services: KAFKA_PORT means something to Kafka's image."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 2,
            **(spec or {}),
            "containers": [{"imagePullPolicy": "IfNotPresent", **container}],
        },
    }
