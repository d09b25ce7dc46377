"""A pod template laid over ours, field by field, as `kubectl patch` does by default; and what it may not contain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tidemill_operator import names

KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",), "initContainers": ("name",), "ephemeralContainers": ("name",), "env": ("name",),
    "volumes": ("name",), "volumeMounts": ("mountPath",), "volumeDevices": ("devicePath",), "ports": ("containerPort",),
    "imagePullSecrets": ("name",), "hostAliases": ("ip",), "topologySpreadConstraints": ("topologyKey",),
    "resourceClaims": ("name",), "schedulingGates": ("name",),
}  # fmt: skip
"""Lists of which one element changes the one of the same key, as the API's strategic merge has it; others are replaced."""


def merged(ours: Any, theirs: Any, field: str = "") -> Any:
    """``ours`` with ``theirs`` laid over it; null takes a field away.

    >>> merged(
    ...     {"a": 1, "env": [{"name": "A", "value": "1"}]}, {"a": None, "env": [{"name": "B", "value": "2"}]}
    ... )
    {'env': [{'name': 'A', 'value': '1'}, {'name': 'B', 'value': '2'}]}
    """
    if isinstance(ours, dict) and isinstance(theirs, dict):
        result = dict(ours)
        for key, value in theirs.items():
            if value is None:
                result.pop(key, None)
            else:
                result[key] = merged(ours.get(key), value, key)
        return result
    if isinstance(ours, list) and isinstance(theirs, list) and field in KEYS:
        return _merged_list(ours, theirs, KEYS[field])
    return theirs


def _merged_list(ours: list[Any], theirs: list[Any], keys: tuple[str, ...]) -> list[Any]:
    def key_of(item: Any) -> Any:
        return tuple(item.get(k) for k in keys) if isinstance(item, dict) else item

    changes = {key_of(item): item for item in theirs}
    kept = [merged(item, changes.pop(key_of(item), {})) for item in ours]
    return [*kept, *changes.values()]


_POD = ("hostNetwork", "hostPID", "hostIPC")
_CONTAINER = ("privileged", "allowPrivilegeEscalation")
_OURS = ("runAsNonRoot", "runAsUser", "seccompProfile", "allowPrivilegeEscalation", "capabilities")
"""What our pods have in their security contexts; null would take it away."""
_REFUSED = {
    "seLinuxOptions": "a pod keeps the label that its node gives it",
    "sysctls": "settings of the kernel are not for a job to make",
    "windowsOptions": "a job does not run on Windows",
}
_CONTAINERS = ("containers", "initContainers")


def forbidden(template: Mapping[str, Any]) -> Iterator[str]:
    """Why a template is refused: it would give a pod power over its node, or over others."""
    spec = template.get("spec", {})
    if not isinstance(spec, Mapping):
        yield "spec: expected an object; null would take our container away"
        return
    for key in (*_CONTAINERS, "volumes"):
        if key in spec and not isinstance(spec[key], list):
            yield f"spec.{key}: expected a list; null would take ours away"
    for key in _POD:
        if spec.get(key) is True:
            yield f"spec.{key}: true shares the node's own; leave it out"
    yield from _context(spec, "spec")
    for volume in _dicts(spec.get("volumes")):
        if volume.get("hostPath") is not None:
            yield f"spec.volumes[{volume.get('name')}].hostPath: a pod must not see its node's files; use a claim"
    for name in _CONTAINERS:
        for container in _dicts(spec.get(name)):
            where = f"spec.{name}[{container.get('name')}]"
            if name == "initContainers" and container.get("name") == names.CONTAINER:
                yield f"{where}: this is the name of our container; give another one"
            yield from _context(container, where)
            for port in _dicts(container.get("ports")):
                if port.get("hostPort"):
                    yield f"{where}.ports.hostPort: {port['hostPort']} is the node's; use a Service"


def _context(holder: Mapping[str, Any], where: str) -> Iterator[str]:
    """Of a pod, or of a container."""
    where = f"{where}.securityContext"
    if "securityContext" not in holder:
        return
    context = holder["securityContext"]
    if not isinstance(context, Mapping):
        yield f"{where}: expected an object; null would take away what keeps a pod from harm"
        return
    for key in _OURS:
        if key in context and context[key] is None:
            yield f"{where}.{key}: null would take away what keeps a pod from harm; leave it out"
    if context.get("runAsUser") == 0 or context.get("runAsNonRoot") is False:
        yield f"{where}: a job does not run as root; give another runAsUser"
    for key in _CONTAINER:
        if context.get(key) is True:
            yield f"{where}.{key}: true is refused; leave it out"
    if _mapping(context, "seccompProfile").get("type", "RuntimeDefault") in ("Unconfined", None):
        yield f"{where}.seccompProfile: only RuntimeDefault and Localhost are allowed; leave it out"
    if _mapping(context, "appArmorProfile").get("type") == "Unconfined":
        yield f"{where}.appArmorProfile: only RuntimeDefault and Localhost are allowed; leave it out"
    for key, why in _REFUSED.items():
        if context.get(key) is not None:
            yield f"{where}.{key}: {why}; leave it out"
    if context.get("procMount") not in (None, "Default"):
        yield f"{where}.procMount: {context['procMount']!r} is refused; leave it out"
    capabilities = _mapping(context, "capabilities")
    if added := capabilities.get("add"):
        yield f"{where}.capabilities.add: {added} is refused; a job needs none"
    if "drop" in capabilities and "ALL" not in (capabilities["drop"] or []):
        yield f"{where}.capabilities.drop: a job's pods drop ALL; leave it out"


def _mapping(holder: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = holder.get(key)
    return value if isinstance(value, Mapping) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []
