"""Pods of drivers, executors and purges: as a security review wants them, and as the user's template changes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tidemill.api import secret_references
from tidemill.secrets import SecretRef, references
from tidemill_operator import names
from tidemill_operator.desired.merge import merged
from tidemill_operator.desired.plan import Plan

USER = 10001
CONFIG = "/etc/tidemill/job"
MANIFEST = f"{CONFIG}/job.yaml"
TLS = "/etc/tidemill/tls"
SECRETS = "/etc/tidemill/secrets"
PROGRAM = "/etc/tidemill/program"


def template(
    plan: Plan,
    component: str,
    arguments: list[str],
    revision: str,
    resources: Mapping[str, Any],
    theirs: Mapping[str, Any],
    tls: bool = True,
) -> dict[str, Any]:
    """The pod template of one component, with the user's laid over it."""
    labels = {**plan.meta("", component)["labels"], names.REVISION: revision}
    annotations = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(names.HEALTH_PORT),
        "prometheus.io/path": "/metrics",
    }
    ours = {
        "metadata": {"labels": labels, "annotations": annotations if tls else {}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": plan.platform.grace,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "tolerations": [_for_half_a_minute("not-ready"), _for_half_a_minute("unreachable")],
            "containers": [_container(plan, component, arguments, resources, tls)],
            "volumes": _volumes(plan, component, tls),
        },
    }
    laid = merged(ours, dict(theirs))
    # By these labels the pods are found again.
    laid["metadata"] = {**(laid.get("metadata") or {})}
    laid["metadata"]["labels"] = {**(laid["metadata"].get("labels") or {}), **labels}
    return dict(laid)


def _container(
    plan: Plan, component: str, arguments: list[str], resources: Mapping[str, Any], tls: bool
) -> dict[str, Any]:
    mounts = [{"name": "tmp", "mountPath": "/tmp"}]
    env = {
        "TIDEMILL_TERMINATION_LOG": "/dev/termination-log",
        "HOME": "/tmp",
    }
    if tls:
        mounts.append(_mount(names.TLS_VOLUME, TLS))
        env |= {
            "TIDEMILL_TLS_CA": f"{TLS}/ca.pem",
            "TIDEMILL_TLS_CERT": f"{TLS}/tls.crt",
            "TIDEMILL_TLS_KEY": f"{TLS}/tls.key",
        }
    if component != names.EXECUTOR:
        mounts.append(_mount("job", CONFIG))
        mounts += [_mount(f"secret-{n}", f"{SECRETS}/{name}") for n, name in enumerate(_secrets(plan))]
        env["TIDEMILL_SECRETS_DIR"] = SECRETS
        if not plan.job.spec.checkpoint.location and plan.platform.checkpoint:
            env["TIDEMILL_CHECKPOINT"] = plan.platform.checkpoint
        program = plan.job.spec.program
        if program is not None and program.config_map is not None:
            mounts.append(_mount("program", PROGRAM))
            env["TIDEMILL_PROGRAM"] = f"{PROGRAM}/{program.config_map.key}"
    container: dict[str, Any] = {
        "name": names.CONTAINER,
        "image": plan.image,
        "imagePullPolicy": plan.platform.pull_policy,
        "args": arguments,
        "env": [{"name": k, "value": v} for k, v in sorted(env.items())],
        "resources": dict(resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }
    return container | (_watched() if tls else {})


def _watched() -> dict[str, Any]:
    """Ports and probes of a process that lives on."""

    def probe(path: str, period: int, failures: int) -> dict[str, Any]:
        get = {"path": path, "port": "health"}
        return {"httpGet": get, "periodSeconds": period, "timeoutSeconds": 5, "failureThreshold": failures}

    return {
        "ports": [
            {"name": "tidemill", "containerPort": names.DRIVER_PORT, "protocol": "TCP"},
            {"name": "health", "containerPort": names.HEALTH_PORT, "protocol": "TCP"},
        ],
        "startupProbe": {**probe("/livez", 1, 120), "initialDelaySeconds": 2},
        "livenessProbe": probe("/livez", 10, 6),
        "readinessProbe": probe("/readyz", 2, 2),
    }


def _volumes(plan: Plan, component: str, tls: bool) -> list[dict[str, Any]]:
    """The manifest and what it refers to is the driver's alone: it goes with a revision, and executors outlive revisions."""
    found: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    if tls:
        found.append(_secret(names.TLS_VOLUME, plan.certificates))
    if component == names.EXECUTOR:
        return found
    found.append({"name": "job", "configMap": {"name": names.config(plan.name, plan.revision)}})
    found += [_secret(f"secret-{n}", name) for n, name in enumerate(_secrets(plan))]
    program = plan.job.spec.program
    if program is not None and program.config_map is not None:
        found.append({"name": "program", "configMap": {"name": program.config_map.name}})
    return found


def _secrets(plan: Plan) -> list[str]:
    """The Secrets that a job refers to; that of the platform's checkpoint, if the job is kept there."""
    found = list(secret_references(plan.job).secrets)
    if not plan.job.spec.checkpoint.location:
        found += [ref.name for ref in references(plan.platform.checkpoint) if isinstance(ref, SecretRef)]
    return list(dict.fromkeys(found))


def _secret(volume: str, name: str) -> dict[str, Any]:
    return {"name": volume, "secret": {"secretName": name, "defaultMode": 0o440}}


def _mount(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "mountPath": path, "readOnly": True}


def _for_half_a_minute(trouble: str) -> dict[str, Any]:
    key = f"node.kubernetes.io/{trouble}"
    return {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}


def threads(resources: Mapping[str, Any]) -> int:
    """As many as the processors that a pod may use, or asks for; 1 if it says nothing.

    >>> threads({"requests": {"cpu": "1500m"}}), threads({"limits": {"cpu": 4}}), threads({})
    (2, 4, 1)
    """
    cpu = (resources.get("limits") or {}).get("cpu") or (resources.get("requests") or {}).get("cpu") or "1"
    number = str(cpu).rstrip("mkKMGTPi")
    scale = {"": 1, "m": 1e-3, "k": 1e3}.get(str(cpu).removeprefix(number), 1e6)
    return max(1, math.ceil(float(number) * scale))
