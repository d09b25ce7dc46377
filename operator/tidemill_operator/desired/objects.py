"""The objects of a job besides its pods' templates."""

from __future__ import annotations

import json
from typing import Any

from tidemill_operator import names
from tidemill_operator.cluster import (
    BUDGET,
    CONFIG_MAP,
    DEPLOYMENT,
    PURGE,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Item,
    Kind,
)
from tidemill_operator.desired import pods
from tidemill_operator.desired.plan import Plan


def config(plan: Plan) -> Item:
    """The manifest as a revision runs it. Never changed, so that a pod that is started again runs the same."""
    meta = plan.raw["metadata"]
    manifest = {
        "apiVersion": plan.raw["apiVersion"],
        "kind": plan.raw["kind"],
        "metadata": {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]},
        "spec": plan.raw["spec"],
    }
    text = json.dumps(manifest, ensure_ascii=False, indent=1)  # JSON is YAML
    made = _object(
        plan, CONFIG_MAP, names.config(plan.name, plan.revision), **{names.REVISION: plan.revision}
    )
    return made | {"immutable": True, "data": {"job.yaml": f"{text}\n"}}


def secret(plan: Plan, files: dict[str, str]) -> Item:
    """The certificates of the job's processes: base64 by file name."""
    return _object(plan, SECRET, plan.certificates) | {"type": "Opaque", "data": files}


def driver(plan: Plan) -> Item:
    given = plan.job.spec.driver
    arguments = [
        "driver", pods.MANIFEST, "--listen", f"0.0.0.0:{names.DRIVER_PORT}", "--standby", "--linger",
        "--executors-from", f"{names.executor(plan.name)}.{plan.namespace}.svc",
        "--health-port", str(names.HEALTH_PORT), "--log-format", "json",
    ]  # fmt: skip
    resources = _resources(given.resources) or plan.platform.driver_resources
    pod = pods.template(plan, names.DRIVER, arguments, plan.revision, resources, given.pod_template)
    label = {names.REVISION: plan.revision}
    return _object(plan, DEPLOYMENT, names.driver(plan.name, plan.revision), names.DRIVER, **label) | {
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 0,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": names.selector(plan.name, names.DRIVER) | label},
            "template": pod,
        }
    }


def executors(plan: Plan, replicas: int) -> Item:
    given = plan.job.spec.executor
    resources = _resources(given.resources) or plan.platform.executor_resources
    address = f"tls://{names.driver_service(plan.name)}.{plan.namespace}.svc:{names.DRIVER_PORT}"
    arguments = [
        "executor", "--driver", address, "--threads", str(pods.threads(resources)),
        "--health-port", str(names.HEALTH_PORT), "--log-format", "json",
    ]  # fmt: skip
    pod = pods.template(plan, names.EXECUTOR, arguments, plan.executors, resources, given.pod_template)
    name, selector = names.executor(plan.name), names.selector(plan.name, names.EXECUTOR)
    spread = {
        "topologyKey": "kubernetes.io/hostname",
        "maxSkew": 1,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector},
    }
    pod["spec"].setdefault("topologySpreadConstraints", [spread])
    return _object(plan, STATEFUL_SET, name, names.EXECUTOR, **{names.REVISION: plan.executors}) | {
        "spec": {
            "replicas": replicas,
            "serviceName": name,
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "OnDelete"},
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": selector},
            "template": pod,
        }
    }


def driver_service(plan: Plan, active: str) -> Item:
    """Leads executors to the driver of the active revision, whether or not it is ready: it is ready once they come."""
    selector = names.selector(plan.name, names.DRIVER) | {names.REVISION: active}
    return _object(plan, SERVICE, names.driver_service(plan.name), names.DRIVER) | {
        "spec": {
            "selector": selector,
            "publishNotReadyAddresses": True,
            "ports": [_port("driver", names.DRIVER_PORT), _port("health", names.HEALTH_PORT)],
        }
    }


def executor_service(plan: Plan) -> Item:
    """Gives executors names; a StatefulSet wants it."""
    return _object(plan, SERVICE, names.executor(plan.name), names.EXECUTOR) | {
        "spec": {
            "clusterIP": "None",
            "selector": names.selector(plan.name, names.EXECUTOR),
            "publishNotReadyAddresses": True,
            "ports": [_port("health", names.HEALTH_PORT)],
        }
    }


def budget(plan: Plan) -> Item:
    """A drained node takes executors away one after the other. The driver needs none: it is back in seconds."""
    return _object(plan, BUDGET, names.executor(plan.name), names.EXECUTOR) | {
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": names.selector(plan.name, names.EXECUTOR)},
        }
    }


def purge(plan: Plan) -> Item:
    """Deletes the checkpoint of a job that is being deleted."""
    arguments = ["checkpoint", "delete", "--manifest", pods.MANIFEST, "--yes"]
    given = plan.job.spec.driver
    pod = pods.template(
        plan,
        names.PURGE,
        arguments,
        plan.revision,
        plan.platform.driver_resources,
        given.pod_template,
        tls=False,
    )
    pod["spec"]["restartPolicy"] = "OnFailure"
    return _object(plan, PURGE, names.purge(plan.name), names.PURGE) | {
        "spec": {"backoffLimit": 6, "template": pod}
    }


def _object(plan: Plan, kind: Kind, name: str, component: str | None = None, **labels: str) -> Item:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": plan.meta(name, component, **labels),
    }


def _resources(given: Any) -> dict[str, Any]:
    return {k: v for k, v in given.model_dump(by_alias=True, exclude_defaults=True).items() if v}


def _port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "port": number, "targetPort": number, "protocol": "TCP"}
